//! The flow of a varying metric on active sets: unitary on any, of second order, the dense one where all is active.

use super::super::super::tests::noise;
use super::super::super::varying::{CellGrid, OffDiagonal, Varying};
use super::*;
use crate::Crew;
use crate::field::{PageRef, Shape, Values};
use crate::half_potential::Time;
use crate::kinetic::lattice::Lattice;
use std::f64::consts::TAU;

const RULE: RemainderRule = RemainderRule { every: 1, vectors: 4 };
const BACKGROUND: [f64; 5] = [1.3, 0.7, 1.1, 0.9, 1.2];

type Case = (&'static [usize], &'static [usize], &'static [usize], &'static [usize]);

/// Extents, sides, cells, an active set.
const CASES: [Case; 4] = [
    (&[9, 9], &[3, 3], &[3, 1], &[0, 1, 4, 8]),
    (&[9, 9, 3], &[3, 3, 3], &[1, 3, 3], &[0, 1, 3, 7]),
    (&[15, 6], &[3, 2], &[1, 1], &[1, 2, 3, 7, 12, 14]),
    (&[27, 3, 3], &[3, 3, 3], &[3, 3, 3], &[2, 3, 6]),
];

fn blocks(case: Case) -> Blocks {
    Blocks { extents: case.0.to_vec(), sides: case.1.to_vec() }
}

fn terms(case: Case) -> Vec<AxisTerm> {
    let term = |(d, &extent): (usize, &usize)| AxisTerm {
        extent,
        wavenumber_unit: TAU / (extent as f64 * (0.8 + 0.05 * d as f64)),
        diffusion: BACKGROUND[d],
    };
    case.0.iter().enumerate().map(term).collect()
}

fn grid(case: Case) -> CellGrid {
    let shape = Shape { extents: case.0.to_vec(), page_nodes: case.0.iter().product() };
    let spacing = (0..case.0.len()).map(|d| 0.8 + 0.05 * d as f64).collect();
    CellGrid { shape, spacing, cell: case.2.to_vec() }
}

fn cells_per_page(case: Case) -> usize {
    case.1.iter().product::<usize>() / case.2.iter().product::<usize>()
}

/// A metric on pages, random by page and cell: the same whatever else is active.
fn metric(case: Case, set: &[usize]) -> Diffusion {
    let (axes, per_page) = (case.0.len(), cells_per_page(case));
    let random = |seed: u64, from: f64, to: f64| -> Vec<f64> {
        let of_page = |&page: &usize| noise(per_page, 1000 * seed + page as u64 + 1);
        set.iter().flat_map(of_page).map(|x| from + 0.5 * (x + 1.0) * (to - from)).collect()
    };
    let pairs = (0..axes).flat_map(|i| (i + 1..axes).map(move |j| (i, j)));
    Diffusion {
        diagonal: (0..axes).map(|a| random(a as u64, 0.5, 2.0)).collect(),
        off_diagonal: pairs
            .map(|axes| OffDiagonal { axes, values: random(10 + axes.1 as u64, -0.3, 0.3) })
            .collect(),
        grid: grid(case),
    }
}

/// Of a static metric, whose every tick is a palindrome.
fn plan<T: Real>(case: Case, set: &[usize], diffusion: &Diffusion, duration: f64) -> SparseVarying<T> {
    plan_of(case, set, diffusion, duration, false)
}

fn plan_of<T: Real>(
    case: Case,
    set: &[usize],
    diffusion: &Diffusion,
    duration: f64,
    is_plastic: bool,
) -> SparseVarying<T> {
    let how = (RULE, is_plastic);
    let mut plan = SparseVarying::new(Level::detect(), &blocks(case), case.2, &terms(case), duration, how);
    plan.activate(set, diffusion);
    plan
}

#[derive(Debug, Clone, PartialEq)]
struct Field<T> {
    re: Vec<T>,
    im: Vec<T>,
    nodes: usize,
}

impl<T: Real> Field<T> {
    fn noise(case: Case, set: &[usize]) -> Self {
        let nodes = case.1.iter().product();
        let plane = |seed| noise(set.len() * nodes, seed).into_iter().map(T::from_f64).collect();
        Self { re: plane(1), im: plane(2), nodes }
    }

