//! Virtual time around the runtime: the agent, a scripted engine and a link to anything.

use crate::clock::Time;
use crate::engine::{EngineFault, Ran, ScriptedEngine};
use crate::notice::Notice;
use crate::platform::Platform;
use crate::runtime::{Effect, Input, Runtime};
use crate::trace::Finished;

/// A link in virtual time, with whatever is at its other end.
pub trait VirtualLink {
    /// The agent sends these bytes at `now`.
    fn send(&mut self, now: Time, bytes: &[u8]);

    /// Lets the other end live up to `now` and appends the bytes that reach the agent by then.
    fn advance(&mut self, now: Time, received: &mut Vec<u8>);

    /// When [`VirtualLink::advance`] is due; `None` while nothing will happen by itself.
    fn next_event(&self) -> Option<Time>;

    /// Whether the port is there.
    fn is_up(&self) -> bool {
        true
    }
}

/// No link: the controller is in the agent.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLink;

impl VirtualLink for NoLink {
    fn send(&mut self, _now: Time, _bytes: &[u8]) {}

    fn advance(&mut self, _now: Time, _received: &mut Vec<u8>) {}

    fn next_event(&self) -> Option<Time> {
        None
    }

    fn is_up(&self) -> bool {
        false
    }
}

/// An agent in virtual time.
#[derive(Debug)]
pub struct Simulation<'p, P, L> {
    /// The agent.
    pub runtime: Runtime<'p, P>,
    /// What runs the requests.
    pub engine: ScriptedEngine,
    /// The link and the other end.
    pub link: L,
    /// Everything the agent said, with the time.
    pub notices: Vec<(Time, Notice)>,
    /// Every request that is over.
    pub finished: Vec<Finished>,
    now: Time,
    up: bool,
    finish: Option<(Time, Result<Ran, EngineFault>)>,
}

impl<'p, P: Platform, L: VirtualLink> Simulation<'p, P, L> {
    /// An agent at its start.
    #[must_use]
    pub fn new(runtime: Runtime<'p, P>, engine: ScriptedEngine, link: L) -> Self {
        Self {
            runtime,
            engine,
            link,
            notices: Vec::new(),
            finished: Vec::new(),
            now: Time::START,
            up: false,
            finish: None,
        }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Runs until `end`; `period` is called after each control period.
    pub fn run_until(&mut self, end: Time, mut period: impl FnMut(Time, &Runtime<'p, P>, &mut L)) {
        loop {
            self.step(&mut period);
            let finish = self.finish.as_ref().map(|(at, _)| *at);
            let next = [Some(self.runtime.next_wake(self.now)), self.link.next_event(), finish]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            // A wake that is due now and changes nothing must not stop the time.
            self.now = next.max(self.now.after_us(1));
        }
    }

    /// Does what is due now.
    fn step(&mut self, period: &mut impl FnMut(Time, &Runtime<'p, P>, &mut L)) {
        let mut received = Vec::new();
        self.link.advance(self.now, &mut received);
        let up = self.link.is_up();
        if up != self.up {
            self.up = up;
            self.poll(if up { Input::LinkUp } else { Input::LinkDown }, period);
        }
        if !received.is_empty() {
            self.poll(Input::Bytes(&received), period);
        }
        let finished = self.finish.take_if(|(at, _)| *at <= self.now);
        if let Some((_, result)) = finished {
            self.poll(Input::Done(&result), period);
        }
        self.poll(Input::Time, period);
    }

    fn poll(&mut self, input: Input<'_>, period: &mut impl FnMut(Time, &Runtime<'p, P>, &mut L)) {
        let mut effects = Vec::new();
        self.runtime.poll(self.now, input, &mut effects);
        self.carry_out(effects, period);
    }

    /// Carries out effects that a call of the runtime beside [`Runtime::poll`] returned.
    pub fn apply(&mut self, effects: Vec<Effect>) {
        self.carry_out(effects, &mut |_, _, _| {});
    }

    fn carry_out(
        &mut self,
        effects: Vec<Effect>,
        period: &mut impl FnMut(Time, &Runtime<'p, P>, &mut L),
    ) {
        for effect in effects {
            match effect {
                Effect::Send(frame) if self.up => self.link.send(self.now, frame.bytes()),
                Effect::Run(job) => {
                    let result = self.engine.latency_us(&job).map(Ran::of_latency);
                    let latency_us = result.as_ref().map_or(0, |ran| u64::from(ran.latency_us));
                    self.finish = Some((self.now.after_us(latency_us), result));
                }
                Effect::Finished(finished) => self.finished.push(finished),
                Effect::Notice(notice) => self.notices.push((self.now, notice)),
                Effect::Period => period(self.now, &self.runtime, &mut self.link),
                Effect::Send(_) | Effect::ToTwin(_) | Effect::FromTwin(_) => {}
            }
        }
    }
}
