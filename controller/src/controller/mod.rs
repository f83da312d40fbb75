//! Modes, time, and the order of things.
//!
//! ```text
//!   Boot --Hello--> AwaitPolicy --policy valid--> Run <------------------+
//!                                                 |  ^                   |
//!                          telemetry stale 5 per. |  | telemetry         |
//!                                                 v  |                   |
//!                                                Hold                    |
//!                         stale 20 periods more   |                      |
//!                                                 v    telemetry (silence) or
//!                   Run --temperature at cap--> Safe --nominal for 2 s---+
//! ```
//!
//! Time comes only from the messages' stamps and from [`Input::Tick`]. Before an input is taken
//! in, everything that time alone brings about up to its stamp is done first, at the instants it
//! was due; so a controller that is woken late decides like one that is woken in time.

mod decide;
mod doubts;
mod inputs;
mod seed;
mod sensors;

use core::cell::RefCell;

use coshift_shared::policy::PolicyView;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::ToController;
use coshift_shared::to_host::{
    Decision, Mode, Reason, SensorSet, Shortfall, ToHost, Trace, TraceEvent, WorkCounters,
};
use coshift_shared::units::{
    MAX_APPLICATIONS, NO_LEVEL, NO_POWER_CAP, NO_SUB_NETWORK, NO_TEMP_CAP,
};
use heapless::Vec;

pub use decide::{MOST_SLICES, SEARCH};
pub use seed::SEED_PARTS;
pub use sensors::{AGREEING, BEARABLE_MDEG_C, BLIND_TIME, NOMINAL_MARGIN_MDEG_C, NOMINAL_TIME};

use decide::{Deciding, Extra, Retreat};
use doubts::Doubts;
use sensors::Sensors;

use crate::application::Application;
use crate::device::{Arrangement, Rank, Round, Slots};
use crate::digest::Digest;
use crate::held::Held;
use crate::power::Power;

/// Messages that one input can cause at most: the decision that was under way, two traces and
/// decisions that time brings about, and three traces and a decision of its own.
pub const MAX_OUTPUTS: usize = 9;
/// Messages to send after a step.
pub type Outputs = Vec<ToHost, MAX_OUTPUTS>;

/// Shortest control period.
pub const MIN_PERIOD: Duration = Duration::from_ms(20);
/// Longest control period.
pub const MAX_PERIOD: Duration = Duration::from_ms(500);
/// Control period until Hello says another.
pub const DEFAULT_PERIOD: Duration = Duration::from_ms(50);
/// Periods without telemetry after which it is stale.
pub const STALE_PERIODS: u32 = 5;
/// Further periods in Hold after which the safest level is taken.
pub const HOLD_PERIODS: u32 = 20;
/// Periods after which a level asked for must be there, beside the longest request, which clocks
/// wait for, and the settle time.
const SETTLE_PERIODS: u32 = 4;
/// Time at a level before a change that is not needed.
pub const DWELL: Duration = Duration::from_ms(500);
/// Older than this nothing is told apart, and everything that is older counts as this old: stamps wrap
/// after 71 minutes, and what is further back than half of that would seem to lie ahead.
const OLD: Duration = Duration::from_ms(900_000);
/// How far a stamp may lie ahead, of a message out of order. What seems to lie further ahead is from
/// before a silence.
const AHEAD: Duration = Duration::from_ms(1000);

/// One input.
#[derive(Debug, Clone, Copy)]
pub enum Input<'m> {
    /// A message, with the sequence number of its frame.
    Message {
        /// The message.
        message: &'m ToController,
        /// Sequence number of its frame.
        seq: u16,
    },
    /// Time passed: [`Controller::next_deadline`] was reached.
    Tick,
}

/// The controller's mode with its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Boot,
    AwaitPolicy,
    Run,
    /// The last decision stands.
    Hold {
        since: Instant,
    },
    /// The safest level: telemetry stayed stale.
    Silent,
    /// The safest level: too hot; `nominal_since` once it is not any more.
    TooHot {
        nominal_since: Option<Instant>,
    },
}

