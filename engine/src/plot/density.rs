//! Real data: a curve along one axis, and a viridis plane with a colour bar.
//! Invariant: the colour bar spans exactly the values drawn, from 0 where the data nearly touch it.

use super::axes::{Axis, Frame, NOTE, TITLE, range_of};
use super::canvas::{Align, Canvas, Line, SCALE};
use super::colour::{LINES, MISSING, viridis};
use super::curve::draw_curve;
use super::legend::{colour_bar, node_lines};
use super::picture::Picture;
use super::resample::resample;
use super::text;

/// Size of a single plot in layout units: 1,280 × 1,000 pixels.
pub(super) const PAGE: (f32, f32) = (640.0, 500.0);
/// Room for the plane itself.
const ROOM: (f32, f32) = (446.0, 390.0);

/// Draws real values along an axis as a line.
///
/// `label` names the horizontal axis, with its unit. Extra elements of the longer slice are ignored.
#[must_use]
pub fn density_line(title: &str, label: &str, xs: &[f64], values: &[f64]) -> Picture {
    let mut canvas = titled_canvas(title);
    let n = xs.len().min(values.len());
    let drawable = |k: &usize| super::drawable(xs[*k]) && super::drawable(values[*k]);
    let n_drawn = (0..n).filter(drawable).count();
    let across = range_of(xs[..n].iter().copied(), |_| true).unwrap_or((0.0, 1.0));
    let range = range_of((0..n).filter(drawable).map(|k| values[k]), |_| true);
    let up = Axis::around(range.map(|(low, high)| from_zero(low, high)), 7);
    let frame = Frame {
        x: 74.0,
        y: 50.0,
        width: 540.0,
        height: 384.0,
        across: Axis::exact(across.0, across.1, 7),
        up,
    };
    frame.draw_grid(&mut canvas);
    draw_up_note(&mut canvas, &frame);
    let line = Line { width: 1.5, colour: LINES[0], dash: &[] };
    draw_curve(&mut canvas, &frame, &xs[..n], &values[..n], line);
    frame.draw_axes(&mut canvas, true);
    frame.draw_x_label(&mut canvas, label);
    if n_drawn == 0 {
        frame.draw_message(&mut canvas, "no data");
    }
    draw_note(&mut canvas, &super::missing_note(n - n_drawn, n));
    canvas.finish()
}

/// Draws real values on a plane, or over space and time, in viridis with a colour bar.
///
/// `labels`: names of the horizontal and the vertical axis. `extents`: outer edges (x0, x1, y0, y1) of the lattice.
/// `values`: row-major, `width · height` of them, row 0 at the bottom (y0). More nodes than pixels are averaged by
/// area; fewer are interpolated, or drawn as blocks on sides below 48 nodes. The proportions of the extents are
/// kept up to 2 : 1; beyond, the plane fills the room there is.
#[must_use]
pub fn density_plane(
    title: &str,
    labels: (&str, &str),
    extents: (f64, f64, f64, f64),
    width: usize,
    height: usize,
    values: &[f64],
) -> Picture {
    let mut canvas = titled_canvas(title);
    let frame = plane_frame(extents);
    let range = range_of(values.iter().copied(), |_| true);
    let (low, high) = range.map_or((0.0, 1.0), |(low, high)| from_zero(low, high));
    let bar = Axis::exact(low, high, 7);
    let sized = width.checked_mul(height) == Some(values.len()) && !values.is_empty();
    if sized {
        let node =
            |i: usize, j: usize| values.get(j * width + i).filter(|v| super::drawable(**v)).map(|v| [*v]);
        draw_plane(&mut canvas, &frame, (width, height), node, |[value]| {
            viridis((value - bar.low) / (bar.high - bar.low))
        });
        colour_bar(&mut canvas, (frame.x + frame.width + 16.0, frame.y), (14.0, frame.height), &bar);
    }
    finish_plane(canvas, &frame, labels, (width, height), values.len(), || {
        values.iter().filter(|v| !super::drawable(**v)).count()
    })
}

