//! The backend: Ψ on the device, and the calls of a tick as sweeps over it.
//!
//! Invariant: the last sweep of a kinetic flow stays *open* until the next call: the closing local flow, the next
//! opening one and the first axes of the next tick join it. A reader closes it early; the sweeps are then more, their
//! arithmetic the same, so bits do not depend on who looks when.
//!
//! ```text
//! local ─ kinetic ─ local │ local ─ kinetic ─ local │ …      the calls
//! [L A] [B] [C  L         │       L C] [B] [A  L    │ …      the sweeps, three groups A B C: two a tick
//! ```

use crate::device::{Device, DeviceError};
use crate::frames::Frames;
use crate::layout::{self, Direct, FLOWS_MAX, Flow, Kick, NODE_THREADS, REDUCE_CHUNK, Reduce, Sweep};
use crate::ledger::{Ledger, Step};
use crate::pipeline::{Access, Pipeline, module};
use crate::plan::{Plan, TileLimits};
use crate::program::{DIRECT, REDUCE, SOURCE, SWEEP};
use crate::times::Times;
use nikola_kernels::Values;
use nikola_kernels::backend::{
    Backend, BackendError, DeviceWorld, LocalStep, NodeList, PassTime, Quantity, Watching,
};
use nikola_kernels::half_potential::{FlowConstants, LocalFlow, Prefactor, Time};
use passes::{describe, sweep_constants};
use wgpu::BufferUsages;

/// Dispatches of one submission, at most.
const DISPATCHES_MAX: usize = 256;
/// Submissions in flight, at most.
const IN_FLIGHT_MAX: usize = 3;

/// A dispatch, or a copy, waiting for submission.
enum Work {
    Sweep {
        group: usize,
        immediates: Sweep,
        axes: (bool, bool),
    },
    Direct {
        axis: usize,
        immediates: Direct,
    },
    Kick {
        immediates: Kick,
    },
    Norm,
    /// Of the energy balance.
    Step(Step),
}

/// The last sweep, not yet recorded.
struct Open {
    group: usize,
    /// The kinetic flow whose last axes it holds.
    before: Option<usize>,
    flows: Vec<Flow>,
}

/// Buffers on the device.
struct Buffers {
    psi: wgpu::Buffer,
    tables: wgpu::Buffer,
    potential: wgpu::Buffer,
    damping: wgpu::Buffer,
    partials: wgpu::Buffer,
    /// Second copy of Ψ for direct axes.
    next: Option<wgpu::Buffer>,
    /// Host-visible copy of Ψ, made when it is first read.
    read_back: Option<wgpu::Buffer>,
    /// Host-visible copy of the partial sums.
    partials_back: wgpu::Buffer,
    /// Nodes and weights of one-shot injections.
    scratch_nodes: wgpu::Buffer,
    scratch_weights: wgpu::Buffer,
}

/// The wgpu backend.
pub struct WgpuBackend {
    device: Device,
    world: DeviceWorld,
    plan: Plan,
    limits: TileLimits,
    buffers: Buffers,
    sweeps: Vec<Pipeline>,
    directs: Option<Pipeline>,
    norm: Pipeline,
    kicks: Pipeline,
    injections: Pipeline,
    /// Start of each source's list.
    source_starts: Vec<u32>,
    /// The energy balance, where it is watched.
    ledger: Option<Ledger>,
    open: Option<Open>,
    /// Group the next kinetic flow begins with: it alternates, see [`Backend::continue_after`].
    first_group: usize,
    /// What the last kinetic flow's rings leave to the next local flow.
    prefactor: Prefactor,
    waiting: Vec<Work>,
    in_flight: std::collections::VecDeque<wgpu::SubmissionIndex>,
    times: Option<Times>,
    partials_host: Vec<[f32; 2]>,
    frames: Frames,
}

impl std::fmt::Debug for WgpuBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

pub(crate) fn buffer(device: &Device, label: &str, bytes: u64, usage: BufferUsages) -> wgpu::Buffer {
    device.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size: bytes.max(16),
        usage,
        mapped_at_creation: false,
    })
}

/// The numbers of a local flow of `world`.
pub(crate) fn flow_of(world: &DeviceWorld, step: &LocalStep, prefactor: Prefactor) -> Flow {
    let uniform = |quantity: &Quantity| match quantity {
        Quantity::Uniform(value) => Values::Uniform(*value as f32),
        Quantity::PerNode(_) => Values::PerNode(&[]),
    };
    let flow = LocalFlow {
        duration: step.duration,
        potential: uniform(&world.potential),
        damping: uniform(&world.damping),
        beta: step.beta,
        time: match world.time {
            Time::Real => Time::Real,
            Time::Imaginary { .. } => Time::Imaginary { mu: step.mu },
        },
        gain: step.gain,
    };
    FlowConstants::new(&flow, prefactor).into()
}

