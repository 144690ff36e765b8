//! Time inside the world: an integer tick. Invariant: model time is always `tick · dt`, never a sum of steps.

use bevy_ecs::prelude::Resource;

/// Ticks completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Resource)]
pub struct Tick(pub u64);

impl Tick {
    /// Model time for a step of `dt`.
    pub fn time(self, dt: f64) -> f64 {
        self.0 as f64 * dt
    }
}
