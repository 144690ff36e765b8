//! A frame as figures and as a small picture of characters.
//! Invariant: the picture is a projection, Σ|Ψ|² over the axes that are not shown; nested axes unfold a torus of few
//! nodes per axis, slowest first, so that 3×3×3 axes fill 27 cells.

use super::layout::Header;
use super::reader::Frame;
use nikola_systems::components::geometry::axis::Axis;
use std::fmt::Write as _;

/// From dark to bright.
const SHADES: &[u8] = b" .:-=+*#%@";

/// Most cells of a picture along either side.
const CELLS_MAX: usize = 96;

/// Which axes go where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// Down, slowest first.
    pub rows: Vec<Axis>,
    /// Across, slowest first.
    pub columns: Vec<Axis>,
}

impl Sides {
    /// The last axes of the torus, half down and half across, as many as fit.
    pub fn of(header: &Header) -> Self {
        let extent = |axis: &Axis| header.torus.extents()[axis.index()];
        let mut axes = header.axes();
        axes.sort_by_key(extent);
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        // The longest axis goes across, the next one down, and so on while both sides stay small.
        while let Some(axis) = axes.pop() {
            let side = if columns.len() <= rows.len() { &mut columns } else { &mut rows };
            let cells: usize = side.iter().map(extent).product();
            if !side.is_empty() && cells * extent(&axis) > 32 {
                break;
            }
            side.insert(0, axis);
        }
        Self { rows, columns }
    }
}

/// ∫|Ψ|² over the frame and max|Ψ|.
pub fn norm_and_peak(header: &Header, frame: &Frame) -> (f64, f64) {
    let density = frame.re.iter().zip(&frame.im).map(|(re, im)| re * re + im * im);
    let (sum, max) = density.fold((0.0, 0.0), |(sum, max): (f64, f64), rho| (sum + rho, max.max(rho)));
    (sum * header.torus.cell_volume(), max.sqrt())
}

/// Σ|Ψ|² by cell: height, width, and the cells row by row.
pub fn project(header: &Header, frame: &Frame, sides: &Sides) -> (usize, usize, Vec<f64>) {
    let torus = &header.torus;
    let extent = |axis: &Axis| torus.extents()[axis.index()];
    let cells = |axes: &[Axis]| axes.iter().map(extent).product::<usize>().max(1);
    let (full_height, full_width) = (cells(&sides.rows), cells(&sides.columns));
    let (height, width) = (full_height.min(CELLS_MAX), full_width.min(CELLS_MAX));
    let place = |axes: &[Axis], at: &[usize; 9], full: usize, shown: usize| {
        axes.iter().fold(0, |index, axis| index * extent(axis) + at[axis.index()]) * shown / full
    };
    let mut to = vec![0.0; height * width];
    let nodes = torus.page_nodes();
    for (k, page) in frame.pages.iter().enumerate() {
        for i in 0..nodes {
            let at = torus.node(*page, i);
            let (re, im) = (frame.re[k * nodes + i], frame.im[k * nodes + i]);
            let row = place(&sides.rows, &at, full_height, height);
            let column = place(&sides.columns, &at, full_width, width);
            to[row * width + column] += re * re + im * im;
        }
    }
    (height, width, to)
}

/// The projection in characters, two per cell; with `has_colour` in 256 colours.
pub fn draw(header: &Header, frame: &Frame, sides: &Sides, has_colour: bool) -> String {
    let (height, width, cells) = project(header, frame, sides);
    let max = cells.iter().copied().fold(0.0, f64::max);
    let level = |value: f64, n: usize| {
        let share = if max > 0.0 { (value / max).sqrt() } else { 0.0 };
        ((share * n as f64) as usize).min(n - 1)
    };
    let mut text = String::new();
    for row in 0..height {
        for value in &cells[row * width..(row + 1) * width] {
            if has_colour {
                // From black over 24 shades of grey.
                let _ = write!(text, "\x1b[48;5;{}m  ", 232 + level(*value, 24));
            } else {
                let shade = char::from(SHADES[level(*value, SHADES.len())]);
                text.extend([shade, shade]);
            }
        }
        text.push_str(if has_colour { "\x1b[0m\n" } else { "\n" });
    }
    text
}

/// What the picture shows, in words.
pub fn caption(header: &Header, sides: &Sides) -> String {
    let names = |axes: &[Axis]| axes.iter().map(|axis| axis.name()).collect::<Vec<_>>().join("");
    let hidden = header.axes().len() - sides.rows.len() - sides.columns.len();
    let summed = if hidden > 0 { format!(", summed over the other {hidden}") } else { String::new() };
    match sides.rows.is_empty() {
        true => format!("|Ψ|² along {}{summed}", names(&sides.columns)),
        false => format!("|Ψ|² down {} across {}{summed}", names(&sides.rows), names(&sides.columns)),
    }
}
