//! How the time of a call grows, as SVG that is readable on light and on dark pages.

use crate::pack::plot::{STYLE, line, push, text};

/// One way to grow.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Panel {
    /// What grows, with its unit.
    pub(super) what: &'static str,
    pub(super) points: Vec<Point>,
}

/// One size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    /// What grows; ascending.
    pub(super) value: f64,
    /// Multiply-accumulates of a call.
    pub(super) macs: f64,
    /// Median time of a call, ms.
    pub(super) ms: f64,
}

const PANEL: f64 = 320.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 48.0;

/// The panels side by side, each from 0 ms: measured, and as the multiply-accumulates would have it
/// from the largest on.
pub(super) fn plot(title: &str, panels: &[Panel]) -> String {
    let width = PANEL * panels.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\">\n\
         <title>{title}</title>\n{STYLE}\n\
         <rect class=\"page\" width=\"{width}\" height=\"{HEIGHT}\"/>\n"
    );
    text(&mut out, LEFT, 22.0, "start", title);
    text(
        &mut out,
        LEFT,
        42.0,
        "start",
        "line: measured, ms; dashes: as the multiply-accumulates grow",
    );
    for (place, panel) in panels.iter().enumerate() {
        draw(&mut out, PANEL * place as f64, panel);
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, from: f64, Panel { what, points }: &Panel) {
    let (left, right, bottom) = (from + LEFT, from + PANEL - RIGHT, HEIGHT - BOTTOM);
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let by_macs = |point: &Point| last.ms * point.macs / last.macs;
    let most = points.iter().fold(0.0_f64, |most, point| most.max(point.ms).max(by_macs(point)));
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0]
        .into_iter()
        .find(|step| most / step <= 6.0)
        .unwrap_or(1000.0);
    let top = ((most / step).ceil() * step).max(step);
    let span = (last.value - first.value).max(f64::MIN_POSITIVE);
    let x = |value: f64| left + 12.0 + (value - first.value) / span * (right - left - 24.0);
    let y = |ms: f64| bottom - ms / top * (bottom - TOP);
    for tick in 0..=(top / step).round() as usize {
        let ms = tick as f64 * step;
        line(out, left, y(ms), right, y(ms), 0.35);
        let decimals = usize::from(step < 1.0);
        text(out, left - 6.0, y(ms) + 4.0, "end", &format!("{ms:.decimals$}"));
    }
    line(out, left, bottom, right, bottom, 1.0);
    line(out, left, bottom, left, TOP, 1.0);
    let path = |of: &dyn Fn(&Point) -> f64| {
        let places =
            points.iter().map(|point| format!("{:.1},{:.1}", x(point.value), y(of(point))));
        places.collect::<Vec<_>>().join(" ")
    };
    let dashes = "class=\"axis\" fill=\"none\" stroke-dasharray=\"5 4\"";
    push(out, format_args!("<polyline {dashes} points=\"{}\"/>", path(&by_macs)));
    push(out, format_args!("<polyline class=\"line\" points=\"{}\"/>", path(&|point| point.ms)));
    for Point { value, ms, .. } in points {
        let (x, y) = (x(*value), y(*ms));
        push(out, format_args!("<circle class=\"kept\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"));
        text(out, x, bottom + 18.0, "middle", &value.to_string());
    }
    text(out, f64::midpoint(left, right), HEIGHT - 10.0, "middle", what);
}

#[cfg(test)]
mod tests {
    use super::{Panel, Point, plot};

    #[test]
    fn every_point_is_in_the_plot() {
        let point = |value, macs, ms| Point { value, macs, ms };
        let points = vec![point(160.0, 1e8, 3.5), point(192.0, 2e8, 5.0), point(224.0, 3e8, 7.25)];
        let panels = [
            Panel { what: "resolution, pixels", points },
            Panel { what: "images a call", points: vec![point(1.0, 1e8, 12.0)] },
            Panel { what: "nothing", points: vec![] },
        ];
        let svg = plot("growth", &panels);
        assert_eq!(svg.matches("<circle").count(), 4);
        assert!(svg.contains(">192<") && svg.contains("images a call"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
