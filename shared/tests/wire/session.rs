//! Sessions and sequence numbers: which frames are taken in, and how the others are counted.

use coshift_shared::frame::Frame;
use coshift_shared::kind::Kind;
use coshift_shared::packet::{BodyFault, Header};
use coshift_shared::protocol::CURRENT;
use coshift_shared::reader::{FrameFault, FrameReader, Received};
use coshift_shared::session::{LinkCounters, NO_SESSION, Receiver, Sender};
use coshift_shared::to_controller::{Limits, ToController};
use coshift_shared::to_host::{Refusal, Refused, ToHost};
use proptest::prelude::*;

use crate::message::Message;
use crate::property::config;
use crate::round_trip;

const SESSION: u16 = 0x1234;

fn header(session: u16, seq: u16) -> Header {
    Header { protocol: CURRENT, kind: Kind::Telemetry as u8, session, seq }
}

fn receiver() -> Receiver {
    let mut receiver = Receiver::default();
    receiver.open(SESSION);
    receiver
}

/// Counters where only these three are not 0.
fn counted(accepted: u32, repeated: u16, lost: u16) -> LinkCounters {
    LinkCounters { accepted, repeated, lost, ..LinkCounters::default() }
}

#[test]
fn frames_in_order_are_taken_in() {
    let mut receiver = receiver();
    for seq in 0..1000 {
        assert!(receiver.take_in(header(SESSION, seq)));
        assert_eq!(receiver.last_seq(), seq);
    }
    assert_eq!(receiver.counters, counted(1000, 0, 0));
}

#[test]
fn a_doubled_frame_changes_nothing() {
    let mut receiver = receiver();
    for seq in [5, 6] {
        assert!(receiver.take_in(header(SESSION, seq)));
    }
    for _ in 0..3 {
        assert!(!receiver.take_in(header(SESSION, 6)));
        assert_eq!(receiver.last_seq(), 6);
    }
    assert_eq!(receiver.counters, counted(2, 3, 0));
}

#[test]
fn a_late_frame_is_dropped_and_stays_lost() {
    let mut receiver = receiver();
    assert!(receiver.take_in(header(SESSION, 0)));
    assert!(receiver.take_in(header(SESSION, 2)));
    assert!(!receiver.take_in(header(SESSION, 1)));
    assert!(receiver.take_in(header(SESSION, 3)));
    assert_eq!(receiver.counters, counted(3, 1, 1));
}

#[test]
fn a_gap_is_counted_by_its_frames() {
    let mut receiver = receiver();
    for seq in [10, 11, 15, 16, 116] {
        assert!(receiver.take_in(header(SESSION, seq)));
    }
    assert_eq!(receiver.counters, counted(5, 0, 3 + 99));
}

#[test]
fn what_came_before_the_first_frame_is_not_a_gap() {
    for first in [0, 1, 500, u16::MAX] {
        let mut receiver = receiver();
        assert!(receiver.take_in(header(SESSION, first)));
        assert_eq!(receiver.counters, counted(1, 0, 0));
    }
}

#[test]
fn numbers_wrap() {
    let mut receiver = receiver();
    for seq in [u16::MAX - 1, u16::MAX, 0, 1, 3] {
        assert!(receiver.take_in(header(SESSION, seq)), "{seq}");
    }
    assert!(!receiver.take_in(header(SESSION, u16::MAX)));
    assert_eq!(receiver.counters, counted(5, 1, 1));
    assert_eq!(receiver.last_seq(), 3);
}

/// Up to 32,767 ahead is newer, the rest of the circle is older.
#[test]
fn half_of_the_circle_is_newer() {
    for last in [0, 1, 0x7fff, 0x8000, u16::MAX] {
        for (ahead, newer) in [
            (0, false),
            (1, true),
            (0x7fff, true),
            (0x8000, false),
            (0x8001, false),
            (0xffff, false),
        ] {
            let mut receiver = receiver();
            assert!(receiver.take_in(header(SESSION, last)));
            let seq = last.wrapping_add(ahead);
            assert_eq!(receiver.take_in(header(SESSION, seq)), newer, "{last} {ahead}");
            let lost = if newer { ahead - 1 } else { 0 };
            let expected = counted(1 + u32::from(newer), u16::from(!newer), lost);
            assert_eq!(receiver.counters, expected, "{last} {ahead}");
        }
    }
}

#[test]
fn frames_of_another_session_are_counted_and_touch_nothing() {
    let mut receiver = receiver();
    assert!(receiver.take_in(header(SESSION, 10)));
    for (session, seq) in [(SESSION - 1, 11), (SESSION + 1, 11), (NO_SESSION, 0), (u16::MAX, 9)] {
        assert!(!receiver.take_in(header(session, seq)));
        assert_eq!((receiver.session(), receiver.last_seq()), (SESSION, 10));
    }
    assert!(receiver.take_in(header(SESSION, 11)));
    let expected = LinkCounters { old_session: 4, ..counted(2, 0, 0) };
    assert_eq!(receiver.counters, expected);
}

