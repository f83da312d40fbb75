//! Evolution of sub-networks towards the front: NSGA-II (Deb et al., IEEE Transactions on
//! Evolutionary Computation 6(2), 2002), then every change of one part of what it found (Pareto
//! local search: Paquete et al., 2004). One population often ends in a local optimum: several are
//! evolved apart, and the best of all once more together; climbs start from changed ones of these.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::{Source, SourceFault};
use crate::family::{Family, SubNet};
use crate::train::random::Random;

/// How long and from which seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Seed: the same one finds the same front.
    pub seed: u64,
    /// Sub-networks that live at a time.
    pub population: usize,
    /// Generations of each population.
    pub generations: usize,
    /// Populations evolved apart, at least 1; of more than one the best live on together for as many
    /// generations again.
    pub populations: usize,
    /// Climbs from changed sub-networks of the front, each by a worth of accuracy in latency that the
    /// front has somewhere, or by accuracy alone.
    pub climbs: usize,
    /// Rounds of trying every change of one part afterwards, of as many as live at a time.
    pub rounds: usize,
}

/// A sub-network with what the sources say of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The sub-network; blocks that it does not use are as small as the family has them.
    pub net: SubNet,
    /// Accuracy, %.
    pub accuracy_pct: f64,
    /// Latency, ms.
    pub latency_ms: f64,
}

impl Scored {
    /// At least as good in both, better in one.
    #[must_use]
    pub fn dominates(&self, other: &Self) -> bool {
        let (accuracy, latency) = (self.accuracy_pct, self.latency_ms);
        accuracy >= other.accuracy_pct
            && latency <= other.latency_ms
            && (accuracy > other.accuracy_pct || latency < other.latency_ms)
    }
}

/// The best accuracy at each latency, in ascending latency; of equals the first.
#[must_use]
pub fn front(mut scored: Vec<Scored>) -> Vec<Scored> {
    scored.sort_by(|a, b| {
        let accuracy = b.accuracy_pct.total_cmp(&a.accuracy_pct);
        a.latency_ms.total_cmp(&b.latency_ms).then(accuracy)
    });
    let mut best = f64::NEG_INFINITY;
    scored.retain(|scored| {
        let better = scored.accuracy_pct > best;
        best = best.max(scored.accuracy_pct);
        better
    });
    scored
}

/// Searches the family's sub-networks at the sizes of images that both sources know; gives the front
/// of all that were looked at.
///
/// # Errors
/// [`SourceFault`]: no size that both know, or a source says nothing of a sub-network.
pub fn search(
    family: &Family,
    accuracy: &dyn Source,
    latency: &dyn Source,
    settings: Settings,
) -> Result<Vec<Scored>, SourceFault> {
    let mut sides = family.resolutions.clone();
    if sides.is_empty() {
        sides.push(family.resolution);
    }
    sides.retain(|side| accuracy.knows_side(*side) && latency.knows_side(*side));
    if sides.is_empty() {
        let name = &family.name;
        return Err(SourceFault(format!("no image size of {name} is one that both sources know")));
    }
    let mut random = Random(settings.seed);
    let size = settings.population.max(4);
    let mut seen = Seen { accuracy, latency, scored: HashMap::new() };
    let mut living: Vec<Scored> = Vec::new();
    for _ in 0..settings.populations.max(1) {
        let mut population = start(family, &sides, size, &mut seen, &mut random)?;
        for _ in 0..settings.generations {
            generation(&mut population, size, family, &sides, &mut seen, &mut random)?;
        }
        for scored in population {
            if !living.iter().any(|known| known.net == scored.net) {
                living.push(scored);
            }
        }
    }
    if settings.populations > 1 {
        select(&mut living, size);
        for _ in 0..settings.generations {
            generation(&mut living, size, family, &sides, &mut seen, &mut random)?;
        }
    }
    let mut best = front(living);
    for _ in 0..settings.climbs {
        let top = climb(&best, family, &sides, &mut seen, &mut random)?;
        best.push(top);
        best = front(best);
    }
    let mut tried = HashSet::new();
    for _ in 0..settings.rounds {
        let before = best.clone();
        for from in thinned(&before, size) {
            if !tried.insert(key(&from.net)) {
                continue;
            }
            for net in neighbours(&from.net, family, &sides) {
                best.push(seen.score(family, net)?);
            }
        }
        best = front(best);
        if best == before {
            break;
        }
    }
    let mut all: Vec<Scored> = seen.scored.into_values().collect();
    // A map has no order of its own: of equals the first by its description.
    all.sort_by_cached_key(|scored| key(&scored.net));
    Ok(front(all))
}

