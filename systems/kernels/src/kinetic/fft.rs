//! Longer axes: forward transform, phase, inverse transform, in registers and a small buffer.
//!
//! Invariant: the result is F⁻¹ diag(phase) F along each line. Forward stages decimate in frequency and inverse
//! stages in time, so the spectrum is only ever seen in digit-reversed order, in which the phase table is stored:
//! no reordering pass. The last forward stage, the phase and the first inverse stage are one register pass. Either
//! half runs alone, too, where modes of several axes or fields meet in between.
//! Source: Cooley & Tukey 1965, Gentleman & Sande 1966; table entries are rounded once from f64.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use core::f64::consts::TAU;

use super::dft::{Complex, RADICES, dft, idft};
use super::lines::{FLOW, FORWARD as TO_MODES, Lines, Rows};
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::{Kernel, Lanes};

/// Radix of each stage for a length, first to last; `None` if a prime factor is out of reach.
pub(crate) fn factor(n: usize) -> Option<Vec<usize>> {
    let mut rest = n;
    let mut odd = Vec::new();
    let mut twos = 0usize;
    while rest.is_multiple_of(2) {
        rest /= 2;
        twos += 1;
    }
    for radix in RADICES.into_iter().filter(|r| r % 2 == 1) {
        while rest.is_multiple_of(radix) {
            rest /= radix;
            odd.push(radix);
        }
    }
    // Twos in stages of nearly equal radix, at most 8.
    let stages: usize = twos.div_ceil(3);
    let even = (0..stages).map(|i| 1 << (twos / stages + usize::from(i < twos % stages)));
    let mut radices: Vec<usize> = even.chain(odd).collect();
    // The fused middle pass comes last: give it the largest radix.
    radices.sort_unstable();
    (rest == 1).then_some(radices)
}

/// The mode at `position` of the digit-reversed order: the position's digits, most significant first, are the
/// mode's digits, least significant first.
fn mode_at(radices: &[usize], n: usize, position: usize) -> usize {
    let (mut block, mut mode, mut weight) = (n, 0, 1);
    for &radix in radices {
        block /= radix;
        mode += weight * (position / block % radix);
        weight *= radix;
    }
    mode
}

struct Stage {
    radix: usize,
    /// Transforms of this stage per block; 1 in the last stage.
    m: usize,
    /// Where its twiddles start, as complex numbers: (j, q) at `twiddle + j(radix − 1) + q − 1`.
    twiddle: usize,
}

/// A planned line transform with its phases.
pub(crate) struct FftPlan<T> {
    n: usize,
    stages: Vec<Stage>,
    twiddles: Vec<[T; 2]>,
    /// phase/n in digit-reversed order.
    phases: Vec<[T; 2]>,
}

impl<T: Real> FftPlan<T> {
    /// Plans length `n`; `phase(m)` is the factor (re, im) of mode `m` in 0..n. `None` for an unsupported length.
    pub fn new(n: usize, phase: impl Fn(usize) -> (f64, f64)) -> Option<Self> {
        let radices = factor(n)?;
        let mut stages = Vec::new();
        let mut twiddles = Vec::new();
        let mut length = n;
        for &radix in &radices {
            let m = length / radix;
            stages.push(Stage { radix, m, twiddle: twiddles.len() });
            if m > 1 {
                for j in 0..m {
                    for q in 1..radix {
                        let angle = TAU * (j * q) as f64 / length as f64;
                        twiddles.push([T::from_f64(libm::cos(angle)), T::from_f64(-libm::sin(angle))]);
                    }
                }
            }
            length = m;
        }
        let phases = (0..n)
            .map(|position| {
                let (re, im) = phase(mode_at(&radices, n, position));
                [T::from_f64(re / n as f64), T::from_f64(im / n as f64)]
            })
            .collect();
        Some(FftPlan { n, stages, twiddles, phases })
    }

    /// The mode at `position` after a forward pass.
    pub fn mode(&self, position: usize) -> usize {
        let radices: Vec<usize> = self.stages.iter().map(|stage| stage.radix).collect();
        mode_at(&radices, self.n, position)
    }

