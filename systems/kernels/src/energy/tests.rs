//! The form against T applied to the field, on every shape of axis, at every SIMD level.

use super::*;
use crate::kinetic::tests::noise;

fn terms(shape: &Shape) -> Vec<AxisTerm> {
    let term = |(d, extent): (usize, &usize)| AxisTerm {
        extent: *extent,
        wavenumber_unit: 0.7 + 0.1 * d as f64,
        diffusion: 1.0 + 0.3 * d as f64,
    };
    shape.extents.iter().enumerate().map(term).collect()
}

fn shapes() -> Vec<Shape> {
    let shape = |extents: &[usize], page_nodes| Shape { extents: extents.to_vec(), page_nodes };
    vec![
        shape(&[3; 9], 19_683),
        shape(&[3; 5], 27),
        shape(&[3, 3, 3, 3], 81),
        shape(&[27, 9, 3], 729),
        shape(&[9, 5, 3], 15),
        shape(&[16], 16),
    ]
}

/// TΨ = i d/dτ e^{−iTτ}Ψ at τ = 0, by a difference over eight points: error below 1e-13.
fn operator(form: &KineticForm, re: &[f64], im: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let step = 2e-3;
    let weights = [4.0 / 5.0, -1.0 / 5.0, 4.0 / 105.0, -1.0 / 280.0];
    let (mut out_re, mut out_im) = (vec![0.0; re.len()], vec![0.0; re.len()]);
    for (k, weight) in weights.into_iter().enumerate() {
        for sign in [1.0, -1.0] {
            let (mut x, mut y) = (re.to_vec(), im.to_vec());
            form.propagate(&mut x, &mut y, sign * (k + 1) as f64 * step);
            out_re.iter_mut().zip(&y).for_each(|(out, y)| *out -= sign * weight / step * y);
            out_im.iter_mut().zip(&x).for_each(|(out, x)| *out += sign * weight / step * x);
        }
    }
    (out_re, out_im)
}

fn compare<T: Real>(tolerance: f64) {
    for shape in shapes() {
        let n = shape.n_nodes();
        let form = KineticForm::new(&shape, &terms(&shape));
        let round = |x: Vec<f64>| -> Vec<T> { x.into_iter().map(T::from_f64).collect() };
        let (re, im, weight) = (round(noise(n, 1)), round(noise(n, 2)), round(noise(n, 3)));
        let wide = |x: &[T]| -> Vec<f64> { x.iter().map(|x| x.to_f64()).collect() };
        let (t_re, t_im) = operator(&form, &wide(&re), &wide(&im));
        let pages: Vec<PageRef<'_, T>> = re
            .chunks(shape.page_nodes)
            .zip(im.chunks(shape.page_nodes))
            .map(|(re, im)| PageRef { re, im })
            .collect();
        let weights: Vec<&[T]> = weight.chunks(shape.page_nodes).collect();
        let exact = |w: &dyn Fn(usize) -> f64| -> f64 {
            (0..n).map(|i| w(i) * (re[i].to_f64() * t_re[i] + im[i].to_f64() * t_im[i])).sum()
        };
        let unweighted = exact(&|_| 0.75);
        let weighted = exact(&|i| weight[i].to_f64());
        let mut bits = Vec::new();
        for level in Level::available() {
            let uniform = Values::Uniform(T::from_f64(0.75));
            let a = form.value(level, Threads::Serial, &pages, uniform);
            let b = form.value(level, Threads::Serial, &pages, Values::PerNode(&weights));
            assert!((a - unweighted).abs() < tolerance * unweighted, "{shape:?}: {a} against {unweighted}");
            assert!((b - weighted).abs() < tolerance * unweighted, "{shape:?}: {b} against {weighted}");
            let local = local_form(level, Threads::Serial, &pages, uniform, 1.5, Values::PerNode(&weights));
            let density = |i: usize| re[i].to_f64().powi(2) + im[i].to_f64().powi(2);
            let known = exact_local(n, &|i| weight[i].to_f64(), &density);
            assert!((local - known).abs() < tolerance * n as f64, "{shape:?}: {local} against {known}");
            bits.push((a.to_bits(), b.to_bits(), local.to_bits()));
        }
        assert!(bits.windows(2).all(|pair| pair[0] == pair[1]), "{shape:?}: levels differ");
    }
}

fn exact_local(n: usize, weight: &dyn Fn(usize) -> f64, density: &dyn Fn(usize) -> f64) -> f64 {
    (0..n).map(|i| weight(i) * density(i) * (0.75 + 1.5 * density(i))).sum()
}

#[test]
fn the_form_is_the_operator_in_double_precision() {
    compare::<f64>(1e-9);
}

#[test]
fn the_form_is_the_operator_in_single_precision() {
    compare::<f32>(3e-7);
}

#[test]
fn it_is_the_kinetic_energy_of_the_spectral_moments() {
    let shape = Shape { extents: vec![9, 3, 3], page_nodes: 9 };
    let (re, im) = (noise(81, 4), noise(81, 5));
    let pages: Vec<PageRef<'_, f64>> =
        re.chunks(9).zip(im.chunks(9)).map(|(re, im)| PageRef { re, im }).collect();
    let terms = terms(&shape);
    let level = Level::detect();
    let moments: f64 = terms
        .iter()
        .enumerate()
        .map(|(d, term)| {
            let second = crate::reduce::spectral_moments(level, Threads::Serial, &shape, d, &pages).second;
            0.5 * term.diffusion * term.wavenumber_unit.powi(2) * second
        })
        .sum();
    let form = KineticForm::new(&shape, &terms).value(level, Threads::Serial, &pages, Values::Uniform(1.0));
    assert!((form - moments).abs() < 1e-12 * moments, "{form} against {moments}");
}
