//! The local flow: potential, damping and nonlinearity at each node, integrated exactly.
//!
//! Invariant: a node's result depends on that node alone (and on which polynomial its block of lanes may use).
//! Increments, not rotations: Ψ' = Ψ + Ψ·(e^{ia} − 1), with sin a and cos a − 1 small, so that single precision has
//! no systematic loss of norm. Source: [`crate::nonlinear`], whose f64 forms the tests compare with.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use crate::field::{PageMut, PageRef, Real, Threads, Values};
use crate::simd::{Kernel, Lanes, Level};
use crate::threads::for_each_chunk;
use crate::transcendental::{MINUTE_ANGLE, SMALL_ANGLE, loss_and_weight, tiny_angle};
use crate::transcendental::{sin_cosm1, sin_cosm1_minute, sin_cosm1_small, sin_cosm1_tiny};

/// Which time the flow runs in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// i∂tΨ = (V + β|Ψ|²)Ψ − iΓΨ.
    Real,
    /// Ψ_τ = −(V + β|Ψ|² − μ)Ψ; damping is ignored.
    Imaginary {
        /// Chemical potential μ subtracted from V, so that the flow neither grows nor decays at the ground state.
        mu: f64,
    },
}

/// One exact local flow of V, Γ and β over `duration`.
#[derive(Debug, Clone, Copy)]
pub struct LocalFlow<'a, T> {
    /// Length of the flow in model time; negative in fourth-order schemes.
    pub duration: f64,
    /// Potential V, in 1/time.
    pub potential: Values<'a, T>,
    /// Damping Γ in 1/time.
    pub damping: Values<'a, T>,
    /// Coefficient β of |Ψ|².
    pub beta: f64,
    /// Real or imaginary time.
    pub time: Time,
    /// Ψ is multiplied by `1 + gain`; 0.0 for none. Enters the increment, so it survives f32 far below its resolution.
    pub gain: f64,
}

/// Applies the flow to every node of every page.
///
/// - equation: Ψ_t = −i(V + β|Ψ|²)Ψ − ΓΨ, or Ψ_τ = −(V + β|Ψ|² − μ)Ψ
/// - source: [`crate::nonlinear`]; Bao & Jaksch 2003 for the splitting
/// - scheme and order: exact flow of the local part; second order inside a Strang step
/// - stability bound: none in real time; |a| far above 1 aliases, see the split-step resonance bound
/// - bytes and flops per node: 5 scalars (Ψ read and written, V read), about 26 flops without damping
pub fn apply<T: Real>(
    level: Level,
    threads: Threads<'_>,
    pages: &mut [PageMut<'_, T>],
    flow: &LocalFlow<'_, T>,
) {
    let plan = LocalPlan::new(flow, Prefactor::NONE);
    let pages: Vec<(Planes<T>, Operands<T>)> = pages
        .iter_mut()
        .enumerate()
        .map(|(p, page)| (Planes::of(page), Operands::of(flow, p, page.re.len())))
        .collect();
    for_each_chunk(threads, pages.len(), |p| {
        let (planes, operands) = pages[p];
        // SAFETY: each page is visited by one chunk; the planes and operands have `len` scalars each.
        T::local_run(level, LocalRun { plan: &plan, src: planes, dst: planes, operands, len: planes.len });
    });
}

/// The two planes of a run of nodes, as raw parts that chunks on other threads can share.
#[derive(Clone, Copy)]
pub(crate) struct Planes<T> {
    pub re: *mut T,
    pub im: *mut T,
    pub len: usize,
}

// SAFETY: two addresses of scalars, which any thread may read and write, and a length: safe code can only copy them. Reading and
// writing through them is unsafe, and says where it is done which run its thread owns.
unsafe impl<T: Real> Send for Planes<T> {}
// SAFETY: as above; a shared `Planes` gives its copies only.
unsafe impl<T: Real> Sync for Planes<T> {}

impl<T> Planes<T> {
    pub fn of(page: &mut PageMut<'_, T>) -> Self {
        assert_eq!(page.re.len(), page.im.len());
        Planes { re: page.re.as_mut_ptr(), im: page.im.as_mut_ptr(), len: page.re.len() }
    }

    /// Those of a page that is only read through them.
    pub fn read(page: &PageRef<'_, T>) -> Self {
        assert_eq!(page.re.len(), page.im.len());
        Planes { re: page.re.as_ptr().cast_mut(), im: page.im.as_ptr().cast_mut(), len: page.re.len() }
    }

    /// The same planes from node `start` on.
    ///
    /// # Safety
    /// `start ≤ len`.
    #[inline(always)]
    pub unsafe fn offset(self, start: usize) -> Self {
        // SAFETY: both planes have `len` scalars and `start ≤ len`, says the caller, so this is inside them or at their end.
        unsafe { Planes { re: self.re.add(start), im: self.im.add(start), len: self.len - start } }
    }
}

impl<T: Real> Planes<T> {
    /// Fetches the first `lanes` nodes towards the cache.
    #[inline(always)]
    pub fn prefetch<V: Lanes<T = T>>(self, lanes: usize) {
        for lane in (0..lanes).step_by(64 / T::BYTES) {
            V::prefetch(self.re.wrapping_add(lane));
            V::prefetch(self.im.wrapping_add(lane));
        }
    }
}

/// Where V and Γ of a run of nodes are; null means uniform.
#[derive(Clone, Copy)]
pub(crate) struct Operands<T> {
    pub potential: *const T,
    damping: *const T,
}

// SAFETY: addresses of scalars that are only read, in columns that a flow borrows for as long as its sweep runs.
unsafe impl<T: Real> Send for Operands<T> {}
// SAFETY: as above.
unsafe impl<T: Real> Sync for Operands<T> {}

impl<T: Real> Operands<T> {
    /// Operands of page `p`, which has `len` nodes.
    pub fn of(flow: &LocalFlow<'_, T>, p: usize, len: usize) -> Self {
        let pointer = |values: &Values<'_, T>| match values {
            Values::Uniform(_) => core::ptr::null(),
            Values::PerNode(slices) => {
                assert_eq!(slices[p].len(), len, "a quantity has as many nodes as its page");
                slices[p].as_ptr()
            }
        };
        Operands { potential: pointer(&flow.potential), damping: pointer(&flow.damping) }
    }

    /// Operands from node `start` on.
    ///
    /// # Safety
    /// `start` is inside the page.
    #[inline(always)]
    pub unsafe fn offset(self, start: usize) -> Self {
        let shift = |p: *const T| {
            // SAFETY: inside the slice, says the caller.
            if p.is_null() { p } else { unsafe { p.add(start) } }
        };
        Operands { potential: shift(self.potential), damping: shift(self.damping) }
    }
}

