//! Streams under the stock governors of a board.

use std::path::Path;

use coshift_plant::Board;
use coshift_plant::board::{Level, Network, SubNetwork};
use coshift_plant::law::LatencyLaw;
use coshift_tools::simulate::podgov::Podgov;
use coshift_tools::simulate::{
    Choice, ClockManager, Ending, Held, MAX_WAITING, Record, Request, Run, Seen, Stock, Stream,
    factors, governed, serve,
};

fn shipped(name: &str) -> Board {
    let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards");
    Board::load(&boards.join(format!("{name}.toml"))).unwrap_or_else(|error| panic!("{error}"))
}

fn network<'a>(board: &'a Board, name: &str) -> &'a Network {
    board.network(name).unwrap_or_else(|| panic!("{}: no {name}", board.name))
}

/// `count` requests, one every `period_us`.
fn periodic(count: u64, period_us: u64, deadline_us: u64, floor_bp: u16) -> Stream {
    let request = |n: u64| Request { release_us: n * period_us, deadline_us, floor_bp };
    let requests = (0..count).map(request).collect();
    Stream { requests, slowdown: Vec::new(), end_us: count * period_us }
}

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} for {expected}");
}

/// Response times in ms, sorted.
fn responses_ms(run: &Run) -> Vec<f64> {
    let mut ms: Vec<f64> =
        run.records.iter().filter_map(|record| Some(record.response_us()? as f64 / 1e3)).collect();
    ms.sort_by(f64::total_cmp);
    ms
}

/// Share of the time between two times that a clock is in force.
fn share(run: &Run, from_us: u64, to_us: u64, holds: impl Fn(&Level) -> bool) -> f64 {
    let points = run.points();
    let ends = points.iter().skip(1).map(|point| point.from_us).chain([u64::MAX]);
    let us = points
        .iter()
        .zip(ends)
        .filter(|(point, _)| holds(&point.clocks))
        .map(|(point, end)| end.min(to_us).saturating_sub(point.from_us.max(from_us)) as f64);
    us.sum::<f64>() / (to_us - from_us) as f64
}

/// Whether every request started as soon as it was released.
fn nothing_waits(records: &[Record]) -> bool {
    records.iter().all(|record| match record.ending {
        Ending::Served { start_us, .. } => start_us == record.request.release_us,
        Ending::Dropped { .. } => false,
    })
}

#[test]
fn equal_arguments_give_equal_runs() {
    let board = shipped("xavier_nx");
    let net = network(&board, "coshift-28");
    let stream = periodic(300, 66_667, 60_000, 9100);
    let run =
        |seed| governed(&board, net, &stream, Choice::BestFitting, 0.03, seed).expect("a run");
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
    assert_eq!(run(5).records.len(), 300);
}

#[test]
fn with_nothing_to_do_the_board_idles_at_the_lowest_clocks() {
    for name in ["agx_xavier", "orin_nano", "xavier_nx"] {
        let board = shipped(name);
        let stream = Stream { requests: vec![], slowdown: vec![], end_us: 30_000_000 };
        let run =
            governed(&board, &board.networks[0], &stream, Choice::Largest, 0.0, 1).expect("a run");
        let clocks = board.clocks.as_ref().expect("tables");
        let emc_khz = board.levels.iter().map(|level| level.emc_khz).max().expect("levels");
        let lowest = Level { cpu_khz: clocks.cpu_khz[0], gpu_khz: clocks.gpu_khz[0], emc_khz };
        assert_eq!(run.trail.clocks_at(0), lowest);
        close(run.energy_j(0, stream.end_us), board.power.idle_w(&lowest) * 30.0, 1e-9);
        close(run.energy_j(0, 7) + run.energy_j(7, 30_000_000), run.energy_j(0, 30_000_000), 1e-9);
    }
}

#[test]
fn requests_at_held_clocks_cost_what_the_policy_says() {
    for name in ["agx_xavier", "orin_nano", "xavier_nx"] {
        let board = shipped(name);
        let net = network(&board, "coshift-28");
        for level in &board.levels {
            let stream = periodic(20, 1_000_000, 900_000, 9000);
            let largest = net.sub_networks.len() - 1;
            let ones = vec![1.0; 20];
            let run = serve(&board, net, &stream, &mut Held(*level), &mut |_| largest, &ones)
                .expect("a run");
            let sub = &net.sub_networks[largest];
            let latency = u64::from(board.latency_us(sub, level));
            assert!(nothing_waits(&run.records));
            assert!(run.records.iter().all(|record| record.response_us() == Some(latency)));
            let marginal = run.energy_j(0, stream.end_us) - board.power.idle_w(level) * 20.0;
            let expected = 20.0 * f64::from(board.energy_uj(net, sub, level)) / 1e6;
            // Half a µJ, and half a µs at the busy power, of each.
            let busy_w = board.power.busy_w(level, net.activity);
            close(marginal, expected, 20.0 * 0.5e-6 * (1.0 + busy_w));
        }
    }
}

