//! Centre of mass and width along each active axis.
//!
//! Invariant: f64, pages in order, nodes of a page in a fixed order. Coordinates run from −L/2 to L/2; the centre is
//! ∫xρ/∫ρ and the width √(∫x²ρ/∫ρ − centre²), meaningful while the cloud does not straddle the box edge.

use nikola_systems::Simulation;
use nikola_systems::components::geometry::axis::Axis;
use nikola_systems::components::torus::Torus;

/// (axis, centre, width) per active axis, in r…z order.
pub fn centres_and_widths(simulation: &Simulation) -> Vec<(Axis, f64, f64)> {
    let torus = simulation.torus();
    let read = |page, re: &mut [f64], im: &mut [f64]| simulation.read_page(page, re, im);
    let marginals = axis_marginals(torus, simulation.active_pages(), read);
    let is_active = |axis: &Axis| torus.extents()[axis.index()] > 1;
    let moments = |axis: Axis| {
        let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
        for (i, rho) in marginals[axis.index()].iter().enumerate() {
            let x = torus.coordinate(axis, i);
            mass += rho;
            first += x * rho;
            second += x * x * rho;
        }
        let centre = first / mass;
        (axis, centre, (second / mass - centre * centre).max(0.0).sqrt())
    };
    Axis::ALL.into_iter().filter(is_active).map(moments).collect()
}

/// Σ|Ψ|² over all other axes, by axis (r…z) and grid index.
///
/// A page is a box in storage order: summing its fastest axis away gives that axis's part and leaves a smaller box, so
/// that all axes together cost little more than one pass over the nodes.
fn axis_marginals(
    torus: &Torus,
    pages: &[usize],
    mut read: impl FnMut(usize, &mut [f64], &mut [f64]),
) -> Vec<Vec<f64>> {
    let mut marginals: Vec<Vec<f64>> = torus.extents().iter().map(|&extent| vec![0.0; extent]).collect();
    let nodes = torus.page_nodes();
    let (mut rho, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
    for &page in pages {
        read(page, &mut rho, &mut im);
        rho.iter_mut().zip(&im).for_each(|(re, im)| *re = *re * *re + im * im);
        let first = torus.node(page, 0);
        let mut n = nodes;
        for axis in torus.storage().iter().rev() {
            let d = axis.index();
            let extent = torus.page_shape()[d];
            let marginal = &mut marginals[d][first[d]..first[d] + extent];
            n /= extent;
            for k in 0..n {
                let mut sum = 0.0;
                for (j, part) in marginal.iter_mut().enumerate() {
                    let value = rho[k * extent + j];
                    *part += value;
                    sum += value;
                }
                rho[k] = sum;
            }
        }
    }
    marginals
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_systems::components::torus::PageRule;

    #[test]
    fn marginals_are_sums_over_the_other_axes() {
        let tori = [
            ([1, 1, 1, 1, 1, 1, 3, 4, 6], PageRule::Shape([1, 1, 1, 1, 1, 1, 3, 2, 1])),
            ([2, 1, 3, 1, 1, 5, 1, 1, 3], PageRule::Auto),
            ([1, 1, 1, 1, 1, 1, 1, 1, 16], PageRule::Auto),
            ([1, 1, 1, 1, 1, 1, 6, 4, 9], PageRule::Blocks([1, 1, 1, 1, 1, 1, 3, 2, 3])),
        ];
        for (extents, rule) in tori {
            let torus = Torus::new(extents, [2.0; 9], rule).expect("valid");
            // Whole numbers: sums are exact in any order.
            let value = |node: &[usize; 9]| node.iter().fold(1, |k, i| (7 * k + i) % 31) as f64;
            let mut expected: Vec<Vec<f64>> = extents.iter().map(|&extent| vec![0.0; extent]).collect();
            for page in 0..torus.n_pages() {
                torus.for_each_node(page, |_, node| {
                    let active = (0..9).filter(|&d| extents[d] > 1);
                    active.for_each(|d| expected[d][node[d]] += 2.0 * value(node).powi(2));
                });
            }
            let pages: Vec<usize> = (0..torus.n_pages()).collect();
            let found = axis_marginals(&torus, &pages, |page, re, im| {
                torus.for_each_node(page, |i, node| (re[i], im[i]) = (value(node), -value(node)));
            });
            assert_eq!(found, expected, "{extents:?}");
        }
    }
}