impl<T: Real> Operands<T> {
    /// Fetches V and Γ of the first `lanes` nodes towards the cache.
    #[inline(always)]
    pub fn prefetch<V: Lanes<T = T>>(self, lanes: usize) {
        for operand in [self.potential, self.damping] {
            if !operand.is_null() {
                for lane in (0..lanes).step_by(64 / T::BYTES) {
                    V::prefetch(operand.wrapping_add(lane));
                }
            }
        }
    }
}

/// A factor the kinetic part leaves for the local flow to apply: e^{i·angle} in real, `scale` in imaginary time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prefactor {
    /// Angle in radians.
    pub angle: f64,
    /// Factor of the modulus.
    pub scale: f64,
}

impl Prefactor {
    /// The factor 1.
    pub const NONE: Prefactor = Prefactor { angle: 0.0, scale: 1.0 };
}

/// Which loop a flow takes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Real time without damping.
    Free {
        /// Whether there is one.
        gain: bool,
        /// Whether V differs from node to node.
        potential: bool,
    },
    /// Real time with damping.
    Damped,
    /// Imaginary time.
    Imaginary,
}

/// The constants of a flow, rounded once.
pub(crate) struct LocalPlan<T> {
    pub kind: Kind,
    /// Angle of the prefactor.
    c0: T,
    /// −h.
    c1: T,
    /// −hβ; in imaginary time 2hβ·scale².
    c2: T,
    /// h (exponents are Γh, or Vh − μh).
    h: T,
    mu_h: T,
    gain: T,
    /// Prefactor·(1 + gain) in imaginary time.
    scale: T,
    potential: T,
    damping: T,
}

