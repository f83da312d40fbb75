//! `coshift-tools bench engine --device cuda`: the same sub-networks on an NVIDIA GPU.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use coshift_engine::cuda::compare::{Compared, compare};
use coshift_engine::cuda::device::{Device, DeviceNetwork, Selector};
use coshift_engine::family::{COSHIFT_28, Family, OFA_10, OFA_12, SubNet};
use coshift_engine::intermediate::off;
use coshift_engine::layout::Layout;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;
use serde::Serialize;

use super::engine::{
    EngineArgs, MOST_OFF, Peer, Subject, compared, images, ms, on_noise, peer_times, peers, subject,
};
use super::measure::{Runs, Times, measure, quantile};
use super::peers::On;

/// What one sub-network takes on a GPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    /// Name of the GPU.
    device: String,
    /// Index of the sub-network.
    index: usize,
    /// Published name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Height and width of its images, pixels.
    resolution: usize,
    /// Multiply-accumulates of one image.
    macs: u64,
    /// Images a call.
    batch: usize,
    /// Kernels of its graph.
    kernels: usize,
    /// Largest difference of its outputs from the CPU's, as a share of the largest output.
    outputs_off: f64,
    /// Median time of the graph on images that are on the GPU, by the GPU's events, ms.
    graph_ms_p50: f64,
    /// The shortest, ms.
    graph_ms_min: f64,
    /// Median time of a call, with the copies of images and logits, by the host's clock, ms.
    call_ms_p50: f64,
    /// Time that 99 % of the calls stay below, ms.
    call_ms_p99: f64,
    /// 10⁹ multiply-accumulates a second, at the graph's median.
    gmac_per_s: f64,
    /// Time that 99 % of the switches stay below, ns, the clock's own time included.
    switch_ns_p99: u64,
    /// Median time of the first call after a switch over the median of the others.
    first_inference_over_steady: f64,
    /// Bytes held on the GPU for all sub-networks: weights, what each has of its own, feature maps.
    resident_bytes: usize,
    /// The same sub-network in other runtimes on this GPU, by its events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<Peer>,
}

/// One sub-network compared with the CPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Checked {
    device: String,
    family: String,
    index: usize,
    resolution: usize,
    macs: u64,
    batch: usize,
    /// Largest difference of the outputs, as a share of the largest output.
    outputs_off: f64,
    /// Whether the largest output of every image is at the same place.
    same_top: bool,
    /// Tensors that launches left and that were compared: maps, means, factors and logits of every
    /// image.
    tensors: usize,
    /// Largest difference of one of them, as a share of its largest value.
    tensors_off: f64,
    /// Which one that was.
    worst: String,
}

fn open() -> Result<Device> {
    Device::open(0).context("--device cuda")
}

