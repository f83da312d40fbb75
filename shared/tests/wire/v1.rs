//! Golden bytes of protocol version 1.
//!
//! If a test here fails, change the code, not the test: boards in the field speak these bytes.
//!
//! For a new version: raise `protocol::CURRENT`, copy this module to `v2`, change the bytes of the
//! messages that differ there, and encode those in the version that was settled on. This file
//! stays, and its tests go on passing, as long as `protocol::MIN` is 1. Hello and Welcome are the
//! same in every version.

use std::collections::BTreeMap;

use coshift_shared::kind::Kind;
use coshift_shared::packet::Header;
use coshift_shared::protocol::MIN;
use coshift_shared::reader::{FrameReader, Received};

use crate::message::Message;

mod bytes;
mod values;

pub(crate) use values::{decision, hello, limits, welcome};

/// The version these bytes are of.
const VERSION: u8 = 1;

/// A message, its body and the name to report it by.
fn golden() -> Vec<(&'static str, Message, &'static [&'static [u8]])> {
    vec![
        ("HELLO", values::hello(), bytes::HELLO),
        ("APPLICATION_SET", values::application_set(), bytes::APPLICATION_SET),
        ("APPLICATION_REMOVE", values::application_remove(), bytes::APPLICATION_REMOVE),
        ("SEED_APPLICATION", values::seed_application(), bytes::SEED_APPLICATION),
        ("SEED_SENSORS", values::seed_sensors(), bytes::SEED_SENSORS),
        ("SEED_TAIL", values::seed_tail(), bytes::SEED_TAIL),
        ("SEED_POWER", values::seed_power(), bytes::SEED_POWER),
        ("SEED_BIAS", values::seed_bias(), bytes::SEED_BIAS),
        ("SEED_CLOCKS", values::seed_clocks(), bytes::SEED_CLOCKS),
        ("SEED_DEVICE", values::seed_device(), bytes::SEED_DEVICE),
        ("TELEMETRY", values::telemetry(), bytes::TELEMETRY),
        ("OUTCOMES", values::outcomes(), bytes::OUTCOMES),
        ("LIMITS", values::limits(), bytes::LIMITS),
        ("POLICY_BEGIN", values::policy_begin(), bytes::POLICY_BEGIN),
        ("POLICY_CHUNK", values::policy_chunk(), bytes::POLICY_CHUNK),
        ("POLICY_COMMIT", values::policy_commit(), bytes::POLICY_COMMIT),
        ("QUERY", values::query(), bytes::QUERY),
        ("WELCOME", values::welcome(), bytes::WELCOME),
        ("DECISION", values::decision(), bytes::DECISION),
        ("STATUS_LINK", values::status_link(), bytes::STATUS_LINK),
        ("STATUS_WORK", values::status_work(), bytes::STATUS_WORK),
        ("POLICY_ACK", values::policy_ack(), bytes::POLICY_ACK),
        ("REFUSED", values::refused(), bytes::REFUSED),
        ("TRACE", values::trace(), bytes::TRACE),
    ]
}

#[test]
fn this_build_still_speaks_version_1() {
    assert_eq!(MIN, VERSION, "version 1 was dropped: remove its golden bytes with this test");
}

#[test]
fn bodies_are_written_and_read_as_ever() {
    let mut kinds: BTreeMap<u8, usize> = BTreeMap::new();
    for (name, message, parts) in golden() {
        let bytes = parts.concat();
        assert_eq!(message.body(), bytes, "{name}\n{:02x?}", message.body());
        assert_eq!(Message::decode(message.kind(), &bytes).as_ref(), Ok(&message), "{name}");
        *kinds.entry(message.kind() as u8).or_default() += 1;
    }
    for kind in Kind::ALL {
        assert!(kinds.contains_key(&(kind as u8)), "{kind:?} has no golden bytes");
    }
}

#[test]
fn frames_are_written_and_read_as_ever() {
    let frames = [
        (values::hello(), 0x0001, 0x0000, bytes::HELLO_FRAME),
        (values::telemetry(), 0x0100, 0x0203, bytes::TELEMETRY_FRAME),
        (values::outcomes(), 0xbeef, 0xffff, bytes::OUTCOMES_FRAME),
        (values::decision(), 0x0001, 0x0002, bytes::DECISION_FRAME),
    ];
    for (message, session, seq, parts) in frames {
        let kind = message.kind();
        let header = Header { protocol: VERSION, kind: kind as u8, session, seq };
        let bytes = parts.concat();
        assert_eq!(message.frame(header).bytes(), bytes, "{kind:?}");

        let mut reader = FrameReader::new();
        let (last, before) = bytes.split_last().expect("a frame is not empty");
        for byte in before {
            assert_eq!(reader.feed(*byte), Received::Nothing, "{kind:?}");
        }
        let Received::Packet(read, body) = reader.feed(*last) else {
            panic!("{kind:?}: the golden frame was not read");
        };
        assert_eq!(read, header, "{kind:?}");
        assert_eq!(Message::decode(kind, body), Ok(message), "{kind:?}");
    }
}
