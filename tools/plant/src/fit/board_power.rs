//! The power law from measurements of a board.
//!
//! What the measurements leave open falls to stated defaults, see [`defaults`]: the fit says which
//! part that is.

use super::FitError;
use super::robust::{Prior, Problem, with_slopes};

/// What stands in for measurements that are missing, taken from boards that were measured.
pub mod defaults {
    /// Busy power of a board of which nothing is known, as base (W), part in proportion to the
    /// highest GPU clock (W) and part with its cube (W): Jetson Xavier NX at 1109.25 MHz (4.364 +
    /// 6.463 f + 1.382 f³ W, `boards/xavier_nx.toml`).
    pub const BUSY_W: [f64; 3] = [4.364, 7.169, 1.886];
    /// Idle power as a share of busy power at the lowest and at the highest GPU clock: Jetson Xavier
    /// NX (`boards/xavier_nx.toml`).
    pub const IDLE_SHARE: [f64; 2] = [0.48, 0.33];
    /// What a GHz of memory clock adds to idle power, as a share of it at the highest clocks: Jetson
    /// Orin Nano (0.578 W/GHz of 6.45 W, `boards/orin_nano.toml`).
    pub const IDLE_EMC_SHARE: f64 = 0.09;
    /// What a GHz of memory clock adds to the power beyond idle, as a share of it, 1/GHz: Jetson
    /// Orin Nano (`boards/orin_nano.toml`).
    pub const BUSY_EMC_SHARE: f64 = 0.21;
    /// Exponent of the last term of busy power.
    pub const EXPONENT: f64 = 3.0;
}

/// One measured power of the whole board.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerPoint {
    /// GPU clock, MHz.
    pub gpu_mhz: f64,
    /// Memory clock, MHz.
    pub emc_mhz: f64,
    /// Power, W.
    pub watt: f64,
    /// What ran: index of an activity; `None` = nothing.
    pub group: Option<usize>,
}

/// Clocks that a power law is to hold for, MHz.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerSpan {
    /// Lowest and highest GPU clock.
    pub gpu_mhz: [f64; 2],
    /// Lowest and highest memory clock; the law's terms are those of the highest.
    pub emc_mhz: [f64; 2],
}

/// A fitted power law without its CPU term, see [`crate::law::PowerLaw`] for the terms.
#[derive(Debug, Clone, PartialEq)]
pub struct PowerFit {
    /// `i0` (W), `i1` (W/GHz).
    pub idle: [f64; 2],
    /// `p0` (W), `p1` (W/GHz), `p3` (W/GHz³), of group 0.
    pub busy: [f64; 3],
    /// `e0`, W/GHz.
    pub idle_emc: f64,
    /// `e1`, 1/GHz.
    pub busy_emc: f64,
    /// What each group draws beyond idle, as a share of what group 0 does.
    pub activity: Vec<f64>,
    /// Whether idle power was measured, not assumed.
    pub idle_measured: bool,
    /// Whether busy power was measured, not assumed.
    pub busy_measured: bool,
    /// Whether the memory clock varied where power was measured.
    pub emc_measured: bool,
    /// Errors on the busy points.
    pub error: FitError,
}

/// Least relative noise that is believed of a power: what sensors and the law itself miss.
const LEAST_NOISE: f64 = 0.02;
/// Fits of the law and of the activities in turn.
const TURNS: usize = 12;
/// Activities are sought in this range.
const ACTIVITY: [f64; 2] = [0.05, 10.0];

/// Idle and busy power as they are sought.
struct Shape {
    span: PowerSpan,
    /// A typical power, W.
    watt: f64,
    /// Idle power, where it was measured.
    idle: Option<[f64; 3]>,
}

/// The terms at given coefficients.
struct Terms {
    idle: [f64; 2],
    idle_emc: f64,
    busy: [f64; 3],
    busy_emc: f64,
}

impl Terms {
    fn idle_w(&self, ghz: f64, above: f64) -> f64 {
        self.idle[0] + self.idle[1] * ghz + self.idle_emc * above
    }

    /// What work adds, W; never nothing, so that logarithms hold.
    fn added_w(&self, ghz: f64, above: f64) -> f64 {
        let [base, slope, cubic] = self.busy;
        let added = base + slope * ghz + cubic * ghz.powi(3) - self.idle[0] - self.idle[1] * ghz;
        (added * (1.0 + self.busy_emc * above)).max(1e-6)
    }
}

