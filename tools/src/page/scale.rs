//! Where values and times stand, and which of them are written at an axis.

use super::number::fixed;

/// A range of values shown from the lower to the upper edge of a plot; never empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Scale {
    /// The range that holds these values with a little room; 0 is in it if `with_zero`.
    pub(super) fn around(values: impl Iterator<Item = f64>, with_zero: bool) -> Self {
        let start = if with_zero { Some((0.0, 0.0)) } else { None };
        let range = values.fold(start, |range: Option<(f64, f64)>, value| {
            Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
        });
        let (low, high) = range.unwrap_or((0.0, 0.0));
        // A range too small to be told from rounding is drawn as one value in the middle.
        let least = (low.abs().max(high.abs()) * 1e-9).max(1e-9);
        if high - low < least {
            if with_zero {
                return Self { low: 0.0, high: 1.0 };
            }
            let around = (high.abs() * 0.05).max(1.0);
            return Self { low: low - around, high: high + around };
        }
        let room = (high - low) * 0.06;
        let edge =
            |value: f64, room: f64| if with_zero && value == 0.0 { 0.0 } else { value + room };
        Self { low: edge(low, -room), high: edge(high, room) }
    }

    /// Distance from the upper edge in per cent; values outside stand at the edge.
    pub(super) fn percent_down(&self, value: f64) -> f64 {
        100.0 * (1.0 - (value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    pub(super) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Round values to write at the axis, two to seven of them.
    pub(super) fn ticks(&self, whole: bool) -> Vec<(f64, String)> {
        let rough = (self.high - self.low) / 4.5;
        let power = 10.0_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
        let whole_enough = |step: &f64| !whole || (*step >= 1.0 && step.fract() == 0.0);
        let step = steps.into_iter().filter(whole_enough).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(if whole { 1.0 } else { 10.0 * power });
        let decimals = (0..12).find(|&decimals| {
            let scaled = step * 10.0_f64.powi(decimals);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        });
        let decimals = decimals.unwrap_or(12) as usize;
        let tolerance = (self.high - self.low) * 1e-9;
        let first = ((self.low - tolerance) / step).ceil() as i64;
        let last = ((self.high + tolerance) / step).floor() as i64;
        let tick = |n: i64| (n as f64 * step, fixed(n as f64 * step, decimals));
        (first..=last).map(tick).collect()
    }
}

/// A span of time shown from the left to the right edge; never empty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) from_s: f64,
    pub(super) until_s: f64,
}

/// A time written at the axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TimeTick {
    pub(super) at_s: f64,
    pub(super) label: String,
    /// Written where there is little room too.
    pub(super) always: bool,
}

impl Span {
    /// Distance from the left edge in per cent; times outside stand at the edge.
    pub(super) fn percent_across(&self, at_s: f64) -> f64 {
        100.0 * ((at_s - self.from_s) / (self.until_s - self.from_s)).clamp(0.0, 1.0)
    }

    pub(super) fn holds(&self, at_s: f64) -> bool {
        (self.from_s..=self.until_s).contains(&at_s)
    }

    /// Round times: up to 13 of them where there is room, every so many of them where not.
    pub(super) fn ticks(&self) -> Vec<TimeTick> {
        let length = self.until_s - self.from_s;
        let (unit, unit_s) = match length {
            ..=600.0 => ("s", 1.0),
            ..=21_600.0 => ("min", 60.0),
            _ => ("h", 3600.0),
        };
        let step = step_of(length / unit_s / 12.0);
        // Hours of a day divide by 3 and 4 too.
        let is_round = |step: f64| unit == "h" || (step / step_of(step) - 1.0).abs() < 1e-6;
        let fits = |n: &i64| length / unit_s / (step * *n as f64) <= 5.0;
        let every = (1..=10).filter(|n| is_round(step * *n as f64)).find(fits).unwrap_or(10);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (self.from_s / unit_s / step - 1e-9).ceil() as i64;
        let last = (self.until_s / unit_s / step + 1e-9).floor() as i64;
        let tick = |n: i64| {
            let at = n as f64 * step;
            TimeTick {
                at_s: at * unit_s,
                label: format!("{} {unit}", fixed(at, decimals)),
                always: n % every == 0,
            }
        };
        (first..=last).map(tick).collect()
    }
}

/// The next round step: 1, 2 or 5 times a power of ten.
fn step_of(rough: f64) -> f64 {
    let power = 10.0_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::{Scale, Span};

    fn labels(scale: Scale, whole: bool) -> Vec<String> {
        scale.ticks(whole).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(Scale { low: 0.0, high: 1175.0 }, false), ["0", "500", "1,000"]);
        assert_eq!(labels(Scale { low: 0.0, high: 9.0 }, true), ["0", "2", "4", "6", "8"]);
        assert_eq!(labels(Scale { low: 0.0, high: 1.06 }, true), ["0", "1"]);
        assert_eq!(
            labels(Scale { low: -1.0, high: 1.0 }, false),
            ["−1.0", "−0.5", "0.0", "0.5", "1.0"]
        );
        for high in [2e-9, 1e-3, 0.7, 3.0, 17.0, 1234.0, 9e14] {
            for low in [0.0, -high / 3.0, high / 2.0] {
                let scale = Scale { low, high };
                let ticks = scale.ticks(false);
                assert!((2..=7).contains(&ticks.len()), "{scale:?}: {ticks:?}");
                assert!(ticks.iter().all(|(value, _)| {
                    *value >= low - high * 1e-6 && *value <= high * (1.0 + 1e-6)
                }));
            }
        }
    }

    #[test]
    fn a_range_is_never_empty() {
        for values in [vec![], vec![0.0], vec![5.0], vec![-5.0, -5.0], vec![1e15], vec![1e-300]] {
            for with_zero in [false, true] {
                let scale = Scale::around(values.iter().copied(), with_zero);
                assert!(scale.high > scale.low, "{values:?}: {scale:?}");
                assert!(values.iter().all(|value| scale.percent_down(*value).is_finite()));
                assert!((1..=7).contains(&scale.ticks(false).len()), "{values:?}: {scale:?}");
            }
        }
        let scale = Scale::around([2.0, 4.0].into_iter(), true);
        assert_eq!((scale.low, scale.percent_down(0.0)), (0.0, 100.0));
        assert_eq!(Scale { low: 0.0, high: 10.0 }.percent_down(11.0), 0.0);
    }

    #[test]
    fn times_thin_out() {
        for (until_s, all, always) in [
            (60.0, 13, "0 s 20 s 40 s 60 s"),
            (62.0, 7, "0 s 20 s 40 s 60 s"),
            (3.0, 7, "0.0 s 1.0 s 2.0 s 3.0 s"),
            (1200.0, 11, "0 min 10 min 20 min"),
            (10.0, 11, "0 s 2 s 4 s 6 s 8 s 10 s"),
            (86_400.0, 13, "0 h 6 h 12 h 18 h 24 h"),
        ] {
            let ticks = Span { from_s: 0.0, until_s }.ticks();
            let kept: Vec<_> = ticks.iter().filter(|tick| tick.always).collect();
            let kept: Vec<_> = kept.iter().map(|tick| tick.label.as_str()).collect();
            assert_eq!((ticks.len(), kept.join(" ").as_str()), (all, always), "{until_s} s");
        }
        let span = Span { from_s: 10.0, until_s: 20.0 };
        assert_eq!((span.percent_across(15.0), span.percent_across(30.0)), (50.0, 100.0));
    }
}
