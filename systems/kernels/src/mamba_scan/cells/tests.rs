//! The recurrence of cells against its definition, and its bits. Invariant: tensors are seeded, so that nothing rests on a
//! special metric.

use super::super::Scan;
use super::lattice::Way;
use super::*;
use crate::Crew;

const RECURRENCE: Recurrence =
    Recurrence { step: 0.02, density_weight: 5.0, input_weight: 0.7, metric: [1.0; STATE] };
const NODES: usize = 240;

fn noise(seed: u64) -> Vec<f64> {
    crate::kinetic::tests::noise(NODES, seed)
}

fn orders() -> Vec<Order> {
    let order = |step: u32, is_time_fastest| Order {
        positions: (0..80).map(|i| i * step % 80).collect(),
        is_time_fastest,
    };
    vec![order(7, false), order(3, true)]
}

/// A positive definite tensor per cell; those of the last cell are large, so that the step is limited.
fn tensor(cell: usize) -> [[f64; STATE]; STATE] {
    let base = crate::kinetic::tests::noise(STATE * STATE, cell as u64 + 5);
    let scale = if cell == 7 { 60.0 } else { 0.3 };
    core::array::from_fn(|i| {
        core::array::from_fn(|j| {
            let dot: f64 = (0..STATE).map(|k| base[i * STATE + k] * base[j * STATE + k]).sum();
            scale * dot + if i == j { 0.2 } else { 0.0 }
        })
    })
}

fn cell_of(node: usize) -> usize {
    node / 3 % 8
}

fn run<T: Real>(
    level: Level,
    threads: Threads<'_>,
    g: impl Fn(usize) -> [[f64; STATE]; STATE],
) -> Vec<State> {
    let mut scan = Scan::<T>::new(RECURRENCE, NODES, vec![0, 80, 160], orders());
    scan.set_cells(CellMetric::new(level, (0..NODES).map(|n| cell_of(n) as u32).collect(), 8));
    (0..8).for_each(|cell| scan.set_metric(cell, &g(cell)));
    let plane = |seed| -> Vec<T> { noise(seed).into_iter().map(T::from_f64).collect() };
    let (re, im, openness) = (plane(1), plane(2), noise(3));
    let openness: Vec<T> = openness.into_iter().map(|x| T::from_f64(0.5 * (x + 1.0))).collect();
    let pages: Vec<_> = re.chunks(120).zip(im.chunks(120)).map(|(re, im)| PageRef { re, im }).collect();
    let openness: Vec<&[T]> = openness.chunks(120).collect();
    let mut states = vec![State::default(); 2];
    scan.run(threads, &pages, Values::PerNode(&openness), 1, &mut states);
    states
}

/// By the definition, in f64.
fn expected(order: &Order) -> State {
    let (re, im, openness) = (noise(1), noise(2), noise(3));
    let slices = [160, 0, 80];
    let mut nodes = Vec::new();
    if order.is_time_fastest {
        order.positions.iter().for_each(|p| nodes.extend(slices.map(|s| (p + s) as usize)));
    } else {
        slices.iter().for_each(|s| nodes.extend(order.positions.iter().map(|p| (p + s) as usize)));
    }
    let mut state = State::default();
    for node in nodes {
        let g = tensor(cell_of(node));
        let mut eigen: Vec<f64> = g.iter().flatten().copied().collect();
        diagonalise(&mut eigen, STATE);
        let radius = (0..STATE).fold(0.0, |most: f64, i| most.max(eigen[i * STATE + i]));
        let trace: f64 = (0..STATE).map(|i| g[i][i]).sum();
        let density = re[node] * re[node] + im[node] * im[node];
        let step =
            (0.02 / (1.0 + 5.0 * density * trace) * 0.5 * (openness[node] + 1.0)).min(STEP_LIMIT / radius);
        for (h, x) in [(&mut state.re, re[node]), (&mut state.im, im[node])] {
            let old = *h;
            for i in 0..STATE {
                let image: f64 = (0..STATE).map(|j| g[i][j] * old[j]).sum();
                h[i] = old[i] - step * image + 0.7 * x;
            }
        }
    }
    state
}

fn distance(a: &State, b: &State) -> f64 {
    let parts = a.re.iter().zip(&b.re).chain(a.im.iter().zip(&b.im));
    parts.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()))
}

#[test]
fn each_cell_applies_its_own_metric() {
    let double = run::<f64>(Level::detect(), Threads::Serial, tensor);
    let single = run::<f32>(Level::detect(), Threads::Serial, tensor);
    for (k, order) in orders().iter().enumerate() {
        let expected = expected(order);
        assert!(distance(&double[k], &expected) < 1e-12, "{:?} against {expected:?}", double[k]);
        assert!(distance(&single[k], &expected) < 1e-4, "{:?} against {expected:?}", single[k]);
    }
}

