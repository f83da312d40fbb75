//! Times of the sub-networks of one network, taken in turns.

use std::hint::black_box;
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
    /// What else was measured in the same turns: inferences in each other runtime; on a GPU first those
    /// of the graph alone.
    pub others: Vec<Vec<Duration>>,
}

/// The value below which a share of the ascending values lies; zero of none.
#[must_use]
pub(super) fn quantile(ascending: &[Duration], share: f64) -> Duration {
    let last = ascending.len().saturating_sub(1);
    ascending.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}

/// Switches measured for each first inference.
const SWITCHES: usize = 64;

/// What runs the sub-networks of a network.
pub trait Runs {
    /// Number of sub-networks.
    fn count(&self) -> usize;

    /// Runs a sub-network on a batch of images, and waits until its outputs are there.
    ///
    /// # Errors
    /// Where there is none of this index, or images are not of its size.
    fn run(&mut self, index: usize, images: &[f32]) -> Result<()>;

    /// Switches to a sub-network.
    ///
    /// # Errors
    /// Where there is none of this index.
    fn select(&self, index: usize) -> Result<()>;

    /// [`Runs::run`] of the sub-network that is switched to.
    ///
    /// # Errors
    /// As [`Runs::run`].
    fn run_selected(&mut self, images: &[f32]) -> Result<()>;
}

/// A network on the processor.
#[derive(Debug)]
pub struct OnCpu<'a> {
    /// The network.
    pub network: &'a Network,
    /// Its feature maps and threads.
    pub space: &'a mut Workspace,
}

impl Runs for OnCpu<'_> {
    fn count(&self) -> usize {
        self.network.len()
    }

    fn run(&mut self, index: usize, images: &[f32]) -> Result<()> {
        black_box(self.network.run(index, images, self.space)?);
        Ok(())
    }

    fn select(&self, index: usize) -> Result<()> {
        Ok(self.network.select(index)?)
    }

    fn run_selected(&mut self, images: &[f32]) -> Result<()> {
        black_box(self.network.run_selected(images, self.space)?);
        Ok(())
    }
}

/// Runs every sub-network on its images: in each of `rounds` a switch from another sub-network, the
/// first inference and `runs` more, then what else is measured in the same turn, which `others` gives
/// by the sub-network's index: a list of times for each. Turns spread what else the machine does over
/// all of them.
///
/// # Errors
/// Where images are not of their sub-network's size; those of `others`.
pub fn measure<R, F>(
    runner: &mut R,
    images: &[Vec<f32>],
    (rounds, runs): (usize, usize),
    mut others: F,
) -> Result<Vec<Times>>
where
    R: Runs,
    F: FnMut(&mut R, usize) -> Result<Vec<Vec<Duration>>>,
{
    let count = runner.count();
    let mut times = vec![Times::default(); count];
    for _ in 0..rounds {
        for (index, times) in times.iter_mut().enumerate() {
            let other = (index + count - 1) % count;
            runner.run(other, &images[other])?;
            // The clock's own first call after so much else is no part of a switch.
            black_box(Instant::now().elapsed());
            for place in 0..SWITCHES {
                // Back and forth, the last time to the sub-network that runs next.
                let to = if place % 2 == 0 { other } else { index };
                let start = Instant::now();
                runner.select(black_box(to))?;
                times.switch.push(start.elapsed());
            }
            for run in 0..=runs {
                let start = Instant::now();
                runner.run_selected(&images[index])?;
                let time = start.elapsed();
                if run == 0 { &mut times.first } else { &mut times.steady }.push(time);
            }
            let more = others(runner, index)?;
            times.others.resize_with(more.len(), Vec::new);
            times.others.iter_mut().zip(more).for_each(|(all, times)| all.extend(times));
        }
    }
    for times in &mut times {
        for times in [&mut times.steady, &mut times.first, &mut times.switch] {
            times.sort_unstable();
        }
        times.others.iter_mut().for_each(|times| times.sort_unstable());
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use anyhow::Result;

    use super::{Runs, SWITCHES, measure, quantile};

    /// Writes down what is asked of it.
    struct Recorder {
        asked: RefCell<Vec<String>>,
    }

    impl Runs for Recorder {
        fn count(&self) -> usize {
            2
        }

        fn run(&mut self, index: usize, images: &[f32]) -> Result<()> {
            self.asked.borrow_mut().push(format!("run {index} on {images:?}"));
            Ok(())
        }

        fn select(&self, index: usize) -> Result<()> {
            self.asked.borrow_mut().push(format!("select {index}"));
            Ok(())
        }

        fn run_selected(&mut self, images: &[f32]) -> Result<()> {
            self.asked.borrow_mut().push(format!("selected on {images:?}"));
            Ok(())
        }
    }

    #[test]
    fn a_turn_is_a_switch_from_another_one_the_first_inference_and_more() {
        let mut recorder = Recorder { asked: RefCell::default() };
        let more = |recorder: &mut Recorder, index: usize| {
            recorder.asked.borrow_mut().push(format!("others {index}"));
            Ok(vec![vec![Duration::from_millis(2), Duration::from_millis(1)]; index])
        };
        let times = measure(&mut recorder, &[vec![0.0], vec![1.0]], (3, 2), more).unwrap();
        for (index, times) in times.iter().enumerate() {
            let found = (times.first.len(), times.steady.len(), times.switch.len());
            assert_eq!(found, (3, 6, 3 * SWITCHES));
            assert_eq!(times.others.len(), index);
            for other in &times.others {
                assert!(other.len() == 6 && other.is_sorted(), "{other:?}");
            }
        }
        let asked = recorder.asked.into_inner();
        // Of the first turn: sub-network 0, after 1.
        let turn = &asked[..SWITCHES + 5];
        assert_eq!(turn[0], "run 1 on [1.0]");
        assert_eq!([&turn[1], &turn[2], &turn[SWITCHES]], ["select 1", "select 0", "select 0"]);
        assert_eq!(turn[SWITCHES + 1..SWITCHES + 4], ["selected on [0.0]"; 3]);
        assert_eq!(turn[SWITCHES + 4], "others 0");
    }

    #[test]
    fn quantiles_are_values_of_the_list() {
        let times: Vec<_> = (1..=101).map(Duration::from_nanos).collect();
        for (share, nanos) in [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 101)] {
            assert_eq!(quantile(&times, share), Duration::from_nanos(nanos));
        }
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}
