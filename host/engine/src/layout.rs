//! Layers: which parameters a super-network has, and which part of them a sub-network uses.
//!
//! Parameter names are those of the published checkpoints (`first_conv.conv.weight`,
//! `blocks.{i}.conv.depth_conv.conv.conv.weight`, …).

use crate::family::{Activation, Family, FamilyFault, MOST, SubNet};

/// Most multiply-accumulates of a sub-network: counts up to there are exact as JSON's numbers.
pub const MOST_MACS: u64 = 1 << 53;

/// One parameter tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Published name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// What it is, for its start and its weight decay.
    pub role: Role,
}

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight with this many inputs an output.
    Weight {
        /// Inputs that one output sums over.
        fan_in: usize,
    },
    /// Scale of a normalisation: starts at 1.
    Scale,
    /// Shift of a normalisation, or bias: starts at 0.
    Shift,
    /// Square matrix that shrinks a kernel: starts as the identity.
    Transform,
}

/// Kinds of convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Dense 3×3.
    Dense,
    /// 1×1.
    Pointwise,
    /// One kernel a channel.
    Depthwise,
}

/// Squeeze-excite as one sub-network uses it: each channel times
/// h-sigmoid(E·relu(R·means + r) + e) of the means over its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Squeeze {
    /// Channels of the reduced layer that are used.
    pub middle: usize,
    /// Index of the reducing weight `[middle, channels]`; its bias follows.
    pub reduce: usize,
    /// Index of the expanding weight `[channels, middle]`; its bias follows.
    pub expand: usize,
    /// Row length of the whole reducing weight.
    pub reduce_row: usize,
    /// Row length of the whole expanding weight.
    pub expand_row: usize,
}

/// A convolution with normalisation and activation, as one sub-network uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Kind.
    pub kind: Kind,
    /// Channels in and out that are used.
    pub inputs: usize,
    /// Channels out that are used.
    pub outputs: usize,
    /// Channels in of the whole weight: its rows' length.
    pub row: usize,
    /// Kernel that is used.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Index of the weight.
    pub weight: usize,
    /// For each shrinking of the kernel: the smaller size and the index of the matrix.
    pub shrinks: Vec<(usize, usize)>,
    /// Kernel of the whole weight.
    pub full_kernel: usize,
    /// Index of the normalisation's scale; its shift follows. `None` = no normalisation.
    pub norm: Option<usize>,
    /// Activation.
    pub activation: Option<Activation>,
    /// Squeeze-excite after the activation.
    pub squeeze: Option<Squeeze>,
    /// Height and width of the feature map in, before the pooling where this unit pools.
    pub side: usize,
    /// This unit's input is added to the output of a later one.
    pub opens_shortcut: bool,
    /// The kept input is added to this unit's output.
    pub closes_shortcut: bool,
    /// Feature maps are averaged over their pixels before this unit.
    pub pools: bool,
    /// Number of the early exit that reads this unit's output.
    pub exit: Option<usize>,
}

impl Unit {
    /// Height and width of the feature map out.
    #[must_use]
    pub fn out_side(&self) -> usize {
        if self.pools { 1 } else { self.side.div_ceil(self.stride) }
    }
}

/// The parameters of a family, in a fixed order.
#[derive(Debug, Clone)]
pub struct Layout {
    family: Family,
    /// The parameters.
    pub parameters: Vec<Parameter>,
    blocks: Vec<Block>,
    stem: usize,
    first: usize,
    final_expand: usize,
    feature_mix: usize,
    classifier: usize,
    /// Weight of the first early exit; its bias follows, then the next one's.
    exits: usize,
}

#[derive(Debug, Clone)]
struct Block {
    expand: usize,
    depthwise: usize,
    project: usize,
    shrinks: Vec<(usize, usize)>,
    /// Indices of the reducing and the expanding weight.
    squeeze: Option<(usize, usize)>,
}

struct Builder(Vec<Parameter>);

impl Builder {
    fn push(&mut self, name: String, shape: Vec<usize>, role: Role) -> usize {
        self.0.push(Parameter { name, shape, role });
        self.0.len() - 1
    }

    /// A weight followed by its normalisation.
    fn unit(&mut self, conv: &str, norm: &str, shape: Vec<usize>) -> usize {
        let (outputs, fan_in) = (shape[0], shape[1..].iter().product());
        let index = self.push(format!("{conv}.weight"), shape, Role::Weight { fan_in });
        self.push(format!("{norm}.weight"), vec![outputs], Role::Scale);
        self.push(format!("{norm}.bias"), vec![outputs], Role::Shift);
        index
    }
}

