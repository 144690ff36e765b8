//! Pictures of fields and time series: pure functions from plain slices to an RGB raster, and its PNG.
//! Invariant: nothing here reads a file, a clock or another engine module, and no data, however broken, panics.
//!
//! Values that are NaN, infinite or beyond 1e300 are left out, drawn as gaps or grey nodes, and counted in a note
//! below the plot. Planes are row-major with row 0 at the bottom; extents are the outer edges of the lattice cells.
//!
//! Reading order: [`Picture`] → [`wave_line`], [`wave_plane`] → [`density_line`], [`density_plane`] → [`series()`] →
//! [`overview`]; underneath, `axes` (ticks, frames) → `canvas` (lines, areas, text) → `colour`.

mod axes;
mod canvas;
pub mod colour;
mod curve;
mod density;
mod legend;
mod page;
mod picture;
mod resample;
mod series;
mod text;
mod wave;

#[cfg(test)]
mod tests;

pub use density::{density_line, density_plane};
pub use page::overview;
pub use picture::Picture;
pub use series::{Panel, series};
pub use wave::{wave_line, wave_plane};

/// Values beyond this magnitude are treated like infinities: axis arithmetic on them would overflow.
const VALUE_MAX: f64 = 1e300;

/// Whether `value` can be drawn.
fn drawable(value: f64) -> bool {
    value.abs() <= VALUE_MAX
}

/// The note below a plot when `n_missing` of `n_total` values can't be drawn; empty when all can.
fn missing_note(n_missing: usize, n_total: usize) -> String {
    match n_missing {
        0 => String::new(),
        _ => format!("{n_missing} of {n_total} values are not finite and are left out"),
    }
}
