//! The nine-dimensional torus: extents, lengths and how its nodes are cut into pages.
//!
//! Invariant: a page is a box of nodes and all pages are equal. *Storage order* goes row-major over the active axes
//! (extent > 1), longest extent slowest, ties in r…z order: pages over their lattice, and nodes within a page. On a
//! dense torus a page is moreover a contiguous run of the row-major order of all nodes; a sparse torus takes any
//! box. *Canonical order*, used by files and digests, is row-major over r…z with z fastest. Both describe the same
//! nodes: relabelling axes of a scene changes neither the arithmetic nor its result.

use crate::geometry::axis::Axis;
use bevy_ecs::prelude::Resource;

/// Most nodes along one axis: 14 bits, as the 128-bit Morton key has room for.
pub const EXTENT_MAX: usize = 1 << 14;

/// Nodes a page aims at: 3^9, the smallest torus with all nine axes, about 160 kB of Ψ in single precision, which
/// stays in a core's second-level cache.
pub const PAGE_NODES_AIM: usize = 19_683;

/// Why a torus cannot exist.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TorusError {
    /// An extent is zero or beyond [`EXTENT_MAX`].
    #[error("extent of axis {axis} is {found}; expected 1 to {EXTENT_MAX} nodes")]
    Extent {
        /// The axis.
        axis: Axis,
        /// What was asked for.
        found: usize,
    },
    /// A length is not a positive finite number.
    #[error("length of axis {axis} is {found}; expected a positive finite number")]
    Length {
        /// The axis.
        axis: Axis,
        /// What was asked for.
        found: f64,
    },
    /// A block does not divide the torus.
    #[error("page has {found} nodes along axis {axis}, expected a divisor of {extent}: pages tile the torus")]
    Block {
        /// The axis.
        axis: Axis,
        /// What was asked for.
        found: usize,
        /// Nodes along the axis.
        extent: usize,
    },
    /// A page shape does not tile the torus in contiguous runs.
    #[error(
        "page has {found} nodes along axis {axis}, expected {expected}: pages of a dense torus are contiguous runs \
         of its storage order (leave `page` at Auto to have one chosen)"
    )]
    Page {
        /// The axis.
        axis: Axis,
        /// What was asked for.
        found: usize,
        /// What fits.
        expected: String,
    },
    /// More nodes than an address can name.
    #[error("the torus has more than 2^48 nodes; expected fewer: make some extents smaller")]
    TooLarge,
    /// More pages than a page index can name.
    #[error("the torus has {found} pages; expected at most 2^32: make the pages larger")]
    TooManyPages {
        /// Pages it would have.
        found: usize,
    },
}

/// How the page shape is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageRule {
    /// Whole trailing axes of the storage order while they hold at most [`PAGE_NODES_AIM`] nodes, then the largest
    /// divisor of the next axis that still fits; never less than the fastest axis. Nine axes of three give 3^9.
    #[default]
    Auto,
    /// The given shape, in r…z order: contiguous runs of the storage order.
    Shape([usize; 9]),
    /// Boxes, for a sparse torus: 3 nodes along every axis where all extents are powers of three, else the shape of
    /// most equal sides that divides the extents and holds at most [`PAGE_NODES_AIM`] nodes.
    AutoBlocks,
    /// Boxes of the given shape, in r…z order; each side divides its extent.
    Blocks([usize; 9]),
}

/// A validated torus. Lengths are in model units; node `i` of axis `d` sits at `−L/2 + i·L/N`.
#[derive(Debug, Clone, PartialEq, Resource)]
pub struct Torus {
    extents: [usize; 9],
    lengths: [f64; 9],
    storage: Vec<Axis>,
    page_shape: [usize; 9],
    page_nodes: usize,
}

