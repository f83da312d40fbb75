//! The oracle against exhaustive search, and against managers that keep as many promises.

use std::path::Path;

use coshift_tools::ground::managers::{Fixed, Setting, highest};
use coshift_tools::ground::oracle::{Cost, Freedom, Plan, Planned, Rank, Step, jobs, oracle, plan};
use coshift_tools::ground::random::Random;
use coshift_tools::ground::scenario::{Instance, Request, Scenario};
use coshift_tools::ground::world::{parking::settle_us, run, score};

const TEXT: &str = r#"
name = "small"
seed = 1
duration_s = 1.0
board = "../../boards/xavier_nx.toml"
noise_pct = 0
[[application]]
name = "a"
network = "dynamic-ofa-7"
arrivals = { period_ms = 100.0 }
miss_target = 0.01
[[application.target]]
at_s = 0.0
deadline_ms = 80.0
accuracy_floor_pct = 74.0
objective = "least-energy"
"#;

/// A board of few levels and sub-networks with a few requests.
fn small(random: &mut Random) -> (Scenario, Instance) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/measured");
    let mut scenario = Scenario::parse(TEXT, "small", &folder).expect("sound");
    let two = random.uniform() < 0.5;
    let (levels, subs, count) = if two { (2, 2, 3) } else { (3, 1, 4) };
    let all = scenario.board.levels.clone();
    // The park level, and others that serve.
    let mut places = vec![0];
    while places.len() < levels {
        let place = 4 + random.below(all.len() - 5);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.sort_unstable();
    scenario.board.levels = places.iter().map(|place| all[*place]).collect();
    let network = scenario.applications[0].network;
    let first = random.below(6);
    let network = &mut scenario.board.networks[network].sub_networks;
    *network = network[first..first + subs].to_vec();
    let mut instance = Instance::draw(&scenario, 0).expect("fits");
    let floor = if random.uniform() < 0.7 { 0 } else { 7700 };
    let mut at = random.between(2_000.0, 60_000.0);
    let requests = (0..count).map(|_| {
        let request = Request {
            release_us: at as u64,
            deadline_us: random.between(50_000.0, 180_000.0) as u32,
            floor_bp: floor,
            factor: random.between(0.8, 1.3),
        };
        at += random.between(20_000.0, 160_000.0);
        request
    });
    instance.requests[0] = requests.collect();
    scenario.end_us = at as u64 + 200_000;
    (scenario, instance)
}

/// Every plan: levels, sub-networks, and how a gap is spent.
fn exhaustive(setting: Setting<'_>) -> Rank {
    let board = &setting.scenario.board;
    let count = setting.instance.requests[0].len();
    let subs = setting.accuracies_bp(0).len();
    let mut best: Option<Rank> = None;
    let mut steps: Vec<Step> = Vec::new();
    let settle = |from: usize, to: usize| {
        u32::try_from(settle_us(&board.settle, &board.levels[from], &board.levels[to])).unwrap()
    };
    let mut visit = |steps: &[Step]| {
        for parked_after in [false, true] {
            let plan = Plan { steps: steps.to_vec(), parked_after, cost: Cost::ZERO };
            let mut planned = Planned::new(setting, &plan);
            let done = run(setting.scenario, setting.instance, &mut planned).expect("runs");
            let rank = Rank::of(setting, &done);
            if best.is_none_or(|known| rank < known) {
                best = Some(rank);
            }
        }
    };
    // Depth first over the options of each request.
    fn descend(
        steps: &mut Vec<Step>,
        count: usize,
        levels: usize,
        subs: usize,
        settle: &dyn Fn(usize, usize) -> u32,
        visit: &mut dyn FnMut(&[Step]),
    ) {
        if steps.len() == count {
            return visit(steps);
        }
        let from = steps.last().map_or(0, |step| step.level);
        for level in 0..levels {
            for sub_network in 0..subs {
                for (parked, ask_before_us) in [
                    (false, None),
                    (false, Some(settle(from, level))),
                    (true, Some(settle(0, level))),
                ] {
                    let same = level == from && !parked && ask_before_us.is_some();
                    if same || (parked && (from == 0 || level == 0)) {
                        continue;
                    }
                    let request = (0, steps.len());
                    let waits = false;
                    steps.push(Step { request, level, sub_network, parked, ask_before_us, waits });
                    descend(steps, count, levels, subs, settle, visit);
                    steps.pop();
                }
            }
        }
    }
    descend(&mut steps, count, board.levels.len(), subs, &settle, &mut visit);
    best.expect("there are plans")
}

