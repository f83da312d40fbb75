//! Choosing the level: what changes it, and what keeps it.

use coshift_shared::time::Instant;
use coshift_shared::to_host::{Reason, Shortfall};
use coshift_shared::units::NO_LEVEL;

use super::{Choice, Controller, DWELL, Standing};
use crate::device::{Board, Candidate, HYSTERESIS_PERMILLE, Trouble};

impl<'p> Controller<'p> {
    /// Whether the standing decision kept every promise and no longer does.
    pub(super) fn in_danger(&self) -> bool {
        let (Some(board), Some(standing)) = (self.board(0), self.standing) else { return false };
        standing.reason != Reason::Infeasible
            && board.judge(standing.choice.level).trouble != Trouble::NONE
    }

    fn board(&self, hysteresis_permille: u32) -> Option<Board<'p>> {
        let policy = self.policy?;
        Some(Board::new(policy, &self.slots, self.limits.power_mw, hysteresis_permille))
    }

    /// Decides afresh.
    pub(super) fn decide(&mut self, now: Instant) {
        let Some(board) = self.board(0) else { return };
        if self.slots.iter().all(Option::is_none) {
            let candidate = board.judge(board.safest_level());
            return self.stand(now, candidate, Reason::Idle, Shortfall::NONE);
        }
        let Some(standing) = self.standing.filter(|standing| standing.reason != Reason::Idle)
        else {
            let best = board.best();
            return self.stand_or_degrade(now, &board, best, Reason::Start);
        };
        let current = board.judge(standing.choice.level);
        // Another level must be better by the hysteresis as long as this one keeps everything.
        let reserve =
            if current.trouble == Trouble::NONE && !self.dirty { HYSTERESIS_PERMILLE } else { 0 };
        let best =
            if reserve == 0 { board.best() } else { self.board(reserve).unwrap_or(board).best() };
        if best.trouble < current.trouble {
            let reason = if self.dirty {
                Reason::TargetsChanged
            } else if current.trouble.over_cap_mw > 0 {
                Reason::PowerCap
            } else {
                Reason::DeadlineAtRisk
            };
            return self.stand_or_degrade(now, &board, best, reason);
        }
        let saved = current.power_mw.saturating_sub(best.power_mw);
        let least = u64::from(current.power_mw).saturating_mul(u64::from(HYSTERESIS_PERMILLE));
        let worth = u64::from(saved).saturating_mul(1000) > least;
        let rested = self.dirty || now.since(self.level_since) >= DWELL;
        if best.trouble == current.trouble && worth && rested && best.level != current.level {
            let reason = if self.dirty { Reason::TargetsChanged } else { Reason::LessPower };
            return self.stand_or_degrade(now, &board, best, reason);
        }
        let reason = if current.sub_networks == standing.choice.sub_networks {
            Reason::Keep
        } else if self.dirty {
            Reason::TargetsChanged
        } else {
            Reason::BetterSubNetwork
        };
        self.stand_or_degrade(now, &board, current, reason);
    }

    fn stand_or_degrade(&mut self, now: Instant, board: &Board<'p>, best: Candidate, why: Reason) {
        if best.trouble == Trouble::NONE {
            self.stand(now, best, why, Shortfall::NONE);
        } else {
            self.stand(now, best, Reason::Infeasible, board.shortfall());
        }
    }

    fn stand(&mut self, now: Instant, candidate: Candidate, reason: Reason, shortfall: Shortfall) {
        if self.standing.is_none_or(|standing| standing.choice.level != candidate.level) {
            self.level_since = now;
        }
        for (slot, sub_network) in self.slots.iter_mut().zip(candidate.sub_networks) {
            if let Some(application) = slot {
                application.sub_network = sub_network;
            }
        }
        let Candidate { level, sub_networks, power_mw, .. } = candidate;
        let choice = Choice { level, sub_networks, power_mw };
        self.standing = Some(Standing { choice, reason, shortfall });
        self.dirty = false;
    }

    pub(super) fn stand_with_reason(&mut self, reason: Reason) {
        if let Some(standing) = &mut self.standing {
            standing.reason = reason;
        }
    }

    /// Takes the safest level.
    pub(super) fn retreat(&mut self, now: Instant, reason: Reason) {
        if let Some(board) = self.board(0) {
            let candidate = board.judge(board.safest_level());
            self.stand(now, candidate, reason, Shortfall::NONE);
        }
    }

    pub(super) fn park_level(&self, run_level: u8) -> u8 {
        let park = self.policy.as_ref().filter(|_| self.limits.parking).and_then(|policy| {
            let park = policy.park_level()?;
            let (parked, running) = (policy.level(park)?, policy.level(run_level)?);
            (parked.idle_mw < running.idle_mw).then_some(park)
        });
        park.unwrap_or(NO_LEVEL)
    }
}
