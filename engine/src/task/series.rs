//! The series of the benchmarks, as pure functions with the published parameters.
//! Invariant: a series depends on its arguments only; integrations use fixed steps and the classical Runge–Kutta rule.
//! Sources: NARMA-10: Atiya & Parlos, IEEE Trans. Neural Netw. 11 (2000) 697. Mackey & Glass, Science 197 (1977) 287,
//! with τ = 17 as in Jaeger & Haas, Science 304 (2004) 78. Lorenz, J. Atmos. Sci. 20 (1963) 130.

use nikola_systems::components::noise;

/// Random stream of the inputs.
const STREAM_INPUT: u32 = 0x5441_534b;

/// Largest Lyapunov exponent of Lorenz-63 (Viswanath 1998): a Lyapunov time is its inverse.
pub const LORENZ_LYAPUNOV: f64 = 0.9056;

/// Model time between samples of Lorenz-63.
pub const LORENZ_SAMPLE: f64 = 0.02;

/// Mean and standard deviation of x, y, z on the attractor, to two digits: inputs are centred and scaled by them.
pub const LORENZ_SCALE: [(f64, f64); 3] = [(0.0, 7.92), (0.0, 9.01), (23.55, 8.62)];

/// Mean and standard deviation of Mackey–Glass with τ = 17, to two digits.
pub const MACKEY_GLASS_SCALE: (f64, f64) = (0.93, 0.23);

/// `n` independent numbers, uniform in [low, high).
pub fn uniform(n: usize, low: f64, high: f64, seed: u64) -> Vec<f64> {
    (0..n as u64).map(|i| low + (high - low) * noise::uniform(seed, STREAM_INPUT, 0, i)).collect()
}

/// y_{k+1} = 0.3 y_k + 0.05 y_k Σ_{i=0}^{9} y_{k−i} + 1.5 u_{k−9} u_k + 0.1 for inputs u in [0, 0.5]; zero before.
pub fn narma10(inputs: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; inputs.len()];
    for k in 9..inputs.len().saturating_sub(1) {
        let sum: f64 = y[k - 9..=k].iter().sum();
        y[k + 1] = 0.3 * y[k] + 0.05 * y[k] * sum + 1.5 * inputs[k - 9] * inputs[k] + 0.1;
    }
    y
}

/// dx/dt = 0.2 x(t − 17)/(1 + x(t − 17)^10) − 0.1 x, one sample per time unit after `washout` units from x = `start`.
///
/// Fourth-order Runge–Kutta with `substeps` steps per unit; the delayed value at half a step is interpolated by the
/// cubic through four stored values.
pub fn mackey_glass(n: usize, substeps: usize, start: f64, washout: usize) -> Vec<f64> {
    let (h, delay) = (1.0 / substeps as f64, 17 * substeps);
    let rate = |x: f64, delayed: f64| 0.2 * delayed / (1.0 + delayed.powi(10)) - 0.1 * x;
    let mut x = vec![start; delay + 2];
    for _ in 0..(n + washout) * substeps {
        let now = x.len() - 1;
        let (before, left, right, after) =
            (x[now - delay - 1], x[now - delay], x[now - delay + 1], x[now - delay + 2]);
        let middle = (9.0 * (left + right) - before - after) / 16.0;
        let at = x[now];
        let k1 = rate(at, left);
        let k2 = rate(at + 0.5 * h * k1, middle);
        let k3 = rate(at + 0.5 * h * k2, middle);
        let k4 = rate(at + h * k3, right);
        x.push(at + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4));
    }
    (0..n).map(|i| x[delay + 1 + (washout + i) * substeps]).collect()
}

