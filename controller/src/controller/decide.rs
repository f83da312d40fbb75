//! Choosing the level: what changes it, and what keeps it.

use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::Telemetry;
use coshift_shared::to_host::{Reason, Shortfall};
use coshift_shared::units::{MAX_LEVELS, NO_LEVEL};

use super::{Choice, Controller, DWELL, Outputs, SETTLE_PERIODS, Standing, State};
use crate::demand::{HYSTERESIS_PERMILLE, Margin};
use crate::device::{Board, Candidate, Effort, PowerCaps, Search, Trouble};
use crate::held::Achieved;
use crate::power::{TEMP_RESERVE_MDEG_C, plausible};

/// What one slice of a decision may take beside what it does only once; see
/// [`crate::device::Effort`].
const SLICE: u32 = 12_000;
/// What finding and judging a level to ask for takes, while a clock is held.
const PROBE: u32 = 12_000;
/// What naming a shortfall takes.
const SHORTFALL: u32 = 12_000;

/// Most slices of one decision that follow the step which asked for it: each judges a level at
/// least, but for one that only finds what to ask for and one that only names what is missing.
pub const MOST_SLICES: usize = MAX_LEVELS.saturating_add(2);

/// A decision under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deciding {
    /// Stamp of the input that asked for it.
    pub(super) at: Instant,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing was done yet.
    Begun,
    /// The standing level was judged, where there is one that counts.
    Searching { current: Option<Candidate>, search: Search },
    /// The best level is known, and what to ask for, where that was looked for.
    Found { current: Option<Candidate>, best: Candidate, ask: Option<u8> },
}

/// A choice and why it is made.
struct Verdict {
    candidate: Candidate,
    reason: Reason,
    shortfall: Shortfall,
    /// The level to ask for.
    ask: u8,
}

impl Verdict {
    fn new(candidate: Candidate, reason: Reason) -> Self {
        Self { candidate, reason, shortfall: Shortfall::NONE, ask: candidate.level }
    }
}

