//! What the release image may take. Tighten these, never loosen them silently.
//!
//! Each is the present figure rounded up; the design's aim stands beside it. Figures are those of one
//! compiler, which `cargo xtask sizes` names: another takes more in one place and less in another.

use std::fmt;

use coshift_shared::kind::Kind;

use crate::steps::{CaseId, Event};

/// One budget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// What it is about.
    pub(crate) name: &'static str,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// More than this fails.
    pub(crate) limit: u64,
    /// What the design aims at.
    pub(crate) aim: u64,
}

/// The same as [`FLASH`] on boards with a HAL.
pub(crate) const FLASH_WITH_HAL: Budget =
    Budget { name: "flash", unit: "B", limit: 64 * 1024, aim: 64 * 1024 };
/// Code, constants and initial values of the release image.
pub(crate) const FLASH: Budget =
    Budget { name: "flash", unit: "B", limit: 60 * 1024, aim: 64 * 1024 };
/// Variables of the release image, without its stack.
pub(crate) const STATIC_RAM: Budget =
    Budget { name: "static RAM", unit: "B", limit: 8 * 1024, aim: 16 * 1024 };
/// Mean outcome step, of one application with 8 sub-networks on 16 levels.
pub(crate) const TYPICAL_STEP: Budget =
    Budget { name: "typical step", unit: "instructions", limit: 2_400, aim: 3_000 };
/// Mean telemetry step of such an application, with all slices of its decision.
pub(crate) const TYPICAL_DECISION: Budget =
    Budget { name: "typical decision", unit: "instructions", limit: 16_600, aim: 3_000 };
/// The dearest step or slice known, of four applications with 16 sub-networks each on 32 levels.
pub(crate) const WORST_STEP: Budget =
    Budget { name: "worst step", unit: "instructions", limit: 38_500, aim: 40_000 };
/// The controller's steps of the dearest control period known, without frames: outcomes and a
/// telemetry with its decision.
pub(crate) const WORST_PERIOD: Budget =
    Budget { name: "steps a period", unit: "instructions", limit: 112_500, aim: 120_000 };

/// Reading and writing the dearest frame of the largest body.
pub(crate) const FRAME: Budget =
    Budget { name: "frame", unit: "instructions", limit: 2_850, aim: 3_000 };
/// The dearest frame that the release image read in the cases, without the bytes before its last, and
/// the dearest that it wrote.
pub(crate) const RELEASE_FRAME: Budget =
    Budget { name: "frame, released", unit: "instructions", limit: 1_750, aim: 3_000 };
/// The dearest control period known of four applications: frames read, decision, frames written.
pub(crate) const PERIOD: Budget =
    Budget { name: "period", unit: "instructions", limit: 120_000, aim: 120_000 };
/// The same of the release image, without the bytes before the last of each frame.
pub(crate) const RELEASE_PERIOD: Budget =
    Budget { name: "period, released", unit: "instructions", limit: 117_000, aim: 120_000 };
/// The same of the measuring image with three applications, two and one.
pub(crate) const PERIODS_OF_FEWER: [(u8, Budget); 3] = [
    (3, instructions("period of three", 112_000, 120_000)),
    (2, instructions("period of two", 112_000, 120_000)),
    (1, instructions("period of one", 113_000, 120_000)),
];
/// Most stack that the release image was seen to use: 3,124 B, and 28 B to an exception's 108 B more
/// as one came at the deepest point or not.
pub(crate) const STACK_HIGH_WATER: Budget =
    Budget { name: "stack high water", unit: "B", limit: 3_250, aim: 4 * 1024 };
/// Most stack that the release image can use, on boards with a HAL too.
pub(crate) const STACK_BOUND: Budget =
    Budget { name: "stack bound", unit: "B", limit: 4 * 1024, aim: 4 * 1024 };

/// The cases of the dearest control periods found.
pub(crate) const WORST_PERIODS: &[CaseId] = &[
    CaseId { seed: 2, index: 1112 },
    CaseId { seed: 3, index: 415 },
    CaseId { seed: 1, index: 279 },
    CaseId { seed: 4, index: 1000 },
];

/// The dearest control periods found of so many applications.
pub(crate) const WORST_OF_FEWER: &[(u8, CaseId)] = &[
    (3, CaseId { seed: 1, index: 984 }),
    (2, CaseId { seed: 3, index: 965 }),
    (1, CaseId { seed: 4, index: 45 }),
];

