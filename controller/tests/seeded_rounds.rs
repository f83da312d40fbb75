//! Seeds in the middle of a round, on full boards: how far a search has come is no part of a seed,
//! and must not show in what is decided after it.

mod common;

use common::clocks::{Board, bounds};
use common::random::{GRID_EMC_KHZ, GRID_GPU_KHZ, asked, grid, policy};
use common::rest::{PERIODS, at_rest, cap, quiet, session};
use common::{Bench, PERIOD_US, decision, telemetry};
use coshift_controller::controller::SEARCH;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{
    Limits, Outcomes, Seed, SeedState, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, Mode, Reason, ToHost};
use coshift_shared::units::{Age, NO_LEVEL, NO_POWER_CAP, NO_TEMP_CAP, slowdown};
use proptest::prelude::*;

/// What happens to a full board.
#[derive(Debug, Clone)]
enum Event {
    /// So many times a period later a telemetry, with this share of the power predicted, 0.1 %,
    /// from which it may be learned.
    Periods(u32, u32),
    /// What its temperature reads as from now on, m°C; nothing where nobody reads it.
    Reads(Option<i32>),
    /// Bounds that something else sets to GPU and memory clock from now on, kHz.
    Hold((u32, u32), (u32, u32)),
    Outcomes(u8, usize, f64),
    Set(u8, Targets),
    /// Caps on power, mW, and temperature, m°C; whether it may park.
    Cap(u32, i32, bool),
    /// So many periods without anything.
    Silence(u32),
}

fn power_cap() -> impl Strategy<Value = u32> {
    prop_oneof![1 => Just(NO_POWER_CAP), 2 => 2_000_u32..20_000]
}

fn temp_cap() -> impl Strategy<Value = i32> {
    prop_oneof![1 => Just(NO_TEMP_CAP), 2 => 60_000..90_000]
}

fn event() -> impl Strategy<Value = Event> {
    let count = prop_oneof![12 => Just(1), 1 => 2_u32..40];
    let reads = prop_oneof![2 => Just(None), 4 => (30_000..100_000).prop_map(Some), 1 => any::<i32>().prop_map(Some)];
    let free = (0, u32::MAX);
    let holds = prop_oneof![
        1 => Just((free, free)),
        2 => (bounds(&GRID_GPU_KHZ), bounds(&GRID_EMC_KHZ)),
    ];
    prop_oneof![
        10 => (count, 700_u32..1_300).prop_map(|(count, permille)| Event::Periods(count, permille)),
        2 => reads.prop_map(Event::Reads),
        1 => holds.prop_map(|(gpu, emc)| Event::Hold(gpu, emc)),
        4 => (0..4_u8, 1..=12_usize, 0.6_f64..2.0)
            .prop_map(|(slot, count, slowed)| Event::Outcomes(slot, count, slowed)),
        1 => (0..4_u8, asked()).prop_map(|(slot, targets)| Event::Set(slot, targets)),
        1 => (power_cap(), temp_cap(), any::<bool>())
            .prop_map(|(cap_mw, temp_cap, parks)| Event::Cap(cap_mw, temp_cap, parks)),
        1 => prop_oneof![6 => 1..40_u32, 1 => 10_000..15_000_u32].prop_map(Event::Silence),
    ]
}

/// A board whose sensors and clocks give trouble.
struct Troubled<'p> {
    board: Board<'p>,
    /// What its temperature reads as, m°C.
    reads: Option<i32>,
    temp_cap_mdeg_c: i32,
}

impl<'p> Troubled<'p> {
    fn new(
        view: PolicyView<'p>,
        asked: &[Targets],
        (cap_mw, temp_cap_mdeg_c): (u32, i32),
        parks: bool,
        effort: u32,
    ) -> Self {
        let bench = session(view, asked, cap_mw, parks, effort);
        let board = Board { bench, view, asked: NO_LEVEL, low: [0; 3], high: [u32::MAX; 3] };
        let mut troubled = Self { board, reads: Some(45_000), temp_cap_mdeg_c };
        troubled.cap(cap_mw, parks);
        troubled
    }

