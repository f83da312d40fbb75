//! A sub-network as an ONNX model: opset 13, `f32`, normalisations folded into the convolutions.
//!
//! Input `images` `[batch, channels, height, width]`, normalised as in training; output `logits`
//! `[batch, classes]`; the batch is free. Operators: `Conv`, `Relu`, `HardSigmoid`, `Mul`, `Add`,
//! `GlobalAveragePool`, `Flatten`, `Gemm`. H-swish is x·h-sigmoid(x): an operator of its own came
//! with opset 14. Numbers of fields and types: `onnx.proto` of ONNX.

use super::layers::{Excite, Layer, layers};
use super::proto::Message;
use crate::family::{Activation, FamilyFault};
use crate::layout::{Kind, Layout};
use crate::model::Calibrated;
use crate::train::network::Values;

/// Version of the operators.
pub const OPSET: u64 = 13;

/// Version of the file format that came with that opset.
const IR_VERSION: u64 = 7;

/// `TensorProto.DataType.FLOAT`.
const FLOAT: u64 = 1;

/// A sub-network as an ONNX file. `about` are entries of the file's metadata, beside `family` and
/// `sub_network`.
///
/// # Errors
/// [`FamilyFault`] where the sub-network is not one of the layout's family.
///
/// # Panics
/// If values or statistics are not in the shape of the layout.
pub fn onnx(
    layout: &Layout,
    values: &Values,
    calibrated: &Calibrated,
    about: &[(&str, &str)],
) -> Result<Vec<u8>, FamilyFault> {
    let (family, layers) = (layout.family(), layers(layout, values, calibrated)?);
    let side = family.side(&calibrated.net) as u64;
    let mut graph = Graph::default();
    graph.message.text(2, &family.name);
    let mut x = "images".to_owned();
    let mut shortcut = String::new();
    for layer in &layers {
        x = graph.layer(layer, family.bn_epsilon, x, &mut shortcut);
    }
    let flat = graph.node("Flatten", &[&x], "classifier.flatten", &[("axis", Value::Int(1))]);
    let classifier = layout.classifier();
    let name = "classifier.linear";
    let weight = [family.classes, family.feature_mix];
    let weight = graph.tensor(format!("{name}.weight"), &weight, &values[classifier]);
    let bias = graph.tensor(format!("{name}.bias"), &[family.classes], &values[classifier + 1]);
    graph.node("Gemm", &[&flat, &weight, &bias], "logits", &[("transB", Value::Int(1))]);
    let channels = family.image_channels as u64;
    graph.message.message(11, &port("images", &[channels, side, side]));
    graph.message.message(12, &port("logits", &[family.classes as u64]));
    let mut model = Message::default();
    model.int(1, IR_VERSION);
    model.text(2, env!("CARGO_PKG_NAME"));
    model.text(3, env!("CARGO_PKG_VERSION"));
    model.message(7, &graph.message);
    let mut opset = Message::default();
    opset.text(1, "");
    opset.int(2, OPSET);
    model.message(8, &opset);
    let net = serde_json::to_string(&calibrated.net).unwrap_or_default();
    let own = [("family", family.name.as_str()), ("sub_network", net.as_str())];
    for (key, value) in own.iter().chain(about) {
        let mut entry = Message::default();
        entry.text(1, key);
        entry.text(2, value);
        model.message(14, &entry);
    }
    Ok(model.into_bytes())
}

/// An input or output of the model: name, free batch, the other sizes.
fn port(name: &str, sizes: &[u64]) -> Message {
    let mut shape = Message::default();
    let mut batch = Message::default();
    batch.text(2, "batch");
    shape.message(1, &batch);
    for size in sizes {
        let mut dimension = Message::default();
        dimension.int(1, *size);
        shape.message(1, &dimension);
    }
    let mut tensor = Message::default();
    tensor.int(1, FLOAT);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut port = Message::default();
    port.text(1, name);
    port.message(2, &kind);
    port
}

/// Value of an attribute.
#[derive(Debug, Clone, Copy)]
enum Value {
    Int(usize),
    Float(f32),
    Ints([usize; 4]),
    Pair(usize),
}

impl Value {
    fn attribute(self, name: &str) -> Message {
        let mut attribute = Message::default();
        attribute.text(1, name);
        let kind = match self {
            Self::Float(value) => {
                attribute.float(2, value);
                1
            }
            Self::Int(value) => {
                attribute.int(3, value as u64);
                2
            }
            Self::Ints(values) => {
                values.iter().for_each(|value| attribute.int(8, *value as u64));
                7
            }
            Self::Pair(value) => {
                [value; 2].iter().for_each(|value| attribute.int(8, *value as u64));
                7
            }
        };
        attribute.int(20, kind);
        attribute
    }
}

