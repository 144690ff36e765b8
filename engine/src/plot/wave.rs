//! Complex data: |Ψ|² filled with phase colour along a line, and amplitude–phase colouring of a plane.
//! Invariant: hue is arg Ψ everywhere; brightness on planes is |Ψ| over its maximum.
//! Averages over several nodes keep the mean |Ψ|² and the phase of the mean Ψ, and turn grey as far as the phases
//! disagree; between nodes, Ψ itself is interpolated.

use super::axes::{Axis, Frame, LABEL, range_of};
use super::canvas::{Align, Canvas, Line, SCALE};
use super::colour::{INK, LINES, phase_colour};
use super::curve::draw_curve;
use super::density::{draw_note, draw_plane, draw_up_note, finish_plane, plane_frame, titled_canvas};
use super::legend::{phase_strip, phase_wheel};
use super::picture::Picture;

/// Parts of Ψ beyond this are treated as infinite: their squares would overflow.
const PART_MAX: f64 = 1e150;

/// Whether both parts of Ψ can be drawn.
fn drawable((re, im): (f64, f64)) -> bool {
    re.abs() <= PART_MAX && im.abs() <= PART_MAX
}

/// Draws a complex field along an axis: above |Ψ|², filled with the colour of its phase; below Re Ψ and Im Ψ.
///
/// `xs`: coordinates in any order. `psi`: (Re, Im) at each. Extra elements of the longer slice are ignored.
#[must_use]
pub fn wave_line(title: &str, x_label: &str, xs: &[f64], psi: &[(f64, f64)]) -> Picture {
    let mut canvas = titled_canvas(title);
    let n = xs.len().min(psi.len());
    let mut order: Vec<usize> = (0..n).filter(|k| super::drawable(xs[*k])).collect();
    order.sort_by(|a, b| xs[*a].total_cmp(&xs[*b]));
    let xs: Vec<f64> = order.iter().map(|k| xs[*k]).collect();
    let gap = (f64::NAN, f64::NAN);
    let psi: Vec<(f64, f64)> = order.iter().map(|k| if drawable(psi[*k]) { psi[*k] } else { gap }).collect();
    let n_drawn = psi.iter().filter(|psi| drawable(**psi)).count();

    let (low, high) = range_of(xs.iter().copied(), |_| true).unwrap_or((0.0, 1.0));
    let density: Vec<f64> = psi.iter().map(|(re, im)| re * re + im * im).collect();
    let top = range_of(density.iter().copied(), |_| true).map_or(1.0, |(_, high)| high);
    let upper = Frame {
        x: 74.0,
        y: 54.0,
        width: 540.0,
        height: 240.0,
        across: Axis::exact(low, high, 7),
        up: Axis::exact(0.0, if top > 0.0 { 1.06 * top } else { 1.0 }, 5),
    };
    let parts = |psi: &(f64, f64)| [psi.0, psi.1];
    let reach = range_of(psi.iter().flat_map(parts), |_| true).map_or(1.0, |(low, high)| high.max(-low));
    let reach = if reach > 0.0 { 1.1 * reach } else { 1.0 };
    let lower = Frame {
        y: 318.0,
        height: 118.0,
        across: upper.across.clone(),
        up: Axis::exact(-reach, reach, 4),
        ..upper
    };
    draw_filled(&mut canvas, &upper, &xs, &psi);
    draw_curve(&mut canvas, &upper, &xs, &density, Line { width: 1.1, colour: INK, dash: &[] });
    upper.draw_axes(&mut canvas, false);
    upper.draw_y_label(&mut canvas, 22.0, "|Ψ|²");
    draw_up_note(&mut canvas, &upper);
    phase_strip(&mut canvas, upper.x + upper.width, upper.y - 8.0);
    draw_parts(&mut canvas, &lower, &xs, &psi);
    lower.draw_x_label(&mut canvas, x_label);
    if n_drawn == 0 {
        upper.draw_message(&mut canvas, "no data");
    }
    draw_note(&mut canvas, &super::missing_note(n - n_drawn, n));
    canvas.finish()
}

