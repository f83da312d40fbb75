//! Carries a plan out.

use std::collections::HashMap;

use coshift_plant::board::Level;
use coshift_shared::units::MAX_APPLICATIONS;

use super::super::managers::{Event, Manager, Orders, Seen, Setting, When};
use super::plan::{Plan, Step};

/// The manager that does what a plan says.
#[derive(Debug)]
pub struct Planned<'s> {
    setting: Setting<'s>,
    steps: Vec<Step>,
    /// Where a request stands in `steps`.
    places: HashMap<(usize, usize), usize>,
    parked_after: bool,
    /// The step that comes next.
    next: usize,
    clocks: Level,
    /// Whether the next request waits for its clocks.
    waits: bool,
    /// Clocks asked for at a time, µs.
    later: Option<(u64, Level)>,
}

impl<'s> Planned<'s> {
    /// At the start of the plan.
    #[must_use]
    pub fn new(setting: Setting<'s>, plan: &Plan) -> Self {
        let places =
            plan.steps.iter().enumerate().map(|(place, step)| (step.request, place)).collect();
        let mut planned = Self {
            setting,
            steps: plan.steps.clone(),
            places,
            parked_after: plan.parked_after,
            next: 0,
            clocks: setting.levels()[0],
            waits: false,
            later: None,
        };
        planned.prepare(0);
        planned
    }

    /// Nothing runs from now on: clocks for the next request.
    fn prepare(&mut self, now_us: u64) {
        let board = &self.setting.scenario.board;
        let park = board.park_level.map(|park| board.levels[park]);
        self.later = None;
        let Some(step) = self.steps.get(self.next) else {
            if let Some(park) = park.filter(|_| self.parked_after) {
                self.clocks = park;
            }
            return;
        };
        let run = board.levels[step.level];
        self.waits = step.waits;
        let (application, index) = step.request;
        let release = self.setting.instance.requests[application][index].release_us;
        if let Some(park) = park.filter(|_| step.parked) {
            self.clocks = park;
        }
        let at = step.ask_before_us.map_or(now_us, |before| release.saturating_sub(before.into()));
        self.later = Some((at, run));
        self.wake(now_us);
    }

    fn wake(&mut self, now_us: u64) {
        if let Some((_, clocks)) = self.later.take_if(|(at, _)| *at <= now_us) {
            self.clocks = clocks;
        }
    }
}

impl Manager for Planned<'_> {
    fn next_us(&self) -> Option<u64> {
        self.later.map(|(at, _)| at)
    }

    fn take(&mut self, seen: &Seen<'_>, event: Event) {
        match event {
            Event::Time => self.wake(seen.now_us),
            Event::Done(done) => {
                let place = self.places.get(&(done.application, done.index));
                self.next = place.map_or(self.next, |place| place + 1);
                self.prepare(seen.now_us);
            }
            _ => {}
        }
    }

    fn orders(&self) -> Orders {
        let sub_networks = [Some(0); MAX_APPLICATIONS];
        let (clocks, when) = (self.clocks, When::BetweenRequests);
        Orders { clocks, when, park: None, waits: self.waits, sub_networks }
    }

    fn sub_network(&mut self, application: usize, index: usize) -> Option<usize> {
        let place = self.places.get(&(application, index));
        let step = place.and_then(|place| self.steps.get(*place));
        // A request that the plan's order never served: what is cheapest.
        Some(step.map_or(0, |step| step.sub_network))
    }
}
