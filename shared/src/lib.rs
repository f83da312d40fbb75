//! Units, messages, framing and the policy image: the only place of Coshift that knows bytes.
//!
//! * [`time`] — the wrapping microsecond clock that every message is stamped with
//! * [`to_controller`], [`to_host`] — the message set, [`kind`] its discriminants
//! * [`body`] — how the fields of a message are written, where that is not left to the postcard crate
//! * [`packet`], [`frame`], [`reader`] — `header | body | CRC-32C`, COBS framing, the skipping reader
//! * [`session`] — which frames belong to the conversation: sessions, sequence numbers, counters
//! * [`schema`] — the fingerprint that says whether two builds agree on every byte
//! * [`policy`] — the policy image, read in place; with feature `std` also its writer
//!
//! Nothing here reads a clock, allocates (but for the writer) or panics.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod body;
pub mod crc32c;
pub mod frame;
pub mod kind;
pub mod packet;
pub mod policy;
pub mod protocol;
pub mod reader;
pub mod schema;
pub mod session;
pub mod time;
pub mod to_controller;
pub mod to_host;
pub mod units;
