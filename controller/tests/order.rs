//! Inputs of one instant in any order, telemetry and what one application both learns and is asked
//! among them: what the order changes, and what not.

mod common;

use common::Bench;
use common::random::{asked, policy, shape};
use common::streams::{Event, event, limits, outcomes, stamped, telemetry};
use coshift_controller::Controller;
use coshift_controller::controller::SEARCH;
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Instant;
use coshift_shared::to_controller::{
    Application, ApplicationState, Change, Outcomes, SeedState, TailState, Targets, ToController,
};
use coshift_shared::to_host::{Decision, ToHost};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// What happens at one instant: outcomes and targets of the first two slots, caps, a telemetry; and
/// whether the targets keep the miss target.
#[derive(Debug, Clone)]
struct Together {
    messages: Vec<ToController>,
    shuffled: Vec<usize>,
    keeps_miss: bool,
}

fn together() -> impl Strategy<Value = Together> {
    let out = |slot: u8| {
        outcomes().prop_map(move |outcomes| {
            ToController::Outcomes(Outcomes { slot, first_index: 1_000, ..outcomes })
        })
    };
    let set = |slot: u8| {
        asked().prop_map(move |targets| {
            let change = Change::Set(targets);
            ToController::Application(Application { at_us: 0, slot, change })
        })
    };
    let rest =
        (limits().prop_map(ToController::Limits), telemetry().prop_map(ToController::Telemetry));
    let all = (out(0), out(1), set(0), set(1), rest);
    let order = Just((0..6).collect::<Vec<usize>>()).prop_shuffle();
    let together = (all, order, any::<u8>(), any::<bool>()).prop_map(
        |((first, second, third, fourth, (limits, telemetry)), order, some, keeps_miss)| {
            let all = [first, second, third, fourth, limits, telemetry];
            let kept = all.into_iter().enumerate().filter(|(place, _)| some & (1 << place) != 0);
            let messages: Vec<ToController> = kept.map(|(_, message)| message).collect();
            let shuffled = order.into_iter().filter(|place| *place < messages.len()).collect();
            Together { messages, shuffled, keeps_miss }
        },
    );
    together.prop_filter("the same order", |together| !together.shuffled.is_sorted())
}

fn happen(bench: &mut Bench<'_>, event: &Event) {
    match event {
        Event::Message(message) => {
            give(bench, message);
        }
        Event::Wait(us) => bench.wait_us(*us),
        Event::Tick(us) => {
            bench.wait_us(*us);
            bench.controller.step(bench.now, coshift_controller::Input::Tick);
        }
        Event::Seed(..) | Event::Keep | Event::Kept => {}
    }
}

/// The last decision that is sent.
fn give(bench: &mut Bench<'_>, message: &ToController) -> Option<Decision> {
    let out = bench.give(&stamped(message, bench.now.us()));
    out.iter().rev().find_map(|output| match output {
        ToHost::Decision(decision) => Some(*decision),
        _ => None,
    })
}

/// New targets for the table of an application that is there, and its miss target where that stays;
/// none where there is no application.
fn for_those_there(
    controller: &Controller<'_>,
    message: &ToController,
    keeps_miss: bool,
) -> Option<ToController> {
    let ToController::Application(Application { slot, change: Change::Set(targets), .. }) = message
    else {
        return Some(message.clone());
    };
    let there = controller.slots()[usize::from(*slot)].as_ref()?.targets;
    let miss = if keeps_miss { there.miss_target_bp } else { targets.miss_target_bp };
    let change = Change::Set(Targets { table: there.table, miss_target_bp: miss, ..*targets });
    Some(ToController::Application(Application { at_us: 0, slot: *slot, change }))
}

/// What is known after an instant.
#[derive(Debug, PartialEq)]
struct Known {
    slowdowns: Vec<ApplicationState>,
    tails: Vec<TailState>,
    power: Vec<SeedState>,
}

impl Known {
    fn of(controller: &Controller<'_>) -> Self {
        let mut known = Self { slowdowns: Vec::new(), tails: Vec::new(), power: Vec::new() };
        for part in controller.seed() {
            match part {
                // What was decided last is not learned.
                SeedState::Application(state) => {
                    known.slowdowns.push(ApplicationState { sub_network: 0, ..state });
                }
                SeedState::Tail(state) => known.tails.push(state),
                SeedState::Power(_) | SeedState::Bias(_) => known.power.push(part),
                _ => {}
            }
        }
        known
    }
}

const CASES: u32 = 2_000;

/// How often something was compared with what another order makes of it, and, where nothing is said
/// of it, how often it was another.
#[derive(Debug, Default)]
struct Compared {
    same: u32,
    left: u32,
    other: u32,
}

impl Compared {
    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        holds: bool,
        [ours, theirs]: [&T; 2],
    ) -> Result<(), TestCaseError> {
        if holds {
            self.same += 1;
            prop_assert_eq!(ours, theirs);
        } else {
            self.left += 1;
            self.other += u32::from(ours != theirs);
        }
        Ok(())
    }
}

