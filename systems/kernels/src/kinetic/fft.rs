//! Longer axes: forward transform, phase, inverse transform, in registers and a small buffer.
//!
//! Invariant: the result is F⁻¹ diag(phase) F along each line. Forward stages decimate in frequency and inverse
//! stages in time, so the spectrum is only ever seen in digit-reversed order, in which the phase table is stored:
//! no reordering pass. The last forward stage, the phase and the first inverse stage are one register pass. Either
//! half runs alone, too, where modes of several axes or fields meet in between.
//! Source: Cooley & Tukey 1965, Gentleman & Sande 1966; table entries are rounded once from f64.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use core::f64::consts::TAU;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::dft::{Complex, RADICES, dft, idft};
use super::lines::{FLOW, FORWARD as TO_MODES, Lines, Rows};
use crate::field::Real;
use crate::half_potential::Planes;
use crate::simd::scalar::CoarseConstants;
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

#[derive(Clone)]
struct Stage {
    radix: usize,
    /// Transforms of this stage per block; 1 in the last stage.
    m: usize,
    /// Where its twiddles start, as complex numbers: (j, q) at `twiddle + j(radix − 1) + q − 1`.
    twiddle: usize,
}

/// Longest line whose constants are looked at: the time that takes grows with the square of the length, to a tenth of a
/// second here. Longer ones keep the rounding of their twiddles.
const GAINS_NODES_MAX: usize = 1_024;

/// By what each mode of a line is multiplied, as (re, im).
type Gains = Vec<(f64, f64)>;

/// A factor less `base`, rounded to a neighbour, at most two places away, with which both together have the modulus of the
/// exact factor: modes turn by a rounding error or two more or less, but none grows.
fn rounded<T: Real>(base: T, (re, im): (f64, f64)) -> [T; 2] {
    let base = base.to_f64();
    let modulus = |re: f64, im: f64| 2.0 * base * re + re * re + im * im;
    let nearest = [T::from_f64(re), T::from_f64(im)];
    if T::NAME == f64::NAME {
        return nearest;
    }
    let exact = modulus(re, im);
    let neighbour = |x: f64, places: i32| T::from_f64(f64::from(step_f32(x as f32, places)));
    let mut best = ((modulus(nearest[0].to_f64(), nearest[1].to_f64()) - exact).abs(), nearest);
    for (a, b) in (-2..=2).flat_map(|a| (-2..=2).map(move |b| (a, b))) {
        let candidate = [neighbour(re, a), neighbour(im, b)];
        let defect = (modulus(candidate[0].to_f64(), candidate[1].to_f64()) - exact).abs();
        if defect < best.0 {
            best = (defect, candidate);
        }
    }
    best.1
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
    twiddles: Vec<[T; 2]>,
    /// What all factors have in common: 1/n for phases, most of which are near it, so that what is apart keeps its digits;
    /// else 0.
    base: T,
    /// (Factor of the mode)/n − base, in digit-reversed order.
    apart: Vec<[T; 2]>,
}

impl<T: Real> FftPlan<T> {
    /// Plans length `n`; `factor(m)` is the factor (re, im) of mode `m` in 0..n, each part rounded to nearest. `None` for an
    /// unsupported length.
    pub fn new(n: usize, factor: impl Fn(usize) -> (f64, f64)) -> Option<Self> {
        let mut plan = Self::bare(n)?;
        plan.base = T::default();
        let part = |x: f64| T::from_f64(x / n as f64);
        plan.apart =
            (0..n).map(|position| factor(plan.mode(position))).map(|(re, im)| [part(re), part(im)]).collect();
        Some(plan)
    }

    /// The same for factors of modulus 1 that will be applied a million times: they make up for the rounding of every
    /// constant, so that no mode grows beside the others.
    pub fn unitary(n: usize, phase: impl Fn(usize) -> (f64, f64)) -> Option<Self> {
        let mut plan = Self::bare(n)?;
        let gains = plan.gains_of_constants();
        let base = plan.base.to_f64();
        let exact = |mode: usize| {
            let ((re, im), (a, b)) = (phase(mode), gains[mode]);
            let scale = base / (a * a + b * b);
            (scale * (re * a + im * b), scale * (im * a - re * b))
        };
        plan.apart = (0..n)
            .map(|position| exact(plan.mode(position)))
            .map(|(re, im)| rounded(plan.base, (re - base, im)))
            .collect();
        Some(plan)
    }

