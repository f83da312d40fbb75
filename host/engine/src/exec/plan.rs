//! What one sub-network has of its own: its steps and its folded normalisations.

use super::arena::{Buffer, Sizes};
use super::packed::{Packed, Panels};
use crate::family::Activation;
use crate::kernels::blocked::{Lanes, blocks, in_lanes, padded_len, ring_lanes};
use crate::layout::{Kind, Layout, Unit};
use crate::train::network::{Statistics, Values};

/// Scale and shift of a unit's outputs, places in [`Plan::own`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fold {
    pub(crate) scale: usize,
    pub(crate) shift: usize,
}

/// A convolution with its fold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conv {
    pub(crate) inputs: usize,
    pub(crate) weight: Panels,
    pub(crate) fold: Fold,
    pub(crate) activation: Option<Activation>,
}

/// One step of a sub-network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Copies the image between its margins.
    Image {
        /// Height and width.
        side: usize,
    },
    /// A layer, whose map is never whole, and the depthwise convolution behind it.
    Fused {
        unit: usize,
        /// `None`: a pointwise layer from this buffer; else the first convolution of an image of
        /// this side, with this stride.
        from: Buffer,
        stem: Option<(usize, usize)>,
        layer: Conv,
        /// Blocks of channels.
        blocks: usize,
        /// Height and width of the map between them.
        side: usize,
        kernel: usize,
        stride: usize,
        /// Place of the kernel.
        weight: usize,
        fold: Fold,
        activation: Option<Activation>,
        /// The means of its outputs are wanted.
        means: bool,
    },
    /// First layer of squeeze-excite.
    Reduce { inputs: usize, weight: Panels, blocks: usize, bias: usize },
    /// Second layer of squeeze-excite, and the scaling.
    Excite { unit: usize, inputs: usize, weight: Panels, blocks: usize, bias: usize, pixels: usize },
    /// A pointwise convolution.
    Pointwise {
        unit: usize,
        from: Buffer,
        to: Buffer,
        add: Option<Buffer>,
        pixels: usize,
        layer: Conv,
        blocks: usize,
    },
    /// Means of the last map.
    Pool { blocks: usize, pixels: usize },
    /// A layer on the means of every image.
    Mix { unit: usize, layer: Conv, blocks: usize },
    /// The last layer.
    Classify { inputs: usize, weight: Panels, blocks: usize, bias: usize },
}

/// A sub-network ready to run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For each image.
    pub(crate) trunk: Vec<Step>,
    /// Once for all images.
    pub(crate) head: Vec<Step>,
    /// Folded normalisations.
    pub(crate) own: Vec<Lanes>,
    /// Height and width of its images.
    pub(crate) side: usize,
    pub(crate) sizes: Sizes,
}

impl Plan {
    /// The plan of a sub-network whose weights are packed.
    pub(crate) fn new(
        layout: &Layout,
        values: &Values,
        packed: &Packed,
        units: &[Unit],
        statistics: &Statistics,
    ) -> Self {
        let mut build = Build { packed, own: Vec::new(), sizes: Sizes::default() };
        let mut norms = statistics.iter();
        let epsilon = layout.family().bn_epsilon;
        let folds: Vec<Fold> = units
            .iter()
            .map(|unit| {
                let (scale, shift) = match unit.norm {
                    Some(norm) => {
                        let (mean, variance) = norms.next().expect("statistics of every unit");
                        folded(values, norm, mean, variance, epsilon)
                    }
                    None => (vec![1.0; unit.outputs], vec![0.0; unit.outputs]),
                };
                Fold { scale: build.push(&scale), shift: build.push(&shift) }
            })
            .collect();
        let side = units.first().map_or(layout.family().resolution, |unit| unit.side);
        let (mut trunk, mut head) = (vec![Step::Image { side }], Vec::new());
        let channels = layout.family().image_channels;
        build.sizes.cover(Buffer::Image, blocks(padded_len(side, channels)));
        // Where the last map lies, and where the next block's output goes.
        let (mut from, mut to) = (Buffer::Odd, Buffer::Even);
        let mut shortcut = None;
        let mut index = 0;
        while index < units.len() {
            let unit = &units[index];
            if unit.opens_shortcut {
                shortcut = Some(from);
            }
            match units.get(index + 1) {
                Some(next) if next.kind == Kind::Depthwise && !unit.pools => {
                    // The first block's shortcut starts between the stem and its depthwise layer.
                    if next.opens_shortcut {
                        trunk.push(build.whole_stem(unit, index, folds[index], to));
                        shortcut = Some(to);
                        (from, to) = (to, from);
                        trunk.push(build.alone(next, index + 1, folds[index + 1], from));
                    } else {
                        let pair = [(unit, folds[index]), (next, folds[index + 1])];
                        trunk.push(build.fused(pair, index + 1, from));
                    }
                    trunk.extend(build.squeeze(next, index + 1));
                    index += 2;
                }
                _ if unit.pools => {
                    let area = unit.side * unit.side;
                    trunk.push(Step::Pool { blocks: blocks(unit.inputs), pixels: area });
                    build.sizes.cover(Buffer::Pooled, blocks(unit.inputs));
                    build.sizes.cover(Buffer::Features, blocks(unit.outputs));
                    let layer = build.conv(unit, folds[index]);
                    head.push(Step::Mix { unit: index, layer, blocks: blocks(unit.outputs) });
                    index += 1;
                }
                next => {
                    // The last layer before pooling goes to the wide map, as does what a depthwise
                    // layer leaves; a block's last layer comes from there.
                    let last = next.is_some_and(|next| next.pools);
                    let (source, target) =
                        if last { (from, Buffer::Middle) } else { (Buffer::Middle, to) };
                    let pixels = unit.out_side() * unit.out_side();
                    build.sizes.cover(target, blocks(unit.outputs) * pixels);
                    trunk.push(Step::Pointwise {
                        unit: index,
                        from: source,
                        to: target,
                        add: shortcut.take_if(|_| unit.closes_shortcut),
                        pixels,
                        layer: build.conv(unit, folds[index]),
                        blocks: blocks(unit.outputs),
                    });
                    if !last {
                        (from, to) = (to, from);
                    }
                    index += 1;
                }
            }
        }
        let classifier = layout.classifier();
        build.sizes.cover(Buffer::Logits, blocks(layout.family().classes));
        head.push(Step::Classify {
            inputs: layout.family().feature_mix,
            weight: packed.panels(classifier),
            blocks: blocks(layout.family().classes),
            bias: packed.bias(classifier + 1),
        });
        let Build { own, sizes, .. } = build;
        Self { trunk, head, own, side, sizes }
    }