impl Builder {
    /// The two layers of a block's squeeze-excite.
    fn squeeze(&mut self, block: &str, mid: usize) -> (usize, usize) {
        let middle = Family::squeezed(mid);
        let mut layer = |what: &str, outputs: usize, fan_in: usize| {
            let name = format!("{block}.depth_conv.se.fc.{what}");
            let shape = vec![outputs, fan_in, 1, 1];
            let index = self.push(format!("{name}.weight"), shape, Role::Weight { fan_in });
            self.push(format!("{name}.bias"), vec![outputs], Role::Shift);
            index
        };
        (layer("reduce", middle, mid), layer("expand", mid, middle))
    }
}

impl Layout {
    /// The layout of a family.
    ///
    /// # Errors
    /// [`FamilyFault`] where the description is not one of a network that the kernels can run.
    pub fn new(family: &Family) -> Result<Self, FamilyFault> {
        family.check()?;
        let mut build = Builder(Vec::new());
        let stem = build.unit(
            "first_conv.conv",
            "first_conv.bn",
            vec![family.stem, family.image_channels, 3, 3],
        );
        let first = build.unit(
            "blocks.0.conv.depth_conv.conv",
            "blocks.0.conv.depth_conv.bn",
            vec![family.stem, 1, 3, 3],
        );
        build.unit(
            "blocks.0.conv.point_linear.conv",
            "blocks.0.conv.point_linear.bn",
            vec![family.first, family.stem, 1, 1],
        );
        let mut blocks = Vec::new();
        let mut inputs = family.first;
        for stage in &family.stages {
            for _ in 0..stage.max_depth {
                let name = format!("blocks.{}.conv", blocks.len() + 1);
                let mid = Family::rounded((inputs * family.max_expand()) as f32);
                let expand = build.unit(
                    &format!("{name}.inverted_bottleneck.conv.conv"),
                    &format!("{name}.inverted_bottleneck.bn.bn"),
                    vec![mid, inputs, 1, 1],
                );
                let full = family.max_kernel();
                let depthwise = build.unit(
                    &format!("{name}.depth_conv.conv.conv"),
                    &format!("{name}.depth_conv.bn.bn"),
                    vec![mid, 1, full, full],
                );
                let mut shrinks = Vec::new();
                for pair in family.kernels.windows(2).rev() {
                    let taps = pair[0] * pair[0];
                    let matrix = build.push(
                        format!("{name}.depth_conv.conv.{}to{}_matrix", pair[1], pair[0]),
                        vec![taps, taps],
                        Role::Transform,
                    );
                    shrinks.push((pair[0], matrix));
                }
                let squeeze = stage.squeeze_excite.then(|| build.squeeze(&name, mid));
                let project = build.unit(
                    &format!("{name}.point_linear.conv.conv"),
                    &format!("{name}.point_linear.bn.bn"),
                    vec![stage.channels, mid, 1, 1],
                );
                blocks.push(Block { expand, depthwise, project, shrinks, squeeze });
                inputs = stage.channels;
            }
        }
        let final_expand = build.unit(
            "final_expand_layer.conv",
            "final_expand_layer.bn",
            vec![family.final_expand, inputs, 1, 1],
        );
        let mix = vec![family.feature_mix, family.final_expand, 1, 1];
        let fan_in = family.final_expand;
        let feature_mix =
            build.push("feature_mix_layer.conv.weight".into(), mix, Role::Weight { fan_in });
        let classifier = build.push(
            "classifier.linear.weight".into(),
            vec![family.classes, family.feature_mix],
            Role::Weight { fan_in: family.feature_mix },
        );
        build.push("classifier.linear.bias".into(), vec![family.classes], Role::Shift);
        let exits = build.0.len();
        for (number, exit) in family.exits.iter().enumerate() {
            let fan_in = family.stages[exit.stage].channels;
            let name = format!("exits.{number}.linear");
            let role = Role::Weight { fan_in };
            build.push(format!("{name}.weight"), vec![family.classes, fan_in], role);
            build.push(format!("{name}.bias"), vec![family.classes], Role::Shift);
        }
        let layout = Self {
            family: family.clone(),
            parameters: build.0,
            blocks,
            stem,
            first,
            final_expand,
            feature_mix,
            classifier,
            exits,
        };
        layout.check_size()?;
        Ok(layout)
    }

