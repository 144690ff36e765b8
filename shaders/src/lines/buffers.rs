//! The buffers of a world with flows over lines, and which program sees which.
//! Invariant: the order of every list is that of the bindings in the program's files.

use crate::backend::{buffer, filled};
use crate::device::{Device, DeviceError};
use crate::layout::{LatticeAxis, REDUCE_CHUNK};
use crate::pipeline::Access;
use nikola_kernels::backend::{DeviceWorld, LineFlows, Measure, MetricWorld, Quantity};
use wgpu::{Buffer, BufferUsages};

/// What a program sees: binding 0, 1, ….
type Bound<'a, const N: usize> = [(&'a Buffer, Access); N];

/// All buffers.
pub(super) struct Buffers {
    pub psi: Buffer,
    pub psi_back: Buffer,
    pub potential: Buffer,
    pub damping: Buffer,
    pub tables: Buffer,
    entries: Buffer,
    slots: Buffer,
    pub partials: Buffer,
    pub partials_back: Buffer,
    nodes: Buffer,
    weights: Buffer,
    pub scratch_nodes: Buffer,
    pub scratch_weights: Buffer,
    fluxes: Buffer,
    last: Buffer,
    /// Ψ̇ of a wave form.
    pub velocity: Option<Buffer>,
    columns: Buffer,
    coupled: Buffer,
    axes: Buffer,
    slopes: Buffer,
    pub off_diagonal: Buffer,
    cells: Buffer,
    inside: Buffer,
    pub tensors: Buffer,
    pub tensors_back: Buffer,
    items: Buffer,
    coefficients: Buffer,
    pub measured: Buffer,
    pub measured_back: Buffer,
    /// Start of each source's list.
    pub source_starts: Vec<u32>,
    /// First measure of each axis.
    pub first_items: Vec<u32>,
}

/// The numbers of a metric as the programs read them.
#[derive(Default)]
struct MetricNumbers {
    axes: Vec<LatticeAxis>,
    coupled: Vec<LatticeAxis>,
    columns: Vec<u32>,
    slopes: Vec<f32>,
    cells: Vec<u32>,
    inside: Vec<u32>,
    n_tensors: usize,
}

impl MetricNumbers {
    fn new(metric: &MetricWorld) -> Self {
        let mut numbers = Self::default();
        let page_nodes = metric.page_nodes();
        for (d, (axis, slopes)) in metric.axes.iter().zip(&metric.slopes).enumerate() {
            let column_starts: Vec<u32> = axis
                .columns
                .iter()
                .map(|pages| {
                    let start = numbers.columns.len();
                    numbers.columns.push(pages.len() as u32);
                    let page = |&(slot, position): &(usize, usize)| [slot * page_nodes, position * axis.side];
                    numbers.columns.extend(pages.iter().flat_map(page).map(|x| x as u32));
                    start as u32
                })
                .collect();
            let pages = numbers.columns.len() as u32;
            for (slot, &column) in axis.column_of.iter().enumerate() {
                let position =
                    axis.columns[column].iter().find(|page| page.0 == slot).map_or(0, |page| page.1);
                numbers.columns.extend([column_starts[column], (position * axis.side) as u32]);
            }
            let nodes = [axis.extent, axis.stride, numbers.slopes.len(), axis.cell];
            let page = [axis.side, axis.side / axis.cell, metric.cell_stride(d)];
            numbers.axes.push(LatticeAxis {
                nodes: nodes.map(|x| x as u32),
                page: [page[0] as u32, page[1] as u32, page[2] as u32, pages],
            });
            numbers.slopes.extend_from_slice(slopes);
        }
        numbers.coupled.extend(metric.coupled.iter().map(|&d| numbers.axes[d]));
        let n_axes = metric.axes.len();
        let is_inside =
            |node: &usize| metric.axes.iter().all(|axis| node / axis.stride % axis.side < axis.cell);
        // A remainder asks for the cell of every node, a plastic metric for the nodes of a cell.
        if !metric.coupled.is_empty() {
            numbers.cells.extend((0..page_nodes).map(|node| metric.cell_in_page(node) as u32));
        }
        if metric.is_plastic {
            numbers.inside.extend((0..page_nodes).filter(is_inside).map(|node| node as u32));
            numbers.n_tensors = n_axes * (n_axes + 1) / 2 * metric.n_cells();
        }
        numbers
    }
}

