//! The scene file as serde sees it: one mirror type per field, nothing validated but types and names.
//!
//! Invariant: unknown fields are refused everywhere, and a field exists here only if the engine acts on it.
//! `version` is 1.

use super::forms::{
    AxisForm, EmitterForm, FieldForm, InjectionForm, PotentialForm, default_one, default_zero,
};
use super::quantity::{Constants, PerAxis, Quantity};
use super::scan::ScanForm;
use super::watch::{EngsForm, OracleForm};
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
    /// ŝ(x) in [0, 2]: c = c0/(1 + ŝ).
    #[serde(default = "default_state")]
    pub state: Quantity,
    /// How the metric learns; it doesn't where absent.
    #[serde(default)]
    pub plasticity: Option<PlasticityForm>,
    /// Ψ at tick 0.
    pub initial: FieldForm,
    /// Ψ̇ at tick 0, of the wave form; zero where absent.
    #[serde(default)]
    pub velocity: Option<FieldForm>,
    /// ∫|Ψ|² to scale the initial state to.
    #[serde(default)]
    pub normalise: Option<Quantity>,
    /// Running sources.
    #[serde(default)]
    pub emitters: Vec<EmitterForm>,
    /// Sources that strike once.
    #[serde(default)]
    pub injections: Vec<InjectionForm>,
    /// Present where only active pages exist.
    #[serde(default)]
    pub growth: Option<GrowthForm>,
    /// The scan over the torus and its readout.
    #[serde(default)]
    pub scan: Option<ScanForm>,
    /// Reductions over the torus: `"<x>"`, `"peak = max(abs)"`, `"integral(rho^2)"`.
    #[serde(default)]
    pub observables: Vec<String>,
    /// What is written, and when.
    #[serde(default)]
    pub outputs: OutputsForm,
    /// When the state is flushed, where a run keeps one; the defaults where absent.
    #[serde(default)]
    pub naps: Option<NapsForm>,
    /// Orders that the run gives itself.
    #[serde(default)]
    pub schedule: Vec<ScheduleForm>,
    /// The watch on the energy balance.
    #[serde(default)]
    pub oracle: Option<OracleForm>,
    /// Neurochemistry.
    #[serde(default)]
    pub engs: Option<EngsForm>,
    /// What real time does to a tick.
    #[serde(default)]
    pub realtime: RealtimeForm,
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

/// How a sparse torus grows and shrinks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename = "growth")]
pub struct GrowthForm {
    /// ε, relative to ‖Ψ‖.
    pub threshold: Option<Quantity>,
    /// Norm relative to ‖Ψ‖ below which a page is quiet; ε where absent.
    pub vacuum: Option<Quantity>,
    /// Most pages born per tick.
    pub births_max: Option<Quantity>,
    /// Most pages that exist.
    pub pages_max: Option<Quantity>,
    /// Ticks of quiet before a page is pruned.
    pub quiet_ticks: Option<Quantity>,
    /// Ticks between looks.
    pub every: Option<Quantity>,
    /// Positions from which the support of fields is searched.
    pub seeds: Vec<PerAxis<Quantity>>,
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
        /// Diagonal of the inverse metric, numbers or formulas of position; 1 where not named.
        #[serde(default)]
        metric: PerAxis<Quantity>,
        /// Other components of the inverse metric: `{xy: "0.1*sin(x)"}`; 0 where not named.
        #[serde(default)]
        off_diagonal: Constants,
    },
    /// Ψ̈ + α(1 − r̂)Ψ̇ − Σ_ij ∂_i c² g^{ij} ∂_jΨ = β|Ψ|²Ψ + E.
    Wave {
        /// Wave speed before the state's slowing.
        #[serde(default = "default_one")]
        c0: Quantity,
        /// Cubic coefficient: negative defocuses, positive has no bound on the energy from below.
        #[serde(default = "default_zero")]
        beta: Quantity,
        /// Damping scale.
        #[serde(default = "default_zero")]
        alpha: Quantity,
        /// Diagonal of the inverse metric, numbers or formulas of position; 1 where not named.
        #[serde(default)]
        metric: PerAxis<Quantity>,
        /// Other components of the inverse metric; 0 where not named.
        #[serde(default)]
        off_diagonal: Constants,
    },
}

/// What every equation has.
pub struct EquationParameters<'a> {
    /// Wave speed before the state's slowing.
    pub c0: &'a Quantity,
    /// Cubic coefficient.
    pub beta: &'a Quantity,
    /// Damping scale.
    pub alpha: &'a Quantity,
    /// Diagonal of the inverse metric.
    pub metric: &'a PerAxis<Quantity>,
    /// Its other components.
    pub off_diagonal: &'a Constants,
}