impl<T: Real> LocalPlan<T> {
    pub fn new(flow: &LocalFlow<'_, T>, prefactor: Prefactor) -> Self {
        let uniform = |values: &Values<'_, T>| match values {
            Values::Uniform(x) => Some(*x),
            Values::PerNode(_) => None,
        };
        let (potential, damping) = (uniform(&flow.potential), uniform(&flow.damping));
        let h = flow.duration;
        let mut c0 = prefactor.angle;
        let mut c2 = -h * flow.beta;
        let mut mu_h = 0.0;
        let kind = match flow.time {
            Time::Imaginary { mu } => {
                c2 = 2.0 * h * flow.beta * prefactor.scale * prefactor.scale;
                mu_h = mu * h;
                Kind::Imaginary
            }
            Time::Real if damping == Some(T::default()) => {
                if let Some(v) = potential {
                    c0 -= h * v.to_f64();
                }
                Kind::Free { gain: flow.gain != 0.0, potential: potential.is_none() }
            }
            Time::Real => Kind::Damped,
        };
        LocalPlan {
            kind,
            c0: T::from_f64(c0),
            c1: T::from_f64(-h),
            c2: T::from_f64(c2),
            h: T::from_f64(h),
            mu_h: T::from_f64(mu_h),
            gain: T::from_f64(flow.gain),
            scale: T::from_f64(prefactor.scale * (1.0 + flow.gain)),
            potential: potential.unwrap_or_default(),
            damping: damping.unwrap_or_default(),
        }
    }
}

/// The constants of a flow as a device takes them: those of `LocalPlan`, in a fixed order of words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowConstants {
    /// Angle of the prefactor and of a uniform V.
    pub c0: f32,
    /// −h.
    pub c1: f32,
    /// −hβ; in imaginary time 2hβ·scale².
    pub c2: f32,
    /// h.
    pub h: f32,
    /// μh.
    pub mu_h: f32,
    /// Relative change of Ψ.
    pub gain: f32,
    /// Prefactor·(1 + gain) in imaginary time.
    pub scale: f32,
    /// V where it is uniform.
    pub potential: f32,
    /// Γ where it is uniform.
    pub damping: f32,
}

impl FlowConstants {
    /// The constants of `flow`, rounded once.
    pub fn new(flow: &LocalFlow<'_, f32>, prefactor: Prefactor) -> Self {
        let plan = LocalPlan::new(flow, prefactor);
        let LocalPlan { c0, c1, c2, h, mu_h, gain, scale, potential, damping, kind: _ } = plan;
        Self { c0, c1, c2, h, mu_h, gain, scale, potential, damping }
    }
}

/// One run of `len` nodes, from `src` to `dst` (which may be the same).
///
/// Built only where `src`, `dst` and the operands have `len` scalars and nobody else touches `dst`.
#[doc(hidden)]
pub struct LocalRun<'a, T> {
    pub(crate) plan: &'a LocalPlan<T>,
    pub(crate) src: Planes<T>,
    pub(crate) dst: Planes<T>,
    pub(crate) operands: Operands<T>,
    pub(crate) len: usize,
}

impl<T: Real> Kernel<T> for LocalRun<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        match self.plan.kind {
            Kind::Free { gain: false, potential: true } => V::call(FreeRun::<T, false, true>(self)),
            Kind::Free { gain: true, potential: true } => V::call(FreeRun::<T, true, true>(self)),
            Kind::Free { gain: false, potential: false } => V::call(FreeRun::<T, false, false>(self)),
            Kind::Free { gain: true, potential: false } => V::call(FreeRun::<T, true, false>(self)),
            Kind::Damped => V::call(OtherRun::<T, false>(self)),
            Kind::Imaginary => V::call(OtherRun::<T, true>(self)),
        }
    }
}

struct FreeRun<'a, T, const GAIN: bool, const POTENTIAL: bool>(LocalRun<'a, T>);

impl<T: Real, const GAIN: bool, const POTENTIAL: bool> Kernel<T> for FreeRun<'_, T, GAIN, POTENTIAL> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let LocalRun { plan, src, dst, operands, len } = self.0;
        let flow = FreeFlow::<V, GAIN>::new(plan);
        let angle = |re: V, im: V, v: V| flow.angle::<POTENTIAL>(re, im, v);
        let mut i = 0;
        // SAFETY: all accesses stay below `len`, see LocalRun.
        unsafe {
            while i + 2 * V::N <= len {
                let (r0, m0) = (V::load(src.re.add(i)), V::load(src.im.add(i)));
                let (r1, m1) = (V::load(src.re.add(i + V::N)), V::load(src.im.add(i + V::N)));
                let (v0, v1) = if POTENTIAL {
                    (V::load(operands.potential.add(i)), V::load(operands.potential.add(i + V::N)))
                } else {
                    (r0, r1)
                };
                let (a0, a1) = (angle(r0, m0, v0), angle(r1, m1, v1));
                let largest = a0.abs().max(a1.abs());
                let ((x0, y0), (x1, y1)) = if !V::SINGLE && largest.all_below(flow.minute) {
                    (flow.turn_minute(r0, m0, a0), flow.turn_minute(r1, m1, a1))
                } else if largest.all_below(flow.tiny) {
                    (flow.turn_tiny(r0, m0, a0), flow.turn_tiny(r1, m1, a1))
                } else if largest.all_below(flow.small) {
                    (flow.turn_small(r0, m0, a0), flow.turn_small(r1, m1, a1))
                } else {
                    (flow.turn(r0, m0, a0), flow.turn(r1, m1, a1))
                };
                x0.store(dst.re.add(i));
                y0.store(dst.im.add(i));
                x1.store(dst.re.add(i + V::N));
                y1.store(dst.im.add(i + V::N));
                i += 2 * V::N;
            }
            while i < len {
                let n = V::N.min(len - i);
                let (r, m) = (V::load_n(src.re.add(i), n), V::load_n(src.im.add(i), n));
                let v = if POTENTIAL { V::load_n(operands.potential.add(i), n) } else { r };
                let a = angle(r, m, v);
                let (x, y) = if a.abs().all_below(flow.tiny) {
                    flow.turn_tiny(r, m, a)
                } else if a.abs().all_below(flow.small) {
                    flow.turn_small(r, m, a)
                } else {
                    flow.turn(r, m, a)
                };
                x.store_n(dst.re.add(i), n);
                y.store_n(dst.im.add(i), n);
                i += n;
            }
        }
    }
}

