//! `coshift-tools bench engine`: latency of every sub-network, switches, memory.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use coshift_engine::export;
use coshift_engine::family::{Family, OFA_12, SubNet};
use coshift_engine::intermediate::off;
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::model::{Calibrated, Loaded};
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use serde::Serialize;

use super::goals::missed;
use super::growth;
use super::measure::{OnCpu, measure, quantile};
use super::peers::{On, Peers, planes};

/// Largest difference of outputs between runtimes, as a share of the largest output.
pub(super) const MOST_OFF: f64 = 1e-4;

/// Measures the latency of every sub-network on this machine.
#[derive(Args, Debug)]
pub struct EngineArgs {
    /// Model folder. Default: the 13 published levels of Dynamic-OFA (OFA-MobileNetV3 w1.2) on
    /// random weights, on which the speed does not depend.
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// What runs them: this machine's CPU, or its first NVIDIA GPU (in programs that `cargo xtask
    /// cuda` has built; the outputs are compared with the CPU's first).
    #[arg(long, value_enum, default_value_t = Runner::Cpu)]
    pub device: Runner,
    /// With --device cuda: compares the outputs with the CPU's, and what every kernel leaves on the way
    /// to them, of random sub-networks too, and measures nothing.
    #[arg(long, conflicts_with = "peers")]
    pub check: bool,
    /// Random sub-networks that --check takes beside: three in ten of each ImageNet family, the rest
    /// of coshift-28.
    #[arg(long, value_name = "N", default_value_t = 200, requires = "check")]
    pub random: usize,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// Images a call.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// Turns of every sub-network.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rounds: usize,
    /// Inferences a turn, beside the first one after the switch.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub runs: usize,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// Runs the same sub-networks, exported as ONNX, in ONNX Runtime and in PyTorch, where the Python
    /// of COSHIFT_PYTHON (or python3) has them: outputs are compared first, then all take turns.
    #[arg(long, conflicts_with = "profile")]
    pub peers: bool,
    /// Fails, with a line each, where a goal is missed: switches (99 %) in at most 1,000 ns, first
    /// inference after one at most 1.1 times the others, all sub-networks in at most 1.25 times the
    /// memory of the largest, and with --peers at least as fast as ONNX Runtime.
    #[arg(long)]
    pub require: bool,
    /// Measures how the time of a call grows with the resolution, the width and the images a call,
    /// and writes it as a plot.
    #[arg(long, value_name = "FILE.svg", conflicts_with_all = ["model", "peers", "profile", "json", "require"])]
    pub growth: Option<PathBuf>,
    /// Prints where the time of this sub-network goes, on one thread, in place of the table.
    #[arg(long, value_name = "INDEX", conflicts_with = "require")]
    pub profile: Option<usize>,
}

/// What runs the sub-networks.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
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
    /// The same sub-network in other runtimes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
}

/// One sub-network in another runtime.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peer {
    /// Name and version.
    pub runtime: String,
    /// Median time of a call, ms.
    pub ms_p50: f64,
    /// Shortest time of a call, ms.
    pub ms_min: f64,
    /// Its median time over the engine's.
    pub times_engine: f64,
    /// Its shortest time over the engine's.
    pub min_times_engine: f64,
    /// Largest difference of its outputs, as a share of the largest output.
    pub outputs_off: f64,
}

impl Peer {
    /// From the sorted times of its calls and the engine's median and shortest time.
    pub(super) fn new(
        runtime: &str,
        times: &[Duration],
        (median, least): (Duration, Duration),
        outputs_off: f64,
    ) -> Self {
        let (p50, min) = (quantile(times, 0.5), quantile(times, 0.0));
        Self {
            runtime: runtime.to_owned(),
            ms_p50: ms(p50),
            ms_min: ms(min),
            times_engine: p50.as_secs_f64() / median.as_secs_f64(),
            min_times_engine: min.as_secs_f64() / least.as_secs_f64(),
            outputs_off,
        }
    }
}

/// What is measured.
pub(super) struct Subject {
    pub(super) network: Network,
    values: Values,
    pub(super) nets: Vec<Calibrated>,
    /// Of published sub-networks.
    pub(super) names: Vec<Option<String>>,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub(super) fn run(args: &EngineArgs) -> Result<()> {
    check(args)?;
    if args.device == Runner::Cuda {
        #[cfg(feature = "cuda")]
        return super::cuda::run(args);
        #[cfg(not(feature = "cuda"))]
        anyhow::bail!(
            "--device cuda: this program is built without CUDA; `cargo xtask cuda` builds one"
        );
    }
    if let Some(path) = &args.growth {
        return growth::run(args, path);
    }
    if let Some(index) = args.profile {
        return profile(args, &subject(args)?, index);
    }
    let peers = peers(args, On::Cpu)?;
    let subject = subject(args)?;
    if cfg!(debug_assertions) {
        eprintln!("not optimised: these are not the engine's times; build with --release");
    }
    if !args.json {
        println!("{}, {} threads, batch {}", subject.network.isa(), args.threads, args.batch);
    }
    let rows = rows(args, &subject, peers)?;
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        print!("{}", table(&rows));
    }
    if args.require { require(args, &subject, &rows) } else { Ok(()) }
}

