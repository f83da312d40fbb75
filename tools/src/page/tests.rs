//! A page with made-up data, and what must hold of every page.
//!
//! To look at it: `COSHIFT_PAGE_EXAMPLE=/tmp/example.html cargo test -p coshift-tools
//! --no-default-features page`.

use super::markup::{Element, elements};
use super::{
    Cell, Column, KeyFigure, Limit, Look, Page, PageError, Section, Series, Table, TimePlot,
    TimePlots,
};

const HOSTILE: &str = "<b>&\"'</script>";

/// Made-up values that look like those of a run: a slow wave with small steps on it.
fn wave(at_s: f64, seed: u32) -> f64 {
    let step = (at_s * 7.0) as u32 ^ seed;
    let noise = step.wrapping_mul(2_654_435_761) >> 16;
    (at_s / 9.0 + f64::from(seed)).sin() + f64::from(noise) / 65_536.0 * 0.3
}

fn every(step_s: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |n| f64::from(n) * step_s).take_while(|at_s| *at_s < 62.0)
}

fn example() -> Result<Page, PageError> {
    let governors = ["schedutil + podgov, largest", "schedutil + podgov, best-fitting"];
    let deadline = Limit::new("deadline", [(0.0, 55.0), (10.0, 20.0), (18.0, 55.0)])?;
    let cap = Limit::new("power cap", [(52.0, Some(5.5)), (59.0, None)])?;
    let clock = |at_s, seed| [408.0, 599.0, 854.0, 1109.0][(wave(at_s, seed) + 1.3) as usize];
    let clocks =
        |name: &str, seed| Series::steps(name, every(0.7).map(|at_s| (at_s, clock(at_s, seed))));
    let responses = every(0.088).map(|at_s| {
        let slow = if (38.0..46.0).contains(&at_s) { 1.55 } else { 1.0 };
        let tight = if (10.0..18.0).contains(&at_s) { 0.49 } else { 1.0 };
        (at_s, 36.0 * slow * tight * (1.0 + wave(at_s, 5) * 0.04))
    });
    let sub_networks = every(3.0).map(|at_s| (at_s, (wave(at_s, 2) * 2.7 + 2.7).round()));
    let names = ["d2 128", "d2 160", "d3 160", "d3 192", "d3 224", "d4 192", "d4 224"];
    let power = |name: &str, high| {
        Series::steps(name, every(0.5).map(move |at_s| (at_s, high + wave(at_s, 3))))
    };
    let plots = TimePlots::new(0.0, 62.0)?
        .phase("quiet", 0.0, 10.0)?
        .phase("deadline", 10.0, 27.0)?
        .phase("floor", 27.0, 38.0)?
        .phase("co-runner", 38.0, 49.0)?
        .phase("power cap", 49.0, 62.0)?
        .moment("MCU gone: the twin decides", 31.4)?
        .moment("MCU back", 33.0)?
        .moment("the last request", 62.0)?
        .plot(
            TimePlot::new("GPU clock", "MHz")
                .note("of the governors, the mean over half a second")
                .series(clocks("Coshift", 1)?)
                .series(clocks(governors[0], 8)?)
                .series(clocks(governors[1], 4)?),
        )
        .plot(
            TimePlot::new("Sub-network", "")
                .named_values((0..).map(f64::from).zip(names))?
                .series(Series::steps("Coshift", sub_networks)?),
        )
        .plot(
            TimePlot::new("Response time", "ms")
                .series(Series::points("response", responses)?.mark_over(&deadline, "late"))
                .limit(deadline),
        )
        .plot(
            TimePlot::new("Board power", "W")
                .series(power("Coshift", 4.6)?)
                .series(power(governors[0], 7.5)?)
                .limit(cap),
        )
        .plot(
            TimePlot::new("Slowdown by a neighbour", "times")
                .series(Series::steps("slowdown", [(0.0, 1.0), (38.0, 2.0), (46.0, 1.0)])?),
        )
        .plot(
            TimePlot::new("Temperature", "°C")
                .without_zero()
                .series(Series::line("GPU", every(1.0).map(|at_s| (at_s, 50.0 + at_s.sqrt())))?)
                .series(Series::line("CPU", every(1.0).map(|at_s| (at_s, 47.0 + at_s / 9.0)))?),
        );
    let columns = ["Late", "p50", "p99", "Accuracy by the card", "Energy", "Against the oracle"];
    let columns = columns.map(Column::number);
    let columns = [Column::text("Manager")].into_iter().chain(columns);
    let mut table = Table::new("Phase by phase, made up", columns);
    for phase in ["quiet", "deadline"] {
        table = table.group(phase).row(
            ["Coshift", "1 of 138", "36.6 ms", "37.6 ms", "92.20 %", "48.1 J", "1.010"]
                .map(|text| if text == "48.1 J" { Cell::new(text).strong() } else { text.into() }),
        )?;
        for governor in governors {
            let cells = [governor, "", "44.0 ms", "49.3 ms", "93.87 %", "74.7 J", "1.550"];
            let bad = |text: &str| match text {
                "" => Cell::new("100 of 138").bad(),
                text => text.into(),
            };
            table = table.row(cells.map(bad))?;
        }
    }
    let checks = Table::new("Checks", ["Check", "Held", "Found"].map(Column::text))
        .row(["at least 3 levels used".into(), Cell::new("yes").good(), "5".into()])?
        .row(["deadline answered in 2 periods".into(), Cell::new("no").bad(), "3".into()])?;
    Ok(Page::new("An example with made-up data")
        .lead("Nothing on this page was measured: it shows what a page can hold, and is drawn by a test.")
        .section(
            Section::new("At a glance")
                .key_figures([
                    KeyFigure::new("2 of 700", "requests late"),
                    KeyFigure::new("29.4 % less energy", "than schedutil + podgov, largest"),
                    KeyFigure::new("4.9 % less energy", "than schedutil + podgov, best-fitting"),
                ])
                .paragraph("The figures stand for themselves."),
        )
        .section(Section::new("What happened").plots(plots))
        .section(Section::new("In numbers").table(table).table(checks))
        .section(Section::new("Limits").note("Made up.").note("Not measured.")))
}

