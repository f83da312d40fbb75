//! The search over a sequence of requests.

use coshift_plant::board::Level;
use coshift_plant::machine::Knob;
use coshift_shared::to_controller::Objective;

use super::super::managers::Setting;
use super::super::world::parking::settle_us;
use super::labels::{Cost, Label, add};

/// How much earlier than its deadline the oracle plans to be done, µs: rounding of the plant's time.
const RESERVE_US: f64 = 5.0;
/// Steps of energy over the cap, µJ.
const OVER_STEP_UJ: f64 = 1000.0;
/// Energy over the cap that is rounding, µJ.
const ROUNDING_UJ: f64 = 1.0;

/// Windows that power is held against its cap in, µs.
const WINDOW_US: f64 = 100_000.0;

/// One request in the order of service.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Its application.
    pub application: usize,
    /// Its place among the application's requests.
    pub index: usize,
    release_us: f64,
    due_us: f64,
    factor: f64,
    floor_bp: u16,
    objective: Objective,
    budget_uj: f64,
    cap_w: f64,
}

/// What is done for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its application and place.
    pub request: (usize, usize),
    /// Level at which it runs.
    pub level: usize,
    /// What runs.
    pub sub_network: usize,
    /// Whether the board is parked before it.
    pub parked: bool,
    /// How long before the release its clocks are asked for, µs; `None` = at once.
    pub ask_before_us: Option<u32>,
    /// Whether it waits until its clocks are in force.
    pub waits: bool,
}

/// A plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order of service.
    pub steps: Vec<Step>,
    /// Whether the board is parked after the last request.
    pub parked_after: bool,
    /// What it is expected to cost.
    pub cost: Cost,
}

/// The requests in the order of service.
#[must_use]
pub fn jobs(setting: Setting<'_>, order: &[(usize, usize)]) -> Vec<Job> {
    let job = |(application, index): &(usize, usize)| {
        let request = setting.instance.requests[*application][*index];
        let targets = setting.applications()[*application].targets_at(request.release_us);
        let caps = [request.release_us, request.due_us()];
        let cap = caps.into_iter().filter_map(|at| setting.scenario.limits_at(at).power_mw).min();
        Job {
            application: *application,
            index: *index,
            release_us: request.release_us as f64,
            due_us: request.due_us() as f64,
            factor: request.factor,
            floor_bp: request.floor_bp,
            objective: targets.objective,
            budget_uj: match targets.energy_budget_uj {
                0 => f64::INFINITY,
                budget => f64::from(budget),
            },
            cap_w: cap.map_or(f64::INFINITY, |mw| f64::from(mw) / 1e3),
        }
    };
    order.iter().map(job).collect()
}

/// A cell of the board's own laws: what really happens.
#[derive(Debug, Clone, Copy)]
struct Cell {
    cpu_us: f64,
    whole_us: f64,
    busy_w: f64,
}

/// What the board does, by application, sub-network and level.
struct Laws {
    cells: Vec<Vec<Vec<Cell>>>,
    accuracy_bp: Vec<Vec<u16>>,
    idle_w: Vec<f64>,
    /// `settle[from][to]`, µs.
    settle: Vec<Vec<f64>>,
    park: Option<usize>,
}

/// The laws as other tools' pins leave them, from a time (µs) on.
fn regimes(setting: Setting<'_>) -> Vec<(f64, Laws)> {
    let pins = &setting.scenario.pins;
    let mut edges: Vec<u64> = pins.iter().flat_map(|pin| [pin.from_us, pin.to_us]).collect();
    edges.push(0);
    edges.sort_unstable();
    edges.dedup();
    edges.into_iter().map(|at| (at as f64, Laws::new(setting, at))).collect()
}