/// Fails where rows miss a goal, each said in a line.
fn require(args: &EngineArgs, subject: &Subject, rows: &[Row]) -> Result<()> {
    let missed = missed(rows, largest_alone(args, subject)?, args.peers);
    for line in &missed {
        eprintln!("{line}");
    }
    ensure!(missed.is_empty(), "--require: {} goals missed", missed.len());
    Ok(())
}

/// Bytes of the largest sub-network alone, its feature maps included.
fn largest_alone(
    args: &EngineArgs,
    Subject { network, values, nets, .. }: &Subject,
) -> Result<usize> {
    let layout = network.layout();
    let largest = nets.iter().max_by_key(|calibrated| layout.cost(&calibrated.net).0);
    let alone = largest.map(std::slice::from_ref).unwrap_or_default();
    let alone = Network::new(layout.clone(), values.clone(), alone)?;
    let mut space = Workspace::with_threads(args.threads);
    space.reserve(&alone, args.batch);
    Ok(alone.resident_bytes() + space.bytes())
}

/// The rows as a table.
fn table(rows: &[Row]) -> String {
    let mut out =
        " index   M MACs  ms p50  ms p99  ms min  GMAC/s  switch ns p99  first/steady".to_owned();
    let peers = rows.first().map_or(&[][..], |row| &row.peers);
    for peer in peers {
        // Writing into a string cannot fail.
        let _ = write!(out, "  {:>18} ms  ratio  of min  off", peer.runtime);
    }
    out.push('\n');
    for row in rows {
        let _ = write!(
            out,
            "{:>6} {:>8.1} {:>7.2} {:>7.2} {:>7.2} {:>7.1} {:>14} {:>13.3}",
            row.index,
            row.macs as f64 / 1e6,
            row.cpu_ms_p50,
            row.cpu_ms_p99,
            row.cpu_ms_min,
            row.gmac_per_s,
            row.switch_ns_p99,
            row.first_inference_over_steady,
        );
        for peer in &row.peers {
            let Peer { ms_p50, times_engine, min_times_engine, outputs_off, .. } = peer;
            let _ = write!(
                out,
                "  {ms_p50:>21.2} {times_engine:>6.2} {min_times_engine:>7.2} {outputs_off:>4.0e}"
            );
        }
        let _ = writeln!(out, "  {}", row.name.as_deref().unwrap_or_default());
    }
    out
}

/// Measures every sub-network.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn bench(args: &EngineArgs) -> Result<Vec<Row>> {
    check(args)?;
    let peers = peers(args, On::Cpu)?;
    rows(args, &subject(args)?, peers)
}

/// The other runtimes, where they are asked for. To be called before anything that takes long: what is
/// missing is then said at once.
pub(super) fn peers(args: &EngineArgs, on: On) -> Result<Option<Peers>> {
    args.peers.then(|| Peers::start(args.threads, on)).transpose()
}

fn check(args: &EngineArgs) -> Result<()> {
    ensure!(args.threads > 0, "--threads: at least 1");
    ensure!(args.batch > 0, "--batch: at least 1");
    ensure!(args.rounds > 0 && args.runs > 0, "--rounds, --runs: at least 1");
    let cuda = args.device == Runner::Cuda;
    ensure!(cuda || !args.check, "--check: with --device cuda only");
    ensure!(!cuda || !args.require, "--require: not with --device cuda");
    ensure!(!cuda || args.growth.is_none(), "--growth: not with --device cuda");
    ensure!(!cuda || args.profile.is_none(), "--profile: not with --device cuda");
    Ok(())
}

pub(super) fn subject(args: &EngineArgs) -> Result<Subject> {
    if let Some(folder) = &args.model {
        let Loaded { model, layout, values, nets } = Loaded::read(folder)?;
        let network = Network::new(layout, values.clone(), &nets)?;
        let names = model.sub_networks.into_iter().map(|sub| sub.name).collect();
        return Ok(Subject { network, values, nets, names });
    }
    let family: Family = serde_json::from_str(OFA_12)?;
    let layout = Layout::new(&family)?;
    let mut random = Random(1);
    let values = optimiser::start(&layout, &mut random);
    let levels = dynamic_ofa();
    let nets: Vec<_> =
        levels.iter().map(|level| on_noise(&layout, &values, &level.net, &mut random)).collect();
    let names = levels.into_iter().map(|level| Some(level.name)).collect();
    let network = Network::new(layout, values.clone(), &nets)?;
    Ok(Subject { network, values, nets, names })
}

