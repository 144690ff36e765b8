//! The five scalars that modulate a world: dopamine, serotonin, norepinephrine, boredom and ATP.
//!
//! Invariant: each lies in [0, 1]. At the baselines every effect is neutral: η and λ at their bases, damping and wave
//! speed as the scene says. A world without neurochemistry has no [`Chemistry`] resource. Other threads read the
//! scalars through [`ChemistryBoard`]: relaxed atomics, no lock, one snapshot per tick.

use bevy_ecs::prelude::Resource;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The scalars, each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Resource)]
pub struct Chemistry {
    /// D: reward prediction error, integrated. Raises plasticity η. Baseline ½.
    pub dopamine: f64,
    /// S: calm. Raises elastic recovery λ, lowers damping. Baseline ½.
    pub serotonin: f64,
    /// N: arousal by late ticks and alerts. Speeds waves up, lowers thresholds. Baseline 0.
    pub norepinephrine: f64,
    /// B: how predictable the wave has become. Baseline 0.
    pub boredom: f64,
    /// A: energy left for work. Full at 1.
    pub atp: f64,
}

impl Chemistry {
    /// D at rest.
    pub const DOPAMINE_REST: f64 = 0.5;
    /// S at rest.
    pub const SEROTONIN_REST: f64 = 0.5;
    /// N at rest.
    pub const NOREPINEPHRINE_REST: f64 = 0.0;

    /// Whether every scalar is a number in [0, 1].
    pub fn is_valid(&self) -> bool {
        self.scalars().iter().all(|value| (0.0..=1.0).contains(value))
    }

    /// D, S, N, B, A.
    pub fn scalars(&self) -> [f64; 5] {
        [self.dopamine, self.serotonin, self.norepinephrine, self.boredom, self.atp]
    }
}

impl Default for Chemistry {
    fn default() -> Self {
        Self {
            dopamine: Self::DOPAMINE_REST,
            serotonin: Self::SEROTONIN_REST,
            norepinephrine: Self::NOREPINEPHRINE_REST,
            boredom: 0.0,
            atp: 1.0,
        }
    }
}

/// The scalars as other threads see them: five values of 12 bits each and a validity bit in one word, so that a load
/// can never mix two ticks. Resolution 1/4095, enough for a display or a gate; the tick itself computes in f64.
#[derive(Debug, Clone, Default, Resource)]
pub struct ChemistryBoard(Arc<AtomicU64>);

const FIELD_BITS: u32 = 12;
const FIELD_MAX: f64 = ((1u64 << FIELD_BITS) - 1) as f64;
const VALID: u64 = 1 << 63;

impl ChemistryBoard {
    /// Publishes the scalars of a tick.
    pub fn publish(&self, chemistry: &Chemistry) {
        let word = chemistry.scalars().iter().enumerate().fold(VALID, |word, (i, value)| {
            let steps = (value.clamp(0.0, 1.0) * FIELD_MAX + 0.5) as u64;
            word | steps << (FIELD_BITS * i as u32)
        });
        self.0.store(word, Ordering::Relaxed);
    }

    /// The scalars last published; `None` before the first tick.
    pub fn read(&self) -> Option<Chemistry> {
        let word = self.0.load(Ordering::Relaxed);
        let field = |i: u32| (word >> (FIELD_BITS * i) & FIELD_MAX as u64) as f64 / FIELD_MAX;
        (word & VALID != 0).then(|| Chemistry {
            dopamine: field(0),
            serotonin: field(1),
            norepinephrine: field(2),
            boredom: field(3),
            atp: field(4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_to_the_resolution() {
        let board = ChemistryBoard::default();
        assert_eq!(board.read(), None);
        let chemistry =
            Chemistry { dopamine: 0.123, serotonin: 1.0, norepinephrine: 0.0, boredom: 0.77, atp: 0.5 };
        board.clone().publish(&chemistry);
        let read = board.read().expect("published");
        for (found, expected) in read.scalars().iter().zip(chemistry.scalars()) {
            assert!((found - expected).abs() <= 0.5 / FIELD_MAX + 1e-15, "{found} against {expected}");
        }
    }

    #[test]
    fn the_default_is_valid_and_nothing_else_than_a_number_in_range_is() {
        assert!(Chemistry::default().is_valid());
        assert!(!Chemistry { atp: f64::NAN, ..Chemistry::default() }.is_valid());
        assert!(!Chemistry { dopamine: 1.5, ..Chemistry::default() }.is_valid());
    }
}
