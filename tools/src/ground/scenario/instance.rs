//! A scenario with everything random in it drawn.

use coshift_plant::policy::{PlanError, bytes, policy_image};
use coshift_shared::policy::PolicyImage;

use super::super::random::Random;
use super::{Application, Arrivals, Scenario, Slowdown};

/// Least factor: a latency never falls to nothing.
const LEAST: f64 = 0.05;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// When it is released, µs.
    pub release_us: u64,
    /// How long after that it must be done, µs.
    pub deadline_us: u32,
    /// Accuracy floor in force, 0.01 %.
    pub floor_bp: u16,
    /// What multiplies its latency. It belongs to the request, whoever serves it when.
    pub factor: f64,
}

impl Request {
    /// When it must be done, µs.
    #[must_use]
    pub fn due_us(&self) -> u64 {
        self.release_us + u64::from(self.deadline_us)
    }
}

/// A scenario for one seed.
#[derive(Debug, Clone)]
pub struct Instance {
    /// The seed.
    pub seed: u64,
    /// Requests of each application in the order of their release.
    pub requests: Vec<Vec<Request>>,
    /// The tables that managers get, errors included; one for each network in use.
    pub policy: PolicyImage,
    /// The bytes of `policy`.
    pub policy_bytes: Vec<u8>,
    /// Table of each application.
    pub tables: Vec<usize>,
}

impl Instance {
    /// Draws everything for seed number `run` (0, 1, 2 …).
    ///
    /// # Errors
    /// [`PlanError`] where the networks in use do not fit a policy image.
    pub fn draw(scenario: &Scenario, run: u64) -> Result<Self, PlanError> {
        let seed = scenario.seed.wrapping_add(run);
        let mut networks: Vec<&str> = Vec::new();
        let mut tables = Vec::new();
        for index in 0..scenario.applications.len() {
            let name = scenario.network(index).name.as_str();
            let table = networks.iter().position(|known| *known == name);
            tables.push(table.unwrap_or_else(|| {
                networks.push(name);
                networks.len() - 1
            }));
        }
        let mut policy = policy_image(&scenario.board, &networks, 1)?;
        let error = scenario.policy_error;
        let mut random = Random::new(seed, "policy");
        let mut wrong = |value: u32, scale: f64, spread: f64| {
            let factor = scale * random.between(1.0 - spread, 1.0 + spread);
            // Far inside the range of u32.
            (f64::from(value) * factor).round().clamp(1.0, f64::from(1 << 30)) as u32
        };
        for cell in policy.tables.iter_mut().flat_map(|table| table.cells.iter_mut().flatten()) {
            cell.latency_us = wrong(cell.latency_us, error.latency_scale, error.latency_spread);
            cell.energy_uj = wrong(cell.energy_uj, error.energy_scale, error.energy_spread);
        }
        let requests = scenario
            .applications
            .iter()
            .map(|application| requests(scenario, application, seed))
            .collect();
        let policy_bytes = bytes(&policy)?;
        Ok(Self { seed, requests, policy, policy_bytes, tables })
    }

    /// Requests in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.requests.iter().map(Vec::len).sum()
    }
}

fn requests(scenario: &Scenario, application: &Application, seed: u64) -> Vec<Request> {
    let named = |what: &str| Random::new(seed, &format!("{} {what}", application.name));
    let releases = releases(application, scenario.end_us, &mut named("arrivals"));
    let factors = factors(application, &releases, scenario, &mut named("slowdown"));
    let request = |(release_us, factor): (u64, f64)| {
        let targets = application.targets_at(release_us);
        Request {
            release_us,
            deadline_us: targets.deadline_us,
            floor_bp: targets.floor_bp,
            factor: factor.max(LEAST),
        }
    };
    releases.into_iter().zip(factors).map(request).collect()
}

fn releases(application: &Application, end_us: u64, random: &mut Random) -> Vec<u64> {
    let mut out = Vec::new();
    let mut add = |at: f64| {
        let at = at as u64;
        let room = at < end_us;
        if room {
            out.push(at);
        }
        room
    };
    match &application.arrivals {
        Arrivals::Periodic(period) => {
            // Applications and seeds differ in phase.
            let mut at = random.uniform() * period;
            while add(at) {
                at += period;
            }
        }
        Arrivals::Poisson(mean) => {
            let mut at = random.exponential(*mean);
            while add(at) {
                at += random.exponential(*mean);
            }
        }
        Arrivals::Times(times) => {
            out.extend(times.iter().copied().take_while(|time| *time < end_us));
        }
    }
    out
}

fn factors(
    application: &Application,
    releases: &[u64],
    scenario: &Scenario,
    random: &mut Random,
) -> Vec<f64> {
    let noise = scenario.noise;
    let mut noisy = |base: f64| base * (1.0 + noise * random.normal());
    match &application.slowdown {
        Slowdown::Noise => releases.iter().map(|_| noisy(1.0)).collect(),
        Slowdown::Trace { quiet, loaded, from_us } => {
            // Seeds start at different places of the trace.
            let start = random.below(loaded.len().max(1));
            let before = releases.partition_point(|release| release < from_us);
            let at = |trace: &[f64], index: usize| {
                trace.get((start + index) % trace.len().max(1)).copied().unwrap_or(1.0)
            };
            let quiet = (0..before).map(|index| at(quiet, index));
            quiet.chain((0..releases.len() - before).map(|index| at(loaded, index))).collect()
        }
        Slowdown::Markov { model, from_us } => {
            let mut bin = super::contention::BINS / 2;
            let draw = |release: &u64| {
                let chain = if release < from_us { &model.quiet } else { &model.loaded };
                let value;
                (value, bin) = chain.draw(bin, random);
                value
            };
            releases.iter().map(draw).collect()
        }
        Slowdown::Switching { on, mean_us, from_us } => {
            let mut regimes = Random::new(random.bits(), "regimes");
            let (mut is_on, mut until) = (false, *from_us as f64);
            let mut out = Vec::new();
            for release in releases {
                while until <= *release as f64 {
                    is_on = !is_on;
                    until += regimes.exponential(*mean_us);
                }
                let base = if is_on { *on } else { 1.0 };
                out.push(base * (1.0 + noise * random.normal()));
            }
            out
        }
    }
}