impl Shape {
    fn gpu_ghz(&self) -> [f64; 2] {
        self.span.gpu_mhz.map(|mhz| mhz / 1e3)
    }

    /// Memory clock above that of the law's terms, GHz.
    fn above(&self, point: &PowerPoint) -> f64 {
        (point.emc_mhz - self.span.emc_mhz[1]) / 1e3
    }

    /// The lowest memory clock over that of the terms, GHz, never above 0.
    fn lowest(&self) -> f64 {
        (self.span.emc_mhz[0] - self.span.emc_mhz[1]) / 1e3
    }

    /// Logarithms of the busy terms at the highest GPU clock as shares of a typical power, then
    /// `e0` as a share of idle power and `e1`.
    fn terms(&self, at: &[f64; 5]) -> Terms {
        let [low, top] = self.gpu_ghz();
        let busy = [
            at[0].exp() * self.watt,
            at[1].exp() * self.watt / top,
            at[2].exp() * self.watt / top.powi(3),
        ];
        let busy_w = |ghz: f64| busy[0] + busy[1] * ghz + busy[2] * ghz.powi(3);
        let (idle, idle_emc) = match self.idle {
            Some([base, slope, emc]) => ([base, slope], emc),
            None => {
                let high_w = defaults::IDLE_SHARE[1] * busy_w(top);
                let low_w = (defaults::IDLE_SHARE[0] * busy_w(low)).min(high_w);
                let slope = if top > low { (high_w - low_w) / (top - low) } else { 0.0 };
                let idle = [high_w - slope * top, slope];
                (idle, self.bounded_idle_emc(at[3] * high_w, low_w))
            }
        };
        // At least a tenth of what work adds is left at the lowest memory clock.
        let lowest = self.lowest();
        let most = if lowest < 0.0 { -0.9 / lowest } else { f64::INFINITY };
        Terms { idle, idle_emc, busy, busy_emc: at[4].clamp(0.0, most) }
    }

    /// At least a fifth of idle power is left at the lowest clocks.
    fn bounded_idle_emc(&self, emc: f64, low_w: f64) -> f64 {
        let lowest = self.lowest();
        if lowest < 0.0 { emc.clamp(0.0, -0.8 * low_w / lowest) } else { emc.max(0.0) }
    }
}

/// Fits busy power, idle power where it was measured, their memory terms and the activities of
/// `groups` groups. Without busy points the busy power is the default, without idle points the idle
/// power is a share of busy power. Relative errors count, outliers weigh little.
#[must_use]
pub fn board_power(points: &[PowerPoint], groups: usize, span: PowerSpan) -> PowerFit {
    let (idle, busy): (Vec<_>, Vec<_>) =
        points.iter().copied().partition(|point| point.group.is_none());
    let emc_varies = |points: &[PowerPoint]| {
        points.iter().any(|point| (point.emc_mhz - points[0].emc_mhz).abs() > 1e-6)
    };
    let watt = median(busy.iter().map(|point| point.watt)).unwrap_or(1.0);
    let mut shape = Shape { span, watt, idle: None };
    if !idle.is_empty() {
        shape.idle = Some(idle_terms(&shape, &idle));
    }
    let mut activity = vec![1.0; groups.max(1)];
    let start = starts(&shape, &busy);
    let mut terms = shape.terms(&start);
    for _ in 0..TURNS {
        if busy.is_empty() {
            break;
        }
        let residual = |at: &[f64; 5], index: usize| {
            let (point, terms) = (&busy[index], shape.terms(at));
            let (ghz, above) = (point.gpu_mhz / 1e3, shape.above(point));
            let share = point.group.map_or(1.0, |group| activity[group]);
            let watt = terms.idle_w(ghz, above) + share * terms.added_w(ghz, above);
            (watt.max(1e-6) / point.watt).ln()
        };
        let residual = |at: &[f64; 5], index: usize| with_slopes(&residual, at, index);
        let problem = Problem {
            residual: &residual,
            points: busy.len(),
            priors: priors(),
            least: LEAST_NOISE,
        };
        terms = shape.terms(&problem.solve(&[start]));
        let before = activity.clone();
        activity = activities(&shape, &terms, &busy, groups);
        let settled = |(old, new): (&f64, &f64)| (old / new - 1.0).abs() < 1e-4;
        if before.iter().zip(&activity).all(settled) {
            break;
        }
    }
    let pairs: Vec<_> = busy
        .iter()
        .map(|point| {
            let (ghz, above) = (point.gpu_mhz / 1e3, shape.above(point));
            let share = point.group.map_or(1.0, |group| activity[group]);
            (terms.idle_w(ghz, above) + share * terms.added_w(ghz, above), point.watt)
        })
        .collect();
    PowerFit {
        idle: terms.idle,
        busy: terms.busy,
        idle_emc: terms.idle_emc,
        busy_emc: terms.busy_emc,
        activity,
        idle_measured: !idle.is_empty(),
        busy_measured: !busy.is_empty(),
        emc_measured: emc_varies(&busy),
        error: FitError::of(&pairs),
    }
}

