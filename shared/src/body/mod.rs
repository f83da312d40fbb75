//! How the fields of a message are written: postcard's encoding
//! (<https://postcard.jamesmunns.com/wire-format>), for what the messages are made of.
//!
//! Structs, arrays and tuples are their parts in order; `u8` and flags take a byte; `u16` and `u32`
//! are varints, `i32` is a zigzag varint; an enum is the index of its variant and its content; bytes
//! written as a whole have their length before them. Anything else is refused, so that a message
//! that uses it fails the tests.
//!
//! The controller's side is built with this in place of the postcard crate, since frames have a
//! budget of instructions: numbers are read and written by words here. The agent's side uses the
//! crate (feature `postcard`), so the two talk to each other in every test with the firmware; and
//! the tests hold every message, damaged ones too, against the crate.

mod read;
mod write;

pub use read::read;
pub use write::write;

/// The top bit of each byte of a word: in a varint, another byte follows.
const MORE: u32 = 0x8080_8080;

/// No room, no such message, or a type that no message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit;

impl core::fmt::Display for Unfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the body is not such a message")
    }
}

impl core::error::Error for Unfit {}

impl serde::ser::Error for Unfit {
    fn custom<T: core::fmt::Display>(_: T) -> Self {
        Self
    }
}

impl serde::de::Error for Unfit {
    fn custom<T: core::fmt::Display>(_: T) -> Self {
        Self
    }
}
