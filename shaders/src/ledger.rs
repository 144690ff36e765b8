//! The energy balance on the device: sums, work of the sources and the reservoir, kept until the host asks.
//!
//! Invariant: an entry of the log is written in the order of the calls and read back once, all of them together, so that
//! a tick that only books waits for nothing.

use crate::backend::{buffer, filled};
use crate::device::Device;
use crate::layout::{Collect, Look, NODE_THREADS, REDUCE_CHUNK};
use crate::pipeline::{Access, Pipeline, module};
use crate::program::{COLLECT, FOLD, TOTALS, WORK};
use nikola_kernels::backend::{BackendError, DeviceWorld, LOG_ENTRIES_MAX, LogEntry, Quantity, Wanted};
use nikola_kernels::kinetic::AxisTerm;
use nikola_kernels::source::Strengths;
use std::sync::Arc;
use wgpu::BufferUsages;

/// Pairs of an entry: `WIDTH` of `energy.wgsl`.
pub const WIDTH: usize = 11;
/// Pairs of an entry that holds work.
const WORK_WIDTH: u32 = 4;

/// `wanted` of `energy.wgsl`.
const LOCAL: u32 = 1;
const KINETIC: u32 = 2;
const WEIGHTED: u32 = 4;
const DRIVE: u32 = 8;
const HAS_POTENTIAL: u32 = 16;
const HAS_DAMPING: u32 = 32;

