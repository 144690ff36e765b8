//! Transpositions of a few registers. Invariant: numbers are moved, never changed; called only where [`super`] is. Source: Intel
//! intrinsics of `core::arch`.

use super::super::symmetric::{INDICES, groups};
use super::super::{Lanes, opaque};
use super::{F32x8, F64x4, load_first_pd, load_first_ps};
use core::arch::x86_64::*;

/// Transposes 8 × 8.
///
/// # Safety
/// Eight rows of eight scalars on both sides, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn tile_ps(src: *const f32, src_stride: usize, dst: *mut f32, dst_stride: usize) {
    let (step, to) = (opaque(src_stride), opaque(dst_stride));
    // SAFETY: says the caller.
    unsafe {
        // Row k beside row k + 4: loads put halves where they belong, a shuffle less for each register.
        let (near, far) = (src, src.add(opaque(4 * step)));
        let (left, right) = (fours_ps(near, far, step), fours_ps(near.add(4), far.add(4), step));
        let (near, far) = (dst, dst.add(opaque(4 * to)));
        for k in 0..4 {
            _mm256_storeu_ps(near.add(k * to), left[k]);
        }
        for k in 0..4 {
            _mm256_storeu_ps(far.add(k * to), right[k]);
        }
    }
}

/// Four rows of four scalars from `low` on, transposed, beside four others.
///
/// # Safety
/// They are readable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn fours_ps(low: *const f32, high: *const f32, step: usize) -> [__m256; 4] {
    // SAFETY: says the caller.
    unsafe {
        let (a, b) = (beside_ps(low, high), beside_ps(low.add(step), high.add(step)));
        let (low, high) = (low.add(2 * step), high.add(2 * step));
        let (c, d) = (beside_ps(low, high), beside_ps(low.add(step), high.add(step)));
        let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0x44>(ab0, cd0),
            _mm256_shuffle_ps::<0xEE>(ab0, cd0),
            _mm256_shuffle_ps::<0x44>(ab1, cd1),
            _mm256_shuffle_ps::<0xEE>(ab1, cd1),
        ]
    }
}

/// Four scalars from one place beside four from another.
///
/// # Safety
/// They are readable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn beside_ps(low: *const f32, high: *const f32) -> __m256 {
    // SAFETY: says the caller.
    unsafe { _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high)) }
}

/// Transposes `rows × cols`, each at most 8, into `cols` rows of `width` scalars: zeros beyond `rows`.
///
/// # Safety
/// They are readable and writable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn part_ps(
    src: *const f32,
    src_stride: usize,
    (rows, cols, width): (usize, usize, usize),
    dst: *mut f32,
    dst_stride: usize,
) {
    let mut r = [_mm256_setzero_ps(); 8];
    // SAFETY: says the caller.
    unsafe {
        for k in 0..rows {
            r[k] = load_first_ps(src.add(k * src_stride), cols);
        }
        r = turn_ps(r);
        for k in 0..cols {
            F32x8([r[k]]).store_n(dst.add(k * dst_stride), width);
        }
    }
}

/// Pairs of rows, then fours, then the two halves of a register.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn turn_ps(r: [__m256; 8]) -> [__m256; 8] {
    let (a0, a1) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
    let (a2, a3) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
    let (a4, a5) = (_mm256_unpacklo_ps(r[4], r[5]), _mm256_unpackhi_ps(r[4], r[5]));
    let (a6, a7) = (_mm256_unpacklo_ps(r[6], r[7]), _mm256_unpackhi_ps(r[6], r[7]));
    let (b0, b1) = (_mm256_shuffle_ps::<0x44>(a0, a2), _mm256_shuffle_ps::<0xEE>(a0, a2));
    let (b2, b3) = (_mm256_shuffle_ps::<0x44>(a1, a3), _mm256_shuffle_ps::<0xEE>(a1, a3));
    let (b4, b5) = (_mm256_shuffle_ps::<0x44>(a4, a6), _mm256_shuffle_ps::<0xEE>(a4, a6));
    let (b6, b7) = (_mm256_shuffle_ps::<0x44>(a5, a7), _mm256_shuffle_ps::<0xEE>(a5, a7));
    [
        _mm256_permute2f128_ps::<0x20>(b0, b4),
        _mm256_permute2f128_ps::<0x20>(b1, b5),
        _mm256_permute2f128_ps::<0x20>(b2, b6),
        _mm256_permute2f128_ps::<0x20>(b3, b7),
        _mm256_permute2f128_ps::<0x31>(b0, b4),
        _mm256_permute2f128_ps::<0x31>(b1, b5),
        _mm256_permute2f128_ps::<0x31>(b2, b6),
        _mm256_permute2f128_ps::<0x31>(b3, b7),
    ]
}