/// Runs the command.
pub(super) fn run(args: &EngineArgs) -> Result<()> {
    let device = open()?;
    if args.check {
        return check(args, device);
    }
    if !args.json {
        let (name, processors) = (device.name(), device.multiprocessors());
        println!("{name}, {processors} multiprocessors, batch {}", args.batch);
    }
    let rows = rows(args, device)?;
    if !args.json {
        print!("{}", table(&rows));
        return Ok(());
    }
    for row in rows {
        println!("{}", serde_json::to_string(&row)?);
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut out =
        " index   M MACs  graph ms     min  call ms     p99  kernels  GMAC/s     off".to_owned();
    for peer in rows.first().map_or(&[][..], |row| &row.peers) {
        // Writing into a string cannot fail.
        let _ = write!(out, "  {:>28} ms  ratio", peer.runtime);
    }
    out.push('\n');
    for row in rows {
        let _ = write!(
            out,
            "{:>6} {:>8.1} {:>9.4} {:>7.4} {:>8.4} {:>7.4} {:>8} {:>7.0} {:>7.0e}",
            row.index,
            row.macs as f64 / 1e6,
            row.graph_ms_p50,
            row.graph_ms_min,
            row.call_ms_p50,
            row.call_ms_p99,
            row.kernels,
            row.gmac_per_s,
            row.outputs_off,
        );
        for Peer { ms_p50, times_engine, .. } in &row.peers {
            let _ = write!(out, "  {ms_p50:>31.4} {times_engine:>6.2}");
        }
        let _ = writeln!(out, "  {}", row.name.as_deref().unwrap_or_default());
    }
    out
}

/// A network on a GPU.
struct OnGpu {
    network: DeviceNetwork,
    selector: Selector,
    count: usize,
}

impl Runs for OnGpu {
    fn count(&self) -> usize {
        self.count
    }

    fn run(&mut self, index: usize, images: &[f32]) -> Result<()> {
        black_box(self.network.run(index, images)?);
        Ok(())
    }

    fn select(&self, index: usize) -> Result<()> {
        Ok(self.selector.select(index)?)
    }

    fn run_selected(&mut self, images: &[f32]) -> Result<()> {
        black_box(self.network.run_selected(images)?);
        Ok(())
    }
}

fn rows(args: &EngineArgs, device: Device) -> Result<Vec<Row>> {
    let mut peers = peers(args, On::Cuda)?;
    let subject = subject(args)?;
    let Subject { network, nets, names, .. } = &subject;
    let images = images(args, network);
    let mut on_gpu = DeviceNetwork::new(device, network, args.batch).context("--device cuda")?;
    let mut space = Workspace::default();
    let outputs_off = agree(&mut on_gpu, network, &images, &mut space)?;
    let runtimes = peers.as_ref().map_or(Vec::new(), |peers| peers.names.clone());
    let peers_off = match &mut peers {
        Some(peers) => compared(peers, &subject, &images, &mut space)?,
        None => vec![Vec::new(); nets.len()],
    };
    let layout = network.layout();
    let mut on_gpu = OnGpu { selector: on_gpu.selector(), count: network.len(), network: on_gpu };
    // In each turn the graph alone too, first of what else is measured.
    let times = measure(&mut on_gpu, &images, (args.rounds, args.runs), |on_gpu, index| {
        let mut times = vec![on_gpu.network.graph_times(index, &images[index], args.runs)?];
        if let Some(peers) = &mut peers {
            times.extend(peer_times(peers, layout, &nets[index].net, (index, args.runs))?);
        }
        Ok(times)
    })?;
    let on_gpu = on_gpu.network;
    let row = |(index, times): (usize, Times)| {
        let (graph, peers) = times.others.split_first().map_or((&[][..], &[][..]), |(g, p)| (g, p));
        let (median, least) = (quantile(graph, 0.5), quantile(graph, 0.0));
        let call = quantile(&times.steady, 0.5);
        let net = &nets[index].net;
        let macs = layout.cost(net).0;
        let peer = |(place, times): (usize, &Vec<Duration>)| {
            Peer::new(&runtimes[place], times, (median, least), peers_off[index][place])
        };
        Row {
            device: on_gpu.device().name().to_owned(),
            index,
            name: names[index].clone(),
            resolution: layout.family().side(net),
            macs,
            batch: args.batch,
            kernels: on_gpu.program(index).map_or(0, |program| program.launches.len()),
            outputs_off: outputs_off[index].0,
            graph_ms_p50: ms(median),
            graph_ms_min: ms(least),
            call_ms_p50: ms(call),
            call_ms_p99: ms(quantile(&times.steady, 0.99)),
            gmac_per_s: (macs * args.batch as u64) as f64 / median.as_secs_f64() / 1e9,
            switch_ns_p99: quantile(&times.switch, 0.99).as_nanos() as u64,
            first_inference_over_steady: quantile(&times.first, 0.5).as_secs_f64()
                / call.as_secs_f64(),
            resident_bytes: on_gpu.resident_bytes(),
            peers: peers.iter().enumerate().map(peer).collect(),
        }
    };
    Ok(times.into_iter().enumerate().map(row).collect())
}

/// Place of the largest value.
fn top(logits: &[f32]) -> Option<usize> {
    logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(place, _)| place)
}

/// Every sub-network on the GPU and on the CPU: the largest difference of the outputs as a share of
/// the largest output, and whether the largest is at the same place for every image.
///
/// # Errors
/// Where they differ by more than they may.
fn agree(
    on_gpu: &mut DeviceNetwork,
    network: &Network,
    images: &[Vec<f32>],
    space: &mut Workspace,
) -> Result<Vec<(f64, bool)>> {
    let classes = network.layout().family().classes;
    let mut all = Vec::new();
    for (index, images) in images.iter().enumerate() {
        let wanted = network.run(index, images, space)?.to_vec();
        let found = on_gpu.run(index, images)?;
        let rows = found.chunks_exact(classes).zip(wanted.chunks_exact(classes));
        let same = rows.clone().all(|(found, wanted)| top(found) == top(wanted));
        let off = rows.map(|(found, wanted)| off(found, wanted)).fold(0.0, f64::max);
        let finite = found.iter().all(|value| value.is_finite());
        ensure!(
            finite && off <= MOST_OFF && same,
            "{}, sub-network {index}: outputs on the GPU are {off:.1e} of the largest away from the \
             CPU's, expected at most {MOST_OFF:.0e} and the same largest",
            network.layout().family().name
        );
        all.push((off, same));
    }
    Ok(all)
}

