//! A varying metric's flow as passes over lines, for a device.
//!
//! Invariant: the passes are those of [`super`], with the very tables of the plan; what is renewed there is
//! renewed here, stretch by stretch. Axes inside cells are rings whose three edges weigh −q/3: x + q(x − S/3) is
//! x + Σ ω(other − x) with ω = −q/3.

use super::{CellGrid, Diffusion, Line, Table, Varying};
use crate::backend::{
    Expansion, LineFlows, LineKind, LinePass, LineProgram, MetricAxis, MetricWorld, Renewal,
};
use crate::kinetic::AxisTerm;
use crate::kinetic::fibre::derivative;

/// Where the tables of one axis come from.
enum Source<'a> {
    Line(&'a Line<f32>),
    Inside { axis: usize, is_half: bool },
}

/// The tables of one axis.
struct Segment<'a> {
    axis: usize,
    kind: LineKind,
    rows: usize,
    n_tables: usize,
    source: Source<'a>,
}

impl Segment<'_> {
    fn table_len(&self) -> usize {
        self.kind.table_len(self.rows)
    }
}

/// The cells and derivatives of a dense torus, none of its axes coupled.
pub(crate) fn dense_world(grid: &CellGrid, is_plastic: bool) -> MetricWorld {
    let slopes = grid.shape.extents.iter().zip(&grid.spacing).map(|(&extent, &spacing)| {
        (0..extent).map(|offset| derivative(extent, offset, spacing) as f32).collect()
    });
    let axis = |d: usize| MetricAxis {
        extent: grid.shape.extents[d],
        side: grid.shape.extents[d],
        stride: grid.shape.stride(d),
        cell: grid.cell[d],
        columns: vec![vec![(0, 0)]],
        column_of: vec![0],
    };
    MetricWorld {
        axes: (0..grid.cell.len()).map(axis).collect(),
        n_pages: 1,
        slopes: slopes.collect(),
        is_plastic,
        ..MetricWorld::default()
    }
}