    fn pages(&self) -> Vec<PageRef<'_, T>> {
        let pages = self.re.chunks(self.nodes).zip(self.im.chunks(self.nodes));
        pages.map(|(re, im)| PageRef { re, im }).collect()
    }

    fn advance(&mut self, plan: &mut SparseVarying<T>, ticks: u64) {
        for tick in 0..ticks {
            let pages = self.re.chunks_mut(self.nodes).zip(self.im.chunks_mut(self.nodes));
            let mut pages: Vec<_> = pages.map(|(re, im)| PageMut { re, im }).collect();
            plan.sweep_inner(Threads::Serial, &mut pages, None, tick, &Probe::default());
        }
    }

    fn norm2(&self) -> f64 {
        self.re.iter().chain(&self.im).map(|x| x.to_f64() * x.to_f64()).sum()
    }

    fn distance(&self, re: &[f64], im: &[f64]) -> f64 {
        let square = |x: &T, y: &f64| (x.to_f64() - y).powi(2);
        let sum: f64 = self.re.iter().zip(re).chain(self.im.iter().zip(im)).map(|(x, y)| square(x, y)).sum();
        (sum / self.norm2()).sqrt()
    }
}

#[test]
fn the_step_is_unitary_on_any_set() {
    for case in CASES {
        for is_plastic in [false, true] {
            let mut plan = plan_of::<f64>(case, case.3, &metric(case, case.3), 0.3, is_plastic);
            let mut field = Field::noise(case, case.3);
            let before = field.norm2();
            field.advance(&mut plan, 300);
            let drift = field.norm2() / before - 1.0;
            assert!(drift.abs() < 1e-12, "{case:?}: {drift:e}");
        }
    }
}

#[test]
fn the_error_against_the_operators_exponential_is_of_second_order() {
    for case in CASES {
        let diffusion = metric(case, case.3);
        let mut lattice =
            Lattice::sparse(&blocks(case), &grid(case).spacing, case.2, BACKGROUND[..case.0.len()].to_vec());
        lattice.activate(&blocks(case), case.3);
        let start = Field::<f64>::noise(case, case.3);
        // exp(−iTt)Ψ by its Taylor series.
        let (total, steps) = (0.16, 400);
        let h = total / f64::from(steps);
        let (mut re, mut im) = (start.re.clone(), start.im.clone());
        for _ in 0..steps {
            let (mut x, mut y) = (re.clone(), im.clone());
            for k in 1..=8 {
                let image = lattice.image(&diffusion, x, y);
                let (t_re, t_im) = image.image();
                let factor = h / f64::from(k);
                (x, y) =
                    (t_im.iter().map(|t| factor * t).collect(), t_re.iter().map(|t| -factor * t).collect());
                re.iter_mut().zip(&x).for_each(|(z, t)| *z += t);
                im.iter_mut().zip(&y).for_each(|(z, t)| *z += t);
            }
        }
        // Where a palindrome takes two ticks, after whole ones and in the middle of one.
        for (is_plastic, coarse, fine) in [(false, 16, 32), (true, 16, 32), (true, 17, 33)] {
            let error = |ticks: u64| {
                let mut field = start.clone();
                let duration = total / ticks as f64;
                field.advance(&mut plan_of(case, case.3, &diffusion, duration, is_plastic), ticks);
                field.distance(&re, &im)
            };
            let errors = [error(coarse), error(fine)];
            let order = (errors[0] / errors[1]).ln() / (fine as f64 / coarse as f64).ln();
            assert!((1.9..2.2).contains(&order) && errors[1] < 1e-2, "{case:?}: {errors:?}, order {order}");
        }
    }
}

