//! The loop: what happens next, on the board, in the queues, in the scenario.

use std::collections::VecDeque;
use std::fmt;

use coshift_host::platform::Readings;
use coshift_host::queue::MAX_WAITING;
use coshift_plant::board::Level;
use coshift_plant::machine::{self, Knob, Machine, Phase, Trail, Work};

use super::super::managers::{Done, Event, Manager, Orders, Seen, When};
use super::super::scenario::{Instance, Request, Scenario};
use super::heat::Heat;
use super::parking::{Outlook, WAKE_SLACK_US, settle_us};
use super::sensors::Sensors;

/// How long after the end waiting requests are still served, µs.
const AFTER_US: u64 = 10_000_000;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It ran.
    Served {
        /// When it started, µs.
        start_us: u64,
        /// When it was done, µs.
        end_us: u64,
        /// What ran.
        sub_network: usize,
        /// Clocks in force at its start.
        clocks: Level,
        /// Whether they were settled then and held to the end.
        steady: bool,
    },
    /// It never ran: too many waited, or nothing served it.
    Dropped,
}

/// A request with its ending.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// The request.
    pub request: Request,
    /// How it ended.
    pub ending: Ending,
}

impl Record {
    /// From release to end, µs; `None` where it never ran.
    #[must_use]
    pub fn response_us(&self) -> Option<u64> {
        match self.ending {
            Ending::Served { end_us, .. } => Some(end_us - self.request.release_us),
            Ending::Dropped => None,
        }
    }

    /// Whether it was not done by its deadline.
    #[must_use]
    pub fn missed(&self) -> bool {
        self.response_us().is_none_or(|us| us > u64::from(self.request.deadline_us))
    }
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Requests of each application in the order of their release.
    pub records: Vec<Vec<Record>>,
    /// Applications and places of the requests in the order in which they ran.
    pub order: Vec<(usize, usize)>,
    /// The board's trail.
    pub trail: Trail,
    /// Changes of the clocks while requests are served, parking not counted.
    pub level_switches: u64,
    /// How often the board was parked.
    pub parks: u64,
    /// Changes of the sub-network, by application.
    pub sub_network_switches: Vec<u64>,
}

/// Why a run is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorldError(pub String);

impl fmt::Display for WorldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WorldError {}

struct Queue {
    /// Requests released so far.
    released: usize,
    waiting: VecDeque<usize>,
    targets: usize,
    endings: Vec<Ending>,
    last: Option<usize>,
    switches: u64,
}

#[derive(Clone, Copy)]
struct Running {
    application: usize,
    index: usize,
    start_us: u64,
    sub_network: usize,
    clocks: Level,
    settled: bool,
}

struct World<'s> {
    scenario: &'s Scenario,
    instance: &'s Instance,
    machine: Machine,
    sensors: Sensors,
    heat: Heat,
    queues: Vec<Queue>,
    limits: usize,
    running: Option<Running>,
    /// Clocks asked for while serving, and whether the board is parked.
    run_clocks: Option<Level>,
    parked: bool,
    /// Clocks settle after parking: a request waits for them.
    waking: bool,
    level_switches: u64,
    parks: u64,
    order: Vec<(usize, usize)>,
    readings: Readings,
    /// Mean distance of requests whose release is not known, µs.
    unknown_us: Option<f64>,
    /// When a pin starts or ends, ascending.
    pin_edges: Vec<u64>,
}

/// Serves a scenario.
///
/// The board starts idle at the first of its levels.
///
/// # Errors
/// [`WorldError`] where the manager gave up.
pub fn run(
    scenario: &Scenario,
    instance: &Instance,
    manager: &mut dyn Manager,
) -> Result<Run, WorldError> {
    let mut world = World::new(scenario, instance);
    let end = scenario.end_us;
    loop {
        let now = world.machine.now_us();
        world.scenario_changes(manager);
        world.release(manager);
        if manager.next_us().is_some_and(|at| at <= now) {
            world.tell(manager, Event::Time);
        }
        world.obey(manager);
        if let Some(fault) = manager.fault() {
            return Err(WorldError(fault));
        }
        let idle = world.running.is_none() && world.queues.iter().all(|q| q.waiting.is_empty());
        if now >= end && (idle || now >= end + AFTER_US) {
            return Ok(world.done());
        }
        let until = world.next_us(manager).max(now + 1);
        while let Some(event) = world.machine.advance(until) {
            world.happened(event, manager);
            if world.running.is_none()
                || manager.next_us().is_some_and(|at| at <= world.machine.now_us())
            {
                break;
            }
            world.obey(manager);
        }
    }
}

