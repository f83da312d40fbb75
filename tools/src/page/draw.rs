//! Time plots as HTML and SVG.
//!
//! One SVG is stretched to the plot's width and height (lines and small points, with strokes that
//! are not stretched); another, which is not, holds the marks, whose shape must stay. Everything
//! else is HTML placed in per cent.

use std::fmt::Write;

use super::number::{coordinate, number};
use super::scale::{Scale, Span};
use super::series::{Kind, Look, Sample, Series};
use super::text::escaped;
use super::time_plot::{Phase, TimePlot, TimePlots};

/// The shape of a mark, used by plots and keys.
pub(super) const SYMBOLS: &str = "<svg class=\"symbols\" width=\"0\" height=\"0\" \
    aria-hidden=\"true\"><defs><path id=\"mark\" d=\"M-3.5-3.5L3.5 3.5M-3.5 3.5L3.5-3.5\"/>\
    </defs></svg>\n";

/// Width and height of the stretched drawing, in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;

/// Height of a plot, and of a line of text in it, rem.
const PLOT_REM: f64 = 9.5;
const LABEL_REM: f64 = 1.05;

impl TimePlots {
    pub(super) fn write(&self, html: &mut String) {
        let widest = self.plots.iter().flat_map(TimePlot::ticks);
        let widest = widest.map(|(_, label)| label.chars().count()).max().unwrap_or(1);
        let _ = writeln!(
            html,
            "<div class=\"time-plots\" style=\"--gutter:{}ch\" data-from=\"{}\" data-until=\"{}\">",
            widest.clamp(3, 20) + 1,
            self.span.from_s,
            self.span.until_s
        );
        self.write_lists(html);
        for plot in &self.plots {
            self.write_plot(plot, html);
        }
        *html += "</div>\n";
    }

    /// Phases and moments in words.
    fn write_lists(&self, html: &mut String) {
        if !self.phases.is_empty() {
            *html += "<ol class=\"phase-list\" aria-label=\"Phases\">\n";
            for phase in &self.phases {
                let (name, Span { from_s, until_s }) = (escaped(&phase.name), phase.span);
                let _ = writeln!(
                    html,
                    "<li>{name} <small>{} to {} s</small></li>",
                    number(from_s),
                    number(until_s)
                );
            }
            *html += "</ol>\n";
        }
        if !self.moments.is_empty() {
            *html += "<ul class=\"moment-list\" aria-label=\"Moments\">\n";
            for (index, moment) in self.moments.iter().enumerate() {
                let (letter, label) = (letter(index), escaped(&moment.label));
                let _ = writeln!(
                    html,
                    "<li><b class=\"flag\">{letter}</b> {label} <small>at {} s</small></li>",
                    number(moment.at_s)
                );
            }
            *html += "</ul>\n";
        }
    }

    fn write_plot(&self, plot: &TimePlot, html: &mut String) {
        let (title, unit) = (escaped(&plot.title), escaped(&plot.unit));
        let _ = write!(html, "<figure>\n<figcaption><b>{title}</b>");
        if !unit.is_empty() {
            let _ = write!(html, ", {unit}");
        }
        if let Some(note) = &plot.note {
            let _ = write!(html, " <small>({})</small>", escaped(note));
        }
        if plot.outside() > 0 {
            let _ = write!(html, " <small>({} values beyond the edge)</small>", plot.outside());
        }
        plot.write_key(html);
        *html += "</figcaption>\n<div class=\"field\">\n";
        self.write_flags(html);
        self.write_bands(html);
        let names = plot.names.len() as f64 * LABEL_REM;
        let height = PLOT_REM.max(names.min(2.0 * PLOT_REM));
        let _ = writeln!(html, "<div class=\"canvas\" style=\"height:{}rem\">", coordinate(height));
        plot.write_ticks(height, html);
        self.write_lines(plot, html);
        plot.write_marks(self.span, html);
        if plot.series.iter().all(|series| series.samples.is_empty()) {
            *html += "<p class=\"empty\">no data</p>";
        }
        *html += "</div>\n<div class=\"times\" aria-hidden=\"true\">";
        for tick in self.span.ticks() {
            let (left, label) = (coordinate(self.span.percent_across(tick.at_s)), tick.label);
            let class = if tick.always { "" } else { " class=\"wide\"" };
            let _ = write!(html, "<span{class} style=\"left:{left}%\">{label}</span>");
        }
        *html += "</div>\n</div>\n</figure>\n";
    }

