//! Decisions in slices: what they find, how many there are, and that a message that does not wait
//! for their end changes nothing.

mod common;

use common::random::{asked, policy, shape};
use common::{PERIOD_US, telemetry};
use coshift_controller::application::Application;
use coshift_controller::controller::MOST_SLICES;
use coshift_controller::demand::Margin;
use coshift_controller::device::{
    Board, Effort, PowerCaps, Rank, Round, Search, Slots, Trouble, Way,
};
use coshift_controller::power::Power;
use coshift_controller::{Controller, Input};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application as ApplicationMessage, Change, Limits, Outcomes, Targets, ToController,
};
use coshift_shared::to_host::ToHost;
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// However little a slice and a decision may do, and however dear some of them were before, on a
    /// board that stays as it is a round finds what judging every level at once finds. It needs no more
    /// decisions than there are levels, or twice as many where they take turns; each of them no more
    /// slices.
    #[test]
    fn a_sliced_search_finds_what_the_whole_one_finds(
        (levels, sub_networks, tables, seed, wild) in shape(),
        asked in prop::collection::vec(asked(), 1..=4),
        cap_mw in prop_oneof![2 => Just(NO_POWER_CAP), 3 => 2_000_u32..20_000],
        effort in prop_oneof![1 => Just(0), 3 => 1_u32..20_000],
        most in prop_oneof![1 => Just(0), 3 => 1_u32..100_000, 1 => Just(u32::MAX)],
        reserve in any::<bool>(),
        before in prop::collection::vec(prop_oneof![Just(0), Just(20_000_u32)], 1..4),
        first in 0..32_u8,
        down in any::<bool>(),
    ) {
        let image = policy(levels, sub_networks, tables, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let mut slots: Slots = [const { None }; 4];
        for (slot, targets) in slots.iter_mut().zip(asked) {
            let table = targets.table % view.tables();
            *slot = Some(Application::new(Targets { table, ..targets }, &view));
        }
        let power = Power::default();
        let caps = PowerCaps::new(cap_mw, NO_POWER_CAP, NO_POWER_CAP);
        let board = || Board::new(view, &slots, caps, &power, seed % 2 == 0);
        let margin = if reserve { Margin::Reserve } else { Margin::Plain };
        let expected = board().best_of_all(margin);
        let way = if down { Way::Down } else { Way::Up };
        let mut round = Round::after(first % view.levels(), way, false, false, view.levels());
        let mut decisions = 0;
        let mut met = Rank::default();
        let mut dear = before.iter().cycle();
        let found = loop {
            decisions += 1;
            let mut search = Search::new(margin, round, None, false);
            let (mut spent, mut slices) = (*dear.next().unwrap(), 0);
            let found = loop {
                slices += 1;
                let mut effort = Effort::new(spent, effort, most);
                if let Some(found) = search.advance(&board(), &mut effort) {
                    break found;
                }
                spent = effort.spent();
            };
            // The best level met before is judged again, and each in two halves at most.
            prop_assert!(slices <= 2 * (u32::from(view.levels()) + 1), "{} slices", slices);
            round = search.round();
            if round.is_over() {
                break found;
            }
            round.keep(&found, u8::MAX, &met);
            if round.has_found(found.level) {
                met = found.rank();
            }
        };
        let turns = if before == vec![0; before.len()] { 1 } else { 2 };
        let most = turns * u32::from(view.levels());
        prop_assert!(decisions <= most, "{} decisions", decisions);
        prop_assert_eq!(found.level, expected.level);
        prop_assert_eq!(found.trouble, expected.trouble);
        prop_assert_eq!(found.wishes, expected.wishes);
        prop_assert_eq!(found.power_mw, expected.power_mw);
        prop_assert_eq!(found.sub_networks, expected.sub_networks);
        if expected.trouble != Trouble::NONE {
            prop_assert_eq!(round.uncapped_mw, expected.uncapped_mw);
        }
    }
}

/// A message without its stamp.
#[derive(Debug, Clone)]
enum Event {
    Set(u8, Targets),
    Limit(u32),
    Outcomes(u8, u16),
    Telemetry(i32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..4_u8, asked()).prop_map(|(slot, targets)| Event::Set(slot, targets)),
        1 => (3_000_u32..30_000).prop_map(Event::Limit),
        4 => (0..4_u8, 3_000_u16..10_000).prop_map(|(slot, sample)| Event::Outcomes(slot, sample)),
        4 => (40_000..90_000).prop_map(Event::Telemetry),
    ]
}

