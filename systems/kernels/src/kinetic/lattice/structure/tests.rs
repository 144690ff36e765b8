//! Structure tensors by runs against the same node by node, the form by runs against the same by fields, and their bits.

use super::*;
use crate::Crew;
use crate::field::Values;
use crate::kinetic::sparse::Blocks;
use crate::kinetic::tests::noise;
use crate::kinetic::varying::{CellGrid, Diffusion, OffDiagonal};

const SPACING: [f64; 5] = [0.8, 1.1, 0.9, 1.2, 0.7];

/// A torus of five axes, the last three inside cells, with these pages.
fn lattice(extents: &[usize], set: &[usize]) -> Lattice {
    let blocks = Blocks { extents: extents.to_vec(), sides: vec![3; 5] };
    let mut lattice = Lattice::sparse(&blocks, &SPACING, &[1, 1, 3, 3, 3], vec![1.0; 5]);
    lattice.activate(&blocks, set);
    lattice
}

/// All pages, some, and one, on odd and even extents.
fn cases() -> Vec<Lattice> {
    let torus = [9, 6, 9, 3, 15];
    let n_pages: usize = torus.iter().map(|extent| extent / 3).product();
    let some: Vec<usize> = (0..n_pages).filter(|page| page * 7 % 5 < 2 || page % 11 == 3).collect();
    vec![
        lattice(&torus, &(0..n_pages).collect::<Vec<_>>()),
        lattice(&torus, &some),
        lattice(&torus, &[17]),
        lattice(&[27; 5], &[0, 1, 8, 9, 728]),
    ]
}

fn run<T: Real>(level: Level, threads: Threads<'_>, lattice: &Lattice, by_nodes: bool) -> Vec<f64> {
    let nodes = lattice.page_nodes;
    let plane = |seed| noise(lattice.n_nodes(), seed).into_iter().map(T::from_f64).collect::<Vec<T>>();
    let (re, im) = (plane(1), plane(2));
    let pages: Vec<_> = re.chunks(nodes).zip(im.chunks(nodes)).map(|(re, im)| PageRef { re, im }).collect();
    let per_page = lattice.n_cells() / pages.len();
    let ranges: Vec<_> =
        (0..pages.len()).map(|page| page * per_page + page % 2..(page + 1) * per_page).collect();
    let components = n_components(5);
    let mut sums = vec![0.0; components * ranges.iter().map(ExactSizeIterator::len).sum::<usize>()];
    if !by_nodes {
        assert!(lattice.runs.is_some(), "cells are runs");
        lattice.structure(level, threads, &pages, &ranges, &mut sums);
        return sums;
    }
    let mut rest = &mut sums[..];
    for range in ranges {
        let (sums, others) = rest.split_at_mut(components * range.len());
        lattice.structure_by_nodes(threads, &pages, range, sums);
        rest = others;
    }
    sums
}

fn check<T: Real>(tolerance: f64) {
    for lattice in cases() {
        let found = run::<T>(Level::detect(), Threads::Serial, &lattice, false);
        let expected = run::<T>(Level::detect(), Threads::Serial, &lattice, true);
        let most = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < tolerance * most, "{} pages: {a} against {b}", lattice.n_pages);
        }
    }
}

#[test]
fn by_runs_they_are_those_of_the_nodes() {
    check::<f64>(1e-14);
    check::<f32>(1e-6);
}

#[test]
fn by_runs_they_have_the_same_bits_everywhere() {
    let crew = Crew::new(4).expect("threads");
    for lattice in cases() {
        let reference = run::<f32>(Level::Scalar, Threads::Serial, &lattice, false);
        for level in Level::available() {
            assert_eq!(run::<f32>(level, Threads::Crew(&crew), &lattice, false), reference, "{level}");
        }
    }
}

/// A random metric on the active pages.
fn metric(lattice: &Lattice) -> Diffusion {
    let extents: Vec<usize> = lattice.axes.iter().map(|axis| axis.extent).collect();
    let shape = crate::field::Shape { page_nodes: extents.iter().product(), extents };
    let grid = CellGrid { shape, spacing: SPACING.to_vec(), cell: vec![1, 1, 3, 3, 3] };
    let random = |seed: usize, from: f64, to: f64| -> Vec<f64> {
        let values = noise(lattice.n_cells(), seed as u64).into_iter();
        values.map(|x| from + 0.5 * (x + 1.0) * (to - from)).collect()
    };
    let pairs = (0..5).flat_map(|i| (i + 1..5).map(move |j| (i, j)));
    let pair = |axes: (usize, usize)| OffDiagonal { axes, values: random(10 * axes.0 + axes.1, -0.2, 0.2) };
    let diagonal = (0..5).map(|axis| random(100 + axis, 0.5, 2.0)).collect();
    Diffusion { grid, diagonal, off_diagonal: pairs.map(pair).collect() }
}

fn form<T: Real>(threads: Threads<'_>, lattice: &Lattice, is_weighted: bool, by_fields: bool) -> f64 {
    let (n, nodes) = (lattice.n_nodes(), lattice.page_nodes);
    let plane = |seed| noise(n, seed).into_iter().map(T::from_f64).collect::<Vec<T>>();
    let (re, im, w) = (plane(1), plane(2), plane(3));
    let pages: Vec<_> = re.chunks(nodes).zip(im.chunks(nodes)).map(|(re, im)| PageRef { re, im }).collect();
    let slices: Vec<&[T]> = w.chunks(nodes).collect();
    let weight = if is_weighted { Values::PerNode(&slices) } else { Values::Uniform(T::from_f64(0.7)) };
    let diffusion = metric(lattice);
    match by_fields {
        true => lattice.form_by_fields(threads, &diffusion, &pages, weight),
        false => lattice.form(threads, &diffusion, &pages, weight),
    }
}

#[test]
fn by_runs_the_form_is_that_of_the_fields() {
    fn check<T: Real>(tolerance: f64) {
        let crew = Crew::new(3).expect("threads");
        for lattice in form_cases() {
            // A random weight takes from the sum what another gives; the sum without one is the measure.
            let size = form::<T>(Threads::Serial, &lattice, false, true);
            for is_weighted in [false, true] {
                let found = form::<T>(Threads::Serial, &lattice, is_weighted, false);
                let expected = form::<T>(Threads::Serial, &lattice, is_weighted, true);
                assert!((found - expected).abs() < tolerance * size, "{found} against {expected}");
                assert!(form::<T>(Threads::Crew(&crew), &lattice, is_weighted, false) == found);
            }
        }
    }
    check::<f64>(1e-13);
    check::<f32>(1e-6);
}

/// As [`cases`], on odd extents alone.
fn form_cases() -> Vec<Lattice> {
    let torus = [9, 3, 9, 3, 15];
    let n_pages: usize = torus.iter().map(|extent| extent / 3).product();
    let some: Vec<usize> = (0..n_pages).filter(|page| page * 7 % 5 < 2 || page % 11 == 3).collect();
    vec![
        lattice(&torus, &(0..n_pages).collect::<Vec<_>>()),
        lattice(&torus, &some),
        lattice(&torus, &[17]),
        lattice(&[27; 5], &[0, 1, 8, 9, 728]),
    ]
}
