//! Modes, time, seeds: what happens when something is silent, hot or new.

mod common;

use common::events::{event, happen};
use common::{Bench, PERIOD_US, policy, targets, telemetry};
use coshift_controller::controller::{AGREEING, BEARABLE_MDEG_C, BLIND_TIME, NOMINAL_TIME, SEARCH};
use coshift_controller::{Controller, Input};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Limits, Seed, SeedState, Targets, Telemetry, Temperature, ToController,
};
use coshift_shared::to_host::{Decision, Mode, Reason, Refusal, ToHost};
use coshift_shared::units::{Age, MAX_APPLICATIONS, NO_LEVEL, NO_POWER_CAP, NO_SUB_NETWORK};
use proptest::prelude::*;

#[test]
fn stale_telemetry_holds_then_retreats_and_telemetry_brings_it_back() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    let running = bench.period();
    assert!(running.run_level > 0);
    let due = bench.controller.next_deadline().unwrap();
    assert_eq!(due.since(bench.now).us(), 5 * PERIOD_US);
    let hold = common::decision(&bench.controller.step(due, Input::Tick)).unwrap();
    assert_eq!((hold.mode, hold.reason), (Mode::Hold, Reason::StaleTelemetry));
    assert_eq!(hold.run_level, running.run_level);
    // Blind, nothing raises the level: not even a tighter deadline.
    bench.now = due;
    bench.set(0, Targets { deadline_us: 12_000, ..targets() });
    assert_eq!(bench.controller.decision(due).run_level, running.run_level);
    let due = bench.controller.next_deadline().unwrap();
    let safe = common::decision(&bench.controller.step(due, Input::Tick)).unwrap();
    assert_eq!((safe.mode, safe.reason, safe.run_level), (Mode::Safe, Reason::AgentSilent, 0));
    assert_eq!(bench.controller.next_deadline(), None);
    bench.now = due;
    let back = bench.period();
    assert_eq!(back.mode, Mode::Run);
    assert!(back.run_level > running.run_level);
}

#[test]
fn a_tick_before_it_is_due_changes_nothing() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    bench.period();
    let before = bench.controller.decision(bench.now);
    let early = bench.now.after(Duration::from_us(5 * PERIOD_US - 1));
    assert!(bench.controller.step(early, Input::Tick).is_empty());
    assert_eq!(bench.controller.decision(bench.now), before);
}

/// Each decision is made for the applications that its `last_seq` tells of: what was due before a
/// removal comes before it, and names the application; what comes after names it no more.
#[test]
fn what_was_due_before_a_removal_is_decided_before_it() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    bench.period();
    let told = bench.seq;
    bench.wait_us(60 * PERIOD_US);
    let change = Change::Remove;
    let removal = Application { at_us: bench.now.us(), slot: 0, change };
    let out = bench.give(&ToController::Application(removal));
    let decisions = out.iter().filter_map(|message| match message {
        ToHost::Decision(decision) => Some((decision.mode, decision.last_seq)),
        _ => None,
    });
    assert_eq!(decisions.collect::<Vec<_>>(), [(Mode::Hold, told), (Mode::Safe, told)]);
    let late = common::decision(&out).unwrap();
    assert!(late.sub_networks[0] < NO_SUB_NETWORK && late.at_us < bench.now.us());
    let now = bench.controller.decision(bench.now);
    assert_eq!((now.mode, now.last_seq), (Mode::Safe, told + 1));
    assert_eq!(now.sub_networks, [NO_SUB_NETWORK; MAX_APPLICATIONS]);
}

#[test]
fn waking_late_decides_like_waking_in_time() {
    let image = policy();
    let mut woken = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    woken.set(0, targets());
    woken.period();
    let mut late = Bench { controller: woken.controller.clone(), ..woken };
    let mut woken = Bench { controller: woken.controller, ..late_copy(&late) };
    for _ in 0..2 {
        let due = woken.controller.next_deadline().unwrap();
        woken.controller.step(due, Input::Tick);
    }
    for bench in [&mut woken, &mut late] {
        bench.wait_us(60 * PERIOD_US);
    }
    let message = ToController::Telemetry(telemetry(late.now, 45_000));
    woken.controller.step(late.now, Input::Message { message: &message, seq: 9 });
    late.controller.step(late.now, Input::Message { message: &message, seq: 9 });
    assert_eq!(woken.controller.decision(late.now), late.controller.decision(late.now));
}

