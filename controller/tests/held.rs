//! Clocks that something else holds: noticed, reckoned with, and let go when they are free again.

mod common;

use common::clocks::{Board, EMC_KHZ, GPU_KHZ, parking_policy, policy};
use common::{PERIOD_US, targets};
use coshift_controller::demand::Margin;
use coshift_controller::device::{Board as DeviceBoard, PowerCaps, Trouble};
use coshift_controller::held::FORGET;
use coshift_controller::power::Power;
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::{Seed, Targets, ToController};
use coshift_shared::to_host::{Mode, Reason};
use coshift_shared::units::NO_POWER_CAP;
use proptest::prelude::*;

#[test]
fn a_memory_clock_held_low_is_answered_by_a_higher_gpu_clock_and_its_release_is_seen() {
    let image = policy(&[]);
    let mut board = Board::new(PolicyView::open(&image).unwrap());
    board.bench.set(0, targets());
    let before = board.periods(20);
    let quiet = board.view.level(before.run_level).unwrap();
    assert!(quiet.emc_khz > EMC_KHZ[0], "the test needs a level that a low memory clock harms");

    board.hold_memory(EMC_KHZ[0]);
    let found = (1..=12).find(|_| board.period().reason == Reason::ClockHeld);
    assert!(found.is_some(), "not noticed within twelve periods");
    let held = board.period();
    assert!(board.latency_us(&held) <= targets().deadline_us, "{held:?}");
    let runs = board.view.level(board.bench.controller.level()).unwrap();
    assert_eq!(runs.emc_khz, EMC_KHZ[0]);
    assert_eq!(board.runs_at(), Some(board.bench.controller.level()));
    // What is asked for lies beyond the hold, and stays so.
    assert!(board.view.level(held.run_level).unwrap().emc_khz > EMC_KHZ[0]);
    for _ in 0..1_000 {
        let decision = board.period();
        assert_eq!(decision.run_level, held.run_level);
        assert_eq!(decision.reason, Reason::Keep);
    }

    board.free();
    let mut late = 0;
    for _ in 0..20 {
        let decision = board.period();
        late += u32::from(board.latency_us(&decision) > targets().deadline_us);
    }
    let after = board.periods(1);
    assert_eq!(late, 0);
    assert!(board.bench.controller.held().is_free());
    assert_eq!(after.run_level, before.run_level);
}

/// The board parks between requests: what telemetry finds is the park level, the run level, or a
/// moment between the two, in which some clocks are already there.
#[test]
fn a_board_that_wakes_up_holds_nothing() {
    let image = parking_policy();
    let mut board = Board::new(PolicyView::open(&image).unwrap());
    board.bench.set(0, targets());
    board.bench.limit(NO_POWER_CAP);
    let before = board.periods(20);
    assert_eq!(before.park_level, 0);
    let (park, run) = (board.view.level(0).unwrap(), board.view.level(before.run_level).unwrap());
    assert!(park.gpu_khz != run.gpu_khz && park.emc_khz != run.emc_khz);
    // Twice each, so that one reading confirms the other.
    for between in [1, 2, 3].into_iter().cycle().take(60) {
        if between & 1 != 0 {
            (board.low[1], board.high[1]) = (park.gpu_khz, park.gpu_khz);
        }
        if between & 2 != 0 {
            (board.low[2], board.high[2]) = (park.emc_khz, park.emc_khz);
        }
        assert_eq!(board.periods(3).run_level, before.run_level);
        board.free();
    }
    assert!(board.bench.controller.held().is_free());
}