pub(crate) fn filled(device: &Device, label: &str, bytes: &[u8]) -> wgpu::Buffer {
    let made = buffer(device, label, bytes.len() as u64, BufferUsages::STORAGE | BufferUsages::COPY_DST);
    device.queue.write_buffer(&made, 0, bytes);
    made
}

impl WgpuBackend {
    /// Moves `world` to the device. With `is_timed`, each pass is timed (and costs a little more).
    ///
    /// # Errors
    /// [`DeviceError`] when the world does not fit, or the driver refuses it. Panics on a world with flows over lines,
    /// which is [`crate::LineBackend`]'s.
    pub fn new(device: Device, mut world: DeviceWorld, is_timed: bool) -> Result<Self, DeviceError> {
        assert!(world.lines.is_none(), "flows over lines are for the line backend");
        let n_nodes = world.shape.n_nodes();
        let bytes = 8 * n_nodes as u64;
        device.report.holds("Ψ", bytes, device.report.binding_bytes)?;
        let limits = TileLimits {
            tile_bytes: device.report.tile_bytes as usize,
            threads: device.report.threads as usize,
        };
        let plan = Plan::new(&world, limits);
        let psi = std::mem::take(&mut world.psi);
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let values = |quantity: &Quantity| match quantity {
            Quantity::Uniform(_) => vec![0.0],
            Quantity::PerNode(values) => values.clone(),
        };
        let n_partials = n_nodes.div_ceil(REDUCE_CHUNK) as u64;
        let back = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let buffers = Buffers {
            psi: buffer(&device, "psi", bytes, usage),
            tables: filled(&device, "tables", bytemuck::cast_slice(&plan.tables)),
            damping: filled(&device, "damping", bytemuck::cast_slice(&values(&world.damping))),
            potential: filled(&device, "potential", bytemuck::cast_slice(&values(&world.potential))),
            partials: buffer(&device, "partials", 8 * n_partials, usage),
            next: (!plan.directs.is_empty()).then(|| buffer(&device, "next psi", bytes, usage)),
            read_back: None,
            partials_back: buffer(&device, "partials read back", 8 * n_partials, back),
            scratch_nodes: buffer(&device, "injected nodes", bytes / 2, usage),
            scratch_weights: buffer(&device, "injected weights", bytes, usage),
        };
        device.queue.write_buffer(&buffers.psi, 0, bytemuck::cast_slice(&psi));
        let (damping, tables) = (&buffers.damping, &buffers.tables);
        let stages = filled(&device, "stages", bytemuck::cast_slice(&plan.stages));

        let sweep_module = module(&device, &SWEEP);
        let sweeps = (0..plan.groups.len())
            .map(|group| {
                let constants = sweep_constants(&world, &plan, group);
                let bound = [
                    (&buffers.psi, Access::ReadWrite),
                    (tables, Access::Read),
                    (&stages, Access::Read),
                    (&buffers.potential, Access::Read),
                    (damping, Access::Read),
                ];
                let immediates = size_of::<Sweep>() as u32;
                Pipeline::new(&device, &sweep_module, &SWEEP, immediates, &constants, &bound)
            })
            .collect();
        let directs = buffers.next.as_ref().map(|next| {
            let bound = [(&buffers.psi, Access::Read), (tables, Access::Read), (next, Access::ReadWrite)];
            let immediates = size_of::<Direct>() as u32;
            Pipeline::new(&device, &module(&device, &DIRECT), &DIRECT, immediates, &[], &bound)
        });
        let bound = [(&buffers.psi, Access::Read), (&buffers.partials, Access::ReadWrite)];
        let norm = Pipeline::new(
            &device,
            &module(&device, &REDUCE),
            &REDUCE,
            size_of::<Reduce>() as u32,
            &[],
            &bound,
        );
        let (mut nodes, mut weights, mut source_starts) = (Vec::new(), Vec::new(), Vec::new());
        for list in &world.sources {
            source_starts.push(nodes.len() as u32);
            nodes.extend_from_slice(&list.nodes);
            weights.extend_from_slice(&list.weights);
        }
        let nodes = filled(&device, "source nodes", bytemuck::cast_slice(&nodes));
        let weights = filled(&device, "source weights", bytemuck::cast_slice(&weights));
        let source_module = module(&device, &SOURCE);
        let kick = |nodes: &wgpu::Buffer, weights: &wgpu::Buffer| {
            let bound = [(&buffers.psi, Access::ReadWrite), (nodes, Access::Read), (weights, Access::Read)];
            Pipeline::new(&device, &source_module, &SOURCE, size_of::<Kick>() as u32, &[], &bound)
        };
        let kicks = kick(&nodes, &weights);
        let injections = kick(&buffers.scratch_nodes, &buffers.scratch_weights);
        let ledger = Ledger::new(&device, &world, (&buffers.psi, &buffers.potential, &buffers.damping));
        let times = (is_timed && device.report.has_timestamps).then(|| Times::new(&device, DISPATCHES_MAX));
        device.wait(None)?;
        Ok(Self {
            world,
            plan,
            limits,
            buffers,
            sweeps,
            directs,
            norm,
            kicks,
            injections,
            source_starts,
            ledger,
            open: None,
            first_group: 0,
            prefactor: Prefactor::NONE,
            waiting: Vec::new(),
            in_flight: std::collections::VecDeque::new(),
            times,
            partials_host: Vec::new(),
            frames: Frames::default(),
            device,
        })
    }

