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

/// 8 × f64 whose constants are those of single precision: it tells what rounded constants do to a transform, apart from
/// what rounded results do.
#[cfg(test)]
#[derive(Clone, Copy)]
pub(crate) struct CoarseConstants([f64; 8]);

macro_rules! scalar_lanes {
    ($name:ident, $t:ident, $n:literal, $constant:ident) => {
        impl $name {
            #[inline(always)]
            fn map(self, f: impl Fn($t) -> $t) -> Self {
                let mut out = self;
                for x in &mut out.0 {
                    *x = f(*x);
                }
                out
            }

            #[inline(always)]
            fn zip(self, o: Self, f: impl Fn($t, $t) -> $t) -> Self {
                let mut out = self;
                for (x, y) in out.0.iter_mut().zip(o.0) {
                    *x = f(*x, y);
                }
                out
            }
        }

        impl Lanes for $name {
            type T = $t;
            type Wide = F64x8;
            type Narrow = Self;
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
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn add(self, o: Self) -> Self {
                self.zip(o, |a, b| a + b)
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn sub(self, o: Self) -> Self {
                self.zip(o, |a, b| a - b)
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn mul(self, o: Self) -> Self {
                self.zip(o, |a, b| a * b)
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn div(self, o: Self) -> Self {
                self.zip(o, |a, b| a / b)
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn sqrt(self) -> Self {
                self.map(|a| a.sqrt())
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn mul_add(self, b: Self, c: Self) -> Self {
                let mut out = self;
                for i in 0..$n {
                    out.0[i] = self.0[i].mul_add(b.0[i], c.0[i]);
                }
                out
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn neg_mul_add(self, b: Self, c: Self) -> Self {
                let mut out = self;
                for i in 0..$n {
                    out.0[i] = (-self.0[i]).mul_add(b.0[i], c.0[i]);
                }
                out
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn min(self, o: Self) -> Self {
                self.zip(o, |a, b| if a < b { a } else { b })
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn max(self, o: Self) -> Self {
                self.zip(o, |a, b| if a > b { a } else { b })
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn abs(self) -> Self {
                self.map(|a| a.abs())
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn neg(self) -> Self {
                self.map(|a| -a)
            }
            #[cfg_attr(target_arch = "x86_64", inline(never))]
            #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
            fn round(self) -> Self {
                self.map(|a| a.round_ties_even())
            }
            #[inline(always)]
            fn all_below(self, bound: Self) -> bool {
                self.0.iter().zip(bound.0).all(|(a, b)| *a < b)
            }
            #[inline(always)]
            fn widen(self, half: usize) -> F64x8 {
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

scalar_lanes!(F32x16, f32, 16, f32);
scalar_lanes!(F64x8, f64, 8, f64);
#[cfg(test)]
scalar_lanes!(CoarseConstants, f64, 8, f32);