#[test]
fn one_diagonal_metric_everywhere_is_the_scalar_recurrence() {
    let diagonal = |_| core::array::from_fn(|i| core::array::from_fn(|j| if i == j { 1.0 } else { 0.0 }));
    let cells = run::<f64>(Level::detect(), Threads::Serial, diagonal);
    let mut scan = Scan::<f64>::new(RECURRENCE, NODES, vec![0, 80, 160], orders());
    let (re, im) = (noise(1), noise(2));
    let openness: Vec<f64> = noise(3).into_iter().map(|x| 0.5 * (x + 1.0)).collect();
    let pages = [PageRef { re: &re, im: &im }];
    let mut states = vec![State::default(); 2];
    scan.run(Threads::Serial, &pages, Values::PerNode(&[&openness]), 1, &mut states);
    for (a, b) in cells.iter().zip(&states) {
        assert!(distance(a, b) < 1e-12);
    }
}

#[test]
fn threads_and_levels_do_not_change_a_bit() {
    let crew = Crew::new(2).expect("threads");
    let reference = run::<f32>(Level::Scalar, Threads::Serial, tensor);
    for level in Level::available() {
        assert_eq!(run::<f32>(level, Threads::Crew(&crew), tensor), reference, "{level:?}");
    }
}

/// Nodes of a slice of the torus on which traversals come in blocks.
const SLICE: usize = 486;
/// Nodes of a cell: as many as a lattice takes, and fewer.
const CELLS: [usize; 2] = [27, 9];

/// Cell after cell; the whole past of a node before the next, every other cell backwards; nine cells to and
/// fro; the same always from the first cell on; as the second but slice after slice.
fn long_orders(cell: usize) -> Vec<Order> {
    let positions: Vec<u32> = (0..SLICE as u32).collect();
    let n = cell as u32;
    let snake = positions.iter().map(|i| if i / n % 2 == 1 { i / n * n + n - 1 - i % n } else { *i });
    let across = |i: u32, is_turning: bool| {
        let (group, visit, cell) = (i / (9 * n), i / 9 % n, i % 9);
        let (visit, cell) = match is_turning {
            false => (visit, cell),
            true if group % 2 == 1 => (n - 1 - visit, if visit % 2 == 0 { 8 - cell } else { cell }),
            true => (visit, if visit % 2 == 1 { 8 - cell } else { cell }),
        };
        (9 * group + cell) * n + visit
    };
    let jumps = |is_turning| positions.iter().map(move |i| across(*i, is_turning)).collect();
    vec![
        Order { positions: positions.clone(), is_time_fastest: false },
        Order { positions: snake.clone().collect(), is_time_fastest: true },
        Order { positions: jumps(true), is_time_fastest: false },
        Order { positions: jumps(false), is_time_fastest: false },
        Order { positions: snake.collect(), is_time_fastest: false },
    ]
}

fn uneven(cell: usize, scale: f64) -> [[f64; STATE]; STATE] {
    let base = crate::kinetic::tests::noise(STATE * STATE, cell as u64 + 77);
    core::array::from_fn(|i| {
        core::array::from_fn(|j| {
            scale * (base[i * STATE + j] + base[j * STATE + i]) + if i == j { 1.0 } else { 0.0 }
        })
    })
}

/// States of `T`, and the greatest distance from the definition in f64, over the size of the state.
fn long<T: Real>(
    level: Level,
    threads: Threads<'_>,
    cell: usize,
    (step, scale): (f64, f64),
) -> (Vec<State>, f64) {
    let (n, slices) = (3 * SLICE, [0, SLICE as u32, 2 * SLICE as u32]);
    let recurrence = Recurrence { step, density_weight: 0.5, ..RECURRENCE };
    let orders = long_orders(cell);
    let mut scan = Scan::<T>::new(recurrence, n, slices.to_vec(), orders.clone());
    let of_node = |node: usize| node / cell;
    scan.set_cells(CellMetric::new(level, (0..n).map(|node| of_node(node) as u32).collect(), n / cell));
    (0..n / cell).for_each(|cell| scan.set_metric(cell, &uneven(cell, scale)));
    let plane = |seed| crate::kinetic::tests::noise(n, seed);
    let [re, im, open]: [Vec<T>; 3] =
        [plane(1), plane(2), plane(3)].map(|x| x.into_iter().map(|x| T::from_f64(x.abs())).collect());
    let mut states = vec![State::default(); orders.len()];
    let pages: Vec<_> = re.chunks(SLICE).zip(im.chunks(SLICE)).map(|(re, im)| PageRef { re, im }).collect();
    let openness: Vec<&[T]> = open.chunks(SLICE).collect();
    scan.run(threads, &pages, Values::PerNode(&openness), 1, &mut states);
    let mut worst: f64 = 0.0;
    for (order, found) in orders.iter().zip(&states) {
        let mut nodes = Vec::new();
        let slices = [2 * SLICE as u32, 0, SLICE as u32];
        if order.is_time_fastest {
            order.positions.iter().for_each(|p| nodes.extend(slices.map(|s| (p + s) as usize)));
        } else {
            slices.iter().for_each(|s| nodes.extend(order.positions.iter().map(|p| (p + s) as usize)));
        }
        let mut state = State::default();
        for node in nodes {
            let g = uneven(of_node(node), scale);
            let (x, y) = (re[node].to_f64(), im[node].to_f64());
            let trace: f64 = (0..STATE).map(|i| g[i][i]).sum();
            let step = step / (1.0 + 0.5 * (x * x + y * y) * trace) * open[node].to_f64();
            for (h, x) in [(&mut state.re, x), (&mut state.im, y)] {
                let old = *h;
                for i in 0..STATE {
                    let image: f64 = (0..STATE).map(|j| g[i][j] * old[j]).sum();
                    h[i] = old[i] - step * image + 0.7 * x;
                }
            }
        }
        let size = state.re.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        worst = worst.max(distance(found, &state) / size);
    }
    (states, worst)
}

