//! Random weights, images and sub-networks.

use coshift_engine::family::{COSHIFT_28, Family, OFA_12, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::levels::dynamic_ofa;
use coshift_engine::model::Calibrated;
use coshift_engine::network::Network;
use coshift_engine::train::network::{Values, forward};
use coshift_engine::train::optimiser;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::sample;

pub(crate) fn noise(count: usize, random: &mut Random) -> Vec<f32> {
    (0..count).map(|_| random.normal()).collect()
}

/// Random values with every scale, shift and transform away from its start.
pub(crate) fn values(layout: &Layout, random: &mut Random) -> Values {
    let mut values = optimiser::start(layout, random);
    values.iter_mut().flatten().for_each(|value| *value += 0.02 * random.normal());
    values
}

/// A sub-network with the statistics of `count` random images.
pub(crate) fn calibrated(
    layout: &Layout,
    values: &Values,
    net: &SubNet,
    count: usize,
    random: &mut Random,
) -> Calibrated {
    let side = layout.family().side(net);
    let images = noise(count * side * side * layout.family().image_channels, random);
    let statistics = forward(layout, &layout.units(net), values, &images, None).statistics;
    Calibrated { net: net.clone(), statistics }
}

/// A random sub-network with a random one of the resolutions.
pub(crate) fn any(family: &Family, resolutions: &[usize], random: &mut Random) -> SubNet {
    let resolution = Some(resolutions[random.below(resolutions.len())]);
    SubNet { resolution, ..sample(family, random) }
}

/// `count` random sub-networks of a family and the network of them all; an ImageNet family at these
/// resolutions, small where time demands it. Statistics are of enough images for the last maps of one
/// pixel: variances of a few values come out near zero and would blow rounding up layer by layer.
pub(crate) fn random_network(
    mut family: Family,
    resolutions: &[usize],
    count: usize,
    random: &mut Random,
) -> (Network, Values, Vec<Calibrated>) {
    if family.image_channels == 3 {
        family.resolutions = resolutions.to_vec();
    }
    let layout = Layout::new(&family).unwrap();
    let values = values(&layout, random);
    let nets: Vec<_> = (0..count)
        .map(|_| {
            let net = any(&family, resolutions, random);
            calibrated(&layout, &values, &net, 12, random)
        })
        .collect();
    (Network::new(layout, values.clone(), &nets).unwrap(), values, nets)
}

/// The 13 published levels, with random weights and the statistics of one image each.
pub(crate) fn levels(random: &mut Random) -> (Network, Values, Vec<Calibrated>) {
    let layout = Layout::new(&serde_json::from_str(OFA_12).unwrap()).unwrap();
    let values = values(&layout, random);
    let nets: Vec<_> = dynamic_ofa()
        .iter()
        .map(|level| calibrated(&layout, &values, &level.net, 1, random))
        .collect();
    (Network::new(layout, values.clone(), &nets).unwrap(), values, nets)
}

/// The largest sub-network of the shipped family alone, and a batch of so many images.
pub(crate) fn largest_alone(images: usize, random: &mut Random) -> (Network, Vec<f32>) {
    let layout = Layout::new(&serde_json::from_str(COSHIFT_28).unwrap()).unwrap();
    let values = values(&layout, random);
    let net = layout.family().largest();
    let nets = [calibrated(&layout, &values, &net, 8, random)];
    let network = Network::new(layout, values, &nets).unwrap();
    let batch = noise(images * network.image_len(), random);
    (network, batch)
}
