//! Words and blocks that the host leaves in memory, read one after another.

/// Bytes not read yet.
#[derive(Debug, Clone, Copy)]
pub struct Blocks<'a>(&'a [u8]);

impl<'a> Blocks<'a> {
    /// All of these.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next little-endian word; `None` at the end.
    pub fn word(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*word))
    }

    /// So many bytes, and past what fills them up to whole words; `None` where there are fewer.
    pub fn block(&mut self, length: u32) -> Option<&'a [u8]> {
        let length = usize::try_from(length).ok()?;
        let (filled, rest) = self.0.split_at_checked(length.checked_next_multiple_of(4)?)?;
        self.0 = rest;
        filled.get(..length)
    }
}

#[cfg(test)]
mod tests {
    use super::Blocks;

    #[test]
    fn words_and_blocks_follow_one_another() {
        let bytes = [5, 0, 0, 0, 1, 2, 3, 4, 5, 9, 9, 9, 7, 0, 0, 1, 8];
        let mut blocks = Blocks::new(&bytes);
        assert_eq!(blocks.word(), Some(5));
        assert_eq!(blocks.block(5), Some(&[1, 2, 3, 4, 5][..]));
        assert_eq!(blocks.word(), Some(0x0100_0007));
        assert_eq!((blocks.word(), blocks.block(1)), (None, None));
        assert_eq!(blocks.block(u32::MAX), None);
    }
}
