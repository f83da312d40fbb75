//! Inference: one resident set of weights, a sub-network by its index.
//!
//! The weights are held once. Beside them each sub-network has what cannot be shared: its units, the
//! folded scale and shift of each normalisation, and its shrunk depthwise kernels. A switch is the
//! index of the next call. Feature maps live in a [`Workspace`] of the caller's, sized for the largest
//! sub-network at the first call.

use std::path::Path;

use crate::family::FamilyFault;
use crate::kernels::{depthwise, elementwise, pointwise, squeeze};
use crate::layout::{Kind, Layout, Unit};
use crate::model::{self, Calibrated, Loaded, Model};
use crate::tensors::FileFault;
use crate::train::network::{Values, patches, pool, shape, shrink, squeeze_layers};

/// Why a call cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunFault {
    /// There is no such sub-network.
    #[error("sub-network {index}: the model has 0 to {last}")]
    Index {
        /// The index asked for.
        index: usize,
        /// The largest index.
        last: usize,
    },
    /// The values are not whole images.
    #[error(
        "images: {found} values, expected a multiple of {expected} (height × width × channels)"
    )]
    Images {
        /// Values given.
        found: usize,
        /// Values of one image.
        expected: usize,
    },
}

/// A super-network ready to run.
#[derive(Debug)]
pub struct Network {
    layout: Layout,
    values: Values,
    ready: Vec<Ready>,
    /// Values of one image in the largest feature map, shortcut and patches.
    sizes: Sizes,
}

/// Feature maps of one caller.
#[derive(Debug, Default)]
pub struct Workspace {
    x: Vec<f32>,
    y: Vec<f32>,
    shortcut: Vec<f32>,
    patches: Vec<f32>,
    logits: Vec<f32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    map: usize,
    shortcut: usize,
    patches: usize,
}

/// What one sub-network has of its own.
#[derive(Debug)]
struct Ready {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    unit: Unit,
    /// Folded normalisation.
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// Depthwise: `[taps, channels]`.
    kernel: Vec<f32>,
}

impl Workspace {
    /// Bytes held. They grow at the first call, and later only for more images a call.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let held = [&self.x, &self.y, &self.shortcut, &self.patches, &self.logits];
        held.iter().map(|values| values.capacity() * size_of::<f32>()).sum()
    }
}

impl Network {
    /// Loads a model folder: its description, weights and statistics.
    ///
    /// # Errors
    /// [`FileFault`] names the file, the tensor and the expectation.
    pub fn load(folder: &Path) -> Result<(Self, Model), FileFault> {
        let Loaded { model, layout, values, nets } = Loaded::read(folder)?;
        let network = Self::new(layout, values, &nets).map_err(|fault| FileFault::Content {
            path: folder.join(model::FILE).display().to_string(),
            why: fault.to_string(),
        })?;
        Ok((network, model))
    }

