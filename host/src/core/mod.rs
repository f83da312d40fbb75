//! The agent's core: events in, actions out; no thread, no clock, no port.
//!
//! ```text
//!            LinkUp            Welcome fits             3 periods silent
//!   Down ------------> Greeting ----------> InSession ------------------> Silent
//!    ^                  |    ^                ^   |                        |  |
//!    | LinkDown, from   |    |  reset, or     |   +--- reset: Greeting     |  |
//!    | anywhere         |    |  fits now      +------ decisions again -----+  |
//!                       v    |                                                |
//!        Welcome      VersionsDiffer,        Greeting <--- 20 periods more ---+
//!        does not fit PoliciesDiffer
//! ```
//!
//! The **twin** is a controller of the agent's own. In session it is fed the very same frames as
//! the microcontroller; outside of one it goes on by itself, in the session it had. When a session
//! opens, both are told the applications and limits and are seeded with the twin's state, so that
//! nothing learned is lost and both start with the same digest.
//!
//! **Who decides**: the twin, until [`judge::EQUAL_TO_TRUST`] decisions in a row were equal; then
//! the microcontroller, until it is silent for [`SILENT_PERIODS`], leaves the session, or decides
//! differently on equal inputs. With [`Settings::remote`] unset there is no microcontroller and
//! the twin is the in-process controller.
//!
//! With [`Settings::upload_policy`] a microcontroller with another policy is sent the agent's:
//! see `upload.rs`.

pub mod batch;
mod decide;
mod event;
pub mod judge;
mod session;
pub mod twin;
mod upload;
mod view;

pub use event::{Action, Caps, Counters, Decider, Event, LinkState, Outcome, Settings};
pub use upload::{Upload, UploadStage};

use coshift_shared::frame::Frame;
use coshift_shared::packet::MAX_BODY;
use coshift_shared::policy::PolicyView;
use coshift_shared::reader::{FrameReader, Received};
use coshift_shared::session::{LinkCounters, Receiver, Sender};
use coshift_shared::to_controller::{
    Application, Change, Limits, Query, Question, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, Reason, Refusal, Status, ToHost, Welcome, WorkCounters};
use coshift_shared::units::{Age, MAX_APPLICATIONS, NO_LEVEL, slowdown};

use crate::clock::Time;
use crate::notice::Notice;
use crate::platform::{Reading, Readings};
use batch::Slot;
use decide::is_older;
use judge::Judge;
use session::Sessions;
use twin::Twin;

/// Periods without a decision of the microcontroller after which it is silent.
pub const SILENT_PERIODS: u32 = 3;
/// Periods between two questions for the microcontroller's counters.
const QUERY_PERIODS: u64 = 10;
/// Periods between two greetings of a microcontroller that does not fit, and of silence before a
/// new session is tried.
const PATIENCE_PERIODS: u64 = 20;
/// Least time between two telemetries, µs: a new application does not wait for its first decision
/// until the period is over, but many of them do not make a flood.
const LEAST_PERIOD_US: u64 = 20_000;

/// The agent's core.
#[derive(Debug)]
pub struct AgentCore<'p> {
    policy: PolicyView<'p>,
    settings: Settings,
    sessions: Sessions,
    twin: Twin<'p>,
    judge: Judge,
    slots: [Option<Slot>; MAX_APPLICATIONS],
    /// Slots that were ever in use: what a lost removal may have left behind.
    used: [bool; MAX_APPLICATIONS],
    /// Per slot that changed its application in this session: the number of the frame that said so,
    /// until a decision shows that the microcontroller took it in.
    handed_over: [Option<u16>; MAX_APPLICATIONS],
    /// When an Outcomes was last sent before its period was over.
    early_at: Option<Time>,

    link: LinkState,
    reader: FrameReader,
    receiver: Receiver,
    /// Numbers frames that go to the microcontroller, and in session to the twin.
    sender: Sender,
    /// Numbers frames that go to the twin alone.
    alone: Sender,
    /// The Hello sent last: opens the session of the twin too, once it is answered.
    last_hello: Option<Frame>,
    peer: Option<Welcome>,
    /// Announcements of the known boot in a row, while in session.
    announcements: u32,
    last_heard: Time,
    /// Periods since the link last changed its state.
    periods_in_state: u64,
    upload: Upload,
    resync_due: bool,
    /// Number of the first frame of the last state sent in this session beside its first.
    resync_seq: Option<u16>,
    resync_at: Option<Time>,
    mcu_link: Option<LinkCounters>,
    mcu_work: Option<WorkCounters>,

    decider: Decider,
    held: Option<Decision>,
    /// When the decision in force last became another, and why.
    changed: Option<(Time, Reason)>,
    latest_twin: Option<Decision>,
    counters: Counters,
    started: bool,
    frozen: bool,
    last_period: Time,
    next_period: Time,
}

