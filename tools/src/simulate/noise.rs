//! Noise of the latencies, repeatable by seed.

use super::SimulateError;

/// Least factor: a latency never falls to nothing.
const LEAST: f64 = 0.05;

/// A factor on the latency of each request: about normal around 1 with this standard deviation.
///
/// They belong to the requests, not to the order in which these are served, so that two managers
/// meet the same noise.
///
/// # Errors
/// [`SimulateError::Noise`] where `deviation` is not 0 to 0.5.
pub fn factors(count: usize, deviation: f64, seed: u64) -> Result<Vec<f64>, SimulateError> {
    if !(0.0..=0.5).contains(&deviation) {
        return Err(SimulateError::Noise(deviation));
    }
    let mut random = SplitMix(seed);
    Ok((0..count).map(|_| (1.0 + deviation * random.normal()).max(LEAST)).collect())
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// About normal with deviation 1: the sum of twelve uniform numbers, less 6.
    fn normal(&mut self) -> f64 {
        let mut uniform = || (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::factors;

    #[test]
    fn noise_has_its_deviation_and_repeats_by_seed() {
        let noise = factors(20_000, 0.05, 7).expect("in range");
        let mean = noise.iter().sum::<f64>() / 20_000.0;
        let variance = noise.iter().map(|factor| (factor - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 1.0).abs() < 0.002, "{mean}");
        assert!((variance.sqrt() / 0.05 - 1.0).abs() < 0.03, "{}", variance.sqrt());
        assert_eq!(factors(20_000, 0.05, 7).expect("in range"), noise);
        assert_ne!(factors(20_000, 0.05, 6).expect("in range"), noise);
        // The same for the requests that both have.
        assert_eq!(factors(10, 0.05, 7).expect("in range"), noise[..10]);
        assert!(factors(10, 0.0, 7).expect("in range").iter().all(|factor| *factor == 1.0));
    }

    #[test]
    fn a_deviation_out_of_range_is_an_error() {
        for deviation in [-0.1, 0.6, f64::NAN] {
            let error = factors(1, deviation, 1).unwrap_err().to_string();
            assert_eq!(error, format!("noise: 0 to 0.5 goes, {deviation} found"));
        }
    }
}
