//! The firmware's loop under the emulator, at the level of frames: announcing, a session, garbage,
//! reports. What it decides is tested on the host, and against the agent in the workspace's tests.

use std::io::{Read, Write};

use crate::emulator::{Emulator, Needs};
use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::policy::PolicyView;
use coshift_shared::protocol::VersionRange;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::schema::FINGERPRINT;
use coshift_shared::session::{LinkCounters, NO_SESSION, Sender};
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{Hello, Query, Question, ToController};
use coshift_shared::to_host::{FaultCode, ResetCause, Status, ToHost, Welcome};

const RELEASE: &str = "COSHIFT_FIRMWARE";
const DEVELOPMENT: &str = "COSHIFT_FIRMWARE_DEV";
const SESSION: u16 = 77;

/// The agent's end of the link.
struct Peer {
    emulator: Emulator,
    reader: FrameReader,
    sender: Sender,
}

impl Peer {
    fn start(needs: &Needs) -> Self {
        let emulator = Emulator::start(needs, false);
        Self { emulator, reader: FrameReader::new(), sender: Sender::default() }
    }

    /// The next message and the session it came in.
    fn receive(&mut self) -> (u16, ToHost) {
        let mut byte = [0];
        loop {
            self.emulator.port.read_exact(&mut byte).expect("a frame from the firmware");
            match self.reader.feed(byte[0]) {
                Received::Nothing => {}
                Received::Fault(fault) => panic!("the firmware sent a broken frame: {fault:?}"),
                Received::Packet(header, body) => {
                    let kind = Kind::from_byte(header.kind).expect("a known kind");
                    return (header.session, ToHost::decode(kind, body).expect("a message"));
                }
            }
        }
    }

    fn send(&mut self, message: &ToController) {
        let (_, frame): (u16, Frame) = self.sender.to_controller(message).unwrap();
        self.emulator.send(frame.bytes());
    }

    fn welcome(&mut self, session: u16) -> Welcome {
        loop {
            match self.receive() {
                (in_session, ToHost::Welcome(welcome)) if in_session == session => return welcome,
                // An announcement may be on its way while the session opens.
                (NO_SESSION, ToHost::Welcome(_)) => {}
                other => panic!("no Welcome in session {session}: {other:?}"),
            }
        }
    }

    fn greet(&mut self) -> Welcome {
        let ours = VersionRange::OURS;
        self.sender.open(SESSION);
        self.sender.settle(ours.current);
        self.send(&ToController::Hello(Hello {
            at_us: Instant::START.us(),
            protocol_min: ours.min,
            protocol_current: ours.current,
            schema: FINGERPRINT,
            policy_crc: 0,
            version: [0, 1, 0],
            boot_nonce: 4711,
            period_us: 200_000,
        }));
        self.welcome(SESSION)
    }

    /// Asks for a report and gives the first that `pick` takes, whatever comes before it.
    fn ask<T>(&mut self, what: Question, pick: impl Fn(Status) -> Option<T>) -> T {
        let at_us = Instant::START.us();
        self.send(&ToController::Query(Query { at_us, what }));
        loop {
            if let (SESSION, ToHost::Status(status)) = self.receive()
                && let Some(found) = pick(status)
            {
                return found;
            }
        }
    }

    fn link(&mut self) -> LinkCounters {
        self.ask(Question::Link, |status| match status {
            Status::Link(counters) => Some(counters),
            _ => None,
        })
    }
}

#[test]
fn both_images_announce_themselves_and_open_a_session() {
    for variable in [RELEASE, DEVELOPMENT] {
        let Some(needs) = Needs::find(variable) else { return };
        let mut peer = Peer::start(&needs);
        let announced = peer.welcome(NO_SESSION);
        assert_eq!(announced.schema, FINGERPRINT, "image and test are of different builds");
        assert_eq!(announced.reset_cause, ResetCause::PowerOn);
        assert_eq!(announced.last_fault, FaultCode::None);
        assert_eq!(
            announced.version.map(|part| part.to_string()).join("."),
            env!("CARGO_PKG_VERSION")
        );
        let crc = std::env::var_os("COSHIFT_POLICY")
            .map_or(0, |path| PolicyView::open(&std::fs::read(path).unwrap()).unwrap().crc());
        assert_eq!(announced.policy_crc, crc, "policy of the image");
        // It goes on announcing: the loop wakes up by itself.
        assert_eq!(peer.welcome(NO_SESSION), announced);
        assert_eq!(peer.greet(), announced);
        peer.emulator.stop();
    }
}

#[test]
fn garbage_is_counted_and_the_next_frame_understood() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut peer = Peer::start(&needs);
    peer.greet();
    let before = peer.link();
    assert_eq!(before.faults(), 0, "{before:?}");
    // More than all queues hold, every byte value, no valid frame by chance: the CRC sees to it.
    let mut state = 0x1234_5678_u32;
    let garbage: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
    .take(20_000)
    .collect();
    peer.emulator.port.write_all(&garbage).unwrap();
    peer.emulator.send(&[0]);
    let after = peer.link();
    assert!(after.faults() > 50, "{after:?}");
    assert_eq!(after.accepted, before.accepted + 1, "garbage was taken for frames");
    peer.emulator.stop();
}

#[test]
fn stack_and_step_cost_are_measured() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let mut peer = Peer::start(&needs);
    peer.greet();
    // Each frame wakes the loop at least once; the stack is measured every 64 passes.
    let work = loop {
        let work = peer.ask(Question::Work, |status| match status {
            Status::Work(work) => Some(work),
            _ => None,
        });
        if work.stack_high_water != 0 {
            break work;
        }
    };
    assert!(work.steps > 0 && work.worst_step_ticks > 0, "{work:?}");
    // Of 6 KiB above the guard.
    assert!((100..4096).contains(&work.stack_high_water), "{work:?}");
    assert_eq!(work.queue_overruns, 0, "{work:?}");
    println!("{work:?}");
    peer.emulator.stop();
}

#[test]
fn boots_differ_in_their_nonce() {
    let Some(needs) = Needs::find(RELEASE) else { return };
    let nonces: Vec<u32> = (0..3)
        .map(|_| {
            let mut peer = Peer::start(&needs);
            let nonce = peer.welcome(NO_SESSION).boot_nonce;
            peer.emulator.stop();
            nonce
        })
        .collect();
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2], "{nonces:?}");
}
