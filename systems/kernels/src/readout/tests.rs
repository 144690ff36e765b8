//! Readouts against what least squares must give. Invariant: exact linear data are recovered; both fits agree.

use super::{ReadoutError, Recursive, Ridge, predict};

/// A fixed sequence in [−1, 1).
fn noise(i: u64) -> f64 {
    let mixed = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn features(example: u64) -> [f64; 5] {
    // Units and offsets of very different size, and one feature that never changes.
    let raw: [f64; 4] = core::array::from_fn(|i| noise(4 * example + i as u64));
    [raw[0], 1e6 + raw[1], 1e-5 * raw[2], raw[3] - 40.0, 7.0]
}

#[test]
fn a_linear_map_is_recovered_whatever_its_units() {
    let truth = |f: &[f64; 5]| [2.0 - 3.0 * f[0] + 0.5 * (f[1] - 1e6), 1e5 * f[2] + f[3]];
    let mut ridge = Ridge::new(5, 2);
    for example in 0..200 {
        let f = features(example);
        ridge.add(&f, &truth(&f));
    }
    let weights = ridge.solve(1e-13).expect("full rank but for the constant");
    for example in 200..240 {
        let (f, mut found) = (features(example), [0.0; 2]);
        predict(&weights, &f, &mut found);
        for (found, expected) in found.iter().zip(truth(&f)) {
            assert!((found - expected).abs() < 1e-8 * expected.abs().max(1.0), "{found} {expected}");
        }
    }
    assert_eq!(weights[5], 0.0, "a constant feature carries nothing");
}

#[test]
fn ridge_satisfies_its_own_normal_equations() {
    // d/dw_i of Σ(y − w·f − b)² + ridge·Σ_i V_i w_i² vanishes, and the residual has mean zero.
    let (ridge_strength, n) = (0.3, 60);
    let target = |example: u64, f: &[f64]| f[0] * f[1] + noise(999 + example);
    let rows: Vec<[f64; 3]> =
        (0..n).map(|e| core::array::from_fn(|i| noise(3 * e + i as u64) + i as f64)).collect();
    let mut ridge = Ridge::new(3, 1);
    rows.iter().zip(0..).for_each(|(f, e)| ridge.add(f, &[target(e, f)]));
    let weights = ridge.solve(ridge_strength).expect("full rank");
    let residual: Vec<f64> = rows
        .iter()
        .zip(0..)
        .map(|(f, e)| {
            let mut value = [0.0];
            predict(&weights, f, &mut value);
            target(e, f) - value[0]
        })
        .collect();
    assert!(residual.iter().sum::<f64>().abs() < 1e-10);
    for i in 0..3 {
        let mean = rows.iter().map(|f| f[i]).sum::<f64>() / n as f64;
        let variance: f64 = rows.iter().map(|f| (f[i] - mean).powi(2)).sum();
        let gradient: f64 = rows.iter().zip(&residual).map(|(f, r)| (f[i] - mean) * r).sum::<f64>()
            - ridge_strength * variance * weights[1 + i];
        assert!(gradient.abs() < 1e-10, "{i}: {gradient}");
    }
}

#[test]
fn dependent_features_are_refused_without_a_ridge_and_solved_with_one() {
    let mut ridge = Ridge::new(2, 1);
    for example in 0..50 {
        let x = noise(example);
        ridge.add(&[x, -2.0 * x], &[x]);
    }
    assert!(
        matches!(ridge.solve(0.0), Err(ReadoutError::Singular { feature: 1, .. })),
        "{:?}",
        ridge.solve(0.0)
    );
    let weights = ridge.solve(1e-9).expect("a ridge makes it regular");
    let mut value = [0.0];
    predict(&weights, &[0.25, -0.5], &mut value);
    assert!((value[0] - 0.25).abs() < 1e-8);
    assert_eq!(Ridge::new(1, 1).solve(1.0), Err(ReadoutError::TooFewExamples { found: 0 }));
    let mut broken = Ridge::new(1, 1);
    [1.0, f64::NAN, 2.0].iter().for_each(|x| broken.add(&[*x], &[1.0]));
    assert!(broken.solve(1.0).is_err(), "NaN must not pass");
}

#[test]
fn recursive_equals_the_batch_solution() {
    // Without forgetting, the recursion solves (δI + ΣffT)w = Σfy exactly; here with two features and a bias.
    let ridge = 0.01;
    let mut recursive = Recursive::new(2, 1, ridge);
    let (mut gram, mut moment) = ([[0.0; 3]; 3], [0.0; 3]);
    (0..3).for_each(|i| gram[i][i] = ridge);
    for example in 0..100 {
        let f = [noise(2 * example), noise(2 * example + 1) + 0.5];
        let y = 1.0 + f[0] - 2.0 * f[1] + 0.1 * noise(5000 + example);
        recursive.learn(&f, &[y], 1.0);
        let row = [1.0, f[0], f[1]];
        for i in 0..3 {
            moment[i] += row[i] * y;
            (0..3).for_each(|j| gram[i][j] += row[i] * row[j]);
        }
    }
    for i in 0..3 {
        let left: f64 = (0..3).map(|j| gram[i][j] * recursive.weights[j]).sum();
        assert!((left - moment[i]).abs() < 1e-9, "{i}: {left} {}", moment[i]);
        for j in 0..3 {
            assert_eq!(recursive.inverse[3 * i + j], recursive.inverse[3 * j + i], "symmetric");
        }
    }
}

#[test]
fn forgetting_follows_a_target_that_changes() {
    let error_after = |forgetting: f64| {
        let mut recursive = Recursive::new(1, 1, 1e-3);
        for example in 0..400 {
            let f = [noise(example)];
            let slope = if example < 200 { 1.0 } else { -1.0 };
            recursive.learn(&f, &[slope * f[0]], forgetting);
        }
        (recursive.weights[1] + 1.0).abs()
    };
    assert!(error_after(0.95) < 1e-3, "{}", error_after(0.95));
    assert!(error_after(1.0) > 0.5, "{}", error_after(1.0));
}
