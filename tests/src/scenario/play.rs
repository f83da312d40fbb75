//! A scenario under way: reports as they come, each checked for what must always hold.

use std::collections::HashSet;
use std::fmt::Write;

use anyhow::{Result, bail, ensure};
use coshift_host::core::{Decider, LinkState};
use coshift_host::report::Report;

use crate::case::Case;
use crate::line::Line;
use crate::rig::Rig;
use crate::wire::{Direction, Seen, Stage};

/// Periods within which a microcontroller decides: it is greeted, seeded and equal twenty times.
/// Many more than that takes: a busy machine may lose periods.
pub(super) const PERIODS_TO_DECIDE: u32 = 150;

/// A scenario under way.
pub struct Play<'r> {
    /// The rig.
    pub rig: &'r mut dyn Rig,
    /// Periods within which a microcontroller must decide.
    patience: u32,
    last: Option<Report>,
}

impl std::fmt::Debug for Play<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Play").field("last", &self.last).finish_non_exhaustive()
    }
}

impl<'r> Play<'r> {
    /// At the start of the rig.
    #[must_use]
    pub fn new(rig: &'r mut dyn Rig) -> Self {
        Self { rig, patience: PERIODS_TO_DECIDE, last: None }
    }

    /// Gives up on a microcontroller that does not decide after so many periods.
    #[must_use]
    pub fn patience(self, periods: u32) -> Self {
        Self { patience: periods, ..self }
    }

    /// The next report, checked.
    ///
    /// # Errors
    /// What does not hold.
    pub fn report(&mut self) -> Result<Report> {
        let report = self.rig.report()?;
        check(self.rig.case(), self.last.as_ref(), &report)?;
        self.last = Some(report.clone());
        Ok(report)
    }

    /// The first report that is as wanted, and how many came before it.
    ///
    /// # Errors
    /// It did not come within `most` reports.
    pub fn until(
        &mut self,
        what: &str,
        most: u32,
        mut wanted: impl FnMut(&Report) -> bool,
    ) -> Result<(u32, Report)> {
        for periods in 0..most {
            let report = self.report()?;
            if wanted(&report) {
                return Ok((periods, report));
            }
        }
        bail!("{what}: not within {most} periods")
    }

    /// The first report of a microcontroller that decides.
    ///
    /// # Errors
    /// None comes.
    pub fn until_mcu_decides(&mut self) -> Result<Report> {
        let decides = |report: &Report| report.decider == Decider::Mcu;
        Ok(self.until("the microcontroller decides", self.patience, decides)?.1)
    }

    /// Lets time pass until the line has carried what is wanted; `from` is a number of frames
    /// seen before. Needs no report of the agent.
    ///
    /// # Errors
    /// It did not come within `most` looks.
    pub fn until_seen(
        &mut self,
        what: &str,
        most: u32,
        from: usize,
        mut wanted: impl FnMut(&Seen) -> bool,
    ) -> Result<usize> {
        for _ in 0..most {
            let found = self.rig.line().seen()[from..].iter().position(&mut wanted);
            if let Some(place) = found {
                return Ok(from + place);
            }
            self.rig.pass_time();
        }
        bail!("{what}: not seen on the line")
    }

    /// How many frames were seen so far.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.rig.line().seen().len()
    }

    /// Ends the run: everything delivered had been sent.
    ///
    /// # Errors
    /// What complains.
    pub fn end(&mut self) -> Result<()> {
        let report = self.rig.end()?;
        check(self.rig.case(), self.last.as_ref(), &report)?;
        nothing_forged(&self.rig.line())
    }

    /// What happened lately, for whoever reads of a failure.
    #[must_use]
    pub fn circumstances(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, value: &dyn std::fmt::Debug| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{what}: {value:?}");
        };
        let frames = self.rig.line();
        for seen in frames.seen().iter().rev().take(12).rev() {
            line("frame", seen);
        }
        for direction in Direction::BOTH {
            line("injected", &(direction, frames.injected(direction)));
        }
        drop(frames);
        let notices = self.rig.notices();
        for notice in notices.iter().rev().take(20).rev() {
            line("notice", notice);
        }
        line("last report", &self.last);
        text
    }
}

/// What holds for every report of every scenario.
///
/// # Errors
/// The first thing that does not.
pub fn check(case: &Case, last: Option<&Report>, report: &Report) -> Result<()> {
    let slot = report.sub_networks[0];
    ensure!(report.run_level.is_none_or(|level| level < case.levels), "no such level: {report:?}");
    ensure!(slot.is_none_or(|row| row < case.sub_networks), "no such sub-network: {report:?}");
    // Who has just left may still be in the decision that stands.
    let there = |report: &Report, slot: usize| {
        report.applications.iter().any(|application| usize::from(application.slot) == slot)
    };
    for (slot, row) in report.sub_networks.iter().enumerate() {
        let known = there(report, slot) || last.is_some_and(|last| there(last, slot));
        ensure!(row.is_none() || known, "a decision for nobody: {report:?}");
    }
    ensure!(report.invalid_decisions == 0, "{} decisions were invalid", report.invalid_decisions);
    ensure!(
        report.differing_decisions == 0,
        "{} decisions differed on equal inputs",
        report.differing_decisions
    );
    let in_session = report.link == LinkState::InSession;
    ensure!(
        report.decider != Decider::Mcu || in_session,
        "a microcontroller that is not there decides: {report:?}"
    );
    let Some(last) = last else { return Ok(()) };
    ensure!(report.time_us >= last.time_us, "time went back: {report:?}");
    for application in &report.applications {
        let before = last.applications.iter().find(|before| before.name == application.name);
        let most = before.map_or(0, |before| before.requests);
        ensure!(application.requests >= most, "requests went back: {report:?}");
    }
    let handed_back = report.decider == Decider::Mcu && last.decider == Decider::Twin;
    ensure!(
        !handed_back || report.handbacks > last.handbacks,
        "handed back without saying so: {report:?}"
    );
    Ok(())
}

/// No frame arrived that was not sent: chance gave no garbage a right CRC, and the taps read
/// every frame. Several boots use the same numbers, so frames count as often as they were sent.
fn nothing_forged(line: &Line) -> Result<()> {
    let key = |seen: &Seen| {
        let header = seen.header;
        (seen.direction == Direction::ToMcu, header.session, header.seq, header.kind)
    };
    // A rewritten frame keeps its header.
    let sent: HashSet<_> =
        line.seen().iter().filter(|seen| seen.stage == Stage::Sent).map(key).collect();
    for seen in line.seen().iter().filter(|seen| seen.stage == Stage::Delivered) {
        ensure!(sent.contains(&key(seen)), "a frame that nobody sent: {seen:?}");
    }
    Ok(())
}
