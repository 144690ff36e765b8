//! The flow on active sets against a dense matrix, its unitarity on random sets, and what it shares with the dense one.

use super::super::tests::noise;
use super::*;
use crate::Crew;
use crate::field::{PageRef, Shape};
use crate::kinetic::Kinetic;
use std::f64::consts::TAU;

type Z = (f64, f64);

fn terms(extents: &[usize]) -> Vec<AxisTerm> {
    let term = |(d, &extent): (usize, &usize)| AxisTerm {
        extent,
        wavenumber_unit: TAU / (extent as f64 * (0.8 + 0.05 * d as f64)),
        diffusion: 1.0 + 0.1 * d as f64,
    };
    extents.iter().enumerate().map(term).collect()
}

fn blocks(extents: &[usize], sides: &[usize]) -> Blocks {
    Blocks { extents: extents.to_vec(), sides: sides.to_vec() }
}

fn n_pages(blocks: &Blocks) -> usize {
    blocks.extents.iter().zip(&blocks.sides).map(|(extent, side)| extent / side).product()
}

/// Row-major coordinates of node `i` of `page`.
fn node(blocks: &Blocks, page: usize, i: usize) -> Vec<usize> {
    let (mut page, mut i) = (page, i);
    let mut found = vec![0; blocks.sides.len()];
    for d in (0..found.len()).rev() {
        let (side, along) = (blocks.sides[d], blocks.extents[d] / blocks.sides[d]);
        found[d] = page % along * side + i % side;
        page /= along;
        i /= side;
    }
    found
}

/// A random set of about `share` of the pages, never empty.
fn random_set(blocks: &Blocks, share: f64, seed: u64) -> Vec<usize> {
    let draw = noise(n_pages(blocks), seed);
    let mut set: Vec<usize> = (0..draw.len()).filter(|&p| 0.5 * (draw[p] + 1.0) < share).collect();
    if set.is_empty() {
        set.push(seed as usize % draw.len());
    }
    set
}

struct Field<T> {
    re: Vec<T>,
    im: Vec<T>,
    nodes: usize,
}

impl<T: Real> Field<T> {
    fn noise(n_pages: usize, nodes: usize, seed: u64) -> Self {
        let plane = |seed| noise(n_pages * nodes, seed).into_iter().map(T::from_f64).collect();
        Self { re: plane(seed), im: plane(seed + 1), nodes }
    }

    fn pages_mut(&mut self) -> Vec<PageMut<'_, T>> {
        let (re, im) = (self.re.chunks_mut(self.nodes), self.im.chunks_mut(self.nodes));
        re.zip(im).map(|(re, im)| PageMut { re, im }).collect()
    }

    fn pages(&self) -> Vec<PageRef<'_, T>> {
        let (re, im) = (self.re.chunks(self.nodes), self.im.chunks(self.nodes));
        re.zip(im).map(|(re, im)| PageRef { re, im }).collect()
    }

    fn norm2(&self) -> f64 {
        let square = |x: &T| x.to_f64() * x.to_f64();
        self.re.iter().chain(&self.im).map(square).sum()
    }
}

/// T_d(j − k) in position space.
fn element(term: &AxisTerm, offset: usize) -> f64 {
    let n = term.extent;
    (0..n).fold(0.0, |sum, mode| {
        let signed = if 2 * mode > n { mode as f64 - n as f64 } else { mode as f64 };
        let k = signed * term.wavenumber_unit;
        sum + 0.5 * term.diffusion * k * k * (TAU * (mode * offset % n) as f64 / n as f64).cos() / n as f64
    })
}

