//! Times of the sub-networks of one network, taken in turns.

use std::time::{Duration, Instant};

use anyhow::Result;
use coshift_engine::network::{Network, Workspace};

/// Times of one sub-network, ascending.
#[derive(Debug, Clone, Default)]
pub struct Times {
    /// Inferences with the same sub-network before them.
    pub steady: Vec<Duration>,
    /// First inferences after a switch.
    pub first: Vec<Duration>,
    /// Switches; the clock's own time is part of them.
    pub switch: Vec<Duration>,
    /// Inferences in each other runtime.
    pub peers: Vec<Vec<Duration>>,
}

/// The value below which a share of the ascending values lies; zero of none.
#[must_use]
pub(super) fn quantile(ascending: &[Duration], share: f64) -> Duration {
    let last = ascending.len().saturating_sub(1);
    ascending.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// Switches measured for each first inference.
const SWITCHES: usize = 64;

/// Runs every sub-network on its images: in each of `rounds` a switch from another sub-network, the
/// first inference and `runs` more, then `runs` of the same in every other runtime, which `peers` gives
/// by the sub-network's index. Turns spread what else the machine does over all of them.
///
/// # Errors
/// Where images are not of their sub-network's size; those of `peers`.
pub fn measure(
    network: &Network,
    images: &[Vec<f32>],
    space: &mut Workspace,
    (rounds, runs): (usize, usize),
    peers: &mut dyn FnMut(usize) -> Result<Vec<Vec<Duration>>>,
) -> Result<Vec<Times>> {
    let mut times = vec![Times::default(); network.len()];
    for _ in 0..rounds {
        for (index, times) in times.iter_mut().enumerate() {
            let other = (index + network.len() - 1) % network.len();
            network.run(other, &images[other], space)?;
            // The clock's own first call after so much else is no part of a switch.
            std::hint::black_box(Instant::now().elapsed());
            for place in 0..SWITCHES {
                // Back and forth, the last time to the sub-network that runs next.
                let to = if place % 2 == 0 { other } else { index };
                let start = Instant::now();
                network.select(std::hint::black_box(to))?;
                times.switch.push(start.elapsed());
            }
            for run in 0..=runs {
                let start = Instant::now();
                std::hint::black_box(network.run_selected(&images[index], space)?);
                let time = start.elapsed();
                if run == 0 { &mut times.first } else { &mut times.steady }.push(time);
            }
            let others = peers(index)?;
            times.peers.resize_with(others.len(), Vec::new);
            times.peers.iter_mut().zip(others).for_each(|(all, times)| all.extend(times));
        }
    }
    for times in &mut times {
        for times in [&mut times.steady, &mut times.first, &mut times.switch] {
            times.sort_unstable();
        }
        times.peers.iter_mut().for_each(|times| times.sort_unstable());
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::quantile;
    use std::time::Duration;

    #[test]
    fn quantiles_are_values_of_the_list() {
        let times: Vec<_> = (1..=101).map(Duration::from_nanos).collect();
        for (share, nanos) in [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 101)] {
            assert_eq!(quantile(&times, share), Duration::from_nanos(nanos));
        }
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
