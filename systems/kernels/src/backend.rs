//! What a device must do so that a tick can run on it: the seam between the stages and whatever moves the bytes.
//!
//! Invariant: the calls of one tick say what the stages on the host would do, in their order. A backend may put off
//! work and join it with later work, but never so that a reader could tell: bits do not depend on who looks when.
//! Plain data and one trait; nothing here knows of a device.

mod lines;

pub use lines::{
    Expansion, LineFlows, LineKind, LinePass, LineProgram, LineStep, Measure, Measures, MetricWorld, Renewal,
};

use crate::field::Shape;
use crate::half_potential::Time;
use crate::kinetic::AxisTerm;

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

    /// Takes over changed tables of the flows over lines.
    ///
    /// # Errors
    /// As [`Backend::propagate`].
    fn renew(&mut self, _: &Renewal) -> Result<(), BackendError> {
        Err(without_lines())
    }

    /// Structure tensors Σ Re(∂_iΨ ∂_jΨ*) of some cells, component after component; waits for the device.
    ///
    /// # Errors
    /// As [`Backend::propagate`].
    fn structure(
        &mut self,
        _cells: core::ops::Range<usize>,
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

    /// Device time per kind of pass since the last call, where the device can measure it.
    fn take_times(&mut self) -> Vec<PassTime>;
}

fn without_lines() -> BackendError {
    BackendError::Refused {
        reason: "it was built from a world without flows over lines, and is asked for one (a defect)".into(),
    }
}
