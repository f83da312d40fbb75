//! Accuracy against multiply-accumulates, as SVG that is readable on light and on dark pages.

use std::fmt::Write;

use coshift_engine::model::Model;

use super::choose::Point;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 56.0;

pub(crate) const STYLE: &str = "<style>
  .page { fill: #ffffff } .text { fill: #24292f; font: 13px sans-serif } .axis { stroke: #8c959f }
  .line { stroke: #0969da; stroke-width: 2; fill: none } .kept { fill: #0969da }
  .other { fill: none; stroke: #8c959f }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } .text { fill: #e6edf3 } .line { stroke: #58a6ff } .kept { fill: #58a6ff }
  }
</style>";

/// An axis: its range in the data and on the page.
#[derive(Debug, Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE);
        self.from + share * (self.to - self.from)
    }
}

/// The sub-networks of a model as a line, the other tested points as rings.
pub(super) fn plot(model: &Model, tested: &[Point]) -> String {
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (least, most) = ends(&mut tested.iter().map(|p| p.macs as f64 / 1e6));
    let (worst, best) = ends(&mut tested.iter().map(|p| p.accuracy_pct));
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
        .into_iter()
        .find(|step| (best - worst) / step <= 8.0)
        .unwrap_or(50.0);
    let low = (worst / step).floor() * step;
    let high = ((best / step).ceil() * step).max(low + step);
    let x =
        Axis { low: (least / 1.1).ln(), high: (most * 1.1).ln(), from: LEFT, to: WIDTH - RIGHT };
    let y = Axis { low, high, from: HEIGHT - BOTTOM, to: TOP };
    let at = |macs: u64, accuracy: f64| (x.place((macs as f64 / 1e6).ln()), y.place(accuracy));

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{}: accuracy against multiply-accumulates</title>\n{STYLE}\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n",
        model.family.name
    );
    let images = model.sub_networks.first().map_or(0, |sub| sub.images);
    let title = format!("{}: top-1 accuracy on {images} test images, %", model.family.name);
    text(&mut out, LEFT, 26.0, "start", &title);
    let bottom = HEIGHT - BOTTOM;
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    text(&mut out, middle, HEIGHT - 14.0, "middle", "million multiply-accumulates an image");
    let ticks = ((high - low) / step).round() as usize;
    for tick in 0..=ticks {
        let value = low + tick as f64 * step;
        let place = y.place(value);
        line(&mut out, LEFT, place, WIDTH - RIGHT, place, 0.35);
        let decimals = usize::from(step < 1.0);
        text(&mut out, LEFT - 8.0, place + 4.0, "end", &format!("{value:.decimals$}"));
    }
    for decade in -2..=3 {
        for digit in [1.0, 1.5, 2.0, 3.0, 5.0, 7.0] {
            let value: f64 = digit * 10_f64.powi(decade);
            if (x.low..=x.high).contains(&value.ln()) {
                let place = x.place(value.ln());
                line(&mut out, place, bottom, place, bottom + 5.0, 1.0);
                let label = (value * 1e3).round() / 1e3;
                text(&mut out, place, bottom + 20.0, "middle", &label.to_string());
            }
        }
    }
    line(&mut out, LEFT, bottom, WIDTH - RIGHT, bottom, 1.0);
    line(&mut out, LEFT, bottom, LEFT, TOP, 1.0);
    for point in tested {
        let (cx, cy) = at(point.macs, point.accuracy_pct);
        push(
            &mut out,
            format_args!("<circle class=\"other\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\"/>"),
        );
    }
    let places: Vec<_> =
        model.sub_networks.iter().map(|sub| at(sub.macs, sub.accuracy_pct)).collect();
    let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    push(&mut out, format_args!("<polyline class=\"line\" points=\"{}\"/>", path.join(" ")));
    for (index, (cx, cy)) in places.iter().enumerate() {
        push(
            &mut out,
            format_args!("<circle class=\"kept\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"5\"/>"),
        );
        text(&mut out, cx - 2.0, cy - 10.0, "end", &index.to_string());
    }
    text(
        &mut out,
        WIDTH - RIGHT,
        bottom - 12.0,
        "end",
        "dots: sub-networks of the model; rings: others measured",
    );
    out.push_str("</svg>\n");
    out
}

pub(crate) fn push(out: &mut String, element: std::fmt::Arguments<'_>) {
    // Writing into a string cannot fail.
    let _ = writeln!(out, "{element}");
}

pub(crate) fn text(out: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    push(
        out,
        format_args!(
            "<text class=\"text\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        ),
    );
}

pub(crate) fn line(out: &mut String, x1: f64, y1: f64, x2: f64, y2: f64, opacity: f64) {
    push(
        out,
        format_args!(
            "<line class=\"axis\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" opacity=\"{opacity}\"/>"
        ),
    );
}
