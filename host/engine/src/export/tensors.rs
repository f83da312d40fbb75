//! A sub-network as safetensors: the weights cut out, normalisations as they are.

use super::layers::layers;
use crate::family::FamilyFault;
use crate::layout::Layout;
use crate::model::Calibrated;
use crate::tensors::TensorWriter;
use crate::train::network::Values;

/// The tensors of a sub-network, under the names of the published specialised networks
/// (`blocks.3.conv.point_linear.{conv.weight,bn.weight,bn.bias,bn.running_mean,bn.running_var}`, …).
/// The metadata says `family` and `sub_network`, both as JSON.
///
/// # Errors
/// [`FamilyFault`] where the sub-network is not one of the layout's family.
///
/// # Panics
/// If values or statistics are not in the shape of the layout.
pub fn safetensors(
    layout: &Layout,
    values: &Values,
    calibrated: &Calibrated,
) -> Result<TensorWriter, FamilyFault> {
    let family = layout.family();
    let mut file = TensorWriter::default();
    for layer in layers(layout, values, calibrated)? {
        let name = &layer.name;
        file.tensor(&format!("{name}.conv.weight"), &layer.shape(), &layer.weight);
        let channels = layer.unit.outputs;
        if let Some(norm) = &layer.norm {
            let parts = [
                ("weight", &norm.scale),
                ("bias", &norm.shift),
                ("running_mean", &norm.mean),
                ("running_var", &norm.variance),
            ];
            for (part, data) in parts {
                file.tensor(&format!("{name}.bn.{part}"), &[channels], data);
            }
        }
        if let Some(excite) = &layer.excite {
            let (fc, middle) = (format!("{name}.se.fc"), excite.middle);
            file.tensor(&format!("{fc}.reduce.weight"), &[middle, channels, 1, 1], &excite.reduce);
            file.tensor(&format!("{fc}.reduce.bias"), &[middle], &excite.reduce_bias);
            file.tensor(&format!("{fc}.expand.weight"), &[channels, middle, 1, 1], &excite.expand);
            file.tensor(&format!("{fc}.expand.bias"), &[channels], &excite.expand_bias);
        }
    }
    let (name, classifier) = ("classifier.linear", layout.classifier());
    let shape = [family.classes, family.feature_mix];
    file.tensor(&format!("{name}.weight"), &shape, &values[classifier]);
    file.tensor(&format!("{name}.bias"), &[family.classes], &values[classifier + 1]);
    file.metadata("family", &serde_json::to_string(family).unwrap_or_default());
    file.metadata("sub_network", &serde_json::to_string(&calibrated.net).unwrap_or_default());
    Ok(file)
}
