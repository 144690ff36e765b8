//! The forms of potentials, fields, emitters and injections as serde sees them.
//! Invariant: as for [`document`](super::document): types and names only; values are checked when they are built.

use super::quantity::{PerAxis, Quantity};
use serde::Deserialize;

pub(super) fn default_one() -> Quantity {
    Quantity::Number(1.0)
}

pub(super) fn default_zero() -> Quantity {
    Quantity::Number(0.0)
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

/// A source that strikes once, when it arrives.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "strike")]
pub struct StrikeForm {
    /// Factor.
    #[serde(default = "default_one")]
    pub amplitude: Quantity,
    /// Phase of the factor in radians.
    #[serde(default = "default_zero")]
    pub phase: Quantity,
    /// Pattern.
    pub profile: FieldForm,
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
