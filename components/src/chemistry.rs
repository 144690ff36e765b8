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

    /// From D, S, N, B, A.
    pub fn from_scalars([dopamine, serotonin, norepinephrine, boredom, atp]: [f64; 5]) -> Self {
        Self { dopamine, serotonin, norepinephrine, boredom, atp }
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

/// How neurochemistry runs. Per second means per second of model time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EngsSettings {
    /// Ticks between updates.
    pub every: u64,
    /// Scalars at tick 0.
    pub initial: Chemistry,
    /// ŝ of the scene, which N lowers.
    pub state: f64,
    /// Time constant τ of the expected energy.
    pub tau_secs: f64,
    /// Smallest |Ĥ| that a prediction error is relative to.
    pub energy_floor: f64,
    /// Decay of S towards rest while awake.
    pub serotonin_decay_per_sec: f64,
    /// Decay of N towards rest.
    pub norepinephrine_decay_per_sec: f64,
    /// a of ΔB = a(1 − tanh(k·Hs)).
    pub boredom_growth: f64,
    /// k of the same.
    pub boredom_sharpness: f64,
    /// Boredom lost per |δ|.
    pub boredom_relief: f64,
    /// B above which a curiosity event is raised.
    pub curiosity_at: f64,
    /// Node-steps that a full store of ATP pays for.
    pub atp_capacity: f64,
    /// ATP regained at rest.
    pub atp_recharge_per_sec: f64,
}

impl Default for EngsSettings {
    fn default() -> Self {
        Self {
            every: 10,
            initial: Chemistry::default(),
            state: 0.0,
            tau_secs: 1.0,
            energy_floor: 1e-9,
            serotonin_decay_per_sec: 0.01,
            norepinephrine_decay_per_sec: 0.5,
            boredom_growth: 1e-3,
            boredom_sharpness: 0.25,
            boredom_relief: 0.5,
            curiosity_at: 0.8,
            atp_capacity: 1e11,
            atp_recharge_per_sec: 0.1,
        }
    }
}

/// How far away a goal lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Horizon {
    /// Seconds.
    Short,
    /// Minutes.
    Mid,
    /// Longer.
    Long,
}

/// Something to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// Name by number; the sender's choice, unique among open goals.
    pub id: u64,
    /// How far away.
    pub horizon: Horizon,
    /// Reward when it is reached, in [−1, 1].
    pub reward: f64,
}

/// Something that acts on the chemistry from outside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stimulus {
    /// External reward R in [−1, 1], for the next update.
    Reward(f64),
    /// A security alert.
    Alert,
    /// Stress in [0, 1] (late ticks), added to N.
    Stress(f64),
    /// Work done elsewhere (a tool call), in node-steps.
    Work(f64),
    /// A new goal.
    AddGoal(Goal),
    /// The goal of this id is reached.
    ReachGoal(u64),
    /// Go to rest.
    Nap,
}

/// Why a nap is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NapCause {
    /// ATP is below 5 %.
    Exhaustion,
    /// Dopamine stayed low.
    Fatigue,
    /// A stimulus asked for it.
    Asked,
}

/// Work that stages measured since the last update: deterministic counts, never times.
#[derive(Debug, Clone, Copy, PartialEq, Default, Resource)]
pub struct Work {
    /// Nodes advanced by one tick.
    pub node_steps: u64,
    /// Metric cells updated.
    pub plasticity_updates: u64,
}

/// What the scalars do to the stages, as applied.
#[derive(Debug, Clone, Copy, PartialEq, Resource)]
pub struct Effects {
    /// Γ/Γ_scene = 1.5 − S.
    pub damping_scale: f64,
    /// D/D_scene = ((1 + ŝ)/(1 + ŝ_eff))².
    pub diffusion_scale: f64,
    /// θ of growth and of the ingest gate.
    pub firing_threshold: f64,
}

impl Default for Effects {
    fn default() -> Self {
        Self { damping_scale: 1.0, diffusion_scale: 1.0, firing_threshold: 0.6 }
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
        (word & VALID != 0).then(|| Chemistry::from_scalars([0, 1, 2, 3, 4].map(field)))
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
