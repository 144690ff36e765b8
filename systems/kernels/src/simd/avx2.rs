//! The virtual vector as two AVX2 registers. Invariant: these types are used only under [`Lanes::call`], which
//! `dispatch` reaches only on a processor with AVX2 and FMA. Source: Intel intrinsics of `core::arch`.

use core::arch::x86_64::*;

use super::{Kernel, Lanes};

/// 16 × f32.
#[derive(Clone, Copy)]
pub struct F32x16([__m256; 2]);

/// 8 × f64.
#[derive(Clone, Copy)]
pub struct F64x8([__m256d; 2]);

/// # Safety
/// The processor has the features named.
#[target_feature(enable = "avx2,fma")]
#[inline(never)] // Inlined into each other, the transforms of all radices would be one enormous function.
unsafe fn enter<V: Lanes, K: Kernel<V::T>>(kernel: K) -> K::Out {
    kernel.run::<V>()
}

macro_rules! avx2_lanes {
    ($name:ident, $t:ident, $n:literal, $set1:ident, $loadu:ident, $storeu:ident, $add:ident, $sub:ident,
     $mul:ident, $div:ident, $sqrt:ident, $fmadd:ident, $fnmadd:ident, $min:ident, $max:ident, $andnot:ident,
     $round:ident, $cmp:ident, $movemask:ident, $widen:item) => {
        impl Lanes for $name {
            type T = $t;
            type Wide = F64x8;
            const N: usize = $n;

            #[inline(always)]
            fn splat(x: $t) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$set1(x); 2] })
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller promises N readable scalars.
                $name(unsafe { [$loadu(p), $loadu(p.add($n / 2))] })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller promises N writable scalars.
                unsafe {
                    $storeu(p, self.0[0]);
                    $storeu(p.add($n / 2), self.0[1]);
                }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const $t, n: usize) -> Self {
                let mut out = [0.0; $n];
                // SAFETY: the caller promises n ≤ N readable scalars; `out` has N.
                unsafe {
                    core::ptr::copy_nonoverlapping(p, out.as_mut_ptr(), n);
                    Self::load(out.as_ptr())
                }
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, n: usize) {
                let mut out = [0.0; $n];
                // SAFETY: the caller promises n ≤ N writable scalars; `out` has N.
                unsafe {
                    self.store(out.as_mut_ptr());
                    core::ptr::copy_nonoverlapping(out.as_ptr(), p, n);
                }
            }
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$add(self.0[0], o.0[0]), $add(self.0[1], o.0[1])] })
            }
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$sub(self.0[0], o.0[0]), $sub(self.0[1], o.0[1])] })
            }
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$mul(self.0[0], o.0[0]), $mul(self.0[1], o.0[1])] })
            }
            #[inline(always)]
            fn div(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$div(self.0[0], o.0[0]), $div(self.0[1], o.0[1])] })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$sqrt(self.0[0]), $sqrt(self.0[1])] })
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$fmadd(self.0[0], b.0[0], c.0[0]), $fmadd(self.0[1], b.0[1], c.0[1])] })
            }
            #[inline(always)]
            fn neg_mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$fnmadd(self.0[0], b.0[0], c.0[0]), $fnmadd(self.0[1], b.0[1], c.0[1])] })
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$min(self.0[0], o.0[0]), $min(self.0[1], o.0[1])] })
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$max(self.0[0], o.0[0]), $max(self.0[1], o.0[1])] })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$andnot($set1(-0.0), self.0[0]), $andnot($set1(-0.0), self.0[1])] })
            }
            #[inline(always)]
            fn round(self) -> Self {
                const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
                // SAFETY: the features are there, see the module's invariant.
                $name(unsafe { [$round::<NEAREST>(self.0[0]), $round::<NEAREST>(self.0[1])] })
            }
            #[inline(always)]
            fn all_below(self, bound: Self) -> bool {
                // SAFETY: the features are there, see the module's invariant.
                unsafe {
                    $movemask($cmp::<_CMP_NLT_UQ>(self.0[0], bound.0[0])) == 0
                        && $movemask($cmp::<_CMP_NLT_UQ>(self.0[1], bound.0[1])) == 0
                }
            }
            $widen
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
                for c in 0..cols {
                    for r in 0..width {
                        // SAFETY: the caller promises rows × cols readable and cols × width writable scalars.
                        unsafe {
                            let x = if r < rows { *src.add(r * src_stride + c) } else { 0.0 };
                            *dst.add(c * dst_stride + r) = x;
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

avx2_lanes!(
    F32x16,
    f32,
    16,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
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
    _mm256_round_ps,
    _mm256_cmp_ps,
    _mm256_movemask_ps,
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
    }
);

avx2_lanes!(
    F64x8,
    f64,
    8,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
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
    _mm256_round_pd,
    _mm256_cmp_pd,
    _mm256_movemask_pd,
    #[inline(always)]
    fn widen(self, _half: usize) -> F64x8 {
        self
    }
);
