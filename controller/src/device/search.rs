//! The search for the best level, in slices of bounded effort.
//!
//! A slice judges levels until its effort is used up, and at least one; what it stopped at is all
//! that is kept. The slices of one search must see the same board.

use super::{Board, Candidate, Plan};
use crate::demand::Margin;

/// What parts of the work take, instructions of a Cortex-M4, rounded up. Effort only says where a
/// slice ends, never what is found. A look at a level that is passed over at once:
pub(super) const GLANCE: u32 = 150;
/// An application with the least it can take, to see whether a level can win.
pub(super) const BOUND: u32 = 400;
/// An application taken as if it were alone.
pub(super) const ALONE: u32 = 200;
/// What follows from that, an application's part.
pub(super) const SETTLE: u32 = 400;

/// A column of so many sub-networks that is searched.
pub(super) fn pick(sub_networks: u8) -> u32 {
    u32::from(sub_networks).saturating_mul(45).saturating_add(250)
}

/// Effort that a slice has left, about a Cortex-M4's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort(u32);

impl Effort {
    /// No bound.
    #[must_use]
    pub const fn endless() -> Self {
        Self(u32::MAX)
    }

    /// So much.
    #[must_use]
    pub const fn new(instructions: u32) -> Self {
        Self(instructions)
    }

    /// Whether at least so much is left.
    #[must_use]
    pub fn has(&self, instructions: u32) -> bool {
        self.0 >= instructions
    }

    /// Takes away what a plan took.
    pub(super) fn spend(&mut self, plan: &Plan) {
        if *self != Self::endless() {
            self.0 = self.0.saturating_sub(plan.effort);
        }
    }
}

/// A search under way.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    margin: Margin,
    /// The level judged first: a good one lets the others be passed over.
    first: u8,
    /// The level judged next, once the first one is.
    next: u8,
    /// The best so far.
    best: Option<Candidate>,
    /// Least power of the levels where only the cap is in the way, mW.
    uncapped_mw: u32,
}

impl Search {
    /// A search that has not begun; it will with level `first`.
    #[must_use]
    pub fn new(margin: Margin, first: u8) -> Self {
        let next = u8::from(first == 0);
        Self { margin, first, next, best: None, uncapped_mw: u32::MAX }
    }

    /// A search that has judged one level.
    #[must_use]
    pub fn from(margin: Margin, judged: &Candidate) -> Self {
        let uncapped_mw = judged.uncapped_mw;
        Self { best: Some(*judged), uncapped_mw, ..Self::new(margin, judged.level) }
    }

    /// The level after this one, but for the first one.
    fn after(&self, level: u8) -> u8 {
        let next = level.saturating_add(1);
        if next == self.first { next.saturating_add(1) } else { next }
    }

    /// Judges levels until the effort is used up, at least one; the best once all are judged.
    #[inline(never)]
    pub fn advance(&mut self, board: &Board<'_, '_>, effort: &mut Effort) -> Option<Candidate> {
        let mut plan = Plan::default();
        let mut going = true;
        let mut best = match self.best {
            Some(best) => best,
            None => {
                let best = board.judge_in(self.first, self.margin, &mut plan);
                self.uncapped_mw = best.uncapped_mw;
                effort.spend(&plan);
                going = effort.has(1);
                best
            }
        };
        while going && self.next < board.policy.levels() {
            let level = self.next;
            self.next = self.after(level);
            if !board.has(level) {
                continue;
            }
            plan.effort = GLANCE;
            let candidate =
                board.judge_against(level, self.margin, &best, self.uncapped_mw, &mut plan);
            if let Some(candidate) = candidate {
                self.uncapped_mw = self.uncapped_mw.min(candidate.uncapped_mw);
                if candidate.beats(&best) {
                    best = candidate;
                }
            }
            effort.spend(&plan);
            going = effort.has(1);
        }
        self.best = Some(best);
        let done = self.next >= board.policy.levels();
        done.then_some(Candidate { uncapped_mw: self.uncapped_mw, ..best })
    }
}
