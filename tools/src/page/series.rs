//! What is drawn in a time plot: series and limits.

use super::error::PageError;
use super::number::{checked, number};

/// Colour and dashes (lines) or shape (points) of a series. The same look in several plots tells
/// readers that it is the same thing; every look differs from the others without its colour too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Blue, solid and thicker than the others: what the page is about.
    First,
    /// Orange, dashed.
    Second,
    /// Green, dotted.
    Third,
    /// Purple, dashes and dots.
    Fourth,
    /// Dark olive (yellow on dark), long dashes.
    Fifth,
    /// Near black (light grey on dark), short dashes.
    Sixth,
}

impl Look {
    const ALL: [Self; 6] =
        [Self::First, Self::Second, Self::Third, Self::Fourth, Self::Fifth, Self::Sixth];

    /// The look of the series at this place of a plot; from the seventh on they repeat.
    pub(super) fn at(index: usize) -> Self {
        Self::ALL[index % Self::ALL.len()]
    }

    /// Class in the style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::First => "look-1",
            Self::Second => "look-2",
            Self::Third => "look-3",
            Self::Fourth => "look-4",
            Self::Fifth => "look-5",
            Self::Sixth => "look-6",
        }
    }
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Steps,
    Line,
    Points,
}

/// A value from a time on, s; `None` from there on there is none.
pub(super) type Sample = (f64, Option<f64>);

/// Values over time, every one of them finite, in order of time.
#[derive(Clone, Debug)]
pub struct Series {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) samples: Vec<Sample>,
    pub(super) look: Option<Look>,
    pub(super) marked: Option<Marked>,
}

/// Points that stand out, as misses do.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    pub(super) name: String,
    /// One for each sample.
    pub(super) which: Vec<bool>,
}

impl Series {
    /// A value holds until the next time; a gap is `None`.
    ///
    /// # Errors
    /// [`PageError::Number`] for a time or value that is not finite, [`PageError::Order`] for a
    /// time before the one that precedes it; both name the series.
    pub fn steps<V: Into<Option<f64>>>(
        name: impl Into<String>,
        samples: impl IntoIterator<Item = (f64, V)>,
    ) -> Result<Self, PageError> {
        Self::new(name.into(), Kind::Steps, samples)
    }

    /// Values joined by a straight line; a gap is `None`.
    ///
    /// # Errors
    /// As [`Self::steps`].
    pub fn line<V: Into<Option<f64>>>(
        name: impl Into<String>,
        samples: impl IntoIterator<Item = (f64, V)>,
    ) -> Result<Self, PageError> {
        Self::new(name.into(), Kind::Line, samples)
    }

    /// A point for each value. A sample without a value (a request that was dropped) is seen only
    /// if it is marked: at the upper edge.
    ///
    /// # Errors
    /// As [`Self::steps`], but for the order, in which points are free.
    pub fn points<V: Into<Option<f64>>>(
        name: impl Into<String>,
        samples: impl IntoIterator<Item = (f64, V)>,
    ) -> Result<Self, PageError> {
        Self::new(name.into(), Kind::Points, samples)
    }

    fn new<V: Into<Option<f64>>>(
        name: String,
        kind: Kind,
        samples: impl IntoIterator<Item = (f64, V)>,
    ) -> Result<Self, PageError> {
        let samples = checked_samples("series", &name, samples, kind != Kind::Points)?;
        Ok(Self { name, kind, samples, look: None, marked: None })
    }

    /// Gives the series a look of its own; without, it has that of its place in the plot.
    #[must_use]
    pub fn look(mut self, look: Look) -> Self {
        self.look = Some(look);
        self
    }

    /// Marks each sample whose value is over the limit in force at its time.
    #[must_use]
    pub fn mark_over(self, limit: &Limit, mark: impl Into<String>) -> Self {
        let over = |(at_s, value): &Sample| {
            value.zip(limit.at(*at_s)).is_some_and(|(value, limit)| value > limit)
        };
        let which = self.samples.iter().map(over).collect();
        Self { marked: Some(Marked { name: mark.into(), which }), ..self }
    }

    /// Marks the samples that `is_marked` tells, by their index.
    #[must_use]
    pub fn mark_where(self, mark: impl Into<String>, is_marked: impl FnMut(usize) -> bool) -> Self {
        let which = (0..self.samples.len()).map(is_marked).collect();
        Self { marked: Some(Marked { name: mark.into(), which }), ..self }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.samples.iter().filter_map(|(_, value)| *value)
    }

