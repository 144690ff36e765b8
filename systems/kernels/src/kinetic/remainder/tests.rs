//! The remainder cell by cell against the same by whole fields, and its bits. Invariant: both have the same operator, so
//! one application agrees to rounding.

use super::*;
use crate::Crew;
use crate::field::Shape;
use crate::kinetic::tests::noise;
use crate::kinetic::varying::OffDiagonal;

const RULE: RemainderRule = RemainderRule { every: 1, vectors: 4 };

/// Seven rings, the last `inside` in cells; a page for each of `n_pages` parts. A torus of several pages has no ring passes.
fn diffusion(inside: usize, n_pages: usize) -> Diffusion {
    let n = 3usize.pow(7);
    let cell = (0..7).map(|d| if d < 7 - inside { 1 } else { 3 }).collect();
    let spacing = (0..7).map(|d| 0.8 + 0.1 * d as f64).collect();
    let shape = Shape { extents: vec![3; 7], page_nodes: n / n_pages };
    let grid = CellGrid { shape, spacing, cell };
    // The third axis is coupled to nothing.
    let pairs = (0..7).flat_map(|i| (i + 1..7).map(move |j| (i, j))).filter(|(i, j)| *i != 2 && *j != 2);
    let values = |seed: usize| noise(grid.n_cells(), seed as u64).into_iter().map(|x| 0.05 * x).collect();
    Diffusion {
        diagonal: (0..7).map(|_| vec![1.0]).collect(),
        off_diagonal: pairs.map(|axes| OffDiagonal { axes, values: values(10 * axes.0 + axes.1) }).collect(),
        grid,
    }
}

/// Ψ after one application, twice with another D on some cells between.
fn run<T: Real>(level: Level, threads: Threads<'_>, inside: usize, n_pages: usize) -> (Vec<T>, Vec<T>) {
    let mut diffusion = diffusion(inside, n_pages);
    let mut remainder = Remainder::<T>::new(&diffusion, 0.3, Time::Real, RULE);
    assert_eq!(remainder.by_cells.is_some(), n_pages == 1 && inside > 0);
    let n = diffusion.grid.shape.n_nodes();
    let plane = |seed| -> Vec<T> { noise(n, seed).into_iter().map(T::from_f64).collect() };
    let (mut re, mut im) = (plane(1), plane(2));
    for _ in 0..2 {
        let page = diffusion.grid.shape.page_nodes;
        let pages = re.chunks_mut(page).zip(im.chunks_mut(page));
        let mut pages: Vec<_> = pages.map(|(re, im)| PageMut { re, im }).collect();
        remainder.apply(level, threads, &mut pages);
        let changed = [1, diffusion.grid.n_cells() - 1];
        for pair in &mut diffusion.off_diagonal {
            changed.iter().for_each(|cell| pair.values[*cell] += 0.1);
        }
        remainder.renew(&diffusion, &changed);
    }
    (re, im)
}

#[test]
fn cell_by_cell_it_is_what_it_is_by_fields() {
    for inside in 1..=3 {
        let (re, im) = run::<f64>(Level::detect(), Threads::Serial, inside, 1);
        let (of_re, of_im) = run::<f64>(Level::detect(), Threads::Serial, inside, 3);
        let apart =
            |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart(&re, &of_re) < 1e-12 && apart(&im, &of_im) < 1e-12, "{inside} axes inside");
        let moved = apart(&re, &noise(re.len(), 1));
        assert!(moved > 0.1, "something changed: {moved}");
    }
}

#[test]
fn cell_by_cell_it_has_the_same_bits_everywhere() {
    for inside in 1..=3 {
        let reference = run::<f32>(Level::Scalar, Threads::Serial, inside, 1);
        for threads in [2, 4] {
            let crew = Crew::new(threads).expect("threads");
            for level in Level::available() {
                assert!(run::<f32>(level, Threads::Crew(&crew), inside, 1) == reference, "{inside} {level}");
            }
        }
    }
}
