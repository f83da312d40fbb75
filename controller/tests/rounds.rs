//! Decisions of bounded effort: how soon a board that stays as it is gets what judging every level
//! at once would give it.
//!
//! The shares stand in `docs/control.md`, `docs/decisions/0004-bounded-decisions.md` and `README.md`
//! and are compared with them; `COSHIFT_BLESS=1` rewrites them.

mod common;

use common::published::published;
use common::random::{asked, policy};
use common::{PERIOD_US, decision, telemetry};
use coshift_controller::controller::SEARCH;
use coshift_controller::demand::Margin;
use coshift_controller::device::{Board, Candidate, PowerCaps, Trouble};
use coshift_controller::power::Power;
use coshift_controller::{Controller, Input};
use coshift_shared::policy::PolicyView;
use coshift_shared::time::{Duration, Instant};
use coshift_shared::to_controller::{
    Application, Change, Limits, Targets, Telemetry, ToController,
};
use coshift_shared::to_host::{Decision, Reason};
use coshift_shared::units::{Age, NO_POWER_CAP, NO_TEMP_CAP};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// Boards of each kind.
const BOARDS: usize = 500;
/// Longer than a round of a level a decision, a dwell, and another round.
const PERIODS: usize = 32 + 10 + 32 + 1;

/// What a board that stays as it is was told.
struct Told {
    decisions: Vec<Decision>,
    /// Trouble of the level of each.
    trouble: Vec<Trouble>,
    best: Candidate,
}

/// Gives a full board the same telemetry so often.
fn tell(image: &[u8], asked: &[Targets], cap_mw: u32, effort: u32, periods: usize) -> Told {
    let view = PolicyView::open(image).unwrap();
    let mut now = Instant::START;
    let mut controller = Controller::new(Some(view)).searching(effort);
    controller.start_session(now, PERIOD_US, 7);
    let give = |controller: &mut Controller<'_>, now: Instant, message: &ToController| {
        let mut out = controller.step(now, Input::Message { message, seq: 0 });
        while controller.is_deciding() {
            out.extend(controller.step(now, Input::Tick));
        }
        decision(&out)
    };
    for (slot, targets) in (0..).zip(asked) {
        let targets = Targets { table: targets.table % view.tables(), ..*targets };
        let change = Change::Set(targets);
        let at_us = now.us();
        give(&mut controller, now, &ToController::Application(Application { at_us, slot, change }));
    }
    let limits = Limits {
        at_us: now.us(),
        power_cap_mw: cap_mw,
        temp_cap_mdeg_c: NO_TEMP_CAP,
        parking: false,
    };
    give(&mut controller, now, &ToController::Limits(limits));
    let (mut decisions, mut trouble) = (Vec::new(), Vec::new());
    let power = Power::default();
    let caps = PowerCaps::new(cap_mw, NO_POWER_CAP, NO_POWER_CAP);
    for _ in 0..periods {
        now = now.after(Duration::from_us(PERIOD_US));
        // Nothing is learned of power, and no clock is seen.
        let message = Telemetry { power_age: Age::MISSING, ..telemetry(now, 45_000) };
        let found = give(&mut controller, now, &ToController::Telemetry(message)).unwrap();
        let slots = controller.slots().clone();
        let board = Board::new(view, &slots, caps, &power, false);
        // What a level is newly taken with was chosen under the reserve.
        let judge = |margin| board.judge(found.run_level, margin).trouble;
        trouble.push(judge(Margin::Plain).min(judge(Margin::Reserve)));
        decisions.push(found);
    }
    let slots = controller.slots().clone();
    let best = Board::new(view, &slots, caps, &power, false).best_of_all(Margin::Plain);
    Told { decisions, trouble, best }
}

/// Periods until what stands breaks no more kinds of promises than the best level.
fn periods_until_served(told: &Told) -> usize {
    let kinds = told.best.trouble.kinds();
    let served = |trouble: &Trouble| trouble.kinds() <= kinds;
    told.trouble.iter().position(served).unwrap_or(usize::MAX)
}

fn boards(wild: bool, effort: u32, periods: usize) -> Vec<Told> {
    let mut runner = TestRunner::deterministic();
    let caps = prop_oneof![2 => Just(NO_POWER_CAP), 3 => 2_000_u32..20_000];
    let strategy = (prop::collection::vec(asked(), 4), caps, any::<u64>());
    (0..BOARDS)
        .map(|_| {
            let (asked, cap_mw, seed) = strategy.new_tree(&mut runner).unwrap().current();
            tell(&policy(32, 16, 4, seed, wild), &asked, cap_mw, effort, periods)
        })
        .collect()
}

/// Of full boards, how many have at once, and the last one
/// after how many periods, a level that breaks no more kinds of promises than the best does.
fn shares(told: &[Told]) -> (usize, usize) {
    let waits: Vec<_> = told.iter().map(periods_until_served).collect();
    let at_once = waits.iter().filter(|periods| **periods == 0).count();
    (at_once, waits.into_iter().max().unwrap())
}

#[test]
fn a_full_board_that_stays_as_it_is_is_served_within_a_round() {
    let found = [false, true].map(|wild| {
        let told = boards(wild, SEARCH, PERIODS);
        let shares = shares(&told);
        for told in &told {
            let waited = periods_until_served(told);
            assert!(waited <= 32, "{:?} {:?}", told.decisions[0], told.best);
            let fits = told.best.trouble == Trouble::NONE;
            for (found, trouble) in told.decisions.iter().zip(&told.trouble).skip(waited) {
                // What keeps every promise is left only for what does, too.
                assert!(!fits || *trouble == Trouble::NONE, "{found:?} {:?}", told.best);
            }
            let last = told.decisions.last().unwrap();
            assert_eq!(last.reason == Reason::Infeasible, !fits, "{last:?} {:?}", told.best);
            // What is not known yet is not said.
            let said = told.decisions.iter().any(|found| found.reason == Reason::Infeasible);
            assert!(!(said && fits), "{:?}", told.best);
        }
        shares
    });
    publish(found);
}

/// What is published of the shares of boards whose cells are like a board's, and in no order.
fn publish([(like, like_last), (wild, wild_last)]: [(usize, usize); 2]) {
    let of_hundred = |at_once: usize| (at_once * 100 + BOARDS / 2) / BOARDS;
    published(
        "docs/control.md",
        "rounds",
        &format!(
            "of {BOARDS} whose cells are like a board's, {like} have a level that breaks no more kinds \
             of promises than the best one does at once, the last after {like_last} periods; of \
             {BOARDS} with cells in no order, {wild}, and the last after {wild_last}"
        ),
    );
    let (like, wild) = (of_hundred(like), of_hundred(wild));
    published(
        "docs/decisions/0004-bounded-decisions.md",
        "rounds",
        &format!(
            "Of full random boards like measured ones {like} of 100 are served in the first period, \
             the last after {like_last}; of those with cells in no order {wild} of 100, the last \
             after {wild_last}."
        ),
    );
    let longest_s = f64::from(PERIOD_US) * like_last.max(wild_last) as f64 / 1e6;
    published(
        "README.md",
        "rounds",
        &format!(
            "{longest_s:.1} seconds at worst in the random boards tried, and {like} of 100 that are \
             like boards are served at once"
        ),
    );
}

/// Without a bound every board has it at once: it is the bound that the periods above are from.
#[test]
fn without_a_bound_every_board_is_served_at_once() {
    for wild in [false, true] {
        assert_eq!(shares(&boards(wild, u32::MAX, 1)), (BOARDS, 0));
    }
}
