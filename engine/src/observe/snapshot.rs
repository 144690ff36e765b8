//! Ψ and its marginals as `.npy` files.
//!
//! Invariant: canonical order (row-major r…z, z fastest), axes of one node dropped, complex64 or complex128 as the
//! state is. Ψ streams to the disk in blocks; there is never a second copy of it.

use super::canonical::for_each_block;
use super::digest::{append, by_key};
use super::error::OutputError;
use super::npy_write::{Dtype, write_header};
use super::series::write_whole;
use crate::scene::Marginal;
use nikola_systems::Simulation;
use nikola_systems::components::geometry::axis::Axis;
use nikola_systems::components::setup::Precision;
use nikola_systems::components::torus::Torus;
use std::io::Write;
use std::path::Path;

/// Nodes turned into bytes at a time.
const CHUNK: usize = 4096;

/// Extents of the active axes in r…z order; `[1]` for a torus of one node.
fn active_shape(torus: &Torus, keep: impl Fn(Axis) -> bool) -> Vec<usize> {
    let extents = torus.extents();
    let active = Axis::ALL.into_iter().filter(|axis| extents[axis.index()] > 1 && keep(*axis));
    let shape: Vec<usize> = active.map(|axis| extents[axis.index()]).collect();
    if shape.is_empty() { vec![1] } else { shape }
}

fn complex(precision: Precision) -> Dtype {
    match precision {
        Precision::F32 => Dtype::C8,
        Precision::F64 => Dtype::C16,
    }
}

/// Writes Ψ.
///
/// # Errors
/// [`OutputError`] when the disk refuses.
pub fn write_psi(simulation: &Simulation, path: &Path) -> Result<(), OutputError> {
    let read = |page, re: &mut [f64], im: &mut [f64]| simulation.read_page(page, re, im);
    write_field(simulation.torus(), simulation.precision(), read, path)
}

/// Writes the complex field that `read` gives page by page in storage order.
///
/// # Errors
/// [`OutputError`] when the disk refuses.
pub fn write_field(
    torus: &Torus,
    precision: Precision,
    read: impl FnMut(usize, &mut [f64], &mut [f64]),
    path: &Path,
) -> Result<(), OutputError> {
    write_whole(path, |sink| {
        write_header(sink, complex(precision), &active_shape(torus, |_| true))?;
        let mut bytes = Vec::new();
        for_each_block(torus, read, |re, im| {
            re.chunks(CHUNK).zip(im.chunks(CHUNK)).try_for_each(|(re, im)| {
                bytes.clear();
                append(&mut bytes, precision, re, im);
                sink.write_all(&bytes)
            })
        })
    })
}

/// Writes the active pages of a sparse torus: `pages`, the grid coordinates r…z of each page's first node, and
/// `values`, Ψ of each page in r…z order; pages in the order of their Morton keys.
///
/// # Errors
/// [`OutputError`] when the disk refuses.
pub fn write_active(simulation: &Simulation, pages: &Path, values: &Path) -> Result<(), OutputError> {
    let torus = simulation.torus();
    let active = by_key(simulation);
    write_whole(pages, |sink| {
        write_header(sink, Dtype::F8, &[active.len(), 9])?;
        active.iter().try_for_each(|&page| {
            torus.node(page, 0).iter().try_for_each(|&i| sink.write_all(&(i as f64).to_le_bytes()))
        })
    })?;
    let sides = torus.page_shape();
    let mut shape = vec![active.len()];
    shape.extend(sides.iter().zip(torus.extents()).filter(|(_, extent)| **extent > 1).map(|(side, _)| *side));
    // Node i of a page in storage order is node `place[i]` of it in canonical order.
    let origin = torus.node(0, 0);
    let mut place = vec![0; torus.page_nodes()];
    torus.for_each_node(0, |i, node| {
        place[i] = (0..9).fold(0, |at, d| at * sides[d] + (node[d] - origin[d]));
    });
    let precision = simulation.precision();
    write_whole(values, |sink| {
        write_header(sink, complex(precision), &shape)?;
        let n = torus.page_nodes();
        let (mut re, mut im) = (vec![0.0; n], vec![0.0; n]);
        let (mut sorted_re, mut sorted_im) = (vec![0.0; n], vec![0.0; n]);
        let mut bytes = Vec::new();
        active.iter().try_for_each(|&page| {
            simulation.read_page(page, &mut re, &mut im);
            place.iter().enumerate().for_each(|(i, &at)| (sorted_re[at], sorted_im[at]) = (re[i], im[i]));
            bytes.clear();
            append(&mut bytes, precision, &sorted_re, &sorted_im);
            sink.write_all(&bytes)
        })
    })
}

/// A cut or projection in memory: extents of the kept axes and one value per node, in canonical order.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Kept axes.
    pub axes: Vec<Axis>,
    /// Their extents.
    pub shape: Vec<usize>,
    /// ρ integrated over the other axes, or (re, im) of the slice.
    pub values: CutValues,
}

/// Values of a cut.
#[derive(Debug, Clone)]
pub enum CutValues {
    /// ∫|Ψ|² over the axes that are not kept.
    Density(Vec<f64>),
    /// Ψ on the slice.
    Psi(Vec<(f64, f64)>),
}

/// Computes a marginal.
pub fn cut(simulation: &Simulation, marginal: &Marginal) -> Cut {
    let torus = simulation.torus();
    let axes = marginal.keep().to_vec();
    let shape: Vec<usize> = axes.iter().map(|axis| torus.extents()[axis.index()]).collect();
    let n: usize = shape.iter().product();
    let over: f64 =
        torus.storage().iter().filter(|axis| !axes.contains(axis)).map(|&axis| torus.spacing(axis)).product();
    let index = |node: &[usize; 9]| {
        axes.iter().zip(&shape).fold(0, |at, (axis, extent)| at * extent + node[axis.index()])
    };
    let (mut density, mut psi) = match marginal {
        Marginal::Project { .. } => (vec![0.0; n], Vec::new()),
        Marginal::Slice { .. } => (Vec::new(), vec![(0.0, 0.0); n]),
    };
    let nodes = torus.page_nodes();
    let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
    for &page in simulation.active_pages() {
        simulation.read_page(page, &mut re, &mut im);
        torus.for_each_node(page, |i, node| match marginal {
            Marginal::Project { .. } => density[index(node)] += over * (re[i] * re[i] + im[i] * im[i]),
            Marginal::Slice { at, .. } => {
                let is_on = torus
                    .storage()
                    .iter()
                    .all(|axis| axes.contains(axis) || node[axis.index()] == at[axis.index()]);
                if is_on {
                    psi[index(node)] = (re[i], im[i]);
                }
            }
        });
    }
    let values = if psi.is_empty() { CutValues::Density(density) } else { CutValues::Psi(psi) };
    Cut { axes, shape, values }
}

/// Writes a cut.
///
/// # Errors
/// [`OutputError`] when the disk refuses.
pub fn write_cut(cut: &Cut, path: &Path) -> Result<(), OutputError> {
    write_whole(path, |sink| match &cut.values {
        CutValues::Density(values) => {
            write_header(sink, Dtype::F8, &cut.shape)?;
            values.iter().try_for_each(|value| sink.write_all(&value.to_le_bytes()))
        }
        CutValues::Psi(values) => {
            write_header(sink, Dtype::C16, &cut.shape)?;
            values.iter().try_for_each(|(re, im)| {
                sink.write_all(&re.to_le_bytes())?;
                sink.write_all(&im.to_le_bytes())
            })
        }
    })
}
