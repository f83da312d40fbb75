//! The schema fingerprint: whether two builds agree on the layout of every message.
//!
//! `MIN..=CURRENT` says what is meant to work together, the fingerprint whether the builds are
//! identical. It is a 32-bit FNV-1a over the 64-bit keys of all message types, each key itself an
//! FNV-1a over the type's postcard schema and its kind's name (postcard-schema, `Key::for_path`),
//! and over the limits that a schema does not show: [`LIMITS`].

use postcard_schema::Schema;
use postcard_schema::key::Key;
use postcard_schema::schema::NamedType;

use crate::kind::Kind;
use crate::packet::MAX_BODY;
use crate::to_controller::{MAX_CHUNK, MAX_SAMPLES};
use crate::{to_controller, to_host};

/// Name, kind and schema of one message.
#[derive(Debug, Clone, Copy)]
pub struct MessageSchema {
    /// The kind in the header.
    pub kind: Kind,
    /// Name of the type.
    pub name: &'static str,
    /// Layout of the body.
    pub schema: &'static NamedType,
    key: Key,
}

impl MessageSchema {
    /// The schema of message type `T`, called `name`, of kind `kind`.
    #[must_use]
    pub const fn of<T: Schema>(kind: Kind, name: &'static str) -> Self {
        Self { kind, name, schema: T::SCHEMA, key: Key::for_path::<T>(name) }
    }
}

macro_rules! message {
    ($module:ident, $name:ident) => {
        MessageSchema::of::<$module::$name>(Kind::$name, stringify!($name))
    };
}

/// Every message, in the order of its kind.
pub const MESSAGES: [MessageSchema; 16] = [
    message!(to_controller, Hello),
    message!(to_controller, Application),
    message!(to_controller, Seed),
    message!(to_controller, Telemetry),
    message!(to_controller, Outcomes),
    message!(to_controller, Limits),
    message!(to_controller, PolicyBegin),
    message!(to_controller, PolicyChunk),
    message!(to_controller, PolicyCommit),
    message!(to_controller, Query),
    message!(to_host, Welcome),
    message!(to_host, Decision),
    message!(to_host, Status),
    message!(to_host, PolicyAck),
    message!(to_host, Refused),
    message!(to_host, Trace),
];

/// Capacities of the sequences in messages and of a body: two builds that differ here have the same
/// schemas and yet refuse each other's messages.
pub const LIMITS: [usize; 3] = [MAX_SAMPLES, MAX_CHUNK, MAX_BODY];

/// Fingerprint of this build's messages; never 0.
pub const FINGERPRINT: u32 = fingerprint(&MESSAGES, &LIMITS);

/// Fingerprint of a set of messages and limits; never 0. Evaluated by the compiler for
/// [`FINGERPRINT`]; callable for other sets so that tests can show what changes it.
// Indices and the step to the next one cannot leave the slices, whose lengths bound them.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#[must_use]
pub const fn fingerprint(messages: &[MessageSchema], limits: &[usize]) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut message = 0;
    while message < messages.len() {
        let key = messages[message].key.to_bytes();
        let mut byte = 0;
        while byte < key.len() {
            hash = fold(hash, key[byte]);
            byte += 1;
        }
        hash = fold(hash, messages[message].kind as u8);
        message += 1;
    }
    let mut limit = 0;
    while limit < limits.len() {
        let bytes = (limits[limit] as u64).to_le_bytes();
        let mut byte = 0;
        while byte < bytes.len() {
            hash = fold(hash, bytes[byte]);
            byte += 1;
        }
        limit += 1;
    }
    if hash == 0 { 1 } else { hash }
}

/// One step of FNV-1a.
const fn fold(hash: u32, byte: u8) -> u32 {
    // Not `u32::from`: conversions by trait are not const.
    #[allow(clippy::cast_lossless)]
    let wide = byte as u32;
    (hash ^ wide).wrapping_mul(0x0100_0193)
}