impl State {
    fn mode(self) -> Mode {
        match self {
            Self::Boot => Mode::Boot,
            Self::AwaitPolicy => Mode::AwaitPolicy,
            Self::Run => Mode::Run,
            Self::Hold { .. } => Mode::Hold,
            Self::Silent | Self::TooHot { .. } => Mode::Safe,
        }
    }
}

/// What the digest takes in beside messages.
#[derive(Hash)]
enum TimeDriven {
    Stale,
    Silent,
}

/// The decisions.
#[derive(Debug, Clone)]
pub struct Controller<'p> {
    policy: Option<PolicyView<'p>>,
    period: Duration,
    state: State,
    slots: Slots,
    /// Of the slots: worked out anew whenever targets change.
    arrangement: Arrangement,
    limits: Caps,
    sensors: Sensors,
    doubts: Doubts,
    power: Power,
    /// The decision that stands; `None` before the first of the session.
    standing: Option<Standing>,
    /// The decision that is under way; nothing is taken in before it has ended.
    /// In a cell, so that a slice need not move it out of what it reads, and back.
    deciding: RefCell<Option<Deciding>>,
    /// When the run level last changed.
    level_since: Instant,
    /// The level sent: the one that stands, or one that ends up as it; see [`crate::held`].
    asked: u8,
    /// When it last changed.
    asked_since: Instant,
    held: Held,
    /// What the search of one decision may take.
    effort: u32,
    /// The round over the levels that the last decision did not end.
    round: Option<Round>,
    /// The level that the round is to judge again, where there is one, as it was when it was judged.
    found_rank: Rank,
    /// The last round that ended met no level that keeps every promise, and none was met since.
    exhausted: bool,
    /// When a decision between two telemetries was last asked for; a period later where it was dear;
    /// and, silent, when the first of the targets and caps changed that were not decided on.
    extra_at: Instant,
    /// The one that was made since the last telemetry.
    extra: Option<Extra>,
    /// Targets or caps changed since the last decision.
    dirty: bool,
    digest: Digest,
    last_seq: u16,
    /// Part of a seed expected next.
    seed_part: u8,
    work: WorkCounters,
    events: [u16; 8],
}

#[derive(Debug, Clone, Copy, Hash)]
struct Caps {
    power_mw: u32,
    temp_mdeg_c: i32,
    parking: bool,
}

/// What the board was told to do, and what that was expected to need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice {
    level: u8,
    sub_networks: [u8; MAX_APPLICATIONS],
    power_mw: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    choice: Choice,
    reason: Reason,
    shortfall: Shortfall,
}

impl<'p> Controller<'p> {
    /// A controller of a board; without a policy it decides nothing.
    #[must_use]
    // So that it is built in its place, and not on the stack beside it.
    #[inline]
    pub fn new(policy: Option<PolicyView<'p>>) -> Self {
        Self {
            policy,
            period: DEFAULT_PERIOD,
            state: State::Boot,
            slots: [None, None, None, None],
            arrangement: Arrangement::new(&[]),
            limits: Caps::of(policy.as_ref()),
            sensors: Sensors::unknown(Instant::START),
            doubts: Doubts::default(),
            power: Power::default(),
            standing: None,
            deciding: RefCell::new(None),
            level_since: Instant::START,
            asked: NO_LEVEL,
            asked_since: Instant::START,
            held: Held::default(),
            effort: SEARCH,
            round: None,
            found_rank: Rank::default(),
            exhausted: false,
            extra_at: Instant::START,
            extra: None,
            dirty: false,
            digest: Digest::default(),
            last_seq: 0,
            seed_part: 0,
            work: WorkCounters::default(),
            events: [0; 8],
        }
    }

    /// The same with another bound on the search of one decision, in instructions of a Cortex-M4
    /// about; `u32::MAX` for none. It is [`SEARCH`] otherwise, and more with fewer than four
    /// applications, and has to be the same for two that are to decide alike.
    #[must_use]
    pub fn searching(self, effort: u32) -> Self {
        Self { effort, ..self }
    }