    /// Bytes beside the shared weights.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.own[..]) + size_of_val(&self.trunk[..]) + size_of_val(&self.head[..])
    }
}

struct Build<'a> {
    packed: &'a Packed,
    own: Vec<Lanes>,
    sizes: Sizes,
}

impl Build<'_> {
    fn push(&mut self, values: &[f32]) -> usize {
        let place = self.own.len();
        self.own.extend(in_lanes(values));
        place
    }

    fn conv(&self, unit: &Unit, fold: Fold) -> Conv {
        let weight = self.packed.panels(unit.weight);
        Conv { inputs: unit.inputs, weight, fold, activation: unit.activation }
    }

    fn cover_fused(&mut self, depthwise: &Unit, target: Buffer) {
        let Unit { side, kernel, stride, .. } = *depthwise;
        self.sizes.cover(Buffer::Ring, ring_lanes(side, side, kernel, stride));
        let out = depthwise.out_side() * depthwise.out_side();
        self.sizes.cover(target, blocks(depthwise.outputs) * out);
        self.sizes.cover(Buffer::Means, blocks(depthwise.outputs));
    }

    /// A layer and the depthwise one behind it, `unit` the latter's number.
    fn fused(
        &mut self,
        [(layer, layer_fold), (depthwise, fold)]: [(&Unit, Fold); 2],
        unit: usize,
        from: Buffer,
    ) -> Step {
        self.cover_fused(depthwise, Buffer::Middle);
        let dense = layer.kind == Kind::Dense;
        Step::Fused {
            unit,
            from: if dense { Buffer::Image } else { from },
            stem: dense.then_some((layer.side, layer.stride)),
            layer: self.conv(layer, layer_fold),
            blocks: blocks(depthwise.outputs),
            side: depthwise.side,
            kernel: depthwise.kernel,
            stride: depthwise.stride,
            weight: self.packed.kernel(depthwise),
            fold,
            activation: depthwise.activation,
            means: depthwise.squeeze.is_some(),
        }
    }

    /// The two steps of squeeze-excite, where a unit has it.
    fn squeeze(&mut self, unit: &Unit, index: usize) -> Vec<Step> {
        let Some(squeeze) = unit.squeeze else { return Vec::new() };
        self.sizes.cover(Buffer::Squeezed, blocks(squeeze.middle));
        self.sizes.cover(Buffer::Gates, blocks(unit.outputs));
        vec![
            Step::Reduce {
                inputs: unit.outputs,
                weight: self.packed.panels(squeeze.reduce),
                blocks: blocks(squeeze.middle),
                bias: self.packed.bias(squeeze.reduce + 1),
            },
            Step::Excite {
                unit: index,
                inputs: squeeze.middle,
                weight: self.packed.panels(squeeze.expand),
                blocks: blocks(unit.outputs),
                bias: self.packed.bias(squeeze.expand + 1),
                pixels: unit.out_side() * unit.out_side(),
            },
        ]
    }
}

/// Batch normalisation as scale and shift: γ/√(σ²+ε), β − µ·scale.
fn folded(
    values: &Values,
    norm: usize,
    mean: &[f32],
    variance: &[f32],
    epsilon: f32,
) -> (Vec<f32>, Vec<f32>) {
    let scale: Vec<f32> =
        values[norm].iter().zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = (values[norm + 1].iter().zip(mean).zip(&scale))
        .map(|((beta, mean), scale)| beta - mean * scale)
        .collect();
    (scale, shift)
}
