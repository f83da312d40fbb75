//! Boards on which nothing keeps every promise: what is given up, which level is taken, and what is
//! named as missing, by a controller whose search has no bound. Held against searches of every level
//! and every sub-network in floating point, which know the laws of `docs/control.md` and none of the
//! controller's code.
//!
//! The controller reckons in integers. Boards where a promise is kept or broken by less than what
//! these round away are left out, and of two levels that differ by less either may be taken.

mod common;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use common::boards::{Case, Random, Set, guard};
use common::rest::{quiet, session};
use coshift_shared::policy::{Cell, PolicyView};
use coshift_shared::to_controller::{Degrade, Objective, Targets};
use coshift_shared::to_host::{Decision, Missing, Reason, Shortfall};
use coshift_shared::units::NO_POWER_CAP;

/// Utilisation over the limit, cut off to whole 0.1 %, begins here.
const OVER_PERMILLE: f64 = 901.0;
/// What integers round away: of times, µs, of utilisation, 0.1 % for each application, and of power, a
/// share and mW.
const TIME: f64 = 4.0;
const PART: f64 = 1.5;
const POWER: (f64, f64) = (0.006, 3.0);

/// Random cells at up to four levels with so many sub-networks an application at most, and promises
/// of which mostly some cannot be kept.
fn any(applications: u8, most_rows: usize, random: &mut Random) -> Case {
    let levels = random.count(1, 4);
    let wild = random.count(0, 1) == 0;
    let idle_mw = (0..levels as u32).map(|level| {
        if wild { random.between(1_500.0, 5_000.0) as u32 } else { 2_000 + 300 * level }
    });
    let idle_mw = idle_mw.collect();
    let (mut tables, mut asked) = (Vec::new(), Vec::new());
    for table in 0..applications {
        let mut accuracy_bp = 7_000;
        let mut work = random.between(2_000.0, 12_000.0);
        let mut rows: Vec<(u16, Vec<Cell>)> = Vec::new();
        for _ in 0..random.count(1, most_rows) {
            accuracy_bp += random.count(50, 300) as u16;
            work *= random.between(1.1, 1.8);
            let cells = (0..levels).map(|level| {
                if wild {
                    let latency_us = random.between(2_000.0, 60_000.0) as u32;
                    return Cell { latency_us, energy_uj: random.between(5e3, 3e5) as u32 };
                }
                let ghz = 0.3 + 0.18 * level as f64;
                let latency = (work / ghz + 2_000.0) * random.between(0.95, 1.05);
                let beyond_mw = (2_500.0 + 5_000.0 * ghz.powi(2)) * random.between(0.95, 1.05);
                Cell { latency_us: latency as u32, energy_uj: (latency * beyond_mw / 1e3) as u32 }
            });
            rows.push((accuracy_bp, cells.collect()));
        }
        // What some sub-network takes at some level, more or less.
        let mut near = |of: fn(&Cell) -> u32, (from, until): (f64, f64)| {
            let cells = &rows[random.count(0, rows.len() - 1)].1;
            let cell = &cells[random.count(0, levels - 1)];
            (f64::from(of(cell)) * random.between(from, until)) as u32
        };
        let deadline_us = near(|cell| cell.latency_us, (0.6, 1.5));
        let period_us = near(|cell| cell.latency_us, (0.8, 6.0));
        let budget = near(|cell| cell.energy_uj, (0.6, 1.2));
        let floor = match random.count(0, 9) {
            0 => 0,
            1 => accuracy_bp + 50,
            _ => random.count(rows[0].0.into(), accuracy_bp.into()) as u16,
        };
        let objectives = [Objective::LeastEnergy, Objective::BestAccuracy, Objective::LeastLatency];
        asked.push(Targets {
            table,
            objective: random.one_of(&objectives),
            deadline_us,
            period_us,
            accuracy_floor_bp: floor,
            miss_target_bp: random.one_of(&[500, 100, 50, 10]),
            priority: random.one_of(&[0, 1, 2]),
            degrade: random.one_of(&[Degrade::Accuracy, Degrade::Deadline, Degrade::Energy]),
            energy_budget_uj: if random.count(0, 2) > 0 { budget } else { 0 },
        });
        tables.push(rows);
    }
    Case { idle_mw, tables, asked, cap_mw: NO_POWER_CAP }
}