/// Measures of all axes as the program reads them.
fn items(lines: &LineFlows) -> (Vec<[u32; 4]>, Vec<f32>, Vec<u32>) {
    let (mut items, mut coefficients, mut first_items) = (Vec::new(), Vec::new(), Vec::new());
    for measures in &lines.measures {
        first_items.push(items.len() as u32);
        let base = coefficients.len();
        items.extend(measures.items.iter().map(|item| {
            let Measure { first_slot, first_row, n_rows, first_coefficient } = *item;
            [first_slot, first_row, n_rows, base + first_coefficient].map(|x| x as u32)
        }));
        coefficients.extend_from_slice(&measures.coefficients);
    }
    (items, coefficients, first_items)
}

impl Buffers {
    /// Allocates and fills them.
    ///
    /// # Errors
    /// [`DeviceError::TooLarge`] where one does not fit.
    pub fn new(device: &Device, world: &DeviceWorld) -> Result<Self, DeviceError> {
        let lines = world.lines.as_ref().expect("a world with flows over lines");
        let metric = lines.cells.as_ref().map(MetricNumbers::new).unwrap_or_default();
        let off_diagonal = lines.cells.as_ref().map_or(&[][..], |cells| &cells.off_diagonal);
        let n_nodes = world.n_nodes() as u64;
        let n_coupled = metric.coupled.len() as u64;
        let limit = device.report.binding_bytes;
        let sizes = [
            ("Ψ", 8 * n_nodes),
            ("the remainder's fluxes", 8 * n_nodes * n_coupled),
            ("the tables of lines", 8 * lines.tables.len() as u64),
        ];
        for (what, bytes) in sizes {
            device.report.holds(what, bytes, limit)?;
        }
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let back = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let room = |label: &str, bytes: u64| buffer(device, label, bytes, usage);
        let mapped = |label: &str, bytes: u64| buffer(device, label, bytes, back);
        let column = |label: &str, quantity: &Quantity| match quantity {
            Quantity::Uniform(_) => filled(device, label, &[0; 4]),
            Quantity::PerNode(values) => filled(device, label, bytemuck::cast_slice(values)),
        };
        let (mut nodes, mut weights, mut source_starts) = (Vec::new(), Vec::new(), Vec::new());
        for list in &world.sources {
            source_starts.push(nodes.len() as u32);
            nodes.extend_from_slice(&list.nodes);
            weights.extend_from_slice(&list.weights);
        }
        let (items, coefficients, first_items) = items(lines);
        let n_partials = n_nodes.div_ceil(REDUCE_CHUNK as u64);
        let tensor_bytes = 4 * metric.n_tensors.next_multiple_of(2) as u64;
        let measured_bytes = 4 * items.len().next_multiple_of(2) as u64;
        let remainder_nodes = if n_coupled > 0 || world.wave.is_some() { n_nodes } else { 0 };
        let psi = room("psi", 8 * n_nodes);
        let velocity = world.wave.as_ref().map(|wave| {
            let velocity = room("velocity", 8 * n_nodes);
            device.queue.write_buffer(&velocity, 0, bytemuck::cast_slice(&wave.velocity));
            velocity
        });
        device.queue.write_buffer(&psi, 0, bytemuck::cast_slice(&world.psi));
        Ok(Self {
            psi,
            psi_back: mapped("psi read back", 8 * n_nodes),
            potential: column("potential", &world.potential),
            damping: column("damping", &world.damping),
            tables: filled(device, "tables", bytemuck::cast_slice(&lines.tables)),
            entries: filled(device, "entries", bytemuck::cast_slice(&lines.entries)),
            slots: filled(device, "slots", bytemuck::cast_slice(&lines.slots)),
            partials: room("partials", 8 * n_partials),
            partials_back: mapped("partials read back", 8 * n_partials),
            nodes: filled(device, "source nodes", bytemuck::cast_slice(&nodes)),
            weights: filled(device, "source weights", bytemuck::cast_slice(&weights)),
            scratch_nodes: room("injected nodes", 4 * n_nodes),
            scratch_weights: room("injected weights", 8 * n_nodes),
            fluxes: room("fluxes", 8 * n_nodes * n_coupled),
            last: room("last term", 8 * remainder_nodes),
            velocity,
            columns: filled(device, "columns", bytemuck::cast_slice(&metric.columns)),
            coupled: filled(device, "coupled axes", bytemuck::cast_slice(&metric.coupled)),
            axes: filled(device, "axes", bytemuck::cast_slice(&metric.axes)),
            slopes: filled(device, "slopes", bytemuck::cast_slice(&metric.slopes)),
            off_diagonal: filled(device, "off-diagonal metric", bytemuck::cast_slice(off_diagonal)),
            cells: filled(device, "cells", bytemuck::cast_slice(&metric.cells)),
            inside: filled(device, "nodes of a cell", bytemuck::cast_slice(&metric.inside)),
            tensors: room("structure tensors", tensor_bytes),
            tensors_back: mapped("structure tensors read back", tensor_bytes),
            items: filled(device, "measures", bytemuck::cast_slice(&items)),
            coefficients: filled(device, "coefficients of measures", bytemuck::cast_slice(&coefficients)),
            measured: room("measured", measured_bytes),
            measured_back: mapped("measured, read back", measured_bytes),
            source_starts,
            first_items,
        })
    }

