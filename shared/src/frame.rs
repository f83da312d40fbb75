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
#[derive(Clone, Copy)]
pub struct Frame {
    bytes: [u8; MAX_FRAME],
    length: usize,
}

impl Frame {
    /// No frame yet: no bytes.
    pub const EMPTY: Self = Self { bytes: [0; MAX_FRAME], length: 0 };

    /// The frame of `header` and the body that `write` writes.
    ///
    /// # Errors
    /// What `write` returns.
    pub fn build(
        header: Header,
        write: impl FnOnce(&mut [u8]) -> Result<usize, BodyFault>,
    ) -> Result<Self, BodyFault> {
        let mut frame = Self::EMPTY;
        frame.fill(header, write)?;
        Ok(frame)
    }

    /// Becomes the frame of `header` and the body that `write` writes; [`Frame::EMPTY`]'s bytes where
    /// that fails.
    ///
    /// # Errors
    /// What `write` returns.
    pub fn fill(
        &mut self,
        header: Header,
        write: impl FnOnce(&mut [u8]) -> Result<usize, BodyFault>,
    ) -> Result<(), BodyFault> {
        self.length = 0;
        let Some((_, rest)) = self.bytes.split_first_mut() else { return Err(BodyFault::TooLong) };
        let packet = packet::fill(rest, header, write)?;
        self.code(packet);
        Ok(())
    }

    /// The frame of a packet.
    #[must_use]
    pub fn of_packet(packet: &Packet) -> Self {
        let mut frame = Self::EMPTY;
        for (place, byte) in frame.bytes.iter_mut().skip(1).zip(packet.bytes()) {
            *place = *byte;
        }
        frame.code(packet.bytes().len());
        frame
    }

    /// Codes a packet of so many bytes, which lies behind the room for the first code.
    fn code(&mut self, packet: usize) {
        let [first, rest @ ..] = &mut self.bytes;
        let Some((packet, [end, ..])) = rest.split_at_mut_checked(packet) else { return };
        *end = 0;
        self.length = packet.len().saturating_add(2);
        // Every zero of the packet, and its end, closes a group, whose length + 1 stands in the
        // place before it. No group reaches 254 bytes, so the code 0xFF does not occur.
        let (rest, words) = packet.as_rchunks_mut::<4>();
        let mut code = 1_u8;
        // From the end on, whole words first: most have no zero.
        for word in words.iter_mut().rev() {
            code = if has_zero(u32::from_le_bytes(*word)) {
                let [a, b, c, d] = word;
                close(a, close(b, close(c, close(d, code))))
            } else {
                code.wrapping_add(4)
            };
        }
        *first = rest.iter_mut().rev().fold(code, |code, byte| close(byte, code));
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Frame {}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Frame({:02x?})", self.bytes())
    }
}

/// Whether a byte of the word is zero: only then the borrow of its 1 sets a top bit that was clear.
fn has_zero(word: u32) -> bool {
    word.wrapping_sub(0x0101_0101) & !word & 0x8080_8080 != 0
}

/// Puts the code of the group behind a byte in its place where it is zero; gives the code of the
/// group that the byte is in, or ends.
#[inline]
fn close(byte: &mut u8, code: u8) -> u8 {
    if *byte == 0 {
        *byte = code;
        1
    } else {
        code.wrapping_add(1)
    }
}
