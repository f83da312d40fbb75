//! The super-loop on a board of the test: what goes in and out, and in which order.

use std::collections::VecDeque;

use coshift_controller::store::{Answer, PolicyStore, Switch};
use coshift_controller::{Identity, Node};
use coshift_firmware::port::{Measured, Port};
use coshift_firmware::super_loop::{BYTES_A_PASS, FAREWELL_US, PASSES_A_MEASUREMENT, SuperLoop};
use coshift_shared::kind::Kind;
use coshift_shared::policy::{Cell, Level, PolicyImage, PolicyView, Settle, TableImage};
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::Sender;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    Application, Change, Degrade, Hello, Limits, Objective, PolicyBegin, PolicyChunk, PolicyCommit,
    Query, Question, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{FaultCode, Mode, ResetCause, Status, ToHost};
use coshift_shared::units::Age;

const IDENTITY: Identity = Identity {
    version: coshift_firmware::version!(),
    boot_nonce: 9,
    reset_cause: ResetCause::PowerOn,
    last_fault: FaultCode::None,
    fault_detail: 0,
};

#[derive(Debug, Default)]
struct Bench {
    us: u32,
    ticks: u32,
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    /// Bytes there is room for.
    room: usize,
    fed: u32,
    attended: Vec<(Mode, u16)>,
    slept: u32,
    /// The port never gets rid of what it was given.
    stuck: bool,
    /// Time that passes at each reading of the clock, µs.
    us_a_reading: u32,
}

impl Port for Bench {
    fn now_us(&mut self) -> u32 {
        self.us = self.us.wrapping_add(self.us_a_reading);
        self.us
    }

    fn ticks(&mut self) -> u32 {
        self.ticks = self.ticks.wrapping_add(7);
        self.ticks
    }

    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        let count = buffer.len().min(self.incoming.len());
        for (place, byte) in buffer.iter_mut().zip(self.incoming.drain(..count)) {
            *place = byte;
        }
        &buffer[..count]
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        let fits = frame.len() <= self.room;
        if fits {
            self.room -= frame.len();
            self.outgoing.extend_from_slice(frame);
        }
        fits
    }

    fn is_sent(&mut self) -> bool {
        !self.stuck
    }

    fn attend(&mut self, mode: Mode, session: u16) {
        assert_eq!(self.attended.len(), self.fed as usize, "fed before the pass was over");
        self.attended.push((mode, session));
    }

    fn measure(&mut self) -> Measured {
        Measured { stack_high_water: 700, queue_high_water: 80, queue_overruns: 3 }
    }

    fn feed_watchdog(&mut self) {
        self.fed += 1;
        assert_eq!(self.attended.len(), self.fed as usize, "fed in the middle of a pass");
    }

    fn sleep(&mut self) {
        self.slept += 1;
        assert!(self.slept < 1_000, "it waits for ever");
    }
}

fn bench() -> SuperLoop<Bench> {
    SuperLoop::new(Bench { us: Instant::START.us(), room: 10_000, ..Bench::default() })
}

/// What the firmware sent, each message with its session.
fn sent(bench: &mut Bench) -> Vec<(u16, ToHost)> {
    let mut reader = FrameReader::new();
    let mut messages = Vec::new();
    for byte in std::mem::take(&mut bench.outgoing) {
        match reader.feed(byte) {
            Received::Nothing => {}
            Received::Fault(fault) => panic!("a broken frame: {fault:?}"),
            Received::Packet(header, body) => {
                let kind = Kind::from_byte(header.kind).unwrap();
                messages.push((header.session, ToHost::decode(kind, body).unwrap()));
            }
        }
    }
    messages
}

fn hello() -> ToController {
    ToController::Hello(Hello {
        at_us: Instant::START.us(),
        protocol_min: VersionRange::OURS.min,
        protocol_current: VersionRange::OURS.current,
        schema: FINGERPRINT,
        policy_crc: 0,
        version: [0, 1, 0],
        boot_nonce: 4711,
        period_us: 50_000,
    })
}