impl<'p> AgentCore<'p> {
    /// A core of a board with this policy; nothing happens before the first [`AgentCore::poll`].
    #[must_use]
    pub fn new(policy: PolicyView<'p>, settings: Settings) -> Self {
        Self {
            policy,
            settings,
            sessions: Sessions::new(settings.session_seed),
            twin: Twin::new(policy, crate::VERSION, settings.boot_nonce),
            judge: Judge::default(),
            slots: Default::default(),
            used: [false; MAX_APPLICATIONS],
            handed_over: [None; MAX_APPLICATIONS],
            early_at: None,
            link: if settings.remote { LinkState::Down } else { LinkState::InProcess },
            reader: FrameReader::new(),
            receiver: Receiver::default(),
            sender: Sender::default(),
            alone: Sender::default(),
            last_hello: None,
            peer: None,
            announcements: 0,
            last_heard: Time::START,
            periods_in_state: 0,
            upload: Upload::default(),
            resync_due: false,
            resync_seq: None,
            resync_at: None,
            mcu_link: None,
            mcu_work: None,
            decider: if settings.remote { Decider::Twin } else { Decider::InProcess },
            held: None,
            changed: None,
            latest_twin: None,
            counters: Counters::default(),
            started: false,
            frozen: false,
            last_period: Time::START,
            next_period: Time::START,
        }
    }

    /// Takes in one event at `now`; `now` never goes back.
    pub fn poll(&mut self, now: Time, event: Event<'_>, out: &mut Vec<Action>) {
        if !self.started {
            self.started = true;
            self.next_period = now;
            self.start_twin(now, out);
        }
        match event {
            Event::Time => {}
            Event::LinkUp => self.greet(now, out),
            Event::LinkDown => self.link_down(now, out),
            Event::Bytes(bytes) => bytes.iter().for_each(|byte| self.byte(now, *byte, out)),
            Event::Period(readings) => self.period(now, readings, out),
            Event::Outcome(outcome) => self.outcome(now, &outcome, out),
            Event::Set { slot, targets } => self.set(now, slot, targets, out),
            Event::Caps(caps) => {
                self.settings.caps = caps;
                self.send_limits(now, out);
            }
            Event::Remove { slot } => self.remove(now, slot, out),
        }
        self.watch_silence(now, out);
        let answers = self.twin.poll(now.stamp());
        self.twin_answered(now, answers, out);
    }

    /// Keeps the first decision that serves every application, whatever is decided later.
    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    /// When [`Event::Period`] is due.
    #[must_use]
    pub fn next_period(&self) -> Time {
        self.next_period
    }

    /// When the core must be polled next, whatever happens before.
    #[must_use]
    pub fn next_wake(&self, now: Time) -> Time {
        let mut due = self.next_period;
        if self.link == LinkState::InSession {
            due = due.min(self.last_heard.after_us(self.silence_us()));
        }
        if let Some(at) = self.twin.next_poll() {
            due = due.min(now.after_us(u64::from(at.since(now.stamp()).us())));
        }
        due.max(now)
    }

    fn silence_us(&self) -> u64 {
        u64::from(self.settings.period.times(SILENT_PERIODS).us())
    }

