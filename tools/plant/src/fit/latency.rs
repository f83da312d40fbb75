//! The latency law from a grid of measurements.

use super::FitError;
use super::robust::{Prior, Problem, Residual};
use crate::law::LatencyLaw;

/// One measured latency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyPoint {
    /// CPU clock, MHz.
    pub cpu_mhz: f64,
    /// GPU clock, MHz.
    pub gpu_mhz: f64,
    /// Memory clock, MHz.
    pub emc_mhz: f64,
    /// Latency, ms.
    pub ms: f64,
}

/// Coefficients as they are sought: logarithms of `a`, `b`, `c` (as shares of a typical latency at
/// the clocks' geometric means) and `q` with `p = 1 + exp(q)`.
pub(super) type Coefficients = [f64; 4];

/// What is believed before anything is measured: GPU and memory part each about half of the
/// latency, the launch part a tenth, `p` about 3; all within a factor of some ten.
pub(super) const PRIORS: [Prior; 4] = [
    Prior { mean: -0.5, sd: 2.0 },
    Prior { mean: -1.0, sd: 2.0 },
    Prior { mean: -2.3, sd: 1.5 },
    Prior { mean: 0.8, sd: 1.5 },
];
/// Least relative noise that is believed: what the law misses on quiet measurements.
const LEAST_NOISE: f64 = 0.006;
/// Largest `p` that a board file takes.
const MAX_P: f64 = 100.0;

/// The clocks and the latency that coefficients are relative to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub(super) cpu_mhz: f64,
    pub(super) gpu_mhz: f64,
    pub(super) emc_mhz: f64,
    pub(super) ms: f64,
}

impl Scale {
    /// Geometric means of some clocks.
    pub(super) fn of(clocks: impl Iterator<Item = [f64; 3]> + Clone, ms: f64) -> Self {
        let mean = |index: usize| {
            let logs: Vec<f64> = clocks.clone().map(|clocks| clocks[index].ln()).collect();
            (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp()
        };
        Self { cpu_mhz: mean(0), gpu_mhz: mean(1), emc_mhz: mean(2), ms }
    }

    pub(super) fn law(&self, at: &Coefficients) -> LatencyLaw {
        LatencyLaw {
            gpu_mhz_ms: at[0].exp() * self.ms * self.gpu_mhz,
            emc_mhz_ms: at[1].exp() * self.ms * self.emc_mhz,
            cpu_ms: at[2].exp() * self.ms,
            cpu_ref_mhz: self.cpu_mhz,
            p: (1.0 + at[3].exp()).min(MAX_P),
        }
    }

    /// Logarithm of the latency (ms) at clocks `[cpu, gpu, emc]` (MHz), and its slopes by each
    /// coefficient.
    pub(super) fn log_ms(&self, at: &Coefficients, [cpu, gpu, emc]: [f64; 3]) -> Residual<4> {
        let law = self.law(at);
        let (gpu_ms, emc_ms) = (law.gpu_mhz_ms / gpu, law.emc_mhz_ms / emc);
        let launch_ms = law.cpu_ms * law.cpu_ref_mhz / cpu;
        let gpu_is_small = gpu_ms < emc_ms;
        let (small, large) = if gpu_is_small { (gpu_ms, emc_ms) } else { (emc_ms, gpu_ms) };
        let log_ratio = (small / large).ln();
        let powered = (law.p * log_ratio).exp();
        let overlapped_ms = large * (powered.ln_1p() / law.p).exp();
        let ms = overlapped_ms + launch_ms;
        let share = overlapped_ms / ms;
        let of_small = powered / (1.0 + powered);
        let of_gpu = if gpu_is_small { of_small } else { 1.0 - of_small };
        let by_p = (of_small * log_ratio - powered.ln_1p() / law.p) / law.p;
        let by_q = if law.p < MAX_P { law.p - 1.0 } else { 0.0 };
        let slopes = [of_gpu * share, (1.0 - of_gpu) * share, launch_ms / ms, by_p * by_q * share];
        (ms.ln(), slopes)
    }
}

/// Where the search starts: balances of GPU and memory, small and large exponents.
fn starts() -> Vec<Coefficients> {
    let mut starts = Vec::new();
    for (gpu, emc) in [(-0.5, -0.5), (-0.2, -2.5), (-2.5, -0.2)] {
        for exponent in [0.0, 2.5] {
            starts.push([gpu, emc, -2.3, exponent]);
        }
    }
    starts
}

/// Fits `t = ((a/f_gpu)^p + (b/f_emc)^p)^(1/p) + c·f_ref/f_cpu` to measured points; `f_ref` is
/// `cpu_ref_mhz`. `None` without points or with a clock or latency that is not above 0.
///
/// Relative errors count and outliers weigh little. What the points leave open (the memory part
/// where the memory clock is always the same, the exponent with few points) falls to weak priors:
/// no coefficient is missing, and the law holds where the points are.
#[must_use]
pub fn latency(points: &[LatencyPoint], cpu_ref_mhz: f64) -> Option<LatencyLaw> {
    let sound = |point: &LatencyPoint| {
        [point.cpu_mhz, point.gpu_mhz, point.emc_mhz, point.ms]
            .iter()
            .all(|value| value.is_finite() && *value > 0.0)
    };
    if points.is_empty() || !points.iter().all(sound) || cpu_ref_mhz.is_nan() || cpu_ref_mhz <= 0.0
    {
        return None;
    }
    let mut sorted: Vec<f64> = points.iter().map(|point| point.ms).collect();
    sorted.sort_by(f64::total_cmp);
    let typical = sorted[sorted.len() / 2];
    let clocks = points.iter().map(|point| [point.cpu_mhz, point.gpu_mhz, point.emc_mhz]);
    let scale = Scale::of(clocks, typical);
    let residual = |at: &Coefficients, index: usize| {
        let point = &points[index];
        let (log, slopes) = scale.log_ms(at, [point.cpu_mhz, point.gpu_mhz, point.emc_mhz]);
        (log - point.ms.ln(), slopes)
    };
    let problem =
        Problem { residual: &residual, points: points.len(), priors: PRIORS, least: LEAST_NOISE };
    let law = scale.law(&problem.solve(&starts()));
    // The launch part at the reference clock that the caller wants.
    Some(LatencyLaw { cpu_ms: law.cpu_ms * law.cpu_ref_mhz / cpu_ref_mhz, cpu_ref_mhz, ..law })
}

/// Errors of a law on measured points.
#[must_use]
pub fn latency_error(law: &LatencyLaw, points: &[LatencyPoint]) -> FitError {
    let pairs: Vec<_> = points
        .iter()
        .map(|point| (law.ms_at(point.cpu_mhz, point.gpu_mhz, point.emc_mhz), point.ms))
        .collect();
    FitError::of(&pairs)
}