    fn cap(&mut self, power_cap_mw: u32, parking: bool) {
        let at_us = self.board.bench.now.us();
        let temp_cap_mdeg_c = self.temp_cap_mdeg_c;
        let limits = Limits { at_us, power_cap_mw, temp_cap_mdeg_c, parking };
        self.board.bench.give(&ToController::Limits(limits));
    }

    /// What stands now; the board is where that and what holds its clocks bring it.
    fn standing(&mut self) -> Decision {
        let standing = self.board.bench.controller.decision(self.board.bench.now);
        self.board.asked = standing.run_level;
        standing
    }

    fn period(&mut self, permille: u32) -> Decision {
        self.board.bench.wait_us(PERIOD_US);
        let power_mw = self.standing().power_mw / 1000 * permille;
        let mhz = |khz: u32| u16::try_from((khz + 500) / 1000).unwrap();
        let zone = |mdeg_c| Temperature { mdeg_c, age: Age::FRESH };
        let message = Telemetry {
            level: self.board.runs_at().unwrap_or(NO_LEVEL),
            clocks_mhz: self.board.clocks().map_or([0; 3], |clocks| clocks.map(mhz)),
            power_mw,
            temperatures: [self.reads.map_or(Temperature::MISSING, zone), Temperature::MISSING],
            ..telemetry(self.board.bench.now, 0)
        };
        let out = self.board.bench.give(&ToController::Telemetry(message));
        decision(&out).expect("telemetry is answered")
    }

    fn outcomes(&mut self, slot: u8, count: usize, slowed: f64) -> Option<Decision> {
        let standing = self.standing();
        let bench = &mut self.board.bench;
        bench.wait_us(PERIOD_US / 4);
        let place = usize::from(slot);
        let first_index = bench.index[place];
        bench.index[place] += count as u32;
        let sample = slowdown::to_wire((slowed * 100_000.0) as u32, 100_000);
        let message = Outcomes {
            at_us: bench.now.us(),
            slot,
            sub_network: standing.sub_networks[place],
            level: self.board.runs_at().unwrap_or(NO_LEVEL),
            first_index,
            samples: std::iter::repeat_n(sample, count).collect(),
            outcomes_total: first_index + count as u32,
            misses_total: 0,
        };
        decision(&self.board.bench.give(&ToController::Outcomes(message)))
    }

    /// Lets it happen; the decisions it is answered with.
    fn happen(&mut self, event: &Event) -> Vec<Decision> {
        match event {
            Event::Periods(count, permille) => {
                return (0..*count).map(|_| self.period(*permille)).collect();
            }
            Event::Reads(mdeg_c) => self.reads = *mdeg_c,
            Event::Hold(gpu, emc) => {
                (self.board.low, self.board.high) = ([0, gpu.0, emc.0], [u32::MAX, gpu.1, emc.1]);
            }
            Event::Outcomes(slot, count, slowed) => {
                return self.outcomes(*slot, *count, *slowed).into_iter().collect();
            }
            Event::Set(slot, targets) => {
                let table = targets.table % self.board.view.tables();
                let targets = Targets { table, ..*targets };
                return decision(&self.board.bench.set(*slot, targets)).into_iter().collect();
            }
            Event::Cap(cap_mw, temp_cap_mdeg_c, parks) => {
                self.temp_cap_mdeg_c = *temp_cap_mdeg_c;
                self.cap(*cap_mw, *parks);
            }
            Event::Silence(periods) => self.board.bench.wait_us(periods * PERIOD_US),
        }
        Vec::new()
    }

    /// A new controller, on a board in the same trouble, that was told this one's session and then,
    /// like this one, its state.
    fn seeded(&mut self, parks: bool, effort: u32) -> Result<Self, TestCaseError> {
        let cap_mw = self.board.bench.controller.power_cap_mw();
        // The caps are told to both: what asks for something else is no part of the state before.
        self.cap(cap_mw, parks);
        let view = self.board.view;
        let source = &mut self.board.bench;
        let asked: Vec<_> =
            source.controller.slots().iter().flatten().map(|slot| slot.targets).collect();
        let mut copy = Self::new(view, &asked, (cap_mw, self.temp_cap_mdeg_c), parks, effort);
        hand_over(source, &mut copy.board.bench)?;
        (copy.board.low, copy.board.high) = (self.board.low, self.board.high);
        copy.reads = self.reads;
        Ok(copy)
    }
}

