//! Sources: adding a phasor on a sparse list of nodes. Invariant: touches listed nodes only, in list order.
//! Source: the term +E(x,t) of ∂tΨ, applied as half-kicks on both sides of the step.

use crate::field::{PageMut, Real};

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
