//! The backend of worlds whose kinetic flow goes line by line: a metric that varies in space, or an active set of
//! pages.
//!
//! Invariant: one pass per axis and direction, in the order of the host's plan and with its tables; local flows of
//! neighbouring calls share a pass. Nothing is put off beyond a call except the submission, so bits do not depend on who
//! looks when.
//!
//! ```text
//! local ─ local │ axis ─ axis ─ … ─ [flux ─ term]ⁿ ─ … ─ axis ─ axis │ local ─ local      one pass each
//! ```

mod buffers;
mod leap;

use crate::backend::flow_of;
use crate::device::{Device, DeviceError};
use crate::layout::{
    FLOWS_MAX, Flow, Kick, Lines, Local, Measuring, NODE_THREADS, REDUCE_CHUNK, Reduce, Term, Turn, lanes_of,
};
use crate::pipeline::{Access, Pipeline, module};
use crate::program::{FIBRE, FLUX, LOCAL, MEASURE, Program, REDUCE, RING3, SOURCE, STRUCTURE, TERM};
use crate::recorder::Recorder;
use crate::{WaveBackend, WgpuBackend};
use buffers::Buffers;
use core::ops::Range;
use leap::LeapPipelines;
use nikola_kernels::backend::{
    Backend, BackendError, DeviceWorld, Expansion, LeapStep, LineKind, LinePass, LineStep, LocalStep,
    MetricWorld, NodeList, PassTime, Quantity, Renewal,
};
use nikola_kernels::half_potential::{Prefactor, Time};

/// Nodes of a work group's lines: what a line of fewer nodes is filled up to.
const TILE_AIM: usize = 512;
/// Threads of a work group of lines with a matrix.
const LINE_THREADS: usize = 128;

/// The backend for `world`: in sweeps of several axes, line by line, or of the wave form.
///
/// # Errors
/// [`DeviceError`] when the world does not fit, or the driver refuses it.
pub fn start(device: Device, world: DeviceWorld, is_timed: bool) -> Result<Box<dyn Backend>, DeviceError> {
    Ok(if world.lines.is_some() {
        Box::new(LineBackend::new(device, world, is_timed)?)
    } else if world.wave.is_some() {
        Box::new(WaveBackend::new(device, world, is_timed)?)
    } else {
        Box::new(WgpuBackend::new(device, world, is_timed)?)
    })
}

/// The programs, bound to the buffers.
struct Pipelines {
    local: Pipeline,
    ring3: Pipeline,
    fibre: Pipeline,
    norm: Pipeline,
    kick: Pipeline,
    inject: Pipeline,
    flux: Pipeline,
    term: Pipeline,
    structure: Pipeline,
    measure: Pipeline,
    /// Of a wave form.
    leap: Option<LeapPipelines>,
}

/// The backend.
pub struct LineBackend {
    device: Device,
    /// Without Ψ and tables, which are on the device.
    world: DeviceWorld,
    n_nodes: usize,
    tile_len: usize,
    buffers: Buffers,
    pipelines: Pipelines,
    recorder: Recorder,
    /// Local flows that wait for company.
    flows: Vec<Flow>,
    partials: Vec<[f32; 2]>,
    /// Whether the image of Ψ is that of Ψ now, in a wave form.
    is_weighed: bool,
}

impl std::fmt::Debug for LineBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl LineBackend {
    /// Moves `world`, which has flows over lines, to the device. With `is_timed`, each pass is timed.
    ///
    /// # Errors
    /// [`DeviceError`] when the world does not fit, or the driver refuses it.
    pub fn new(device: Device, world: DeviceWorld, is_timed: bool) -> Result<Self, DeviceError> {
        let buffers = Buffers::new(&device, &world)?;
        let longest = world.shape.extents.iter().copied().max().unwrap_or(1).max(TILE_AIM);
        device.report.holds("a line of nodes", 8 * longest as u64, u64::from(device.report.tile_bytes))?;
        let pipelines = Pipelines::new(&device, &world, &buffers, longest);
        let recorder = Recorder::new(&device, is_timed);
        device.wait(None)?;
        Ok(Self {
            n_nodes: world.n_nodes(),
            tile_len: longest,
            world: stripped(world),
            buffers,
            pipelines,
            recorder,
            flows: Vec::new(),
            partials: Vec::new(),
            is_weighed: false,
            device,
        })
    }