/// And so it does about what was told in the silence.
#[test]
fn waking_late_decides_alike_on_what_is_told_in_a_silence() {
    let image = policy();
    let mut woken = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    saves_by_parking(&mut woken);
    for _ in 0..2 {
        let due = woken.controller.next_deadline().unwrap();
        woken.controller.step(due, Input::Tick);
    }
    woken.wait_us(30 * PERIOD_US);
    woken.limit(NO_POWER_CAP);
    let mut late = late_copy(&woken);
    let due = woken.controller.next_deadline().unwrap();
    let decided = common::decision(&woken.controller.step(due, Input::Tick)).unwrap();
    for bench in [&mut woken, &mut late] {
        bench.wait_us(60 * PERIOD_US);
    }
    let change = Change::Remove;
    let removal = ToController::Application(Application { at_us: late.now.us(), slot: 0, change });
    woken.give(&removal);
    // Made up for before the removal, at the instant it was due.
    let made_up = common::decision(&late.give(&removal)).unwrap();
    assert_eq!(made_up, decided);
    assert_eq!(woken.controller.decision(late.now), late.controller.decision(late.now));
}

fn late_copy<'p>(bench: &Bench<'p>) -> Bench<'p> {
    Bench { controller: bench.controller.clone(), ..*bench }
}

#[test]
fn too_hot_is_left_only_after_a_time_at_nominal() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    bench.period();
    bench.hottest_mdeg_c = 85_000;
    let hot = bench.period();
    assert_eq!((hot.mode, hot.reason, hot.run_level), (Mode::Safe, Reason::TooHot, 0));
    // Under the cap is not nominal.
    bench.hottest_mdeg_c = 84_000;
    for _ in 0..100 {
        assert_eq!(bench.period().mode, Mode::Safe);
    }
    bench.hottest_mdeg_c = 79_000;
    let mut periods = 0;
    while bench.period().mode == Mode::Safe {
        periods += 1;
        assert!(periods < 100);
    }
    assert_eq!(periods, 2_000 / 50);
}

/// With parking, the level that runs takes less energy a request and idles as little as the lowest one.
fn saves_by_parking(bench: &mut Bench<'_>) -> Decision {
    bench.set(0, Targets { deadline_us: 100_000, period_us: 150_000, ..targets() });
    bench.give(&ToController::Limits(Limits {
        at_us: 0,
        power_cap_mw: NO_POWER_CAP,
        temp_cap_mdeg_c: 85_000,
        parking: true,
    }));
    let running = (0..20).map(|_| bench.period()).last().unwrap();
    assert!(running.mode == Mode::Run && running.run_level > 0, "{running:?}");
    running
}

#[test]
fn blind_a_level_that_needs_less_power_than_the_lowest_is_kept() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    let running = saves_by_parking(&mut bench);
    let mut safe = running;
    for _ in 0..2 {
        let due = bench.controller.next_deadline().unwrap();
        safe = common::decision(&bench.controller.step(due, Input::Tick)).unwrap();
    }
    assert_eq!((safe.mode, safe.reason), (Mode::Safe, Reason::AgentSilent));
    let of = |found: &Decision| (found.run_level, found.sub_networks, found.power_mw);
    assert_eq!(of(&safe), of(&running));
}