    pub fn of_local(&self) -> Bound<'_, 5> {
        let dummy = (&self.entries, Access::Read);
        let columns = [(&self.potential, Access::Read), (&self.damping, Access::Read)];
        [(&self.psi, Access::ReadWrite), dummy, dummy, columns[0], columns[1]]
    }

    pub fn of_lines(&self) -> Bound<'_, 4> {
        [
            (&self.psi, Access::ReadWrite),
            (&self.tables, Access::Read),
            (&self.entries, Access::Read),
            (&self.slots, Access::Read),
        ]
    }

    pub fn of_norm(&self) -> Bound<'_, 2> {
        [(&self.psi, Access::Read), (&self.partials, Access::ReadWrite)]
    }

    /// Sources work on Ψ, or on the velocity of a wave form.
    pub fn of_kick(&self) -> Bound<'_, 3> {
        let field = self.velocity.as_ref().unwrap_or(&self.psi);
        [(field, Access::ReadWrite), (&self.nodes, Access::Read), (&self.weights, Access::Read)]
    }

    pub fn of_injection(&self) -> Bound<'_, 3> {
        let (nodes, weights) = (&self.scratch_nodes, &self.scratch_weights);
        [(&self.psi, Access::ReadWrite), (nodes, Access::Read), (weights, Access::Read)]
    }

    pub fn of_remainder(&self) -> Bound<'_, 8> {
        [
            (&self.columns, Access::Read),
            (&self.coupled, Access::Read),
            (&self.slopes, Access::Read),
            (&self.psi, Access::ReadWrite),
            (&self.fluxes, Access::ReadWrite),
            (&self.last, Access::ReadWrite),
            (&self.off_diagonal, Access::Read),
            (&self.cells, Access::Read),
        ]
    }

    /// Of a wave form, as is the next.
    pub fn of_leap(&self) -> Bound<'_, 5> {
        let velocity = self.velocity.as_ref().unwrap_or(&self.psi);
        let damping = (&self.damping, Access::Read);
        // Of the two columns of half_potential.wgsl, V is not used.
        [
            (&self.psi, Access::ReadWrite),
            (velocity, Access::ReadWrite),
            (&self.last, Access::Read),
            damping,
            damping,
        ]
    }

    /// The image of Ψ is where a remainder has its last term.
    pub fn of_operator(&self) -> Bound<'_, 8> {
        let mut bound = self.of_remainder();
        bound[3].1 = Access::Read;
        bound
    }

    pub fn of_structure(&self) -> Bound<'_, 6> {
        [
            (&self.columns, Access::Read),
            (&self.axes, Access::Read),
            (&self.slopes, Access::Read),
            (&self.psi, Access::Read),
            (&self.tensors, Access::ReadWrite),
            (&self.inside, Access::Read),
        ]
    }

    pub fn of_measure(&self) -> Bound<'_, 5> {
        [
            (&self.psi, Access::Read),
            (&self.items, Access::Read),
            (&self.coefficients, Access::Read),
            (&self.slots, Access::Read),
            (&self.measured, Access::ReadWrite),
        ]
    }
}
