//! Structure tensors by hand, the equilibrium of relaxation, inverses and the guard.

use super::*;
use crate::Crew;
use crate::field::Shape;
use crate::kinetic::tests::noise as numbers;

fn grid(extents: &[usize], page_nodes: usize, cell: &[usize]) -> CellGrid {
    CellGrid {
        shape: Shape { extents: extents.to_vec(), page_nodes },
        spacing: (0..extents.len()).map(|d| 0.7 + 0.1 * d as f64).collect(),
        cell: cell.to_vec(),
    }
}

/// (∂_dΨ) of every node, by the definition.
fn gradient(grid: &CellGrid, d: usize, plane: &[f64]) -> Vec<f64> {
    let (extent, stride) = (grid.shape.extents[d], grid.shape.stride(d));
    let value = |node: usize| {
        let x = node / stride % extent;
        (1..extent).fold(0.0, |sum, offset| {
            let other = node - x * stride + (x + extent - offset) % extent * stride;
            sum + derivative(extent, offset, grid.spacing[d]) * plane[other]
        })
    };
    (0..plane.len()).map(value).collect()
}

const CASES: [(&[usize], usize, &[usize]); 5] = [
    (&[3, 3, 3, 3, 3], 243, &[1, 1, 3, 3, 3]),
    (&[9, 9], 27, &[3, 3]),
    (&[27, 5, 3], 45, &[3, 1, 3]),
    (&[5, 3, 3], 9, &[1, 1, 1]),
    (&[27, 27, 27], 19_683, &[3, 3, 3]),
];

#[test]
fn structure_tensors_are_sums_of_products_of_derivatives() {
    for (extents, page_nodes, cell) in CASES {
        let grid = grid(extents, page_nodes, cell);
        let n = grid.shape.n_nodes();
        let (re, im) = (numbers(n, 1), numbers(n, 2));
        let pages: Vec<_> =
            re.chunks(page_nodes).zip(im.chunks(page_nodes)).map(|(re, im)| PageRef { re, im }).collect();
        let axes = extents.len();
        let cells = grid.n_cells() / 3..grid.n_cells();
        let mut sums = vec![0.0; n_components(axes) * cells.len()];
        let stencil = CellStencil::new(&grid);
        structure(Level::detect(), Threads::Serial, &stencil, &pages, cells.clone(), &mut sums);
        for i in 0..axes {
            for j in i..axes {
                let (a, b) = (gradient(&grid, i, &re), gradient(&grid, j, &re));
                let (c, d) = (gradient(&grid, i, &im), gradient(&grid, j, &im));
                let mut expected = vec![0.0; grid.n_cells()];
                for node in 0..n {
                    expected[grid.cell_of_node(node)] += a[node] * b[node] + c[node] * d[node];
                }
                for (k, cell) in cells.clone().enumerate() {
                    let found = sums[component(axes, i, j) * cells.len() + k];
                    let scale = 1.0 + expected[cell].abs();
                    assert!((found - expected[cell]).abs() < 1e-11 * scale, "{extents:?} ({i}, {j}) {cell}");
                }
            }
        }
    }
}

#[test]
fn levels_and_threads_change_no_bit() {
    fn check<T: Real>(grid: &CellGrid) {
        let n = grid.shape.n_nodes();
        let narrow = |seed| numbers(n, seed).into_iter().map(T::from_f64).collect::<Vec<T>>();
        let (re, im) = (narrow(1), narrow(2));
        let nodes = grid.shape.page_nodes;
        let pages: Vec<_> =
            re.chunks(nodes).zip(im.chunks(nodes)).map(|(re, im)| PageRef { re, im }).collect();
        let stencil = CellStencil::new(grid);
        let run = |level, threads| {
            let mut sums = vec![0.0; n_components(grid.cell.len()) * grid.n_cells()];
            structure(level, threads, &stencil, &pages, 0..grid.n_cells(), &mut sums);
            sums.into_iter().map(f64::to_bits).collect::<Vec<_>>()
        };
        let expected = run(Level::Scalar, Threads::Serial);
        let crew = Crew::new(4).expect("threads");
        for level in Level::available() {
            assert!(run(level, Threads::Serial) == expected, "{} at {level}", T::NAME);
        }
        assert!(run(Level::detect(), Threads::Crew(&crew)) == expected, "{} on four threads", T::NAME);
    }
    for (extents, page_nodes, cell) in CASES {
        let grid = grid(extents, page_nodes, cell);
        check::<f32>(&grid);
        check::<f64>(&grid);
    }
}