/// The first of a population: uniform sub-networks at both ends of the depths, then random ones.
fn start(
    family: &Family,
    sides: &[usize],
    size: usize,
    seen: &mut Seen<'_>,
    random: &mut Random,
) -> Result<Vec<Scored>, SourceFault> {
    let mut living = Vec::new();
    for depth in [true, false] {
        for expand in &family.expands {
            for side in sides {
                let kernel = family.kernels[random.below(family.kernels.len())];
                let of = |stage: &crate::family::Stage| {
                    if depth { stage.max_depth } else { stage.min_depth }
                };
                let net = family.uniform(of, kernel, *expand);
                living.push(seen.score(family, SubNet { resolution: Some(*side), ..net })?);
            }
        }
    }
    while living.len() < size {
        let mut net = family.largest();
        mutate(&mut net, family, sides, 1.0, random);
        living.push(seen.score(family, net)?);
    }
    Ok(living)
}

/// Children of the better of the living, and the best of all of them.
fn generation(
    living: &mut Vec<Scored>,
    size: usize,
    family: &Family,
    sides: &[usize],
    seen: &mut Seen<'_>,
    random: &mut Random,
) -> Result<(), SourceFault> {
    let ranks = ranked(living);
    let mut parent = || {
        let (a, b) = (random.below(ranks.len()), random.below(ranks.len()));
        if ranks[a].cmp_to(&ranks[b]) == Ordering::Less { a } else { b }
    };
    let pairs: Vec<_> = (0..size).map(|_| (parent(), parent())).collect();
    for (a, b) in pairs {
        let mut net = crossed(&living[a].net, &living[b].net, random);
        // About one part in 35, or one in ten: near what is known, or further away.
        let chance = if random.unit() < 0.5 { 0.03 } else { 0.1 };
        mutate(&mut net, family, sides, chance, random);
        let child = seen.score(family, net)?;
        if !living.iter().any(|known| known.net == child.net) {
            living.push(child);
        }
    }
    select(living, size);
    Ok(())
}

/// The end of a climb from a changed sub-network of the front: the first change of one part that is
/// worth more, again and again, until none is.
fn climb(
    front: &[Scored],
    family: &Family,
    sides: &[usize],
    seen: &mut Seen<'_>,
    random: &mut Random,
) -> Result<Scored, SourceFault> {
    // The accurate end is the hardest to reach: a third of the climbs go there.
    let place = random.below(front.len());
    let (from, next) = match front.get(place + 1) {
        Some(next) if random.unit() > 1.0 / 3.0 => (&front[place], Some(next)),
        _ => (&front[front.len() - 1 - random.below(front.len().div_ceil(5))], None),
    };
    let price = next.map_or(0.0, |next| {
        (next.accuracy_pct - from.accuracy_pct) / (next.latency_ms - from.latency_ms)
    });
    let worth = |scored: &Scored| scored.accuracy_pct - price * scored.latency_ms;
    let mut net = from.net.clone();
    mutate(&mut net, family, sides, 0.15, random);
    let mut top = seen.score(family, net)?;
    loop {
        let mut changes = neighbours(&top.net, family, sides);
        random.shuffle(&mut changes);
        let mut better = None;
        for net in changes {
            let scored = seen.score(family, net)?;
            if worth(&scored) > worth(&top) {
                better = Some(scored);
                break;
            }
        }
        match better {
            Some(scored) => top = scored,
            None => return Ok(top),
        }
    }
}

/// Keeps the best.
fn select(living: &mut Vec<Scored>, size: usize) {
    let ranks = ranked(living);
    let mut order: Vec<usize> = (0..living.len()).collect();
    order.sort_by(|a, b| ranks[*a].cmp_to(&ranks[*b]).then(a.cmp(b)));
    order.truncate(size);
    *living = order.into_iter().map(|at| living[at].clone()).collect();
}

/// What tells one sub-network from another.
fn key(net: &SubNet) -> (Vec<usize>, Option<usize>) {
    ([&net.depths[..], &net.kernels, &net.expands].concat(), net.resolution)
}

/// At most so many of a front, both ends among them, evenly along it.
fn thinned(front: &[Scored], most: usize) -> impl Iterator<Item = &Scored> {
    let (last, steps) = (front.len() - 1, front.len().min(most.max(2)) - 1);
    (0..=steps).map(move |step| &front[(last * step).checked_div(steps).unwrap_or(0)])
}

/// All that differ in one part.
fn neighbours(net: &SubNet, family: &Family, sides: &[usize]) -> Vec<SubNet> {
    let mut all = Vec::new();
    let mut first = 0;
    for (place, stage) in family.stages.iter().enumerate() {
        for depth in stage.min_depth..=stage.max_depth {
            let mut changed = net.clone();
            changed.depths[place] = depth;
            all.push(changed);
        }
        for block in first..first + net.depths[place] {
            for kernel in &family.kernels {
                let mut changed = net.clone();
                changed.kernels[block] = *kernel;
                all.push(changed);
            }
            for expand in &family.expands {
                let mut changed = net.clone();
                changed.expands[block] = *expand;
                all.push(changed);
            }
        }
        first += stage.max_depth;
    }
    all.extend(sides.iter().map(|side| SubNet { resolution: Some(*side), ..net.clone() }));
    all
}

