//! Twins: two nodes with equal digests decide equally, whatever they were told and whatever got
//! lost on the way to one of them.

use coshift_controller::controller::SEED_PARTS;
use coshift_controller::{Identity, Node};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::Sender;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Degrade, Hello, Limits, Objective, Outcomes, Seed, SeedState, Targets,
    Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, FaultCode, ResetCause, ToHost};
use coshift_shared::units::{Age, MAX_APPLICATIONS, slowdown};
use coshift_tests::case::Case;
use coshift_tests::random::Random;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Control period, µs.
const PERIOD_US: u32 = 50_000;
/// Which of the frames of one [`Op`] do not reach the microcontroller: a bit each.
#[derive(Debug, Clone)]
struct Lost(u32);

/// Most frames of one [`Op`] that can be lost: applications, limits, all parts of a seed.
const MOST_FRAMES: usize = MAX_APPLICATIONS + 1 + SEED_PARTS;
const _: () = assert!(MOST_FRAMES <= u32::BITS as usize);

impl Lost {
    fn drawn(seed: u64, permille: u16) -> Self {
        let mut random = Random::new(seed);
        let bits = (0..MOST_FRAMES).filter(|_| random.permille(permille));
        Self(bits.fold(0, |mask, bit| mask | 1 << bit))
    }

    fn next(&mut self) -> bool {
        let lost = self.0 & 1 == 1;
        self.0 >>= 1;
        lost
    }
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Op {
    Set {
        slot: u8,
        table: u8,
        deadline_ms: u32,
        period_ms: u32,
        floor_bp: u16,
        priority: u8,
        /// Place of the objective, and of what is given up first, among their variants.
        kind: (u8, u8),
        budget_uj: u32,
    },
    Remove {
        slot: u8,
    },
    Telemetry {
        level: u8,
        temp_mdeg_c: i32,
        missing: bool,
    },
    Outcomes {
        slot: u8,
        level: u8,
        permille: Vec<u32>,
        gap: u32,
    },
    Limits {
        power_mw: u32,
        temp_mdeg_c: i32,
    },
    /// What an agent does where digests are unequal: the whole state goes over again.
    Resync,
    /// Another session, seeded.
    Session,
    Wait {
        ms: u32,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let slot = 0..MAX_APPLICATIONS as u8;
    prop_oneof![
        3 => (
            slot.clone(), 0..3_u8, 5..200_u32, 20..400_u32, 7_000..8_000_u16, 0..4_u8,
            (0..3_u8, 0..3_u8), prop_oneof![Just(0), 10_000..400_000_u32],
        )
            .prop_map(|(slot, table, deadline_ms, period_ms, floor_bp, priority, kind, budget_uj)| {
                Op::Set { slot, table, deadline_ms, period_ms, floor_bp, priority, kind, budget_uj }
            }),
        1 => slot.clone().prop_map(|slot| Op::Remove { slot }),
        12 => (0..20_u8, 30_000..95_000_i32, any::<bool>()).prop_map(|(level, temp_mdeg_c, missing)| {
            Op::Telemetry { level, temp_mdeg_c, missing }
        }),
        10 => (slot, 0..20_u8, vec(0..4_000_u32, 1..12), 0..3_u32).prop_map(
            |(slot, level, permille, gap)| Op::Outcomes { slot, level, permille, gap }
        ),
        1 => (2_000..20_000_u32, 50_000..90_000_i32).prop_map(|(power_mw, temp_mdeg_c)| {
            Op::Limits { power_mw, temp_mdeg_c }
        }),
        1 => Just(Op::Resync),
        1 => Just(Op::Session),
        6 => (0..120_u32).prop_map(|ms| Op::Wait { ms }),
        1 => (200..2_500_u32).prop_map(|ms| Op::Wait { ms }),
    ]
}

/// A node, the clock of its own, and what it decided.
struct Side<'p> {
    node: Node<'p>,
    /// Its clock's error, 1/10,000.
    slow: u32,
    reader: FrameReader,
    decisions: Vec<Decision>,
}

impl<'p> Side<'p> {
    fn new(policy: PolicyView<'p>, nonce: u32, slow: u32) -> Self {
        let identity = Identity {
            version: [0, 1, 0],
            boot_nonce: nonce,
            reset_cause: ResetCause::PowerOn,
            last_fault: FaultCode::None,
            fault_detail: 0,
        };
        let node = Node::new(Some(policy), identity);
        Self { node, slow, reader: FrameReader::new(), decisions: Vec::new() }
    }

