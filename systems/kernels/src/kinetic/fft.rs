//! Longer axes: forward transform, factors, inverse transform, in registers and a small buffer.
//!
//! Invariant: the result is x + F⁻¹ diag(factor − 1) F x along each line: of a step that turns modes by little, rounding
//! takes little. Each inverse stage undoes its forward stage with the constants as they are rounded (see
//! `kinetic/dft.rs`): so a propagator is similar to its diagonal of phases, and in a million passes no mode, nor any
//! mixture of modes, grows.
//! Forward stages decimate in frequency and inverse stages in time, so the spectrum is only ever seen in digit-reversed
//! order, in which the factors are stored: no reordering pass. The last forward stage, the factors and the first inverse
//! stage are one register pass. Either half runs alone, too, where modes of several axes or fields meet in between.
//! Source: Cooley & Tukey 1965, Gentleman & Sande 1966; table entries are rounded once from f64.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use core::f64::consts::TAU;

use super::dft::{Complex, RADICES, Turn, dft, idft};
use super::lines::{FLOW, FORWARD as TO_MODES, Lines, Rows};
use super::order::{centred, mode_at};
use crate::field::Real;
use crate::half_potential::{Planes, Time};
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

#[derive(Clone)]
struct Stage {
    radix: usize,
    /// Transforms of this stage per block; 1 in the last stage.
    m: usize,
    /// Where its twiddles start: e^{−2πi jq/(radix·m)}, q centred, at `twiddle + j(radix − 1) + q − 1`.
    twiddle: usize,
}

/// A factor over n, each part rounded to nearest.
fn nearest<T: Real>(n: usize, (re, im): (f64, f64)) -> [T; 2] {
    [re / n as f64, im / n as f64].map(T::from_f64)
}

/// A phase less 1, over n, rounded to a neighbour, at most two places away, with which the phase keeps its modulus: modes
/// turn by a rounding error or two more or less, but none grows.
pub(super) fn rounded<T: Real>(n: usize, increment: (f64, f64)) -> [T; 2] {
    let nearest = nearest(n, increment);
    let n = n as f64;
    if T::NAME == f64::NAME {
        return nearest;
    }
    let defect = |[re, im]: [T; 2]| {
        let (re, im) = (n * re.to_f64(), n * im.to_f64());
        (2.0 * re + re * re + im * im).abs()
    };
    let neighbour = |x: T, places: i32| T::from_f64(f64::from(step_f32(x.to_f64() as f32, places)));
    let places = || -2..=2;
    places()
        .flat_map(|a| places().map(move |b| [a, b]))
        .map(|[a, b]| [neighbour(nearest[0], a), neighbour(nearest[1], b)])
        .fold(nearest, |best, other| if defect(other) < defect(best) { other } else { best })
}

/// The f32 so many places above or below.
fn step_f32(x: f32, places: i32) -> f32 {
    let step = if places > 0 { f32::next_up } else { f32::next_down };
    (0..places.abs()).fold(x, |x, _| step(x))
}

/// A planned line transform with the factors of its modes.
pub(crate) struct FftPlan<T> {
    n: usize,
    stages: Vec<Stage>,
    twiddles: Vec<Turn<T>>,
    /// What of the line itself is added to the result: 1 for a flow, 0 for another operator.
    kept: T,
    /// (Factor of the mode − kept)/n, in digit-reversed order.
    factors: Vec<[T; 2]>,
}

impl<T: Real> FftPlan<T> {
    /// The operator F⁻¹ diag(factor) F of length `n`; `factor(m)` is the factor (re, im) of mode `m` in 0..n, each part
    /// rounded to nearest. `None` for an unsupported length.
    pub fn operator(n: usize, factor: impl Fn(usize) -> (f64, f64)) -> Option<Self> {
        Self::planned(n, 0.0, |mode| nearest(n, factor(mode)))
    }

    /// The flow 1 + F⁻¹ diag(increment) F; `increment(m)` is the factor of mode `m` less 1. In real time, `time`, factors
    /// are phases, and are rounded so that their modulus stays 1.
    pub fn flow(n: usize, time: Time, increment: impl Fn(usize) -> (f64, f64)) -> Option<Self> {
        Self::planned(n, 1.0, |mode| match time {
            Time::Real => rounded(n, increment(mode)),
            Time::Imaginary { .. } => nearest(n, increment(mode)),
        })
    }

    /// The plan with a factor, less what is kept and over n, for each mode.
    fn planned(n: usize, kept: f64, factor_of: impl Fn(usize) -> [T; 2]) -> Option<Self> {
        let radices = factor(n)?;
        let mut stages = Vec::new();
        let mut twiddles = Vec::new();
        let mut length = n;
        for radix in radices {
            let m = length / radix;
            stages.push(Stage { radix, m, twiddle: twiddles.len() });
            if m > 1 {
                for j in 0..m {
                    for q in 1..radix {
                        let steps = j as isize * centred(q as isize, radix);
                        twiddles.push(Turn::new(-TAU * steps as f64 / length as f64));
                    }
                }
            }
            length = m;
        }
        let mut plan = FftPlan { n, stages, twiddles, kept: T::from_f64(kept), factors: Vec::new() };
        plan.factors = (0..n).map(|position| factor_of(plan.mode(position))).collect();
        Some(plan)
    }

    /// The mode at `position` after a forward pass.
    pub fn mode(&self, position: usize) -> usize {
        let radices: Vec<usize> = self.stages.iter().map(|stage| stage.radix).collect();
        mode_at(&radices, position, |digit, radix| centred(digit as isize, radix))
    }

