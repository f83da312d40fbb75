//! Checkpoints: everything a training needs to go on, in one safetensors file.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::network::Values;
use super::optimiser::Optimiser;
use crate::layout::Layout;

/// Why a checkpoint or weight file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a safetensors file, or truncated.
    #[error("{path}: not a whole safetensors file: {why}")]
    Format {
        /// The file.
        path: String,
        /// What the format's reader says.
        why: String,
    },
    /// A tensor is missing.
    #[error("{path}: no tensor {tensor}")]
    Missing {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
    },
    /// A tensor has another type or shape.
    #[error("{path}: tensor {tensor} is {found}, expected {expected}")]
    Shape {
        /// The file.
        path: String,
        /// The tensor.
        tensor: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The metadata lacks or spoils an entry.
    #[error("{path}: metadata {key}: {why}")]
    Metadata {
        /// The file.
        path: String,
        /// The entry.
        key: String,
        /// What is wrong.
        why: String,
    },
}

/// A safetensors file read whole.
#[derive(Debug)]
pub struct TensorFile {
    path: String,
    bytes: Vec<u8>,
}

impl TensorFile {
    /// Reads a file and checks its header.
    ///
    /// # Errors
    /// [`FileFault::Io`], [`FileFault::Format`].
    pub fn read(path: &Path) -> Result<Self, FileFault> {
        let name = path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|source| FileFault::Io { path: name.clone(), source })?;
        let file = Self { path: name, bytes };
        file.open()?;
        Ok(file)
    }

    fn open(&self) -> Result<SafeTensors<'_>, FileFault> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|error| FileFault::Format { path: self.path.clone(), why: error.to_string() })
    }

    /// A tensor of `f32` of this shape.
    ///
    /// # Errors
    /// [`FileFault::Missing`], [`FileFault::Shape`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, FileFault> {
        let tensors = self.open()?;
        let view = tensors
            .tensor(name)
            .map_err(|_| FileFault::Missing { path: self.path.clone(), tensor: name.to_owned() })?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(FileFault::Shape {
                path: self.path.clone(),
                tensor: name.to_owned(),
                found: format!("{:?} {:?}", view.dtype(), view.shape()),
                expected: format!("F32 {shape:?}"),
            });
        }
        Ok(view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }

    /// An entry of the metadata.
    ///
    /// # Errors
    /// [`FileFault::Metadata`] where it is missing.
    pub fn metadata(&self, key: &str) -> Result<String, FileFault> {
        let missing = || FileFault::Metadata {
            path: self.path.clone(),
            key: key.to_owned(),
            why: "missing".into(),
        };
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).map_err(|_| missing())?;
        metadata.metadata().as_ref().and_then(|m| m.get(key)).cloned().ok_or_else(missing)
    }

    /// All parameters of a layout, each under `prefix` and its name.
    ///
    /// # Errors
    /// As [`TensorFile::tensor`].
    pub fn values(&self, layout: &Layout, prefix: &str) -> Result<Values, FileFault> {
        layout
            .parameters
            .iter()
            .map(|parameter| self.tensor(&format!("{prefix}{}", parameter.name), &parameter.shape))
            .collect()
    }
}

/// Tensors to be written.
#[derive(Debug, Default)]
pub struct TensorWriter {
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl TensorWriter {
    /// Adds a tensor.
    pub fn tensor(&mut self, name: &str, shape: &[usize], data: &[f32]) {
        let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), shape.to_vec(), bytes));
    }

    /// Adds all parameters of a layout, each under `prefix` and its name.
    pub fn values(&mut self, layout: &Layout, prefix: &str, values: &Values) {
        for (parameter, data) in layout.parameters.iter().zip(values) {
            self.tensor(&format!("{prefix}{}", parameter.name), &parameter.shape, data);
        }
    }

    /// Adds an entry of the metadata.
    pub fn metadata(&mut self, key: &str, value: &str) {
        self.metadata.insert(key.to_owned(), value.to_owned());
    }

    /// Writes the file beside its place and then renames it, so that a reader sees the old file or
    /// the new one, whole.
    ///
    /// # Errors
    /// [`FileFault::Io`]; [`FileFault::Format`] where a shape does not match its data.
    pub fn write(&self, path: &Path) -> Result<(), FileFault> {
        let name = path.display().to_string();
        let format = |why: String| FileFault::Format { path: name.clone(), why };
        let mut views = Vec::new();
        for (tensor, shape, data) in &self.tensors {
            let view = TensorView::new(Dtype::F32, shape.clone(), data)
                .map_err(|error| format(format!("{tensor}: {error}")))?;
            views.push((tensor.as_str(), view));
        }
        let bytes = safetensors::serialize(views, Some(self.metadata.clone()))
            .map_err(|error| format(error.to_string()))?;
        let io = |source| FileFault::Io { path: name.clone(), source };
        let beside = path.with_extension("new");
        std::fs::write(&beside, bytes).map_err(io)?;
        std::fs::rename(&beside, path).map_err(io)
    }
}

/// Where a training stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Parameters.
    pub values: Values,
    /// Optimiser.
    pub optimiser: Optimiser,
    /// Epochs done.
    pub epochs: u32,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Settings of the training, as its program writes them.
    pub settings: String,
}

impl Checkpoint {
    /// Writes the checkpoint.
    ///
    /// # Errors
    /// As [`TensorWriter::write`].
    pub fn write(&self, layout: &Layout, path: &Path) -> Result<(), FileFault> {
        let mut file = TensorWriter::default();
        file.values(layout, "values.", &self.values);
        file.values(layout, "velocity.", &self.optimiser.velocity);
        file.values(layout, "average.", &self.optimiser.average);
        file.metadata("steps", &self.optimiser.steps.to_string());
        file.metadata("epochs", &self.epochs.to_string());
        file.metadata("seconds", &format!("{:.1}", self.seconds));
        file.metadata("settings", &self.settings);
        file.write(path)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`FileFault`] names the file and what is wrong in it.
    pub fn read(layout: &Layout, path: &Path) -> Result<Self, FileFault> {
        let file = TensorFile::read(path)?;
        fn number<T: std::str::FromStr>(file: &TensorFile, key: &str) -> Result<T, FileFault> {
            let text = file.metadata(key)?;
            text.parse().map_err(|_| FileFault::Metadata {
                path: file.path.clone(),
                key: key.to_owned(),
                why: format!("{text} is no number"),
            })
        }
        Ok(Self {
            values: file.values(layout, "values.")?,
            optimiser: Optimiser {
                velocity: file.values(layout, "velocity.")?,
                average: file.values(layout, "average.")?,
                steps: number(&file, "steps")?,
            },
            epochs: number(&file, "epochs")?,
            seconds: number(&file, "seconds")?,
            settings: file.metadata("settings")?,
        })
    }
}