    fn local(&self, now_us: u64) -> Instant {
        let us = now_us - now_us * u64::from(self.slow) / 10_000;
        Instant::START.after(Duration::from_us(u32::try_from(us).unwrap()))
    }

    fn feed(&mut self, frame: &Frame, now_us: u64) {
        let local = self.local(now_us);
        let mut out = Vec::new();
        for byte in frame.bytes() {
            self.node.feed(*byte, local, &mut |frame| out.push(*frame));
        }
        self.note(&out);
    }

    fn poll(&mut self, now_us: u64) {
        let local = self.local(now_us);
        let mut out = Vec::new();
        self.node.poll(local, &mut |frame| out.push(*frame));
        self.note(&out);
    }

    fn note(&mut self, frames: &[Frame]) {
        for frame in frames {
            for byte in frame.bytes() {
                let Received::Packet(header, body) = self.reader.feed(*byte) else { continue };
                let kind = Kind::from_byte(header.kind).unwrap();
                if let ToHost::Decision(decision) = ToHost::decode(kind, body).unwrap() {
                    self.decisions.push(decision);
                }
            }
        }
    }
}

/// An agent in front of two nodes: the twin gets everything, the other one what is not lost.
struct Pair<'p> {
    twin: Side<'p>,
    mcu: Side<'p>,
    sender: Sender,
    session: u16,
    now_us: u64,
    targets: [Option<Targets>; MAX_APPLICATIONS],
    index: [u32; MAX_APPLICATIONS],
    power_cap_mw: u32,
    temp_cap_mdeg_c: i32,
}

/// What a check found.
#[derive(Debug, Default, Clone, Copy)]
struct Found {
    decisions: usize,
    compared: usize,
    differing: usize,
}

impl<'p> Pair<'p> {
    fn new(policy: PolicyView<'p>, mcu_policy: PolicyView<'p>) -> Self {
        let mut pair = Self {
            twin: Side::new(policy, 1, 0),
            mcu: Side::new(mcu_policy, 2, 3),
            sender: Sender::default(),
            session: 0,
            now_us: 0,
            targets: [None; MAX_APPLICATIONS],
            index: [0; MAX_APPLICATIONS],
            power_cap_mw: policy.power_cap_mw(),
            temp_cap_mdeg_c: policy.temp_cap_mdeg_c(),
        };
        pair.open(Lost(0));
        pair
    }

    fn at_us(&self) -> u32 {
        self.twin.local(self.now_us).us()
    }

    /// Sends to the twin, and to the microcontroller where it is not lost.
    fn send(&mut self, message: &ToController, lost: bool) {
        let (_, frame) = self.sender.to_controller(message).unwrap();
        self.twin.feed(&frame, self.now_us);
        if !lost {
            self.mcu.feed(&frame, self.now_us);
        }
    }

    fn open(&mut self, lost: Lost) {
        let seed = self.twin.node.seed();
        self.session += 1;
        self.sender.open(self.session);
        let ours = VersionRange::OURS;
        let hello = Hello {
            at_us: self.at_us(),
            protocol_min: ours.min,
            protocol_current: ours.current,
            schema: FINGERPRINT,
            policy_crc: 0,
            version: [0, 1, 0],
            boot_nonce: 4711,
            period_us: PERIOD_US,
        };
        // A session that the microcontroller did not open is none: Hello is not lost.
        self.send(&ToController::Hello(hello), false);
        self.state(&seed, lost);
    }

