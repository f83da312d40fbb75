//! A teacher: what the largest sub-network of an earlier training says of each training image.

use std::path::Path;

use anyhow::{Context, Result};
use coshift_engine::family::SubNet;
use coshift_engine::images::{self, ImageSet};
use coshift_engine::layout::Layout;
use coshift_engine::model::Calibrated;
use coshift_engine::network::{Network, Workspace};
use coshift_engine::resample::resampled;
use coshift_engine::tensors::TensorFile;
use coshift_engine::train::random::Random;
use coshift_engine::train::sandwich::softmax;
use coshift_engine::train::widen::widened;

use crate::train::{Settings, calibrate};

/// Views an image is shown in: as it is and mirrored, in place and one pixel off to each side.
const OFFSETS: [(usize, usize); 5] = [(2, 2), (1, 2), (3, 2), (2, 1), (2, 3)];

/// Images a call.
const BATCH: usize = 100;

/// Hash of the teacher's file, 16 hexadecimal digits.
///
/// # Errors
/// Names the file that cannot be read.
pub fn hash(path: &Path) -> Result<String> {
    Ok(format!("{:016x}", TensorFile::read(path)?.hash()))
}

/// Probabilities `[images, classes]` by the averaged weights of a checkpoint: the mean over views of
/// what its largest sub-network says at the finest resolution it learned at, in `threads` threads. The
/// result does not depend on these. The checkpoint may be of a narrower family, or of one with fewer
/// resolutions: widened, its largest says what it said.
///
/// # Errors
/// Names the file and what is wrong in it.
pub fn outputs(layout: &Layout, path: &Path, set: &ImageSet, threads: usize) -> Result<Vec<f32>> {
    let average = widened(layout, path, &mut Random(0))?;
    let family = layout.family();
    // Of whatever family: its settings say all that counts here.
    let settings = TensorFile::read(path)?.metadata("settings")?;
    let settings: Settings = serde_json::from_str(&settings)
        .with_context(|| format!("{}: its settings", path.display()))?;
    let net = family.at(family.largest(), settings.finest.unwrap_or(family.resolution));
    family.check_net(&net).with_context(|| path.display().to_string())?;
    let statistics = calibrate(layout, &net, &average, set);
    let network =
        Network::new(layout.clone(), average, &[Calibrated { statistics, net: net.clone() }])?;
    let classes = family.classes;
    let mut out = vec![0.0; set.len() * classes];
    let share = set.len().div_ceil(threads.max(1)).next_multiple_of(BATCH);
    let work = &|from: usize, out: &mut [f32]| -> Result<()> {
        let mut space = Workspace::default();
        for (place, out) in out.chunks_mut(BATCH * classes).enumerate() {
            let first = from + place * BATCH;
            say(&network, &net, set, first, out, &mut space)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let shares: Vec<_> = (out.chunks_mut(share * classes).enumerate())
            .map(|(place, out)| scope.spawn(move || work(place * share, out)))
            .collect();
        shares.into_iter().try_for_each(|share| match share.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(out)
}

/// Adds the mean of all views of the images from `first` on to `out`, `[images, classes]`.
fn say(
    network: &Network,
    net: &SubNet,
    set: &ImageSet,
    first: usize,
    out: &mut [f32],
    space: &mut Workspace,
) -> Result<()> {
    let family = network.layout().family();
    let classes = family.classes;
    let count = out.len() / classes;
    let views = (2 * OFFSETS.len()) as f32;
    for mirror in [false, true] {
        for offset in OFFSETS {
            let images: Vec<f32> = (first..first + count)
                .flat_map(|index| view(set.image(index), set.side, mirror, offset))
                .collect();
            let images = resampled(&images, family, net);
            let said = softmax(network.run(0, &images, space)?, classes);
            out.iter_mut().zip(said).for_each(|(out, said)| *out += said / views);
        }
    }
    Ok(())
}

/// An image as a network takes it, mirrored or not, moved by `(down, across)` less two pixels each;
/// what comes in from outside is black.
#[must_use]
pub fn view(image: &[u8], side: usize, mirror: bool, (down, across): (usize, usize)) -> Vec<f32> {
    let mut out = Vec::with_capacity(side * side);
    for row in 0..side {
        for column in 0..side {
            let column = if mirror { side - 1 - column } else { column };
            let (y, x) = ((row + down).wrapping_sub(2), (column + across).wrapping_sub(2));
            let inside = y < side && x < side;
            out.push(images::normalised(if inside { image[y * side + x] } else { 0 }));
        }
    }
    out
}