    /// Letters of the moments over the plot; those too near to the one before stand lower.
    fn write_flags(&self, html: &mut String) {
        let mut shown: Vec<_> = self.moments.iter().enumerate().collect();
        shown.retain(|(_, moment)| self.span.holds(moment.at_s));
        shown.sort_by(|(_, one), (_, other)| one.at_s.total_cmp(&other.at_s));
        let mut rows = 0;
        let mut flags = String::new();
        // The place of the last flag of each row, %.
        let mut last: [f64; 3] = [f64::NEG_INFINITY; 3];
        for (index, moment) in shown {
            let left = self.span.percent_across(moment.at_s);
            let free = last.iter().position(|before| left - before >= 6.0).unwrap_or(2);
            last[free] = left;
            rows = rows.max(free + 1);
            let (left, letter) = (coordinate(left), letter(index));
            let _ = write!(
                flags,
                "<i class=\"moment\" style=\"left:{left}%;top:{}rem\"><b class=\"flag\">{letter}\
                 </b></i>",
                coordinate(free as f64 * 1.2)
            );
        }
        if rows > 0 {
            let height = coordinate(rows as f64 * 1.2 + 0.1);
            let _ = writeln!(html, "<div class=\"flags\" style=\"height:{height}rem\"></div>");
            let _ = writeln!(html, "<div class=\"moments\" aria-hidden=\"true\">{flags}</div>");
        }
    }

    /// Left and right edge of a phase, %; equal if it is outside of the span.
    fn edges(&self, phase: &Phase) -> (f64, f64) {
        let across = |at_s| self.span.percent_across(at_s);
        (across(phase.span.from_s), across(phase.span.until_s))
    }

    fn write_bands(&self, html: &mut String) {
        if self.phases.is_empty() {
            return;
        }
        *html += "<div class=\"bands\" aria-hidden=\"true\">";
        for (index, phase) in self.phases.iter().enumerate() {
            let (left, right) = self.edges(phase);
            if left == right {
                continue;
            }
            let (number, name) = (index + 1, escaped(&phase.name));
            let _ = write!(
                html,
                "<span style=\"left:{}%;width:{}%\" title=\"{name}\"><b>{number}</b><em> {name}\
                 </em></span>",
                coordinate(left),
                coordinate(right - left)
            );
        }
        *html += "</div>\n";
    }

    fn write_lines(&self, plot: &TimePlot, html: &mut String) {
        let scale = plot.scale();
        let _ = write!(
            html,
            "<svg class=\"lines\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" \
             role=\"img\" aria-label=\"{}\" data-low=\"{}\" data-high=\"{}\" data-unit=\"{}\"",
            escaped(&plot.in_words(self.span)),
            scale.low,
            scale.high,
            escaped(&plot.unit)
        );
        if !plot.names.is_empty() {
            // A tab and a line feed cannot occur in escaped text.
            let names = plot.names.iter().map(|(at, name)| format!("{at}&#9;{}", escaped(name)));
            let names: Vec<_> = names.collect();
            let _ = write!(html, " data-names=\"{}\"", names.join("&#10;"));
        }
        *html += ">\n";
        for (index, phase) in self.phases.iter().enumerate() {
            let (left, right) = self.edges(phase);
            if left == right {
                continue;
            }
            let class = if index % 2 == 0 { "even" } else { "odd" };
            let _ = write!(
                html,
                "<rect class=\"{class}\" x=\"{}\" width=\"{}\" height=\"{HEIGHT}\"/>",
                coordinate(left / 100.0 * WIDTH),
                coordinate((right - left) / 100.0 * WIDTH)
            );
        }
        for (value, _) in plot.ticks() {
            let y = coordinate(scale.percent_down(value));
            let _ = write!(html, "<path class=\"grid\" d=\"M0 {y}H{WIDTH}\"/>");
        }
        *html += "\n";
        let draw = Drawing { span: self.span, scale };
        // What the page is about is drawn last, over what it is compared with.
        let looks = plot.series.iter().enumerate().rev();
        for (series, look) in looks.map(|(index, series)| (series, series.look_at(index))) {
            let (path, class) = match series.kind {
                Kind::Steps => (draw.steps(&series.samples), "steps"),
                Kind::Line => (draw.line(&series.samples), "line"),
                Kind::Points => (draw.points(series), "points"),
            };
            let (look, name) = (look.class(), escaped(&series.name));
            let _ = writeln!(
                html,
                "<path class=\"{class} {look}\" data-name=\"{name}\" d=\"{path}\"/>"
            );
        }
        for limit in &plot.limits {
            let (path, name) = (draw.steps(&limit.samples), escaped(&limit.name));
            let _ = writeln!(html, "<path class=\"limit\" data-name=\"{name}\" d=\"{path}\"/>");
        }
        *html += "</svg>\n";
    }
}

impl Series {
    fn look_at(&self, index: usize) -> Look {
        self.look.unwrap_or(Look::at(index))
    }
}

