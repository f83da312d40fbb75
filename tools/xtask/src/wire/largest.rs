//! The largest messages of each kind: every number takes its most bytes, every list is full.
//!
//! Of messages with free bytes there are some fillings: the cost of a frame depends on how many
//! zeros it has.

use coshift_shared::session::LinkCounters;
use coshift_shared::to_controller::{
    Application, ApplicationState, BIAS_LEVELS, BiasState, Change, ClockState, Degrade,
    DeviceState, Hello, Limits, MAX_CHUNK, MAX_SAMPLES, Objective, Outcomes, PolicyBegin,
    PolicyChunk, PolicyCommit, PowerState, Query, Question, Seed, SeedState, SensorState,
    TailState, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{
    Decision, FaultCode, Missing, Mode, PolicyAck, Reason, Refusal, Refused, ResetCause, Shortfall,
    Status, ToHost, Trace, TraceEvent, UploadState, Welcome, WorkCounters,
};
use coshift_shared::units::Age;

const U32: u32 = u32::MAX;
const U16: u16 = u16::MAX;
const I32: i32 = i32::MIN;
/// Bytes that free bytes are filled with, in turn: none zero, all, every other, most.
const FILLINGS: [[u8; 4]; 4] = [[0xff; 4], [0; 4], [0xff, 0, 0xff, 0], [0, 0, 0, 0xff]];
const TEMPERATURE: Temperature = Temperature { mdeg_c: I32, age: Age(0xff) };
const SHORTFALL: Shortfall = Shortfall { what: Missing::Temperature, slot: 0xff, amount: U32 };

/// So many bytes of a filling.
fn filled(filling: [u8; 4], count: usize) -> impl Iterator<Item = u8> {
    filling.into_iter().cycle().take(count)
}

/// The largest messages to the controller.
pub(crate) fn to_controller() -> Vec<ToController> {
    let at_us = U32;
    let mut messages = vec![
        ToController::Hello(Hello {
            at_us,
            protocol_min: 0xff,
            protocol_current: 0xff,
            schema: U32,
            policy_crc: U32,
            version: [0xff; 3],
            boot_nonce: U32,
            period_us: U32,
        }),
        ToController::Application(Application {
            at_us,
            slot: 0xff,
            change: Change::Set(Targets {
                table: 0xff,
                objective: Objective::LeastLatency,
                deadline_us: U32,
                period_us: U32,
                accuracy_floor_bp: U16,
                miss_target_bp: U16,
                priority: 0xff,
                degrade: Degrade::Energy,
                energy_budget_uj: U32,
            }),
        }),
        ToController::Telemetry(Telemetry {
            at_us,
            level: 0xff,
            clocks_mhz: [U16; 3],
            power_mw: U32,
            power_age: Age(0xff),
            gpu_load_permille: U16,
            gpu_load_age: Age(0xff),
            temperatures: [TEMPERATURE; 2],
        }),
        ToController::Limits(Limits {
            at_us,
            power_cap_mw: U32,
            temp_cap_mdeg_c: I32,
            parking: true,
        }),
        ToController::PolicyBegin(PolicyBegin { at_us, length: U32, crc: U32, sequence: U32 }),
        ToController::PolicyCommit(PolicyCommit { at_us, crc: U32, sequence: U32 }),
        ToController::Query(Query { at_us, what: Question::Identity }),
    ];
    messages.extend(
        states()
            .into_iter()
            .map(|state| ToController::Seed(Seed { at_us, part: 0xff, parts: 0xff, state })),
    );
    for filling in FILLINGS {
        let samples = filled(filling, 2 * MAX_SAMPLES).collect::<Vec<_>>();
        messages.push(ToController::Outcomes(Outcomes {
            at_us,
            slot: 0xff,
            sub_network: 0xff,
            level: 0xff,
            first_index: U32,
            samples: samples.as_chunks().0.iter().copied().collect(),
            outcomes_total: U32,
            misses_total: U32,
        }));
        messages.push(ToController::PolicyChunk(PolicyChunk {
            at_us,
            offset: U32,
            bytes: filled(filling, MAX_CHUNK).collect(),
        }));
    }
    messages
}

fn states() -> Vec<SeedState> {
    let mut states = vec![
        SeedState::Application(ApplicationState {
            slot: 0xff,
            mean_q24: U32,
            deviation_q24: U32,
            beyond: 0xff,
            fast: 0xff,
            next_index: U32,
            outcomes: U32,
            misses: U32,
            sub_network: 0xff,
        }),
        SeedState::Device(DeviceState {
            mode: Mode::Safe,
            hold_since_us: U32,
            too_hot: true,
            nominal: true,
            nominal_since_us: U32,
            run_level: 0xff,
            level_since_us: U32,
            extra_decision_us: U32,
            reason: Reason::ClockHeld,
            shortfall: SHORTFALL,
            power_mw: U32,
        }),
        SeedState::Sensors(SensorState {
            telemetry_us: U32,
            achieved_level: 0xff,
            temp_mdeg_c: I32,
            believed_us: U32,
            dirty: true,
        }),
        SeedState::Tail(TailState {
            slot: 0xff,
            threshold_q24: U32,
            excess_q24: U32,
            correction_q24: U32,
            boost_q24: U32,
            quiet: 0xff,
        }),
        SeedState::Clocks(ClockState {
            asked_level: 0xff,
            asked_since_us: U32,
            low_khz: [U32; 3],
            high_khz: [U32; 3],
            seen_us: U32,
        }),
        SeedState::Power(PowerState { common_q15: U16, settled_q8: U32, sure_q8: U32 }),
    ];
    for filling in FILLINGS {
        let bytes = filled(filling, 2 * BIAS_LEVELS).collect::<Vec<_>>();
        let mut factors = [[0; 2]; BIAS_LEVELS];
        for (factor, pair) in factors.iter_mut().zip(bytes.as_chunks().0) {
            *factor = *pair;
        }
        states.push(SeedState::Bias(BiasState { first: 0xff, factors }));
    }
    states
}

/// The largest messages to the host.
pub(crate) fn to_host() -> Vec<ToHost> {
    let at_us = U32;
    vec![
        ToHost::Welcome(Welcome {
            protocol_min: 0xff,
            protocol_current: 0xff,
            schema: U32,
            policy_crc: U32,
            version: [0xff; 3],
            boot_nonce: U32,
            reset_cause: ResetCause::External,
            last_fault: FaultCode::Hang,
            fault_detail: U32,
        }),
        ToHost::Decision(Decision {
            at_us,
            last_seq: U16,
            digest: U32,
            mode: Mode::Safe,
            run_level: 0xff,
            park_level: 0xff,
            sub_networks: [0xff; 4],
            reason: Reason::ClockHeld,
            shortfall: SHORTFALL,
            power_mw: U32,
        }),
        ToHost::Status(Status::Link(LinkCounters {
            accepted: U32,
            overflow: U16,
            cobs: U16,
            crc: U16,
            old_session: U16,
            repeated: U16,
            lost: U16,
            unknown_kind: U16,
            malformed: U16,
            version: U16,
        })),
        ToHost::Status(Status::Work(WorkCounters {
            steps: U32,
            decisions: U32,
            samples: U32,
            samples_lost: U32,
            worst_step_ticks: U32,
            stack_high_water: U16,
            queue_high_water: U16,
            queue_overruns: U16,
        })),
        ToHost::PolicyAck(PolicyAck {
            next_offset: U32,
            sequence: U32,
            state: UploadState::Rejected,
        }),
        ToHost::Refused(Refused { kind: 0xff, seq: U16, why: Refusal::StorageFault }),
        ToHost::Trace(Trace { at_us, event: TraceEvent::QueueOverrun, count: U16, argument: U32 }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use coshift_shared::kind::Kind;
    use coshift_shared::packet::MAX_BODY;

    #[test]
    fn every_kind_is_there_and_the_longest_bodies_are() {
        let mut lengths = Vec::new();
        let mut body = [0; MAX_BODY];
        for message in to_controller() {
            lengths.push((message.kind(), message.encode(&mut body).unwrap()));
        }
        for message in to_host() {
            lengths.push((message.kind(), message.encode(&mut body).unwrap()));
        }
        for kind in Kind::ALL {
            assert!(lengths.iter().any(|(other, _)| *other == kind), "{kind:?}");
        }
        let longest = |kind| lengths.iter().filter(|(k, _)| *k == kind).map(|(_, n)| *n).max();
        // As the message crate's documentation lists them.
        assert_eq!(longest(Kind::PolicyChunk), Some(49));
        assert_eq!(longest(Kind::Outcomes), Some(48));
    }
}
