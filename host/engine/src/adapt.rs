//! Adaptation to images that are not as those of the training: batch normalisation re-calibrated from
//! images without labels (Schneider et al., Improving robustness against common corruptions by
//! covariate shift adaptation, NeurIPS 2020).

use crate::layout::Layout;
use crate::model::Calibrated;
use crate::train::network::{Statistics, Values, measured};

/// Images a forward pass.
const BATCH: usize = 250;

/// Weight of the statistics that a sub-network has, in images: those of as many images count as much.
pub const PRIOR_IMAGES: usize = 16;

/// A sub-network with the statistics of some images `[count, height, width, channels]`, mixed with its
/// own as if these were of [`PRIOR_IMAGES`] images; unchanged without an image.
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
    let (units, side) = (layout.units(&calibrated.net), layout.family().side(&calibrated.net));
    let len = side * side * layout.family().image_channels;
    assert!(images.len().is_multiple_of(len), "images: {} values of {len} each", images.len());
    let own = PRIOR_IMAGES as f32;
    let scaled = |list: &[f32], by: f32| list.iter().map(|value| by * value).collect::<Vec<_>>();
    let mut sums: Statistics = (calibrated.statistics.iter())
        .map(|(mean, variance)| (scaled(mean, own), scaled(variance, own)))
        .collect();
    for images in images.chunks(BATCH * len) {
        let count = (images.len() / len) as f32;
        let new = measured(layout, &units, values, images);
        for ((mean, variance), (new_mean, new_variance)) in sums.iter_mut().zip(new) {
            mean.iter_mut().zip(new_mean).for_each(|(sum, new)| *sum += count * new);
            variance.iter_mut().zip(new_variance).for_each(|(sum, new)| *sum += count * new);
        }
    }
    let share = 1.0 / (own + (images.len() / len) as f32);
    let statistics = sums
        .iter()
        .map(|(mean, variance)| (scaled(mean, share), scaled(variance, share)))
        .collect();
    Calibrated { net: calibrated.net.clone(), statistics }
}