impl Controller<'_> {
    /// Whether the standing decision kept every promise and no longer does.
    #[inline(never)]
    pub(super) fn in_danger(&self) -> bool {
        let (Some(policy), Some(standing)) = (self.policy, self.standing) else { return false };
        standing.reason != Reason::Infeasible
            && self.board(policy).judge(standing.choice.level, Margin::Plain).trouble
                != Trouble::NONE
    }

    fn board<'b, 'q>(&'b self, policy: PolicyView<'q>) -> Board<'b, 'q> {
        let (caps, parks) = (self.power_caps(), self.limits.parking);
        let reach = self.held.reach();
        Board::arranged(policy, &self.slots, &self.arrangement, caps, &self.power, parks, reach)
    }

    /// The caps on power, that of the temperature included, with its reserve.
    fn power_caps(&self) -> PowerCaps {
        let thermal = |reserve| {
            let hottest = self.sensors.hottest_mdeg_c.map(|hot| hot.saturating_add(reserve));
            let cap = self.limits.temp_mdeg_c;
            match hottest {
                Some(last) if self.sensors.blind => {
                    let resistance = self.policy.map_or(0, |policy| policy.resistance_50mk_w());
                    self.power.blind_cap_mw(last, cap, resistance)
                }
                hottest => self.power.thermal_cap_mw(hottest, cap),
            }
        };
        PowerCaps::new(self.limits.power_mw, thermal(0), thermal(TEMP_RESERVE_MDEG_C))
    }

    fn cap_is_thermal(&self, caps: PowerCaps) -> bool {
        caps.plain_mw < self.limits.power_mw
    }

    /// Takes in power: its bias at the decided level, and what the temperature belongs to, `read`
    /// where it was with this telemetry.
    pub(super) fn learn_power(&mut self, now: Instant, message: &Telemetry, read: bool) {
        let Some(choice) = self.standing.map(|standing| standing.choice) else { return };
        let fresh = message.power_age.us().is_some_and(|us| us < self.period.us());
        let measured = fresh && plausible(message.power_mw, choice.power_mw);
        let drawn_mw = if measured { message.power_mw } else { choice.power_mw };
        self.power.settle(drawn_mw, now.since(self.sensors.telemetry_at).us(), read);
        let settled = message.level == choice.level && now.since(self.level_since) >= DWELL;
        let parks = self.park_level(choice.level) != NO_LEVEL;
        let served = self.slots.iter().any(Option::is_some);
        if measured && settled && served && !parks {
            let cap_mw = self.limits.power_mw;
            self.power.learn(choice.level, message.power_mw, choice.power_mw, cap_mw);
        }
    }

    /// Takes in which clocks are held, once what was asked for had to be there. While nothing runs
    /// they say nothing, nor do those of the level that the board may be parked at, unless a request
    /// ran there: it may be about to wake up.
    pub(super) fn hear_clocks(&mut self, now: Instant, achieved: Achieved<'_>) {
        let Some(policy) = self.policy.filter(|_| self.state == State::Run) else { return };
        let served = self.slots.iter().flatten();
        let Some(longest_us) = served.map(|slot| slot.targets.deadline_us).max() else { return };
        let settle = policy.settle();
        let settle_us = settle.cpu_us.max(settle.gpu_us).max(settle.emc_us);
        let due = self.period.times(SETTLE_PERIODS).us().saturating_add(settle_us);
        // Clocks change between requests, and one may take longer than its deadline.
        if now.since(self.asked_since).us() < due.saturating_add(longest_us.saturating_mul(2)) {
            return;
        }
        let parks_at = match achieved {
            Achieved::Telemetry(_) => self.park_level(self.asked),
            Achieved::Level(_) => NO_LEVEL,
        };
        self.held.hear(now, self.asked, achieved, parks_at, &policy);
    }

    /// Begins to decide; what is under way counts no more. Slices follow.
    pub(super) fn decide(&mut self, now: Instant) {
        self.deciding = Some(Deciding { at: now, phase: Phase::Begun });
    }

    /// Does a slice of the decision under way, where there is one, and sends it at its end.
    pub(super) fn slice(&mut self, out: &mut Outputs) {
        let Some(mut deciding) = self.deciding.take() else { return };
        if let Some(policy) = self.policy {
            let Some(verdict) = self.further(policy, &mut deciding) else {
                self.deciding = Some(deciding);
                return;
            };
            self.stand(deciding.at, &verdict);
        }
        self.send_decision(deciding.at, out);
    }

    /// A slice of a decision; the verdict at its end.
    fn further(&self, policy: PolicyView<'_>, deciding: &mut Deciding) -> Option<Verdict> {
        let board = self.board(policy);
        let mut effort = Effort::new(SLICE);
        if let Phase::Begun = deciding.phase {
            if self.slots.iter().all(Option::is_none) {
                let candidate = board.judge(board.safest_level(), Margin::Plain);
                return Some(Verdict::new(candidate, Reason::Idle));
            }
            let reached = |standing: &Standing| self.held.reaches(standing.choice.level);
            let current = self.counting().filter(reached).map(|standing| {
                board.judge_within(standing.choice.level, Margin::Plain, &mut effort)
            });
            // Another level must be better by the hysteresis as long as this one keeps everything.
            let calm = current.is_some_and(|current| current.trouble == Trouble::NONE);
            let rested = self.rested(deciding.at);
            deciding.phase = match current {
                // Nothing that is found would be taken.
                Some(best) if calm && !rested => Phase::Found { current, best, ask: None },
                None => {
                    let search = Search::new(Margin::Plain, board.lowest());
                    Phase::Searching { current, search }
                }
                Some(Candidate { level, .. }) if calm && !self.dirty => {
                    Phase::Searching { current, search: Search::new(Margin::Reserve, level) }
                }
                Some(judged) => {
                    Phase::Searching { current, search: Search::from(Margin::Plain, &judged) }
                }
            };
            if !effort.has(1) {
                return None;
            }
        }
        if let Phase::Searching { current, search } = &mut deciding.phase {
            let best = search.advance(&board, &mut effort)?;
            deciding.phase = Phase::Found { current: *current, best, ask: None };
        }
        let Phase::Found { current, best, ask } = deciding.phase else { return None };
        let (candidate, reason, uncapped_mw) = match (current, self.counting()) {
            (Some(current), Some(standing)) => self.weigh(&current, &best, &standing, deciding.at),
            (None, Some(_)) => (best, Reason::ClockHeld, best.uncapped_mw),
            _ => (best, Reason::Start, best.uncapped_mw),
        };
        let mut verdict = Verdict::new(candidate, reason);
        if !self.held.is_free() {
            if ask.is_none() && !effort.has(PROBE) {
                return None;
            }
            verdict.ask = ask.unwrap_or_else(|| self.ask(&board, &policy, &candidate, &mut effort));
            deciding.phase = Phase::Found { current, best, ask: Some(verdict.ask) };
        }
        if candidate.trouble == Trouble::NONE {
            return Some(verdict);
        }
        if !effort.has(SHORTFALL) {
            return None;
        }
        let thermal = self.cap_is_thermal(self.power_caps());
        let shortfall = board.shortfall(&Candidate { uncapped_mw, ..candidate }, thermal);
        Some(Verdict { reason: Reason::Infeasible, shortfall, ..verdict })
    }

    /// What to ask for to have the level chosen: one that shows the end of a hold, unless it would
    /// then break a promise that is kept now.
    fn ask(
        &self,
        board: &Board<'_, '_>,
        policy: &PolicyView<'_>,
        chosen: &Candidate,
        effort: &mut Effort,
    ) -> u8 {
        let probe = self.held.probe(chosen.level, policy);
        let harmless = |level: &u8| {
            let there = board.judge_within(*level, Margin::Plain, effort).trouble;
            there <= chosen.trouble
        };
        probe.filter(harmless).unwrap_or(chosen.level)
    }

    /// Whether the level may change without danger.
    fn rested(&self, now: Instant) -> bool {
        self.dirty || now.since(self.level_since) >= DWELL
    }

    /// The standing decision, where it was made for applications.
    fn counting(&self) -> Option<Standing> {
        self.standing.filter(|standing| standing.reason != Reason::Idle)
    }

    /// The standing level or a better one; why; and the least power that only the cap forbids.
    fn weigh(
        &self,
        current: &Candidate,
        best: &Candidate,
        standing: &Standing,
        now: Instant,
    ) -> (Candidate, Reason, u32) {
        let (current, best) = (*current, *best);
        let uncapped_mw = best.uncapped_mw;
        let rested = self.rested(now);
        // Danger overrides the dwell; less of the same trouble does not.
        let at_once = best.trouble.kinds() < current.trouble.kinds();
        if best.trouble < current.trouble && (at_once || rested) {
            let reason = if self.dirty {
                Reason::TargetsChanged
            } else if current.trouble.over_cap_mw == 0 {
                Reason::DeadlineAtRisk
            } else if current.trouble.over_cap_mw > 0 && self.cap_is_thermal(self.power_caps()) {
                Reason::TemperatureCap
            } else {
                Reason::PowerCap
            };
            return (best, reason, uncapped_mw);
        }
        if best.trouble == current.trouble && rested && best.level != current.level {
            let better = best.wishes < current.wishes;
            let saved = current.power_mw.saturating_sub(best.power_mw);
            let least = u64::from(current.power_mw).saturating_mul(u64::from(HYSTERESIS_PERMILLE));
            let worth =
                best.wishes == current.wishes && u64::from(saved).saturating_mul(1000) > least;
            if better || worth {
                let reason = if self.dirty {
                    Reason::TargetsChanged
                } else if better {
                    Reason::BetterObjective
                } else {
                    Reason::LessPower
                };
                return (best, reason, uncapped_mw);
            }
        }
        let reason = if current.sub_networks == standing.choice.sub_networks {
            Reason::Keep
        } else if self.dirty {
            Reason::TargetsChanged
        } else {
            Reason::BetterSubNetwork
        };
        (current, reason, uncapped_mw.min(current.uncapped_mw))
    }

    fn stand(&mut self, now: Instant, verdict: &Verdict) {
        let Verdict { candidate, reason, shortfall, ask } = *verdict;
        let Candidate { level, sub_networks, power_mw, .. } = candidate;
        if self.standing.is_none() || self.asked != ask {
            self.asked = ask;
            self.asked_since = now;
        }
        if self.standing.is_none_or(|standing| standing.choice.level != level) {
            self.level_since = now;
        }
        for (slot, sub_network) in self.slots.iter_mut().zip(sub_networks) {
            if let Some(application) = slot {
                application.sub_network = sub_network;
            }
        }
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
        let Some(policy) = self.policy else { return };
        let candidate = {
            let board = self.board(policy);
            board.judge(board.safest_level(), Margin::Plain)
        };
        self.stand(now, &Verdict::new(candidate, reason));
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
