//! The digest of everything a controller took in.
//!
//! Two controllers with equal digests took in the same inputs in the same order, so their
//! decisions must be equal. FNV-1a in 32 bits, a word at a time: it finds a lost or changed frame
//! with a chance of 1 − 2⁻³²; it is no defence against an adversary.

use core::hash::{Hash, Hasher};

const OFFSET: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

/// Running digest.
///
/// It implements [`Hasher`] so that derived [`Hash`] feeds it; `usize` and `isize` (lengths,
/// discriminants) count as 32-bit words so that a 64-bit host and a 32-bit microcontroller agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u32);

impl Default for Digest {
    fn default() -> Self {
        Self(OFFSET)
    }
}

impl Digest {
    /// The digest as sent in decisions.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0
    }

    /// Takes in a value.
    pub fn add(&mut self, value: &impl Hash) {
        value.hash(self);
    }

    fn word(&mut self, word: u32) {
        // The rotation carries high bits down, which FNV's multiplication alone never does.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(PRIME);
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        u64::from(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.word(u32::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.word(u32::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.word(u32::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.word(value);
    }

    fn write_u64(&mut self, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.word(u32::from_le_bytes([a, b, c, d]));
        self.word(u32::from_le_bytes([e, f, g, h]));
    }

    fn write_usize(&mut self, value: usize) {
        self.word(u32::try_from(value).unwrap_or(u32::MAX));
    }

    fn write_isize(&mut self, value: isize) {
        self.word(i32::try_from(value).unwrap_or(i32::MAX).cast_unsigned());
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    fn of(values: &[u32]) -> u32 {
        let mut digest = Digest::default();
        for value in values {
            digest.add(value);
        }
        digest.value()
    }

    #[test]
    fn order_and_every_bit_count() {
        assert_ne!(of(&[1, 2]), of(&[2, 1]));
        let base = of(&[0, 7, 9]);
        for bit in 0..32 {
            assert_ne!(base, of(&[1 << bit, 7, 9]), "bit {bit}");
        }
    }

    #[test]
    fn is_pinned_across_targets() {
        // The firmware and the host must get the same value: lengths and discriminants included.
        let mut digest = Digest::default();
        digest.add(&[[1_u8, 2], [3, 4]].as_slice());
        digest.add(&Some(5_u16));
        assert_eq!(digest.value(), 0xb447_cb96);
    }
}
