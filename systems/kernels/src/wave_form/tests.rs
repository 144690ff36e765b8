//! The planned step against the textbook oscillator on every mode, and its invariants.

use super::*;
use crate::Crew;
use crate::kinetic::AxisTerm;
use crate::kinetic::tests::noise;
use core::f64::consts::TAU;

/// Extents in storage order, and nodes per page.
const SHAPES: [(&[usize], usize); 10] = [
    (&[5], 5),
    (&[3, 3], 9),
    (&[3; 5], 243),
    (&[3; 5], 27),
    (&[27, 4], 108),
    (&[27, 9, 3], 81),
    (&[16, 11], 11),
    (&[6, 5, 2], 20),
    (&[97], 97),
    (&[32, 40], 160),
];

fn terms(extents: &[usize]) -> Vec<AxisTerm> {
    let term = |(d, &extent): (usize, &usize)| AxisTerm {
        extent,
        wavenumber_unit: TAU / (extent as f64 * (0.3 + 0.05 * d as f64)),
        diffusion: 1.0 + 0.1 * d as f64,
    };
    extents.iter().enumerate().map(term).collect()
}

/// Ψ and Ψ̇ of a whole torus, as four planes.
#[derive(Clone, PartialEq, Debug)]
struct Fields<T>([Vec<T>; 4]);

impl<T: Real> Fields<T> {
    fn new(planes: [Vec<f64>; 4]) -> Self {
        Fields(planes.map(|plane| plane.into_iter().map(T::from_f64).collect()))
    }

    fn noise(n: usize) -> Self {
        Self::new([1, 2, 3, 4].map(|seed| noise(n, seed)))
    }

    fn steps(&mut self, plan: &WaveForm<T>, threads: Threads<'_>, kick: &Kick<'_, T>, steps: usize) {
        let nodes = plan.transform.shape.page_nodes;
        let [a, b, c, d] = &mut self.0;
        let pages = |re, im| pages(re, im, nodes);
        let (mut psi, mut velocity) = (pages(a, b), pages(c, d));
        for _ in 0..steps {
            plan.forward(threads, &mut psi, &mut velocity, kick);
            plan.turn(threads, &mut psi, &mut velocity, 0.0);
            plan.backward(threads, &mut psi, &mut velocity, kick);
        }
    }

    fn bits(&self) -> Vec<u64> {
        self.0.iter().flatten().map(|x| x.to_f64().to_bits()).collect()
    }

    fn distance(&self, other: &Fields<f64>) -> f64 {
        let pairs = self.0.iter().flatten().zip(other.0.iter().flatten());
        pairs.map(|(x, y)| (x.to_f64() - y).abs()).fold(0.0, f64::max)
    }
}

fn pages<'a, T>(re: &'a mut [T], im: &'a mut [T], nodes: usize) -> Vec<PageMut<'a, T>> {
    re.chunks_mut(nodes).zip(im.chunks_mut(nodes)).map(|(re, im)| PageMut { re, im }).collect()
}

fn idle<T>() -> Kick<'static, T> {
    Kick { duration: 0.0, beta: 0.0, damping: None }
}

/// Grid indices of a node of the row-major order over `extents`.
fn indices(extents: &[usize], mut node: usize) -> Vec<usize> {
    let mut all = vec![0; extents.len()];
    for (index, &extent) in all.iter_mut().zip(extents).rev() {
        *index = node % extent;
        node /= extent;
    }
    all
}

/// A single travelling mode: Ψ = a·e^{ikx}, Ψ̇ = b·e^{ikx}, with complex a and b.
fn mode(extents: &[usize], m: &[usize], a: (f64, f64), b: (f64, f64)) -> Fields<f64> {
    let n = extents.iter().product();
    let mut planes = [(); 4].map(|()| vec![0.0; n]);
    for node in 0..n {
        let turns: f64 = indices(extents, node)
            .iter()
            .zip(m)
            .zip(extents)
            .map(|((i, m), n)| (i * m % n) as f64 / *n as f64)
            .sum();
        let (sin, cos) = (TAU * turns).sin_cos();
        let values =
            [a.0 * cos - a.1 * sin, a.0 * sin + a.1 * cos, b.0 * cos - b.1 * sin, b.0 * sin + b.1 * cos];
        planes.iter_mut().zip(values).for_each(|(plane, value)| plane[node] = value);
    }
    Fields(planes)
}

fn omega2(terms: &[AxisTerm], m: &[usize]) -> f64 {
    let along = |(term, &m): (&AxisTerm, &usize)| {
        let k = m.min(term.extent - m) as f64 * term.wavenumber_unit;
        term.diffusion * k * k
    };
    terms.iter().zip(m).map(along).sum()
}