/// What a level with its sub-networks is compared by, the first that differs, each with what integers
/// round away of it.
type Rank = Vec<(f64, f64)>;

/// Whether one rank is less; none where what differs first differs too little.
fn compare(one: &Rank, other: &Rank) -> Option<Ordering> {
    for ((a, rounds), (b, _)) in one.iter().zip(other) {
        if a == b {
            continue;
        }
        return ((a - b).abs() > *rounds).then(|| a.total_cmp(b));
    }
    Some(Ordering::Equal)
}

/// Whether one rank is less, and that is clear.
fn beats(one: &Rank, other: &Rank) -> bool {
    compare(one, other) == Some(Ordering::Less)
}

/// The entry that tells two ranks apart, the last one where none does.
fn entry(one: &Rank, other: &Rank) -> usize {
    let differs = one.iter().zip(other).position(|(one, other)| one.0 != other.0);
    differs.unwrap_or(one.len() - 1)
}

impl Case {
    /// The energy budget that counts.
    fn budget_uj(&self, slot: usize) -> f64 {
        let asked = &self.asked[slot];
        if asked.energy_budget_uj == 0 || asked.objective == Objective::LeastEnergy {
            return f64::INFINITY;
        }
        f64::from(asked.energy_budget_uj)
    }

    fn accuracy_bp(&self, slot: usize, set: &Set) -> f64 {
        f64::from(self.tables[slot][set.1[slot]].0)
    }

    /// Share of the board's time that an application takes, 0.1 %.
    fn permille(&self, slot: usize, set: &Set) -> f64 {
        self.cell(slot, set).0 / f64::from(self.asked[slot].period_us) * 1000.0
    }

    /// Guarded latency over the deadline, alone.
    fn late_alone_us(&self, slot: usize, set: &Set) -> f64 {
        self.cell(slot, set).0 * guard(&self.asked[slot]) - f64::from(self.asked[slot].deadline_us)
    }

    /// What is rounded away of [`Case::over_us`]: as much for each request that may come before.
    fn rounds_us(&self, slot: usize) -> f64 {
        let deadline = f64::from(self.asked[slot].deadline_us);
        let earlier = self.asked.iter().map(|other| {
            (deadline - f64::from(other.deadline_us)).max(0.0) / f64::from(other.period_us)
        });
        TIME + earlier.sum::<f64>()
    }

    /// Whether deadline and utilisation are kept alone; the floor; the budget.
    fn in_time(&self, slot: usize, set: &Set) -> bool {
        self.late_alone_us(slot, set) <= 0.0 && self.permille(slot, set) < OVER_PERMILLE
    }

    fn at_floor(&self, slot: usize, set: &Set) -> bool {
        self.accuracy_bp(slot, set) >= f64::from(self.asked[slot].accuracy_floor_bp)
    }

    fn in_budget(&self, slot: usize, set: &Set) -> bool {
        self.cell(slot, set).1 <= self.budget_uj(slot)
    }

    fn over_cap_mw(&self, set: &Set) -> f64 {
        (self.drawn_mw(set) - f64::from(self.cap_mw)).max(0.0)
    }

    /// Applications, the highest priority first; of equals the lower slot.
    fn ranked(&self) -> Vec<usize> {
        let mut slots: Vec<usize> = (0..self.asked.len()).collect();
        slots.sort_by_key(|slot| (std::cmp::Reverse(self.asked[*slot].priority), *slot));
        slots
    }

