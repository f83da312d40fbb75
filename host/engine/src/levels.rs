//! Published sub-networks of a super-network, with their published accuracies: the 13 of Dynamic-OFA
//! (Lou et al., 2021), of OFA-MobileNetV3 w1.2, and lists of the same kind in files.

use serde::Deserialize;

use crate::family::SubNet;

/// One published level.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Set and number of the publication: `nets_6.0` to `nets_7.6`.
    pub name: String,
    /// Published top-1 accuracy, %.
    pub accuracy_pct: f64,
    /// Its configuration.
    pub net: SubNet,
}

impl Level {
    /// Set and number, `None` where the name does not say them.
    #[must_use]
    pub fn place(&self) -> Option<(&str, usize)> {
        let (set, number) = self.name.rsplit_once('.')?;
        Some((set, number.parse().ok()?)).filter(|_| !set.is_empty())
    }
}

/// A list of published levels.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// Where it was published, and what its accuracies are of.
    pub source: String,
    /// Name of the family.
    pub family: String,
    /// The levels.
    pub levels: Vec<Level>,
}

impl Levels {
    /// Those of Dynamic-OFA, `nets_6` first, each set in ascending accuracy; of
    /// [`crate::family::OFA_12`].
    ///
    /// # Panics
    /// Never: the list is part of the program, and a test reads it.
    #[must_use]
    pub fn dynamic_ofa() -> Self {
        serde_json::from_str(include_str!("dynamic-ofa.json")).expect("the program's own list")
    }
}

/// The levels of [`Levels::dynamic_ofa`].
#[must_use]
pub fn dynamic_ofa() -> Vec<Level> {
    Levels::dynamic_ofa().levels
}