    /// The open device, for drills: a test may destroy it.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How the axes are grouped into sweeps.
    pub fn groups(&self) -> Vec<String> {
        let groups = self.plan.groups.iter().map(|group| group.name.clone());
        groups.chain(self.plan.directs.iter().map(|axis| format!("direct {}", axis.extent))).collect()
    }

    fn n_nodes(&self) -> usize {
        self.world.shape.n_nodes()
    }

    /// Records the open sweep, joined by the axes of kinetic flow `after` if given.
    fn record(&mut self, open: Open, after: Option<usize>) -> Result<(), BackendError> {
        let group = &self.plan.groups[open.group];
        let axes = (open.before.is_some(), after.is_some());
        if open.flows.is_empty() && !(group.has_axes && (axes.0 || axes.1)) {
            return Ok(());
        }
        let (first_stage, n_stages) = group.stages(axes.0, axes.1);
        let base = |which: Option<usize>| (which.unwrap_or(0) * self.plan.table_len) as u32;
        let mut flows = [Flow::default(); FLOWS_MAX];
        flows[..open.flows.len()].copy_from_slice(&open.flows);
        let immediates = Sweep {
            flows,
            n_flows: open.flows.len() as u32,
            first_stage,
            n_stages,
            base_before: base(open.before),
            base_after: base(after),
        };
        self.put(Work::Sweep { group: open.group, immediates, axes })
    }

    /// Records the open sweep, if there is one.
    fn close(&mut self) -> Result<(), BackendError> {
        self.open.take().map_or(Ok(()), |open| self.record(open, None))
    }

    /// As [`Self::close`], and leaves nothing to a later local flow: Ψ is what a reader expects.
    fn settle(&mut self) -> Result<(), BackendError> {
        if self.prefactor != Prefactor::NONE {
            self.local(&LocalStep { duration: 0.0, beta: 0.0, gain: 0.0, mu: 0.0 })?;
        }
        self.close()
    }

    fn put(&mut self, work: Work) -> Result<(), BackendError> {
        self.waiting.push(work);
        if self.waiting.len() >= DISPATCHES_MAX { self.submit(None) } else { Ok(()) }
    }

    /// Submits what waits, and then `copy`; holds back when the device is several submissions behind.
    fn submit(&mut self, copy: Option<(&wgpu::Buffer, &wgpu::Buffer, u64)>) -> Result<(), BackendError> {
        self.submit_from(copy.map(|(from, to, bytes)| (from, 0, to, bytes)))
    }

