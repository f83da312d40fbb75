//! Published statistics of batch normalisation, which a sub-network's accuracy was measured with.
//!
//! One file holds those of several levels: `level{N}.{unit}.bn.running_mean` and `…running_var`,
//! where the units have the names of a network of its own (blocks numbered without gaps, as in
//! [`crate::export::layers`]), of either generation (`mobile_inverted_conv` or `conv`).

use std::collections::BTreeMap;

use crate::export::layers::name;
use crate::family::SubNet;
use crate::import::names::published;
use crate::layout::Layout;
use crate::model::blocks;
use crate::tensors::{FileFault, TensorFile};
use crate::train::network::Statistics;

/// Names of a level's statistics, in the order of [`Statistics`] and each mean before its variance,
/// as the published files of 2021 have them.
///
/// # Panics
/// If the sub-network is not one of the layout's family.
#[must_use]
pub fn names(layout: &Layout, net: &SubNet, level: usize) -> Vec<String> {
    let units = layout.units(net);
    let mut names = Vec::with_capacity(2 * units.len());
    for (place, _) in units.iter().enumerate().filter(|(_, unit)| unit.norm.is_some()) {
        let unit = name(place, units.len()).replacen(".conv.", ".mobile_inverted_conv.", 1);
        names.extend(["mean", "var"].map(|what| format!("level{level}.{unit}.bn.running_{what}")));
    }
    names
}

/// Statistics of a level's sub-network.
///
/// # Errors
/// [`FileFault`] names the tensor that is missing, of another shape, no variance, or of a unit that
/// the sub-network does not have: then the statistics are another network's.
///
/// # Panics
/// If the sub-network is not one of the layout's family.
pub fn read(
    file: &TensorFile,
    level: usize,
    layout: &Layout,
    net: &SubNet,
) -> Result<Statistics, FileFault> {
    let content = |why: String| FileFault::Content { path: file.path().to_owned(), why };
    let prefix = format!("level{level}.");
    let same = |name: &str| name.strip_prefix(&prefix).map(published);
    let mut there: BTreeMap<String, String> = BTreeMap::new();
    for name in file.names()? {
        let Some(known) = same(&name) else { continue };
        if let Some(other) = there.insert(known, name.clone()) {
            return Err(content(format!("tensors {other} and {name} are of the same unit")));
        }
    }
    let mut take = |wanted: &str, outputs: usize| match same(wanted)
        .and_then(|known| there.remove(&known))
    {
        Some(name) => Ok((file.tensor(&name, &[outputs])?, name)),
        None => Err(FileFault::Missing { path: file.path().to_owned(), tensor: wanted.to_owned() }),
    };
    let units = layout.units(net);
    let mut statistics = Statistics::new();
    let names = names(layout, net, level);
    let normalised = units.iter().filter(|unit| unit.norm.is_some());
    for (unit, names) in normalised.zip(names.chunks_exact(2)) {
        let (mean, mean_name) = take(&names[0], unit.outputs)?;
        let (variance, variance_name) = take(&names[1], unit.outputs)?;
        if !mean.iter().all(|mean| mean.is_finite()) {
            return Err(content(format!("tensor {mean_name} holds a value that is no number")));
        }
        if !variance.iter().all(|variance| *variance >= 0.0 && variance.is_finite()) {
            return Err(content(format!(
                "tensor {variance_name} holds a value that is no variance"
            )));
        }
        statistics.push((mean, variance));
    }
    // Counts of batches do not matter.
    there.retain(|known, _| known.ends_with(".running_mean") || known.ends_with(".running_var"));
    if let Some(name) = there.values().next() {
        let blocks = blocks(net);
        return Err(content(format!(
            "tensor {name} is of a unit that a sub-network of {blocks} blocks does not have: \
             statistics of another one"
        )));
    }
    Ok(statistics)
}