/// Whatever the order of what happens at one instant to applications that are there:
///
/// - what is learned of the mean slowdown is the same: always;
/// - its tail is the same where the miss target stays. Where it changes, the correction and the boost
///   begin afresh with it, and outcomes that come before it no longer count in them;
/// - what is learned of power is the same unless caps came with the telemetry (whether a reading is over
///   the cap, and whether the board parks, is judged by the caps in force), or outcomes had something
///   decided at once (a reading is held against what the standing decision predicts);
/// - the mode is the same unless caps came with the telemetry: over-temperature is looked for by
///   telemetry alone;
/// - the next decision is the same where nothing was decided in between, the miss target stays, and the
///   same clocks are taken for held. A telemetry is such a decision: it knows what came before it, and
///   what it takes stands by dwell and hysteresis against what comes after it. Which clocks are held
///   outcomes say once the deadline in force has passed twice, so that other deadlines count for
///   outcomes behind them only, and of outcomes from two levels the last one counts.
///
/// An application that comes, goes, or changes its table is no part of this: outcomes before that are
/// lost with what it had learned, those behind it are refused, or count for the new table.
///
/// The next decision is compared where its search has no bound: where it has, what is kept from before
/// says how far it comes.
fn compared(effort: u32) -> [Compared; 5] {
    let unbounded = effort == u32::MAX;
    let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
    let mut runner = TestRunner::new(config);
    let strategy = (shape(), prop::collection::vec(event(), 1..40), together(), telemetry());
    let compared = std::cell::RefCell::new(<[Compared; 5]>::default());
    let run = |(shape, before, together, last): (_, Vec<Event>, Together, _)| {
        let (levels, sub_networks, tables, seed, wild) = shape;
        let image = policy(levels, sub_networks, tables, seed, wild);
        let view = PolicyView::open(&image).unwrap();
        let orders = [(0..together.messages.len()).collect(), together.shuffled.clone()];
        let found = orders.map(|order: Vec<usize>| {
            let mut bench = Bench::new(view, Instant::START);
            bench.controller = bench.controller.searching(effort);
            for slot in 0..2 {
                bench.set(slot, common::targets());
            }
            for event in &before {
                happen(&mut bench, event);
            }
            let messages: Vec<_> = together
                .messages
                .iter()
                .map(|message| for_those_there(&bench.controller, message, together.keeps_miss))
                .collect();
            let (mut decided, mut capped, mut read) = (false, false, false);
            for message in order.iter().filter_map(|place| messages[*place].as_ref()) {
                let answer = give(&mut bench, message);
                let telemetry = matches!(message, ToController::Telemetry(_));
                decided |= answer.is_some() && !telemetry;
                read |= telemetry;
                capped |= matches!(message, ToController::Limits(_));
            }
            let known = Known::of(&bench.controller);
            let held = format!("{:?}", bench.controller.held());
            let mode = bench.controller.mode();
            let next = give(&mut bench, &ToController::Telemetry(last)).unwrap();
            (known, held, mode, Decision { digest: 0, last_seq: 0, ..next }, decided, capped, read)
        });
        let [ours, theirs] = found;
        let (decided, capped, read) = (ours.4 || theirs.4, ours.5, ours.6);
        let keeps_miss = together.keeps_miss;
        let [slowdowns, tails, power, modes, decisions] = &mut *compared.borrow_mut();
        slowdowns.compare(true, [&ours.0.slowdowns, &theirs.0.slowdowns])?;
        tails.compare(keeps_miss, [&ours.0.tails, &theirs.0.tails])?;
        let uncapped = !(read && capped);
        power.compare(uncapped && !(read && decided), [&ours.0.power, &theirs.0.power])?;
        modes.compare(uncapped, [&ours.2, &theirs.2])?;
        let settled = unbounded && !read && !decided && keeps_miss && ours.1 == theirs.1;
        decisions.compare(settled, [&ours.3, &theirs.3])?;
        Ok(())
    };
    if let Err(why) = runner.run(&strategy, run) {
        panic!("{why}");
    }
    let compared = compared.into_inner();
    println!("{effort}: {compared:?}");
    // What is left out is: each is another by some order.
    for of in &compared[1..] {
        assert!(of.other > 0, "{compared:?}");
    }
    compared
}

#[test]
fn what_the_order_of_inputs_of_one_instant_changes() {
    let compared = compared(u32::MAX);
    for of in &compared {
        assert!(of.same >= CASES / 20, "{compared:?}");
    }
}

/// What is learned, and the mode, by the controller as shipped too, whose searches have a bound: and
/// where one looks at no more than a level a decision.
#[test]
fn what_the_order_changes_where_searches_have_a_bound() {
    for effort in [SEARCH, 0] {
        let compared = compared(effort);
        for of in &compared[..4] {
            assert!(of.same >= CASES / 20, "{effort}: {compared:?}");
        }
    }
}