/// P T P Ψ, or all of T P Ψ on the pages of `on`.
fn apply(blocks: &Blocks, terms: &[AxisTerm], set: &[usize], on: &[usize], psi: &[Z]) -> Vec<Z> {
    let nodes = blocks.page_nodes();
    let all = |pages: &[usize]| -> Vec<Vec<usize>> {
        pages
            .iter()
            .flat_map(|&page| (0..nodes).map(move |i| (page, i)))
            .map(|(p, i)| node(blocks, p, i))
            .collect()
    };
    let (from, to) = (all(set), all(on));
    let tables: Vec<Vec<f64>> =
        terms.iter().map(|t| (0..t.extent).map(|o| element(t, o)).collect()).collect();
    to.iter()
        .map(|a| {
            from.iter().zip(psi).fold((0.0, 0.0), |sum, (b, z)| {
                let mut apart = (0..a.len()).filter(|&d| a[d] != b[d]);
                let t: f64 = match (apart.next(), apart.next()) {
                    (None, _) => tables.iter().map(|table| table[0]).sum(),
                    (Some(d), None) => tables[d][(a[d] + blocks.extents[d] - b[d]) % blocks.extents[d]],
                    _ => return sum,
                };
                (sum.0 + t * z.0, sum.1 + t * z.1)
            })
        })
        .collect()
}

/// exp(−iτPTP)Ψ by its Taylor series in small steps.
fn exact(blocks: &Blocks, terms: &[AxisTerm], set: &[usize], duration: f64, psi: &[Z]) -> Vec<Z> {
    let steps = (200.0 * duration).ceil() as usize;
    let h = duration / steps as f64;
    let mut psi = psi.to_vec();
    for _ in 0..steps {
        let mut term = psi.clone();
        for k in 1..=12 {
            let t = apply(blocks, terms, set, set, &term);
            // −i·h/k·T.
            term = t.into_iter().map(|(re, im)| (im * h / k as f64, -re * h / k as f64)).collect();
            psi.iter_mut().zip(&term).for_each(|(z, t)| *z = (z.0 + t.0, z.1 + t.1));
        }
    }
    psi
}

fn error(field: &Field<f64>, expected: &[Z]) -> f64 {
    let square = |(a, b): Z| a * a + b * b;
    let found = field.re.iter().copied().zip(field.im.iter().copied());
    let difference: f64 = found.zip(expected).map(|(a, b)| square((a.0 - b.0, a.1 - b.1))).sum();
    (difference / expected.iter().map(|&z| square(z)).sum::<f64>()).sqrt()
}

const CASES: [(&[usize], &[usize]); 5] = [
    (&[9, 9], &[3, 3]),
    (&[27, 9, 3], &[3, 3, 3]),
    (&[8, 6, 4], &[2, 3, 2]),
    (&[24], &[4]),
    (&[9, 9, 3, 3, 3, 3], &[3, 3, 3, 3, 3, 3]),
];

#[test]
fn the_error_against_a_dense_exponential_is_of_second_order_at_odd_and_even_ticks() {
    let blocks = blocks(&[9, 12], &[3, 2]);
    let terms = terms(&blocks.extents);
    let set = random_set(&blocks, 0.5, 5);
    let nodes = blocks.page_nodes();
    let start = Field::<f64>::noise(set.len(), nodes, 3);
    let psi: Vec<Z> = start.re.iter().copied().zip(start.im.iter().copied()).collect();
    let total = 0.1;
    let expected = exact(&blocks, &terms, &set, total, &psi);
    let run = |ticks: usize| {
        let mut kinetic = SparseKinetic::<f64>::new(Level::detect(), &blocks, &terms, total / ticks as f64);
        kinetic.activate(&set);
        let mut field = Field { re: start.re.clone(), im: start.im.clone(), nodes };
        for tick in 0..ticks {
            kinetic.sweep(Threads::Serial, &mut field.pages_mut(), None, tick % 2 == 1, &Probe::default());
        }
        error(&field, &expected)
    };
    for (coarse, fine) in [(40, 80), (41, 81)] {
        let (coarse_error, fine_error) = (run(coarse), run(fine));
        let order = (coarse_error / fine_error).ln() / (fine as f64 / coarse as f64).ln();
        assert!((1.95..2.1).contains(&order), "{coarse} → {fine} ticks: order {order}, error {fine_error:e}");
        assert!(fine_error < 1e-4, "{fine_error:e}");
    }
}

