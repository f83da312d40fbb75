//! `coshift-tools bench engine`: latency of every sub-network, switches, memory.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use coshift_engine::family::{Family, OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use serde::Serialize;

use super::measure::{measure, quantile};

/// Measures the latency of every sub-network on this machine's CPU.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Model folder. Default: the 13 published levels of Dynamic-OFA (OFA-MobileNetV3 w1.2) on
    /// random weights, on which the speed does not depend.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Images a call.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// Turns of every sub-network.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub rounds: usize,
    /// Inferences a turn, beside the first one after the switch.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub runs: usize,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Prints where the time of this sub-network goes, on one thread, in place of the table.
    #[arg(long, value_name = "INDEX")]
    pub profile: Option<usize>,
}

/// What one sub-network takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Index of the sub-network.
    pub index: usize,
    /// Published name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Height and width of its images, pixels.
    pub resolution: usize,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Threads.
    pub threads: usize,
    /// Images a call.
    pub batch: usize,
    /// Median time of a call, ms.
    pub cpu_ms_p50: f64,
    /// Time that 99 % of the calls stay below, ms.
    pub cpu_ms_p99: f64,
    /// Shortest time of a call, ms: what other work on the machine disturbs least.
    pub cpu_ms_min: f64,
    /// 10⁹ multiply-accumulates a second, at the median.
    pub gmac_per_s: f64,
    /// Time that 99 % of the switches stay below, ns, the clock's own time included.
    pub switch_ns_p99: u64,
    /// Median time of the first call after a switch over the median of the others.
    pub first_inference_over_steady: f64,
    /// Bytes held for all sub-networks: weights, what each has of its own, feature maps.
    pub resident_bytes: usize,
}

/// A network with the names of its sub-networks.
struct Subject {
    network: Network,
    nets: Vec<(Option<String>, SubNet)>,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub(super) fn run(args: &EngineArgs) -> Result<()> {
    let subject = subject(args)?;
    if let Some(index) = args.profile {
        return profile(args, &subject, index);
    }
    if !args.json {
        println!("{}, {} threads, batch {}", subject.network.isa(), args.threads, args.batch);
        println!(" index   M MACs  ms p50  ms p99  ms min  GMAC/s  switch ns p99  first/steady");
    }
    for row in rows(args, &subject)? {
        if args.json {
            println!("{}", serde_json::to_string(&row)?);
        } else {
            println!(
                "{:>6} {:>8.1} {:>7.2} {:>7.2} {:>7.2} {:>7.1} {:>14} {:>13.3}  {}",
                row.index,
                row.macs as f64 / 1e6,
                row.cpu_ms_p50,
                row.cpu_ms_p99,
                row.cpu_ms_min,
                row.gmac_per_s,
                row.switch_ns_p99,
                row.first_inference_over_steady,
                row.name.unwrap_or_default(),
            );
        }
    }
    Ok(())
}

/// Measures every sub-network.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn bench(args: &EngineArgs) -> Result<Vec<Row>> {
    rows(args, &subject(args)?)
}

fn subject(args: &EngineArgs) -> Result<Subject> {
    ensure!(args.threads > 0, "--threads: at least 1");
    ensure!(args.batch > 0, "--batch: at least 1");
    ensure!(args.rounds > 0 && args.runs > 0, "--rounds, --runs: at least 1");
    if let Some(folder) = &args.model {
        let (network, model) = Network::load(folder)?;
        let nets = model.sub_networks.into_iter().map(|sub| (None, sub.net)).collect();
        return Ok(Subject { network, nets });
    }
    let family: Family = serde_json::from_str(OFA_12)?;
    let layout = Layout::new(&family)?;
    let mut random = Random(1);
    let values = optimiser::start(&layout, &mut random);
    let levels = dynamic_ofa();
    let calibrated: Vec<_> =
        levels.iter().map(|level| on_noise(&layout, &values, &level.net, &mut random)).collect();
    let nets = levels.into_iter().map(|level| (Some(level.name), level.net)).collect();
    Ok(Subject { network: Network::new(layout, values, &calibrated)?, nets })
}

/// A sub-network normalised by the statistics of one random image: values stay in range, where
/// without it some would end up so small that arithmetic on them is slow.
fn on_noise(layout: &Layout, values: &Values, net: &SubNet, random: &mut Random) -> Calibrated {
    let side = layout.family().side(net);
    let image: Vec<f32> =
        (0..side * side * layout.family().image_channels).map(|_| random.normal()).collect();
    let statistics = forward(layout, &layout.units(net), values, &image, None).statistics;
    Calibrated { net: net.clone(), statistics }
}

fn images(args: &EngineArgs, network: &Network) -> Vec<Vec<f32>> {
    let mut random = Random(2);
    (0..network.len())
        .map(|index| {
            let len = network.image_len_of(index).unwrap_or_default();
            (0..args.batch * len).map(|_| random.normal()).collect()
        })
        .collect()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn rows(args: &EngineArgs, Subject { network, nets }: &Subject) -> Result<Vec<Row>> {
    let mut space = Workspace::with_threads(args.threads);
    space.reserve(network, args.batch);
    let images = images(args, network);
    let times = measure(network, &images, &mut space, (args.rounds, args.runs))?;
    let resident_bytes = network.resident_bytes() + space.bytes();
    let layout = network.layout();
    let row = |(index, ((name, net), times)): (usize, (&(Option<String>, SubNet), _))| {
        let super::Times { steady, first, switch } = times;
        let median = quantile(&steady, 0.5);
        let macs = layout.cost(net).0;
        Row {
            index,
            name: name.clone(),
            resolution: layout.family().side(net),
            macs,
            threads: args.threads,
            batch: args.batch,
            cpu_ms_p50: ms(median),
            cpu_ms_p99: ms(quantile(&steady, 0.99)),
            cpu_ms_min: ms(quantile(&steady, 0.0)),
            gmac_per_s: (macs * args.batch as u64) as f64 / median.as_secs_f64() / 1e9,
            switch_ns_p99: quantile(&switch, 0.99).as_nanos() as u64,
            first_inference_over_steady: quantile(&first, 0.5).as_secs_f64() / median.as_secs_f64(),
            resident_bytes,
        }
    };
    Ok(nets.iter().zip(times).enumerate().map(row).collect())
}

/// The shortest time of each step of a sub-network, in their order.
fn profile(args: &EngineArgs, Subject { network, nets }: &Subject, index: usize) -> Result<()> {
    let known = nets.len();
    ensure!(index < known, "--profile: sub-network {index}, expected 0 to {}", known - 1);
    let mut space = Workspace::default();
    let images = images(args, network);
    let mut steps = network.profile(index, &images[index], &mut space)?;
    for _ in 0..args.rounds * args.runs {
        let again = network.profile(index, &images[index], &mut space)?;
        for ((_, time), (_, other)) in steps.iter_mut().zip(again) {
            *time = other.min(*time);
        }
    }
    let total: Duration = steps.iter().map(|(_, time)| *time).sum();
    println!("{:.3} ms in all, {}", ms(total), network.isa());
    for (place, (step, time)) in steps.iter().enumerate() {
        let share = 100.0 * time.as_secs_f64() / total.as_secs_f64();
        println!("{place:>3} {:>8.1} µs {share:>5.1} %  {step}", 1e3 * ms(*time));
    }
    Ok(())
}
