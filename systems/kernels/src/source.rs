//! Sources: adding a phasor on a sparse list of nodes, and the work that does. Invariant: touches listed nodes only, in
//! list order.
//! Source: the term +E(x,t) of ∂tΨ, applied as half-kicks on both sides of the step.

use crate::field::{PageMut, PageRef, Real, Values};

/// Adds `weight · phasor` to Ψ on a sparse list of nodes.
///
/// - equation: Ψ_j += (w_j)(p), complex product, p = ∫E dt over the kick
/// - source: symmetric soft source of a Strang step
/// - scheme and order: exact for a prescribed E held over the kick; second order when applied in mirrored halves
/// - stability bound: none (linear, independent of Ψ)
/// - bytes and flops per listed node: 4 + 6·size, 8 flops
///
/// `nodes[k]` is an index inside the page; `weights_*[k]` belong to it. Panics if the lengths differ or an index
/// is outside the page (a bug in the caller).
pub fn kick<T: Real>(
    page: PageMut<'_, T>,
    nodes: &[u32],
    weights_re: &[T],
    weights_im: &[T],
    phasor_re: f64,
    phasor_im: f64,
) {
    assert!(nodes.len() == weights_re.len() && nodes.len() == weights_im.len());
    for ((&node, &weight_re), &weight_im) in nodes.iter().zip(weights_re).zip(weights_im) {
        let (w_re, w_im) = (weight_re.to_f64(), weight_im.to_f64());
        let re = &mut page.re[node as usize];
        *re = T::from_f64(re.to_f64() + (w_re * phasor_re - w_im * phasor_im));
        let im = &mut page.im[node as usize];
        *im = T::from_f64(im.to_f64() + (w_re * phasor_im + w_im * phasor_re));
    }
}

/// Where a source works: nodes of one page with the profile E and TE on them.
#[derive(Debug, Clone, Default)]
pub struct WorkNodes<T> {
    nodes: Vec<u32>,
    /// Re E, Im E, Re TE, Im TE.
    columns: [Vec<T>; 4],
}

impl<T: Real> WorkNodes<T> {
    /// Adds a node.
    pub fn push(&mut self, node: u32, profile: (f64, f64), kinetic: (f64, f64)) {
        self.nodes.push(node);
        let values = [profile.0, profile.1, kinetic.0, kinetic.1];
        self.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(T::from_f64(value)));
    }

    /// Node by node: its index in the page; Re E, Im E, Re TE, Im TE.
    pub fn iter(&self) -> impl Iterator<Item = (u32, [T; 4])> {
        let [e_re, e_im, te_re, te_im] = &self.columns;
        self.nodes.iter().enumerate().map(|(k, &node)| (node, [e_re[k], e_im[k], te_re[k], te_im[k]]))
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

/// What multiplies the parts of h.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strengths {
    /// Factor of the TE that was given.
    pub kinetic: f64,
    /// β.
    pub beta: f64,
}

/// ⟨E, hΨ⟩ and ⟨E, Ψ⟩ on the nodes of page `page_index`, as (re, im, re, im).
///
/// - equation: Σ conj(TE + (V + β|Ψ|²)E)·Ψ and Σ conj(E)·Ψ
/// - source: T is Hermitian, V and β|Ψ|² are real
/// - scheme and order: exact
/// - stability bound: rounding of an f64 sum
/// - bytes and flops per listed node: 4 + 7·size, 24 flops
///
/// Panics if an index is outside the page (a bug in the caller).
pub fn work<T: Real>(
    page: PageRef<'_, T>,
    nodes: &WorkNodes<T>,
    potential: &Values<'_, T>,
    page_index: usize,
    strengths: &Strengths,
) -> [f64; 4] {
    let [e_re, e_im, te_re, te_im] = &nodes.columns;
    let mut sums = [0.0; 4];
    for (k, &node) in nodes.nodes.iter().enumerate() {
        let i = node as usize;
        let (re, im) = (page.re[i].to_f64(), page.im[i].to_f64());
        let v = match potential {
            Values::Uniform(value) => value.to_f64(),
            Values::PerNode(slices) => slices[page_index][i].to_f64(),
        };
        let local = v + strengths.beta * (re * re + im * im);
        let (a, b) = (e_re[k].to_f64(), e_im[k].to_f64());
        let h = strengths.kinetic * te_re[k].to_f64() + local * a;
        let g = strengths.kinetic * te_im[k].to_f64() + local * b;
        sums[0] += h * re + g * im;
        sums[1] += h * im - g * re;
        sums[2] += a * re + b * im;
        sums[3] += a * im - b * re;
    }
    sums
}
