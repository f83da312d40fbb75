//! CRC-32C (Castagnoli), the check of frames and policy images.

use crc::{CRC_32_ISCSI, Crc, Table};

/// One byte a look-up: 1 KiB of flash, about 8 instructions a byte.
const CRC32C: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// CRC-32C of `bytes`.
#[must_use]
pub fn of(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

/// CRC-32C of bytes that come in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running(u32);

impl Default for Running {
    fn default() -> Self {
        Self(of(&[]))
    }
}

impl Running {
    /// Takes in the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        // The value so far is the register, reflected and complemented; what a digest starts from
        // is the register as the standard writes it.
        let mut digest = CRC32C.digest_with_initial((!self.0).reverse_bits());
        digest.update(bytes);
        self.0 = digest.finalize();
    }

    /// CRC-32C of the bytes so far.
    #[must_use]
    pub fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_give_the_value_of_the_whole() {
        let bytes: std::vec::Vec<u8> = (0..200_u8).collect();
        for piece in 1..bytes.len() {
            let mut running = super::Running::default();
            bytes.chunks(piece).for_each(|piece| running.add(piece));
            assert_eq!(running.value(), super::of(&bytes), "pieces of {piece}");
        }
    }

    #[test]
    fn matches_the_published_check_value() {
        // RFC 3720 appendix B.4 and the CRC catalogue: "123456789" gives 0xE3069283.
        assert_eq!(super::of(b"123456789"), 0xE306_9283);
    }
}
