//! The nine axes in their fixed order r s t u v w x y z: resonance, state | time | quantum ×3 | space ×3.
//! Invariant: an axis' index is its place in that order, everywhere.

use std::fmt;
use std::str::FromStr;

/// One of the nine axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
#[allow(missing_docs)] // Named by their letters.
pub enum Axis {
    R,
    S,
    T,
    U,
    V,
    W,
    X,
    Y,
    Z,
}

/// A letter that names no axis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an axis; expected one of r s t u v w x y z")]
pub struct AxisError {
    /// What was found.
    pub found: String,
}

impl Axis {
    /// All axes in order.
    pub const ALL: [Self; 9] =
        [Self::R, Self::S, Self::T, Self::U, Self::V, Self::W, Self::X, Self::Y, Self::Z];

    /// Place in the order, 0 to 8.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Lower-case letter.
    pub const fn name(self) -> &'static str {
        ["r", "s", "t", "u", "v", "w", "x", "y", "z"][self.index()]
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Axis {
    type Err = AxisError;
    fn from_str(text: &str) -> Result<Self, AxisError> {
        let known = Self::ALL.into_iter().find(|axis| axis.name() == text);
        known.ok_or_else(|| AxisError { found: text.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_agree() {
        for (i, axis) in Axis::ALL.into_iter().enumerate() {
            assert_eq!(axis.index(), i);
            assert_eq!(axis.name().parse(), Ok(axis));
        }
        for wrong in ["", "q", "X", "xy"] {
            assert!(wrong.parse::<Axis>().is_err(), "{wrong:?}");
        }
    }
}