impl<'s> World<'s> {
    fn new(scenario: &'s Scenario, instance: &'s Instance) -> Self {
        let board = &scenario.board;
        let first = board.levels[0];
        let table: Vec<u32> = match &board.clocks {
            Some(tables) => tables.gpu_khz.clone(),
            None => {
                let mut clocks: Vec<_> = board.levels.iter().map(|level| level.gpu_khz).collect();
                clocks.dedup();
                clocks
            }
        };
        let queue = |requests: &Vec<Request>| Queue {
            released: 0,
            waiting: VecDeque::new(),
            targets: 0,
            endings: vec![Ending::Dropped; requests.len()],
            last: None,
            switches: 0,
        };
        let rates =
            scenario.applications.iter().filter(|application| !application.releases_known());
        let rate: f64 = rates.map(|a| 1.0 / f64::from(a.period_us(scenario.end_us))).sum();
        let mut pin_edges: Vec<u64> =
            scenario.pins.iter().flat_map(|pin| [pin.from_us, pin.to_us]).collect();
        pin_edges.sort_unstable();
        Self {
            machine: Machine::new(board, first),
            sensors: Sensors::new(instance.seed, &scenario.losses, &board.levels),
            heat: Heat::new(&table, board.thermal.throttle_c),
            queues: instance.requests.iter().map(queue).collect(),
            limits: 0,
            running: None,
            run_clocks: None,
            parked: false,
            waking: false,
            level_switches: 0,
            parks: 0,
            order: Vec::with_capacity(instance.count()),
            readings: Readings::default(),
            unknown_us: (rate > 0.0).then(|| rate.recip()),
            pin_edges,
            scenario,
            instance,
        }
    }

    fn tell(&mut self, manager: &mut dyn Manager, event: Event) {
        // Sensors are read when somebody may look at them.
        if event == Event::Time {
            self.readings = self.sensors.read(&self.machine);
        }
        let machine = &self.machine;
        let seen = Seen {
            now_us: machine.now_us(),
            clocks: machine.clocks(),
            cpu_busy: machine.phase() == Phase::Launch,
            gpu_busy_us: machine.gpu_busy_us(),
            readings: &self.readings,
        };
        manager.take(&seen, event);
    }

    /// Targets, caps, pins and heat that are due.
    fn scenario_changes(&mut self, manager: &mut dyn Manager) {
        let now = self.machine.now_us();
        for application in 0..self.queues.len() {
            let targets = &self.scenario.applications[application].targets;
            let due = |queue: &Queue| {
                targets.get(queue.targets + 1).is_some_and(|targets| targets.at_us <= now)
            };
            while due(&self.queues[application]) {
                self.queues[application].targets += 1;
                self.tell(manager, Event::Targets { application });
            }
        }
        while let Some(limits) = self.scenario.limits.get(self.limits + 1) {
            if limits.at_us > now {
                break;
            }
            self.limits += 1;
            self.tell(manager, Event::Limits(*limits));
        }
        if now >= self.heat.next_us {
            let before = self.heat.highest_khz();
            self.heat.poll(now, self.machine.trail().temp_at(now));
            if before != self.heat.highest_khz() {
                self.write();
            }
        }
        let mut pins = false;
        while self.pin_edges.first().is_some_and(|at| *at <= now) {
            self.pin_edges.remove(0);
            pins = true;
        }
        if pins {
            self.write();
        }
    }

