//! What a sub-network leaves on a device, launch by launch, against what it leaves on the CPU.

use std::collections::BTreeMap;
use std::fmt;

#[cfg(feature = "cuda")]
use super::device::{DeviceFault, DeviceNetwork};
use super::written::Written;
use crate::intermediate::{Intermediate, off};
use crate::layout::Unit;
use crate::network::{Network, RunFault, Workspace};

/// A tensor on a device, compared with the CPU's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// Number of the launch that wrote it, in its program.
    pub launch: usize,
    /// Its kernel.
    pub kernel: &'static str,
    /// Which tensor.
    pub what: Intermediate,
    /// Number of the image.
    pub image: usize,
    /// Largest difference as a share of the tensor's largest value on the CPU; NaN where one is.
    pub off: f64,
}

impl Compared {
    /// Whether the difference is at most this share; a NaN is not.
    #[must_use]
    pub fn within(&self, most: f64) -> bool {
        self.off <= most
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { launch, kernel, what, image, off } = self;
        write!(
            f,
            "launch {launch} ({kernel}), image {image}, {what}: {off:.1e} of the largest away"
        )
    }
}

/// What the steps of a sub-network leave on the CPU, to hold launches against.
#[derive(Debug)]
pub struct Comparison {
    units: Vec<Unit>,
    classes: usize,
    /// Of each image.
    wanted: Vec<BTreeMap<Intermediate, Vec<f32>>>,
    compared: Vec<Compared>,
}

impl Comparison {
    /// Runs sub-network `index` on the CPU.
    ///
    /// # Errors
    /// As [`Network::intermediates`].
    pub fn new(
        network: &Network,
        index: usize,
        images: &[f32],
        space: &mut Workspace,
    ) -> Result<Self, RunFault> {
        // Without a sub-network the call below says which there are.
        let len = network.image_len_of(index).unwrap_or(1);
        let wanted = images
            .chunks(len)
            .map(|image| Ok(network.intermediates(index, image, space)?.into_iter().collect()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            units: network.units(index).unwrap_or_default(),
            classes: network.layout().family().classes,
            wanted,
            compared: Vec::new(),
        })
    }

    /// Compares a tensor, given its values of all images, and puts the CPU's in their place: the
    /// launches after it then start from these, so that a difference is that of one launch.
    pub fn see(&mut self, kernel: &'static str, written: &Written, values: &mut [f32]) {
        let &Written { launch, what, .. } = written;
        let channels = what.channels(&self.units, self.classes);
        for (image, values) in values.chunks_mut(written.step()).enumerate() {
            // One that the CPU does not leave is infinitely far away.
            let wanted = self.wanted[image].get(&what);
            let found = written.tensor(values, channels);
            let off = off(&found, wanted.map_or(&[][..], Vec::as_slice));
            self.compared.push(Compared { launch, kernel, what, image, off });
            if let Some(wanted) = wanted.filter(|wanted| wanted.len() == found.len()) {
                written.replace(values, wanted, channels);
            }
        }
    }

    /// All that was compared, in the order of the launches.
    #[must_use]
    pub fn compared(self) -> Vec<Compared> {
        self.compared
    }
}

/// Runs sub-network `index` on a device launch by launch, and on the CPU step by step, and compares
/// every tensor that a launch leaves, given the CPU's tensors before it.
///
/// # Errors
/// As [`DeviceNetwork::run`].
#[cfg(feature = "cuda")]
pub fn compare(
    on_gpu: &mut DeviceNetwork,
    network: &Network,
    index: usize,
    images: &[f32],
    space: &mut Workspace,
) -> Result<Vec<Compared>, DeviceFault> {
    let mut comparison = Comparison::new(network, index, images, space)?;
    on_gpu.each_tensor(index, images, |kernel, written, values| {
        comparison.see(kernel, written, values);
    })?;
    Ok(comparison.compared())
}
