//! Everything a world is built from, validated by whoever reads it (a scene file, a test, an embedding program).
//! Invariant: plain data and pure functions, in f64 and model units; precision is chosen when the world is built.

use crate::chemistry::EngsSettings;
use crate::emitter::{Emitter, Injection};
use crate::fill::{ComplexFill, Profile, TimePotential};
use crate::growth::GrowthRule;
use crate::metric::{MetricProfile, Plasticity};
use crate::oracle::OracleSettings;
use crate::scan::ScanSetup;
use crate::torus::Torus;
use bevy_ecs::prelude::Resource;
use std::fmt;
use std::sync::Arc;

/// Scalar type of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Double precision.
    F64,
}

impl Precision {
    /// `"f32"` or `"f64"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Bytes of one real number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// How potential and kinetic flows are composed within one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Integrator {
    /// V/2 · T · V/2, second order (Strang 1968).
    #[default]
    Strang,
    /// Three Strang steps, fourth order (Yoshida 1990).
    Yoshida4,
    /// Six stages, fourth order, small error constant (Blanes & Moan 2002, S6).
    BlanesMoan4,
}

impl Integrator {
    /// Name as scenes spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strang => "Strang",
            Self::Yoshida4 => "Yoshida4",
            Self::BlanesMoan4 => "BlanesMoan4",
        }
    }
}

/// Whether the tick evolves or relaxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeMode {
    /// Real time.
    #[default]
    Real,
    /// Imaginary time: normalised gradient flow towards the ground state.
    Imaginary,
}

/// Which equation a world solves.
#[derive(Clone, Default)]
pub enum Equation {
    /// i ∂tΨ = −½ Σ_d D_d ∂_d²Ψ + VΨ + β|Ψ|²Ψ − iΓΨ + iE.
    #[default]
    Schrodinger,
    /// Ψ̈ + ΓΨ̇ − Σ_d D_d ∂_d²Ψ = β|Ψ|²Ψ + E: second order in time, so the velocity is part of the state.
    Wave {
        /// Ψ̇ at tick 0.
        velocity: Arc<dyn ComplexFill>,
    },
}

impl Equation {
    /// Name as scenes spell it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Schrodinger => "Schrodinger",
            Self::Wave { .. } => "Wave",
        }
    }
}

/// Parameters of the equation.
#[derive(Debug, Clone, Copy, PartialEq, Resource)]
pub struct WaveParameters {
    /// Model time per tick.
    pub dt: f64,
    /// β: in the Schrödinger form, positive defocuses and negative focuses; in the wave form, the other way round.
    pub beta: f64,
    /// D^{dd} = c² g^{dd} along r…z, with c = c0/(1 + ŝ); its greatest value where it varies in space.
    pub diffusion: [f64; 9],
    /// Composition of the tick.
    pub integrator: Integrator,
    /// Real or imaginary time.
    pub time: TimeMode,
}

/// What a world is built from.
#[derive(Clone)]
pub struct Setup {
    /// Geometry and paging.
    pub torus: Torus,
    /// Scalar type of the state.
    pub precision: Precision,
    /// Seed of every random stream.
    pub seed: u64,
    /// The equation.
    pub equation: Equation,
    /// Its parameters.
    pub wave: WaveParameters,
    /// D^{ij}(x) where it is more than the constant diagonal `wave.diffusion`.
    pub metric: Option<MetricProfile>,
    /// How the metric learns; `None` for a metric that doesn't.
    pub plasticity: Option<Plasticity>,
    /// Static potential V(x).
    pub potential: Profile,
    /// V(x, t) − V(x), where the potential depends on time.
    pub drive: Option<Arc<dyn TimePotential>>,
    /// Γ(x) = α(1 − r̂) ≥ 0: the rate at which Ψ decays, or in the wave form Ψ̇.
    pub damping: Profile,
    /// Ψ at tick 0.
    pub initial: Arc<dyn ComplexFill>,
    /// ∫|Ψ|² to scale the initial state to; in imaginary time also the norm that is kept (1 when absent).
    pub norm: Option<f64>,
    /// Sources that run.
    pub emitters: Vec<Emitter>,
    /// Sources that strike once.
    pub injections: Vec<Injection>,
    /// Present where only active pages exist; the torus is then cut into blocks.
    pub growth: Option<GrowthRule>,
    /// The scan over the torus and its readout.
    pub scan: Option<ScanSetup>,
    /// The watch on the energy balance, where there is one.
    pub oracle: Option<OracleSettings>,
    /// Neurochemistry, where there is any.
    pub engs: Option<EngsSettings>,
    /// Ticks between samples of the standard observables; 0 for none but those asked for.
    pub sample_every: u64,
}

impl Setup {
    /// The free wave Ψ = 1 on a closed torus: double precision, Strang, no potential, β = 0. What a caller wants
    /// otherwise, it says with struct update syntax.
    pub fn free(torus: Torus, dt: f64) -> Self {
        Self {
            torus,
            precision: Precision::F64,
            seed: 1,
            equation: Equation::Schrodinger,
            wave: WaveParameters {
                dt,
                beta: 0.0,
                diffusion: [1.0; 9],
                integrator: Integrator::Strang,
                time: TimeMode::Real,
            },
            metric: None,
            plasticity: None,
            potential: Profile::Uniform(0.0),
            drive: None,
            damping: Profile::Uniform(0.0),
            initial: Arc::new(|_: usize, re: &mut [f64], _: &mut [f64]| re.fill(1.0)),
            norm: None,
            emitters: Vec::new(),
            injections: Vec::new(),
            growth: None,
            scan: None,
            oracle: None,
            engs: None,
            sample_every: 0,
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("torus", &self.torus)
            .field("precision", &self.precision)
            .field("seed", &self.seed)
            .field("equation", &self.equation.name())
            .field("wave", &self.wave)
            .field("metric", &self.metric)
            .field("plasticity", &self.plasticity)
            .field("potential", &self.potential)
            .field("driven", &self.drive.is_some())
            .field("damping", &self.damping)
            .field("norm", &self.norm)
            .field("emitters", &self.emitters)
            .field("injections", &self.injections)
            .field("growth", &self.growth)
            .field("scan", &self.scan)
            .field("oracle", &self.oracle)
            .field("engs", &self.engs)
            .field("sample_every", &self.sample_every)
            .finish_non_exhaustive()
    }
}
