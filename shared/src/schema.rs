//! The schema fingerprint: whether two builds agree on the layout of every message.
//!
//! `MIN..=CURRENT` says what is meant to work together, the fingerprint whether the builds are
//! identical. It is a 32-bit FNV-1a over the 64-bit keys of all message types, each key itself an
//! FNV-1a over the type's postcard schema and its kind's name (postcard-schema, `Key::for_path`).

use postcard_schema::Schema;
use postcard_schema::key::Key;
use postcard_schema::schema::NamedType;

use crate::kind::Kind;
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

macro_rules! message {
    ($module:ident, $name:ident) => {
        MessageSchema {
            kind: Kind::$name,
            name: stringify!($name),
            schema: <$module::$name as Schema>::SCHEMA,
            key: Key::for_path::<$module::$name>(stringify!($name)),
        }
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

/// Fingerprint of this build's messages; never 0.
pub const FINGERPRINT: u32 = fingerprint();

// Evaluated by the compiler only, where a bad index or an overflow is a compile error.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn fingerprint() -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut message = 0;
    while message < MESSAGES.len() {
        let key = MESSAGES[message].key.to_bytes();
        let mut byte = 0;
        while byte < key.len() {
            hash = (hash ^ key[byte] as u32).wrapping_mul(0x0100_0193);
            byte += 1;
        }
        hash = (hash ^ MESSAGES[message].kind as u32).wrapping_mul(0x0100_0193);
        message += 1;
    }
    if hash == 0 { 1 } else { hash }
}