fn telemetry() -> ToController {
    ToController::Telemetry(Telemetry {
        at_us: Instant::START.us(),
        level: 3,
        clocks_mhz: [1; 3],
        power_mw: 6_000,
        power_age: Age::FRESH,
        gpu_load_permille: 500,
        gpu_load_age: Age::FRESH,
        temperatures: [Temperature::MISSING; 2],
    })
}

#[test]
fn it_announces_itself_opens_a_session_and_tells_what_the_board_measured() {
    let (mut bench, mut node) = (bench(), Node::new(None, IDENTITY));
    assert!(!bench.pass(&mut node));
    assert!(matches!(sent(bench.port())[..], [(0, ToHost::Welcome(_))]));
    assert!(!bench.pass(&mut node));
    assert!(sent(bench.port()).is_empty(), "time stands still");
    bench.port().us = bench.port().us.wrapping_add(100_000);
    bench.pass(&mut node);
    assert_eq!(sent(bench.port()).len(), 1, "announced again after 100 ms");
    let mut agent = Sender::default();
    agent.open(7);
    agent.settle(VersionRange::OURS.current);
    bench.port().incoming.extend(agent.to_controller(&hello()).unwrap().1.bytes());
    assert!(bench.pass(&mut node));
    assert!(matches!(sent(bench.port())[0], (7, ToHost::Welcome(_))));
    assert_eq!(bench.port().attended.last(), Some(&(node.controller().mode(), 7)));
    for _ in 0..PASSES_A_MEASUREMENT {
        bench.pass(&mut node);
    }
    sent(bench.port());
    let query = Query { at_us: Instant::START.us(), what: Question::Work };
    bench
        .port()
        .incoming
        .extend(agent.to_controller(&ToController::Query(query)).unwrap().1.bytes());
    bench.pass(&mut node);
    let [(7, ToHost::Status(Status::Work(work)))] = sent(bench.port())[..] else { panic!() };
    let told = (work.stack_high_water, work.queue_high_water, work.queue_overruns);
    assert_eq!((told, work.worst_step_ticks), ((700, 80, 3), 7));
}

#[test]
fn a_pass_takes_in_no_more_than_a_frame_and_asks_for_another() {
    let (mut bench, mut node) = (bench(), Node::new(None, IDENTITY));
    bench.port().incoming.extend(std::iter::repeat_n(0xa5, 3 * BYTES_A_PASS + 1));
    for left in [2 * BYTES_A_PASS + 1, BYTES_A_PASS + 1, 1, 0] {
        assert!(bench.pass(&mut node));
        assert_eq!(bench.port().incoming.len(), left);
    }
    assert!(!bench.pass(&mut node));
    assert_eq!(bench.port().fed, 5);
}

/// Frames of session 0, well-formed, though there is no such session.
#[test]
fn telemetry_before_the_first_hello_does_not_starve_the_watchdog() {
    let policy = large_policy();
    let mut node = Node::new(Some(PolicyView::open(&policy).unwrap()), IDENTITY);
    let mut bench = bench();
    let mut agent = Sender::default();
    for _ in 0..100 {
        bench.port().incoming.extend(agent.to_controller(&telemetry()).unwrap().1.bytes());
        let fed = bench.port().fed;
        let mut passes = 1;
        while bench.pass(&mut node) {
            passes += 1;
        }
        assert_eq!(bench.port().fed, fed + passes);
    }
    assert_eq!(node.link().old_session, 100);
}

#[test]
fn a_full_send_queue_costs_frames_and_nothing_else() {
    let (mut bench, mut node) = (bench(), Node::new(None, IDENTITY));
    bench.port().room = 0;
    bench.pass(&mut node);
    assert!(sent(bench.port()).is_empty());
    bench.port().room = 1_000;
    bench.port().us = bench.port().us.wrapping_add(100_000);
    bench.pass(&mut node);
    assert!(matches!(sent(bench.port())[..], [(0, ToHost::Welcome(_))]));
}

/// A store whose board is to restart on the policy it was sent.
struct Restarts;

impl PolicyStore for Restarts {
    fn begin(&mut self, _: &PolicyBegin) -> Answer {
        Answer::NOTHING
    }

    fn chunk(&mut self, _: &PolicyChunk) -> Answer {
        Answer::NOTHING
    }

    fn commit(&mut self, _: &PolicyCommit) -> Answer {
        Answer::NOTHING
    }

