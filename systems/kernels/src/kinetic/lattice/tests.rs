//! The operator against its lines' matrices, the dense kernels and itself.

use super::*;
use crate::field::Shape;
use crate::kinetic::fibre::FibreLine;
use crate::kinetic::gradient::energy;
use crate::kinetic::tests::noise;
use crate::kinetic::varying::OffDiagonal;
use crate::metric_update::{CellStencil, kinetic_form, kinetic_forms, structure};
use crate::simd::Level;

const SPACING: [f64; 3] = [0.8, 1.1, 0.9];

fn grid(extents: &[usize], page_nodes: usize, cell: &[usize]) -> CellGrid {
    let shape = Shape { extents: extents.to_vec(), page_nodes };
    CellGrid {
        shape,
        spacing: SPACING.into_iter().cycle().take(extents.len()).collect(),
        cell: cell.to_vec(),
    }
}

fn random(n: usize, seed: u64, from: f64, to: f64) -> Vec<f64> {
    noise(n, seed).into_iter().map(|x| from + 0.5 * (x + 1.0) * (to - from)).collect()
}

/// A random metric on `n_cells` cells.
fn metric(grid: &CellGrid, n_cells: usize) -> Diffusion {
    let axes = grid.cell.len();
    let pairs = (0..axes).flat_map(|i| (i + 1..axes).map(move |j| (i, j)));
    Diffusion {
        diagonal: (0..axes).map(|a| random(n_cells, 10 + a as u64, 0.5, 2.0)).collect(),
        off_diagonal: pairs
            .map(|axes| OffDiagonal { axes, values: random(n_cells, 30 + axes.1 as u64, -0.2, 0.2) })
            .collect(),
        grid: grid.clone(),
    }
}

fn pages<'a>(re: &'a [f64], im: &'a [f64], nodes: usize) -> Vec<PageRef<'a, f64>> {
    re.chunks(nodes).zip(im.chunks(nodes)).map(|(re, im)| PageRef { re, im }).collect()
}

fn sparse(extents: &[usize], sides: &[usize], cell: &[usize], set: &[usize]) -> Lattice {
    let blocks = Blocks { extents: extents.to_vec(), sides: sides.to_vec() };
    let background = vec![1.3, 0.7, 1.1][..extents.len()].to_vec();
    let mut lattice = Lattice::sparse(&blocks, &SPACING[..extents.len()], cell, background);
    lattice.activate(&blocks, set);
    lattice
}

#[test]
fn on_a_dense_torus_the_form_is_the_gradient_energy() {
    for (extents, cell) in [(&[9, 3, 6][..], &[3, 3, 1][..]), (&[27, 9][..], &[1, 1][..])] {
        let n: usize = extents.iter().product();
        let grid = grid(extents, n / extents[0], cell);
        let diffusion = metric(&grid, grid.n_cells());
        let (re, im) = (noise(n, 1), noise(n, 2));
        let pages = pages(&re, &im, n / extents[0]);
        let lattice = Lattice::dense(&grid);
        let found = lattice.form(Threads::Serial, &diffusion, &pages, Values::Uniform(1.0));
        let expected = energy(&diffusion, &pages);
        assert!((found / expected - 1.0).abs() < 1e-13, "{extents:?}: {found} against {expected}");
    }
}

#[test]
fn summed_by_cells_the_form_is_the_same_with_and_without_a_weight() {
    for (extents, cell, n_pages) in [
        (&[3, 9, 3][..], &[1, 3, 3][..], 3),
        (&[9, 9][..], &[3, 3][..], 9),
        (&[3, 3][..], &[1, 1][..], 3),
        (&[3, 3, 3, 3, 3][..], &[1, 1, 3, 3, 3][..], 1),
    ] {
        let n: usize = extents.iter().product();
        let grid = grid(extents, n / n_pages, cell);
        let diffusion = metric(&grid, grid.n_cells());
        let (re, im, w) = (noise(n, 1), noise(n, 2), random(n, 3, 0.0, 0.4));
        let pages = pages(&re, &im, n / n_pages);
        let weight: Vec<&[f64]> = w.chunks(n / n_pages).collect();
        let (lattice, stencil) = (Lattice::dense(&grid), CellStencil::new(&grid));
        for weight in [Values::Uniform(0.7), Values::PerNode(&weight)] {
            let place = (&stencil, &diffusion);
            let found = kinetic_form(Level::detect(), Threads::Serial, place, &pages, weight);
            let expected = lattice.form(Threads::Serial, &diffusion, &pages, weight);
            assert!((found / expected - 1.0).abs() < 1e-12, "{extents:?}: {found} against {expected}");
        }
        let found = kinetic_forms(Level::detect(), Threads::Serial, (&stencil, &diffusion), &pages, &weight);
        for (found, weight) in found.into_iter().zip([Values::Uniform(1.0), Values::PerNode(&weight)]) {
            let expected = lattice.form(Threads::Serial, &diffusion, &pages, weight);
            assert!((found / expected - 1.0).abs() < 1e-12, "{extents:?}, both: {found} against {expected}");
        }
    }
}

