//! The backend of the wave form: Ψ and Ψ̇ on the device.
//!
//! Invariant: as in [`crate::backend`], the last sweep of a tick stays *open* until the next call, so that the way back
//! of one tick, the kicks, and the way to modes of the next are one sweep; a reader closes it early, with the same
//! arithmetic. A gain joins the increment of the turn.
//!
//! ```text
//! local ─ kinetic ─ local │ local ─ kinetic ─ local │ …      the calls
//! [A⁻¹ K K A] [B] [C turn C⁻¹] [B⁻¹] [A⁻¹ K K A] …           the sweeps, three groups A B C: four a tick
//! ```

use crate::backend::{buffer, filled};
use crate::device::{Device, DeviceError};
use crate::frames::Frames;
use crate::layout::{self, FLOWS_MAX, Kick, NODE_THREADS, Pass, Push, REDUCE_CHUNK, Reduce, Transform};
use crate::pipeline::{Access, Pipeline, module};
use crate::plan::{TileLimits, Tiles, radix_constants};
use crate::program::{REDUCE, SOURCE, TRANSFORM, WAVE_FORM};
use crate::recorder::{Recorder, Transfer, Work};
use crate::wave_plan::{List, WaveGroup, WavePlan};
use nikola_kernels::backend::{Backend, BackendError, DeviceWorld, LocalStep, NodeList, PassTime, Quantity};
use nikola_kernels::transcendental::expm1;
use wgpu::BufferUsages;

/// The last sweep, not yet recorded.
#[derive(Debug, Default)]
struct Open {
    /// Whether the first group is still in modes.
    is_in_modes: bool,
    pushes: Vec<Push>,
}

/// The wgpu backend of the wave form.
pub struct WaveBackend {
    device: Device,
    /// Without the fields and the columns, which are on the device.
    world: DeviceWorld,
    plan: WavePlan,
    n_nodes: usize,
    /// α/2 as the device has it, and e^{−αh/2} − 1.
    half_alpha: f32,
    decay: f64,
    has_damping: bool,
    damping: wgpu::Buffer,
    psi: wgpu::Buffer,
    velocity: wgpu::Buffer,
    sweeps: Vec<Pipeline>,
    /// Per field, where an axis needs it: the transform, and the copy back.
    transforms: Option<[(Pipeline, wgpu::Buffer); 2]>,
    next: Option<wgpu::Buffer>,
    norm: Pipeline,
    kicks: Pipeline,
    injections: Pipeline,
    scratch_nodes: wgpu::Buffer,
    scratch_weights: wgpu::Buffer,
    source_starts: Vec<(u32, u32)>,
    partials: wgpu::Buffer,
    partials_back: wgpu::Buffer,
    read_back: Option<wgpu::Buffer>,
    recorder: Recorder,
    open: Open,
    gain: f64,
    partials_host: Vec<[f32; 2]>,
    frames: Frames,
}

