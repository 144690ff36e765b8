//! The virtual vector as a plain array. Invariant: the reference the other levels are compared with, bit by bit.
//! Source: IEEE 754 operations of the standard library.
//!
//! On x86-64 this level only runs on processors without AVX2 and in tests: its operations are calls there, which
//! keeps the transforms small (inlined, they took most of the crate's build). Elsewhere they are inlined.

use super::{Kernel, Lanes};

/// 16 × f32.
#[derive(Clone, Copy)]
pub struct F32x16([f32; 16]);

/// 8 × f64.
#[derive(Clone, Copy)]
pub struct F64x8([f64; 8]);

/// 4 × f32: copied in one piece where a vector of 16 takes four.
#[derive(Clone, Copy)]
pub struct F32x4([f32; 4]);

/// 2 × f64.
#[derive(Clone, Copy)]
pub struct F64x2([f64; 2]);

/// 8 × f64 whose constants are those of single precision: it tells what rounded constants do to a transform, apart from
/// what rounded results do.
#[cfg(test)]
#[derive(Clone, Copy)]
pub(crate) struct CoarseConstants([f64; 8]);

/// The vector of an operation on every lane, computed in a function of its own where the module says so.
macro_rules! lanewise {
    ($vector:ident, ($($x:ident = $value:expr),+), $result:expr) => {{
        #[cfg_attr(target_arch = "x86_64", inline(never))]
        #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
        fn of($($x: &$vector),+) -> $vector {
            $vector(core::array::from_fn(|i| {
                $(let $x = $x.0[i];)+
                $result
            }))
        }
        of($(&$value),+)
    }};
}

macro_rules! scalar_lanes {
    ($name:ident, $t:ident, $n:literal, $constant:ident, $narrow:ident) => {
        impl Lanes for $name {
            type T = $t;
            type Wide = F64x8;
            type Narrow = $narrow;
            const N: usize = $n;
            const SINGLE: bool = size_of::<$constant>() == 4;

            #[inline(always)]
            fn splat(x: $t) -> Self {
                $name([x; $n])
            }
            #[inline(always)]
            fn constant(x: f64) -> Self {
                Self::splat($t::from(x as $constant))
            }
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller promises N readable scalars.
                $name(unsafe { p.cast::<[$t; $n]>().read() })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller promises N writable scalars.
                unsafe { p.cast::<[$t; $n]>().write(self.0) }
            }
            #[inline(always)]
            unsafe fn load_n(p: *const $t, n: usize) -> Self {
                let mut out = [0.0; $n];
                // SAFETY: the caller promises n ≤ N readable scalars.
                unsafe { core::ptr::copy_nonoverlapping(p, out.as_mut_ptr(), n) };
                $name(out)
            }
            #[inline(always)]
            unsafe fn store_n(self, p: *mut $t, n: usize) {
                // SAFETY: the caller promises n ≤ N writable scalars.
                unsafe { core::ptr::copy_nonoverlapping(self.0.as_ptr(), p, n) }
            }
            #[inline(always)]
            fn add(self, o: Self) -> Self {
                lanewise!($name, (a = self, b = o), a + b)
            }
            #[inline(always)]
            fn sub(self, o: Self) -> Self {
                lanewise!($name, (a = self, b = o), a - b)
            }
            #[inline(always)]
            fn mul(self, o: Self) -> Self {
                lanewise!($name, (a = self, b = o), a * b)
            }
            #[inline(always)]
            fn div(self, o: Self) -> Self {
                lanewise!($name, (a = self, b = o), a / b)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                lanewise!($name, (a = self), a.sqrt())
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                lanewise!($name, (a = self, b = b, c = c), a.mul_add(b, c))
            }
            #[inline(always)]
            fn neg_mul_add(self, b: Self, c: Self) -> Self {
                lanewise!($name, (a = self, b = b, c = c), (-a).mul_add(b, c))
            }
            #[inline(always)]
            fn min(self, o: Self) -> Self {
                lanewise!($name, (a = self, b = o), if a < b { a } else { b })
            }
            #[inline(always)]
            fn max(self, o: Self) -> Self {
                lanewise!($name, (a = self, b = o), if a > b { a } else { b })
            }
            #[inline(always)]
            fn abs(self) -> Self {
                lanewise!($name, (a = self), a.abs())
            }
            #[inline(always)]
            fn neg(self) -> Self {
                lanewise!($name, (a = self), -a)
            }
            #[inline(always)]
            fn round(self) -> Self {
                lanewise!($name, (a = self), a.round_ties_even())
            }
            #[inline(always)]
            fn all_below(self, bound: Self) -> bool {
                self.0.iter().zip(bound.0).all(|(a, b)| *a < b)
            }
            #[inline(always)]
            fn widen(self, half: usize) -> F64x8 {
                assert!($n >= 8, "kernels on narrow vectors sum nothing");
                F64x8(core::array::from_fn(|i| f64::from(self.0[8 * half + i])))
            }
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
            fn prefetch(_p: *const $t) {}
            #[inline(never)]
            fn call<K: Kernel<$t>>(kernel: K) -> K::Out {
                kernel.run::<Self>()
            }
        }
    };
}

scalar_lanes!(F32x16, f32, 16, f32, F32x4);
scalar_lanes!(F64x8, f64, 8, f64, F64x2);
scalar_lanes!(F32x4, f32, 4, f32, F32x4);
scalar_lanes!(F64x2, f64, 2, f64, F64x2);
#[cfg(test)]
scalar_lanes!(CoarseConstants, f64, 8, f32, CoarseConstants);