    /// "3·9", as a person reads it.
    pub fn describe(&self) -> String {
        let radices: Vec<String> = self.stages.iter().map(|s| s.radix.to_string()).collect();
        radices.join("·")
    }

    /// Bytes of the tables.
    pub fn bytes(&self) -> usize {
        (self.twiddles.len() + self.phases.len()) * size_of::<[T; 2]>()
    }

    /// Scalars of buffer a pass needs.
    pub fn buffer(&self) -> usize {
        2 * self.n * (64 / T::BYTES)
    }
}

/// One axis: every line transformed, turned and transformed back (`PASS` = `FLOW`), or only the way there
/// (`FORWARD`, without phases) or back (`INVERSE`, without 1/n).
///
/// - equation: y = F⁻¹ diag(phase) F x
/// - source: see the module
/// - scheme and order: exact up to rounding
/// - stability bound: none (unitary for |phase| = 1)
/// - bytes and flops per node: 4 scalars outside the buffer, about 10·log₂ n flops
pub(crate) struct FftPass<'a, T, const PASS: u8> {
    pub planes: Planes<T>,
    pub lines: Lines,
    pub plan: &'a FftPlan<T>,
    /// `plan.buffer()` scalars.
    pub buffer: *mut T,
}

impl<T: Real, const PASS: u8> Kernel<T> for FftPass<'_, T, PASS> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        // A butterfly holds its whole radix at a time: on AVX2 more registers than there are, with wide vectors.
        self.transform_all::<V::Narrow>();
    }
}

impl<T: Real, const PASS: u8> FftPass<'_, T, PASS> {
    #[inline(always)]
    fn transform_all<V: Lanes<T = T>>(self) {
        let Lines { outer, outer_stride, inner, inner_stride, step, lanes } = self.lines;
        let rows = Rows::new(self.planes, step);
        // SAFETY: the geometry stays inside the planes, the buffer has n rows of 2N scalars, this chunk owns both.
        unsafe {
            let buffer = Rows { re: self.buffer, im: self.buffer.add(V::N), step: 2 * V::N };
            for o in 0..outer {
                for i in 0..inner {
                    let base = o * outer_stride + i * inner_stride;
                    let mut lane = 0;
                    while lane < lanes {
                        let n = V::N.min(lanes - lane);
                        line::<V, PASS>(self.plan, rows.shifted(base + lane), buffer, n);
                        lane += n;
                    }
                }
            }
        }
    }
}

/// # Safety
/// `rows` has plan.n rows of `n` lanes, `buffer` plan.n rows of N lanes.
#[inline(always)]
unsafe fn line<V: Lanes, const PASS: u8>(
    plan: &FftPlan<V::T>,
    rows: Rows<V::T>,
    buffer: Rows<V::T>,
    n: usize,
) {
    let last = plan.stages.len() - 1;
    // SAFETY: says the caller; every stage of a plan covers exactly n rows.
    unsafe {
        // Where the first stage of the pass reads and its last one writes: partial vectors go through the buffer.
        let ends = if n == V::N { rows } else { buffer };
        if n < V::N {
            for k in 0..plan.n {
                buffer.store::<V, true>(k, n, rows.load::<V, false>(k, n));
            }
        }
        let at = |is_end: bool| if is_end { ends } else { buffer };
        if PASS == FLOW {
            for s in 0..last {
                stage::<V, FORWARD>(plan, s, at(s == 0), buffer);
            }
            stage::<V, MIDDLE>(plan, last, at(last == 0), at(last == 0));
            for s in (0..last).rev() {
                stage::<V, INVERSE>(plan, s, buffer, at(s == 0));
            }
        } else if PASS == TO_MODES {
            for s in 0..=last {
                stage::<V, FORWARD>(plan, s, at(s == 0), at(s == last));
            }
        } else {
            for s in (0..=last).rev() {
                stage::<V, INVERSE>(plan, s, at(s == last), at(s == 0));
            }
        }
        if n < V::N {
            for k in 0..plan.n {
                rows.store::<V, false>(k, n, buffer.load::<V, true>(k, n));
            }
        }
    }
}

const FORWARD: u8 = 0;
const MIDDLE: u8 = 1;
const INVERSE: u8 = 2;

