//! Every profile of a scene evaluated once before anything runs; on a sparse torus where it matters: fields on the pages
//! that they need, potentials and damping on those that are active at the start.
//! Invariant: no NaN, infinity or absurd magnitude reaches the simulation; the first bad node, in storage order, is
//! named with its position, whatever the number of threads.

use super::evaluate::Grid;
use super::limits::MAGNITUDE_MAX;
use nikola_components::fill::{ComplexFill, RealFill};
use nikola_components::geometry::axis::Axis;
use nikola_systems::boundary::support;
use rayon::prelude::*;

/// What a profile looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Least value (of |f|² for a complex field).
    pub least: f64,
    /// Greatest value (of |f|² for a complex field).
    pub greatest: f64,
    /// Σ f (of |f|² for a complex field).
    pub sum: f64,
}

/// A node where a profile is no usable number.
#[derive(Debug, Clone, PartialEq)]
pub struct BadNode {
    /// The value.
    pub value: String,
    /// The node, e.g. "x = -0.5 (node 3), z = 0 (node 8)".
    pub node: String,
}

/// Nodes of a sparse torus whose metric can be surveyed.
pub const SPARSE_NODES_MAX: usize = 1 << 24;

/// Surveys a real profile.
///
/// # Errors
/// The first node whose value is not finite or beyond [`MAGNITUDE_MAX`].
pub fn real(grid: &Grid, fill: &dyn RealFill) -> Result<Summary, BadNode> {
    // The metric is surveyed before the initial pages are known: all of a torus that is not too large.
    let is_small = grid.torus.n_nodes() <= SPARSE_NODES_MAX;
    let chosen = match (&grid.growth, grid.initial_pages.get()) {
        (None, _) => None,
        (Some(_), Some(pages)) => Some(pages.clone()),
        (Some(_), None) => (!is_small).then(Vec::new),
    };
    pages(grid, chosen, |page, values, _| {
        fill.fill(page, values);
        let bad = values.iter().position(|value| !is_usable(*value));
        bad.map(|i| (i, format!("{}", values[i]))).map_or_else(|| Ok(summary(values.iter().copied())), Err)
    })
}

/// Surveys a complex field.
///
/// # Errors
/// The first node whose value is not finite or beyond [`MAGNITUDE_MAX`].
pub fn complex(grid: &Grid, fill: &dyn ComplexFill) -> Result<Summary, BadNode> {
    let chosen = grid.growth.as_ref().map(|rule| {
        // A field that needs more pages than there may be is refused when the world is built.
        support(fill, &grid.torus, &rule.seeds, rule.threshold, rule.pages_max).unwrap_or_default()
    });
    pages(grid, chosen, |page, re, im| {
        fill.fill(page, re, im);
        match (0..re.len()).find(|&i| !is_usable(re[i]) || !is_usable(im[i])) {
            Some(i) => Err((i, format!("{} {:+}i", re[i], im[i]))),
            None => Ok(summary(re.iter().zip(im.iter()).map(|(re, im)| re * re + im * im))),
        }
    })
}

fn is_usable(value: f64) -> bool {
    value.abs() <= MAGNITUDE_MAX
}

fn summary(values: impl Iterator<Item = f64>) -> Summary {
    values.fold(EMPTY, |total, value| Summary {
        least: total.least.min(value),
        greatest: total.greatest.max(value),
        sum: total.sum + value,
    })
}

const EMPTY: Summary = Summary { least: f64::INFINITY, greatest: f64::NEG_INFINITY, sum: 0.0 };

type PageResult = Result<Summary, (usize, String)>;

fn pages(
    grid: &Grid,
    chosen: Option<Vec<usize>>,
    survey: impl Fn(usize, &mut [f64], &mut [f64]) -> PageResult + Sync,
) -> Result<Summary, BadNode> {
    let nodes = grid.torus.page_nodes();
    let n_pages = chosen.as_ref().map_or(grid.torus.n_pages(), Vec::len);
    let page_of = |i: usize| chosen.as_ref().map_or(i, |pages| pages[i]);
    let found: Vec<PageResult> = (0..n_pages)
        .into_par_iter()
        .map(page_of)
        .map_init(|| (vec![0.0; nodes], vec![0.0; nodes]), |(a, b), page| survey(page, a, b))
        .collect();
    let mut total = EMPTY;
    for (k, result) in found.into_iter().enumerate() {
        let part = result.map_err(|(i, value)| BadNode { value, node: describe(grid, page_of(k), i) })?;
        total = Summary {
            least: total.least.min(part.least),
            greatest: total.greatest.max(part.greatest),
            sum: total.sum + part.sum,
        };
    }
    Ok(total)
}

/// Position and index of a node along the active axes.
pub fn describe(grid: &Grid, page: usize, i: usize) -> String {
    let node = grid.torus.node(page, i);
    let position = grid.position(&node);
    let active = Axis::ALL.into_iter().filter(|axis| grid.torus.extents()[axis.index()] > 1);
    let parts: Vec<String> = active
        .map(|axis| format!("{} = {} (node {})", axis.name(), position[axis.index()], node[axis.index()]))
        .collect();
    if parts.is_empty() { "the only node".into() } else { parts.join(", ") }
}
