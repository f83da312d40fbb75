//! A wider family begun with the weights of a narrower one: each tensor's prefix is the narrower
//! family's tensor, so that its sub-networks compute what they did (Chen, Goodfellow and Shlens,
//! Net2Net, ICLR 2016, with new channels in place of copied ones).

use std::path::Path;

use super::network::Values;
use super::optimiser;
use super::random::Random;
use crate::layout::{Layout, Role};
use crate::tensors::{FileFault, TensorFile};

/// The averaged weights of the checkpoint at `path` as the prefixes of `layout`'s. A new channel
/// starts as in [`optimiser::start`]; of those that were there none reads a new one yet (weight 0).
///
/// # Errors
/// [`FileFault`] names the file and what is wrong in it: a tensor that is missing, is wider than this
/// family's, or has another kernel.
pub fn widened(layout: &Layout, path: &Path, random: &mut Random) -> Result<Values, FileFault> {
    let file = TensorFile::read(path)?;
    let mut values = optimiser::start(layout, random);
    for (parameter, values) in layout.parameters.iter().zip(&mut values) {
        let name = format!("average.{}", parameter.name);
        let (found, wanted) = (file.shape(&name)?, &parameter.shape);
        // Channels out and in may be fewer; a kernel and its matrices have one size.
        let channels = match parameter.role {
            Role::Transform => 0,
            Role::Weight { .. } | Role::Scale | Role::Shift => 2,
        };
        let fits = found.len() == wanted.len()
            && (found.iter().zip(wanted).enumerate()).all(|(place, (found, wanted))| {
                match place < channels {
                    true => (1..=*wanted).contains(found),
                    false => found == wanted,
                }
            });
        if !fits {
            return Err(FileFault::Shape {
                path: file.path().to_owned(),
                tensor: name,
                found: format!("{found:?}"),
                expected: format!("at most {wanted:?}, kernels alike"),
            });
        }
        let known = file.tensor(&name, &found)?;
        // Rows of one channel out; shorter ones are filled up with 0.
        let row = |shape: &[usize]| shape[1..].iter().product::<usize>();
        let (long, short) = (row(wanted), row(&found));
        for (new, old) in values.chunks_exact_mut(long).zip(known.chunks_exact(short)) {
            let (begin, rest) = new.split_at_mut(short);
            begin.copy_from_slice(old);
            rest.fill(0.0);
        }
    }
    Ok(values)
}