/// The lower panel: real and imaginary part.
fn draw_parts(canvas: &mut Canvas, frame: &Frame, xs: &[f64], psi: &[(f64, f64)]) {
    frame.draw_grid(canvas);
    let parts: [Vec<f64>; 2] = [psi.iter().map(|p| p.0).collect(), psi.iter().map(|p| p.1).collect()];
    for (part, colour) in parts.iter().zip(LINES) {
        draw_curve(canvas, frame, xs, part, Line { width: 1.0, colour, dash: &[] });
    }
    frame.draw_axes(canvas, true);
    draw_up_note(canvas, frame);
    let right = frame.x + frame.width;
    for (name, colour, x) in [("Re Ψ", LINES[0], right - 66.0), ("Im Ψ", LINES[1], right)] {
        canvas.text(x, frame.y - 6.0, name, Align::Right, LABEL);
        let line = Line { width: 1.6, colour, dash: &[] };
        canvas.line(&[(x - 46.0, frame.y - 10.0), (x - 34.0, frame.y - 10.0)], line);
    }
}

/// Fills the area below |Ψ|² pixel column by pixel column with the colour of the phase there.
fn draw_filled(canvas: &mut Canvas, frame: &Frame, xs: &[f64], psi: &[(f64, f64)]) {
    let (wide, high) = ((frame.width * SCALE) as usize, (frame.height * SCALE) as usize);
    let mut columns: Vec<Option<Column>> = vec![None; wide];
    let mut start = 0;
    for run in psi.split(|psi| !drawable(*psi)) {
        fill_columns(&mut columns, frame, &xs[start..start + run.len()], run);
        start += run.len() + 1;
    }
    let tops = columns.iter().map(|column| {
        let column = column.as_ref()?;
        let colour = phase_colour(column.im.atan2(column.re), 1.0, column.coherence());
        Some((f64::from(frame.up.place(column.density)?) * high as f64, colour))
    });
    let tops: Vec<Option<(f64, [u8; 3])>> = tops.collect();
    canvas.block((frame.x, frame.y), (wide, high), |i, j| {
        let (top, colour) = tops[i]?;
        let cover = (top - (high - 1 - j) as f64).clamp(0.0, 1.0);
        let blend = |c: u8| (255.0 + (f64::from(c) - 255.0) * cover).round() as u8;
        (cover > 0.0).then(|| colour.map(blend))
    });
}

/// Mean |Ψ|² and mean Ψ over one pixel column.
#[derive(Clone, Copy, Debug)]
struct Column {
    density: f64,
    re: f64,
    im: f64,
}

impl Column {
    fn coherence(&self) -> f64 {
        coherence(self.density, self.re, self.im)
    }
}

/// |mean Ψ| over the root of the mean |Ψ|²: 1 where all agree in phase; 0 for an empty place.
fn coherence(density: f64, re: f64, im: f64) -> f64 {
    if density > 0.0 { re.hypot(im) / density.sqrt() } else { 0.0 }
}

/// Columns of one unbroken run: the mean of the samples inside, else interpolated between the neighbours.
fn fill_columns(columns: &mut [Option<Column>], frame: &Frame, xs: &[f64], psi: &[(f64, f64)]) {
    let n_columns = columns.len() as f64;
    let place = |x: f64| (x - frame.across.low) / (frame.across.high - frame.across.low) * n_columns;
    let mut next = 0;
    for (c, column) in columns.iter_mut().enumerate() {
        let (from, to) = (c as f64, (c + 1) as f64);
        while next < xs.len() && place(xs[next]) < from {
            next += 1;
        }
        let inside = xs[next..].iter().take_while(|x| place(**x) < to).count();
        if inside > 2 {
            *column = Some(mean(&psi[next..next + inside]));
        } else if let Some((before, after)) = neighbours(xs, place, next, from + 0.5) {
            let (left, right) = (place(xs[before]), place(xs[after]));
            let weight = if right > left { (from + 0.5 - left) / (right - left) } else { 0.0 };
            *column = Some(between(psi[before], psi[after], weight));
        }
    }
}

