//! What a device needs of a step by kick, drift, kick: D of every cell, and the modes without a slope.
//!
//! Invariant: all axes of more than one node go together, with slopes node by node; the numbers are those of the host's plan,
//! rounded to single precision. Source: the module above.

use super::operator::nyquist_weights;
use crate::backend::{MetricWorld, Renewal};
use crate::kinetic::varying::Diffusion;
use crate::kinetic::varying::lines::dense_world;

/// Cells that are renewed together although those between them have not changed.
const RUN_GAP: usize = 8;

/// The metric of a wave form. [`MetricWorld::off_diagonal`] holds D^{ij} of the pairs i ≤ j of coupled axes, row by row, cell
/// after cell, and behind them −K²·mean D/N of each line of the even ones, axis after axis.
pub fn metric_world(diffusion: &Diffusion, is_plastic: bool) -> MetricWorld {
    let grid = &diffusion.grid;
    let mut world = dense_world(grid, is_plastic);
    world.coupled = (0..grid.cell.len()).filter(|&axis| grid.shape.extents[axis] > 1).collect();
    let mut numbers = Vec::new();
    (0..grid.n_cells()).for_each(|cell| add_cell(diffusion, &world.coupled, cell, &mut numbers));
    numbers.extend(nyquist_numbers(diffusion, &world.coupled));
    world.off_diagonal = numbers;
    world
}

/// What the cells `changed`, ascending, changed of it.
pub fn renewed(diffusion: &Diffusion, changed: &[usize]) -> Renewal {
    let grid = &diffusion.grid;
    let coupled: Vec<usize> = (0..grid.cell.len()).filter(|&axis| grid.shape.extents[axis] > 1).collect();
    let n_pairs = coupled.len() * (coupled.len() + 1) / 2;
    let mut renewal = Renewal::default();
    for run in changed.chunk_by(|a, b| *b <= a + RUN_GAP) {
        let mut values = Vec::new();
        (run[0]..=run[run.len() - 1]).for_each(|cell| add_cell(diffusion, &coupled, cell, &mut values));
        renewal.off_diagonal.push((run[0] * n_pairs, values));
    }
    let nyquist = nyquist_numbers(diffusion, &coupled);
    if !changed.is_empty() && !nyquist.is_empty() {
        renewal.off_diagonal.push((grid.n_cells() * n_pairs, nyquist));
    }
    renewal
}

/// Appends D^{ij} of `cell`.
fn add_cell(diffusion: &Diffusion, coupled: &[usize], cell: usize, out: &mut Vec<f32>) {
    for (i, &a) in coupled.iter().enumerate() {
        out.push(diffusion.at(a, cell) as f32);
        for &b in &coupled[i + 1..] {
            let pair = diffusion.off_diagonal.iter().find(|pair| pair.axes == (a, b));
            out.push(pair.map_or(0.0, |pair| pair.values[cell] as f32));
        }
    }
}

fn nyquist_numbers(diffusion: &Diffusion, coupled: &[usize]) -> Vec<f32> {
    let is_even = |axis: &&usize| diffusion.grid.shape.extents[**axis].is_multiple_of(2);
    let even = coupled.iter().filter(is_even);
    even.flat_map(|&axis| nyquist_weights(diffusion, axis).map(|weight| weight as f32)).collect()
}