/// Names that would break the page if they were not escaped, and plots with next to nothing in them.
fn awkward() -> Result<Page, PageError> {
    let none = || std::iter::empty::<(f64, f64)>();
    let plots = TimePlots::new(0.0, 10.0)?
        .phase(HOSTILE, 0.0, 5.0)?
        .phase("outside", 20.0, 30.0)?
        .moment(HOSTILE, 5.0)?
        .moment("outside", 99.0)?
        .plot(TimePlot::new(HOSTILE, HOSTILE).note(HOSTILE))
        .plot(TimePlot::new("Empty", "W").series(Series::steps("empty", none())?))
        .plot(
            TimePlot::new("Single", "W")
                .series(Series::steps(HOSTILE, [(10.0, 3.0)])?)
                .series(Series::line("single line", [(5.0, 3.0)])?)
                .series(Series::points("single point", [(5.0, 0.0)])?.look(Look::Sixth)),
        )
        .plot(
            TimePlot::new("Dropped", "ms").series(
                Series::points("response", [(1.0, Some(5.0)), (2.0, None)])?
                    .mark_where(HOSTILE, |index| index == 1),
            ),
        )
        .plot(
            TimePlot::new("Named", "")
                .named_values([(0.0, HOSTILE), (0.0, "twice"), (1.0, "one\ttab\nfeed")])?
                .series(Series::steps("level", [(0.0, 1.0)])?)
                .limit(Limit::new(HOSTILE, none())?),
        )
        .plot(
            TimePlot::new("Cut", "W")
                .range(0.0, 1.0)?
                .series(Series::line("too high", [(0.0, 5.0), (1.0, 6.0), (2.0, 0.5)])?),
        );
    let table = Table::new(HOSTILE, [Column::text(HOSTILE)]).group(HOSTILE).row([HOSTILE])?;
    Ok(Page::new(HOSTILE)
        .lead(HOSTILE)
        .section(
            Section::new(HOSTILE)
                .paragraph(HOSTILE)
                .note(HOSTILE)
                .key_figures([KeyFigure::new(HOSTILE, HOSTILE)])
                .key_figures([])
                .table(table)
                .table(Table::new("no rows", []))
                .plots(plots),
        )
        .section(Section::new("Nothing").plots(TimePlots::new(0.0, 1.0)?)))
}

fn with_class<'a>(elements: &'a [Element], class: &str) -> Vec<&'a Element> {
    elements.iter().filter(|element| element.has_class(class)).collect()
}

/// What must hold of every page.
fn check(page: &Page) -> Vec<Element> {
    let html = page.html();
    assert_eq!(html, page.html(), "the same input gives the same bytes");
    for wrong in ["http:", "https:", "//www", "url(", "@import", "src=", "<link", "NaN", "inf\""] {
        assert!(!html.contains(wrong), "{wrong}");
    }
    let elements = elements(&html).unwrap();
    let named = |name: &str| elements.iter().filter(|element| element.name == name).count();
    assert_eq!((named("h1"), named("title"), named("main"), named("script")), (1, 1, 1, 1));
    let root = elements.iter().find(|element| element.name == "html").unwrap();
    assert_eq!(root.attribute("lang"), Some("en"));
    for element in &elements {
        match element.name.as_str() {
            "th" => assert!(element.attribute("scope").is_some(), "{element:?}"),
            "svg" => {
                let is_told = element.attribute("role") == Some("img")
                    && element.attribute("aria-label").is_some();
                assert!(is_told || element.attribute("aria-hidden").is_some(), "{element:?}");
            }
            "use" => assert_eq!(element.attribute("href"), Some("#mark")),
            _ => {}
        }
        assert!(!element.attributes.iter().any(|(name, _)| name.starts_with("on")), "{element:?}");
    }
    elements
}

