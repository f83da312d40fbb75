//! The description of a model folder: `model.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::family::{Family, SubNet};
use crate::layout::Layout;
use crate::tensors::{FileFault, TensorFile, TensorWriter, read_text, write_whole};
use crate::train::network::{Statistics, Values};

/// File name of the description inside a model folder.
pub const FILE: &str = "model.json";

/// Largest description that is read, bytes: some kilobytes a sub-network and thousands of them.
pub const MOST_BYTES: u64 = 1 << 24;

/// A trained super-network and the sub-networks chosen from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The super-network.
    pub family: Family,
    /// File name of the weights inside the folder.
    pub weights: String,
    /// [`crate::tensors::hash`] of the weight file, 16 hexadecimal digits: what a policy image names
    /// the model by.
    pub model_hash: String,
    /// Where the accuracies were published, where they are published ones that nobody measured with
    /// this folder's weights; `None` = measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// The sub-networks, in ascending accuracy.
    pub sub_networks: Vec<SubNetwork>,
}

/// A sub-network of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubNetwork {
    /// Place in the list.
    pub index: usize,
    /// Published name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its configuration.
    pub net: SubNet,
    /// Multiply-accumulates of one image.
    pub macs: u64,
    /// Parameters in use, normalisations folded.
    pub params: u64,
    /// Blocks in use, the first one of the family included.
    pub blocks: usize,
    /// Top-1 accuracy on the test set, %.
    pub accuracy_pct: f64,
    /// Images the accuracy was measured on; 0 where it is a published one.
    pub images: usize,
    /// Top-1 accuracy on the images in the model folder, %: what anybody can measure again without
    /// the whole test set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipped_accuracy_pct: Option<f64>,
}

impl Model {
    /// The hash as the number a policy image holds, `None` where it is not one.
    #[must_use]
    pub fn hash(&self) -> Option<u64> {
        let digits = self.model_hash.len() == 16;
        u64::from_str_radix(&self.model_hash, 16).ok().filter(|_| digits)
    }

    /// Reads and checks the description in a model folder.
    ///
    /// # Errors
    /// [`FileFault`] names the file and what does not hold in it.
    pub fn read(folder: &Path) -> Result<Self, FileFault> {
        let path = folder.join(FILE);
        let text = read_text(&path, MOST_BYTES)?;
        let content = |why: String| FileFault::Content { path: path.display().to_string(), why };
        let model: Self = serde_json::from_str(&text)
            .map_err(|error| content(format!("not a model description: {error}")))?;
        model.check().map_err(content)?;
        Ok(model)
    }

    /// Writes the description into a model folder.
    ///
    /// # Errors
    /// [`FileFault`]: the description does not hold, or the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), FileFault> {
        let path = folder.join(FILE);
        let content = |why: String| FileFault::Content { path: path.display().to_string(), why };
        self.check().map_err(content)?;
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| content(error.to_string()))?;
        text.push('\n');
        write_whole(&path, text.as_bytes())
    }

    /// Checks what [`Model::read`] does and [`Model::write`] does.
    ///
    /// # Errors
    /// In words, what does not hold.
    pub fn check(&self) -> Result<(), String> {
        let layout = Layout::new(&self.family).map_err(|fault| fault.to_string())?;
        if self.hash().is_none() {
            return Err(format!(
                "model_hash is {:?}, expected 16 hexadecimal digits",
                self.model_hash
            ));
        }
        // A name with a folder in it would read a file from somewhere else.
        if Path::new(&self.weights).file_name().is_none_or(|name| name != self.weights.as_str()) {
            return Err(format!("weights is {:?}, expected a file name", self.weights));
        }
        if self.sub_networks.is_empty() {
            return Err("sub_networks is empty, expected at least one".into());
        }
        for (place, sub) in self.sub_networks.iter().enumerate() {
            let at = |why: String| format!("sub_networks[{place}]: {why}");
            if sub.index != place {
                return Err(at(format!("index is {}, expected {place}", sub.index)));
            }
            self.family.check_net(&sub.net).map_err(|fault| at(fault.to_string()))?;
            let (macs, params) = layout.cost(&sub.net);
            let blocks = blocks(&sub.net);
            if (sub.macs, sub.params, sub.blocks) != (macs, params, blocks) {
                return Err(at(format!(
                    "macs, params, blocks are {}, {}, {}, expected {macs}, {params}, {blocks}",
                    sub.macs, sub.params, sub.blocks
                )));
            }
            if !(0.0..=100.0).contains(&sub.accuracy_pct) {
                return Err(at(format!("accuracy_pct is {}, expected 0 to 100", sub.accuracy_pct)));
            }
            if place > 0 && self.sub_networks[place - 1].accuracy_pct > sub.accuracy_pct {
                return Err(at(
                    "less accurate than the one before, expected ascending order".into()
                ));
            }
        }
        Ok(())
    }
}