/// A sub-network normalised by the statistics of one random image: values stay in range, where
/// without it some would end up so small that arithmetic on them is slow.
pub(super) fn on_noise(
    layout: &Layout,
    values: &Values,
    net: &SubNet,
    random: &mut Random,
) -> Calibrated {
    let side = layout.family().side(net);
    let image: Vec<f32> =
        (0..side * side * layout.family().image_channels).map(|_| random.normal()).collect();
    let statistics = forward(layout, &layout.units(net), values, &image, None).statistics;
    Calibrated { net: net.clone(), statistics }
}

pub(super) fn images(args: &EngineArgs, network: &Network) -> Vec<Vec<f32>> {
    let mut random = Random(2);
    (0..network.len())
        .map(|index| {
            let len = network.image_len_of(index).unwrap_or_default();
            (0..args.batch * len).map(|_| random.normal()).collect()
        })
        .collect()
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn rows(args: &EngineArgs, subject: &Subject, mut peers: Option<Peers>) -> Result<Vec<Row>> {
    let Subject { network, nets, names, .. } = subject;
    let mut space = Workspace::with_threads(args.threads);
    space.reserve(network, args.batch);
    let images = images(args, network);
    let runtimes = peers.as_ref().map_or(Vec::new(), |peers| peers.names.clone());
    let off = match &mut peers {
        Some(peers) => compared(peers, subject, &images, &mut space)?,
        None => vec![Vec::new(); nets.len()],
    };
    let layout = network.layout();
    let mut on_cpu = OnCpu { network, space: &mut space };
    let times =
        measure(&mut on_cpu, &images, (args.rounds, args.runs), |_, index| match &mut peers {
            Some(peers) => peer_times(peers, layout, &nets[index].net, (index, args.runs)),
            None => Ok(Vec::new()),
        })?;
    let resident_bytes = network.resident_bytes() + space.bytes();
    let row = |(index, times): (usize, super::Times)| {
        let super::Times { steady, first, switch, others: peers } = times;
        let (median, least) = (quantile(&steady, 0.5), quantile(&steady, 0.0));
        let net = &nets[index].net;
        let macs = layout.cost(net).0;
        let peer = |(place, times): (usize, &Vec<Duration>)| {
            Peer::new(&runtimes[place], times, (median, least), off[index][place])
        };
        Row {
            index,
            name: names[index].clone(),
            resolution: layout.family().side(net),
            macs,
            threads: args.threads,
            batch: args.batch,
            cpu_ms_p50: ms(median),
            cpu_ms_p99: ms(quantile(&steady, 0.99)),
            cpu_ms_min: ms(least),
            gmac_per_s: (macs * args.batch as u64) as f64 / median.as_secs_f64() / 1e9,
            switch_ns_p99: quantile(&switch, 0.99).as_nanos() as u64,
            first_inference_over_steady: quantile(&first, 0.5).as_secs_f64() / median.as_secs_f64(),
            resident_bytes,
            peers: peers.iter().enumerate().map(peer).collect(),
        }
    };
    Ok(times.into_iter().enumerate().map(row).collect())
}

/// Times of so many inferences of a sub-network, by its index, in each of the other runtimes.
pub(super) fn peer_times(
    peers: &mut Peers,
    layout: &Layout,
    net: &SubNet,
    (index, runs): (usize, usize),
) -> Result<Vec<Vec<Duration>>> {
    let size = (layout.family().image_channels, layout.family().side(net));
    let answers = peers.run(index, runs, size)?;
    Ok(answers.iter().map(|answer| answer.times().collect()).collect())
}

/// Gives every sub-network to the other runtimes and compares their outputs with the engine's: the
/// largest difference of each, as a share of the largest output.
pub(super) fn compared(
    peers: &mut Peers,
    Subject { network, values, nets, .. }: &Subject,
    images: &[Vec<f32>],
    space: &mut Workspace,
) -> Result<Vec<Vec<f64>>> {
    let layout = network.layout();
    let channels = layout.family().image_channels;
    let mut all = Vec::new();
    for (index, (calibrated, images)) in nets.iter().zip(images).enumerate() {
        let side = layout.family().side(&calibrated.net);
        let model = export::onnx(layout, values, calibrated, &[])?;
        peers.give(index, &model, &planes(images, channels, side * side))?;
        let own = network.run(index, images, space)?;
        let answers = peers.run(index, 0, (channels, side))?;
        let off: Vec<f64> = answers.iter().map(|answer| off(own, &answer.outputs)).collect();
        for (off, runtime) in off.iter().zip(&peers.names) {
            ensure!(
                *off <= MOST_OFF,
                "sub-network {index}: outputs of {runtime} are {off:.1e} of the largest away, \
                 expected at most {MOST_OFF:.0e}"
            );
        }
        all.push(off);
    }
    Ok(all)
}

/// The shortest time of each step of a sub-network, in their order.
fn profile(args: &EngineArgs, Subject { network, nets, .. }: &Subject, index: usize) -> Result<()> {
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
