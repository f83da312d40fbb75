//! The messages whose bytes stand in `bytes.rs`.

use coshift_shared::session::LinkCounters;
use coshift_shared::to_controller::{
    Application, ApplicationState, BIAS_LEVELS, BiasState, Change, ClockState, Degrade,
    DeviceState, Hello, Limits, Objective, Outcomes, PolicyBegin, PolicyChunk, PolicyCommit,
    PowerState, Query, Question, Seed, SeedState, SensorState, TailState, Targets, Telemetry,
    Temperature, ToController,
};
use coshift_shared::to_host::{
    Decision, FaultCode, Missing, Mode, PolicyAck, Reason, Refusal, Refused, ResetCause, Shortfall,
    Status, ToHost, Trace, TraceEvent, UploadState, Welcome, WorkCounters,
};
use coshift_shared::units::{Age, NO_LEVEL, NO_POWER_CAP, NO_SUB_NETWORK};

use crate::message::Message;

/// Six microseconds before the clock wraps.
const AT_US: u32 = 4_294_967_290;

pub(crate) fn hello() -> Message {
    Message::ToController(ToController::Hello(Hello {
        at_us: 4_289_967_296,
        protocol_min: 1,
        protocol_current: 1,
        schema: 0x1234_5678,
        policy_crc: 0xdead_beef,
        version: [0, 1, 0],
        boot_nonce: 7,
        period_us: 50_000,
    }))
}

fn application(slot: u8, change: Change) -> Message {
    Message::ToController(ToController::Application(Application { at_us: AT_US, slot, change }))
}

pub(super) fn application_set() -> Message {
    let targets = Targets {
        table: 1,
        objective: Objective::LeastEnergy,
        deadline_us: 33_000,
        period_us: 66_667,
        accuracy_floor_bp: 9_250,
        miss_target_bp: 100,
        priority: 3,
        degrade: Degrade::Deadline,
        energy_budget_uj: 0,
    };
    application(2, Change::Set(targets))
}

pub(super) fn application_remove() -> Message {
    application(3, Change::Remove)
}

fn seed(part: u8, state: SeedState) -> Message {
    Message::ToController(ToController::Seed(Seed { at_us: AT_US, part, parts: 3, state }))
}

pub(super) fn seed_application() -> Message {
    let state = ApplicationState {
        slot: 1,
        mean_q24: 18_874_368,
        deviation_q24: 167_772,
        beyond: 1,
        fast: 4,
        next_index: 1000,
        outcomes: 1000,
        misses: 12,
        sub_network: 5,
    };
    seed(0, SeedState::Application(state))
}

pub(super) fn seed_sensors() -> Message {
    let state = SensorState {
        telemetry_us: 4_294_917_296,
        achieved_level: NO_LEVEL,
        temp_mdeg_c: -5_250,
        believed_us: 300,
        dirty: true,
    };
    seed(1, SeedState::Sensors(state))
}

pub(super) fn seed_tail() -> Message {
    let state = TailState {
        slot: 1,
        threshold_q24: 301_234,
        excess_q24: 127,
        correction_q24: 67_108_864,
        boost_q24: u32::MAX,
        quiet: 127,
    };
    seed(1, SeedState::Tail(state))
}

pub(super) fn seed_power() -> Message {
    seed(
        1,
        SeedState::Power(PowerState { common_q15: 31_130, settled_q8: 1_638_912, sure_q8: 300 }),
    )
}

pub(super) fn seed_bias() -> Message {
    let mut factors = [[0; 2]; BIAS_LEVELS];
    factors[1] = 32_768_u16.to_le_bytes();
    factors[2] = 24_576_u16.to_le_bytes();
    factors[3] = 49_152_u16.to_le_bytes();
    factors[15] = 33_001_u16.to_le_bytes();
    seed(1, SeedState::Bias(BiasState { first: 16, factors }))
}

pub(super) fn seed_clocks() -> Message {
    let state = ClockState {
        asked_level: 11,
        asked_since_us: 4_294_800_000,
        low_khz: [1_190_400, 0, 127],
        high_khz: [u32::MAX, 803_250, 665_600],
        seen_us: 128,
    };
    seed(1, SeedState::Clocks(state))
}

pub(super) fn seed_device() -> Message {
    let state = DeviceState {
        mode: Mode::Safe,
        hold_since_us: 0,
        too_hot: true,
        nominal: false,
        nominal_since_us: 128,
        run_level: 7,
        level_since_us: 4_294_900_000,
        extra_decision_us: 127,
        reason: Reason::TooHot,
        shortfall: Shortfall { what: Missing::Power, slot: 255, amount: 1500 },
        power_mw: 9800,
    };
    seed(2, SeedState::Device(state))
}