    /// The open device, for drills: a test may destroy it.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn metric(&self) -> Option<&MetricWorld> {
        self.world.lines.as_ref().and_then(|lines| lines.cells.as_ref())
    }

    /// Records the local flows that wait.
    fn settle(&mut self) -> Result<(), BackendError> {
        if self.flows.is_empty() {
            return Ok(());
        }
        let mut immediates =
            Local { n_flows: self.flows.len() as u32, n_nodes: self.n_nodes as u32, ..Local::default() };
        immediates.flows[..self.flows.len()].copy_from_slice(&self.flows);
        self.flows.clear();
        let column = |quantity: &Quantity| 4 * u64::from(matches!(quantity, Quantity::PerNode(_)));
        let bytes = self.n_nodes as u64 * (16 + column(&self.world.potential) + column(&self.world.damping));
        let n_groups = self.n_nodes.div_ceil(NODE_THREADS);
        self.recorder.dispatch(
            &self.device,
            &self.pipelines.local,
            &immediates,
            n_groups,
            ("half_potential", bytes),
        )
    }

    /// Records one axis.
    fn pass(&mut self, pass: &LinePass) -> Result<(), BackendError> {
        let n_lines = pass.n_lines();
        let bytes = 16 * (n_lines * pass.rows) as u64;
        let is_shared = pass.entry_lines > 1;
        let lanes = lanes_of(pass.rows, n_lines, self.tile_len.min(TILE_AIM));
        let immediates = Lines {
            kind: match pass.kind {
                LineKind::Ring => 0,
                LineKind::Triple => 1,
                LineKind::Matrix => 2,
                LineKind::Circulant => 3,
            },
            rows: pass.rows as u32,
            side: pass.side as u32,
            stride: pass.stride as u32,
            column_lines: pass.column_lines as u32,
            n_lines: n_lines as u32,
            first_slot: pass.first_slot as u32,
            first_entry: pass.first_entry as u32,
            entry_lines: pass.entry_lines as u32,
            lanes: lanes as u32,
            lanes_first: u32::from(is_shared && pass.stride > 1),
        };
        let (pipeline, n_groups, name) = match pass.kind {
            LineKind::Ring | LineKind::Triple => {
                (&self.pipelines.ring3, n_lines.div_ceil(NODE_THREADS), "kinetic ring3")
            }
            LineKind::Matrix => (&self.pipelines.fibre, n_lines.div_ceil(lanes), "kinetic dense"),
            LineKind::Circulant => (&self.pipelines.fibre, n_lines.div_ceil(lanes), "kinetic circulant"),
        };
        self.recorder.dispatch(&self.device, pipeline, &immediates, n_groups, (name, bytes))
    }

    /// Records the off-diagonal remainder.
    fn remainder(&mut self, expansion: &Expansion) -> Result<(), BackendError> {
        let n_axes = self.metric().map_or(0, |metric| metric.coupled.len()) as u64;
        let (n_nodes, n_groups) = (self.n_nodes as u64, self.n_nodes.div_ceil(NODE_THREADS));
        let (device, pipelines) = (&self.device, &self.pipelines);
        for _ in 0..expansion.n_steps {
            for k in 1..=expansion.degree {
                let factor = [expansion.factor.0 / k as f64, expansion.factor.1 / k as f64];
                let factor = factor.map(|x| x as f32);
                let immediates = Term { factor, is_later: u32::from(k > 1), n_nodes: n_nodes as u32 };
                let bytes = n_nodes * 8 * (1 + n_axes);
                self.recorder.dispatch(
                    device,
                    &pipelines.flux,
                    &immediates,
                    n_groups,
                    ("remainder flux", bytes),
                )?;
                let bytes = n_nodes * 8 * (3 + n_axes);
                self.recorder.dispatch(
                    device,
                    &pipelines.term,
                    &immediates,
                    n_groups,
                    ("remainder term", bytes),
                )?;
            }
        }
        Ok(())
    }
}

/// What the host keeps of a world whose numbers are on the device.
fn stripped(mut world: DeviceWorld) -> DeviceWorld {
    world.psi = Vec::new();
    if let Some(wave) = &mut world.wave {
        wave.velocity = Vec::new();
    }
    if let Some(lines) = &mut world.lines {
        (lines.tables, lines.entries, lines.slots) = (Vec::new(), Vec::new(), Vec::new());
        lines.measures.iter_mut().for_each(|measures| measures.coefficients = Vec::new());
    }
    world
}

