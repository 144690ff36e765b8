//! What the benchmarks drive: anything that takes inputs and gives features, and the torus as one of them.
//!
//! Invariant: the torus is driven through the tick's ingress and read through its scan, as any program would; a task
//! step is the scan's cadence in ticks, during which the inputs are held.

use super::TaskError;
use crate::scene::{Resolved, Scene, resolve};
use nikola_systems::Simulation;
use nikola_systems::components::ports::Command;
use nikola_systems::world::BuildOptions;

/// Emitters with names that begin so are driven, in the order of the scene.
pub const INPUT_PREFIX: &str = "input";

/// A driven dynamical system with a linear readout to be trained.
pub trait Reservoir {
    /// Features per step.
    fn n_features(&self) -> usize;
    /// Takes one value per input and writes the features after the step.
    ///
    /// # Errors
    /// [`TaskError`] when the state leaves the finite numbers.
    fn step(&mut self, inputs: &[f64], features: &mut [f64]) -> Result<(), TaskError>;
}

/// The torus of a scene.
#[derive(Debug)]
pub struct TorusReservoir {
    simulation: Simulation,
    inputs: Vec<usize>,
    n_features: usize,
    ticks_per_step: u64,
}

impl TorusReservoir {
    /// Builds the world of `scene`, which must have a scan with a readout and `n_inputs` emitters named `input…`.
    ///
    /// # Errors
    /// [`TaskError`] when the scene cannot be built or lacks one of them.
    pub fn new(scene: &Scene, n_inputs: usize, threads: usize) -> Result<Self, TaskError> {
        let Resolved { setup, .. } = resolve(scene, &scene.base_dir)?;
        let unfit = |found: String, expected: String| TaskError::Unfit {
            scene: scene.source.name.clone(),
            found,
            expected,
        };
        let Some((scan, readout)) = setup.scan.as_ref().and_then(|scan| Some((scan, scan.readout.as_ref()?)))
        else {
            let found = "no scan with a readout".to_string();
            return Err(unfit(found, "scan: (readout: (nodes: …, features: […]))".into()));
        };
        let is_input = |i: &usize| setup.emitters[*i].name.starts_with(INPUT_PREFIX);
        let inputs: Vec<usize> = (0..setup.emitters.len()).filter(is_input).collect();
        if inputs.len() != n_inputs {
            let found = format!("{} emitter(s) whose name begins with `{INPUT_PREFIX}`", inputs.len());
            return Err(unfit(found, format!("{n_inputs}, one per input of the task")));
        }
        let n_features = readout.n_features(scan.traversals.len());
        let ticks_per_step = scan.every;
        let options = BuildOptions { threads, ..BuildOptions::default() };
        let simulation = Simulation::new(&setup, &options).map_err(|reason| TaskError::Build {
            scene: scene.source.name.clone(),
            reason: Box::new(reason),
        })?;
        Ok(Self { simulation, inputs, n_features, ticks_per_step })
    }
}

impl Reservoir for TorusReservoir {
    fn n_features(&self) -> usize {
        self.n_features
    }

    fn step(&mut self, inputs: &[f64], features: &mut [f64]) -> Result<(), TaskError> {
        for (&emitter, &value) in self.inputs.iter().zip(inputs) {
            self.simulation.push(Command::Drive { emitter, value })?;
        }
        for _ in 0..self.ticks_per_step {
            self.simulation.tick();
        }
        let tick = self.simulation.tick_count();
        let output = self.simulation.scan().expect("`new` checked that there is a scan");
        features.copy_from_slice(&output.features);
        match features.iter().position(|feature| !feature.is_finite()) {
            Some(feature) => Err(TaskError::Diverged { tick, feature }),
            None => Ok(()),
        }
    }
}
