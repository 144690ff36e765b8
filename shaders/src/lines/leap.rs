//! The wave form whose metric varies, on the device: damping, kick, drift, and the image of Ψ under ∂D∂ for the kicks.
//!
//! Invariant: the calls are those of the host's step in its order; the image is computed once a step and kept for the next,
//! unless Ψ or D was changed between.

use super::buffers::Buffers;
use super::{LineBackend, NODE_THREADS};
use crate::device::Device;
use crate::layout::{Leap, Weigh};
use crate::pipeline::{Pipeline, module};
use crate::program::{DAMP, LEAP, LEAP_FLUX, Program, WEIGH};
use nikola_kernels::backend::{BackendError, DeviceWorld, LeapStep, MetricWorld, Quantity};
use nikola_kernels::transcendental::expm1;

/// The programs, bound to the buffers.
pub(super) struct LeapPipelines {
    advance: Pipeline,
    damp: Pipeline,
    flux: Pipeline,
    weigh: Pipeline,
}

impl LeapPipelines {
    /// For `world`, with the constants of `pages`.
    pub fn new(device: &Device, world: &DeviceWorld, pages: &[(&str, f64)], buffers: &Buffers) -> Self {
        let metric = world.lines.as_ref().and_then(|lines| lines.cells.as_ref());
        let (axes, pairs) = metric.map_or((0, 0), |metric| (metric.coupled.len(), n_pairs(metric)));
        let has_damping = f64::from(u8::from(matches!(world.damping, Quantity::PerNode(_))));
        let local = [("HAS_DAMPING", has_damping)];
        let operator = [pages, &[("AXES", axes as f64), ("PAIRS", pairs as f64)]].concat();
        let of_node = |program: &Program| {
            let text = module(device, program);
            Pipeline::new(device, &text, program, size_of::<Leap>() as u32, &local, &buffers.of_leap())
        };
        let of_line = |program: &Program| {
            let (text, bytes) = (module(device, program), size_of::<Weigh>() as u32);
            Pipeline::new(device, &text, program, bytes, &operator, &buffers.of_operator())
        };
        Self {
            advance: of_node(&LEAP),
            damp: of_node(&DAMP),
            flux: of_line(&LEAP_FLUX),
            weigh: of_line(&WEIGH),
        }
    }

    /// The same programs bound to other buffers.
    pub fn rebound(&self, device: &Device, buffers: &Buffers) -> Self {
        let of_node = |pipeline: &Pipeline| {
            pipeline.rebound(device, &buffers.of_leap().iter().map(|(buffer, _)| *buffer).collect::<Vec<_>>())
        };
        let of_line = |pipeline: &Pipeline| {
            let bound = buffers.of_operator();
            pipeline.rebound(device, &bound.iter().map(|(buffer, _)| *buffer).collect::<Vec<_>>())
        };
        Self {
            advance: of_node(&self.advance),
            damp: of_node(&self.damp),
            flux: of_line(&self.flux),
            weigh: of_line(&self.weigh),
        }
    }
}

/// Pairs i ≤ j of axes.
fn n_pairs(metric: &MetricWorld) -> usize {
    metric.coupled.len() * (metric.coupled.len() + 1) / 2
}

impl LineBackend {
    fn of_node(&mut self, is_damping: bool, leap: Leap, name: &'static str) -> Result<(), BackendError> {
        let Some(pipelines) = &self.pipelines.leap else { return Ok(()) };
        let pipeline = if is_damping { &pipelines.damp } else { &pipelines.advance };
        let immediates = Leap { n_nodes: self.n_nodes as u32, ..leap };
        let described = (name, if is_damping { 16 } else { 40 } * self.n_nodes as u64);
        let n_groups = self.n_nodes.div_ceil(NODE_THREADS);
        self.recorder.dispatch(&self.device, pipeline, &immediates, n_groups, described)
    }

    /// A time of damping.
    pub(super) fn damp(&mut self, duration: f64) -> Result<(), BackendError> {
        let loss = match self.world.damping {
            Quantity::Uniform(0.0) => return Ok(()),
            Quantity::Uniform(gamma) => -expm1(-gamma * duration),
            Quantity::PerNode(_) => 0.0,
        };
        let leap = Leap { h: duration as f32, loss: loss as f32, ..Leap::default() };
        self.of_node(true, leap, "wave_form damping")
    }

    /// The image of Ψ.
    fn weigh(&mut self) -> Result<(), BackendError> {
        let Some(metric) = self.metric() else { return Ok(()) };
        let n_axes = metric.coupled.len() as u64;
        let first_weight = (metric.n_cells() * n_pairs(metric)) as u32;
        let Some(pipelines) = &self.pipelines.leap else { return Ok(()) };
        let immediates = Weigh { n_nodes: self.n_nodes as u32, first_weight };
        let n_groups = self.n_nodes.div_ceil(NODE_THREADS);
        let bytes = 8 * self.n_nodes as u64 * (1 + n_axes);
        for (pipeline, name) in [(&pipelines.flux, "wave_form flux"), (&pipelines.weigh, "wave_form image")] {
            self.recorder.dispatch(&self.device, pipeline, &immediates, n_groups, (name, bytes))?;
        }
        self.is_weighed = true;
        Ok(())
    }

    pub(super) fn leap_through(&mut self, step: &LeapStep) -> Result<(), BackendError> {
        if !self.is_weighed {
            self.weigh()?;
        }
        let half = Leap {
            kick: (0.5 * step.dt) as f32,
            strength: (0.5 * step.dt * step.beta) as f32,
            gain: step.gain as f32,
            ..Leap::default()
        };
        let open = Leap { drift: step.dt as f32, is_drifting: 1, ..half };
        for _ in 0..step.n_steps {
            self.of_node(false, open, "wave_form kick and drift")?;
            self.weigh()?;
            self.of_node(false, half, "wave_form kick")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
