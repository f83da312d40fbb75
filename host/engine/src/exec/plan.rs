//! What one sub-network has of its own: its steps and its folded normalisations.

use std::fmt;

use super::arena::{Buffer, Sizes};
use super::packed::{Packed, Panels};
use crate::family::Activation;
use crate::kernels::blocked::{LANES, Lanes, blocks, in_lanes, padded_len, ring_lanes};
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

/// What a depthwise convolution reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// A whole map.
    Map(Buffer),
    /// The first convolution of the image of this side, with this stride.
    Image { layer: Conv, side: usize, stride: usize },
    /// A pointwise layer on a map.
    Layer { layer: Conv, from: Buffer },
}

/// One step of a sub-network. `blocks` are blocks of output channels, sides and pixels those of one
/// image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Copies the image between its margins.
    Image { side: usize },
    /// The first convolution, of an image of this side.
    Stem { layer: Conv, blocks: usize, side: usize, stride: usize, to: Buffer },
    /// A depthwise convolution to the wide map, and the layer before it, whose map is never whole.
    Fused {
        from: Feed,
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
    Excite { inputs: usize, weight: Panels, blocks: usize, bias: usize, pixels: usize },
    /// A pointwise convolution.
    Pointwise {
        from: Buffer,
        to: Buffer,
        add: Option<Buffer>,
        pixels: usize,
        layer: Conv,
        blocks: usize,
    },
    /// Means of the map that an early exit reads.
    ExitPool { from: Buffer, blocks: usize, pixels: usize },
    /// The layer of an early exit; the image may leave after it.
    Exit { number: usize, inputs: usize, weight: Panels, blocks: usize, bias: usize },
    /// Means of the last map.
    Pool { blocks: usize, pixels: usize },
    /// A layer on the means of every image.
    Mix { layer: Conv, blocks: usize },
    /// The last layer; its shift is the shared bias.
    Classify { layer: Conv, blocks: usize, bias: usize },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Image { side } => write!(f, "image {side}²"),
            Self::Stem { layer, blocks, side, .. } => {
                write!(f, "first {side}², {}→{}", layer.inputs, blocks * LANES)
            }
            Self::Fused { from, blocks, side, kernel, stride, .. } => {
                if let Feed::Layer { layer, .. } | Feed::Image { layer, .. } = from {
                    write!(f, "{}→", layer.inputs)?;
                }
                write!(f, "{} depthwise {kernel}², {side}²/{stride}", blocks * LANES)
            }
            Self::Reduce { inputs, blocks, .. } => write!(f, "squeeze {inputs}→{}", blocks * LANES),
            Self::Excite { inputs, blocks, pixels, .. } => {
                write!(f, "excite {inputs}→{}, {pixels} pixels", blocks * LANES)
            }
            Self::Pointwise { pixels, layer, blocks, .. } => {
                write!(f, "pointwise {}→{}, {pixels} pixels", layer.inputs, blocks * LANES)
            }
            Self::Exit { number, inputs, blocks, .. } => {
                write!(f, "exit {number}: {inputs}→{}", blocks * LANES)
            }
            Self::ExitPool { blocks, pixels, .. } | Self::Pool { blocks, pixels } => {
                write!(f, "means {}, {pixels} pixels", blocks * LANES)
            }
            Self::Mix { layer, blocks } | Self::Classify { layer, blocks, .. } => {
                write!(f, "vector {}→{}", layer.inputs, blocks * LANES)
            }
        }
    }
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
    ///
    /// # Panics
    /// If `statistics` are not of the units that normalise, each with a mean and a variance an output:
    /// the kernels read as many as the units say.
    pub(crate) fn new(
        layout: &Layout,
        values: &Values,
        packed: &Packed,
        units: &[Unit],
        statistics: &Statistics,
    ) -> Self {
        let mut build = Build { packed, own: Vec::new(), sizes: Sizes::default() };
        let found: Vec<_> = statistics.iter().map(|(mean, var)| [mean.len(), var.len()]).collect();
        let norms = units.iter().filter(|unit| unit.norm.is_some());
        let wanted: Vec<_> = norms.map(|unit| [unit.outputs; 2]).collect();
        assert_eq!(found, wanted, "means and variances of a sub-network's statistics");
        let mut norms = statistics.iter();
        let epsilon = layout.family().bn_epsilon;
        let folds: Vec<Fold> = units
            .iter()
            .map(|unit| {
                let (scale, shift) = match unit.norm {
                    Some(norm) => {
                        let (mean, variance) = norms.next().expect("as many as were counted");
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
                    let feed = if next.opens_shortcut {
                        trunk.push(build.stem(unit, folds[index], to));
                        shortcut = Some(to);
                        (from, to) = (to, from);
                        Feed::Map(from)
                    } else {
                        build.feed(unit, folds[index], from)
                    };
                    trunk.push(build.depthwise(next, folds[index + 1], feed));
                    trunk.extend(build.squeeze(next));
                    index += 2;
                }
                _ if unit.pools => {
                    let area = unit.side * unit.side;
                    trunk.push(Step::Pool { blocks: blocks(unit.inputs), pixels: area });
                    build.sizes.cover(Buffer::Pooled, blocks(unit.inputs));
                    build.sizes.cover(Buffer::Features, blocks(unit.outputs));
                    let layer = build.conv(unit, folds[index]);
                    head.push(Step::Mix { layer, blocks: blocks(unit.outputs) });
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
                    if let Some(number) = unit.exit {
                        trunk.extend(build.exit(layout, number, unit.outputs, (from, pixels)));
                    }
                    index += 1;
                }
            }
        }
        let classifier = layout.classifier();
        let classes = layout.family().classes;
        build.sizes.cover(Buffer::Logits, blocks(classes));
        let (inputs, weight) = (layout.family().feature_mix, packed.panels(classifier));
        let ones = build.push(&vec![1.0; classes]);
        let fold = Fold { scale: ones, shift: ones };
        let layer = Conv { inputs, weight, fold, activation: None };
        let bias = packed.bias(classifier + 1);
        head.push(Step::Classify { layer, blocks: blocks(classes), bias });
        let Build { mut own, sizes, .. } = build;
        own.shrink_to_fit();
        trunk.shrink_to_fit();
        head.shrink_to_fit();
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

    /// The first convolution, alone.
    fn stem(&mut self, unit: &Unit, fold: Fold, to: Buffer) -> Step {
        let out_side = unit.out_side();
        self.sizes.cover(to, blocks(unit.outputs) * out_side * out_side);
        Step::Stem {
            layer: self.conv(unit, fold),
            blocks: blocks(unit.outputs),
            side: unit.side,
            stride: unit.stride,
            to,
        }
    }

    /// A layer whose outputs only a depthwise convolution reads.
    fn feed(&self, unit: &Unit, fold: Fold, from: Buffer) -> Feed {
        let layer = self.conv(unit, fold);
        if unit.kind == Kind::Dense {
            Feed::Image { layer, side: unit.side, stride: unit.stride }
        } else {
            Feed::Layer { layer, from }
        }
    }

    /// A depthwise convolution to the wide map.
    fn depthwise(&mut self, unit: &Unit, fold: Fold, from: Feed) -> Step {
        let Unit { side, kernel, stride, .. } = *unit;
        let count = blocks(unit.outputs);
        let out = unit.out_side() * unit.out_side();
        self.sizes.cover(Buffer::Ring, ring_lanes(side, side, kernel, stride));
        self.sizes.cover(Buffer::Middle, count * out);
        self.sizes.cover(Buffer::Means, count);
        Step::Fused {
            from,
            blocks: count,
            side,
            kernel,
            stride,
            weight: self.packed.kernel(unit),
            fold,
            activation: unit.activation,
            means: unit.squeeze.is_some(),
        }
    }

    /// The two steps of an early exit after a map of so many channels.
    fn exit(
        &mut self,
        layout: &Layout,
        number: usize,
        inputs: usize,
        (from, pixels): (Buffer, usize),
    ) -> [Step; 2] {
        let classes = blocks(layout.family().classes);
        self.sizes.cover(Buffer::ExitMeans, blocks(inputs));
        self.sizes.cover(Buffer::ExitLogits, classes);
        let (weight, bias) = (layout.exit(number), layout.exit(number) + 1);
        let (weight, bias) = (self.packed.panels(weight), self.packed.bias(bias));
        [
            Step::ExitPool { from, blocks: blocks(inputs), pixels },
            Step::Exit { number, inputs, weight, blocks: classes, bias },
        ]
    }

    /// The two steps of squeeze-excite, where a unit has it.
    fn squeeze(&mut self, unit: &Unit) -> Vec<Step> {
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