    fn work(&mut self) -> Answer {
        Answer::NOTHING
    }

    fn is_busy(&self) -> bool {
        false
    }

    fn switch(&self) -> Option<Switch> {
        Some(Switch::Uploaded)
    }
}

#[test]
fn the_last_frames_are_waited_for_but_not_for_ever() {
    for stuck in [false, true] {
        let mut bench = bench();
        (bench.port().stuck, bench.port().us_a_reading) = (stuck, 1_000);
        let mut node = Node::with_store(None, IDENTITY, VersionRange::OURS, Restarts);
        assert_eq!(bench.run(&mut node), Switch::Uploaded);
        let waited = bench.port().us.wrapping_sub(Instant::START.us());
        // Two or three readings a pass.
        assert_eq!(waited >= FAREWELL_US, stuck, "{waited}");
        assert!(waited < FAREWELL_US + 10_000, "{waited}");
        // The watchdog is fed all the while.
        let Bench { fed, slept, .. } = *bench.port();
        assert_eq!(fed, slept + 1);
    }
}

/// A policy of the largest size, of equal levels and tables.
fn large_policy() -> Vec<u8> {
    let accuracies: Vec<u16> = (0..16).map(|index| 7_000 + 100 * index).collect();
    let table = |name: u32| {
        TableImage::sample(&format!("net{name}"), &accuracies, 32, |index, _| Cell {
            latency_us: 1_000 * (index + 1),
            energy_uj: 10_000 * (index + 1),
        })
    };
    let levels = (1..=32).map(|gpu_khz| Level { cpu_khz: 1, gpu_khz, emc_khz: 1, idle_mw: 5_000 });
    let image = PolicyImage::sample(levels.collect(), (0..4).map(table).collect());
    let settle = Settle { cpu_us: 0, gpu_us: 0, emc_us: 0 };
    PolicyImage { settle, ..image }.to_bytes().unwrap()
}

#[test]
fn what_comes_while_a_decision_is_under_way_waits_in_the_board_s_queue() {
    let policy = large_policy();
    let mut node = Node::new(Some(PolicyView::open(&policy).unwrap()), IDENTITY);
    let mut bench = bench();
    let mut agent = Sender::default();
    agent.open(7);
    agent.settle(VersionRange::OURS.current);
    let at_us = Instant::START.us();
    let set = |table| {
        let targets = Targets {
            table,
            objective: Objective::LeastEnergy,
            deadline_us: 30_000,
            period_us: 40_000,
            accuracy_floor_bp: 7_500,
            miss_target_bp: 100,
            priority: 1,
            degrade: Degrade::Accuracy,
            energy_budget_uj: 0,
        };
        let change = Change::Set(targets);
        ToController::Application(Application { at_us, slot: table, change })
    };
    let telemetry = telemetry();
    let query = ToController::Query(Query { at_us, what: Question::Link });
    // Under a cap that no level keeps every level takes long.
    let limits = ToController::Limits(Limits {
        at_us,
        power_cap_mw: 6_000,
        temp_cap_mdeg_c: 90_000,
        parking: false,
    });
    let messages = [hello(), set(0), set(1), set(2), set(3), limits, telemetry, query];
    for message in &messages {
        bench.port().incoming.extend(agent.to_controller(message).unwrap().1.bytes());
    }
    while !node.is_deciding() {
        assert!(bench.pass(&mut node));
    }
    // The query is behind it: read or not, it is not answered yet.
    let waiting = bench.port().incoming.len();
    let mut passes = 0;
    while node.is_deciding() {
        let answers = sent(bench.port());
        assert!(!answers.iter().any(|(_, m)| matches!(m, ToHost::Decision(_) | ToHost::Status(_))));
        let fed = bench.port().fed;
        assert!(bench.pass(&mut node), "no sleep before the decision");
        assert_eq!((bench.port().fed, bench.port().incoming.len()), (fed + 1, waiting));
        passes += 1;
    }
    assert!(passes > 1, "{passes} slices");
    while bench.pass(&mut node) {}
    let answers = sent(bench.port());
    let [(_, ToHost::Decision(_)), (_, ToHost::Status(_))] = answers[..] else {
        panic!("{answers:?}")
    };
}
