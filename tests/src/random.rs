//! A seeded source of chance: equal seeds, equal runs.

/// xorshift64 (Marsaglia, 2003).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The source of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Spread, so that small seeds do not start alike; the state is never 0.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let [.., a, b, c, d] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.bits().checked_rem(bound).unwrap_or(0)
    }

    /// Whether an event of this many in a thousand happens.
    pub fn permille(&mut self, chance: u16) -> bool {
        self.below(1000) < u32::from(chance)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.bits().to_le_bytes()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn chances_are_kept_and_seeds_repeat() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.permille(50)).count();
        assert!((4_500..5_500).contains(&hits), "{hits}");
        assert!(!random.permille(0) && random.permille(1000));
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.bits(), random.bits()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(1), draw(2));
    }
}
