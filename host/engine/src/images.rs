//! Image sets in the IDX format of MNIST and Fashion-MNIST, plain or gzipped.
//!
//! Format (LeCun et al., <http://yann.lecun.com/exdb/mnist/>): two zero bytes, the type 0x08 (u8),
//! the number of dimensions, each dimension as a big-endian `u32`, then the data.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::family::Family;
use crate::tensors::{FileFault, read_whole, write_whole};

/// Where the Debian package `dataset-fashion-mnist` puts its files.
pub const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

/// Largest set of images that is read, bytes, packed and unpacked. That of Fashion-MNIST has 47 MB.
pub const MOST_BYTES: u64 = 1 << 30;

/// Licence of Fashion-MNIST, which goes with every copy of its images.
pub const LICENCE: &str = include_str!("fashion-mnist-licence.txt");

/// Labelled grey images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    /// Height and width, pixels.
    pub side: usize,
    /// Pixels, image by image, row by row.
    pub pixels: Vec<u8>,
    /// Class of each image.
    pub labels: Vec<u8>,
}

/// Which half of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// To learn from.
    Train,
    /// To judge by.
    Test,
}

impl Half {
    fn stem(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "t10k",
        }
    }
}

impl ImageSet {
    /// Reads `{train,t10k}-images-idx3-ubyte[.gz]` and `…-labels-idx1-ubyte[.gz]` of a folder.
    ///
    /// # Errors
    /// Names the file that is missing, damaged or of another shape.
    pub fn read(folder: &Path, half: Half) -> Result<Self, FileFault> {
        let images = find(folder, &format!("{}-images-idx3-ubyte", half.stem()))?;
        let labels = find(folder, &format!("{}-labels-idx1-ubyte", half.stem()))?;
        let (sizes, pixels) = idx(&images)?;
        let &[count, height, width] = &sizes[..] else {
            return wrong(&images, format!("{} dimensions where images have 3", sizes.len()));
        };
        if height != width {
            let why = format!("images of {height}×{width} pixels where square ones go");
            return wrong(&images, why);
        }
        let (label_sizes, labels_read) = idx(&labels)?;
        if label_sizes != [count] {
            let images = images.display();
            let why = format!("labels of shape {label_sizes:?} where {images} has {count} images");
            return wrong(&labels, why);
        }
        Ok(Self { side: height, pixels, labels: labels_read })
    }

    /// [`ImageSet::read`] of images that a family takes.
    ///
    /// # Errors
    /// Those of [`ImageSet::read`]; names the folder and what does not fit.
    pub fn read_for(folder: &Path, half: Half, family: &Family) -> Result<Self, FileFault> {
        let set = Self::read(folder, half)?;
        let (side, wanted, name) = (set.side, family.resolution, &family.name);
        if side != wanted || family.image_channels != 1 {
            let channels = family.image_channels;
            let why = format!(
                "grey images of {side}×{side} pixels where {name} takes {wanted}×{wanted} with \
                 {channels} channel(s)"
            );
            return wrong(folder, why);
        }
        if set.is_empty() {
            return wrong(folder, format!("no {} images", half.stem()));
        }
        let most = set.labels.iter().copied().max().unwrap_or(0);
        if usize::from(most) >= family.classes {
            let last = family.classes - 1;
            return wrong(folder, format!("label {most} where {name} has classes 0 to {last}"));
        }
        Ok(set)
    }

    /// Whether a folder has the files of one half.
    #[must_use]
    pub fn is_in(folder: &Path, half: Half) -> bool {
        find(folder, &format!("{}-images-idx3-ubyte", half.stem())).is_ok()
            && find(folder, &format!("{}-labels-idx1-ubyte", half.stem())).is_ok()
    }

