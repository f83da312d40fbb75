//! Image sets in the IDX format of MNIST and Fashion-MNIST, plain or gzipped.
//!
//! Format (LeCun et al., <http://yann.lecun.com/exdb/mnist/>): two zero bytes, the type 0x08 (u8),
//! the number of dimensions, each dimension as a big-endian `u32`, then the data.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use coshift_engine::family::Family;
use coshift_engine::tensors::write_whole;

/// Where the Debian package `dataset-fashion-mnist` puts its files.
pub const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

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

    /// [`ImageSet::read`] of images that a family takes.
    ///
    /// # Errors
    /// Those of [`ImageSet::read`]; names the folder and what does not fit.
    pub fn read_for(folder: &Path, half: Half, family: &Family) -> Result<Self> {
        let set = Self::read(folder, half)?;
        let (place, name) = (folder.display(), &family.name);
        let (side, wanted) = (set.side, family.resolution);
        ensure!(
            side == wanted && family.image_channels == 1,
            "{place}: grey images of {side}×{side} pixels where {name} takes {wanted}×{wanted} with \
             {} channel(s)",
            family.image_channels
        );
        ensure!(!set.is_empty(), "{place}: no {} images", half.stem());
        let most = set.labels.iter().copied().max().unwrap_or(0);
        ensure!(
            usize::from(most) < family.classes,
            "{place}: label {most} where {name} has classes 0 to {}",
            family.classes - 1
        );
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
    pub fn write(&self, folder: &Path, half: Half) -> Result<()> {
        let sizes = [self.len(), self.side, self.side];
        let images = format!("{}-images-idx3-ubyte.gz", half.stem());
        write_whole(&folder.join(images), &idx_gz(&sizes, &self.pixels)?)?;
        let labels = format!("{}-labels-idx1-ubyte.gz", half.stem());
        write_whole(&folder.join(labels), &idx_gz(&sizes[..1], &self.labels)?)?;
        Ok(())
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

/// An IDX file of bytes, gzipped without time stamp, so that equal sets give equal files.
fn idx_gz(sizes: &[usize], data: &[u8]) -> Result<Vec<u8>> {
    let mut plain = vec![0, 0, 8, u8::try_from(sizes.len())?];
    for size in sizes {
        plain.extend(u32::try_from(*size)?.to_be_bytes());
    }
    plain.extend(data);
    let mut packed = flate2::GzBuilder::new().write(Vec::new(), flate2::Compression::best());
    packed.write_all(&plain)?;
    Ok(packed.finish()?)
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
