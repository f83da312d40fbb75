//! Time plots as HTML and SVG that need nothing from elsewhere and no script.
//!
//! Lines are drawn in an SVG that is stretched to the width there is, with strokes that are not;
//! all text is HTML around it, placed in per cent, so that it is as large on a phone as on a screen.

use std::fmt::Write;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value holds until the next.
    Steps,
    /// A dot for each value.
    Dots,
}

/// One series.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Class in the style sheet: colour and dashes.
    pub(super) class: &'static str,
    pub(super) kind: Kind,
    /// (time in s, value), in order; `None` is a gap.
    pub(super) values: Vec<(f64, Option<f64>)>,
}

/// One plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) series: Vec<Series>,
}

/// What all plots of a page share.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) from_s: f64,
    pub(super) until_s: f64,
    /// (name, from, until)
    pub(super) bands: Vec<(String, f64, f64)>,
    /// (what, when)
    pub(super) moments: Vec<(String, f64)>,
}

/// Text as it stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Width and height of the drawing, in its own units.
const SIZE: (f64, f64) = (1000.0, 100.0);

impl Axis {
    fn x(&self, at_s: f64) -> f64 {
        let share = (at_s - self.from_s) / (self.until_s - self.from_s).max(1e-9);
        SIZE.0 * share.clamp(0.0, 1.0)
    }

    fn percent(&self, at_s: f64) -> f64 {
        self.x(at_s) / SIZE.0 * 100.0
    }
}

/// Round numbers that divide a range from 0 into two to five parts.
fn ticks(largest: f64) -> Vec<f64> {
    let rough = largest.max(1e-9) / 4.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    (0..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= largest * 1.0001).collect()
}

impl Plot {
    /// The figure.
    pub(super) fn html(&self, axis: &Axis) -> String {
        let values = self.series.iter().flat_map(|series| &series.values);
        let largest = values.filter_map(|(_, value)| *value).fold(0.0, f64::max) * 1.05;
        let largest = if largest > 0.0 { largest } else { 1.0 };
        let y = |value: f64| SIZE.1 * (1.0 - (value / largest).clamp(0.0, 1.0));
        let (title, unit) = (escaped(&self.title), escaped(self.unit));
        let mut text = format!("<figure><figcaption><b>{title}</b>, {unit}");
        for Series { name, class, kind, .. } in &self.series {
            let shape = if *kind == Kind::Dots { "dot" } else { "line" };
            let name = escaped(name);
            let _ =
                write!(text, "<span class=\"key\"><i class=\"{shape} {class}\"></i>{name}</span>");
        }
        text += "</figcaption><div class=\"plot\"><div class=\"ys\">";
        for tick in ticks(largest) {
            let top = y(tick) / SIZE.1 * 100.0;
            let _ = write!(text, "<span style=\"top:{top:.1}%\">{tick}</span>");
        }
        let (width, height) = SIZE;
        let _ = write!(
            text,
            "</div><svg viewBox=\"0 0 {width} {height}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{title}, {unit}, over time\">"
        );
        for (index, (_, from, until)) in axis.bands.iter().enumerate() {
            let (left, right) = (axis.x(*from), axis.x(*until));
            let class = if index % 2 == 0 { "even" } else { "odd" };
            let _ = write!(
                text,
                "<rect class=\"{class}\" x=\"{left:.1}\" y=\"0\" width=\"{:.1}\" height=\"{height}\"/>",
                right - left
            );
        }
        for tick in ticks(largest) {
            let at = y(tick);
            let _ = write!(text, "<path class=\"grid\" d=\"M0 {at:.2}H{width}\"/>");
        }
        for (_, at_s) in &axis.moments {
            let _ = write!(text, "<path class=\"moment\" d=\"M{:.1} 0V{height}\"/>", axis.x(*at_s));
        }
        for series in &self.series {
            let path = series.path(axis, &y);
            let shape = if series.kind == Kind::Dots { "dots" } else { "steps" };
            let _ = write!(text, "<path class=\"{shape} {}\" d=\"{path}\"/>", series.class);
        }
        text += "</svg></div>";
        text += &axis.labels();
        text += "</figure>\n";
        text
    }
}

impl Series {
    fn path(&self, axis: &Axis, y: &impl Fn(f64) -> f64) -> String {
        let mut path = String::new();
        let within = |at_s: &f64| (axis.from_s..=axis.until_s).contains(at_s);
        if self.kind == Kind::Dots {
            for (at_s, value) in self.values.iter().filter(|(at_s, _)| within(at_s)) {
                if let Some(value) = value {
                    let _ = write!(path, "M{:.1} {:.2}h0", axis.x(*at_s), y(*value));
                }
            }
            return path;
        }
        let mut drawn: Option<f64> = None;
        let next = self.values.iter().skip(1).map(|(at_s, _)| *at_s).chain([axis.until_s]);
        for ((at_s, value), end_s) in self.values.iter().zip(next) {
            let Some(value) = value else {
                drawn = None;
                continue;
            };
            if end_s <= axis.from_s || *at_s >= axis.until_s {
                continue;
            }
            let (left, right, at) = (axis.x(*at_s), axis.x(end_s), y(*value));
            let _ = match drawn {
                Some(last) if last == at => write!(path, "H{right:.1}"),
                Some(_) => write!(path, "V{at:.2}H{right:.1}"),
                None => write!(path, "M{left:.1} {at:.2}H{right:.1}"),
            };
            drawn = Some(at);
        }
        path
    }
}

