//! What the demonstration does, and when.
//!
//! Times are the agent's, in seconds since its start. Sub-networks are named by their index in the
//! shipped model, so that another training changes no phase.

use coshift_plant::board::Network;

/// Application of the demonstration.
pub(crate) const APPLICATION: &str = "cam0";
/// Its network.
pub(crate) const NETWORK: &str = "coshift-28";
/// Its requests, one a period of 80 ms.
pub(crate) const RATE: f64 = 12.5;
/// Control period, ms.
pub(crate) const PERIOD_MS: u64 = 100;
/// Share of requests that may be late, 0.01 %.
pub(crate) const MISS_BP: u16 = 100;

/// A part of the demonstration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    /// What happens in it, in a sentence.
    pub(crate) story: &'static str,
    pub(crate) from_s: f64,
    pub(crate) until_s: f64,
}

/// What an event changes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The application's targets: relative deadline, ms; accuracy floor, 0.01 %.
    Targets { deadline_ms: u32, floor_bp: u16 },
    /// Cap on board input power, mW; `None` = only the policy's.
    PowerCap(Option<u32>),
    /// How much slower a neighbour makes every request, 0.001.
    Slowdown(u32),
}

/// What an event asks of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// The decision in force no longer keeps every promise.
    More,
    /// It costs more than it needs to.
    Less,
}

/// Something that happens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) at_s: f64,
    pub(crate) what: &'static str,
    pub(crate) change: Change,
    pub(crate) asks: Asks,
}

/// What holds at a time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TargetsAt {
    pub(crate) deadline_ms: f64,
    pub(crate) floor_bp: u16,
    pub(crate) cap_mw: Option<u32>,
    pub(crate) slowdown: f64,
}

/// The whole demonstration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Script {
    /// Targets at the start.
    pub(crate) deadline_ms: u32,
    pub(crate) floor_bp: u16,
    pub(crate) phases: Vec<Phase>,
    pub(crate) events: Vec<Event>,
}

/// Deadline when nothing presses, ms.
const EASY_MS: u32 = 45;
/// Deadline that makes the board hurry, ms.
const TIGHT_MS: u32 = 20;
/// A neighbour that takes as much as this, 0.001.
const NEIGHBOUR: u32 = 2_200;
/// Cap that the demanding sub-network does not fit under at its level, mW.
const CAP_MW: u32 = 5_500;

impl Script {
    /// The demonstration with a board's network.
    pub(crate) fn new(network: &Network) -> Self {
        // Just under a sub-network's accuracy, so that it is the least accurate one allowed.
        let floor_at = |index: usize| {
            let sub = network.sub_networks.get(index).or(network.sub_networks.last());
            let accuracy_bp = sub.map_or(0.0, |sub| sub.accuracy_pct * 100.0);
            (accuracy_bp - 1.0).max(0.0).floor() as u16
        };
        // A board that the neighbour slows down can still serve this one in time.
        let modest = floor_at(network.sub_networks.len() / 3);
        let demanding = floor_at(network.sub_networks.len().saturating_sub(2));
        let targets = |deadline_ms, floor_bp| Change::Targets { deadline_ms, floor_bp };
        let event = |at_s, what, change, asks| Event { at_s, what, change, asks };
        let phase = |name, story, from_s, until_s| Phase { name, story, from_s, until_s };
        Self {
            deadline_ms: EASY_MS,
            floor_bp: modest,
            phases: vec![
                phase("quiet", "a modest accuracy floor, time enough", 6.0, 16.0),
                phase("deadline", "the deadline is tightened, then relaxed", 16.0, 27.0),
                phase("floor", "the accuracy floor is raised, then lowered", 27.0, 38.0),
                phase("co-runner", "a neighbour slows the board down, then leaves", 38.0, 49.0),
                phase(
                    "power cap",
                    "with the floor raised again, a power cap comes, then goes",
                    49.0,
                    62.0,
                ),
            ],
            events: vec![
                event(16.0, "deadline tightened", targets(TIGHT_MS, modest), Asks::More),
                event(24.0, "deadline relaxed", targets(EASY_MS, modest), Asks::Less),
                event(27.0, "floor raised", targets(EASY_MS, demanding), Asks::More),
                event(35.0, "floor lowered", targets(EASY_MS, modest), Asks::Less),
                event(38.0, "co-runner arrives", Change::Slowdown(NEIGHBOUR), Asks::More),
                event(46.0, "co-runner leaves", Change::Slowdown(1_000), Asks::Less),
                event(49.0, "floor raised again", targets(EASY_MS, demanding), Asks::More),
                event(52.0, "power capped", Change::PowerCap(Some(CAP_MW)), Asks::More),
                event(59.0, "power cap lifted", Change::PowerCap(None), Asks::Less),
            ],
        }
    }

