//! A packet: `header | body | CRC-32C`, the content of a frame.
//!
//! Header, 6 bytes, little-endian, the same in every version: protocol `u8`, kind `u8`, session
//! `u16`, sequence `u16`. Body: postcard, at most [`MAX_BODY`] bytes. The CRC covers header and
//! body.

use serde::{Deserialize, Serialize};

use crate::crc32c;

/// Bytes of the header.
pub const HEADER: usize = 6;
/// Most bytes of a body.
pub const MAX_BODY: usize = 50;
/// Bytes of the CRC.
pub const CHECK: usize = 4;
/// Most bytes of a packet.
pub const MAX_PACKET: usize = HEADER + MAX_BODY + CHECK;

/// Header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// Protocol version the body is written in.
    pub protocol: u8,
    /// Kind of the message, see [`crate::kind::Kind`].
    pub kind: u8,
    /// Session the frame belongs to; 0 = none.
    pub session: u16,
    /// Running number of the sender's frames in the session, wrapping.
    pub seq: u16,
}

impl Header {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER] {
        let [session_low, session_high] = self.session.to_le_bytes();
        let [seq_low, seq_high] = self.seq.to_le_bytes();
        [self.protocol, self.kind, session_low, session_high, seq_low, seq_high]
    }

    /// The header of these bytes; any bytes are one.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HEADER]) -> Self {
        let [protocol, kind, s0, s1, q0, q1] = bytes;
        Self {
            protocol,
            kind,
            session: u16::from_le_bytes([s0, s1]),
            seq: u16::from_le_bytes([q0, q1]),
        }
    }
}

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// It does not fit the buffer.
    TooLong,
    /// The kind does not go in this direction.
    WrongKind,
    /// The bytes are not such a message, or there are bytes behind it.
    Malformed,
}

impl core::fmt::Display for BodyFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the body is longer than a frame holds",
            Self::WrongKind => "the message goes the other way",
            Self::Malformed => "the body is not such a message",
        })
    }
}

impl core::error::Error for BodyFault {}

#[cfg(feature = "postcard")]
pub(crate) fn encode_body<T: Serialize>(message: &T, out: &mut [u8]) -> Result<usize, BodyFault> {
    postcard::to_slice(message, out).map(|used| used.len()).map_err(|_| BodyFault::TooLong)
}

#[cfg(not(feature = "postcard"))]
pub(crate) fn encode_body<T: Serialize>(message: &T, out: &mut [u8]) -> Result<usize, BodyFault> {
    crate::body::write(message, out).map_err(|_| BodyFault::TooLong)
}

/// Reads from the start of a body; gives what is left too.
#[cfg(feature = "postcard")]
pub(crate) fn decode_start<'a, T: Deserialize<'a>>(
    body: &'a [u8],
) -> Result<(T, &'a [u8]), BodyFault> {
    postcard::take_from_bytes(body).map_err(|_| BodyFault::Malformed)
}

/// Reads from the start of a body; gives what is left too.
#[cfg(not(feature = "postcard"))]
pub(crate) fn decode_start<'a, T: Deserialize<'a>>(
    body: &'a [u8],
) -> Result<(T, &'a [u8]), BodyFault> {
    crate::body::read(body).map_err(|_| BodyFault::Malformed)
}

pub(crate) fn decode_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BodyFault> {
    match decode_start(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(BodyFault::Malformed),
    }
}

/// Puts the packet of `header` and the body that `write` writes into `bytes`, which has room for
/// [`MAX_PACKET`]; gives its length.
pub(crate) fn fill(
    bytes: &mut [u8],
    header: Header,
    write: impl FnOnce(&mut [u8]) -> Result<usize, BodyFault>,
) -> Result<usize, BodyFault> {
    let (head, rest) = bytes.split_first_chunk_mut::<HEADER>().ok_or(BodyFault::TooLong)?;
    *head = header.to_bytes();
    let body = rest.get_mut(..MAX_BODY).ok_or(BodyFault::TooLong)?;
    let checked = HEADER.saturating_add(write(body)?);
    let crc = crc32c::of(bytes.get(..checked).ok_or(BodyFault::TooLong)?);
    let check = bytes.get_mut(checked..).and_then(|rest| rest.first_chunk_mut::<CHECK>());
    *check.ok_or(BodyFault::TooLong)? = crc.to_le_bytes();
    Ok(checked.saturating_add(CHECK))
}

/// A packet in a buffer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    bytes: [u8; MAX_PACKET],
    length: usize,
}

impl Packet {
    /// Builds the packet of `header` and the body that `write` puts into the slice it is given.
    ///
    /// # Errors
    /// What `write` returns.
    pub fn build(
        header: Header,
        write: impl FnOnce(&mut [u8]) -> Result<usize, BodyFault>,
    ) -> Result<Self, BodyFault> {
        let mut bytes = [0; MAX_PACKET];
        let length = fill(&mut bytes, header, write)?;
        Ok(Self { bytes, length })
    }

    /// The bytes, CRC included.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

/// What is wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketFault {
    /// Shorter than header and CRC.
    Short,
    /// The CRC does not match.
    Crc,
}

/// Checks a packet and takes it apart.
///
/// # Errors
/// [`PacketFault`] where it is too short or damaged.
pub fn open(packet: &[u8]) -> Result<(Header, &[u8]), PacketFault> {
    let (checked, crc) = packet.split_last_chunk::<CHECK>().ok_or(PacketFault::Short)?;
    let (header, body) = checked.split_first_chunk::<HEADER>().ok_or(PacketFault::Short)?;
    if crc32c::of(checked) != u32::from_le_bytes(*crc) {
        return Err(PacketFault::Crc);
    }
    Ok((Header::from_bytes(*header), body))
}