    fn period(&mut self, now: Time, readings: &Readings, out: &mut Vec<Action>) {
        let period = u64::from(self.settings.period.us());
        self.last_period = now;
        self.next_period = self.next_period.after_us(period);
        if self.next_period <= now {
            self.counters.late_periods = self.counters.late_periods.wrapping_add(1);
            self.next_period = now.after_us(period);
        }
        self.periods_in_state = self.periods_in_state.saturating_add(1);
        let patience_over = self.periods_in_state.is_multiple_of(PATIENCE_PERIODS);
        match self.link {
            LinkState::Greeting => self.send_hello(now, out),
            LinkState::VersionsDiffer | LinkState::PoliciesDiffer if patience_over => {
                self.send_hello(now, out);
            }
            // Whatever became of it: a new session asks nothing of what it remembers.
            LinkState::Silent if patience_over => self.greet(now, out),
            _ => {}
        }
        self.upload_period(now, out);
        self.forget_old_hand_overs();
        self.flush(now, out);
        let telemetry = telemetry(now, readings);
        self.transmit(now, &ToController::Telemetry(telemetry), out);
        // Behind a telemetry, so that what is done from one telemetry to the next is the work of a seed or
        // that of a decision: none is made behind the seed up to the next telemetry, whose answer is what
        // stands.
        if self.resync_due {
            self.resync(now, out);
        }
        if self.in_session() && self.periods_in_state.is_multiple_of(QUERY_PERIODS / 2) {
            let link = self.periods_in_state.is_multiple_of(QUERY_PERIODS);
            let what = if link { Question::Link } else { Question::Work };
            let query = Query { at_us: now.stamp().us(), what };
            self.transmit(now, &ToController::Query(query), out);
        }
    }

    fn flush(&mut self, now: Time, out: &mut Vec<Action>) {
        for slot in 0..MAX_APPLICATIONS {
            self.flush_slot(now, slot, out);
        }
    }

    fn flush_slot(&mut self, now: Time, slot: usize, out: &mut Vec<Action>) {
        let number = u8::try_from(slot).unwrap_or(u8::MAX);
        let waiting = self.slots.get_mut(slot).and_then(Option::as_mut);
        if let Some(message) = waiting.and_then(|slot| slot.flush(number, now.stamp())) {
            self.transmit(now, &ToController::Outcomes(message), out);
        }
    }

    fn outcome(&mut self, now: Time, outcome: &Outcome, out: &mut Vec<Action>) {
        let place = usize::from(outcome.slot);
        let Some(slot) = self.slots.get_mut(place).and_then(Option::as_mut) else { return };
        let expected = self
            .policy
            .table(slot.targets.table)
            .and_then(|table| table.cell(outcome.sub_network, outcome.level));
        let sample = match expected {
            Some(cell) if outcome.learn => slowdown::to_wire(outcome.latency_us, cell.latency_us),
            _ => slowdown::NOT_LEARNED,
        };
        let cell = (outcome.sub_network, outcome.level);
        let full = slot.push(outcome.slot, cell, sample, outcome.missed, now.stamp());
        for message in full {
            self.transmit(now, &ToController::Outcomes(message), out);
        }
        // A missed deadline does not wait for the end of the period, but only one a period.
        let period = u64::from(self.settings.period.us());
        if outcome.missed && self.early_at.is_none_or(|at| now.us_since(at) >= period) {
            self.early_at = Some(now);
            self.flush_slot(now, place, out);
        }
    }

    fn set(&mut self, now: Time, slot: u8, targets: Targets, out: &mut Vec<Action>) {
        let place = usize::from(slot);
        let Some(known) = self.slots.get_mut(place) else { return };
        self.used[place] = true;
        match known {
            // What was learned stays when the table does, and the index goes on.
            Some(known) if known.targets.table == targets.table => known.targets = targets,
            _ => {
                *known = Some(Slot::new(targets));
                self.hand_over(place);
                let soon = self.last_period.after_us(LEAST_PERIOD_US).max(now);
                self.next_period = self.next_period.min(soon);
            }
        }
        self.send_application(now, slot, Change::Set(targets), out);
    }

    fn remove(&mut self, now: Time, slot: u8, out: &mut Vec<Action>) {
        let place = usize::from(slot);
        let Some(known) = self.slots.get_mut(place) else { return };
        if known.take().is_some() {
            self.hand_over(place);
            self.send_application(now, slot, Change::Remove, out);
        }
    }

    fn send_application(&mut self, now: Time, slot: u8, change: Change, out: &mut Vec<Action>) {
        let message = Application { at_us: now.stamp().us(), slot, change };
        self.transmit(now, &ToController::Application(message), out);
    }

