//! What a device must do so that a tick can run on it: the seam between the stages and whatever moves the bytes.
//!
//! Invariant: the calls of one tick say what the stages on the host would do, in their order. A backend may put off
//! work and join it with later work, but never so that a reader could tell: bits do not depend on who looks when.
//! Plain data and one trait; nothing here knows of a device.

mod lines;

pub use lines::{
    Expansion, LineFlows, LineKind, LinePass, LineProgram, LineStep, Measure, Measures, MetricAxis,
    MetricWorld, Renewal,
};

use crate::field::Shape;
use crate::half_potential::Time;
use crate::kinetic::AxisTerm;
use crate::source::Strengths;

/// Who owns the truth about Ψ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residency {
    /// The columns of the pages.
    Host,
    /// The device; columns are copies of it.
    Device,
}

/// A real quantity on the device.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantity {
    /// The same everywhere.
    Uniform(f64),
    /// One value per node in storage order.
    PerNode(Vec<f32>),
}

/// A source: nodes in storage order over the whole torus, and their weights (re, im).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeList {
    /// Node indices.
    pub nodes: Vec<u32>,
    /// One weight per node.
    pub weights: Vec<[f32; 2]>,
}

/// What the wave form has besides.
#[derive(Debug, Clone, PartialEq)]
pub struct WaveWorld {
    /// Ψ̇ as pairs in storage order.
    pub velocity: Vec<[f32; 2]>,
    /// Uniform damping rate α, which belongs to the linear flow; 0 where the damping varies in space.
    pub alpha: f64,
    /// Whether the metric varies, so that a tick is kick, drift, kick. Its cells are those of [`DeviceWorld::lines`], see
    /// `wave_form::leapfrog::lines`; a `local` step is then a time of damping, [`Backend::leap`] the rest of a tick.
    pub is_leaping: bool,
}

/// Kick, drift, kick of a wave form whose metric varies, `n_steps` times one after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeapStep {
    /// Length of one step in model time.
    pub dt: f64,
    /// β; zero on a degraded tick.
    pub beta: f64,
    /// Relative change of both fields in each step.
    pub gain: f64,
    /// Steps.
    pub n_steps: usize,
}

/// Where a source works: nodes in storage order over the whole torus, and Re E, Im E, Re TE, Im TE on them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkList {
    /// Node indices.
    pub nodes: Vec<u32>,
    /// One set of weights per node.
    pub weights: Vec<[f32; 4]>,
}

/// What of a world is watched while it is on the device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// Kinetic terms of the energies, whatever D was later changed to.
    pub axes: Vec<AxisTerm>,
    /// Profiles of the sources whose work is booked.
    pub profiles: Vec<WorkList>,
    /// Whether V depends on time, so that ∂tV works.
    pub is_driven: bool,
    /// Nodes that are collected for the entropy.
    pub reservoir: Vec<u32>,
}

/// Which sums an entry of the log must hold, besides the local ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// ⟨Ψ,TΨ⟩, and ⟨ΓΨ,TΨ⟩ where Γ is a column; T is that of [`Watched::axes`].
    pub kinetic: bool,
    /// Σ∂tV|Ψ|², with what [`Watching::set_drive`] gave.
    pub drive: bool,
}

/// An entry of the log. Of sums: by the indices below. Of work: ⟨E, hΨ⟩ and ⟨E, Ψ⟩ as (re, im, re, im) in the first four.
pub type LogEntry = [f64; 11];

/// Indices of an entry of sums, ρ = |Ψ|²: Σρ.
pub const NORM2: usize = 0;
/// Σρ².
pub const QUARTIC: usize = 1;
/// ΣVρ; zero where V is uniform.
pub const POTENTIAL: usize = 2;
/// ΣΓρ, and below ΣΓVρ, ΣΓρ², ⟨ΓΨ,TΨ⟩; zero where Γ is uniform.
pub const DAMPING: usize = 3;
/// ΣΓVρ.
pub const DAMPING_POTENTIAL: usize = 4;
/// ΣΓρ².
pub const DAMPING_QUARTIC: usize = 5;
/// Σ∂tVρ.
pub const DRIVE: usize = 6;
/// ⟨Ψ,TΨ⟩.
pub const KINETIC: usize = 7;
/// ⟨ΓΨ,TΨ⟩.
pub const DAMPING_KINETIC: usize = 8;
/// Nodes that are not finite.
pub const N_NONFINITE: usize = 9;
/// max ρ over the finite ones.
pub const MAX_ABS2: usize = 10;

/// Entries the log holds; it must be read before there are more.
pub const LOG_ENTRIES_MAX: usize = 4096;