#[test]
fn one_page_and_one_column_are_exact() {
    for (extents, sides) in CASES {
        let blocks = blocks(extents, sides);
        let terms = terms(extents);
        let last = extents.len() - 1;
        let column: Vec<usize> = (0..extents[last] / sides[last]).filter(|p| p % 3 != 2).collect();
        for set in [vec![n_pages(&blocks) - 1], column] {
            let nodes = blocks.page_nodes();
            let mut field = Field::<f64>::noise(set.len(), nodes, 7);
            let psi: Vec<Z> = field.re.iter().copied().zip(field.im.iter().copied()).collect();
            let mut kinetic = SparseKinetic::<f64>::new(Level::detect(), &blocks, &terms, 0.02);
            kinetic.activate(&set);
            kinetic.sweep(Threads::Serial, &mut field.pages_mut(), None, false, &Probe::default());
            let found = error(&field, &exact(&blocks, &terms, &set, 0.02, &psi));
            assert!(found < 1e-13, "{extents:?} {set:?}: {found:e}");
        }
    }
}

#[test]
fn unitary_on_random_active_sets() {
    for (extents, sides) in CASES {
        let blocks = blocks(extents, sides);
        for seed in 1..6 {
            let set = random_set(&blocks, 0.15 * seed as f64, 11 * seed);
            let mut field = Field::<f64>::noise(set.len(), blocks.page_nodes(), seed);
            let mut kinetic = SparseKinetic::<f64>::new(Level::detect(), &blocks, &terms(extents), 1e-3);
            kinetic.activate(&set);
            let before = field.norm2();
            let ticks = 10_000 / (1 + set.len() * blocks.page_nodes() / 200);
            for tick in 0..ticks {
                kinetic.sweep(
                    Threads::Serial,
                    &mut field.pages_mut(),
                    None,
                    tick % 2 == 1,
                    &Probe::default(),
                );
            }
            let drift = (field.norm2() / before - 1.0).abs() / ticks as f64 * 1e4;
            assert!(drift < 1e-12, "{extents:?} {} pages: {drift:e} per 10⁴ ticks", set.len());
        }
    }
}

#[test]
fn all_active_equals_dense() {
    for (extents, sides) in CASES {
        let blocks = blocks(extents, sides);
        let terms = terms(extents);
        let set: Vec<usize> = (0..n_pages(&blocks)).collect();
        let nodes = blocks.page_nodes();
        let mut field = Field::<f64>::noise(set.len(), nodes, 9);
        let shape = Shape { extents: extents.to_vec(), page_nodes: extents.iter().product() };
        let at =
            |page: usize, i: usize| node(&blocks, page, i).iter().zip(extents).fold(0, |a, (c, n)| a * n + c);
        let mut dense =
            Field { re: vec![0.0; shape.n_nodes()], im: vec![0.0; shape.n_nodes()], nodes: shape.n_nodes() };
        for (page, i) in set.iter().flat_map(|&p| (0..nodes).map(move |i| (p, i))) {
            dense.re[at(page, i)] = field.re[page * nodes + i];
            dense.im[at(page, i)] = field.im[page * nodes + i];
        }
        let mut sparse = SparseKinetic::<f64>::new(Level::detect(), &blocks, &terms, 0.01);
        sparse.activate(&set);
        let whole = Kinetic::<f64>::new(Level::detect(), &shape, &terms, 0.01, Time::Real);
        for tick in 0..20 {
            sparse.sweep(Threads::Serial, &mut field.pages_mut(), None, tick % 2 == 1, &Probe::default());
            whole.sweep_inner(Threads::Serial, &mut dense.pages_mut(), None, &Probe::default());
            whole.sweep_outer(Threads::Serial, &mut dense.pages_mut(), None, &Probe::default());
        }
        let expected: Vec<Z> = set
            .iter()
            .flat_map(|&p| (0..nodes).map(move |i| (p, i)))
            .map(|(p, i)| (dense.re[at(p, i)], dense.im[at(p, i)]))
            .collect();
        let found = error(&field, &expected);
        assert!(found < 1e-13, "{extents:?}: {found:e}");
        let pages = dense.pages();
        for axis in 0..extents.len() {
            let a = sparse.moments(Threads::Serial, axis, &field.pages());
            let b = crate::reduce::spectral_moments(Level::detect(), Threads::Serial, &shape, axis, &pages);
            let close = |a: f64, b: f64| (a - b).abs() < 1e-11 * (1.0 + b.abs());
            let alike = close(a.weight, b.weight) && close(a.first, b.first) && close(a.second, b.second);
            assert!(alike, "{extents:?} axis {axis}: {a:?} {b:?}");
        }
    }
}

