//! The virtual vector as two AVX2 registers, and its half as one. Invariant: these types are used only under [`Lanes::call`], which
//! `dispatch` reaches only on a processor with AVX2 and FMA. Source: Intel intrinsics of `core::arch`.

mod tiles;

use core::arch::x86_64::*;

use self::tiles::{
    column_ps, part_pd, part_ps, put_records_pd, put_records_ps, records_pd, records_ps, tile_pd, tile_ps,
};
use super::symmetric::{ROWS, place};
use super::{Kernel, Lanes};

/// 16 × f32.
#[derive(Clone, Copy)]
pub struct F32x16([__m256; 2]);

/// 8 × f64.
#[derive(Clone, Copy)]
pub struct F64x8([__m256d; 2]);

/// 8 × f32, for kernels that hold many vectors at a time.
#[derive(Clone, Copy)]
pub struct F32x8([__m256; 1]);

/// 4 × f64, for kernels that hold many vectors at a time.
#[derive(Clone, Copy)]
pub struct F64x4([__m256d; 1]);

/// # Safety
/// The processor has the features named.
#[target_feature(enable = "avx2,fma")]
#[inline(never)] // Inlined into each other, the transforms of all radices would be one enormous function.
unsafe fn enter<V: Lanes, K: Kernel<V::T>>(kernel: K) -> K::Out {
    kernel.run::<V>()
}

/// One bit of the length of a tail: `SIZE` scalars, if it has them.
///
/// # Safety
/// `n` scalars are readable and writable there.
#[inline(always)]
unsafe fn copy_part<const SIZE: usize, T: Copy>(from: *const T, to: *mut T, n: usize, done: &mut usize) {
    if n & SIZE != 0 {
        // SAFETY: says the caller: the parts of the bits of `n` add up to `n`.
        unsafe {
            to.add(*done)
                .cast::<[T; SIZE]>()
                .write_unaligned(from.add(*done).cast::<[T; SIZE]>().read_unaligned())
        };
        *done += SIZE;
    }
}

/// The first `n ≤ 8` scalars, zeros above.
///
/// # Safety
/// They are readable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_first_ps(p: *const f32, n: usize) -> __m256 {
    static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: eight masks from 8 − n on; masked lanes are not read.
    unsafe { _mm256_maskload_ps(p, _mm256_loadu_si256(MASKS.as_ptr().add(8 - n).cast())) }
}

/// The first `n ≤ 4` scalars, zeros above.
///
/// # Safety
/// They are readable, and the processor has AVX2.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_first_pd(p: *const f64, n: usize) -> __m256d {
    static MASKS: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];
    // SAFETY: four masks from 4 − n on; masked lanes are not read.
    unsafe { _mm256_maskload_pd(p, _mm256_loadu_si256(MASKS.as_ptr().add(4 - n).cast())) }
}