/// What was looked at.
struct Seen<'s> {
    accuracy: &'s dyn Source,
    latency: &'s dyn Source,
    scored: HashMap<(Vec<usize>, Option<usize>), Scored>,
}

impl Seen<'_> {
    fn score(&mut self, family: &Family, mut net: SubNet) -> Result<Scored, SourceFault> {
        settle(&mut net, family);
        let key = key(&net);
        if let Some(known) = self.scored.get(&key) {
            return Ok(known.clone());
        }
        let (accuracy_pct, latency_ms) = (self.accuracy.of(&net)?, self.latency.of(&net)?);
        let scored = Scored { net, accuracy_pct, latency_ms };
        self.scored.insert(key, scored.clone());
        Ok(scored)
    }
}

/// Gives blocks that are not used the smallest kernel and expand ratio: one description a network.
fn settle(net: &mut SubNet, family: &Family) {
    let mut first = 0;
    for (stage, depth) in family.stages.iter().zip(&net.depths) {
        for block in first + depth..first + stage.max_depth {
            net.kernels[block] = family.kernels.first().copied().unwrap_or(3);
            net.expands[block] = family.expands.first().copied().unwrap_or(1);
        }
        first += stage.max_depth;
    }
}

/// Each part anew with this chance.
fn mutate(net: &mut SubNet, family: &Family, sides: &[usize], chance: f32, random: &mut Random) {
    for (stage, depth) in family.stages.iter().zip(&mut net.depths) {
        if random.unit() < chance {
            *depth = stage.min_depth + random.below(stage.max_depth - stage.min_depth + 1);
        }
    }
    for (parts, known) in [(&mut net.kernels, &family.kernels), (&mut net.expands, &family.expands)]
    {
        for part in parts {
            if random.unit() < chance {
                *part = known[random.below(known.len())];
            }
        }
    }
    if random.unit() < chance {
        net.resolution = Some(sides[random.below(sides.len())]);
    }
}

/// Each part from one of two.
fn crossed(a: &SubNet, b: &SubNet, random: &mut Random) -> SubNet {
    let mut mix = |a: &[usize], b: &[usize]| {
        let pick = |(a, b): (&usize, &usize)| if random.unit() < 0.5 { *a } else { *b };
        a.iter().zip(b).map(pick).collect::<Vec<_>>()
    };
    SubNet {
        depths: mix(&a.depths, &b.depths),
        kernels: mix(&a.kernels, &b.kernels),
        expands: mix(&a.expands, &b.expands),
        resolution: if random.unit() < 0.5 { a.resolution } else { b.resolution },
    }
}

/// Number of the front that a sub-network is on, 0 the best, and how alone it is there.
#[derive(Debug, Clone, Copy)]
struct Rank {
    front: usize,
    distance: f64,
}

impl Rank {
    fn cmp_to(&self, other: &Self) -> Ordering {
        self.front.cmp(&other.front).then(other.distance.total_cmp(&self.distance))
    }
}

/// Ranks of all: fronts peeled off one after another, crowding distance within each.
fn ranked(all: &[Scored]) -> Vec<Rank> {
    let mut ranks = vec![Rank { front: 0, distance: f64::INFINITY }; all.len()];
    let mut left: Vec<usize> = (0..all.len()).collect();
    left.sort_by(|a, b| {
        let (a, b) = (&all[*a], &all[*b]);
        let accuracy = b.accuracy_pct.total_cmp(&a.accuracy_pct);
        a.latency_ms.total_cmp(&b.latency_ms).then(accuracy)
    });
    let mut number = 0;
    while !left.is_empty() {
        let (mut best, mut on, mut behind) = (f64::NEG_INFINITY, Vec::new(), Vec::new());
        for at in left {
            let accuracy = all[at].accuracy_pct;
            // Equals of the last one on the front are on it as well.
            let equal = on.last().is_some_and(|last: &usize| {
                let last = &all[*last];
                last.accuracy_pct == accuracy && last.latency_ms == all[at].latency_ms
            });
            if accuracy > best || equal || on.is_empty() {
                best = best.max(accuracy);
                on.push(at);
            } else {
                behind.push(at);
            }
        }
        let spread = |of: &dyn Fn(&Scored) -> f64| {
            let (first, last) = (of(&all[on[0]]), of(&all[on[on.len() - 1]]));
            (last - first).abs().max(f64::MIN_POSITIVE)
        };
        let (slow, exact) = (spread(&|s| s.latency_ms), spread(&|s| s.accuracy_pct));
        for (place, at) in on.iter().enumerate() {
            ranks[*at].front = number;
            if place > 0 && place + 1 < on.len() {
                let (before, after) = (&all[on[place - 1]], &all[on[place + 1]]);
                ranks[*at].distance = (after.latency_ms - before.latency_ms) / slow
                    + (after.accuracy_pct - before.accuracy_pct) / exact;
            }
        }
        left = behind;
        number += 1;
    }
    ranks
}