    fn release(&mut self, manager: &mut dyn Manager) {
        let now = self.machine.now_us();
        for application in 0..self.queues.len() {
            while self.next_release(application).is_some_and(|at| at <= now) {
                let queue = &mut self.queues[application];
                if queue.waiting.len() == MAX_WAITING {
                    queue.waiting.pop_front();
                }
                queue.waiting.push_back(queue.released);
                queue.released += 1;
                self.tell(manager, Event::Released { application });
            }
        }
    }

    fn next_release(&self, application: usize) -> Option<u64> {
        let requests = &self.instance.requests[application];
        requests.get(self.queues[application].released).map(|request| request.release_us)
    }

    /// When something has to be looked at, whatever the board does.
    fn next_us(&self, manager: &dyn Manager) -> u64 {
        let now = self.machine.now_us();
        let releases = (0..self.queues.len()).filter_map(|index| self.next_release(index));
        let targets = self.queues.iter().zip(&self.scenario.applications).filter_map(
            |(queue, application)| Some(application.targets.get(queue.targets + 1)?.at_us),
        );
        let limits = self.scenario.limits.get(self.limits + 1).map(|limits| limits.at_us);
        let wake = if self.parked { self.wake_at(&manager.orders()) } else { None };
        let end = (now < self.scenario.end_us).then_some(self.scenario.end_us);
        let others = [
            manager.next_us(),
            limits,
            Some(self.heat.next_us),
            self.pin_edges.first().copied(),
            wake,
            end,
        ];
        releases.chain(targets).chain(others.into_iter().flatten()).min().unwrap_or(u64::MAX)
    }

    /// What is known of the next requests: all phases of periodic applications, no others.
    fn outlook(&self) -> Outlook {
        let known = (0..self.queues.len())
            .filter(|index| self.scenario.applications[*index].releases_known())
            .filter_map(|index| self.next_release(index));
        Outlook { known_us: known.min(), unknown_us: self.unknown_us }
    }

    fn wake_cost(&self, orders: &Orders) -> u64 {
        let settle = &self.scenario.board.settle;
        let park = orders.park.unwrap_or(orders.clocks);
        settle_us(settle, &park, &orders.clocks) + WAKE_SLACK_US
    }

    fn wake_at(&self, orders: &Orders) -> Option<u64> {
        self.outlook().wake_us(self.wake_cost(orders))
    }

    /// Writes the clocks asked for, as far as the mode, other tools and heat let it.
    fn write(&mut self) {
        let Some(asked) = self.run_clocks else { return };
        self.ask(asked);
    }

    fn ask(&mut self, asked: Level) {
        let now = self.machine.now_us();
        let pinned = |knob: Knob| {
            let holds = |pin: &&_| {
                let pin: &&super::super::scenario::Pin = pin;
                pin.knob == knob && (pin.from_us..pin.to_us).contains(&now)
            };
            self.scenario.pins.iter().find(holds).map(|pin| pin.khz)
        };
        let floor = match &self.scenario.board.clocks {
            Some(tables) if self.scenario.cpu_floor => tables.cpu_khz[0],
            _ => 0,
        };
        let cpu = pinned(Knob::Cpu).unwrap_or(asked.cpu_khz.max(floor));
        let gpu = pinned(Knob::Gpu).unwrap_or(asked.gpu_khz).min(self.heat.highest_khz());
        let emc = pinned(Knob::Emc).unwrap_or(asked.emc_khz);
        self.machine.ask(Knob::Cpu, cpu);
        self.machine.ask(Knob::Gpu, gpu);
        self.machine.ask(Knob::Emc, emc);
    }

    /// Does what the manager wants: clocks, parking, the next request.
    fn obey(&mut self, manager: &mut dyn Manager) {
        let orders = manager.orders();
        if orders.when == When::AtOnce || self.running.is_none() {
            self.clocks(&orders);
        }
        if self.running.is_none() && self.start(manager) && orders.when == When::AtOnce {
            // A governor sees the core wake up.
            let orders = manager.orders();
            self.clocks(&orders);
        }
    }

