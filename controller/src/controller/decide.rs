//! Choosing the level: what changes it, and what keeps it.

use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::Telemetry;
use coshift_shared::to_host::{Reason, Shortfall};
use coshift_shared::units::{MAX_APPLICATIONS, NO_LEVEL};

use super::{Choice, Controller, DWELL, OLD, Outputs, SETTLE_PERIODS, Standing, State};
use crate::demand::{HYSTERESIS_PERMILLE, Margin};
use crate::device::{
    BEGIN, Board, Candidate, Effort, Half, PowerCaps, Round, Search, Trouble, Way,
};
use crate::held::Achieved;
use crate::power::{TEMP_RESERVE_MDEG_C, plausible};

/// What one slice of a decision may take beside what it does only once; see
/// [`crate::device::Effort`].
const SLICE: u32 = 15_000;
/// What judging the standing level may take for others to be looked at in the same slice.
const JUDGED: u32 = 1_500;
/// What a decision for four applications may take before it leaves the levels not looked at to the next
/// one, but for the level it looks at then, and for one at least, new or met before.
pub const SEARCH: u32 = 30_000;
/// What it may take more for each application less: their outcomes cost no period time.
const ABSENT: u32 = 5_000;
/// What it may take for one application.
const MOST_SEARCH: u32 = SEARCH + 3 * ABSENT;
const _: () = assert!(MAX_APPLICATIONS == 4);
/// A decision between two telemetries that took more, or was for several applications, takes the next
/// telemetry's place, and the next one waits for two periods: so every other telemetry can go on with a
/// round. The search of the telemetry after any other one has what is left.
const DEAR: u32 = 9_000;
/// What finding a level to ask for takes, while a clock is held.
const PROBE: u32 = 6_000;

/// What weighing the sub-networks that run takes.
const STANDS: u32 = 2_000;

/// Most slices of one decision: one each may only judge one half of the standing level, and one only look
/// at what runs there; those of the search use up their effort, but for the last, which may judge the
/// other half of a level; one more may only find what to ask for, and one more only name what is missing.
pub const MOST_SLICES: usize = 11;
const _: () = assert!((MOST_SEARCH - JUDGED).div_ceil(SLICE - BEGIN) as usize + 6 == MOST_SLICES);

/// A decision between two telemetries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extra {
    /// In the place of the next telemetry's.
    InPlace,
    /// Beside that, with so much effort.
    Beside(u32),
    /// Another controller's, that a seed told of: in the place of the next telemetry's, unless something
    /// was asked for since, and of any that outcomes would ask for before it.
    Seeded,
}

/// A decision under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deciding {
    /// Stamp of the input that asked for it.
    pub(super) at: Instant,
    /// It was not asked for by telemetry.
    extra: bool,
    /// Effort of the slices so far, and of a decision before that shares its bound.
    spent: u32,
    /// What its slices have in common.
    caps: PowerCaps,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Nothing was done yet.
    Begun,
    /// The standing level is judged: its first half was.
    Judging { half: Half },
    /// It was judged with the sub-networks that would be chosen there now.
    Judged { judged: Candidate },
    /// The standing level was judged, where there is one that counts.
    Searching { current: Option<Candidate>, search: Search },
    /// The best level of those looked at is known, and what to ask for, where that was looked for;
    /// and how far the round has come, where one was gone on with.
    Found { current: Option<Candidate>, best: Candidate, round: Option<Round>, ask: Option<u8> },
}

impl Phase {
    /// What stands was not judged to its end.
    fn is_first(&self) -> bool {
        matches!(self, Self::Begun | Self::Judging { .. } | Self::Judged { .. })
    }
}

/// A choice and why it is made.
struct Verdict {
    candidate: Candidate,
    reason: Reason,
    shortfall: Shortfall,
    /// The level to ask for.
    ask: u8,
    /// The round to go on with.
    round: Option<Round>,
    /// See [`Controller::exhausted`].
    exhausted: bool,
}

/// How the safest level is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retreat {
    /// What stands may be kept.
    pub(super) may_stay: bool,
    /// With the sub-networks that run, as the period has had a dear decision already; the next telemetry
    /// looks for better ones.
    pub(super) brief: bool,
}

impl Verdict {
    fn new(candidate: Candidate, reason: Reason) -> Self {
        Self {
            candidate,
            reason,
            shortfall: Shortfall::NONE,
            ask: candidate.level,
            round: None,
            exhausted: false,
        }
    }
}

