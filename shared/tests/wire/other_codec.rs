//! Bodies held against the postcard crate. Where the crate under test was built with it, that is
//! what it uses itself; so what the controller's side uses is asked for directly, too.

use coshift_shared::body;
use coshift_shared::kind::Kind;
use coshift_shared::packet::MAX_BODY;
use coshift_shared::to_controller::{
    Application, Hello, Limits, Outcomes, PolicyBegin, PolicyChunk, PolicyCommit, Query, Seed,
    Telemetry, ToController,
};
use coshift_shared::to_host::{Decision, PolicyAck, Refused, Status, ToHost, Trace, Welcome};
use proptest::prelude::*;

use crate::message::Message;
use crate::property::config;
use crate::round_trip;

/// The body of a message as `$write` writes it, which gives the bytes used.
macro_rules! written {
    ($message:expr, $write:expr) => {{
        let mut place = [0; MAX_BODY];
        let used = match $message {
            Message::ToController(message) => match message {
                ToController::Hello(m) => $write(m, &mut place),
                ToController::Application(m) => $write(m, &mut place),
                ToController::Seed(m) => $write(m, &mut place),
                ToController::Telemetry(m) => $write(m, &mut place),
                ToController::Outcomes(m) => $write(m, &mut place),
                ToController::Limits(m) => $write(m, &mut place),
                ToController::PolicyBegin(m) => $write(m, &mut place),
                ToController::PolicyChunk(m) => $write(m, &mut place),
                ToController::PolicyCommit(m) => $write(m, &mut place),
                ToController::Query(m) => $write(m, &mut place),
                other => panic!("{other:?}: a message the tests do not know; add it here"),
            },
            Message::ToHost(message) => match message {
                ToHost::Welcome(m) => $write(m, &mut place),
                ToHost::Decision(m) => $write(m, &mut place),
                ToHost::Status(m) => $write(m, &mut place),
                ToHost::PolicyAck(m) => $write(m, &mut place),
                ToHost::Refused(m) => $write(m, &mut place),
                ToHost::Trace(m) => $write(m, &mut place),
                other => panic!("{other:?}: a message the tests do not know; add it here"),
            },
        };
        place[..used].to_vec()
    }};
}

fn crate_writes<T: serde::Serialize>(message: &T, place: &mut [u8]) -> usize {
    postcard::to_slice(message, place).expect("it fits a body").len()
}

fn body_writes<T: serde::Serialize>(message: &T, place: &mut [u8]) -> usize {
    body::write(message, place).expect("it fits a body")
}

/// The body of a message as the postcard crate writes it.
fn written(message: &Message) -> Vec<u8> {
    written!(message, crate_writes)
}

/// As the controller's side writes it.
fn written_by_words(message: &Message) -> Vec<u8> {
    written!(message, body_writes)
}

/// The message that `$read` reads from a body, where it takes all of it.
macro_rules! read_by {
    ($kind:expr, $body:expr, $read:ident) => {{
        macro_rules! whole {
            ($direction:ident, $name:ident) => {
                match $read::<$name>($body) {
                    Some((message, [])) => Some(Message::$direction($direction::$name(message))),
                    _ => None,
                }
            };
        }
        match $kind {
            Kind::Hello => whole!(ToController, Hello),
            Kind::Application => whole!(ToController, Application),
            Kind::Seed => whole!(ToController, Seed),
            Kind::Telemetry => whole!(ToController, Telemetry),
            Kind::Outcomes => whole!(ToController, Outcomes),
            Kind::Limits => whole!(ToController, Limits),
            Kind::PolicyBegin => whole!(ToController, PolicyBegin),
            Kind::PolicyChunk => whole!(ToController, PolicyChunk),
            Kind::PolicyCommit => whole!(ToController, PolicyCommit),
            Kind::Query => whole!(ToController, Query),
            Kind::Welcome => whole!(ToHost, Welcome),
            Kind::Decision => whole!(ToHost, Decision),
            Kind::Status => whole!(ToHost, Status),
            Kind::PolicyAck => whole!(ToHost, PolicyAck),
            Kind::Refused => whole!(ToHost, Refused),
            Kind::Trace => whole!(ToHost, Trace),
            Kind::Unused => None,
        }
    }};
}