/// The graph of a model, node after node.
#[derive(Debug, Default)]
struct Graph {
    message: Message,
}

impl Graph {
    /// Adds a node with one output, which also names it; gives the output.
    fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Value)],
    ) -> String {
        let mut node = Message::default();
        inputs.iter().for_each(|input| node.text(1, input));
        node.text(2, output);
        node.text(3, output);
        node.text(4, operator);
        attributes.iter().for_each(|(name, value)| node.message(5, &value.attribute(name)));
        self.message.message(1, &node);
        output.to_owned()
    }

    /// Adds a constant; gives its name.
    fn tensor(&mut self, name: String, shape: &[usize], data: &[f32]) -> String {
        let mut tensor = Message::default();
        shape.iter().for_each(|size| tensor.int(1, *size as u64));
        tensor.int(2, FLOAT);
        tensor.text(8, &name);
        let bytes: Vec<u8> = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensor.bytes(9, &bytes);
        self.message.message(5, &tensor);
        name
    }

    /// Adds a layer; gives its output.
    fn layer(
        &mut self,
        layer: &Layer,
        epsilon: f32,
        mut x: String,
        shortcut: &mut String,
    ) -> String {
        let (unit, name) = (&layer.unit, &layer.name);
        if unit.pools {
            x = self.node("GlobalAveragePool", &[&x], &format!("{name}.pool"), &[]);
        }
        if unit.opens_shortcut {
            shortcut.clone_from(&x);
        }
        let (weight, bias) = layer.folded(epsilon);
        let weight = self.tensor(format!("{name}.weight"), &layer.shape(), &weight);
        let bias = bias.map(|bias| self.tensor(format!("{name}.bias"), &[unit.outputs], &bias));
        let mut inputs = vec![x.as_str(), &weight];
        inputs.extend(bias.as_deref());
        let group = if unit.kind == Kind::Depthwise { unit.outputs } else { 1 };
        let attributes = [
            ("group", Value::Int(group)),
            ("kernel_shape", Value::Pair(unit.kernel)),
            ("pads", Value::Ints([unit.kernel / 2; 4])),
            ("strides", Value::Pair(unit.stride)),
        ];
        let mut x = self.node("Conv", &inputs, &format!("{name}.conv"), &attributes);
        match unit.activation {
            None => {}
            Some(Activation::Relu) => {
                x = self.node("Relu", &[&x], &format!("{name}.relu"), &[]);
            }
            Some(Activation::HSwish) => {
                let gate = self.gate(&x, format!("{name}.gate"));
                x = self.node("Mul", &[&x, &gate], &format!("{name}.h_swish"), &[]);
            }
        }
        if let Some(excite) = &layer.excite {
            x = self.excite(layer, excite, &x);
        }
        if unit.closes_shortcut {
            x = self.node("Add", &[&x, shortcut], &format!("{name}.sum"), &[]);
        }
        x
    }

    /// Adds min(max(x + 3, 0), 6)/6.
    fn gate(&mut self, x: &str, name: String) -> String {
        let slope = [("alpha", Value::Float(1.0 / 6.0)), ("beta", Value::Float(0.5))];
        self.node("HardSigmoid", &[x], &name, &slope)
    }

    fn excite(&mut self, layer: &Layer, excite: &Excite, x: &str) -> String {
        let (name, channels) = (format!("{}.se", layer.name), layer.unit.outputs);
        let means = self.node("GlobalAveragePool", &[x], &format!("{name}.pool"), &[]);
        let point = [("kernel_shape", Value::Pair(1))];
        let reduce = format!("{name}.fc.reduce");
        let shape = [excite.middle, channels, 1, 1];
        let weight = self.tensor(format!("{reduce}.weight"), &shape, &excite.reduce);
        let bias = self.tensor(format!("{reduce}.bias"), &[excite.middle], &excite.reduce_bias);
        let reduced = self.node("Conv", &[&means, &weight, &bias], &reduce, &point);
        let reduced = self.node("Relu", &[&reduced], &format!("{name}.relu"), &[]);
        let expand = format!("{name}.fc.expand");
        let shape = [channels, excite.middle, 1, 1];
        let weight = self.tensor(format!("{expand}.weight"), &shape, &excite.expand);
        let bias = self.tensor(format!("{expand}.bias"), &[channels], &excite.expand_bias);
        let expanded = self.node("Conv", &[&reduced, &weight, &bias], &expand, &point);
        let gate = self.gate(&expanded, format!("{name}.gate"));
        self.node("Mul", &[x, &gate], &format!("{name}.scaled"), &[])
    }
}
