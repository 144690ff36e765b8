//! Legends: the viridis colour bar, the amplitude–phase wheel and the phase strip.
//! Invariant: a legend uses the same colour functions as the plot it explains.

use std::f64::consts::{PI, TAU};

use super::axes::{Axis, Frame, LABEL, TICK, number};
use super::canvas::{Align, Canvas, Line, SCALE};
use super::colour::{INK, phase_colour, viridis};

/// A vertical colour bar with its axis on the right.
pub(super) fn colour_bar(canvas: &mut Canvas, (x, y): (f32, f32), (width, height): (f32, f32), axis: &Axis) {
    let (wide, high) = ((width * SCALE) as usize, (height * SCALE) as usize);
    canvas.block((x, y), (wide, high), |_, j| Some(viridis(1.0 - (j as f64 + 0.5) / high as f64)));
    let border = Line { width: 0.8, colour: INK, dash: &[] };
    let (right, bottom) = (x + width, y + height);
    canvas.line(&[(x, y), (right, y), (right, bottom), (x, bottom), (x, y)], border);
    for tick in &axis.ticks {
        let Some(place) = axis.place(tick.at) else { continue };
        let at = y + (1.0 - place) * height;
        canvas.line(&[(right, at), (right + 3.5, at)], border);
        canvas.text(right + 7.0, at + 3.8, &tick.label, Align::Left, TICK);
    }
    if !axis.note.is_empty() {
        canvas.text(x, y - 8.0, &axis.note, Align::Left, TICK);
    }
}

/// The wheel of phases (angle) and amplitudes (radius, black at 0), with the amplitude at its rim.
pub(super) fn phase_wheel(canvas: &mut Canvas, (x, y): (f32, f32), radius: f32, amplitude_max: f64) {
    let side = (2.0 * (radius + 1.0) * SCALE) as usize;
    let centre = side as f64 / 2.0;
    canvas.block((x - radius - 1.0, y - radius - 1.0), (side, side), |i, j| {
        let (right, up) = (i as f64 + 0.5 - centre, centre - j as f64 - 0.5);
        let distance = right.hypot(up) / f64::from(radius * SCALE);
        (distance <= 1.0).then(|| phase_colour(up.atan2(right), distance, 1.0))
    });
    canvas.circle(x, y, radius, 0.8, INK);
    canvas.text(x + radius + 4.0, y + 3.8, "0", Align::Left, TICK);
    canvas.text(x, y - radius - 6.0, "π/2", Align::Centre, TICK);
    canvas.text(x - radius - 4.0, y + 3.8, "π", Align::Right, TICK);
    canvas.text(x, y + radius + 14.0, "−π/2", Align::Centre, TICK);
    canvas.text(x, y - radius - 26.0, "arg Ψ", Align::Centre, LABEL);
    canvas.text(x, y + radius + 36.0, &format!("|Ψ| ≤ {}", number(amplitude_max)), Align::Centre, TICK);
}

/// A horizontal strip of the phases −π … π ending at `right`, in the line whose baseline is `y`.
pub(super) fn phase_strip(canvas: &mut Canvas, right: f32, y: f32) {
    let (width, height) = (96.0, 9.0);
    let x = (right - width - 10.0).round();
    let top = (y - height).round();
    let n = (width * SCALE) as usize;
    canvas.block((x, top), (n, (height * SCALE) as usize), |i, _| {
        Some(phase_colour(TAU * (i as f64 + 0.5) / n as f64 - PI, 1.0, 1.0))
    });
    canvas.text(x - 5.0, y - 0.5, "arg Ψ   −π", Align::Right, TICK);
    canvas.text(x + width + 4.0, y - 0.5, "π", Align::Left, TICK);
}

/// Thin lines between the nodes of a small lattice, so that they can be counted.
pub(super) fn node_lines(canvas: &mut Canvas, frame: &Frame, n_across: usize, n_up: usize) {
    const NODES_MAX: usize = 12;
    if n_across.max(n_up) > NODES_MAX {
        return;
    }
    let rule = Line { width: 0.5, colour: [255, 255, 255], dash: &[] };
    for i in 1..n_across {
        let x = frame.x + frame.width * i as f32 / n_across as f32;
        canvas.line(&[(x, frame.y), (x, frame.y + frame.height)], rule);
    }
    for j in 1..n_up {
        let y = frame.y + frame.height * j as f32 / n_up as f32;
        canvas.line(&[(frame.x, y), (frame.x + frame.width, y)], rule);
    }
}
