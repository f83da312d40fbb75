//! The agent without threads: requests, engine, board and core, driven by time and inputs.
//!
//! [`Runtime::poll`] takes what happened and returns what is to be done. `coshift run` drives it in
//! real time with threads around it ([`crate::service`]), tests in virtual time
//! ([`crate::simulation`]). Nothing here waits for the controller: requests run with the last
//! valid decision.

use std::sync::Arc;

use coshift_shared::frame::Frame;
use coshift_shared::units::{MAX_APPLICATIONS, NO_LEVEL, NO_SUB_NETWORK};

use crate::clock::Time;
use crate::core::{Action, AgentCore, Caps, Event, Outcome};
use crate::engine::{Adapted, EngineFault, Job, Ran};
use crate::notice::Notice;
use crate::platform::{Platform, Readings};
use crate::quantiles::Quantiles;
use crate::queue::{Request, Source};
use crate::spec::{ApplicationSpec, SpecFault};
use crate::trace::{Ending, Finished};

/// First wait after the board refused a level, µs; doubles up to [`MAX_RETRY_US`].
const FIRST_RETRY_US: u64 = 100_000;
/// Longest wait between two tries, µs.
const MAX_RETRY_US: u64 = 10_000_000;

/// How much earlier than its clocks need the board is woken from parking, µs: what a timer may be
/// late by.
const WAKE_SLACK_US: u64 = 2_000;

/// What happens to the runtime.
#[derive(Debug, Clone, Copy)]
pub enum Input<'i> {
    /// Nothing but time: [`Runtime::next_wake`] was reached.
    Time,
    /// The link can carry frames.
    LinkUp,
    /// The link is gone.
    LinkDown,
    /// Bytes arrived from the microcontroller.
    Bytes(&'i [u8]),
    /// The job of [`Effect::Run`] is over.
    Done(&'i Result<Ran, EngineFault>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send to the microcontroller.
    Send(Frame),
    /// A frame to the twin, for the log.
    ToTwin(Frame),
    /// A frame of the twin, for the log.
    FromTwin(Frame),
    /// Run this job; its end comes back as [`Input::Done`].
    Run(Job),
    /// A request is over, for the trace.
    Finished(Finished),
    /// Say this.
    Notice(Notice),
    /// A control period is over: time for a report.
    Period,
}

impl From<Action> for Effect {
    fn from(action: Action) -> Self {
        match action {
            Action::Send(frame) => Self::Send(frame),
            Action::ToTwin(frame) => Self::ToTwin(frame),
            Action::FromTwin(frame) => Self::FromTwin(frame),
            Action::Notice(notice) => Self::Notice(notice),
        }
    }
}

/// Why an application cannot be set or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationFault {
    /// Its specification is wrong.
    #[error(transparent)]
    Spec(#[from] SpecFault),
    /// All slots are in use.
    #[error("application {name}: all {MAX_APPLICATIONS} slots are in use, by {used}")]
    Full {
        /// The application.
        name: String,
        /// Those that are there.
        used: String,
    },
    /// There is none of that name.
    #[error("no application \"{name}\"; there are {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Those that are there.
        known: String,
    },
}

/// One application with its statistics.
#[derive(Debug)]
pub struct Served {
    /// Name, shared with the jobs.
    pub name: Arc<str>,
    /// As asked for.
    pub spec: ApplicationSpec,
    /// Application table of the policy.
    pub table: u8,
    /// Its requests.
    pub source: Source,
    /// Requests released.
    pub requests: u64,
    /// Requests served.
    pub done: u64,
    /// Requests served after their deadline, and dropped or failed ones.
    pub misses: u64,
    /// Of those served, requests that this machine finished late although the virtual board would
    /// not have: they are no misses.
    pub late_by_host: u64,
    /// Inferences that failed.
    pub failed: u64,
    /// Latency of inferences, µs.
    pub latency: Quantiles,
    /// From release to end, µs.
    pub response: Quantiles,
    /// Time this machine inferred, µs, where it did.
    pub wall: Quantiles,
    /// Images inferred.
    pub images: u64,
    /// Of these, images whose label was found.
    pub right: u64,
    /// Of these, images that left at an early exit.
    pub early: u64,
    /// Its model's, where that was adapted.
    pub adaptation: Option<Adaptation>,
    /// When its targets were set last.
    pub set_at: Time,
}