impl Torus {
    /// Checks the extents, lengths and page, and fixes the storage order.
    ///
    /// # Errors
    /// [`TorusError`] names the first axis that is out of range.
    pub fn new(extents: [usize; 9], lengths: [f64; 9], page: PageRule) -> Result<Self, TorusError> {
        for axis in Axis::ALL {
            let (extent, length) = (extents[axis.index()], lengths[axis.index()]);
            if extent == 0 || extent > EXTENT_MAX {
                return Err(TorusError::Extent { axis, found: extent });
            }
            if !(length.is_finite() && length > 0.0) {
                return Err(TorusError::Length { axis, found: length });
            }
        }
        let nodes = extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        if nodes.is_none_or(|nodes| nodes > 1 << 48) {
            return Err(TorusError::TooLarge);
        }
        let mut storage: Vec<Axis> = Axis::ALL.into_iter().filter(|axis| extents[axis.index()] > 1).collect();
        storage.sort_by_key(|axis| (core::cmp::Reverse(extents[axis.index()]), axis.index()));
        let page_shape = match page {
            PageRule::Auto => auto_page(&extents, &storage),
            PageRule::Shape(shape) => checked_page(&extents, &storage, shape)?,
            PageRule::AutoBlocks => auto_block(&extents),
            PageRule::Blocks(shape) => checked_block(&extents, shape)?,
        };
        let page_nodes = page_shape.iter().product();
        let torus = Self { extents, lengths, storage, page_shape, page_nodes };
        match torus.n_pages() {
            found if found > 1 << 32 => Err(TorusError::TooManyPages { found }),
            _ => Ok(torus),
        }
    }

    /// Nodes of the torus.
    pub fn n_nodes(&self) -> usize {
        self.extents.iter().product()
    }

    /// Pages of the torus.
    pub fn n_pages(&self) -> usize {
        self.n_nodes() / self.page_nodes
    }

    /// Nodes per page.
    pub fn page_nodes(&self) -> usize {
        self.page_nodes
    }

    /// Nodes of a page along r…z.
    pub fn page_shape(&self) -> [usize; 9] {
        self.page_shape
    }

    /// Whether every page is a contiguous run of the row-major order of all nodes, as on a dense torus.
    pub fn has_contiguous_pages(&self) -> bool {
        let mut is_cut = false;
        self.storage.iter().rev().all(|axis| {
            let (extent, side) = (self.extents[axis.index()], self.page_shape[axis.index()]);
            let is_run = !is_cut || side == 1;
            is_cut |= side != extent;
            is_run
        })
    }

    /// Nodes along r…z.
    pub fn extents(&self) -> &[usize; 9] {
        &self.extents
    }

    /// Period lengths along r…z in model units.
    pub fn lengths(&self) -> &[f64; 9] {
        &self.lengths
    }

    /// Active axes (extent > 1), slowest first.
    pub fn storage(&self) -> &[Axis] {
        &self.storage
    }

    /// Extents in storage order; `[1]` for a torus of one node.
    pub fn storage_extents(&self) -> Vec<usize> {
        if self.storage.is_empty() {
            return vec![1];
        }
        self.storage.iter().map(|axis| self.extents[axis.index()]).collect()
    }

    /// Whether the storage order of nodes is the canonical one.
    pub fn storage_is_canonical(&self) -> bool {
        self.storage.is_sorted_by_key(|axis| axis.index())
    }

    /// Distance between neighbours along `axis`, in model units.
    pub fn spacing(&self, axis: Axis) -> f64 {
        self.lengths[axis.index()] / self.extents[axis.index()] as f64
    }

    /// Position of grid index `i` along `axis`: `−L/2 + i·L/N`; zero where the axis has one node.
    pub fn coordinate(&self, axis: Axis, i: usize) -> f64 {
        if self.extents[axis.index()] == 1 {
            return 0.0;
        }
        -0.5 * self.lengths[axis.index()] + i as f64 * self.spacing(axis)
    }

    /// Volume of one node: the product of the spacings of the active axes. ∫f is `cell_volume · Σf`.
    pub fn cell_volume(&self) -> f64 {
        self.storage.iter().map(|&axis| self.spacing(axis)).product()
    }