#[test]
fn energy_and_leaks_are_those_of_the_matrix() {
    for (extents, sides) in CASES {
        let blocks = blocks(extents, sides);
        let terms = terms(extents);
        let set = random_set(&blocks, 0.3, 21);
        let nodes = blocks.page_nodes();
        let field = Field::<f64>::noise(set.len(), nodes, 2);
        let psi: Vec<Z> = field.re.iter().copied().zip(field.im.iter().copied()).collect();
        let mut kinetic = SparseKinetic::<f64>::new(Level::detect(), &blocks, &terms, 1e-3);
        kinetic.activate(&set);
        let (mut energy, mut worst) = (0.0, 0.0_f64);
        for axis in 0..extents.len() {
            let moments = kinetic.moments(Threads::Serial, axis, &field.pages());
            let term = &terms[axis];
            energy += 0.5 * term.diffusion * term.wavenumber_unit.powi(2) * moments.second;
            let mut only = terms.clone();
            only.iter_mut().enumerate().filter(|(d, _)| *d != axis).for_each(|(_, t)| t.diffusion = 0.0);
            let grams = kinetic.grams(Threads::Serial, axis, &field.pages());
            for leak in kinetic.leaks(axis, &grams) {
                assert!(!set.contains(&leak.page));
                let there = apply(&blocks, &only, &set, &[leak.page], &psi);
                let expected: f64 = there.iter().map(|z| z.0 * z.0 + z.1 * z.1).sum();
                worst = worst.max((leak.rate2 - expected).abs() / expected.max(1e-30));
            }
            let mut drops = vec![false; set.len()];
            drops[set.len() / 2] = true;
            let (with, without) = kinetic.energy_without(Threads::Serial, axis, &field.pages(), &drops);
            let form = |psi: &[Z]| -> f64 {
                let t = apply(&blocks, &only, &set, &set, psi);
                t.iter().zip(psi).map(|(a, b)| a.0 * b.0 + a.1 * b.1).sum()
            };
            let mut rest = psi.clone();
            rest[set.len() / 2 * nodes..][..nodes].fill((0.0, 0.0));
            let expected = form(&psi) - form(&rest);
            assert!((with - without - expected).abs() < 1e-10 * (1.0 + with.abs()), "{extents:?}");
        }
        let t = apply(&blocks, &terms, &set, &set, &psi);
        let expected: f64 = t.iter().zip(&psi).map(|(a, b)| a.0 * b.0 + a.1 * b.1).sum();
        assert!((energy / expected - 1.0).abs() < 1e-12, "{extents:?}: {energy} {expected}");
        assert!(worst < 1e-10, "{extents:?}: {worst:e}");
    }
}

#[test]
fn threads_levels_and_rotations_of_a_pattern_do_not_change_a_bit() {
    for (extents, sides) in CASES {
        let blocks = blocks(extents, sides);
        let set = random_set(&blocks, 0.4, 4);
        let run = |level, threads: Threads<'_>| {
            let mut kinetic = SparseKinetic::<f32>::new(level, &blocks, &terms(extents), 1e-2);
            kinetic.activate(&set);
            let mut field = Field::<f32>::noise(set.len(), blocks.page_nodes(), 8);
            for tick in 0..4 {
                kinetic.sweep(threads, &mut field.pages_mut(), None, tick % 2 == 1, &Probe::default());
            }
            let grams = kinetic.grams(threads, 0, &field.pages());
            (field.re, field.im, grams)
        };
        let reference = run(Level::Scalar, Threads::Serial);
        let crew = Crew::new(3).expect("threads");
        for level in Level::available() {
            assert!(run(level, Threads::Serial) == reference, "{extents:?} {level:?}");
            assert!(run(level, Threads::Crew(&crew)) == reference, "{extents:?} {level:?} on threads");
        }
    }
    let mut kinetic = SparseKinetic::<f64>::new(Level::Scalar, &blocks(&[27], &[3]), &terms(&[27]), 1e-2);
    for set in [[0, 1], [4, 5], [7, 8]] {
        kinetic.activate(&set);
    }
    kinetic.activate(&[0, 8]);
    assert_eq!(kinetic.n_patterns(), 1);
}