/// How the model of an application was adapted to its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adaptation {
    /// What is in use.
    pub adapted: Adapted,
    /// When the first inference with it ended.
    pub at: Time,
    /// Images inferred since the first adaptation.
    pub images: u64,
    /// Of these, images whose label was found.
    pub right: u64,
}

/// The job that runs.
#[derive(Debug, Clone)]
struct Running {
    job: Job,
    request: Request,
    settled: bool,
}

/// The agent without threads.
#[derive(Debug)]
pub struct Runtime<'p, P> {
    core: AgentCore<'p>,
    platform: P,
    served: [Option<Served>; MAX_APPLICATIONS],
    running: Option<Running>,
    numbers: u64,
    readings: Readings,
    /// Level asked of the board last.
    asked_level: Option<u8>,
    /// Run level asked of it last, whatever it was parked at since.
    run_level: Option<u8>,
    level_changes: u64,
    parks: u64,
    retry_at: Time,
    retry_us: u64,
    /// When the board, by its own time, is done with what it ran.
    board_free: Time,
    /// When caps were set last.
    caps_at: Time,
    energy_mj: Option<u64>,
    dropped: Vec<Request>,
    actions: Vec<Action>,
}

impl<'p, P: Platform> Runtime<'p, P> {
    /// A runtime without applications.
    #[must_use]
    pub fn new(core: AgentCore<'p>, platform: P) -> Self {
        Self {
            core,
            platform,
            served: Default::default(),
            running: None,
            numbers: 0,
            readings: Readings::default(),
            asked_level: None,
            run_level: None,
            level_changes: 0,
            parks: 0,
            retry_at: Time::START,
            retry_us: FIRST_RETRY_US,
            board_free: Time::START,
            caps_at: Time::START,
            energy_mj: None,
            dropped: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Takes in what happened at `now`; `now` never goes back.
    pub fn poll(&mut self, now: Time, input: Input<'_>, out: &mut Vec<Effect>) {
        match input {
            Input::Time => self.tell(now, Event::Time, out),
            Input::LinkUp => self.tell(now, Event::LinkUp, out),
            Input::LinkDown => self.tell(now, Event::LinkDown, out),
            Input::Bytes(bytes) => self.tell(now, Event::Bytes(bytes), out),
            Input::Done(result) => self.done(now, result, out),
        }
        self.release(now, out);
        if now >= self.core.next_period() {
            self.readings = self.platform.read(now);
            self.energy_mj = self.platform.energy_mj(now);
            let readings = self.readings;
            self.tell(now, Event::Period(&readings), out);
            out.push(Effect::Period);
        }
        if self.running.is_none() {
            self.apply_level(now, out);
            self.start_next(now, out);
        }
    }

    /// When [`Runtime::poll`] is due, whatever happens before.
    #[must_use]
    pub fn next_wake(&self, now: Time) -> Time {
        let mut due = self.core.next_wake(now);
        for served in self.served.iter().flatten() {
            due = due.min(served.source.next_release());
        }
        if self.running.is_none() && self.wanted_level(now).is_some() {
            due = due.min(self.retry_at);
        }
        if let Some(wake) = self.wake_at().filter(|_| self.parked()) {
            due = due.min(wake);
        }
        due.max(now)
    }

    fn tell(&mut self, now: Time, event: Event<'_>, out: &mut Vec<Effect>) {
        self.core.poll(now, event, &mut self.actions);
        out.extend(self.actions.drain(..).map(Effect::from));
    }

    fn release(&mut self, now: Time, out: &mut Vec<Effect>) {
        for (slot, served) in self.served.iter_mut().enumerate() {
            let Some(served) = served else { continue };
            let source = &mut served.source;
            served.requests += source.release(now, &mut self.numbers, &mut self.dropped);
            served.misses += self.dropped.len() as u64;
            for request in self.dropped.drain(..) {
                let slot = u8::try_from(slot).unwrap_or(u8::MAX);
                let ending = Ending::Dropped;
                let application = Arc::clone(&served.name);
                let finished = Finished { at: now, application, slot, request, ending };
                out.push(Effect::Finished(finished));
            }
        }
    }

    /// The level the board should have now, where it is not the one asked of it already.
    fn wanted_level(&self, now: Time) -> Option<u8> {
        let decision = self.core.decision()?;
        let wanted = if self.parks_now(now) { decision.park_level } else { decision.run_level };
        (self.asked_level != Some(wanted)).then_some(wanted)
    }

    /// Time from asking for the run level out of the park level to its being safely in force, µs;
    /// `None` where the decision parks nowhere.
    fn wake_us(&self) -> Option<u64> {
        let decision = self.core.decision()?;
        let policy = self.core.policy();
        let (park, run) = (policy.level(decision.park_level)?, policy.level(decision.run_level)?);
        let settle_us = u64::from(policy.settle().between(&park, &run));
        (decision.park_level != decision.run_level).then_some(settle_us + WAKE_SLACK_US)
    }

    /// When a parked board must be asked for its run level again.
    fn wake_at(&self) -> Option<Time> {
        let releases = self.served.iter().flatten().map(|served| served.source.next_release());
        Some(Time::from_us(releases.min()?.us().saturating_sub(self.wake_us()?)))
    }

    /// Whether the board is at the park level.
    fn parked(&self) -> bool {
        let park = self.core.decision().map(|decision| decision.park_level);
        self.asked_level.is_some() && self.asked_level == park && self.asked_level != self.run_level
    }

    /// Whether the board should be at the park level now: nothing waits, and the next release is far
    /// enough for two changes of clocks to pay.
    fn parks_now(&self, now: Time) -> bool {
        let idle = self.running.is_none()
            && self.served.iter().flatten().all(|served| served.source.first().is_none());
        let Some((wake, wake_us)) = self.wake_at().zip(self.wake_us()).filter(|_| idle) else {
            return false;
        };
        if self.parked() { now < wake } else { now.after_us(wake_us) < wake }
    }

    /// Clocks change between inferences, so that each runs at one level.
    fn apply_level(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(level) = self.wanted_level(now).filter(|_| now >= self.retry_at) else { return };
        match self.platform.apply(level, now) {
            Ok(()) => {
                self.asked_level = Some(level);
                if self.core.decision().is_some_and(|decision| decision.run_level == level) {
                    self.level_changes += u64::from(self.run_level != Some(level));
                    self.run_level = Some(level);
                } else {
                    self.parks += 1;
                }
                self.retry_us = FIRST_RETRY_US;
            }
            Err(fault) => {
                // Once a cause: the first refusal after it worked.
                if self.retry_us == FIRST_RETRY_US {
                    out.push(Effect::Notice(Notice::Platform(fault.to_string())));
                }
                self.retry_at = now.after_us(self.retry_us);
                self.retry_us = (self.retry_us * 2).min(MAX_RETRY_US);
            }
        }
    }

    /// Starts the request with the earliest deadline among the applications that have a
    /// sub-network.
    fn start_next(&mut self, now: Time, out: &mut Vec<Effect>) {
        let Some(decision) = self.core.decision() else { return };
        let next = self
            .served
            .iter()
            .zip(decision.sub_networks)
            .enumerate()
            .filter(|(_, (_, sub_network))| *sub_network != NO_SUB_NETWORK)
            .filter_map(|(slot, (served, sub_network))| {
                let first = served.as_ref()?.source.first()?;
                Some((first.deadline, slot, sub_network))
            })
            .min();
        let Some((_, slot, sub_network)) = next else { return };
        let achieved = self.platform.achieved(now);
        let Some(served) = self.served.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(request) = served.source.take() else { return };
        let job = Job {
            request: request.number,
            application: Arc::clone(&served.name),
            slot: u8::try_from(slot).unwrap_or(u8::MAX),
            table: served.table,
            sub_network,
            level: achieved.level,
            next: achieved.next,
            start: now,
        };
        self.platform.started(&job, now);
        self.running = Some(Running { job: job.clone(), request, settled: achieved.settled });
        out.push(Effect::Run(job));
    }

    fn done(&mut self, now: Time, result: &Result<Ran, EngineFault>, out: &mut Vec<Effect>) {
        let Some(Running { job, request, settled }) = self.running.take() else { return };
        let level = self.platform.achieved(now).level;
        let took_us = u32::try_from(now.us_since(job.start)).unwrap_or(u32::MAX);
        self.platform.worked(&job, result.as_ref().map_or(took_us, |ran| ran.latency_us), now);
        let Some(served) = self
            .served
            .get_mut(usize::from(job.slot))
            .and_then(Option::as_mut)
            // Another application may have taken the slot meanwhile.
            .filter(|served| Arc::ptr_eq(&served.name, &job.application))
        else {
            return;
        };
        let finished = |ending| {
            let (application, slot) = (Arc::clone(&job.application), job.slot);
            Effect::Finished(Finished { at: now, application, slot, request, ending })
        };
        let ran = match result {
            Ok(ran) => *ran,
            Err(fault) => {
                served.failed += 1;
                served.misses += 1;
                out.push(finished(Ending::Failed));
                if served.failed == 1 {
                    out.push(Effect::Notice(Notice::Engine(fault.to_string())));
                }
                return;
            }
        };
        // The time waited, and the latency as the engine says it.
        let latency_us = u64::from(ran.latency_us);
        let wall_us = job.start.us_since(request.release).saturating_add(latency_us);
        let deadline_us = request.deadline.us_since(request.release);
        let mut response_us = wall_us;
        if self.platform.models_time() {
            self.board_free = request.release.max(self.board_free).after_us(latency_us);
            response_us = self.board_free.us_since(request.release);
            // Never later than it was: a board that was free waits for nobody.
            if response_us > wall_us {
                self.board_free = request.release.after_us(wall_us);
                response_us = wall_us;
            }
        }
        let missed = response_us > deadline_us;
        served.count(now, &ran, response_us, missed);
        served.late_by_host += u64::from(wall_us > deadline_us && !missed);
        out.push(finished(Ending::Served {
            start: job.start,
            sub_network: job.sub_network,
            level: job.level,
            settled,
            response_us,
            missed,
            ran,
        }));
        // The settle window is part of the latency where it was not over at the start; clocks that
        // someone else changed meanwhile belong to no cell.
        let steady = job.level.is_some() && (level == job.level || !settled);
        let outcome = Outcome {
            slot: job.slot,
            sub_network: job.sub_network,
            level: if steady { job.level.unwrap_or(NO_LEVEL) } else { NO_LEVEL },
            latency_us: ran.latency_us,
            learn: settled && steady,
            missed,
        };
        self.tell(now, Event::Outcome(outcome), out);
    }
}

impl Served {
    fn count(&mut self, now: Time, ran: &Ran, response_us: u64, missed: bool) {
        self.done += 1;
        self.misses += u64::from(missed);
        self.latency.add(ran.latency_us);
        self.response.add(u32::try_from(response_us).unwrap_or(u32::MAX));
        self.images += u64::from(ran.images);
        self.right += u64::from(ran.right);
        self.early += u64::from(ran.early);
        if ran.adapted.times > 0 {
            let adapted = ran.adapted;
            let first = Adaptation { adapted, at: now, images: 0, right: 0 };
            let adaptation = self.adaptation.get_or_insert(first);
            if adaptation.adapted != adapted {
                (adaptation.adapted, adaptation.at) = (adapted, now);
            }
            adaptation.images += u64::from(ran.images);
            adaptation.right += u64::from(ran.right);
        }
        if ran.images > 0 {
            self.wall.add(ran.wall_us);
        }
    }
}

/// Applications.
impl<P: Platform> Runtime<'_, P> {
    /// Adds an application or changes the one of its name.
    ///
    /// # Errors
    /// [`ApplicationFault`]; nothing is changed then.
    pub fn set_application(
        &mut self,
        now: Time,
        argument: &str,
        spec: ApplicationSpec,
        out: &mut Vec<Effect>,
    ) -> Result<(), ApplicationFault> {
        let targets = spec.targets(argument, self.core.policy())?;
        let of_name =
            |served: &Option<Served>| served.as_ref().is_some_and(|s| *s.name == *spec.name);
        let known = self.served.iter().position(of_name);
        let Some(slot) = known.or_else(|| self.served.iter().position(Option::is_none)) else {
            return Err(ApplicationFault::Full { name: spec.name, used: self.names() });
        };
        let place = &mut self.served[slot];
        match place {
            Some(served) if served.table == targets.table => {
                served.source.change(spec.period_us, spec.deadline_us);
                served.spec = spec;
                served.set_at = now;
            }
            _ => {
                *place = Some(Served {
                    name: spec.name.as_str().into(),
                    table: targets.table,
                    source: Source::new(now, spec.period_us, spec.deadline_us),
                    spec,
                    requests: 0,
                    done: 0,
                    misses: 0,
                    late_by_host: 0,
                    failed: 0,
                    latency: Quantiles::default(),
                    response: Quantiles::default(),
                    wall: Quantiles::default(),
                    images: 0,
                    right: 0,
                    early: 0,
                    adaptation: None,
                    set_at: now,
                });
            }
        }
        let slot = u8::try_from(slot).unwrap_or(u8::MAX);
        self.tell(now, Event::Set { slot, targets }, out);
        Ok(())
    }

    /// Removes an application; its waiting requests are forgotten.
    ///
    /// # Errors
    /// [`ApplicationFault::Unknown`].
    pub fn remove_application(
        &mut self,
        now: Time,
        name: &str,
        out: &mut Vec<Effect>,
    ) -> Result<(), ApplicationFault> {
        let of_name = |served: &Option<Served>| served.as_ref().is_some_and(|s| *s.name == *name);
        let Some(slot) = self.served.iter().position(of_name) else {
            let name = crate::inputs::printable(name);
            return Err(ApplicationFault::Unknown { name, known: self.names() });
        };
        self.served[slot] = None;
        let slot = u8::try_from(slot).unwrap_or(u8::MAX);
        self.tell(now, Event::Remove { slot }, out);
        Ok(())
    }

    /// Other caps beside those of the policy, from now on.
    pub fn set_caps(&mut self, now: Time, caps: Caps, out: &mut Vec<Effect>) {
        self.caps_at = now;
        self.tell(now, Event::Caps(caps), out);
    }

    /// Keeps the first decision that serves every application, whatever is decided later: what
    /// happens without a controller, for tests and demonstrations.
    pub fn freeze(&mut self) {
        self.core.freeze();
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.served.iter().flatten().map(|s| s.name.as_ref()).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

/// What the status shows.
impl<'p, P: Platform> Runtime<'p, P> {
    /// The core.
    #[must_use]
    pub fn core(&self) -> &AgentCore<'p> {
        &self.core
    }

    /// The applications, by slot.
    #[must_use]
    pub fn served(&self) -> &[Option<Served>; MAX_APPLICATIONS] {
        &self.served
    }

    /// The readings of the last period.
    #[must_use]
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Level changes made on the board.
    #[must_use]
    pub fn level_changes(&self) -> u64 {
        self.level_changes
    }

    /// How often the board was parked between requests.
    #[must_use]
    pub fn parks(&self) -> u64 {
        self.parks
    }

    /// When caps were set last.
    #[must_use]
    pub fn caps_at(&self) -> Time {
        self.caps_at
    }

    /// Energy of the whole board at the last period, mJ, where the board's model counts it.
    #[must_use]
    pub fn energy_mj(&self) -> Option<u64> {
        self.energy_mj
    }

    /// The board.
    #[must_use]
    pub fn platform(&self) -> &P {
        &self.platform
    }
}