#[test]
fn slowdown_and_noise_multiply_the_latency_of_what_starts_then() {
    let board = shipped("xavier_nx");
    let net = network(&board, "dynamic-ofa-7");
    let level = *board.levels.last().expect("levels");
    let mut stream = periodic(6, 200_000, 150_000, 0);
    stream.slowdown = vec![(200_000, 1300), (600_000, 900)];
    let noise = [1.0, 1.0, 1.1, 1.0, 1.0, 2.0];
    let run = serve(&board, net, &stream, &mut Held(level), &mut |_| 0, &noise).expect("a run");
    let quiet = net.sub_networks[0].latency.us(&level);
    let factors = [1.0, 1.3, 1.43, 0.9, 0.9, 1.8];
    for (record, factor) in run.records.iter().zip(factors) {
        let found = record.response_us().expect("served") as f64;
        close(found, quiet * factor, 0.5001);
    }
}

#[test]
fn at_most_four_wait_and_the_oldest_is_dropped() {
    let board = shipped("xavier_nx");
    let net = network(&board, "dynamic-ofa-7");
    let level = board.levels[0];
    // One that runs for long, then more than can wait, at the same time and later.
    let releases = [0, 10, 10, 10, 10, 20, 30];
    let requests =
        releases.map(|release_us| Request { release_us, deadline_us: 10_000_000, floor_bp: 0 });
    let stream = Stream { requests: requests.into(), slowdown: vec![], end_us: 100 };
    let ones = vec![1.0; releases.len()];
    let run = serve(&board, net, &stream, &mut Held(level), &mut |_| 0, &ones).expect("a run");
    let dropped: Vec<_> = run
        .records
        .iter()
        .enumerate()
        .filter_map(|(index, record)| match record.ending {
            Ending::Dropped { at_us } => Some((index, at_us)),
            Ending::Served { .. } => None,
        })
        .collect();
    assert_eq!(dropped, [(1, 20), (2, 30)]);
    assert_eq!(run.missed(0, 100), 2);
    // The others were served to their end, in order, one after the other.
    let served: Vec<_> = run
        .records
        .iter()
        .filter_map(|record| match record.ending {
            Ending::Served { start_us, end_us, .. } => Some((start_us, end_us)),
            Ending::Dropped { .. } => None,
        })
        .collect();
    assert_eq!(served.len(), MAX_WAITING + 1);
    assert!(served.windows(2).all(|pair| pair[0].1 == pair[1].0));
    assert_eq!(run.trail.end_us(), served[MAX_WAITING].1);
}

#[test]
fn a_release_in_the_microsecond_of_an_end_comes_before_the_next_start() {
    let board = shipped("xavier_nx");
    let net = network(&board, "dynamic-ofa-7");
    let level = board.levels[0];
    let latency = u64::from(board.latency_us(&net.sub_networks[0], &level));
    let releases = [0, 1, 2, 3, 4, latency];
    let requests =
        releases.map(|release_us| Request { release_us, deadline_us: latency, floor_bp: 0 });
    let end_us = latency + 1;
    let stream = Stream { requests: requests.into(), slowdown: vec![], end_us };
    let ones = vec![1.0; releases.len()];
    let run = serve(&board, net, &stream, &mut Held(level), &mut |_| 0, &ones).expect("a run");
    // Four wait when the first one is done; the release comes before the next start, as in the
    // agent, so that the oldest of them goes.
    let endings: Vec<_> = run.records.iter().map(|record| record.response_us().is_some()).collect();
    assert_eq!(endings, [true, false, true, true, true, true]);
    assert!(!run.records[0].missed() && run.records[2].missed());
}