    /// Whether no promise is kept or broken by less than what integers round away.
    fn is_clear(&self, set: &Set) -> bool {
        let slots = 0..self.asked.len();
        let permille: Vec<f64> = slots.clone().map(|slot| self.permille(slot, set)).collect();
        let busy = permille.iter().sum::<f64>();
        let clear = |permille: f64, parts: f64| (permille - OVER_PERMILLE).abs() > PART * parts;
        let (mean_mw, peak_mw) = self.powers_mw(set);
        let cap_mw = f64::from(self.cap_mw);
        slots.clone().all(|slot| self.late_alone_us(slot, set).abs() > TIME)
            && slots.clone().all(|slot| self.over_us(slot, set).abs() > self.rounds_us(slot))
            && permille.iter().all(|permille| clear(*permille, 1.0))
            && clear(busy, permille.len() as f64)
            && [mean_mw, peak_mw].iter().all(|mw| (mw - cap_mw).abs() > cap_mw * POWER.0 + POWER.1)
    }

    fn unserved(&self, slot: usize, set: &Set) -> bool {
        let own = self.in_time(slot, set) && self.at_floor(slot, set) && self.in_budget(slot, set);
        !own || self.over_us(slot, set) > 0.0
    }

    /// The rank of a level with these sub-networks.
    fn rank(&self, set: &Set) -> Rank {
        let slots = || 0..self.asked.len();
        let power = |mw: f64| mw * POWER.0 + POWER.1;
        let ranked = self.ranked();
        let unserved = ranked.iter().map(|slot| self.unserved(*slot, set));
        let unserved =
            unserved.fold(0.0, |sum, unserved| 2.0 * sum + f64::from(u8::from(unserved)));
        let busy: f64 = slots().map(|slot| self.permille(slot, set)).sum();
        let over = if busy < OVER_PERMILLE { 0.0 } else { busy - OVER_PERMILLE + 1.0 };
        let late: f64 = slots().map(|slot| self.over_us(slot, set).max(0.0)).sum();
        let short = |slot: usize| {
            let floor = f64::from(self.asked[slot].accuracy_floor_bp);
            (floor - self.accuracy_bp(slot, set)).max(0.0)
        };
        let over_budget = |slot: usize| (self.cell(slot, set).1 - self.budget_uj(slot)).max(0.0);
        let (mean_mw, _) = self.powers_mw(set);
        let mut rank = vec![
            (self.over_cap_mw(set), power(self.drawn_mw(set))),
            (unserved, 0.5),
            (over, PART * slots().len() as f64),
            (late, slots().map(|slot| self.rounds_us(slot)).sum()),
            (slots().map(short).sum(), 0.5),
            (slots().map(over_budget).sum(), 1.0),
        ];
        let wish = |slot: &usize| match self.asked[*slot].objective {
            Objective::BestAccuracy => 10_000.0 - self.accuracy_bp(*slot, set),
            Objective::LeastLatency => self.cell(*slot, set).0,
            _ => 0.0,
        };
        rank.extend(ranked.iter().map(|slot| (wish(slot), 0.5)));
        rank.push((mean_mw, power(mean_mw)));
        rank
    }

    /// Whether every promise is kept.
    fn keeps_all(&self, set: &Set) -> bool {
        self.over_cap_mw(set) == 0.0 && self.keeps_all_but_the_cap(set)
    }

    fn keeps_all_but_the_cap(&self, set: &Set) -> bool {
        let busy: f64 = (0..self.asked.len()).map(|slot| self.permille(slot, set)).sum();
        busy < OVER_PERMILLE && (0..self.asked.len()).all(|slot| !self.unserved(slot, set))
    }

