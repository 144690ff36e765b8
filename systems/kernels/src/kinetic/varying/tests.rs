//! Varying metrics against the exponential of the dense matrix, and the plans against each other.

use super::*;
use crate::Crew;
use crate::field::PageRef;
use crate::kinetic::fibre::{derivative, diagonalise};
use crate::kinetic::{Kinetic, gradient};
use crate::reduce;

const RULE: RemainderRule = RemainderRule { every: 1, vectors: 3 };

fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        })
        .collect()
}

/// A metric with every component at random, on cells of the given shape.
fn metric(extents: &[usize], page_nodes: usize, cell: &[usize], off_diagonal: f64) -> Diffusion {
    let shape = Shape { extents: extents.to_vec(), page_nodes };
    let spacing = (0..extents.len()).map(|d| 0.5 + 0.1 * d as f64).collect();
    let grid = CellGrid { shape, spacing, cell: cell.to_vec() };
    let n = grid.n_cells();
    let between = |seed, low: f64, high: f64| -> Vec<f64> {
        numbers(n, seed).into_iter().map(|x| low + (high - low) * x).collect()
    };
    let axes = extents.len();
    let pairs = (0..axes).flat_map(|i| (i + 1..axes).map(move |j| (i, j)));
    let pair = |axes: (usize, usize)| OffDiagonal {
        axes,
        values: between(100 + (10 * axes.0 + axes.1) as u64, -off_diagonal, off_diagonal),
    };
    Diffusion {
        diagonal: (0..axes).map(|d| between(d as u64 + 1, 0.6, 1.4)).collect(),
        off_diagonal: if off_diagonal > 0.0 { pairs.map(pair).collect() } else { Vec::new() },
        grid,
    }
}

/// T as a dense matrix.
fn dense(diffusion: &Diffusion) -> Vec<f64> {
    let grid = &diffusion.grid;
    let shape = &grid.shape;
    let n = shape.n_nodes();
    let coordinate = |node: usize, d: usize| node / shape.stride(d) % shape.extents[d];
    // (∂_d)_{node, other}.
    let slope = |d: usize, node: usize, other: usize| {
        let alike = (0..shape.extents.len()).all(|e| e == d || coordinate(node, e) == coordinate(other, e));
        let extent = shape.extents[d];
        let offset = (coordinate(node, d) + extent - coordinate(other, d)) % extent;
        if alike { derivative(extent, offset, grid.spacing[d]) } else { 0.0 }
    };
    let mut t = vec![0.0; n * n];
    let mut add = |i: usize, j: usize, at: &dyn Fn(usize) -> f64| {
        for node in 0..n {
            let value = 0.5 * at(grid.cell_of_node(node));
            for a in (0..n).filter(|&a| slope(i, node, a) != 0.0) {
                for b in 0..n {
                    t[a * n + b] += value * slope(i, node, a) * slope(j, node, b);
                }
            }
        }
    };
    for d in 0..shape.extents.len() {
        add(d, d, &|cell| diffusion.at(d, cell));
    }
    for pair in &diffusion.off_diagonal {
        add(pair.axes.0, pair.axes.1, &|cell| pair.values[cell]);
        add(pair.axes.1, pair.axes.0, &|cell| pair.values[cell]);
    }
    t
}

fn start(n: usize) -> (Vec<f64>, Vec<f64>) {
    let plane = |seed| numbers(n, seed).into_iter().map(|x| x - 0.5).collect();
    (plane(41), plane(42))
}

/// exp(−i·duration·T)Ψ, or exp(−duration·T)Ψ, through the eigenvectors of the dense matrix.
fn exact(diffusion: &Diffusion, duration: f64, time: Time) -> (Vec<f64>, Vec<f64>) {
    let n = diffusion.grid.shape.n_nodes();
    let mut t = dense(diffusion);
    let vectors = diagonalise(&mut t, n);
    let (re, im) = start(n);
    let (mut out_re, mut out_im) = (vec![0.0; n], vec![0.0; n]);
    for e in 0..n {
        let v = &vectors[e * n..(e + 1) * n];
        let theta = duration * t[e * n + e];
        let (c, s) = match time {
            Time::Real => (theta.cos(), -theta.sin()),
            Time::Imaginary { .. } => ((-theta).exp(), 0.0),
        };
        let x: f64 = v.iter().zip(&re).map(|(v, x)| v * x).sum();
        let y: f64 = v.iter().zip(&im).map(|(v, x)| v * x).sum();
        for (k, v) in v.iter().enumerate() {
            out_re[k] += v * (c * x - s * y);
            out_im[k] += v * (c * y + s * x);
        }
    }
    (out_re, out_im)
}

fn plan<T: Real>(diffusion: &Diffusion, duration: f64, time: Time, is_plastic: bool) -> Varying<T> {
    Varying::new(Level::detect(), diffusion, duration, time, is_plastic, RULE).expect("short lines")
}

