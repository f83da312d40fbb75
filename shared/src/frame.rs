//! Frames on byte streams: `COBS(packet) 0x00`.
//!
//! COBS (Cheshire and Baker, 1999) removes every zero from the packet at the cost of one byte, so
//! that a zero always ends a frame and a reader finds the next frame after any damage.

use crate::packet::{self, BodyFault, Header, MAX_PACKET, Packet};

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
        let mut bytes = [0; MAX_FRAME];
        let length = match bytes.split_first_chunk_mut::<1>() {
            Some((_, rest)) => packet::fill(rest, header, write)?,
            None => 0,
        };
        Ok(Self::coded(bytes, length))
    }

    /// The frame of a packet.
    #[must_use]
    pub fn of_packet(packet: &Packet) -> Self {
        let mut bytes = [0; MAX_FRAME];
        for (place, byte) in bytes.iter_mut().skip(1).zip(packet.bytes()) {
            *place = *byte;
        }
        Self::coded(bytes, packet.bytes().len())
    }

    /// Codes a packet of so many bytes, which lies behind the room for the first code.
    fn coded(mut bytes: [u8; MAX_FRAME], packet: usize) -> Self {
        // Every zero of the packet, and its end, closes a group, whose length + 1 stands in the
        // place before it. No group reaches 254 bytes, so the code 0xFF does not occur.
        let mut code = 1_u8;
        if let Some((first, rest)) = bytes.split_first_mut() {
            for byte in rest.get_mut(..packet).unwrap_or(&mut []).iter_mut().rev() {
                if *byte == 0 {
                    *byte = code;
                    code = 0;
                }
                code = code.wrapping_add(1);
            }
            *first = code;
        }
        // The closing zero is there already.
        Self { bytes, length: packet.saturating_add(2).min(MAX_FRAME) }
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}
