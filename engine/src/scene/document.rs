//! The scene file as serde sees it: one mirror type per field, nothing validated but types and names.
//!
//! Invariant: unknown fields are refused everywhere, and a field exists here only if the engine acts on it.
//! `version` is 1.

use super::quantity::{Constants, PerAxis, Quantity};
use serde::Deserialize;

/// The newest version this build reads.
pub const VERSION: u64 = 1;

/// A whole scene.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "Scene")]
pub struct Document {
    /// Version of the format: 1.
    pub version: u64,
    /// One line.
    #[serde(default)]
    pub title: String,
    /// What one should see.
    #[serde(default)]
    pub description: String,
    /// Named constants for every expression, in order; later ones may use earlier ones.
    #[serde(default)]
    pub constants: Constants,
    /// Geometry.
    pub torus: TorusForm,
    /// What is solved.
    #[serde(default)]
    pub equation: EquationForm,
    /// Real or imaginary time.
    #[serde(default)]
    pub time: TimeForm,
    /// Model time per tick.
    #[serde(default = "default_dt")]
    pub dt: Quantity,
    /// Ticks of a run.
    pub ticks: u64,
    /// Scalar type of the state.
    #[serde(default)]
    pub precision: PrecisionForm,
    /// Composition of a tick.
    #[serde(default)]
    pub integrator: IntegratorForm,
    /// V(x, t).
    #[serde(default)]
    pub potential: PotentialForm,
    /// r̂(x) in [0, 1]: damping is α(1 − r̂).
    #[serde(default = "default_resonance")]
    pub resonance: Quantity,
    /// ŝ in [0, 2], uniform: c = c0/(1 + ŝ).
    #[serde(default = "default_state")]
    pub state: Quantity,
    /// Ψ at tick 0.
    pub initial: FieldForm,
    /// ∫|Ψ|² to scale the initial state to.
    #[serde(default)]
    pub normalise: Option<Quantity>,
    /// Running sources.
    #[serde(default)]
    pub emitters: Vec<EmitterForm>,
    /// Sources that strike once.
    #[serde(default)]
    pub injections: Vec<InjectionForm>,
    /// Reductions over the torus: `"<x>"`, `"peak = max(abs)"`, `"integral(rho^2)"`.
    #[serde(default)]
    pub observables: Vec<String>,
    /// What is written, and when.
    #[serde(default)]
    pub outputs: OutputsForm,
    /// Seed of every random stream.
    #[serde(default)]
    pub seed: u64,
}

fn default_dt() -> Quantity {
    Quantity::Number(1e-3)
}

fn default_resonance() -> Quantity {
    Quantity::Number(0.5)
}

fn default_state() -> Quantity {
    Quantity::Number(0.0)
}

fn default_one() -> Quantity {
    Quantity::Number(1.0)
}

fn default_zero() -> Quantity {
    Quantity::Number(0.0)
}

/// Geometry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "torus")]
pub struct TorusForm {
    /// Nodes per axis; 1 where not named.
    pub extents: PerAxis<Quantity>,
    /// Periods per axis; the extent (spacing 1) where not named.
    #[serde(default)]
    pub lengths: PerAxis<Quantity>,
    /// How pages are cut.
    #[serde(default)]
    pub page: PageForm,
}

/// How pages are cut.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename = "page")]
pub enum PageForm {
    /// About 20,000 nodes.
    #[default]
    Auto,
    /// Nodes per axis of a page; 1 where not named.
    Shape(PerAxis<Quantity>),
}

/// What is solved.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "equation")]
pub enum EquationForm {
    /// i ∂tΨ = −½ Σ_d c² g^{dd} ∂_d²Ψ + VΨ + β|Ψ|²Ψ − iα(1 − r̂)Ψ + iE.
    Schrodinger {
        /// Wave speed before the state's slowing.
        #[serde(default = "default_one")]
        c0: Quantity,
        /// Cubic coefficient: positive defocuses.
        #[serde(default = "default_zero")]
        beta: Quantity,
        /// Damping scale.
        #[serde(default = "default_zero")]
        alpha: Quantity,
        /// Diagonal of the inverse metric; 1 where not named.
        #[serde(default)]
        metric: PerAxis<Quantity>,
    },
}

impl Default for EquationForm {
    fn default() -> Self {
        Self::Schrodinger {
            c0: default_one(),
            beta: default_zero(),
            alpha: default_zero(),
            metric: PerAxis::default(),
        }
    }
}

/// Real or imaginary time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "time")]
pub enum TimeForm {
    /// Evolution.
    #[default]
    Real,
    /// Relaxation to a ground state.
    Imaginary,
}

/// Scalar type of the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "precision")]
pub enum PrecisionForm {
    /// Single.
    #[default]
    F32,
    /// Double.
    F64,
}

/// Composition of a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "integrator")]
pub enum IntegratorForm {
    /// Second order.
    #[default]
    Strang,
    /// Fourth order, three Strang steps.
    Yoshida4,
    /// Fourth order, six stages.
    BlanesMoan4,
}