/// The shape of the default with room for others.
fn priors() -> [Prior; 5] {
    let whole: f64 = defaults::BUSY_W.iter().sum();
    let [base, slope, cubic] = defaults::BUSY_W.map(|watt| (watt / whole).ln());
    [
        Prior { mean: base, sd: 1.5 },
        Prior { mean: slope, sd: 1.5 },
        Prior { mean: cubic, sd: 1.5 },
        Prior { mean: defaults::IDLE_EMC_SHARE, sd: 0.05 },
        Prior { mean: defaults::BUSY_EMC_SHARE, sd: 0.15 },
    ]
}

/// Where the search starts: the default's shape, in watts where nothing was measured.
fn starts(shape: &Shape, busy: &[PowerPoint]) -> [f64; 5] {
    let whole: f64 = if busy.is_empty() { shape.watt } else { defaults::BUSY_W.iter().sum() };
    let [base, slope, cubic] = defaults::BUSY_W.map(|watt| (watt / whole).ln());
    [base, slope, cubic, defaults::IDLE_EMC_SHARE, defaults::BUSY_EMC_SHARE]
}

/// `i0`, `i1` and `e0` of measured idle powers.
fn idle_terms(shape: &Shape, idle: &[PowerPoint]) -> [f64; 3] {
    let watt = median(idle.iter().map(|point| point.watt)).unwrap_or(1.0);
    let [low, top] = shape.gpu_ghz();
    let terms = |at: &[f64; 3]| {
        let (base, slope) = (at[0].exp() * watt, at[1].exp() * watt / top);
        [base, slope, shape.bounded_idle_emc(at[2] * (base + slope * top), base + slope * low)]
    };
    let residual = |at: &[f64; 3], index: usize| {
        let ([base, slope, emc], point) = (terms(at), &idle[index]);
        let watt = base + slope * point.gpu_mhz / 1e3 + emc * shape.above(point);
        (watt.max(1e-6) / point.watt).ln()
    };
    let residual = |at: &[f64; 3], index: usize| with_slopes(&residual, at, index);
    // Xavier NX: half of the idle power at the highest GPU clock is in proportion to it.
    let priors = [
        Prior { mean: 0.5_f64.ln(), sd: 1.0 },
        Prior { mean: 0.5_f64.ln(), sd: 1.0 },
        Prior { mean: defaults::IDLE_EMC_SHARE, sd: 0.05 },
    ];
    let problem = Problem { residual: &residual, points: idle.len(), priors, least: LEAST_NOISE };
    terms(&problem.solve(&[priors.map(|prior| prior.mean)]))
}

/// What each group adds to idle as a share of group 0, by the median of its points.
fn activities(shape: &Shape, terms: &Terms, busy: &[PowerPoint], groups: usize) -> Vec<f64> {
    let of = |group: usize| {
        let own = busy.iter().filter(|point| point.group == Some(group));
        median(own.map(|point| {
            let (ghz, above) = (point.gpu_mhz / 1e3, shape.above(point));
            (point.watt - terms.idle_w(ghz, above)) / terms.added_w(ghz, above)
        }))
    };
    let first = of(0).unwrap_or(1.0).clamp(ACTIVITY[0], ACTIVITY[1]);
    let share = |group| {
        let found = of(group).unwrap_or(first).clamp(ACTIVITY[0], ACTIVITY[1]);
        (found / first).clamp(ACTIVITY[0], ACTIVITY[1])
    };
    (0..groups.max(1)).map(share).collect()
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let lower = if sorted.len().is_multiple_of(2) { sorted[middle - 1] } else { upper };
    Some(0.5 * (lower + upper))
}