fn message(event: &Event, now: Instant, tables: u8, index: u32) -> ToController {
    let at_us = now.us();
    match event {
        Event::Set(slot, targets) => {
            let change = Change::Set(Targets { table: targets.table % tables, ..*targets });
            ToController::Application(ApplicationMessage { at_us, slot: *slot, change })
        }
        Event::Limit(power_cap_mw) => ToController::Limits(Limits {
            at_us,
            power_cap_mw: *power_cap_mw,
            temp_cap_mdeg_c: NO_TEMP_CAP,
            parking: false,
        }),
        Event::Outcomes(slot, sample) => ToController::Outcomes(Outcomes {
            at_us,
            slot: *slot,
            sub_network: 0,
            level: 0,
            first_index: index * 3,
            samples: std::iter::repeat_n(sample.to_le_bytes(), 3).collect(),
            outcomes_total: 0,
            misses_total: 0,
        }),
        Event::Telemetry(mdeg_c) => ToController::Telemetry(telemetry(now, *mdeg_c)),
    }
}

/// Gives the events to a controller; the ticks between two of them are at most `patience`, and
/// come late where `late`. Everything that was sent, and the most ticks that one event needed.
fn run(
    view: PolicyView<'_>,
    events: &[Event],
    gap_us: u32,
    patience: usize,
    late: bool,
) -> (Vec<ToHost>, usize) {
    let mut now = Instant::START;
    let mut controller = Controller::new(Some(view));
    controller.start_session(now, PERIOD_US, 7);
    let mut sent = Vec::new();
    let mut most = 0;
    for (index, event) in (0..).zip(events) {
        let message = message(event, now, view.tables(), index);
        let seq = u16::try_from(index).unwrap();
        sent.extend(controller.step(now, Input::Message { message: &message, seq }));
        let tick_at = if late { now.after(Duration::from_us(gap_us)) } else { now };
        let mut ticks = 0;
        while controller.is_deciding() && ticks < patience {
            assert!(controller.next_deadline().is_some_and(|due| tick_at.reached(due)));
            sent.extend(controller.step(tick_at, Input::Tick));
            ticks += 1;
        }
        most = most.max(ticks);
        now = now.after(Duration::from_us(gap_us));
    }
    while controller.is_deciding() {
        sent.extend(controller.step(now, Input::Tick));
    }
    (sent, most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whenever slices are done, before the next message or in its step, in time or late: the same
    /// is sent in the same order. That is what lets a microcontroller and its twin be compared.
    #[test]
    fn when_slices_are_done_changes_nothing(
        (seed, wild) in (any::<u64>(), any::<bool>()),
        setup in prop::collection::vec(asked(), 4),
        events in prop::collection::vec(event(), 1..30),
        gap_us in 0..40_000_u32,
        patience in 0..4_usize,
    ) {
        let image = policy(32, 16, 4, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let events: Vec<_> = (0..)
            .zip(setup)
            .map(|(slot, targets)| Event::Set(slot, targets))
            .chain(events)
            .collect();
        let (expected, ticks) = run(view, &events, gap_us, usize::MAX, false);
        prop_assert!(ticks <= MOST_SLICES, "{} slices", ticks);
        for (patience, late) in [(0, false), (patience, false), (usize::MAX, true)] {
            let (sent, _) = run(view, &events, gap_us, patience, late);
            prop_assert_eq!(&sent, &expected);
        }
    }
}

/// The slices that the test above is about do come: a decision of four applications that nothing
/// fits takes several.
#[test]
fn a_decision_of_a_full_board_takes_several_slices() {
    let image = policy(32, 16, 4, 11, true);
    let view = PolicyView::open(&image).unwrap();
    let targets =
        |table| Targets { table, deadline_us: 3_000, period_us: 9_000, ..common::targets() };
    let mut events: Vec<_> = (0..4).map(|slot| Event::Set(slot, targets(slot))).collect();
    let (_, none) = run(view, &events, 1_000, usize::MAX, false);
    events.push(Event::Telemetry(45_000));
    let (_, several) = run(view, &events, 1_000, usize::MAX, false);
    assert_eq!(none, 0);
    assert!((2..=MOST_SLICES).contains(&several), "{several}");
}
