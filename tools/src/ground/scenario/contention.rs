//! Contention as a Markov chain, fitted to measured traces.
//!
//! A trace of slowdowns (compute time ÷ the quiet median) is cut into bins at fixed quantiles; the
//! model holds the bins' edges and how often each bin followed each. A drawn slowdown lies evenly
//! within its bin. So the distribution, its tail and the way bursts cluster are the trace's; what
//! lasts longer than the chain remembers is not. The fits that come with the project stand in
//! `scenarios/contention.toml`.

use serde::{Deserialize, Serialize};

use super::super::random::Random;

/// Quantiles that a trace is cut at.
pub const QUANTILES: [f64; 11] = [0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99, 0.997, 0.999, 1.0];
/// Bins of a model.
pub const BINS: usize = QUANTILES.len() - 1;

/// One fitted trace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Edges of the bins, slowdowns, ascending.
    pub edges: Vec<f64>,
    /// `steps[from][to]`: probability that bin `to` follows bin `from`.
    pub steps: Vec<Vec<f64>>,
}

/// A named model: in quiet and under contention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What it was fitted to.
    pub source: String,
    /// Before contention begins.
    pub quiet: Chain,
    /// From then on.
    pub loaded: Chain,
}

impl Chain {
    /// The chain of a trace.
    #[must_use]
    pub fn fit(trace: &[f64]) -> Self {
        let mut sorted = trace.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let at = |quantile: f64| sorted.get((quantile * last as f64).round() as usize).copied();
        let rounded = |edge: f64| (edge * 1e5).round() / 1e5;
        let edges: Vec<f64> =
            QUANTILES.into_iter().map(|quantile| rounded(at(quantile).unwrap_or(1.0))).collect();
        let bin = |value: f64| edges[1..BINS].partition_point(|edge| *edge <= value);
        let mut counts = vec![vec![0_u32; BINS]; BINS];
        for pair in trace.windows(2) {
            counts[bin(pair[0])][bin(pair[1])] += 1;
        }
        let steps = counts.iter().map(|row| {
            let all: u32 = row.iter().sum();
            row.iter()
                .map(|count| {
                    let share = f64::from(*count) / f64::from(all.max(1));
                    (share * 1e5).round() / 1e5
                })
                .collect()
        });
        Self { steps: steps.collect(), edges }
    }

    /// Whether the numbers are those of a chain.
    #[must_use]
    pub fn sound(&self) -> bool {
        let rising = self.edges.windows(2).all(|pair| pair[0] <= pair[1]);
        let row = |row: &Vec<f64>| {
            row.len() == BINS
                && row.iter().all(|share| (0.0..=1.0).contains(share))
                && row.iter().sum::<f64>() <= 1.001
        };
        self.edges.len() == BINS + 1
            && rising
            && self.edges.iter().all(|edge| *edge > 0.0)
            && self.steps.len() == BINS
            && self.steps.iter().all(row)
    }

    /// A slowdown that follows bin `from`, with its bin.
    pub fn draw(&self, from: usize, random: &mut Random) -> (f64, usize) {
        let mut left = random.uniform();
        let row = self.steps.get(from).map_or(&[][..], Vec::as_slice);
        // Where nothing ever followed (or by rounding), the middle.
        let mut bin = BINS / 2;
        for (to, share) in row.iter().enumerate() {
            if left < *share {
                bin = to;
                break;
            }
            left -= share;
        }
        let edge = |index: usize| self.edges.get(index).copied().unwrap_or(1.0);
        (random.between(edge(bin), edge(bin + 1)), bin)
    }
}

/// The models that come with the project, by name.
///
/// # Errors
/// Says what is wrong with the file.
pub fn shipped() -> Result<std::collections::BTreeMap<String, Model>, String> {
    #[derive(Deserialize)]
    struct File {
        model: std::collections::BTreeMap<String, Model>,
    }
    let text = include_str!("../../../../scenarios/contention.toml");
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    for (name, model) in &file.model {
        if !model.quiet.sound() || !model.loaded.sound() {
            return Err(format!("model {name} is no Markov chain of {BINS} bins"));
        }
    }
    Ok(file.model)
}

#[cfg(test)]
mod tests {
    use super::super::super::random::Random;
    use super::{BINS, Chain, shipped};

    #[test]
    fn a_chain_has_the_tail_and_the_memory_of_its_trace() {
        // Noise with memory: what is high tends to stay high.
        let mut random = Random::new(5, "trace");
        let mut state = 0.0;
        let trace: Vec<f64> = (0..100_000)
            .map(|_| {
                state = 0.9 * state + 0.19_f64.sqrt() * random.normal();
                1.0 + 0.02 * state
            })
            .collect();
        let chain = Chain::fit(&trace);
        assert!(chain.sound());
        let mut bin = 0;
        let drawn: Vec<f64> = (0..100_000)
            .map(|_| {
                let value;
                (value, bin) = chain.draw(bin, &mut random);
                value
            })
            .collect();
        let high = 1.0 + 0.02 * 1.645;
        let share = |values: &[f64]| values.iter().filter(|value| **value > high).count() as f64;
        assert!((share(&drawn) / share(&trace) - 1.0).abs() < 0.15, "{}", share(&drawn));
        let stays = |values: &[f64]| {
            let pairs = values.windows(2).filter(|pair| pair[0] > high);
            let both = pairs.clone().filter(|pair| pair[1] > high).count();
            both as f64 / pairs.count() as f64
        };
        // Chance alone would be 5 %.
        let (own, fitted) = (stays(&trace), stays(&drawn));
        assert!(own > 0.5 && (fitted - own).abs() < 0.1, "{fitted} for {own}");
    }

    #[test]
    fn the_shipped_models_are_sound() {
        let models = shipped().expect("sound");
        assert!(models.len() >= 2, "{:?}", models.keys());
        for model in models.values() {
            assert_eq!(model.quiet.steps.len(), BINS);
            assert!(model.quiet.edges[5] < model.loaded.edges[5]);
        }
    }
}
