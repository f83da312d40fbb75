//! Points with two values each, numbered, as HTML placed in per cent.

use std::fmt::Write;

use super::error::PageError;
use super::number::{checked, coordinate, number};
use super::scale::Scale;
use super::text::escaped;

/// Points over two values; a number stands at each and its name in the key.
#[derive(Clone, Debug)]
pub struct Scatter {
    title: String,
    across: String,
    up: String,
    points: Vec<Point>,
}

#[derive(Clone, Debug)]
struct Point {
    name: String,
    across: f64,
    up: f64,
    kind: Standing,
}

/// How a point stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// What the page is about.
    Ours,
    /// What it is compared with.
    Other,
    /// Broke a promise: its key says so.
    Broken,
}

impl Standing {
    fn class(self) -> &'static str {
        match self {
            Self::Ours => "dot ours",
            Self::Other => "dot",
            Self::Broken => "dot broken",
        }
    }
}

impl Scatter {
    /// A plot without points; both axes are named with their unit.
    pub fn new(title: impl Into<String>, across: impl Into<String>, up: impl Into<String>) -> Self {
        Self { title: title.into(), across: across.into(), up: up.into(), points: vec![] }
    }

    /// Adds a point.
    ///
    /// # Errors
    /// [`PageError::Number`] for a value that cannot be placed.
    pub fn point(
        mut self,
        name: impl Into<String>,
        (across, up): (f64, f64),
        kind: Standing,
    ) -> Result<Self, PageError> {
        let (name, index) = (name.into(), self.points.len());
        let across = checked(&name, index, across)?;
        let up = checked(&name, index, up)?;
        self.points.push(Point { name, across, up, kind });
        Ok(self)
    }

    pub(super) fn write(&self, html: &mut String) {
        let wide = Scale::around(self.points.iter().map(|point| point.across), false);
        let high = Scale::around(self.points.iter().map(|point| point.up), false);
        let _ = write!(
            html,
            "<div class=\"time-plots\" style=\"--gutter:7ch\">\n<figure>\n<figcaption><b>{}</b>, up: {}, \
             across: {}\n<ul class=\"key\">",
            escaped(&self.title),
            escaped(&self.up),
            escaped(&self.across)
        );
        for (index, point) in self.points.iter().enumerate() {
            let (class, name) = (point.kind.class(), escaped(&point.name));
            let (up, across) = (number(point.up), number(point.across));
            let broken = if point.kind == Standing::Broken { ", promise broken" } else { "" };
            let _ = write!(
                html,
                "<li><b class=\"{class}\">{}</b><span>{name} <small>{up} at {across}{broken}</small>\
                 </span></li>",
                index + 1
            );
        }
        *html += "</ul></figcaption>\n<div class=\"field\">\n<div class=\"canvas scatter\">\n\
                  <div class=\"values\" aria-hidden=\"true\">";
        for (value, label) in high.ticks(false) {
            let top = coordinate(high.percent_down(value));
            let _ = write!(html, "<span style=\"top:{top}%\">{label}</span>");
        }
        *html += "</div>\n";
        // The last one drawn stands on top: ours.
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        order.sort_by_key(|index| self.points[*index].kind == Standing::Ours);
        for index in order {
            let point = &self.points[index];
            let _ = write!(
                html,
                "<b class=\"{}\" aria-hidden=\"true\" title=\"{}\" style=\"left:{}%;top:{}%\">{}</b>",
                point.kind.class(),
                escaped(&point.name),
                coordinate(100.0 - wide.percent_down(point.across)),
                coordinate(high.percent_down(point.up)),
                index + 1
            );
        }
        *html += "\n</div>\n<div class=\"times\" aria-hidden=\"true\">";
        for (place, (value, label)) in wide.ticks(false).into_iter().enumerate() {
            let left = coordinate(100.0 - wide.percent_down(value));
            let class = if place % 2 == 0 { "" } else { " class=\"wide\"" };
            let _ = write!(html, "<span{class} style=\"left:{left}%\">{label}</span>");
        }
        *html += "</div>\n</div>\n</figure>\n</div>\n";
    }
}

#[cfg(test)]
mod tests {
    use super::{Scatter, Standing};

    #[test]
    fn every_point_has_its_place_and_its_words() {
        let plot = Scatter::new("T", "accuracy, %", "energy, J")
            .point("<ours>", (75.0, 10.0), Standing::Ours)
            .and_then(|plot| plot.point("late", (70.0, 20.0), Standing::Broken))
            .expect("finite");
        let mut html = String::new();
        plot.write(&mut html);
        assert!(html.contains("&lt;ours&gt; <small>10 at 75</small>"), "{html}");
        assert!(html.contains("late <small>20 at 70, promise broken</small>"), "{html}");
        // Ours is drawn last, right and low; a point at the edge keeps away from it.
        assert!(html.rfind("dot ours") > html.rfind("dot broken"));
        assert!(html.contains("style=\"left:94.6%;top:94.6%\">1</b>"), "{html}");
        assert!(Scatter::new("", "", "").point("x", (f64::NAN, 1.0), Standing::Other).is_err());
    }
}
