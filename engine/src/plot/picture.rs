//! The finished raster and its PNG form.
//! Invariant: `rgb.len() == 3 · width · height`. Format: PNG (ISO/IEC 15948), 8-bit RGB, written by the `png` crate.

/// An 8-bit RGB raster, row-major from the top left corner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `3 · width · height` bytes: red, green, blue of each pixel.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// The picture as the bytes of a PNG file (8-bit RGB, sRGB).
    ///
    /// # Panics
    /// Panics when `rgb` doesn't hold `3 · width · height` bytes or a side is 0: pictures made by this module never do.
    #[must_use]
    pub fn to_png(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_source_srgb(png::SrgbRenderingIntent::RelativeColorimetric);
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&self.rgb));
        assert!(written.is_ok(), "a {}x{} picture with {} bytes", self.width, self.height, self.rgb.len());
        bytes
    }
}
