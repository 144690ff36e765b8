//! Ways through the torus, past before present: the orders in which a scan reads the nodes.
//!
//! Invariant: a traversal visits every node once. Axis t is cut at a slice; slices follow each other from the oldest
//! to the present one, the others being positions on the remaining eight axes. Positions follow a Peano curve
//! ([`peano`](super::peano)), so that consecutive ones are grid neighbours where extents are powers of three; on
//! other extents the curve of the enclosing lattice is followed and cells outside the torus are left out.
//!
//! Because the storage index of a node is a sum of one term per axis, a node is `positions[i] + slices[j]` for any
//! cut: the tables don't depend on time.

use super::axis::Axis;
use super::peano::Lattice;
use crate::torus::Torus;

/// In which order the nodes are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traversal {
    /// Slice by slice; inside a slice row-major over r s u v w x y z.
    Raster,
    /// Slice by slice; inside a slice a Peano curve whose fastest digits are x, y, z.
    XyzFastest,
    /// Slice by slice; inside a slice a Peano curve whose fastest digits are u, v, w.
    UvwFastest,
    /// Position by position along the raster Peano curve; the whole past of one before the next.
    TimePure,
}

impl Traversal {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Raster, Self::XyzFastest, Self::UvwFastest, Self::TimePure];

    /// Name in reports and column names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raster => "raster",
            Self::XyzFastest => "xyz",
            Self::UvwFastest => "uvw",
            Self::TimePure => "time",
        }
    }

    /// Whether slices change faster than positions.
    pub fn is_time_fastest(self) -> bool {
        self == Self::TimePure
    }

    /// The eight axes beside t, most significant digit first.
    fn significance(self) -> [Axis; 8] {
        use Axis::{R, S, U, V, W, X, Y, Z};
        match self {
            Self::Raster | Self::XyzFastest | Self::TimePure => [R, S, U, V, W, X, Y, Z],
            Self::UvwFastest => [R, S, X, Y, Z, U, V, W],
        }
    }

    /// The same on the active pages of a sparse torus, `pages` ascending, each holding the whole of axis t: index in the
    /// list of nodes page after page. Positions that are not active are passed over.
    pub fn positions_on(self, torus: &Torus, pages: &[usize]) -> Vec<u32> {
        let axes = self.significance();
        let extents = axes.map(|axis| torus.extents()[axis.index()]);
        let curve = curve(&extents).filter(|_| self != Self::Raster);
        let mut order: Vec<(u64, u32)> = Vec::new();
        for (slot, &page) in pages.iter().enumerate() {
            torus.for_each_node(page, |i, coordinates| {
                if coordinates[Axis::T.index()] > 0 {
                    return;
                }
                let cell = axes.map(|axis| coordinates[axis.index()]);
                let key = match &curve {
                    Some(lattice) => lattice.index(padded(cell)),
                    None => cell.iter().zip(&extents).fold(0, |key, (i, n)| key * *n as u64 + *i as u64),
                };
                order.push((key, (slot * torus.page_nodes() + i) as u32));
            });
        }
        order.sort_unstable();
        order.into_iter().map(|(_, node)| node).collect()
    }

    /// Storage index of every position on slice 0, in the order visited.
    pub fn positions(self, torus: &Torus) -> Vec<u32> {
        let axes = self.significance();
        let extents = axes.map(|axis| torus.extents()[axis.index()]);
        let terms = axes.map(|axis| terms(torus, axis));
        let node = |cell: &[usize; 8]| (0..8).map(|d| terms[d][cell[d]]).sum::<u32>();
        let n_positions: usize = extents.iter().product();
        let mut order: Vec<(u64, u32)> = Vec::with_capacity(n_positions);
        let curve = curve(&extents).filter(|_| self != Self::Raster);
        let mut cell = [0; 8];
        for row_major in 0..n_positions as u64 {
            let key = match &curve {
                Some(lattice) => lattice.index(padded(cell)),
                None => row_major,
            };
            order.push((key, node(&cell)));
            for d in (0..8).rev() {
                cell[d] += 1;
                if cell[d] < extents[d] {
                    break;
                }
                cell[d] = 0;
            }
        }
        order.sort_unstable();
        order.into_iter().map(|(_, node)| node).collect()
    }
}

/// The enclosing lattice, where an index can hold its digits.
fn curve(extents: &[usize; 8]) -> Option<Lattice> {
    Lattice::enclosing(padded_with(*extents, 1)).ok()
}

fn padded(cell: [usize; 8]) -> [usize; 9] {
    padded_with(cell, 0)
}

/// Eight values and `last` behind them.
fn padded_with(values: [usize; 8], last: usize) -> [usize; 9] {
    core::array::from_fn(|d| values.get(d).copied().unwrap_or(last))
}

/// What each coordinate of `axis` adds to a node's storage index.
fn terms(torus: &Torus, axis: Axis) -> Vec<u32> {
    let index = |i: usize| {
        let mut coordinates = [0; 9];
        coordinates[axis.index()] = i;
        let (page, node) = torus.locate(coordinates);
        (page * torus.page_nodes() + node) as u32
    };
    (0..torus.extents()[axis.index()]).map(index).collect()
}

/// What each slice of axis t adds to a position's storage index, by grid index along t.
pub fn slices(torus: &Torus) -> Vec<u32> {
    terms(torus, Axis::T)
}

