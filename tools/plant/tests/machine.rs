//! The board in virtual time against figures worked out by hand.

mod common;

use common::{minimal, shipped};
use coshift_plant::Board;
use coshift_plant::board::Level;
use coshift_plant::law::LatencyLaw;
use coshift_plant::machine::{Event, Knob, Machine, Phase, Work};
use proptest::prelude::*;

fn board() -> Board {
    Board::parse(&minimal(), "minimal.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn level(cpu_khz: u32, gpu_khz: u32) -> Level {
    Level { cpu_khz, gpu_khz, emc_khz: 1_600_000 }
}

/// 2 ms of launches at 1 GHz, then 10 ms at a GPU clock of 500 MHz; memory does not matter.
fn work() -> Work {
    let latency = LatencyLaw {
        gpu_mhz_ms: 5000.0,
        emc_mhz_ms: 0.0,
        cpu_ms: 2.0,
        cpu_ref_mhz: 1000.0,
        p: 1.0,
    };
    Work { latency, activity: 1.0, factor: 1.0 }
}

/// Events with their times until nothing happens any more.
fn events(machine: &mut Machine) -> Vec<(u64, Event)> {
    let mut events = Vec::new();
    while let Some(at) = machine.next_event_us() {
        events.extend(machine.advance(at).map(|event| (machine.now_us(), event)));
    }
    events
}

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} for {expected}");
}

#[test]
fn a_request_launches_and_then_overlaps() {
    let mut machine = Machine::new(&board(), level(1_000_000, 500_000));
    machine.advance(100);
    machine.start(work()).expect("idle");
    assert_eq!(machine.phase(), Phase::Launch);
    assert!(machine.start(work()).is_err());
    let events = events(&mut machine);
    assert_eq!(events, [(2100, Event::LaunchDone), (12_100, Event::RequestDone)]);
    assert_eq!((machine.cpu_busy_us(), machine.gpu_busy_us()), (2000, 10_000));
    assert_eq!(machine.phase(), Phase::Idle);
}

#[test]
fn a_change_counts_for_the_rest_of_the_request() {
    // Both clocks doubled, asked for at 0: the CPU's after 1 ms, when half of the launches are done,
    // the GPU's after 5 ms.
    let mut machine = Machine::new(&board(), level(1_000_000, 500_000));
    machine.start(work()).expect("idle");
    machine.ask(Knob::Cpu, 2_000_000);
    machine.ask(Knob::Gpu, 1_000_000);
    assert_eq!(machine.clocks(), level(1_000_000, 500_000));
    assert_eq!(machine.asked(), level(2_000_000, 1_000_000));
    // Launches: 1 ms + half of 1 ms. GPU: 3.5 ms of 10 done at 5 ms, the other 65 % in 3.25 ms.
    let events = events(&mut machine);
    let expected = [
        (1000, Event::ClocksChanged),
        (1500, Event::LaunchDone),
        (5000, Event::ClocksChanged),
        (8250, Event::RequestDone),
    ];
    assert_eq!(events, expected);
    let (trail, power) = (machine.trail(), board().power);
    let drawn = power.busy_w(&level(1_000_000, 500_000), 1.0) * 0.001
        + power.busy_w(&level(2_000_000, 500_000), 1.0) * 0.004
        + power.busy_w(&level(2_000_000, 1_000_000), 1.0) * 0.003_25;
    close(trail.energy_at(8250), drawn, 1e-12);
    assert_eq!(trail.clocks_at(999), level(1_000_000, 500_000));
    assert_eq!(trail.clocks_at(1000), level(2_000_000, 500_000));
    assert_eq!(trail.points().len(), 3);
}

#[test]
fn a_change_that_costs_nothing_is_in_the_trail_as_well() {
    let mut board = board();
    board.power.cpu_factor = 0.0;
    let mut machine = Machine::new(&board, level(1_000_000, 500_000));
    machine.ask(Knob::Cpu, 2_000_000);
    events(&mut machine);
    machine.advance(9000);
    let trail = machine.trail();
    assert_eq!(trail.points().len(), 2);
    assert_eq!(trail.clocks_at(1000).cpu_khz, 2_000_000);
    close(trail.energy_at(9000), board.power.idle_w(&level(1, 500_000)) * 0.009, 1e-12);
}

#[test]
fn slower_clocks_and_slowdown_stretch_what_is_left() {
    let mut machine = Machine::new(&board(), level(1_000_000, 1_000_000));
    machine.start(Work { factor: 2.0, ..work() }).expect("idle");
    // 4 ms of launches, 10 ms on the GPU; the GPU's clock halves 5 ms after 7 ms: 8 ms done.
    assert_eq!(machine.advance(7000), Some(Event::LaunchDone));
    assert_eq!(machine.advance(7000), None);
    machine.ask(Knob::Gpu, 500_000);
    let events = events(&mut machine);
    assert_eq!(events, [(12_000, Event::ClocksChanged), (16_000, Event::RequestDone)]);
}

#[test]
fn a_clock_asked_for_anew_settles_anew() {
    let mut machine = Machine::new(&board(), level(1_000_000, 500_000));
    machine.ask(Knob::Gpu, 1_000_000);
    machine.advance(4000);
    machine.ask(Knob::Gpu, 1_000_000);
    assert_eq!(machine.next_event_us(), Some(5000));
    machine.ask(Knob::Gpu, 750_000);
    assert_eq!(events(&mut machine), [(9000, Event::ClocksChanged)]);
    assert_eq!(machine.clocks().gpu_khz, 750_000);
    // Back to what is in force already.
    machine.ask(Knob::Gpu, 750_000);
    assert_eq!(machine.next_event_us(), None);
}

