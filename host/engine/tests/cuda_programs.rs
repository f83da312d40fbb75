//! Whole sub-networks as CUDA programs, run on the host, against the plain candle graph: the outputs
//! of every unit, and the logits.

mod common;

use std::collections::BTreeMap;

use common::close::assert_close;
use common::emulated::{Emulated, Memory, POISON};
use common::graph::top;
use common::random::{largest_alone, levels, noise, random_network};
use common::{family, graph};
use coshift_engine::cuda::compare::Comparison;
use coshift_engine::cuda::program::Program;
use coshift_engine::family::{COSHIFT_28, Family, OFA_10, OFA_12};
use coshift_engine::intermediate::Intermediate;
use coshift_engine::kernels::blocked::{LANES, Lanes, in_lanes, values as flat};
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
    let family = network.layout().family();
    let (mut left, mut fused) = (BTreeMap::new(), 0);
    for (number, launch) in program.launches.iter().enumerate() {
        Emulated::kernels().run(launch, &mut memory, seed).unwrap();
        fused += usize::from(launch.kernel.starts_with("fused"));
        for written in program.written.iter().filter(|written| written.launch == number) {
            let what = written.what;
            let values = flat(memory.at(written.place, written.step() / LANES));
            let found = written.tensor(values, what.channels(&units, family.classes));
            let name = format!("{} {index}, {what}", family.name);
            match what {
                Intermediate::Map(unit) if units[unit].squeeze.is_none() => {
                    assert_close(&found, &graph::pixels(&want[unit]), &name);
                }
                Intermediate::Gates(unit) => {
                    let map: &Vec<f32> = &left[&Intermediate::Map(unit)];
                    let rows = map.chunks_exact(found.len()).flat_map(|row| row.iter().zip(&found));
                    let scaled: Vec<f32> = rows.map(|(value, factor)| value * factor).collect();
                    assert_close(&scaled, &graph::pixels(&want[unit]), &name);
                }
                _ => {}
            }
            assert!(left.insert(what, found).is_none(), "{name}");
        }
    }
    // Of the layer before pooling only the sums are there, and nothing of one whose map is in no memory.
    let pooled = Intermediate::Map(units.len() - 2);
    let maps = (0..units.len()).map(Intermediate::Map).filter(|map| *map != pooled);
    assert_eq!(maps.filter(|map| !left.contains_key(map)).count(), fused, "{:?}", left.keys());
    let found = logits(&program, &memory, network.layout().family().classes);
    let what = format!("{} {index}: logits", network.layout().family().name);
    assert_close(&found, &want_logits, &what);
    assert_eq!(top(&found), top(&want_logits), "{what}");
    println!("{what}: {} launches, {fused} of them two layers", program.launches.len());
}

/// Compares every launch with the CPU's step, as the check on a device does.
fn compare_launches(network: &Network, index: usize, multiprocessors: usize) {
    let image = noise(network.image_len_of(index).unwrap(), &mut Random(7));
    let program = network.program(index, 1, multiprocessors).unwrap();
    let mut memory = memory(network, index, &program, &image);
    let mut comparison =
        Comparison::new(network, index, &image, &mut Workspace::default()).unwrap();
    for (number, launch) in program.launches.iter().enumerate() {
        Emulated::kernels().run(launch, &mut memory, 8).unwrap();
        for written in program.written.iter().filter(|written| written.launch == number) {
            let lanes = written.step() / LANES;
            let mut values = flat(memory.at(written.place, lanes)).to_vec();
            comparison.see(launch.kernel, written, &mut values);
            let place = written.place.at / LANES;
            memory.arena[place..][..lanes].copy_from_slice(&in_lanes(&values).collect::<Vec<_>>());
        }
    }
    let compared = comparison.compared();
    assert_eq!(compared.len(), program.written.len());
    let far = compared.iter().find(|compared| !compared.within(1e-4));
    assert!(far.is_none(), "{} {index}, {}", network.layout().family().name, far.unwrap());
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
            // Once more through all of them is slow.
            if index % 4 == 0 {
                compare_launches(&network, index, [16, 132, 1][index % 3]);
            }
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
