//! The virtual vector as one AVX-512 register. Invariant: these types are used only under [`Lanes::call`], which
//! `dispatch` reaches only on a processor with the features. Source: Intel intrinsics of `core::arch`.

use core::arch::x86_64::*;

use super::symmetric::{INDICES, ROWS, WIDE_INDICES, groups, place};
use super::{Kernel, Lanes, opaque};

/// 16 × f32.
#[derive(Clone, Copy)]
pub struct F32x16(__m512);

/// 8 × f64.
#[derive(Clone, Copy)]
pub struct F64x8(__m512d);

/// # Safety
/// The processor has the features named.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
#[inline(never)] // Inlined into each other, the transforms of all radices would be one enormous function.
unsafe fn enter<V: Lanes, K: Kernel<V::T>>(kernel: K) -> K::Out {
    kernel.run::<V>()
}

macro_rules! avx512_lanes {
    ($name:ident, $t:ident, $n:literal, $mask:ident, $set1:ident, $loadu:ident,
     $maskz_loadu:ident, $mask_storeu:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $sqrt:ident,
     $fmadd:ident, $fnmadd:ident, $min:ident, $max:ident, $abs:ident, $xor:ident, $round:ident, $cmp:ident,
     $tile:ident, $($more:item),+) => {
        impl Lanes for $name {
            type T = $t;
            type Wide = F64x8;
            type Narrow = Self;
            const N: usize = $n;

            // SAFETY (all blocks): the features are there, see the module's invariant; pointers as the trait says.
            #[inline(always)]
            fn splat(x: $t) -> Self {
                // SAFETY: as above.
                $name(unsafe { $set1(x) })
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: as above.
                $name(unsafe { $loadu(p) })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: as above. What the intrinsic does, which debug builds do not always inline.
                unsafe { core::ptr::write_unaligned(p.cast(), self.0) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const $t, n: usize) -> Self {
                // SAFETY: as above; masked lanes are not touched.
                $name(unsafe { $maskz_loadu(((1u32 << n) - 1) as $mask, p) })
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, n: usize) {
                // SAFETY: as above; masked lanes are not touched.
                unsafe { $mask_storeu(p, ((1u32 << n) - 1) as $mask, self.0) }
            }
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $add(self.0, o.0) })
            }
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $sub(self.0, o.0) })
            }
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $mul(self.0, o.0) })
            }
            #[inline(always)]
            fn div(self, o: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $div(self.0, o.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $fmadd(self.0, b.0, c.0) })
            }
            #[inline(always)]
            fn add_by(self, one: Self, o: Self) -> Self {
                self.mul_add(one, o)
            }
            #[inline(always)]
            fn neg_mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $fnmadd(self.0, b.0, c.0) })
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $min(self.0, o.0) })
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $max(self.0, o.0) })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $abs(self.0) })
            }
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $xor($set1(-0.0), self.0) })
            }
            #[inline(always)]
            fn round(self) -> Self {
                // SAFETY: as above.
                $name(unsafe { $round::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
            }
            #[inline(always)]
            fn all_below(self, bound: Self) -> bool {
                // SAFETY: as above.
                unsafe { $cmp::<_CMP_NLT_UQ>(self.0, bound.0) == 0 }
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
                // SAFETY: the caller promises rows × cols readable and cols × width writable scalars.
                unsafe {
                    let mut tile = [Self::splat(0.0); $n];
                    if rows == $n && cols == $n {
                        for k in 0..$n {
                            let (row, column) = half_row(k, $n);
                            let first = src.add(row * src_stride + column);
                            tile[k] = Self::halves(first, first.add($n / 4 * src_stride));
                        }
                    } else {
                        let mut whole = tile;
                        for r in 0..$n {
                            if r < rows {
                                whole[r] = Self::load_n(src.add(r * src_stride), cols);
                            }
                        }
                        for k in 0..$n / 2 {
                            let (row, _) = half_row(k, $n);
                            [tile[k], tile[$n / 2 + k]] =
                                whole[row].exchange_halves(whole[row + $n / 4]);
                        }
                    }
                    $tile(&mut tile);
                    if cols == $n && width == $n {
                        for c in 0..$n {
                            tile[c].store(dst.add(c * dst_stride));
                        }
                    } else if width == $n {
                        for c in 0..$n {
                            if c < cols {
                                tile[c].store(dst.add(c * dst_stride));
                            }
                        }
                    } else {
                        for c in 0..$n {
                            if c < cols {
                                tile[c].store_n(dst.add(c * dst_stride), width);
                            }
                        }
                    }
                }
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

avx512_lanes!(
    F32x16,
    f32,
    16,
    __mmask16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_add_ps,
    _mm512_sub_ps,
    _mm512_mul_ps,
    _mm512_div_ps,
    _mm512_sqrt_ps,
    _mm512_fmadd_ps,
    _mm512_fnmadd_ps,
    _mm512_min_ps,
    _mm512_max_ps,
    _mm512_abs_ps,
    _mm512_xor_ps,
    _mm512_roundscale_ps,
    _mm512_cmp_ps_mask,
    tile16,
    #[inline(always)]
    fn widen(self, half: usize) -> F64x8 {
        // SAFETY: the features are there, see the module's invariant.
        unsafe {
            let part =
                if half == 0 { _mm512_castps512_ps256(self.0) } else { _mm512_extractf32x8_ps::<1>(self.0) };
            F64x8(_mm512_cvtps_pd(part))
        }
    },
    #[inline(always)]
    unsafe fn column(packed: *const f32, _part: usize, j: usize) -> Self {
        let [first, second] = groups(j);
        // SAFETY: the features are there; the caller promises a packed matrix, which is three registers.
        unsafe {
            // Read where they are needed: nine registers are too many to keep.
            let indices = _mm512_loadu_si512(INDICES.as_ptr().wrapping_add(opaque(0)).add(j).cast());
            let (first, second) = (Self::load(packed.add(first)), Self::load(packed.add(second)));
            F32x16(_mm512_permutex2var_ps(first.0, indices, second.0))
        }
    }
);

avx512_lanes!(
    F64x8,
    f64,
    8,
    __mmask8,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_add_pd,
    _mm512_sub_pd,
    _mm512_mul_pd,
    _mm512_div_pd,
    _mm512_sqrt_pd,
    _mm512_fmadd_pd,
    _mm512_fnmadd_pd,
    _mm512_min_pd,
    _mm512_max_pd,
    _mm512_abs_pd,
    _mm512_xor_pd,
    _mm512_roundscale_pd,
    _mm512_cmp_pd_mask,
    tile8,
    #[inline(always)]
    fn widen(self, _half: usize) -> F64x8 {
        self
    },
    #[inline(always)]
    unsafe fn column(packed: *const f64, part: usize, j: usize) -> Self {
        // SAFETY: the features are there; the caller promises a packed matrix, which is six registers, and one of its columns.
        unsafe {
            if part > 0 {
                return F64x8(_mm512_zextpd128_pd512(_mm_load_sd(packed.add(place(ROWS - 1, j)))));
            }
            let [first, second] = groups(j);
            // Read where they are needed, as those of the narrower numbers.
            let (indices, of_second) = WIDE_INDICES.get_unchecked(j + opaque(0));
            let indices = _mm512_loadu_si512(indices.as_ptr().cast());
            let (a, b) = (Self::load(packed.add(first)), Self::load(packed.add(first + Self::N)));
            let found = _mm512_permutex2var_pd(a.0, indices, b.0);
            let (a, b) = (Self::load(packed.add(second)), Self::load(packed.add(second + Self::N)));
            let of_other = _mm512_permutex2var_pd(a.0, indices, b.0);
            F64x8(_mm512_mask_mov_pd(found, *of_second, of_other))
        }
    }
);

impl F32x16 {
    /// Eight lanes from each of two places.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    unsafe fn halves(low: *const f32, high: *const f32) -> Self {
        // SAFETY: the features are there, see the module's invariant; the rest says the caller.
        unsafe {
            F32x16(_mm512_insertf32x8::<1>(
                _mm512_castps256_ps512(_mm256_loadu_ps(low)),
                _mm256_loadu_ps(high),
            ))
        }
    }

    /// The lower halves of both, and the upper ones.
    #[inline(always)]
    fn exchange_halves(self, other: Self) -> [Self; 2] {
        // SAFETY: the features are there, see the module's invariant.
        unsafe {
            [
                F32x16(_mm512_shuffle_f32x4::<0x44>(self.0, other.0)),
                F32x16(_mm512_shuffle_f32x4::<0xee>(self.0, other.0)),
            ]
        }
    }
}

impl F64x8 {
    /// Four lanes from each of two places.
    ///
    /// # Safety
    /// They are readable.
    #[inline(always)]
    unsafe fn halves(low: *const f64, high: *const f64) -> Self {
        // SAFETY: the features are there, see the module's invariant; the rest says the caller.
        unsafe {
            F64x8(_mm512_insertf64x4::<1>(
                _mm512_castpd256_pd512(_mm256_loadu_pd(low)),
                _mm256_loadu_pd(high),
            ))
        }
    }

    /// The lower halves of both, and the upper ones.
    #[inline(always)]
    fn exchange_halves(self, other: Self) -> [Self; 2] {
        // SAFETY: the features are there, see the module's invariant.
        unsafe {
            [
                F64x8(_mm512_shuffle_f64x2::<0x44>(self.0, other.0)),
                F64x8(_mm512_shuffle_f64x2::<0xee>(self.0, other.0)),
            ]
        }
    }
}

/// Which half row of a tile of n × n is the lower half of vector `k` of what [`tile16`] and [`tile8`] take: its row and first
/// column. The upper half of the vector is n/4 rows below it. Loads put it together, which saves a stage of shuffles.
#[inline(always)]
fn half_row(k: usize, n: usize) -> (usize, usize) {
    let row = k % (n / 2);
    (row + row / (n / 4) * (n / 4), k / (n / 2) * (n / 2))
}

/// 16 × 16 transposition in registers, of half rows as [`half_row`] says: 3 stages of 16 two-source shuffles.
#[inline(always)]
fn tile16(t: &mut [F32x16; 16]) {
    // SAFETY: the features are there, see the module's invariant.
    unsafe {
        let mut b = [_mm512_setzero_ps(); 16];
        for i in 0..4 {
            let [r, s, u, v] = [t[4 * i].0, t[4 * i + 1].0, t[4 * i + 2].0, t[4 * i + 3].0];
            let low =
                [_mm512_castps_pd(_mm512_unpacklo_ps(r, s)), _mm512_castps_pd(_mm512_unpacklo_ps(u, v))];
            let high =
                [_mm512_castps_pd(_mm512_unpackhi_ps(r, s)), _mm512_castps_pd(_mm512_unpackhi_ps(u, v))];
            b[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
            b[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
            b[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
            b[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
        }
        // b[8h + 4q + c]: columns 8h + c and 8h + 4 + c, of four rows each, in the first and the second four of eight rows.
        for h in 0..2 {
            for c in 0..4 {
                let (p, q) = (b[8 * h + c], b[8 * h + 4 + c]);
                t[8 * h + c] = F32x16(_mm512_shuffle_f32x4::<0x88>(p, q));
                t[8 * h + 4 + c] = F32x16(_mm512_shuffle_f32x4::<0xdd>(p, q));
            }
        }
    }
}

/// 8 × 8 transposition in registers, of half rows as [`half_row`] says: 2 stages of 8 two-source shuffles.
#[inline(always)]
fn tile8(t: &mut [F64x8; 8]) {
    // SAFETY: the features are there, see the module's invariant.
    unsafe {
        for h in 0..2 {
            let [r, s, u, v] = [t[4 * h].0, t[4 * h + 1].0, t[4 * h + 2].0, t[4 * h + 3].0];
            // Columns 4h + c and 4h + 2 + c, of two rows each, in the first and the second four rows.
            let even = (_mm512_unpacklo_pd(r, s), _mm512_unpacklo_pd(u, v));
            let odd = (_mm512_unpackhi_pd(r, s), _mm512_unpackhi_pd(u, v));
            t[4 * h] = F64x8(_mm512_shuffle_f64x2::<0x88>(even.0, even.1));
            t[4 * h + 1] = F64x8(_mm512_shuffle_f64x2::<0x88>(odd.0, odd.1));
            t[4 * h + 2] = F64x8(_mm512_shuffle_f64x2::<0xdd>(even.0, even.1));
            t[4 * h + 3] = F64x8(_mm512_shuffle_f64x2::<0xdd>(odd.0, odd.1));
        }
    }
}
