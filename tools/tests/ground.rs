//! Scenario files, the world, and the managers end to end.

use std::path::{Path, PathBuf};

use coshift_controller::estimator::{ONE_Q24, Slowdown, Tail};
use coshift_tools::ground::command::{retargeted, simulate};
use coshift_tools::ground::managers::{Fixed, NAMES, Setting, known};
use coshift_tools::ground::random::Random;
use coshift_tools::ground::results::{Row, run_manager};
use coshift_tools::ground::scenario::{Instance, Scenario, ScenarioError, contention};
use coshift_tools::ground::world::{self, Ending, Run, score};

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn shipped(name: &str) -> Scenario {
    let path = scenarios().join(format!("{name}.toml"));
    Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// A scenario cut to its first seconds.
fn short(name: &str, seconds: u64) -> Scenario {
    Scenario { end_us: seconds * 1_000_000, ..shipped(name) }
}

fn run(scenario: &Scenario, manager: &str) -> Run {
    let instance = Instance::draw(scenario, 0).expect("fits");
    let setting = Setting { scenario, instance: &instance };
    run_manager(manager, setting).unwrap_or_else(|error| panic!("{error}"))
}

fn rows(scenarios: &[Scenario], managers: &[&str], seeds: u64) -> Vec<Row> {
    let managers: Vec<String> = managers.iter().map(|name| (*name).to_owned()).collect();
    let quiet = |_: &str, _: u64, _: &Scenario, _: &Instance, _: &Run| Ok(());
    simulate(scenarios, &managers, seeds, Some(2), false, &quiet).expect("runs")
}

#[test]
fn every_shipped_scenario_is_sound() {
    let mut count = 0;
    let held_out = scenarios().join("held-out");
    let listed = [scenarios(), held_out].map(|folder| std::fs::read_dir(folder).expect("a folder"));
    for entry in listed.into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        if path.is_dir() || name == "contention" {
            continue;
        }
        let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(scenario.name, name, "the file is named as the scenario");
        assert!(Instance::draw(&scenario, 0).expect("fits").count() > 100, "{name}");
        count += 1;
    }
    assert!(count >= 27, "{count}");
}