    fn send_limits(&mut self, now: Time, out: &mut Vec<Action>) {
        let Caps { power_mw, temp_mdeg_c } = self.caps();
        let limits = Limits {
            at_us: now.stamp().us(),
            power_cap_mw: power_mw,
            temp_cap_mdeg_c: temp_mdeg_c,
            parking: self.settings.parking,
        };
        self.transmit(now, &ToController::Limits(limits), out);
    }

    /// Sends to the microcontroller and the twin alike while in session, to the twin alone
    /// otherwise.
    fn transmit(&mut self, now: Time, message: &ToController, out: &mut Vec<Action>) {
        let joint = self.in_session();
        let sender = if joint { &mut self.sender } else { &mut self.alone };
        match sender.to_controller(message) {
            Ok((_, frame)) => {
                if joint {
                    out.push(Action::Send(frame));
                }
                self.feed_twin(now, frame, out);
            }
            Err(fault) => out.push(Action::Notice(Notice::Unsendable(message.kind(), fault))),
        }
    }

    fn feed_twin(&mut self, now: Time, frame: Frame, out: &mut Vec<Action>) {
        out.push(Action::ToTwin(frame));
        let answers = self.twin.feed(&frame, now.stamp());
        self.twin_answered(now, answers, out);
    }

    fn byte(&mut self, now: Time, byte: u8, out: &mut Vec<Action>) {
        let mut body = [0; MAX_BODY];
        let (header, body) = match self.reader.feed(byte) {
            Received::Nothing => return,
            Received::Fault(fault) => return self.receiver.counters.count_fault(fault),
            Received::Packet(header, bytes) => {
                let Some(place) = body.get_mut(..bytes.len()) else { return };
                place.copy_from_slice(bytes);
                (header, &*place)
            }
        };
        let Some(kind) = self.receiver.kind(header) else { return };
        let message = match ToHost::decode(kind, body) {
            Ok(message) => message,
            Err(fault) => return self.receiver.count_body(fault),
        };
        if let ToHost::Welcome(welcome) = message {
            return self.welcome(now, header, &welcome, out);
        }
        if !self.receiver.take_in(header) {
            return;
        }
        if !self.in_session() {
            return self.upload_heard(now, &message, out);
        }
        self.announcements = 0;
        match message {
            ToHost::Decision(decision) => self.mcu_decided(now, &decision, out),
            ToHost::Status(Status::Link(counters)) => self.mcu_link = Some(counters),
            ToHost::Status(Status::Work(counters)) => self.mcu_work = Some(counters),
            ToHost::Refused(refused) => {
                // A frame before it was lost: the whole state goes over again, unless it did since.
                let since = self.resync_seq.is_some_and(|first| is_older(refused.seq, first));
                self.resync_due |=
                    !since && matches!(refused.why, Refusal::SeedOutOfOrder | Refusal::EmptySlot);
                out.push(Action::Notice(Notice::Refused { by: Decider::Mcu, refused }));
            }
            ToHost::Trace(trace) => out.push(Action::Notice(Notice::Trace(trace))),
            _ => {}
        }
    }

    fn in_session(&self) -> bool {
        matches!(self.link, LinkState::InSession | LinkState::Silent)
    }
}

fn telemetry(now: Time, readings: &Readings) -> Telemetry {
    fn age<T>(now: Time, reading: Option<&Reading<T>>) -> Age {
        reading.map_or(Age::MISSING, |reading| {
            Age::from_us(u32::try_from(now.us_since(reading.at)).unwrap_or(u32::MAX))
        })
    }
    Telemetry {
        at_us: now.stamp().us(),
        level: readings.level.unwrap_or(NO_LEVEL),
        clocks_mhz: readings.clocks_mhz,
        power_mw: readings.power_mw.as_ref().map_or(0, |reading| reading.value),
        power_age: age(now, readings.power_mw.as_ref()),
        gpu_load_permille: readings.gpu_load_permille.as_ref().map_or(0, |r| r.value),
        gpu_load_age: age(now, readings.gpu_load_permille.as_ref()),
        temperatures: readings.temperatures_mdeg_c.map(|reading| Temperature {
            mdeg_c: reading.map_or(0, |reading| reading.value),
            age: age(now, reading.as_ref()),
        }),
    }
}
