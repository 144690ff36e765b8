//! Dense propagators against transforms, their unitarity, and the same bits at every level.

use super::*;
use crate::field::{PageRef, Shape, Threads};
use crate::kinetic::{AxisTerm, Kinetic, Probe};
use crate::reduce;
use std::f64::consts::TAU;

/// Deterministic numbers in 0..1.
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

fn active(n: usize, seed: u64) -> Vec<bool> {
    let mut active: Vec<bool> = numbers(n, seed).into_iter().map(|x| x < 0.6).collect();
    active[n / 2] = true;
    active
}

/// The rows of `line`'s active nodes in one page, `lanes` apart.
fn rows(line: &FibreLine<'_>, lanes: usize) -> Vec<(usize, usize)> {
    (0..line.diffusion.len()).filter(|&k| line.is_active(k)).map(|k| (0, k * lanes)).collect()
}

fn field<T: Real>(n: usize) -> (Vec<T>, Vec<T>) {
    let plane = |seed| numbers(n, seed).into_iter().map(|x| T::from_f64(x - 0.5)).collect();
    (plane(1), plane(2))
}

const EXTENTS: [usize; 9] = [1, 2, 3, 4, 8, 9, 16, 27, 81];

#[test]
fn a_uniform_line_is_the_transform() {
    fn check<T: Real>(n: usize, time: Time, tolerance: f64) {
        let (lanes, spacing, duration) = (21, 0.37, 0.043);
        let line = FibreLine { spacing, diffusion: &vec![1.3; n], active: None };
        let fibre = Fibre::<T>::new(&line, duration, time);
        let (mut re, mut im) = field::<T>(n * lanes);
        let (mut other_re, mut other_im) = (re.clone(), im.clone());
        fibre.apply(Level::detect(), &mut [PageMut { re: &mut re, im: &mut im }], &rows(&line, lanes), lanes);
        let unit = TAU / (n as f64 * spacing);
        let terms = [(n, 1.3, unit), (lanes, 0.0, 1.0)]
            .map(|(extent, diffusion, wavenumber_unit)| AxisTerm { extent, wavenumber_unit, diffusion });
        let shape = Shape { extents: vec![n, lanes], page_nodes: n * lanes };
        let plan = Kinetic::<T>::new(Level::detect(), &shape, &terms, duration, time);
        let mut pages = [PageMut { re: &mut other_re, im: &mut other_im }];
        plan.sweep_inner(Threads::Serial, &mut pages, None, &Probe::default());
        plan.sweep_outer(Threads::Serial, &mut pages, None, &Probe::default());
        let pairs = re.iter().zip(&other_re).chain(im.iter().zip(&other_im));
        let worst = pairs.fold(0.0_f64, |worst, (a, b)| worst.max((a.to_f64() - b.to_f64()).abs()));
        assert!(worst < tolerance, "{n} nodes, {time:?}, {}: off by {worst:e}", T::NAME);
    }
    for n in EXTENTS {
        for time in [Time::Real, Time::Imaginary { mu: 0.0 }] {
            check::<f64>(n, time, 4e-14);
            check::<f32>(n, time, 2e-6);
        }
    }
}

#[test]
fn propagators_are_unitary_on_any_active_set() {
    for n in EXTENTS {
        let diffusion: Vec<f64> = numbers(n, 7).into_iter().map(|x| 0.2 + 2.0 * x).collect();
        for mask in [None, Some(active(n, 3))] {
            let line = FibreLine { spacing: 0.4, diffusion: &diffusion, active: mask.as_deref() };
            let Fibre { m, re, im } = Fibre::<f64>::new(&line, 0.02, Time::Real);
            let mut worst = 0.0_f64;
            for i in 0..m {
                for j in 0..m {
                    // (U†U − 1)_ij from M = U − 1: M + M† + M†M.
                    let (mut defect_re, mut defect_im) =
                        (re[i * m + j] + re[j * m + i], im[i * m + j] - im[j * m + i]);
                    for k in 0..m {
                        let (a, b, c, d) = (re[k * m + i], im[k * m + i], re[k * m + j], im[k * m + j]);
                        defect_re += a * c + b * d;
                        defect_im += a * d - b * c;
                    }
                    worst = worst.max(defect_re.abs()).max(defect_im.abs());
                }
            }
            assert!(worst < 5e-16, "{n} nodes, {m} active: U†U is off by {worst:e}");
        }
    }
}

#[test]
fn ten_thousand_steps_keep_the_norm() {
    let (n, lanes) = (27, 8);
    let diffusion: Vec<f64> = numbers(n, 5).into_iter().map(|x| 0.3 + x).collect();
    let mask = active(n, 11);
    let line = FibreLine { spacing: 0.5, diffusion: &diffusion, active: Some(&mask) };
    let fibre = Fibre::<f64>::new(&line, 1e-2, Time::Real);
    let (mut re, mut im) = field::<f64>(n * lanes);
    let norm =
        |re: &[f64], im: &[f64]| reduce::norm2(Level::detect(), Threads::Serial, &[PageRef { re, im }]);
    let before = norm(&re, &im);
    for _ in 0..10_000 {
        let mut pages = [PageMut { re: &mut re, im: &mut im }];
        fibre.apply(Level::detect(), &mut pages, &rows(&line, lanes), lanes);
    }
    let drift = norm(&re, &im) / before - 1.0;
    assert!(drift.abs() < 1e-12, "the norm drifts by {drift:e}");
}

#[test]
fn levels_change_no_bit() {
    fn check<T: Real>(n: usize, lanes: usize) {
        let diffusion: Vec<f64> = numbers(n, 5).into_iter().map(|x| 0.3 + x).collect();
        let mask = active(n, 2);
        let line = FibreLine { spacing: 0.5, diffusion: &diffusion, active: Some(&mask) };
        let fibre = Fibre::<T>::new(&line, 1e-2, Time::Real);
        let run = |level| {
            let (mut re, mut im) = field::<T>(n * lanes);
            fibre.apply(level, &mut [PageMut { re: &mut re, im: &mut im }], &rows(&line, lanes), lanes);
            re.iter().chain(&im).map(|x| x.to_f64().to_bits()).collect::<Vec<_>>()
        };
        for level in Level::available() {
            assert!(run(level) == run(Level::Scalar), "{n} × {lanes} {} at {level}", T::NAME);
        }
    }
    for (n, lanes) in [(3, 27), (9, 1), (27, 16), (10, 33)] {
        check::<f32>(n, lanes);
        check::<f64>(n, lanes);
    }
}