impl Laws {
    fn new(setting: Setting<'_>, at_us: u64) -> Self {
        let board = &setting.scenario.board;
        let pins = &setting.scenario.pins;
        let levels: Vec<Level> = board
            .levels
            .iter()
            .map(|level| {
                let mut level = *level;
                for pin in pins.iter().filter(|pin| (pin.from_us..pin.to_us).contains(&at_us)) {
                    match pin.knob {
                        Knob::Cpu => level.cpu_khz = pin.khz,
                        Knob::Gpu => level.gpu_khz = pin.khz,
                        Knob::Emc => level.emc_khz = pin.khz,
                    }
                }
                level
            })
            .collect();
        let cells = (0..setting.applications().len()).map(|application| {
            let network = setting.scenario.network(application);
            let of_sub = |sub: &coshift_plant::board::SubNetwork| {
                let cell = |level: &Level| Cell {
                    cpu_us: sub.latency.cpu_us(level),
                    whole_us: sub.latency.us(level),
                    busy_w: board.power.busy_w(level, network.activity),
                };
                levels.iter().map(cell).collect()
            };
            network.sub_networks.iter().map(of_sub).collect()
        });
        let settle = levels.iter().map(|from| {
            let to = levels.iter().map(|to| settle_us(&board.settle, from, to) as f64);
            to.collect()
        });
        Self {
            cells: cells.collect(),
            accuracy_bp: (0..setting.applications().len())
                .map(|application| setting.accuracies_bp(application))
                .collect(),
            idle_w: levels.iter().map(|level| board.power.idle_w(level)).collect(),
            settle: settle.collect(),
            park: board.park_level,
        }
    }

    /// Time (µs) and energy (µJ) of a request that starts at `from`, where `to` comes in force
    /// `left_us` later.
    fn execute(
        &self,
        cells: &[Cell],
        factor: f64,
        from: usize,
        to: usize,
        left_us: f64,
    ) -> (f64, f64) {
        let (old, new) = (&cells[from], &cells[to]);
        let alone = new.whole_us * factor;
        if left_us <= 0.0 || from == to {
            return (alone, alone * new.busy_w);
        }
        let launch = old.cpu_us * factor;
        let overlapped = (old.whole_us - old.cpu_us) * factor;
        if left_us >= launch + overlapped {
            return (launch + overlapped, (launch + overlapped) * old.busy_w);
        }
        let rest = if left_us < launch {
            let done = if launch > 0.0 { left_us / launch } else { 1.0 };
            new.cpu_us * factor * (1.0 - done) + (new.whole_us - new.cpu_us) * factor
        } else {
            let done = (left_us - launch) / overlapped.max(1e-9);
            (new.whole_us - new.cpu_us) * factor * (1.0 - done)
        };
        (left_us + rest, left_us * old.busy_w + rest * new.busy_w)
    }

    /// Ways to come to `to` over a gap.
    ///
    /// Clocks may be asked for at once, or so that they are in force at the release. With `late_us`,
    /// the length of the launch part, also so that they are in force when that part, which needs no
    /// GPU clock, is over, or at the release.
    fn gaps(&self, from: usize, to: usize, gap_us: f64, late_us: Option<f64>) -> [Option<Way>; 8] {
        let idle = |level: usize| self.idle_w[level];
        let mut ways = [None; 8];
        let settle = self.settle[from][to];
        let at_once = if gap_us < settle {
            Way { energy: idle(from) * gap_us, left: settle - gap_us, ..Way::DIRECT }
        } else {
            let energy = idle(from) * settle + idle(to) * (gap_us - settle);
            Way { energy, ..Way::DIRECT }
        };
        ways[0] = Some(at_once);
        let lefts = |settle: f64| {
            let late = |left: f64| late_us.map(|_| left);
            [Some(0.0), late_us.map(|launch| launch.min(settle)), late(settle)]
        };
        if from != to && gap_us > 0.0 {
            for (place, left) in ways[1..4].iter_mut().zip(lefts(settle)) {
                let Some(left) = left else { continue };
                let before = settle - left;
                if gap_us > before {
                    let energy = idle(from) * gap_us;
                    *place = Some(Way { energy, left, before: Some(before), ..Way::DIRECT });
                }
            }
        }
        if let Some(park) = self.park.filter(|park| *park != from && *park != to) {
            let (down, up) = (self.settle[from][park], self.settle[park][to]);
            if gap_us > down && gap_us <= down + up {
                let delay = down + up - gap_us;
                let energy = idle(from) * down + idle(park) * up;
                let (parked, before) = (true, Some(up - delay));
                ways[7] = Some(Way { energy, left: 0.0, parked, before, delay, waits: true });
            }
            for (place, left) in ways[4..7].iter_mut().zip(lefts(up)) {
                let Some(left) = left else { continue };
                let before = up - left;
                if gap_us > down + before {
                    let energy = idle(from) * down + idle(park) * (gap_us - down);
                    let before = Some(before);
                    *place = Some(Way { energy, left, parked: true, before, ..Way::DIRECT });
                }
            }
        }
        ways
    }
}

