//! What rounded constants do to a pass: everything else is exact here, so a line is a matrix, and a million steps are
//! twenty squarings.

use super::*;
use crate::simd::scalar::CoarseConstants;

/// Lengths of every radix, alone and beside others.
const LENGTHS: [usize; 12] = [4, 8, 9, 15, 27, 32, 45, 49, 81, 105, 128, 144];

/// Rows of (re, im).
type Matrix = Vec<Vec<(f64, f64)>>;

fn times((a, b): (f64, f64), (c, d): (f64, f64)) -> (f64, f64) {
    (a * c - b * d, a * d + b * c)
}

fn phase(angle: f64) -> (f64, f64) {
    (libm::cos(angle), libm::sin(angle))
}

/// The flow that turns each mode by an angle.
fn turning(n: usize, angle: impl Fn(usize) -> f64) -> FftPlan<f32> {
    let increment = |mode: usize| {
        let (sin, cos) = libm::sincos(0.5 * angle(mode));
        (-2.0 * sin * sin, 2.0 * sin * cos)
    };
    FftPlan::flow(n, Time::Real, increment).expect("a length it knows")
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    let n = a.len();
    let mut out = vec![vec![(0.0, 0.0); n]; n];
    for (i, k) in (0..n).flat_map(|i| (0..n).map(move |k| (i, k))) {
        for (sum, x) in out[i].iter_mut().zip(&b[k]) {
            let (re, im) = times(a[i][k], *x);
            *sum = (sum.0 + re, sum.1 + im);
        }
    }
    out
}

/// The pass of a plan in single precision, its constants as they are, its arithmetic exact.
fn matrix(plan: &FftPlan<f32>) -> Matrix {
    const N: usize = CoarseConstants::N;
    let n = plan.n;
    let plan = FftPlan::<f64> {
        n,
        stages: plan.stages.clone(),
        twiddles: plan.twiddles.iter().map(|turn| turn.widen()).collect(),
        kept: f64::from(plan.kept),
        factors: plan.factors.iter().map(|pair| pair.map(f64::from)).collect(),
    };
    let mut out = vec![vec![(0.0, 0.0); n]; n];
    for first in (0..n).step_by(N) {
        let (mut rows, mut buffer) = (vec![0.0; 2 * n * N], vec![0.0; 4 * n * N]);
        let columns = first..(first + N).min(n);
        for column in columns.clone() {
            rows[2 * column * N + column - first] = 1.0;
        }
        let of = |column: &mut Vec<f64>| {
            let re = column.as_mut_ptr();
            Rows { re, im: re.wrapping_add(N), step: 2 * N }
        };
        // SAFETY: n rows of 2N scalars, and a buffer of twice as many.
        unsafe { line::<CoarseConstants, FLOW>(&plan, of(&mut rows), of(&mut buffer), N) };
        for (row, column) in (0..n).flat_map(|row| columns.clone().map(move |column| (row, column))) {
            let at = 2 * row * N + column - first;
            out[row][column] = (rows[at], rows[at + N]);
        }
    }
    out
}

fn wavenumber(mode: usize, n: usize) -> f64 {
    let mode = if 2 * mode > n { mode as f64 - n as f64 } else { mode as f64 };
    TAU * mode / n as f64
}

#[test]
fn stages_undo_each_other_with_constants_as_they_are_rounded() {
    for n in LENGTHS {
        let mut plan = FftPlan::<f32>::flow(n, Time::Real, |_| (0.0, 0.0)).expect("a length it knows");
        // As large as a factor may be, and exact: 0 is −1 times what is kept.
        plan.factors.fill([-1.0, 0.0]);
        let pass = matrix(&plan);
        for (row, column) in (0..n).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let (re, im) = pass[row][column];
            let exact = if row == column { 1.0 - n as f64 } else { 0.0 };
            let defect = libm::hypot(re - exact, im);
            assert!(defect < 1e-12 * n as f64, "{n}: row {row}, column {column}: {defect:e}");
        }
    }
}

