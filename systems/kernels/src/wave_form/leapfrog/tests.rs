//! The force against the operator of the energy, and the step's invariants.

use super::*;
use crate::Crew;
use crate::kinetic::lattice::Lattice;
use crate::kinetic::tests::noise as numbers;
use crate::kinetic::varying::OffDiagonal;

/// What a metric is made of: extents, nodes of a page, nodes of a cell, pairs, axes with one D.
struct Case {
    extents: &'static [usize],
    page_nodes: usize,
    cell: &'static [usize],
    pairs: &'static [(usize, usize)],
    uniform: &'static [usize],
}

const CASES: [Case; 9] = [
    Case { extents: &[3; 5], page_nodes: 243, cell: &[1; 5], pairs: &[(0, 1), (2, 4)], uniform: &[0] },
    Case { extents: &[3; 5], page_nodes: 27, cell: &[1; 5], pairs: &[], uniform: &[1] },
    Case { extents: &[3; 6], page_nodes: 729, cell: &[1, 1, 1, 3, 3, 3], pairs: &[(0, 5)], uniform: &[] },
    Case { extents: &[27, 9, 3], page_nodes: 81, cell: &[1; 3], pairs: &[(0, 2), (1, 2)], uniform: &[] },
    Case { extents: &[16, 11], page_nodes: 11, cell: &[1; 2], pairs: &[(0, 1)], uniform: &[1] },
    Case { extents: &[6, 5, 2], page_nodes: 20, cell: &[1; 3], pairs: &[], uniform: &[] },
    Case { extents: &[32, 40], page_nodes: 160, cell: &[1; 2], pairs: &[], uniform: &[0] },
    Case { extents: &[97], page_nodes: 97, cell: &[1], pairs: &[], uniform: &[] },
    Case { extents: &[9, 15], page_nodes: 135, cell: &[3, 5], pairs: &[(0, 1)], uniform: &[] },
];

impl Case {
    fn diffusion(&self) -> Diffusion {
        let shape = Shape { extents: self.extents.to_vec(), page_nodes: self.page_nodes };
        let axes = self.extents.len();
        let spacing = (0..axes).map(|d| 0.5 + 0.1 * d as f64).collect();
        let grid = CellGrid { shape, spacing, cell: self.cell.to_vec() };
        let n = grid.n_cells();
        let around = |seed: u64, mean: f64, width: f64| -> Vec<f64> {
            numbers(n, seed).into_iter().map(|x| mean + width * x).collect()
        };
        let diagonal = (0..axes).map(|d| match self.uniform.contains(&d) {
            true => vec![1.0 + 0.2 * d as f64],
            false => around(d as u64 + 1, 1.0, 0.4),
        });
        let pair =
            |&axes: &(usize, usize)| OffDiagonal { axes, values: around(70 + axes.1 as u64, 0.0, 0.2) };
        Diffusion { diagonal: diagonal.collect(), off_diagonal: self.pairs.iter().map(pair).collect(), grid }
    }
}

/// Ψ and Ψ̇ as four planes.
#[derive(Clone, PartialEq)]
struct Fields<T>([Vec<T>; 4]);

impl<T: Real> Fields<T> {
    fn noise(n: usize) -> Self {
        Fields([1, 2, 3, 4].map(|seed| numbers(n, seed).into_iter().map(T::from_f64).collect()))
    }

    fn pages(&mut self, nodes: usize) -> [Vec<PageMut<'_, T>>; 2] {
        let [a, b, c, d] = &mut self.0;
        [(a, b), (c, d)].map(|(re, im)| {
            re.chunks_mut(nodes).zip(im.chunks_mut(nodes)).map(|(re, im)| PageMut { re, im }).collect()
        })
    }

    fn bits(&self) -> Vec<u64> {
        self.0.iter().flatten().map(|x| x.to_f64().to_bits()).collect()
    }

