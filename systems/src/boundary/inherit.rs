//! The metric of a page that is born: the log-Euclidean mean of the nearest active cells along each axis.
//!
//! Invariant: a pure function of the metric of the pages that were there, the same for any number of threads. A cell without
//! a neighbour on a line through it looks at fewer; a page without active neighbours begins at rest.
//! Source: kernel `metric_update::log_mean`.

use nikola_components::metric::MetricCells;
use nikola_components::torus::Torus;
use nikola_kernels::metric_update::{log_mean, n_components};
use std::collections::BTreeMap;

/// Cells of a page along each storage axis.
fn cells_along(torus: &Torus, cell: &[usize]) -> Vec<usize> {
    let shape = torus.page_shape();
    torus.storage().iter().zip(cell).map(|(axis, nodes)| shape[axis.index()] / nodes).collect()
}

/// Packed g of every cell of `page`, component after component; none where no neighbour is active. `cell` gives the nodes
/// of a cell along each storage axis, `known` the active pages.
pub fn inherited(
    torus: &Torus,
    cell: &[usize],
    page: usize,
    known: &BTreeMap<usize, &MetricCells>,
) -> Option<Vec<f64>> {
    let along = cells_along(torus, cell);
    let n_cells: usize = along.iter().product();
    let (axes, components) = (along.len(), n_components(along.len()));
    let stride = |axis: usize| -> usize { along[axis + 1..].iter().product() };
    // The neighbours behind the faces: (axis, whether the upper one, its cells).
    let mut neighbours = Vec::new();
    for (a, axis) in torus.storage().iter().enumerate() {
        for is_upper in [false, true] {
            let beside = torus.neighbour(page, *axis, is_upper);
            if let Some(cells) = known.get(&beside).filter(|_| beside != page) {
                neighbours.push((a, is_upper, *cells));
            }
        }
    }
    if neighbours.is_empty() {
        return None;
    }
    let mut g = vec![0.0; components * n_cells];
    let mut tensors = Vec::with_capacity(neighbours.len());
    for at in 0..n_cells {
        tensors.clear();
        for (a, is_upper, cells) in &neighbours {
            let place = at / stride(*a) % along[*a];
            let layer = if *is_upper { 0 } else { along[*a] - 1 };
            let distance = if *is_upper { along[*a] - place } else { place + 1 };
            let other = at - place * stride(*a) + layer * stride(*a);
            let tensor = (0..components).map(|c| cells.factorised[c * n_cells + other]).collect();
            tensors.push((1.0 / distance as f64, tensor));
        }
        let mean = log_mean(axes, &tensors)?;
        mean.iter().enumerate().for_each(|(c, value)| g[c * n_cells + at] = *value);
    }
    Some(g)
}
