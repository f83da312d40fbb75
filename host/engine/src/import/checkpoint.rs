//! The tensors of a checkpoint, and safetensors of them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use super::archive::Archive;
use super::legacy::{FIRST, Legacy};
use super::names::published;
use super::pickle::{Built, Node};
use super::tensor::{Spec, Tensor};
use super::{ImportFault, MOST_NAME, archive, short};
use crate::layout::Layout;
use crate::tensors::{FileFault, MOST_BYTES, read_whole, write_whole};

/// Most bytes of values for one of the file: tensors may share storages, and half precision is
/// written as single.
pub const MOST_GROWTH: u64 = 4;

/// The tensors of a checkpoint, by their published names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// By name.
    pub tensors: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads a file's bytes: an archive or the older format.
    ///
    /// The tensors are those of the entry `state_dict` of the dictionary in the file, or of the
    /// dictionary itself where it has no such entry. `module.` before all names, of a network that
    /// was trained on several devices, is dropped.
    ///
    /// # Errors
    /// [`ImportFault`] names what does not hold and where.
    pub fn read(bytes: &[u8]) -> Result<Self, ImportFault> {
        if bytes.starts_with(&archive::MAGIC) {
            let archive = Archive::read(bytes)?;
            let built = Built::read(archive.pickle())?;
            let specs = specs(&built)?;
            gather(&specs, bytes.len(), |spec| archive.storage(spec.storage.key))
        } else if bytes.first() == Some(&FIRST) {
            let legacy = Legacy::read(bytes)?;
            let specs = specs(&legacy.saved)?;
            let sizes = legacy.saved.storages().map(|s| (s.key, s.kind.size())).collect();
            let storages: HashMap<_, _> = legacy.storages(&sizes)?;
            gather(&specs, bytes.len(), |spec| storages.get(spec.storage.key).copied())
        } else {
            let found = match bytes {
                [] => "an empty file".into(),
                _ => format!("begins with {:02x?}", &bytes[..bytes.len().min(8)]),
            };
            Err(ImportFault::Foreign { found })
        }
    }

    /// Reads a file of up to [`MOST_BYTES`].
    ///
    /// # Errors
    /// Those of [`read_whole`]; [`FileFault::Content`] with the file's name and the [`ImportFault`].
    pub fn read_file(path: &Path) -> Result<Self, FileFault> {
        let bytes = read_whole(path, MOST_BYTES)?;
        let content = |why: String| FileFault::Content { path: path.display().to_string(), why };
        Self::read(&bytes).map_err(|fault| content(fault.to_string()))
    }

    /// Checks that every parameter of a family is there, in its shape. What is there beside them
    /// (running statistics) does not matter.
    ///
    /// # Errors
    /// Names the first tensor that does not fit, as text.
    pub fn check(&self, layout: &Layout) -> Result<(), String> {
        let family = &layout.family().name;
        for parameter in &layout.parameters {
            let Some(tensor) = self.tensors.get(&parameter.name) else {
                return Err(format!("no tensor {}, which {family} has", parameter.name));
            };
            if tensor.dtype != Dtype::F32 || tensor.shape != parameter.shape {
                return Err(format!(
                    "tensor {} is {:?} {:?}, expected F32 {:?} as {family} has it",
                    parameter.name, tensor.dtype, tensor.shape, parameter.shape
                ));
            }
        }
        Ok(())
    }

    /// Writes the tensors as safetensors; a reader sees the old file or the new one, whole.
    ///
    /// # Errors
    /// [`FileFault::Io`], [`FileFault::Format`].
    pub fn write(&self, path: &Path) -> Result<(), FileFault> {
        let format = |why: String| FileFault::Format { path: path.display().to_string(), why };
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data)
                .map_err(|error| format(format!("{name}: {error}")))?;
            views.push((name.as_str(), view));
        }
        let bytes =
            safetensors::serialize(views, None).map_err(|error| format(error.to_string()))?;
        write_whole(path, &bytes)
    }
}

/// The tensors that a checkpoint names, with their names.
fn specs<'b, 'a>(built: &'b Built<'a>) -> Result<Vec<(&'a str, &'b Spec<'a>)>, ImportFault> {
    let Node::Dict(root) = built.root() else {
        let kind = built.root().kind();
        return Err(ImportFault::Content(format!("holds {kind}, expected a dictionary")));
    };
    let inner = root.iter().find(|(key, _)| *built.node(*key) == Node::Text("state_dict"));
    let (entries, of) = match inner.map(|(_, value)| built.node(*value)) {
        Some(Node::Dict(entries)) => (entries, "state_dict"),
        Some(other) => {
            let kind = other.kind();
            return Err(ImportFault::Content(format!(
                "state_dict is {kind}, expected a dictionary"
            )));
        }
        None => (root, "the file's dictionary, which has no state_dict,"),
    };
    let mut specs = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match (built.node(*key), built.node(*value)) {
            (Node::Text(name), Node::Tensor(spec)) if name.len() <= MOST_NAME => {
                specs.push((*name, spec));
            }
            (Node::Text(name), Node::Tensor(_)) => {
                let (name, length) = (short(name), name.len());
                return Err(ImportFault::Content(format!(
                    "name {name:?} in {of} has {length} bytes, expected at most {MOST_NAME}"
                )));
            }
            (Node::Text(name), other) => {
                let (name, kind) = (short(name), other.kind());
                return Err(ImportFault::Content(format!(
                    "entry {name:?} of {of} is {kind}, expected a tensor"
                )));
            }
            (other, _) => {
                let kind = other.kind();
                return Err(ImportFault::Content(format!(
                    "a name in {of} is {kind}, expected a text"
                )));
            }
        }
    }
    if specs.is_empty() {
        return Err(ImportFault::Content(format!("{of} holds no tensor")));
    }
    Ok(specs)
}

/// Gathers all values: together at most [`MOST_GROWTH`] times the file.
fn gather<'a>(
    specs: &[(&'a str, &Spec<'a>)],
    file: usize,
    storage: impl Fn(&Spec<'a>) -> Option<&'a [u8]>,
) -> Result<Checkpoint, ImportFault> {
    let trained_on_several = specs.iter().all(|(name, _)| name.starts_with("module."));
    let (mut tensors, mut left) = (BTreeMap::new(), MOST_GROWTH * file as u64);
    for (name, spec) in specs {
        let fault = |why: String| ImportFault::Tensor { name: short(name), why };
        let storage = storage(spec).ok_or_else(|| {
            fault(format!("no storage {:?} in the file", short(spec.storage.key)))
        })?;
        let tensor = spec.gather(storage, left).map_err(fault)?;
        left -= tensor.data.len() as u64;
        let own = name.strip_prefix("module.").filter(|_| trained_on_several);
        let published = published(own.unwrap_or(name));
        if tensors.insert(published.clone(), tensor).is_some() {
            let published = short(&published);
            return Err(fault(format!("there is another of the published name {published}")));
        }
    }
    Ok(Checkpoint { tensors })
}
