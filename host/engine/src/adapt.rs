//! Adaptation to images that are not as those of the training: batch normalisation re-calibrated from
//! images without labels (Schneider et al., Improving robustness against common corruptions by
//! covariate shift adaptation, NeurIPS 2020).

use crate::family::SubNet;
use crate::layout::{Layout, Unit};
use crate::model::Calibrated;
use crate::resample::resampled;
use crate::train::network::{Statistics, Values, measured};

/// Most images a forward pass.
const BATCH: usize = 250;

/// Most values of a map of a forward pass, 256 MiB: large images take fewer at once.
const MOST_VALUES: usize = 1 << 26;

/// Weight of the statistics that a sub-network has, in images: those of as many images count as much.
pub const PRIOR_IMAGES: usize = 16;

/// A sub-network with the statistics of some images `[count, height, width, channels]` of the family's
/// `resolution`, mixed with its own as if these were of [`PRIOR_IMAGES`] images; unchanged without an
/// image.
///
/// # Panics
/// If the values or statistics are not in the shape of the layout, or the images not whole.
#[must_use]
pub fn adapted(
    layout: &Layout,
    values: &Values,
    calibrated: &Calibrated,
    images: &[f32],
) -> Calibrated {
    let own = PRIOR_IMAGES as f32;
    let prior = scaled(&calibrated.statistics, own);
    let images = resampled(images, layout.family(), &calibrated.net);
    let statistics = mean(layout, &calibrated.net, values, &images, (prior, own));
    Calibrated { net: calibrated.net.clone(), statistics }
}

/// A sub-network with the statistics of some images `[count, height, width, channels]`, of its own
/// resolution, and nothing else: the mean of those of batches, which are as large as memory allows.
///
/// # Panics
/// If the values are not in the shape of the layout, the sub-network is not one of it, or the images
/// are not whole or none.
#[must_use]
pub fn calibrated(layout: &Layout, values: &Values, net: &SubNet, images: &[f32]) -> Calibrated {
    assert!(!images.is_empty(), "statistics of no image");
    let zeros = |unit: &Unit| (vec![0.0; unit.outputs], vec![0.0; unit.outputs]);
    let units = layout.units(net);
    let none = units.iter().filter(|unit| unit.norm.is_some()).map(zeros).collect();
    Calibrated { net: net.clone(), statistics: mean(layout, net, values, images, (none, 0.0)) }
}

/// Sums and their weight, and those of images by their number: the mean of both.
fn mean(
    layout: &Layout,
    net: &SubNet,
    values: &Values,
    images: &[f32],
    (mut sums, weight): (Statistics, f32),
) -> Statistics {
    let (units, side) = (layout.units(net), layout.family().side(net));
    let len = side * side * layout.family().image_channels;
    assert!(images.len().is_multiple_of(len), "images: {} values of {len} each", images.len());
    for images in images.chunks(batch(&units, images.len() / len).max(1) * len) {
        let count = (images.len() / len) as f32;
        let new = measured(layout, &units, values, images);
        for ((mean, variance), (new_mean, new_variance)) in sums.iter_mut().zip(new) {
            mean.iter_mut().zip(new_mean).for_each(|(sum, new)| *sum += count * new);
            variance.iter_mut().zip(new_variance).for_each(|(sum, new)| *sum += count * new);
        }
    }
    scaled(&sums, 1.0 / (weight + (images.len() / len) as f32))
}

/// Images a forward pass, of so many: equally many in each, for statistics of few images are no good.
fn batch(units: &[Unit], images: usize) -> usize {
    let map = |unit: &Unit| {
        let outputs = unit.outputs * unit.out_side() * unit.out_side();
        outputs.max(unit.inputs * unit.side * unit.side)
    };
    let largest = units.iter().map(map).max().unwrap_or(1).max(1);
    let most = (MOST_VALUES / largest).clamp(1, BATCH);
    images.div_ceil(images.div_ceil(most).max(1))
}

fn scaled(statistics: &Statistics, by: f32) -> Statistics {
    let scaled = |list: &[f32]| list.iter().map(|value| by * value).collect::<Vec<_>>();
    statistics.iter().map(|(mean, variance)| (scaled(mean), scaled(variance))).collect()
}