/// The samples left and right of `centre`, found from the first sample of the column on.
fn neighbours(xs: &[f64], place: impl Fn(f64) -> f64, next: usize, centre: f64) -> Option<(usize, usize)> {
    let mut after = next;
    while after < xs.len() && place(xs[after]) < centre {
        after += 1;
    }
    (after > 0 && after < xs.len()).then(|| (after - 1, after))
}

fn mean(psi: &[(f64, f64)]) -> Column {
    let n = psi.len() as f64;
    let sum = |part: fn(&(f64, f64)) -> f64| psi.iter().map(part).sum::<f64>() / n;
    Column { density: sum(|p| p.0 * p.0 + p.1 * p.1), re: sum(|p| p.0), im: sum(|p| p.1) }
}

/// |Ψ|² interpolated linearly (as its outline is drawn), the phase along the chord; never grey.
fn between(left: (f64, f64), right: (f64, f64), weight: f64) -> Column {
    let mix = |a: f64, b: f64| a + (b - a) * weight;
    let density = |p: (f64, f64)| p.0 * p.0 + p.1 * p.1;
    let (re, im) = (mix(left.0, right.0), mix(left.1, right.1));
    let density = mix(density(left), density(right));
    let length = re.hypot(im);
    let scale = if length > 0.0 { density.sqrt() / length } else { 0.0 };
    Column { density, re: re * scale, im: im * scale }
}

/// Draws a complex field on a plane: hue is the phase, brightness |Ψ| over its maximum, with a colour wheel.
///
/// `labels`: names of the horizontal and the vertical axis. `extents`: outer edges (x0, x1, y0, y1) of the lattice.
/// `psi`: (Re, Im), row-major, `width · height` of them, row 0 at the bottom (y0). More nodes than pixels are
/// averaged by area; fewer are interpolated, or drawn as blocks on sides below 48 nodes.
#[must_use]
pub fn wave_plane(
    title: &str,
    labels: (&str, &str),
    extents: (f64, f64, f64, f64),
    width: usize,
    height: usize,
    psi: &[(f64, f64)],
) -> Picture {
    let mut canvas = titled_canvas(title);
    let frame = plane_frame(extents);
    let amplitudes = psi.iter().filter(|psi| drawable(**psi)).map(|(re, im)| re.hypot(*im));
    let amplitude_max = amplitudes.fold(0.0, f64::max);
    if width.checked_mul(height) == Some(psi.len()) && !psi.is_empty() {
        let unit = if amplitude_max > 0.0 { amplitude_max } else { 1.0 };
        let node = |i: usize, j: usize| {
            let (re, im) = *psi.get(j * width + i).filter(|psi| drawable(**psi))?;
            let (re, im) = (re / unit, im / unit);
            Some([re * re + im * im, re, im])
        };
        let (wide, high) = ((frame.width * SCALE) as usize, (frame.height * SCALE) as usize);
        let enlarging = wide >= width && high >= height;
        draw_plane(&mut canvas, &frame, (width, height), node, |[density, re, im]| {
            let (amplitude, coherence) = match enlarging {
                true => (re.hypot(im), 1.0),
                false => (density.sqrt(), coherence(density, re, im)),
            };
            phase_colour(im.atan2(re), amplitude, coherence)
        });
        let wheel = (frame.x + frame.width + 60.0, frame.y + 0.5 * frame.height - 6.0);
        phase_wheel(&mut canvas, wheel, 34.0, amplitude_max);
    }
    finish_plane(canvas, &frame, labels, (width, height), psi.len(), || {
        psi.iter().filter(|psi| !drawable(**psi)).count()
    })
}