    /// Pages along r…z.
    pub fn lattice(&self) -> [usize; 9] {
        core::array::from_fn(|d| self.extents[d] / self.page_shape[d])
    }

    /// Position of a page on the page lattice, r…z.
    pub fn cell(&self, page: usize) -> [usize; 9] {
        let mut rest = page;
        let mut cell = [0; 9];
        for axis in self.storage.iter().rev() {
            let d = axis.index();
            let pages = self.extents[d] / self.page_shape[d];
            cell[d] = rest % pages;
            rest /= pages;
        }
        cell
    }

    /// The page at a position of the page lattice.
    pub fn page_at(&self, cell: [usize; 9]) -> usize {
        self.storage.iter().fold(0, |page, axis| {
            let d = axis.index();
            page * (self.extents[d] / self.page_shape[d]) + cell[d]
        })
    }

    /// The page behind the lower (`false`) or upper face of `page` along `axis`; itself where there is but one.
    pub fn neighbour(&self, page: usize, axis: Axis, is_upper: bool) -> usize {
        let d = axis.index();
        let pages = self.extents[d] / self.page_shape[d];
        let mut cell = self.cell(page);
        cell[d] = (cell[d] + if is_upper { 1 } else { pages - 1 }) % pages;
        self.page_at(cell)
    }

    /// Grid coordinates r…z of node `i` of page `page`.
    pub fn node(&self, page: usize, i: usize) -> [usize; 9] {
        let (mut page, mut i) = (page, i);
        let mut coordinates = [0; 9];
        for axis in self.storage.iter().rev() {
            let d = axis.index();
            let side = self.page_shape[d];
            let pages = self.extents[d] / side;
            coordinates[d] = page % pages * side + i % side;
            page /= pages;
            i /= side;
        }
        coordinates
    }

    /// Page and node within the page of grid coordinates r…z (each below its extent).
    pub fn locate(&self, coordinates: [usize; 9]) -> (usize, usize) {
        let (mut page, mut i) = (0, 0);
        for axis in &self.storage {
            let d = axis.index();
            let side = self.page_shape[d];
            page = page * (self.extents[d] / side) + coordinates[d] / side;
            i = i * side + coordinates[d] % side;
        }
        (page, i)
    }

    /// Moves grid coordinates to the next node of their page, from the last back to the first. Returns the position
    /// in [`Torus::storage`] of the slowest axis that moved.
    pub fn step(&self, coordinates: &mut [usize; 9]) -> usize {
        for (k, axis) in self.storage.iter().enumerate().rev() {
            let d = axis.index();
            coordinates[d] += 1;
            let (side, extent) = (self.page_shape[d], self.extents[d]);
            // Most axes lie whole in a page, and a comparison costs a tenth of a division.
            let is_over =
                if side == extent { coordinates[d] == extent } else { coordinates[d].is_multiple_of(side) };
            if !is_over {
                return k;
            }
            coordinates[d] -= self.page_shape[d];
        }
        0
    }

    /// Calls `visit(i, coordinates)` for every node of `page` in storage order.
    pub fn for_each_node(&self, page: usize, mut visit: impl FnMut(usize, &[usize; 9])) {
        let mut coordinates = self.node(page, 0);
        for i in 0..self.page_nodes {
            visit(i, &coordinates);
            self.step(&mut coordinates);
        }
    }
}

fn auto_page(extents: &[usize; 9], storage: &[Axis]) -> [usize; 9] {
    let mut shape = [1; 9];
    let mut nodes = 1;
    for (taken, axis) in storage.iter().rev().enumerate() {
        let extent = extents[axis.index()];
        if taken == 0 || nodes * extent <= PAGE_NODES_AIM {
            shape[axis.index()] = extent;
            nodes *= extent;
            continue;
        }
        let fits = |divisor: &usize| extent.is_multiple_of(*divisor) && nodes * divisor <= PAGE_NODES_AIM;
        shape[axis.index()] = (1..=extent).rev().find(fits).unwrap_or(1);
        break;
    }
    shape
}

