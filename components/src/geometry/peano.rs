//! The Peano curve in one to nine dimensions: a base-3 space-filling curve over a lattice.
//!
//! Invariant: index and coordinates are inverse bijections, and consecutive indices are grid neighbours (they differ
//! by one in exactly one coordinate). Source: Peano, Math. Ann. 36 (1890) 157; Sagan, *Space-Filling Curves* (1994),
//! ch. 3. The digit of an axis is complemented (d → 2 − d) when the sum of all more significant digits of the *other*
//! axes is odd; complementing keeps a digit's parity, so the same rule reads coordinates back.
//!
//! An axis may have fewer levels than others; the digits it lacks are left out. The neighbour property survives:
//! when a digit steps by one, all lower digits wrap 2 → 0; those of other axes see their complement flip and stay
//! put, those of the same axis carry.

/// Most ternary digits of an index: 3^36 < 2^64.
pub const DIGITS_MAX: u32 = 36;

/// A lattice of 3^levels cells along each of nine axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lattice {
    levels: [u32; 9],
}

/// The lattice has more digits than an index can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lattice needs {found} ternary digits; expected at most {DIGITS_MAX}")]
pub struct PeanoError {
    /// Digits it would need.
    pub found: u32,
}

impl Lattice {
    /// The lattice with 3^levels cells along r…z.
    ///
    /// # Errors
    /// [`PeanoError`] when the digits of all axes exceed [`DIGITS_MAX`].
    pub fn new(levels: [u32; 9]) -> Result<Self, PeanoError> {
        let found = levels.iter().sum();
        if found > DIGITS_MAX { Err(PeanoError { found }) } else { Ok(Self { levels }) }
    }

    /// The smallest lattice that encloses `cells` along each axis.
    ///
    /// # Errors
    /// [`PeanoError`] when that lattice has too many digits.
    pub fn enclosing(cells: [usize; 9]) -> Result<Self, PeanoError> {
        Self::new(cells.map(|cells| (0..).find(|&level| 3usize.pow(level) >= cells).unwrap_or(0)))
    }

    /// Cells of the lattice.
    pub fn n_cells(&self) -> u64 {
        3u64.pow(self.levels.iter().sum())
    }

    /// Index along the curve of a cell (each coordinate below 3^levels).
    pub fn index(&self, coordinates: [usize; 9]) -> u64 {
        let mut index = 0;
        self.walk(|level, axis, flip| {
            let digit = coordinates[axis] / 3usize.pow(level) % 3;
            let step = if flip { 2 - digit } else { digit };
            index = 3 * index + step as u64;
            step
        });
        index
    }

    /// The cell at `index` along the curve.
    pub fn coordinates(&self, index: u64) -> [usize; 9] {
        let mut coordinates = [0; 9];
        let mut place = self.n_cells();
        self.walk(|level, axis, flip| {
            place /= 3;
            let step = (index / place % 3) as usize;
            coordinates[axis] += 3usize.pow(level) * if flip { 2 - step } else { step };
            step
        });
        coordinates
    }

    /// Visits the digits from the most significant: (level, axis, whether the digit is complemented) → index digit.
    fn walk(&self, mut digit: impl FnMut(u32, usize, bool) -> usize) {
        let highest = self.levels.into_iter().max().unwrap_or(0);
        let mut own = [0; 9];
        let mut all = 0;
        for level in (0..highest).rev() {
            for axis in 0..9 {
                if level < self.levels[axis] {
                    let step = digit(level, axis, (all - own[axis]) % 2 == 1);
                    own[axis] += step;
                    all += step;
                }
            }
        }
    }
}

/// Index of the page with first node `origin` along the curve over the page lattice of a torus.
pub fn page_index(extents: &[usize; 9], page_shape: &[usize; 9], origin: &[usize; 9]) -> u64 {
    let cells = std::array::from_fn(|d| extents[d] / page_shape[d]);
    let cell = std::array::from_fn(|d| origin[d] / page_shape[d]);
    // A torus has at most 2^48 nodes, so its pages have at most 31 + 9 digits; beyond 36 the row-major index serves.
    match Lattice::enclosing(cells) {
        Ok(lattice) => lattice.index(cell),
        Err(_) => cells.iter().zip(cell).fold(0, |index, (&cells, cell)| index * cells as u64 + cell as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: [usize; 9], b: [usize; 9]) -> usize {
        a.iter().zip(&b).map(|(&a, &b)| a.abs_diff(b)).sum()
    }

    fn check(levels: [u32; 9]) {
        let lattice = Lattice::new(levels).expect("few digits");
        let mut seen = vec![false; lattice.n_cells() as usize];
        let mut previous = None;
        for index in 0..lattice.n_cells() {
            let cell = lattice.coordinates(index);
            assert_eq!(lattice.index(cell), index, "{levels:?}");
            let row_major = cell.iter().zip(levels).fold(0, |at, (&c, level)| at * 3usize.pow(level) + c);
            assert!(!std::mem::replace(&mut seen[row_major], true), "{levels:?}: {cell:?} twice");
            if let Some(previous) = previous {
                assert_eq!(distance(previous, cell), 1, "{levels:?}: {previous:?} → {cell:?}");
            }
            previous = Some(cell);
        }
    }

    #[test]
    fn neighbours_on_the_full_torus_and_on_two_levels() {
        check([1; 9]);
        check([2, 2, 2, 2, 0, 0, 0, 0, 0]);
        check([0, 0, 0, 0, 0, 0, 0, 0, 7]);
        check([0, 3, 0, 0, 0, 0, 3, 0, 0]);
    }

    #[test]
    fn neighbours_where_axes_have_unequal_levels() {
        check([3, 1, 2, 0, 0, 1, 0, 0, 1]);
        check([0, 0, 4, 1, 0, 0, 2, 0, 0]);
    }

    #[test]
    fn peanos_own_example_in_two_dimensions() {
        // Sagan, fig. 3.1: the first level runs up, down, up through three columns.
        let lattice = Lattice::new([0, 0, 0, 0, 0, 0, 1, 1, 0]).expect("few digits");
        let path: Vec<_> = (0..9).map(|i| lattice.coordinates(i)).map(|cell| (cell[6], cell[7])).collect();
        assert_eq!(path, [(0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0), (2, 0), (2, 1), (2, 2)]);
    }

    #[test]
    fn random_neighbours_on_the_largest_lattice() {
        let lattice = Lattice::new([4; 9]).expect("36 digits");
        let mut state = 7u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let index = state % (lattice.n_cells() - 1);
            let (cell, next) = (lattice.coordinates(index), lattice.coordinates(index + 1));
            assert_eq!(lattice.index(cell), index);
            assert_eq!(distance(cell, next), 1);
        }
        assert!(Lattice::new([5; 9]).is_err());
    }

    #[test]
    fn pages_of_a_torus_have_distinct_indices() {
        let (extents, page) = ([12, 1, 1, 1, 1, 1, 10, 9, 6], [3, 1, 1, 1, 1, 1, 2, 3, 6]);
        let mut indices = Vec::new();
        for r in 0..4 {
            for x in 0..5 {
                for y in 0..3 {
                    indices.push(page_index(&extents, &page, &[3 * r, 0, 0, 0, 0, 0, 2 * x, 3 * y, 0]));
                }
            }
        }
        let n = indices.len();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), n);
    }
}