/// Gives the source's state to both.
fn hand_over<'p>(source: &mut Bench<'p>, copy: &mut Bench<'p>) -> Result<(), TestCaseError> {
    copy.now = source.now;
    copy.seq = source.seq;
    let parts = source.controller.seed();
    let count = u8::try_from(parts.len()).unwrap();
    for (part, state) in (0..).zip(&parts) {
        let seed = Seed { at_us: source.now.us(), part, parts: count, state: *state };
        for bench in [&mut *source, &mut *copy] {
            let out = bench.give(&ToController::Seed(seed));
            assert!(!out.iter().any(|sent| matches!(sent, ToHost::Refused(_))), "{out:?}");
        }
    }
    prop_assert_eq!(copy.controller.seed(), parts, "what was told is what is held");
    copy.index = source.index;
    same(source, copy)
}

fn same(source: &Bench<'_>, copy: &Bench<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(source.controller.digest(), copy.controller.digest());
    prop_assert_eq!(source.controller.decision(source.now), copy.controller.decision(copy.now));
    prop_assert_eq!(source.controller.level(), copy.controller.level());
    prop_assert_eq!(source.controller.seed(), copy.controller.seed());
    Ok(())
}

/// Lets the same happen to both; they have to decide alike.
fn both(
    source: &mut Troubled<'_>,
    copy: &mut Troubled<'_>,
    event: &Event,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(source.happen(event), copy.happen(event));
    same(&source.board.bench, &copy.board.bench)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever point of whatever round a seed is taken at, and whatever trouble the board is in:
    /// both who load it have one digest, and decide alike from then on.
    #[test]
    fn a_controller_seeded_in_mid_round_decides_like_its_source(
        (seed, wild) in (any::<u64>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        caps in (power_cap(), temp_cap()),
        (parks, parks_now) in (any::<bool>(), any::<bool>()),
        effort in prop_oneof![Just(0), 1_u32..20_000, Just(SEARCH)],
        before in prop::collection::vec(event(), 0..40),
        after in prop::collection::vec(event(), 1..60),
    ) {
        let image = grid(seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut source = Troubled::new(view, &asked, caps, parks, effort);
        for event in &before {
            source.happen(event);
        }
        let mut copy = source.seeded(parks_now, effort)?;
        for event in &after {
            both(&mut source, &mut copy, event)?;
        }
    }
}

/// A kind of trouble, what brings a board into it, and by what it is seen that it is in it.
type Trouble = (&'static str, Vec<Event>, fn(&mut Troubled<'_>) -> bool);

fn too_hot(board: &mut Troubled<'_>) -> bool {
    let standing = board.standing();
    standing.mode == Mode::Safe && standing.reason == Reason::TooHot
}

/// Periods for which no temperature was believed, of telemetry.
fn unread(board: &Troubled<'_>) -> u32 {
    let parts = board.board.bench.controller.seed();
    let sensors = parts.iter().find_map(|part| match part {
        SeedState::Sensors(state) => Some(*state),
        _ => None,
    });
    let state = sensors.expect("the sensors' part");
    state.telemetry_us.wrapping_sub(state.believed_us) / PERIOD_US
}

fn troubles() -> Vec<Trouble> {
    let periods = |count| Event::Periods(count, 1_000);
    let at = |mdeg_c| Event::Reads(Some(mdeg_c));
    let held = Event::Hold((0, GRID_GPU_KHZ[1]), (0, GRID_EMC_KHZ[1]));
    vec![
        ("too hot", vec![at(85_000), periods(3)], too_hot),
        ("cooler, for a second", vec![at(85_000), periods(3), at(70_000), periods(20)], too_hot),
        ("unread", vec![Event::Reads(None), periods(10)], |board| unread(board) == 10),
        ("blind", vec![Event::Reads(None), periods(40)], |board| unread(board) == 40),
        (
            "unread for ten minutes",
            vec![Event::Silence(12_100), Event::Reads(None), periods(1)],
            too_hot,
        ),
        (
            "a fall nobody confirmed",
            vec![at(70_000), periods(2), at(40_000), periods(1)],
            |board| unread(board) == 1,
        ),
        ("clocks read low once", vec![held.clone(), periods(1)], |board| {
            let asked = board.standing().run_level;
            board.board.runs_at() != Some(asked) && board.board.bench.controller.held().is_free()
        }),
        ("clocks held", vec![held.clone(), periods(100)], |board| {
            !board.board.bench.controller.held().is_free()
        }),
        (
            "clocks let go",
            vec![held, periods(100), Event::Hold((0, u32::MAX), (0, u32::MAX))],
            |board| !board.board.bench.controller.held().is_free(),
        ),
        ("silent for 10 periods", vec![Event::Silence(10), Event::Outcomes(0, 1, 1.0)], |board| {
            board.standing().mode == Mode::Hold
        }),
        ("silent for 30 periods", vec![Event::Silence(30), Event::Outcomes(0, 1, 1.0)], |board| {
            board.standing().mode == Mode::Safe
        }),
    ]
}

/// Each trouble that a board can be in is handed over, and its end is found alike: it stays, and
/// then ends.
#[test]
fn every_trouble_is_handed_over() {
    let targets = Targets { deadline_us: 40_000, ..common::targets() };
    let free = (0, u32::MAX);
    let end = [Event::Hold(free, free), Event::Reads(Some(40_000))];
    for (name, before, is_there) in troubles() {
        for (seed, stays) in [(1, 0), (2, 3), (3, 30)] {
            let image = grid(seed, seed == 3);
            let view = PolicyView::open(&image).unwrap();
            let caps = (NO_POWER_CAP, 80_000);
            let mut source = Troubled::new(view, &[targets; 2], caps, false, 4_000);
            source.happen(&Event::Periods(50, 1_000));
            for event in &before {
                source.happen(event);
            }
            assert!(is_there(&mut source), "{name}: {:?}", source.standing());
            let mut go_on = || {
                let mut copy = source.seeded(false, 4_000)?;
                for _ in 0..stays {
                    both(&mut source, &mut copy, &Event::Periods(1, 1_100))?;
                }
                for event in &end {
                    both(&mut source, &mut copy, event)?;
                }
                for _ in 0..100 {
                    both(&mut source, &mut copy, &Event::Periods(1, 900))?;
                }
                Ok::<_, TestCaseError>(())
            };
            if let Err(error) = go_on() {
                panic!("{name}, seed {seed}: {error}");
            }
            assert_eq!(source.standing().mode, Mode::Run, "{name}, seed {seed}: it does not end");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    /// At each decision of the first round and of the one after the dwell in turn: source and copy
    /// go on alike, and come to rest where they would have.
    #[test]
    fn every_point_of_a_round_can_be_handed_over(
        (seed, wild) in (any::<u64>(), any::<bool>()),
        asked in prop::collection::vec(asked(), 4),
        cap_mw in prop_oneof![Just(NO_POWER_CAP), 4_000_u32..20_000],
        effort in prop_oneof![Just(0), 1_u32..4_000],
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        for point in 0..2 * 32 + 11 {
            let mut source = session(view, &asked, cap_mw, false, effort);
            for _ in 0..point {
                quiet(&mut source);
            }
            let mut copy = session(view, &asked, cap_mw, false, effort);
            cap(&mut source, cap_mw, false);
            hand_over(&mut source, &mut copy)?;
            for _ in 0..PERIODS {
                prop_assert_eq!(quiet(&mut source), quiet(&mut copy));
                same(&source, &copy)?;
            }
            let last = quiet(&mut source);
            at_rest(&source.controller, view, false, &last)?;
        }
    }
}
