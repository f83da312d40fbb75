//! Which points of a grid to measure, so that few tell the latency at all of them.

use super::latency::{Coefficients, PRIORS, Scale};
use super::linear::solve;

/// Relative noise of a measurement that the choice reckons with.
const NOISE_SD: f64 = 0.01;
/// As much noisier a measurement at the highest GPU clock counts: heavy networks meet the board's
/// power limit there, and take longer than at the clock below.
const AT_TOP: f64 = 2.0;

/// Networks the choice is good for: bound by the GPU, by the memory and by both, GPU and memory
/// part overlapping little and almost wholly. Coefficients as in the fit.
fn likely() -> Vec<Coefficients> {
    let mut likely = Vec::new();
    for (gpu, emc) in [(-0.3, -1.3), (-0.6, -0.6), (-1.3, -0.3)] {
        for exponent in [0.0, 1.0, 2.5] {
            likely.push([gpu, emc, -2.3, exponent]);
        }
    }
    likely
}

type Square = [[f64; 4]; 4];

/// What the points tell about one likely network.
struct View {
    /// What measuring each tuple tells: products of the latency's slopes ÷ variance.
    told: Vec<Square>,
    /// Mean over the grid of the slopes' products: what an error of the coefficients costs.
    over_grid: Square,
}

impl View {
    fn new(clocks: &[[f64; 3]], scale: Scale, network: &Coefficients) -> Self {
        let top = clocks.iter().map(|[_, gpu, _]| *gpu).fold(0.0, f64::max);
        let mut over_grid = [[0.0; 4]; 4];
        let mut told = Vec::new();
        for tuple in clocks {
            let slopes = scale.log_ms(network, *tuple).1;
            let sd = if tuple[1] < top { NOISE_SD } else { AT_TOP * NOISE_SD };
            let products = std::array::from_fn(|row| {
                std::array::from_fn(|column| slopes[row] * slopes[column])
            });
            told.push(scaled(&products, 1.0 / (sd * sd)));
            over_grid = sum(&over_grid, &scaled(&products, 1.0 / clocks.len() as f64));
        }
        Self { told, over_grid }
    }

    /// What the priors and some tuples tell.
    fn information(&self, tuples: impl Iterator<Item = usize>) -> Square {
        let mut information = [[0.0; 4]; 4];
        for (index, prior) in PRIORS.iter().enumerate() {
            information[index][index] = 1.0 / (prior.sd * prior.sd);
        }
        tuples.fold(information, |known, tuple| sum(&known, &self.told[tuple]))
    }

    /// Mean variance of the predicted latency over the grid, relative: the trace of
    /// information⁻¹ · over_grid, a column at a time.
    fn variance(&self, information: &Square) -> f64 {
        let column = |column: usize| {
            let right = std::array::from_fn(|row| self.over_grid[row][column]);
            solve(*information, right).map(|solved: [f64; 4]| solved[column])
        };
        (0..4).map(column).sum::<Option<f64>>().unwrap_or(f64::INFINITY)
    }
}

fn scaled(matrix: &Square, factor: f64) -> Square {
    matrix.map(|row| row.map(|value| value * factor))
}

fn sum(a: &Square, b: &Square) -> Square {
    std::array::from_fn(|row| std::array::from_fn(|column| a[row][column] + b[row][column]))
}

/// Indices of the `count` tuples `[cpu, gpu, emc]` (MHz) to measure, ascending; all where there are
/// no more.
///
/// Chosen by the tuples alone, before anything is measured: those after which the latency at all
/// tuples is least uncertain on average, over networks of many kinds. One is added after the other,
/// then single ones are exchanged as long as it helps.
#[must_use]
pub fn calibration_points(clocks: &[[f64; 3]], count: usize) -> Vec<usize> {
    if count >= clocks.len() {
        return (0..clocks.len()).collect();
    }
    let scale = Scale::of(clocks.iter().copied(), 1.0);
    let views: Vec<_> = likely().iter().map(|network| View::new(clocks, scale, network)).collect();
    let mut chosen: Vec<usize> = Vec::new();
    let mut least = f64::INFINITY;
    while chosen.len() < count {
        let best = best_beside(&views, &chosen, clocks.len());
        let Some((tuple, cost)) = best else { break };
        chosen.push(tuple);
        least = cost;
    }
    loop {
        let before = least;
        for place in 0..chosen.len() {
            let others: Vec<usize> =
                chosen.iter().copied().filter(|tuple| *tuple != chosen[place]).collect();
            match best_beside(&views, &others, clocks.len()) {
                Some((tuple, cost)) if cost < least - 1e-9 => {
                    chosen[place] = tuple;
                    least = cost;
                }
                _ => {}
            }
        }
        if least >= before {
            chosen.sort_unstable();
            return chosen;
        }
    }
}

/// The tuple that tells most beside those chosen, with the uncertainty that is left.
fn best_beside(views: &[View], chosen: &[usize], tuples: usize) -> Option<(usize, f64)> {
    let known: Vec<Square> =
        views.iter().map(|view| view.information(chosen.iter().copied())).collect();
    // The geometric mean: no kind of network counts for more because it is harder to tell.
    let cost = |tuple: usize| {
        let one =
            |(view, known): (&View, &Square)| view.variance(&sum(known, &view.told[tuple])).ln();
        views.iter().zip(&known).map(one).sum::<f64>()
    };
    (0..tuples)
        .filter(|tuple| !chosen.contains(tuple))
        .map(|tuple| (tuple, cost(tuple)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::calibration_points;

    fn grid(cpu: &[f64], gpu: &[f64], emc: &[f64]) -> Vec<[f64; 3]> {
        let mut tuples = Vec::new();
        for cpu in cpu {
            for gpu in gpu {
                tuples.extend(emc.iter().map(|emc| [*cpu, *gpu, *emc]));
            }
        }
        tuples
    }

    const GPU: [f64; 6] = [306.0, 408.0, 510.0, 612.0, 816.0, 1020.0];

    #[test]
    fn as_many_as_asked_for_each_once_and_always_the_same() {
        let tuples = grid(&[1500.0], &GPU, &[665.0, 2133.0, 3199.0]);
        for count in 0..=tuples.len() + 1 {
            let chosen = calibration_points(&tuples, count);
            assert_eq!(chosen.len(), count.min(tuples.len()));
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]), "{chosen:?}");
            assert_eq!(chosen, calibration_points(&tuples, count));
        }
    }

    #[test]
    fn every_axis_that_there_is_gets_varied() {
        let spread = |tuples: &[[f64; 3]], count: usize, axis: usize| {
            let values = || calibration_points(tuples, count).into_iter().map(|i| tuples[i][axis]);
            values().fold(0.0, f64::max) / values().fold(f64::INFINITY, f64::min)
        };
        let tuples = grid(&[730.0, 1728.0], &GPU, &[665.0, 3199.0]);
        assert!(spread(&tuples, 6, 0) > 2.0 && spread(&tuples, 6, 2) > 4.0);
        assert!(spread(&tuples, 6, 1) > 2.0);
        let without_memory = grid(&[1500.0], &GPU, &[1600.0]);
        assert!(spread(&without_memory, 4, 1) > 2.0);
    }
}