    /// "3·9", as a person reads it.
    pub fn describe(&self) -> String {
        let radices: Vec<String> = self.stages.iter().map(|s| s.radix.to_string()).collect();
        radices.join("·")
    }

    /// Bytes of the tables.
    pub fn bytes(&self) -> usize {
        self.twiddles.len() * size_of::<Turn<T>>() + self.factors.len() * size_of::<[T; 2]>()
    }

    /// Scalars of buffer a pass needs: a line of vectors to work on, and one for lines that fill no vector.
    pub fn buffer(&self) -> usize {
        2 * 2 * self.n * (64 / T::BYTES)
    }
}

/// One axis: every line transformed, turned and transformed back (`PASS` = `FLOW`), or only the way there
/// (`FORWARD`, without factors) or back (`INVERSE`, without 1/n).
///
/// - equation: y = kept·x + F⁻¹ diag(factor − kept) F x
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
        // SAFETY: the geometry stays inside the planes, the buffer has 2n rows of 2N scalars, this chunk owns both.
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
/// `rows` has plan.n rows of `n` lanes, `buffer` twice as many of N lanes.
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
        // Where the first stage of the pass reads and its last one writes: lines that fill no vector are copied.
        let ends = if n == V::N { rows } else { buffer.shifted(plan.n * buffer.step) };
        if n < V::N {
            for k in 0..plan.n {
                ends.store::<V, true>(k, n, rows.load::<V, false>(k, n));
            }
        }
        let at = |is_end: bool| if is_end { ends } else { buffer };
        if PASS == FLOW {
            for s in 0..last {
                stage::<V, FORWARD>(plan, s, at(s == 0), buffer);
            }
            if last == 0 {
                stage::<V, WHOLE>(plan, 0, ends, ends);
            } else {
                stage::<V, MIDDLE>(plan, last, buffer, buffer);
                for s in (1..last).rev() {
                    stage::<V, INVERSE>(plan, s, buffer, buffer);
                }
                stage::<V, CLOSING>(plan, 0, buffer, ends);
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
                rows.store::<V, false>(k, n, ends.load::<V, true>(k, n));
            }
        }
    }
}

const FORWARD: u8 = 0;
/// The last forward stage, the factors and the first inverse stage.
const MIDDLE: u8 = 1;
const INVERSE: u8 = 2;
/// The last inverse stage of a pass, added to what is kept of the line.
const CLOSING: u8 = 3;
/// A pass of one stage.
const WHOLE: u8 = 4;

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
        // SAFETY: rows 0..plan.n exist (see the struct), the tables have the lengths that the plan gave them.
        unsafe {
            if KIND == MIDDLE || KIND == WHOLE {
                for block in 0..blocks {
                    let factors = plan.factors.as_ptr().add(block * R);
                    middle::<V, R, KIND>(src, dst, block * R, plan.kept, factors);
                }
                return;
            }
            for block in 0..blocks {
                let base = block * R * m;
                butterfly::<V, R, KIND, false>(src, dst, (base, m), plan.kept, core::ptr::null());
                for j in 1..m {
                    let table = plan.twiddles.as_ptr().add(twiddle + j * (R - 1));
                    butterfly::<V, R, KIND, true>(src, dst, (base + j, m), plan.kept, table);
                }
            }
        }
    }
}

/// The last forward stage, the factors and the first inverse stage of `R` neighbouring rows.
///
/// # Safety
/// The rows exist; `factors` has R entries.
#[inline(always)]
unsafe fn middle<V: Lanes, const R: usize, const KIND: u8>(
    src: Rows<V::T>,
    dst: Rows<V::T>,
    row: usize,
    kept: V::T,
    factors: *const [V::T; 2],
) {
    let mut x = [Complex::<V>::zero(); R];
    // SAFETY: says the caller.
    unsafe {
        for k in 0..R {
            x[k] = src.load::<V, true>(row + k, V::N);
        }
        dft::<V, R>(&mut x);
        for k in 0..R {
            let [re, im] = *factors.add(k);
            x[k] = x[k].mul(V::splat(re), V::splat(im));
        }
        idft::<V, R>(&mut x);
        let kept = V::splat(kept);
        for k in 0..R {
            if KIND == WHOLE {
                x[k] = x[k].add_scaled(kept, dst.load::<V, true>(row + k, V::N));
            }
            dst.store::<V, true>(row + k, V::N, x[k]);
        }
    }
}

/// One butterfly: rows `row + p·m`, p = 0..R, with twiddles after (forward) or before (inverse) the transform.
///
/// # Safety
/// The rows exist; `table` has R − 1 entries if `TWIDDLE`.
#[inline(always)]
unsafe fn butterfly<V: Lanes, const R: usize, const KIND: u8, const TWIDDLE: bool>(
    src: Rows<V::T>,
    dst: Rows<V::T>,
    (row, m): (usize, usize),
    kept: V::T,
    table: *const Turn<V::T>,
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
                    x[q] = x[q].turn(*table.add(q - 1));
                }
            }
        } else {
            if TWIDDLE {
                for q in 1..R {
                    x[q] = x[q].turn_back(*table.add(q - 1));
                }
            }
            idft::<V, R>(&mut x);
        }
        let kept = V::splat(kept);
        for p in 0..R {
            if KIND == CLOSING {
                x[p] = x[p].add_scaled(kept, dst.load::<V, true>(row + p * m, V::N));
            }
            dst.store::<V, true>(row + p * m, V::N, x[p]);
        }
    }
}

#[cfg(test)]
mod tests;
