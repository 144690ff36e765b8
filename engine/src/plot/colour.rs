//! Colour maps: phase as OKLCH hue, density as viridis, and distinct line colours.
//! Invariant: every function returns a colour for every input; outside ranges clamp, NaN gives [`MISSING`].
//!
//! Sources: B. Ottosson, "A perceptual color space for image processing" (2020), for OKLab; S. van der Walt and
//! N. Smith's viridis (matplotlib, CC0), sampled at k/15; M. Okabe and K. Ito (2008) for the line colours.

use std::f64::consts::TAU;

/// Red, green and blue, 8-bit sRGB.
pub type Rgb = [u8; 3];

/// Nodes without a value.
pub const MISSING: Rgb = [190, 190, 190];
/// Text and axes.
pub const INK: Rgb = [34, 34, 34];
/// Secondary text.
pub const FAINT_INK: Rgb = [105, 105, 105];
/// Grid lines.
pub const GRID: Rgb = [228, 228, 228];
/// Distinguishable line colours, also with colour-blind eyes; cycled.
pub const LINES: [Rgb; 7] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [86, 180, 233],
    [230, 159, 0],
    [60, 60, 60],
];

/// Lightness of the phase colours at full amplitude.
const PHASE_LIGHTNESS: f64 = 0.75;
/// Chroma of the phase colours: the largest round value for which all hues at that lightness are inside sRGB.
const PHASE_CHROMA: f64 = 0.125;
/// OKLCH hue of phase 0, in radians: red (29 degrees), so that π is cyan, π/2 yellow-green and −π/2 blue-violet.
const PHASE_HUE_ZERO: f64 = 29.0 / 360.0 * TAU;

/// Viridis at k/15, k = 0 … 15.
const VIRIDIS: [Rgb; 16] = [
    [68, 1, 84],
    [72, 26, 108],
    [71, 47, 125],
    [65, 68, 135],
    [57, 86, 140],
    [49, 104, 142],
    [42, 120, 142],
    [35, 136, 142],
    [31, 152, 139],
    [34, 168, 132],
    [53, 183, 121],
    [84, 197, 104],
    [122, 209, 81],
    [165, 219, 54],
    [210, 226, 27],
    [253, 231, 37],
];

/// Amplitude–phase colour: the hue is `phase` (radians), the brightness `amplitude` in 0 … 1 (0 is black, 1 the
/// full colour), and `coherence` in 0 … 1 scales the chroma (0 is grey: a pixel whose nodes disagree in phase).
///
/// Lightness and chroma both grow with the amplitude, along a ray of OKLab that stays inside sRGB.
#[must_use]
pub fn phase_colour(phase: f64, amplitude: f64, coherence: f64) -> Rgb {
    if phase.is_nan() || amplitude.is_nan() || coherence.is_nan() {
        return MISSING;
    }
    let amplitude = amplitude.clamp(0.0, 1.0);
    let hue = PHASE_HUE_ZERO + if phase.is_finite() { phase } else { 0.0 };
    let chroma = PHASE_CHROMA * coherence.clamp(0.0, 1.0);
    oklab(PHASE_LIGHTNESS * amplitude, amplitude * chroma * hue.cos(), amplitude * chroma * hue.sin()).0
}

/// Viridis at `value` in 0 … 1.
#[must_use]
pub fn viridis(value: f64) -> Rgb {
    if value.is_nan() {
        return MISSING;
    }
    let position = value.clamp(0.0, 1.0) * 15.0;
    let low = (position as usize).min(14);
    let weight = position - low as f64;
    let mix = |k: usize| {
        let (a, b) = (f64::from(VIRIDIS[low][k]), f64::from(VIRIDIS[low + 1][k]));
        (a + (b - a) * weight).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

/// OKLab to sRGB; the flag says whether the colour is inside sRGB (if not, channels are clamped).
fn oklab(lightness: f64, a: f64, b: f64) -> (Rgb, bool) {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let linear = [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ];
    let inside = linear.iter().all(|c| (-1e-6..=1.0 + 1e-6).contains(c));
    (linear.map(|c| (encode_srgb(c.clamp(0.0, 1.0)) * 255.0).round() as u8), inside)
}

/// The sRGB transfer function (IEC 61966-2-1).
fn encode_srgb(linear: f64) -> f64 {
    if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OKLab lightness of an sRGB colour, by the inverse of Ottosson's matrices.
    fn lightness(rgb: Rgb) -> f64 {
        let [r, g, b] = rgb.map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        let l = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
        let m = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
        let s = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s
    }

    #[test]
    fn viridis_grows_lighter_throughout() {
        let steps: Vec<f64> = (0..=60).map(|k| lightness(viridis(f64::from(k) / 60.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[1] > pair[0]), "{steps:?}");
        assert_eq!((viridis(-3.0), viridis(7.0)), (VIRIDIS[0], VIRIDIS[15]));
    }

    #[test]
    fn every_hue_at_full_amplitude_is_inside_srgb_and_equally_light() {
        for degree in 0..360 {
            let hue = f64::from(degree).to_radians();
            let (_, inside) = oklab(PHASE_LIGHTNESS, PHASE_CHROMA * hue.cos(), PHASE_CHROMA * hue.sin());
            assert!(inside, "hue {degree} degrees leaves sRGB");
            let light = lightness(phase_colour(hue, 1.0, 1.0));
            assert!((light - PHASE_LIGHTNESS).abs() < 0.004, "hue {degree} degrees has lightness {light}");
        }
    }

    #[test]
    fn the_hue_is_cyclic_and_continuous() {
        let n = 720;
        let wheel: Vec<Rgb> =
            (0..=n).map(|k| phase_colour(TAU * f64::from(k) / f64::from(n) - TAU / 2.0, 1.0, 1.0)).collect();
        assert_eq!(wheel.first(), wheel.last());
        for (k, colour) in wheel.iter().enumerate() {
            let turns_later = TAU * k as f64 / f64::from(n) + 4.5 * TAU;
            assert_eq!(phase_colour(turns_later, 1.0, 1.0), *colour, "step {k}");
        }
        for pair in wheel.windows(2) {
            let step = pair[0].iter().zip(pair[1]).map(|(a, b)| a.abs_diff(b)).max();
            assert!(step <= Some(6), "{pair:?}");
        }
        assert!(
            wheel[0].iter().zip(wheel[n as usize / 2]).any(|(a, b)| a.abs_diff(b) > 60),
            "0 and π look alike"
        );
    }

    #[test]
    fn no_input_leaves_the_maps_without_a_colour() {
        assert_eq!(viridis(f64::NAN), MISSING);
        assert_eq!(phase_colour(f64::NAN, 1.0, 1.0), MISSING);
        assert_eq!(phase_colour(f64::INFINITY, 0.0, 1.0), [0, 0, 0]);
        assert_eq!(phase_colour(1.0, f64::INFINITY, 1.0), phase_colour(1.0, 1.0, 1.0));
    }
}