    /// A network of values in memory and calibrated sub-networks.
    ///
    /// # Errors
    /// [`FamilyFault`] where a sub-network is not one of the layout's family.
    ///
    /// # Panics
    /// If values or statistics are not in the shape of the layout.
    pub fn new(layout: Layout, values: Values, nets: &[Calibrated]) -> Result<Self, FamilyFault> {
        let mut ready = Vec::with_capacity(nets.len());
        let mut sizes = Sizes::default();
        for Calibrated { net, statistics } in nets {
            layout.family().check_net(net)?;
            let units = layout.units(net);
            sizes.cover(&layout, &units);
            let mut norms = statistics.iter();
            let steps = units
                .into_iter()
                .map(|unit| {
                    let (scale, shift) = match unit.norm {
                        Some(norm) => {
                            let (mean, variance) = norms.next().expect("statistics of every unit");
                            folded(&values, norm, mean, variance, layout.family().bn_epsilon)
                        }
                        None => (vec![1.0; unit.outputs], vec![0.0; unit.outputs]),
                    };
                    let depthwise = unit.kind == Kind::Depthwise;
                    let kernel = if depthwise { shrink(&unit, &values).0 } else { Vec::new() };
                    Step { unit, scale, shift, kernel }
                })
                .collect();
            ready.push(Ready { steps });
        }
        Ok(Self { layout, values, ready, sizes })
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Number of sub-networks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Values of one image: height × width × channels.
    #[must_use]
    pub fn image_len(&self) -> usize {
        let family = self.layout.family();
        family.resolution * family.resolution * family.image_channels
    }

    /// Runs sub-network `index` on images `[batch, height, width, channels]`, normalised as in its
    /// training; gives the logits `[batch, classes]`.
    ///
    /// After the first call with as many images the workspace does not grow; the matrix product still
    /// packs into buffers that it allocates for itself, after a switch as without one.
    ///
    /// # Errors
    /// [`RunFault`]: no such sub-network, or not whole images.
    pub fn run<'a>(
        &self,
        index: usize,
        images: &[f32],
        space: &'a mut Workspace,
    ) -> Result<&'a [f32], RunFault> {
        let ready = self
            .ready
            .get(index)
            .ok_or(RunFault::Index { index, last: self.ready.len().saturating_sub(1) })?;
        let expected = self.image_len();
        if images.is_empty() || !images.len().is_multiple_of(expected) {
            return Err(RunFault::Images { found: images.len(), expected });
        }
        let batch = images.len() / expected;
        let (family, classes) = (self.layout.family(), self.layout.family().classes);
        space.reserve(&self.sizes, batch, classes);
        let Workspace { x, y, shortcut, patches: columns, logits } = space;
        x[..images.len()].copy_from_slice(images);
        let (mut side, mut channels) = (family.resolution, family.image_channels);
        for Step { unit, scale, shift, kernel } in &ready.steps {
            if unit.pools {
                let (from, to) = (batch * side * side * channels, batch * channels);
                pool(&x[..from], side * side, channels, &mut y[..to]);
                std::mem::swap(x, y);
                side = 1;
            }
            let input = &x[..batch * side * side * channels];
            if unit.opens_shortcut {
                shortcut[..input.len()].copy_from_slice(input);
            }
            let out_side = side.div_ceil(unit.stride);
            let out = batch * out_side * out_side * unit.outputs;
            let conv = &mut y[..out];
            match unit.kind {
                Kind::Pointwise => {
                    let weight = &self.values[unit.weight];
                    pointwise::forward(input, weight, unit.row, unit.inputs, unit.outputs, conv);
                }
                Kind::Dense => {
                    let row = unit.inputs * 9;
                    let columns = &mut columns[..batch * out_side * out_side * row];
                    patches(input, batch, side, side, unit, columns);
                    let weight = &self.values[unit.weight];
                    pointwise::forward(columns, weight, row, row, unit.outputs, conv);
                }
                Kind::Depthwise => {
                    depthwise::forward(input, kernel, shape(unit, batch, side, side), conv);
                }
            }
            // The input is no longer needed: its place takes the output.
            elementwise::scale_shift(conv, scale, shift, unit.activation, &mut x[..out]);
            if let Some(squeeze) = unit.squeeze {
                let layers = squeeze_layers(unit, &squeeze, &self.values);
                squeeze::forward(&layers, out_side * out_side, &mut x[..out]);
            }
            if unit.closes_shortcut {
                x[..out].iter_mut().zip(&shortcut[..out]).for_each(|(x, kept)| *x += kept);
            }
            (side, channels) = (out_side, unit.outputs);
        }
        let logits = &mut logits[..batch * classes];
        let classifier = self.layout.classifier();
        let (weight, bias) = (&self.values[classifier], &self.values[classifier + 1]);
        pointwise::forward(&x[..batch * channels], weight, channels, channels, classes, logits);
        for row in logits.chunks_exact_mut(classes) {
            row.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
        }
        Ok(logits)
    }
}

impl Sizes {
    /// Grows to what these units need for one image.
    fn cover(&mut self, layout: &Layout, units: &[Unit]) {
        let mut side = layout.family().resolution;
        for unit in units {
            let area = side * side;
            self.map = self.map.max(area * unit.inputs);
            side = if unit.pools { 1 } else { side.div_ceil(unit.stride) };
            let area_out = side * side;
            self.map = self.map.max(area_out * unit.outputs);
            if unit.opens_shortcut {
                self.shortcut = self.shortcut.max(area * unit.inputs);
            }
            if unit.kind == Kind::Dense {
                self.patches = self.patches.max(area_out * unit.inputs * 9);
            }
        }
    }
}

impl Workspace {
    fn reserve(&mut self, sizes: &Sizes, batch: usize, classes: usize) {
        let needs = [
            (&mut self.x, sizes.map),
            (&mut self.y, sizes.map),
            (&mut self.shortcut, sizes.shortcut),
            (&mut self.patches, sizes.patches),
            (&mut self.logits, classes),
        ];
        for (values, size) in needs {
            if values.len() < batch * size {
                values.resize(batch * size, 0.0);
            }
        }
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
