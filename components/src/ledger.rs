//! Where energy enters and leaves a world: one accumulator per named cause.
//!
//! Invariant: a stage that changes the energy on purpose adds the change where it happens, in f64, with the sign of
//! ΔH. What the accumulators do not explain is the oracle's residual. The resource exists only where the scene asks
//! for the energy balance; a stage takes `Option<ResMut<EnergyFlows>>`.

use bevy_ecs::prelude::Resource;

/// A cause of energy change. H is the energy that `observables` reports, in model units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Flow {
    /// Emitters and injections (W_in).
    Source,
    /// Γ: almost always negative (−W_damp).
    Damping,
    /// A metric that changed: ½∫δD^{ij} Re(∂_iΨ*∂_jΨ).
    Metric,
    /// Pages that were born.
    Growth,
    /// Pages that were pruned.
    Prune,
    /// A potential that depends on time: ∫∂tV|Ψ|².
    Drive,
    /// Parameters that were set: β, the wave speed; a degraded tick.
    Parameters,
    /// Ψ was scaled by the oracle.
    Renormalisation,
    /// Soft SCRAM: the freeze and the reset.
    Scram,
}

impl Flow {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All, in the order of reports.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Source,
        Self::Damping,
        Self::Metric,
        Self::Growth,
        Self::Prune,
        Self::Drive,
        Self::Parameters,
        Self::Renormalisation,
        Self::Scram,
    ];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Damping => "damping",
            Self::Metric => "metric",
            Self::Growth => "growth",
            Self::Prune => "prune",
            Self::Drive => "drive",
            Self::Parameters => "parameters",
            Self::Renormalisation => "renormalisation",
            Self::Scram => "scram",
        }
    }
}

/// Energy that entered (positive) or left (negative) since the world began, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Resource)]
pub struct EnergyFlows {
    totals: [f64; Flow::COUNT],
    norm: f64,
    at_end: (f64, f64),
    jumps: [(f64, f64); 2],
    rest: Option<Flow>,
    damping_ratio: f64,
    kinetic_ratio: f64,
}

impl Default for EnergyFlows {
    fn default() -> Self {
        Self {
            totals: [0.0; Flow::COUNT],
            norm: 0.0,
            at_end: (0.0, 0.0),
            jumps: [(0.0, 0.0); 2],
            rest: None,
            damping_ratio: 1.0,
            kinetic_ratio: 1.0,
        }
    }
}

impl EnergyFlows {
    /// Adds an energy change.
    pub fn add(&mut self, flow: Flow, delta_h: f64) {
        self.totals[flow as usize] += delta_h;
    }

    /// Adds a change of the energy and of ∫|Ψ|² at the tick's end, when the wave has advanced: nothing of it was damped.
    pub fn add_at_end(&mut self, flow: Flow, delta_h: f64, delta_norm: f64) {
        self.add(flow, delta_h);
        self.at_end.0 += delta_h;
        self.at_end.1 += delta_norm;
    }

    /// The changes of (energy, ∫|Ψ|²) at the tick's end since the last call.
    pub fn take_at_end(&mut self) -> (f64, f64) {
        std::mem::take(&mut self.at_end)
    }

    /// The power with which Γ(x) takes energy and ∫|Ψ|² jumps by this much, at the tick's beginning or at its end: it is
    /// sampled now and then, and a sample doesn't know when it changed.
    pub fn note_jump(&mut self, is_at_end: bool, energy: f64, norm: f64) {
        let jump = &mut self.jumps[usize::from(is_at_end)];
        *jump = (jump.0 + energy, jump.1 + norm);
    }

    /// The jumps of the powers at this tick's beginning and at its end.
    pub fn take_jumps(&mut self) -> [(f64, f64); 2] {
        std::mem::take(&mut self.jumps)
    }

    /// Adds a change of ∫|Ψ|² that belongs to this tick.
    pub fn add_norm(&mut self, delta: f64) {
        self.norm += delta;
    }

    /// The changes of the norm since the last call.
    pub fn take_norm(&mut self) -> f64 {
        std::mem::take(&mut self.norm)
    }

    /// Whatever this tick leaves unexplained belongs to `flow`: the balance starts anew at its end. For a change
    /// that is too rare to be worth an exact figure (an injection, a page that was born, a restored state).
    pub fn attribute_rest(&mut self, flow: Flow) {
        self.rest = Some(flow);
    }

    /// The cause given to [`Self::attribute_rest`] since the last call.
    pub fn take_rest(&mut self) -> Option<Flow> {
        self.rest.take()
    }

    /// Γ was scaled by `ratio` at the beginning of this tick, everywhere.
    pub fn scale_damping(&mut self, ratio: f64) {
        self.damping_ratio *= ratio;
    }

    /// T was scaled by `ratio` at the beginning of this tick, everywhere.
    pub fn scale_kinetic(&mut self, ratio: f64) {
        self.kinetic_ratio *= ratio;
    }

    /// The products of the ratios of Γ and of T since the last call.
    pub fn take_ratios(&mut self) -> (f64, f64) {
        (std::mem::replace(&mut self.damping_ratio, 1.0), std::mem::replace(&mut self.kinetic_ratio, 1.0))
    }

    /// Sum of the changes by one cause.
    pub fn of(&self, flow: Flow) -> f64 {
        self.totals[flow as usize]
    }

    /// The sums by [`Flow`] as index.
    pub fn totals(&self) -> &[f64; Flow::COUNT] {
        &self.totals
    }

    /// The same, to be taken over from a saved world.
    pub fn totals_mut(&mut self) -> &mut [f64; Flow::COUNT] {
        &mut self.totals
    }

    /// ΣW: every cause together.
    pub fn total(&self) -> f64 {
        self.totals.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_add_up() {
        let mut flows = EnergyFlows::default();
        for (i, flow) in Flow::ALL.into_iter().enumerate() {
            assert_eq!(flow as usize, i);
            flows.add(flow, i as f64);
            flows.add(flow, 0.5);
        }
        assert_eq!(flows.of(Flow::Metric), 2.5);
        assert_eq!(flows.total(), 36.0 + 4.5);
    }
}
