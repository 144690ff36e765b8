//! Ψ in canonical order (row-major r…z, z fastest), whatever the storage order.
//!
//! Invariant: every node is visited exactly once, in ascending canonical order, and the extra memory stays below
//! 16 MB or one byte per node, whichever is larger: where the storage order differs, the pages are read several
//! times and each pass sorts one block.

use nikola_systems::components::torus::Torus;

/// Nodes sorted at a time at least: 16 bytes each.
const BLOCK_NODES: usize = 1 << 20;

/// Most passes over the pages.
const PASSES_MAX: usize = 16;

/// Calls `visit(re, im)` with consecutive blocks of Ψ in canonical order; `read` gives a page in storage order.
///
/// # Errors
/// Whatever `visit` returns first.
pub fn for_each_block<E>(
    torus: &Torus,
    read: impl FnMut(usize, &mut [f64], &mut [f64]),
    visit: impl FnMut(&[f64], &[f64]) -> Result<(), E>,
) -> Result<(), E> {
    let block = BLOCK_NODES.max(torus.n_nodes().div_ceil(PASSES_MAX));
    for_each_block_of(torus, block.min(torus.n_nodes()), read, visit)
}

fn for_each_block_of<E>(
    torus: &Torus,
    block: usize,
    mut read: impl FnMut(usize, &mut [f64], &mut [f64]),
    mut visit: impl FnMut(&[f64], &[f64]) -> Result<(), E>,
) -> Result<(), E> {
    let nodes = torus.page_nodes();
    let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
    if torus.storage_is_canonical() {
        return (0..torus.n_pages()).try_for_each(|page| {
            read(page, &mut re, &mut im);
            visit(&re, &im)
        });
    }
    let canonical =
        |node: &[usize; 9]| torus.extents().iter().zip(node).fold(0, |at, (extent, i)| at * extent + i);
    // A page is a box, so that node i lies as far from the page's first node on every page as on page 0.
    let mut offsets = vec![0; nodes];
    torus.for_each_node(0, |i, node| offsets[i] = canonical(node));
    let reach = offsets.iter().copied().max().unwrap_or(0);
    let firsts: Vec<usize> = (0..torus.n_pages()).map(|page| canonical(&torus.node(page, 0))).collect();
    let (mut sorted_re, mut sorted_im) = (vec![0.0; block], vec![0.0; block]);
    for from in (0..torus.n_nodes()).step_by(block) {
        let n = block.min(torus.n_nodes() - from);
        for (page, &first) in firsts.iter().enumerate() {
            if first >= from + n || first + reach < from {
                continue;
            }
            read(page, &mut re, &mut im);
            for (i, offset) in offsets.iter().enumerate() {
                let at = (first + offset).wrapping_sub(from);
                if at < n {
                    (sorted_re[at], sorted_im[at]) = (re[i], im[i]);
                }
            }
        }
        visit(&sorted_re[..n], &sorted_im[..n])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_systems::components::torus::PageRule;
    use std::convert::Infallible;

    /// Pages whose values are the canonical index of each node.
    fn indices(torus: &Torus) -> impl Fn(usize, &mut [f64], &mut [f64]) {
        move |page, re, im| {
            for i in 0..re.len() {
                let node = torus.node(page, i);
                let index = torus.extents().iter().zip(node).fold(0, |at, (extent, i)| at * extent + i);
                (re[i], im[i]) = (index as f64, -(index as f64));
            }
        }
    }

    #[test]
    fn nodes_come_once_and_in_ascending_order() {
        let tori = [
            ([1, 1, 1, 1, 1, 1, 1, 1, 8], PageRule::Auto),
            ([1; 9], PageRule::Auto),
            ([3, 1, 1, 5, 1, 1, 1, 9, 4], PageRule::Auto),
            ([3, 1, 1, 5, 1, 1, 1, 9, 4], PageRule::Shape([3, 1, 1, 1, 1, 1, 1, 1, 2])),
            ([1, 3, 1, 3, 1, 1, 9, 3, 6], PageRule::Shape([1, 3, 1, 3, 1, 1, 1, 3, 2])),
            ([2, 3, 1, 4, 1, 5, 1, 2, 3], PageRule::Auto),
        ];
        for (extents, rule) in tori {
            let torus = Torus::new(extents, [1.0; 9], rule).expect("valid");
            for block in [1, 7, torus.n_nodes()] {
                let mut seen = Vec::new();
                for_each_block_of(&torus, block, indices(&torus), |re, im| {
                    assert!(re.iter().zip(im).all(|(re, im)| *re == -im));
                    seen.extend_from_slice(re);
                    Ok::<(), Infallible>(())
                })
                .unwrap_or_else(|never| match never {});
                let expected: Vec<f64> = (0..torus.n_nodes()).map(|i| i as f64).collect();
                assert_eq!(seen, expected, "{extents:?}, blocks of {block}");
            }
        }
    }
}
