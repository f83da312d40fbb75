//! Cases whose steps are measured: policies and the messages of a few control periods, random but
//! the same for the same number.

mod changes;

use std::fmt;

use anyhow::{Result, anyhow};
use coshift_shared::policy::{Cell, Level, PolicyImage, Settle, SubNetwork, TableImage};
use coshift_shared::to_controller::{
    Application, Change, Degrade, Limits, Objective, Outcomes, Targets, Telemetry, Temperature,
    ToController,
};
use coshift_shared::units::{Age, NO_POWER_CAP};

/// Longest body of a message, bytes, and more.
const BODY_BYTES: usize = 64;
/// Half a control period, µs, and the samples of a message where there are most.
const HALF_PERIOD_US: u32 = 25_000;
const HOSTILE_SAMPLES: usize = 12;
/// Control periods of a case: of a hostile one more than a dwell, after which a board at rest
/// searches.
const PERIODS: usize = 5;
pub(crate) const HOSTILE_PERIODS: usize = 16;
/// Level at which boards park that do, and its power.
const PARK_LEVEL: u8 = 0;
const PARK_MW: u32 = 1_500;
/// First time stamp, µs: five seconds before the wrap.
const START_US: u32 = u32::MAX - 4_999_999;

/// What cases are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One application with 8 sub-networks on 16 levels, cells as measured boards have them.
    Typical,
    /// Four applications with 16 sub-networks on 32 levels; cells in no order, tight deadlines,
    /// caps and budgets, jumps of the slowdown; every other one parks, with settle windows.
    Hostile,
    /// As hostile, and in every other period something changes before its telemetry: the targets of an
    /// application, the caps, the whole state (a seed), or nothing was heard for a while; see
    /// [`Event`].
    Changed,
    /// As hostile, with fewer applications.
    Fewer {
        /// Applications, 1 to 3.
        applications: u8,
    },
    /// As hostile, in another size, fewer periods, never parked.
    Sized {
        /// Applications, 1 to 4.
        applications: u8,
        /// Sub-networks of each, 1 to 16.
        sub_networks: u8,
        /// Levels, 1 to 32.
        levels: u8,
    },
}

/// Names a case of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CaseId {
    /// Seed of the campaign that found it.
    pub(crate) seed: u32,
    /// Its number in that campaign.
    pub(crate) index: u32,
}

/// A policy and messages.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// The policy image.
    pub(crate) policy: Vec<u8>,
    /// What is given to the controller, one after another.
    pub(crate) messages: Vec<ToController>,
    /// What changes in each control period.
    pub(crate) events: Vec<Event>,
}

/// What changes in a control period, between its first message and its telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing.
    Quiet,
    /// One application has other targets, comes or goes, or the caps are others.
    Asked,
    /// The whole state comes, as an agent sends it: applications, caps and all parts of a seed.
    Seeded,
    /// The period begins after a silence.
    Silence,
}

impl Event {
    pub(crate) const ALL: [Self; 4] = [Self::Quiet, Self::Asked, Self::Seeded, Self::Silence];
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quiet => "no change",
            Self::Asked => "other targets or caps",
            Self::Seeded => "a seed",
            Self::Silence => "after a silence",
        })
    }
}

impl Case {
    /// The case of this name.
    pub(crate) fn new(shape: Shape, id: CaseId) -> Result<Self> {
        let mut random = Random::new(id);
        let image = drawn(shape, &mut random);
        let policy = image.to_bytes().map_err(|error| anyhow!("a generated policy: {error:?}"))?;
        let (messages, events) = if shape == Shape::Changed {
            changes::messages(&image, &policy, &mut random)?
        } else {
            messages(shape, &image, &mut random)
        };
        Ok(Self { policy, messages, events })
    }

    /// The case as the measuring image reads it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend(u32::try_from(self.policy.len())?.to_le_bytes());
        out.extend(u32::try_from(self.messages.len())?.to_le_bytes());
        put_block(out, &self.policy);
        for message in &self.messages {
            let mut body = [0; BODY_BYTES];
            let length =
                message.encode(&mut body).map_err(|error| anyhow!("a message: {error:?}"))?;
            out.extend([message.kind() as u8, u8::try_from(length)?, 0, 0]);
            put_block(out, &body[..length]);
        }
        Ok(())
    }
}

/// The policy of a case.
fn drawn(shape: Shape, random: &mut Random) -> PolicyImage {
    let style = match shape {
        Shape::Typical => Style::Board,
        _ => *random.pick(&Style::ALL),
    };
    let (levels, sub_networks, tables) = match shape {
        Shape::Typical => (16, 8, 1),
        Shape::Hostile | Shape::Changed => (32, 16, 4),
        Shape::Fewer { applications } => (32, 16, applications.into()),
        Shape::Sized { applications, sub_networks, levels } => {
            (levels.into(), sub_networks.into(), applications.into())
        }
    };
    let parks = !matches!(shape, Shape::Typical | Shape::Sized { .. }) && random.flip();
    policy(levels, sub_networks, tables, style, parks, random)
}

