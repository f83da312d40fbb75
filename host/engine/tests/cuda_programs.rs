//! Whole sub-networks as CUDA programs, run on the host, against the plain candle graph: the outputs
//! of every unit, and the logits.

mod common;

use common::close::assert_close;
use common::emulated::{Emulated, Memory, POISON};
use common::graph::top;
use common::random::{largest_alone, levels, noise, random_network};
use common::{family, graph};
use coshift_engine::cuda::program::Program;
use coshift_engine::family::{COSHIFT_28, Family, OFA_10, OFA_12};
use coshift_engine::kernels::blocked::{Isa, values as flat};
use coshift_engine::kernels::blocked::{LANES, Lanes, blocks, in_lanes, scale_map, unblocked};
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, RunFault, Workspace};
use coshift_engine::train::network::Values;
use coshift_engine::train::random::Random;

/// Memory in which a program can run on these images.
fn memory(network: &Network, index: usize, program: &Program, images: &[f32]) -> Memory {
    let mut memory = Memory {
        weights: in_lanes(network.shared_values()).collect(),
        own: in_lanes(network.own_values(index).unwrap()).collect(),
        arena: vec![POISON; program.arena / LANES],
        ..Memory::default()
    };
    assert_eq!(images.len(), program.input_len);
    let place = program.input.at / LANES;
    let input: Vec<Lanes> = in_lanes(images).collect();
    memory.arena[place..][..input.len()].copy_from_slice(&input);
    memory
}

/// The logits `[images, classes]` of a program that has run.
fn logits(program: &Program, memory: &Memory, classes: usize) -> Vec<f32> {
    let lanes = program.images * program.output_step / LANES;
    let all = flat(memory.at(program.output, lanes));
    all.chunks_exact(program.output_step).flat_map(|row| &row[..classes]).copied().collect()
}

/// Runs one image; compares every unit and the logits.
fn compare(
    network: &Network,
    values: &Values,
    (index, net): (usize, &Calibrated),
    multiprocessors: usize,
) {
    let seed = index as u64;
    let image = noise(network.image_len_of(index).unwrap(), &mut Random(seed));
    let units = network.layout().units(&net.net);
    let (want, want_logits) =
        graph::run(network.layout(), &units, values, &net.statistics, &image).unwrap();
    let program = network.program(index, 1, multiprocessors).unwrap();
    let mut memory = memory(network, index, &program, &image);
    let mut compared = vec![false; units.len()];
    let (mut gated, mut fused) = (None, 0);
    for launch in &program.launches {
        Emulated::kernels().run(launch, &mut memory, seed).unwrap();
        let (Some(number), Some(output)) = (launch.unit, launch.output) else { continue };
        let unit = &units[number];
        if launch.kernel.starts_with("fused") {
            // The layer before has its map in no memory.
            compared[number - 1] = true;
            fused += 1;
        }
        let count = blocks(unit.outputs) * unit.out_side() * unit.out_side();
        if unit.squeeze.is_some() && gated.is_none() {
            // Its outputs still lack their factors.
            gated = Some(output);
            continue;
        }
        let map = match gated.take() {
            None => memory.at(output, count).to_vec(),
            Some(place) => {
                let mut map = memory.at(place, count).to_vec();
                scale_map(Isa::best(), &mut map, memory.at(output, blocks(unit.outputs)));
                map
            }
        };
        let what = format!("{} {index}, unit {number}", network.layout().family().name);
        assert_close(&unblocked(&map, unit.outputs), &graph::pixels(&want[number]), &what);
        compared[number] = true;
    }
    // Of the layer before pooling only the sums are there.
    compared[units.len() - 2] = true;
    assert!(compared.iter().all(|compared| *compared), "{compared:?}");
    let found = logits(&program, &memory, network.layout().family().classes);
    let what = format!("{} {index}: logits", network.layout().family().name);
    assert_close(&found, &want_logits, &what);
    assert_eq!(top(&found), top(&want_logits), "{what}");
    println!("{what}: {} launches, {fused} of them two layers", program.launches.len());
}

#[test]
fn the_published_levels_equal_the_candle_graph() {
    let (network, values, nets) = levels(&mut Random(51));
    for (index, net) in nets.iter().enumerate() {
        // The tiles of a small device and of a large one.
        compare(&network, &values, (index, net), [16, 132][index % 2]);
    }
}

#[test]
fn random_sub_networks_equal_the_candle_graph() {
    let compare_all = |family: Family, resolutions: &[usize], count| {
        let (network, values, nets) = random_network(family, resolutions, count, &mut Random(53));
        for (index, net) in nets.iter().enumerate() {
            compare(&network, &values, (index, net), [1, 16, 132][index % 3]);
        }
    };
    // 200 in all, few of them large.
    compare_all(serde_json::from_str(OFA_12).unwrap(), &[32, 44, 64], 30);
    compare_all(serde_json::from_str(OFA_10).unwrap(), &[36, 52, 60], 20);
    compare_all(serde_json::from_str(COSHIFT_28).unwrap(), &[28], 100);
    compare_all(family(), &[8], 50);
}

#[test]
fn a_batch_is_its_images() {
    let (network, images) = largest_alone(7, &mut Random(54));
    let program = network.program(0, 7, 16).unwrap();
    let mut memory = memory(&network, 0, &program, &images);
    for launch in &program.launches {
        Emulated::kernels().run(launch, &mut memory, 55).unwrap();
    }
    let mut space = Workspace::default();
    let wanted = network.run(0, &images, &mut space).unwrap();
    assert_close(&logits(&program, &memory, 10), wanted, "a batch of 7");
}

#[test]
fn programs_that_cannot_be_are_refused() {
    let (network, _) = largest_alone(0, &mut Random(56));
    assert_eq!(network.program(1, 1, 16), Err(RunFault::Index { index: 1, last: 0 }));
    for found in [0, 65_536] {
        assert_eq!(network.program(0, found, 16), Err(RunFault::Batch { found, most: 65_535 }));
    }
    assert!(network.own_values(1).is_none());
}