    /// As [`Self::submit`], with a copy from some place on.
    fn submit_from(
        &mut self,
        copy: Option<(&wgpu::Buffer, u64, &wgpu::Buffer, u64)>,
    ) -> Result<(), BackendError> {
        let mut encoder =
            self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        self.encode(&mut encoder);
        if let Some((from, at, to, bytes)) = copy {
            encoder.copy_buffer_to_buffer(from, at, to, 0, Some(bytes));
        }
        if let Some(times) = &mut self.times {
            times.resolve(&mut encoder);
        }
        self.in_flight.push_back(self.device.queue.submit([encoder.finish()]));
        self.waiting.clear();
        if self.times.is_some() {
            self.device.wait(None)?;
            self.in_flight.clear();
            if let Some(times) = &mut self.times {
                times.collect(&self.device)?;
            }
        }
        if self.in_flight.len() > IN_FLIGHT_MAX
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.device.wait(Some(oldest))?;
        }
        self.device.failures.check()
    }

    /// One compute pass for all dispatches, broken by copies; with timing, one pass each.
    fn encode(&mut self, encoder: &mut wgpu::CommandEncoder) {
        let n_nodes = self.n_nodes();
        let mut at = 0;
        while at < self.waiting.len() {
            let end = if self.times.is_some() {
                at + 1
            } else {
                let is_last = |work: &Work| matches!(work, Work::Direct { .. });
                let rest = &self.waiting[at..];
                at + rest.iter().position(is_last).map_or(rest.len(), |position| position + 1)
            };
            let timed = self.times.as_mut().map(|times| {
                let (name, bytes) = describe(&self.waiting[at], &self.world, &self.plan);
                times.begin(name, bytes)
            });
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: timed.map(|slot| self.times.as_ref().expect("timed").writes(slot)),
            });
            for work in &self.waiting[at..end] {
                match work {
                    Work::Sweep { group, immediates, .. } => {
                        let n_tiles = self.plan.groups[*group].tiles.n_tiles as u32;
                        self.sweeps[*group].dispatch(&mut pass, bytemuck::bytes_of(immediates), n_tiles);
                    }
                    Work::Direct { immediates, .. } => {
                        if let Some(pipeline) = &self.directs {
                            let n_groups = n_nodes.div_ceil(NODE_THREADS) as u32;
                            pipeline.dispatch(&mut pass, bytemuck::bytes_of(immediates), n_groups);
                        }
                    }
                    Work::Kick { immediates } => {
                        let n_groups = immediates.count.div_ceil(NODE_THREADS as u32);
                        self.kicks.dispatch(&mut pass, bytemuck::bytes_of(immediates), n_groups);
                    }
                    Work::Norm => {
                        let immediates = Reduce { n_nodes: n_nodes as u32, zero: 0 };
                        let n_groups = n_nodes.div_ceil(REDUCE_CHUNK) as u32;
                        self.norm.dispatch(&mut pass, bytemuck::bytes_of(&immediates), n_groups);
                    }
                    Work::Step(step) => {
                        step.pipeline.dispatch(&mut pass, &step.immediates, step.n_groups);
                    }
                }
            }
            drop(pass);
            if let (Some(Work::Direct { .. }), Some(next)) = (self.waiting.get(end - 1), &self.buffers.next) {
                encoder.copy_buffer_to_buffer(next, 0, &self.buffers.psi, 0, None);
            }
            at = end;
        }
    }
}

impl Backend for WgpuBackend {
    fn describe(&self) -> String {
        format!(
            "{} ({}); sweeps {}",
            self.device.report.name,
            self.device.report.driver,
            self.groups().join(", ")
        )
    }

    fn local(&mut self, step: &LocalStep) -> Result<(), BackendError> {
        let prefactor = std::mem::replace(&mut self.prefactor, Prefactor::NONE);
        let flow = flow_of(&self.world, step, prefactor);
        if self.open.as_ref().is_some_and(|open| open.flows.len() == FLOWS_MAX) {
            self.close()?;
        }
        let first_group = self.first_group;
        let open =
            self.open.get_or_insert_with(|| Open { group: first_group, before: None, flows: Vec::new() });
        open.flows.push(flow);
        Ok(())
    }

    fn kinetic(&mut self, which: usize) -> Result<(), BackendError> {
        for axis in 0..self.plan.directs.len() {
            self.close()?;
            let direct = self.plan.directs[axis];
            let immediates = Direct {
                n_nodes: self.n_nodes() as u32,
                extent: direct.extent as u32,
                stride: direct.stride as u32,
                table: (which * self.plan.table_len + direct.table) as u32,
            };
            self.put(Work::Direct { axis, immediates })?;
        }
        let n_groups = self.plan.groups.len();
        let first = self.first_group;
        let last = if first == 0 { n_groups - 1 } else { 0 };
        if n_groups == 1 {
            self.close()?;
        } else {
            let blank = || Open { group: first, before: None, flows: Vec::new() };
            let open = self.open.take().unwrap_or_else(blank);
            self.record(open, Some(which))?;
            for group in 1..n_groups - 1 {
                self.record(Open { group, before: None, flows: Vec::new() }, Some(which))?;
            }
        }
        self.open = Some(Open { group: last, before: Some(which), flows: Vec::new() });
        self.first_group = last;
        let left = self.plan.prefactors[which];
        self.prefactor.angle += left.angle;
        self.prefactor.scale *= left.scale;
        Ok(())
    }