#[test]
fn passes_turn_modes_as_exact_ones_do() {
    for n in LENGTHS {
        let angle = |mode: usize| -0.15 * wavenumber(mode, n).powi(2);
        let pass = matrix(&turning(n, angle));
        for mode in 0..n {
            let wave = |row: usize| phase(wavenumber(mode, n) * row as f64);
            let turned = phase(angle(mode));
            for (row, entries) in pass.iter().enumerate() {
                let found = entries.iter().enumerate().fold((0.0, 0.0), |sum, (column, entry)| {
                    let (re, im) = times(*entry, wave(column));
                    (sum.0 + re, sum.1 + im)
                });
                let exact = times(turned, wave(row));
                let apart = libm::hypot(found.0 - exact.0, found.1 - exact.1);
                assert!(apart < 2e-6, "{n}, mode {mode}: {apart:e}");
            }
        }
    }
}

/// Energy and norm of a wave in the potential v.
fn measures(wave: &[(f64, f64)], v: &[f64]) -> (f64, f64) {
    let n = wave.len();
    let (mut energy, mut norm) = (0.0, 0.0);
    for mode in 0..n {
        let amplitude = wave.iter().enumerate().fold((0.0, 0.0), |sum, (row, x)| {
            let (re, im) = times(*x, phase(-TAU * (mode * row % n) as f64 / n as f64));
            (sum.0 + re, sum.1 + im)
        });
        let square = amplitude.0 * amplitude.0 + amplitude.1 * amplitude.1;
        energy += 0.5 * wavenumber(mode, n).powi(2) * square / n as f64;
    }
    for ((re, im), v) in wave.iter().zip(v) {
        energy += v * (re * re + im * im);
        norm += re * re + im * im;
    }
    (energy, norm)
}

#[test]
fn a_million_steps_in_a_potential_change_neither_norm_nor_energy() {
    const STEP: f64 = 1e-3;
    for n in [27, 45, 81, 128] {
        let pass = matrix(&turning(n, |mode| -0.5 * STEP * wavenumber(mode, n).powi(2)));
        let v: Vec<f64> = (0..n).map(|row| 0.3 * libm::sin(TAU * row as f64 / n as f64)).collect();
        let kick = |row: usize| phase(-0.5 * STEP * v[row]);
        let mut steps = pass;
        for (row, entries) in steps.iter_mut().enumerate() {
            for (column, entry) in entries.iter_mut().enumerate() {
                *entry = times(times(kick(row), *entry), kick(column));
            }
        }
        let began: Vec<(f64, f64)> = (0..n)
            .map(|row| TAU * row as f64 / n as f64)
            .map(|x| 1.0 + 0.4 * libm::cos(x))
            .enumerate()
            .map(|(row, a)| times((a, 0.0), phase(TAU * row as f64 / n as f64)))
            .collect();
        let (energy, norm) = measures(&began, &v);
        for _ in 0..20 {
            steps = product(&steps, &steps);
        }
        let ended: Vec<(f64, f64)> = steps
            .iter()
            .map(|row| {
                row.iter().zip(&began).fold((0.0, 0.0), |sum, (entry, x)| {
                    let (re, im) = times(*entry, *x);
                    (sum.0 + re, sum.1 + im)
                })
            })
            .collect();
        let (energy_then, norm_then) = measures(&ended, &v);
        let (energy, norm) = (energy_then / energy - 1.0, norm_then / norm - 1.0);
        assert!(norm.abs() < 1e-6, "{n}: norm {norm:e}");
        assert!(energy.abs() < 3e-5, "{n}: energy {energy:e}");
    }
}

#[test]
fn factors_far_from_one_keep_their_digits() {
    // As along a derivative: what is imaginary stays so, or it would not be antisymmetric.
    for n in [8, 27, 45] {
        let plan = FftPlan::<f32>::operator(n, |mode| (0.0, wavenumber(mode, n))).expect("a length it knows");
        for position in 0..n {
            let (mode, [re, im]) = (plan.mode(position), plan.factors[position]);
            let exact = wavenumber(mode, n) / n as f64;
            assert!(
                re == 0.0 && (f64::from(im) - exact).abs() <= 6e-8 * exact.abs(),
                "{n}, mode {mode}: {im:e}"
            );
        }
    }
}
