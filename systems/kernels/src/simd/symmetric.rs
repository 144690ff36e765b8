//! Symmetric 9 × 9 matrices as 45 numbers in three groups of sixteen, and their columns as vectors.
//!
//! Invariant: a column is found in two of the groups, so that a permutation of two registers makes it. The axes are in three
//! classes of three; group g has the numbers of class g with itself and with the next class, and a zero:
//!
//! ```text
//! 00 01 02 11 12 22 │ 0'0 0'1 0'2 1'0 1'1 1'2 2'0 2'1 2'2 │ 0        ' of the next class
//! ```
//!
//! Source: packed storage of symmetric matrices, cut so that it suits registers.

/// Rows of a matrix.
pub(crate) const ROWS: usize = 9;

/// Numbers of a packed matrix, zeros included.
pub(crate) const PACKED: usize = 48;

/// Numbers of a group.
const GROUP: usize = 16;

/// Where the number in row `i` and column `j` is.
pub(crate) const fn place(i: usize, j: usize) -> usize {
    let (class_i, class_j) = (i / 3, j / 3);
    let (i, j) = (i % 3, j % 3);
    if class_i == class_j {
        let (low, high) = if i < j { (i, j) } else { (j, i) };
        GROUP * class_i + low * 3 - low * (low + 1) / 2 + high
    } else if class_j == (class_i + 1) % 3 {
        GROUP * class_i + 6 + 3 * i + j
    } else {
        GROUP * class_j + 6 + 3 * j + i
    }
}

/// The groups of a column: that of its class and the one before.
pub(super) const fn groups(column: usize) -> [usize; 2] {
    [column / 3 * GROUP, (column / 3 + 2) % 3 * GROUP]
}

/// Of each column the places of its numbers, those of its first group as 0 to 15, of its second as 16 to 31; behind them the zero.
pub(super) static INDICES: [[u32; GROUP]; ROWS] = {
    let mut indices = [[GROUP as u32 - 1; GROUP]; ROWS];
    let mut j = 0;
    while j < ROWS {
        let mut i = 0;
        while i < ROWS {
            let (at, [first, second]) = (place(i, j), groups(j));
            let is_in_first = at >= first && at < first + GROUP;
            indices[j][i] = (if is_in_first { at - first } else { GROUP + at - second }) as u32;
            i += 1;
        }
        j += 1;
    }
    indices
};

/// The same for a group in two registers of eight numbers: of the first eight rows the places in the group they are in, and those
/// that are in the second.
pub(super) static WIDE_INDICES: [([u64; 8], u8); ROWS] = {
    let mut indices = [([0; 8], 0); ROWS];
    let mut j = 0;
    while j < ROWS {
        let mut i = 0;
        while i < 8 {
            let at = INDICES[j][i] as usize;
            indices[j].0[i] = (at % GROUP) as u64;
            indices[j].1 |= ((at / GROUP) as u8) << i;
            i += 1;
        }
        j += 1;
    }
    indices
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Lanes, Level, dispatch};

    struct Columns<'a, T>(&'a [T; PACKED]);

    impl<T: crate::Real> Kernel<T> for Columns<'_, T> {
        type Out = Vec<T>;
        #[inline(always)]
        fn run<V: Lanes<T = T>>(self) -> Vec<T> {
            let mut out = Vec::new();
            for part in (0..ROWS).step_by(V::N) {
                for j in 0..ROWS {
                    let mut numbers = [T::default(); 16];
                    // SAFETY: so many numbers.
                    unsafe { V::column(self.0.as_ptr(), part, j) }.store_array(&mut numbers);
                    out.extend_from_slice(&numbers[..V::N.min(ROWS - part)]);
                }
            }
            out
        }
    }

    fn check<T: crate::Real>() {
        let mut packed = [T::default(); PACKED];
        for i in 0..ROWS {
            for j in 0..ROWS {
                packed[place(i, j)] = T::from_f64((10 * i.min(j) + i.max(j)) as f64);
            }
        }
        let n = 64 / T::BYTES;
        for level in Level::available() {
            let mut found = dispatch::<T, _>(level, Columns(&packed)).into_iter();
            for part in (0..ROWS).step_by(n) {
                for j in 0..ROWS {
                    for i in part..ROWS.min(part + n) {
                        let expected = (10 * i.min(j) + i.max(j)) as f64;
                        assert_eq!(found.next().map(T::to_f64), Some(expected), "{level} {i} {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_finds_every_number() {
        check::<f32>();
        check::<f64>();
    }
}