    /// A case in which nothing keeps every promise and none is at its edge, half of them under a cap
    /// that some sets keep.
    fn hopeless(applications: u8, most_rows: usize, random: &mut Random) -> Self {
        loop {
            let mut case = any(applications, most_rows, random);
            if random.count(0, 1) == 0 {
                let sets: Vec<Set> = case.sets().collect();
                let near = case.drawn_mw(&sets[random.count(0, sets.len() - 1)]);
                case.cap_mw = (near * random.between(0.9, 1.2)) as u32;
            }
            let clear = case.sets().all(|set| case.is_clear(&set));
            // Under a cap, more work than there is time for is no part of this: what is searched by
            // rules misses more there.
            let able = |set: &Set| {
                (0..case.asked.len()).map(|slot| case.permille(slot, set)).sum::<f64>() < 999.0
            };
            if case.cap_mw != NO_POWER_CAP && !case.sets().all(|set| able(&set)) {
                continue;
            }
            if clear && case.sets().all(|set| !case.keeps_all(&set)) {
                return case;
            }
        }
    }

    /// Whether each application that would rather be late than give up its floor keeps that, where any
    /// sub-network has it, and else runs the most accurate; and its budget beside that.
    fn is_declared(&self, set: &Set) -> bool {
        (0..self.asked.len()).filter(|slot| self.asked[*slot].degrade == Degrade::Deadline).all(
            |slot| {
                let subs = (0..self.tables[slot].len()).map(|sub| {
                    let mut set = set.clone();
                    set.1[slot] = sub;
                    set
                });
                let floor: Vec<Set> = subs.clone().filter(|set| self.at_floor(slot, set)).collect();
                let both = floor.iter().any(|set| self.in_budget(slot, set));
                if floor.is_empty() {
                    return set.1[slot] + 1 == self.tables[slot].len();
                }
                self.at_floor(slot, set) && (!both || self.in_budget(slot, set))
            },
        )
    }

    /// What is decided first, by a search without a bound.
    fn decided(&self) -> Decision {
        let image = self.policy();
        let view = PolicyView::open(&image).unwrap();
        quiet(&mut session(view, &self.asked, self.cap_mw, false, u32::MAX))
    }

    /// The same board with one level only.
    fn at(&self, level: usize) -> Self {
        let row = |(accuracy_bp, cells): &(u16, Vec<Cell>)| (*accuracy_bp, vec![cells[level]]);
        let table = |rows: &Vec<(u16, Vec<Cell>)>| rows.iter().map(row).collect();
        let tables = self.tables.iter().map(table).collect();
        Self { idle_mw: vec![self.idle_mw[level]], tables, ..self.clone() }
    }
}

/// A promise of one application; what its degradation order has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Promise {
    /// The cap on power, which is the board's.
    Cap,
    Deadline,
    Floor,
    Budget,
}

/// The promises, the one kept longest first.
fn order(degrade: Degrade) -> [Promise; 4] {
    use Promise::{Budget, Cap, Deadline, Floor};
    match degrade {
        Degrade::Deadline => [Floor, Cap, Budget, Deadline],
        Degrade::Energy => [Cap, Deadline, Floor, Budget],
        _ => [Cap, Deadline, Budget, Floor],
    }
}

/// What one application runs at a level, and the first promise that goes: promise after promise, the
/// sub-networks that keep it stay; where none does, that one and those behind it are given up, for as
/// little of it as possible. Not so the budget before the deadline: there the fastest runs, not the
/// leanest. What runs where the cap goes is left open.
fn expected(case: &Case, level: usize) -> (Option<Set>, Promise) {
    let degrade = case.asked[0].degrade;
    let mut left: Vec<Set> = case.sets().filter(|set| set.0 == level).collect();
    let mut gone = None;
    for promise in order(degrade) {
        let keeps = |set: &&Set| match promise {
            Promise::Cap => case.over_cap_mw(set) == 0.0,
            Promise::Deadline => case.in_time(0, set),
            Promise::Floor => case.at_floor(0, set),
            Promise::Budget => case.in_budget(0, set),
        };
        let keeping: Vec<Set> = left.iter().filter(keeps).cloned().collect();
        if !keeping.is_empty() {
            left = keeping;
            continue;
        }
        gone = gone.or(Some(promise));
        let lost = |set: &&Set| match promise {
            Promise::Budget if degrade == Degrade::Deadline => 0.0,
            Promise::Budget => case.cell(0, set).1,
            Promise::Floor => -case.accuracy_bp(0, set),
            _ => case.cell(0, set).0,
        };
        if promise == Promise::Cap {
            return (None, promise);
        }
        let least = left.iter().map(|set| lost(&set)).min_by(f64::total_cmp).unwrap();
        left.retain(|set| lost(&set) == least);
    }
    let gone = gone.expect("nothing keeps every promise");
    if degrade == Degrade::Deadline {
        left.sort_by_key(|set| case.cell(0, set).0 as u32);
    }
    (left.first().cloned(), gone)
}

