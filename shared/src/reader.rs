//! The byte-fed reader of frames.
//!
//! ```text
//!             byte fits                      0x00: packet whole, CRC right -> Received
//!            +--------+                      0x00: otherwise               -> Fault, counted
//!            v        |
//!   start -> Reading -+-- packet too long --> Skipping --- 0x00 ---> Reading
//! ```
//!
//! After an overlong frame the reader *skips* to the next zero, so that the tail of a damaged
//! frame is never taken for the start of one. Every fault is returned once, at the byte that
//! shows it.

use crate::packet::{self, Header, MAX_PACKET, PacketFault};

/// Reader of one byte stream.
#[derive(Debug, Clone)]
pub struct FrameReader {
    buffer: [u8; MAX_PACKET],
    length: usize,
    /// Bytes left in the COBS group; 0 = the next byte is a code.
    group: u8,
    /// A zero stands between this group and the next one.
    zero_due: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of a frame was read.
    Between,
    Reading,
    Skipping,
}

/// What a byte completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing yet.
    Nothing,
    /// A frame whose CRC is right.
    Packet(Header, &'a [u8]),
    /// A frame that is lost.
    Fault(FrameFault),
}

/// Why a frame is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFault {
    /// Longer than a frame can be; skipped up to the next zero.
    Overflow,
    /// The closing zero came inside a COBS group: bytes were lost or changed.
    Cobs,
    /// Shorter than header and CRC.
    Short,
    /// The CRC does not match.
    Crc,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameReader {
    /// A reader that expects the start of a frame.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: [0; MAX_PACKET],
            length: 0,
            group: 0,
            zero_due: false,
            state: State::Between,
        }
    }

    /// Takes in one byte.
    pub fn feed(&mut self, byte: u8) -> Received<'_> {
        if byte == 0 {
            return self.close();
        }
        if self.state == State::Skipping {
            return Received::Nothing;
        }
        if self.state == State::Between {
            self.length = 0;
            self.group = 0;
            self.zero_due = false;
            self.state = State::Reading;
        }
        if self.group > 0 {
            self.group = self.group.wrapping_sub(1);
            return self.push(byte);
        }
        // A code byte: the zero that the group before it stood for is written now, not at that
        // group's end, because the last group of a frame stands for none.
        let result = if self.zero_due { self.push(0) } else { Received::Nothing };
        let overflow = matches!(result, Received::Fault(_));
        self.group = byte.wrapping_sub(1);
        // The code 255 stands for no zero, but its group is longer than a packet and overflows.
        self.zero_due = true;
        if overflow { Received::Fault(FrameFault::Overflow) } else { Received::Nothing }
    }

    fn push(&mut self, byte: u8) -> Received<'_> {
        match self.buffer.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length = self.length.saturating_add(1);
                Received::Nothing
            }
            None => {
                self.state = State::Skipping;
                Received::Fault(FrameFault::Overflow)
            }
        }
    }

    fn close(&mut self) -> Received<'_> {
        let state = core::mem::replace(&mut self.state, State::Between);
        match state {
            // Zeros between frames are allowed; a skipped frame was reported when it overflowed.
            State::Between | State::Skipping => Received::Nothing,
            State::Reading if self.group > 0 => Received::Fault(FrameFault::Cobs),
            State::Reading => match packet::open(self.buffer.get(..self.length).unwrap_or(&[])) {
                Ok((header, body)) => Received::Packet(header, body),
                Err(PacketFault::Short) => Received::Fault(FrameFault::Short),
                Err(PacketFault::Crc) => Received::Fault(FrameFault::Crc),
            },
        }
    }
}
