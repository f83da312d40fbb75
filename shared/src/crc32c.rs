//! CRC-32C (Castagnoli), the check of frames and policy images.

use crc::{CRC_32_ISCSI, Crc, Table};

/// One byte a look-up: 1 KiB of flash, about 8 instructions a byte.
const CRC32C: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// CRC-32C of `bytes`.
#[must_use]
pub fn of(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn matches_the_published_check_value() {
        // RFC 3720 appendix B.4 and the CRC catalogue: "123456789" gives 0xE3069283.
        assert_eq!(super::of(b"123456789"), 0xE306_9283);
    }
}