impl TimePlot {
    fn in_words(&self, span: Span) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" in {}", self.unit) };
        let (from, until) = (number(span.from_s), number(span.until_s));
        let mut parts: Vec<_> = self.series.iter().map(Series::in_words).collect();
        parts.extend(self.limits.iter().map(super::series::Limit::in_words));
        if parts.is_empty() {
            parts.push("no data".to_owned());
        }
        format!("{}{unit} from {from} to {until} s: {}", self.title, parts.join("; "))
    }

    fn write_key(&self, html: &mut String) {
        if self.series.is_empty() && self.limits.is_empty() {
            return;
        }
        *html += "\n<ul class=\"key\">";
        let mut entry = |swatch: String, name: &str, empty: bool| {
            let empty = if empty { " <small>(no data)</small>" } else { "" };
            let _ = write!(
                html,
                "<li><svg class=\"swatch\" viewBox=\"0 0 28 12\" aria-hidden=\"true\">{swatch}</svg>\
                 {}{empty}</li>",
                escaped(name)
            );
        };
        for (index, series) in self.series.iter().enumerate() {
            let look = series.look_at(index).class();
            let swatch = match series.kind {
                Kind::Points => {
                    format!("<path class=\"points {look}\" d=\"M6 6h0M14 6h0M22 6h0\"/>")
                }
                _ => format!("<path class=\"line {look}\" d=\"M1 6H27\"/>"),
            };
            entry(swatch, &series.name, series.samples.is_empty());
            if let Some(marked) = &series.marked {
                let swatch = "<use class=\"mark\" href=\"#mark\" x=\"14\" y=\"6\"/>".to_owned();
                entry(swatch, &marked.in_words(), false);
            }
        }
        for limit in &self.limits {
            let swatch = "<path class=\"limit\" d=\"M1 6H27\"/>".to_owned();
            entry(swatch, &limit.name, limit.samples.is_empty());
        }
        *html += "</ul>";
    }

    /// Values or names at the axis, as many as do not touch.
    fn write_ticks(&self, height_rem: f64, html: &mut String) {
        let scale = self.scale();
        *html += "<div class=\"values\" aria-hidden=\"true\">";
        let mut last = f64::INFINITY;
        for (value, label) in self.ticks() {
            let top = scale.percent_down(value);
            if (last - top) / 100.0 * height_rem < LABEL_REM * 0.9 {
                continue;
            }
            last = top;
            let (top, label) = (coordinate(top), escaped(&label));
            let _ = write!(html, "<span style=\"top:{top}%\" title=\"{label}\">{label}</span>");
        }
        *html += "</div>\n";
    }

    fn write_marks(&self, span: Span, html: &mut String) {
        let scale = self.scale();
        for series in &self.series {
            let Some(marked) = &series.marked else { continue };
            let name = escaped(&marked.name);
            let _ = write!(html, "<svg class=\"marks\" aria-hidden=\"true\" data-name=\"{name}\">");
            for ((at_s, value), is_marked) in series.samples_marked() {
                if is_marked && span.holds(at_s) {
                    // What has no value, as a request that was dropped, stands at the upper edge.
                    let y = coordinate(value.map_or(0.0, |value| scale.percent_down(value)));
                    let x = coordinate(span.percent_across(at_s));
                    let _ = write!(html, "<use href=\"#mark\" x=\"{x}%\" y=\"{y}%\"/>");
                }
            }
            *html += "</svg>\n";
        }
    }
}

/// Paths in the stretched drawing.
struct Drawing {
    span: Span,
    scale: Scale,
}

impl Drawing {
    fn x(&self, at_s: f64) -> String {
        coordinate(self.span.percent_across(at_s) / 100.0 * WIDTH)
    }

    fn y(&self, value: f64) -> String {
        coordinate(self.scale.percent_down(value) / 100.0 * HEIGHT)
    }

    fn steps(&self, samples: &[Sample]) -> String {
        let mut path = String::new();
        // Height of the pen, if it is down.
        let mut pen: Option<String> = None;
        let ends = samples.iter().skip(1).map(|(at_s, _)| *at_s).chain([f64::INFINITY]);
        for ((at_s, value), end_s) in samples.iter().zip(ends) {
            let Some(value) = value else {
                pen = None;
                continue;
            };
            if end_s < self.span.from_s || *at_s > self.span.until_s {
                continue;
            }
            let (left, right, y) = (self.x(*at_s), self.x(end_s), self.y(*value));
            let _ = match &pen {
                Some(before) if *before == y => Ok(()),
                Some(_) => write!(path, "V{y}"),
                None => write!(path, "M{left} {y}"),
            };
            // One move for a value that holds over many samples.
            if pen.as_ref() == Some(&y)
                && let Some(start) = path.rfind('H')
            {
                path.truncate(start);
            }
            let _ = write!(path, "H{right}");
            pen = Some(y);
        }
        path
    }