impl Controller<'_> {
    /// Whether the standing decision kept every promise and no longer does.
    #[inline(never)]
    pub(super) fn in_danger(&self) -> bool {
        let (Some(policy), Some(standing)) = (self.policy, self.standing) else { return false };
        standing.reason != Reason::Infeasible
            && !self.board(policy).keeps(standing.choice.level, &standing.choice.sub_networks)
    }

    fn board<'b, 'q>(&'b self, policy: PolicyView<'q>) -> Board<'b, 'q> {
        self.board_under(policy, self.power_caps())
    }

    fn board_under<'b, 'q>(&'b self, policy: PolicyView<'q>, caps: PowerCaps) -> Board<'b, 'q> {
        let parks = self.limits.parking;
        let reach = self.held.reach();
        Board::arranged(policy, &self.slots, &self.arrangement, caps, &self.power, parks, reach)
    }

    /// The caps on power, that of the temperature included, with its reserve.
    fn power_caps(&self) -> PowerCaps {
        let (plain_mw, reserve_mw) =
            (self.thermal_cap_mw(0), self.thermal_cap_mw(TEMP_RESERVE_MDEG_C));
        PowerCaps::new(self.limits.power_mw, plain_mw, reserve_mw)
    }

    /// What the temperature leaves, were the board so much hotter, mW.
    #[inline(never)]
    fn thermal_cap_mw(&self, reserve_mdeg_c: i32) -> u32 {
        let hottest = self.sensors.hottest_mdeg_c.map(|hot| hot.saturating_add(reserve_mdeg_c));
        let cap = self.limits.temp_mdeg_c;
        match hottest {
            Some(last) if self.sensors.blind => {
                let resistance = self.policy.map_or(0, |policy| policy.resistance_50mk_w());
                self.power.blind_cap_mw(last, cap, resistance)
            }
            hottest => self.power.thermal_cap_mw(hottest, cap),
        }
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

    /// Takes in which clocks are held, once what was asked for had to be there for requests with
    /// deadlines of up to `longest_us`. While nothing runs they say nothing, nor do those of the
    /// level that the board may be parked at, unless a request ran there: it may be about to wake
    /// up.
    pub(super) fn hear_clocks(&mut self, now: Instant, achieved: Achieved<'_>, longest_us: u32) {
        let Some(policy) = self.policy.filter(|_| self.state == State::Run) else { return };
        let settle = policy.settle();
        let settle_us = settle.cpu_us.max(settle.gpu_us).max(settle.emc_us);
        let due = self.period.times(SETTLE_PERIODS).us().saturating_add(settle_us);
        // Clocks change between requests, and one may take longer than its deadline. No span is longer
        // than what `age` tells apart.
        let wait_us = due.saturating_add(longest_us.saturating_mul(2)).min(OLD.us());
        if now.since(self.asked_since).us() < wait_us {
            return;
        }
        let parks_at = match achieved {
            Achieved::Telemetry(_) => self.park_level(self.asked),
            Achieved::Level(_) => NO_LEVEL,
        };
        let reach = self.held.reach();
        self.held.hear(now, self.asked, achieved, parks_at, &policy);
        if self.held.reach() != reach {
            // What was passed over as out of reach was not looked at.
            (self.round, self.exhausted) = (None, false);
        }
    }

    /// Begins to decide, between two telemetries where `extra`; what is under way counts no more.
    /// `spent` was taken of its effort. Slices follow.
    pub(super) fn decide(&mut self, now: Instant, extra: bool, spent: u32) {
        let caps = self.power_caps();
        let phase = Phase::Begun;
        *self.deciding.get_mut() = Some(Deciding { at: now, extra, spent, caps, phase });
    }

    /// Does a slice of the decision under way, where there is one, and sends it at its end.
    pub(super) fn slice(&mut self, out: &mut Outputs) {
        let (at, extra, spent, verdict) = {
            let Ok(mut place) = self.deciding.try_borrow_mut() else { return };
            let Some(deciding) = place.as_mut() else { return };
            let verdict = match self.policy {
                Some(policy) => {
                    let Some(verdict) = self.further(policy, deciding) else { return };
                    Some(verdict)
                }
                None => None,
            };
            if let (Some(round), Phase::Found { best, .. }) =
                (verdict.as_ref().and_then(|verdict| verdict.round), &deciding.phase)
                && round.has_found(best.level)
            {
                self.found_rank = best.rank();
            }
            (deciding.at, deciding.extra, deciding.spent, verdict)
        };
        *self.deciding.get_mut() = None;
        if let Some(verdict) = verdict {
            if extra {
                let dear = spent > DEAR || self.arrangement.is_shared();
                self.extra = Some(if dear { Extra::InPlace } else { Extra::Beside(spent) });
                if dear {
                    self.extra_at = at.after(self.period);
                }
            }
            self.stand(at, &verdict);
        }
        self.send_decision(at, out);
    }

    /// What the search of one decision may take.
    fn bound(&self) -> u32 {
        if self.effort != SEARCH {
            return self.effort;
        }
        let absent = self.slots.iter().filter(|slot| slot.is_none());
        absent.fold(SEARCH, |most, _| most.saturating_add(ABSENT))
    }

    /// A slice of a decision; the verdict at its end.
    fn further(&self, policy: PolicyView<'_>, deciding: &mut Deciding) -> Option<Verdict> {
        let board = self.board_under(policy, deciding.caps);
        let most = self.bound();
        let most = if self.held.is_free() { most } else { most.saturating_sub(PROBE) };
        let mut effort = Effort::new(deciding.spent, SLICE, most);
        let verdict = self.further_within(&board, &policy, deciding, &mut effort);
        deciding.spent = effort.spent();
        verdict
    }

    fn further_within(
        &self,
        board: &Board<'_, '_>,
        policy: &PolicyView<'_>,
        deciding: &mut Deciding,
        effort: &mut Effort,
    ) -> Option<Verdict> {
        if deciding.phase.is_first() {
            if self.slots.iter().all(Option::is_none) {
                let candidate = board.judge(board.safest_level(), Margin::Plain);
                return Some(Verdict::new(candidate, Reason::Idle));
            }
            let reached = |standing: &Standing| self.held.reaches(standing.choice.level);
            let standing = self.counting().filter(reached);
            let current = match standing {
                Some(standing) => {
                    Some(self.of_standing(board, &standing.choice, deciding, effort)?)
                }
                None => None,
            };
            let calm = current.as_ref().is_some_and(|current| current.trouble == Trouble::NONE);
            deciding.phase = match current {
                // Nothing that is found would be taken.
                Some(best)
                    if calm && ((deciding.extra && !self.dirty) || !self.rested(deciding.at)) =>
                {
                    Phase::Found { current, best, round: None, ask: None }
                }
                _ => {
                    // Another level must be better by the hysteresis as long as this one keeps
                    // everything.
                    let margin =
                        if calm && !self.fresh() { Margin::Reserve } else { Margin::Plain };
                    let round = self.round_on(current.as_ref(), policy.levels());
                    // Rounds go on with telemetry's decisions.
                    let search = Search::new(margin, round, current, deciding.extra);
                    Phase::Searching { current, search }
                }
            };
            // So that no step judges two levels where the first was dear.
            if !effort.has(const { SLICE - JUDGED }) {
                return None;
            }
        }
        if let Phase::Searching { current, search } = &mut deciding.phase {
            let best = search.advance(board, effort)?;
            let round = Some(search.round());
            deciding.phase = Phase::Found { current: *current, best, round, ask: None };
        }
        let Phase::Found { current, best, round, ask } = &mut deciding.phase else { return None };
        let asked = (deciding.at, deciding.caps);
        let (takes_best, reason) = self.choose(current.as_ref(), best, *round, asked);
        let (best, round) = (&*best, *round);
        let candidate = match current {
            Some(current) if !takes_best => current,
            _ => best,
        };
        let mut verdict = Verdict::new(*candidate, reason);
        if !self.held.is_free() {
            // That takes a slice of its own, as does naming a shortfall below.
            if ask.is_none() && !effort.has(SLICE) {
                return None;
            }
            verdict.ask = *ask.get_or_insert_with(|| {
                // After a search that took more than all there is, what was asked for has to do.
                let probe = if effort.spent() <= self.bound().max(SEARCH) {
                    self.held.probe(candidate.level, policy)
                } else {
                    self.probing(candidate.level)
                };
                effort.spend(PROBE);
                Self::ask(board, probe, candidate)
            });
        }
        let over = round.is_some_and(|round| round.is_over());
        verdict.round = match round {
            Some(mut round) if !over => {
                round.keep(best, candidate.level, &self.found_rank);
                Some(round)
            }
            Some(_) => None,
            None => self.round,
        };
        if candidate.trouble == Trouble::NONE {
            // The way out was found; what is best is the next round's matter.
            verdict.round = verdict.round.and_then(|round| match round {
                Round { urgent: false, .. } => Some(round),
                Round { asked: true, .. } => {
                    Some(Round::after(candidate.level, Way::Down, false, true, policy.levels()))
                }
                _ => None,
            });
            return Some(verdict);
        }
        verdict.exhausted = over || (self.exhausted && !self.dirty);
        if !verdict.exhausted {
            if reason != Reason::ClockHeld {
                verdict.reason = self.risk(candidate, deciding.caps);
            }
            return Some(verdict);
        }
        verdict.reason = Reason::Infeasible;
        verdict.shortfall = match (round, self.standing) {
            (Some(round), _) if over => {
                if !effort.has(SLICE) {
                    return None;
                }
                let thermal = self.cap_is_thermal(deciding.caps);
                let uncapped_mw = round.uncapped_mw;
                board.shortfall(&Candidate { uncapped_mw, ..*candidate }, thermal)
            }
            (_, Some(standing)) => standing.shortfall,
            _ => Shortfall::NONE,
        };
        Some(verdict)
    }

    /// The standing level, with the sub-networks that would be chosen there now, or with those that
    /// run, where only those keep everything: who gives way to whom follows rules, which may miss
    /// what they found under the stricter guard. `None` where that takes another slice: what was found
    /// until then is of the level that still stands.
    #[inline(never)]
    fn of_standing(
        &self,
        board: &Board<'_, '_>,
        choice: &Choice,
        deciding: &mut Deciding,
        effort: &mut Effort,
    ) -> Option<Candidate> {
        let judged = match &mut deciding.phase {
            Phase::Judged { judged } => *judged,
            phase => {
                if let Phase::Begun = phase {
                    *phase =
                        Phase::Judging { half: board.begin(choice.level, Margin::Plain, effort) };
                }
                let Phase::Judging { half } = phase else { return None };
                if !half.keeps_caps() && !effort.has(1) {
                    return None;
                }
                let judged = board.end(half, Margin::Plain, effort);
                *phase = Phase::Judged { judged };
                judged
            }
        };
        // The same again.
        if judged.trouble == Trouble::NONE || judged.sub_networks == choice.sub_networks {
            return Some(judged);
        }
        if !effort.has(1) {
            return None;
        }
        effort.spend(STANDS);
        Some(match board.candidate(choice.level, &choice.sub_networks) {
            Some(runs) if runs.trouble == Trouble::NONE => {
                Candidate { uncapped_mw: runs.power_mw, ..runs }
            }
            _ => judged,
        })
    }

    /// The round to go on with, or a new one where there is none of that urgency. What keeps everything, and
    /// what is over a cap, looks at the next lower levels first, which mostly need less power; what
    /// is late at the next higher ones, of which the first that is in time needs least; and what
    /// has no level yet at the highest, which mostly serves.
    fn round_on(&self, current: Option<&Candidate>, levels: u8) -> Round {
        let Some(current) = current else {
            return Round::after(0, Way::Down, true, self.dirty, levels);
        };
        let calm = current.trouble == Trouble::NONE;
        let down = calm || current.trouble.over_cap_mw > 0;
        let (way, urgent) = (if down { Way::Down } else { Way::Up }, !calm);
        // What is better in one respect and worse in another does not turn it round: a round ends.
        match self.round.filter(|round| round.urgent == urgent) {
            // Who asks for something else all the time does not keep it from coming round.
            Some(round) if self.dirty => round.again(true, levels),
            Some(round) => round,
            None => Round::after(current.level, way, urgent, self.dirty, levels),
        }
    }

    /// Whether targets or caps changed, and no whole round was since.
    fn fresh(&self) -> bool {
        self.dirty || self.round.is_some_and(|round| round.asked)
    }

    /// Whether the best level is to stand, rather than the one that does, and why.
    fn choose(
        &self,
        current: Option<&Candidate>,
        best: &Candidate,
        round: Option<Round>,
        (at, caps): (Instant, PowerCaps),
    ) -> (bool, Reason) {
        let (Some(current), Some(standing)) = (current, self.counting()) else {
            let first = self.counting().is_none();
            return (true, if first { Reason::Start } else { Reason::ClockHeld });
        };
        // A change without need waits for the best level of all.
        let calm = current.trouble == Trouble::NONE;
        let over = round.is_some_and(|round| round.is_over());
        let best = if calm && !over { current } else { best };
        self.weigh(current, best, &standing, (at, caps))
    }

    /// What a level with trouble is at risk of.
    fn risk(&self, candidate: &Candidate, caps: PowerCaps) -> Reason {
        if candidate.trouble.over_cap_mw == 0 {
            Reason::DeadlineAtRisk
        } else if self.cap_is_thermal(caps) {
            Reason::TemperatureCap
        } else {
            Reason::PowerCap
        }
    }

    /// What to ask for to have the level chosen: `probe`, which shows the end of a hold, unless what
    /// was chosen would then break a promise that is kept now.
    #[inline(never)]
    fn ask(board: &Board<'_, '_>, probe: Option<u8>, chosen: &Candidate) -> u8 {
        let harmless = |level: &u8| {
            let there = board.candidate(*level, &chosen.sub_networks);
            there.is_some_and(|there| there.trouble <= chosen.trouble)
        };
        probe.filter(harmless).unwrap_or(chosen.level)
    }

    /// What is asked for to have this level, where it stands.
    fn probing(&self, level: u8) -> Option<u8> {
        let standing = self.standing.filter(|standing| standing.choice.level == level);
        standing.map(|_| self.asked).filter(|asked| *asked != level)
    }

    /// Whether the level may change without danger.
    fn rested(&self, now: Instant) -> bool {
        self.fresh() || now.since(self.level_since) >= DWELL
    }

    /// The standing decision, where it was made for applications.
    fn counting(&self) -> Option<Standing> {
        self.standing.filter(|standing| standing.reason != Reason::Idle)
    }

    /// Whether the best level takes the place of the standing one, and why.
    fn weigh(
        &self,
        current: &Candidate,
        best: &Candidate,
        standing: &Standing,
        (at, caps): (Instant, PowerCaps),
    ) -> (bool, Reason) {
        let rested = self.rested(at);
        // Danger overrides the dwell; less of the same trouble does not.
        let at_once = best.trouble.kinds() < current.trouble.kinds();
        if best.trouble < current.trouble && (at_once || rested) {
            let reason =
                if self.fresh() { Reason::TargetsChanged } else { self.risk(current, caps) };
            return (true, reason);
        }
        if best.trouble == current.trouble && rested && best.level != current.level {
            let better = best.wishes < current.wishes;
            let saved = current.power_mw.saturating_sub(best.power_mw);
            let least = u64::from(current.power_mw).saturating_mul(u64::from(HYSTERESIS_PERMILLE));
            let worth =
                best.wishes == current.wishes && u64::from(saved).saturating_mul(1000) > least;
            if better || worth {
                let reason = if self.fresh() {
                    Reason::TargetsChanged
                } else if better {
                    Reason::BetterObjective
                } else {
                    Reason::LessPower
                };
                return (true, reason);
            }
        }
        let reason = if current.sub_networks == standing.choice.sub_networks {
            Reason::Keep
        } else if self.fresh() {
            Reason::TargetsChanged
        } else {
            Reason::BetterSubNetwork
        };
        (false, reason)
    }

    fn stand(&mut self, now: Instant, verdict: &Verdict) {
        let Verdict { candidate, reason, shortfall, ask, round, exhausted } = *verdict;
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
        (self.round, self.exhausted) = (round, exhausted);
    }

    pub(super) fn stand_with_reason(&mut self, reason: Reason) {
        if let Some(standing) = &mut self.standing {
            standing.reason = reason;
        }
    }

    /// Takes the safest level; or keeps what stands, where less power was predicted for that and still is:
    /// requests take longer at low clocks, and what they draw besides is drawn for longer.
    pub(super) fn retreat(&mut self, now: Instant, reason: Reason, retreat: Retreat) {
        let Some(policy) = self.policy else { return };
        let candidate = {
            let board = self.board(policy);
            let level = board.safest_level();
            let standing = self.standing.as_ref().map(|standing| &standing.choice);
            let mut safest = match standing.filter(|_| retreat.brief) {
                Some(choice) => board.incomplete(level, &choice.sub_networks),
                None => board.judge(level, Margin::Plain),
            };
            if let Some(choice) = standing.filter(|_| retreat.may_stay)
                && choice.power_mw < safest.power_mw
                && let Some(stays) = board.candidate(choice.level, &choice.sub_networks)
                && stays.power_mw < safest.power_mw
            {
                safest = stays;
            }
            safest
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