    /// Writes the set into a folder as gzipped IDX files, each whole or not at all.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write(&self, folder: &Path, half: Half) -> Result<(), FileFault> {
        let io = |source| FileFault::Io { path: folder.display().to_string(), source };
        // A set in memory has fewer than 2³² images.
        let (count, side) = (self.len() as u32, self.side as u32);
        let images = format!("{}-images-idx3-ubyte.gz", half.stem());
        let packed = idx_gz([count, side, side], &self.pixels).map_err(io)?;
        write_whole(&folder.join(images), &packed)?;
        let labels = format!("{}-labels-idx1-ubyte.gz", half.stem());
        let packed = idx_gz([count], &self.labels).map_err(io)?;
        write_whole(&folder.join(labels), &packed)
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image.
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.side * self.side;
        &self.pixels[index * size..][..size]
    }
}

/// A file or folder does not hold what it should.
fn wrong<T>(path: &Path, why: String) -> Result<T, FileFault> {
    Err(FileFault::Content { path: path.display().to_string(), why })
}

fn find(folder: &Path, name: &str) -> Result<PathBuf, FileFault> {
    for name in [name.to_owned(), format!("{name}.gz")] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let why = format!(
        "no {name}[.gz]; install the Debian package dataset-fashion-mnist or name another folder"
    );
    wrong(folder, why)
}

/// Sizes and data of an IDX file of bytes.
fn idx(path: &Path) -> Result<(Vec<usize>, Vec<u8>), FileFault> {
    let raw = read_whole(path, MOST_BYTES)?;
    let bytes = if raw.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        // A hostile file shall not fill the memory.
        let read = flate2::read::GzDecoder::new(&raw[..]).take(MOST_BYTES).read_to_end(&mut plain);
        if let Err(error) = read {
            return wrong(path, format!("damaged gzip: {error}"));
        }
        plain
    } else {
        raw
    };
    let header = bytes.first_chunk::<4>().filter(|h| h[..3] == [0, 0, 8]);
    let Some([_, _, _, dimensions]) = header.copied() else {
        return wrong(path, "not an IDX file of bytes".into());
    };
    let mut sizes = Vec::new();
    let mut rest = &bytes[4..];
    for _ in 0..dimensions {
        let Some((size, after)) = rest.split_first_chunk::<4>() else {
            return wrong(path, "truncated in its header".into());
        };
        sizes.push(u32::from_be_bytes(*size) as usize);
        rest = after;
    }
    let expected = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    if expected != Some(rest.len()) {
        let found = rest.len();
        let why = format!("{found} bytes of data where its header {sizes:?} says otherwise");
        return wrong(path, why);
    }
    Ok((sizes, rest.to_vec()))
}

/// An IDX file of bytes, gzipped without time stamp, so that equal sets give equal files.
fn idx_gz<const N: usize>(sizes: [u32; N], data: &[u8]) -> std::io::Result<Vec<u8>> {
    // One to three dimensions.
    let mut plain = vec![0, 0, 8, N as u8];
    for size in sizes {
        plain.extend(size.to_be_bytes());
    }
    plain.extend(data);
    let mut packed = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    packed.write_all(&plain)?;
    packed.finish()
}

/// Pixels as the networks take them: mean 0, deviation 1 over the training set of Fashion-MNIST
/// (mean 0.2860, deviation 0.3530 of pixels in 0..1).
#[must_use]
pub fn normalised(pixel: u8) -> f32 {
    (f32::from(pixel) / 255.0 - 0.2860) / 0.3530
}

impl ImageSet {
    /// Images as a network takes them, `[count, side, side, 1]`.
    #[must_use]
    pub fn normalised(&self, from: usize, count: usize) -> Vec<f32> {
        let size = self.side * self.side;
        self.pixels[from * size..][..count * size].iter().map(|p| normalised(*p)).collect()
    }

    /// Takes the images from `at` on out of the set.
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.len());
        let pixels = self.pixels.split_off(at * self.side * self.side);
        Self { side: self.side, pixels, labels: self.labels.split_off(at) }
    }
}
