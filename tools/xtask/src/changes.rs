//! What is dearest where something changes: targets, caps, the whole state, the session, the policy.

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::budgets::{self, Budget};
use crate::release;
use crate::sizes;
use crate::steps::{Measured, Shape};
use crate::uploads::Uploads;
use crate::wire;

/// Figures, each with its budget.
pub(crate) struct Changes(Vec<(u64, Budget)>);

impl Changes {
    /// Plays the dearest cases known. Steps are those of the release image, each checked against the
    /// measuring image; periods and uploads are those of measuring images.
    ///
    /// # Errors
    /// Where a case cannot be played, or the images differ by more than their compilation explains.
    pub(crate) fn take(release: &release::Bench, measuring: &sizes::Bench) -> Result<Self> {
        let (mut steps, mut periods) = (Measured::default(), Vec::new());
        for id in budgets::CHANGED_CASES {
            let played = release.play(Shape::Changed, *id)?;
            let shape = Shape::Changed;
            let measured = wire::periods(&measuring.emulator, &measuring.wire, shape, &[*id])?;
            release::periods_agree(&played.periods, &measured)?;
            steps.steps.extend(played.measured.steps);
            periods.extend(measured);
        }
        release::agree(&steps, &measuring.measure(Shape::Changed, budgets::CHANGED_CASES)?)?;
        let uploads = Uploads::measure(&measuring.emulator, &measuring.uploads)?;
        let mut figures = Vec::new();
        for (kind, budget) in budgets::STEPS_WITH_CHANGES {
            let worst = steps.of(*kind).worst();
            let worst = worst.with_context(|| format!("no case of a {kind:?} is named"))?;
            figures.push((worst.instructions, *budget));
        }
        for (event, budget) in budgets::PERIODS_WITH_CHANGES {
            let with: Vec<_> = periods.iter().copied().filter(|p| p.event == *event).collect();
            let worst = sizes::dearest(&with);
            let worst = worst.with_context(|| format!("no case with {event} is named"))?;
            figures.push((worst.instructions, *budget));
        }
        for (kind, budget) in budgets::FRAMES_SERVED {
            figures.push((uploads.of(*kind)?, *budget));
        }
        figures.push((uploads.slice, budgets::STORE_SLICE));
        Ok(Self(figures))
    }

    pub(crate) fn budgeted(&self) -> impl Iterator<Item = (u64, Budget)> {
        self.0.iter().copied()
    }

    pub(crate) fn to_json(&self) -> Value {
        let figure = |(measured, budget): (u64, Budget)| (budget.name.to_owned(), measured.into());
        Value::Object(self.budgeted().map(figure).collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::{Case, Event};
    use coshift_shared::kind::Kind;

    #[test]
    fn the_cases_named_have_every_kind_and_every_event_that_has_a_budget() {
        let cases: Vec<_> = budgets::CHANGED_CASES
            .iter()
            .map(|id| Case::new(Shape::Changed, *id).unwrap())
            .collect();
        for (kind, budget) in budgets::STEPS_WITH_CHANGES {
            let mut messages = cases.iter().flat_map(|case| &case.messages);
            assert!(messages.any(|message| message.kind() == *kind), "{}", budget.name);
        }
        for (event, budget) in budgets::PERIODS_WITH_CHANGES {
            assert!(cases.iter().any(|case| case.events.contains(event)), "{}", budget.name);
        }
    }

    #[test]
    fn every_event_has_a_budget() {
        for event in Event::ALL {
            let mut all = budgets::PERIODS_WITH_CHANGES.iter();
            assert!(all.any(|(known, _)| *known == event) || event == Event::Quiet, "{event}");
        }
    }

    #[test]
    fn every_kind_to_the_controller_has_a_budget() {
        // Those that are only taken in from the host's side have no step.
        for kind in Kind::ALL.into_iter().filter(|kind| (*kind as u8) < Kind::Welcome as u8) {
            let steps = budgets::STEPS_WITH_CHANGES.iter().chain(budgets::FRAMES_SERVED);
            assert!(steps.into_iter().any(|(known, _)| *known == kind), "{kind:?}");
        }
    }
}
