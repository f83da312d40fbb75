//! The search for the best level: in slices of bounded effort, and in rounds that may take several
//! decisions.
//!
//! A round looks at every level once. A decision goes on with it until the decision's effort is
//! used up, but for one level at least where telemetry asked for it, and keeps the best it met:
//! what it does not come to is left to the next decision, which judges that best level again first.
//! Where effort was dear before the search, a decision does only one of the two, in turns.
//! A decision is done in slices, which judge levels until the slice's effort is used up, and at
//! least one, or half of one that is dear; all slices of one decision must see the same board.

use super::{Board, Candidate, Plan, Rank};
use crate::demand::Margin;

/// What parts of the work take, instructions of a Cortex-M4, rounded up. A look at a level that is
/// passed over at once:
pub(super) const GLANCE: u32 = 150;
/// Whether an application can be served, the least it needs of a cap, and the least time it takes,
/// with its part of what follows from that.
pub(super) const SERVES: u32 = 120;
pub(super) const REACH: u32 = 120;
pub(super) const LEAST: u32 = 250;
/// An application taken as if it were alone.
pub(super) const ALONE: u32 = 200;
/// What follows from that, an application's part, and what a level takes besides, however many there are.
pub(super) const SETTLE: u32 = 250;
pub(super) const LEVEL: u32 = 600;
/// The room that the others leave an application.
pub(super) const ROOM: u32 = 700;
/// The leanest that keeps an application's promises.
pub(super) const LEAN: u32 = 450;
/// What the caps leave an application.
pub(super) const LEFT: u32 = 700;

/// A column of so many sub-networks that is searched.
pub(super) fn pick(sub_networks: u8) -> u32 {
    u32::from(sub_networks).saturating_mul(45).saturating_add(250)
}

/// So many sub-networks that are held against the caps.
pub(super) fn worked_out(sub_networks: u32) -> u32 {
    sub_networks.saturating_mul(120)
}

/// What a slice must have left for another level to be begun in it: most halves take no more.
pub const BEGIN: u32 = 6_000;

/// A decision that took as much before its search, for judging the standing level and for a decision that
/// shares its bound, takes turns; see [`Search::take_turns`].
const TURNS: u32 = 13_000;

/// Effort of a decision, about a Cortex-M4's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    spent: u32,
    /// Where the slice ends.
    slice_until: u32,
    /// Where the decision's search ends.
    until: u32,
}

impl Effort {
    /// No bound.
    #[must_use]
    pub const fn endless() -> Self {
        Self { spent: 0, slice_until: u32::MAX, until: u32::MAX }
    }

    /// A slice of so much, of a decision whose slices before took `spent` and whose search may
    /// take `most`.
    #[must_use]
    pub const fn new(spent: u32, slice: u32, most: u32) -> Self {
        Self { spent, slice_until: spent.saturating_add(slice), until: most }
    }

    /// Spent so far, by this slice and those before.
    #[must_use]
    pub fn spent(&self) -> u32 {
        self.spent
    }

    /// Whether the slice has at least so much left.
    #[must_use]
    pub fn has(&self, instructions: u32) -> bool {
        self.slice_until.saturating_sub(self.spent) >= instructions
    }

    fn is_used_up(&self) -> bool {
        self.spent >= self.until
    }

    /// Takes away what something took.
    pub fn spend(&mut self, instructions: u32) {
        if self.until != u32::MAX || self.slice_until != u32::MAX {
            self.spent = self.spent.saturating_add(instructions);
        }
    }
}

/// Which way a round goes: over the lowest level on to the highest one, or over the highest one on
/// to the lowest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To higher levels.
    Up,
    /// To lower levels.
    Down,
}

impl Way {
    fn after(self, level: u8, levels: u8) -> u8 {
        match self {
            Self::Up => Some(level.saturating_add(1)).filter(|level| *level < levels).unwrap_or(0),
            Self::Down => level.checked_sub(1).unwrap_or(levels.saturating_sub(1)),
        }
    }
}

/// A round over all levels, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Which way it goes.
    way: Way,
    /// The standing level breaks a promise, or there is none.
    pub urgent: bool,
    /// It began because targets or caps changed.
    pub asked: bool,
    /// The level looked at next.
    next: u8,
    /// Levels not looked at yet.
    left: u8,
    /// The best level met so far, where it was not taken.
    found: Option<u8>,
    /// That level was not judged in the decision before.
    passed_over: bool,
    /// Least power of the levels where only the cap is in the way, mW.
    pub uncapped_mw: u32,
}

impl Round {
    /// A round over so many levels that has not begun; it will after `level`.
    #[must_use]
    pub fn after(level: u8, way: Way, urgent: bool, asked: bool, levels: u8) -> Self {
        let next = way.after(level, levels);
        Self {
            way,
            urgent,
            asked,
            next,
            left: levels,
            found: None,
            passed_over: false,
            uncapped_mw: u32::MAX,
        }
    }

    /// A round that goes on where this one is, and looks at every level again.
    #[must_use]
    pub fn again(self, asked: bool, levels: u8) -> Self {
        let uncapped_mw = u32::MAX;
        Self { asked, left: levels, found: None, passed_over: false, uncapped_mw, ..self }
    }