/// One way over a gap.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Energy, µJ.
    energy: f64,
    /// Time from the start of the request until its clocks are in force, µs.
    left: f64,
    parked: bool,
    /// How long before the release its clocks are asked for, µs.
    before: Option<f64>,
    /// How long the request waits for its clocks, µs.
    delay: f64,
    waits: bool,
}

impl Way {
    const DIRECT: Self =
        Self { energy: 0.0, left: 0.0, parked: false, before: None, delay: 0.0, waits: false };
}

/// The choices worth a look for a job: by level, the sub-networks.
fn candidates(laws: &Laws, job: &Job, wide: bool) -> Vec<usize> {
    let accuracies = &laws.accuracy_bp[job.application];
    let highest = accuracies.iter().copied().max().unwrap_or(0);
    let floor = job.floor_bp.min(highest);
    let count = accuracies.len();
    let at_floor: Vec<usize> = (0..count).filter(|sub| accuracies[*sub] >= floor).collect();
    if wide || job.objective != Objective::LeastEnergy {
        return (0..count).collect();
    }
    // Cheapest or fastest at some level; with one shape of law it is one and the same.
    let cells = &laws.cells[job.application];
    let mut out: Vec<usize> = Vec::new();
    let levels = 0..laws.idle_w.len();
    for level in levels {
        let time = |sub: &usize| cells[*sub][level].whole_us;
        let fastest = at_floor.iter().copied().min_by(|a, b| time(a).total_cmp(&time(b)));
        if let Some(sub) = fastest.filter(|sub| !out.contains(sub)) {
            out.push(sub);
        }
    }
    out
}

#[derive(Debug, Clone, Copy)]
struct Arena {
    before: u32,
    step: Step,
}

const NOTHING: u32 = u32::MAX;

/// What a plan may do beyond the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freedom {
    /// Take sub-networks under the floor.
    pub under_floor: bool,
    /// Change clocks so late that a request starts before they are in force, though there was time:
    /// the launch part then runs at a low GPU clock for nothing. By the laws that saves energy; the
    /// laws add launch and GPU work up, so that it may be theirs alone.
    pub late: bool,
}

/// The best plan found.
#[must_use]
pub fn plan(setting: Setting<'_>, jobs: &[Job], freedom: Freedom) -> Plan {
    let regimes = regimes(setting);
    let levels = setting.levels().len();
    let laws_at = |us: f64| {
        let after = regimes.partition_point(|(from, _)| *from <= us);
        &regimes[after.saturating_sub(1)].1
    };
    let end_us = setting.scenario.end_us as f64;
    let mut arena: Vec<Arena> = Vec::new();
    let mut labels: Vec<Vec<Label>> = vec![Vec::new(); levels];
    labels[0].push(Label { free_us: 0.0, cost: Cost::ZERO, step: NOTHING });
    let mut next: Vec<Vec<Label>> = vec![Vec::new(); levels];
    for job in jobs {
        let laws = laws_at(job.release_us);
        let candidates = candidates(laws, job, freedom.under_floor);
        for from in 0..levels {
            for label in &labels[from] {
                let start = label.free_us.max(job.release_us);
                let gap = start - label.free_us;
                #[allow(clippy::needless_range_loop, reason = "a level indexes several lists")]
                for to in 0..levels {
                    for sub_network in &candidates {
                        let cells = &laws.cells[job.application][*sub_network];
                        let late = freedom.late.then(|| cells[from].cpu_us * job.factor);
                        for way in laws.gaps(from, to, gap, late).into_iter().flatten() {
                            let Way { energy, left, parked, before, delay, waits } = way;
                            let old = laws.park.filter(|_| parked).unwrap_or(from);
                            let (time, work) = laws.execute(cells, job.factor, old, to, left);
                            let step = Step {
                                request: (job.application, job.index),
                                level: to,
                                sub_network: *sub_network,
                                parked,
                                // Rounded up: in force no later than planned.
                                ask_before_us: before.map(|us| us.ceil() as u32),
                                waits,
                            };
                            let free_us = start + delay + time;
                            let over_gap = (gap + delay, energy);
                            let cost =
                                cost(laws, job, &step, label, over_gap, (time, work), end_us);
                            let place = u32::try_from(arena.len()).unwrap_or(NOTHING);
                            let made = Label { free_us, cost, step: place };
                            if add(&mut next[to], made, laws.idle_w[to]) {
                                arena.push(Arena { before: label.step, step });
                            }
                        }
                    }
                }
            }
        }
        std::mem::swap(&mut labels, &mut next);
        next.iter_mut().for_each(Vec::clear);
    }
    finish(laws_at(end_us), &labels, &arena, end_us)
}