#[test]
fn a_new_session_begins_anew_and_keeps_the_counters() {
    let mut receiver = receiver();
    assert!(receiver.take_in(header(SESSION, 40_000)));
    receiver.open(SESSION + 1);
    assert_eq!((receiver.session(), receiver.last_seq()), (SESSION + 1, 0));
    assert!(!receiver.take_in(header(SESSION, 40_001)));
    assert!(receiver.take_in(header(SESSION + 1, 3)));
    assert_eq!(receiver.counters, LinkCounters { old_session: 1, ..counted(2, 0, 0) });
}

#[test]
fn counters_wrap() {
    let mut receiver = receiver();
    receiver.counters.accepted = u32::MAX;
    receiver.counters.lost = u16::MAX - 1;
    receiver.counters.repeated = u16::MAX;
    for seq in [0, 4, 4] {
        let _ = receiver.take_in(header(SESSION, seq));
    }
    assert_eq!(receiver.counters, counted(1, 0, 1));
}

/// Each way to lose a frame has its counter, and `faults` is the sum of them all.
#[test]
fn every_fault_is_counted_in_its_place() {
    let mut receiver = receiver();
    for (times, fault) in [
        (1, FrameFault::Overflow),
        (2, FrameFault::Cobs),
        (3, FrameFault::Short),
        (7, FrameFault::Crc),
    ] {
        (0..times).for_each(|_| receiver.counters.count_fault(fault));
    }
    for (times, fault) in
        [(11, BodyFault::TooLong), (13, BodyFault::Malformed), (17, BodyFault::WrongKind)]
    {
        (0..times).for_each(|_| receiver.count_body(fault));
    }
    let expected = LinkCounters {
        overflow: 1,
        cobs: 2 + 3,
        crc: 7,
        malformed: 11 + 13,
        unknown_kind: 17,
        ..LinkCounters::default()
    };
    assert_eq!(receiver.counters, expected);
    assert_eq!(receiver.counters.faults(), 1 + 5 + 7 + 24 + 17);
    let all = LinkCounters {
        accepted: 1_000_000,
        overflow: u16::MAX,
        cobs: u16::MAX,
        crc: u16::MAX,
        old_session: u16::MAX,
        repeated: u16::MAX,
        lost: u16::MAX,
        unknown_kind: u16::MAX,
        malformed: u16::MAX,
        version: u16::MAX,
    };
    assert_eq!(all.faults(), 9 * u32::from(u16::MAX));
}

#[test]
fn unknown_kinds_and_versions_are_counted() {
    let mut receiver = receiver();
    let kind = |receiver: &mut Receiver, kind: u8, protocol: u8| {
        receiver.kind(Header { protocol, kind, session: SESSION, seq: 0 })
    };
    for byte in 0..=u8::MAX {
        assert_eq!(kind(&mut receiver, byte, CURRENT), Kind::from_byte(byte));
    }
    let unknown = 256 - Kind::ALL.len() as u16;
    assert_eq!(receiver.counters.unknown_kind, unknown);
    // Hello and Welcome settle the version: they are read whatever theirs is.
    for protocol in [0, CURRENT + 1, u8::MAX] {
        for known in Kind::ALL {
            let read = known.frozen().then_some(known);
            assert_eq!(kind(&mut receiver, known as u8, protocol), read, "{known:?} {protocol}");
        }
    }
    let versions = 3 * (Kind::ALL.len() as u16 - 2);
    assert_eq!(
        receiver.counters,
        LinkCounters { unknown_kind: unknown, version: versions, ..LinkCounters::default() }
    );
}

fn header_of(frame: &Frame) -> Header {
    let mut reader = FrameReader::new();
    for byte in frame.bytes() {
        if let Received::Packet(header, _) = reader.feed(*byte) {
            return header;
        }
    }
    panic!("a frame that was built is not read");
}

#[test]
fn a_sender_numbers_its_frames() {
    let limits = ToController::Limits(Limits {
        at_us: 0,
        power_cap_mw: 0,
        temp_cap_mdeg_c: 0,
        parking: false,
    });
    let mut sender = Sender::default();
    assert_eq!((sender.session(), sender.next_seq()), (NO_SESSION, 0));
    sender.open(SESSION);
    for seq in 0..=u16::MAX {
        let (number, frame) = sender.to_controller(&limits).expect("it fits");
        assert_eq!(number, seq);
        // A wrap of all numbers; the frames of some of them.
        if seq % 1000 == 0 || seq == u16::MAX {
            let kind = Kind::Limits as u8;
            let expected = Header { protocol: CURRENT, kind, session: SESSION, seq };
            assert_eq!(header_of(&frame), expected);
        }
    }
    assert_eq!(sender.next_seq(), 0, "the number wraps");
    let refused = ToHost::Refused(Refused { kind: 1, seq: 2, why: Refusal::BadValue });
    sender.to_host(&refused).expect("it fits");
    assert_eq!(sender.next_seq(), 1);
    sender.open(SESSION + 1);
    assert_eq!((sender.session(), sender.next_seq()), (SESSION + 1, 0));
}

