//! The flow of a varying metric on an active set as passes over lines, for a device.
//!
//! Invariant: the passes are those of [`super`], with the very tables of the plan; what is renewed there is
//! renewed here. Columns of as many pages are one pass; a line of cells has a table of its own where the metric learns,
//! so that one cell's change touches the tables of its own lines alone.

use super::{ActiveColumn, Diffusion, SparseVarying, derivative};
use crate::backend::{
    Expansion, LineFlows, LineKind, LinePass, LineProgram, MetricAxis, MetricWorld, Renewal,
};
use std::collections::BTreeMap;

/// The tables of one axis' columns of as many pages.
struct Segment {
    axis: usize,
    /// Columns, ascending.
    columns: Vec<usize>,
    /// Nodes of a line.
    rows: usize,
    /// Where the tables of each column begin, relative to the flow's first.
    firsts: Vec<usize>,
}

impl Segment {
    fn table_len(&self) -> usize {
        LineKind::Matrix.table_len(self.rows)
    }
}

impl SparseVarying<f32> {
    /// Tables of a column: one per line of cells where the metric learns, one per entry of the plan where it does not.
    fn n_tables(&self, axis: usize, column: usize) -> usize {
        let table = &self.axes[axis].columns[column].table;
        if self.is_plastic { table.which.len() } else { table.fibres.len() }
    }

    /// Axis after axis, columns of few pages first; and numbers of all tables together.
    fn segments(&self) -> (Vec<Segment>, usize) {
        let (mut segments, mut len) = (Vec::new(), 0);
        for (axis, active) in self.axes.iter().enumerate() {
            let mut by_pages: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (index, column) in active.columns.iter().enumerate() {
                by_pages.entry(column.slots.len()).or_default().push(index);
            }
            for (n_pages, columns) in by_pages {
                let rows = n_pages * active.layout.side;
                let mut segment = Segment { axis, rows, firsts: Vec::with_capacity(columns.len()), columns };
                for &column in &segment.columns {
                    segment.firsts.push(len);
                    len += segment.table_len() * self.n_tables(axis, column);
                }
                segments.push(segment);
            }
        }
        (segments, len)
    }

    /// Appends the table of line of cells `line`, or of entry `line` of the plan.
    fn add_table(&self, column: &ActiveColumn<f32>, line: usize, out: &mut Vec<[f32; 2]>) {
        let entry = if self.is_plastic { column.table.which[line] as usize } else { line };
        column.table.fibres[entry].add_numbers(out);
    }

    /// Adds the passes and tables of this flow to `flows`, and what the boundary measures, if it is not there yet.
    pub fn add_lines(&self, flows: &mut LineFlows) {
        self.view.add_measures(flows);
        let (nodes, base) = (self.view.blocks.page_nodes(), flows.tables.len());
        let (segments, _) = self.segments();
        let mut passes = Vec::with_capacity(2 * segments.len());
        for segment in &segments {
            let active = &self.axes[segment.axis];
            let layout = &active.layout;
            let column_lines = nodes / layout.side;
            let (first_slot, first_entry) = (flows.slots.len(), flows.entries.len());
            for (&index, &first) in segment.columns.iter().zip(&segment.firsts) {
                let column = &active.columns[index];
                let n_tables = self.n_tables(segment.axis, index);
                (0..n_tables).for_each(|line| self.add_table(column, line, &mut flows.tables));
                flows.slots.extend(column.slots.iter().map(|slot| (slot * nodes) as u32));
                flows.entries.extend((0..column_lines).map(|line| {
                    let base_node = line / layout.stride * layout.side * layout.stride + line % layout.stride;
                    let cells = self.layout.cell_of(base_node);
                    let line = layout.line_of[cells] as usize;
                    let table = if self.is_plastic { line } else { column.table.which[line] as usize };
                    (base + first + table * segment.table_len()) as u32
                }));
            }
            passes.push(LinePass {
                kind: LineKind::Matrix,
                rows: segment.rows,
                side: layout.side,
                stride: layout.stride,
                column_lines,
                n_columns: segment.columns.len(),
                first_slot,
                first_entry,
                entry_lines: 1,
            });
        }
        let (middle, forward) = (passes.len(), passes.clone());
        passes.reverse();
        flows.programs.push(if self.is_plastic {
            [LineProgram { passes: forward, middle }, LineProgram { passes, middle: 0 }]
        } else {
            let both = LineProgram { passes: [forward, passes].concat(), middle };
            [both.clone(), both]
        });
    }