/// Every tensor that a launch of a sub-network leaves on the GPU against the CPU's: their number, and the
/// one that is furthest away.
///
/// # Errors
/// Names the first one, in the order of the launches, that is further away than it may be.
fn agree_within(
    on_gpu: &mut DeviceNetwork,
    network: &Network,
    index: usize,
    images: &[f32],
    space: &mut Workspace,
) -> Result<(usize, Compared)> {
    let compared = compare(on_gpu, network, index, images, space)?;
    if let Some(far) = compared.iter().find(|compared| !compared.within(MOST_OFF)) {
        let family = &network.layout().family().name;
        bail!(
            "{family}, sub-network {index}, {far} from the CPU's, at most {MOST_OFF:.0e} expected"
        );
    }
    let worst = compared.iter().max_by(|a, b| a.off.total_cmp(&b.off));
    Ok((compared.len(), *worst.context("a sub-network without a launch")?))
}

/// `--check`: the levels (or the model's sub-networks) and random ones.
fn check(args: &EngineArgs, device: Device) -> Result<()> {
    let known = subject(args)?;
    let nets: Vec<SubNet> = known.nets.iter().map(|net| net.net.clone()).collect();
    let mut subjects = vec![(known.network, nets)];
    let large = args.random * 3 / 10;
    let small = args.random - 2 * large;
    for (json, count, seed) in [(OFA_12, large, 3), (OFA_10, large, 4), (COSHIFT_28, small, 5)] {
        if count > 0 {
            subjects.push(random_subject(json, count, seed)?);
        }
    }
    let (mut most_off, mut most_tensors_off) = (0.0_f64, 0.0_f64);
    let (mut count, mut all_tensors) = (0, 0);
    let mut device = Some(device);
    for (network, nets) in &subjects {
        let images = images(args, network);
        let device = device.take().map_or_else(open, Ok)?;
        let name = device.name().to_owned();
        let mut on_gpu =
            DeviceNetwork::new(device, network, args.batch).context("--device cuda")?;
        let mut space = Workspace::default();
        let found = agree(&mut on_gpu, network, &images, &mut space)?;
        let layout = network.layout();
        for (index, (net, (outputs_off, same_top))) in nets.iter().zip(found).enumerate() {
            let (tensors, worst) =
                agree_within(&mut on_gpu, network, index, &images[index], &mut space)?;
            let checked = Checked {
                device: name.clone(),
                family: layout.family().name.clone(),
                index,
                resolution: layout.family().side(net),
                macs: layout.cost(net).0,
                batch: args.batch,
                outputs_off,
                same_top,
                tensors,
                tensors_off: worst.off,
                worst: worst.to_string(),
            };
            if args.json {
                println!("{}", serde_json::to_string(&checked)?);
            }
            most_off = most_off.max(outputs_off);
            most_tensors_off = most_tensors_off.max(worst.off);
            (count, all_tensors) = (count + 1, all_tensors + tensors);
        }
    }
    if !args.json {
        println!(
            "{count} sub-networks: outputs at most {most_off:.1e} of the largest away from the CPU's, \
             {all_tensors} tensors of their steps at most {most_tensors_off:.1e}"
        );
    }
    Ok(())
}

/// A network of random sub-networks of a family on random weights.
fn random_subject(json: &str, count: usize, seed: u64) -> Result<(Network, Vec<SubNet>)> {
    let family: Family = serde_json::from_str(json)?;
    let layout = Layout::new(&family)?;
    let mut random = Random(seed);
    let values = optimiser::start(&layout, &mut random);
    let nets: Vec<_> = (0..count)
        .map(|_| {
            let sides = &family.resolutions;
            let resolution = (!sides.is_empty()).then(|| sides[random.below(sides.len())]);
            let net = SubNet { resolution, ..sample(&family, &mut random) };
            on_noise(&layout, &values, &net, &mut random)
        })
        .collect();
    let plain = nets.iter().map(|net| net.net.clone()).collect();
    Ok((Network::new(layout, values, &nets)?, plain))
}