fn check_modes<T: Real>(extents: &[usize], page_nodes: usize, alpha: f64, h: f64, tolerance: f64) {
    let shape = Shape { extents: extents.to_vec(), page_nodes };
    let terms = terms(extents);
    let plan = WaveForm::<T>::new(Level::detect(), &shape, &terms, h, alpha);
    let n = shape.n_nodes();
    // A dozen modes spread over all of them, k = 0 first.
    for node in (0..n).step_by(n.div_ceil(12)) {
        let m = indices(extents, node);
        let (a, b) = ((0.6, -0.3), (-0.2, 0.5));
        let mut fields = Fields::<T>::new(mode(extents, &m, a, b).0);
        fields.steps(&plan, Threads::Serial, &idle(), 3);
        let omega2 = omega2(&terms, &m);
        let (re, im) =
            (oscillator(a.0, b.0, omega2, alpha, 3.0 * h), oscillator(a.1, b.1, omega2, alpha, 3.0 * h));
        let off = fields.distance(&mode(extents, &m, (re.0, im.0), (re.1, im.1)));
        // Frequencies enter the velocity.
        let bound = tolerance * (1.0 + omega2.sqrt());
        assert!(off < bound, "{extents:?} mode {m:?} α {alpha} h {h} {}: off by {off:e}", T::NAME);
    }
}

#[test]
fn every_mode_follows_the_exact_oscillator() {
    for (extents, page_nodes) in SHAPES {
        // Slow, fast beyond any stencil's bound, damped, and overdamped on the low modes.
        for (alpha, h) in [(0.0, 1e-3), (0.0, 0.7), (0.8, 0.01), (0.8, 1.3), (30.0, 0.05)] {
            check_modes::<f64>(extents, page_nodes, alpha, h, 2e-13);
            check_modes::<f32>(extents, page_nodes, alpha, h, 4e-5);
        }
    }
}

#[test]
fn the_oscillator_keeps_its_textbook_properties() {
    // k = 0: Ψ drifts by Ψ̇(1 − e^{−αh})/α.
    let (psi, velocity) = oscillator(1.0, 2.0, 0.0, 0.5, 3.0);
    assert!((psi - (1.0 + 2.0 * (1.0 - (-1.5_f64).exp()) / 0.5)).abs() < 1e-14);
    assert!((velocity - 2.0 * (-1.5_f64).exp()).abs() < 1e-14);
    // Underdamped: amplitude e^{−αt/2}, frequency √(ω² − α²/4).
    let shifted = (4.0_f64 - 0.0625).sqrt();
    let (psi, _) = oscillator(1.0, -0.25, 4.0, 0.5, TAU / shifted);
    assert!((psi - (-0.25 * TAU / shifted).exp()).abs() < 1e-14);
    // One long flow is many short ones, on both sides of critical damping and at it.
    for omega2 in [0.0, 0.2, 1.0, 1.0 + 1e-9, 5.0] {
        let mut state = (0.7, -0.4);
        for _ in 0..100 {
            state = oscillator(state.0, state.1, omega2, 2.0, 0.02);
        }
        let once = oscillator(0.7, -0.4, omega2, 2.0, 2.0);
        assert!((state.0 - once.0).abs() < 1e-13 && (state.1 - once.1).abs() < 1e-13, "{omega2}");
    }
}

#[test]
fn levels_and_threads_change_no_bit() {
    let crews: Vec<_> = [1, 2, 4].map(|n| Crew::new(n).expect("threads")).into();
    fn check<T: Real>(extents: &[usize], page_nodes: usize, crews: &[Crew]) {
        let shape = Shape { extents: extents.to_vec(), page_nodes };
        let damping: Vec<T> = noise(shape.n_nodes(), 9).into_iter().map(|x| T::from_f64(x.abs())).collect();
        let slices: Vec<&[T]> = damping.chunks(page_nodes).collect();
        let run = |level, threads: Threads<'_>| {
            let plan = WaveForm::<T>::new(level, &shape, &terms(extents), 0.01, 0.3);
            let mut fields = Fields::<T>::noise(shape.n_nodes());
            let kick = Kick { duration: 0.005, beta: 0.7, damping: Some(&slices) };
            fields.steps(&plan, threads, &kick, 2);
            fields.bits()
        };
        let expected = run(Level::Scalar, Threads::Serial);
        for level in Level::available() {
            assert!(run(level, Threads::Serial) == expected, "{extents:?} {} at {level}", T::NAME);
        }
        for crew in crews {
            assert!(run(Level::detect(), Threads::Crew(crew)) == expected, "{extents:?} {}", T::NAME);
        }
    }
    for (extents, page_nodes) in SHAPES {
        check::<f32>(extents, page_nodes, &crews);
        check::<f64>(extents, page_nodes, &crews);
    }
}

/// Σ over the nodes of Ψ_a·Ψ̇_b − Ψ̇_a·Ψ_b (real parts with real, imaginary with imaginary).
fn symplectic<T: Real>(a: &Fields<T>, b: &Fields<T>) -> f64 {
    let dot = |x: &[T], y: &[T]| x.iter().zip(y).map(|(x, y)| x.to_f64() * y.to_f64()).sum::<f64>();
    dot(&a.0[0], &b.0[2]) - dot(&a.0[2], &b.0[0]) + dot(&a.0[1], &b.0[3]) - dot(&a.0[3], &b.0[1])
}

