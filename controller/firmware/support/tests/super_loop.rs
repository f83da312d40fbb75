//! The super-loop on a board of the test: what goes in and out, and in which order.

use std::collections::VecDeque;

use coshift_controller::{Identity, Node};
use coshift_firmware::port::{Measured, Port};
use coshift_firmware::super_loop::{BYTES_A_PASS, PASSES_A_MEASUREMENT, SuperLoop};
use coshift_shared::kind::Kind;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::Sender;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Hello, Query, Question, ToController};
use coshift_shared::to_host::{FaultCode, Mode, ResetCause, Status, ToHost};

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
}

impl Port for Bench {
    fn now_us(&mut self) -> u32 {
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
        unreachable!("a single pass does not sleep");
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
