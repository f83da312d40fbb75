//! Silences of hours, several wraps of the clock long: what comes back is not taken for new, and
//! what lies far back is not taken for something that is still to come.

mod common;

use common::clocks::{self, Board, EMC_KHZ};
use common::events::{event, happen};
use common::{Bench, PERIOD_US, decision, policy, targets, telemetry};
use coshift_controller::controller::AGREEING;
use coshift_controller::held::FORGET;
use coshift_controller::{Controller, Input};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    ApplicationState, Limits, SeedState, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, Mode, Reason, ToHost};
use coshift_shared::units::{Age, NO_POWER_CAP};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
/// The clock comes round: 71.6 minutes.
const WRAP: u64 = 1 << 32;
/// After this much every span of the controller is over, and no clock came round.
const PLAIN: u64 = 20 * MINUTE;

/// A second of periods: what lies so little ahead is taken for a message out of order.
const AHEAD: u32 = 1_000_000 / PERIOD_US;

/// Silences of hours, and such that what was before seems to be now, a little ago or ahead, or half
/// the clock's range away.
fn silences() -> Vec<u64> {
    let hours = [1, 2, 20].map(|hours| 60 * hours * MINUTE);
    let near = [0, 1, u64::from(PERIOD_US), 500_000, 2 * SECOND, MINUTE];
    let ahead = [9 * MINUTE, 14 * MINUTE, 16 * MINUTE, 30 * MINUTE].map(|before| WRAP - before);
    let mut silences = hours.into_iter().chain(ahead).collect::<Vec<_>>();
    silences.extend(near.iter().flat_map(|apart| [WRAP - apart, WRAP + apart]));
    for middle in [WRAP / 2, WRAP + WRAP / 2, 2 * WRAP, 16 * WRAP] {
        silences.extend([middle - u64::from(PERIOD_US), middle, middle + 2 * SECOND]);
    }
    silences
}

fn later(now: Instant, us: u64) -> Instant {
    Instant::from_us((u64::from(now.us()) + us) as u32)
}

/// Nothing is heard for `us`; ticks come when they are due. What was sent meanwhile.
fn silence(bench: &mut Bench<'_>, us: u64) -> Vec<Decision> {
    let end = later(bench.now, us);
    let (mut sent, mut passed) = (Vec::new(), 0);
    while let Some(due) = bench.controller.next_deadline() {
        passed += u64::from(due.since(bench.now).us());
        if passed > us {
            break;
        }
        bench.now = due;
        sent.extend(decision(&bench.controller.step(due, Input::Tick)));
    }
    bench.now = end;
    sent
}

/// Telemetry of now, with this temperature where it is read.
fn reads(bench: &mut Bench<'_>, mdeg_c: Option<i32>) -> Decision {
    let first =
        mdeg_c.map_or(Temperature::MISSING, |mdeg_c| Temperature { mdeg_c, age: Age::FRESH });
    let temperatures = [first, Temperature::MISSING];
    let message = Telemetry { temperatures, ..telemetry(bench.now, 0) };
    decision(&bench.give(&ToController::Telemetry(message))).expect("telemetry is answered")
}

/// The same a period later.
fn read_next(bench: &mut Bench<'_>, mdeg_c: Option<i32>) -> Decision {
    bench.wait_us(PERIOD_US);
    reads(bench, mdeg_c)
}

/// The temperature believed last, and when.
fn sensors(bench: &Bench<'_>) -> (i32, u32) {
    let parts = bench.controller.seed();
    let found = parts.iter().find_map(|part| match part {
        SeedState::Sensors(state) => Some((state.temp_mdeg_c, state.believed_us)),
        _ => None,
    });
    found.unwrap()
}

/// An application that the level with the least idle power serves, but where each request takes
/// more energy there than at the next level.
fn lax() -> Targets {
    Targets { deadline_us: 300_000, period_us: 286_000, ..targets() }
}

/// Periods of slowed requests until the level is left for less power.
fn periods_until_cheaper(silent_us: u64) -> u32 {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, lax());
    for _ in 0..40 {
        bench.outcomes(0, 1, 1.0);
        bench.period();
    }
    silence(&mut bench, silent_us);
    let back = bench.telemetry();
    assert_eq!((back.mode, back.run_level), (Mode::Run, 0), "{back:?}");
    for period in 1..2_000 {
        bench.outcomes(0, 12, 1.5);
        let found = bench.period();
        if found.run_level > 0 {
            assert_eq!(found.reason, Reason::LessPower);
            return period;
        }
    }
    panic!("never left");
}

