//! Image sets in the IDX format of MNIST and Fashion-MNIST, plain or gzipped.
//!
//! Format (LeCun et al., <http://yann.lecun.com/exdb/mnist/>): two zero bytes, the type 0x08 (u8),
//! the number of dimensions, each dimension as a big-endian `u32`, then the data.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Where the Debian package `dataset-fashion-mnist` puts its files.
pub const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

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
    pub fn read(folder: &Path, half: Half) -> Result<Self> {
        let images = find(folder, &format!("{}-images-idx3-ubyte", half.stem()))?;
        let labels = find(folder, &format!("{}-labels-idx1-ubyte", half.stem()))?;
        let (sizes, pixels) = idx(&images)?;
        let &[count, height, width] = &sizes[..] else {
            bail!("{}: {} dimensions where images have 3", images.display(), sizes.len());
        };
        ensure!(
            height == width,
            "{}: images of {height}×{width} pixels where square ones go",
            images.display()
        );
        let (label_sizes, labels_read) = idx(&labels)?;
        ensure!(
            label_sizes == [count],
            "{}: labels of shape {label_sizes:?} where {} has {count} images",
            labels.display(),
            images.display()
        );
        Ok(Self { side: height, pixels, labels: labels_read })
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

fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    for name in [name.to_owned(), format!("{name}.gz")] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "{}: no {name}[.gz]; install the Debian package dataset-fashion-mnist or name another folder",
        folder.display()
    )
}

/// Sizes and data of an IDX file of bytes.
fn idx(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    let raw = std::fs::read(path).with_context(|| path.display().to_string())?;
    let bytes = if raw.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        // No set of images of this kind is larger; a hostile file shall not fill the memory.
        let most = 1 << 30;
        flate2::read::GzDecoder::new(&raw[..])
            .take(most)
            .read_to_end(&mut plain)
            .with_context(|| format!("{}: damaged gzip", path.display()))?;
        plain
    } else {
        raw
    };
    let header = bytes.first_chunk::<4>().filter(|h| h[..3] == [0, 0, 8]);
    let Some([_, _, _, dimensions]) = header.copied() else {
        bail!("{}: not an IDX file of bytes", path.display());
    };
    let mut sizes = Vec::new();
    let mut rest = &bytes[4..];
    for _ in 0..dimensions {
        let Some((size, after)) = rest.split_first_chunk::<4>() else {
            bail!("{}: truncated in its header", path.display());
        };
        sizes.push(u32::from_be_bytes(*size) as usize);
        rest = after;
    }
    let expected = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    ensure!(
        expected == Some(rest.len()),
        "{}: {} bytes of data where its header {sizes:?} says otherwise",
        path.display(),
        rest.len()
    );
    Ok((sizes, rest.to_vec()))
}

/// Pixels as the networks take them: mean 0, deviation 1 over the training set of Fashion-MNIST
/// (mean 0.2860, deviation 0.3530 of pixels in 0..1).
#[must_use]
pub fn normalised(pixel: u8) -> f32 {
    (f32::from(pixel) / 255.0 - 0.2860) / 0.3530
}

impl ImageSet {
    /// Takes the images from `at` on out of the set.
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.len());
        let pixels = self.pixels.split_off(at * self.side * self.side);
        Self { side: self.side, pixels, labels: self.labels.split_off(at) }
    }
}