impl Pipelines {
    fn new(device: &Device, world: &DeviceWorld, buffers: &Buffers, tile_len: usize) -> Self {
        let flag = |condition: bool| f64::from(u8::from(condition));
        let is_column = |quantity: &Quantity| matches!(quantity, Quantity::PerNode(_));
        let is_steered = world.lines.as_ref().is_some_and(|lines| lines.is_steered);
        let local = [
            ("HAS_POTENTIAL", flag(is_column(&world.potential))),
            ("HAS_DAMPING", flag(is_column(&world.damping))),
            ("IS_DAMPED", flag(is_steered || world.damping != Quantity::Uniform(0.0))),
            ("IS_IMAGINARY", flag(matches!(world.time, Time::Imaginary { .. }))),
        ];
        let fibre = [("THREADS", LINE_THREADS as f64), ("TILE_LEN", tile_len as f64)];
        let metric = world.lines.as_ref().and_then(|lines| lines.cells.as_ref());
        let coupled = metric.map_or(0, |metric| metric.coupled.len());
        let page_nodes = metric.map_or(1, MetricWorld::page_nodes);
        let cell_nodes = metric.map_or(1, MetricWorld::cell_nodes);
        let pages = [("PAGE_NODES", page_nodes as f64), ("PAGE_CELLS", (page_nodes / cell_nodes) as f64)];
        let remainder = [
            pages[0],
            pages[1],
            ("AXES", coupled as f64),
            ("PAIRS", metric.map_or(0, MetricWorld::n_pairs) as f64),
        ];
        let axes = world.shape.extents.len();
        let structure = [
            pages[0],
            pages[1],
            ("AXES", axes as f64),
            ("COMPONENTS", (axes * (axes + 1) / 2) as f64),
            ("CELL_NODES", cell_nodes as f64),
            ("GRADIENTS", (axes * cell_nodes) as f64),
        ];
        let made = |program: &Program,
                    bytes: usize,
                    constants: &[(&str, f64)],
                    bound: &[(&wgpu::Buffer, Access)]| {
            Pipeline::new(device, &module(device, program), program, bytes as u32, constants, bound)
        };
        let b = buffers;
        Self {
            local: made(&LOCAL, size_of::<Local>(), &local, &b.of_local()),
            ring3: made(&RING3, size_of::<Lines>(), &[], &b.of_lines()),
            fibre: made(&FIBRE, size_of::<Lines>(), &fibre, &b.of_lines()),
            norm: made(&REDUCE, size_of::<Reduce>(), &[], &b.of_norm()),
            kick: made(&SOURCE, size_of::<Kick>(), &[], &b.of_kick()),
            inject: made(&SOURCE, size_of::<Kick>(), &[], &b.of_injection()),
            flux: made(&FLUX, size_of::<Term>(), &remainder, &b.of_remainder()),
            term: made(&TERM, size_of::<Term>(), &remainder, &b.of_remainder()),
            structure: made(&STRUCTURE, size_of::<Turn>(), &structure, &b.of_structure()),
            measure: made(&MEASURE, size_of::<Measuring>(), &[], &b.of_measure()),
            leap: world.wave.as_ref().map(|_| LeapPipelines::new(device, world, &pages, b)),
        }
    }

    /// The same programs bound to other buffers.
    fn rebound(&self, device: &Device, b: &Buffers) -> Self {
        let made = |pipeline: &Pipeline, bound: &[(&wgpu::Buffer, Access)]| {
            pipeline.rebound(device, &bound.iter().map(|(buffer, _)| *buffer).collect::<Vec<_>>())
        };
        Self {
            local: made(&self.local, &b.of_local()),
            ring3: made(&self.ring3, &b.of_lines()),
            fibre: made(&self.fibre, &b.of_lines()),
            norm: made(&self.norm, &b.of_norm()),
            kick: made(&self.kick, &b.of_kick()),
            inject: made(&self.inject, &b.of_injection()),
            flux: made(&self.flux, &b.of_remainder()),
            term: made(&self.term, &b.of_remainder()),
            structure: made(&self.structure, &b.of_structure()),
            measure: made(&self.measure, &b.of_measure()),
            leap: self.leap.as_ref().map(|leap| leap.rebound(device, b)),
        }
    }
}

impl Backend for LineBackend {
    fn describe(&self) -> String {
        let flows = self.world.lines.iter().flat_map(|lines| &lines.programs);
        let n_passes = flows.map(|programs| programs[0].passes.len()).max().unwrap_or(0);
        let report = &self.device.report;
        let what = match &self.world.wave {
            Some(_) => "wave form, kick and drift".to_owned(),
            None => format!("{n_passes} passes over lines"),
        };
        format!("{} ({}); {what}", report.name, report.driver)
    }

    fn local(&mut self, step: &LocalStep) -> Result<(), BackendError> {
        if self.world.wave.is_some() {
            return self.damp(step.duration);
        }
        if self.flows.len() == FLOWS_MAX {
            self.settle()?;
        }
        self.flows.push(flow_of(&self.world, step, Prefactor::NONE));
        Ok(())
    }

