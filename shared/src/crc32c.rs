//! CRC-32C (Castagnoli), the check of frames and policy images.

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// CRC of each byte: 1 KiB of flash.
static TABLE: [u32; 256] = table();

#[allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "worked out while compiling, where each of them would be an error"
)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

/// The register without its low byte, for which the table's change comes.
#[inline]
fn shift(register: u32) -> u32 {
    let [low, ..] = register.to_le_bytes();
    let change = TABLE.get(usize::from(low)).copied().unwrap_or(0);
    (register >> 8) ^ change
}

/// The register after these bytes: whole words go in at once.
fn after(register: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<4>();
    let register = words.iter().fold(register, |register, word| {
        shift(shift(shift(shift(register ^ u32::from_le_bytes(*word)))))
    });
    rest.iter().fold(register, |register, byte| shift(register ^ u32::from(*byte)))
}

/// CRC-32C of `bytes`.
#[must_use]
pub fn of(bytes: &[u8]) -> u32 {
    !after(u32::MAX, bytes)
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
        self.0 = !after(!self.0, bytes);
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