impl std::fmt::Debug for WaveBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl WaveBackend {
    /// Moves `world`, whose equation is the wave form, to the device. With `is_timed`, each pass is timed.
    ///
    /// # Errors
    /// [`DeviceError`] when the world does not fit, or the driver refuses it. Panics if the equation is another one.
    pub fn new(device: Device, mut world: DeviceWorld, is_timed: bool) -> Result<Self, DeviceError> {
        let wave = world.wave.take().expect("the equation is the wave form");
        let duration = *world.durations.first().expect("a tick has a duration");
        let n_nodes = world.shape.n_nodes();
        let bytes = 8 * n_nodes as u64;
        device.report.holds("Ψ", bytes, device.report.binding_bytes)?;
        let half_alpha = (0.5 * wave.alpha) as f32;
        let plan = WavePlan::new(&world, limits_of(&device), duration, f64::from(half_alpha));
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let psi = buffer(&device, "psi", bytes, usage);
        let velocity = buffer(&device, "velocity", bytes, usage);
        device.queue.write_buffer(&psi, 0, bytemuck::cast_slice(&world.psi));
        device.queue.write_buffer(&velocity, 0, bytemuck::cast_slice(&wave.velocity));
        let has_damping = matches!(world.damping, Quantity::PerNode(_));
        let damping = match &world.damping {
            Quantity::PerNode(values) => filled(&device, "damping", bytemuck::cast_slice(values)),
            Quantity::Uniform(_) => filled(&device, "damping", &[0; 4]),
        };
        let numbers = Numbers::new(&device, &plan);
        let sweep_module = module(&device, &WAVE_FORM);
        let sweeps = plan.groups.iter().map(|group| {
            let bound = numbers.bound([&psi, &velocity, &damping]);
            let constants = sweep_constants(group, has_damping);
            let immediates = size_of::<Pass>() as u32;
            Pipeline::new(&device, &sweep_module, &WAVE_FORM, immediates, &constants, &bound)
        });
        let sweeps = sweeps.collect();
        let next = (!plan.directs.is_empty()).then(|| buffer(&device, "next", bytes, usage));
        let transforms = next.as_ref().map(|next| {
            let made = module(&device, &TRANSFORM);
            [&psi, &velocity].map(|field| {
                let bound =
                    [(field, Access::Read), (&numbers.tables, Access::Read), (next, Access::ReadWrite)];
                let immediates = size_of::<Transform>() as u32;
                let pipeline = Pipeline::new(&device, &made, &TRANSFORM, immediates, &[], &bound);
                (pipeline, field.clone())
            })
        });
        let n_partials = n_nodes.div_ceil(REDUCE_CHUNK) as u64;
        let partials = buffer(&device, "partials", 8 * n_partials, usage);
        let bound = [(&psi, Access::Read), (&partials, Access::ReadWrite)];
        let reduce = module(&device, &REDUCE);
        let norm = Pipeline::new(&device, &reduce, &REDUCE, size_of::<Reduce>() as u32, &[], &bound);
        let (mut nodes, mut weights, mut source_starts) = (Vec::new(), Vec::new(), Vec::new());
        for list in &world.sources {
            source_starts.push((nodes.len() as u32, list.nodes.len() as u32));
            nodes.extend_from_slice(&list.nodes);
            weights.extend_from_slice(&list.weights);
        }
        let nodes = filled(&device, "source nodes", bytemuck::cast_slice(&nodes));
        let weights = filled(&device, "source weights", bytemuck::cast_slice(&weights));
        let scratch_nodes = buffer(&device, "injected nodes", bytes / 2, usage);
        let scratch_weights = buffer(&device, "injected weights", bytes, usage);
        let source = module(&device, &SOURCE);
        let kick = |field: &wgpu::Buffer, nodes: &wgpu::Buffer, weights: &wgpu::Buffer| {
            let bound = [(field, Access::ReadWrite), (nodes, Access::Read), (weights, Access::Read)];
            Pipeline::new(&device, &source, &SOURCE, size_of::<Kick>() as u32, &[], &bound)
        };
        let kicks = kick(&velocity, &nodes, &weights);
        let injections = kick(&psi, &scratch_nodes, &scratch_weights);
        let back = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        device.wait(None)?;
        Ok(Self {
            world: stripped(world),
            n_nodes,
            half_alpha,
            decay: expm1(-0.5 * wave.alpha * duration),
            has_damping,
            damping,
            psi,
            velocity,
            sweeps,
            transforms,
            next,
            norm,
            kicks,
            injections,
            scratch_nodes,
            scratch_weights,
            source_starts,
            partials,
            partials_back: buffer(&device, "partials read back", 8 * n_partials, back),
            read_back: None,
            recorder: Recorder::new(&device, is_timed),
            open: Open::default(),
            gain: 0.0,
            partials_host: Vec::new(),
            frames: Frames::default(),
            plan,
            device,
        })
    }

    /// Takes over T and a uniform Γ that have changed. The sweeps are the same, since the torus is.
    fn replan(&mut self, world: DeviceWorld, alpha: f64) -> Result<(), BackendError> {
        self.close(false)?;
        self.recorder.submit(&self.device, &[])?;
        let duration = world.durations.first().copied().unwrap_or_default();
        self.half_alpha = (0.5 * alpha) as f32;
        self.decay = expm1(-0.5 * alpha * duration);
        self.plan = WavePlan::new(&world, limits_of(&self.device), duration, f64::from(self.half_alpha));
        self.world = stripped(world);
        let numbers = Numbers::new(&self.device, &self.plan);
        let bound = numbers.bound([&self.psi, &self.velocity, &self.damping]).map(|(buffer, _)| buffer);
        for sweep in &mut self.sweeps {
            *sweep = sweep.rebound(&self.device, &bound);
        }
        if let (Some(transforms), Some(next)) = (&mut self.transforms, &self.next) {
            for (transform, field) in transforms {
                *transform = transform.rebound(&self.device, &[field, &numbers.tables, next]);
            }
        }
        self.device.failures.check()
    }