/// What is named as missing, by the order of `docs/control.md`; `runs` is what was decided, and `taken`
/// what would be at each level without the cap.
fn missing(case: &Case, runs: &Set, taken: &[Set]) -> (Missing, u8, f64) {
    let slots = || 0..case.asked.len();
    let name = |slot: usize| u8::try_from(slot).unwrap();
    for slot in slots() {
        let best = case.tables[slot].last().unwrap().0;
        let floor = case.asked[slot].accuracy_floor_bp;
        if best < floor {
            return (Missing::Accuracy, name(slot), f64::from(floor - best));
        }
    }
    let least = |slot: usize, of: &dyn Fn(&Set) -> f64, among: &dyn Fn(&Set) -> bool| {
        let sets = case.sets().filter(|set| case.at_floor(slot, set) && among(set));
        sets.map(|set| of(&set)).min_by(f64::total_cmp)
    };
    for slot in slots() {
        let late = least(slot, &|set| case.late_alone_us(slot, set), &|_| true).unwrap();
        if late > 0.0 {
            return (Missing::Time, name(slot), late);
        }
    }
    let fits = taken.iter().filter(|set| case.keeps_all_but_the_cap(set));
    if let Some(over) = fits.map(|set| case.over_cap_mw(set)).min_by(f64::total_cmp) {
        return (Missing::Power, u8::MAX, over);
    }
    let unserved = case.ranked().into_iter().find(|slot| case.unserved(*slot, runs));
    let rank = case.rank(runs);
    if let Some(slot) = unserved {
        let energy = least(slot, &|set| case.cell(slot, set).1, &|set| case.in_time(slot, set));
        let over = energy.map_or(0.0, |energy| energy - case.budget_uj(slot));
        if over > 0.0 {
            return (Missing::Energy, name(slot), over);
        }
    }
    if rank[2].0 > 0.0 {
        return (Missing::Utilisation, u8::MAX, rank[2].0);
    }
    if rank[3].0 == 0.0 && rank[0].0 > 0.0 {
        return (Missing::Power, u8::MAX, rank[0].0);
    }
    let slot = unserved.expect("an application lacks something");
    // With the fastest at its floor in the place of what it runs.
    let places = (0..case.tables[slot].len()).map(|sub| {
        let mut set = runs.clone();
        set.1[slot] = sub;
        set
    });
    let places = places.filter(|set| case.at_floor(slot, set));
    let fastest = places.min_by(|a, b| case.cell(slot, a).0.total_cmp(&case.cell(slot, b).0));
    let fastest = fastest.unwrap();
    let late = case.over_us(slot, &fastest).max(0.0);
    let busy = slots().map(|other| case.permille(other, &fastest)).sum::<f64>();
    if late == 0.0 && busy > OVER_PERMILLE {
        return (Missing::Utilisation, name(slot), busy - OVER_PERMILLE + 1.0);
    }
    (Missing::Time, name(slot), late)
}

