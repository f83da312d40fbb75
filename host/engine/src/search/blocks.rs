//! Latency as the sum of measured blocks: the look-up tables of once-for-all.
//!
//! A table is YAML of one form: a block's key (`expanded_conv-input:44x44x32-output:…:`) on a line
//! of its own, its figures (`mean`, ms) on indented lines below. Sums of such tables order
//! sub-networks well; on a GPU they came out at half of what was measured (2.05 to 2.28 times).

use std::collections::HashMap;
use std::path::Path;

use super::{Source, SourceFault};
use crate::family::{Activation, SubNet};
use crate::layout::{Kind, Layout, Unit};
use crate::tensors::{FileFault, read_text};

/// Largest file, bytes; the published ones have 15 kB.
const MOST_BYTES: u64 = 16 << 20;

/// Tables of one device, each for images of one size.
#[derive(Debug, Clone)]
pub struct BlockTable {
    layout: Layout,
    /// Mean latency, ms, by key, for each side of images: what does not depend on the side was
    /// measured once for each.
    tables: HashMap<usize, HashMap<String, f64>>,
}

impl BlockTable {
    /// Reads tables for a family.
    ///
    /// # Errors
    /// [`FileFault`] names the file and the line.
    pub fn read(paths: &[impl AsRef<Path>], layout: &Layout) -> Result<Self, FileFault> {
        let mut tables = HashMap::new();
        for path in paths {
            let path = path.as_ref();
            let name = path.display().to_string();
            let content = |why: String| FileFault::Content { path: name.clone(), why };
            let text = read_text(path, MOST_BYTES)?;
            let means = parse(&text).map_err(content)?;
            let side = side(&means).map_err(content)?;
            if tables.insert(side, means).is_some() {
                return Err(content(format!("a second table for images of {side} pixels")));
            }
        }
        Ok(Self { layout: layout.clone(), tables })
    }

    /// Key of a block: three units, or the two of the first one.
    fn block(units: &[Unit]) -> String {
        let (Some(first), Some(last)) = (units.first(), units.last()) else { return String::new() };
        let depthwise = &units[units.len() - 2];
        let (side, out) = (first.side, last.out_side());
        let flag = |flag: bool| u8::from(flag);
        format!(
            "expanded_conv-input:{side}x{side}x{}-output:{out}x{out}x{}-expand:{}-kernel:{}-stride:{}\
             -idskip:{}-se:{}-hs:{}",
            first.inputs,
            last.outputs,
            depthwise.outputs,
            depthwise.kernel,
            depthwise.stride,
            flag(last.closes_shortcut),
            flag(depthwise.squeeze.is_some()),
            flag(depthwise.activation == Some(Activation::HSwish)),
        )
    }
}

/// Side of the images that a table is for: the input of its first convolution.
fn side(means: &HashMap<String, f64>) -> Result<usize, String> {
    let mut first = means.keys().filter_map(|key| key.strip_prefix("Conv-input:"));
    let side = first.next().and_then(|key| key.split('x').next()?.parse().ok());
    match (side, first.next()) {
        (Some(side), None) => Ok(side),
        _ => Err("expected one block Conv-input:SIDExSIDEx…, for one size of images".into()),
    }
}

/// The means of a table.
fn parse(text: &str) -> Result<HashMap<String, f64>, String> {
    let (mut means, mut key) = (HashMap::new(), None);
    for (number, line) in text.lines().enumerate() {
        let at = |why: &str| format!("line {}: {why}", number + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            let name =
                line.strip_suffix(':').ok_or_else(|| at("expected a block's key and a colon"))?;
            key = Some(name.to_owned());
        } else if let Some(value) = line.trim().strip_prefix("mean:") {
            let mean = value.trim().parse::<f64>().ok().filter(|ms| ms.is_finite() && *ms >= 0.0);
            let mean = mean.ok_or_else(|| at("mean: expected a latency, ms"))?;
            let key = key.take().ok_or_else(|| at("a mean without a block"))?;
            if means.insert(key, mean).is_some() {
                return Err(at("this block is there twice"));
            }
        }
    }
    Ok(means)
}

impl Source for BlockTable {
    fn of(&self, net: &SubNet) -> Result<f64, SourceFault> {
        let units = self.layout.units(net);
        let family = self.layout.family();
        let key = |name: &str, side: usize, inputs: usize, out: usize, outputs: usize| {
            format!("{name}-input:{side}x{side}x{inputs}-output:{out}x{out}x{outputs}")
        };
        let side = family.side(net);
        let table = self.tables.get(&side).ok_or_else(|| {
            SourceFault(format!("there is no table of blocks for images of {side} pixels"))
        })?;
        let mean = |key: &str| {
            let mean = table.get(key).copied();
            mean.ok_or_else(|| SourceFault(format!("the table of blocks has no {key}")))
        };
        let mut sum = 0.0;
        let mut rest = &units[..];
        while let Some(unit) = rest.first() {
            let (side, out) = (unit.side, unit.out_side());
            let (count, key) = match unit.kind {
                Kind::Dense => (1, key("Conv", side, unit.inputs, out, unit.outputs)),
                Kind::Depthwise => (2, Self::block(&rest[..2])),
                Kind::Pointwise if unit.pools => {
                    sum += mean(&key("AvgPool2D", side, unit.inputs, 1, unit.inputs))?;
                    (1, key("Conv_2", 1, unit.inputs, 1, unit.outputs))
                }
                Kind::Pointwise if rest.len() == 2 => {
                    (1, key("Conv_1", side, unit.inputs, out, unit.outputs))
                }
                Kind::Pointwise => (3, Self::block(&rest[..3])),
            };
            sum += mean(&key)?;
            rest = &rest[count..];
        }
        let (features, classes) = (family.feature_mix, family.classes);
        sum += mean(&format!("Logits-input:1x1x{features}-output:{classes}"))?;
        Ok(sum)
    }

    fn knows_side(&self, side: usize) -> bool {
        self.tables.contains_key(&side)
    }
}
