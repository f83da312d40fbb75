//! A reader of ONNX files and an evaluator of the few operators in them, by their definitions
//! (onnx/docs/Operators.md), for tests.

use std::collections::HashMap;

/// A field of a message: its number, and its varint or its bytes.
pub(crate) enum Field<'a> {
    Int(u64),
    Bytes(&'a [u8]),
    Fixed(f32),
}

/// The fields of a message.
pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for place in 0.. {
            let (first, rest) = bytes.split_first().expect("a whole varint");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << (7 * place);
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Int(varint(&mut bytes)),
            2 => {
                let length = varint(&mut bytes) as usize;
                let (inner, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(inner)
            }
            5 => {
                let (value, rest) = bytes.split_at(4);
                bytes = rest;
                Field::Fixed(f32::from_le_bytes(value.try_into().unwrap()))
            }
            wire => panic!("wire type {wire}"),
        };
        fields.push((tag >> 3, field));
    }
    fields
}

fn ints(bytes: &[u8], field: u64) -> Vec<u64> {
    let int = |(number, value)| match value {
        Field::Int(value) if number == field => Some(value),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(int).collect()
}

fn parts(bytes: &[u8], field: u64) -> Vec<&[u8]> {
    let part = |(number, value)| match value {
        Field::Bytes(value) if number == field => Some(value),
        _ => None,
    };
    fields(bytes).into_iter().filter_map(part).collect()
}

fn texts(bytes: &[u8], field: u64) -> Vec<String> {
    parts(bytes, field).into_iter().map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

/// A node of the graph.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) operator: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) output: String,
    ints: HashMap<String, Vec<u64>>,
    floats: HashMap<String, f32>,
}

/// Shape and values.
pub(crate) type Array = (Vec<usize>, Vec<f32>);

/// A model read.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) opset: u64,
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tensors: HashMap<String, Array>,
    /// Name and sizes; 0 = free.
    pub(crate) inputs: Vec<(String, Vec<usize>)>,
    pub(crate) outputs: Vec<(String, Vec<usize>)>,
}

impl Model {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let [graph] = parts(bytes, 7)[..] else { panic!("not one graph") };
        let [opset] = parts(bytes, 8)[..] else { panic!("not one opset") };
        let entry = |entry: &[u8]| (texts(entry, 1).remove(0), texts(entry, 2).remove(0));
        let node = |node: &[u8]| {
            let (mut whole, mut floats) = (HashMap::new(), HashMap::new());
            for attribute in parts(node, 5) {
                let name = texts(attribute, 1).remove(0);
                match ints(attribute, 20)[..] {
                    [1] => {
                        let found = fields(attribute).into_iter().find_map(|f| match f.1 {
                            Field::Fixed(value) => Some(value),
                            _ => None,
                        });
                        floats.insert(name, found.unwrap());
                    }
                    [2] => drop(whole.insert(name, ints(attribute, 3))),
                    [7] => drop(whole.insert(name, ints(attribute, 8))),
                    _ => panic!("{name}: its type"),
                }
            }
            Node {
                operator: texts(node, 4).remove(0),
                inputs: texts(node, 1),
                output: texts(node, 2).remove(0),
                ints: whole,
                floats,
            }
        };
        let tensor = |tensor: &[u8]| {
            assert_eq!(ints(tensor, 2), [1], "f32");
            let shape: Vec<usize> = ints(tensor, 1).into_iter().map(|size| size as usize).collect();
            let values: Vec<f32> = parts(tensor, 9)[0]
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
                .collect();
            assert_eq!(shape.iter().product::<usize>(), values.len());
            (texts(tensor, 8).remove(0), (shape, values))
        };
        let port = |port: &[u8]| {
            let kind = parts(parts(port, 2)[0], 1)[0];
            assert_eq!(ints(kind, 1), [1], "f32");
            let size = |size: &[u8]| ints(size, 1).first().map_or(0, |size| *size as usize);
            let sizes = parts(parts(kind, 2)[0], 1).into_iter().map(size).collect();
            (texts(port, 1).remove(0), sizes)
        };
        Self {
            opset: ints(opset, 2)[0],
            metadata: parts(bytes, 14).into_iter().map(entry).collect(),
            nodes: parts(graph, 1).into_iter().map(node).collect(),
            tensors: parts(graph, 5).into_iter().map(tensor).collect(),
            inputs: parts(graph, 11).into_iter().map(port).collect(),
            outputs: parts(graph, 12).into_iter().map(port).collect(),
        }
    }

    /// The one output for the one input.
    pub(crate) fn run(&self, input: Array) -> Array {
        let mut known: HashMap<&str, Array> = HashMap::new();
        known.insert(&self.inputs[0].0, input);
        for node in &self.nodes {
            let inputs: Vec<&Array> = node
                .inputs
                .iter()
                .map(|name| {
                    let array = known.get(name.as_str()).or_else(|| self.tensors.get(name));
                    array.unwrap_or_else(|| panic!("{name} is used before it is made"))
                })
                .collect();
            let output = node.run(&inputs);
            assert!(known.insert(&node.output, output).is_none(), "{} is made twice", node.output);
        }
        known.remove(self.outputs[0].0.as_str()).expect("the output")
    }
}

