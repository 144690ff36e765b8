//! The drawing surface: anti-aliased lines, areas, text and pixel blocks on white.
//! Invariant: coordinates are layout units (two pixels each); whatever is off the surface is silently cut.
//! Rasteriser: tiny-skia (a port of Skia's software path pipeline).

use tiny_skia::{
    FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Stroke, StrokeDash,
    Transform,
};

use super::colour::Rgb;
use super::picture::Picture;
use super::text::{self, Weight};

/// Pixels per layout unit: text of 11 units is 22 pixels high, sharp on screens and in print.
pub(super) const SCALE: f32 = 2.0;
/// Longest side of a picture in layout units; 16,000 pixels.
const SIDE_MAX: f32 = 8_000.0;

/// Where a text sits relative to its anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// Size, weight and colour of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letters {
    pub size: f32,
    pub weight: Weight,
    pub colour: Rgb,
}

/// Width, colour and dash pattern (empty: solid) of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub width: f32,
    pub colour: Rgb,
    pub dash: &'static [f32],
}

/// A white surface being drawn on.
pub(super) struct Canvas {
    pixmap: Pixmap,
}

impl Canvas {
    /// A white surface of `width` × `height` layout units (clamped to 1 … 8,000).
    pub fn new(width: f32, height: f32) -> Canvas {
        let pixels = |units: f32| (units.clamp(1.0, SIDE_MAX) * SCALE).round() as u32;
        let mut pixmap =
            Pixmap::new(pixels(width), pixels(height)).expect("sides are between 1 and 16,000 pixels");
        pixmap.fill(tiny_skia::Color::WHITE);
        Canvas { pixmap }
    }

    /// Draws the open polyline through `points`.
    pub fn line(&mut self, points: &[(f32, f32)], line: Line) {
        if let Some(path) = path_through(points) {
            let stroke = Stroke {
                width: line.width,
                line_cap: if line.dash.is_empty() { LineCap::Square } else { LineCap::Butt },
                line_join: LineJoin::Round,
                dash: StrokeDash::new(line.dash.to_vec(), 0.0),
                ..Stroke::default()
            };
            let transform = Transform::from_scale(SCALE, SCALE);
            self.pixmap.stroke_path(&path, &paint(line.colour), &stroke, transform, None);
        }
    }

    /// A filled disc.
    pub fn disc(&mut self, x: f32, y: f32, radius: f32, colour: Rgb) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&path, colour, Transform::from_scale(SCALE, SCALE));
        }
    }

    /// A circle of the given line width.
    pub fn circle(&mut self, x: f32, y: f32, radius: f32, width: f32, colour: Rgb) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            let stroke = Stroke { width, ..Stroke::default() };
            let transform = Transform::from_scale(SCALE, SCALE);
            self.pixmap.stroke_path(&path, &paint(colour), &stroke, transform, None);
        }
    }

    /// One line of text with its baseline at y.
    pub fn text(&mut self, x: f32, y: f32, text: &str, align: Align, letters: Letters) {
        let x = x - align_shift(text, align, letters);
        self.fill_text(text, letters, Transform::from_scale(SCALE, SCALE).pre_translate(x, y));
    }

    /// One line of text reading upwards, centred on y, with its baseline at x.
    pub fn text_upwards(&mut self, x: f32, y: f32, text: &str, letters: Letters) {
        let y = y + align_shift(text, Align::Centre, letters);
        let transform = Transform::from_scale(SCALE, SCALE).pre_translate(x, y).pre_rotate(-90.0);
        self.fill_text(text, letters, transform);
    }

    /// Sets pixels directly: `colour(i, j)` for the pixel i from the left, j from the top of the block at (x, y).
    pub fn block(
        &mut self,
        (x, y): (f32, f32),
        (width, height): (usize, usize),
        mut colour: impl FnMut(usize, usize) -> Option<Rgb>,
    ) {
        let (x0, y0) = ((x * SCALE).round().max(0.0) as usize, (y * SCALE).round().max(0.0) as usize);
        let (full_width, full_height) = (self.pixmap.width() as usize, self.pixmap.height() as usize);
        let pixels = self.pixmap.pixels_mut();
        for j in 0..height.min(full_height.saturating_sub(y0)) {
            for i in 0..width.min(full_width.saturating_sub(x0)) {
                if let Some(value) = colour(i, j).and_then(opaque) {
                    pixels[(y0 + j) * full_width + x0 + i] = value;
                }
            }
        }
    }

    /// Copies a finished picture with its top left corner at (x, y).
    pub fn picture(&mut self, x: f32, y: f32, picture: &Picture) {
        self.block((x, y), (picture.width, picture.height), |i, j| {
            let at = 3 * (j * picture.width + i);
            picture.rgb.get(at..at + 3).map(|c| [c[0], c[1], c[2]])
        });
    }

    /// The finished raster.
    pub fn finish(self) -> Picture {
        let (width, height) = (self.pixmap.width() as usize, self.pixmap.height() as usize);
        let rgb = self.pixmap.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect();
        Picture { width, height, rgb }
    }

    fn fill_text(&mut self, text: &str, letters: Letters, transform: Transform) {
        if let Some(path) = text::outline(text, letters.size, letters.weight) {
            self.fill(&path, letters.colour, transform);
        }
    }

    fn fill(&mut self, path: &Path, colour: Rgb, transform: Transform) {
        self.pixmap.fill_path(path, &paint(colour), FillRule::Winding, transform, None);
    }
}

fn opaque([red, green, blue]: Rgb) -> Option<PremultipliedColorU8> {
    PremultipliedColorU8::from_rgba(red, green, blue, 255)
}

fn paint([red, green, blue]: Rgb) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, 255);
    paint
}

fn align_shift(text: &str, align: Align, letters: Letters) -> f32 {
    let width = text::width(text, letters.size, letters.weight);
    match align {
        Align::Left => 0.0,
        Align::Centre => width / 2.0,
        Align::Right => width,
    }
}

fn path_through(points: &[(f32, f32)]) -> Option<Path> {
    let (&(x, y), rest) = points.split_first()?;
    let mut path = PathBuilder::with_capacity(points.len() + 1, points.len());
    path.move_to(x, y);
    for &(x, y) in rest {
        path.line_to(x, y);
    }
    path.finish()
}