/// What a backend is built from.
#[derive(Debug, Clone)]
pub struct DeviceWorld {
    /// Storage shape.
    pub shape: Shape,
    /// Kinetic term of each storage axis.
    pub axes: Vec<AxisTerm>,
    /// Model time of each distinct kinetic flow.
    pub durations: Vec<f64>,
    /// Real or imaginary time (μ is given per flow).
    pub time: Time,
    /// V.
    pub potential: Quantity,
    /// Γ.
    pub damping: Quantity,
    /// Sources that run.
    pub sources: Vec<NodeList>,
    /// Ψ as pairs (re, im) in storage order.
    pub psi: Vec<[f32; 2]>,
    /// The kinetic flows, where they are no constants per axis: a varying metric, or an active set of pages, whose
    /// nodes follow each other page by page.
    pub lines: Option<LineFlows>,
    /// The equation of second order in time. A `local` step is then the half flow of the velocity, a `kick` one of the
    /// velocity, `kinetic` the exact linear flow of both fields, which takes the `gain` of the local steps before it;
    /// what is read and written is Ψ, and after it Ψ̇.
    pub wave: Option<WaveWorld>,
    /// What is watched; `None` where nothing is, and the calls of the balance are refused.
    pub watched: Option<Watched>,
}

impl DeviceWorld {
    /// Nodes of Ψ: all of the torus, or those of its active pages.
    pub fn n_nodes(&self) -> usize {
        self.psi.len()
    }
}

/// One local flow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalStep {
    /// Length of the flow in model time.
    pub duration: f64,
    /// β during the flow.
    pub beta: f64,
    /// Relative change of Ψ.
    pub gain: f64,
    /// μ in imaginary time.
    pub mu: f64,
}

/// Why a backend cannot go on. Fatal to the backend: Ψ on the device is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The device went away.
    #[error("the device is lost: {reason}")]
    Lost {
        /// What the driver said.
        reason: String,
    },
    /// An allocation failed.
    #[error("the device is out of memory: {reason}")]
    OutOfMemory {
        /// What was asked for.
        reason: String,
    },
    /// The driver refused a call (a defect of ours or of the driver).
    #[error("the device refused a call: {reason}")]
    Refused {
        /// What it said.
        reason: String,
    },
}

/// Device time of one kind of pass.
#[derive(Debug, Clone, PartialEq)]
pub struct PassTime {
    /// What the pass does.
    pub name: String,
    /// Passes measured.
    pub count: u64,
    /// Nanoseconds of all of them together.
    pub nanos: u64,
    /// Bytes that all of them together had to move.
    pub bytes: u64,
}

/// A device that holds Ψ and advances it.
pub trait Backend: Send + Sync {
    /// One line for a person: device, driver, how the axes are grouped.
    fn describe(&self) -> String;

    /// A local flow of V, Γ and β.
    ///
    /// # Errors
    /// [`BackendError`], here and below: the state on the device is lost.
    fn local(&mut self, step: &LocalStep) -> Result<(), BackendError>;

    /// The kinetic flow over `durations[which]`.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn kinetic(&mut self, which: usize) -> Result<(), BackendError>;

    /// Ψ += phasor · weights on the nodes of source `index`.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn kick(&mut self, index: usize, phasor: (f64, f64)) -> Result<(), BackendError>;

    /// Ψ += weights on a list of nodes.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn inject(&mut self, list: &NodeList) -> Result<(), BackendError>;

    /// A new V on every node.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn set_potential(&mut self, values: &[f32]) -> Result<(), BackendError>;

    /// Another Γ from the next local flow on; a column where it was a column. Only in a world whose Γ can change: one that
    /// is watched, or [`LineFlows::is_steered`].
    ///
    /// # Errors
    /// As [`Backend::local`]; [`BackendError::Refused`] where Γ cannot change.
    fn set_damping(&mut self, _damping: &Quantity) -> Result<(), BackendError> {
        Err(BackendError::Refused { reason: "Γ of this world cannot change (a defect)".into() })
    }

    /// Σ|Ψ|², summed in fixed order; waits for the device.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn norm2(&mut self) -> Result<f64, BackendError>;

    /// Copies Ψ to the host; waits for the device.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn read(&mut self, psi: &mut Vec<[f32; 2]>) -> Result<(), BackendError>;

    /// Goes on as after `n_flows` kinetic flows since tick 0: a backend whose order of work alternates from flow to flow
    /// takes its turn from this, so that a state that was loaded continues to the bits of the run it came from.
    fn continue_after(&mut self, _n_flows: u64) {}