fn run<T: Real>(plan: &mut Varying<T>, threads: Threads<'_>, steps: u64) -> (Vec<T>, Vec<T>) {
    let n = plan.grid.shape.n_nodes();
    let (re, im) = start(n);
    let narrow = |x: Vec<f64>| x.into_iter().map(T::from_f64).collect::<Vec<T>>();
    let (mut re, mut im) = (narrow(re), narrow(im));
    let nodes = plan.grid.shape.page_nodes;
    let mut pages: Vec<_> =
        re.chunks_mut(nodes).zip(im.chunks_mut(nodes)).map(|(re, im)| PageMut { re, im }).collect();
    for tick in 0..steps {
        plan.sweep_inner(threads, &mut pages, None, tick, &Probe::default());
        plan.sweep_outer(threads, &mut pages, None, &Probe::default());
    }
    (re, im)
}

fn distance(a: &(Vec<f64>, Vec<f64>), b: &(Vec<f64>, Vec<f64>)) -> f64 {
    let sum = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
    (sum(&a.0, &b.0) + sum(&a.1, &b.1)).sqrt()
}

fn norm(field: &(Vec<f64>, Vec<f64>)) -> f64 {
    reduce::norm2(Level::detect(), Threads::Serial, &[PageRef { re: &field.0, im: &field.1 }])
}

/// Order of convergence towards the dense exponential between two step counts, and the norm's drift.
fn check_order(diffusion: &Diffusion, time: Time, is_plastic: bool) {
    let total = 0.16;
    let exact = exact(diffusion, total, time);
    let error = |steps: u64| {
        let mut plan = plan::<f64>(diffusion, total / steps as f64, time, is_plastic);
        let found = run(&mut plan, Threads::Serial, steps);
        if time == Time::Real {
            let drift = norm(&found) / norm(&start(diffusion.grid.shape.n_nodes())) - 1.0;
            assert!(drift.abs() < 1e-13, "the norm drifts by {drift:e}");
        }
        distance(&found, &exact)
    };
    // Where a palindrome takes two ticks, after whole ones and in the middle of one.
    for (coarse, fine) in [(16, 32), (17, 33)] {
        let errors = [error(coarse), error(fine)];
        let order = (errors[0] / errors[1]).ln() / (fine as f64 / coarse as f64).ln();
        let shape = &diffusion.grid.shape;
        assert!(
            (order - 2.0).abs() < 0.05,
            "{shape:?}, {coarse} to {fine} steps: order {order:.3}, errors {errors:?}"
        );
    }
}

#[test]
fn second_order_towards_the_dense_exponential() {
    for (time, is_plastic) in [(Time::Real, false), (Time::Real, true), (Time::Imaginary { mu: 0.0 }, false)]
    {
        check_order(&metric(&[9, 5], 45, &[1, 1], 0.0), time, is_plastic);
        check_order(&metric(&[9, 5], 5, &[1, 1], 0.3), time, is_plastic);
        check_order(&metric(&[9, 5], 45, &[3, 1], 0.2), time, is_plastic);
        check_order(&metric(&[7, 3, 3], 9, &[1, 3, 3], 0.2), time, is_plastic);
        check_order(&metric(&[3, 3, 3], 27, &[1, 1, 1], 0.2), time, is_plastic);
    }
}

#[test]
fn axes_inside_cells_run_as_blocks_or_as_lines_alike() {
    let blocks = metric(&[3, 3, 3, 3, 3], 243, &[1, 1, 3, 3, 3], 0.1);
    let mut fine = blocks.clone();
    fine.grid.cell = vec![1; 5];
    let spread = |values: &[f64]| (0..243).map(|node| values[blocks.grid.cell_of_node(node)]).collect();
    fine.diagonal = blocks.diagonal.iter().map(|values| spread(values)).collect();
    for pair in &mut fine.off_diagonal {
        pair.values = spread(&pair.values);
    }
    for time in [Time::Real, Time::Imaginary { mu: 0.0 }] {
        for is_plastic in [false, true] {
            let a = run(&mut plan::<f64>(&blocks, 0.02, time, is_plastic), Threads::Serial, 5);
            let b = run(&mut plan::<f64>(&fine, 0.02, time, is_plastic), Threads::Serial, 5);
            assert!(distance(&a, &b) < 1e-13, "{:e}", distance(&a, &b));
        }
    }
}

#[test]
fn a_uniform_metric_is_the_constant_flow() {
    for extents in [&[9, 4, 3][..], &[100, 3], &[3, 3, 3]] {
        let mut diffusion = metric(extents, extents.iter().product(), &vec![1; extents.len()], 0.0);
        diffusion.diagonal.iter_mut().for_each(|values| values.truncate(1));
        let found = run(&mut plan::<f64>(&diffusion, 0.02, Time::Real, false), Threads::Serial, 1);
        let term = |d: usize| AxisTerm {
            extent: extents[d],
            wavenumber_unit: core::f64::consts::TAU / (extents[d] as f64 * diffusion.grid.spacing[d]),
            diffusion: diffusion.diagonal[d][0],
        };
        let terms: Vec<_> = (0..extents.len()).map(term).collect();
        let constant = Kinetic::<f64>::new(Level::detect(), &diffusion.grid.shape, &terms, 0.02, Time::Real);
        let (mut re, mut im) = start(diffusion.grid.shape.n_nodes());
        let mut pages = [PageMut { re: &mut re, im: &mut im }];
        constant.sweep_inner(Threads::Serial, &mut pages, None, &Probe::default());
        constant.sweep_outer(Threads::Serial, &mut pages, None, &Probe::default());
        assert!(distance(&found, &(re, im)) < 1e-12, "{extents:?}");
    }
}

