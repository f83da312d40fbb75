//! What the cases take of the release image.

use anyhow::{Context, Result};
use coshift_shared::kind::Kind;

use super::{Bench, Played, agree, periods_agree};
use crate::budgets;
use crate::sizes;
use crate::steps::{CaseId, Measured, Shape};
use crate::wire;

/// Cases whose mean is the typical step.
const TYPICAL_CASES: u32 = 300;

/// What the release image took in the cases, each checked against the measuring images.
#[derive(Default)]
pub(crate) struct Figures {
    /// Steps of the typical cases.
    pub(crate) typical: Measured,
    /// Steps of the dearest cases known.
    pub(crate) hostile: Measured,
    /// The dearest frame read, from its last byte on.
    pub(crate) reading: u64,
    /// The dearest frame written.
    pub(crate) writing: u64,
    /// The dearest control period.
    pub(crate) period: u64,
    /// Most bytes of stack in use.
    pub(crate) high_water: u64,
    /// What the loop does for a byte that comes alone.
    pub(crate) lone_byte: Option<u64>,
}

impl Figures {
    /// Plays every case.
    ///
    /// # Errors
    /// Where one cannot be played, or the images differ by more than their compilation explains.
    pub(crate) fn of(release: &Bench, measuring: &sizes::Bench) -> Result<Self> {
        let mut all = Self::default();
        for id in budgets::WORST_CASES {
            all.high_water = all.high_water.max(release.stack_high_water(*id)?);
            let played = release.play(Shape::Hostile, *id)?;
            all.add(measuring, *id, &played)?;
            all.hostile.steps.extend(played.measured.steps);
        }
        for id in budgets::WORST_PERIODS {
            let played = release.play(Shape::Hostile, *id)?;
            all.add(measuring, *id, &played)?;
        }
        let measured = measuring.measure(Shape::Hostile, budgets::WORST_CASES)?;
        agree(&all.hostile, &measured)?;
        let ids: Vec<_> = (0..TYPICAL_CASES).map(|index| CaseId { seed: 1, index }).collect();
        for id in &ids {
            all.typical.steps.extend(release.play(Shape::Typical, *id)?.measured.steps);
        }
        agree(&all.typical, &measuring.measure(Shape::Typical, &ids)?)?;
        Ok(all)
    }

    /// Takes in a hostile case.
    fn add(&mut self, measuring: &sizes::Bench, id: CaseId, played: &Played) -> Result<()> {
        let measured = wire::periods(&measuring.emulator, &measuring.wire, Shape::Hostile, &[id])?;
        periods_agree(&played.periods, &measured)?;
        self.period = played.periods.iter().copied().fold(self.period, u64::max);
        self.reading = self.reading.max(played.reading);
        self.writing = self.writing.max(played.writing);
        self.lone_byte = self.lone_byte.into_iter().chain(played.lone_byte).min();
        Ok(())
    }

    /// Mean cost of a typical message of this kind and the slices that follow it.
    pub(crate) fn mean(&self, kind: Kind) -> Result<u64> {
        self.typical.of(kind).mean().context("no typical step was measured")
    }
}
