//! What a tick reports: samples of the standard observables and the time its stages took.
//! Invariant: nothing here feeds back into the state; a run with and without telemetry has the same bits.

use bevy_ecs::prelude::Resource;

/// The standard observables at the end of one tick. ∫ means `cell_volume · Σ` over the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Tick that ended.
    pub tick: u64,
    /// Model time.
    pub time: f64,
    /// ∫|Ψ|².
    pub norm: f64,
    /// Norm relative to tick 0, minus one.
    pub norm_drift: f64,
    /// Kinetic + potential + interaction energy.
    pub energy: f64,
    /// ½ Σ_d D_d ∫|∂_dΨ|²; in the wave form ½ ∫|Ψ̇|².
    pub energy_kinetic: f64,
    /// ∫V|Ψ|²; in the wave form ½ Σ_d D_d ∫|∂_dΨ|².
    pub energy_potential: f64,
    /// (β/2) ∫|Ψ|⁴; in the wave form −(β/4) ∫|Ψ|⁴.
    pub energy_interaction: f64,
    /// (energy − energy at tick 0) / max(|energy at tick 0|, tiny).
    pub energy_drift: f64,
    /// Chemical potential (E_kin + E_pot + 2·E_int) / norm; zero in the wave form, which has none.
    pub mu: f64,
    /// Σ_d of ∫ Im(Ψ* ∂_dΨ) along r…z.
    pub momentum: [f64; 9],
    /// Largest |Ψ| on any node.
    pub max_abs_psi: f64,
    /// Nodes whose Ψ is not finite.
    pub n_nonfinite: u64,
}

/// The stages of a tick whose time is measured, in execution order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// Commands and injections enter.
    Ingress,
    /// The plastic metric yields and returns.
    MetricUpdate,
    /// Both potential half steps, with the nonlinear flow in the same pass.
    HalfPotential,
    /// The kinetic propagator.
    Kinetic,
    /// The closing half of the nonlinear flow, where it is separate.
    Nonlinear,
    /// The whole step of the wave form, in place of the three above.
    WaveForm,
    /// Pages of a sparse torus are born and pruned.
    Boundary,
    /// The scan over the torus and its readout.
    MambaScan,
    /// Neurochemistry: reward prediction error, update, broadcast.
    Engs,
    /// Norm, maximum and finiteness; the norm-leak controller; the energy balance.
    Oracle,
    /// Samples leave.
    Egress,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = 11;

    /// All stages in execution order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Ingress,
        Self::MetricUpdate,
        Self::HalfPotential,
        Self::Kinetic,
        Self::Nonlinear,
        Self::WaveForm,
        Self::Boundary,
        Self::MambaScan,
        Self::Engs,
        Self::Oracle,
        Self::Egress,
    ];

    /// What a tick of one 3^9 page at 1 kHz may spend on it, microseconds; the wave form has what the stages have
    /// that it stands for.
    pub fn budget_micros(self) -> Option<f64> {
        match self {
            Self::HalfPotential | Self::Nonlinear => Some(100.0),
            Self::Kinetic => Some(300.0),
            Self::MetricUpdate | Self::Boundary | Self::Engs => Some(50.0),
            Self::MambaScan => Some(200.0),
            Self::WaveForm => Some(500.0),
            Self::Ingress | Self::Oracle | Self::Egress => None,
        }
    }

    /// Name in reports; equals the stage's file name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::MetricUpdate => "metric_update",
            Self::HalfPotential => "half_potential",
            Self::Kinetic => "kinetic",
            Self::Nonlinear => "nonlinear",
            Self::WaveForm => "wave_form",
            Self::Boundary => "boundary",
            Self::MambaScan => "mamba_scan",
            Self::Engs => "engs",
            Self::Oracle => "oracle",
            Self::Egress => "egress",
        }
    }
}

/// Nanoseconds each stage took in the last tick; all zero unless a clock is lent.
#[derive(Debug, Clone, Copy, Default, Resource)]
pub struct StageTimes {
    /// A monotonic clock in nanoseconds, lent by the runner; the tick itself has none.
    pub now_nanos: Option<fn() -> u64>,
    /// By [`Stage`] as index.
    pub nanos: [u64; Stage::COUNT],
}

impl StageTimes {
    /// Reads the lent clock, or 0.
    pub fn now(&self) -> u64 {
        self.now_nanos.map_or(0, |now| now())
    }

    /// Adds time to a stage.
    pub fn add(&mut self, stage: Stage, nanos: u64) {
        self.nanos[stage as usize] += nanos;
    }
}