    /// Steps of length `dt`, with damping `gamma`.
    fn advance(
        &mut self,
        plan: &mut Leapfrog<T>,
        threads: Threads<'_>,
        steps: usize,
        (dt, beta, gamma): (f64, f64, f64),
    ) {
        let nodes = plan.shape.page_nodes;
        let [mut psi, mut velocity] = self.pages(nodes);
        plan.weigh(threads, &views(&psi[..]));
        let damp = Kick { duration: 0.5 * dt, beta: 0.0, damping: None };
        for _ in 0..steps {
            plan.damp(threads, &mut velocity, gamma, &damp);
            let leap = Leap { kick: 0.5 * dt, beta, drift: Some(dt), gain: 0.0 };
            plan.step(threads, &mut psi, &mut velocity, &leap);
            plan.weigh(threads, &views(&psi[..]));
            plan.step(threads, &mut psi, &mut velocity, &Leap { drift: None, ..leap });
            plan.damp(threads, &mut velocity, gamma, &damp);
        }
    }
}

fn views<'a, T>(pages: &'a [PageMut<'_, T>]) -> Vec<PageRef<'a, T>> {
    pages.iter().map(PageMut::as_ref).collect()
}

/// The image of the first field, (re, im).
fn image<T: Real>(plan: &mut Leapfrog<T>, fields: &mut Fields<T>, threads: Threads<'_>) -> [Vec<f64>; 2] {
    let nodes = plan.shape.page_nodes;
    let [psi, _] = fields.pages(nodes);
    let views: Vec<_> = psi.iter().map(PageMut::as_ref).collect();
    plan.weigh(threads, &views);
    [&plan.image.re, &plan.image.im].map(|plane| plane.iter().map(|x| x.to_f64()).collect())
}

#[test]
fn the_image_is_that_of_the_energys_operator() {
    for case in &CASES {
        let diffusion = case.diffusion();
        let n = diffusion.grid.shape.n_nodes();
        let mut fields = Fields::<f64>::noise(n);
        let [re, im, ..] = fields.0.clone();
        let expected = Lattice::dense(&diffusion.grid).image(&diffusion, re, im);
        let expected = [expected.image().0, expected.image().1];
        let largest = expected.iter().flat_map(|plane| plane.iter()).fold(0.0_f64, |m, x| m.max(x.abs()));
        let mut plan = Leapfrog::new(Level::detect(), &diffusion);
        let found = image(&mut plan, &mut fields, Threads::Serial);
        for (found, expected) in found.iter().zip(expected) {
            for (x, y) in found.iter().zip(expected) {
                assert!((x + 2.0 * y).abs() < 1e-12 * largest, "{:?}: {x} {y}", case.extents);
            }
        }
        let mut single = Leapfrog::<f32>::new(Level::detect(), &diffusion);
        let rough = image(&mut single, &mut Fields::noise(n), Threads::Serial);
        for (x, y) in rough.iter().flatten().zip(found.iter().flatten()) {
            assert!((x - y).abs() < 1e-5 * largest, "{:?} in single precision: {x} {y}", case.extents);
        }
    }
}

#[test]
fn renewed_cells_are_those_of_a_new_plan() {
    let case = &CASES[2];
    let mut diffusion = case.diffusion();
    let mut plan = Leapfrog::<f64>::new(Level::detect(), &diffusion);
    let changed = [0, 5, 6, 20];
    for &cell in &changed {
        diffusion.diagonal[4][cell] *= 1.3;
        diffusion.off_diagonal[0].values[cell] -= 0.1;
    }
    plan.renew(&diffusion, &changed);
    let mut fields = Fields::noise(729);
    let renewed = image(&mut plan, &mut fields, Threads::Serial);
    let fresh = image(&mut Leapfrog::new(Level::detect(), &diffusion), &mut fields, Threads::Serial);
    assert_eq!(renewed, fresh);
}

fn bits_at_every_level<T: Real>() {
    let crew = Crew::new(3).expect("threads");
    for case in &CASES {
        let diffusion = case.diffusion();
        let start = Fields::<T>::noise(diffusion.grid.shape.n_nodes());
        let run = |level: Level, threads: Threads<'_>| {
            let mut fields = start.clone();
            let mut plan = Leapfrog::new(level, &diffusion);
            fields.advance(&mut plan, threads, 3, (0.01, -0.7, 0.3));
            fields.bits()
        };
        let expected = run(Level::Scalar, Threads::Serial);
        assert_ne!(expected, start.bits());
        for level in Level::available() {
            assert_eq!(run(level, Threads::Serial), expected, "{:?} at {level:?}", case.extents);
            assert_eq!(run(level, Threads::Crew(&crew)), expected, "{:?} with threads", case.extents);
        }
    }
}