    /// How the axes are grouped into sweeps.
    pub fn groups(&self) -> Vec<String> {
        let groups = self.plan.groups.iter().map(|group| group.name.clone());
        groups.chain(self.plan.directs.iter().map(|axis| format!("direct {}", axis.extent))).collect()
    }

    fn sweep(
        &mut self,
        group: usize,
        (first_stage, n_stages): List,
        pushes: &[Push],
        name: &'static str,
    ) -> Result<(), BackendError> {
        if n_stages == 0 {
            return Ok(());
        }
        let mut pass = Pass {
            n_pushes: pushes.len() as u32,
            first_stage,
            n_stages,
            half_alpha: self.half_alpha,
            increment: (self.decay + self.gain) as f32,
            ..Pass::default()
        };
        pass.pushes[..pushes.len()].copy_from_slice(pushes);
        let n_tiles = self.plan.groups[group].tiles.n_tiles;
        let described = (name, 32 * self.n_nodes as u64);
        self.recorder.dispatch(&self.device, &self.sweeps[group], &pass, n_tiles, described)
    }

    /// Records the open sweep, with the way to modes if `forth`.
    fn close(&mut self, forth: bool) -> Result<(), BackendError> {
        let open = std::mem::take(&mut self.open);
        let group = &self.plan.groups[0];
        let forth = forth && group.has_axes;
        if !(open.is_in_modes || forth) && open.pushes.is_empty() {
            return Ok(());
        }
        let list = group.around_push[usize::from(open.is_in_modes)][usize::from(forth)];
        self.sweep(0, list, &open.pushes, "wave_form kicks")
    }

    /// The axes that no tile holds: to modes (1) or back (−1), both fields.
    fn directs(&mut self, sign: f32) -> Result<(), BackendError> {
        let (Some(transforms), Some(next)) = (&self.transforms, &self.next) else { return Ok(()) };
        for axis in &self.plan.directs {
            for (pipeline, field) in transforms {
                let immediates = Transform {
                    n_nodes: self.n_nodes as u32,
                    extent: axis.extent as u32,
                    stride: axis.stride as u32,
                    table: axis.table as u32,
                    sign,
                };
                let work = Work {
                    pipeline: pipeline.clone(),
                    immediates: bytemuck::bytes_of(&immediates).to_vec(),
                    n_groups: self.n_nodes.div_ceil(NODE_THREADS) as u32,
                    name: ("wave_form direct", 32 * self.n_nodes as u64),
                    copy: Some((next.clone(), field.clone())),
                };
                self.recorder.put(&self.device, work)?;
            }
        }
        Ok(())
    }
}

/// The numbers of a plan on the device.
struct Numbers {
    tables: wgpu::Buffer,
    stages: wgpu::Buffer,
    classes: wgpu::Buffer,
    turns: wgpu::Buffer,
}

impl Numbers {
    fn new(device: &Device, plan: &WavePlan) -> Self {
        Self {
            tables: filled(device, "tables", bytemuck::cast_slice(&plan.tables)),
            stages: filled(device, "stages", bytemuck::cast_slice(&plan.stages)),
            classes: filled(device, "classes", bytemuck::cast_slice(&plan.classes)),
            turns: filled(device, "turns", bytemuck::cast_slice(&plan.turns)),
        }
    }

