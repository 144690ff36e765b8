//! The local flow against the closed forms in f64.

use super::*;
use crate::nonlinear;

fn column<T: Real>(n: usize, seed: usize, scale: f64) -> Vec<T> {
    (0..n)
        .map(|i| T::from_f64((((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0) * scale))
        .collect()
}

struct Case {
    duration: f64,
    potential: f64,
    damping: f64,
    time: Time,
    uniform: bool,
    gain: f64,
}

fn check<T: Real>(case: &Case) {
    let n = 3 * 16 + 2 * 16 + 11;
    let (re, im) = (column::<T>(n, 1, 1.0), column::<T>(n, 2, 1.0));
    let positive = |x: T| T::from_f64(x.to_f64().abs());
    let v = column::<T>(n, 3, case.potential);
    let g: Vec<T> = column::<T>(n, 4, case.damping).into_iter().map(positive).collect();
    let (v, g) = if case.uniform { (vec![v[0]; n], vec![g[0]; n]) } else { (v, g) };
    let (vs, gs) = ([&v[..]], [&g[..]]);
    let (potential, damping) = if case.uniform {
        (Values::Uniform(v[0]), Values::Uniform(g[0]))
    } else if case.damping == 0.0 {
        (Values::PerNode(&vs), Values::Uniform(T::default()))
    } else {
        (Values::PerNode(&vs), Values::PerNode(&gs))
    };
    let flow = LocalFlow {
        duration: case.duration,
        potential,
        damping,
        beta: 0.8,
        time: case.time,
        gain: case.gain,
    };
    let mut first = None;
    for level in Level::available() {
        let (mut x, mut y) = (re.clone(), im.clone());
        apply(level, Threads::Serial, &mut [PageMut { re: &mut x, im: &mut y }], &flow);
        let resolution = if T::BYTES == 4 { 6e-7 } else { 2e-15 };
        for i in 0..n {
            let (r, m, v, g) = (re[i].to_f64(), im[i].to_f64(), v[i].to_f64(), g[i].to_f64());
            let (a, b) = match case.time {
                Time::Real => nonlinear::real_time(r, m, v, g, 0.8, case.duration),
                Time::Imaginary { mu } => nonlinear::imaginary_time(r, m, v, mu, 0.8, case.duration),
            };
            let (a, b) = (a * (1.0 + case.gain), b * (1.0 + case.gain));
            let scale = 1.0_f64.max(a.abs()).max(b.abs());
            // The angle itself is rounded to the scalar type.
            let scale = scale * (1.0 + (case.duration * v).abs());
            let off = (x[i].to_f64() - a).abs().max((y[i].to_f64() - b).abs()) / scale;
            assert!(off < resolution, "{level} {} node {i}: {off:e}", T::NAME);
        }
        let bits: Vec<u64> = x.iter().chain(&y).map(|x| x.to_f64().to_bits()).collect();
        assert!(*first.get_or_insert(bits.clone()) == bits, "{level} differs");
    }
}

#[test]
fn flows_match_their_closed_forms() {
    for time in [Time::Real, Time::Imaginary { mu: 0.3 }] {
        for (duration, potential) in [(5e-4, 1.0), (-5e-4, 1.0), (0.05, 1.0), (0.02, 200.0), (0.3, 0.5)] {
            for damping in [0.0, 0.01, 3.0, 40.0] {
                let open = [(false, 1e-3), (true, -2e-3), (false, 3e-7), (true, -1e-15)];
                for (uniform, gain) in [(false, 0.0), (true, 0.0)].into_iter().chain(open) {
                    let imaginary = !matches!(time, Time::Real);
                    // Backward imaginary time is a blow-up problem; damping is ignored there.
                    if imaginary && (duration < 0.0 || damping > 0.0) {
                        continue;
                    }
                    let case = Case { duration, potential, damping, time, uniform, gain };
                    check::<f64>(&case);
                    check::<f32>(&case);
                }
            }
        }
    }
}

#[test]
fn a_gain_below_the_resolution_of_f32_acts_on_average() {
    let n = 16_384;
    let (mut re, mut im) = (column::<f32>(n, 1, 1.0), column::<f32>(n, 2, 1.0));
    let v = column::<f32>(n, 3, 1.0);
    let vs = [&v[..]];
    let norm = |re: &[f32], im: &[f32]| {
        crate::reduce::norm2(Level::detect(), Threads::Serial, &[crate::PageRef { re, im }])
    };
    let before = norm(&re, &im);
    let gain = 1e-8;
    let flow = LocalFlow {
        duration: 1e-3,
        potential: Values::PerNode(&vs),
        damping: Values::Uniform(0.0),
        beta: 1.0,
        time: Time::Real,
        gain,
    };
    let steps = 400;
    for _ in 0..steps {
        apply(Level::detect(), Threads::Serial, &mut [PageMut { re: &mut re, im: &mut im }], &flow);
    }
    let growth = norm(&re, &im) / before - 1.0;
    let expected = 2.0 * gain * f64::from(steps);
    assert!((growth / expected - 1.0).abs() < 0.2, "{growth:e} instead of {expected:e}");
}
