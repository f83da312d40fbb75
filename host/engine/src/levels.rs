//! The 13 published sub-networks of Dynamic-OFA (Lou et al., 2021), of OFA-MobileNetV3 w1.2.

use serde::Deserialize;

use crate::family::SubNet;

/// One published level.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// File and number of the publication: `nets_6.0` to `nets_7.6`.
    pub name: String,
    /// Its configuration.
    pub net: SubNet,
}

#[derive(Deserialize)]
struct Published {
    levels: Vec<Level>,
}

/// The levels, `nets_6` first, each in ascending accuracy; of [`crate::family::OFA_12`].
///
/// # Panics
/// Never: the list is part of the program, and a test reads it.
#[must_use]
pub fn dynamic_ofa() -> Vec<Level> {
    let published: Published =
        serde_json::from_str(include_str!("dynamic-ofa.json")).expect("the program's own list");
    published.levels
}