    fn kinetic(&mut self, which: usize) -> Result<(), BackendError> {
        self.propagate(&LineStep { which, program: 0, remainder: None })
    }

    fn propagate(&mut self, step: &LineStep) -> Result<(), BackendError> {
        self.settle()?;
        let lines = self.world.lines.as_ref();
        let Some(program) = lines.map(|lines| lines.programs[step.which][step.program].clone()) else {
            return Ok(());
        };
        for (at, pass) in program.passes.iter().enumerate() {
            if let Some(expansion) = step.remainder.filter(|_| at == program.middle) {
                self.remainder(&expansion)?;
            }
            self.pass(pass)?;
        }
        match step.remainder.filter(|_| program.middle == program.passes.len()) {
            Some(expansion) => self.remainder(&expansion),
            None => Ok(()),
        }
    }

    fn leap(&mut self, step: &LeapStep) -> Result<(), BackendError> {
        self.leap_through(step)
    }

    fn renew(&mut self, renewal: &Renewal) -> Result<(), BackendError> {
        self.recorder.submit(&self.device, &[])?;
        let queue = &self.device.queue;
        for (first, values) in &renewal.tables {
            queue.write_buffer(&self.buffers.tables, 8 * *first as u64, bytemuck::cast_slice(values));
        }
        for (first, values) in &renewal.off_diagonal {
            queue.write_buffer(&self.buffers.off_diagonal, 4 * *first as u64, bytemuck::cast_slice(values));
        }
        self.is_weighed = false;
        self.device.failures.check()
    }

    fn structure(&mut self, ranges: &[Range<usize>], sums: &mut Vec<f64>) -> Result<(), BackendError> {
        self.settle()?;
        let Some(first) = ranges.first() else {
            sums.clear();
            return Ok(());
        };
        let distance = ranges.get(1).map_or(0, |next| next.start - first.start);
        let is_regular = |(k, range): (usize, &Range<usize>)| {
            range.len() == first.len() && range.start == first.start + k * distance
        };
        if first.is_empty() || !ranges.iter().enumerate().all(is_regular) {
            return Err(BackendError::Refused { reason: format!("cells {ranges:?} in turn (a defect)") });
        }
        let axes = self.world.shape.extents.len();
        let n_cells = ranges.len() * first.len();
        let n_sums = axes * (axes + 1) / 2 * n_cells;
        let immediates = Turn {
            first_cell: first.start as u32,
            length: first.len() as u32,
            distance: distance as u32,
            n_cells: n_cells as u32,
        };
        let nodes = self.metric().map_or(1, MetricWorld::cell_nodes) * n_cells;
        let pipeline = &self.pipelines.structure;
        let described = ("metric_update", 8 * nodes as u64);
        self.recorder.dispatch(&self.device, pipeline, &immediates, n_cells, described)?;
        let copy = (&self.buffers.tensors, &self.buffers.tensors_back, 4 * n_sums.next_multiple_of(2) as u64);
        self.recorder.read(&self.device, copy, &mut self.partials)?;
        sums.clear();
        sums.extend(self.partials.iter().flatten().take(n_sums).map(|&sum| f64::from(sum)));
        Ok(())
    }

    fn measure(&mut self, axis: usize, sums: &mut Vec<f64>) -> Result<(), BackendError> {
        self.settle()?;
        let Some(measures) = self.world.lines.as_ref().and_then(|lines| lines.measures.get(axis)) else {
            return Err(BackendError::Refused { reason: "no boundary to measure (a defect)".into() });
        };
        let n_items = measures.items.len();
        let immediates = Measuring {
            side: measures.side as u32,
            stride: measures.stride as u32,
            column_lines: measures.column_lines as u32,
            first_item: self.buffers.first_items[axis],
            n_items: n_items as u32,
        };
        let rows: usize = measures.items.iter().map(|item| item.n_rows).sum();
        let described = ("boundary", 8 * (rows * measures.column_lines) as u64);
        self.recorder.dispatch(&self.device, &self.pipelines.measure, &immediates, n_items, described)?;
        let bytes = 4 * n_items.next_multiple_of(2) as u64;
        let copy = (&self.buffers.measured, &self.buffers.measured_back, bytes);
        self.recorder.read(&self.device, copy, &mut self.partials)?;
        sums.clear();
        sums.extend(self.partials.iter().flatten().take(n_items).map(|&sum| f64::from(sum)));
        Ok(())
    }