/// The decision says that nothing fits, what is missing, of which application, and how much.
fn named_rightly(case: &Case, decision: &Decision, taken: &[Set]) -> Missing {
    let Shortfall { what, slot, amount } = decision.shortfall;
    assert_eq!(decision.reason, Reason::Infeasible, "{case:?}");
    let (named, of, much) = missing(case, &case.set(decision), taken);
    if named == Missing::Time && much <= case.rounds_us(of.into()) {
        // It would just about be in time with its floor.
        assert_ne!(what, Missing::Nothing, "{case:?}: {decision:?}");
        return what;
    }
    assert_eq!((what, slot), (named, of), "{case:?}: {decision:?}");
    let rounds = match what {
        Missing::Power => much * POWER.0 + f64::from(case.cap_mw) * POWER.0 + POWER.1,
        Missing::Utilisation => PART * case.asked.len() as f64,
        Missing::Time => case.rounds_us(slot.into()),
        _ => 1.0,
    };
    let apart = (f64::from(amount) - much).abs();
    assert!(apart <= rounds, "{case:?}: {decision:?}, not {much}");
    what
}

/// What is decided at each level if that is the only one.
fn taken(case: &Case) -> Vec<Set> {
    let only = |level| {
        let case = case.at(level);
        (level, case.set(&case.decided()).1)
    };
    (0..case.idle_mw.len()).map(only).collect()
}

/// One application, in each of its declared orders, with a budget and without, with a floor that some
/// sub-network has and one that none has, under a cap on power and without: it gives up what it said
/// it would, at every level, and of the levels the one with the least rank is taken.
#[test]
fn one_application_gives_up_what_it_declared() {
    const CASES: u32 = 20_000;
    let mut random = Random(11);
    let mut met: BTreeMap<String, u32> = BTreeMap::new();
    let mut told_apart = [0; 8];
    for _ in 0..CASES {
        let case = Case::hopeless(1, 4, &mut random);
        let decision = case.decided();
        assert_eq!(decision.reason, Reason::Infeasible, "{case:?}");
        let set = case.set(&decision);
        let (runs, gone) = expected(&case, set.0);
        let degrade = case.asked[0].degrade;
        *met.entry(format!("{degrade:?}: {gone:?}")).or_default() += 1;
        if let Some(runs) = runs {
            let same = compare(&case.rank(&runs), &case.rank(&set)) == Some(Ordering::Equal);
            assert!(
                runs == set || same,
                "{case:?}: {gone:?} goes, {runs:?} runs, not {decision:?}"
            );
        } else if degrade == Degrade::Deadline {
            let floor = |set: &Set| case.at_floor(0, set);
            assert!(floor(&set) || !case.sets().any(|set| floor(&set)), "{case:?}: {decision:?}");
        }
        for level in 0..case.idle_mw.len() {
            let Some(other) = expected(&case, level).0 else { continue };
            let ranks = [case.rank(&other), case.rank(&set)];
            told_apart[entry(&ranks[0], &ranks[1])] += u32::from(other != set);
            assert!(!beats(&ranks[0], &ranks[1]), "{case:?}: {other:?}, not {decision:?}");
        }
    }
    println!("{met:?} {told_apart:?}");
    assert!(told_apart[2..].iter().all(|entry| *entry > 200), "{told_apart:?}");
    assert!(met.len() == 12 && met.values().all(|met| *met > 300), "{met:?}");
}