#[test]
fn on_rings_the_form_has_the_same_bits_everywhere() {
    fn check<T: Real>(grid: &CellGrid) {
        let (n, diffusion) = (grid.shape.n_nodes(), metric(grid, grid.n_cells()));
        let narrow = |x: Vec<f64>| x.into_iter().map(T::from_f64).collect::<Vec<T>>();
        let (re, im, w) = (narrow(noise(n, 1)), narrow(noise(n, 2)), narrow(random(n, 3, 0.0, 0.4)));
        let (pages, slices) = ([PageRef { re: &re, im: &im }], [&w[..]]);
        let stencil = CellStencil::new(grid);
        let crew = crate::Crew::new(4).expect("threads");
        for weight in [Values::Uniform(T::from_f64(1.0)), Values::PerNode(&slices)] {
            let form = |level, threads| kinetic_form(level, threads, (&stencil, &diffusion), &pages, weight);
            let expected = form(Level::Scalar, Threads::Serial);
            for level in Level::available() {
                assert!(form(level, Threads::Serial) == expected, "{} at {level}", T::NAME);
            }
            assert!(form(Level::detect(), Threads::Crew(&crew)) == expected, "{} on four threads", T::NAME);
        }
        let forms = |level, threads| kinetic_forms(level, threads, (&stencil, &diffusion), &pages, &slices);
        let expected = forms(Level::Scalar, Threads::Serial);
        for level in Level::available() {
            assert!(forms(level, Threads::Crew(&crew)) == expected, "{} at {level}, both", T::NAME);
        }
    }
    let grid = grid(&[3; 6], 729, &[1, 1, 1, 3, 3, 3]);
    check::<f32>(&grid);
    check::<f64>(&grid);
}

#[test]
fn on_an_active_set_the_form_is_that_of_the_lines_matrices() {
    for (extents, sides, cell, set) in [
        (&[9, 9][..], &[3, 3][..], &[3, 1][..], &[0, 1, 4, 8][..]),
        (&[8, 6][..], &[2, 3][..], &[2, 1][..], &[0, 3, 5][..]),
        (&[15, 3][..], &[3, 3][..], &[1, 3][..], &[1, 3][..]),
    ] {
        let blocks = Blocks { extents: extents.to_vec(), sides: sides.to_vec() };
        let lattice = sparse(extents, sides, cell, set);
        let grid = grid(extents, extents.iter().product(), cell);
        let diffusion = Diffusion { off_diagonal: Vec::new(), ..metric(&grid, lattice.n_cells()) };
        let (n, nodes) = (lattice.n_nodes(), blocks.page_nodes());
        let (re, im) = (noise(n, 1), noise(n, 2));
        let mut expected = 0.0;
        for (a, axis) in lattice.axes.iter().enumerate() {
            for column in &axis.columns {
                for (base, lane) in
                    axis.bases(nodes).flat_map(|base| (0..axis.stride).map(move |l| (base, l)))
                {
                    let mut rows: Vec<(usize, usize)> = column.rows(axis, nodes, base + lane).collect();
                    rows.sort_by_key(|(_, place)| *place);
                    let mut d = vec![lattice.background[a]; axis.extent];
                    let mut active = vec![false; axis.extent];
                    for &(node, place) in &rows {
                        d[place] = diffusion.at(a, lattice.cell(node));
                        active[place] = true;
                    }
                    let line = FibreLine { spacing: axis.spacing, diffusion: &d, active: Some(&active) };
                    let h = line.hamiltonian();
                    for (i, (p, _)) in rows.iter().enumerate() {
                        for (j, (q, _)) in rows.iter().enumerate() {
                            expected += h[i * rows.len() + j] * (re[*p] * re[*q] + im[*p] * im[*q]);
                        }
                    }
                }
            }
        }
        let pages = pages(&re, &im, nodes);
        let found = lattice.form(Threads::Serial, &diffusion, &pages, Values::Uniform(1.0));
        assert!((found / expected - 1.0).abs() < 1e-13, "{extents:?}: {found} against {expected}");
    }
}