macro_rules! avx2_lanes {
    ($name:ident, [$($i:tt)*], $registers:literal, $narrow:ident, $t:ident, $n:literal, $tile:ident, $part:ident, $records:ident, $put_records:ident, $load_first:ident, $set1:ident, $loadu:ident, $add:ident, $sub:ident,
     $mul:ident, $div:ident, $sqrt:ident, $fmadd:ident, $fnmadd:ident, $min:ident, $max:ident, $andnot:ident, $xor:ident,
     $round:ident, $cmp:ident, $movemask:ident, $($more:item),+) => {
        impl Lanes for $name {
            type T = $t;
            type Wide = F64x8;
            type Narrow = $narrow;
            const N: usize = $n;

            #[inline(always)]
            fn splat(x: $t) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$set1(x); $registers] })
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller promises N readable scalars.
                $name(unsafe { [$($loadu(p.add($i * ($n / $registers)))),*] })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller promises N writable scalars.
                unsafe {
                    $(core::ptr::write_unaligned(p.add($i * ($n / $registers)).cast(), self.0[$i]);)*
                }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const $t, n: usize) -> Self {
                const WIDTH: usize = $n / $registers;
                // SAFETY: the caller promises n ≤ N readable scalars; lanes beyond them are not accessed.
                $name(unsafe { [$($load_first(p.wrapping_add($i * WIDTH), n.saturating_sub($i * WIDTH).min(WIDTH))),*] })
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, n: usize) {
                let mut out = [0.0; $n];
                // SAFETY: the caller promises n ≤ N writable scalars; `out` has N. Copies of fixed sizes need no call.
                unsafe {
                    self.store(out.as_mut_ptr());
                    if n == $n {
                        return self.store(p);
                    }
                    let mut done = 0;
                    copy_part::<8, $t>(out.as_ptr(), p, n, &mut done);
                    copy_part::<4, $t>(out.as_ptr(), p, n, &mut done);
                    copy_part::<2, $t>(out.as_ptr(), p, n, &mut done);
                    copy_part::<1, $t>(out.as_ptr(), p, n, &mut done);
                }
            }
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($add(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($sub(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($mul(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            fn div(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($div(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($sqrt(self.0[$i])),*] })
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($fmadd(self.0[$i], b.0[$i], c.0[$i])),*] })
            }
            #[inline(always)]
            fn add_by(self, one: Self, o: Self) -> Self {
                self.mul_add(one, o)
            }
            #[inline(always)]
            fn neg_mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($fnmadd(self.0[$i], b.0[$i], c.0[$i])),*] })
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($min(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($max(self.0[$i], o.0[$i])),*] })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($andnot($set1(-0.0), self.0[$i])),*] })
            }
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($xor($set1(-0.0), self.0[$i])),*] })
            }
            #[inline(always)]
            fn round(self) -> Self {
                const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$($round::<NEAREST>(self.0[$i])),*] })
            }
            #[inline(always)]
            fn all_below(self, bound: Self) -> bool {
                // SAFETY: the features are there, see the module's invariant.
                unsafe {
                    true $(&& $movemask($cmp::<_CMP_NLT_UQ>(self.0[$i], bound.0[$i])) == 0)*
                }
            }
            $($more)+
            #[inline(always)]
            unsafe fn transpose(
                src: *const $t,
                src_stride: usize,
                rows: usize,
                cols: usize,
                dst: *mut $t,
                dst_stride: usize,
                width: usize,
            ) {
                const TILE: usize = 32 / size_of::<$t>();
                // The last tile of a row or column overlaps the one before; what both write is the same.
                if rows < TILE || cols < TILE {
                    for c in (0..cols).step_by(TILE) {
                        for r in (0..width).step_by(TILE) {
                            let part = (
                                rows.saturating_sub(r).min(TILE),
                                (cols - c).min(TILE),
                                (width - r).min(TILE),
                            );
                            // SAFETY: the part lies inside rows × cols on one side and cols × width on the other.
                            unsafe {
                                let (from, to) = (src.wrapping_add(r * src_stride + c), dst.add(c * dst_stride + r));
                                $part(from, src_stride, part, to, dst_stride)
                            };
                        }
                    }
                    return;
                }
                if rows == $n && cols == $n {
                    // Loops of known length: what they would keep for the next round is more than fits in registers.
                    for c in (0..$n).step_by(TILE) {
                        for r in (0..$n).step_by(TILE) {
                            // SAFETY: rows ≤ width, so the tiles lie inside rows × cols and cols × width.
                            unsafe { $tile(src.add(r * src_stride + c), src_stride, dst.add(c * dst_stride + r), dst_stride) };
                        }
                    }
                    return;
                }
                for c in (0..cols).step_by(TILE) {
                    let c = c.min(cols - TILE);
                    for r in (0..rows).step_by(TILE) {
                        let r = r.min(rows - TILE);
                        // SAFETY: the tile lies inside rows × cols on one side and inside cols × width on the other.
                        unsafe { $tile(src.add(r * src_stride + c), src_stride, dst.add(c * dst_stride + r), dst_stride) };
                    }
                }
                for c in 0..if rows == width { 0 } else { cols } {
                    for r in rows..width {
                        // SAFETY: the caller promises cols × width writable scalars.
                        unsafe { *dst.add(c * dst_stride + r) = 0.0 };
                    }
                }
            }
            #[inline(always)]
            unsafe fn load_records(p: *const $t, begins: *const u32) -> [Self; 4] {
                const WIDTH: usize = $n / $registers;
                // SAFETY: the caller promises N beginnings and their records.
                let parts = unsafe { [$($records(p, begins.add($i * WIDTH))),*] };
                [
                    $name([$(parts[$i][0]),*]),
                    $name([$(parts[$i][1]),*]),
                    $name([$(parts[$i][2]),*]),
                    $name([$(parts[$i][3]),*]),
                ]
            }
            #[inline(always)]
            unsafe fn store_records(columns: [Self; 4], p: *mut $t) {
                const WIDTH: usize = $n / $registers;
                let [a, b, c, d] = columns;
                // SAFETY: the caller promises 4·N writable scalars.
                unsafe { $($put_records([a.0[$i], b.0[$i], c.0[$i], d.0[$i]], p.add(4 * $i * WIDTH));)* }
            }
            #[inline(always)]
            fn prefetch(p: *const $t) {
                // SAFETY: a prefetch touches no memory architecturally.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
            }
            #[inline(always)]
            fn call<K: Kernel<$t>>(kernel: K) -> K::Out {
                // SAFETY: the features are there, see the module's invariant.
                unsafe { enter::<Self, K>(kernel) }
            }
        }
    };
}

