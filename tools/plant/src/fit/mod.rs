//! Fits: how the numbers of board files come from measurements.
//!
//! [`latency`], [`calibration_points`] and [`board_power()`] serve measurements of any board and
//! withstand outliers; [`power`] and [`latency_by_gpu_clock`] are plain least squares.

pub mod board_power;
mod design;
mod latency;
mod linear;
mod robust;

pub use board_power::board_power;
pub use design::calibration_points;
pub use latency::{LatencyPoint, latency, latency_error};
pub use linear::{latency_by_gpu_clock, power, relative_least_squares};

/// How well a law meets the points it was judged on, relative to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitError {
    /// Mean of the absolute relative errors, %.
    pub mape_pct: f64,
    /// Largest absolute relative error, %.
    pub max_pct: f64,
}

impl FitError {
    /// Errors of (predicted, measured) pairs; zeros where there is none.
    #[must_use]
    pub fn of(pairs: &[(f64, f64)]) -> Self {
        let errors: Vec<f64> =
            pairs.iter().map(|(law, point)| 100.0 * (law / point - 1.0).abs()).collect();
        let mean = errors.iter().sum::<f64>() / (errors.len().max(1) as f64);
        Self { mape_pct: mean, max_pct: errors.iter().copied().fold(0.0, f64::max) }
    }
}

#[cfg(test)]
mod tests {
    use super::FitError;

    #[test]
    fn errors_are_relative_and_counted() {
        let error = FitError::of(&[(1.1, 1.0), (9.7, 10.0)]);
        assert!((error.mape_pct - 6.5).abs() < 1e-9);
        assert!((error.max_pct - 10.0).abs() < 1e-9);
    }
}
