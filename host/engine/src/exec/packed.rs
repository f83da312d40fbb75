//! The resident weights, packed for the kernels, shared by every sub-network.

use std::collections::HashMap;

use crate::kernels::blocked::{Lanes, blocks, in_lanes, panels};
use crate::layout::{Kind, Layout, Squeeze, Unit};
use crate::train::network::{Values, shrink};

/// A weight's panels in [`Packed::lanes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panels {
    /// Place of the first panel.
    pub(crate) place: usize,
    /// Length of a panel.
    pub(crate) row: usize,
}

/// Packed weights: of every weight the largest prefix that any sub-network uses, once.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    pub(crate) lanes: Vec<Lanes>,
    /// By the index of the weight.
    weights: HashMap<usize, Panels>,
    /// By the index of the weight and the kernel: place of `[blocks][kernel·kernel]`. A shrunk
    /// kernel depends on its own channel only, so that sub-networks of any width share it.
    kernels: HashMap<(usize, usize), usize>,
    /// By the index of the bias.
    biases: HashMap<usize, usize>,
}

/// The largest outputs and inputs of a weight that any sub-network uses.
type Reach = HashMap<usize, (usize, usize)>;

fn reach(reach: &mut Reach, weight: usize, outputs: usize, inputs: usize) {
    let most = reach.entry(weight).or_default();
    *most = (most.0.max(outputs), most.1.max(inputs));
}

impl Packed {
    /// Packs what these sub-networks use.
    pub(crate) fn new(layout: &Layout, values: &Values, nets: &[Vec<Unit>]) -> Self {
        let mut packed = Self::default();
        let mut used = Reach::new();
        let mut depthwise: HashMap<(usize, usize), &Unit> = HashMap::new();
        let mut squeezes: HashMap<usize, Squeeze> = HashMap::new();
        for unit in nets.iter().flatten() {
            match unit.kind {
                Kind::Pointwise => reach(&mut used, unit.weight, unit.outputs, unit.inputs),
                Kind::Dense => reach(&mut used, unit.weight, unit.outputs, 9 * unit.inputs),
                Kind::Depthwise => {
                    let widest = depthwise.entry((unit.weight, unit.kernel)).or_insert(unit);
                    if unit.outputs > widest.outputs {
                        *widest = unit;
                    }
                }
            }
            if let Some(squeeze) = unit.squeeze {
                reach(&mut used, squeeze.reduce, squeeze.middle, unit.outputs);
                reach(&mut used, squeeze.expand, unit.outputs, squeeze.middle);
                squeezes.insert(squeeze.reduce, squeeze);
            }
        }
        let classifier = layout.classifier();
        let family = layout.family();
        reach(&mut used, classifier, family.classes, family.feature_mix);
        for (number, exit) in family.exits.iter().enumerate() {
            let channels = family.stages[exit.stage].channels;
            reach(&mut used, layout.exit(number), family.classes, channels);
        }
        // In the order of the layout, so that a sub-network reads forward.
        let mut weights: Vec<_> = used.into_iter().collect();
        weights.sort_unstable();
        for (weight, (outputs, inputs)) in weights {
            let shape = &layout.parameters[weight].shape;
            let row: usize = shape[1..].iter().product();
            let mut data = Vec::with_capacity(outputs * inputs);
            for full in values[weight].chunks_exact(row).take(outputs) {
                // A dense kernel goes from [channels][taps] to [taps][channels].
                let taps: usize = shape[2..].iter().product();
                let channels = inputs / taps;
                data.extend((0..inputs).map(|i| full[i % channels * taps + i / channels]));
            }
            let place = packed.push(panels(&data, inputs, outputs));
            packed.weights.insert(weight, Panels { place, row: inputs });
        }
        let mut kernels: Vec<_> = depthwise.into_iter().collect();
        kernels.sort_unstable_by_key(|(key, _)| *key);
        for (key, unit) in kernels {
            let place = packed.push(tapwise(&shrink(unit, values).0, unit.outputs));
            packed.kernels.insert(key, place);
        }
        let mut biases = vec![classifier + 1];
        biases.extend((0..family.exits.len()).map(|number| layout.exit(number) + 1));
        biases.extend(squeezes.values().flat_map(|s| [s.reduce + 1, s.expand + 1]));
        biases.sort_unstable();
        for bias in biases {
            let place = packed.push(in_lanes(&values[bias]).collect());
            packed.biases.insert(bias, place);
        }
        packed.lanes.shrink_to_fit();
        packed
    }

    fn push(&mut self, lanes: Vec<Lanes>) -> usize {
        let place = self.lanes.len();
        self.lanes.extend(lanes);
        place
    }

    /// Panels of a weight that was packed.
    pub(crate) fn panels(&self, weight: usize) -> Panels {
        self.weights[&weight]
    }

    /// Place of a unit's depthwise kernel.
    pub(crate) fn kernel(&self, unit: &Unit) -> usize {
        self.kernels[&(unit.weight, unit.kernel)]
    }

    /// Place of a bias.
    pub(crate) fn bias(&self, bias: usize) -> usize {
        self.biases[&bias]
    }
}

/// A kernel `[taps, channels]` as `[blocks][taps]`.
fn tapwise(kernel: &[f32], channels: usize) -> Vec<Lanes> {
    let taps = kernel.len() / channels;
    let mut out = vec![Lanes::ZERO; blocks(channels) * taps];
    for (tap, row) in kernel.chunks_exact(channels).enumerate() {
        for (block, lanes) in in_lanes(row).enumerate() {
            out[block * taps + tap] = lanes;
        }
    }
    out
}
