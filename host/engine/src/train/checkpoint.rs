//! Checkpoints: everything a training needs to go on, in one safetensors file.

use std::path::Path;

use super::network::Values;
use super::optimiser::Optimiser;
use crate::layout::Layout;
use crate::tensors::{FileFault, TensorFile, TensorWriter};

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
                path: file.path().to_owned(),
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