impl EquationForm {
    /// The parameters, whichever equation has them.
    pub fn parameters(&self) -> EquationParameters<'_> {
        match self {
            Self::Schrodinger { c0, beta, alpha, metric, off_diagonal }
            | Self::Wave { c0, beta, alpha, metric, off_diagonal } => {
                EquationParameters { c0, beta, alpha, metric, off_diagonal }
            }
        }
    }
}

impl Default for EquationForm {
    fn default() -> Self {
        Self::Schrodinger {
            c0: default_one(),
            beta: default_zero(),
            alpha: default_zero(),
            metric: PerAxis::default(),
            off_diagonal: Constants::default(),
        }
    }
}

/// ∂g/∂t = −η(D)·C − λ(S)·(g − g₀) on every metric cell.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "plasticity")]
pub struct PlasticityForm {
    /// η_base, per unit of model time.
    pub eta: Quantity,
    /// λ_base, per unit of model time.
    pub lambda: Quantity,
    /// What a cell is.
    #[serde(default)]
    pub cell: CellForm,
    /// Ticks between updates of a cell; 8 where absent.
    #[serde(default)]
    pub every: Option<Quantity>,
    /// Change of a component of g that makes a new factorisation due; 1e-4 where absent.
    #[serde(default)]
    pub tolerance: Option<Quantity>,
    /// Mean |∇Ψ|² below which a wave leaves no trace; 1e-12 where absent.
    #[serde(default)]
    pub gradient_floor: Option<Quantity>,
    /// Ticks per application of the off-diagonal remainder, odd; 5 where absent.
    #[serde(default)]
    pub remainder_every: Option<Quantity>,
}

/// What a metric cell is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "cell")]
pub enum CellForm {
    /// 3 × 3 × 3 nodes along x, y, z.
    #[default]
    Block,
    /// One node.
    Node,
}

/// What real time does to a tick.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "realtime")]
pub struct RealtimeForm {
    /// Policy for a tick predicted to overrun.
    #[serde(default)]
    pub overrun: OverrunForm,
    /// Ticks longer than this throttle growth.
    #[serde(default)]
    pub warning_micros: Option<Quantity>,
    /// Ticks longer than this ask for a soft SCRAM.
    #[serde(default)]
    pub critical_micros: Option<Quantity>,
    /// `(n, m)`: n of the last m ticks make a threshold act.
    #[serde(default)]
    pub n_of: Option<(u32, u32)>,
    /// Older orders are refused.
    #[serde(default)]
    pub order_age_millis_max: Option<Quantity>,
    /// Time without a tick after which the watchdog ends the process.
    #[serde(default)]
    pub watchdog_micros: Option<u64>,
}

/// Policy for a tick predicted to overrun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "overrun")]
pub enum OverrunForm {
    /// Without the nonlinear flow.
    #[default]
    Degrade,
    /// Not at all in this period.
    Drop,
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

/// When the state is flushed; whatever is left out has its default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "naps")]
pub struct NapsForm {
    /// Ticks between naps; 0 for none.
    #[serde(default)]
    pub every_ticks: Option<u64>,
    /// Memory of changed pages from which a nap begins.
    #[serde(default)]
    pub dirty_megabytes: Option<Quantity>,
    /// Dopamine below which a nap begins once it stayed there.
    #[serde(default)]
    pub dopamine_below: Option<Quantity>,
    /// How long it must stay there.
    #[serde(default)]
    pub dopamine_ticks: Option<u64>,
    /// Energy reserve below which a nap begins.
    #[serde(default)]
    pub atp_below: Option<Quantity>,
    /// Fewest ticks between naps that nobody commanded.
    #[serde(default)]
    pub rest_ticks: Option<u64>,
    /// Snapshots after which the file is compacted; 0 for never.
    #[serde(default)]
    pub compact_every: Option<u64>,
    /// Ticks between digests in the journal; 0 for none.
    #[serde(default)]
    pub digest_every: Option<u64>,
    /// Longest time an entry of the journal waits for its sync.
    #[serde(default)]
    pub group_commit_millis: Option<u64>,
    /// How columns are stored.
    #[serde(default)]
    pub encoding: EncodingForm,
}

/// How columns are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "encoding")]
pub enum EncodingForm {
    /// Bit for bit.
    #[default]
    Lossless,
    /// As balanced nonary digits.
    Nonary,
}

/// An order at a tick.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename = "scheduled")]
pub struct ScheduleForm {
    /// Before this tick.
    pub tick: u64,
    /// What.
    pub order: OrderForm,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename = "order")]
pub enum OrderForm {
    /// A strike as text.
    Inject(String),
    /// A new β.
    SetBeta(Quantity),
    /// The tick runs without the nonlinear flow.
    Degrade,
    /// A nap.
    Nap,
    /// An orderly end.
    Halt,
}