/// The undamped flow on vectors: the constants in registers.
pub(crate) struct FreeFlow<V, const GAIN: bool> {
    c0: V,
    c1: V,
    c2: V,
    gain: V,
    /// Below it [`Self::turn_tiny`] does.
    pub tiny: V,
    /// Below it [`Self::turn_minute`] does, in double precision.
    minute: V,
    /// Below it [`Self::turn_small`] does.
    pub small: V,
}

impl<V: Lanes, const GAIN: bool> FreeFlow<V, GAIN> {
    #[inline(always)]
    pub fn new(plan: &LocalPlan<V::T>) -> Self {
        let tiny = tiny_angle::<V::T>();
        let is_slight = plan.gain.to_f64().abs() * tiny < 0.25 * V::T::EPSILON;
        FreeFlow {
            c0: V::splat(plan.c0),
            c1: V::splat(plan.c1),
            c2: V::splat(plan.c2),
            gain: V::splat(plan.gain),
            tiny: V::splat(V::T::from_f64(if is_slight { tiny } else { 0.0 })),
            minute: V::splat(V::T::from_f64(if is_slight { MINUTE_ANGLE } else { 0.0 })),
            small: V::splat(V::T::from_f64(SMALL_ANGLE)),
        }
    }

    #[inline(always)]
    pub fn angle<const POTENTIAL: bool>(&self, re: V, im: V, v: V) -> V {
        let density = im.mul_add(im, re.mul(re));
        let base = if POTENTIAL { self.c1.mul_add(v, self.c0) } else { self.c0 };
        self.c2.mul_add(density, base)
    }

    /// For a gain whose share in the turning is below a quarter unit in the last place.
    #[inline(always)]
    pub fn turn_tiny(&self, re: V, im: V, a: V) -> (V, V) {
        let (s, c) = sin_cosm1_tiny(a);
        self.add_slightly(re, im, s, c)
    }

    /// The same below [`Self::minute`].
    #[inline(always)]
    pub fn turn_minute(&self, re: V, im: V, a: V) -> (V, V) {
        let (s, c) = sin_cosm1_minute(a);
        self.add_slightly(re, im, s, c)
    }

    #[inline(always)]
    fn add_slightly(&self, re: V, im: V, s: V, c: V) -> (V, V) {
        let c = if GAIN { c.add(self.gain) } else { c };
        if V::SINGLE {
            return Self::add_turned(re, im, s, c);
        }
        // Three products instead of four: units for sums have time.
        let both = re.add(im).mul(c);
        (re.add(im.neg_mul_add(s.add(c), both)), im.add(re.mul_add(s.sub(c), both)))
    }

    #[inline(always)]
    pub fn turn_small(&self, re: V, im: V, a: V) -> (V, V) {
        let (s, c) = sin_cosm1_small(a);
        self.increment(re, im, s, c)
    }

    #[inline(always)]
    pub fn turn(&self, re: V, im: V, a: V) -> (V, V) {
        let (s, c) = sin_cosm1(a);
        self.increment(re, im, s, c)
    }

    #[inline(always)]
    fn increment(&self, re: V, im: V, s: V, c: V) -> (V, V) {
        let (s, c) =
            if GAIN { (self.gain.mul_add(s, s), self.gain.mul_add(c, c).add(self.gain)) } else { (s, c) };
        Self::add_turned(re, im, s, c)
    }

