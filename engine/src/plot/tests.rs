//! Whole pictures: PNG round trip, ticks, colours where the data say so, and broken data.

use super::axes::{Axis, linear_ticks, number};
use super::colour::{MISSING, phase_colour, viridis};
use super::*;

/// The colour at a share (0 … 1) of the picture's width and height from the top left.
fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
    let at = 3 * (y * picture.width + x);
    [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]]
}

fn count(picture: &Picture, colour: [u8; 3]) -> usize {
    picture.rgb.chunks_exact(3).filter(|rgb| **rgb == colour).count()
}

fn consistent(picture: &Picture) {
    assert!(picture.width > 0 && picture.height > 0);
    assert_eq!(picture.rgb.len(), 3 * picture.width * picture.height);
}

#[test]
fn png_decodes_to_the_same_pixels() {
    let picture = density_plane("Plane", ("x", "y"), (0.0, 1.0, 0.0, 1.0), 2, 2, &[0.0, 1.0, 2.0, 3.0]);
    let bytes = picture.to_png();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG header");
    let mut rgb = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut rgb).expect("a PNG frame");
    assert_eq!((info.width as usize, info.height as usize), (picture.width, picture.height));
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    assert_eq!(rgb, picture.rgb);
}

#[test]
fn ticks_are_round_inside_and_neither_few_nor_many() {
    for k in 0..400 {
        let span = 10f64.powf(f64::from(k % 37) / 2.0 - 9.0) * 1.37;
        let low = span * f64::from(k - 200) * 0.77;
        let high = low + span;
        let ticks = linear_ticks(low, high, 7);
        assert!((4..=11).contains(&ticks.len()), "{low} … {high}: {ticks:?}");
        assert!(ticks.iter().all(|t| *t >= low - 1e-5 * span && *t <= high + 1e-5 * span), "{ticks:?}");
        let step = ticks[1] - ticks[0];
        let mantissa = step / 10f64.powf((step * 1.000_01).log10().floor());
        assert!([1.0, 2.0, 5.0].iter().any(|m| (mantissa - m).abs() < 1e-3), "step {step}");
    }
}