    /// Replaces Ψ.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn write(&mut self, psi: &[[f32; 2]]) -> Result<(), BackendError>;

    /// A kinetic flow over lines, in a world that has them.
    ///
    /// # Errors
    /// As [`Backend::local`]; [`BackendError::Refused`] where the world has none, here and below.
    fn propagate(&mut self, _: &LineStep) -> Result<(), BackendError> {
        Err(without_lines())
    }

    /// Kicks and drifts, in a wave form whose metric varies.
    ///
    /// # Errors
    /// As [`Backend::propagate`].
    fn leap(&mut self, _: &LeapStep) -> Result<(), BackendError> {
        Err(BackendError::Refused { reason: "the metric of this world does not vary (a defect)".into() })
    }

    /// Takes over changed tables of the flows over lines.
    ///
    /// # Errors
    /// As [`Backend::propagate`].
    fn renew(&mut self, _: &Renewal) -> Result<(), BackendError> {
        Err(without_lines())
    }

    /// Structure tensors Σ Re(∂_iΨ ∂_jΨ*) of some cells, range after range, component after component; the ranges are
    /// of one length and equally far apart. Waits for the device.
    ///
    /// # Errors
    /// As [`Backend::propagate`].
    fn structure(
        &mut self,
        _cells: &[core::ops::Range<usize>],
        _sums: &mut Vec<f64>,
    ) -> Result<(), BackendError> {
        Err(without_lines())
    }

    /// The sums of [`LineFlows::measures`] along one storage axis, in order; waits for the device.
    ///
    /// # Errors
    /// As [`Backend::propagate`].
    fn measure(&mut self, _axis: usize, _sums: &mut Vec<f64>) -> Result<(), BackendError> {
        Err(without_lines())
    }

    /// Everything anew: another set of pages, or a state that was loaded. The torus is the same.
    ///
    /// # Errors
    /// As [`Backend::propagate`]; also where the device has no room.
    fn adopt(&mut self, _: DeviceWorld) -> Result<(), BackendError> {
        Err(without_lines())
    }

    /// Begins a copy of Ψ as it is now to the host, and waits for nothing; false where the backend cannot, or has as
    /// many under way as it may.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn begin_frame(&mut self) -> Result<bool, BackendError> {
        Ok(false)
    }

    /// The oldest copy begun by [`Backend::begin_frame`], if it is there; waits for nothing.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn take_frame(&mut self, _psi: &mut Vec<[f32; 2]>) -> Result<bool, BackendError> {
        Ok(false)
    }

    /// The calls of the energy balance and the neurochemistry.
    ///
    /// # Errors
    /// [`BackendError::Refused`] where nothing of the world is watched.
    fn watching(&mut self) -> Result<&mut dyn Watching, BackendError> {
        Err(BackendError::Refused { reason: "nothing of this world is watched on the device".into() })
    }

    /// Device time per kind of pass since the last call, where the device can measure it.
    fn take_times(&mut self) -> Vec<PassTime>;
}

/// What is asked of a backend whose world is watched.
pub trait Watching {
    /// Appends an entry of sums over Ψ as it is now to the log; waits for nothing.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn log_sums(&mut self, wanted: Wanted) -> Result<(), BackendError>;

    /// Appends an entry with the work of a watched profile to the log.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn log_work(&mut self, profile: usize, strengths: &Strengths) -> Result<(), BackendError>;

    /// All entries since the last call, in order; waits for the device.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn read_log(&mut self) -> Result<Vec<LogEntry>, BackendError>;

    /// Sums over Ψ as it is now, past the log; waits for the device.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn sums(&mut self, wanted: Wanted) -> Result<LogEntry, BackendError>;

    /// ∂tV on every node, for the entries that want it.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn set_drive(&mut self, rate: &[f32]) -> Result<(), BackendError>;

    /// Keeps Ψ on a part of the reservoir.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn collect(&mut self, first: usize, count: usize) -> Result<(), BackendError>;

    /// What was kept of the first `count` nodes of the reservoir; waits for the device.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn read_collected(&mut self, count: usize) -> Result<Vec<[f32; 2]>, BackendError>;

    /// Other kinetic terms from the next kinetic flow on, of the same extents.
    ///
    /// # Errors
    /// As [`Backend::local`].
    fn set_axes(&mut self, axes: &[AxisTerm]) -> Result<(), BackendError>;
}

fn without_lines() -> BackendError {
    BackendError::Refused {
        reason: "it was built from a world without flows over lines, and is asked for one (a defect)".into(),
    }
}