    fn clocks(&mut self, orders: &Orders) {
        let waits = self.queues.iter().any(|queue| !queue.waiting.is_empty());
        if let Some(park) = orders.park.filter(|park| *park != orders.clocks) {
            let idle = self.running.is_none() && !waits;
            let wake = self.wake_cost(orders);
            let now = self.machine.now_us();
            if idle && self.outlook().parks(now, wake, self.parked) {
                if !self.parked {
                    self.parked = true;
                    self.parks += 1;
                    self.ask(park);
                }
                return;
            }
        }
        if self.parked || self.run_clocks != Some(orders.clocks) {
            self.level_switches +=
                u64::from(self.run_clocks.is_some_and(|before| before != orders.clocks));
            self.run_clocks = Some(orders.clocks);
            self.waking = self.parked;
            self.parked = false;
            self.ask(orders.clocks);
        }
    }

    /// Starts the request with the earliest deadline among the applications that are served.
    fn start(&mut self, manager: &mut dyn Manager) -> bool {
        let orders = manager.orders();
        let settles = self.machine.clocks() != self.machine.asked();
        self.waking &= settles;
        if self.waking || (orders.waits && settles) {
            return false;
        }
        let next = self
            .queues
            .iter()
            .enumerate()
            .filter(|(application, _)| orders.sub_networks[*application].is_some())
            .filter_map(|(application, queue)| {
                let index = *queue.waiting.front()?;
                Some((self.instance.requests[application][index].due_us(), application, index))
            })
            .min();
        let Some((_, application, index)) = next else { return false };
        let Some(chosen) = manager.sub_network(application, index) else { return false };
        let network = self.scenario.network(application);
        let sub_network = chosen.min(network.sub_networks.len() - 1);
        let work = Work {
            latency: network.sub_networks[sub_network].latency,
            activity: network.activity,
            factor: self.instance.requests[application][index].factor,
        };
        if self.machine.start(work).is_err() {
            return false;
        }
        let queue = &mut self.queues[application];
        queue.waiting.pop_front();
        queue.switches += u64::from(queue.last.is_some_and(|last| last != sub_network));
        queue.last = Some(sub_network);
        let clocks = self.machine.clocks();
        self.running = Some(Running {
            application,
            index,
            start_us: self.machine.now_us(),
            sub_network,
            clocks,
            settled: clocks == self.machine.asked(),
        });
        self.order.push((application, index));
        self.tell(manager, Event::Started { application });
        true
    }

    fn happened(&mut self, event: machine::Event, manager: &mut dyn Manager) {
        if event != machine::Event::RequestDone {
            return self.tell(manager, Event::Board);
        }
        let Some(running) = self.running.take() else { return };
        let Running { application, index, start_us, sub_network, clocks, settled } = running;
        let end_us = self.machine.now_us();
        let request = self.instance.requests[application][index];
        let steady = settled && self.machine.clocks() == clocks;
        self.queues[application].endings[index] =
            Ending::Served { start_us, end_us, sub_network, clocks, steady };
        let response_us = end_us - request.release_us;
        let levels = &self.scenario.board.levels;
        let done = Done {
            application,
            index,
            release_us: request.release_us,
            latency_us: end_us - start_us,
            response_us,
            missed: response_us > u64::from(request.deadline_us),
            sub_network,
            level: levels.iter().position(|level| *level == clocks),
            steady,
        };
        self.tell(manager, Event::Done(done));
    }

    fn done(self) -> Run {
        let records = self.queues.iter().zip(&self.instance.requests).map(|(queue, requests)| {
            let record = |(request, ending): (&Request, &Ending)| Record {
                request: *request,
                ending: *ending,
            };
            requests.iter().zip(&queue.endings).map(record).collect()
        });
        Run {
            records: records.collect(),
            order: self.order,
            trail: self.machine.into_trail(),
            level_switches: self.level_switches,
            parks: self.parks,
            sub_network_switches: self.queues.iter().map(|queue| queue.switches).collect(),
        }
    }
}