/// # Safety
/// As [`line()`], with whole vectors.
#[inline(always)]
unsafe fn stage<V: Lanes, const KIND: u8>(
    plan: &FftPlan<V::T>,
    index: usize,
    src: Rows<V::T>,
    dst: Rows<V::T>,
) {
    macro_rules! run {
        ($r:literal) => {
            V::call(StagePass::<V::T, $r, KIND> { plan, index, src, dst })
        };
    }
    match plan.stages[index].radix {
        2 => run!(2),
        3 => run!(3),
        4 => run!(4),
        5 => run!(5),
        7 => run!(7),
        8 => run!(8),
        _ => run!(9),
    }
}

/// One stage over one line of vectors. Built only with rows as [`stage`] says.
struct StagePass<'a, T, const R: usize, const KIND: u8> {
    plan: &'a FftPlan<T>,
    index: usize,
    src: Rows<T>,
    dst: Rows<T>,
}

impl<T: Real, const R: usize, const KIND: u8> Kernel<T> for StagePass<'_, T, R, KIND> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let StagePass { plan, index, src, dst } = self;
        let Stage { m, twiddle, .. } = plan.stages[index];
        let blocks = plan.n / (R * m);
        // SAFETY: rows 0..plan.n exist (see the struct), the tables have the lengths `FftPlan::new` gave them.
        unsafe {
            if KIND == MIDDLE {
                for block in 0..blocks {
                    middle::<V, R>(src, dst, block * R, plan.phases.as_ptr().add(block * R));
                }
                return;
            }
            for block in 0..blocks {
                let base = block * R * m;
                turn::<V, R, KIND, false>(src, dst, base, m, core::ptr::null());
                for j in 1..m {
                    let table = plan.twiddles.as_ptr().add(twiddle + j * (R - 1));
                    turn::<V, R, KIND, true>(src, dst, base + j, m, table);
                }
            }
        }
    }
}

/// The last forward stage, the phases and the first inverse stage of `R` neighbouring rows.
///
/// # Safety
/// The rows exist; `phases` has R entries.
#[inline(always)]
unsafe fn middle<V: Lanes, const R: usize>(
    src: Rows<V::T>,
    dst: Rows<V::T>,
    row: usize,
    phases: *const [V::T; 2],
) {
    let mut x = [Complex::<V>::zero(); R];
    // SAFETY: says the caller.
    unsafe {
        for k in 0..R {
            x[k] = src.load::<V, true>(row + k, V::N);
        }
        dft::<V, R>(&mut x);
        for k in 0..R {
            let [re, im] = *phases.add(k);
            x[k] = x[k].mul(V::splat(re), V::splat(im));
        }
        idft::<V, R>(&mut x);
        for k in 0..R {
            dst.store::<V, true>(row + k, V::N, x[k]);
        }
    }
}

/// One butterfly: rows `row + p·m`, p = 0..R, with twiddles after (forward) or before (inverse) the transform.
///
/// # Safety
/// The rows exist; `table` has R − 1 entries if `TWIDDLE`.
#[inline(always)]
unsafe fn turn<V: Lanes, const R: usize, const KIND: u8, const TWIDDLE: bool>(
    src: Rows<V::T>,
    dst: Rows<V::T>,
    row: usize,
    m: usize,
    table: *const [V::T; 2],
) {
    let mut x = [Complex::<V>::zero(); R];
    // SAFETY: says the caller.
    unsafe {
        for p in 0..R {
            x[p] = src.load::<V, true>(row + p * m, V::N);
        }
        if KIND == FORWARD {
            dft::<V, R>(&mut x);
            if TWIDDLE {
                for q in 1..R {
                    let [re, im] = *table.add(q - 1);
                    x[q] = x[q].mul(V::splat(re), V::splat(im));
                }
            }
        } else {
            if TWIDDLE {
                for q in 1..R {
                    let [re, im] = *table.add(q - 1);
                    x[q] = x[q].mul_conj(V::splat(re), V::splat(im));
                }
            }
            idft::<V, R>(&mut x);
        }
        for p in 0..R {
            dst.store::<V, true>(row + p * m, V::N, x[p]);
        }
    }
}