#[test]
fn a_level_that_stood_through_a_silence_has_rested() {
    let usual = periods_until_cheaper(PLAIN);
    for silent_us in silences() {
        let waited = periods_until_cheaper(silent_us);
        // Where the change to this level seems to be a little ahead, the dwell as well.
        assert!(waited <= usual + AHEAD + 10, "{silent_us} us: {waited} periods, not {usual}");
        assert!(waited >= usual, "{silent_us} us: {waited} periods, not {usual}");
    }
}

/// A danger is answered with the outcomes that tell of it, however long ago the last such decision
/// was.
#[test]
fn after_a_silence_a_danger_is_answered_at_once() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    for silent_us in silences() {
        let mut bench = Bench::new(view, Instant::START);
        bench.set(0, targets());
        bench.period();
        let extra = |bench: &mut Bench<'_>, slowed: f64| {
            (0..20).find_map(|_| {
                bench.wait_us(PERIOD_US);
                let found = decision(&bench.outcomes(0, 2, slowed));
                let answer = bench.telemetry();
                // The first that notices is not the telemetry.
                assert!(found.is_some() || answer.reason != Reason::DeadlineAtRisk, "{answer:?}");
                found
            })
        };
        for _ in 0..20 {
            bench.outcomes(0, 2, 1.0);
            bench.period();
        }
        let before = extra(&mut bench, 1.6).expect("a danger");
        assert_eq!(before.reason, Reason::DeadlineAtRisk);
        silence(&mut bench, silent_us);
        bench.telemetry();
        // What seems to be a little ahead has come to pass by then.
        for _ in 0..AHEAD + 10 {
            bench.outcomes(0, 1, 1.6);
            bench.period();
        }
        let after = extra(&mut bench, 2.4).expect("a danger");
        assert_eq!(after.mode, Mode::Run, "{silent_us} us");
    }
}

/// What was learned of requests and power; the sub-network that runs is no part of it.
fn learned(bench: &Bench<'_>) -> Vec<SeedState> {
    let parts = bench.controller.seed().into_iter();
    parts
        .filter_map(|part| match part {
            SeedState::Application(state) => {
                Some(SeedState::Application(ApplicationState { sub_network: 0, ..state }))
            }
            SeedState::Tail(_) | SeedState::Power(_) | SeedState::Bias(_) => Some(part),
            _ => None,
        })
        .collect()
}

/// Nothing of what was learned depends on how long nothing was heard.
#[test]
fn what_was_learned_outlives_a_silence() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    let mut usual = None;
    for silent_us in silences() {
        let mut bench = Bench::new(view, Instant::START);
        bench.set(0, targets());
        for n in 0..100 {
            bench.outcomes(0, 2, 1.2 + 0.01 * f64::from(n % 7));
            bench.wait_us(PERIOD_US);
            let standing = bench.controller.decision(bench.now);
            let power_mw = standing.power_mw * 9 / 8;
            let message =
                Telemetry { level: standing.run_level, power_mw, ..telemetry(bench.now, 45_000) };
            bench.give(&ToController::Telemetry(message));
        }
        let before = learned(&bench);
        assert!(before.iter().any(|part| matches!(part, SeedState::Bias(_))));
        let standing = bench.controller.decision(bench.now);
        let sent = silence(&mut bench, silent_us);
        let modes: Vec<_> = sent.iter().map(|decision| decision.mode).collect();
        assert_eq!(modes, [Mode::Hold, Mode::Safe], "{silent_us} us");
        assert_eq!(learned(&bench), before, "{silent_us} us");
        let back = bench.telemetry();
        // One second's worth of the safest level counts, unless the silence seems shorter.
        let seems = silent_us % WRAP;
        if (2 * SECOND..WRAP - 2 * SECOND).contains(&seems) {
            let now = learned(&bench);
            assert_eq!(usual.get_or_insert_with(|| now.clone()), &now, "{silent_us} us");
        }
        assert_eq!((back.mode, back.run_level), (Mode::Run, standing.run_level), "{silent_us} us");
        assert_eq!(back.sub_networks, standing.sub_networks, "{silent_us} us");
    }
}

