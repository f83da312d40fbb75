//! Non-linear least squares that outliers do not move.
//!
//! The most likely coefficients under noise of Student's t distribution with two degrees of freedom
//! and an unknown scale: a point counts the less the farther off it lies. Every coefficient has a
//! weak prior, a Gaussian that decides where the points leave it open and is outweighed where they
//! do not. The likelihood has several valleys: the search starts from several coefficients with a
//! wide scale that narrows (graduated non-convexity), and with few points from the fits that leave
//! out one or two of them.

use super::linear::solve;

/// Where a coefficient is sought: mean and standard deviation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prior {
    pub(super) mean: f64,
    pub(super) sd: f64,
}

/// Residual of a point, and its slopes by each coefficient.
pub(super) type Residual<const N: usize> = (f64, [f64; N]);

/// Residuals of a model with `N` coefficients; all are relative (logarithms of predicted ÷
/// measured), so that slow and fast points weigh the same.
pub(super) struct Problem<'a, const N: usize> {
    /// Residual of a point by coefficients and the point's index.
    pub(super) residual: &'a dyn Fn(&[f64; N], usize) -> Residual<N>,
    /// Number of points.
    pub(super) points: usize,
    /// Priors of the coefficients.
    pub(super) priors: [Prior; N],
    /// Least scale of the noise that is believed.
    pub(super) least: f64,
}

/// Degrees of freedom of the noise.
const FREEDOM: f64 = 2.0;
/// Scales of the noise that are tried, in the least one.
const SCALES: [f64; 6] = [32.0, 12.0, 5.0, 2.5, 1.5, 1.0];
/// Standard deviation of the scale's logarithm around the least one.
const SCALE_SD: f64 = 1.0;
/// Most re-weightings at a scale.
const ROUNDS: usize = 10;
/// Most Levenberg–Marquardt steps between two re-weightings.
const STEPS: usize = 4;
/// Coefficients stay within this many standard deviations of their priors' means.
const FARTHEST: f64 = 6.0;
/// Up to so many points each is left out in turn, and up to so many each pair.
const FEW: [usize; 2] = [16, 9];

/// Coefficients with what speaks against them.
#[derive(Clone, Copy)]
struct Found<const N: usize> {
    cost: f64,
    at: [f64; N],
}

