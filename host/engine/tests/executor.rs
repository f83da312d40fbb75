//! The executor against the plain candle graph: every map that is whole at some time, and the
//! logits, of the published levels and of random sub-networks.

mod common;

use candle_core::Tensor;
use common::close::assert_close;
use common::graph::top;
use common::published::{FLOPS_595, specialised};
use common::random::{calibrated, largest_alone, levels, noise, random_network, values};
use common::{family, graph};
use coshift_engine::family::{COSHIFT_28, Family, OFA_10, OFA_12};
use coshift_engine::intermediate::Intermediate;
use coshift_engine::kernels::blocked::Isa;
use coshift_engine::layout::{Layout, Unit};
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::Values;
use coshift_engine::train::random::Random;

/// Runs one image through both, in these instruction sets, on one thread and on two.
fn compare(
    mut network: Network,
    values: &Values,
    (index, net): (usize, &Calibrated),
    (seed, isas): (u64, &[Isa]),
) -> Network {
    let image = noise(network.image_len_of(index).unwrap(), &mut Random(seed));
    let units = network.layout().units(&net.net);
    let wanted = graph::run(network.layout(), &units, values, &net.statistics, &image).unwrap();
    for isa in isas {
        network = network.on(*isa);
        compare_with(&network, &units, index, &image, &wanted);
    }
    network
}

fn compare_with(
    network: &Network,
    units: &[Unit],
    index: usize,
    image: &[f32],
    (want, want_logits): &(Vec<Tensor>, Vec<f32>),
) {
    let (mut one, mut two) = (Workspace::default(), Workspace::with_threads(2));
    let mut compared = vec![false; units.len()];
    for (what, map) in network.intermediates(index, image, &mut one).unwrap() {
        let unit = match what {
            Intermediate::Map(unit) if units[unit].squeeze.is_none() => unit,
            Intermediate::Scaled(unit) => unit,
            // Nothing that the plain graph gives out.
            _ => continue,
        };
        let what = format!("{} {index}, {what}, {}", network.isa(), network.layout().family().name);
        assert_close(&map, &graph::pixels(&want[unit]), &what);
        compared[unit] = true;
    }
    assert!(compared.iter().all(|compared| *compared), "{compared:?}");
    for space in [&mut one, &mut two] {
        let threads = space.threads();
        let logits = network.run(index, image, space).unwrap();
        let what = format!("{} {index}, {threads} threads: logits", network.isa());
        assert_close(logits, want_logits, &what);
        assert_eq!(top(logits), top(want_logits), "{what}");
    }
}

#[test]
fn the_published_levels_equal_the_candle_graph() {
    let (mut network, values, nets) = levels(&mut Random(41));
    for (index, net) in nets.iter().enumerate() {
        let of = (42 + index as u64, &*Isa::available());
        network = compare(network, &values, (index, net), of);
    }
}

/// On images larger than those that the super-network is trained for.
#[test]
fn the_published_network_of_595_m_equals_the_candle_graph() {
    let layout = Layout::new(&serde_json::from_str(OFA_12).unwrap()).unwrap();
    let Some(net) = specialised(&layout, FLOPS_595) else { return };
    assert_eq!(net.resolution, Some(236));
    let mut random = Random(46);
    let values = values(&layout, &mut random);
    let net = calibrated(&layout, &values, &net, 1, &mut random);
    let network = Network::new(layout, values.clone(), std::slice::from_ref(&net)).unwrap();
    compare(network, &values, (0, &net), (47, &Isa::available()));
}

#[test]
fn random_sub_networks_equal_the_candle_graph() {
    let compare_all = |family: Family, resolutions: &[usize], count| {
        let (mut network, values, nets) =
            random_network(family, resolutions, count, &mut Random(43));
        for (index, net) in nets.iter().enumerate() {
            let isas = Isa::available();
            let isa = isas[isas.len() - 1 - index % isas.len()];
            network = compare(network, &values, (index, net), (index as u64, &[isa]));
        }
    };
    // 200 in all; of ImageNet size at 32 to 64 pixels, every instruction set in turn.
    compare_all(serde_json::from_str(OFA_12).unwrap(), &[32, 44, 64], 60);
    compare_all(serde_json::from_str(OFA_10).unwrap(), &[36, 52, 60], 40);
    compare_all(serde_json::from_str(COSHIFT_28).unwrap(), &[28], 60);
    compare_all(family(), &[8], 40);
}

#[test]
fn a_batch_is_its_images() {
    let (network, images) = largest_alone(7, &mut Random(44));
    for threads in 1..=3 {
        let mut space = Workspace::with_threads(threads);
        let batch = network.run(0, &images, &mut space).unwrap().to_vec();
        for (image, want) in images.chunks_exact(network.image_len()).zip(batch.chunks_exact(10)) {
            assert_close(network.run(0, image, &mut space).unwrap(), want, "alone");
        }
    }
}