fn checked_page(extents: &[usize; 9], storage: &[Axis], shape: [usize; 9]) -> Result<[usize; 9], TorusError> {
    for axis in Axis::ALL {
        if extents[axis.index()] == 1 && shape[axis.index()] != 1 {
            return Err(TorusError::Page { axis, found: shape[axis.index()], expected: "1".into() });
        }
    }
    let mut is_cut = false;
    for (taken, &axis) in storage.iter().rev().enumerate() {
        let (extent, found) = (extents[axis.index()], shape[axis.index()]);
        let expected = match (taken, is_cut) {
            (0, _) => format!("{extent} (the fastest axis is never cut)"),
            (_, true) => "1 (a faster axis is already cut)".to_string(),
            (_, false) => format!("a divisor of {extent}"),
        };
        let is_valid = match (taken, is_cut) {
            (0, _) => found == extent,
            (_, true) => found == 1,
            (_, false) => found >= 1 && extent.is_multiple_of(found),
        };
        if !is_valid {
            return Err(TorusError::Page { axis, found, expected });
        }
        is_cut |= found != extent;
    }
    Ok(shape)
}

fn auto_block(extents: &[usize; 9]) -> [usize; 9] {
    let is_native = |extent: usize| {
        let mut rest = extent;
        while rest.is_multiple_of(3) {
            rest /= 3;
        }
        rest == 1
    };
    if extents.iter().all(|&extent| is_native(extent)) {
        return extents.map(|extent| extent.min(3));
    }
    let mut shape = *extents;
    while shape.iter().product::<usize>() > PAGE_NODES_AIM {
        let longest = (0..9).rev().max_by_key(|&d| shape[d]).unwrap_or(0);
        let shorter = |side: &usize| extents[longest].is_multiple_of(*side);
        shape[longest] = (1..shape[longest]).rev().find(shorter).unwrap_or(1);
    }
    shape
}