/// A range stretched to 0 where it comes close to it, so that densities are read from zero.
fn from_zero(low: f64, high: f64) -> (f64, f64) {
    if low > 0.0 && low < 0.5 * high { (0.0, high) } else { (low, high) }
}

/// A canvas of the single plot's size with its title.
pub(super) fn titled_canvas(title: &str) -> Canvas {
    let mut canvas = Canvas::new(PAGE.0, PAGE.1);
    let title = text::fit(title, TITLE.size, TITLE.weight, PAGE.0 - 40.0);
    canvas.text(PAGE.0 / 2.0, 24.0, &title, Align::Centre, TITLE);
    canvas
}

/// The note at the foot of a single plot.
pub(super) fn draw_note(canvas: &mut Canvas, note: &str) {
    canvas.text(PAGE.0 / 2.0, PAGE.1 - 10.0, note, Align::Centre, NOTE);
}

/// Factor and offset of the vertical axis, above its upper end.
pub(super) fn draw_up_note(canvas: &mut Canvas, frame: &Frame) {
    canvas.text(frame.x, frame.y - 7.0, &frame.up.note, Align::Left, super::axes::TICK);
}

/// The frame of a plane: true proportions up to 2 : 1, else all the room; whole layout units, so pixels are exact.
pub(super) fn plane_frame((x0, x1, y0, y1): (f64, f64, f64, f64)) -> Frame {
    let (across, up) = (Axis::exact(x0, x1, 7), Axis::exact(y0, y1, 7));
    let ratio = (across.high - across.low) / (up.high - up.low);
    let (width, height) = match ratio {
        ratio if !(0.5..=2.0).contains(&ratio) => ROOM,
        ratio if ratio as f32 > ROOM.0 / ROOM.1 => (ROOM.0, (f64::from(ROOM.0) / ratio) as f32),
        ratio => ((f64::from(ROOM.1) * ratio) as f32, ROOM.1),
    };
    let (width, height) = (width.round(), height.round());
    let x = (76.0 + (ROOM.0 - width) / 2.0).round();
    let y = (46.0 + (ROOM.1 - height) / 2.0).round();
    Frame { x, y, width, height, across, up }
}

/// Paints the nodes into the frame.
pub(super) fn draw_plane<const K: usize>(
    canvas: &mut Canvas,
    frame: &Frame,
    size: (usize, usize),
    node: impl Fn(usize, usize) -> Option<[f64; K]>,
    colour: impl Fn([f64; K]) -> super::colour::Rgb,
) {
    let (wide, high) = ((frame.width * SCALE) as usize, (frame.height * SCALE) as usize);
    let pixels = resample(size, (wide, high), node);
    canvas.block((frame.x, frame.y), (wide, high), |i, j| {
        Some(pixels[(high - 1 - j) * wide + i].map_or(MISSING, &colour))
    });
    node_lines(canvas, frame, size.0, size.1);
}

/// Axes, labels and notes of a plane.
pub(super) fn finish_plane(
    mut canvas: Canvas,
    frame: &Frame,
    labels: (&str, &str),
    (width, height): (usize, usize),
    n_values: usize,
    n_missing: impl Fn() -> usize,
) -> Picture {
    frame.draw_axes(&mut canvas, true);
    frame.draw_x_label(&mut canvas, labels.0);
    frame.draw_y_label(&mut canvas, frame.x - 48.0, labels.1);
    if n_values == 0 {
        frame.draw_message(&mut canvas, "no data");
    } else if width.checked_mul(height) != Some(n_values) {
        frame.draw_message(&mut canvas, &format!("{n_values} values for {width} × {height} nodes"));
    } else {
        let n_missing = n_missing();
        let grey = if n_missing > 0 { " (grey)" } else { "" };
        draw_note(&mut canvas, &format!("{}{grey}", super::missing_note(n_missing, n_values)));
    }
    canvas.finish()
}