/// Lorenz-63 with σ = 10, ρ = 28, β = 8/3: `n` samples `sample` apart after `washout` samples from `start`.
pub fn lorenz63(n: usize, sample: f64, substeps: usize, start: [f64; 3], washout: usize) -> Vec<[f64; 3]> {
    let h = sample / substeps as f64;
    let rate = |[x, y, z]: [f64; 3]| [10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z];
    let moved = |p: [f64; 3], k: [f64; 3], s: f64| core::array::from_fn(|d| p[d] + s * k[d]);
    let mut point = start;
    let mut samples = Vec::with_capacity(n);
    for i in 0..n + washout {
        if i >= washout {
            samples.push(point);
        }
        for _ in 0..substeps {
            let k1 = rate(point);
            let k2 = rate(moved(point, k1, 0.5 * h));
            let k3 = rate(moved(point, k2, 0.5 * h));
            let k4 = rate(moved(point, k3, h));
            point =
                core::array::from_fn(|d| point[d] + h / 6.0 * (k1[d] + 2.0 * k2[d] + 2.0 * k3[d] + k4[d]));
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> (f64, f64) {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn narma_rests_where_its_equation_says() {
        // Without input 0.5 y² − 0.7 y + 0.1 = 0, the smaller root.
        let y = narma10(&[0.0; 400]);
        assert!((y[399] - (0.7 - 0.29_f64.sqrt())).abs() < 1e-12, "{}", y[399]);
        // One step by hand: everything before is zero but the constant.
        assert_eq!(narma10(&[0.5; 12])[10], 0.1 + 1.5 * 0.25);
        let y = narma10(&uniform(5000, 0.0, 0.5, 3));
        let (mean, deviation) = moments(&y[100..]);
        assert!((0.3..0.5).contains(&mean) && (0.08..0.14).contains(&deviation), "{mean} {deviation}");
    }

    #[test]
    fn mackey_glass_keeps_its_fixed_point_and_its_statistics() {
        assert!(mackey_glass(50, 10, 1.0, 100).iter().all(|x| (x - 1.0).abs() < 1e-12));
        let (mean, deviation) = moments(&mackey_glass(20_000, 10, 1.2, 1000));
        let scale = MACKEY_GLASS_SCALE;
        assert!((mean - scale.0).abs() < 0.01 && (deviation - scale.1).abs() < 0.01, "{mean} {deviation}");
    }

    #[test]
    fn mackey_glass_converges_with_the_step() {
        // Before chaos amplifies anything: halving the step must divide the error by far more than two.
        let error = |substeps| {
            let (coarse, fine) = (mackey_glass(60, substeps, 0.5, 0), mackey_glass(60, 80, 0.5, 0));
            coarse.iter().zip(&fine).fold(0.0_f64, |worst, (a, b)| worst.max((a - b).abs()))
        };
        assert!(error(10) < 1e-5 && error(10) < error(5) / 3.0, "{:.1e} {:.1e}", error(5), error(10));
    }

    #[test]
    fn lorenz_has_the_published_moments_and_exponent() {
        let series = lorenz63(40_000, LORENZ_SAMPLE, 4, [1.0, 1.0, 1.0], 1000);
        for (d, scale) in LORENZ_SCALE.iter().enumerate() {
            let (mean, deviation) = moments(&series.iter().map(|p| p[d]).collect::<Vec<_>>());
            assert!(
                (mean - scale.0).abs() < 0.6 && (deviation - scale.1).abs() < 0.15,
                "{d}: {mean} {deviation}"
            );
        }
        // Twins 1e-9 apart, renormalised every 50 samples: the mean growth is the exponent.
        let (mut a, mut growth) = (series[0], 0.0);
        let mut b = [a[0] + 1e-9, a[1], a[2]];
        let n = 800;
        for _ in 0..n {
            a = lorenz63(1, LORENZ_SAMPLE, 4, a, 50)[0];
            b = lorenz63(1, LORENZ_SAMPLE, 4, b, 50)[0];
            let distance = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            growth += (distance / 1e-9).ln();
            b = core::array::from_fn(|d| a[d] + (b[d] - a[d]) * 1e-9 / distance);
        }
        let exponent = growth / (n as f64 * 50.0 * LORENZ_SAMPLE);
        assert!((exponent - LORENZ_LYAPUNOV).abs() < 0.04, "{exponent}");
    }

    #[test]
    fn inputs_depend_on_the_seed_alone() {
        assert_eq!(uniform(9, -1.0, 1.0, 4), uniform(9, -1.0, 1.0, 4));
        assert_ne!(uniform(9, -1.0, 1.0, 4), uniform(9, -1.0, 1.0, 5));
    }
}