    /// What a sweep sees, in the order of its bindings.
    fn bound<'a>(
        &'a self,
        [psi, velocity, damping]: [&'a wgpu::Buffer; 3],
    ) -> [(&'a wgpu::Buffer, Access); 8] {
        [
            (psi, Access::ReadWrite),
            (&self.tables, Access::Read),
            (&self.stages, Access::Read),
            // Of the two columns of half_potential.wgsl, V is not used.
            (damping, Access::Read),
            (damping, Access::Read),
            (velocity, Access::ReadWrite),
            (&self.classes, Access::Read),
            (&self.turns, Access::Read),
        ]
    }
}

fn limits_of(device: &Device) -> TileLimits {
    TileLimits { tile_bytes: device.report.tile_bytes as usize, threads: device.report.threads as usize }
}

/// What the host keeps of a world whose fields are on the device.
fn stripped(mut world: DeviceWorld) -> DeviceWorld {
    (world.psi, world.wave, world.sources, world.damping) =
        (Vec::new(), None, Vec::new(), Quantity::Uniform(0.0));
    world
}

fn sweep_constants(group: &WaveGroup, has_damping: bool) -> Vec<(&'static str, f64)> {
    let Tiles { threads, rows, lanes, row_stride, lane_stride, row_pitch, lane_pitch, .. } = group.tiles;
    let Tiles { pad_shift, tile_len, lane_count, chunks, outer_stride, n_tiles, is_lanes_first, .. } =
        group.tiles;
    let flag = |condition: bool| f64::from(u8::from(condition));
    let mut constants = vec![
        ("HAS_DAMPING", flag(has_damping)),
        ("THREADS", threads as f64),
        ("ROWS", rows as f64),
        ("LANES", lanes as f64),
        ("ROW_STRIDE", row_stride as f64),
        ("LANE_STRIDE", lane_stride as f64),
        ("ROW_PITCH", row_pitch as f64),
        ("LANE_PITCH", lane_pitch as f64),
        ("PAD_SHIFT", f64::from(pad_shift)),
        ("TILE_LEN", tile_len as f64),
        ("BOTH_LEN", 2.0 * tile_len as f64),
        ("LANE_COUNT", lane_count as f64),
        ("CHUNKS", chunks as f64),
        ("OUTER_STRIDE", outer_stride as f64),
        ("N_TILES", n_tiles as f64),
        ("LANES_FIRST", flag(is_lanes_first)),
    ];
    constants.extend(radix_constants(&group.radices));
    constants
}

impl Backend for WaveBackend {
    fn describe(&self) -> String {
        let report = &self.device.report;
        format!("{} ({}); wave form, sweeps {}", report.name, report.driver, self.groups().join(", "))
    }

    fn local(&mut self, step: &LocalStep) -> Result<(), BackendError> {
        self.gain += step.gain;
        if step.beta == 0.0 && !self.has_damping {
            return Ok(());
        }
        if self.open.pushes.len() == FLOWS_MAX {
            self.close(false)?;
        }
        let push = Push { h: step.duration as f32, strength: (step.duration * step.beta) as f32 };
        self.open.pushes.push(push);
        Ok(())
    }

    fn kinetic(&mut self, _which: usize) -> Result<(), BackendError> {
        let n_groups = self.plan.groups.len();
        let last = n_groups - 1;
        if n_groups == 1 && self.plan.directs.is_empty() {
            self.close(false)?;
            self.sweep(0, self.plan.groups[0].around_turn, &[], "wave_form turn")?;
            self.gain = 0.0;
            return Ok(());
        }
        self.close(true)?;
        for group in 1..last {
            self.sweep(group, self.plan.groups[group].forth, &[], "wave_form forth")?;
        }
        if self.plan.directs.is_empty() {
            self.sweep(last, self.plan.groups[last].around_turn, &[], "wave_form turn")?;
        } else {
            if last > 0 {
                self.sweep(last, self.plan.groups[last].forth, &[], "wave_form forth")?;
            }
            self.directs(1.0)?;
            self.sweep(last, self.plan.groups[last].turn, &[], "wave_form turn")?;
            self.directs(-1.0)?;
            if last > 0 {
                self.sweep(last, self.plan.groups[last].back, &[], "wave_form back")?;
            }
        }
        for group in (1..last).rev() {
            self.sweep(group, self.plan.groups[group].back, &[], "wave_form back")?;
        }
        self.open.is_in_modes = self.plan.groups[0].has_axes;
        self.gain = 0.0;
        Ok(())
    }

    fn kick(&mut self, index: usize, phasor: (f64, f64)) -> Result<(), BackendError> {
        self.close(false)?;
        let (first, count) = self.source_starts[index];
        if count == 0 {
            return Ok(());
        }
        let immediates = Kick { phasor: [phasor.0 as f32, phasor.1 as f32], first, count };
        let n_groups = (count as usize).div_ceil(NODE_THREADS);
        let described = ("source", 28 * u64::from(count));
        self.recorder.dispatch(&self.device, &self.kicks, &immediates, n_groups, described)
    }