#[test]
fn a_frozen_wave_leads_to_the_equilibrium() {
    let rest = [1.0, 0.8, 1.3];
    let axes = rest.len();
    let sums = [3.0, -0.5, 0.25, 2.0, 0.1, 1.0];
    let rates = Relaxation { eta: 0.3, lambda: 2.0, duration: 0.05, gradient_floor: 0.01 };
    let mut g = vec![0.0; n_components(axes)];
    (0..axes).for_each(|i| g[component(axes, i, i)] = rest[i]);
    for _ in 0..200 {
        relax(Level::detect(), &mut Tensors { g: &mut g, stride: 1, first: 0 }, &sums, &rest, 27, &rates);
    }
    for i in 0..axes {
        for j in i..axes {
            let c = component(axes, i, j);
            let normal = sums[c] / (6.0 + 0.27);
            let expected = if i == j { rest[i] } else { 0.0 } - rates.eta / rates.lambda * normal;
            assert!((g[c] - expected).abs() < 1e-8, "({i}, {j}): {} and {expected}", g[c]);
        }
    }
    // Without return, the metric yields linearly.
    let mut g = vec![1.0; n_components(axes)];
    let rates = Relaxation { lambda: 0.0, ..rates };
    relax(Level::detect(), &mut Tensors { g: &mut g, stride: 1, first: 0 }, &sums, &rest, 27, &rates);
    assert!((g[0] - (1.0 - 0.3 * 0.05 * 3.0 / 6.27)).abs() < 1e-15);
}

/// Random tensors of eight cells: 1 plus a random symmetric part.
fn tensors(axes: usize, amplitude: f64) -> [[f64; 8]; COMPONENTS_MAX] {
    let values = numbers(8 * n_components(axes), 9);
    let mut g = [[0.0; 8]; COMPONENTS_MAX];
    for i in 0..axes {
        for j in i..axes {
            let c = component(axes, i, j);
            for lane in 0..8 {
                g[c][lane] = amplitude * values[8 * c + lane] + if i == j { 1.0 } else { 0.0 };
            }
        }
    }
    g
}

#[test]
fn inverses_undo_their_tensors() {
    for axes in 1..=9 {
        let mut g = tensors(axes, 0.1);
        let before = g;
        let Factorised { inverse, was_projected } = factorise(Level::detect(), axes, &mut g);
        assert!(g == before && was_projected == [false; 8]);
        let at = |t: &[[f64; 8]; COMPONENTS_MAX], i: usize, j: usize, lane: usize| {
            t[component(axes, i.min(j), i.max(j))][lane]
        };
        for lane in 0..8 {
            for i in 0..axes {
                for j in 0..axes {
                    let sum: f64 = (0..axes).map(|k| at(&g, i, k, lane) * at(&inverse, k, j, lane)).sum();
                    assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-13, "{axes}: ({i}, {j}) {sum}");
                }
            }
        }
    }
}

#[test]
fn eigenvalues_out_of_range_are_projected_and_counted() {
    let axes = 4;
    let mut g = tensors(axes, 0.05);
    g[component(axes, 0, 0)][2] = -0.7;
    g[component(axes, 3, 3)][5] = 5e3;
    let before = g;
    let Factorised { inverse, was_projected } = factorise(Level::detect(), axes, &mut g);
    let expected: [bool; 8] = core::array::from_fn(|lane| lane == 2 || lane == 5);
    assert_eq!(was_projected, expected);
    for lane in 0..8 {
        let mut a: Vec<f64> =
            (0..16).map(|ij| g[component(axes, (ij / 4).min(ij % 4), (ij / 4).max(ij % 4))][lane]).collect();
        diagonalise(&mut a, axes);
        let eigenvalues: Vec<f64> = (0..axes).map(|e| a[e * axes + e]).collect();
        let in_range = |x: &f64| *x > EIGENVALUE_MIN * (1.0 - 1e-9) && *x < EIGENVALUE_MAX * (1.0 + 1e-9);
        assert!(eigenvalues.iter().all(in_range), "{eigenvalues:?}");
        assert!(inverse.iter().take(10).all(|c| c[lane].is_finite()));
        assert!(expected[lane] || g.iter().zip(&before).all(|(a, b)| a[lane] == b[lane]));
    }
}