/// The memory clock is held where it would be parked: only requests tell.
#[test]
fn a_hold_at_a_parked_clock_is_told_by_requests() {
    let image = parking_policy();
    let mut board = Board::new(PolicyView::open(&image).unwrap());
    board.bench.set(0, targets());
    board.bench.limit(NO_POWER_CAP);
    board.periods(20);
    board.hold_memory(EMC_KHZ[0]);
    assert!(board.view.level(0).unwrap().emc_khz == EMC_KHZ[0]);
    for _ in 0..40 {
        board.period();
        assert!(board.bench.controller.held().is_free());
    }
    let found = (1..=4).find(|_| {
        board.request();
        board.period().reason == Reason::ClockHeld
    });
    assert!(found.is_some(), "not noticed within four requests");
    assert_eq!(board.runs_at(), Some(board.bench.controller.level()));
}

#[test]
fn one_strange_reading_changes_nothing() {
    let image = policy(&[]);
    let mut board = Board::new(PolicyView::open(&image).unwrap());
    board.bench.set(0, targets());
    let before = board.periods(20);
    for _ in 0..10 {
        board.hold_memory(EMC_KHZ[0]);
        assert_eq!(board.period().run_level, before.run_level);
        board.free();
        assert_eq!(board.period().run_level, before.run_level);
    }
    assert!(board.bench.controller.held().is_free());
}

#[test]
fn clocks_that_are_late_are_not_held() {
    // What the board was asked for before is what it has, for as long as a request may run.
    let image = policy(&[]);
    let mut board = Board::new(PolicyView::open(&image).unwrap());
    board.bench.set(0, targets());
    let before = board.periods(20);
    let tight = Targets { deadline_us: 18_000, ..targets() };
    board.bench.set(0, tight);
    let old = board.view.level(before.run_level).unwrap();
    let decision = board.period();
    assert_ne!(decision.run_level, before.run_level);
    (board.low[1], board.high[1]) = (old.gpu_khz, old.gpu_khz);
    (board.low[2], board.high[2]) = (old.emc_khz, old.emc_khz);
    for _ in 0..4 {
        assert_eq!(board.period().run_level, decision.run_level);
    }
    board.free();
    assert_eq!(board.periods(20).run_level, decision.run_level);
    assert!(board.bench.controller.held().is_free());
}

/// What lies further back than 15 minutes is not told apart: no deadline may ask for a longer wait.
#[test]
fn a_hold_is_noticed_whatever_the_deadline() {
    const MINUTE_US: u32 = 60_000_000;
    for deadline_us in [8 * MINUTE_US, 60 * MINUTE_US, u32::MAX] {
        let image = policy(&[]);
        let mut board = Board::new(PolicyView::open(&image).unwrap());
        let period_us = 10 * MINUTE_US;
        board.bench.set(0, Targets { deadline_us, period_us, ..targets() });
        let before = board.periods(20);
        let high = *EMC_KHZ.last().unwrap();
        assert!(board.view.level(before.run_level).unwrap().emc_khz < high);
        board.hold_memory(high);
        let periods = 15 * MINUTE_US / PERIOD_US + 20;
        let found = (0..periods).find(|_| board.period().reason == Reason::ClockHeld);
        assert!(found.is_some(), "not noticed within 15 minutes: a deadline of {deadline_us} us");
        assert_eq!(board.runs_at(), Some(board.bench.controller.level()));
    }
}

#[test]
fn a_hold_that_nothing_can_confirm_is_forgotten_and_found_again() {
    // With 665.6 MHz there is one level only, and none that would end up as it.
    let low: Vec<u8> = (0..12).filter(|index| index % 3 == 0 && *index != 9).collect();
    let lonely: Vec<u8> = low.iter().copied().chain([10, 11]).collect();
    let image = policy(&lonely);
    let mut board = Board::new(PolicyView::open(&image).unwrap());
    board.bench.set(0, targets());
    board.periods(20);
    board.hold_memory(EMC_KHZ[0]);
    let periods = 2 * FORGET.us() / PERIOD_US;
    let mut found = 0;
    let mut beyond = 0;
    for _ in 0..periods {
        let decision = board.period();
        found += u32::from(decision.reason == Reason::ClockHeld);
        beyond += u32::from(board.view.level(decision.run_level).unwrap().emc_khz > EMC_KHZ[0]);
    }
    assert!((2..=3).contains(&found), "found {found} times in two times its memory");
    assert!(beyond <= 3 * 12, "asked {beyond} times for what cannot be had");
    board.free();
    board.periods(periods as usize);
    assert!(board.bench.controller.held().is_free());
}

