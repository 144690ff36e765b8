//! The overview page: several pictures below a common title.
//! Invariant: pictures are copied pixel for pixel, never scaled; each goes to the column that is shortest so far.

use super::axes::{LABEL, TITLE};
use super::canvas::{Align, Canvas, Letters, SCALE};
use super::colour::FAINT_INK;
use super::picture::Picture;
use super::text;

/// Space around and between pictures.
const GAP: f32 = 14.0;

/// Composes pictures into one page with a title and smaller lines below it: one, two or three columns.
///
/// A page whose columns would be longer than 16,000 pixels is cut there.
#[must_use]
pub fn overview(title: &str, subtitle: &[&str], pictures: &[Picture]) -> Picture {
    let n_columns = match pictures.len() {
        0 | 1 => 1,
        2..=4 => 2,
        _ => 3,
    };
    let units = |pixels: usize| pixels as f32 / SCALE;
    let widest = pictures.iter().map(|picture| units(picture.width)).fold(320.0, f32::max);
    let head = 52.0 + 17.0 * subtitle.len() as f32;
    let mut lengths = vec![head; n_columns];
    let mut places = Vec::with_capacity(pictures.len());
    for picture in pictures {
        let column = (0..n_columns).min_by(|a, b| lengths[*a].total_cmp(&lengths[*b])).unwrap_or(0);
        places.push((GAP + column as f32 * (widest + GAP), lengths[column]));
        lengths[column] += units(picture.height) + GAP;
    }
    let width = GAP + n_columns as f32 * (widest + GAP);
    let mut canvas = Canvas::new(width, lengths.iter().copied().fold(head, f32::max));
    let heading = Letters { size: 20.0, ..TITLE };
    let line = Letters { size: 12.0, colour: FAINT_INK, ..LABEL };
    let fitted =
        |words: &str, letters: Letters| text::fit(words, letters.size, letters.weight, width - 4.0 * GAP);
    canvas.text(2.0 * GAP, 36.0, &fitted(title, heading), Align::Left, heading);
    for (k, words) in subtitle.iter().enumerate() {
        canvas.text(2.0 * GAP, 56.0 + 17.0 * k as f32, &fitted(words, line), Align::Left, line);
    }
    for (picture, (x, y)) in pictures.iter().zip(places) {
        canvas.picture(x.round(), y.round(), picture);
    }
    canvas.finish()
}