#[test]
fn exhaustive_search_finds_nothing_better_on_200_small_instances() {
    let parts: Vec<(usize, f64)> = std::thread::scope(|scope| {
        let part = |seed: u64| {
            move || {
                let mut random = Random::new(seed, "exhaustive");
                let (mut equal, mut worst) = (0, 0.0_f64);
                for index in 0..100 {
                    let (scenario, instance) = small(&mut random);
                    let setting = Setting { scenario: &scenario, instance: &instance };
                    let best = exhaustive(setting);
                    let found = Rank::of(setting, &oracle(setting, false).expect("runs"));
                    let promises = found.promises().partial_cmp(&best.promises());
                    assert_ne!(
                        promises,
                        Some(std::cmp::Ordering::Greater),
                        "instance {seed}/{index}: {found:?} for {best:?}"
                    );
                    if promises == Some(std::cmp::Ordering::Equal) {
                        equal += 1;
                        let ratio = found.energy_j() / best.energy_j();
                        worst = worst.max(ratio);
                        assert!(ratio < 1.01, "instance {seed}/{index}: {found:?} for {best:?}");
                    }
                }
                (equal, worst)
            }
        };
        let handles = [scope.spawn(part(1)), scope.spawn(part(2))];
        handles.map(|handle| handle.join().expect("no panic")).into()
    });
    let equal: usize = parts.iter().map(|part| part.0).sum();
    let worst = parts.iter().map(|part| part.1).fold(0.0, f64::max);
    println!("{equal} of 200 compared by energy, worst {worst:.5}");
    // Nearly always both keep the same promises, so that energy is what was compared.
    assert!(equal >= 190, "{equal}");
}

#[test]
fn an_oracle_that_parks_for_free_is_caught() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/measured");
    let mut scenario = Scenario::parse(TEXT, "small", &folder).expect("sound");
    scenario.end_us = 5_000_000;
    let instance = Instance::draw(&scenario, 0).expect("fits");
    let setting = Setting { scenario: &scenario, instance: &instance };
    let mut first = Fixed::fitting(setting, highest(&setting));
    let order = run(&scenario, &instance, &mut first).expect("runs").order;
    let mut cheap = scenario.clone();
    (cheap.board.settle.gpu_us, cheap.board.settle.cpu_us) = (0, 0);
    let dream = Setting { scenario: &cheap, instance: &instance };
    let dreamt = plan(dream, &jobs(dream, &order), Freedom::default());
    let honest = plan(setting, &jobs(setting, &order), Freedom::default());
    // It promises what no plan that pays can have,
    let promised = dreamt.cost.energy_uj / honest.cost.energy_uj;
    assert!(promised < 0.995, "{promised}");
    // and where requests wait for their clocks, as behind everybody's parking, it does not keep it.
    let mut paid = dreamt.clone();
    paid.steps.iter_mut().for_each(|step| step.waits = true);
    let done = run(&scenario, &instance, &mut Planned::new(setting, &paid)).expect("runs");
    let paid = score(&scenario, &done)[0];
    assert!(paid.misses > 0 || paid.energy_j > dreamt.cost.energy_uj / 1e6 * 1.005, "{paid:?}");
    let done = run(&scenario, &instance, &mut Planned::new(setting, &honest)).expect("runs");
    let energy = score(&scenario, &done)[0].energy_j;
    let ratio = honest.cost.energy_uj / 1e6 / energy;
    assert!((ratio - 1.0).abs() < 1e-3, "{ratio}: a plan costs what the board says");
}
