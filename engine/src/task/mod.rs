//! `nikola task`: reservoir-computing benchmarks with the torus as reservoir, beside an echo-state network with as
//! many features in the same run.
//!
//! Invariant: both are trained, selected and tested on the same samples by the same code ([`benchmark`]); what is
//! selected on validation data (the ridge, and the network's parameters) never sees the test data. The torus has the
//! parameters its scene gives it.
//!
//! Reading order: [`series`] (what is to be predicted) → [`reservoir`] (what is driven) → [`esn`] (the reference) →
//! [`benchmark`] (training and figures) → [`report`].

pub mod benchmark;
pub mod esn;
pub mod report;
pub mod reservoir;
pub mod series;

use crate::exit;
use crate::scene::{Scene, SceneError};
use benchmark::{Benchmark, Figure, Lengths};
use esn::{EchoStateNetwork, EsnParameters};
use nikola_systems::components::ports::IngressError;
use nikola_systems::kernels::readout::ReadoutError;
use nikola_systems::world::BuildError;
use report::TaskRow;
use reservoir::{Reservoir, TorusReservoir};

/// Why a benchmark failed.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The scene cannot be used at all.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// The scene is no reservoir for this task.
    #[error(
        "{scene}: the scene is no reservoir for this task\n  found:    {found}\n  expected: {expected}\n  remedy:   see the scenes reservoir_….ron"
    )]
    Unfit {
        /// Scene file.
        scene: String,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// The world cannot be built.
    #[error("{scene}: cannot build the world: {reason}")]
    Build {
        /// Scene file.
        scene: String,
        /// Why.
        reason: Box<BuildError>,
    },
    /// A command was refused.
    #[error("the reservoir refused an input: {0}")]
    Refused(#[from] IngressError),
    /// No ridge gives a readout.
    #[error("no readout could be trained: {0}")]
    Readout(#[from] ReadoutError),
    /// The state left the finite numbers.
    #[error(
        "the reservoir left the finite numbers at tick {tick} (feature {feature}); lower the drive, |beta| or dt"
    )]
    Diverged {
        /// Tick.
        tick: u64,
        /// Which feature.
        feature: usize,
    },
}

impl TaskError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Scene(error) => error.exit_code(),
            Self::Unfit { .. } | Self::Build { .. } => exit::SCENE,
            Self::Diverged { .. } => exit::DIVERGED,
            Self::Refused(_) | Self::Readout(_) => exit::INTERNAL,
        }
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct TaskRequest {
    /// Which benchmark.
    pub benchmark: Benchmark,
    /// The torus.
    pub scene: Scene,
    /// Seed of inputs and of the network.
    pub seed: u64,
    /// How many samples.
    pub lengths: Lengths,
    /// Worker threads of the torus.
    pub threads: usize,
}

/// Runs one benchmark on the torus and on networks with as many features; the network with the best validation
/// figure is the one reported.
///
/// # Errors
/// [`TaskError`] when the scene is unfit or a state diverges.
pub fn run(request: &TaskRequest) -> Result<TaskRow, TaskError> {
    let benchmark = request.benchmark;
    let data = benchmark.data(&request.lengths, request.seed);
    let mut torus = TorusReservoir::new(&request.scene, data.n_inputs, request.threads)?;
    let n_features = torus.n_features();
    let ours = data.measure(&mut torus)?;
    let mut best: Option<(EsnParameters, Figure)> = None;
    for parameters in benchmark.network_grid(&request.lengths) {
        let mut network = EchoStateNetwork::new(n_features, data.n_inputs, &parameters, request.seed);
        // A network whose features are too dependent for any ridge loses; it is no failure of the benchmark.
        let Ok(figure) = data.measure(&mut network) else { continue };
        if best.as_ref().is_none_or(|(_, known)| benchmark.is_better(figure.validation, known.validation)) {
            best = Some((parameters, figure));
        }
    }
    let (network, theirs) = best.ok_or(ReadoutError::TooFewExamples { found: 0 })?;
    Ok(TaskRow { benchmark, n_features, ours, theirs, network })
}