#[test]
fn a_renewed_plan_is_a_fresh_one() {
    for (extents, page, cell) in
        [(&[3, 3, 3, 3, 3][..], 243, &[1, 1, 3, 3, 3][..]), (&[9, 9], 27, &[3, 3]), (&[5, 3], 15, &[1, 1])]
    {
        let first = metric(extents, page, cell, 0.1);
        let mut second = first.clone();
        let changed = [0, 1, first.grid.n_cells() - 1];
        for &at in &changed {
            second.diagonal.iter_mut().for_each(|values| values[at] *= 1.3);
            second.off_diagonal.iter_mut().for_each(|pair| pair.values[at] *= -0.5);
        }
        let mut renewed = plan::<f64>(&first, 0.02, Time::Real, true);
        renewed.renew(Threads::Serial, &second, &changed);
        let mut fresh = plan::<f64>(&second, 0.02, Time::Real, true);
        assert_eq!(run(&mut renewed, Threads::Serial, 3), run(&mut fresh, Threads::Serial, 3));
    }
}

#[test]
fn the_energy_is_the_quadratic_form() {
    for (extents, page) in [(&[9, 5][..], 45), (&[6, 4], 4), (&[3, 3, 3], 9)] {
        let diffusion = metric(extents, page, &vec![1; extents.len()], 0.2);
        let n = diffusion.grid.shape.n_nodes();
        let (re, im) = start(n);
        let pages: Vec<_> = re.chunks(page).zip(im.chunks(page)).map(|(re, im)| PageRef { re, im }).collect();
        let found = gradient::energy(&diffusion, &pages);
        let mut expected = 0.0;
        let t = dense(&diffusion);
        for a in 0..n {
            for b in 0..n {
                expected += t[a * n + b] * (re[a] * re[b] + im[a] * im[b]);
            }
        }
        // The dense matrix has no Nyquist modes: on odd tori both are the same, on even ones the plan has more.
        if extents.iter().all(|extent| extent % 2 == 1) {
            assert!((found / expected - 1.0).abs() < 1e-13, "{found} and {expected}");
        } else {
            assert!(found > expected);
        }
    }
}

#[test]
fn levels_and_threads_change_no_bit() {
    fn check<T: Real>(diffusion: &Diffusion, is_plastic: bool) {
        let crew = Crew::new(4).expect("threads");
        let run = |level, threads| {
            let mut plan = Varying::<T>::new(
                level,
                diffusion,
                0.02,
                Time::Real,
                is_plastic,
                RemainderRule { every: 3, ..RULE },
            )
            .expect("short lines");
            let (re, im) = run(&mut plan, threads, 4);
            re.iter().chain(&im).map(|x| x.to_f64().to_bits()).collect::<Vec<_>>()
        };
        let expected = run(Level::Scalar, Threads::Serial);
        for level in Level::available() {
            assert!(run(level, Threads::Serial) == expected, "{} at {level}", T::NAME);
        }
        assert!(run(Level::detect(), Threads::Crew(&crew)) == expected, "{} on four threads", T::NAME);
    }
    for diffusion in [
        metric(&[9, 10, 4], 40, &[1, 1, 1], 0.1),
        metric(&[27, 3, 3, 3], 81, &[1, 1, 3, 3], 0.1),
        metric(&[27, 16], 48, &[3, 1], 0.0),
    ] {
        for is_plastic in [false, true] {
            check::<f32>(&diffusion, is_plastic);
            check::<f64>(&diffusion, is_plastic);
        }
    }
}

#[test]
fn a_small_remainder_is_skipped_and_counted() {
    let diffusion = metric(&[9, 5], 45, &[1, 1], 0.9e-5);
    let mut plan = Varying::<f64>::new(
        Level::detect(),
        &diffusion,
        0.02,
        Time::Real,
        false,
        RemainderRule { every: 3, ..RULE },
    )
    .expect("short");
    run(&mut plan, Threads::Serial, 9);
    let counts = plan.remainder().expect("there is one").counts();
    assert_eq!((counts.n_applied, counts.n_skipped), (0, 3));
}

#[test]
fn a_long_line_that_varies_is_refused() {
    let diffusion = metric(&[3, 82], 246, &[1, 1], 0.0);
    let refused = Varying::<f64>::new(Level::detect(), &diffusion, 0.02, Time::Real, false, RULE).map(|_| ());
    assert_eq!(refused, Err(LineTooLong { axis: 1, extent: 82 }));
}