#[test]
fn blocks_are_the_definition_to_rounding() {
    // From metrics that are nearly the same everywhere, by blocks, to such that every node goes alone.
    for cell in CELLS {
        for scale in [0.0, 1e-8, 1e-6, 1e-4, 1e-3, 4e-3, 0.02, 0.1] {
            for step in [1e-3, 0.01, 0.1] {
                let of = (step, scale);
                let (_, single) = long::<f32>(Level::detect(), Threads::Serial, cell, of);
                assert!(single < 3e-6, "{cell} {scale} {step}: {single:.1e}");
                let (_, double) = long::<f64>(Level::detect(), Threads::Serial, cell, of);
                assert!(double < 2e-14, "{cell} {scale} {step}: {double:.1e}");
            }
        }
    }
}

#[test]
fn blocks_have_the_same_bits_at_every_level_and_on_every_crew() {
    let crew = Crew::new(3).expect("threads");
    for cell in CELLS {
        for scale in [1e-4, 1e-3, 0.02] {
            let of = (0.01, scale);
            let single = long::<f32>(Level::Scalar, Threads::Serial, cell, of).0;
            let double = long::<f64>(Level::Scalar, Threads::Serial, cell, of).0;
            for level in Level::available() {
                let crew = Threads::Crew(&crew);
                assert_eq!(long::<f32>(level, crew, cell, of).0, single, "{cell} {level:?}");
                assert_eq!(long::<f64>(level, crew, cell, of).0, double, "{cell} {level:?}");
            }
        }
    }
}

#[test]
fn traversals_are_cut_where_they_change_cells() {
    let slices = [0, SLICE as u32, 2 * SLICE as u32];
    let of_node = |cell: usize| -> Vec<u32> { (0..3 * SLICE).map(|node| (node / cell) as u32).collect() };
    let cut = |order: &Order| match Route::new(order, &slices, &of_node(9)) {
        Route::Runs { positions, cells, .. } => Some((positions, cells)),
        Route::Mixed => None,
    };
    let routes: Vec<_> = long_orders(9).iter().map(cut).collect();
    assert_eq!(routes, [Some((9, 1)), Some((9, 3)), None, None, Some((9, 1))]);
    assert!(Lattice::new(&long_orders(9), &slices, &of_node(9)).is_none(), "cells of less than a vector");
}

#[test]
fn a_lattice_knows_cells_from_groups_and_forwards_from_backwards() {
    let slices = [0, SLICE as u32, 2 * SLICE as u32];
    let of_node: Vec<u32> = (0..3 * SLICE).map(|node| (node / 27) as u32).collect();
    let lattice = Lattice::new(&long_orders(27), &slices, &of_node).expect("cells are runs");
    assert_eq!((lattice.nodes, lattice.n_units), (27, 2), "even cells and odd ones");
    let name = |way: &Way| match way {
        Way::Cells { slots, .. } => ("cells", slots.len(), false),
        Way::Pasts { slots, .. } => ("pasts", slots.len(), false),
        Way::Across { n_cells, visits, .. } => ("across", *n_cells, visits[1].is_reversed),
    };
    let expected = [
        ("cells", 18, false),
        ("pasts", 18, false),
        ("across", 9, true),
        ("across", 9, false),
        ("cells", 18, false),
    ];
    assert_eq!(lattice.ways.iter().map(name).collect::<Vec<_>>(), expected);
    let mut cells = lattice.cells.clone();
    cells.sort_unstable();
    cells.dedup();
    assert_eq!(cells, (0..54).collect::<Vec<_>>(), "every cell has a slot");
    // Without the last position's node, no cell is whole.
    let mut orders = long_orders(27);
    orders[0].positions.swap(26, 27);
    assert!(Lattice::new(&orders, &slices, &of_node).is_none());
}