/// What is told in the silence is decided on a period after the first of it; what is told in a hold, which
/// is short, when that ends.
#[test]
fn what_is_told_in_a_silence_is_decided_on_after_a_period() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    let told = |power_cap_mw| {
        let temp_cap_mdeg_c = 85_000;
        // Without parking, the level that saved by it draws more than the lowest one.
        ToController::Limits(Limits { at_us: 0, power_cap_mw, temp_cap_mdeg_c, parking: false })
    };
    for silent in [false, true] {
        let mut bench = Bench::new(view, Instant::START);
        let running = saves_by_parking(&mut bench);
        for _ in 0..if silent { 40 } else { 10 } {
            bench.wait_us(PERIOD_US);
            bench.controller.step(bench.now, Input::Tick);
        }
        let wait_us = if silent { PERIOD_US } else { 15 * PERIOD_US };
        assert!(bench.give(&told(NO_POWER_CAP)).is_empty());
        // Told again, it is decided on no later.
        bench.wait_us(wait_us - 1);
        assert!(bench.give(&told(NO_POWER_CAP)).is_empty());
        assert_eq!(bench.controller.decision(bench.now).run_level, running.run_level);
        bench.wait_us(1);
        let safe = common::decision(&bench.controller.step(bench.now, Input::Tick)).unwrap();
        assert_eq!((safe.mode, safe.reason), (Mode::Safe, Reason::AgentSilent));
        assert_eq!((safe.run_level, safe.at_us), (0, bench.now.us()));
        assert_eq!(bench.controller.next_deadline(), None);
        // A cap that only a smaller sub-network keeps.
        let power_cap_mw = safe.power_mw - 1;
        bench.give(&told(power_cap_mw));
        let due = bench.controller.next_deadline().unwrap();
        assert_eq!(due.since(bench.now).us(), PERIOD_US);
        let capped = common::decision(&bench.controller.step(due, Input::Tick)).unwrap();
        assert!(capped.power_mw <= power_cap_mw, "{safe:?} then {capped:?}");
        assert_eq!(bench.controller.next_deadline(), None);
    }
}

/// And so it is where the board is too hot, until it is hotter than a board that draws what the tables
/// say, or nobody reads how hot it is.
#[test]
fn too_hot_the_tables_are_relied_on_as_long_as_that_helps() {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    for worse in [Some(85_000 + BEARABLE_MDEG_C), None] {
        let mut bench = Bench::new(view, Instant::START);
        let running = saves_by_parking(&mut bench);
        for mdeg_c in [85_000, 85_000 + BEARABLE_MDEG_C - 1, 84_000] {
            bench.hottest_mdeg_c = mdeg_c;
            let found = bench.period();
            assert_eq!((found.mode, found.run_level), (Mode::Safe, running.run_level));
            assert!(found.power_mw <= running.power_mw, "{found:?} after {running:?}");
        }
        let (mdeg_c, age) = match worse {
            Some(mdeg_c) => (mdeg_c, Age::FRESH),
            None => (0, Age::MISSING),
        };
        let lowest = (0..30).find(|_| reads(&mut bench, mdeg_c, age).run_level == 0);
        assert_eq!(lowest, Some(if worse.is_some() { 0 } else { 24 }));
        // What is taken for the worst is not left for a higher level before the board is nominal.
        assert_eq!(reads(&mut bench, 84_000, Age::FRESH).run_level, 0);
    }
}

/// Where outcomes made a decision for several applications, too hot is the lowest level at once, with the
/// sub-networks that run; the next telemetry finds those that need less.
#[test]
fn too_hot_right_after_a_danger_takes_the_lowest_level_with_what_runs() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    for slot in 0..2 {
        let period_us = 120_000;
        bench.set(slot, Targets { deadline_us: 60_000, period_us, ..targets() });
    }
    for _ in 0..20 {
        bench.outcomes(0, 1, 1.0);
        bench.period();
    }
    let mut slowed = 1.0;
    let danger = loop {
        slowed += 0.1;
        assert!(slowed < 8.0, "no danger");
        bench.wait_us(PERIOD_US);
        if let Some(found) = common::decision(&bench.outcomes(0, 3, slowed)) {
            break found;
        }
        bench.telemetry();
    };
    assert!(danger.run_level > 0, "{danger:?}");
    bench.hottest_mdeg_c = 85_000 + BEARABLE_MDEG_C;
    let hot = bench.telemetry();
    assert_eq!((hot.mode, hot.reason, hot.run_level), (Mode::Safe, Reason::TooHot, 0));
    assert_eq!(hot.sub_networks, danger.sub_networks);
    let next = bench.period();
    assert_eq!((next.mode, next.run_level), (Mode::Safe, 0));
    assert_ne!(next.sub_networks, hot.sub_networks);
    assert!(next.power_mw < hot.power_mw, "{hot:?} then {next:?}");
}

#[test]
fn an_impossible_temperature_is_not_believed() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    bench.hottest_mdeg_c = 4_000_000;
    assert_eq!(bench.period().mode, Mode::Run);
}