#[test]
fn the_symplectic_form_decays_as_e_to_minus_alpha_t() {
    let extents = [27, 3, 3];
    let shape = Shape { extents: extents.to_vec(), page_nodes: 27 };
    let (alpha, h, steps) = (0.4, 0.02, 50);
    let plan = WaveForm::<f64>::new(Level::detect(), &shape, &terms(&extents), h, alpha);
    let n = shape.n_nodes();
    let a = Fields::<f64>::noise(n);
    let b = Fields::<f64>::new([5, 6, 7, 8].map(|seed| noise(n, seed)));
    let before = symplectic(&a, &b);
    let (mut a, mut b) = (a, b);
    a.steps(&plan, Threads::Serial, &idle(), steps);
    b.steps(&plan, Threads::Serial, &idle(), steps);
    let expected = (-alpha * h * steps as f64).exp();
    let found = symplectic(&a, &b) / before;
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} for {expected}");
}

#[test]
fn the_nonlinear_step_is_conformally_symplectic_too() {
    // The form on the tangent: two small displacements of one state, differences in f64.
    let extents = [9, 3];
    let shape = Shape { extents: extents.to_vec(), page_nodes: 27 };
    let (alpha, h, steps) = (0.4, 0.05, 20);
    let plan = WaveForm::<f64>::new(Level::detect(), &shape, &terms(&extents), h, alpha);
    let n = shape.n_nodes();
    let kick = Kick { duration: 0.5 * h, beta: -0.6, damping: None };
    let epsilon = 1e-5;
    let displaced = |seed: u64, sign: f64| {
        let mut planes = Fields::<f64>::noise(n).0;
        for (p, plane) in planes.iter_mut().enumerate() {
            let away = noise(n, seed + p as u64);
            plane.iter_mut().zip(away).for_each(|(x, d)| *x += sign * epsilon * d);
        }
        Fields(planes)
    };
    let tangent = |mut ahead: Fields<f64>, mut behind: Fields<f64>, steps: usize| {
        ahead.steps(&plan, Threads::Serial, &kick, steps);
        behind.steps(&plan, Threads::Serial, &kick, steps);
        let mut planes = ahead.0;
        for (x, y) in planes.iter_mut().flatten().zip(behind.0.iter().flatten()) {
            *x = (*x - y) / (2.0 * epsilon);
        }
        Fields(planes)
    };
    let form = |steps| {
        let pair = [20, 30].map(|seed| tangent(displaced(seed, 1.0), displaced(seed, -1.0), steps));
        symplectic(&pair[0], &pair[1])
    };
    let expected = (-alpha * h * steps as f64).exp();
    let found = form(steps) / form(0);
    assert!((found / expected - 1.0).abs() < 1e-6, "{found} for {expected}");
}

/// Σ ½|Ψ̇|² + ½D|∂Ψ|² on a torus of rings of three, from Σk²|Ψ̂|² = (2π/L)²(Σ|Ψ|² − |ΣΨ|²/3) on each.
fn ring_energy(fields: &Fields<f32>, terms: &[AxisTerm]) -> f64 {
    let square = |plane: &[f32]| plane.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
    let mut energy = 0.5 * (square(&fields.0[2]) + square(&fields.0[3]));
    let mut stride = 1;
    for term in terms.iter().rev() {
        let stiffness = 0.5 * term.diffusion * term.wavenumber_unit * term.wavenumber_unit;
        for plane in &fields.0[..2] {
            let sums: f64 = (0..plane.len())
                .filter(|node| node / stride % 3 == 0)
                .map(|node| (0..3).map(|k| f64::from(plane[node + k * stride])).sum::<f64>().powi(2))
                .sum();
            energy += stiffness * (square(plane) - sums / 3.0);
        }
        stride *= 3;
    }
    energy
}

/// Bias per tick below 1e-8 of the energy, against 3e-7 of a transform with rounded constants; what is left, the
/// caller's gain takes.
#[test]
fn single_precision_leaks_little_on_rings() {
    let extents = [3; 7];
    let shape = Shape { extents: extents.to_vec(), page_nodes: 2187 };
    let terms = terms(&extents);
    for h in [1e-3, 0.02] {
        let plan = WaveForm::<f32>::new(Level::detect(), &shape, &terms, h, 0.0);
        let mut fields = Fields::<f32>::noise(shape.n_nodes());
        let before = ring_energy(&fields, &terms);
        fields.steps(&plan, Threads::Serial, &idle(), 4000);
        let drift = ring_energy(&fields, &terms) / before - 1.0;
        assert!(drift.abs() < 4e-5, "h {h}: energy drift {drift:e} in 4000 ticks");
    }
}
