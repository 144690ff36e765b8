//! The flow on an active set as passes over lines, and what its boundary measures, for a device.
//!
//! Invariant: nodes are counted over the active pages in their order. Columns of as many pages are one pass, in the
//! order of [`super::SparseKinetic::sweep`]: pages alone, then the others axis after axis, or the other way round.
//! Columns of one axis touch no common node, so their order does not matter. A measure is a sum of squares of
//! amplitudes, without the cancellation that a Gram matrix in single precision would have: one per layer of nodes, and
//! one per node behind a face for the amplitude that would leave.

use super::mirror::Mirror;
use super::{Column, ColumnLayers, Leak, LinePlan, SparseKinetic};
use crate::backend::{LineFlows, LineKind, LinePass, LineProgram, Measure, Measures};
use crate::field::Real;
use crate::half_potential::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

impl SparseKinetic<f32> {
    /// Adds this flow to `flows`; the boundary's measures too, if they are not there yet.
    pub fn add_lines(&self, flows: &mut LineFlows) {
        let n_axes = self.blocks.sides.len();
        self.add_measures(flows);
        let mut known: BTreeMap<*const LinePlan<f32>, u32> = BTreeMap::new();
        let mut by_axis: Vec<Vec<LinePass>> = Vec::new();
        for axis in 0..n_axes {
            // Kind and number of pages of a column, and the columns of that kind.
            let mut kinds: BTreeMap<(u8, usize), Vec<usize>> = BTreeMap::new();
            for index in self.along[axis].clone() {
                let column = &self.columns[index];
                kinds.entry((kind(&column.line) as u8, column.slots.len())).or_default().push(index);
            }
            let passes = kinds.into_values().map(|columns| {
                let first = &self.columns[columns[0]];
                let pass = self.pass(axis, first, columns.len(), flows);
                for &index in &columns {
                    let column = &self.columns[index];
                    let table = *known.entry(Arc::as_ptr(&column.line)).or_insert_with(|| {
                        let at = flows.tables.len() as u32;
                        self.add_table(axis, &column.line, &mut flows.tables);
                        at
                    });
                    flows.entries.push(table);
                    let slots = &column.slots;
                    flows.slots.extend(slots.iter().map(|slot| (slot * self.blocks.page_nodes()) as u32));
                }
                pass
            });
            by_axis.push(passes.collect());
        }
        let program = |passes: Vec<LinePass>| LineProgram { middle: passes.len(), passes };
        // Backward: columns of several pages, then pages alone; forward is the mirror image.
        let (alone, together): (Vec<_>, Vec<_>) =
            by_axis.into_iter().flatten().partition(|pass: &LinePass| pass.rows == pass.side);
        let backward: Vec<_> = together.into_iter().chain(alone).collect();
        let forward = program(backward.iter().rev().copied().collect());
        let backward = program(backward);
        flows.programs.push([forward, backward]);
    }

    fn pass(&self, axis: usize, column: &Column<f32>, n_columns: usize, flows: &LineFlows) -> LinePass {
        let side = self.blocks.sides[axis];
        let column_lines = self.blocks.page_nodes() / side;
        LinePass {
            kind: kind(&column.line),
            rows: column.slots.len() * side,
            side,
            stride: self.blocks.stride(axis),
            column_lines,
            n_columns,
            first_slot: flows.slots.len(),
            first_entry: flows.entries.len(),
            entry_lines: column_lines,
        }
    }

    fn add_table(&self, axis: usize, line: &LinePlan<f32>, tables: &mut Vec<[f32; 2]>) {
        match line {
            LinePlan::Triple(triple) => tables.extend(triple.numbers()),
            LinePlan::Mirror(Mirror { fibre, .. }) | LinePlan::Fibre(fibre) => fibre.add_numbers(tables),
            LinePlan::Dense(_) => {
                let increments = self.terms[axis].circulant(self.duration, Time::Real);
                tables.extend(increments.into_iter().map(|(re, im)| [re as f32, im as f32]));
            }
        }
    }

