//! The tensors between the layers of a sub-network, by which backends are compared step by step.

use std::fmt;

use crate::layout::Unit;

/// A tensor of one image that a step of a sub-network leaves. Units are counted as in
/// [`crate::layout::Layout::units`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intermediate {
    /// Outputs of a unit, the shortcut added, before the factors of its squeeze-excite.
    Map(usize),
    /// Means of the channels of a unit's map, for its squeeze-excite.
    Means(usize),
    /// Between the two layers of a unit's squeeze-excite.
    Squeezed(usize),
    /// Factors of a unit's squeeze-excite.
    Gates(usize),
    /// Outputs of a unit times these factors.
    Scaled(usize),
    /// Means of the last map.
    Pooled,
    /// The logits.
    Logits,
}

impl fmt::Display for Intermediate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(unit) => write!(f, "map of unit {unit}"),
            Self::Means(unit) => write!(f, "means of unit {unit}"),
            Self::Squeezed(unit) => write!(f, "squeezed means of unit {unit}"),
            Self::Gates(unit) => write!(f, "factors of unit {unit}"),
            Self::Scaled(unit) => write!(f, "scaled map of unit {unit}"),
            Self::Pooled => write!(f, "means of the last map"),
            Self::Logits => write!(f, "logits"),
        }
    }
}

impl Intermediate {
    /// Its channels.
    ///
    /// # Panics
    /// If the units have no such tensor.
    #[must_use]
    pub fn channels(self, units: &[Unit], classes: usize) -> usize {
        match self {
            Self::Map(unit) | Self::Means(unit) | Self::Gates(unit) | Self::Scaled(unit) => {
                units[unit].outputs
            }
            Self::Squeezed(unit) => units[unit].squeeze.expect("a unit with squeeze-excite").middle,
            Self::Pooled => units.iter().find(|unit| unit.pools).expect("a unit that pools").inputs,
            Self::Logits => classes,
        }
    }

    /// Pixels of each channel: 1 of a vector.
    ///
    /// # Panics
    /// If there is no such unit.
    #[must_use]
    pub fn pixels(self, units: &[Unit]) -> usize {
        match self {
            Self::Map(unit) | Self::Scaled(unit) => units[unit].out_side().pow(2),
            _ => 1,
        }
    }
}

/// Largest difference of two tensors, as a share of the second one's largest value; infinite where they
/// are not equally long, NaN where a value is.
#[must_use]
pub fn off(found: &[f32], wanted: &[f32]) -> f64 {
    if found.len() != wanted.len() {
        return f64::INFINITY;
    }
    let top = wanted.iter().fold(f32::MIN_POSITIVE, |top, value| top.max(value.abs()));
    let off = found.iter().zip(wanted).map(|(a, b)| f64::from((a - b).abs()));
    // A NaN is a difference too.
    off.fold(0.0, |most: f64, off| if most.is_nan() || off <= most { most } else { off })
        / f64::from(top)
}

#[cfg(test)]
mod tests {
    use super::off;

    #[test]
    fn differences_are_shares_of_the_largest_value() {
        assert_eq!(off(&[1.0, -4.0], &[1.5, -4.0]), 0.125);
        assert!(off(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
        assert_eq!(off(&[1.0], &[1.0, 1.0]), f64::INFINITY);
    }
}
