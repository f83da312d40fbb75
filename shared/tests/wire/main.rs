//! What goes over the wire: golden bytes of every protocol version, numbers that never change,
//! sizes, round trips, and what becomes of damaged streams.

mod discriminants;
mod document;
mod fingerprint;
mod message;
mod oracle;
mod other_codec;
#[path = "../common/property.rs"]
mod property;
mod round_trip;
mod session;
mod size;
mod stream;
mod v1;
