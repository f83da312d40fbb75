//! One training step of a super-network: the sandwich rule with in-place distillation.
//!
//! The largest sub-network learns from the labels, the smallest and some random ones from the
//! largest one's outputs (Yu and Huang, Universally Slimmable Networks, ICCV 2019). The batch is
//! split over threads; each normalises by the statistics of its own share, and gradients are
//! summed share by share, so a result depends on the number of shares, never on their timing.

use crate::family::{Family, SubNet};
use crate::layout::Layout;
use crate::resample::resampled;

use super::network::{self, Values, backward, forward};
use super::random::Random;

/// A random sub-network, at the family's `resolution`.
#[must_use]
pub fn sample(family: &Family, random: &mut Random) -> SubNet {
    let blocks = family.blocks();
    SubNet {
        depths: family
            .stages
            .iter()
            .map(|stage| stage.min_depth + random.below(stage.max_depth - stage.min_depth + 1))
            .collect(),
        kernels: (0..blocks).map(|_| family.kernels[random.below(family.kernels.len())]).collect(),
        expands: (0..blocks).map(|_| family.expands[random.below(family.expands.len())]).collect(),
        resolution: None,
    }
}

/// A random sub-network at a random one of the family's resolutions.
#[must_use]
pub fn sample_at(family: &Family, random: &mut Random) -> SubNet {
    let net = sample(family, random);
    match family.resolutions[..] {
        [] => net,
        ref sides => family.at(net, sides[random.below(sides.len())]),
    }
}

/// What a step found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Mean cross-entropy of the largest sub-network, nats.
    pub loss: f32,
    /// Images the largest sub-network classified right.
    pub right: usize,
}

/// A labelled batch: images `[batch, height, width, channels]` of the family's `resolution`; each
/// sub-network sees them at its own.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Pixels.
    pub images: &'a [f32],
    /// Classes.
    pub labels: &'a [u8],
    /// What the first sub-network learns beside them.
    pub teacher: Option<Teacher<'a>>,
}

/// Outputs that the first sub-network learns from beside the labels (Hinton, Vinyals and Dean,
/// Distilling the Knowledge in a Neural Network, 2015, equation 1 at temperature 1).
#[derive(Debug, Clone, Copy)]
pub struct Teacher<'a> {
    /// Probabilities, `[batch, classes]`.
    pub outputs: &'a [f32],
    /// Their part in what is wanted, 0 to 1; the rest are the smoothed labels.
    pub part: f32,
}

/// Gradients of one step, summed over the sub-networks, mean over the batch.
///
/// The first of `nets` learns from the labels, smoothed by `smoothing`, and from the batch's teacher
/// where it has one, the others from the first.
#[must_use]
pub fn gradients(
    layout: &Layout,
    values: &Values,
    nets: &[SubNet],
    batch: Batch<'_>,
    smoothing: f32,
    shares: usize,
) -> (Values, Progress) {
    let count = batch.labels.len();
    let pixels = batch.images.len() / count;
    let share = count.div_ceil(shares);
    let classes = layout.family().classes;
    let work = &|place: usize, images: &[f32], labels: &[u8]| {
        let teacher = batch.teacher.map(|teacher| Teacher {
            outputs: &teacher.outputs[place * share * classes..][..labels.len() * classes],
            ..teacher
        });
        let part = Batch { images, labels, teacher };
        one_share(layout, values, nets, part, smoothing, count)
    };
    let results: Vec<(Values, Progress)> = std::thread::scope(|scope| {
        let handles: Vec<_> = batch
            .images
            .chunks(share * pixels)
            .zip(batch.labels.chunks(share))
            .enumerate()
            .map(|(place, (images, labels))| scope.spawn(move || work(place, images, labels)))
            .collect();
        handles
            .into_iter()
            .map(|handle| match handle.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    });
    let mut results = results.into_iter();
    let (mut sum, mut progress) =
        results.next().unwrap_or_else(|| (network::zeros(layout), Progress::default()));
    for (gradients, part) in results {
        for (sum, part) in sum.iter_mut().flatten().zip(gradients.iter().flatten()) {
            *sum += part;
        }
        progress.loss += part.loss;
        progress.right += part.right;
    }
    (sum, progress)
}

fn one_share(
    layout: &Layout,
    values: &Values,
    nets: &[SubNet],
    batch: Batch<'_>,
    smoothing: f32,
    whole: usize,
) -> (Values, Progress) {
    let classes = layout.family().classes;
    let mut gradients = network::zeros(layout);
    let mut progress = Progress::default();
    let mut teacher = Vec::new();
    for (place, net) in nets.iter().enumerate() {
        let units = layout.units(net);
        let images = resampled(batch.images, layout.family(), net);
        let pass = forward(layout, &units, values, &images, None);
        let mut d = softmax(&pass.logits, classes);
        if place == 0 {
            teacher.clone_from(&d);
            for (place, (row, label)) in d.chunks_exact_mut(classes).zip(batch.labels).enumerate() {
                let label = usize::from(*label);
                progress.loss -= row[label].max(1e-12).ln() / whole as f32;
                let top = row.iter().copied().fold(f32::MIN, f32::max);
                progress.right += usize::from(row[label] >= top);
                for (class, d) in row.iter_mut().enumerate() {
                    let told = if class == label { 1.0 - smoothing } else { 0.0 };
                    let told = told + smoothing / classes as f32;
                    *d -= match batch.teacher {
                        None => told,
                        Some(Teacher { outputs, part }) => {
                            part * outputs[place * classes + class] + (1.0 - part) * told
                        }
                    };
                }
            }
        } else {
            for (d, wanted) in d.iter_mut().zip(&teacher) {
                *d -= wanted;
            }
        }
        for d in &mut d {
            *d /= whole as f32;
        }
        backward(layout, &units, values, pass, &d, &mut gradients);
    }
    (gradients, progress)
}

/// Softmax of each row.
#[must_use]
pub fn softmax(logits: &[f32], classes: usize) -> Vec<f32> {
    let mut out = logits.to_vec();
    for row in out.chunks_exact_mut(classes) {
        let top = row.iter().copied().fold(f32::MIN, f32::max);
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value - top).exp();
            sum += *value;
        }
        for value in row.iter_mut() {
            *value /= sum;
        }
    }
    out
}
