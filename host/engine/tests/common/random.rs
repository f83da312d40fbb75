//! Random weights, images and sub-networks.

use coshift_engine::family::{Family, SubNet};
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
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