/// Telemetry of a period later with this temperature alone.
fn reads(bench: &mut Bench<'_>, mdeg_c: i32, age: Age) -> Decision {
    bench.wait_us(PERIOD_US);
    let temperatures = [Temperature { mdeg_c, age }, Temperature::MISSING];
    let message = Telemetry { temperatures, ..telemetry(bench.now, 0) };
    common::decision(&bench.give(&ToController::Telemetry(message))).unwrap()
}

#[test]
fn a_temperature_nobody_reads_is_the_worst_it_can_be_and_after_ten_minutes_too_hot() {
    let image = policy();
    // Missing, too old to tell how old, and one that no sensor can have.
    for (mdeg_c, age) in [(45_000, Age::MISSING), (45_000, Age(254)), (151_000, Age::FRESH)] {
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, targets());
        assert_eq!(reads(&mut bench, 45_000, Age::FRESH).mode, Mode::Run);
        for _ in 0..12_000 - 1 {
            assert_eq!(reads(&mut bench, mdeg_c, age).mode, Mode::Run);
        }
        let lost = reads(&mut bench, mdeg_c, age);
        assert_eq!((lost.mode, lost.reason, lost.run_level), (Mode::Safe, Reason::TooHot, 0));
        // One reading now and then is not nominal for a time.
        for n in 0..200 {
            let age = if n % 10 == 0 { Age::MISSING } else { Age::FRESH };
            assert_eq!(reads(&mut bench, 45_000, age).mode, Mode::Safe);
        }
        let back = (0..41).map(|_| reads(&mut bench, 45_000, Age::FRESH).mode);
        assert_eq!(back.last(), Some(Mode::Run));
    }
}

#[test]
fn a_temperature_never_read_is_too_hot_after_25_periods() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    for _ in 0..24 {
        assert_eq!(reads(&mut bench, 0, Age::MISSING).mode, Mode::Run);
    }
    assert_eq!(reads(&mut bench, 0, Age::MISSING).reason, Reason::TooHot);
}

#[test]
fn a_fall_that_no_board_makes_is_believed_when_twenty_readings_agree() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    let hottest = |bench: &Bench<'_>| {
        bench.controller.seed().iter().find_map(|part| match part {
            SeedState::Sensors(state) => Some(state.temp_mdeg_c),
            _ => None,
        })
    };
    let unread = |bench: &Bench<'_>| {
        bench.controller.seed().iter().find_map(|part| match part {
            SeedState::Sensors(state) => Some(state.telemetry_us - state.believed_us),
            _ => None,
        })
    };
    // Falls and rises of readings without order: the hottest counts, and none is believed.
    for (read, hot) in
        [(80_000, 80_000), (69_999, 80_000), (80_100, 80_100), (40_000, 80_100), (81_000, 81_000)]
    {
        reads(&mut bench, read, Age::FRESH);
        assert_eq!(hottest(&bench), Some(hot), "{read}");
    }
    for n in 0..30 {
        reads(&mut bench, if n % 3 == 0 { 45_000 } else { 78_000 }, Age::FRESH);
    }
    assert_eq!((hottest(&bench), unread(&bench)), (Some(81_000), Some(34 * PERIOD_US)));
    // One, and twenty that agree with those before; a gap says nothing.
    for n in 0..u32::from(AGREEING) {
        reads(&mut bench, 40_000 + n as i32 % 2 * 9_000, Age::FRESH);
        reads(&mut bench, 40_000, Age::MISSING);
        assert_eq!(hottest(&bench), Some(81_000), "{n}");
    }
    reads(&mut bench, 41_000, Age::FRESH);
    assert_eq!((hottest(&bench), unread(&bench)), (Some(41_000), Some(0)));
    // What a board can do is believed at once.
    for read in [90_000, 80_000, 70_000] {
        reads(&mut bench, read, Age::FRESH);
        assert_eq!((hottest(&bench), unread(&bench)), (Some(read), Some(0)));
    }
}