#[test]
fn measured_scenarios_are_skipped_by_name_where_the_data_is_missing() {
    let text = std::fs::read_to_string(scenarios().join("measured/measured-quiet.toml")).unwrap();
    let text = text.replace("data:orin_nano", "data:no-such-folder");
    match Scenario::parse(&text, "x.toml", &scenarios().join("measured")) {
        Err(ScenarioError::NoData { scenario, path }) => {
            assert_eq!(scenario, "measured-quiet");
            assert!(path.contains("no-such-folder"), "{path}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn errors_name_line_and_field() {
    let text = std::fs::read_to_string(scenarios().join("single-quiet.toml")).unwrap();
    let cases = [
        ("duration_s = 120.0", "duration_s = -1", "duration_s: 1 to 100000 goes, -1 found"),
        (
            "name = \"cam0\"",
            "name = \"Cam 0\"",
            "application[0].name: 1 to 48 of a-z, 0-9, _, - go, \"Cam 0\" found",
        ),
        (
            "miss_target = 0.01",
            "miss_target = 2",
            "application[0].miss_target: 0 to 0.5 goes, 2 found",
        ),
        (
            "period_ms = 100.0",
            "period_ms = 0.1",
            "application[0].arrivals: period_ms: 1 to 3600000 goes, 0.1 found",
        ),
        (
            "period_ms = 100.0",
            "period_ms = 100.0, poisson_per_s = 1",
            "application[0].arrivals: exactly one of period_ms, poisson_per_s, csv goes (column and speed with csv)",
        ),
        (
            "deadline_ms = 80.0",
            "deadline_ms = 0",
            "application[0].target[0].deadline_ms: 0.1 to 100000 goes, 0 found",
        ),
        ("at_s = 0.0", "at_s = 3", "application[0].target[0].at_s: 0 goes for the first, 3 found"),
        (
            "markov = \"emc2133-mobilenet\"",
            "markov = \"x\"",
            "application[0].slowdown: markov: one of emc2133-mobilenet, emc3199-mobilenet, late-emc2133, late-emc3199 goes, \"x\" found",
        ),
        (
            "network = \"dynamic-ofa-7\"",
            "network = \"y\"",
            "application[0].network: a network of the board goes (coshift-28, dynamic-ofa-6, dynamic-ofa-7), \"y\" found",
        ),
        ("cpu_floor = true", "cpu_flor = true", "unknown field `cpu_flor`"),
        ("objective = \"least-energy\"", "objective = \"fast\"", "unknown variant `fast`"),
    ];
    for (from, to, expected) in cases {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let line = changed.lines().position(|line| line.contains(to)).expect("there") + 1;
        let said = Scenario::parse(&changed, "x.toml", &scenarios()).unwrap_err().to_string();
        assert!(said.starts_with(&format!("x.toml:{line}: {expected}")), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn equal_seeds_give_equal_rows_and_others_do_not() {
    let scenario = [short("co-runner-60ms", 20)];
    let managers = ["coshift", "ztt", "schedutil-podgov-fit"];
    let first = rows(&scenario, &managers, 2);
    assert_eq!(first, rows(&scenario, &managers, 2));
    let mut other = scenario.clone();
    other[0].seed += 100;
    let other = rows(&other, &managers, 2);
    assert_ne!(first[0].energy_j, other[0].energy_j);
    assert_ne!(first[0].config_hash, other[0].config_hash);
    assert_ne!(first[0].config_hash, first[1].config_hash);
}

#[test]
fn every_manager_serves_every_request() {
    let scenario = short("four-priorities", 10);
    let instance = Instance::draw(&scenario, 0).expect("fits");
    for name in NAMES.iter().filter(|name| !name.starts_with("exec:")) {
        assert!(known(name));
        let done = run(&scenario, name);
        let count: usize = done.records.iter().map(Vec::len).sum();
        assert_eq!(count, instance.count(), "{name}");
        let scores = score(&scenario, &done);
        assert!(
            scores.iter().all(|score| score.energy_j > 10.0 && score.energy_j < 200.0),
            "{name}"
        );
        // Nobody runs two requests at once, or one before it is released.
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for record in done.records.iter().flatten() {
            if let Ending::Served { start_us, end_us, .. } = record.ending {
                assert!(start_us >= record.request.release_us, "{name}");
                spans.push((start_us, end_us));
            }
        }
        spans.sort_unstable();
        assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{name}");
    }
}

#[test]
fn ours_keeps_deadlines_and_takes_less_than_the_stock_governors() {
    let scenario = [shipped("single-quiet")];
    let rows = rows(&scenario, &["coshift", "schedutil-podgov", "schedutil-podgov-fit"], 1);
    let [ours, largest, fitting] = &rows[..] else { panic!("{rows:?}") };
    assert!(ours.miss_rate <= ours.miss_target, "{ours:?}");
    assert!(ours.p99_ms <= 80.0, "{ours:?}");
    assert!(ours.energy_vs_oracle >= 0.999 && ours.energy_vs_oracle < 1.01, "{ours:?}");
    assert!(ours.energy_j < 0.81 * largest.energy_j, "{ours:?} {largest:?}");
    assert!(ours.energy_j < 0.92 * fitting.energy_j, "{ours:?} {fitting:?}");
}

#[test]
fn a_shorter_miss_target_costs_energy_and_saves_misses() {
    let at = |target: f64| {
        let scenario = retargeted(shipped("co-runner-60ms"), Some(target)).expect("in range");
        rows(&[scenario], &["coshift"], 2).remove(0)
    };
    let (loose, tight) = (at(0.05), at(0.001));
    assert!(loose.energy_j < tight.energy_j, "{loose:?} {tight:?}");
    assert!(loose.miss_rate > tight.miss_rate, "{loose:?} {tight:?}");
}

#[test]
fn pins_sensors_and_heat_reach_the_board() {
    // The pinned memory clock is in force, whatever is asked for.
    let mut scenario = short("memory-pinned", 60);
    let done = run(&scenario, "max");
    let clocks = |at: u64| done.trail.clocks_at(at).emc_khz;
    assert_eq!((clocks(29_000_000), clocks(31_000_000)), (3_199_000, 665_600));
    // Without a fan the board throttles at its highest clocks.
    scenario = shipped("fanless-heat");
    scenario.board.thermal.throttle_c = 80.0;
    let done = run(&scenario, "max");
    let first = done.trail.clocks_at(1_000_000).gpu_khz;
    assert!(done.trail.clocks_at(scenario.end_us).gpu_khz < first);
    let hottest = (0..900).map(|s| done.trail.temp_at(s * 1_000_000)).fold(0.0, f64::max);
    assert!(hottest < 81.0, "{hottest}");
}

#[test]
fn power_is_under_its_cap_over_whole_periods_and_little_over_it_in_windows() {
    // Windows of 100 ms hold 61 of a request's 90 ms, and 10 more of the next.
    let scenario = shipped("power-cap-step");
    let done = run(&scenario, "coshift");
    let cap_w = 7.5;
    // From the second control period after the step to the end of the cap.
    let means = |length: u64| -> Vec<f64> {
        let starts =
            (0..).map(|n| 40_200_000 + n * length).take_while(|at| at + length <= 80_000_000);
        starts.map(|at| done.trail.mean_w(at, at + length)).collect()
    };
    let over = means(100_000).into_iter().filter(|mean| *mean > cap_w).collect::<Vec<_>>();
    let worst = over.iter().copied().fold(0.0, f64::max);
    println!("{} of 398 windows over {cap_w} W, the worst {worst:.3} W", over.len());
    assert!(worst < 1.03 * cap_w, "{worst}");
    let worst = means(900_000).into_iter().fold(0.0, f64::max);
    println!("worst of ten periods {worst:.3} W");
    assert!(worst <= cap_w, "{worst}");
}

#[test]
fn where_nobody_can_serve_all_the_oracle_is_late_least() {
    // Requests come in bursts longer than the queue: some are dropped whatever runs.
    let folder = scenarios();
    let text = std::fs::read_to_string(folder.join("bursty-arrivals.toml")).unwrap();
    let text = text.replace("poisson_per_s = 4.0", "poisson_per_s = 14.0");
    let mut scenario = Scenario::parse(&text, "burst.toml", &folder).expect("sound");
    scenario.end_us = 30_000_000;
    let late = |manager: &str| score(&scenario, &run(&scenario, manager))[0].misses;
    let (best, fixed) = (late("oracle"), late("static-best"));
    assert!(best > 0 && best <= fixed, "{best} {fixed}");
}

#[cfg(unix)]
#[test]
fn a_program_of_the_users_own_decides() {
    let folder = std::env::temp_dir().join(format!("coshift-exec-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let log = folder.join("log");
    // The highest level and sub-network 3, and the agent may park.
    let script = format!(
        "while read -r line; do echo \"$line\" >> {}; echo '{{\"level\":15,\"sub_networks\":[3],\"park\":true}}'; done",
        log.display()
    );
    let scenario = short("single-quiet", 5);
    let done = run(&scenario, &format!("exec:{script}"));
    assert!(done.parks >= 40, "{}", done.parks);
    let served = done.records[0].iter().filter(|record| {
        matches!(record.ending, Ending::Served { sub_network: 3, clocks, .. } if clocks.gpu_khz == 1_109_250)
    });
    assert!(served.count() >= 48);
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.starts_with("{\"application"), "{told:.80}");
    for event in ["start", "time", "done"] {
        assert!(told.contains(&format!("\"event\":\"{event}\"")), "{event}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    // What does not answer, or not as it should, ends the run with one line.
    let instance = Instance::draw(&scenario, 0).expect("fits");
    let setting = Setting { scenario: &scenario, instance: &instance };
    for (command, expected) in [
        ("true", "ended before the run did"),
        ("while read -r l; do echo '{\"level\":99}'; done", "level: 0 to 15 goes, 99 found"),
        ("while read -r l; do echo no; done", "answer to start: "),
    ] {
        let said = run_manager(&format!("exec:{command}"), setting).unwrap_err();
        assert!(said.contains(expected) && !said.contains('\n'), "{said}");
    }
}

#[test]
fn a_manager_that_ignores_the_memory_clock_misses() {
    // Its tables say that every level has the highest memory clock.
    let mut scenario = shipped("orin-two-clocks");
    scenario.end_us = 30_000_000;
    let mut instance = Instance::draw(&scenario, 0).expect("fits");
    let board = &scenario.board;
    let highest = board.levels.iter().map(|level| level.emc_khz).max().expect("levels");
    let network = scenario.network(0);
    for (sub, row) in network.sub_networks.iter().zip(&mut instance.policy.tables[0].cells) {
        for (level, cell) in board.levels.iter().zip(row) {
            let blind = coshift_plant::board::Level { emc_khz: highest, ..*level };
            cell.latency_us = board.latency_us(sub, &blind);
        }
    }
    instance.policy_bytes = coshift_plant::policy::bytes(&instance.policy).expect("sound");
    let seeing = Instance::draw(&scenario, 0).expect("fits");
    // The level with the least power that fits by the tables with 5 % to spare, held.
    let held = |instance: &Instance| {
        let setting = Setting { scenario: &scenario, instance };
        let power = |level: usize| setting.idle_w(level) + setting.energy_uj(0, 3, level) / 80e3;
        let fits = |level: &usize| setting.latency_us(0, 3, *level) * 1.25 <= 70e3;
        let least = (0..board.levels.len()).filter(fits);
        let level = least.min_by(|a, b| power(*a).total_cmp(&power(*b))).expect("some fit");
        let mut fixed = Fixed::parking(setting, level, [Some(3), None, None, None], false);
        let done = world::run(&scenario, instance, &mut fixed).expect("runs");
        miss_rate(&done)
    };
    let (blind, sees) = (held(&instance), held(&seeing));
    assert!(sees <= 0.01 && blind > 0.1, "{blind} without, {sees} with the memory clock");
    // A controller that learns the slowdown makes up for it, but where it has not learned it yet.
    let ours = |instance: &Instance| {
        let setting = Setting { scenario: &scenario, instance };
        miss_rate(&run_manager("coshift", setting).expect("runs"))
    };
    let (learned, known) = (ours(&instance), ours(&seeing));
    // One of 375 requests each, the first ones of the run: what is learned then is for both the same.
    assert!(learned < blind / 10.0 && known <= sees + 0.01, "{learned} of {blind}, {known}");
}

fn miss_rate(run: &Run) -> f64 {
    let missed = run.records[0].iter().filter(|record| record.missed()).count();
    missed as f64 / run.records[0].len() as f64
}

/// Mean + k·σ at 0.1 %: an exponentially weighted mean and variance with the k of a normal
/// distribution.
struct Sigmas {
    mean: f64,
    variance: f64,
}

impl Sigmas {
    const K: f64 = 3.090_232;

    fn guard(&self) -> f64 {
        self.mean + Self::K * self.variance.sqrt()
    }

    fn take(&mut self, slowdown: f64) {
        let residual = slowdown - self.mean;
        self.variance += (residual * residual - self.variance) / 64.0;
        self.mean += residual / 16.0;
    }
}

#[test]
fn mean_and_deviations_do_not_keep_a_target_of_a_thousandth() {
    const TARGET: f64 = 0.001;
    let model = contention::shipped().expect("sound").remove("emc2133-mobilenet").expect("there");
    let mut random = Random::new(1, "margin");
    let (mut bin, mut left, mut loaded) = (5, 0, true);
    let mut sigmas = Sigmas { mean: 1.0, variance: 1e-4 };
    let (mut ours, tail) = (Slowdown::default(), Tail::at(10));
    let (mut beyond_sigmas, mut beyond_ours) = (0, 0);
    let count = 100_000;
    for _ in 0..count {
        // Contention comes and goes every 100 to 1500 requests.
        if left == 0 {
            left = 100 + (random.uniform() * 1400.0) as u32;
            loaded = !loaded;
        }
        left -= 1;
        let chain = if loaded { &model.loaded } else { &model.quiet };
        let slowdown;
        (slowdown, bin) = chain.draw(bin, &mut random);
        let one = f64::from(ONE_Q24);
        beyond_sigmas += u32::from(slowdown > sigmas.guard());
        beyond_ours += u32::from(slowdown > f64::from(ours.guard_q24(&tail)) / one);
        sigmas.take(slowdown);
        ours.observe((slowdown * one) as u32, &tail);
    }
    let rate = |beyond: u32| f64::from(beyond) / f64::from(count);
    assert!(rate(beyond_ours) <= TARGET, "ours: {}", rate(beyond_ours));
    assert!(rate(beyond_sigmas) > 5.0 * TARGET, "k sigma: {}", rate(beyond_sigmas));
}
