//! The test for contention against a simulated schedule: earliest deadline first, none interrupted.

mod common;

use common::published::published;
use common::{policy, targets};
use coshift_controller::application::Application;
use coshift_controller::demand::Load;
use coshift_controller::device::Slots;
use coshift_controller::schedule::{Loads, Schedule, Times};
use coshift_shared::policy::PolicyView;
use coshift_shared::to_controller::Targets;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// One application: latency, deadline and period, µs, and the release of its first request.
type Task = (u32, u32, u32, u32);

/// The most that a request is late, µs, within the first `until_us`.
fn latest_us(tasks: &[Task], until_us: u64) -> u64 {
    let mut next: Vec<u64> = tasks.iter().map(|task| u64::from(task.3)).collect();
    let mut waiting: Vec<(u64, u64)> = Vec::new();
    let (mut now, mut latest) = (0_u64, 0_u64);
    while now < until_us {
        for (task, next) in tasks.iter().zip(&mut next) {
            while *next <= now {
                waiting.push((*next + u64::from(task.1), u64::from(task.0)));
                *next += u64::from(task.2);
            }
        }
        let first = (0..waiting.len()).min_by_key(|place| waiting[*place].0);
        let Some(first) = first else {
            now = *next.iter().min().expect("there are tasks");
            continue;
        };
        let (deadline, latency) = waiting.swap_remove(first);
        now += latency;
        latest = latest.max(now.saturating_sub(deadline));
    }
    latest
}

fn judged(tasks: &[Task]) -> bool {
    let image = policy();
    let view = PolicyView::open(&image).unwrap();
    let mut slots: Slots = [const { None }; 4];
    let mut loads: Loads = [None; 4];
    for (((latency_us, deadline_us, period_us, _), slot), load) in
        tasks.iter().zip(&mut slots).zip(&mut loads)
    {
        let asked = Targets { deadline_us: *deadline_us, period_us: *period_us, ..targets() };
        *slot = Some(Application::new(asked, &view));
        *load = Some(Load {
            sub_network: 0,
            latency_us: *latency_us,
            energy_uj: 0,
            guarded_us: *latency_us,
            utilisation_permille: 0,
            power_mw: 0,
        });
    }
    let schedule = Schedule::new(&slots);
    let mut times = Times::default();
    schedule.times(&loads, tasks.len() > 1, &mut times);
    schedule.keeps(&times)
}

fn task() -> impl Strategy<Value = Task> {
    (1_000_u32..60_000, 30_000_u32..300_000, 40_000_u32..400_000, 0_u32..400_000)
}

fn utilisation(tasks: &[Task]) -> f64 {
    tasks.iter().map(|task| f64::from(task.0) / f64::from(task.2)).sum()
}

/// Sets that the test lets pass and that are simulated.
const PASSING: u32 = 5_000;

/// What the test lets pass is in time, whatever the phases.
#[test]
fn nothing_that_passes_is_late() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(task(), 2..=4);
    let (mut drawn, mut passed, mut counts) = (0_u32, 0, [0_u32; 5]);
    while passed < PASSING {
        let tasks = strategy.new_tree(&mut runner).unwrap().current();
        if utilisation(&tasks) > 1.0 {
            continue;
        }
        drawn += 1;
        if judged(&tasks) {
            passed += 1;
            counts[tasks.len()] += 1;
            assert_eq!(latest_us(&tasks, 10_000_000), 0, "{tasks:?}");
        }
    }
    let [_, _, two, three, four] = counts;
    assert!(two.min(three).min(four) >= PASSING / 10, "{counts:?}");
    published(
        "docs/control.md",
        "passing",
        &format!(
            "none of {PASSING} other random ones that it lets pass ({two} of two applications, {three} of \
             three, {four} of four; of {drawn} drawn with a utilisation of at most 1) is late in ten \
             simulated seconds"
        ),
    );
}

/// How much the test gives away: of random sets of applications, those that no phases out of some
/// made late, and how many of them pass.
#[test]
fn most_that_is_never_late_passes() {
    let (mut state, mut in_time, mut passed) = (7_u64, 0, 0);
    let mut random = |from: u32, until: u32| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (state >> 33) as u32 % (until - from)
    };
    for _ in 0..2_000 {
        let count = random(2, 5) as usize;
        let mut tasks: Vec<Task> = (0..count)
            .map(|_| {
                let period = random(60_000, 400_000);
                (random(5_000, 90_000), random(period / 2, period), period, 0)
            })
            .collect();
        if utilisation(&tasks) > 0.9 {
            continue;
        }
        let mut late = false;
        for _ in 0..60 {
            for task in &mut tasks {
                task.3 = random(0, task.2);
            }
            late |= latest_us(&tasks, 4_000_000) > 0;
        }
        if !late {
            in_time += 1;
            passed += u32::from(judged(&tasks));
        }
    }
    assert!(in_time > 300, "{in_time} sets are in time");
    assert!(passed * 100 >= in_time * 95, "{passed} of {in_time} pass");
    published(
        "docs/control.md",
        "contention",
        &format!(
            "Of {in_time} random sets of two to four applications that none of 60 phases made late \
             it lets {passed} pass"
        ),
    );
}
