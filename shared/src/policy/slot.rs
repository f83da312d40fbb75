//! A slot of the policy store: an image, and behind it what makes it valid.
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | length of the image | the image |
//! | end − 96 | 32 | begin record: which image is being received |
//! | end − 64 | 32 | commit record: that it was received whole and checked |
//! | end − 32 | 32 | revocation: anything but `0xff` takes the commit back |
//!
//! Records are written once between two erasures, so that they fit memory that takes a write only
//! once (NOR flash with error correction included). Each has its own check sum: one that was torn
//! by a power cut is none. A record is four words, magic, two or three values, and CRC-32C of what
//! is before it, padded with `0xff` to the largest unit of writing.

use super::view::u32_at;
use super::{MAX_IMAGE, PolicyView};
use crate::crc32c;

/// Bytes of a record: the largest unit of writing that a memory may have.
pub const RECORD: usize = 32;
/// Bytes behind the image.
pub const TRAILER: usize = 3 * RECORD;
/// Bytes of a slot that takes every image there can be.
pub const MAX_SLOT: usize = MAX_IMAGE + TRAILER;
/// What erased memory reads.
pub const ERASED: u8 = 0xff;

const BEGIN: u32 = u32::from_le_bytes(*b"CSPB");
const COMMIT: u32 = u32::from_le_bytes(*b"CSPC");

/// An image by its key figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Length, bytes.
    pub length: u32,
    /// CRC-32C, as in its header.
    pub crc: u32,
    /// Sequence number, as in its header.
    pub sequence: u32,
}

impl Described {
    /// The key figures of an image.
    #[must_use]
    pub fn of(policy: &PolicyView<'_>) -> Self {
        Self {
            length: super::view::length_u32(policy.bytes().len()),
            crc: policy.crc(),
            sequence: policy.sequence(),
        }
    }

    /// The begin record of this image.
    #[must_use]
    pub fn begin_record(&self) -> [u8; RECORD] {
        self.record(BEGIN)
    }

    /// The commit record of this image.
    #[must_use]
    pub fn commit_record(&self) -> [u8; RECORD] {
        self.record(COMMIT)
    }

    fn record(&self, magic: u32) -> [u8; RECORD] {
        let mut record = [ERASED; RECORD];
        let words = [magic, self.length, self.crc, self.sequence];
        for (place, byte) in record.iter_mut().zip(words.iter().flat_map(|word| word.to_le_bytes()))
        {
            *place = byte;
        }
        let check = crc32c::of(record.get(..16).unwrap_or(&[]));
        for (place, byte) in record.iter_mut().skip(16).zip(check.to_le_bytes()) {
            *place = byte;
        }
        record
    }

    fn read(record: &[u8], magic: u32) -> Option<Self> {
        let found = Self {
            length: u32_at(record, 4)?,
            crc: u32_at(record, 8)?,
            sequence: u32_at(record, 12)?,
        };
        (record == found.record(magic)).then_some(found)
    }
}

/// A slot as it is in memory.
#[derive(Debug, Clone, Copy)]
pub struct SlotView<'a> {
    bytes: &'a [u8],
}

impl<'a> SlotView<'a> {
    /// The slot in these bytes; one shorter than its trailer holds nothing.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes there are for an image.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.bytes.len().saturating_sub(TRAILER)
    }

    /// Offset of the begin record.
    #[must_use]
    pub fn begin_offset(&self) -> usize {
        self.capacity()
    }

    /// Offset of the commit record.
    #[must_use]
    pub fn commit_offset(&self) -> usize {
        self.capacity().saturating_add(RECORD)
    }

    /// Offset of the revocation.
    #[must_use]
    pub fn revocation_offset(&self) -> usize {
        self.commit_offset().saturating_add(RECORD)
    }

    /// The bytes of an image of this length, were there one; `None` where it does not fit.
    #[must_use]
    pub fn image(&self, length: u32) -> Option<&'a [u8]> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.capacity())?;
        self.bytes.get(..length)
    }

    fn record(&self, offset: usize) -> &'a [u8] {
        self.bytes.get(offset..).and_then(|rest| rest.get(..RECORD)).unwrap_or(&[])
    }

    /// The image that was being received, where it still can be.
    ///
    /// `None` also where commit or revocation were touched: memory that takes a write only once
    /// must be erased before they can be written.
    #[must_use]
    pub fn receiving(&self) -> Option<Described> {
        let untouched = [self.commit_offset(), self.revocation_offset()]
            .iter()
            .all(|offset| self.record(*offset).iter().all(|byte| *byte == ERASED));
        let begun = Described::read(self.record(self.begin_offset()), BEGIN)?;
        (untouched && self.image(begun.length).is_some()).then_some(begun)
    }

    /// The image that was committed and not revoked, as its record says; the image itself is not
    /// looked at.
    #[must_use]
    pub fn committed(&self) -> Option<Described> {
        let revocation = self.record(self.revocation_offset());
        let revoked = revocation.is_empty() || revocation.iter().any(|byte| *byte != ERASED);
        let committed = Described::read(self.record(self.commit_offset()), COMMIT)?;
        (!revoked).then_some(committed)
    }

    /// The valid policy of the slot: committed, whole, checked from the first byte to the last.
    #[must_use]
    pub fn policy(&self) -> Option<PolicyView<'a>> {
        let committed = self.committed()?;
        let policy = PolicyView::open(self.image(committed.length)?).ok()?;
        (Described::of(&policy) == committed).then_some(policy)
    }

    /// Bytes from the start of the slot that were written: up to the last unit of `unit` bytes
    /// that is not erased, of the first `length`.
    #[must_use]
    pub fn written(&self, length: u32, unit: usize) -> usize {
        let image = self.image(length).unwrap_or(&[]);
        let mut end = image.len();
        for piece in image.chunks(unit.max(1)).rev() {
            if piece.iter().any(|byte| *byte != ERASED) {
                return end;
            }
            end = end.saturating_sub(piece.len());
        }
        0
    }
}

/// Which of two slots a board runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The first.
    A,
    /// The second.
    B,
}

impl Which {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// The slot with the newest valid policy; `None` where neither has one.
///
/// Of two valid policies the newer is the one whose sequence number is ahead on the circle of 2³².
#[must_use]
pub fn newest(a: &SlotView<'_>, b: &SlotView<'_>) -> Option<Which> {
    match (a.policy(), b.policy()) {
        (None, None) => None,
        (Some(_), None) => Some(Which::A),
        (None, Some(_)) => Some(Which::B),
        (Some(a), Some(b)) => {
            let b_ahead = b.sequence().wrapping_sub(a.sequence());
            Some(if b_ahead != 0 && b_ahead < 1 << 31 { Which::B } else { Which::A })
        }
    }
}