/// The policy that may follow a case's own.
pub(crate) fn next_policy(shape: Shape, id: CaseId) -> Result<Vec<u8>> {
    let image = PolicyImage { sequence: 2, ..drawn(shape, &mut Random::new(id)) };
    image.to_bytes().map_err(|error| anyhow!("a generated policy: {error:?}"))
}

/// Bytes, filled up to whole words.
pub(crate) fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// What the cells of a policy are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Disorder,
    SlowerIsCheaper,
    Alike,
    AccurateIsCheaper,
    Board,
}

impl Style {
    const ALL: [Self; 5] =
        [Self::Disorder, Self::SlowerIsCheaper, Self::Alike, Self::AccurateIsCheaper, Self::Board];

    fn cell(self, sub: u32, level: u32, random: &mut Random) -> Cell {
        let (latency_us, energy_uj) = match self {
            Self::Disorder => (1 + random.below(60_000), 1 + random.below(200_000)),
            Self::SlowerIsCheaper => {
                (40_000 - 2_000 * sub + random.below(100), 10_000 + 1_000 * sub + random.below(50))
            }
            Self::Alike => (10_000 + random.below(3_000), 100_000 - 3_000 * sub + random.below(10)),
            Self::AccurateIsCheaper => {
                (10_000 + 1_500 * sub + random.below(200), 100_000 - 5_000 * sub + random.below(10))
            }
            Self::Board => {
                let speed = 300 + 50 * level;
                let latency_us = (2_000 + 1_500 * sub) * 1_000 / speed + 2_000 + random.below(500);
                (latency_us, latency_us * (speed + 1_000 + random.below(200)) / 400)
            }
        };
        Cell { latency_us, energy_uj }
    }
}

fn policy(
    levels: u32,
    sub_networks: u32,
    tables: u32,
    style: Style,
    parks: bool,
    random: &mut Random,
) -> PolicyImage {
    let tables = (0..tables)
        .map(|table| TableImage {
            name: format!("n{table}"),
            sub_networks: (0..sub_networks)
                .map(|id| SubNetwork {
                    id,
                    model_hash: 0,
                    accuracy_bp: 7_000 + 100 * id as u16,
                    exit_threshold: u16::MAX,
                })
                .collect(),
            cells: (0..sub_networks)
                .map(|sub| (0..levels).map(|level| style.cell(sub, level, random)).collect())
                .collect(),
        })
        .collect();
    PolicyImage {
        sequence: 1,
        board: "measured".into(),
        runtime: "none".into(),
        precision_bits: 32,
        batch: 1,
        settle: if parks {
            Settle { cpu_us: 1_000, gpu_us: 5_000, emc_us: 8_000 }
        } else {
            Settle { cpu_us: 0, gpu_us: 0, emc_us: 0 }
        },
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: 85_000,
        utilisation_permille: 900 + random.below(100) as u16,
        resistance_50mk_w: 0,
        park_level: parks.then_some(PARK_LEVEL),
        levels: (0..levels)
            .map(|level| {
                let falls = style != Style::Board && random.flip();
                let parked = parks && level == u32::from(PARK_LEVEL);
                let idle_mw = 5_000 - if falls { 100 * level } else { 0 };
                let idle_mw = if parked { PARK_MW } else { idle_mw };
                Level { cpu_khz: 1, gpu_khz: 1 + level, emc_khz: 1, idle_mw }
            })
            .collect(),
        tables,
    }
}

fn messages(
    shape: Shape,
    image: &PolicyImage,
    random: &mut Random,
) -> (Vec<ToController>, Vec<Event>) {
    let applications = image.tables.len();
    let mut messages: Vec<_> = targets(shape, image, random)
        .into_iter()
        .zip(0..)
        .map(|(targets, slot)| {
            let change = Change::Set(targets);
            ToController::Application(Application { at_us: START_US, slot, change })
        })
        .collect();
    let hostile = shape != Shape::Typical;
    let capped = hostile && random.flip();
    messages.push(ToController::Limits(Limits {
        at_us: START_US,
        power_cap_mw: if capped { 4_000 + random.below(20_000) } else { NO_POWER_CAP },
        temp_cap_mdeg_c: 85_000,
        parking: image.park_level.is_some(),
    }));
    let mut at_us = START_US;
    let samples = if hostile { HOSTILE_SAMPLES } else { 2 };
    let long = matches!(shape, Shape::Hostile | Shape::Fewer { .. });
    let periods = if long { HOSTILE_PERIODS } else { PERIODS };
    for period in 0..periods {
        at_us = at_us.wrapping_add(HALF_PERIOD_US);
        let base = base(hostile, random);
        for slot in 0..applications {
            let message = outcomes(hostile, image, base, samples, random);
            messages.push(ToController::Outcomes(Outcomes {
                at_us,
                slot: slot as u8,
                first_index: (period * samples) as u32,
                ..message
            }));
        }
        at_us = at_us.wrapping_add(HALF_PERIOD_US);
        messages.push(ToController::Telemetry(telemetry(at_us, hostile, image, random)));
    }
    (messages, vec![Event::Quiet; periods])
}

