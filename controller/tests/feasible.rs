//! Whether two to four applications get what keeps all their promises where anything does: the
//! controller as shipped, once it has come to rest, against a search of every level and every set of
//! sub-networks in floating point, which knows the laws of `docs/control.md` and none of its code.
//!
//! The rules that say who gives way to whom are no search over all sets, so some are missed. The
//! shares stand in `docs/control.md` and are compared with it; `COSHIFT_BLESS=1` rewrites them.

mod common;

use common::boards::{Case, MOST_BUSY, Random, Set};
use common::published::published;
use common::rest::{quiet, session};
use coshift_controller::controller::SEARCH;
use coshift_shared::policy::{Cell, PolicyView};
use coshift_shared::to_controller::{Degrade, Objective, Targets};
use coshift_shared::to_host::{Decision, Missing, Reason};
use coshift_shared::units::NO_POWER_CAP;

/// Cases of each kind in which some set of sub-networks keeps every promise.
const CASES: u32 = 1_000;
/// Periods after which a board of six levels is at rest: a round, a dwell, another round.
const PERIODS: usize = 6 + 10 + 6 + 2;
/// The controller reckons in integers: a share of every promise by which a set has to keep it to
/// count as feasible, and by which one that runs may miss it. Utilisation is in 0.1 % for each
/// application, and the crest of a window makes three times as much of that.
const TOLERANCE: f64 = 0.006;

/// How cases are drawn.
#[derive(Debug, Clone, Copy)]
struct Kind {
    applications: usize,
    /// Latencies and energies in no order.
    wild: bool,
    capped: bool,
}

impl Case {
    /// A case of any deadlines, without a cap.
    fn any(kind: Kind, random: &mut Random) -> Self {
        let levels = random.count(2, 6);
        let idle_mw = (0..levels as u32).map(|level| {
            if kind.wild { random.between(1_500.0, 5_000.0) as u32 } else { 2_000 + 300 * level }
        });
        let idle_mw = idle_mw.collect();
        let mut tables = Vec::new();
        let mut asked = Vec::new();
        for table in 0..kind.applications as u8 {
            let mut accuracy_bp = 7_000;
            let mut work = random.between(2_000.0, 12_000.0);
            let rows = (0..random.count(1, 4)).map(|_| {
                accuracy_bp += random.count(50, 300) as u16;
                work *= random.between(1.2, 2.0);
                let cells = (0..levels).map(|level| {
                    if kind.wild {
                        let latency_us = random.between(2_000.0, 60_000.0) as u32;
                        return Cell { latency_us, energy_uj: random.between(5e3, 3e5) as u32 };
                    }
                    let ghz = 0.3 + 0.18 * level as f64;
                    let latency = (work / ghz + 2_000.0) * random.between(0.95, 1.05);
                    let beyond_mw = (2_500.0 + 5_000.0 * ghz.powi(2)) * random.between(0.95, 1.05);
                    let energy_uj = (latency * beyond_mw / 1000.0) as u32;
                    Cell { latency_us: latency as u32, energy_uj }
                });
                (accuracy_bp, cells.collect())
            });
            let rows: Vec<(u16, Vec<Cell>)> = rows.collect();
            let (least, most) = (rows[0].0, accuracy_bp);
            let period_us = random.between(40_000.0, 300_000.0);
            let objective =
                [Objective::LeastEnergy, Objective::BestAccuracy, Objective::LeastLatency];
            asked.push(Targets {
                table,
                objective: random.one_of(&objective),
                deadline_us: (period_us * random.between(0.3, 1.2)) as u32,
                period_us: period_us as u32,
                accuracy_floor_bp: random.count(least.into(), most.into()) as u16,
                miss_target_bp: random.one_of(&[500, 100, 50, 10]),
                priority: random.one_of(&[0, 1, 2]),
                degrade: random.one_of(&[Degrade::Accuracy, Degrade::Deadline, Degrade::Energy]),
                energy_budget_uj: if random.count(0, 3) == 0 {
                    random.between(2e4, 3e5) as u32
                } else {
                    0
                },
            });
            tables.push(rows);
        }
        Self { idle_mw, tables, asked, cap_mw: NO_POWER_CAP }
    }

    /// A case at the edge of what can be kept: deadlines longer than the shortest that can be by up to
    /// the share `edge`, and a cap over the least power that then keeps them by up to as much.
    fn at_the_edge(kind: Kind, edge: f64, random: &mut Random) -> Option<Self> {
        let any = Self::any(kind, random);
        let scaled = |scale: f64| {
            let mut case = any.clone();
            for asked in &mut case.asked {
                asked.deadline_us = (f64::from(asked.deadline_us) * scale) as u32;
            }
            case
        };
        let (mut low, mut high) = (0.05, 4.0);
        if !scaled(high).feasible() {
            return None;
        }
        for _ in 0..14 {
            let middle = (low + high) / 2.0;
            if scaled(middle).feasible() { high = middle } else { low = middle }
        }
        let mut case = scaled(high * random.between(1.0, 1.0 + edge));
        if kind.capped {
            let powers = case.sets().filter(|set| case.keeps(set, -TOLERANCE));
            let least = powers.map(|set| case.drawn_mw(&set)).min_by(f64::total_cmp)?;
            case.cap_mw = (least * random.between(1.0, 1.0 + edge)) as u32;
        }
        Some(case)
    }

    /// Whether a set keeps every promise but for the cap on power.
    fn fits_in_time(&self, set: &Set, wider: f64) -> bool {
        let within = 1.0 + wider;
        let needs = self.loads(set);
        let busy: f64 = needs.map(|((us, _), asked)| us / f64::from(asked.period_us)).sum();
        (0..self.asked.len()).all(|slot| self.serves(slot, set, wider))
            && busy <= MOST_BUSY * within
            && (0..self.asked.len()).all(|slot| {
                let deadline = f64::from(self.asked[slot].deadline_us);
                self.over_us(slot, set) <= deadline * wider
            })
    }