impl Node {
    fn int(&self, name: &str) -> usize {
        self.ints[name][0] as usize
    }

    fn run(&self, inputs: &[&Array]) -> Array {
        let (shape, x) = inputs[0];
        let each = |f: &dyn Fn(f32) -> f32| (shape.clone(), x.iter().map(|x| f(*x)).collect());
        match self.operator.as_str() {
            "Relu" => each(&|x| x.max(0.0)),
            "HardSigmoid" => {
                let (alpha, beta) = (self.floats["alpha"], self.floats["beta"]);
                each(&|x| (alpha * x + beta).clamp(0.0, 1.0))
            }
            "Add" => {
                assert_eq!(shape, &inputs[1].0);
                (shape.clone(), x.iter().zip(&inputs[1].1).map(|(a, b)| a + b).collect())
            }
            "Mul" => {
                // Of one shape, or one factor a channel.
                let factors = &inputs[1].1;
                let repeat = x.len() / factors.len();
                assert_eq!(inputs[1].0[..2], shape[..2]);
                let product = x.iter().enumerate().map(|(at, x)| x * factors[at / repeat]);
                (shape.clone(), product.collect())
            }
            "GlobalAveragePool" => {
                let area = shape[2] * shape[3];
                let mean = |pixels: &[f32]| pixels.iter().sum::<f32>() / area as f32;
                (vec![shape[0], shape[1], 1, 1], x.chunks_exact(area).map(mean).collect())
            }
            "Flatten" => {
                assert_eq!(self.int("axis"), 1);
                (vec![shape[0], shape[1..].iter().product()], x.clone())
            }
            "Gemm" => {
                assert_eq!(self.int("transB"), 1);
                let [outputs, row] = inputs[1].0[..] else { panic!("{:?}", inputs[1].0) };
                gemm(x, &inputs[1].1, row, outputs, &inputs[2].1)
            }
            "Conv" => self.conv(inputs),
            other => panic!("operator {other}"),
        }
    }

    fn conv(&self, inputs: &[&Array]) -> Array {
        let ((shape, x), (weight_shape, weight)) = (inputs[0], inputs[1]);
        let [batch, channels, height, width] = shape[..] else { panic!("{shape:?}") };
        let [outputs, group_inputs, kernel, _] = weight_shape[..] else { panic!() };
        let group = self.ints.get("group").map_or(1, |group| group[0] as usize);
        let stride = self.ints.get("strides").map_or(1, |strides| strides[0] as usize);
        let pad = self.ints.get("pads").map_or(0, |pads| pads[0] as usize);
        assert_eq!(self.ints["kernel_shape"], [kernel as u64; 2]);
        assert_eq!(channels, group_inputs * group);
        let out = |size: usize| (size + 2 * pad - kernel) / stride + 1;
        let (out_height, out_width) = (out(height), out(width));
        let mut y = Vec::with_capacity(batch * outputs * out_height * out_width);
        for image in x.chunks_exact(channels * height * width) {
            for output in 0..outputs {
                let first = output / (outputs / group) * group_inputs;
                let bias = inputs.get(2).map_or(0.0, |bias| bias.1[output]);
                let mut map = vec![bias; out_height * out_width];
                for input in 0..group_inputs {
                    let plane = &image[(first + input) * height * width..][..height * width];
                    for tap in 0..kernel * kernel {
                        let at = (output * group_inputs + input) * kernel * kernel + tap;
                        let (dy, dx) = (tap / kernel, tap % kernel);
                        for (row, line) in map.chunks_exact_mut(out_width).enumerate() {
                            let Some(from) = (row * stride + dy).checked_sub(pad) else { continue };
                            if from >= height {
                                continue;
                            }
                            for (column, y) in line.iter_mut().enumerate() {
                                let place = (column * stride + dx).wrapping_sub(pad);
                                if place < width {
                                    *y += weight[at] * plane[from * width + place];
                                }
                            }
                        }
                    }
                }
                y.extend(map);
            }
        }
        (vec![batch, outputs, out_height, out_width], y)
    }
}

fn gemm(x: &[f32], weight: &[f32], row: usize, outputs: usize, bias: &[f32]) -> Array {
    let mut y = Vec::new();
    for x in x.chunks_exact(row) {
        y.extend(
            weight
                .chunks_exact(row)
                .zip(bias)
                .map(|(weight, bias)| weight.iter().zip(x).map(|(w, x)| w * x).sum::<f32>() + bias),
        );
    }
    (vec![y.len() / outputs, outputs], y)
}