/// A lattice with a metric for each kind.
fn cases() -> [(Lattice, Diffusion, usize); 5] {
    let dense = grid(&[9, 3, 3], 9, &[3, 3, 1]);
    let even = grid(&[8, 6], 48, &[1, 1]);
    let boxes = grid(&[9, 9, 3], 243, &[1, 3, 3]);
    let uneven = grid(&[8, 6], 48, &[1, 1]);
    let rings = grid(&[3, 3, 3], 9, &[1, 3, 3]);
    let lattices = [
        Lattice::dense(&dense),
        Lattice::dense(&even),
        sparse(&[9, 9, 3], &[3, 3, 3], &[1, 3, 3], &[0, 1, 3, 7]),
        sparse(&[8, 6], &[2, 3], &[1, 1], &[1, 2, 5]),
        Lattice::dense(&rings),
    ];
    let [a, b, c, d, e] = lattices;
    let of = |lattice: Lattice, grid: &CellGrid, page_nodes| {
        let diffusion = metric(grid, lattice.n_cells());
        (lattice, diffusion, page_nodes)
    };
    [of(a, &dense, 9), of(b, &even, 48), of(c, &boxes, 27), of(d, &uneven, 6), of(e, &rings, 9)]
}

#[test]
fn the_image_is_hermitian_and_gives_the_form() {
    for (lattice, diffusion, page_nodes) in cases() {
        let n = lattice.n_nodes();
        let (re, im) = (noise(n, 1), noise(n, 2));
        let (e_re, e_im) = (noise(n, 3), noise(n, 4));
        let of_psi = lattice.image(&diffusion, re.clone(), im.clone());
        let of_e = lattice.image(&diffusion, e_re.clone(), e_im.clone());
        let dot = |(a, b): (&[f64], &[f64]), c: &[f64], d: &[f64]| {
            (0..n).map(|i| a[i] * c[i] + b[i] * d[i]).sum::<f64>()
        };
        let (left, right) = (dot(of_e.image(), &re, &im), dot(of_psi.image(), &e_re, &e_im));
        assert!((left - right).abs() < 1e-12 * (1.0 + left.abs()), "{left} against {right}");
        let pages = pages(&re, &im, page_nodes);
        let energy = lattice.form(Threads::Serial, &diffusion, &pages, Values::Uniform(1.0));
        let found = dot(of_psi.image(), &re, &im);
        assert!((found / energy - 1.0).abs() < 1e-13, "{found} against {energy}");
        // Re⟨wΨ, TΨ⟩ for a weight that varies.
        let weight = random(n, 9, 0.0, 1.0);
        let slices: Vec<&[f64]> = weight.chunks(page_nodes).collect();
        let found = lattice.form(Threads::Serial, &diffusion, &pages, Values::PerNode(&slices));
        let times = |x: &[f64]| -> Vec<f64> { x.iter().zip(&weight).map(|(x, w)| x * w).collect() };
        let expected = dot(of_psi.image(), &times(&re), &times(&im));
        assert!((found / expected - 1.0).abs() < 1e-12, "{found} against {expected}");
    }
}

#[test]
fn an_image_follows_its_metric_bit_for_bit() {
    for (lattice, mut diffusion, page_nodes) in cases() {
        if lattice.axes.iter().any(|axis| axis.extent.is_multiple_of(2)) {
            continue;
        }
        let n = lattice.n_nodes();
        let (re, im) = (noise(n, 1), noise(n, 2));
        let mut e = noise(n, 3);
        e[..n / 2].fill(0.0);
        let mut image = lattice.image(&diffusion, e.clone(), noise(n, 4));
        let before = image.image.clone();
        let cells = [0, 1, lattice.n_cells() - 1];
        for cell in cells {
            diffusion.diagonal.iter_mut().for_each(|values| values[cell] *= 1.1);
            diffusion.off_diagonal.iter_mut().for_each(|pair| pair.values[cell] += 0.03);
        }
        let pages = pages(&re, &im, page_nodes);
        let found = lattice.renew_image(&diffusion, &mut image, cells.into_iter(), &pages);
        let fresh = lattice.image(&diffusion, e, noise(n, 4));
        assert_eq!((&image.image.re, &image.image.im), (&fresh.image.re, &fresh.image.im));
        let mut expected = (0.0, 0.0);
        for i in 0..n {
            let (x, y) = (fresh.image.re[i] - before.re[i], fresh.image.im[i] - before.im[i]);
            expected.0 += x * re[i] + y * im[i];
            expected.1 += x * im[i] - y * re[i];
        }
        assert!((found.0 - expected.0).abs() < 1e-12 && (found.1 - expected.1).abs() < 1e-12);
        assert!(expected.0.abs() > 1e-3, "something changed");
    }
}