    /// Starts a session at `now`: no applications, nothing learned, a new digest. Which sensors there
    /// are stays known, so that a lost one is told again.
    pub fn start_session(&mut self, now: Instant, period_us: u32, session: u16) -> Outputs {
        self.period = Duration::from_us(period_us).max(MIN_PERIOD).min(MAX_PERIOD);
        // Not from a constant: that is 1,200 bytes of flash, nearly all 0.
        self.slots.iter_mut().for_each(|slot| *slot = None);
        self.arrangement = Arrangement::new(&self.slots);
        self.limits = Caps::of(self.policy.as_ref());
        self.sensors = Sensors::unknown(now);
        self.doubts = self.doubts.anew();
        self.power = Power::default();
        self.standing = None;
        *self.deciding.get_mut() = None;
        self.level_since = now;
        self.asked = NO_LEVEL;
        self.asked_since = now;
        self.held = Held::default();
        self.forget_round();
        self.extra_at = now;
        self.dirty = false;
        self.digest = Digest::default();
        self.last_seq = 0;
        self.seed_part = 0;
        self.events = [0; 8];
        let mut out = Outputs::new();
        self.trace(now, TraceEvent::SessionStarted, u32::from(session), &mut out);
        let state = if self.policy.is_some() { State::Run } else { State::AwaitPolicy };
        self.enter(state, now, &mut out);
        out
    }

    /// Takes in one input at `now`, the stamp of a message or the instant of a tick.
    pub fn step(&mut self, now: Instant, input: Input<'_>) -> Outputs {
        let mut out = Outputs::new();
        self.step_into(now, input, &mut out);
        out
    }

    /// The same; what is to be sent is appended to `out`, which has to be empty.
    pub fn step_into(&mut self, now: Instant, input: Input<'_>, out: &mut Outputs) {
        self.work.steps = self.work.steps.wrapping_add(1);
        if self.state == State::Boot {
            return;
        }
        if self.deciding.get_mut().is_some() {
            if matches!(input, Input::Tick) {
                self.slice(out);
                return;
            }
            // What was taken in before is decided first: a message that came too early for slices
            // changes nothing but the time they take.
            while self.deciding.get_mut().is_some() {
                self.slice(out);
            }
        }
        // A seed states what the state is, part by part: between two parts there is no whole state
        // that time could act on.
        let seeding = matches!(input, Input::Message { message: ToController::Seed(_), .. });
        if !seeding {
            self.advance(now, out);
        }
        if let Input::Message { message, seq } = input {
            if !matches!(message, ToController::Hello(_) | ToController::Query(_)) {
                self.last_seq = seq;
                self.take_in(message);
            }
            self.serve(now, message, seq, out);
            // Of several applications the first slice alone may take as much as a step is to.
            if matches!(message, ToController::Telemetry(_)) && !self.arrangement.is_shared() {
                self.slice(out);
            }
        }
    }

    /// Whether a decision is under way: ticks are due at once, and messages had better wait until
    /// it has ended (one that does not wait has the rest of the decision done in its own step).
    #[must_use]
    pub fn is_deciding(&self) -> bool {
        self.under_way().is_some()
    }

    /// The stamp of what the decision under way is made for.
    fn under_way(&self) -> Option<Instant> {
        let deciding = self.deciding.try_borrow().ok()?;
        deciding.as_ref().map(|deciding| deciding.at)
    }