/// A cold reading after a hot one is believed at once where the board had time to cool, and after
/// twenty more where the silence seems shorter than it was, as one of a turn of the clock does.
#[test]
fn a_fall_over_a_silence_is_believed() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    for silent_us in silences() {
        let mut bench = Bench::new(view, Instant::START);
        bench.set(0, targets());
        for _ in 0..20 {
            read_next(&mut bench, Some(75_000));
        }
        silence(&mut bench, silent_us);
        reads(&mut bench, Some(40_000));
        if (2 * SECOND..WRAP).contains(&(silent_us % WRAP)) {
            assert_eq!(sensors(&bench).0, 40_000, "{silent_us} us");
        }
        for _ in 0..AGREEING {
            read_next(&mut bench, Some(40_000));
        }
        assert_eq!(sensors(&bench), (40_000, bench.now.us()), "{silent_us} us");
        // Without a believed reading for ten minutes it was too hot for a moment.
        let mode = (0..40).map(|_| read_next(&mut bench, Some(40_000)).mode).last();
        assert_eq!(mode, Some(Mode::Run), "{silent_us} us");
    }
}

/// A sensor that does not come back with the telemetry: the worst case counts at once, and ten
/// minutes later at most the board is taken for too hot.
#[test]
fn a_temperature_that_does_not_come_back_is_the_worst_it_can_be_at_once() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    // 37 K to the margin under the cap and 8 K/W.
    let most_mw = 37_000 / 8 + 50;
    let asked = Targets { deadline_us: 25_000, period_us: 45_000, ..targets() };
    let some = [MINUTE, PLAIN, 20 * 60 * MINUTE, WRAP - 9 * MINUTE, WRAP, 2 * WRAP + MINUTE];
    for silent_us in some {
        let mut bench = Bench::new(view, Instant::START);
        bench.set(0, Targets { accuracy_floor_bp: 7_800, ..asked });
        let before = (0..20).map(|_| read_next(&mut bench, Some(47_000))).last().unwrap();
        assert!(before.power_mw > most_mw, "{before:?}");
        silence(&mut bench, silent_us);
        let mut back = reads(&mut bench, None);
        let mut periods = 0;
        while back.mode == Mode::Run {
            assert!(back.power_mw <= most_mw, "{silent_us} us: {back:?}");
            back = read_next(&mut bench, None);
            periods += 1;
            assert!(periods <= 12_000, "{silent_us} us");
        }
        assert_eq!(back.reason, Reason::TooHot);
    }
}

/// Too hot before a silence is too hot after it, until two seconds of readings say otherwise.
#[test]
fn too_hot_lasts_through_a_silence_and_ends_after_it() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    // Nominal for so many periods before nothing is heard.
    for nominal in [0, 1, 39] {
        for silent_us in silences() {
            let mut bench = Bench::new(view, Instant::START);
            bench.set(0, targets());
            bench.period();
            assert_eq!(read_next(&mut bench, Some(85_000)).mode, Mode::Safe);
            for _ in 0..nominal {
                assert_eq!(read_next(&mut bench, Some(79_000)).mode, Mode::Safe);
            }
            assert_eq!(silence(&mut bench, silent_us), [], "the safest level stands already");
            // Not read is not nominal.
            let mut blind = Bench { controller: bench.controller.clone(), ..bench };
            for _ in 0..100 {
                assert_eq!(reads(&mut blind, None).mode, Mode::Safe, "{silent_us} us");
                blind.wait_us(PERIOD_US);
            }
            let mut periods = 0;
            while reads(&mut bench, Some(79_000)).mode == Mode::Safe {
                bench.wait_us(PERIOD_US);
                periods += 1;
                assert!(periods <= 40 + AHEAD, "{silent_us} us after {nominal} nominal: stuck");
            }
            assert!(nominal > 0 || periods == 40, "{silent_us} us: {periods} periods");
        }
    }
}

/// Something holds a clock from before the end of the silence on: it is noticed as soon as ever.
#[test]
fn a_hold_is_noticed_after_a_silence() {
    let image = clocks::policy(&[]);
    let view = PolicyView::open(&image).unwrap();
    for silent_us in silences() {
        let mut board = Board::new(view);
        board.bench.set(0, Targets { deadline_us: 100_000, period_us: 2_000_000, ..targets() });
        let before = board.periods(20);
        assert_eq!(before.run_level, 0, "asked for before and after alike");
        silence(&mut board.bench, silent_us);
        board.hold_memory(EMC_KHZ[2]);
        // The first telemetry ends the silence. 4 periods, twice the deadline and the settle time
        // after it was asked for there are two readings; and what was asked for may seem to be a
        // little ahead.
        let most = 1 + 4 + 4 + 1 + 2 + AHEAD;
        let found = (1..=most).find(|_| board.period().reason == Reason::ClockHeld);
        assert!(found.is_some(), "{silent_us} us: not noticed within {most} periods");
    }
}