    /// The program of `tick`.
    pub fn program(&self, tick: u64) -> usize {
        usize::from(self.is_plastic && !tick.is_multiple_of(2))
    }

    /// The cells of the metric, as a device needs them.
    pub fn metric_world(&self) -> MetricWorld {
        let blocks = &self.view.blocks;
        let axis = |d: usize| {
            let active = &self.axes[d];
            let members = |column: &ActiveColumn<f32>| {
                column.slots.iter().copied().zip(column.positions.iter().copied()).collect()
            };
            MetricAxis {
                extent: blocks.extents[d],
                side: active.layout.side,
                stride: active.layout.stride,
                cell: active.layout.cell,
                columns: active.columns.iter().map(members).collect(),
                column_of: active.column_of.clone(),
            }
        };
        let slopes = (0..self.axes.len()).map(|d| {
            let slope = |offset| derivative(blocks.extents[d], offset, self.spacing[d]) as f32;
            (0..blocks.extents[d]).map(slope).collect()
        });
        let mut world = MetricWorld {
            axes: (0..self.axes.len()).map(axis).collect(),
            n_pages: self.view.pages.len(),
            slopes: slopes.collect(),
            is_plastic: self.is_plastic,
            ..MetricWorld::default()
        };
        if let Some(remainder) = &self.remainder {
            remainder.tell(&mut world);
        }
        world
    }

    /// Appends to `renewal` what [`SparseVarying::renew`] of the cells `changed`, ascending, changed in the tables of a
    /// metric that learns, which begin at `base`; returns where those of the next flow begin.
    pub fn renewed(
        &self,
        diffusion: &Diffusion,
        changed: &[usize],
        base: usize,
        renewal: &mut Renewal,
    ) -> usize {
        let (segments, len) = self.segments();
        for segment in segments.iter().filter(|segment| diffusion.diagonal[segment.axis].len() > 1) {
            let active = &self.axes[segment.axis];
            let table_len = segment.table_len();
            // Place in the segment and line of cells.
            let mut lines: Vec<(usize, usize)> = changed
                .iter()
                .filter_map(|cell| {
                    let (slot, cell) = (cell / self.cells_per_page, cell % self.cells_per_page);
                    let place = segment.columns.binary_search(&active.column_of[slot]).ok()?;
                    Some((place, active.layout.line_of[cell] as usize))
                })
                .collect();
            lines.sort_unstable();
            lines.dedup();
            for run in lines.chunk_by(|a, b| a.0 == b.0 && b.1 == a.1 + 1) {
                let (place, first) = run[0];
                let column = &active.columns[segment.columns[place]];
                let mut values = Vec::with_capacity(run.len() * table_len);
                run.iter().for_each(|&(_, line)| self.add_table(column, line, &mut values));
                renewal.tables.push((base + segment.firsts[place] + first * table_len, values));
            }
        }
        if let Some(remainder) = self.remainder.as_ref().filter(|_| renewal.off_diagonal.is_empty()) {
            remainder.add_pairs(changed, &mut renewal.off_diagonal);
        }
        base + len
    }

    /// The remainder of the flow in `tick`, where it is due.
    pub fn due_remainder(&mut self, tick: u64) -> Option<Expansion> {
        self.remainder.as_mut()?.due(tick)
    }
}
