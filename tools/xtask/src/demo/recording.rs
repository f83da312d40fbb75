//! What a run left behind: a report a control period, a line a request, what the agent said.

use anyhow::{Context, Result, bail};
use coshift_host::core::Decider;
use coshift_host::report::Report;
use coshift_host::trace::HEADER;

/// One request, from the agent's trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) release_us: u64,
    pub(crate) deadline_us: u64,
    pub(crate) missed: bool,
    /// `None` where it was dropped or failed.
    pub(crate) served: Option<Served>,
}

/// A served request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Served {
    pub(crate) start_us: u64,
    pub(crate) sub_network: u8,
    /// Level achieved, where the clocks had settled at the start.
    pub(crate) level: Option<u8>,
    pub(crate) response_us: u64,
    pub(crate) wall_us: u64,
    pub(crate) images: u64,
    pub(crate) right: u64,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    /// In order of time.
    pub(crate) periods: Vec<Report>,
    /// In order of their end.
    pub(crate) requests: Vec<Row>,
    /// What the agent said, with the line's own time stamp where it has one.
    pub(crate) notices: Vec<String>,
}

/// Reads the agent's trace.
///
/// # Errors
/// Names the line that is not one of a trace.
pub(crate) fn rows(text: &str) -> Result<Vec<Row>> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        bail!("trace: other columns than this command knows");
    }
    lines
        .enumerate()
        .map(|(index, line)| row(line).with_context(|| format!("trace, line {}", index + 2)))
        .collect()
}

fn row(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split(',').collect();
    let number = |column: &str| -> Result<u64> {
        let place = HEADER.split(',').position(|name| name == column).context("a known column")?;
        let text = *fields.get(place).with_context(|| format!("no {column}"))?;
        text.parse().with_context(|| format!("{column} is \"{text}\""))
    };
    let served = fields.get(3) == Some(&"served");
    Ok(Row {
        release_us: number("release_us")?,
        deadline_us: number("deadline_us")?,
        missed: number("missed")? == 1,
        served: served
            .then(|| -> Result<Served> {
                Ok(Served {
                    start_us: number("start_us")?,
                    sub_network: u8::try_from(number("sub_network")?)?,
                    level: number("level")
                        .ok()
                        .filter(|_| number("settled").is_ok_and(|settled| settled == 1))
                        .map(u8::try_from)
                        .transpose()?,
                    response_us: number("response_us")?,
                    wall_us: number("wall_us")?,
                    images: number("images")?,
                    right: number("right")?,
                })
            })
            .transpose()?,
    })
}

impl Recording {
    /// Times at which the twin took over from the microcontroller after it had decided, s.
    pub(crate) fn takeovers_s(&self) -> Vec<f64> {
        let mut times = Vec::new();
        for pair in self.periods.windows(2) {
            if pair[0].decider == Decider::Mcu && pair[1].decider == Decider::Twin {
                times.push(pair[1].time_us as f64 / 1e6);
            }
        }
        times
    }

    /// Energy of the board up to a time, J, between the reports around it.
    pub(crate) fn energy_j_at(&self, at_s: f64) -> Option<f64> {
        let points = self.periods.iter().filter_map(|report| {
            Some((report.time_us as f64 / 1e6, report.energy_mj? as f64 / 1e3))
        });
        let mut before: Option<(f64, f64)> = None;
        for (time, joule) in points {
            if time >= at_s {
                return Some(before.map_or(joule, |(time_0, joule_0)| {
                    let share = (at_s - time_0) / (time - time_0).max(1e-9);
                    joule_0 + share * (joule - joule_0)
                }));
            }
            before = Some((time, joule));
        }
        before.map(|(_, joule)| joule)
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER, rows};

    #[test]
    fn traces_are_read_and_what_is_wrong_is_named() {
        let text = format!(
            "{HEADER}\n50000,cam0,7,served,1000,33000,1,20000,3,9,1,30000,49000,4000,8,7\n\
             60000,cam0,8,dropped,2000,33000,1,,,,,,,,,\n"
        );
        let read = rows(&text).unwrap();
        let served = read[0].served.as_ref().unwrap();
        assert_eq!((served.sub_network, served.level, served.right), (3, Some(9), 7));
        assert!(read[1].missed && read[1].served.is_none());
        let broken = text.replace("49000", "soon");
        let error = format!("{:#}", rows(&broken).unwrap_err());
        assert!(error.contains("line 2") && error.contains("response_us"), "{error}");
        assert!(rows("a,b\n").is_err());
    }
}