    /// Ψ + Ψ·(c + is).
    #[inline(always)]
    fn add_turned(re: V, im: V, s: V, c: V) -> (V, V) {
        (re.add(im.neg_mul_add(s, re.mul(c))), im.add(im.mul_add(c, re.mul(s))))
    }
}

struct OtherRun<'a, T, const IMAGINARY: bool>(LocalRun<'a, T>);

impl<T: Real, const IMAGINARY: bool> Kernel<T> for OtherRun<'_, T, IMAGINARY> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let whole = self.0.len / V::N * V::N;
        // SAFETY: all accesses stay below `len`, see LocalRun.
        unsafe {
            for i in (0..whole).step_by(V::N) {
                self.vector::<V, true>(i, V::N);
            }
            if whole < self.0.len {
                self.vector::<V, false>(whole, self.0.len - whole);
            }
        }
    }
}

impl<T: Real, const IMAGINARY: bool> OtherRun<'_, T, IMAGINARY> {
    /// N nodes from `i` on, or `n`.
    ///
    /// # Safety
    /// They are below `len`.
    #[inline(always)]
    unsafe fn vector<V: Lanes<T = T>, const FULL: bool>(&self, i: usize, n: usize) {
        let LocalRun { plan, src, dst, operands, .. } = &self.0;
        // SAFETY: says the caller.
        unsafe {
            let (re, im) = (load::<V, FULL>(src.re.add(i), n), load::<V, FULL>(src.im.add(i), n));
            let v = operand::<V, FULL>(operands.potential, i, n, plan.potential);
            let (x, y) = if IMAGINARY {
                relax::<V>(plan, re, im, v)
            } else {
                damp::<V>(plan, re, im, v, operand::<V, FULL>(operands.damping, i, n, plan.damping))
            };
            if FULL {
                x.store(dst.re.add(i));
                y.store(dst.im.add(i));
            } else {
                x.store_n(dst.re.add(i), n);
                y.store_n(dst.im.add(i), n);
            }
        }
    }
}

/// A vector, or the first `n` lanes of one.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load<V: Lanes, const FULL: bool>(p: *const V::T, n: usize) -> V {
    // SAFETY: says the caller.
    unsafe { if FULL { V::load(p) } else { V::load_n(p, n) } }
}

/// V or Γ of nodes `i` on; everywhere the same where there is no column.
///
/// # Safety
/// As [`load`].
#[inline(always)]
unsafe fn operand<V: Lanes, const FULL: bool>(p: *const V::T, i: usize, n: usize, uniform: V::T) -> V {
    // SAFETY: says the caller.
    if p.is_null() { V::splat(uniform) } else { unsafe { load::<V, FULL>(p.add(i), n) } }
}

/// Real time with damping: Ψ' = (1+g)(1−loss)e^{ia}Ψ in increment form.
#[inline(always)]
fn damp<V: Lanes>(plan: &LocalPlan<V::T>, re: V, im: V, v: V, damping: V) -> (V, V) {
    let flow = FreeFlow::<V, true>::new(plan);
    let (loss, weight) = loss_and_weight(damping.mul(V::splat(plan.h)));
    let density = im.mul_add(im, re.mul(re));
    let a = flow.c2.mul(density).mul_add(weight, flow.c1.mul_add(v, flow.c0));
    let (s, c) = if a.abs().all_below(flow.tiny) {
        sin_cosm1_tiny(a)
    } else if a.abs().all_below(flow.small) {
        sin_cosm1_small(a)
    } else {
        sin_cosm1(a)
    };
    let (s, c) = (loss.neg_mul_add(s, s), loss.neg_mul_add(c, c).sub(loss));
    flow.increment(re, im, s, c)
}

/// Imaginary time: Ψ' = scale·e^{−y}/√(1 + 2βhρ·weight)·Ψ, y = (V − μ)h.
#[inline(always)]
fn relax<V: Lanes>(plan: &LocalPlan<V::T>, re: V, im: V, v: V) -> (V, V) {
    let zero = V::splat(V::T::default());
    let one = V::splat(V::T::from_f64(1.0));
    let y = v.mul_add(V::splat(plan.h), zero.sub(V::splat(plan.mu_h)));
    let (loss, weight) = loss_and_weight(y);
    let density = im.mul_add(im, re.mul(re));
    let growth = V::splat(plan.c2).mul(density).mul_add(weight, one);
    let factor = V::splat(plan.scale).mul(one.sub(loss)).div(growth.sqrt());
    (re.mul(factor), im.mul(factor))
}

#[cfg(test)]
mod tests;