/// The dearest cases found, measured by every run: the most of any step first, then of whole
/// decisions. `cargo xtask sizes --search` looks for dearer ones.
pub(crate) const WORST_CASES: &[CaseId] = &[
    CaseId { seed: 1, index: 861 },
    CaseId { seed: 2, index: 832 },
    CaseId { seed: 1, index: 72 },
    CaseId { seed: 4, index: 707 },
    CaseId { seed: 4, index: 507 },
    CaseId { seed: 3, index: 107 },
    CaseId { seed: 3, index: 529 },
    CaseId { seed: 1, index: 279 },
    CaseId { seed: 3, index: 415 },
    CaseId { seed: 1, index: 333 },
    CaseId { seed: 4, index: 807 },
    CaseId { seed: 2, index: 339 },
];

/// Steps of cases in which something changes ([`crate::steps::Shape::Changed`]): the dearest of each
/// kind of message, or of a slice of the decision that follows it.
pub(crate) const STEPS_WITH_CHANGES: &[(Kind, Budget)] = &[
    (Kind::Telemetry, instructions("telemetry, changes", 38_500, 40_000)),
    (Kind::Outcomes, instructions("outcomes, changes", 38_000, 40_000)),
    (Kind::Application, instructions("application", 6_500, 40_000)),
    (Kind::Limits, instructions("limits", 150, 40_000)),
    (Kind::Seed, instructions("a part of a seed", 8_900, 40_000)),
];

/// Their control periods, by what changes: frames read, decisions, frames written.
pub(crate) const PERIODS_WITH_CHANGES: &[(Event, Budget)] = &[
    (Event::Asked, instructions("period, asked", 110_000, 120_000)),
    (Event::Seeded, instructions("period, seeded", 82_000, 120_000)),
    (Event::Silence, instructions("period, silence", 115_000, 120_000)),
];

/// Frames that are no steps of the controller: read, served and answered. Of Query, which is one or
/// is not, as it asks, the dearest.
pub(crate) const FRAMES_SERVED: &[(Kind, Budget)] = &[
    (Kind::Hello, instructions("hello", 5_400, 40_000)),
    (Kind::Query, instructions("query", 1_340, 40_000)),
    (Kind::PolicyBegin, instructions("policy begin", 870, 40_000)),
    (Kind::PolicyChunk, instructions("policy chunk", 5_200, 40_000)),
    (Kind::PolicyCommit, instructions("policy commit", 1_170, 40_000)),
];
/// A slice of the policy store's work, with what it answers at the end.
pub(crate) const STORE_SLICE: Budget = instructions("store slice", 4_300, 40_000);

/// The dearest cases found in which something changes.
pub(crate) const CHANGED_CASES: &[CaseId] = &[
    CaseId { seed: 1, index: 333 },
    CaseId { seed: 2, index: 270 },
    CaseId { seed: 3, index: 649 },
    CaseId { seed: 3, index: 976 },
    CaseId { seed: 3, index: 115 },
    CaseId { seed: 4, index: 1154 },
    CaseId { seed: 3, index: 988 },
    CaseId { seed: 3, index: 611 },
    CaseId { seed: 3, index: 1116 },
    CaseId { seed: 3, index: 1078 },
    CaseId { seed: 3, index: 851 },
    CaseId { seed: 1, index: 91 },
    CaseId { seed: 3, index: 237 },
    CaseId { seed: 3, index: 415 },
];

const fn instructions(name: &'static str, limit: u64, aim: u64) -> Budget {
    Budget { name, unit: "instructions", limit, aim }
}

impl Budget {
    /// The error line of a figure beyond the budget.
    pub(crate) fn check(self, measured: u64) -> Result<(), String> {
        if measured <= self.limit {
            return Ok(());
        }
        Err(format!("{measured} {} of {}: the budget is {}", self.unit, self.name, self.limit))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = if self.limit <= self.aim { "" } else { ", not reached" };
        write!(f, "budget {}; aim {}{reached}", self.limit, self.aim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_budget_fails() {
        assert_eq!(FLASH.check(FLASH.limit), Ok(()));
        let error = FLASH.check(FLASH.limit + 1).unwrap_err();
        assert!(error.contains("flash") && error.contains(&FLASH.limit.to_string()), "{error}");
    }
}