#[test]
fn the_best_fitting_sub_network_changes_with_the_floor() {
    let board = shipped("xavier_nx");
    let net = network(&board, "coshift-28");
    // Whatever the shipped model's accuracies are: a floor that every sub-network meets, and one
    // between two of them.
    let wanted = net.sub_networks.len() / 2;
    let floor_bp = (net.sub_networks[wanted].accuracy_pct * 100.0).floor() as u16;
    let mut stream = periodic(60, 100_000, 80_000, 9000);
    for request in &mut stream.requests[20..40] {
        request.floor_bp = floor_bp;
    }
    let used = |choice| -> Vec<usize> {
        let run = governed(&board, net, &stream, choice, 0.0, 1).expect("a run");
        let sub = |ending: Ending| match ending {
            Ending::Served { sub_network, .. } => sub_network,
            Ending::Dropped { .. } => usize::MAX,
        };
        run.records.iter().map(|record| sub(record.ending)).collect()
    };
    let fitting = used(Choice::BestFitting);
    let accuracy = |index: usize| net.sub_networks[index].accuracy_pct;
    assert!(fitting[..20].iter().chain(&fitting[40..]).all(|index| *index == 0));
    let floor = f64::from(floor_bp) / 100.0;
    assert!(accuracy(wanted) >= floor && accuracy(wanted - 1) < floor, "{floor}");
    assert!(fitting[20..40].iter().all(|index| *index == wanted));
    assert!(used(Choice::Largest).iter().all(|index| *index == net.sub_networks.len() - 1));
}

#[test]
fn the_smaller_sub_network_draws_less_under_the_stock_governors() {
    let board = shipped("xavier_nx");
    let net = network(&board, "coshift-28");
    let stream = periodic(300, 66_667, 66_667, 9100);
    let run = |choice| governed(&board, net, &stream, choice, 0.02, 3).expect("a run");
    let (largest, fitting) = (run(Choice::Largest), run(Choice::BestFitting));
    let end = stream.end_us;
    assert!(fitting.energy_j(0, end) < largest.energy_j(0, end));
    assert!(largest.peak_w(0, end) >= largest.mean_w(0, end));
    assert_eq!(largest.over_cap_s(1000.0, 0, end), 0.0);
    close(largest.over_cap_s(0.1, 0, end), end as f64 / 1e6, 1e-6);
    let cap = largest.mean_w(0, end);
    let over = largest.over_cap_s(cap, 0, end);
    assert!(0.0 < over && over < end as f64 / 1e6, "{over}");
}

/// MobileNetV2 of the published grid (dankang21/jetson-latency-lab), as a network.
fn mobilenet() -> Network {
    let latency = LatencyLaw {
        gpu_mhz_ms: 3205.0,
        emc_mhz_ms: 4725.0,
        cpu_ms: 0.78,
        cpu_ref_mhz: 1344.0,
        p: 2.02,
    };
    let sub_network = SubNetwork {
        id: 0,
        accuracy_pct: 71.9,
        macs: None,
        params: None,
        blocks: None,
        resolution: None,
        exit_threshold: None,
        latency,
    };
    Network {
        name: "mobilenet".into(),
        tiles: 1,
        activity: 1.0,
        model_hash: 0,
        sub_networks: vec![sub_network],
    }
}

/// The stock governor of the GPU with the CPU held at a clock.
struct HeldCpu(Stock, u32);

impl ClockManager for HeldCpu {
    fn first(&self) -> Level {
        Level { cpu_khz: self.1, ..self.0.first() }
    }

    fn next_us(&self) -> Option<u64> {
        self.0.next_us()
    }

    fn step(&mut self, seen: &Seen) -> Level {
        Level { cpu_khz: self.1, ..self.0.step(seen) }
    }
}

#[test]
fn a_100_hz_mobilenet_stays_where_it_was_measured() {
    let board = shipped("orin_nano");
    let net = mobilenet();
    let stream = periodic(6000, 10_000, 10_000, 0);
    let noise = factors(6000, 0.005, 1).expect("in range");
    let run = |clocks: &mut dyn ClockManager| {
        serve(&board, &net, &stream, clocks, &mut |_| 0, &noise).expect("a run")
    };
    let stock = || Stock::new(&board).expect("tables");
    let governed = run(&mut stock());
    let held = run(&mut HeldCpu(stock(), 1_344_000));
    for (name, run) in [("schedutil", &governed), ("CPU held at 1344 MHz", &held)] {
        let share = |from_us| share(run, from_us, stream.end_us, |at| at.gpu_khz == 510_000);
        let (whole, ms) = (share(0) * 100.0, responses_ms(run));
        println!("{name}: 510 MHz {whole:.2} % of 60 s, p50 {:.2} ms", ms[ms.len() / 2]);
        // It gets there within a second and never leaves.
        assert!(share(0) > 0.98 && share(0) < 1.0, "{name}: {whole}");
        close(share(1_000_000), 1.0, 1e-12);
    }
    // As the grid has it for 510 MHz: 7.20 ms, with the CPU at 1344 MHz.
    let ms = responses_ms(&held);
    close(ms[ms.len() / 2], 7.20, 0.10);
}