    /// Samples with whether they are marked.
    pub(super) fn samples_marked(&self) -> impl Iterator<Item = (Sample, bool)> + '_ {
        let is_marked = |index| self.marked.as_ref().is_some_and(|marked| marked.which[index]);
        self.samples.iter().enumerate().map(move |(index, sample)| (*sample, is_marked(index)))
    }

    /// What a reader who does not see the plot is told.
    pub(super) fn in_words(&self) -> String {
        let mut words = format!("{} {}", self.name, range_in_words(self.values()));
        if let Some(marked) = &self.marked {
            words += &format!(", {}", marked.in_words());
        }
        words
    }
}

impl Marked {
    pub(super) fn in_words(&self) -> String {
        let count = self.which.iter().filter(|which| **which).count();
        format!("{}: {count} of {}", self.name, self.which.len())
    }
}

/// A limit that changes over time, with gaps where there is none: a deadline, a power cap.
#[derive(Clone, Debug)]
pub struct Limit {
    pub(super) name: String,
    pub(super) samples: Vec<Sample>,
}

impl Limit {
    /// A limit holds from its time until the next; `None` from there on there is none.
    ///
    /// # Errors
    /// As [`Series::steps`].
    pub fn new<V: Into<Option<f64>>>(
        name: impl Into<String>,
        samples: impl IntoIterator<Item = (f64, V)>,
    ) -> Result<Self, PageError> {
        let name = name.into();
        let samples = checked_samples("limit", &name, samples, true)?;
        Ok(Self { name, samples })
    }

    /// The limit in force at a time.
    pub fn at(&self, at_s: f64) -> Option<f64> {
        let next = self.samples.partition_point(|(from_s, _)| *from_s <= at_s);
        self.samples[..next].last().and_then(|(_, value)| *value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.samples.iter().filter_map(|(_, value)| *value)
    }

    pub(super) fn in_words(&self) -> String {
        format!("{} {}", self.name, range_in_words(self.values()))
    }
}

fn checked_samples<V: Into<Option<f64>>>(
    what: &str,
    name: &str,
    samples: impl IntoIterator<Item = (f64, V)>,
    in_order: bool,
) -> Result<Vec<Sample>, PageError> {
    let mut kept: Vec<Sample> = Vec::new();
    let named = || format!("{what} {name:?}");
    for (index, (at_s, value)) in samples.into_iter().enumerate() {
        let value: Option<f64> = value.into();
        checked(&format!("time of {}", named()), index, at_s)?;
        if let Some(value) = value {
            checked(&named(), index, value)?;
        }
        if in_order && kept.last().is_some_and(|(before, _)| at_s < *before) {
            return Err(PageError::Order { what: named(), index });
        }
        kept.push((at_s, value));
    }
    Ok(kept)
}

fn range_in_words(values: impl Iterator<Item = f64>) -> String {
    let range = values.fold(None, |range: Option<(f64, f64)>, value| {
        Some(range.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    });
    match range {
        None => "no data".to_owned(),
        Some((low, high)) if number(low) == number(high) => number(low),
        Some((low, high)) => format!("{} to {}", number(low), number(high)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, PageError, Series};

    #[test]
    fn a_limit_holds_from_its_time() {
        let limit = Limit::new("cap", [(1.0, Some(5.0)), (2.0, None), (3.0, Some(4.0))]).unwrap();
        let at = [0.9, 1.0, 1.9, 2.0, 3.0, 99.0].map(|at_s| limit.at(at_s));
        assert_eq!(at, [None, Some(5.0), Some(5.0), None, Some(4.0), Some(4.0)]);
        assert_eq!(limit.in_words(), "cap 4 to 5");
    }

    #[test]
    fn marks_follow_the_limit_of_their_time() {
        let limit = Limit::new("deadline", [(0.0, Some(50.0)), (2.0, Some(20.0)), (4.0, None)]);
        let points = [(1.0, Some(30.0)), (2.0, Some(30.0)), (3.0, Some(20.0)), (5.0, Some(99.0))];
        let series = Series::points("response", points).unwrap();
        let series = series.mark_over(&limit.unwrap(), "late");
        assert_eq!(series.marked.as_ref().unwrap().which, [false, true, false, false]);
        assert_eq!(series.in_words(), "response 20 to 99, late: 1 of 4");
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_with_its_place() {
        let error = Series::steps("power", [(0.0, 1.0), (1.0, f64::NAN)]).unwrap_err();
        assert!(matches!(error, PageError::Number { index: 1, .. }), "{error}");
        assert!(error.to_string().starts_with("series \"power\": number 1 is NaN"), "{error}");
        let error = Series::points("power", [(f64::INFINITY, 1.0)]).unwrap_err();
        assert!(error.to_string().starts_with("time of series \"power\": number 0"), "{error}");
        let error = Limit::new("cap", [(1.0, 1.0), (0.5, 1.0)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "limit \"cap\": entry 1 is earlier than the one before, expected time order"
        );
        assert!(Series::points("free", [(1.0, 1.0), (0.5, 1.0)]).is_ok());
    }
}