    /// Has the best level met judged again first, where another one was chosen; or one that was passed
    /// over, where that is none or `before`, what was passed over, is better.
    pub fn keep(&mut self, best: &Candidate, chosen: u8, before: &Rank) {
        if best.level != chosen && !(self.passed_over && before.beats(best)) {
            self.found = Some(best.level);
        } else if !self.passed_over {
            self.found = None;
        }
    }

    /// Whether this level is to be judged again.
    #[must_use]
    pub fn has_found(&self, level: u8) -> bool {
        self.found == Some(level)
    }

    /// Whether every level was looked at, and none is to be judged again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left == 0 && !self.passed_over
    }
}

/// The part of a round that one decision does.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    margin: Margin,
    round: Round,
    /// The best so far.
    best: Option<Candidate>,
    /// A level met before to be judged again.
    again: Option<u8>,
    /// A level counts as looked at also where it was met before.
    brief: bool,
    /// A level was looked at.
    looked: bool,
    /// Room to work in.
    plan: Plan,
    /// The level of which the first half was judged: what was found is in `plan`.
    half: Option<u8>,
}

impl Search {
    /// Goes on with a round; `standing` is to be beaten, where there is one. A `brief` search need not
    /// come further in the round.
    #[must_use]
    pub fn new(margin: Margin, round: Round, standing: Option<Candidate>, brief: bool) -> Self {
        let uncapped_mw = standing.as_ref().map_or(u32::MAX, |standing| standing.uncapped_mw);
        let round = Round { uncapped_mw: round.uncapped_mw.min(uncapped_mw), ..round };
        Self {
            margin,
            round,
            best: standing,
            again: round.found,
            brief,
            looked: false,
            plan: Plan::default(),
            half: None,
        }
    }

    /// The round, as far as it has come.
    #[must_use]
    pub fn round(&self) -> Round {
        self.round
    }

    /// Judges levels until the slice's effort is used up, at least half of one; the best once the
    /// decision's is, or all levels were looked at.
    #[inline(never)]
    pub fn advance(&mut self, board: &Board<'_, '_>, effort: &mut Effort) -> Option<Candidate> {
        let mut judged = false;
        if self.half.is_none() && !self.looked {
            self.take_turns(effort);
        }
        loop {
            if self.half.is_none() && self.is_done(effort) {
                // No level can be had only where a policy has none.
                let lowest = board.lowest();
                return match self.best {
                    None => Some(board.judge(lowest, self.margin)),
                    best => best,
                };
            }
            if judged && self.half.is_none() && !effort.has(BEGIN) {
                return None;
            }
            let level = match self.half {
                Some(level) => level,
                None => {
                    let Some(level) = self.begin(board, effort, &mut judged) else { continue };
                    self.half = Some(level);
                    if self.plan.over_cap_mw > 0 && !effort.has(1) {
                        return None;
                    }
                    level
                }
            };
            judged = true;
            let candidate = board.finish(level, self.margin, &mut self.plan);
            effort.spend(core::mem::take(&mut self.plan.effort));
            self.half = None;
            self.round.uncapped_mw = self.round.uncapped_mw.min(candidate.uncapped_mw);
            if self.best.as_ref().is_none_or(|best| candidate.beats(best)) {
                self.best = Some(candidate);
            }
        }
    }

    /// Where the effort before the search was dear, one decision judges the level met before again, and
    /// looks at others only with what is left of its effort; the next one passes that level over and looks
    /// at another one at least, and what it meets that is better than what was passed over, as that was
    /// when it was judged, takes its place.
    fn take_turns(&mut self, effort: &Effort) {
        if self.again.is_none() {
            return;
        }
        let both = effort.spent() < TURNS || self.brief;
        let passes_over = !both && !self.round.passed_over && self.round.left > 0;
        self.round.passed_over = passes_over;
        if passes_over {
            self.again = None;
        } else if !both {
            self.looked = true;
        }
    }

    /// Whether no further level is to be looked at.
    fn is_done(&self, effort: &Effort) -> bool {
        let all = self.round.left == 0;
        self.again.is_none() && (all || (self.looked && effort.is_used_up()))
    }

    /// Begins to judge the next level, where it may be better than the best one.
    fn begin(
        &mut self,
        board: &Board<'_, '_>,
        effort: &mut Effort,
        judged: &mut bool,
    ) -> Option<u8> {
        let level = match self.again.take() {
            Some(again) => {
                self.looked |= self.brief;
                again
            }
            None => self.next_level(board),
        };
        if !board.has(level) || self.best.as_ref().is_some_and(|best| best.level == level) {
            return None;
        }
        *judged = true;
        self.plan.effort = GLANCE;
        let may_be_better = match &self.best {
            None => {
                board.settle_in(level, self.margin, &mut self.plan);
                Some(())
            }
            Some(best) => {
                let uncapped_mw = self.round.uncapped_mw;
                board.settle_against(level, self.margin, best, uncapped_mw, &mut self.plan)
            }
        };
        effort.spend(core::mem::take(&mut self.plan.effort));
        may_be_better.map(|()| level)
    }

    fn next_level(&mut self, board: &Board<'_, '_>) -> u8 {
        let level = self.round.next;
        self.looked = true;
        self.round.left = self.round.left.saturating_sub(1);
        self.round.next = self.round.way.after(level, board.policy.levels());
        level
    }
}
