//! Propagators of a column as vectors take them, beside the matrices that they are copies of.
//!
//! Invariant: a packed number is the matrix' own; whoever replaces a matrix packs it again. Source: [`super`].
//!
//! ```text
//! triples: lines of three nodes, a matrix for 27 neighbouring lines: its six numbers, line of cells after line of cells
//! blocks:  axes inside cells, a matrix for nine lines of a cell: a vector of cells for each number; of a column of k pages
//!          the k(k + 1)/2 blocks of 3 × 3 on and above the diagonal, row after row
//! ```

use super::super::super::fibre::Fibre;
use super::super::runs::SIDE;
use crate::field::Real;

/// Numbers of a symmetric matrix of three rows: (re, im) of 00, 01, 02, 11, 12, 22.
pub(super) const TRIPLE: usize = 12;

/// Numbers of a block: (re, im) of its nine entries.
pub(super) const BLOCK: usize = 2 * SIDE * SIDE;

/// The tables of a column.
pub(super) enum Packed<T> {
    /// The matrices themselves.
    No,
    /// A page alone, along an axis outside cells.
    Triples(Vec<[T; TRIPLE]>),
    /// An axis inside cells.
    Blocks(BlockTable<T>),
}

/// See the module.
pub(super) struct BlockTable<T> {
    n_pages: usize,
    /// Behind `first` numbers that bring them to the beginning of a cache line.
    numbers: Vec<T>,
    first: usize,
}

/// Where block (i, j), i ≤ j < n, is among those of a matrix.
#[inline(always)]
pub(super) fn block_at(n: usize, i: usize, j: usize) -> usize {
    i * (2 * n - i + 1) / 2 + j - i
}

/// Cells whose numbers share a vector.
pub(super) const fn lanes<T: Real>() -> usize {
    64 / T::BYTES
}

impl<T: Real> BlockTable<T> {
    /// Room for `n_lines` lines of cells.
    pub fn new(n_pages: usize, n_lines: usize) -> Self {
        let mut blocks = Self { n_pages, numbers: Vec::new(), first: 0 };
        let n = n_lines.div_ceil(lanes::<T>()) * blocks.group_len();
        blocks.numbers = vec![T::default(); n + lanes::<T>()];
        blocks.first = blocks.numbers.as_ptr().align_offset(64).min(lanes::<T>());
        blocks
    }

    fn group_len(&self) -> usize {
        self.n_pages * (self.n_pages + 1) / 2 * BLOCK * lanes::<T>()
    }

    /// The numbers of a group of cells.
    pub fn group(&self, group: usize) -> &[T] {
        &self.numbers[self.first + group * self.group_len()..][..self.group_len()]
    }

    fn set(&mut self, line: usize, fibre: &Fibre<T>) {
        let (n, width) = (self.n_pages, lanes::<T>());
        let first = self.first + line / width * self.group_len() + line % width;
        for i in 0..n {
            for j in i..n {
                for at in 0..SIDE * SIDE {
                    let (re, im) = number(fibre, SIDE * i + at / SIDE, SIDE * j + at % SIDE);
                    let to = first + (block_at(n, i, j) * BLOCK + 2 * at) * width;
                    (self.numbers[to], self.numbers[to + width]) = (re, im);
                }
            }
        }
    }
}

impl<T: Real> Packed<T> {
    /// Packs the matrix of a line of cells.
    pub fn set(&mut self, line: usize, fibre: &Fibre<T>) {
        match self {
            Self::No => {}
            Self::Triples(triples) => {
                let entries = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];
                for ((i, j), to) in entries.into_iter().zip(triples[line].chunks_exact_mut(2)) {
                    (to[0], to[1]) = number(fibre, i, j);
                }
            }
            Self::Blocks(blocks) => blocks.set(line, fibre),
        }
    }
}

fn number<T: Real>(fibre: &Fibre<T>, i: usize, j: usize) -> (T, T) {
    let (re, im) = fibre.entry(i, j);
    (T::from_f64(re), T::from_f64(im))
}