#[test]
fn the_example_holds_all_that_was_put_in() {
    let page = example().unwrap();
    let elements = check(&page);
    if let Some(path) = std::env::var_os("COSHIFT_PAGE_EXAMPLE") {
        std::fs::write(path, page.html()).unwrap();
    }
    let texts: Vec<_> = elements.iter().map(|element| element.text.trim()).collect();
    for text in ["quiet", "co-runner", "MCU gone: the twin decides", "GPU clock", "Not measured."] {
        assert!(texts.contains(&text), "{text}");
    }
    assert_eq!(elements.iter().filter(|element| element.name == "figure").count(), 6);
    // A band for each phase and a line for each moment in every plot.
    assert_eq!(elements.iter().filter(|element| element.name == "rect").count(), 6 * 5);
    assert_eq!(with_class(&elements, "moment").len(), 6 * 3);
    let drawn = |name| {
        elements.iter().filter(move |element| {
            element.name == "path"
                && element.attribute("data-name") == Some(name)
                && element.attribute("d").is_some_and(|path| path.starts_with('M'))
        })
    };
    for (name, times) in
        [("Coshift", 3), ("schedutil + podgov, largest", 2), ("deadline", 1), ("power cap", 1)]
    {
        assert_eq!(drawn(name).count(), times, "{name}");
    }
    // The power cap is there for its seven seconds only: from 52 to 59 of 62 s.
    let cap = drawn("power cap").next().unwrap().attribute("d").unwrap();
    assert!(cap.starts_with("M838.71 ") && cap.ends_with("H951.613"), "{cap}");
    // Every late request is a mark, and is not drawn as a point as well.
    let marks = elements.iter().filter(|element| element.name == "use").count() - 1;
    let points = drawn("response").next().unwrap().attribute("d").unwrap().matches('M').count();
    assert!(marks > 0 && marks + points == every(0.088).count(), "{marks} + {points}");
    assert!(texts.contains(&format!("late: {marks} of {}", marks + points).as_str()));
    let label = |start: &str| {
        let mut labels = elements.iter().filter_map(|element| element.attribute("aria-label"));
        labels.any(|label| label.starts_with(start))
    };
    assert!(label("Board power in W from 0 to 62 s: Coshift "));
}

#[test]
fn awkward_input_breaks_nothing() {
    let page = awkward().unwrap();
    let elements = check(&page);
    if let Some(path) = std::env::var_os("COSHIFT_PAGE_AWKWARD") {
        std::fs::write(path, page.html()).unwrap();
    }
    assert!(!page.html().contains("<b>&\""));
    let hostile = elements.iter().filter(|element| element.text.trim() == HOSTILE);
    assert!(hostile.count() >= 10);
    assert_eq!(with_class(&elements, "empty").len(), 2);
    let path = |name: &str| {
        let found = elements
            .iter()
            .find(|element| element.name == "path" && element.attribute("data-name") == Some(name));
        found.and_then(|path| path.attribute("d")).unwrap().to_owned()
    };
    assert_eq!(path("empty"), "");
    assert!(path("single line").ends_with("h0") && path("single point") == "M500 100h0");
    // What is outside of the span is in the lists only.
    assert_eq!(elements.iter().filter(|element| element.name == "rect").count(), 6);
    assert_eq!(with_class(&elements, "moment").len(), 6);
    assert_eq!(elements.iter().filter(|element| element.text.contains("outside")).count(), 2);
    // The dropped request stands at the upper edge.
    let dropped = elements.iter().filter(|element| element.name == "use").find(|element| {
        element.attribute("x") == Some("20%") && element.attribute("y") == Some("0%")
    });
    assert!(dropped.is_some());
    assert!(elements.iter().any(|element| element.text == "(2 values beyond the edge)"));
    let names = elements.iter().find_map(|element| element.attribute("data-names")).unwrap();
    assert_eq!(names, format!("0\t{HOSTILE}\n0\ttwice\n1\tone tab feed"));
}

#[test]
fn a_row_of_another_width_is_refused() {
    let table = || Table::new("t", ["a", "b"].map(Column::text)).row(["1", "2"]).unwrap();
    let error = table().row(["1"]).unwrap_err().to_string();
    assert_eq!(error, "table \"t\": row 1 has 1 cells, expected 2");
    assert!(table().row(["1", "2", "3"]).is_err());
}