impl<const N: usize> Problem<'_, N> {
    /// The best fit over all starts.
    pub(super) fn solve(&self, starts: &[[f64; N]]) -> [f64; N] {
        let mean = self.priors.map(|prior| prior.mean);
        let mut best = Found { cost: f64::INFINITY, at: mean };
        for start in starts {
            self.narrowed(*start, &[], &mut best);
        }
        for left_out in self.left_out() {
            let mut without = Found { cost: f64::INFINITY, at: mean };
            for start in [best.at, mean] {
                self.narrowed(start, &left_out, &mut without);
            }
            self.narrowed(without.at, &[], &mut best);
            // Straight from there too: a wide scale may lead back to where the outlier pulls.
            for times in SCALES.iter().rev().take(3) {
                let scale = times * self.least;
                let at = self.reweighted(without.at, scale, &[]);
                self.judge(at, scale, &[], &mut best);
            }
        }
        best.at
    }

    /// Points to leave out together, where there are few.
    fn left_out(&self) -> Vec<Vec<usize>> {
        let mut sets = Vec::new();
        if (3..=FEW[0]).contains(&self.points) {
            sets.extend((0..self.points).map(|one| vec![one]));
        }
        if (5..=FEW[1]).contains(&self.points) {
            for one in 0..self.points {
                sets.extend((0..one).map(|other| vec![other, one]));
            }
        }
        sets
    }

    /// From wide to narrow noise; keeps what is better than `best`.
    fn narrowed(&self, start: [f64; N], left_out: &[usize], best: &mut Found<N>) {
        let mut at = start;
        for times in SCALES {
            let scale = times * self.least;
            at = self.reweighted(at, scale, left_out);
            self.judge(at, scale, left_out, best);
        }
    }

    fn judge(&self, at: [f64; N], scale: f64, left_out: &[usize], best: &mut Found<N>) {
        let cost = self.cost(&at, scale, left_out);
        if cost < best.cost {
            *best = Found { cost, at };
        }
    }

    /// Negative logarithm of the likelihood and the priors, but for a constant.
    fn cost(&self, at: &[f64; N], scale: f64, left_out: &[usize]) -> f64 {
        let loss = |point: usize| {
            let far = (self.residual)(at, point).0 / scale;
            0.5 * (FREEDOM + 1.0) * (far * far / FREEDOM).ln_1p() + (scale / self.least).ln()
        };
        let points: f64 =
            (0..self.points).filter(|point| !left_out.contains(point)).map(loss).sum();
        let off = (scale / self.least).ln() / SCALE_SD;
        points + 0.5 * (self.against_priors(at) + off * off)
    }

    fn against_priors(&self, at: &[f64; N]) -> f64 {
        let off = at.iter().zip(&self.priors).map(|(x, prior)| (x - prior.mean) / prior.sd);
        off.map(|off| off * off).sum()
    }

    /// Iteratively re-weighted fit at a scale of the noise.
    fn reweighted(&self, start: [f64; N], scale: f64, left_out: &[usize]) -> [f64; N] {
        let mut at = start;
        for _ in 0..ROUNDS {
            let weight = |point: usize| {
                let residual = (self.residual)(&at, point).0;
                let weight = (FREEDOM + 1.0) / (FREEDOM * scale * scale + residual * residual);
                if left_out.contains(&point) { 0.0 } else { weight }
            };
            let weights: Vec<f64> = (0..self.points).map(weight).collect();
            let before = at;
            at = self.descend(at, &weights);
            if before.iter().zip(at).all(|(old, new)| (old - new).abs() < 1e-7) {
                break;
            }
        }
        at
    }

    /// Some Levenberg–Marquardt steps at fixed weights.
    fn descend(&self, start: [f64; N], weights: &[f64]) -> [f64; N] {
        let cost = |at: &[f64; N]| {
            let point = |(point, weight): (usize, &f64)| {
                let residual = (self.residual)(at, point).0;
                weight * residual * residual
            };
            weights.iter().enumerate().map(point).sum::<f64>() + self.against_priors(at)
        };
        let mut at = start;
        let mut least = cost(&at);
        let mut damping = 1e-3;
        for _ in 0..STEPS {
            let (matrix, right) = self.normal_equations(&at, weights);
            let before = least;
            while damping < 1e9 {
                let mut damped = matrix;
                for (index, row) in damped.iter_mut().enumerate() {
                    row[index] *= 1.0 + damping;
                }
                let Some(step) = solve(damped, right) else { return at };
                let next = self.bounded(std::array::from_fn(|index| at[index] - step[index]));
                let reached = cost(&next);
                if reached < least {
                    (at, least) = (next, reached);
                    damping *= 0.1;
                    break;
                }
                damping *= 10.0;
            }
            if before - least <= 1e-9 * before {
                break;
            }
        }
        at
    }

    fn bounded(&self, at: [f64; N]) -> [f64; N] {
        std::array::from_fn(|index| {
            let Prior { mean, sd } = self.priors[index];
            at[index].clamp(mean - FARTHEST * sd, mean + FARTHEST * sd)
        })
    }

    fn normal_equations(&self, at: &[f64; N], weights: &[f64]) -> ([[f64; N]; N], [f64; N]) {
        let mut matrix = [[0.0; N]; N];
        let mut right = [0.0; N];
        for (point, weight) in weights.iter().enumerate() {
            let (residual, slopes) = (self.residual)(at, point);
            for (row, a) in slopes.iter().enumerate() {
                right[row] += weight * a * residual;
                for (column, b) in slopes.iter().enumerate() {
                    matrix[row][column] += weight * a * b;
                }
            }
        }
        for (index, Prior { mean, sd }) in self.priors.iter().enumerate() {
            matrix[index][index] += 1.0 / (sd * sd);
            right[index] += (at[index] - mean) / (sd * sd);
        }
        (matrix, right)
    }
}

/// A residual with slopes from differences to both sides, for models without slopes of their own.
pub(super) fn with_slopes<const N: usize>(
    model: &dyn Fn(&[f64; N], usize) -> f64,
    at: &[f64; N],
    point: usize,
) -> Residual<N> {
    const STEP: f64 = 1e-5;
    let slopes = std::array::from_fn(|index| {
        let (mut above, mut below) = (*at, *at);
        above[index] += STEP;
        below[index] -= STEP;
        (model(&above, point) - model(&below, point)) / (2.0 * STEP)
    });
    (model(at, point), slopes)
}
