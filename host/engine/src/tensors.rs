//! Tensors in safetensors files, read whole and written at once.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::layout::Layout;
use crate::train::network::Values;

/// Why a checkpoint, a weight file or a model description cannot be used.
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
    /// It is a pipe, a device or a folder, which may go on without end.
    #[error("{path}: not a regular file")]
    Irregular {
        /// What is no file.
        path: String,
    },
    /// The file is larger than any of its kind.
    #[error("{path}: more than {most} bytes, the most that is read")]
    TooLarge {
        /// The file.
        path: String,
        /// Most bytes that are read.
        most: u64,
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
    /// The file is whole, but says something that does not hold.
    #[error("{path}: {why}")]
    Content {
        /// The file.
        path: String,
        /// What does not hold.
        why: String,
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

/// Largest safetensors file that is read, bytes. The published super-networks have some 60 MB, a
/// checkpoint of a training three times its network.
pub const MOST_BYTES: u64 = 1 << 30;

/// A safetensors file read whole.
#[derive(Debug)]
pub struct TensorFile {
    path: String,
    bytes: Vec<u8>,
}

impl TensorFile {
    /// Reads a file of up to [`MOST_BYTES`] and checks its header.
    ///
    /// # Errors
    /// Those of [`read_whole`]; [`FileFault::Format`].
    pub fn read(path: &Path) -> Result<Self, FileFault> {
        let bytes = read_whole(path, MOST_BYTES)?;
        let file = Self { path: path.display().to_string(), bytes };
        file.open()?;
        Ok(file)
    }

    /// The file's name.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// [`hash`] of the whole file.
    #[must_use]
    pub fn hash(&self) -> u64 {
        hash(&self.bytes)
    }

    fn open(&self) -> Result<SafeTensors<'_>, FileFault> {
        SafeTensors::deserialize(&self.bytes)
            .map_err(|error| FileFault::Format { path: self.path.clone(), why: error.to_string() })
    }

    /// Names of its tensors, in no order.
    ///
    /// # Errors
    /// [`FileFault::Format`].
    pub fn names(&self) -> Result<Vec<String>, FileFault> {
        Ok(self.open()?.names().into_iter().map(ToOwned::to_owned).collect())
    }

    /// The shape of a tensor.
    ///
    /// # Errors
    /// [`FileFault::Missing`].
    pub fn shape(&self, name: &str) -> Result<Vec<usize>, FileFault> {
        let missing = || FileFault::Missing { path: self.path.clone(), tensor: name.to_owned() };
        Ok(self.open()?.tensor(name).map_err(|_| missing())?.shape().to_vec())
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

    /// Writes the file; a reader sees the old one or the new one, whole.
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
        write_whole(path, &bytes)
    }
}

/// Reads a regular file of up to `most` bytes. Takes no more memory than that, whatever the file says
/// of its size.
///
/// # Errors
/// [`FileFault::Io`], [`FileFault::Irregular`], [`FileFault::TooLarge`].
pub fn read_whole(path: &Path, most: u64) -> Result<Vec<u8>, FileFault> {
    let name = || path.display().to_string();
    let io = |source| FileFault::Io { path: name(), source };
    let regular = |about: std::fs::Metadata| match about.is_file() {
        true => Ok(about.len()),
        false => Err(FileFault::Irregular { path: name() }),
    };
    // Before it is opened, which alone waits for a pipe's writer; after it, of what was opened.
    regular(std::fs::metadata(path).map_err(io)?)?;
    let file = File::open(path).map_err(io)?;
    let length = regular(file.metadata().map_err(io)?)?;
    let too_large = || FileFault::TooLarge { path: name(), most };
    if length > most {
        return Err(too_large());
    }
    // At most `most`, which a machine that reads such files can address.
    let mut bytes = Vec::with_capacity(length as usize);
    // It may grow meanwhile, and some of the system's own say that they are empty.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// [`read_whole`] of a text.
///
/// # Errors
/// Those of [`read_whole`]; [`FileFault::Content`] where it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> Result<String, FileFault> {
    String::from_utf8(read_whole(path, most)?).map_err(|error| FileFault::Content {
        path: path.display().to_string(),
        why: format!("not a text in UTF-8: {}", error.utf8_error()),
    })
}

/// Writes a file beside its place and then renames it, so that a reader sees the old file or the
/// new one, whole. Where that fails, nothing new is left.
///
/// # Errors
/// [`FileFault::Io`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FileFault> {
    let io = |source| FileFault::Io { path: path.display().to_string(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _gone = std::fs::remove_file(&beside);
    }
    written.map_err(io)
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv): tells one weight file from another.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn the_hash_is_fnv_1a() {
        // Vectors of the reference implementation (test_fnv.c).
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