    fn inject(&mut self, list: &NodeList) -> Result<(), BackendError> {
        if list.nodes.is_empty() {
            return Ok(());
        }
        self.close(false)?;
        self.recorder.submit(&self.device, &[])?;
        let queue = &self.device.queue;
        queue.write_buffer(&self.scratch_nodes, 0, bytemuck::cast_slice(&list.nodes));
        queue.write_buffer(&self.scratch_weights, 0, bytemuck::cast_slice(&list.weights));
        let count = list.nodes.len() as u32;
        let immediates = Kick { phasor: [1.0, 0.0], first: 0, count };
        let n_groups = (count as usize).div_ceil(NODE_THREADS);
        let described = ("source", 28 * u64::from(count));
        self.recorder.dispatch(&self.device, &self.injections, &immediates, n_groups, described)?;
        self.recorder.submit(&self.device, &[])
    }

    fn set_potential(&mut self, _values: &[f32]) -> Result<(), BackendError> {
        // The wave form has no potential; a world with one is refused when it is built.
        Ok(())
    }

    fn set_damping(&mut self, damping: &Quantity) -> Result<(), BackendError> {
        match damping {
            Quantity::PerNode(values) => {
                self.close(false)?;
                self.recorder.submit(&self.device, &[])?;
                self.device.queue.write_buffer(&self.damping, 0, bytemuck::cast_slice(values));
                self.device.failures.check()
            }
            Quantity::Uniform(alpha) => self.replan(self.world.clone(), *alpha),
        }
    }

    fn adopt(&mut self, mut world: DeviceWorld) -> Result<(), BackendError> {
        let wave = world.wave.take();
        let alpha = wave.as_ref().map_or(0.0, |wave| wave.alpha);
        self.open = Open::default();
        let fields = [std::mem::take(&mut world.psi), wave.map(|wave| wave.velocity).unwrap_or_default()];
        if let Quantity::PerNode(_) = &world.damping {
            self.set_damping(&world.damping)?;
        }
        self.replan(world, alpha)?;
        self.write(&fields.concat())
    }

    fn norm2(&mut self) -> Result<f64, BackendError> {
        self.close(false)?;
        let immediates = Reduce { n_nodes: self.n_nodes as u32, zero: 0 };
        let n_chunks = self.n_nodes.div_ceil(layout::REDUCE_CHUNK);
        let described = ("oracle (norm)", 8 * self.n_nodes as u64);
        self.recorder.dispatch(&self.device, &self.norm, &immediates, n_chunks, described)?;
        let copy = (&self.partials, &self.partials_back, 8 * n_chunks as u64);
        self.recorder.read(&self.device, copy, &mut self.partials_host)?;
        Ok(self.partials_host.iter().map(|[high, low]| f64::from(*high) + f64::from(*low)).sum())
    }

    fn read(&mut self, psi: &mut Vec<[f32; 2]>) -> Result<(), BackendError> {
        self.close(false)?;
        let bytes = 8 * self.n_nodes as u64;
        let back = self.read_back.get_or_insert_with(|| {
            buffer(
                &self.device,
                "fields read back",
                2 * bytes,
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            )
        });
        let copies = [
            Transfer { from: (self.psi.clone(), 0), to: (back.clone(), 0), bytes },
            Transfer { from: (self.velocity.clone(), 0), to: (back.clone(), bytes), bytes },
        ];
        let back = back.clone();
        self.recorder.submit(&self.device, &copies)?;
        self.recorder.forget_submissions();
        self.device.read_mapped(&back, 2 * bytes, psi)
    }

    fn write(&mut self, psi: &[[f32; 2]]) -> Result<(), BackendError> {
        self.open = Open::default();
        self.recorder.submit(&self.device, &[])?;
        let (psi, velocity) = psi.split_at(self.n_nodes);
        self.device.queue.write_buffer(&self.psi, 0, bytemuck::cast_slice(psi));
        self.device.queue.write_buffer(&self.velocity, 0, bytemuck::cast_slice(velocity));
        self.device.failures.check()
    }

    fn begin_frame(&mut self) -> Result<bool, BackendError> {
        self.close(false)?;
        let bytes = 8 * self.n_nodes as u64;
        let Some(staging) = self.frames.next(&self.device, bytes) else { return Ok(false) };
        let copy = Transfer { from: (self.psi.clone(), 0), to: (staging.clone(), 0), bytes };
        self.recorder.submit(&self.device, &[copy])?;
        self.frames.expect(staging);
        Ok(true)
    }

    fn take_frame(&mut self, psi: &mut Vec<[f32; 2]>) -> Result<bool, BackendError> {
        self.frames.take(&self.device, psi)
    }

    fn take_times(&mut self) -> Vec<PassTime> {
        self.recorder.take_times()
    }
}

#[cfg(test)]
mod tests;
