//! Time plots that stand under one another on a common axis of time.

use super::error::PageError;
use super::number::checked;
use super::scale::{Scale, Span};
use super::series::{Limit, Series};

/// Plots under one another, with the phases and moments that they share.
#[derive(Clone, Debug)]
pub struct TimePlots {
    pub(super) span: Span,
    pub(super) phases: Vec<Phase>,
    pub(super) moments: Vec<Moment>,
    pub(super) plots: Vec<TimePlot>,
}

/// A part of the time that has a name.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) span: Span,
}

/// Something that happened at one time.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    pub(super) label: String,
    pub(super) at_s: f64,
}

impl TimePlots {
    /// Plots of the time from `from_s` until `until_s`, s from the start of the run; what is drawn
    /// of earlier or later is cut.
    ///
    /// # Errors
    /// [`PageError::Number`] or [`PageError::Range`] for a span that is none.
    pub fn new(from_s: f64, until_s: f64) -> Result<Self, PageError> {
        let span = checked_span("time axis", from_s, until_s)?;
        Ok(Self { span, phases: vec![], moments: vec![], plots: vec![] })
    }

    /// Adds a phase: a shaded band with its number and name in every plot, and a line in the list
    /// above them. A phase outside of the span is only in the list.
    ///
    /// # Errors
    /// [`PageError::Number`] or [`PageError::Range`] for a span that is none.
    pub fn phase(
        mut self,
        name: impl Into<String>,
        from_s: f64,
        until_s: f64,
    ) -> Result<Self, PageError> {
        let name = name.into();
        let span = checked_span(&format!("phase {name:?}"), from_s, until_s)?;
        self.phases.push(Phase { name, span });
        Ok(self)
    }

    /// Adds a moment: a vertical line with a letter in every plot, and a line in the list above
    /// them. A moment outside of the span is only in the list.
    ///
    /// # Errors
    /// [`PageError::Number`] for a time that is not finite.
    pub fn moment(mut self, label: impl Into<String>, at_s: f64) -> Result<Self, PageError> {
        let label = label.into();
        let at_s = checked(&format!("moment {label:?}"), 0, at_s)?;
        self.moments.push(Moment { label, at_s });
        Ok(self)
    }

    /// Adds a plot under those there are.
    #[must_use]
    pub fn plot(mut self, plot: TimePlot) -> Self {
        self.plots.push(plot);
        self
    }
}

/// One plot of series and limits over time.
#[derive(Clone, Debug)]
pub struct TimePlot {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) note: Option<String>,
    pub(super) series: Vec<Series>,
    pub(super) limits: Vec<Limit>,
    given: Option<Scale>,
    with_zero: bool,
    /// Names written at the axis in place of numbers, by value.
    pub(super) names: Vec<(f64, String)>,
}

impl TimePlot {
    /// A plot without series; the unit may be empty.
    pub fn new(title: impl Into<String>, unit: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            unit: unit.into(),
            note: None,
            series: vec![],
            limits: vec![],
            given: None,
            with_zero: true,
            names: vec![],
        }
    }

    /// Says in the caption how the values came about ("mean over half a second").
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Adds a series.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Adds a limit.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Shows this range of values; without, that of the data and 0. Points outside stand at the
    /// edge, and the caption says how many values do.
    ///
    /// # Errors
    /// [`PageError::Number`] or [`PageError::Range`] for a range that is none.
    pub fn range(mut self, low: f64, high: f64) -> Result<Self, PageError> {
        let what = format!("range of plot {:?}", self.title);
        let Span { from_s: low, until_s: high } = checked_span(&what, low, high)?;
        self.given = Some(Scale { low, high });
        Ok(self)
    }

    /// Shows the range of the data alone, for values whose distance from 0 means nothing.
    #[must_use]
    pub fn without_zero(mut self) -> Self {
        self.with_zero = false;
        self
    }

    /// Writes names in place of numbers at the axis: of levels, of sub-networks. The range from
    /// the least to the largest of them is shown. Names over 20 characters, on a narrow page over
    /// 14, are shortened.
    ///
    /// # Errors
    /// [`PageError::Number`] for a value that is not finite.
    pub fn named_values<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = (f64, N)>,
    ) -> Result<Self, PageError> {
        let what = format!("named values of plot {:?}", self.title);
        for (index, (value, name)) in names.into_iter().enumerate() {
            self.names.push((checked(&what, index, value)?, name.into()));
        }
        self.names.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Ok(self)
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        let series = self.series.iter().flat_map(Series::values);
        series.chain(self.limits.iter().flat_map(Limit::values))
    }

    pub(super) fn scale(&self) -> Scale {
        let named = self.names.iter().map(|(value, _)| *value);
        // Names have no zero to start from.
        let with_zero = self.with_zero && self.names.is_empty();
        self.given.unwrap_or_else(|| Scale::around(self.values().chain(named), with_zero))
    }

    /// Values that a given range leaves out.
    pub(super) fn outside(&self) -> usize {
        let scale = self.scale();
        self.values().filter(|value| !scale.holds(*value)).count()
    }

    /// What is written at the axis of values.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let scale = self.scale();
        if self.names.is_empty() {
            return scale.ticks(self.values().all(|value| value.fract() == 0.0));
        }
        self.names.iter().filter(|(value, _)| scale.holds(*value)).cloned().collect()
    }
}

fn checked_span(what: &str, from: f64, until: f64) -> Result<Span, PageError> {
    checked(what, 0, from)?;
    checked(what, 1, until)?;
    // Shorter than this, places in it could not be told apart.
    let least = from.abs().max(until.abs()) * 1e-9;
    if until - from <= least {
        return Err(PageError::Range { what: what.to_owned(), from, until });
    }
    Ok(Span { from_s: from, until_s: until })
}

#[cfg(test)]
mod tests {
    use super::{Series, TimePlot, TimePlots};

    #[test]
    fn spans_and_ranges_end_after_their_start() {
        let error = |from, until| TimePlots::new(from, until).unwrap_err().to_string();
        assert_eq!(error(2.0, 1.0), "time axis: from 2 until 1, expected an end after the start");
        assert!(error(0.0, f64::NAN).starts_with("time axis: number 1 is NaN"));
        let plots = TimePlots::new(0.0, 1.0).unwrap();
        let error = plots.phase("rest", 1.0, 1.0).unwrap_err().to_string();
        assert_eq!(error, "phase \"rest\": from 1 until 1, expected an end after the start");
        assert!(TimePlot::new("Power", "W").range(1.0, 1.0).is_err());
        assert!(TimePlot::new("Power", "W").named_values([(f64::NAN, "x")]).is_err());
    }

    #[test]
    fn the_range_is_that_of_the_data_unless_given() {
        let series = || Series::line("a", [(0.0, 10.0), (1.0, 20.0)]).unwrap();
        let plot = TimePlot::new("Power", "W").series(series());
        assert_eq!((plot.scale().low, plot.outside()), (0.0, 0));
        assert!(plot.clone().without_zero().scale().low > 9.0);
        let given = plot.range(0.0, 15.0).unwrap();
        assert_eq!((given.scale().high, given.outside()), (15.0, 1));
        let named = TimePlot::new("Level", "").named_values([(3.0, "c"), (1.0, "a")]).unwrap();
        let names: Vec<_> = named.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