    /// Applications, limits and seed, as the agent sends them.
    fn state(&mut self, seed: &[SeedState], mut lost: Lost) {
        let at_us = self.at_us();
        for (slot, targets) in (0_u8..).zip(self.targets) {
            let change = targets.map_or(Change::Remove, Change::Set);
            let message = ToController::Application(Application { at_us, slot, change });
            let lost = lost.next();
            self.send(&message, lost);
        }
        let limits_lost = lost.next();
        self.limits(limits_lost);
        let parts = u8::try_from(seed.len()).unwrap();
        for (part, state) in (0_u8..).zip(seed) {
            let message = ToController::Seed(Seed { at_us, part, parts, state: *state });
            let lost = lost.next();
            self.send(&message, lost);
        }
    }

    fn limits(&mut self, lost: bool) {
        let message = ToController::Limits(Limits {
            at_us: self.at_us(),
            power_cap_mw: self.power_cap_mw,
            temp_cap_mdeg_c: self.temp_cap_mdeg_c,
            // Without parking the bias of power is learned.
            parking: self.power_cap_mw.is_multiple_of(2),
        });
        self.send(&message, lost);
    }

    fn apply(&mut self, op: &Op, losses: Lost) {
        let at_us = self.at_us();
        let lost = losses.clone().next();
        match op {
            Op::Set {
                slot,
                table,
                deadline_ms,
                period_ms,
                floor_bp,
                priority,
                kind: (objective, degrade),
                budget_uj,
            } => {
                let targets = Targets {
                    table: *table,
                    objective: [
                        Objective::LeastEnergy,
                        Objective::BestAccuracy,
                        Objective::LeastLatency,
                    ][usize::from(*objective)],
                    deadline_us: deadline_ms * 1000,
                    period_us: period_ms * 1000,
                    accuracy_floor_bp: *floor_bp,
                    miss_target_bp: 100,
                    priority: *priority,
                    degrade: [Degrade::Accuracy, Degrade::Deadline, Degrade::Energy]
                        [usize::from(*degrade)],
                    energy_budget_uj: *budget_uj,
                };
                let message = Application { at_us, slot: *slot, change: Change::Set(targets) };
                self.send(&ToController::Application(message), lost);
                // One that is refused is not there.
                let known = self.twin.node.controller().slots()[usize::from(*slot)].clone();
                self.targets[usize::from(*slot)] = known.map(|known| known.targets);
            }
            Op::Remove { slot } => {
                self.targets[usize::from(*slot)] = None;
                let message = Application { at_us, slot: *slot, change: Change::Remove };
                self.send(&ToController::Application(message), lost);
            }
            Op::Telemetry { level, temp_mdeg_c, missing } => {
                let age = if *missing { Age::MISSING } else { Age::FRESH };
                let message = Telemetry {
                    at_us,
                    level: *level,
                    clocks_mhz: [1190, 701, 1600],
                    power_mw: 4_000 + u32::from(*level) * 300,
                    power_age: age,
                    gpu_load_permille: 500,
                    gpu_load_age: age,
                    temperatures: [Temperature { mdeg_c: *temp_mdeg_c, age }, Temperature::MISSING],
                };
                self.send(&ToController::Telemetry(message), lost);
            }
            Op::Outcomes { slot, level, permille, gap } => {
                let place = usize::from(*slot);
                self.index[place] = self.index[place].wrapping_add(*gap);
                let count = u32::try_from(permille.len()).unwrap();
                let sample = |permille: &u32| slowdown::to_wire(*permille, 1000);
                let message = Outcomes {
                    at_us,
                    slot: *slot,
                    sub_network: 0,
                    level: *level,
                    first_index: self.index[place],
                    samples: permille.iter().map(sample).collect(),
                    outcomes_total: self.index[place].wrapping_add(count),
                    misses_total: 0,
                };
                self.index[place] = self.index[place].wrapping_add(count);
                self.send(&ToController::Outcomes(message), lost);
            }
            Op::Limits { power_mw, temp_mdeg_c } => {
                (self.power_cap_mw, self.temp_cap_mdeg_c) = (*power_mw, *temp_mdeg_c);
                self.limits(lost);
            }
            Op::Resync => {
                let seed = self.twin.node.seed();
                self.state(&seed, losses);
            }
            Op::Session => self.open(losses),
            Op::Wait { ms } => {
                // In steps, as programs that sleep do; the microcontroller oversleeps.
                for _ in 0..*ms {
                    self.now_us += 1000;
                    self.twin.poll(self.now_us);
                    if self.now_us.is_multiple_of(7000) {
                        self.mcu.poll(self.now_us);
                    }
                }
            }
        }
    }