#[test]
fn a_settled_version_holds_for_all_but_the_frozen_messages_and_across_sessions() {
    let mut sender = Sender::default();
    sender.settle(CURRENT + 1);
    sender.open(SESSION);
    for (kind, message) in [
        (Kind::Hello, crate::v1::hello()),
        (Kind::Limits, crate::v1::limits()),
        (Kind::Welcome, crate::v1::welcome()),
        (Kind::Decision, crate::v1::decision()),
    ] {
        let frame = match &message {
            Message::ToController(message) => sender.to_controller(message).map(|(_, f)| f),
            Message::ToHost(message) => sender.to_host(message),
        };
        let protocol = header_of(&frame.expect("it fits")).protocol;
        assert_eq!(protocol, if kind.frozen() { CURRENT } else { CURRENT + 1 }, "{kind:?}");
    }
}

proptest! {
    #![proptest_config(config(3_000))]

    /// Numbers that come in any order and number of times: each is taken in at most once, in
    /// order, and every number between the first and the last is accepted or lost.
    #[test]
    fn each_number_is_taken_in_at_most_once(
        start in any::<u16>(),
        moves in prop::collection::vec((any::<bool>(), 0_i32..40, -20_i32..20), 1..200),
    ) {
        let mut receiver = receiver();
        let mut sent = 0_i64;
        let (mut accepted, mut refused, mut strangers) = (Vec::new(), 0_u16, 0_u16);
        for (ours, step, jitter) in moves {
            sent += i64::from(step);
            let number = sent + i64::from(jitter);
            let seq = start.wrapping_add(number as u16);
            let session = if ours { SESSION } else { SESSION ^ 0x00ff };
            if receiver.take_in(header(session, seq)) {
                prop_assert!(ours);
                prop_assert!(accepted.last().is_none_or(|last| *last < number));
                accepted.push(number);
                prop_assert_eq!(receiver.last_seq(), seq);
            } else if ours {
                refused += 1;
                prop_assert!(accepted.last().is_some_and(|last| *last >= number));
            } else {
                strangers += 1;
            }
        }
        let span = accepted.last().zip(accepted.first()).map_or(0, |(last, first)| last - first + 1);
        let lost = u16::try_from(span).unwrap() - accepted.len() as u16;
        let expected = LinkCounters {
            old_session: strangers,
            ..counted(accepted.len() as u32, refused, lost)
        };
        prop_assert_eq!(receiver.counters, expected);
    }

    /// Whole frames of real messages, lost, doubled, turned around and damaged on the way: those
    /// taken in are those sent, in order, none twice, none wrong, and the counters tell the rest.
    #[test]
    fn a_conversation_survives_its_link(
        bodies in prop::collection::vec(round_trip::body(), 1..24),
        route in prop::collection::vec((0..24_usize, 0..6_u8, any::<u16>(), 1..=u8::MAX), 0..40),
    ) {
        let messages: Vec<Message> = bodies
            .iter()
            .map(|(kind, body)| Message::decode(*kind, body).expect("a message"))
            .collect();
        let mut sender = Sender::default();
        sender.open(SESSION);
        let frames: Vec<Frame> = messages
            .iter()
            .map(|message| match message {
                Message::ToController(message) => sender.to_controller(message).map(|(_, f)| f),
                Message::ToHost(message) => sender.to_host(message),
            })
            .collect::<Result<_, _>>()
            .expect("all of them fit");
        let mut reader = FrameReader::new();
        let mut receiver = receiver();
        let mut taken: Vec<usize> = Vec::new();
        let mut arrived = 0_u32;
        for (index, fate, place, mask) in route {
            let Some(frame) = frames.get(index) else { continue };
            let mut bytes = frame.bytes().to_vec();
            match fate {
                0 => {
                    let place = usize::from(place) % bytes.len();
                    bytes[place] ^= mask;
                }
                1 => bytes.truncate(usize::from(place) % bytes.len()),
                _ => {}
            }
            for byte in bytes {
                let (header, body) = match reader.feed(byte) {
                    Received::Nothing => continue,
                    Received::Fault(fault) => {
                        receiver.counters.count_fault(fault);
                        arrived += 1;
                        continue;
                    }
                    Received::Packet(header, body) => (header, body.to_vec()),
                };
                arrived += 1;
                let kind = receiver.kind(header);
                prop_assert!(kind.is_some(), "a kind that was never sent");
                let message = Message::decode(kind.unwrap(), &body);
                prop_assert!(message.is_ok(), "a body that was never sent");
                if receiver.take_in(header) {
                    prop_assert_eq!(&message.unwrap(), &messages[usize::from(header.seq)]);
                    prop_assert!(taken.last().is_none_or(|last| *last < usize::from(header.seq)));
                    taken.push(usize::from(header.seq));
                }
            }
        }
        let counters = receiver.counters;
        prop_assert_eq!(counters.accepted as usize, taken.len());
        prop_assert_eq!(counters.accepted + counters.faults() - u32::from(counters.lost), arrived);
        let span = taken.last().zip(taken.first()).map_or(0, |(last, first)| last - first + 1);
        prop_assert_eq!(usize::from(counters.lost), span - taken.len());
    }
}
