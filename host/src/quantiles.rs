//! Quantiles of latencies in bounded memory: a histogram with logarithmic buckets.

/// Steps an octave: a bucket is at most 1/64 = 1.6 % wide.
const STEPS: usize = 64;
/// Octaves of a `u32` above the values below `2·STEPS`, which are counted exactly.
const OCTAVES: usize = 25;

/// A histogram of times, µs.
#[derive(Debug, Clone)]
pub struct Quantiles {
    counts: Vec<u32>,
    total: u64,
    largest: u32,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self { counts: vec![0; STEPS * (OCTAVES + 2)], total: 0, largest: 0 }
    }
}

/// Bucket of a value.
fn bucket(value: u32) -> usize {
    let octave = (value / (2 * STEPS as u32)).checked_ilog2().map_or(0, |n| n as usize + 1);
    octave * STEPS + (value >> octave) as usize
}

/// Largest value of a bucket.
fn upper(bucket: usize) -> u32 {
    let octave = (bucket / STEPS).saturating_sub(1);
    let mantissa = (bucket - octave * STEPS) as u64;
    u32::try_from(((mantissa + 1) << octave) - 1).unwrap_or(u32::MAX)
}

impl Quantiles {
    /// Counts a value.
    pub fn add(&mut self, value: u32) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count = count.saturating_add(1);
        }
        self.total = self.total.saturating_add(1);
        self.largest = self.largest.max(value);
    }

    /// The value that `permille` of all values do not exceed, at most 1.6 % too large; `None`
    /// before the first.
    #[must_use]
    pub fn at(&self, permille: u32) -> Option<u32> {
        if self.total == 0 {
            return None;
        }
        let rank = (self.total * u64::from(permille)).div_ceil(1000).max(1);
        let mut below = 0_u64;
        for (index, count) in self.counts.iter().enumerate() {
            below += u64::from(*count);
            if below >= rank {
                return Some(upper(index).min(self.largest));
            }
        }
        Some(self.largest)
    }

    /// The largest value; `None` before the first.
    #[must_use]
    pub fn largest(&self) -> Option<u32> {
        (self.total > 0).then_some(self.largest)
    }
}

#[cfg(test)]
mod tests {
    use super::{Quantiles, bucket, upper};

    #[test]
    fn buckets_are_in_order_and_narrow() {
        for value in 0..100_000 {
            assert!(bucket(value) <= bucket(value + 1), "{value}");
        }
        for value in (0..100_000).chain((0..32).map(|bit| 1 << bit)).chain([u32::MAX]) {
            let upper = upper(bucket(value));
            assert!(upper >= value, "{value}");
            assert!(f64::from(upper - value) <= f64::from(value) / 64.0, "{value}: {upper}");
        }
        assert!(bucket(u32::MAX) < Quantiles::default().counts.len());
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut quantiles = Quantiles::default();
        assert_eq!(quantiles.at(500), None);
        for value in 1..=10_000 {
            quantiles.add(value);
        }
        for (permille, exact) in [(1, 10), (500, 5_000), (990, 9_900), (1000, 10_000)] {
            let found = quantiles.at(permille).unwrap();
            assert!(found >= exact && found <= exact + exact / 64 + 1, "{permille}: {found}");
        }
        assert_eq!(quantiles.largest(), Some(10_000));
    }
}