    /// Whether a set keeps every promise, each widened by the share `wider`.
    fn keeps(&self, set: &Set, wider: f64) -> bool {
        self.fits_in_time(set, wider)
            && (self.cap_mw == NO_POWER_CAP
                || self.drawn_mw(set) <= f64::from(self.cap_mw) * (1.0 + wider))
    }

    fn feasible(&self) -> bool {
        self.sets().any(|set| self.keeps(&set, -TOLERANCE))
    }

    /// What an application takes at a level if it is alone there; none where nothing serves it.
    fn alone(&self, slot: usize, level: usize) -> Option<usize> {
        let set = |sub: usize| {
            let mut subs = vec![0; self.tables.len()];
            subs[slot] = sub;
            (level, subs)
        };
        let cell = |sub: &usize| self.tables[slot][*sub].1[level];
        let mut serving =
            (0..self.tables[slot].len()).filter(|sub| self.serves(slot, &set(*sub), 0.0));
        match self.asked[slot].objective {
            Objective::BestAccuracy => serving.next_back(),
            Objective::LeastLatency => serving.min_by_key(|sub| cell(sub).latency_us),
            _ => serving.min_by_key(|sub| cell(sub).energy_uj),
        }
    }

    /// What the controller decides once all is kept, which then stays so (`rounds.rs`), or else once
    /// it has come to rest.
    fn decided(&self) -> Decision {
        let image = self.policy();
        let view = PolicyView::open(&image).unwrap();
        let mut bench = session(view, &self.asked, self.cap_mw, false, SEARCH);
        let mut decision = quiet(&mut bench);
        for _ in 1..PERIODS {
            if self.keeps(&self.set(&decision), -TOLERANCE) {
                break;
            }
            decision = quiet(&mut bench);
        }
        decision
    }
}

fn found(decision: &Decision) -> bool {
    decision.reason != Reason::Infeasible && decision.shortfall.what == Missing::Nothing
}

/// Why a set that keeps every promise was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// It is found without the cap.
    Cap,
    /// One application would have to give way, to one with a later deadline.
    ToLater,
    /// Two or three would have to give way, each by a part.
    Parts,
    /// None of these.
    Else,
}

/// What loses a case, of which these are the sets that keep every promise.
fn lost(case: &Case, feasible: &[Set]) -> Lost {
    let uncapped = Case { cap_mw: NO_POWER_CAP, ..case.clone() };
    if case.cap_mw != NO_POWER_CAP && found(&uncapped.decided()) {
        return Lost::Cap;
    }
    let applications = 0..case.asked.len();
    let mut lost = Lost::Parts;
    for (level, set) in feasible {
        let alone: Option<Vec<usize>> =
            applications.clone().map(|slot| case.alone(slot, *level)).collect();
        let Some(alone) = alone else { continue };
        let mut moved = applications.clone().filter(|slot| alone[*slot] != set[*slot]);
        let (Some(gives), None) = (moved.next(), moved.next()) else { continue };
        let own = case.asked[gives].deadline_us;
        let alone = (*level, alone);
        let later = |slot: &usize| case.asked[*slot].deadline_us > own;
        let late = |slot: &usize| case.over_us(*slot, &alone) > 0.0;
        if applications.clone().filter(later).any(|slot| late(&slot)) {
            return Lost::ToLater;
        }
        lost = Lost::Else;
    }
    lost
}

/// Cases of a kind: how many were found, and what lost the others.
fn share(kind: Kind, edge: f64) -> (u32, [u32; 4]) {
    let mut random = Random(7);
    let (mut cases, mut hits, mut missed) = (0, 0, [0; 4]);
    while cases < CASES {
        let Some(case) = Case::at_the_edge(kind, edge, &mut random) else { continue };
        let feasible: Vec<Set> = case.sets().filter(|set| case.keeps(set, -TOLERANCE)).collect();
        if feasible.is_empty() {
            continue;
        }
        cases += 1;
        let decision = case.decided();
        if !found(&decision) {
            missed[lost(&case, &feasible) as usize] += 1;
            continue;
        }
        hits += 1;
        assert!(case.keeps(&case.set(&decision), TOLERANCE), "{case:?} {decision:?}");
    }
    (hits, missed)
}

#[test]
fn several_applications_get_what_keeps_all_their_promises() {
    let mut table = String::from(
        "\n| applications | cells | cap | found within 20 % | within 2 % | missed there: giving way to \
         a later deadline | each by a part | under the cap | else |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for applications in [2, 3, 4] {
        for wild in [false, true] {
            for capped in [false, true] {
                let kind = Kind { applications, wild, capped };
                let (far, _) = share(kind, 0.2);
                let (near, missed) = share(kind, 0.02);
                let per_cent = |hits: u32| f64::from(hits) * 100.0 / f64::from(CASES);
                assert!(far * 1000 >= CASES * 995, "{kind:?}: {far} of {CASES}");
                let at = |lost: Lost| missed[lost as usize];
                table.push_str(&format!(
                    "| {applications} | {} | {} | {:.1} % | {:.1} % | {} | {} | {} | {} |\n",
                    if wild { "no order" } else { "like a board's" },
                    if capped { "yes" } else { "no" },
                    per_cent(far),
                    per_cent(near),
                    at(Lost::ToLater),
                    at(Lost::Parts),
                    at(Lost::Cap),
                    at(Lost::Else),
                ));
            }
        }
    }
    published("docs/control.md", "feasible", &table);
}