#[test]
fn neither_level_nor_threads_change_a_bit() {
    bits_at_every_level::<f32>();
    bits_at_every_level::<f64>();
}

#[test]
fn the_bound_is_above_every_mode_and_the_step_below_it_is_stable() {
    for case in &CASES {
        let diffusion = case.diffusion();
        let n = diffusion.grid.shape.n_nodes();
        let bound = frequency_bound(&diffusion);
        // The largest ω² by power iteration.
        let mut plan = Leapfrog::<f64>::new(Level::detect(), &diffusion);
        let mut fields = Fields::noise(n);
        let mut square = 0.0;
        for _ in 0..200 {
            let found = image(&mut plan, &mut fields, Threads::Serial);
            let size = found.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
            let before = fields.0[..2].iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
            square = size / before;
            for (plane, found) in fields.0.iter_mut().zip(found) {
                *plane = found.into_iter().map(|x| x / size).collect();
            }
        }
        assert!(square <= bound * bound && square > 0.3 * bound * bound, "{square} {bound}");
        let mut fields = Fields::noise(n);
        let largest = |fields: &Fields<f64>| fields.0.iter().flatten().fold(0.0_f64, |m, x| m.max(x.abs()));
        fields.advance(&mut plan, Threads::Serial, 300, (1.99 / bound, 0.0, 0.0));
        assert!(largest(&fields) < 200.0 * bound, "{:?}: {}", case.extents, largest(&fields));
    }
}

#[test]
fn the_shadow_energy_is_kept_to_rounding_and_the_steps_are_reversible() {
    for case in &CASES {
        let diffusion = case.diffusion();
        let mut plan = Leapfrog::<f64>::new(Level::detect(), &diffusion);
        let dt = 0.8 / frequency_bound(&diffusion);
        let start = Fields::<f64>::noise(diffusion.grid.shape.n_nodes());
        let mut energies = |fields: &mut Fields<f64>| {
            let force = image(&mut plan, fields, Threads::Serial);
            let kinetic: f64 = fields.0[2..].iter().flatten().map(|x| 0.5 * x * x).sum();
            let potential: f64 =
                fields.0.iter().flatten().zip(force.iter().flatten()).map(|(x, f)| -0.5 * x * f).sum();
            let force2: f64 = force.iter().flatten().map(|x| x * x).sum();
            (kinetic + potential, kinetic + potential - dt * dt / 8.0 * force2)
        };
        let mut fields = start.clone();
        let first = energies(&mut fields);
        let mut other = Leapfrog::new(Level::detect(), &diffusion);
        fields.advance(&mut other, Threads::Serial, 500, (dt, 0.0, 0.0));
        let last = energies(&mut fields);
        assert!((last.1 / first.1 - 1.0).abs() < 1e-12, "{first:?} {last:?}");
        assert!((last.0 / first.0 - 1.0).abs() > 1e-9, "H itself swings: {first:?} {last:?}");
        fields.0[2..].iter_mut().flatten().for_each(|x| *x = -*x);
        fields.advance(&mut other, Threads::Serial, 500, (dt, 0.0, 0.0));
        let back = fields.0[..2].iter().flatten().zip(start.0[..2].iter().flatten());
        let off = back.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        assert!(off < 1e-11, "{:?}: {off}", case.extents);
    }
}
