//! The executor against the plain candle graph: every map that is whole at some time, and the
//! logits, of the published levels and of random sub-networks.

mod common;

use candle_core::Tensor;
use common::close::assert_close;
use common::published::{FLOPS_595, specialised};
use common::random::{any, calibrated, noise, values};
use common::{family, graph};
use coshift_engine::family::{COSHIFT_28, Family, OFA_10, OFA_12};
use coshift_engine::kernels::blocked::Isa;
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::train::network::Values;
use coshift_engine::train::random::Random;

/// `[1, channels, height, width]` as `[pixels, channels]`.
fn pixels(y: &Tensor) -> Vec<f32> {
    let y = y.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    y.flatten_all().unwrap().to_vec1().unwrap()
}

fn top(logits: &[f32]) -> usize {
    let largest = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    largest.unwrap().0
}

fn layout(json: &str) -> Layout {
    Layout::new(&serde_json::from_str::<Family>(json).unwrap()).unwrap()
}

/// Runs one image through both, on one thread and on two.
fn compare(network: &Network, values: &Values, (index, net): (usize, &Calibrated), seed: u64) {
    let image = noise(network.image_len_of(index).unwrap(), &mut Random(seed));
    let units = network.layout().units(&net.net);
    let (want, want_logits) =
        graph::run(network.layout(), &units, values, &net.statistics, &image).unwrap();
    let (mut one, mut two) = (Workspace::default(), Workspace::with_threads(2));
    let found = network.outputs(index, &image, &mut one).unwrap();
    // Maps that the executor never has whole: layers before a depthwise convolution.
    let hidden = net.net.depths.iter().sum::<usize>() + 1;
    assert!(found.len() + hidden >= units.len(), "{} of {} maps", found.len(), units.len());
    for (unit, map) in &found {
        let what =
            format!("{} {index}, unit {unit}, {}", network.isa(), network.layout().family().name);
        assert_close(map, &pixels(&want[*unit]), &what);
    }
    for space in [&mut one, &mut two] {
        let threads = space.threads();
        let logits = network.run(index, &image, space).unwrap();
        let what = format!("{} {index}, {threads} threads: logits", network.isa());
        assert_close(logits, &want_logits, &what);
        assert_eq!(top(logits), top(&want_logits), "{what}");
    }
}

#[test]
fn the_published_levels_equal_the_candle_graph() {
    let layout = layout(OFA_12);
    let mut random = Random(41);
    let values = values(&layout, &mut random);
    let nets: Vec<_> = dynamic_ofa()
        .iter()
        .map(|level| calibrated(&layout, &values, &level.net, 1, &mut random))
        .collect();
    let network = Network::new(layout, values.clone(), &nets).unwrap();
    for (index, net) in nets.iter().enumerate() {
        compare(&network, &values, (index, net), 42 + index as u64);
    }
}

/// On images larger than those that the super-network is trained for.
#[test]
fn the_published_network_of_595_m_equals_the_candle_graph() {
    let layout = layout(OFA_12);
    let Some(net) = specialised(&layout, FLOPS_595) else { return };
    assert_eq!(net.resolution, Some(236));
    let mut random = Random(46);
    let values = values(&layout, &mut random);
    let net = calibrated(&layout, &values, &net, 1, &mut random);
    let network = Network::new(layout, values.clone(), std::slice::from_ref(&net)).unwrap();
    compare(&network, &values, (0, &net), 47);
}

/// `count` random sub-networks of a family, at small resolutions where time demands it.
fn random_sub_networks(mut family: Family, resolutions: &[usize], count: usize) {
    if family.image_channels == 3 {
        family.resolutions = resolutions.to_vec();
    }
    let layout = Layout::new(&family).unwrap();
    let mut random = Random(43);
    let values = values(&layout, &mut random);
    let nets: Vec<_> = (0..count)
        .map(|_| {
            let net = any(&family, resolutions, &mut random);
            // Enough for the last maps of one pixel: variances of a few values come out near zero and
            // would blow rounding up layer by layer.
            calibrated(&layout, &values, &net, 12, &mut random)
        })
        .collect();
    let mut network = Network::new(layout, values.clone(), &nets).unwrap();
    for (index, net) in nets.iter().enumerate() {
        let isas = Isa::available();
        network = network.on(isas[isas.len() - 1 - index % isas.len()]);
        compare(&network, &values, (index, net), index as u64);
    }
}

#[test]
fn random_sub_networks_equal_the_candle_graph() {
    // 200 in all; of ImageNet size at 32 to 64 pixels, every instruction set in turn.
    random_sub_networks(serde_json::from_str(OFA_12).unwrap(), &[32, 44, 64], 60);
    random_sub_networks(serde_json::from_str(OFA_10).unwrap(), &[36, 52, 60], 40);
    random_sub_networks(serde_json::from_str(COSHIFT_28).unwrap(), &[28], 60);
    random_sub_networks(family(), &[8], 40);
}

#[test]
fn a_batch_is_its_images() {
    let layout = layout(COSHIFT_28);
    let mut random = Random(44);
    let values = values(&layout, &mut random);
    let net = layout.family().largest();
    let nets = [calibrated(&layout, &values, &net, 8, &mut random)];
    let network = Network::new(layout, values, &nets).unwrap();
    let images = noise(7 * network.image_len(), &mut random);
    for threads in 1..=3 {
        let mut space = Workspace::with_threads(threads);
        let batch = network.run(0, &images, &mut space).unwrap().to_vec();
        for (image, want) in images.chunks_exact(network.image_len()).zip(batch.chunks_exact(10)) {
            assert_close(network.run(0, image, &mut space).unwrap(), want, "alone");
        }
    }
}
