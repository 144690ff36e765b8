//! Fields and potentials from `.npy` files.
//!
//! Invariant: an array is used only if its shape is the torus's in r…z order, with axes of one node kept as 1 or
//! dropped, and every value is finite. Values are kept in f64: 16 bytes per node, 8 if real.

use super::context::Context;
use super::error::SceneError;
use super::evaluate::Grid;
use crate::observe::npy::{self, NpyArray};
use nikola_components::fill::{ComplexFill, RealFill};
use std::path::Path;
use std::sync::Arc;

/// A complex field.
///
/// # Errors
/// [`SceneError::Read`] if the file is no array, [`SceneError::Value`] if its shape is another one.
pub fn complex(
    context: &Context<'_>,
    grid: &Arc<Grid>,
    base_dir: &Path,
    file: &str,
    path: &str,
) -> Result<Arc<dyn ComplexFill>, SceneError> {
    let array = array(context, grid, base_dir, file, path)?;
    let grid = grid.clone();
    Ok(Arc::new(move |page: usize, re: &mut [f64], im: &mut [f64]| {
        grid.torus.for_each_node(page, |i, node| {
            (re[i], im[i]) = array.at(canonical(&grid, node));
        });
    }))
}

/// A real profile.
///
/// # Errors
/// As [`complex`], and [`SceneError::Value`] for a complex array.
pub fn real(
    context: &Context<'_>,
    grid: &Arc<Grid>,
    base_dir: &Path,
    file: &str,
    path: &str,
) -> Result<Arc<dyn RealFill>, SceneError> {
    let array = array(context, grid, base_dir, file, path)?;
    if array.is_complex() {
        return Err(context.value(
            path,
            format!("{file}: a complex array"),
            "an array of real numbers",
            "save its real part: np.save(name, a.real)",
        ));
    }
    let grid = grid.clone();
    Ok(Arc::new(move |page: usize, out: &mut [f64]| {
        grid.torus.for_each_node(page, |i, node| out[i] = array.at(canonical(&grid, node)).0);
    }))
}

/// Index of a node in row-major r…z order.
fn canonical(grid: &Grid, node: &[usize; 9]) -> usize {
    (0..9).fold(0, |index, d| index * grid.torus.extents()[d] + node[d])
}

fn array(
    context: &Context<'_>,
    grid: &Arc<Grid>,
    base_dir: &Path,
    file: &str,
    path: &str,
) -> Result<NpyArray, SceneError> {
    let full = base_dir.join(file);
    let array = npy::read(&full).map_err(|error| {
        let fault = context.fault(
            path,
            format!("{}: {error}", full.display()),
            "a NumPy .npy file of float32, float64, complex64 or complex128",
            "check the path (relative to the scene's folder) and save the array with np.save",
        );
        SceneError::Read { fault: Box::new(fault) }
    })?;
    let extents = grid.torus.extents();
    let active =
        |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|extent| *extent != 1).collect() };
    if active(array.shape()) == active(extents) && (array.shape().len() == 9 || !array.shape().contains(&1)) {
        return Ok(array);
    }
    Err(context.value(
        path,
        format!("{file}: an array of shape {:?}", array.shape()),
        format!("shape {:?} (r…z), or without its axes of one node {:?}", extents, active(extents)),
        "reshape the array, or set torus.extents to its shape",
    ))
}