/// The same within a page that holds the whole of axis t.
pub fn slices_in_page(torus: &Torus) -> Vec<u32> {
    let inner = torus.storage().iter().rev().take_while(|axis| **axis != Axis::T);
    let stride: usize = inner.map(|axis| torus.page_shape()[axis.index()]).product();
    let stride = if torus.storage().contains(&Axis::T) { stride as u32 } else { 0 };
    (0..torus.extents()[Axis::T.index()] as u32).map(|j| j * stride).collect()
}

/// The present slice of `tick`: the torus's time axis turns by one slice a tick.
pub fn present(torus: &Torus, tick: u64) -> usize {
    (tick % torus.extents()[Axis::T.index()] as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torus::PageRule;

    fn torus(extents: [usize; 9]) -> Torus {
        Torus::new(extents, extents.map(|n| n as f64), PageRule::Auto).expect("valid extents")
    }

    /// Grid coordinates in the order visited, oldest slice first after cutting at `present`.
    fn walk(torus: &Torus, traversal: Traversal, present: usize) -> Vec<[usize; 9]> {
        let (positions, mut slices) = (traversal.positions(torus), slices(torus));
        slices.rotate_left(present + 1);
        let node =
            |index: u32| torus.node(index as usize / torus.page_nodes(), index as usize % torus.page_nodes());
        let mut cells = Vec::new();
        if traversal.is_time_fastest() {
            positions.iter().for_each(|p| cells.extend(slices.iter().map(|s| node(p + s))));
        } else {
            slices.iter().for_each(|s| cells.extend(positions.iter().map(|p| node(p + s))));
        }
        cells
    }

    #[test]
    fn every_traversal_visits_every_node_once_past_before_present() {
        for extents in
            [[3; 9], [1, 1, 4, 2, 3, 1, 5, 1, 6], [1, 1, 1, 1, 1, 1, 1, 27, 27], [2, 1, 9, 1, 1, 1, 9, 3, 1]]
        {
            let torus = torus(extents);
            let n_slices = extents[2];
            for traversal in Traversal::ALL {
                let present = n_slices / 2;
                let cells = walk(&torus, traversal, present);
                let mut seen: Vec<_> = cells.clone();
                seen.sort_unstable();
                seen.dedup();
                assert_eq!(
                    (seen.len(), cells.len()),
                    (torus.n_nodes(), torus.n_nodes()),
                    "{extents:?} {traversal:?}"
                );
                let age = |cell: &[usize; 9]| (present + n_slices - cell[2]) % n_slices;
                let newer_first = |pair: &[[usize; 9]]| age(&pair[1]) > age(&pair[0]);
                let run = if traversal.is_time_fastest() { n_slices } else { torus.n_nodes() };
                for line in cells.chunks(run) {
                    assert!(
                        !line.windows(2).any(newer_first),
                        "{extents:?} {traversal:?}: present before past"
                    );
                }
            }
        }
    }

    #[test]
    fn consecutive_positions_are_neighbours_on_one_and_two_levels() {
        for extents in [[3; 9], [1, 1, 3, 3, 1, 1, 9, 9, 9]] {
            let torus = torus(extents);
            for traversal in [Traversal::XyzFastest, Traversal::UvwFastest, Traversal::TimePure] {
                let mut cells = walk(&torus, traversal, extents[2] - 1);
                cells.retain(|cell| cell[2] == 0);
                for pair in cells.windows(2) {
                    let distance: usize = pair[0].iter().zip(&pair[1]).map(|(a, b)| a.abs_diff(*b)).sum();
                    assert_eq!(distance, 1, "{extents:?} {traversal:?}: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn on_active_pages_the_order_is_that_of_the_whole_torus_without_the_rest() {
        let (extents, sides) = ([1, 1, 3, 3, 1, 1, 9, 9, 3], [1, 1, 3, 3, 1, 1, 3, 3, 3]);
        let torus = Torus::new(extents, extents.map(|n| n as f64), PageRule::Blocks(sides)).expect("valid");
        let whole = Torus::new(extents, extents.map(|n| n as f64), PageRule::Auto).expect("valid");
        let pages = [0, 2, 3, 7];
        for traversal in Traversal::ALL {
            let (mut slices, positions) = (slices_in_page(&torus), traversal.positions_on(&torus, &pages));
            slices.rotate_left(2);
            let node = |index: u32| {
                let index = index as usize;
                torus.node(pages[index / torus.page_nodes()], index % torus.page_nodes())
            };
            let mut found = Vec::new();
            if traversal.is_time_fastest() {
                positions.iter().for_each(|p| found.extend(slices.iter().map(|s| node(p + s))));
            } else {
                slices.iter().for_each(|s| found.extend(positions.iter().map(|p| node(p + s))));
            }
            let mut expected = walk(&whole, traversal, 1);
            expected.retain(|cell| pages.contains(&torus.locate(*cell).0));
            assert_eq!(found, expected, "{traversal:?}");
        }
    }

    #[test]
    fn the_fastest_axes_are_those_of_the_name() {
        let torus = torus([3; 9]);
        for (traversal, fast) in
            [(Traversal::XyzFastest, 6..9), (Traversal::UvwFastest, 3..6), (Traversal::Raster, 6..9)]
        {
            let cells = walk(&torus, traversal, 2);
            for d in (0..9).filter(|d| !fast.contains(d)) {
                assert!(
                    cells[..27].iter().all(|cell| cell[d] == cells[0][d]),
                    "{traversal:?}: axis {d} moved"
                );
            }
        }
    }
}