fn checked_block(extents: &[usize; 9], shape: [usize; 9]) -> Result<[usize; 9], TorusError> {
    let misfit = Axis::ALL.into_iter().find(|axis| {
        let (extent, side) = (extents[axis.index()], shape[axis.index()]);
        side == 0 || !extent.is_multiple_of(side)
    });
    match misfit {
        None => Ok(shape),
        Some(axis) => {
            Err(TorusError::Block { axis, found: shape[axis.index()], extent: extents[axis.index()] })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torus(extents: [usize; 9]) -> Torus {
        Torus::new(extents, extents.map(|extent| extent as f64), PageRule::Auto).expect("valid extents")
    }

    #[test]
    fn reference_shapes_get_pages_of_about_twenty_thousand_nodes() {
        assert_eq!(torus([3; 9]).n_pages(), 1);
        assert_eq!(torus([3; 9]).page_nodes(), 19_683);
        assert_eq!(torus([1, 1, 1, 1, 1, 1, 27, 27, 27]).n_pages(), 1);
        assert_eq!(torus([27, 27, 27, 3, 3, 3, 3, 3, 3]).page_nodes(), 19_683);
        assert_eq!(torus([3, 3, 3, 3, 3, 3, 27, 27, 27]).n_pages(), 729);
        assert_eq!(torus([1, 1, 1, 1, 1, 1, 128, 128, 128]).page_nodes(), 16_384);
        assert_eq!(torus([1, 1, 1, 1, 1, 1, 1, 512, 512]).page_nodes(), 16_384);
        assert_eq!(torus([1, 1, 1, 1, 1, 1, 1, 1, 16_384]).n_pages(), 1);
        assert_eq!(torus([1; 9]).n_nodes(), 1);
    }

    #[test]
    fn locate_inverts_node_and_the_odometer_agrees() {
        for extents in [[3; 9], [1, 2, 1, 5, 1, 4, 1, 1, 27], [4, 1, 1, 1, 81, 1, 1, 512, 1]] {
            let torus = torus(extents);
            for page in 0..torus.n_pages() {
                torus.for_each_node(page, |i, coordinates| {
                    assert_eq!(*coordinates, torus.node(page, i));
                    assert_eq!(torus.locate(*coordinates), (page, i));
                });
            }
        }
    }

    #[test]
    fn blocks_locate_step_and_know_their_neighbours() {
        let cases = [
            ([1, 2, 1, 6, 1, 4, 1, 1, 27], PageRule::Blocks([1, 1, 1, 3, 1, 2, 1, 1, 9])),
            ([9, 1, 3, 1, 27, 1, 1, 1, 3], PageRule::AutoBlocks),
        ];
        for (extents, rule) in cases {
            let torus = Torus::new(extents, [1.0; 9], rule).expect("valid");
            let mut seen = 0;
            for page in 0..torus.n_pages() {
                assert_eq!(torus.page_at(torus.cell(page)), page);
                torus.for_each_node(page, |i, coordinates| {
                    assert_eq!(*coordinates, torus.node(page, i));
                    assert_eq!(torus.locate(*coordinates), (page, i));
                    seen += 1;
                });
                for &axis in torus.storage() {
                    let beyond = torus.neighbour(page, axis, true);
                    assert_eq!(torus.neighbour(beyond, axis, false), page);
                }
            }
            assert_eq!(seen, torus.n_nodes());
        }
    }

    #[test]
    fn the_largest_native_torus_is_named_without_walking_it() {
        let torus = Torus::new([27; 9], [27.0; 9], PageRule::AutoBlocks).expect("valid");
        assert_eq!(torus.n_nodes(), 7_625_597_484_987);
        assert_eq!((torus.n_pages(), torus.page_nodes()), (387_420_489, 19_683));
        let (page, i) = torus.locate([26, 13, 0, 1, 2, 25, 7, 14, 5]);
        assert_eq!(torus.node(page, i), [26, 13, 0, 1, 2, 25, 7, 14, 5]);
        let uneven = Torus::new([1, 1, 1, 1, 1, 1, 128, 128, 128], [1.0; 9], PageRule::AutoBlocks);
        assert_eq!(uneven.expect("valid").page_shape(), [1, 1, 1, 1, 1, 1, 16, 32, 32]);
        let block = PageRule::Blocks([1, 1, 1, 1, 1, 1, 1, 1, 5]);
        let misfit = Torus::new([1, 1, 1, 1, 1, 1, 1, 1, 16], [1.0; 9], block);
        assert!(matches!(misfit, Err(TorusError::Block { axis: Axis::Z, found: 5, extent: 16 })));
    }

    #[test]
    fn pages_that_do_not_tile_are_refused() {
        let lengths = [1.0; 9];
        let extents = [1, 1, 1, 1, 1, 1, 8, 8, 8];
        let page = |x, y, z| PageRule::Shape([1, 1, 1, 1, 1, 1, x, y, z]);
        assert!(Torus::new(extents, lengths, page(1, 4, 8)).is_ok());
        for rule in [page(1, 3, 8), page(1, 8, 4), page(2, 4, 8), page(0, 8, 8)] {
            assert!(matches!(Torus::new(extents, lengths, rule), Err(TorusError::Page { .. })));
        }
    }

    #[test]
    fn the_centre_of_an_even_axis_is_a_node() {
        let torus = Torus::new([1, 1, 1, 1, 1, 1, 1, 1, 8], [2.0; 9], PageRule::Auto).expect("valid");
        assert_eq!(torus.coordinate(Axis::Z, 4), 0.0);
        assert_eq!(torus.coordinate(Axis::X, 0), 0.0);
        assert_eq!(torus.cell_volume(), 0.25);
    }
}
