//! The structures that host and device share. Invariant: each has the fields, offsets and size of its namesake in the
//! WGSL files; `shaders/tests/` compares them with what naga says of the files.

use bytemuck::{Pod, Zeroable};
use nikola_kernels::half_potential::FlowConstants;

/// Most flows of one sweep: the closing one of a tick and the opening one of the next.
pub const FLOWS_MAX: usize = 2;

/// `Flow` of `half_potential.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in FlowConstants.
pub struct Flow {
    pub c0: f32,
    pub c1: f32,
    pub c2: f32,
    pub h: f32,
    pub mu_h: f32,
    pub gain: f32,
    pub scale: f32,
    pub potential: f32,
    pub damping: f32,
}

impl From<FlowConstants> for Flow {
    fn from(constants: FlowConstants) -> Self {
        let FlowConstants { c0, c1, c2, h, mu_h, gain, scale, potential, damping } = constants;
        Self { c0, c1, c2, h, mu_h, gain, scale, potential, damping }
    }
}

/// `Sweep` of `kinetic.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Sweep {
    pub flows: [Flow; FLOWS_MAX],
    pub n_flows: u32,
    pub first_stage: u32,
    pub n_stages: u32,
    pub base_before: u32,
    pub base_after: u32,
}

/// `Stage` of `kinetic.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Stage {
    pub radix: u32,
    pub step: u32,
    pub before: u32,
    pub after: u32,
    pub table_before: u32,
    pub table_after: u32,
    pub table_step: u32,
    pub flags: u32,
}

/// `Direct` of `kinetic/direct.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Direct {
    pub n_nodes: u32,
    pub extent: u32,
    pub stride: u32,
    pub table: u32,
}

/// `Reduce` of `reduce.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Reduce {
    pub n_nodes: u32,
    pub zero: u32,
}

/// `Kick` of `source.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Kick {
    pub phasor: [f32; 2],
    pub first: u32,
    pub count: u32,
}

/// `Copied` of `copy.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Copied {
    pub count: u32,
}

/// `Local` of `field.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Local {
    pub flows: [Flow; FLOWS_MAX],
    pub n_flows: u32,
    pub n_nodes: u32,
}

/// `Lines` of `kinetic/bundle.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Lines {
    pub kind: u32,
    pub rows: u32,
    pub side: u32,
    pub stride: u32,
    pub column_lines: u32,
    pub n_lines: u32,
    pub first_slot: u32,
    pub first_entry: u32,
    pub entry_lines: u32,
    pub lanes: u32,
    pub lanes_first: u32,
}

/// `Term` of `kinetic/remainder.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Term {
    pub factor: [f32; 2],
    pub is_later: u32,
    pub n_nodes: u32,
}

/// `Measuring` of `kinetic/sparse.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Measuring {
    pub side: u32,
    pub stride: u32,
    pub column_lines: u32,
    pub first_item: u32,
    pub n_items: u32,
}

/// `Turn` of `metric_update.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Turn {
    pub first_cell: u32,
    pub length: u32,
    pub distance: u32,
    pub n_cells: u32,
}

/// `LatticeAxis` of `kinetic/lattice.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct LatticeAxis {
    pub nodes: [u32; 4],
    pub page: [u32; 4],
}

/// Nodes of one chunk of the reduction: `CHUNK_THREADS · NODES_PER_THREAD` of `reduce.wgsl`.
pub const REDUCE_CHUNK: usize = 256 * 16;

/// Threads of a work group of the programs on single nodes.
pub const NODE_THREADS: usize = 64;

/// Lines of `rows` nodes that a work group of the programs on lines takes: as many as fill `tile_len` nodes, a power of
/// two, and no more than there are.
pub fn lanes_of(rows: usize, n_lines: usize, tile_len: usize) -> usize {
    let most = (tile_len / rows.max(1)).clamp(1, n_lines.max(1));
    1 << most.ilog2()
}

/// `Push` of `wave_form.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Push {
    pub h: f32,
    pub strength: f32,
}

/// `Pass` of `wave_form.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Pass {
    pub pushes: [Push; FLOWS_MAX],
    pub n_pushes: u32,
    pub first_stage: u32,
    pub n_stages: u32,
    pub half_alpha: f32,
    pub increment: f32,
}

/// `WaveStage` of `wave_form.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct WaveStage {
    pub radix: u32,
    pub step: u32,
    pub code: u32,
    pub table: u32,
    pub flags: u32,
}

/// `Leap` of `wave_form/leapfrog.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Leap {
    pub kick: f32,
    pub strength: f32,
    pub drift: f32,
    pub is_drifting: u32,
    pub gain: f32,
    pub h: f32,
    pub loss: f32,
    pub n_nodes: u32,
}

/// `Weigh` of `wave_form/leapfrog/operator.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Weigh {
    pub n_nodes: u32,
    pub first_weight: u32,
}

/// `Transform` of `kinetic/direct.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Transform {
    pub n_nodes: u32,
    pub extent: u32,
    pub stride: u32,
    pub table: u32,
    pub sign: f32,
}

/// `Look` of `energy.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Look {
    pub count: u32,
    pub zero: u32,
    pub n_chunks: u32,
    pub first: u32,
    pub slot: u32,
    pub wanted: u32,
    pub n_axes: u32,
    pub potential: f32,
    pub kinetic: f32,
    pub beta: f32,
}

/// `Collect` of `engs.wgsl`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
#[allow(missing_docs)] // As in the WGSL file.
pub struct Collect {
    pub first: u32,
    pub count: u32,
}