/// A potential.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "potential")]
pub enum PotentialForm {
    /// V = 0.
    #[default]
    Zero,
    /// V = ½ Σ ω_d² d², d the nearest image of x − centre.
    Harmonic {
        /// ω per axis; 0 where not named.
        omega: PerAxis<Quantity>,
        /// Centre per axis; 0 where not named.
        #[serde(default)]
        centre: PerAxis<Quantity>,
    },
    /// `height` wherever |d| > half the width along some named axis, 0 inside.
    Box {
        /// Height of the walls.
        height: Quantity,
        /// Inner width per axis; unlimited where not named.
        width: PerAxis<Quantity>,
        /// Centre per axis.
        #[serde(default)]
        centre: PerAxis<Quantity>,
    },
    /// V = depth · Σ sin²(π · periods · x/L) over the named axes.
    Lattice {
        /// Depth.
        depth: Quantity,
        /// Whole number of periods around the torus, per axis.
        periods: PerAxis<Quantity>,
    },
    /// Any formula of r…z and t.
    Expr(String),
    /// Real array of the torus's shape.
    FromNpy(String),
    /// Sum of several.
    Sum(Vec<PotentialForm>),
}

/// A complex field: initial state, profile of an emitter, pattern of an injection.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "field")]
pub enum FieldForm {
    /// A constant.
    Uniform {
        /// Its value.
        #[serde(default = "default_one")]
        amplitude: Quantity,
        /// Its phase in radians.
        #[serde(default = "default_zero")]
        phase: Quantity,
    },
    /// amplitude · exp(i Σ 2π mode x/L).
    PlaneWave {
        /// Whole number of waves around the torus, per axis.
        mode: PerAxis<Quantity>,
        /// Modulus.
        #[serde(default = "default_one")]
        amplitude: Quantity,
        /// Phase in radians at the origin.
        #[serde(default = "default_zero")]
        phase: Quantity,
    },
    /// amplitude · Π exp(−d²/2w² + i k d), d the nearest image of x − centre.
    Gaussian {
        /// w per axis: |Ψ|² has standard deviation w/√2. An axis without width is left uniform.
        width: PerAxis<Quantity>,
        /// Centre per axis; 0 where not named.
        #[serde(default)]
        centre: PerAxis<Quantity>,
        /// Wave number k per axis; 0 where not named.
        #[serde(default)]
        momentum: PerAxis<Quantity>,
        /// Modulus at the centre.
        #[serde(default = "default_one")]
        amplitude: Quantity,
    },
    /// A sech(A√(|β|/D) d) exp(i v d/D): exact for β < 0 on a line; on a ring its tails meet opposite the centre.
    BrightSoliton {
        /// The axis it moves along.
        axis: AxisForm,
        /// A.
        #[serde(default = "default_one")]
        amplitude: Quantity,
        /// Where it is.
        #[serde(default = "default_zero")]
        centre: Quantity,
        /// v, model length per model time.
        #[serde(default = "default_zero")]
        velocity: Quantity,
        /// Phase in radians.
        #[serde(default = "default_zero")]
        phase: Quantity,
    },
    /// A pair of dark solitons, `separation` apart: a single one is not periodic in phase. β > 0.
    DarkSoliton {
        /// The axis they lie on.
        axis: AxisForm,
        /// |Ψ|² far from them.
        #[serde(default = "default_one")]
        density: Quantity,
        /// Middle of the pair.
        #[serde(default = "default_zero")]
        centre: Quantity,
        /// Distance of the two; half the period where absent.
        #[serde(default)]
        separation: Option<Quantity>,
        /// Speed in units of the speed of sound √(βnD), −1 < v < 1; positive moves them together.
        #[serde(default = "default_zero")]
        velocity: Quantity,
    },
    /// (d/√(d² + core²))^|winding| exp(i winding θ) in a plane of nearest images; the phase is not periodic, so it
    /// belongs inside a trap, a packet (`Product`), or into neutral groups of small extent.
    Vortex {
        /// The two axes of the plane.
        plane: (AxisForm, AxisForm),
        /// Whole number of turns of the phase.
        #[serde(default = "default_winding")]
        winding: i32,
        /// Radius of the core.
        #[serde(default = "default_one")]
        core: Quantity,
        /// Centre per axis.
        #[serde(default)]
        centre: PerAxis<Quantity>,
        /// Modulus far away.
        #[serde(default = "default_one")]
        amplitude: Quantity,
    },
    /// Independent complex normal numbers on every node, ⟨|Ψ|²⟩ = rms².
    Noise {
        /// Root mean square of |Ψ|.
        rms: Quantity,
        /// Separates several noises of one scene.
        #[serde(default)]
        stream: u32,
    },
    /// Plane waves with random complex normal amplitudes, all modes with |m| ≤ mode_max per named axis, classical
    /// equipartition: ⟨|a_k|²⟩ ∝ 1/(½ΣDk² + gap); ⟨|Ψ|²⟩ = rms².
    RandomModes {
        /// Root mean square of |Ψ|.
        rms: Quantity,
        /// Largest mode per axis.
        mode_max: PerAxis<Quantity>,
        /// Energy offset of the spectrum (−µ); large values give a white spectrum.
        #[serde(default = "default_one")]
        gap: Quantity,
        /// Separates several fields of one scene.
        #[serde(default)]
        stream: u32,
    },
    /// re + i·im, formulas of r…z.
    Expr {
        /// Real part.
        re: Quantity,
        /// Imaginary part.
        #[serde(default = "default_zero")]
        im: Quantity,
    },
    /// amplitude · exp(i·phase), formulas of r…z.
    Polar {
        /// Modulus (may be negative).
        amplitude: Quantity,
        /// Phase in radians.
        #[serde(default = "default_zero")]
        phase: Quantity,
    },
    /// Complex or real array of the torus's shape.
    FromNpy(String),
    /// Sum of several.
    Sum(Vec<FieldForm>),
    /// Product of several.
    Product(Vec<FieldForm>),
}

