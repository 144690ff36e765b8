//! Where a run's ticks are computed: the host, a device, or a device while it lasts.
//!
//! Invariant: what a backend cannot do is refused before the first tick, with the field that asks for it. A device
//! that fails ends the run with its reason; with `auto` the run goes on on the host from the last copy of Ψ, and says
//! so on the terminal and in the run folder.

use crate::edge::{Edge, Flow};
use crate::observe::run_folder::RunFolder;
use crate::run::RunError;
use nikola_systems::Simulation;
use nikola_systems::components::setup::Setup;
use nikola_systems::device::unsupported;
use nikola_systems::kernels::backend::{Backend, DeviceWorld};
use serde_json::json;

/// Which backend to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum BackendChoice {
    /// The processor.
    #[default]
    Cpu,
    /// A GPU, or an error.
    Gpu,
    /// A GPU where there is one that can, the processor otherwise.
    Auto,
}

/// Why a run cannot use the backend it asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendFailure {
    /// This program has no GPU backend.
    #[error(
        "this program was built without its GPU backend\n  found:    a build without the feature `gpu`\n  expected: one \
         with it\n  remedy:   cargo run --release --features gpu -- run --backend gpu SCENE, or --backend cpu"
    )]
    NotBuilt,
    /// The scene asks for something the backend cannot do.
    #[error(
        "{scene}: the GPU backend cannot run this scene\n  found:    {field}\n  expected: what docs/COVERAGE.md lists \
         for the GPU backend\n  remedy:   {remedy}, or --backend cpu"
    )]
    Unsupported {
        /// Scene name.
        scene: String,
        /// The field.
        field: String,
        /// What to do.
        remedy: String,
    },
    /// There is no device, or it refused the world.
    #[error(
        "no GPU backend: {reason}\n  remedy:   `nikola gpu` lists the adapters; --backend cpu runs without one"
    )]
    Device {
        /// Why.
        reason: String,
    },
    /// The device failed during the run.
    #[error(
        "{scene}: the GPU backend failed in the tick after {tick}: {reason}\n  remedy:   run again with --backend auto \
         to go on on the processor when that happens, or with --backend cpu"
    )]
    Failed {
        /// Scene name.
        scene: String,
        /// Last whole tick.
        tick: u64,
        /// What the backend said.
        reason: String,
    },
}

/// Starts the backend for `world` on the adapter whose name contains `adapter`.
///
/// # Errors
/// [`BackendFailure`] when this program or this machine cannot.
#[cfg(feature = "gpu")]
pub fn start(world: DeviceWorld, adapter: Option<&str>) -> Result<Box<dyn Backend>, BackendFailure> {
    let device = |error: nikola_shaders::DeviceError| BackendFailure::Device { reason: error.to_string() };
    let opened = nikola_shaders::Device::open(adapter).map_err(device)?;
    nikola_shaders::start(opened, world, false).map_err(device)
}

/// This program has no backend.
///
/// # Errors
/// [`BackendFailure::NotBuilt`].
#[cfg(not(feature = "gpu"))]
pub fn start(_: DeviceWorld, _: Option<&str>) -> Result<Box<dyn Backend>, BackendFailure> {
    Err(BackendFailure::NotBuilt)
}

/// Moves a fresh simulation to a device.
///
/// # Errors
/// [`BackendFailure`] when the scene, this program or this machine cannot.
pub fn to_device(
    simulation: &mut Simulation,
    setup: &Setup,
    scene: &str,
    adapter: Option<&str>,
) -> Result<(), BackendFailure> {
    if let Some((field, remedy)) = unsupported(setup) {
        return Err(BackendFailure::Unsupported {
            scene: scene.into(),
            field: field.into(),
            remedy: remedy.into(),
        });
    }
    let Some(world) = simulation.device_world() else { return Ok(()) };
    let backend = start(world, adapter)?;
    simulation.move_to(setup, backend).map_err(|error| BackendFailure::Device { reason: error.to_string() })
}

/// The edge that keeps a run's backend: it notices a failure right after the tick that had it.
pub struct Keeper<'a> {
    setup: &'a Setup,
    choice: BackendChoice,
    scene: String,
    folder: Option<RunFolder>,
    /// What the run began on.
    began_on: String,
    /// Why and from which tick the run is on the host although a device was asked for.
    fall_back: Option<(u64, String)>,
}

impl<'a> Keeper<'a> {
    /// Places a fresh simulation where `choice` says.
    ///
    /// # Errors
    /// [`BackendFailure`] with `Gpu`; with `Auto` the reason is recorded and the run stays on the host.
    pub fn new(
        simulation: &mut Simulation,
        setup: &'a Setup,
        choice: BackendChoice,
        adapter: Option<&str>,
        scene: &str,
    ) -> Result<Self, BackendFailure> {
        let mut fall_back = None;
        if choice != BackendChoice::Cpu
            && let Err(failure) = to_device(simulation, setup, scene, adapter)
        {
            if choice == BackendChoice::Gpu {
                return Err(failure);
            }
            fall_back = Some((0, failure.to_string()));
        }
        let began_on = simulation.device().map_or_else(|| "cpu".into(), |device| device.describe());
        Ok(Self { setup, choice, scene: scene.into(), folder: None, began_on, fall_back })
    }

    /// Watches a simulation that is on its device already.
    pub fn watching(setup: &'a Setup, choice: BackendChoice, scene: &str) -> Self {
        Self { setup, choice, scene: scene.into(), folder: None, began_on: "device".into(), fall_back: None }
    }

    /// Where to record; writes the first record. Runs on the processor by choice leave none.
    ///
    /// # Errors
    /// [`RunError::Output`] when it cannot be written.
    pub fn record_in(&mut self, folder: Option<&RunFolder>, is_quiet: bool) -> Result<(), RunError> {
        self.folder = folder.filter(|_| self.choice != BackendChoice::Cpu).cloned();
        if let Some((_, reason)) = self.fall_back.as_ref().filter(|_| !is_quiet) {
            eprintln!("note: runs on the processor: {reason}");
        }
        self.write()
    }

    fn write(&self) -> Result<(), RunError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let fall_back = self.fall_back.as_ref().map(|(tick, reason)| json!({"tick": tick, "reason": reason}));
        let record = json!({"backend": self.began_on, "fall_back": fall_back});
        Ok(folder.write_json("backend.json", &record)?)
    }
}

impl Edge for Keeper<'_> {
    fn after_tick(&mut self, simulation: &mut Simulation) -> Result<Flow, RunError> {
        let Some(error) = simulation.device().and_then(|device| device.failure()) else {
            return Ok(Flow::Continue);
        };
        let (tick, reason) = (simulation.tick_count(), error.to_string());
        if self.choice == BackendChoice::Gpu {
            return Err(BackendFailure::Failed { scene: self.scene.clone(), tick, reason }.into());
        }
        let resumed = simulation.return_to_host(self.setup).map_err(|error| BackendFailure::Failed {
            scene: self.scene.clone(),
            tick,
            reason: error.to_string(),
        })?;
        eprintln!(
            "note: the GPU backend failed after tick {tick} ({reason}); on the processor from tick {resumed}"
        );
        self.fall_back = Some((resumed, reason));
        self.write()?;
        Ok(Flow::Continue)
    }
}