/// The intrinsics of f32, named once for both widths.
macro_rules! lanes_f32 {
    ($name:ident, $registers:tt, $count:literal, $narrow:ident, $n:literal, $($more:item),+) => {
        avx2_lanes!(
            $name,
            $registers,
            $count,
            $narrow,
            f32,
            $n,
            tile_ps,
            part_ps,
            records_ps,
            put_records_ps,
            load_first_ps,
            _mm256_set1_ps,
            _mm256_loadu_ps,
            _mm256_add_ps,
            _mm256_sub_ps,
            _mm256_mul_ps,
            _mm256_div_ps,
            _mm256_sqrt_ps,
            _mm256_fmadd_ps,
            _mm256_fnmadd_ps,
            _mm256_min_ps,
            _mm256_max_ps,
            _mm256_andnot_ps,
            _mm256_xor_ps,
            _mm256_round_ps,
            _mm256_cmp_ps,
            _mm256_movemask_ps,
            $($more),+
        );
    };
}

lanes_f32!(
    F32x16,
    [0 1],
    2,
    F32x8,
    16,
    #[inline(always)]
    fn widen(self, half: usize) -> F64x8 {
        // SAFETY: the features are there, see the module's invariant.
        unsafe {
            let part = self.0[half];
            F64x8([
                _mm256_cvtps_pd(_mm256_castps256_ps128(part)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(part)),
            ])
        }
    },
    #[inline(always)]
    unsafe fn column(packed: *const f32, _part: usize, j: usize) -> Self {
        // SAFETY: the features are there; the caller promises a packed matrix.
        unsafe {
            let last = _mm256_zextps128_ps256(_mm_load_ss(packed.add(place(ROWS - 1, j))));
            F32x16([column_ps(packed, j), last])
        }
    }
);

lanes_f32!(
    F32x8,
    [0],
    1,
    F32x8,
    8,
    #[inline(always)]
    fn widen(self, _half: usize) -> F64x8 {
        unreachable!("kernels on narrow vectors sum nothing")
    }
);

/// The intrinsics of f64, named once for both widths.
macro_rules! lanes_f64 {
    ($name:ident, $registers:tt, $count:literal, $narrow:ident, $n:literal, $($more:item),+) => {
        avx2_lanes!(
            $name,
            $registers,
            $count,
            $narrow,
            f64,
            $n,
            tile_pd,
            part_pd,
            records_pd,
            put_records_pd,
            load_first_pd,
            _mm256_set1_pd,
            _mm256_loadu_pd,
            _mm256_add_pd,
            _mm256_sub_pd,
            _mm256_mul_pd,
            _mm256_div_pd,
            _mm256_sqrt_pd,
            _mm256_fmadd_pd,
            _mm256_fnmadd_pd,
            _mm256_min_pd,
            _mm256_max_pd,
            _mm256_andnot_pd,
            _mm256_xor_pd,
            _mm256_round_pd,
            _mm256_cmp_pd,
            _mm256_movemask_pd,
            $($more),+
        );
    };
}

/// Rows `i` to i + 3 of column `j`.
///
/// # Safety
/// A packed matrix that has them.
#[inline(always)]
unsafe fn four_rows(packed: *const f64, i: usize, j: usize) -> __m256d {
    // SAFETY: the features are there, see the module's invariant; the rest says the caller.
    unsafe {
        let low = _mm_loadh_pd(_mm_load_sd(packed.add(place(i, j))), packed.add(place(i + 1, j)));
        let high = _mm_loadh_pd(_mm_load_sd(packed.add(place(i + 2, j))), packed.add(place(i + 3, j)));
        _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(low), high)
    }
}

lanes_f64!(
    F64x8,
    [0 1],
    2,
    F64x4,
    8,
    #[inline(always)]
    fn widen(self, _half: usize) -> F64x8 {
        self
    },
    #[inline(always)]
    unsafe fn column(packed: *const f64, part: usize, j: usize) -> Self {
        // SAFETY: the features are there; the caller promises a packed matrix.
        unsafe {
            if part > 0 {
                let last = _mm256_zextpd128_pd256(_mm_load_sd(packed.add(place(ROWS - 1, j))));
                return F64x8([last, _mm256_setzero_pd()]);
            }
            F64x8([four_rows(packed, 0, j), four_rows(packed, 4, j)])
        }
    }
);

lanes_f64!(
    F64x4,
    [0],
    1,
    F64x4,
    4,
    #[inline(always)]
    fn widen(self, _half: usize) -> F64x8 {
        unreachable!("kernels on narrow vectors sum nothing")
    }
);