/// A hold that nothing confirms is forgotten 30 s after the silence at most.
#[test]
fn a_hold_from_before_a_silence_is_forgotten() {
    let low: Vec<u8> = (0..12).filter(|index| index % 3 == 0 && *index != 9).collect();
    let lonely: Vec<u8> = low.iter().copied().chain([10, 11]).collect();
    let image = clocks::policy(&lonely);
    let view = PolicyView::open(&image).unwrap();
    for silent_us in silences() {
        let mut board = Board::new(view);
        board.bench.set(0, targets());
        board.periods(20);
        board.hold_memory(EMC_KHZ[0]);
        board.periods(20);
        assert!(!board.bench.controller.held().is_free());
        silence(&mut board.bench, silent_us);
        board.asked = board.bench.controller.decision(board.bench.now).run_level;
        board.free();
        let most = FORGET.us() / PERIOD_US + 2 * AHEAD;
        let free = (0..most).find(|_| {
            board.period();
            board.bench.controller.held().is_free()
        });
        assert!(free.is_some(), "{silent_us} us: held for more than {most} periods");
    }
}

/// A controller that nobody wakes while nothing is heard decides like one that is woken in time, as
/// long as that is less than half of the clock's range after it was due.
#[test]
fn woken_once_after_half_an_hour_is_like_woken_in_time() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    let half = WRAP / 2;
    for silent_us in [2 * SECOND, 15 * MINUTE, 30 * MINUTE, half - 1, half + 4 * 50_000] {
        let mut woken = Bench::new(view, Instant::START);
        woken.set(0, targets());
        woken.period();
        let mut asleep = Bench { controller: woken.controller.clone(), ..woken };
        silence(&mut woken, silent_us);
        asleep.now = later(asleep.now, silent_us);
        for period in 0..20 {
            assert_eq!(woken.telemetry(), asleep.telemetry(), "{silent_us} us, {period}");
            for bench in [&mut woken, &mut asleep] {
                bench.wait_us(PERIOD_US);
            }
        }
    }
}

/// Where there is no policy a silence changes nothing.
#[test]
fn without_a_policy_a_silence_changes_nothing() {
    for silent_us in silences() {
        let mut controller = Controller::new(None);
        controller.start_session(Instant::START, PERIOD_US, 3);
        assert_eq!(controller.next_deadline(), None);
        let now = later(Instant::START, silent_us);
        let message = ToController::Telemetry(telemetry(now, 45_000));
        let out = controller.step(now, Input::Message { message: &message, seq: 1 });
        assert_eq!(decision(&out).map(|found| found.mode), Some(Mode::AwaitPolicy));
        assert!(!out.iter().any(|output| matches!(output, ToHost::Trace(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever came before, and in whatever mode it ended: after a silence of hours the same is
    /// decided as after one of 20 minutes, after which no span of the controller is left. (But for
    /// silences of a whole number of wraps and at most 15 minutes: those look like short ones.)
    #[test]
    fn a_silence_of_hours_is_like_one_of_minutes(
        before in prop::collection::vec(event(), 1..40),
        cap_mdeg_c in prop_oneof![Just(85_000), Just(60_000)],
        wraps in 0..17_u64,
        past in 16 * MINUTE..71 * MINUTE,
        after in prop::collection::vec(event(), 1..40),
        read in any::<bool>(),
    ) {
        let image = policy();
        let view = PolicyView::open(&image).unwrap();
        let mut long = Bench::new(view, Instant::START);
        let at_us = long.now.us();
        long.give(&ToController::Limits(Limits {
            at_us, power_cap_mw: NO_POWER_CAP, temp_cap_mdeg_c: cap_mdeg_c, parking: false,
        }));
        for event in before {
            happen(&mut long, event);
        }
        let mut plain = Bench { controller: long.controller.clone(), ..long };
        let modes = |sent: Vec<Decision>| sent.into_iter().map(|found| found.mode).collect::<Vec<_>>();
        let sent = modes(silence(&mut long, wraps * WRAP + past));
        prop_assert_eq!(sent, modes(silence(&mut plain, PLAIN)));
        let same = |found: Decision| Decision { at_us: 0, digest: 0, ..found };
        let back = [&mut long, &mut plain].map(|bench| {
            let hottest = read.then_some(bench.hottest_mdeg_c);
            same(reads(bench, hottest))
        });
        prop_assert_eq!(back[0], back[1]);
        for event in after {
            happen(&mut long, event);
            happen(&mut plain, event);
            let (ours, theirs) =
                (long.controller.decision(long.now), plain.controller.decision(plain.now));
            prop_assert_eq!(same(ours), same(theirs));
        }
    }
}