#[test]
fn an_idle_board_draws_idle_power_and_warms_by_the_law() {
    let board = board();
    let clocks = level(1_190_400, 510_000);
    let mut machine = Machine::new(&board, clocks);
    assert_eq!(machine.advance(600_000_000), None);
    let (trail, idle_w) = (machine.trail(), board.power.idle_w(&clocks));
    close(trail.energy_j(0, 600_000_000), idle_w * 600.0, 1e-9);
    close(trail.mean_w(100, 300), idle_w, 1e-9);
    assert_eq!(trail.points().len(), 1);
    let ambient = board.thermal.ambient_c;
    close(trail.temp_at(600_000_000), board.thermal.after(ambient, idle_w, ambient, 600.0), 1e-9);
    // Beyond the run there is nothing.
    close(trail.energy_j(600_000_000, 700_000_000), 0.0, 0.0);
    assert_eq!(trail.mean_w(600_000_000, 700_000_000), 0.0);
}

#[test]
fn windows_cover_the_range_and_the_last_may_be_short() {
    let mut machine = Machine::new(&board(), level(1_000_000, 500_000));
    machine.advance(100_000);
    machine.start(work()).expect("idle");
    events(&mut machine);
    machine.advance(250_000);
    let windows: Vec<_> = machine.trail().windows(0, 1_000_000, 100_000).collect();
    assert_eq!(windows.len(), 3);
    close(windows[2].1, 0.05, 1e-12);
    close(windows[0].0, windows[2].0, 1e-9);
    assert!(windows[1].0 > windows[0].0 + 0.5, "{windows:?}");
    let sum: f64 = windows.iter().map(|(watt, seconds)| watt * seconds).sum();
    close(sum, machine.trail().energy_at(250_000), 1e-9);
}

#[test]
fn requests_at_constant_clocks_are_those_of_the_policy() {
    for name in ["agx_xavier", "orin_nano", "xavier_nx"] {
        let board = shipped(name);
        for network in &board.networks {
            for sub in &network.sub_networks {
                for level in &board.levels {
                    let mut machine = Machine::new(&board, *level);
                    let activity = network.activity;
                    let work = Work { latency: sub.latency, activity, factor: 1.0 };
                    machine.start(work).expect("idle");
                    events(&mut machine);
                    let took = machine.now_us();
                    assert_eq!(took, u64::from(board.latency_us(sub, level)), "{name} {level:?}");
                    let idle = board.power.idle_w(level) * took as f64 / 1e6;
                    let marginal_uj = (machine.trail().energy_at(took) - idle) * 1e6;
                    // Half a µJ, and half a µs of the latency.
                    let within = 0.5 + 0.5 * board.power.busy_w(level, activity);
                    close(marginal_uj, f64::from(board.energy_uj(network, sub, level)), within);
                }
            }
        }
    }
}

proptest! {
    /// However clocks change and in whatever steps the time passes: the pieces add up, time never
    /// goes back, and the same request does the same work.
    #[test]
    fn energy_is_conserved(
        changes in prop::collection::vec((0_u64..20_000, 0_usize..3, 0_usize..4), 1..40),
        cuts in prop::collection::vec(0_u64..400_000, 2..10),
    ) {
        let board = board();
        let tables = [
            [1_190_400, 1_267_200, 1_344_000, 1_420_800],
            [114_750, 306_000, 510_000, 1_000_000],
            [1_000_000, 1_200_000, 1_400_000, 1_600_000],
        ];
        let mut machine = Machine::new(&board, level(1_190_400, 510_000));
        let (mut summed_j, mut done) = (0.0, 0_u64);
        for (wait, knob, clock) in changes {
            let until = machine.now_us() + wait;
            loop {
                let (before, power_w) = (machine.now_us(), machine.power_w());
                let event = machine.advance(until);
                prop_assert!(machine.now_us() >= before);
                summed_j += power_w * (machine.now_us() - before) as f64 / 1e6;
                match event {
                    Some(Event::RequestDone) => done += 1,
                    Some(_) => {}
                    None => break,
                }
            }
            prop_assert_eq!(machine.now_us(), until);
            let knobs = [Knob::Cpu, Knob::Gpu, Knob::Emc];
            machine.ask(knobs[knob], tables[knob][clock]);
            // Busy more often than not; refused while one runs.
            let _ = machine.start(work());
        }
        let (trail, end) = (machine.trail(), machine.now_us());
        prop_assert!((trail.energy_at(end) - summed_j).abs() < 1e-9);
        prop_assert_eq!(trail.end_us(), end);
        let mut cuts = cuts;
        cuts.push(0);
        cuts.push(end);
        cuts.retain(|cut| *cut <= end);
        cuts.sort_unstable();
        let pieces: f64 = cuts.windows(2).map(|pair| trail.energy_j(pair[0], pair[1])).sum();
        prop_assert!((pieces - summed_j).abs() < 1e-9);
        prop_assert!(machine.cpu_busy_us() + machine.gpu_busy_us() <= end);
        // 2 ms at 1 GHz and 10 ms at 500 MHz: what every request took of CPU and GPU at most.
        prop_assert!(machine.gpu_busy_us() <= (done + 1) * (5000 * 1_000_000 / 114_750 + 1));
    }
}