#[test]
fn all_pages_active_is_the_dense_flow() {
    for (case, is_plastic) in [(CASES[0], false), (CASES[0], true), (CASES[3], false), (CASES[3], true)] {
        let all: Vec<usize> =
            (0..blocks(case).extents.iter().zip(case.1).map(|(n, side)| n / side).product()).collect();
        let mut sparse = metric(case, &all);
        // One number per axis keeps this independent of how cells are counted.
        sparse.diagonal.iter_mut().enumerate().for_each(|(a, values)| values.fill(0.6 + 0.2 * a as f64));
        sparse.off_diagonal.iter_mut().for_each(|pair| pair.values.fill(0.1));
        let mut dense = sparse.clone();
        let n_cells = dense.grid.n_cells();
        dense.diagonal.iter_mut().for_each(|values| values.resize(n_cells, values[0]));
        let mut flow =
            Varying::<f64>::new(Level::detect(), &dense, 0.1, Time::Real, is_plastic, RULE).expect("short");
        let mut field = Field::<f64>::noise(case, &all);
        // The dense field in its own order of nodes.
        let b = blocks(case);
        let place = |page: usize, i: usize| {
            let (mut page, mut i, mut at, mut scale) = (page, i, 0, 1);
            for d in (0..b.sides.len()).rev() {
                let along = b.pages_along(d);
                at += (page % along * b.sides[d] + i % b.sides[d]) * scale;
                scale *= b.extents[d];
                page /= along;
                i /= b.sides[d];
            }
            at
        };
        let n = field.re.len();
        let (mut re, mut im) = (vec![0.0; n], vec![0.0; n]);
        for k in 0..n {
            let at = place(k / field.nodes, k % field.nodes);
            (re[at], im[at]) = (field.re[k], field.im[k]);
        }
        field.advance(&mut plan_of(case, &all, &sparse, 0.1, is_plastic), 5);
        for tick in 0..5 {
            let mut pages = [PageMut { re: &mut re, im: &mut im }];
            flow.sweep_inner(Threads::Serial, &mut pages, None, tick, &Probe::default());
        }
        let (mut x, mut y) = (vec![0.0; n], vec![0.0; n]);
        for k in 0..n {
            let at = place(k / field.nodes, k % field.nodes);
            (x[k], y[k]) = (re[at], im[at]);
        }
        let error = field.distance(&x, &y);
        assert!(error < 1e-12, "{case:?}: {error:e}");
    }
}

#[test]
fn a_renewed_plan_and_a_grown_set_are_fresh_plans() {
    for case in CASES {
        let (before, after) = (&case.3[1..], case.3);
        let mut diffusion = metric(case, before);
        let plan_f32 = |set, diffusion: &_| plan_of::<f32>(case, set, diffusion, 0.3, true);
        let mut kept = plan_f32(before, &diffusion);
        let changed = [0, cells_per_page(case), 2 * cells_per_page(case) - 1];
        let changed = if cells_per_page(case) == 1 { &changed[..2] } else { &changed[..] };
        for &cell in changed {
            diffusion.diagonal.iter_mut().for_each(|values| values[cell] *= 1.2);
            diffusion.off_diagonal.iter_mut().for_each(|pair| pair.values[cell] -= 0.1);
        }
        kept.renew(Threads::Serial, &diffusion, changed);
        let run = |plan: &mut SparseVarying<f32>, set: &[usize]| {
            let mut field = Field::<f32>::noise(case, set);
            field.advance(plan, 4);
            field
        };
        assert_eq!(run(&mut kept, before), run(&mut plan_f32(before, &diffusion), before), "{case:?}");
        // A page more, with a metric of its own; the others keep theirs.
        let mut grown = metric(case, after);
        let per_page = cells_per_page(case);
        let move_in = |to: &mut [f64], from: &[f64]| to[per_page..].copy_from_slice(from);
        grown.diagonal.iter_mut().zip(&diffusion.diagonal).for_each(|(to, from)| move_in(to, from));
        let pairs = grown.off_diagonal.iter_mut().zip(&diffusion.off_diagonal);
        pairs.for_each(|(to, from)| move_in(&mut to.values, &from.values));
        kept.activate(after, &grown);
        assert_eq!(run(&mut kept, after), run(&mut plan_f32(after, &grown), after), "{case:?}");
        // The energy of what propagates is the lattice's.
        let mut lattice =
            Lattice::sparse(&blocks(case), &grid(case).spacing, case.2, BACKGROUND[..case.0.len()].to_vec());
        lattice.activate(&blocks(case), after);
        let energy =
            |field: &Field<f64>| lattice.form(Threads::Serial, &grown, &field.pages(), Values::Uniform(1.0));
        let mut field = Field::<f64>::noise(case, after);
        let start = energy(&field);
        field.advance(&mut plan(case, after, &grown, 1e-3), 200);
        assert!((energy(&field) / start - 1.0).abs() < 1e-4, "{case:?}");
    }
}

