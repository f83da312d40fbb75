//! The byte-fed reader of frames.
//!
//! ```text
//!             byte fits                      0x00: packet whole, CRC right -> Received
//!            +--------+                      0x00: otherwise               -> Fault, counted
//!            v        |
//!   start -> Reading -+-- packet too long --> Skipping --- 0x00 ---> Reading
//! ```
//!
//! Bytes are kept as they come; a whole frame is decoded where it lies: each code of its groups is
//! the place of the next zero, so that only the codes are looked at.
//!
//! After an overlong frame the reader *skips* to the next zero, so that the tail of a damaged
//! frame is never taken for the start of one. Every fault is returned once, at the byte that
//! shows it.

use crate::packet::{self, Header, MAX_PACKET, PacketFault};

/// Most bytes of a frame before its closing zero: a packet and its COBS byte.
const MAX_CODED: usize = MAX_PACKET + 1;
/// Bytes kept while an overlong frame is skipped: more than there is room for.
const SKIPPING: usize = MAX_CODED + 1;

/// Reader of one byte stream.
#[derive(Debug, Clone)]
pub struct FrameReader {
    buffer: [u8; MAX_CODED],
    /// Bytes of the frame so far, or [`SKIPPING`].
    length: usize,
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
        Self { buffer: [0; MAX_CODED], length: 0 }
    }

    /// Takes in one byte.
    #[inline]
    pub fn feed(&mut self, byte: u8) -> Received<'_> {
        if byte == 0 {
            return self.close();
        }
        if let Some(place) = self.buffer.get_mut(self.length) {
            *place = byte;
            self.length = self.length.wrapping_add(1);
            return Received::Nothing;
        }
        // As many bytes are decoded as have come, less the first one: this one is too many.
        if core::mem::replace(&mut self.length, SKIPPING) == SKIPPING {
            return Received::Nothing;
        }
        Received::Fault(FrameFault::Overflow)
    }

    #[inline(never)]
    fn close(&mut self) -> Received<'_> {
        let length = core::mem::take(&mut self.length);
        // A skipped frame was reported when it overflowed; zeros between frames are allowed.
        let Some(coded) = self.buffer.get_mut(..length).filter(|coded| !coded.is_empty()) else {
            return Received::Nothing;
        };
        match decode(coded).map(packet::open) {
            Some(Ok((header, body))) => Received::Packet(header, body),
            None => Received::Fault(FrameFault::Cobs),
            Some(Err(PacketFault::Short)) => Received::Fault(FrameFault::Short),
            Some(Err(PacketFault::Crc)) => Received::Fault(FrameFault::Crc),
        }
    }
}

/// The packet of a frame without its closing zero, in place; `None` where the zero came inside a
/// group.
fn decode(coded: &mut [u8]) -> Option<&[u8]> {
    // No code is zero, so this ends; the code 255 stands for no zero, but its group is longer than
    // a packet, as any that ends past the frame.
    let mut at = 0_usize;
    while let Some(code) = coded.get_mut(at) {
        at = at.wrapping_add(usize::from(core::mem::take(code)));
    }
    if at == coded.len() { coded.get(1..) } else { None }
}