#[test]
fn labels_differ_and_share_factor_or_offset() {
    let labels = |axis: &Axis| axis.ticks.iter().map(|t| t.label.clone()).collect::<Vec<_>>();
    let axis = Axis::exact(-1.0, 1.0, 5);
    assert_eq!(labels(&axis), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
    let axis = Axis::exact(0.0, 3e-7, 4);
    assert_eq!(
        (labels(&axis), axis.note.as_str()),
        (["0", "1", "2", "3"].map(String::from).to_vec(), "×10⁻⁷")
    );
    let axis = Axis::exact(1.25, 1.25 + 4e-9, 5);
    assert_eq!((labels(&axis)[1].as_str(), axis.note.as_str()), ("1", "×10⁻⁹ + 1.25"));
    let axis = Axis::exact(1000.0, 1000.5, 6);
    assert_eq!((labels(&axis)[1].as_str(), axis.note.as_str()), ("0.1", "+ 1000"));
    let axis = Axis::logarithmic(Some((1e-15, 1e-3)), 5);
    assert!(labels(&axis).contains(&"10⁻⁹".to_owned()), "{:?}", labels(&axis));
    for (low, high) in
        [(3.0, 3.0), (0.0, 0.0), (f64::NAN, f64::INFINITY), (1.0, 1.0 + 1e-15), (-1e300, 1e300)]
    {
        let axis = Axis::exact(low, high, 6);
        assert!(axis.low < axis.high && axis.low.is_finite() && axis.high.is_finite(), "{low} … {high}");
        let mut distinct = labels(&axis);
        distinct.dedup();
        assert_eq!(distinct, labels(&axis), "{low} … {high}");
        assert!(distinct.len() >= 2, "{low} … {high}: {distinct:?}");
    }
}

#[test]
fn numbers_read_well() {
    let cases = [(0.0, "0"), (12.3456, "12.35"), (-0.5, "−0.5"), (1.2345e7, "1.234×10⁷"), (1e-9, "1×10⁻⁹")];
    for (value, text) in cases {
        assert_eq!(number(value), text);
    }
}

#[test]
fn row_zero_is_at_the_bottom_and_nodes_are_blocks() {
    let picture = density_plane("", ("", ""), (0.0, 1.0, 0.0, 1.0), 2, 2, &[0.0, 1.0, 2.0, 3.0]);
    // The square of 390 units starts at x = 76 + (446 − 390)/2 = 104, y = 46.
    let at = |x: usize, y: usize| pixel(&picture, 2 * (104 + x), 2 * (46 + y));
    assert_eq!(at(97, 290), viridis(0.0));
    assert_eq!(at(290, 290), viridis(1.0 / 3.0));
    assert_eq!(at(97, 97), viridis(2.0 / 3.0));
    assert_eq!(at(290, 97), viridis(1.0));
}

#[test]
fn a_plane_shows_phase_and_amplitude() {
    let picture = wave_plane("", ("", ""), (0.0, 3.0, 0.0, 1.0), 2, 1, &[(2.0, 0.0), (0.0, -1.0)]);
    let at = |x: usize| pixel(&picture, 2 * x, 2 * 241);
    assert_eq!(at(76 + 110), phase_colour(0.0, 1.0, 1.0));
    assert_eq!(at(76 + 330), phase_colour(-std::f64::consts::FRAC_PI_2, 0.5, 1.0));
}

#[test]
fn averaging_keeps_the_mean_and_skips_missing_nodes() {
    let (n, pixels) = (1000, 7);
    let value = |i: usize, j: usize| (i * 31 + j * 17) as f64 % 10.0;
    let averaged = super::resample::resample((n, n), (pixels, pixels), |i, j| Some([value(i, j)]));
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let before = mean((0..n * n).map(|k| value(k % n, k / n)).collect());
    let after = mean(averaged.into_iter().flatten().map(|[v]| v).collect());
    assert!((before - after).abs() < 1e-9, "{before} became {after}");
    for n in [3, 48, 200] {
        let averaged = super::resample::resample((n, n), (150, 150), |_, _| Some([2.5]));
        assert!(averaged.iter().all(|v| v.is_some_and(|[v]| (v - 2.5).abs() < 1e-12)), "{n} nodes");
        let hole = super::resample::resample((n, n), (150, 150), |i, j| ((i, j) != (1, 2)).then_some([2.5]));
        assert_eq!(hole.contains(&None), n <= 150, "{n} nodes");
    }
    let gap = super::resample::resample((4, 1), (2, 1), |i, _| (i == 1).then_some([5.0]));
    assert_eq!(gap, [Some([5.0]), None]);
}

#[test]
fn missing_nodes_are_grey_and_the_rest_keeps_its_colour() {
    let whole = density_plane("", ("", ""), (0.0, 1.0, 0.0, 1.0), 3, 1, &[0.0, 0.5, 1.0]);
    let holed = density_plane("", ("", ""), (0.0, 1.0, 0.0, 1.0), 3, 1, &[0.0, f64::NAN, 1.0]);
    assert_eq!(count(&whole, MISSING), 0);
    assert!(count(&holed, MISSING) > 100_000);
    assert_eq!(pixel(&whole, 2 * 120, 300), pixel(&holed, 2 * 120, 300));
}

#[test]
fn broken_data_never_panic() {
    let bad = [f64::NAN, f64::INFINITY, -f64::INFINITY, f64::MAX, -f64::MAX, 5e-324, 0.0, -0.0, 1.0];
    let waves: Vec<(f64, f64)> = bad.iter().flat_map(|re| bad.map(|im| (*re, im))).collect();
    let xs: Vec<f64> = waves.iter().map(|wave| wave.0).collect();
    let ys: Vec<f64> = waves.iter().map(|wave| wave.1).collect();
    for n in [0, 1, 2, 3, xs.len()] {
        consistent(&wave_line("t", "x", &xs[..n], &waves));
        consistent(&wave_line("t", "x", &ys, &waves[..n]));
        consistent(&density_line("t", "x", &ys[..n], &xs));
        for log in [false, true] {
            let panel = Panel { title: "p".into(), log, curves: vec![("c".into(), ys[..n].to_vec())] };
            consistent(&series("t", "x", &xs, &[panel.clone(), Panel::default(), panel]));
        }
    }
    for x in bad {
        consistent(&density_plane("t", ("x", "y"), (x, 1.0, 0.0, x), 3, 3, &ys[..9]));
        consistent(&density_line("t", "x", &[1.0, 2.0, 3.0], &[x; 3]));
        consistent(&wave_plane("t", ("x", "y"), (0.0, 1.0, 0.0, 1.0), 9, 9, &waves));
    }
    consistent(&series("", "", &[], &[]));
    consistent(&wave_plane("", ("", ""), (0.0, 1.0, 0.0, 1.0), 0, 0, &[]));
    consistent(&density_plane("", ("", ""), (0.0, 1.0, 0.0, 1.0), usize::MAX, 2, &[1.0]));
    consistent(&density_plane("", ("", ""), (0.0, 1.0, 0.0, 1.0), 1, 1, &[1.0]));
}

#[test]
fn odd_texts_are_cut_to_their_room() {
    let long = "Ψ — a title that never ends ".repeat(400);
    let names = (0..40).map(|k| (format!("{long} {k}"), vec![1.0, 2.0])).collect();
    let picture =
        series(&long, &long, &[0.0, 1.0], &[Panel { title: long.clone(), log: false, curves: names }]);
    let page = overview(&long, &[&long, "", "漢字 \u{202e}\n\t"], &[picture.clone(), picture]);
    consistent(&page);
}

#[test]
fn the_overview_holds_every_picture_unscaled() {
    let colours = [[200, 10, 10], [10, 200, 10], [10, 10, 200], [9, 99, 199], [77, 7, 177]];
    let solid = |rgb: &[u8; 3], k: usize| {
        let (width, height) = (700 + 2 * k, 30 + 8 * k);
        Picture { width, height, rgb: rgb.repeat(width * height) }
    };
    for n in 0..=colours.len() {
        let pictures: Vec<Picture> = colours[..n].iter().enumerate().map(|(k, rgb)| solid(rgb, k)).collect();
        let page = overview("Page", &["one line", "another"], &pictures);
        consistent(&page);
        for (picture, colour) in pictures.iter().zip(colours) {
            assert_eq!(count(&page, colour), picture.width * picture.height, "of {n}");
        }
    }
}