/// Transposes 4 × 4.
///
/// # Safety
/// Four rows of four scalars on both sides, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn tile_pd(src: *const f64, src_stride: usize, dst: *mut f64, dst_stride: usize) {
    let mut r = [_mm256_setzero_pd(); 4];
    // SAFETY: says the caller.
    unsafe {
        for k in 0..4 {
            r[k] = _mm256_loadu_pd(src.add(k * src_stride));
        }
        r = turn_pd(r);
        for k in 0..4 {
            _mm256_storeu_pd(dst.add(k * dst_stride), r[k]);
        }
    }
}

/// Transposes `rows × cols`, each at most 4, into `cols` rows of `width` scalars: zeros beyond `rows`.
///
/// # Safety
/// They are readable and writable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn part_pd(
    src: *const f64,
    src_stride: usize,
    (rows, cols, width): (usize, usize, usize),
    dst: *mut f64,
    dst_stride: usize,
) {
    let mut r = [_mm256_setzero_pd(); 4];
    // SAFETY: says the caller.
    unsafe {
        for k in 0..rows {
            r[k] = load_first_pd(src.add(k * src_stride), cols);
        }
        r = turn_pd(r);
        for k in 0..cols {
            F64x4([r[k]]).store_n(dst.add(k * dst_stride), width);
        }
    }
}

/// Pairs of rows, then the two halves of a register.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn turn_pd(r: [__m256d; 4]) -> [__m256d; 4] {
    let (a0, a1) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
    let (a2, a3) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
    [
        _mm256_permute2f128_pd::<0x20>(a0, a2),
        _mm256_permute2f128_pd::<0x20>(a1, a3),
        _mm256_permute2f128_pd::<0x31>(a0, a2),
        _mm256_permute2f128_pd::<0x31>(a1, a3),
    ]
}

/// The numbers of eight records of four.
///
/// # Safety
/// Eight beginnings, and their records, are readable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn records_ps(p: *const f32, begins: *const u32) -> [__m256; 4] {
    // SAFETY: says the caller.
    unsafe {
        let pair = |k: usize| beside_ps(p.add(*begins.add(k) as usize), p.add(*begins.add(k + 4) as usize));
        let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
        let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0x44>(ab0, cd0),
            _mm256_shuffle_ps::<0xEE>(ab0, cd0),
            _mm256_shuffle_ps::<0x44>(ab1, cd1),
            _mm256_shuffle_ps::<0xEE>(ab1, cd1),
        ]
    }
}

/// Eight records of the numbers of four registers.
///
/// # Safety
/// Thirty-two scalars are writable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn put_records_ps([a, b, c, d]: [__m256; 4], p: *mut f32) {
    let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    let pairs = [
        _mm256_shuffle_ps::<0x44>(ab0, cd0),
        _mm256_shuffle_ps::<0xEE>(ab0, cd0),
        _mm256_shuffle_ps::<0x44>(ab1, cd1),
        _mm256_shuffle_ps::<0xEE>(ab1, cd1),
    ];
    for (k, pair) in pairs.into_iter().enumerate() {
        // SAFETY: says the caller.
        unsafe {
            _mm_storeu_ps(p.add(4 * k), _mm256_castps256_ps128(pair));
            _mm_storeu_ps(p.add(4 * k + 16), _mm256_extractf128_ps::<1>(pair));
        }
    }
}

/// The numbers of four records of four.
///
/// # Safety
/// Four beginnings, and their records, are readable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn records_pd(p: *const f64, begins: *const u32) -> [__m256d; 4] {
    // SAFETY: says the caller.
    let rows = unsafe {
        let row = |k: usize| _mm256_loadu_pd(p.add(*begins.add(k) as usize));
        [row(0), row(1), row(2), row(3)]
    };
    turn_pd(rows)
}

/// Four records of the numbers of four registers.
///
/// # Safety
/// Sixteen scalars are writable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn put_records_pd(columns: [__m256d; 4], p: *mut f64) {
    for (k, record) in turn_pd(columns).into_iter().enumerate() {
        // SAFETY: says the caller.
        unsafe { _mm256_storeu_pd(p.add(4 * k), record) };
    }
}

/// The first eight rows of column `j` of a packed symmetric matrix.
///
/// # Safety
/// The matrix is there, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn column_ps(packed: *const f32, j: usize) -> __m256 {
    let [first, second] = groups(j);
    // SAFETY: says the caller.
    unsafe {
        let indices = _mm256_loadu_si256(INDICES[j].as_ptr().cast());
        let (low, half) = (
            _mm256_castsi256_ps(_mm256_slli_epi32::<28>(indices)),
            _mm256_castsi256_ps(_mm256_slli_epi32::<27>(indices)),
        );
        let first = _mm256_blendv_ps(
            _mm256_permutevar8x32_ps(_mm256_loadu_ps(packed.add(first)), indices),
            _mm256_permutevar8x32_ps(_mm256_loadu_ps(packed.add(first + 8)), indices),
            low,
        );
        let second = _mm256_blendv_ps(
            _mm256_permutevar8x32_ps(_mm256_loadu_ps(packed.add(second)), indices),
            _mm256_permutevar8x32_ps(_mm256_loadu_ps(packed.add(second + 8)), indices),
            low,
        );
        _mm256_blendv_ps(first, second, half)
    }
}