/// Blocks of a sub-network, the first, not elastic, one included.
#[must_use]
pub fn blocks(net: &SubNet) -> usize {
    1 + net.depths.iter().sum::<usize>()
}

/// Names of the statistics of a sub-network's normalised unit in the weight file: mean, variance.
#[must_use]
pub fn statistics_names(index: usize, unit: usize) -> [String; 2] {
    ["mean", "variance"].map(|what| format!("sub_network.{index}.norm.{unit}.{what}"))
}

/// A sub-network with the statistics it normalises by.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// The sub-network.
    pub net: SubNet,
    /// Mean and variance of each normalised unit.
    pub statistics: Statistics,
}

/// A model folder read whole.
#[derive(Debug)]
pub struct Loaded {
    /// Its description.
    pub model: Model,
    /// The layout of its family.
    pub layout: Layout,
    /// The shared parameters.
    pub values: Values,
    /// Its sub-networks with their statistics, in the description's order.
    pub nets: Vec<Calibrated>,
}

impl Loaded {
    /// Reads a model folder: its description, weights and statistics.
    ///
    /// # Errors
    /// [`FileFault`] names the file, the tensor and the expectation.
    pub fn read(folder: &Path) -> Result<Self, FileFault> {
        let model = Model::read(folder)?;
        let file = TensorFile::read(&folder.join(&model.weights))?;
        let content = |why: String| FileFault::Content { path: file.path().to_owned(), why };
        let found = format!("{:016x}", file.hash());
        if found != model.model_hash.to_lowercase() {
            return Err(content(format!(
                "its hash is {found}, expected {} as {} says",
                model.model_hash,
                folder.join(FILE).display()
            )));
        }
        let layout = Layout::new(&model.family).map_err(|fault| content(fault.to_string()))?;
        let values = file.values(&layout, "")?;
        let mut nets = Vec::with_capacity(model.sub_networks.len());
        for sub in &model.sub_networks {
            let mut statistics = Vec::new();
            let units = layout.units(&sub.net);
            for (place, unit) in units.iter().filter(|unit| unit.norm.is_some()).enumerate() {
                let [mean, variance] = statistics_names(sub.index, place);
                let variances = file.tensor(&variance, &[unit.outputs])?;
                if variances.iter().any(|v| v.is_nan() || *v < 0.0) {
                    return Err(content(format!(
                        "tensor {variance} holds a value that is no variance"
                    )));
                }
                statistics.push((file.tensor(&mean, &[unit.outputs])?, variances));
            }
            nets.push(Calibrated { net: sub.net.clone(), statistics });
        }
        Ok(Self { model, layout, values, nets })
    }
}

/// Writes the weight file of a model: the shared parameters under their names, and the statistics of
/// each sub-network. Gives the file's hash.
///
/// # Errors
/// As [`TensorWriter::write`].
pub fn write_weights(
    path: &Path,
    layout: &Layout,
    values: &Values,
    nets: &[Calibrated],
) -> Result<u64, FileFault> {
    let mut file = TensorWriter::default();
    file.values(layout, "", values);
    for (index, calibrated) in nets.iter().enumerate() {
        for (unit, (mean, variance)) in calibrated.statistics.iter().enumerate() {
            let [mean_name, variance_name] = statistics_names(index, unit);
            file.tensor(&mean_name, &[mean.len()], mean);
            file.tensor(&variance_name, &[variance.len()], variance);
        }
    }
    file.metadata("family", &layout.family().name);
    file.write(path)?;
    Ok(TensorFile::read(path)?.hash())
}
