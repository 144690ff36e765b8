//! Columns: one physical quantity of one page, contiguous and 64-byte aligned.
//!
//! Invariant: all columns of one quantity are windows of a single allocation, disjoint by construction, so each
//! [`Column`] is the only way to its numbers and can be lent mutably like a boxed slice. The pitch between windows
//! is an odd number of cache lines, so that the same node of many pages does not fall into the same cache set.

#![allow(unsafe_code)] // One aligned allocation handed out as disjoint windows; see the SAFETY comments.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

/// Alignment of a column in bytes: one cache line, one AVX-512 register.
pub const COLUMN_ALIGN_BYTES: usize = 64;

/// Allocations from this size on are aligned to the huge-page size, so that the advice can take effect.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Called once with each large allocation before first use (address, bytes), e.g. to ask for huge pages.
pub type MemoryAdvice = fn(*mut u8, usize);

/// Plain numbers that may be zero-filled. Sealed to the scalars of the state.
pub trait Scalar: Copy + Send + Sync + 'static + sealed::Sealed {}
impl Scalar for f32 {}
impl Scalar for f64 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

struct Slab {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a slab is only an address and a layout; access to the memory goes through `Column`, whose windows are
// disjoint, and the slab is freed when the last of them is gone.
unsafe impl Send for Slab {}
// SAFETY: as above; a shared slab offers no access at all.
unsafe impl Sync for Slab {}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: `base` came from `alloc_zeroed` with this very layout and nobody holds a window any more.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// One quantity of one page.
pub struct Column<T: Scalar> {
    start: NonNull<T>,
    len: usize,
    _slab: Arc<Slab>,
    _owns: PhantomData<T>,
}

// SAFETY: a column is the unique owner of its window, like `Box<[T]>`.
unsafe impl<T: Scalar> Send for Column<T> {}
// SAFETY: shared access gives only `&[T]`.
unsafe impl<T: Scalar> Sync for Column<T> {}

/// Why columns could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes for columns cannot be addressed; expected a smaller torus")]
pub struct ColumnError {
    /// Bytes that were asked for (saturated).
    pub bytes: usize,
}

/// Makes `n_columns` zeroed columns of `len` scalars in one allocation.
///
/// # Errors
/// [`ColumnError`] when the size overflows. Running out of memory aborts, as everywhere in Rust; callers check the
/// size against the memory at hand before.
pub fn zeroed<T: Scalar>(
    n_columns: usize,
    len: usize,
    advice: Option<MemoryAdvice>,
) -> Result<Vec<Column<T>>, ColumnError> {
    let line = COLUMN_ALIGN_BYTES / size_of::<T>();
    let lines = len.div_ceil(line) | 1;
    let pitch = lines * line;
    let bytes = n_columns
        .checked_mul(pitch)
        .and_then(|scalars| scalars.checked_mul(size_of::<T>()))
        .ok_or(ColumnError { bytes: usize::MAX })?
        .max(COLUMN_ALIGN_BYTES);
    let align = if bytes >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { COLUMN_ALIGN_BYTES };
    let layout = Layout::from_size_align(bytes, align).map_err(|_| ColumnError { bytes })?;
    // SAFETY: the layout's size is not zero.
    let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
    if let Some(advise) = advice.filter(|_| bytes >= HUGE_PAGE_BYTES) {
        advise(base.as_ptr(), bytes);
    }
    let slab = Arc::new(Slab { base, layout });
    let window = |index: usize| {
        // SAFETY: `index < n_columns`, so the window of `pitch` scalars lies within the allocation; windows of
        // different indices do not overlap; all-zero bytes are valid floating-point numbers.
        let start = unsafe { base.cast::<T>().add(index * pitch) };
        Column { start, len, _slab: Arc::clone(&slab), _owns: PhantomData }
    };
    Ok((0..n_columns).map(window).collect())
}

impl<T: Scalar> Deref for Column<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the window holds `len` initialised scalars and is reachable only through this column.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Scalar> DerefMut for Column<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

#[cfg(target_endian = "big")]
compile_error!("columns are stored as they lie in memory, which must be little-endian");

impl<T: Scalar> Column<T> {
    /// The numbers as bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the window holds `len` initialised scalars without padding; bytes have no alignment.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.len * size_of::<T>()) }
    }

    /// The numbers as bytes to be overwritten: every pattern is a number.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; any bytes are valid floating-point numbers, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.len * size_of::<T>()) }
    }
}

impl<T: Scalar> std::fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Column[{}]", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_zeroed_disjoint_and_staggered() {
        let mut columns = zeroed::<f32>(5, 19_683, None).expect("small");
        for (value, column) in columns.iter_mut().enumerate() {
            assert_eq!(column.as_ptr() as usize % COLUMN_ALIGN_BYTES, 0);
            assert!(column.iter().all(|&x| x == 0.0));
            column.fill(value as f32);
        }
        for (value, column) in columns.iter().enumerate() {
            assert!(column.iter().all(|&x| x == value as f32));
        }
        let pitch = columns[1].as_ptr() as usize - columns[0].as_ptr() as usize;
        assert_eq!((pitch / COLUMN_ALIGN_BYTES) % 2, 1);
    }

    #[test]
    fn a_column_outlives_its_siblings() {
        let mut columns = zeroed::<f64>(3, 10, None).expect("small");
        let mut last = columns.pop().expect("three columns");
        drop(columns);
        last[9] = 1.0;
        assert_eq!(last.iter().sum::<f64>(), 1.0);
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        assert!(zeroed::<f64>(usize::MAX / 2, 64, None).is_err());
    }
}
