//! Time series: stacked panels that share the horizontal axis.
//! Invariant: every curve of a panel is drawn in the panel's one unit; colours follow the order of the curves.

use super::axes::{Axis, Frame, LABEL, NOTE, TITLE, range_of};
use super::canvas::{Align, Canvas, Line};
use super::colour::LINES;
use super::curve::draw_curve;
use super::density::PAGE;
use super::picture::Picture;
use super::text;

/// Names in a legend before the rest is only counted: one for each axis of the torus.
const NAMES_MAX: usize = 9;
/// Dash patterns, for the first, second and third use of the same colours.
const DASHES: [&[f32]; 3] = [&[], &[5.0, 3.0], &[1.5, 2.5]];
/// Room above the first panel and below the last one.
const TOP: f32 = 40.0;
const BOTTOM: f32 = 60.0;
/// Room above each panel for its title.
const HEAD: f32 = 26.0;

/// One panel of [`series`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Panel {
    /// What is drawn and its unit, such as "norm drift" or "energy (ħω)"; shown above the panel.
    pub title: String,
    /// Logarithmic vertical axis: values ≤ 0 are left out and counted.
    pub log: bool,
    /// Name and values of each curve, one value per x.
    pub curves: Vec<(String, Vec<f64>)>,
}

/// Draws stacked panels of curves over the same `xs` (usually time); `x_label` names that axis and its unit.
///
/// A curve longer than `xs` is cut; of a shorter one, what is there is drawn. Long series keep their peaks.
#[must_use]
pub fn series(title: &str, x_label: &str, xs: &[f64], panels: &[Panel]) -> Picture {
    let height = match panels.len() {
        0 | 1 => PAGE.1 - TOP - BOTTOM - HEAD,
        2 => 180.0,
        3..=5 => 130.0,
        _ => 96.0,
    };
    let n_rows = panels.len().max(1);
    let mut canvas = Canvas::new(PAGE.0, TOP + BOTTOM + n_rows as f32 * (HEAD + height));
    let title = text::fit(title, TITLE.size, TITLE.weight, PAGE.0 - 40.0);
    canvas.text(PAGE.0 / 2.0, 24.0, &title, Align::Centre, TITLE);
    let (low, high) = range_of(xs.iter().copied(), |_| true).unwrap_or((0.0, 1.0));
    let across = Axis::exact(low, high, 7);
    let n_ticks = (height / 28.0) as usize;
    let empty = Panel::default();
    for row in 0..n_rows {
        let panel = panels.get(row).unwrap_or(&empty);
        let up = up_axis(panel, n_ticks.clamp(3, 7));
        let y = TOP + row as f32 * (HEAD + height) + HEAD - 10.0;
        let frame = Frame { x: 74.0, y, width: 540.0, height, across: across.clone(), up };
        let is_last = row + 1 == n_rows;
        draw_panel(&mut canvas, &frame, xs, panel, is_last);
        if is_last {
            frame.draw_x_label(&mut canvas, x_label);
        }
    }
    canvas.finish()
}

/// The vertical axis that holds all the panel's values.
fn up_axis(panel: &Panel, n_ticks: usize) -> Axis {
    let values = panel.curves.iter().flat_map(|(_, values)| values.iter().copied());
    if panel.log {
        Axis::logarithmic(range_of(values, |value| value > 0.0), n_ticks)
    } else {
        Axis::around(range_of(values, |_| true), n_ticks)
    }
}

fn draw_panel(canvas: &mut Canvas, frame: &Frame, xs: &[f64], panel: &Panel, is_last: bool) {
    frame.draw_grid(canvas);
    let (mut n_drawn, mut n_total) = (0, 0);
    for (index, (_, values)) in panel.curves.iter().enumerate() {
        draw_curve(canvas, frame, xs, values, style(index));
        n_total += xs.len().min(values.len());
        let drawable =
            |(x, y): &(&f64, &f64)| super::drawable(**x) && super::drawable(**y) && (!panel.log || **y > 0.0);
        n_drawn += xs.iter().zip(values).filter(drawable).count();
    }
    frame.draw_axes(canvas, is_last);
    if n_drawn == 0 {
        frame.draw_message(canvas, if panel.log && n_total > 0 { "no positive values" } else { "no data" });
    } else if n_drawn < n_total {
        let why = if panel.log { "not positive or not finite" } else { "not finite" };
        let note = format!("{} of {n_total} values {why}", n_total - n_drawn);
        let (x, y) = (frame.x + frame.width - 5.0, frame.y + frame.height - 6.0);
        canvas.text(x, y, &note, Align::Right, NOTE);
    }
    draw_head(canvas, frame, panel);
}

/// Title, shared factor and legend above a panel.
fn draw_head(canvas: &mut Canvas, frame: &Frame, panel: &Panel) {
    let y = frame.y - 7.0;
    let factor = if frame.up.note.is_empty() { String::new() } else { format!("   [{}]", frame.up.note) };
    let title = text::fit(&format!("{}{factor}", panel.title), LABEL.size, LABEL.weight, frame.width * 0.6);
    canvas.text(frame.x, y, &title, Align::Left, LABEL);
    if let [(name, _)] = panel.curves.as_slice()
        && (name.is_empty() || *name == panel.title)
    {
        return;
    }
    let room = frame.width - text::width(&title, LABEL.size, LABEL.weight) - 24.0;
    let entries = legend_entries(panel, room);
    let mut x = frame.x + frame.width;
    for (name, index) in entries.iter().rev() {
        canvas.text(x, y, name, Align::Right, LABEL);
        x -= text::width(name, LABEL.size, LABEL.weight);
        if let Some(index) = index {
            canvas.line(&[(x - 20.0, y - 4.0), (x - 5.0, y - 4.0)], style(*index));
            x -= 20.0;
        }
        x -= 14.0;
    }
}

/// Names with the index of their curve that fit into `room`; the rest as a count without a curve.
fn legend_entries(panel: &Panel, room: f32) -> Vec<(String, Option<usize>)> {
    let mut entries = Vec::new();
    let mut used = 0.0;
    for (index, (name, _)) in panel.curves.iter().enumerate() {
        let name = text::fit(name, LABEL.size, LABEL.weight, 150.0);
        let width = text::width(&name, LABEL.size, LABEL.weight) + 34.0;
        if index == NAMES_MAX || used + width > room - 50.0 {
            entries.push((format!("+ {} more", panel.curves.len() - index), None));
            break;
        }
        used += width;
        entries.push((name, Some(index)));
    }
    entries
}

fn style(index: usize) -> Line {
    let dash = DASHES[index / LINES.len() % DASHES.len()];
    Line { width: 1.4, colour: LINES[index % LINES.len()], dash }
}
