//! Glyph outlines: lays out one line of text as a vector path.
//! Invariant: every character takes some width, so a text never collapses; unknown ones show the font's box.
//! Source: DejaVu Sans 2.37, regular and bold, cut to Latin, Greek and some mathematics (`font/LICENSE`).

use std::sync::OnceLock;

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

static REGULAR: &[u8] = include_bytes!("font/DejaVuSans.ttf");
static BOLD: &[u8] = include_bytes!("font/DejaVuSans-Bold.ttf");

/// Weight of the letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// The font of a weight; `None` only if the embedded file were damaged, and then text is simply not drawn.
fn face(weight: Weight) -> Option<&'static Face<'static>> {
    static FACES: OnceLock<[Option<Face<'static>>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| [REGULAR, BOLD].map(|bytes| Face::parse(bytes, 0).ok()));
    match weight {
        Weight::Regular => faces[0].as_ref(),
        Weight::Bold => faces[1].as_ref(),
    }
}

/// Walks over the glyphs of `text`: calls `place(glyph, x)` with x in font units; returns the total advance.
fn walk(face: &Face<'_>, text: &str, mut place: impl FnMut(GlyphId, f32)) -> f32 {
    let mut x = 0.0;
    let mut before = None;
    for character in text.chars() {
        let glyph = face.glyph_index(character).unwrap_or(GlyphId(0));
        if let Some(left) = before {
            x += kerning(face, left, glyph);
        }
        place(glyph, x);
        x += f32::from(face.glyph_hor_advance(glyph).unwrap_or(face.units_per_em() / 2));
        before = Some(glyph);
    }
    x
}

fn kerning(face: &Face<'_>, left: GlyphId, right: GlyphId) -> f32 {
    let tables = face.tables().kern.iter().flat_map(|kern| kern.subtables);
    let shift = tables.filter(|table| table.horizontal).find_map(|table| table.glyphs_kerning(left, right));
    f32::from(shift.unwrap_or(0))
}

/// Width of `text` at `size` (height of the em square), in the same unit as `size`.
pub(super) fn width(text: &str, size: f32, weight: Weight) -> f32 {
    face(weight).map_or(0.0, |face| walk(face, text, |_, _| ()) * size / f32::from(face.units_per_em()))
}

/// `text` cut with an ellipsis so that it is at most `room` wide.
pub(super) fn fit(text: &str, size: f32, weight: Weight, room: f32) -> String {
    let mut kept: String = text.chars().take(400).collect();
    if kept.len() == text.len() && width(&kept, size, weight) <= room {
        return kept;
    }
    while kept.pop().is_some() {
        let shortened = format!("{}…", kept.trim_end());
        if width(&shortened, size, weight) <= room {
            return shortened;
        }
    }
    String::new()
}

/// The outline of `text` with its baseline starting at the origin, y downwards; `None` for blank text.
pub(super) fn outline(text: &str, size: f32, weight: Weight) -> Option<Path> {
    let face = face(weight)?;
    let scale = size / f32::from(face.units_per_em());
    let mut pen = Pen { path: PathBuilder::new(), x: 0.0, scale };
    walk(face, text, |glyph, x| {
        pen.x = x;
        face.outline_glyph(glyph, &mut pen);
    });
    pen.path.finish()
}

/// Receives outlines in font units, y upwards, and appends them to a path.
struct Pen {
    path: PathBuilder,
    x: f32,
    scale: f32,
}

impl Pen {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        ((self.x + x) * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
