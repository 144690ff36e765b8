//! Reductions against plain sums, and their independence of threads and levels.

use super::*;
use crate::Crew;

fn field(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} {expected}");
}

#[test]
fn sums_match_plain_loops_on_every_level_and_pool() {
    let nodes = 5003;
    let (re, im, v, g) = (field(3 * nodes, 1), field(3 * nodes, 2), field(3 * nodes, 3), field(3 * nodes, 4));
    let pages: Vec<PageRef<'_, f32>> =
        re.chunks(nodes).zip(im.chunks(nodes)).map(|(re, im)| PageRef { re, im }).collect();
    let other: Vec<PageRef<'_, f32>> =
        v.chunks(nodes).zip(g.chunks(nodes)).map(|(re, im)| PageRef { re, im }).collect();
    let (vs, gs): (Vec<_>, Vec<_>) = (v.chunks(nodes).collect(), g.chunks(nodes).collect());
    let mut plain = Totals::default();
    let mut product = (0.0, 0.0);
    for i in 0..3 * nodes {
        let (x, y, v, g) = (f64::from(re[i]), f64::from(im[i]), f64::from(v[i]), f64::from(g[i]));
        let d = x * x + y * y;
        plain.norm2 += d;
        plain.quartic += d * d;
        plain.potential += v * d;
        plain.damping += g * d;
        plain.max_abs2 = plain.max_abs2.max(d);
        product = (product.0 + x * v + y * g, product.1 + x * g - y * v);
    }
    let crew = Crew::new(3).expect("threads");
    let (potential, damping) = (Values::PerNode(&vs[..]), Values::PerNode(&gs[..]));
    let first = totals(Level::Scalar, Threads::Serial, &pages, potential, damping);
    for level in Level::available() {
        for threads in [Threads::Serial, Threads::Crew(&crew)] {
            assert_eq!(totals(level, threads, &pages, potential, damping), first);
            assert_eq!(
                norm2(level, threads, &pages).to_bits(),
                norm2(Level::Scalar, Threads::Serial, &pages).to_bits()
            );
        }
    }
    near(first.norm2, plain.norm2);
    near(norm2(Level::detect(), Threads::Serial, &pages), plain.norm2);
    near(first.quartic, plain.quartic);
    near(first.potential, plain.potential);
    near(first.damping, plain.damping);
    near(first.max_abs2, plain.max_abs2);
    let found = inner(&pages, &other);
    near(found.0, product.0);
    near(found.1, product.1);
}

#[test]
fn what_is_not_finite_is_counted() {
    let mut re = field(100, 1);
    let im = field(100, 2);
    re[3] = f32::NAN;
    re[77] = f32::INFINITY;
    let none = Values::Uniform(0.0);
    for level in Level::available() {
        let sum = totals(level, Threads::Serial, &[PageRef { re: &re, im: &im }], none, none);
        assert_eq!(sum.n_nonfinite, 2);
    }
}

#[test]
fn moments_of_rings_have_the_same_bits_at_every_level_and_thread_count() {
    let crew = Crew::new(3).unwrap();
    let shape = Shape { extents: vec![3; 7], page_nodes: 243 };
    let (re, im) = (field(shape.n_nodes(), 5), field(shape.n_nodes(), 6));
    let pages: Vec<_> =
        re.chunks(243).zip(im.chunks(243)).map(|(re, im)| PageRef::<f32> { re, im }).collect();
    for axis in 0..7 {
        let first = spectral_moments(Level::Scalar, Threads::Serial, &shape, axis, &pages);
        near(first.weight, norm2(Level::Scalar, Threads::Serial, &pages));
        for level in Level::available() {
            for threads in [Threads::Serial, Threads::Crew(&crew)] {
                assert_eq!(spectral_moments(level, threads, &shape, axis, &pages), first, "axis {axis}");
            }
        }
    }
}

#[test]
fn moments_of_all_axes_are_those_of_each() {
    let crew = Crew::new(3).unwrap();
    for (extents, page_nodes) in [(vec![3; 9], 19_683), (vec![3; 9], 2_187), (vec![8, 5, 3], 120)] {
        let shape = Shape { extents, page_nodes };
        let (re, im) = (field(shape.n_nodes(), 5), field(shape.n_nodes(), 6));
        let pages = re.chunks(page_nodes).zip(im.chunks(page_nodes));
        let pages: Vec<_> = pages.map(|(re, im)| PageRef::<f32> { re, im }).collect();
        let level = Level::detect();
        let each = (0..shape.extents.len())
            .map(|axis| spectral_moments(level, Threads::Serial, &shape, axis, &pages));
        let each: Vec<_> = each.collect();
        for threads in [Threads::Serial, Threads::Crew(&crew)] {
            assert_eq!(spectral_moments_of_axes(level, threads, &shape, &pages), each);
        }
    }
}

#[test]
fn spectral_moments_of_plane_waves_and_parseval() {
    for (extents, page_nodes) in [
        (vec![3, 3, 3], 9),
        (vec![3, 3, 3, 3, 3], 243),
        (vec![5, 3, 3, 3, 3], 405),
        (vec![8, 5, 3], 15),
        (vec![12, 27], 54),
        (vec![5, 16], 16),
    ] {
        let shape = Shape { extents, page_nodes };
        let n = shape.n_nodes();
        for axis in 0..shape.extents.len() {
            let extent = shape.extents[axis];
            for mode in -((extent as i64 - 1) / 2)..=(extent as i64 / 2) {
                let angle = |i: usize| {
                    let at = (i / shape.stride(axis)) % extent;
                    std::f64::consts::TAU * mode as f64 * at as f64 / extent as f64
                };
                let (re, im): (Vec<f64>, Vec<f64>) = (0..n).map(|i| (angle(i).cos(), angle(i).sin())).unzip();
                let pages: Vec<PageRef<'_, f64>> = re
                    .chunks(page_nodes)
                    .zip(im.chunks(page_nodes))
                    .map(|(re, im)| PageRef { re, im })
                    .collect();
                let found = spectral_moments(Level::detect(), Threads::Serial, &shape, axis, &pages);
                let nyquist = 2 * mode == extent as i64;
                near(found.weight, n as f64);
                near(found.first, if nyquist { 0.0 } else { mode as f64 * n as f64 });
                near(found.second, (mode * mode) as f64 * n as f64);
            }
        }
    }
}