#[test]
fn a_seed_hands_over_what_is_held() {
    let image = policy(&[]);
    let mut board = Board::new(PolicyView::open(&image).unwrap());
    board.bench.set(0, targets());
    board.periods(20);
    board.hold_memory(EMC_KHZ[0]);
    let held = board.periods(20);
    let mut other = Board::new(board.view);
    other.bench.now = board.bench.now;
    other.bench.set(0, targets());
    other.hold_memory(EMC_KHZ[0]);
    other.asked = board.asked;
    let parts = board.bench.controller.seed();
    let count = u8::try_from(parts.len()).unwrap();
    for (part, state) in (0..).zip(&parts) {
        let seed = Seed { at_us: other.bench.now.us(), part, parts: count, state: *state };
        other.bench.give(&ToController::Seed(seed));
    }
    assert_eq!(other.bench.controller.held(), board.bench.controller.held());
    for _ in 0..100 {
        let (ours, theirs) = (board.period(), other.period());
        assert_eq!((ours.run_level, ours.reason), (theirs.run_level, theirs.reason));
    }
    assert_eq!(board.period().run_level, held.run_level);
}

/// Bounds between clocks of the board.
fn bounds() -> impl Strategy<Value = ([u32; 3], [u32; 3])> {
    let gpu = prop_oneof![
        2 => Just((0, u32::MAX)),
        2 => (0..4_usize).prop_map(|at| (0, GPU_KHZ[at])),
        1 => (0..4_usize).prop_map(|at| (GPU_KHZ[at], u32::MAX)),
    ];
    let emc = prop_oneof![
        1 => Just((0, u32::MAX)),
        2 => (0..3_usize).prop_map(|at| (EMC_KHZ[at], EMC_KHZ[at])),
        1 => (0..3_usize).prop_map(|at| (0, EMC_KHZ[at])),
    ];
    (gpu, emc).prop_map(|(gpu, emc)| ([0, gpu.0, emc.0], [u32::MAX, gpu.1, emc.1]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is held, after two seconds the controller knows the level that the board runs at,
    /// and the deadline is kept where some level within the bounds keeps it.
    #[test]
    fn what_runs_is_what_was_reckoned_with(
        (low, high) in bounds(),
        deadline_us in 12_000..60_000_u32,
    ) {
        let image = policy(&[]);
        let mut board = Board::new(PolicyView::open(&image).unwrap());
        let asked = Targets { deadline_us, ..targets() };
        board.bench.set(0, asked);
        let before = board.periods(30);
        (board.low, board.high) = (low, high);
        board.periods(80);
        for _ in 0..40 {
            let decision = board.period();
            prop_assert_eq!(decision.mode, Mode::Run);
            prop_assert_eq!(board.runs_at(), Some(board.bench.controller.level()));
            if decision.reason != Reason::Infeasible {
                prop_assert!(board.latency_us(&decision) <= deadline_us, "{:?}", decision);
            }
        }
        board.free();
        let after = board.periods(30 + 2 * FORGET.us() as usize / PERIOD_US as usize);
        prop_assert!(board.bench.controller.held().is_free());
        // The same, unless going back to it is worth nothing or takes more than a plain margin.
        let power = Power::default();
        let slots = board.bench.controller.slots();
        let judge = DeviceBoard::new(board.view, slots, PowerCaps::NONE, &power, true);
        let back = judge.judge(before.run_level, Margin::Reserve);
        let worth = f64::from(back.power_mw) * 1.006 < f64::from(after.power_mw);
        prop_assert!(
            after.run_level == before.run_level || back.trouble != Trouble::NONE || !worth,
            "{:?} then {:?}", before, after
        );
    }
}