    /// Compares what was decided since the last call, and forgets it.
    fn compare(&mut self, found: &mut Found) -> Option<(Decision, Decision)> {
        let mut first = None;
        found.decisions += self.mcu.decisions.len();
        for theirs in &self.mcu.decisions {
            let same =
                |ours: &&Decision| ours.last_seq == theirs.last_seq && ours.digest == theirs.digest;
            let Some(ours) = self.twin.decisions.iter().rev().find(same) else { continue };
            found.compared += 1;
            if ours != theirs {
                found.differing += 1;
                first.get_or_insert((*ours, *theirs));
            }
        }
        self.mcu.decisions.clear();
        first
    }
}

/// Plays what happens, and gives the first pair that differs on equal digests. The
/// microcontroller takes every latency for `off_permille` more than the twin does: what an
/// estimator does whose slowdown is too large by as much.
fn run(ops: &[(Op, Lost)], off_permille: u32) -> (Found, Option<(Decision, Decision)>) {
    let case = Case::reference().unwrap();
    let slower = case.slower(off_permille).unwrap();
    let policy = PolicyView::open(&case.image).unwrap();
    let mut pair = Pair::new(policy, PolicyView::open(&slower).unwrap());
    let mut found = Found::default();
    let mut first = None;
    for (op, lost) in ops {
        pair.apply(op, lost.clone());
        let differing = pair.compare(&mut found);
        first = first.or(differing);
    }
    (found, first)
}

fn histories(permille: u16) -> impl Strategy<Value = Vec<(Op, Lost)>> {
    let lost = any::<u64>().prop_map(move |seed| Lost::drawn(seed, permille));
    vec((op(), lost), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_digests_give_equal_decisions(ops in histories(0)) {
        let (_, differing) = run(&ops, 0);
        prop_assert!(differing.is_none(), "{differing:?}");
    }

    #[test]
    fn equal_digests_give_equal_decisions_whatever_is_lost(ops in histories(100)) {
        let (_, differing) = run(&ops, 0);
        prop_assert!(differing.is_none(), "{differing:?}");
    }
}

/// The same histories at each run.
fn found_in_histories(permille: u16, off_permille: u32) -> Found {
    let mut runner = TestRunner::deterministic();
    let mut all = Found::default();
    for _ in 0..200 {
        let ops = histories(permille).new_tree(&mut runner).unwrap().current();
        let (found, _) = run(&ops, off_permille);
        all.decisions += found.decisions;
        all.compared += found.compared;
        all.differing += found.differing;
    }
    all
}

#[test]
fn digests_are_equal_as_a_rule() {
    // Only a silence that one of the two notices a little earlier makes them unequal.
    let found = found_in_histories(0, 0);
    assert!(found.decisions > 1000 && found.compared * 10 > found.decisions * 9, "{found:?}");
    // A lost frame is seen, until the state goes over again.
    let found = found_in_histories(100, 0);
    let share = found.compared * 100 / found.decisions;
    assert!((10..90).contains(&share), "{found:?}");
}

#[test]
fn an_estimator_that_differs_is_caught() {
    let found = found_in_histories(0, 30);
    assert!(found.differing > 20, "{found:?}");
}