pub(super) fn telemetry() -> Message {
    Message::ToController(ToController::Telemetry(Telemetry {
        at_us: AT_US,
        level: 9,
        clocks_mhz: [1190, 803, 1600],
        power_mw: 7431,
        power_age: Age(1),
        gpu_load_permille: 640,
        gpu_load_age: Age::FRESH,
        temperatures: [
            Temperature { mdeg_c: 51_500, age: Age(3) },
            Temperature { mdeg_c: -1, age: Age::MISSING },
        ],
    }))
}

pub(super) fn outcomes() -> Message {
    let samples: [[u8; 2]; 3] = [[0x00, 0x18], [0x00, 0x00], [0xff, 0xff]];
    Message::ToController(ToController::Outcomes(Outcomes {
        at_us: AT_US,
        slot: 0,
        sub_network: 5,
        level: 9,
        first_index: u32::MAX,
        samples: samples.into_iter().collect(),
        outcomes_total: 2,
        misses_total: 1,
    }))
}

pub(crate) fn limits() -> Message {
    Message::ToController(ToController::Limits(Limits {
        at_us: AT_US,
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: 85_000,
        parking: true,
    }))
}

pub(super) fn policy_begin() -> Message {
    Message::ToController(ToController::PolicyBegin(PolicyBegin {
        at_us: AT_US,
        length: 4096,
        crc: 0x8bad_f00d,
        sequence: 2,
    }))
}

pub(super) fn policy_chunk() -> Message {
    Message::ToController(ToController::PolicyChunk(PolicyChunk {
        at_us: AT_US,
        offset: 38,
        bytes: b"CSPL".iter().copied().collect(),
    }))
}

pub(super) fn policy_commit() -> Message {
    Message::ToController(ToController::PolicyCommit(PolicyCommit {
        at_us: AT_US,
        crc: 0x8bad_f00d,
        sequence: 2,
    }))
}

pub(super) fn query() -> Message {
    Message::ToController(ToController::Query(Query { at_us: AT_US, what: Question::Work }))
}

pub(crate) fn welcome() -> Message {
    Message::ToHost(ToHost::Welcome(Welcome {
        protocol_min: 1,
        protocol_current: 1,
        schema: 0x1234_5678,
        policy_crc: 0,
        version: [0, 1, 0],
        boot_nonce: 0xcafe_babe,
        reset_cause: ResetCause::Watchdog,
        last_fault: FaultCode::HardFault,
        fault_detail: 0x0800_1234,
    }))
}

pub(crate) fn decision() -> Message {
    Message::ToHost(ToHost::Decision(Decision {
        at_us: AT_US,
        last_seq: u16::MAX,
        digest: 0x89ab_cdef,
        mode: Mode::Run,
        run_level: 9,
        park_level: 0,
        sub_networks: [5, NO_SUB_NETWORK, 0, NO_SUB_NETWORK],
        reason: Reason::Infeasible,
        shortfall: Shortfall { what: Missing::Time, slot: 0, amount: 1250 },
        power_mw: 6900,
    }))
}

pub(super) fn status_link() -> Message {
    Message::ToHost(ToHost::Status(Status::Link(LinkCounters {
        accepted: 70_000,
        overflow: 1,
        cobs: 2,
        crc: 3,
        old_session: 300,
        repeated: 5,
        lost: u16::MAX,
        unknown_kind: 7,
        malformed: 8,
        version: 9,
    })))
}

pub(super) fn status_work() -> Message {
    Message::ToHost(ToHost::Status(Status::Work(WorkCounters {
        steps: 100_000,
        decisions: 5000,
        samples: 24_000,
        samples_lost: 12,
        worst_step_ticks: 39_999,
        stack_high_water: 1536,
        queue_high_water: 62,
        queue_overruns: 0,
    })))
}

pub(super) fn policy_ack() -> Message {
    Message::ToHost(ToHost::PolicyAck(PolicyAck {
        next_offset: 76,
        sequence: 2,
        state: UploadState::Receiving,
    }))
}

pub(super) fn refused() -> Message {
    Message::ToHost(ToHost::Refused(Refused { kind: 2, seq: 513, why: Refusal::NoSuchTable }))
}

pub(super) fn trace() -> Message {
    Message::ToHost(ToHost::Trace(Trace {
        at_us: AT_US,
        event: TraceEvent::SamplesLost,
        count: 3,
        argument: 24,
    }))
}