    /// When the last phase ends, s.
    pub(crate) fn end_s(&self) -> f64 {
        self.phases.last().map_or(0.0, |phase| phase.until_s)
    }

    /// The application as `--app` and `apps set` take it.
    pub(crate) fn application(deadline_ms: u32, floor_bp: u16) -> String {
        let (floor, miss) = (f64::from(floor_bp) / 100.0, f64::from(MISS_BP) / 100.0);
        format!(
            "{APPLICATION}={NETWORK},deadline={deadline_ms}ms,floor={floor:.2},rate={RATE},\
             miss={miss}%"
        )
    }

    /// The neighbours as `--slowdown` takes them.
    pub(crate) fn slowdown(&self) -> String {
        let mut text = format!("{APPLICATION}=1.0");
        for (at_s, permille) in self.slowdowns() {
            text += &format!(",{at_s}s:{}", f64::from(permille) / 1000.0);
        }
        text
    }

    /// (time in s, slowdown in 0.001), in order.
    pub(crate) fn slowdowns(&self) -> Vec<(f64, u32)> {
        let steps = self.events.iter().filter_map(|event| match event.change {
            Change::Slowdown(permille) => Some((event.at_s, permille)),
            _ => None,
        });
        steps.collect()
    }

    /// Accuracy floor that a request released at a time is held against, 0.01 %: a floor that was
    /// raised counts after two control periods, the time there is to answer.
    pub(crate) fn floor_due_bp(&self, at_s: f64) -> u16 {
        let answer_s = 2.0 * PERIOD_MS as f64 / 1e3;
        self.floor_bp_at(at_s).min(self.floor_bp_at(at_s - answer_s))
    }

    /// Accuracy floor in force at a time, 0.01 %.
    pub(crate) fn floor_bp_at(&self, at_s: f64) -> u16 {
        let floors = self.events.iter().filter_map(|event| match event.change {
            Change::Targets { floor_bp, .. } => Some((event.at_s, floor_bp)),
            _ => None,
        });
        floors.take_while(|(from, _)| *from <= at_s).last().map_or(self.floor_bp, |(_, bp)| bp)
    }

    /// Everything that holds at a time.
    pub(crate) fn targets_at(&self, at_s: f64) -> TargetsAt {
        let past = || self.events.iter().take_while(|event| event.at_s <= at_s);
        let deadlines = past().filter_map(|event| match event.change {
            Change::Targets { deadline_ms, .. } => Some(deadline_ms),
            _ => None,
        });
        let slowdowns = past().filter_map(|event| match event.change {
            Change::Slowdown(permille) => Some(permille),
            _ => None,
        });
        TargetsAt {
            deadline_ms: f64::from(deadlines.last().unwrap_or(self.deadline_ms)),
            floor_bp: self.floor_bp_at(at_s),
            cap_mw: self.power_cap_at(at_s),
            slowdown: f64::from(slowdowns.last().unwrap_or(1_000)) / 1e3,
        }
    }

    /// Power cap in force at a time, mW.
    pub(crate) fn power_cap_at(&self, at_s: f64) -> Option<u32> {
        let caps = self.events.iter().filter_map(|event| match event.change {
            Change::PowerCap(cap) => Some((event.at_s, cap)),
            _ => None,
        });
        caps.take_while(|(from, _)| *from <= at_s).last().and_then(|(_, cap)| cap)
    }
}