#[test]
fn the_cpu_climbs_under_launches_and_not_under_work_of_the_gpu() {
    let board = shipped("orin_nano");
    let stream = periodic(20, 300_000, 300_000, 0);
    let table = board.clocks.as_ref().expect("tables").cpu_khz.clone();
    let reached = |cpu_ms, gpu_mhz_ms| {
        let mut net = mobilenet();
        let law = &mut net.sub_networks[0].latency;
        (law.cpu_ms, law.gpu_mhz_ms) = (cpu_ms, gpu_mhz_ms);
        let run = governed(&board, &net, &stream, Choice::Largest, 0.0, 1).expect("a run");
        let cpu = |point: &coshift_plant::machine::Point| point.clocks.cpu_khz;
        let highest = run.points().iter().map(cpu).max().expect("points");
        (highest, share(&run, 0, stream.end_us, |clocks| clocks.cpu_khz == table[0]))
    };
    let (highest, at_lowest) = reached(100.0, 3205.0);
    assert!(highest >= 1_500_000, "{highest}");
    // Between the requests it is down again.
    assert!(at_lowest > 0.2 && at_lowest < 0.8, "{at_lowest}");
    assert_eq!(reached(1.0, 60_000.0), (table[0], 1.0));
}

#[test]
fn without_the_block_window_the_run_is_another() {
    let board = shipped("orin_nano");
    let net = network(&board, "coshift-28");
    let stream = periodic(200, 100_000, 66_667, 9100);
    let ones = vec![1.0; 200];
    let table = board.clocks.as_ref().expect("tables").gpu_khz.clone();
    let run = |mut stock: Stock| {
        serve(&board, net, &stream, &mut stock, &mut |_| 9, &ones).expect("a run")
    };
    let stock = || Stock::new(&board).expect("tables");
    let (as_it_is, mutant) =
        (run(stock()), run(stock().with_gpu(Podgov::with_block_window(&table, 0))));
    assert_eq!(run(stock().with_gpu(Podgov::new(&table))), as_it_is);
    assert_ne!(mutant.records, as_it_is.records);
    // Two changes of the GPU clock are 50 ms apart, but for the mutant.
    let least_us = |run: &Run| {
        let points = run.points().windows(2);
        let changes: Vec<u64> = points
            .filter(|pair| pair[0].clocks.gpu_khz != pair[1].clocks.gpu_khz)
            .map(|pair| pair[1].from_us)
            .collect();
        changes.windows(2).map(|pair| pair[1] - pair[0]).min().expect("changes")
    };
    assert!(least_us(&as_it_is) >= 50_000);
    assert!(least_us(&mutant) < 50_000);
}

#[test]
fn what_cannot_be_simulated_is_said() {
    let mut board = shipped("xavier_nx");
    let net = network(&board, "dynamic-ofa-7").clone();
    let stream = periodic(3, 10, 10, 0);
    let said = |board: &Board, noise| {
        governed(board, &net, &stream, Choice::Largest, noise, 1).unwrap_err().to_string()
    };
    assert_eq!(said(&board, 0.7), "noise: 0 to 0.5 goes, 0.7 found");
    board.clocks = None;
    assert_eq!(
        said(&board, 0.0),
        "board xavier_nx: no [clocks], the kernel's governors need the clocks that they choose from"
    );
    let mut held = Held(board.levels[0]);
    let error = serve(&board, &net, &stream, &mut held, &mut |_| 7, &[1.0; 3]).unwrap_err();
    assert_eq!(error.to_string(), "network dynamic-ofa-7: sub-network 0 to 6 goes, 7 chosen");
    let error = serve(&board, &net, &stream, &mut held, &mut |_| 0, &[1.0; 2]).unwrap_err();
    assert_eq!(error.to_string(), "one factor for each request goes: 3, 2 found");
}