    fn kick(&mut self, index: usize, phasor: (f64, f64)) -> Result<(), BackendError> {
        self.settle()?;
        let immediates = Kick {
            phasor: [phasor.0 as f32, phasor.1 as f32],
            first: self.source_starts[index],
            count: self.world.sources[index].nodes.len() as u32,
        };
        if immediates.count == 0 { Ok(()) } else { self.put(Work::Kick { immediates }) }
    }

    fn inject(&mut self, list: &NodeList) -> Result<(), BackendError> {
        if list.nodes.is_empty() {
            return Ok(());
        }
        self.settle()?;
        self.submit(None)?;
        let queue = &self.device.queue;
        queue.write_buffer(&self.buffers.scratch_nodes, 0, bytemuck::cast_slice(&list.nodes));
        queue.write_buffer(&self.buffers.scratch_weights, 0, bytemuck::cast_slice(&list.weights));
        let mut encoder =
            self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        let count = list.nodes.len() as u32;
        let immediates = Kick { phasor: [1.0, 0.0], first: 0, count };
        let n_groups = count.div_ceil(NODE_THREADS as u32);
        self.injections.dispatch(&mut pass, bytemuck::bytes_of(&immediates), n_groups);
        drop(pass);
        self.device.queue.submit([encoder.finish()]);
        self.device.failures.check()
    }

    fn set_potential(&mut self, values: &[f32]) -> Result<(), BackendError> {
        self.close()?;
        self.submit(None)?;
        self.device.queue.write_buffer(&self.buffers.potential, 0, bytemuck::cast_slice(values));
        Ok(())
    }

    fn set_damping(&mut self, damping: &Quantity) -> Result<(), BackendError> {
        self.ledger()?;
        if let Quantity::PerNode(values) = damping {
            self.close()?;
            self.submit(None)?;
            self.device.queue.write_buffer(&self.buffers.damping, 0, bytemuck::cast_slice(values));
        } else {
            self.world.damping = damping.clone();
        }
        Ok(())
    }

    fn norm2(&mut self) -> Result<f64, BackendError> {
        self.settle()?;
        self.put(Work::Norm)?;
        let bytes = 8 * self.n_nodes().div_ceil(layout::REDUCE_CHUNK) as u64;
        let (from, to) = (self.buffers.partials.clone(), self.buffers.partials_back.clone());
        self.submit(Some((&from, &to, bytes)))?;
        self.in_flight.clear();
        self.device.read_mapped(&to, bytes, &mut self.partials_host)?;
        Ok(self.partials_host.iter().map(|[high, low]| f64::from(*high) + f64::from(*low)).sum())
    }

    fn read(&mut self, psi: &mut Vec<[f32; 2]>) -> Result<(), BackendError> {
        self.settle()?;
        let bytes = 8 * self.n_nodes() as u64;
        let back = self.buffers.read_back.get_or_insert_with(|| {
            buffer(&self.device, "psi read back", bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)
        });
        let (from, to) = (self.buffers.psi.clone(), back.clone());
        self.submit(Some((&from, &to, bytes)))?;
        self.in_flight.clear();
        self.device.read_mapped(&to, bytes, psi)
    }

    fn continue_after(&mut self, n_flows: u64) {
        self.first_group = if n_flows.is_multiple_of(2) { 0 } else { self.plan.groups.len() - 1 };
    }

    fn write(&mut self, psi: &[[f32; 2]]) -> Result<(), BackendError> {
        self.open = None;
        self.prefactor = Prefactor::NONE;
        self.submit(None)?;
        self.device.queue.write_buffer(&self.buffers.psi, 0, bytemuck::cast_slice(psi));
        self.device.failures.check()
    }

    fn begin_frame(&mut self) -> Result<bool, BackendError> {
        self.settle()?;
        let bytes = 8 * self.n_nodes() as u64;
        let Some(staging) = self.frames.next(&self.device, bytes) else { return Ok(false) };
        let psi = self.buffers.psi.clone();
        self.submit(Some((&psi, &staging, bytes)))?;
        self.frames.expect(staging);
        Ok(true)
    }

    fn take_frame(&mut self, psi: &mut Vec<[f32; 2]>) -> Result<bool, BackendError> {
        self.frames.take(&self.device, psi)
    }

    fn watching(&mut self) -> Result<&mut dyn Watching, BackendError> {
        self.ledger()?;
        Ok(self)
    }

    fn take_times(&mut self) -> Vec<PassTime> {
        self.times.as_mut().map(Times::take).unwrap_or_default()
    }
}

mod passes;
mod watching;

#[cfg(test)]
pub(crate) mod tests;