/// The slowdown that samples of a period are about, in 1/4096.
fn base(hostile: bool, random: &mut Random) -> u32 {
    if hostile { 2_500 + random.below(8_000) } else { 4_096 + random.below(100) }
}

/// Outcomes of the first slot, as many samples as said.
fn outcomes(
    hostile: bool,
    image: &PolicyImage,
    base: u32,
    samples: usize,
    random: &mut Random,
) -> Outcomes {
    let spread = if hostile { 800 } else { 40 };
    let sample = |_| ((base + random.below(spread)) as u16).to_le_bytes();
    Outcomes {
        at_us: START_US,
        slot: 0,
        sub_network: 0,
        level: 3.min(image.levels.len() - 1) as u8,
        first_index: 0,
        samples: (0..samples).map(sample).collect(),
        outcomes_total: 0,
        misses_total: 0,
    }
}

fn telemetry(at_us: u32, hostile: bool, image: &PolicyImage, random: &mut Random) -> Telemetry {
    let hot = hostile && random.below(3) == 0;
    Telemetry {
        at_us,
        level: random.below(image.levels.len() as u32) as u8,
        clocks_mhz: [1; 3],
        power_mw: 3_000 + random.below(15_000),
        power_age: Age::FRESH,
        gpu_load_permille: 1,
        gpu_load_age: Age::FRESH,
        temperatures: [
            Temperature { mdeg_c: if hot { 83_000 } else { 50_000 }, age: Age::FRESH },
            Temperature::MISSING,
        ],
    }
}

/// Targets of each application, tight ones and contradicting ones among them.
fn targets(shape: Shape, image: &PolicyImage, random: &mut Random) -> Vec<Targets> {
    let latency = |table: usize, random: &mut Random| {
        let row = random.pick(&image.tables[table].cells);
        random.pick(row).latency_us
    };
    let hostile = shape != Shape::Typical;
    let together: u32 = (0..image.tables.len()).map(|table| latency(table, random)).sum();
    let (tight, budgets) = (random.below(3), hostile && random.flip());
    // Three times in four all applications are of one kind.
    let (objective, degrade) = (random.below(4) as usize, random.below(4) as usize);
    (0..image.tables.len())
        .map(|table| {
            let own = latency(table, random);
            let deadline_us = match tight {
                0 => own * (11 + random.below(10)) / 10,
                1 => together * (5 + random.below(12)) / 10,
                _ => own + together * random.below(10) / 10,
            };
            let apart = if random.flip() { 1_000 * table as u32 } else { 0 };
            let deadline_us = deadline_us.max(1_000) + apart;
            let stretch = if tight == 1 { 3 } else { 1 };
            let objectives =
                [Objective::LeastEnergy, Objective::BestAccuracy, Objective::LeastLatency];
            let orders = [Degrade::Accuracy, Degrade::Deadline, Degrade::Energy];
            Targets {
                table: table as u8,
                objective: match objectives.get(objective) {
                    _ if !hostile => Objective::LeastEnergy,
                    Some(same) => *same,
                    None => *random.pick(&objectives),
                },
                deadline_us,
                period_us: deadline_us.max(5_000) * (5 + random.below(40)) / 10 * stretch,
                accuracy_floor_bp: if random.flip() {
                    0
                } else {
                    7_000 + 100 * random.below(16) as u16
                },
                miss_target_bp: 100,
                priority: random.below(3) as u8,
                degrade: match orders.get(degrade) {
                    Some(same) => *same,
                    None => *random.pick(&orders),
                },
                energy_budget_uj: if budgets { 1 + random.below(150_000) } else { 0 },
            }
        })
        .collect()
}

/// Marsaglia's xorshift (2003), 64 bits: the same everywhere and for ever.
struct Random(u64);

impl Random {
    fn new(id: CaseId) -> Self {
        let number = u64::from(id.seed) * 1_000_003 + u64::from(id.index);
        let mut random = Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Neighbouring numbers begin alike.
        (0..5).for_each(|_| {
            random.below(2);
        });
        random
    }

    fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as u32) % most
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len() as u32) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coshift_shared::policy::PolicyView;

    #[test]
    fn a_case_is_the_same_each_time_and_its_policy_is_valid() {
        let least = Shape::Sized { applications: 1, sub_networks: 1, levels: 1 };
        for shape in [Shape::Typical, Shape::Hostile, Shape::Changed, least] {
            for index in 0..50 {
                let id = CaseId { seed: 1, index };
                let (case, again) = (Case::new(shape, id).unwrap(), Case::new(shape, id).unwrap());
                assert_eq!((&case.policy, &case.messages), (&again.policy, &again.messages));
                assert!(PolicyView::open(&case.policy).is_ok(), "{shape:?} {id:?}");
            }
        }
    }

    #[test]
    fn blocks_are_whole_words() {
        let mut out = Vec::new();
        Case::new(Shape::Hostile, CaseId { seed: 3, index: 4 }).unwrap().write(&mut out).unwrap();
        assert_eq!(out.len() % 4, 0);
    }
}