impl Varying<f32> {
    /// Axes outside cells, then those inside with half their duration, where ticks go both ways, then those inside with the
    /// whole.
    fn segments(&self) -> Vec<Segment<'_>> {
        let extents = &self.grid.shape.extents;
        let outside = self.axes.iter().map(|line| {
            let (kind, n_tables) = match &line.pass.table {
                Table::Rings(weights) => (LineKind::Ring, weights.len()),
                Table::Dense(fibres) => (LineKind::Matrix, fibres.len()),
                Table::Transforms(axes) => (LineKind::Circulant, axes.len()),
                Table::Slope(_) => unreachable!("no flow"),
            };
            Segment { axis: line.axis, kind, rows: extents[line.axis], n_tables, source: Source::Line(line) }
        });
        let n_inside = self.inside.as_ref().map_or(0, |inside| inside.n_axes());
        let first = extents.len() - n_inside;
        let shares = if self.is_plastic { &[false][..] } else { &[true, false] };
        let inside = shares.iter().flat_map(|&is_half| {
            (0..n_inside).map(move |axis| Segment {
                axis: first + axis,
                kind: LineKind::Ring,
                rows: 3,
                n_tables: self.grid.n_cells(),
                source: Source::Inside { axis, is_half },
            })
        });
        outside.chain(inside).collect()
    }

    /// Appends table `table` of a segment.
    fn table(&self, segment: &Segment<'_>, table: usize, out: &mut Vec<[f32; 2]>) {
        match &segment.source {
            Source::Inside { axis, is_half } => {
                if let Some(inside) = &self.inside {
                    let (re, im) = inside.factor(*axis, table, *is_half);
                    out.extend([[re / -3.0, im / -3.0]; 3]);
                }
            }
            Source::Line(line) => match &line.pass.table {
                Table::Rings(weights) => out.extend(weights[table].chunks_exact(2).map(|w| [w[0], w[1]])),
                Table::Dense(fibres) => fibres[table].add_numbers(out),
                Table::Transforms(_) | Table::Slope(_) => {
                    let (extent, spacing) = (segment.rows, self.grid.spacing[segment.axis]);
                    let wavenumber_unit = core::f64::consts::TAU / (extent as f64 * spacing);
                    let term = AxisTerm { extent, wavenumber_unit, diffusion: line.constants[table] };
                    let increments = term.circulant(self.share, self.time);
                    out.extend(increments.into_iter().map(|(re, im)| [re as f32, im as f32]));
                }
            },
        }
    }

    /// Which table each line of a segment uses; one number where all use the same.
    fn tables_of_lines(&self, segment: &Segment<'_>) -> Vec<u32> {
        match &segment.source {
            Source::Line(_) if segment.n_tables == 1 => vec![0],
            Source::Line(line) => line.pass.entries(),
            Source::Inside { .. } => {
                let (shape, extent) = (&self.grid.shape, segment.rows);
                let stride = shape.stride(segment.axis);
                let first = |line: usize| line / stride * extent * stride + line % stride;
                let lines = 0..shape.n_nodes() / extent;
                lines.map(|line| self.grid.cell_of_node(first(line)) as u32).collect()
            }
        }
    }

    /// Adds the passes and tables of this flow to `flows`.
    pub fn add_lines(&self, flows: &mut LineFlows) {
        if flows.slots.is_empty() {
            flows.slots.push(0);
        }
        let n_nodes = self.grid.shape.n_nodes();
        let mut passes = Vec::new();
        for segment in self.segments() {
            let (base, first_entry) = (flows.tables.len(), flows.entries.len());
            (0..segment.n_tables).for_each(|table| self.table(&segment, table, &mut flows.tables));
            let n_lines = n_nodes / segment.rows;
            let lines = self.tables_of_lines(&segment);
            let entry_lines = if lines.len() == 1 { n_lines } else { 1 };
            let table_len = segment.table_len();
            flows.entries.extend(lines.iter().map(|&table| (base + table as usize * table_len) as u32));
            passes.push(LinePass {
                kind: segment.kind,
                rows: segment.rows,
                side: segment.rows,
                stride: self.grid.shape.stride(segment.axis),
                column_lines: n_lines,
                n_columns: 1,
                first_slot: 0,
                first_entry,
                entry_lines,
            });
        }
        let (outside, inside) = passes.split_at(self.axes.len());
        if self.is_plastic {
            let backward: Vec<_> = passes.iter().rev().copied().collect();
            let (middle, passes) = (passes.len(), passes);
            flows
                .programs
                .push([LineProgram { passes, middle }, LineProgram { passes: backward, middle: 0 }]);
            return;
        }
        let (half, whole) = inside.split_at(inside.len() / 2);
        let program = |inside: &[LinePass], again: &[LinePass]| LineProgram {
            passes: [outside, inside, again]
                .concat()
                .into_iter()
                .chain(outside.iter().rev().copied())
                .collect(),
            middle: outside.len() + inside.len(),
        };
        flows.programs.push([program(whole, &[]), program(half, half)]);
    }

    /// The program of `tick`, where the remainder acts or not.
    pub fn program(&self, tick: u64, is_due: bool) -> usize {
        usize::from(if self.is_plastic { !tick.is_multiple_of(2) } else { is_due })
    }

    /// The cells of the metric, as a device needs them.
    pub fn metric_world(&self) -> MetricWorld {
        let mut world = dense_world(&self.grid, self.is_plastic);
        if let Some(remainder) = &self.remainder {
            remainder.tell(&mut world);
        }
        world
    }

    /// Appends to `renewal` what [`Varying::renew`] of the cells `changed`, ascending, changed in the tables, which
    /// begin at `base`; returns where those of the next flow begin.
    pub fn renewed(
        &self,
        diffusion: &Diffusion,
        changed: &[usize],
        base: usize,
        renewal: &mut Renewal,
    ) -> usize {
        let mut at = base;
        for segment in self.segments() {
            let table_len = segment.table_len();
            let (first, end) = (at, at + segment.n_tables * table_len);
            at = end;
            let is_renewable = match &segment.source {
                Source::Line(line) => line.by_cells,
                Source::Inside { .. } => true,
            };
            if !is_renewable || changed.is_empty() {
                continue;
            }
            let (extent, stride) = (diffusion.grid.extent(segment.axis), diffusion.grid.stride(segment.axis));
            let table = |cell: usize| match &segment.source {
                Source::Line(_) => cell / (extent * stride) * stride + cell % stride,
                Source::Inside { .. } => cell,
            };
            let (mut least, mut most) = (usize::MAX, 0);
            for table in changed.iter().map(|&cell| table(cell)) {
                (least, most) = (least.min(table), most.max(table));
            }
            let mut values = Vec::with_capacity((most + 1 - least) * table_len);
            (least..=most).for_each(|table| self.table(&segment, table, &mut values));
            renewal.tables.push((first + least * table_len, values));
        }
        if let Some(remainder) = self.remainder.as_ref().filter(|_| renewal.off_diagonal.is_empty()) {
            remainder.add_pairs(changed, &mut renewal.off_diagonal);
        }
        at
    }

    /// The remainder of the flow in `tick`, where it is due.
    pub fn due_remainder(&mut self, tick: u64) -> Option<Expansion> {
        self.remainder.as_mut()?.due(tick)
    }
}
