//! Parking between requests, on a virtual board in virtual time.

use coshift_host::boards;
use coshift_host::cells::Cells;
use coshift_host::clock::Time;
use coshift_host::core::{AgentCore, Caps, Settings};
use coshift_host::engine::ScriptedEngine;
use coshift_host::platform::{Platform, VirtualBoard};
use coshift_host::runtime::Runtime;
use coshift_host::simulation::{NoLink, Simulation};
use coshift_host::spec::ApplicationSpec;
use coshift_host::trace::{Ending, Finished};
use coshift_plant::policy;
use coshift_shared::policy::PolicyView;
use coshift_shared::time::Duration;
use coshift_shared::units::{NO_POWER_CAP, NO_TEMP_CAP};

const SECONDS: u64 = 20;

/// What a run came to.
struct Run {
    energy_j: f64,
    parks: u64,
    level_changes: u64,
    finished: Vec<Finished>,
    /// (level, settled) of the board at the end of each period.
    park_seen: bool,
}

/// Runs applications for [`SECONDS`].
fn run(parking: bool, apps: &[&str]) -> Run {
    let board = boards::find("--board", "virtual:xavier_nx").unwrap();
    let image = policy::bytes(&policy::first_image(&board).unwrap()).unwrap();
    let policy = PolicyView::open(&image).unwrap();
    let settings = Settings {
        period: Duration::from_us(50_000),
        remote: false,
        boot_nonce: 1,
        session_seed: 1,
        caps: Caps { power_mw: NO_POWER_CAP, temp_mdeg_c: NO_TEMP_CAP },
        parking,
        upload_policy: false,
    };
    let platform = VirtualBoard::new(&board, &policy, policy.levels() - 1).unwrap();
    let mut runtime = Runtime::new(AgentCore::new(policy, settings), platform);
    let mut effects = Vec::new();
    for app in apps {
        let spec = ApplicationSpec::parse("app", app).unwrap();
        runtime.set_application(Time::START, "app", spec, &mut effects).unwrap();
    }
    let cells = Cells::of_board(&board, &policy).unwrap();
    let engine = ScriptedEngine::of_cells(cells, Vec::new(), 100, 1);
    let mut simulation = Simulation::new(runtime, engine, NoLink);
    simulation.apply(effects);
    let mut park_seen = false;
    simulation.run_until(Time::from_us(SECONDS * 1_000_000), |_, runtime, _| {
        let park = runtime.core().decision().map(|decision| decision.park_level);
        park_seen |= runtime.readings().level == park;
    });
    Run {
        energy_j: simulation.runtime.platform().energy_j(),
        parks: simulation.runtime.parks(),
        level_changes: simulation.runtime.level_changes(),
        finished: simulation.finished,
        park_seen,
    }
}

fn misses(run: &Run) -> usize {
    run.finished.iter().filter(|finished| finished.missed()).count()
}

#[test]
fn parking_saves_energy_and_delays_nothing() {
    let app = ["cam0=coshift-28,deadline=55ms,floor=93,rate=10"];
    let (parked, kept) = (run(true, &app), run(false, &app));
    assert_eq!((kept.parks, kept.park_seen), (0, false));
    // Once a request, but for the first ones.
    assert!(parked.parks >= 10 * SECONDS - 5, "{}", parked.parks);
    assert!(parked.park_seen);
    assert_eq!(parked.finished.len(), kept.finished.len());
    assert_eq!((misses(&parked), misses(&kept)), (0, 0));
    assert!(parked.energy_j < 0.97 * kept.energy_j, "{} J, {} J", parked.energy_j, kept.energy_j);
    // Changes of the run level are counted apart.
    assert!(parked.level_changes <= 5, "{}", parked.level_changes);
}

#[test]
fn every_request_starts_with_its_clocks_settled() {
    let run = run(true, &["cam0=coshift-28,deadline=55ms,floor=93,rate=10"]);
    for finished in run.finished.iter().skip(5) {
        let Ending::Served { settled, level, .. } = finished.ending else { panic!("{finished}") };
        assert!(settled && level.is_some_and(|level| level > 0), "{finished}");
    }
}

#[test]
fn short_gaps_are_not_worth_two_changes() {
    // 12 ms a request at the highest level, one every 22 ms: 10 ms between them.
    let run = run(true, &["cam0=coshift-28,deadline=22ms,floor=92,rate=45"]);
    assert!(run.parks <= 2, "{}", run.parks);
}

#[test]
fn two_applications_park_only_where_both_wait() {
    let apps = [
        "cam0=coshift-28,deadline=90ms,floor=91,rate=5",
        "cam1=coshift-28,deadline=90ms,floor=91,rate=7",
    ];
    let run = run(true, &apps);
    assert!(run.parks > SECONDS, "{}", run.parks);
    assert_eq!(misses(&run), 0);
}

/// A request that comes while the clocks are still on their way runs a part at each.
#[test]
fn a_job_across_a_change_takes_its_share_of_both_levels() {
    let board = boards::find("--board", "virtual:xavier_nx").unwrap();
    let image = policy::bytes(&policy::first_image(&board).unwrap()).unwrap();
    let policy = PolicyView::open(&image).unwrap();
    let cells = Cells::of_board(&board, &policy).unwrap();
    let us = |level| cells.get(0, level, 0).unwrap().latency_us;
    let (slow, fast) = (us(0), us(15));
    let mut engine = ScriptedEngine::of_cells(cells.clone(), Vec::new(), 0, 1);
    let mut latency = |next| {
        let job = coshift_host::engine::Job {
            request: 1,
            application: "cam0".into(),
            slot: 0,
            table: 0,
            sub_network: 0,
            level: Some(0),
            next,
            start: Time::START,
        };
        engine.latency_us(&job).unwrap()
    };
    assert_eq!(latency(None), slow);
    assert_eq!(latency(Some((15, slow))), slow);
    assert_eq!(latency(Some((15, 0))), fast);
    let half = latency(Some((15, slow / 2)));
    assert!(half.abs_diff(slow / 2 + fast / 2) <= 2, "{half}, {slow} and {fast}");
    // Nobody asks a board that does not know: the platform says it itself.
    let mut platform = VirtualBoard::new(&board, &policy, 0).unwrap();
    platform.apply(15, Time::START).unwrap();
    let achieved = platform.achieved(Time::from_us(1_000));
    let settle = board.settle.gpu_us.max(board.settle.cpu_us);
    assert_eq!(achieved.next, Some((15, settle - 1_000)));
}