/// Two applications: of what is taken at each level where it is the only one, the least rank is taken
/// where all can be had, and what is missing is named.
///
/// Who gives way to whom follows rules. So of all sets in which the applications give up what they
/// declared, one of a better rank may be missed, but hardly one that keeps a cap or serves the highest
/// priority.
#[test]
fn the_level_with_the_least_rank_is_taken() {
    const CASES: u32 = 5_000;
    let mut random = Random(12);
    let mut named: BTreeMap<String, u32> = BTreeMap::new();
    let mut told_apart = [0; 9];
    let (mut capped, mut kept, mut highest, mut first, mut best) = (0, 0, 0, 0, 0);
    for _ in 0..CASES {
        let case = Case::hopeless(2, 3, &mut random);
        let decision = case.decided();
        let set = case.set(&decision);
        let levels = taken(&case);
        assert_eq!(levels[set.0], set, "{case:?}: {decision:?}");
        let rank = case.rank(&set);
        let (power_mw, rounds) = *rank.last().unwrap();
        let apart = (f64::from(decision.power_mw) - power_mw).abs();
        assert!(apart <= rounds, "{case:?}: {decision:?}");
        for other in levels.iter().filter(|other| **other != set) {
            let other = case.rank(other);
            told_apart[entry(&other, &rank)] += 1;
            assert!(!beats(&other, &rank), "{case:?}: {decision:?}, {other:?} < {rank:?}");
        }
        let uncapped = Case { cap_mw: NO_POWER_CAP, ..case.clone() };
        let what = named_rightly(&case, &decision, &taken(&uncapped));
        *named.entry(format!("{what:?}")).or_default() += 1;
        // Of all sets.
        let sets = case.sets().filter(|set| case.is_declared(set));
        let ranks: Vec<Rank> = sets.map(|set| case.rank(&set)).collect();
        let keeps = |rank: &Rank| rank[0].0 == 0.0;
        if case.cap_mw != NO_POWER_CAP && ranks.iter().any(keeps) {
            capped += 1;
            kept += u32::from(keeps(&rank));
        }
        // Both unserved, or the higher priority alone, are 3 and 2.
        let serves = |rank: &Rank| keeps(rank) && rank[1].0 < 2.0;
        if ranks.iter().any(serves) {
            highest += 1;
            first += u32::from(serves(&rank));
        }
        let less = |other: &Rank| beats(&other[..6].to_vec(), &rank[..6].to_vec());
        best += u32::from(!ranks.iter().any(less));
    }
    println!("caps {kept} of {capped}, highest {first} of {highest}, {best} of {CASES}");
    println!("{named:?} {told_apart:?}");
    // Each entry of the rank that levels are chosen by.
    assert!([0, 1, 2, 3].iter().all(|entry| told_apart[*entry] > 200), "{told_apart:?}");
    assert!(named.len() == 5 && named.values().all(|named| *named > 5), "{named:?}");
    assert!(capped > 300 && kept * 100 >= capped * 98, "{kept} of {capped}");
    assert!(highest > 300 && first * 100 >= highest * 98, "{first} of {highest}");
    assert!(best * 100 >= CASES * 96, "{best} of {CASES}");
}

/// An application that has more requests than there is time for keeps its cap with the sub-network
/// that is slower and needs less: the board is busy all the time, and draws 3,593 mW with it.
#[test]
fn a_board_that_is_always_busy_keeps_its_cap() {
    let cell = |latency_us, energy_uj| vec![Cell { latency_us, energy_uj }];
    let rows = vec![(7_000, cell(28_000, 60_000)), (7_400, cell(57_000, 33_000))];
    let asked = Targets {
        deadline_us: 67_000,
        period_us: 10_600,
        accuracy_floor_bp: 0,
        degrade: Degrade::Energy,
        ..common::targets()
    };
    let case = Case { idle_mw: vec![3_000], tables: vec![rows], asked: vec![asked], cap_mw: 4_700 };
    assert!(case.drawn_mw(&(0, vec![1])) < 4_700.0);
    let decision = case.decided();
    assert!(decision.power_mw <= 4_700, "{decision:?}");
}

/// The only sub-network at the floor is in time and takes 97 % of the board, of which 90 % may be used.
#[test]
fn utilisation_is_named_where_time_would_do() {
    let row = |accuracy_bp, latency_us| (accuracy_bp, vec![Cell { latency_us, energy_uj: 50_000 }]);
    let asked = Targets {
        deadline_us: 60_000,
        period_us: 31_000,
        accuracy_floor_bp: 7_500,
        ..common::targets()
    };
    let tables = vec![vec![row(7_000, 5_000), row(7_500, 30_000)]];
    let case = Case { idle_mw: vec![2_000], tables, asked: vec![asked], cap_mw: NO_POWER_CAP };
    let Shortfall { what, slot, amount } = case.decided().shortfall;
    assert_eq!((what, slot), (Missing::Utilisation, 0));
    assert!((60..=75).contains(&amount), "{amount}");
}