#[test]
fn on_rings_an_image_forgets_what_came_before() {
    for cell in [[1, 1, 3], [1, 1, 1], [1, 3, 3], [3, 3, 3]] {
        let grid = grid(&[3, 3, 3], 27, &cell);
        let (lattice, mut diffusion) = (Lattice::dense(&grid), metric(&grid, grid.n_cells()));
        let mut e = noise(27, 3);
        e[..20].fill(0.0);
        let (re, im) = (noise(27, 1), noise(27, 2));
        let pages = pages(&re, &im, 27);
        let mut image = lattice.image(&diffusion, e.clone(), vec![0.0; 27]);
        // The second and the fourth are so large, or so small again, that fluxes are rounded elsewhere.
        for (step, factor) in [1.1, 40.0, 0.7, 0.02, 1.3].into_iter().enumerate() {
            let cells = [step % grid.n_cells(), grid.n_cells() - 1];
            for &cell in cells.iter().take(grid.n_cells()) {
                diffusion.diagonal.iter_mut().for_each(|values| values[cell] *= factor);
                diffusion.off_diagonal.iter_mut().for_each(|pair| pair.values[cell] -= 0.01);
            }
            let before = image.image.clone();
            let found = lattice.renew_image(&diffusion, &mut image, cells.into_iter(), &pages);
            let fresh = lattice.image(&diffusion, e.clone(), vec![0.0; 27]);
            assert_eq!(
                (&image.image.re, &image.image.im),
                (&fresh.image.re, &fresh.image.im),
                "{cell:?}, {step}"
            );
            let apart = |i: usize| (fresh.image.re[i] - before.re[i], fresh.image.im[i] - before.im[i]);
            let sum = (0..27).fold(0.0, |sum, i| sum + apart(i).0 * re[i] + apart(i).1 * im[i]);
            assert!(
                (found.0 - sum).abs() < 1e-12 * (1.0 + sum.abs()),
                "{cell:?}, {step}: {} for {sum}",
                found.0
            );
        }
    }
}

#[test]
fn the_power_is_that_of_its_definition() {
    for (lattice, diffusion, page_nodes) in cases() {
        let n = lattice.n_nodes();
        let (re, im, v) = (noise(n, 1), noise(n, 2), noise(n, 5));
        let mut e = noise(n, 3);
        e[..n - 2].fill(0.0);
        let image = lattice.image(&diffusion, e, vec![0.0; n]);
        let slices: Vec<&[f64]> = v.chunks(page_nodes).collect();
        let found = image.power(&pages(&re, &im, page_nodes), &Values::PerNode(&slices), 0.7);
        let (mut expected, ((a, b), (te_re, te_im))) = ([0.0; 4], (image.field(), image.image()));
        for i in 0..n {
            let local = v[i] + 0.7 * (re[i] * re[i] + im[i] * im[i]);
            let (h, g) = (te_re[i] + local * a[i], te_im[i] + local * b[i]);
            expected[0] += h * re[i] + g * im[i];
            expected[1] += h * im[i] - g * re[i];
            expected[2] += a[i] * re[i] + b[i] * im[i];
            expected[3] += a[i] * im[i] - b[i] * re[i];
        }
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-12, "{found} against {expected}");
        }
    }
}

#[test]
fn structure_tensors_are_those_of_the_dense_kernel() {
    let grid = grid(&[9, 3, 3], 27, &[3, 3, 1]);
    let (re, im) = (noise(81, 1), noise(81, 2));
    let pages = pages(&re, &im, 27);
    let cells = 2..grid.n_cells();
    let (mut found, mut expected) = (vec![0.0; 6 * cells.len()], vec![0.0; 6 * cells.len()]);
    let lattice = Lattice::dense(&grid);
    lattice.structure(Level::detect(), Threads::Serial, &pages, core::slice::from_ref(&cells), &mut found);
    structure(Level::detect(), Threads::Serial, &CellStencil::new(&grid), &pages, cells, &mut expected);
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-12, "{a} against {b}");
    }
}
