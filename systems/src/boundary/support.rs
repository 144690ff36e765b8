//! Which pages of a sparse torus a field needs: a search that starts from seeds and never walks the torus.
//!
//! Invariant: pages are taken in descending order of their share of the norm, through faces, until the best one left
//! holds less than the given fraction; the work is proportional to what is found.

use nikola_components::fill::ComplexFill;
use nikola_components::torus::Torus;
use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};

/// The support of a field needs more pages than there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyPages;

struct Candidate {
    norm2: f64,
    page: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.norm2.total_cmp(&other.norm2).then(other.page.cmp(&self.page))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// Pages on which `field` has more than `fraction` of its norm, ascending, by search from its own seeds and `seeds`, or
/// from the middle of the torus where there are none. The pages of the seeds are always among them.
///
/// # Errors
/// [`TooManyPages`] when there are more than `pages_max`.
pub fn support(
    field: &dyn ComplexFill,
    torus: &Torus,
    seeds: &[[usize; 9]],
    fraction: f64,
    pages_max: usize,
) -> Result<Vec<usize>, TooManyPages> {
    let (mut re, mut im) = (vec![0.0; torus.page_nodes()], vec![0.0; torus.page_nodes()]);
    let mut norm2 = |page: usize| {
        re.fill(0.0);
        im.fill(0.0);
        field.fill(page, &mut re, &mut im);
        re.iter().zip(&im).fold(0.0, |sum, (re, im)| sum + (re * re + im * im))
    };
    let mut nodes = field.seeds();
    nodes.extend_from_slice(seeds);
    if nodes.is_empty() {
        nodes.push(torus.extents().map(|extent| extent / 2));
    }
    let mut found: BTreeSet<usize> = nodes.into_iter().map(|node| torus.locate(node).0).collect();
    if found.len() > pages_max {
        return Err(TooManyPages);
    }
    let mut seen = found.clone();
    let mut total = 0.0;
    let mut fresh: Vec<usize> = found.iter().copied().collect();
    let mut heap = BinaryHeap::new();
    for &page in &fresh {
        total += norm2(page);
    }
    loop {
        for page in fresh.drain(..) {
            for &axis in torus.storage() {
                for is_upper in [false, true] {
                    let next = torus.neighbour(page, axis, is_upper);
                    if seen.insert(next) {
                        heap.push(Candidate { norm2: norm2(next), page: next });
                    }
                }
            }
        }
        match heap.pop() {
            // What is no number is found, so that somebody may refuse it, but leads nowhere.
            Some(best) if !best.norm2.is_finite() => {
                found.insert(best.page);
            }
            Some(best) if best.norm2 > 0.0 && best.norm2 >= fraction * fraction * total => {
                if found.len() == pages_max {
                    return Err(TooManyPages);
                }
                found.insert(best.page);
                total += best.norm2;
                fresh.push(best.page);
            }
            _ => return Ok(found.into_iter().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_components::torus::PageRule;

    struct Packet(Torus, [f64; 9]);

    impl ComplexFill for Packet {
        fn fill(&self, page: usize, re: &mut [f64], _: &mut [f64]) {
            self.0.for_each_node(page, |i, node| {
                let square = |d: usize| (node[d] as f64 - self.1[d]).powi(2);
                re[i] = (-0.5 * (0..9).map(square).sum::<f64>()).exp();
            });
        }
        fn seeds(&self) -> Vec<[usize; 9]> {
            vec![self.1.map(|x| x as usize)]
        }
    }

    #[test]
    fn a_packet_on_the_largest_torus_is_found_from_its_centre() {
        let torus = Torus::new([27; 9], [27.0; 9], PageRule::AutoBlocks).expect("valid");
        let centre = [4.0, 13.0, 22.0, 1.0, 10.0, 7.0, 16.0, 25.0, 19.0];
        let found = support(&Packet(torus.clone(), centre), &torus, &[], 1e-1, 64).expect("few pages");
        assert!((1..64).contains(&found.len()), "{}", found.len());
        assert!(found.contains(&torus.locate(centre.map(|x| x as usize)).0));
    }

    #[test]
    fn every_page_above_the_fraction_is_found_and_a_cap_is_kept() {
        let torus = Torus::new([1, 1, 1, 1, 1, 1, 27, 27, 9], [1.0; 9], PageRule::AutoBlocks).expect("valid");
        let field = Packet(torus.clone(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 13.0, 12.0, 4.0]);
        let found = support(&field, &torus, &[], 1e-3, 500).expect("few pages");
        let (mut re, mut im) = (vec![0.0; 27], vec![0.0; 27]);
        let mut norms = Vec::new();
        for page in 0..torus.n_pages() {
            field.fill(page, &mut re, &mut im);
            norms.push(re.iter().map(|x| x * x).sum::<f64>());
        }
        let total: f64 = norms.iter().sum();
        let expected: Vec<usize> = (0..norms.len()).filter(|&p| norms[p] >= 1e-6 * total).collect();
        assert_eq!(found, expected);
        assert_eq!(support(&field, &torus, &[], 1e-3, 5), Err(TooManyPages));
    }
}