#[allow(clippy::too_many_arguments)] // One step of the search, called once.
fn cost(
    laws: &Laws,
    job: &Job,
    step: &Step,
    label: &Label,
    (gap_us, gap_uj): (f64, f64),
    (time_us, work_uj): (f64, f64),
    end_us: f64,
) -> Cost {
    let mut cost = label.cost;
    let end = label.free_us + gap_us + time_us;
    // Energy counts up to the end of the scenario only.
    let counted =
        if end > end_us { ((end_us - (end - time_us)) / time_us).clamp(0.0, 1.0) } else { 1.0 };
    cost.energy_uj += gap_uj + work_uj * counted;
    // The worst window around the request: what is missing to it may be busy as well.
    let window_us = (gap_us + time_us).min(WINDOW_US);
    let idle_us = (window_us - time_us).max(0.0);
    // The gap behind the request may not be parked.
    let gap_w = if gap_us > 0.0 { (gap_uj / gap_us).max(laws.idle_w[step.level]) } else { 0.0 };
    let work_w = work_uj / time_us;
    let mean_w = (work_w * (WINDOW_US - idle_us) + gap_w * idle_us) / WINDOW_US;
    let over = (mean_w - job.cap_w) * (gap_us + time_us);
    if over > ROUNDING_UJ {
        cost.over_cap += (over / OVER_STEP_UJ).ceil() as u32;
    }
    cost.misses += u32::from(end > job.due_us - RESERVE_US);
    let accuracy = laws.accuracy_bp[job.application][step.sub_network];
    cost.shortfall += u32::from(job.floor_bp.saturating_sub(accuracy));
    let beyond_idle = work_uj - laws.idle_w[step.level] * time_us;
    let over_budget = ((beyond_idle - job.budget_uj).max(0.0)) as u64;
    cost.wishes += match job.objective {
        Objective::BestAccuracy => u64::from(10_000 - accuracy) + 1_000_000 * over_budget,
        Objective::LeastLatency => time_us as u64 + 1_000_000 * over_budget,
        _ => 0,
    };
    cost
}

fn finish(laws: &Laws, labels: &[Vec<Label>], arena: &[Arena], end_us: f64) -> Plan {
    let mut best: Option<(Cost, u32, bool)> = None;
    for (level, kept) in labels.iter().enumerate() {
        for label in kept {
            let left = (end_us - label.free_us).max(0.0);
            let stay = (laws.idle_w[level] * left, false);
            let park = laws.park.filter(|park| *park != level).and_then(|park| {
                let down = laws.settle[level][park];
                let energy = laws.idle_w[level] * down + laws.idle_w[park] * (left - down);
                (left > down).then_some((energy, true))
            });
            for (energy, parked) in [Some(stay), park].into_iter().flatten() {
                let mut cost = label.cost;
                cost.energy_uj += energy;
                if best.is_none_or(|(known, ..)| cost < known) {
                    best = Some((cost, label.step, parked));
                }
            }
        }
    }
    let (cost, mut at, parked_after) = best.unwrap_or((Cost::ZERO, NOTHING, false));
    let mut steps = Vec::new();
    while let Some(entry) = arena.get(at as usize) {
        steps.push(entry.step);
        at = entry.before;
    }
    steps.reverse();
    Plan { steps, parked_after, cost }
}