fn default_winding() -> i32 {
    1
}

/// An axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", rename = "axis")]
#[allow(missing_docs)] // the nine names speak for themselves
pub enum AxisForm {
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

/// A running source.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "emitter")]
pub enum EmitterForm {
    /// Golden-ratio emitters: f_n = π φⁿ Hz for n = 1…8 with their phase offsets × delta_phi; n = 9 is the central
    /// synchroniser π φ⁻¹ √2 · 32/27 Hz.
    GoldenRatio {
        /// Which; all nine where absent.
        #[serde(default)]
        n: Vec<u8>,
        /// Δφ, the factor of the phase offsets.
        #[serde(default = "default_one")]
        delta_phi: Quantity,
        /// Strength of each.
        amplitude: Quantity,
        /// Where they act.
        profile: FieldForm,
        /// When they act.
        #[serde(default)]
        envelope: EnvelopeForm,
    },
    /// One source of its own.
    Custom {
        /// Name in reports.
        #[serde(default)]
        name: String,
        /// Turns per unit of model time.
        frequency_hz: Quantity,
        /// Phase at t = 0 in degrees.
        #[serde(default = "default_zero")]
        phase_deg: Quantity,
        /// Strength.
        amplitude: Quantity,
        /// Where it acts.
        profile: FieldForm,
        /// When it acts.
        #[serde(default)]
        envelope: EnvelopeForm,
    },
}

/// When a source acts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "envelope")]
pub enum EnvelopeForm {
    /// Always.
    #[default]
    Constant,
    /// sin² ramps at both ends.
    Window {
        /// Begins to rise.
        #[serde(default = "default_zero")]
        start_secs: Quantity,
        /// Has fallen to zero; never where absent.
        #[serde(default)]
        end_secs: Option<Quantity>,
        /// Length of a ramp.
        #[serde(default = "default_zero")]
        rise_secs: Quantity,
    },
    /// A formula of t.
    Expr(String),
}

/// A source that strikes once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "injection")]
pub struct InjectionForm {
    /// Before this tick.
    pub tick: u64,
    /// Factor.
    #[serde(default = "default_one")]
    pub amplitude: Quantity,
    /// Phase of the factor in radians.
    #[serde(default = "default_zero")]
    pub phase: Quantity,
    /// Pattern.
    pub profile: FieldForm,
}

/// What is written, and when.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "outputs")]
pub struct OutputsForm {
    /// Ticks between rows of the time series; a hundredth of the run where absent.
    #[serde(default)]
    pub series_every: Option<u64>,
    /// When Ψ is written.
    #[serde(default)]
    pub snapshots: SnapshotsForm,
    /// Two-dimensional (or other) cuts and projections written at the same ticks.
    #[serde(default)]
    pub marginals: Vec<MarginalForm>,
    /// Formats of the time series; CSV where empty.
    #[serde(default)]
    pub formats: Vec<FormatForm>,
}

/// When Ψ is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "snapshots")]
pub enum SnapshotsForm {
    /// After the last tick.
    #[default]
    Last,
    /// Never.
    Never,
    /// Every n ticks, the first and the last included.
    Every(u64),
    /// At these ticks.
    At(Vec<u64>),
}

/// A cut or projection.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "marginal")]
pub enum MarginalForm {
    /// ∫|Ψ|² over every axis but these.
    Project(Vec<AxisForm>),
    /// Ψ on the plane of these axes through the nodes nearest `at` (0 where not named).
    Slice {
        /// Axes of the plane.
        keep: Vec<AxisForm>,
        /// Position of the plane, model units.
        #[serde(default)]
        at: PerAxis<Quantity>,
    },
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename = "format")]
#[allow(missing_docs)] // named after themselves
pub enum FormatForm {
    Csv,
    Npy,
}