#[test]
fn blind_power_rises_only_as_far_as_the_worst_board_stays_under_its_cap() {
    let image = policy();
    // Power in mW at a modest target, then at one that only the highest levels serve.
    let powers = |temp_mdeg_c: i32, blind: bool| {
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, targets());
        reads(&mut bench, temp_mdeg_c, Age::FRESH);
        let age = if blind { Age::MISSING } else { Age::FRESH };
        let after_30 = |bench: &mut Bench<'_>| {
            (0..30).map(|_| reads(bench, temp_mdeg_c, age).power_mw).last().unwrap()
        };
        let modest = after_30(&mut bench);
        let asked = Targets { deadline_us: 25_000, period_us: 45_000, ..targets() };
        bench.set(0, Targets { accuracy_floor_bp: 7_800, ..asked });
        (modest, after_30(&mut bench))
    };
    // 37 °C up to the margin under the cap, 8 K/W; what surely was drawn before is next to nothing.
    let most_mw = 37_000 / 8 + 50;
    let (modest, most) = powers(47_000, false);
    assert!(modest < most_mw && most > most_mw, "{modest}, {most}");
    let blind = powers(47_000, true);
    assert_eq!(blind.0, modest);
    assert!(blind.1 <= most_mw, "{blind:?}");
    // Far from the cap a blind board serves what a seeing one does.
    assert_eq!(powers(10_000, true), powers(10_000, false));
}

#[test]
fn power_at_a_level_that_was_not_achieved_is_not_learned() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    let learned = |bench: &mut Bench<'_>, achieved: bool| {
        for _ in 0..100 {
            bench.wait_us(PERIOD_US);
            let standing = bench.controller.decision(bench.now);
            let level = if achieved { standing.run_level } else { NO_LEVEL };
            let power_mw = standing.power_mw * 5 / 4;
            let message = Telemetry { level, power_mw, ..telemetry(bench.now, 45_000) };
            bench.give(&ToController::Telemetry(message));
        }
        bench.controller.seed().iter().any(|part| matches!(part, SeedState::Bias(_)))
    };
    assert!(!learned(&mut bench, false));
    assert!(learned(&mut bench, true));
}

#[test]
fn without_a_cap_on_temperature_no_reading_is_needed() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    bench.set(0, targets());
    bench.limit(NO_POWER_CAP);
    for _ in 0..100 {
        assert_eq!(reads(&mut bench, 0, Age::MISSING).mode, Mode::Run);
    }
}

#[test]
fn a_blind_board_leaves_safe_when_the_cap_on_temperature_is_lifted() {
    let image = policy();
    for once_read in [false, true] {
        let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
        bench.set(0, targets());
        if once_read {
            reads(&mut bench, 45_000, Age::FRESH);
        }
        let blind = |bench: &mut Bench<'_>| reads(bench, 0, Age::MISSING).mode;
        let periods = if once_read { BLIND_TIME.us() / PERIOD_US } else { 30 };
        for _ in 0..periods {
            blind(&mut bench);
        }
        assert_eq!(blind(&mut bench), Mode::Safe, "{once_read}");
        bench.limit(NO_POWER_CAP);
        let wait = NOMINAL_TIME.us() / PERIOD_US;
        let left = (0..=wait).position(|_| blind(&mut bench) == Mode::Run);
        assert_eq!(left, Some(wait as usize), "{once_read}");
    }
}

#[test]
fn bad_messages_are_refused_with_what_to_do() {
    let image = policy();
    let mut bench = Bench::new(PolicyView::open(&image).unwrap(), Instant::START);
    let mut refusal = |slot: u8, asked: Targets| {
        bench.set(slot, asked).iter().find_map(|output| match output {
            ToHost::Refused(refused) => Some(refused.why),
            _ => None,
        })
    };
    assert_eq!(refusal(4, targets()), Some(Refusal::NoSuchSlot));
    assert_eq!(refusal(0, Targets { table: 2, ..targets() }), Some(Refusal::NoSuchTable));
    assert_eq!(refusal(0, Targets { period_us: 0, ..targets() }), Some(Refusal::BadValue));
    assert_eq!(refusal(0, Targets { deadline_us: 0, ..targets() }), Some(Refusal::BadValue));
    assert_eq!(
        refusal(0, Targets { accuracy_floor_bp: 10_001, ..targets() }),
        Some(Refusal::BadValue)
    );
    assert_eq!(refusal(0, targets()), None);
}