    fn line(&self, samples: &[Sample]) -> String {
        let mut path = String::new();
        let mut before: Option<(f64, f64)> = None;
        let mut pen_is_down = false;
        for (at_s, value) in samples {
            let Some(value) = value else {
                (before, pen_is_down) = (None, false);
                continue;
            };
            if self.span.holds(*at_s) {
                // A line that comes in from outside starts at the edge.
                if let Some((from_s, from)) = before
                    && !pen_is_down
                {
                    let edge = self.between((from_s, from), (*at_s, *value), self.span.from_s);
                    let _ = write!(path, "M{} {}", self.x(self.span.from_s), self.y(edge));
                    pen_is_down = true;
                }
                let (x, y) = (self.x(*at_s), self.y(*value));
                // The `h0` makes a dot of a value that has no neighbour.
                let _ = match pen_is_down {
                    true => write!(path, "L{x} {y}"),
                    false => write!(path, "M{x} {y}h0"),
                };
                pen_is_down = true;
            } else if let Some((from_s, from)) = before
                && from_s <= self.span.until_s
                && *at_s > self.span.until_s
            {
                if !pen_is_down {
                    let edge = self.between((from_s, from), (*at_s, *value), self.span.from_s);
                    let _ = write!(path, "M{} {}", self.x(self.span.from_s), self.y(edge));
                }
                let edge = self.between((from_s, from), (*at_s, *value), self.span.until_s);
                let _ = write!(path, "L{} {}", self.x(self.span.until_s), self.y(edge));
                pen_is_down = false;
            }
            before = Some((*at_s, *value));
        }
        path
    }

    /// Value at a time on the line between two samples.
    fn between(&self, (from_s, from): (f64, f64), (to_s, to): (f64, f64), at_s: f64) -> f64 {
        if to_s <= from_s {
            return to;
        }
        from + (to - from) * ((at_s - from_s) / (to_s - from_s)).clamp(0.0, 1.0)
    }

    /// Points that are not marked; those that are have a shape of their own.
    fn points(&self, series: &Series) -> String {
        let mut path = String::new();
        for ((at_s, value), is_marked) in series.samples_marked() {
            if let (Some(value), false, true) = (value, is_marked, self.span.holds(at_s)) {
                let _ = write!(path, "M{} {}h0", self.x(at_s), self.y(value));
            }
        }
        path
    }
}

/// A, B … Z, AA, AB …
fn letter(index: usize) -> String {
    let own = char::from(b'A' + (index % 26) as u8);
    match index / 26 {
        0 => own.to_string(),
        more => letter(more - 1) + &own.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Drawing, Scale, Series, Span, letter};

    fn drawing(from_s: f64, until_s: f64) -> Drawing {
        Drawing { span: Span { from_s, until_s }, scale: Scale { low: 0.0, high: 100.0 } }
    }

    #[test]
    fn steps_hold_and_gaps_stay_open() {
        let samples = [
            (0.0, Some(10.0)),
            (1.0, Some(10.0)),
            (2.0, Some(20.0)),
            (4.0, None),
            (6.0, Some(5.0)),
        ];
        assert_eq!(drawing(0.0, 10.0).steps(&samples), "M0 90H200V80H400M600 95H1000");
        // What is before and after is cut, and the value from before holds.
        assert_eq!(drawing(3.0, 5.0).steps(&samples), "M0 80H500");
        assert_eq!(drawing(20.0, 30.0).steps(&samples), "M0 95H1000");
        assert_eq!(drawing(0.0, 1.0).steps(&[]), "");
    }

    #[test]
    fn lines_are_cut_at_the_edges() {
        let samples = [(0.0, Some(0.0)), (10.0, Some(100.0)), (11.0, None), (12.0, Some(50.0))];
        assert_eq!(drawing(0.0, 20.0).line(&samples), "M0 100h0L500 0M600 50h0");
        assert_eq!(drawing(5.0, 20.0).line(&samples[..2]), "M0 50L333.333 0");
        assert_eq!(drawing(-10.0, 5.0).line(&samples), "M666.667 100h0L1000 50");
        assert_eq!(drawing(2.0, 4.0).line(&samples), "M0 80L1000 60");
        assert_eq!(drawing(13.0, 14.0).line(&samples), "");
    }

    #[test]
    fn points_outside_are_left_out() {
        let series =
            Series::points("a", [(1.0, Some(50.0)), (2.0, None), (99.0, Some(1.0))]).unwrap();
        assert_eq!(drawing(0.0, 2.0).points(&series), "M500 50h0");
        let marked = series.mark_where("late", |index| index == 0);
        assert_eq!(drawing(0.0, 2.0).points(&marked), "");
    }

    #[test]
    fn letters_go_on_after_z() {
        let letters = [0, 25, 26, 27, 52].map(letter);
        assert_eq!(letters, ["A", "Z", "AA", "AB", "BA"]);
    }
}