    /// Adds what the boundary measures, and the slots of every column for it, unless they are there.
    pub(super) fn add_measures(&self, flows: &mut LineFlows) {
        if !flows.measures.is_empty() {
            return;
        }
        let nodes = self.blocks.page_nodes();
        let place = |column: &Column<f32>| {
            let first = flows.slots.len();
            flows.slots.extend(column.slots.iter().map(|slot| (slot * nodes) as u32));
            first
        };
        let first_slots: Vec<usize> = self.columns.iter().map(place).collect();
        flows.measures = (0..self.blocks.sides.len()).map(|axis| self.measures(axis, &first_slots)).collect();
    }
}

impl<T: Real> SparseKinetic<T> {
    /// Positions of the inactive pages next to a column's faces, each once.
    fn beyond(&self, axis: usize, column: &Column<T>) -> Vec<usize> {
        let along = self.blocks.pages_along(axis);
        let faces = column.positions.iter().flat_map(|p| [(p + along - 1) % along, (p + 1) % along]);
        let mut found: Vec<usize> = faces.filter(|next| !column.positions.contains(next)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn measures(&self, axis: usize, first_slots: &[usize]) -> Measures {
        let side = self.blocks.sides[axis];
        let n = self.blocks.extents[axis];
        let ring = &self.rings[axis];
        let scale = 0.5 * self.terms[axis].diffusion * self.terms[axis].wavenumber_unit.powi(2);
        let (mut items, mut coefficients) = (Vec::new(), vec![1.0]);
        for index in self.along[axis].clone() {
            let column = &self.columns[index];
            let (first_slot, n_rows) = (first_slots[index], column.slots.len() * side);
            let layer = |first_row| Measure { first_slot, first_row, n_rows: 1, first_coefficient: 0 };
            items.extend((0..n_rows).map(layer));
            let node = |row: usize| column.positions[row / side] * side + row % side;
            for beyond in self.beyond(axis, column) {
                for i in 0..side {
                    let first_coefficient = coefficients.len();
                    items.push(Measure { first_slot, first_row: 0, n_rows, first_coefficient });
                    let from = beyond * side + i + n;
                    let row = (0..n_rows).map(|j| (scale * ring.second[(from - node(j)) % n]) as f32);
                    coefficients.extend(row);
                }
            }
        }
        let column_lines = self.blocks.page_nodes() / side;
        Measures { side, stride: self.blocks.stride(axis), column_lines, items, coefficients }
    }

    /// What the sums of [`LineFlows::measures`] along `axis` say: the layers of every column and what would leave.
    pub fn judged(&self, axis: usize, sums: &[f64]) -> (Vec<ColumnLayers>, Vec<Leak>) {
        let (side, along) = (self.blocks.sides[axis], self.blocks.pages_along(axis));
        let (mut columns, mut leaks) = (Vec::new(), Vec::new());
        let mut rest = sums;
        let mut take = |n: usize| {
            let (mine, others) = rest.split_at(n.min(rest.len()));
            rest = others;
            mine
        };
        for column in &self.columns[self.along[axis].clone()] {
            let layers = take(column.slots.len() * side).to_vec();
            let rates: BTreeMap<usize, f64> = self
                .beyond(axis, column)
                .into_iter()
                .map(|beyond| (beyond, take(side).iter().sum()))
                .collect();
            for (k, (&slot, &position)) in column.slots.iter().zip(&column.positions).enumerate() {
                for is_upper in [false, true] {
                    let beyond = (position + if is_upper { 1 } else { along - 1 }) % along;
                    let Some(&rate2) = rates.get(&beyond) else { continue };
                    let edge = k * side + if is_upper { side - 1 } else { 0 };
                    let page = self.blocks.page_in_column(self.pages[slot], axis, beyond);
                    leaks.push(Leak { slot, is_upper, page, rate2, layer2: layers[edge] });
                }
            }
            let (slots, positions) = (column.slots.clone(), column.positions.clone());
            columns.push(ColumnLayers { slots, positions, side, layers });
        }
        (columns, leaks)
    }
}

fn kind(line: &LinePlan<f32>) -> LineKind {
    match line {
        LinePlan::Triple(_) => LineKind::Triple,
        LinePlan::Mirror(_) | LinePlan::Fibre(_) => LineKind::Matrix,
        LinePlan::Dense(_) => LineKind::Circulant,
    }
}