    /// When [`Input::Tick`] is due; `None` while time alone changes nothing. At once, at the stamp
    /// of the input, while a decision is under way.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if let Some(at) = self.under_way() {
            return Some(at);
        }
        match self.state {
            State::Run => Some(self.sensors.telemetry_at.after(self.period.times(STALE_PERIODS))),
            State::Hold { since } => Some(since.after(self.period.times(HOLD_PERIODS))),
            // Targets or caps changed.
            State::Silent if self.dirty => Some(self.extra_at.after(self.period)),
            // Too hot is the safest level already, and stays latched through silence.
            State::Boot | State::AwaitPolicy | State::Silent | State::TooHot { .. } => None,
        }
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.state.mode()
    }

    /// Digest of everything taken in.
    #[must_use]
    pub fn digest(&self) -> u32 {
        self.digest.value()
    }

    /// The power cap in force, mW.
    #[must_use]
    pub fn power_cap_mw(&self) -> u32 {
        self.limits.power_mw
    }

    /// The control period.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// The applications.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Clocks that something else holds.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Readings of the telemetry that were there once and are not believed. One that is believed again
    /// stays among them for up to 40 telemetries, as long as it takes to be told.
    #[must_use]
    pub fn doubted(&self) -> SensorSet {
        self.doubts.told()
    }

    /// The level that was decided; what is asked for differs from it while a clock is held.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.standing.map_or(NO_LEVEL, |standing| standing.choice.level)
    }

    /// Counters of the control loop.
    #[must_use]
    pub fn work(&self) -> WorkCounters {
        self.work
    }

    /// Lets the board add what only it can measure.
    pub fn work_mut(&mut self) -> &mut WorkCounters {
        &mut self.work
    }

    /// The decision that stands, as it would be sent at `now`.
    #[must_use]
    pub fn decision(&self, now: Instant) -> Decision {
        let nothing = Choice {
            level: NO_LEVEL,
            sub_networks: [NO_SUB_NETWORK; MAX_APPLICATIONS],
            power_mw: 0,
        };
        let standing = self.standing.unwrap_or(Standing {
            choice: nothing,
            reason: if self.policy.is_some() { Reason::Start } else { Reason::NoPolicy },
            shortfall: Shortfall::NONE,
        });
        Decision {
            at_us: now.us(),
            last_seq: self.last_seq,
            digest: self.digest.value(),
            mode: self.state.mode(),
            run_level: if self.standing.is_some() { self.asked } else { NO_LEVEL },
            park_level: self.park_level(standing.choice.level),
            sub_networks: standing.choice.sub_networks,
            reason: standing.reason,
            shortfall: standing.shortfall,
            power_mw: standing.choice.power_mw,
        }
    }

    /// Does what time alone brings about up to `now`.
    fn advance(&mut self, now: Instant, out: &mut Outputs) {
        // At most two changes: Run to Hold, Hold to Silent, or what changed in Silent.
        for _ in 0..2 {
            let Some(due) = self.next_deadline().filter(|due| now.reached(*due)) else { return };
            match self.state {
                State::Run => {
                    self.digest.add(&TimeDriven::Stale);
                    self.enter(State::Hold { since: due }, due, out);
                    self.stand_with_reason(Reason::StaleTelemetry);
                }
                State::Hold { .. } | State::Silent => {
                    self.digest.add(&TimeDriven::Silent);
                    self.enter(State::Silent, due, out);
                    let retreat = Retreat { may_stay: true, brief: false };
                    self.retreat(due, Reason::AgentSilent, retreat);
                }
                _ => return,
            }
            self.send_decision(due, out);
        }
    }

    /// Forgets how far a search has come, and what is only kept to save work, on which it depends how
    /// far the next one comes.
    fn forget_round(&mut self) {
        (self.round, self.exhausted, self.extra) = (None, false, None);
        self.slots.iter_mut().flatten().for_each(Application::forget);
    }

    fn enter(&mut self, state: State, now: Instant, out: &mut Outputs) {
        let changed = self.state.mode() != state.mode();
        self.state = state;
        if changed {
            self.trace(now, TraceEvent::ModeChanged, state.mode() as u32, out);
        }
    }

    fn trace(&mut self, now: Instant, event: TraceEvent, argument: u32, out: &mut Outputs) {
        let Some(count) = self.events.get_mut(event as usize) else { return };
        *count = count.wrapping_add(1);
        let count = *count;
        push(out, ToHost::Trace(Trace { at_us: now.us(), event, count, argument }));
    }

    fn send_decision(&mut self, now: Instant, out: &mut Outputs) {
        self.work.decisions = self.work.decisions.wrapping_add(1);
        push(out, ToHost::Decision(self.decision(now)));
    }
}

impl Caps {
    fn of(policy: Option<&PolicyView<'_>>) -> Self {
        Self {
            power_mw: policy.map_or(NO_POWER_CAP, PolicyView::power_cap_mw),
            temp_mdeg_c: policy.map_or(NO_TEMP_CAP, PolicyView::temp_cap_mdeg_c),
            parking: false,
        }
    }
}

/// A step causes fewer messages than there is room for; one that did not fit would be seen as
/// missing by its receiver.
fn push(out: &mut Outputs, message: ToHost) {
    let _full = out.push(message);
}