    /// A plan whose modes have the factor 1.
    fn bare(n: usize) -> Option<Self> {
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
                        let angle = TAU * (j * q) as f64 / length as f64;
                        twiddles.push([T::from_f64(libm::cos(angle)), T::from_f64(-libm::sin(angle))]);
                    }
                }
            }
            length = m;
        }
        Some(FftPlan {
            n,
            stages,
            twiddles,
            base: T::from_f64(1.0 / n as f64),
            apart: vec![[T::default(); 2]; n],
        })
    }

    /// [`Self::gains`] of a bare plan, found once for each length: plans are made anew whenever a metric changes. In single
    /// precision some modes grow and others shrink by up to 1e-7 a pass, which in a hundred thousand passes is a different
    /// spectrum.
    fn gains_of_constants(&self) -> Arc<Gains> {
        static KNOWN: Mutex<BTreeMap<usize, Arc<Gains>>> = Mutex::new(BTreeMap::new());
        if T::NAME == f64::NAME || self.n > GAINS_NODES_MAX {
            return Arc::new(vec![(1.0, 0.0); self.n]);
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(self.n).or_insert_with(|| Arc::new(self.gains())))
    }

    /// By what a pass with these constants multiplies each of the modes 0..=n/2 where all else is exact; of the other modes,
    /// too, where factors are real, so that real fields stay real.
    fn gains(&self) -> Gains {
        const N: usize = CoarseConstants::N;
        let n = self.n;
        let wide = |table: &[[T; 2]]| table.iter().map(|pair| pair.map(|x| x.to_f64())).collect();
        let plan = FftPlan::<f64> {
            n,
            stages: self.stages.clone(),
            twiddles: wide(&self.twiddles),
            base: self.base.to_f64(),
            apart: wide(&self.apart),
        };
        let turns: Vec<(f64, f64)> = (0..n).map(|k| libm::sincos(TAU * k as f64 / n as f64)).collect();
        let turn = |mode: usize, j: usize| turns[mode * j % n];
        let mut gains = vec![(0.0, 0.0); n];
        let (mut rows, mut buffer) = (vec![0.0; 2 * n * N], vec![0.0; 2 * n * N]);
        let at = |row: usize, lane: usize| (2 * row * N + lane, (2 * row + 1) * N + lane);
        for first in (0..=n / 2).step_by(N) {
            for (row, lane) in (0..n).flat_map(|row| (0..N).map(move |lane| (row, lane))) {
                let (sin, cos) = turn(first + lane, row);
                (rows[at(row, lane).0], rows[at(row, lane).1]) = (cos, sin);
            }
            let of = |column: &mut Vec<f64>| {
                let re = column.as_mut_ptr();
                Rows { re, im: re.wrapping_add(N), step: 2 * N }
            };
            // SAFETY: both have n rows of 2N scalars, and are apart.
            unsafe { line::<CoarseConstants, FLOW>(&plan, of(&mut rows), of(&mut buffer), N) };
            for mode in first..(first + N).min(n / 2 + 1) {
                let gain = (0..n).fold((0.0, 0.0), |sum, row| {
                    let (x, y) = (rows[at(row, mode - first).0], rows[at(row, mode - first).1]);
                    let (sin, cos) = turn(mode, row);
                    (sum.0 + x * cos + y * sin, sum.1 + y * cos - x * sin)
                });
                let gain = (gain.0 / n as f64, gain.1 / n as f64);
                gains[(n - mode) % n] = (gain.0, -gain.1);
                gains[mode] = gain;
            }
        }
        gains
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
        (self.twiddles.len() + self.apart.len()) * size_of::<[T; 2]>()
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
                    middle::<V, R>(src, dst, block * R, plan, plan.apart.as_ptr().add(block * R));
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
/// The rows exist; `apart` has R entries.
#[inline(always)]
unsafe fn middle<V: Lanes, const R: usize>(
    src: Rows<V::T>,
    dst: Rows<V::T>,
    row: usize,
    plan: &FftPlan<V::T>,
    apart: *const [V::T; 2],
) {
    let mut x = [Complex::<V>::zero(); R];
    // SAFETY: says the caller.
    unsafe {
        for k in 0..R {
            x[k] = src.load::<V, true>(row + k, V::N);
        }
        dft::<V, R>(&mut x);
        let base = V::splat(plan.base);
        for k in 0..R {
            let [re, im] = *apart.add(k);
            x[k] = x[k].mul_near(base, V::splat(re), V::splat(im));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_constants_let_no_mode_grow() {
        for (n, duration) in
            [(8, 1e-3), (27, 1e-3), (27, 0.3), (45, 1e-2), (49, 1e-3), (128, 1e-3), (243, 0.02)]
        {
            let phase = |mode: usize| {
                let k = if 2 * mode > n { mode as f64 - n as f64 } else { mode as f64 };
                let (sin, cos) = libm::sincos(0.5 * duration * (TAU * k / n as f64).powi(2));
                (cos, -sin)
            };
            let plan = FftPlan::<f32>::unitary(n, phase).expect("a length it knows");
            // Of the others only the modulus would be right: with phases a real field does not stay real.
            for (mode, (re, im)) in plan.gains().into_iter().enumerate().take(n / 2 + 1) {
                let (cos, sin) = phase(mode);
                let growth = libm::hypot(re, im) - 1.0;
                // Rounded to nearest, a phase may be off by 6e-8, and each constant adds as much. Of 25 neighbours one is
                // right to a tenth of that where the mode turns far in a step, and by far more where it does not.
                let bound = if duration < 0.1 { 1e-9 } else { 1e-8 };
                assert!(growth.abs() < bound, "{n}, mode {mode}: {growth:e}");
                let apart = libm::hypot(re - cos, im - sin);
                assert!(apart < 2e-7, "{n}, mode {mode}: {apart:e}");
            }
        }
    }

    #[test]
    fn factors_far_from_one_keep_their_digits() {
        // As along a derivative: what is imaginary stays so, or it would not be antisymmetric.
        for n in [8, 27, 45] {
            let plan = FftPlan::<f32>::new(n, |mode| (0.0, mode as f64)).expect("a length it knows");
            for (mode, (re, im)) in plan.gains().into_iter().enumerate().take(n / 2 + 1) {
                let apart = libm::hypot(re, im - mode as f64);
                assert!(apart <= 2e-7 * mode as f64, "{n}, mode {mode}: {apart:e}");
            }
        }
    }
}