#[test]
fn threads_and_levels_do_not_change_a_bit() {
    let case = CASES[1];
    let diffusion = metric(case, case.3);
    let run = |level, threads: usize, is_plastic| {
        let how = (RULE, is_plastic);
        let mut plan = SparseVarying::<f32>::new(level, &blocks(case), case.2, &terms(case), 0.3, how);
        plan.activate(case.3, &diffusion);
        let mut field = Field::<f32>::noise(case, case.3);
        let crew = Crew::new(threads).expect("threads");
        for tick in 0..3 {
            let pages = field.re.chunks_mut(field.nodes).zip(field.im.chunks_mut(field.nodes));
            let mut pages: Vec<_> = pages.map(|(re, im)| PageMut { re, im }).collect();
            plan.sweep_inner(Threads::Crew(&crew), &mut pages, None, tick, &Probe::default());
        }
        field
    };
    for is_plastic in [false, true] {
        let reference = run(Level::Scalar, 1, is_plastic);
        for level in Level::available() {
            for threads in [1, 3] {
                assert_eq!(run(level, threads, is_plastic), reference, "{level:?}, {threads} threads");
            }
        }
    }
}

/// Cells that are runs of nodes: all pages, some, few and one.
fn run_cases() -> Vec<(Case, Vec<usize>)> {
    let case: Case = (&[9, 6, 9, 3, 9], &[3; 5], &[1, 1, 3, 3, 3], &[]);
    let some = (0..54).filter(|page| page * 7 % 5 < 2 || page % 11 == 3).collect();
    [(0..54).collect(), some, vec![3, 4, 12, 13, 40], vec![17]].map(|set| (case, set)).into()
}

/// Ψ after some ticks, with other tables for some cells between, as vectors or as lines.
fn advanced<T: Real>(
    level: Level,
    threads: Threads<'_>,
    (case, set): &(Case, Vec<usize>),
    [is_plastic, by_lines]: [bool; 2],
) -> Field<T> {
    let mut diffusion = metric(*case, set);
    let how = (RULE, is_plastic);
    let mut plan = SparseVarying::<T>::new(level, &blocks(*case), case.2, &terms(*case), 0.3, how);
    plan.activate(set, &diffusion);
    assert!(plan.flow.is_some(), "cells are runs");
    if by_lines {
        plan.flow = None;
        let slopes = (0..5).map(|axis| plan.slopes(axis)).collect();
        let pages = (&*plan.layout, set.len());
        let none = RemainderCounts::default();
        plan.remainder = Some(Remainder::on_active(&diffusion, pages, slopes, |_| None, 0.3, RULE, none));
    }
    let mut field = Field::<T>::noise(*case, set);
    let mut advance = |plan: &mut SparseVarying<T>, tick| {
        let pages = field.re.chunks_mut(field.nodes).zip(field.im.chunks_mut(field.nodes));
        let mut pages: Vec<_> = pages.map(|(re, im)| PageMut { re, im }).collect();
        plan.sweep_inner(threads, &mut pages, None, tick, &Probe::default());
    };
    // The first without a remainder.
    if let Some(remainder) = plan.remainder.take() {
        advance(&mut plan, 0);
        plan.remainder = Some(remainder);
    }
    let changed = [0, cells_per_page(*case) - 1];
    for &cell in &changed {
        diffusion.diagonal.iter_mut().for_each(|values| values[cell] *= 1.2);
        diffusion.off_diagonal.iter_mut().for_each(|pair| pair.values[cell] -= 0.1);
    }
    plan.renew(Threads::Serial, &diffusion, &changed);
    (1..3).for_each(|tick| advance(&mut plan, tick));
    field
}

#[test]
fn in_vectors_the_flow_is_that_of_the_lines() {
    fn check<T: Real>(tolerance: f64) {
        for case in run_cases() {
            for is_plastic in [false, true] {
                let [found, expected] = [false, true].map(|by_lines| {
                    advanced::<T>(Level::detect(), Threads::Serial, &case, [is_plastic, by_lines])
                });
                let wide = |x: &[T]| x.iter().map(|x| x.to_f64()).collect::<Vec<f64>>();
                let error = found.distance(&wide(&expected.re), &wide(&expected.im));
                assert!(error < tolerance, "{} pages: {error:e}", case.1.len());
            }
        }
    }
    check::<f64>(1e-12);
    check::<f32>(2e-6);
}

#[test]
fn in_vectors_the_flow_has_the_same_bits_everywhere() {
    let crew = Crew::new(3).expect("threads");
    for case in run_cases() {
        for is_plastic in [false, true] {
            let how = [is_plastic, false];
            let reference = advanced::<f32>(Level::Scalar, Threads::Serial, &case, how);
            for level in Level::available() {
                assert!(advanced(level, Threads::Crew(&crew), &case, how) == reference, "{level:?}");
            }
        }
    }
}