fn crate_reads<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes).ok()
}

fn body_reads<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    body::read(bytes).ok()
}

/// The message that the postcard crate reads.
fn read(kind: Kind, bytes: &[u8]) -> Option<Message> {
    read_by!(kind, bytes, crate_reads)
}

/// The one that the controller's side reads.
fn read_by_words(kind: Kind, bytes: &[u8]) -> Option<Message> {
    read_by!(kind, bytes, body_reads)
}

/// Both read the same from a body, right or not. Only the length of a sequence may differ: that
/// crate takes one that is longer than it need be.
fn assert_read_the_same(kind: Kind, body: &[u8]) {
    let theirs = read(kind, body);
    assert_alike(kind, body, Message::decode(kind, body).ok().as_ref(), theirs.as_ref());
    // Outcomes are read in parts, their samples as a whole.
    if kind != Kind::Outcomes {
        assert_alike(kind, body, read_by_words(kind, body).as_ref(), theirs.as_ref());
    }
}

fn assert_alike(kind: Kind, body: &[u8], ours: Option<&Message>, theirs: Option<&Message>) {
    if ours == theirs {
        return;
    }
    let sequence = matches!(kind, Kind::Outcomes | Kind::PolicyChunk);
    let longer = theirs.is_some_and(|message| written(message).len() < body.len());
    assert!(
        ours.is_none() && sequence && longer,
        "{kind:?} {body:02x?}: {ours:?}, of the postcard crate {theirs:?}"
    );
}

proptest! {
    #![proptest_config(config(8_000))]

    #[test]
    fn bodies_are_those_of_the_postcard_crate((kind, bytes) in round_trip::body()) {
        let message = Message::decode(kind, &bytes).expect("a message");
        prop_assert_eq!(written(&message), bytes.clone());
        prop_assert_eq!(message.body(), bytes.clone());
        if kind != Kind::Outcomes {
            prop_assert_eq!(written_by_words(&message), bytes.clone());
            prop_assert_eq!(read_by_words(kind, &bytes), Some(message.clone()));
        }
        prop_assert_eq!(read(kind, &bytes), Some(message));
    }

    /// Bytes replaced, put in or taken out: the codes of numbers become longer, shorter and larger
    /// than they may be.
    #[test]
    fn damaged_bodies_are_read_as_by_the_postcard_crate(
        (kind, mut bytes) in round_trip::body(),
        damage in prop::collection::vec(
            (any::<u16>(), 0_usize..3, prop::collection::vec(damaged_byte(), 0..3)), 1..4),
    ) {
        for (place, removed, inserted) in damage {
            let place = usize::from(place) % (bytes.len() + 1);
            let end = (place + removed).min(bytes.len());
            bytes.splice(place..end, inserted);
        }
        assert_read_the_same(kind, &bytes);
    }

    #[test]
    fn arbitrary_bodies_are_read_as_by_the_postcard_crate(
        bytes in prop::collection::vec(any::<u8>(), 0..=MAX_BODY),
    ) {
        for kind in Kind::ALL {
            assert_read_the_same(kind, &bytes);
        }
    }
}

/// Any byte, and more often those that make or end a long number.
fn damaged_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![0x00, 0x03, 0x04, 0x0f, 0x10, 0x7f, 0x80, 0xff]),
    ]
}

/// Every length of a number, at its ends and with codes longer than it needs, cut at every byte.
#[test]
fn numbers_are_read_as_by_the_postcard_crate() {
    let lasts = [0x00, 0x01, 0x03, 0x04, 0x0f, 0x10, 0x7f];
    for kind in [Kind::PolicyAck, Kind::Refused, Kind::Limits] {
        for more in [0x80, 0x81, 0xff] {
            for count in 0..7 {
                for last in lasts {
                    let mut number = vec![more; count];
                    number.push(last);
                    // The second number of an acknowledgement, a sequence number, a power.
                    let mut body = vec![0x05];
                    body.extend(&number);
                    body.extend([0x01, 0x01]);
                    for length in 0..=body.len() {
                        assert_read_the_same(kind, &body[..length]);
                    }
                }
            }
        }
    }
}
