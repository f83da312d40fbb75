//! Frames on byte streams: `COBS(packet) 0x00`.
//!
//! COBS (Cheshire and Baker, 1999) removes every zero from the packet at the cost of one byte, so
//! that a zero always ends a frame and a reader finds the next frame after any damage.

use crate::packet::{BodyFault, Header, MAX_PACKET, Packet};

/// Most bytes of a frame, its closing zero included: one COBS byte, since a packet is shorter than
/// 254 bytes.
pub const MAX_FRAME: usize = MAX_PACKET + 2;

const _: () = assert!(MAX_FRAME <= 64, "every frame fits a 64-byte slot");
const _: () = assert!(MAX_PACKET < 254, "one COBS code byte is enough");

/// A frame in a buffer of its own, closing zero included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    bytes: [u8; MAX_FRAME],
    length: usize,
}

impl Frame {
    /// The frame of `header` and the body that `write` writes.
    ///
    /// # Errors
    /// What `write` returns.
    pub fn build(
        header: Header,
        write: impl FnOnce(&mut [u8]) -> Result<usize, BodyFault>,
    ) -> Result<Self, BodyFault> {
        Packet::build(header, write).map(|packet| Self::of_packet(&packet))
    }

    /// The frame of a packet.
    #[must_use]
    pub fn of_packet(packet: &Packet) -> Self {
        let mut bytes = [0; MAX_FRAME];
        let mut length = 0_usize;
        // Every zero of the packet, and its end, closes a group; a group is its length + 1 and
        // then its bytes. No group reaches 254 bytes, so the code 0xFF does not occur.
        for group in packet.bytes().split(|byte| *byte == 0) {
            let code = u8::try_from(group.len().saturating_add(1)).unwrap_or(u8::MAX);
            let place = bytes.iter_mut().skip(length);
            for (byte, value) in place.zip(core::iter::once(&code).chain(group)) {
                *byte = *value;
            }
            length = length.saturating_add(group.len()).saturating_add(1);
        }
        // The closing zero is there already.
        Self { bytes, length: length.saturating_add(1).min(MAX_FRAME) }
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}