/// A dispatch of one of the ledger's programs.
pub struct Step {
    /// Which.
    pub pipeline: Arc<Pipeline>,
    /// Its immediates.
    pub immediates: Vec<u8>,
    /// Work groups.
    pub n_groups: u32,
    /// Name in reports, and bytes it must move.
    pub name: (&'static str, u64),
}

/// Programs and buffers of the balance.
pub struct Ledger {
    totals: Arc<Pipeline>,
    work: Arc<Pipeline>,
    fold: Arc<Pipeline>,
    collect: Arc<Pipeline>,
    /// ∂tV, where it is asked for.
    pub rate: wgpu::Buffer,
    entries: wgpu::Buffer,
    entries_back: wgpu::Buffer,
    collected: wgpu::Buffer,
    collected_back: wgpu::Buffer,
    n_nodes: usize,
    n_axes: u32,
    /// First place and length of each profile's list.
    profiles: Vec<(u32, u32)>,
    columns: u32,
    /// Entries since the log was last read.
    n_entries: usize,
}

impl Ledger {
    /// The ledger of `world`; `None` where nothing is watched.
    pub fn new(
        device: &Device,
        world: &DeviceWorld,
        (psi, potential, damping): (&wgpu::Buffer, &wgpu::Buffer, &wgpu::Buffer),
    ) -> Option<Self> {
        let watched = world.watched.as_ref()?;
        let n_nodes = world.shape.n_nodes();
        let (mut list, mut profile, mut profiles) = (Vec::new(), Vec::new(), Vec::new());
        for source in &watched.profiles {
            profiles.push((list.len() as u32, source.nodes.len() as u32));
            list.extend_from_slice(&source.nodes);
            profile.extend_from_slice(&source.weights);
        }
        if list.is_empty() {
            (list, profile) = (vec![0], vec![[0.0; 4]]);
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let back = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let (table, n_axes) = bonds(world, &watched.axes);
        let table = filled(device, "bonds", bytemuck::cast_slice(&table));
        let list = filled(device, "profile nodes", bytemuck::cast_slice(&list));
        let profile = filled(device, "profiles", bytemuck::cast_slice(&profile));
        let chunks = n_nodes.div_ceil(REDUCE_CHUNK) as u64;
        let partials = buffer(device, "partials of sums", 8 * WIDTH as u64 * chunks, usage);
        let rate =
            buffer(device, "rate of V", if watched.is_driven { 4 * n_nodes as u64 } else { 16 }, usage);
        let entry_bytes = 8 * (WIDTH * (LOG_ENTRIES_MAX + 1)) as u64;
        let entries = buffer(device, "entries", entry_bytes, usage);
        let reservoir = if watched.reservoir.is_empty() { &[0][..] } else { &watched.reservoir };
        let collected_bytes = 8 * reservoir.len() as u64;
        let reservoir = filled(device, "reservoir", bytemuck::cast_slice(reservoir));
        let collected = buffer(device, "collected", collected_bytes, usage);
        let energy = module(device, &TOTALS);
        let immediates = size_of::<Look>() as u32;
        let made = |program, bound: &[(&wgpu::Buffer, Access)]| {
            Arc::new(Pipeline::new(device, &energy, program, immediates, &[], bound))
        };
        let first = [(psi, Access::Read), (&partials, Access::ReadWrite)];
        let totals = made(
            &TOTALS,
            &[
                first[0],
                first[1],
                (&table, Access::Read),
                (potential, Access::Read),
                (damping, Access::Read),
                (&rate, Access::Read),
            ],
        );
        let work = made(
            &WORK,
            &[first[0], first[1], (&list, Access::Read), (potential, Access::Read), (&profile, Access::Read)],
        );
        let fold = made(&FOLD, &[first[0], first[1], (&entries, Access::ReadWrite)]);
        let bound = [(psi, Access::Read), (&reservoir, Access::Read), (&collected, Access::ReadWrite)];
        let collect_module = module(device, &COLLECT);
        let collect =
            Pipeline::new(device, &collect_module, &COLLECT, size_of::<Collect>() as u32, &[], &bound);
        let is_column = |quantity: &Quantity| matches!(quantity, Quantity::PerNode(_));
        let potential_column = if is_column(&world.potential) { HAS_POTENTIAL } else { 0 };
        let damping_column = if is_column(&world.damping) { HAS_DAMPING } else { 0 };
        Some(Self {
            totals,
            work,
            fold,
            collect: Arc::new(collect),
            rate,
            entries,
            entries_back: buffer(device, "entries read back", entry_bytes, back),
            collected,
            collected_back: buffer(device, "collected read back", collected_bytes, back),
            n_nodes,
            n_axes,
            profiles,
            columns: potential_column | damping_column,
            n_entries: 0,
        })
    }

    /// Appends an entry with the sums that are wanted. Panics when the log is full: the host reads it in time.
    pub fn log_sums(&mut self, wanted: Wanted) -> [Step; 2] {
        let slot = self.next_slot();
        self.sums_into(slot, wanted)
    }

    /// The sums that are wanted, past the log; see [`Self::take_sums`].
    pub fn sums(&self, wanted: Wanted) -> [Step; 2] {
        self.sums_into(LOG_ENTRIES_MAX, wanted)
    }

    fn next_slot(&mut self) -> usize {
        assert!(self.n_entries < LOG_ENTRIES_MAX, "the log is read before it is full");
        self.n_entries += 1;
        self.n_entries - 1
    }

    fn sums_into(&self, slot: usize, wanted: Wanted) -> [Step; 2] {
        let flag = |condition: bool, code| if condition { code } else { 0 };
        let bits = LOCAL
            | flag(wanted.kinetic, KINETIC)
            | flag(wanted.kinetic && self.columns & HAS_DAMPING != 0, WEIGHTED)
            | flag(wanted.drive, DRIVE)
            | self.columns;
        let look = Look {
            count: self.n_nodes as u32,
            n_chunks: self.n_nodes.div_ceil(REDUCE_CHUNK) as u32,
            wanted: bits,
            n_axes: self.n_axes,
            slot: slot as u32,
            ..Look::default()
        };
        self.entry(self.totals.clone(), look, WIDTH as u32, ("oracle (sums)", 8 * self.n_nodes as u64))
    }

    /// Appends an entry with the work of a profile: ⟨E, hΨ⟩ and ⟨E, Ψ⟩.
    pub fn log_work(&mut self, profile: usize, strengths: &Strengths, potential: f64) -> [Step; 2] {
        let slot = self.next_slot() as u32;
        let (first, count) = self.profiles[profile];
        let look = Look {
            count,
            first,
            slot,
            n_chunks: (count as usize).div_ceil(REDUCE_CHUNK) as u32,
            wanted: self.columns & HAS_POTENTIAL,
            potential: potential as f32,
            kinetic: strengths.kinetic as f32,
            beta: strengths.beta as f32,
            ..Look::default()
        };
        self.entry(self.work.clone(), look, WORK_WIDTH, ("oracle (work)", 28 * u64::from(count)))
    }

    fn entry(&self, pipeline: Arc<Pipeline>, look: Look, width: u32, name: (&'static str, u64)) -> [Step; 2] {
        let immediates = bytemuck::bytes_of(&look).to_vec();
        let sum = Step { pipeline, immediates: immediates.clone(), n_groups: look.n_chunks, name };
        let fold = Step {
            pipeline: self.fold.clone(),
            immediates,
            n_groups: width,
            name: ("oracle (fold)", 8 * u64::from(width * look.n_chunks)),
        };
        [sum, fold]
    }

    /// What to copy to the host before the log is read: from, at, to, bytes.
    pub fn log_copy(&self) -> (wgpu::Buffer, u64, wgpu::Buffer, u64) {
        let bytes = (8 * WIDTH * self.n_entries.max(1)) as u64;
        (self.entries.clone(), 0, self.entries_back.clone(), bytes)
    }

    /// What to copy to the host before [`Self::take_sums`].
    pub fn sums_copy(&self) -> (wgpu::Buffer, u64, wgpu::Buffer, u64) {
        let (at, bytes) = ((8 * WIDTH * LOG_ENTRIES_MAX) as u64, 8 * WIDTH as u64);
        (self.entries.clone(), at, self.entries_back.clone(), bytes)
    }

    /// The sums of [`Self::sums`], once they are copied.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn take_sums(&self, device: &Device) -> Result<LogEntry, BackendError> {
        let mut pairs = Vec::new();
        device.read_mapped(&self.entries_back, 8 * WIDTH as u64, &mut pairs)?;
        Ok(std::array::from_fn(|i| wide(&pairs[i])))
    }

    /// The entries, once they are copied; the log is empty afterwards.
    ///
    /// # Errors
    /// The first failure of the device.
    pub fn take(&mut self, device: &Device) -> Result<Vec<LogEntry>, BackendError> {
        let (.., back, bytes) = self.log_copy();
        let mut pairs = Vec::new();
        device.read_mapped(&back, bytes, &mut pairs)?;
        let entries = pairs.chunks_exact(WIDTH).take(self.n_entries);
        let entries = entries.map(|entry| std::array::from_fn(|i| wide(&entry[i]))).collect();
        self.n_entries = 0;
        Ok(entries)
    }

    /// Collects a part of the reservoir.
    pub fn collect(&self, first: usize, count: usize) -> Step {
        let part = Collect { first: first as u32, count: count as u32 };
        Step {
            pipeline: self.collect.clone(),
            immediates: bytemuck::bytes_of(&part).to_vec(),
            n_groups: count.div_ceil(NODE_THREADS) as u32,
            name: ("engs", 20 * count as u64),
        }
    }

    /// What to copy to the host before the first `count` nodes of the reservoir are read.
    pub fn collected_copy(&self, count: usize) -> (wgpu::Buffer, u64, wgpu::Buffer, u64) {
        (self.collected.clone(), 0, self.collected_back.clone(), 8 * count as u64)
    }
}

fn wide(pair: &[f32; 2]) -> f64 {
    f64::from(pair[0]) + f64::from(pair[1])
}

/// For each axis longer than one node: extent, stride, and where h_d stands as bits of f32; and how many axes.
fn bonds(world: &DeviceWorld, axes: &[AxisTerm]) -> (Vec<u32>, u32) {
    let axes: Vec<(usize, &AxisTerm)> = axes.iter().enumerate().filter(|(_, term)| term.extent > 1).collect();
    let mut table = vec![0; (3 * axes.len()).max(1)];
    for (a, (axis, term)) in axes.iter().enumerate() {
        let start = table.len();
        table[3 * a..3 * a + 3].copy_from_slice(&[
            term.extent as u32,
            world.shape.stride(*axis) as u32,
            start as u32,
        ]);
        table.extend(strengths(term).iter().map(|h| (*h as f32).to_bits()));
    }
    (table, axes.len() as u32)
}

/// h_d for d = 0…⌊n/2⌋: minus the circulant of T, half of it where d and n − d are the same.
fn strengths(term: &AxisTerm) -> Vec<f64> {
    let n = term.extent;
    let energy = |mode: usize| {
        let k = mode.min(n - mode) as f64 * term.wavenumber_unit;
        0.5 * term.diffusion * k * k
    };
    let circulant = |d: usize| -> f64 {
        let angle = |mode: usize| core::f64::consts::TAU * (mode * d % n) as f64 / n as f64;
        (0..n).map(|m| energy(m) * nikola_kernels::transcendental::cos(angle(m))).sum::<f64>() / n as f64
    };
    (0..=n / 2).map(|d| if 2 * d == n { -0.5 * circulant(d) } else { -circulant(d) }).collect()
}

#[cfg(test)]
mod tests;