impl Axis {
    /// Time and phases under a plot.
    fn labels(&self) -> String {
        let mut text = "<div class=\"xs\">".to_owned();
        let step = 10.0;
        let mut at_s = (self.from_s / step).ceil() * step;
        while at_s <= self.until_s {
            let left = self.percent(at_s);
            let _ = write!(text, "<span style=\"left:{left:.2}%\">{at_s:.0} s</span>");
            at_s += step;
        }
        text += "</div><div class=\"phases\">";
        for (index, (name, from, until)) in self.bands.iter().enumerate() {
            let (left, width) = (self.percent(*from), self.percent(*until) - self.percent(*from));
            let (number, name) = (index + 1, escaped(name));
            let _ = write!(
                text,
                "<span style=\"left:{left:.2}%;width:{width:.2}%\">{number}<em> {name}</em></span>"
            );
        }
        text += "</div>";
        text
    }
}

/// Style sheet of the plots.
pub(super) const STYLE: &str = "
figure{margin:1.4rem 0 2rem}
figcaption{font-size:.95rem;line-height:1.6}
.key{white-space:nowrap;margin-left:1em;color:var(--soft)}
.key i{display:inline-block;width:1.4em;height:0;border-top:3px solid;margin-right:.4em;vertical-align:.25em}
.key i.dot{width:.55em;height:.55em;border:0;border-radius:50%;background:currentColor;vertical-align:.05em}
.plot{position:relative;margin-left:3.2rem;height:9.5rem}
.plot svg{display:block;width:100%;height:100%;overflow:visible;border-bottom:1px solid var(--soft)}
.ys span{position:absolute;right:100%;margin-right:.5rem;transform:translateY(-50%);font-size:.75rem;color:var(--soft)}
.xs,.phases{position:relative;margin-left:3.2rem;height:1.2rem;font-size:.75rem;color:var(--soft)}
.xs span{position:absolute;transform:translateX(-50%);white-space:nowrap}
.phases span{position:absolute;text-align:center;white-space:nowrap;overflow:hidden;color:var(--text)}
.phases em{font-style:normal}
svg path{fill:none;vector-effect:non-scaling-stroke;stroke:currentColor}
svg .grid{stroke:var(--line);stroke-width:1}
svg .moment{stroke:var(--text);stroke-width:1.5;stroke-dasharray:2 3}
svg .steps{stroke-width:2}
svg .dots{stroke-width:4;stroke-linecap:round}
svg .dots.missed{stroke-width:5}
rect.even{fill:var(--even)} rect.odd{fill:var(--odd)}
.ours{color:var(--ours)} .largest{color:var(--largest)} .fitting{color:var(--fitting)}
.limit{color:var(--limit)} .missed{color:var(--limit)}
svg .largest.steps{stroke-dasharray:7 4;stroke-width:1.5} .key .largest{border-top-style:dashed}
svg .fitting.steps{stroke-dasharray:2 3;stroke-width:1.5} .key .fitting{border-top-style:dotted}
svg .limit.steps{stroke-dasharray:10 3}
@media (max-width:600px){.phases em{display:none}.plot{height:8rem}.key{margin-left:0;margin-right:1em}
.key:first-of-type{margin-left:.6em}svg .dots{stroke-width:2.5}svg .dots.missed{stroke-width:4}}
";

#[cfg(test)]
mod tests {
    use super::{Axis, Kind, Plot, Series, escaped, ticks};

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(100.0), [0.0, 25.0, 50.0, 75.0, 100.0]);
        assert_eq!(ticks(1164.7), [0.0, 500.0, 1000.0]);
        assert_eq!(ticks(9.45), [0.0, 2.5, 5.0, 7.5]);
        for largest in [1e-3, 0.7, 3.0, 17.0, 1234.0] {
            let found = ticks(largest);
            assert!((3..=6).contains(&found.len()), "{largest}: {found:?}");
        }
    }

    #[test]
    fn steps_hold_and_gaps_stay_open() {
        let axis = Axis { from_s: 0.0, until_s: 10.0, bands: vec![], moments: vec![] };
        let series = |kind, values| Series { name: "a".into(), class: "ours", kind, values };
        let y = |value: f64| 100.0 - value;
        let values = vec![(0.0, Some(10.0)), (2.0, Some(20.0)), (4.0, None), (6.0, Some(5.0))];
        let steps = series(Kind::Steps, values.clone());
        assert_eq!(steps.path(&axis, &y), "M0.0 90.00H200.0V80.00H400.0M600.0 95.00H1000.0");
        let dots = series(Kind::Dots, values);
        assert_eq!(dots.path(&axis, &y), "M0.0 90.00h0M200.0 80.00h0M600.0 95.00h0");
        assert_eq!(series(Kind::Steps, vec![]).path(&axis, &y), "");
        // What is before and after is cut.
        let axis = Axis { from_s: 3.0, until_s: 5.0, bands: vec![], moments: vec![] };
        let long = series(Kind::Steps, vec![(0.0, Some(1.0)), (9.0, Some(2.0))]);
        assert_eq!(long.path(&axis, &y), "M0.0 99.00H1000.0");
    }

    #[test]
    fn names_are_text() {
        let bands = vec![("<b>&".to_owned(), 0.0, 5.0)];
        let axis = Axis { from_s: 0.0, until_s: 10.0, bands, moments: vec![] };
        let plot = Plot { title: "a\"<".into(), unit: "ms", series: vec![] };
        let html = plot.html(&axis);
        assert!(html.contains("a&quot;&lt;") && html.contains("&lt;b&gt;&amp;"), "{html}");
        assert_eq!(escaped("a & b"), "a &amp; b");
    }
}
