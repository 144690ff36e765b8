//! The kinetic energy of a metric on cells: ½ Σ_cells D^{ij} S_ij, S the structure tensor of the cell.
//!
//! Invariant: the form is that of `kinetic/gradient.rs` on tori without even axes, in the precision of the structure
//! tensor; cells are summed in order, whatever the threads.
//! Source: on rings of three the definition (`rings.rs`); else Re⟨u, Tv⟩ by polarisation, ¼(⟨u + v, T(u + v)⟩ − ⟨u − v, T(u − v)⟩).

use super::rings::{Weight, forms};
use super::{CellStencil, component, n_components, structure};
use crate::field::{PageRef, Real, Threads, Values};
use crate::kinetic::varying::Diffusion;
use crate::simd::Level;

/// Σ over nodes of the density of Re⟨wΨ, TΨ⟩: with w = 1, times the volume of a node, the kinetic energy. `diffusion` is on
/// the stencil's cells; panics if not.
///
/// - equation: ½ Σ_ij D^{ij} Re(∂_i(wΨ)* ∂_jΨ)
/// - source: the module's
/// - scheme and order: exact
/// - stability bound: rounding
/// - bytes and flops per node: those of [`structure()`], twice where w varies
pub fn kinetic_form<T: Real>(
    level: Level,
    threads: Threads<'_>,
    (stencil, diffusion): (&CellStencil, &Diffusion),
    pages: &[PageRef<'_, T>],
    weight: Values<'_, T>,
) -> f64 {
    if let (Some(rings), [page]) = (&stencil.rings, pages) {
        let forms =
            |weight| forms(level, threads, (rings, stencil.grid().n_cells()), diffusion, *page, weight);
        return match weight {
            Values::Uniform(weight) => weight.to_f64() * forms(Weight::One)[0],
            Values::PerNode(weights) => forms(Weight::Of(weights[0]))[1],
        };
    }
    let energy = |pages: &[PageRef<'_, T>]| energy(level, threads, stencil, diffusion, pages);
    let slices = match weight {
        Values::Uniform(weight) => return weight.to_f64() * energy(pages),
        Values::PerNode(slices) => slices,
    };
    let all = || slices.iter().flat_map(|slice| slice.iter());
    let greatest = all().fold(0.0, |most: f64, w| most.max(w.to_f64().abs()));
    if greatest == 0.0 {
        return 0.0;
    }
    // As large as Ψ itself, so that the difference is not lost.
    let shifted = |sign: f64| -> f64 {
        let times = |x: &[T], w: &[T]| -> Vec<T> {
            let factor = |w: &T| 1.0 + sign * w.to_f64() / greatest;
            x.iter().zip(w).map(|(x, w)| T::from_f64(x.to_f64() * factor(w))).collect()
        };
        let parts: Vec<(Vec<T>, Vec<T>)> =
            pages.iter().zip(slices).map(|(page, w)| (times(page.re, w), times(page.im, w))).collect();
        energy(&parts.iter().map(|(re, im)| PageRef { re, im }).collect::<Vec<_>>())
    };
    0.25 * greatest * (shifted(1.0) - shifted(-1.0))
}

/// [`kinetic_form`] with w = 1 and with `weights`, in hardly more time than the second alone on a torus of three-node rings. The
/// first may differ from that alone by its rounding.
pub fn kinetic_forms<T: Real>(
    level: Level,
    threads: Threads<'_>,
    (stencil, diffusion): (&CellStencil, &Diffusion),
    pages: &[PageRef<'_, T>],
    weights: &[&[T]],
) -> [f64; 2] {
    if let (Some(rings), [page]) = (&stencil.rings, pages) {
        let rings = (rings, stencil.grid().n_cells());
        return forms(level, threads, rings, diffusion, *page, Weight::OneAnd(weights[0]));
    }
    let form = |weight| kinetic_form(level, threads, (stencil, diffusion), pages, weight);
    [form(Values::Uniform(T::from_f64(1.0))), form(Values::PerNode(weights))]
}

fn energy<T: Real>(
    level: Level,
    threads: Threads<'_>,
    stencil: &CellStencil,
    diffusion: &Diffusion,
    pages: &[PageRef<'_, T>],
) -> f64 {
    let (axes, n_cells) = (stencil.grid().cell.len(), stencil.grid().n_cells());
    let mut sums = vec![0.0; n_components(axes) * n_cells];
    structure(level, threads, stencil, pages, 0..n_cells, &mut sums);
    let of = |i: usize, j: usize| &sums[component(axes, i, j) * n_cells..][..n_cells];
    let diagonal = (0..axes).fold(0.0, |sum, i| {
        let part = of(i, i).iter().enumerate().fold(0.0, |sum, (cell, s)| sum + diffusion.at(i, cell) * s);
        sum + 0.5 * part
    });
    diffusion.off_diagonal.iter().fold(diagonal, |sum, pair| {
        let part = of(pair.axes.0, pair.axes.1).iter().zip(&pair.values);
        sum + part.fold(0.0, |sum, (s, d)| sum + d * s)
    })
}