    fn adopt(&mut self, world: DeviceWorld) -> Result<(), BackendError> {
        self.flows.clear();
        self.recorder.submit(&self.device, &[])?;
        self.buffers = Buffers::new(&self.device, &world).map_err(|error| match error {
            DeviceError::Backend(error) => error,
            other => BackendError::OutOfMemory { reason: other.to_string() },
        })?;
        self.pipelines = self.pipelines.rebound(&self.device, &self.buffers);
        self.n_nodes = world.n_nodes();
        self.world = stripped(world);
        self.is_weighed = false;
        self.device.failures.check()
    }

    fn kick(&mut self, index: usize, phasor: (f64, f64)) -> Result<(), BackendError> {
        self.settle()?;
        let immediates = Kick {
            phasor: [phasor.0 as f32, phasor.1 as f32],
            first: self.buffers.source_starts[index],
            count: self.world.sources[index].nodes.len() as u32,
        };
        let n_groups = (immediates.count as usize).div_ceil(NODE_THREADS);
        let described = ("source", 28 * u64::from(immediates.count));
        self.recorder.dispatch(&self.device, &self.pipelines.kick, &immediates, n_groups, described)
    }

    fn inject(&mut self, list: &NodeList) -> Result<(), BackendError> {
        self.settle()?;
        self.recorder.submit(&self.device, &[])?;
        let queue = &self.device.queue;
        queue.write_buffer(&self.buffers.scratch_nodes, 0, bytemuck::cast_slice(&list.nodes));
        queue.write_buffer(&self.buffers.scratch_weights, 0, bytemuck::cast_slice(&list.weights));
        let count = list.nodes.len();
        let immediates = Kick { phasor: [1.0, 0.0], first: 0, count: count as u32 };
        let described = ("source", 28 * count as u64);
        let n_groups = count.div_ceil(NODE_THREADS);
        self.recorder.dispatch(&self.device, &self.pipelines.inject, &immediates, n_groups, described)?;
        self.is_weighed = false;
        self.recorder.submit(&self.device, &[])
    }

    fn set_potential(&mut self, values: &[f32]) -> Result<(), BackendError> {
        self.settle()?;
        self.recorder.submit(&self.device, &[])?;
        self.device.queue.write_buffer(&self.buffers.potential, 0, bytemuck::cast_slice(values));
        Ok(())
    }

    fn set_damping(&mut self, damping: &Quantity) -> Result<(), BackendError> {
        self.settle()?;
        if let Quantity::PerNode(values) = damping {
            self.recorder.submit(&self.device, &[])?;
            self.device.queue.write_buffer(&self.buffers.damping, 0, bytemuck::cast_slice(values));
        } else {
            self.world.damping = damping.clone();
        }
        Ok(())
    }

    fn norm2(&mut self) -> Result<f64, BackendError> {
        self.settle()?;
        let n_groups = self.n_nodes.div_ceil(REDUCE_CHUNK);
        let immediates = Reduce { n_nodes: self.n_nodes as u32, zero: 0 };
        let described = ("oracle (norm)", 8 * self.n_nodes as u64);
        self.recorder.dispatch(&self.device, &self.pipelines.norm, &immediates, n_groups, described)?;
        let copy = (&self.buffers.partials, &self.buffers.partials_back, 8 * n_groups as u64);
        self.recorder.read(&self.device, copy, &mut self.partials)?;
        Ok(self.partials.iter().map(|[high, low]| f64::from(*high) + f64::from(*low)).sum())
    }

    fn read(&mut self, psi: &mut Vec<[f32; 2]>) -> Result<(), BackendError> {
        self.settle()?;
        let bytes = 8 * self.n_nodes as u64;
        self.recorder.read(&self.device, (&self.buffers.psi, &self.buffers.psi_back, bytes), psi)?;
        let Some(velocity) = &self.buffers.velocity else { return Ok(()) };
        self.recorder.read(&self.device, (velocity, &self.buffers.psi_back, bytes), &mut self.partials)?;
        psi.extend_from_slice(&self.partials);
        Ok(())
    }

    fn write(&mut self, psi: &[[f32; 2]]) -> Result<(), BackendError> {
        self.flows.clear();
        self.recorder.submit(&self.device, &[])?;
        let (psi, velocity) = psi.split_at(self.n_nodes);
        self.device.queue.write_buffer(&self.buffers.psi, 0, bytemuck::cast_slice(psi));
        if let Some(buffer) = &self.buffers.velocity {
            self.device.queue.write_buffer(buffer, 0, bytemuck::cast_slice(velocity));
        }
        self.is_weighed = false;
        self.device.failures.check()
    }

    fn take_times(&mut self) -> Vec<PassTime> {
        self.recorder.take_times()
    }
}

#[cfg(test)]
mod tests;