    /// Checks that the costs of all sub-networks can be counted. Each weight and each value of a map
    /// is part of a multiply-accumulate or a neighbour of one, so that with those of the largest
    /// sub-network no sum or product here comes near the end of 64 bits.
    fn check_size(&self) -> Result<(), FamilyFault> {
        let largest = self.family.finest();
        let wide = |sizes: &[usize]| sizes.iter().map(|size| *size as u128).product::<u128>();
        let exits = self.family.exits.len();
        let head = (self.family.feature_mix + exits * MOST) * self.family.classes;
        let macs = self.units(&largest).iter().fold(head as u128, |macs, unit| {
            let (inputs, kernel, side) = (unit.fan_in(), unit.kernel, unit.out_side());
            let squeeze = unit.squeeze.map_or(0, |squeeze| squeeze.middle);
            macs + wide(&[unit.outputs, inputs, kernel, kernel, side, side])
                + wide(&[2, unit.outputs, squeeze])
        });
        if macs > u128::from(MOST_MACS).min(usize::MAX as u128) {
            let place = "multiply-accumulates of the largest sub-network";
            return Err(self.family.fault(place, macs, "at most 2^53"));
        }
        Ok(())
    }

    /// The family.
    #[must_use]
    pub fn family(&self) -> &Family {
        &self.family
    }

    /// Index of the classifier's weight; its bias follows.
    #[must_use]
    pub fn classifier(&self) -> usize {
        self.classifier
    }

    /// Index of the weight `[classes, channels]` of an early exit; its bias follows.
    #[must_use]
    pub fn exit(&self, number: usize) -> usize {
        self.exits + 2 * number
    }

    /// Multiply-accumulates of an image that leaves a sub-network at each of its early exits: the
    /// layers before it, this exit and those before.
    ///
    /// # Panics
    /// If the sub-network is not one of the family.
    #[must_use]
    pub fn exit_macs(&self, net: &SubNet) -> Vec<u64> {
        let (mut macs, mut all) = (0, Vec::new());
        for unit in self.units(net) {
            macs += unit.macs();
            if unit.exit.is_some() {
                macs += unit.outputs * self.family.classes;
                all.push(macs as u64);
            }
        }
        all
    }

    /// The units of a sub-network, from the stem to the layer before the classifier.
    ///
    /// # Panics
    /// If the sub-network is not one of the family; see [`Family::check_net`].
    #[must_use]
    pub fn units(&self, net: &SubNet) -> Vec<Unit> {
        let family = &self.family;
        let plain = |kind, inputs, outputs, kernel, stride, weight, activation| Unit {
            kind,
            inputs,
            outputs,
            row: inputs,
            kernel,
            stride,
            weight,
            shrinks: Vec::new(),
            full_kernel: kernel,
            norm: Some(weight + 1),
            activation,
            squeeze: None,
            side: 0,
            opens_shortcut: false,
            closes_shortcut: false,
            pools: false,
            exit: None,
        };
        let stem_activation = Some(Activation::HSwish);
        let mut units = vec![
            plain(
                Kind::Dense,
                family.image_channels,
                family.stem,
                3,
                family.stem_stride,
                self.stem,
                stem_activation,
            ),
            plain(
                Kind::Depthwise,
                family.stem,
                family.stem,
                3,
                family.first_stride,
                self.first,
                Some(Activation::Relu),
            ),
            plain(Kind::Pointwise, family.stem, family.first, 1, 1, self.first + 3, None),
        ];
        if family.first_stride == 1 && family.stem == family.first {
            units[1].opens_shortcut = true;
            units[2].closes_shortcut = true;
        }
        let mut inputs = family.first;
        let mut block = 0;
        for (number, (stage, depth)) in family.stages.iter().zip(&net.depths).enumerate() {
            for place in 0..stage.max_depth {
                let index = block + place;
                if place >= *depth {
                    continue;
                }
                let stride = if place == 0 { stage.stride } else { 1 };
                let known = &self.blocks[index];
                let mid = Family::rounded((inputs * net.expands[index]) as f32);
                let full_mid = Family::rounded((inputs * family.max_expand()) as f32);
                let shortcut = stride == 1 && inputs == stage.channels;
                let act = Some(stage.activation);
                let kernel = net.kernels[index];
                units.push(Unit {
                    opens_shortcut: shortcut,
                    ..plain(Kind::Pointwise, inputs, mid, 1, 1, known.expand, act)
                });
                let shrinks = known.shrinks.iter().copied();
                units.push(Unit {
                    full_kernel: family.max_kernel(),
                    shrinks: shrinks.take_while(|(size, _)| *size >= kernel).collect(),
                    squeeze: known.squeeze.map(|(reduce, expand)| Squeeze {
                        middle: Family::squeezed(mid),
                        reduce,
                        expand,
                        reduce_row: full_mid,
                        expand_row: Family::squeezed(full_mid),
                    }),
                    ..plain(Kind::Depthwise, mid, mid, kernel, stride, known.depthwise, act)
                });
                units.push(Unit {
                    row: full_mid,
                    closes_shortcut: shortcut,
                    ..plain(Kind::Pointwise, mid, stage.channels, 1, 1, known.project, None)
                });
                inputs = stage.channels;
            }
            block += stage.max_depth;
            if let Some(last) = units.last_mut() {
                last.exit = family.exits.iter().position(|exit| exit.stage == number);
            }
        }
        let swish = Some(Activation::HSwish);
        let (expand, mix) = (family.final_expand, family.feature_mix);
        units.push(plain(Kind::Pointwise, inputs, expand, 1, 1, self.final_expand, swish));
        units.push(Unit {
            norm: None,
            pools: true,
            ..plain(Kind::Pointwise, expand, mix, 1, 1, self.feature_mix, swish)
        });
        let mut side = family.side(net);
        for unit in &mut units {
            unit.side = side;
            side = unit.out_side();
        }
        units
    }

