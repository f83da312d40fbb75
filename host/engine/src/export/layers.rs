//! The layers of one sub-network, with weights of their own.
//!
//! Names are those of the published specialised networks (`MobileNetV3` of once-for-all): blocks
//! are numbered without gaps, and `conv`, `bn` and `linear` stand once where the super-network
//! doubles them.

use crate::family::FamilyFault;
use crate::layout::{Kind, Layout, Squeeze, Unit};
use crate::model::Calibrated;
use crate::train::network::{Values, shrink};

/// A convolution with all that follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Name without its last part: `blocks.3.conv.depth_conv`.
    pub name: String,
    /// Geometry; what it says of the shared weights' rows does not hold for these.
    pub unit: Unit,
    /// `[outputs, inputs of a group, kernel, kernel]`.
    pub weight: Vec<f32>,
    /// Its normalisation.
    pub norm: Option<Norm>,
    /// Its squeeze-excite.
    pub excite: Option<Excite>,
}

/// Batch normalisation, one value a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// γ.
    pub scale: Vec<f32>,
    /// β.
    pub shift: Vec<f32>,
    /// µ.
    pub mean: Vec<f32>,
    /// σ².
    pub variance: Vec<f32>,
}

/// The two layers of squeeze-excite.
#[derive(Debug, Clone, PartialEq)]
pub struct Excite {
    /// Channels of the reduced layer.
    pub middle: usize,
    /// `[middle, channels]`.
    pub reduce: Vec<f32>,
    /// `[middle]`.
    pub reduce_bias: Vec<f32>,
    /// `[channels, middle]`.
    pub expand: Vec<f32>,
    /// `[channels]`.
    pub expand_bias: Vec<f32>,
}

/// The layers of a sub-network, the classifier aside.
///
/// # Errors
/// [`FamilyFault`] where the sub-network is not one of the layout's family.
///
/// # Panics
/// If values or statistics are not in the shape of the layout.
pub fn layers(
    layout: &Layout,
    values: &Values,
    calibrated: &Calibrated,
) -> Result<Vec<Layer>, FamilyFault> {
    layout.family().check_net(&calibrated.net)?;
    let units = layout.units(&calibrated.net);
    let count = units.len();
    let mut statistics = calibrated.statistics.iter();
    let layer = |(place, unit): (usize, Unit)| {
        let norm = unit.norm.map(|norm| {
            let (mean, variance) = statistics.next().expect("statistics of every unit");
            Norm {
                scale: values[norm][..unit.outputs].to_vec(),
                shift: values[norm + 1][..unit.outputs].to_vec(),
                mean: mean.clone(),
                variance: variance.clone(),
            }
        });
        Layer {
            name: name(place, count),
            weight: weight(&unit, values),
            norm,
            excite: unit.squeeze.map(|squeeze| excite(&unit, &squeeze, values)),
            unit,
        }
    };
    Ok(units.into_iter().enumerate().map(layer).collect())
}

/// Name of the unit at a place: stem, two units of the first block, three of each later one, two
/// of the head.
pub(crate) fn name(place: usize, count: usize) -> String {
    let parts = ["inverted_bottleneck", "depth_conv", "point_linear"];
    match place {
        0 => "first_conv".into(),
        _ if place + 2 == count => "final_expand_layer".into(),
        _ if place + 1 == count => "feature_mix_layer".into(),
        _ => format!("blocks.{}.conv.{}", place / 3, parts[place % 3]),
    }
}

fn weight(unit: &Unit, values: &Values) -> Vec<f32> {
    let whole = &values[unit.weight];
    match unit.kind {
        Kind::Depthwise => {
            let (kernel, _) = shrink(unit, values);
            let taps = unit.kernel * unit.kernel;
            let tap = |channel: usize, tap: usize| kernel[tap * unit.outputs + channel];
            (0..unit.outputs).flat_map(|c| (0..taps).map(move |t| tap(c, t))).collect()
        }
        Kind::Pointwise => cut(whole, unit.row, unit.outputs, unit.inputs),
        Kind::Dense => whole.clone(),
    }
}

fn excite(unit: &Unit, squeeze: &Squeeze, values: &Values) -> Excite {
    let (channels, middle) = (unit.outputs, squeeze.middle);
    Excite {
        middle,
        reduce: cut(&values[squeeze.reduce], squeeze.reduce_row, middle, channels),
        reduce_bias: values[squeeze.reduce + 1][..middle].to_vec(),
        expand: cut(&values[squeeze.expand], squeeze.expand_row, channels, middle),
        expand_bias: values[squeeze.expand + 1][..channels].to_vec(),
    }
}

/// The first `columns` of the first `rows` of a matrix with rows of `row` values.
fn cut(matrix: &[f32], row: usize, rows: usize, columns: usize) -> Vec<f32> {
    matrix.chunks_exact(row).take(rows).flat_map(|row| row[..columns].iter().copied()).collect()
}

impl Layer {
    /// Shape of the weight.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        let unit = &self.unit;
        let inputs = if unit.kind == Kind::Depthwise { 1 } else { unit.inputs };
        [unit.outputs, inputs, unit.kernel, unit.kernel]
    }

    /// Weight and bias with the normalisation folded in; no bias where there is none.
    #[must_use]
    pub fn folded(&self, epsilon: f32) -> (Vec<f32>, Option<Vec<f32>>) {
        let Some(norm) = &self.norm else { return (self.weight.clone(), None) };
        let mut weight = self.weight.clone();
        let row = weight.len() / norm.scale.len();
        let mut bias = Vec::with_capacity(norm.scale.len());
        for (channel, row) in weight.chunks_exact_mut(row).enumerate() {
            // In f64: a folded weight is rounded once.
            let deviation = f64::from(norm.variance[channel]) + f64::from(epsilon);
            let scale = f64::from(norm.scale[channel]) / deviation.sqrt();
            row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
            let shift = f64::from(norm.shift[channel]) - f64::from(norm.mean[channel]) * scale;
            bias.push(shift as f32);
        }
        (weight, Some(bias))
    }
}