#[test]
fn without_a_policy_it_says_so_and_decides_nothing() {
    let mut controller = Controller::new(None);
    controller.start_session(Instant::START, PERIOD_US, 3);
    let message = ToController::Telemetry(telemetry(Instant::START, 45_000));
    let out = controller.step(Instant::START, Input::Message { message: &message, seq: 1 });
    let decision = common::decision(&out).unwrap();
    assert_eq!((decision.mode, decision.reason), (Mode::AwaitPolicy, Reason::NoPolicy));
    assert_eq!(decision.run_level, coshift_shared::units::NO_LEVEL);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A controller loaded with another's seed decides like it from then on, digest included.
    #[test]
    fn a_seeded_controller_decides_like_its_source(
        before in prop::collection::vec(event(), 1..40),
        after in prop::collection::vec(event(), 1..40),
        effort in prop_oneof![Just(0), Just(SEARCH)],
    ) {
        let image = policy();
        let view = PolicyView::open(&image).unwrap();
        // A level a decision: that the state of a search is no part of a seed must not show.
        let mut source = Bench::new(view, Instant::START);
        source.controller = source.controller.clone().searching(effort);
        for event in before {
            happen(&mut source, event);
        }
        // A new controller after a reset: the agent sends session, applications, caps, seed.
        let mut copy = Bench::new(view, source.now);
        copy.controller = copy.controller.clone().searching(effort);
        let slots = source.controller.slots().clone();
        for (slot, application) in (0_u8..).zip(slots) {
            if let Some(application) = application {
                copy.set(slot, application.targets);
            }
        }
        let cap = source.controller.power_cap_mw();
        source.limit(cap);
        copy.limit(cap);
        let parts = source.controller.seed();
        for (part, state) in (0_u8..).zip(&parts) {
            let seed = ToController::Seed(Seed {
                at_us: source.now.us(),
                part,
                parts: parts.len() as u8,
                state: *state,
            });
            let refused = |out: &coshift_controller::Outputs| {
                out.iter().any(|output| matches!(output, ToHost::Refused(_)))
            };
            prop_assert!(!refused(&source.give(&seed)));
            prop_assert!(!refused(&copy.give(&seed)));
        }
        copy.now = source.now;
        copy.seq = source.seq;
        copy.index = source.index;
        copy.hottest_mdeg_c = source.hottest_mdeg_c;
        for event in after {
            happen(&mut source, event);
            happen(&mut copy, event);
            prop_assert_eq!(source.controller.digest(), copy.controller.digest());
            let (ours, theirs) =
                (source.controller.decision(source.now), copy.controller.decision(copy.now));
            prop_assert_eq!(
                coshift_shared::to_host::Decision { last_seq: 0, ..ours },
                coshift_shared::to_host::Decision { last_seq: 0, ..theirs }
            );
        }
    }

    /// Where the clock starts changes no decision.
    #[test]
    fn the_wrap_of_the_clock_changes_nothing(events in prop::collection::vec(event(), 1..60)) {
        let image = policy();
        let view = PolicyView::open(&image).unwrap();
        let starts = [0, Instant::START.us(), u32::MAX / 2 - 1_000_000, u32::MAX - 1];
        let mut benches =
            starts.map(|start| Bench::new(view, Instant::from_us(start)));
        for event in events {
            for bench in &mut benches {
                happen(bench, event);
            }
            let decisions = benches.each_ref().map(|bench| {
                let decision = bench.controller.decision(bench.now);
                (decision.run_level, decision.sub_networks, decision.reason, decision.mode)
            });
            prop_assert!(decisions.iter().all(|decision| *decision == decisions[0]));
        }
    }

    /// Every decision of a session names a level and sub-networks that exist.
    #[test]
    fn every_index_is_in_range(events in prop::collection::vec(event(), 1..60)) {
        let image = policy();
        let view = PolicyView::open(&image).unwrap();
        let mut bench = Bench::new(view, Instant::START);
        for event in events {
            happen(&mut bench, event);
            let decision = bench.period();
            prop_assert!(decision.run_level < view.levels());
            for (slot, sub) in bench.controller.slots().iter().zip(decision.sub_networks) {
                prop_assert_eq!(slot.is_some(), sub < 4);
            }
        }
    }
}