    /// Multiply-accumulates of one image that takes no early exit, and parameters in use,
    /// normalisations folded; the exits themselves are part of both.
    ///
    /// # Panics
    /// If the sub-network is not one of the family; its resolution is not looked at.
    #[must_use]
    pub fn cost(&self, net: &SubNet) -> (u64, u64) {
        let (mut macs, mut parameters) = (0, 0);
        for unit in self.units(net) {
            macs += unit.macs();
            parameters += unit.weights() + if unit.norm.is_some() { unit.outputs } else { 0 };
            if let Some(squeeze) = unit.squeeze {
                parameters += 2 * unit.outputs * squeeze.middle + unit.outputs + squeeze.middle;
            }
            if unit.exit.is_some() {
                macs += unit.outputs * self.family.classes;
                parameters += (unit.outputs + 1) * self.family.classes;
            }
        }
        let classifier = self.family.feature_mix * self.family.classes;
        ((macs + classifier) as u64, (parameters + classifier + self.family.classes) as u64)
    }

    /// Bytes moved for one image where nothing stays in a cache: four times the sum of all weights
    /// in use and of each operator's inputs and outputs.
    #[must_use]
    pub fn traffic_bytes(&self, net: &SubNet) -> u64 {
        let (_, parameters) = self.cost(net);
        let mut values = 0;
        for unit in self.units(net) {
            let mut area = unit.side * unit.side;
            if unit.pools {
                values += area * unit.inputs;
                area = 1;
            }
            let out = unit.out_side() * unit.out_side() * unit.outputs;
            values += area * unit.inputs + out;
            if unit.squeeze.is_some() {
                // Read for the means, then read and written to be scaled.
                values += 3 * out;
            }
            if unit.closes_shortcut {
                values += out;
            }
            if unit.exit.is_some() {
                values += out + unit.outputs + self.family.classes;
            }
        }
        values += self.family.feature_mix + self.family.classes;
        4 * (parameters + values as u64)
    }
}

impl Unit {
    /// Multiply-accumulates of one image, those of squeeze-excite included.
    #[must_use]
    pub fn macs(&self) -> usize {
        let squeeze = self.squeeze.map_or(0, |squeeze| 2 * self.outputs * squeeze.middle);
        self.weights() * self.out_side() * self.out_side() + squeeze
    }

    /// Weights of the convolution that are used.
    #[must_use]
    pub fn weights(&self) -> usize {
        self.outputs * self.fan_in() * self.kernel * self.kernel
    }

    /// Channels that one output sums over.
    fn fan_in(&self) -> usize {
        if self.kind == Kind::Depthwise { 1 } else { self.inputs }
    }
}
