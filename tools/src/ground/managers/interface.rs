//! What every manager sees and what it may do: one trait for all of them.

use coshift_host::clock::Time;
use coshift_host::platform::Readings;
use coshift_plant::board::Level;
use coshift_shared::units::MAX_APPLICATIONS;

use super::super::scenario::{Application, Instance, Limits, Scenario};

/// What stands at the start: the board, the applications and the tables, as a manager may know them.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'s> {
    /// The scenario. Managers take from it the board's levels and clock tables, the applications and
    /// their targets; what will happen is for the oracle and hindsight only.
    pub scenario: &'s Scenario,
    /// The tables, and the requests for those that know the future.
    pub instance: &'s Instance,
}

impl<'s> Setting<'s> {
    /// Levels of the board.
    #[must_use]
    pub fn levels(&self) -> &'s [Level] {
        &self.scenario.board.levels
    }

    /// The applications.
    #[must_use]
    pub fn applications(&self) -> &'s [Application] {
        &self.scenario.applications
    }

    /// Expected latency, µs, by the policy.
    #[must_use]
    pub fn latency_us(&self, application: usize, sub_network: usize, level: usize) -> f64 {
        let table = &self.instance.policy.tables[self.instance.tables[application]];
        f64::from(table.cells[sub_network][level].latency_us)
    }

    /// Expected energy beyond idle, µJ, by the policy.
    #[must_use]
    pub fn energy_uj(&self, application: usize, sub_network: usize, level: usize) -> f64 {
        let table = &self.instance.policy.tables[self.instance.tables[application]];
        f64::from(table.cells[sub_network][level].energy_uj)
    }

    /// Idle power, W, by the policy.
    #[must_use]
    pub fn idle_w(&self, level: usize) -> f64 {
        f64::from(self.instance.policy.levels[level].idle_mw) / 1e3
    }

    /// Accuracies of an application's sub-networks, 0.01 %.
    #[must_use]
    pub fn accuracies_bp(&self, application: usize) -> Vec<u16> {
        let table = &self.instance.policy.tables[self.instance.tables[application]];
        table.sub_networks.iter().map(|sub| sub.accuracy_bp).collect()
    }

    /// The least accurate sub-network at a floor; the most accurate one where none is.
    #[must_use]
    pub fn best_fitting(&self, application: usize, floor_bp: u16) -> usize {
        let accuracies = self.accuracies_bp(application);
        let fits = accuracies.iter().position(|accuracy| *accuracy >= floor_bp);
        fits.unwrap_or(accuracies.len().saturating_sub(1))
    }

    /// Mean distance of an application's requests, µs.
    #[must_use]
    pub fn period_us(&self, application: usize) -> u32 {
        self.applications()[application].period_us(self.scenario.end_us)
    }
}

/// What a manager sees when it is called.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'w> {
    /// Time, µs.
    pub now_us: u64,
    /// Clocks in force.
    pub clocks: Level,
    /// Whether a core launches a request from now on.
    pub cpu_busy: bool,
    /// Time that the GPU spent on requests so far, µs.
    pub gpu_busy_us: u64,
    /// The monitors, read in this moment.
    pub readings: &'w Readings,
}

impl Seen<'_> {
    /// The agent's time.
    #[must_use]
    pub fn time(&self) -> Time {
        Time::from_us(self.now_us)
    }
}

/// A request that was served.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Done {
    /// Its application.
    pub application: usize,
    /// Its place among the application's requests.
    pub index: usize,
    /// When it was released, µs.
    pub release_us: u64,
    /// From start to end, µs.
    pub latency_us: u64,
    /// From release to end, µs.
    pub response_us: u64,
    /// Whether that was over its deadline.
    pub missed: bool,
    /// What ran.
    pub sub_network: usize,
    /// Level in force at its start; `None` = none of the list.
    pub level: Option<usize>,
    /// Whether its start lay in no settle window and its clocks held to the end.
    pub steady: bool,
}

/// What a manager is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// [`Manager::next_us`] was reached.
    Time,
    /// A clock changed, or the core fell idle or woke up.
    Board,
    /// A request was released.
    Released {
        /// Its application.
        application: usize,
    },
    /// A request starts.
    Started {
        /// Its application.
        application: usize,
    },
    /// A request is done.
    Done(Done),
    /// The targets of an application changed.
    Targets {
        /// The application.
        application: usize,
    },
    /// The caps changed.
    Limits(Limits),
}

/// When clocks that are asked for are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once, as a kernel's governor does.
    AtOnce,
    /// Between requests, as the agent does.
    BetweenRequests,
}

/// What is in force until the manager says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    /// Clocks while requests are served.
    pub clocks: Level,
    /// When they are written.
    pub when: When,
    /// Clocks that the agent may park at between requests; `None` = no parking.
    pub park: Option<Level>,
    /// Whether requests wait until the clocks asked for are in force.
    pub waits: bool,
    /// Sub-network of each application; `None` = it is not served yet.
    pub sub_networks: [Option<usize>; MAX_APPLICATIONS],
}

/// Decides clocks and sub-networks while requests are served.
pub trait Manager {
    /// When it looks next by itself, µs; `None` = never.
    fn next_us(&self) -> Option<u64>;

    /// Takes in what happened.
    fn take(&mut self, seen: &Seen<'_>, event: Event);

    /// What is to be done.
    fn orders(&self) -> Orders;

    /// What serves one request, at its start: that of the orders unless a manager knows better.
    fn sub_network(&mut self, application: usize, index: usize) -> Option<usize> {
        let _ = index;
        self.orders().sub_networks[application]
    }

    /// Why it gave up, where it did: the run is worth nothing then.
    fn fault(&self) -> Option<String> {
        None
    }
}
