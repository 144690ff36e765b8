//! Three neighbouring active nodes of a longer ring: what most pages of a sparse set are along most axes.
//! Invariant: the matrix is symmetric under transposition and reversal, because D is uniform and the nodes are
//! equidistant; even and odd part are propagated apart. Source: the eigenvectors of such a matrix, in closed form.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use super::super::dft::Complex;
use super::super::increment;
use super::super::lines::{Lines, Rows};
use crate::field::Real;
use crate::half_potential::{Planes, Time};
use crate::simd::{Kernel, Lanes};

/// U on three nodes: A has the odd mode (1, 0, −1) and two even ones (1, μ, 1).
///
/// All axes of a run commute, so the phase of one mode is taken from each axis and given to one of them, the run's
/// [`Lead`]: without it, U − 1 has rank two and costs 24 instead of 34 operations.
pub(super) struct Triple<T> {
    /// The whole increment, as a device takes it.
    whole: Lead<T>,
    /// U·e^{iα} − 1, where e^{−iα} is the phase of the lowest mode.
    rest: Rest<T>,
    spectrum: Spectrum,
}

/// [a b c; b d b; c b a] as p = (a + c)/2, q = (a − c)/2, b and d.
#[derive(Clone, Copy)]
pub(super) struct Lead<T> {
    p: (T, T),
    q: (T, T),
    b: (T, T),
    d: (T, T),
}

/// w·(1, μ, 1)ᵀ(1, μ, 1) + q·(1, 0, −1)ᵀ(1, 0, −1).
#[derive(Clone, Copy)]
struct Rest<T> {
    mu: T,
    w: (T, T),
    q: (T, T),
}

/// The modes of A: angles τE of the lower even, the odd and the upper even one, and the μ of the even ones.
#[derive(Clone, Copy)]
struct Spectrum {
    angles: [f64; 3],
    mu: [f64; 2],
}

impl Spectrum {
    /// Of a symmetric and centrosymmetric 3 × 3 matrix, row-major.
    fn new(a: &[f64], duration: f64) -> Self {
        let (outer, beta, inner) = (a[0] + a[2], a[1], a[4]);
        let (mean, half) = (0.5 * (outer + inner), 0.5 * (outer - inner));
        let r = libm::hypot(half, core::f64::consts::SQRT_2 * beta);
        let mu = match () {
            // Only where D vanishes, and with it A.
            () if beta == 0.0 => [0.0, 0.0],
            () if half >= 0.0 => [-(half + r) / beta, 2.0 * beta / (half + r)],
            () => [-2.0 * beta / (r - half), (r - half) / beta],
        };
        Self { angles: [mean - r, a[0] - a[2], mean + r].map(|e| duration * e), mu }
    }
}

impl<T: Real> Triple<T> {
    /// The propagator of a line of three neighbouring nodes, from A, row-major.
    pub fn new(a: &[f64], duration: f64) -> Self {
        let spectrum = Spectrum::new(a, duration);
        let [first, odd, last] = spectrum.angles;
        let mu = T::from_f64(spectrum.mu[1]);
        // The weight goes with the rounded μ, so that only its own rounding is left.
        let square = mu.to_f64() * mu.to_f64();
        let scaled = |angle: f64, by: f64| {
            let (re, im) = increment(angle, Time::Real);
            (T::from_f64(re * by), T::from_f64(im * by))
        };
        let rest = Rest { mu, w: scaled(last - first, 1.0 / (2.0 + square)), q: scaled(odd - first, 0.5) };
        Self { whole: Lead::new(&spectrum, 0.0), rest, spectrum }
    }

    /// p, q, b, d of the whole.
    pub fn numbers(&self) -> [[f32; 2]; 4]
    where
        T: Into<f32>,
    {
        let Lead { p, q, b, d } = self.whole;
        [p, q, b, d].map(|(re, im)| [re.into(), im.into()])
    }

    /// α: what [`Rest`] leaves out.
    pub fn angle(&self) -> f64 {
        self.spectrum.angles[0]
    }

    /// The whole, and the phase e^{−i·angle} that other axes left out.
    pub fn lead(&self, angle: f64) -> Lead<T> {
        Lead::new(&self.spectrum, angle)
    }
}

impl<T: Real> Lead<T> {
    fn new(spectrum: &Spectrum, angle: f64) -> Self {
        let [first, odd, last] = spectrum.angles.map(|own| increment(own + angle, Time::Real));
        let sum = |weight: &dyn Fn(f64) -> f64| {
            let [a, b] = spectrum.mu.map(|mu| weight(mu) / (2.0 + mu * mu));
            (a * first.0 + b * last.0, a * first.1 + b * last.1)
        };
        let round = |(re, im): (f64, f64)| (T::from_f64(re), T::from_f64(im));
        Self {
            p: round(sum(&|_| 1.0)),
            q: round((0.5 * odd.0, 0.5 * odd.1)),
            b: round(sum(&|mu| mu)),
            d: round(sum(&|mu| mu * mu)),
        }
    }
}

/// One axis of side 3. One axis at a time, in the first-level cache: three nodes fit the registers of AVX2, nine do not, and
/// keeping them aside costs as many instructions as storing them. The floor is what a processor issues: 24 operations, 6 loads
/// and 6 stores for three vectors of nodes.
///
/// - equation: x += (U − 1)x on each line of three nodes
/// - source: the module's
/// - scheme and order: exact
/// - stability bound: none (unitary)
/// - bytes and flops per node: 4 scalars, 12 flops (18 for the lead)
pub(super) struct TriplePass<'a, T> {
    pub planes: Planes<T>,
    pub lines: Lines,
    pub plan: &'a Triple<T>,
    /// What stands for the plan, where the axis leads its run.
    pub lead: Option<&'a Lead<T>>,
}

impl<T: Real> Kernel<T> for TriplePass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        match self.lead {
            Some(lead) => self.all(SpreadLead::<V::Narrow>::new(*lead)),
            None => self.all(SpreadRest::<V::Narrow>::new(self.plan.rest)),
        }
    }
}

impl<T: Real> TriplePass<'_, T> {
    #[inline(always)]
    fn all<V: Lanes<T = T>>(&self, plan: impl OnTriple<V>) {
        let Lines { outer, outer_stride, inner, inner_stride, step, lanes } = self.lines;
        let rows = Rows::new(self.planes, step);
        if lanes == 2 * V::N {
            // Transposed blocks: two vectors a row, and no loop over them.
            for o in 0..outer {
                for i in 0..inner {
                    // SAFETY: the geometry stays inside the planes, and this unit owns them.
                    unsafe {
                        let left = rows.shifted(o * outer_stride + i * inner_stride);
                        let right = left.shifted(V::N);
                        store::<V, true>(left, V::N, plan.on(load::<V, true>(left, V::N)));
                        store::<V, true>(right, V::N, plan.on(load::<V, true>(right, V::N)));
                    }
                }
            }
            return;
        }
        for o in 0..outer {
            for i in 0..inner {
                // SAFETY: the geometry stays inside the planes, and this unit owns them.
                unsafe {
                    let rows = rows.shifted(o * outer_stride + i * inner_stride);
                    if lanes < V::N {
                        store::<V, false>(rows, lanes, plan.on(load::<V, false>(rows, lanes)));
                        continue;
                    }
                    // The last vector overlaps the one before: it is computed from what is still untouched.
                    let last = rows.shifted(lanes - V::N);
                    let has_tail = !lanes.is_multiple_of(V::N);
                    let tail = if has_tail { Some(plan.on(load::<V, true>(last, V::N))) } else { None };
                    let mut lane = 0;
                    while lane + V::N <= lanes {
                        let rows = rows.shifted(lane);
                        store::<V, true>(rows, V::N, plan.on(load::<V, true>(rows, V::N)));
                        lane += V::N;
                    }
                    if let Some(tail) = tail {
                        store::<V, true>(last, V::N, tail);
                    }
                }
            }
        }
    }
}

/// # Safety
/// Three rows have `n` readable lanes, N if `FULL`.
#[inline(always)]
unsafe fn load<V: Lanes, const FULL: bool>(rows: Rows<V::T>, n: usize) -> [Complex<V>; 3] {
    // SAFETY: says the caller.
    unsafe { [rows.load::<V, FULL>(0, n), rows.load::<V, FULL>(1, n), rows.load::<V, FULL>(2, n)] }
}

/// # Safety
/// Three rows have `n` writable lanes, N if `FULL`.
#[inline(always)]
unsafe fn store<V: Lanes, const FULL: bool>(rows: Rows<V::T>, n: usize, x: [Complex<V>; 3]) {
    // SAFETY: says the caller.
    unsafe {
        for k in 0..3 {
            rows.store::<V, FULL>(k, n, x[k]);
        }
    }
}

/// What is done to three nodes: increments are summed among themselves and added once.
trait OnTriple<V: Lanes>: Copy {
    fn on(self, x: [Complex<V>; 3]) -> [Complex<V>; 3];
}

/// A lead in vectors.
#[derive(Clone, Copy)]
struct SpreadLead<V> {
    p: (V, V),
    q: (V, V),
    b: (V, V),
    d: (V, V),
}

impl<V: Lanes> SpreadLead<V> {
    #[inline(always)]
    fn new(lead: Lead<V::T>) -> Self {
        Self { p: splat(lead.p), q: splat(lead.q), b: splat(lead.b), d: splat(lead.d) }
    }
}

impl<V: Lanes> OnTriple<V> for SpreadLead<V> {
    #[inline(always)]
    fn on(self, x: [Complex<V>; 3]) -> [Complex<V>; 3] {
        let (sum, difference) = (x[0].add(x[2]), x[0].sub(x[2]));
        let even = accumulate(sum.mul(self.p.0, self.p.1), x[1], self.b);
        let odd = difference.mul(self.q.0, self.q.1);
        let middle = accumulate(sum.mul(self.b.0, self.b.1), x[1], self.d);
        [x[0].add(even.add(odd)), x[1].add(middle), x[2].add(even.sub(odd))]
    }
}

/// A rest in vectors.
#[derive(Clone, Copy)]
struct SpreadRest<V> {
    mu: V,
    w: (V, V),
    q: (V, V),
}

impl<V: Lanes> SpreadRest<V> {
    #[inline(always)]
    fn new(rest: Rest<V::T>) -> Self {
        Self { mu: V::splat(rest.mu), w: splat(rest.w), q: splat(rest.q) }
    }
}

impl<V: Lanes> OnTriple<V> for SpreadRest<V> {
    #[inline(always)]
    fn on(self, x: [Complex<V>; 3]) -> [Complex<V>; 3] {
        let (sum, difference) = (x[0].add(x[2]), x[0].sub(x[2]));
        let even = sum.add_scaled(self.mu, x[1]).mul(self.w.0, self.w.1);
        let odd = difference.mul(self.q.0, self.q.1);
        [x[0].add(even.add(odd)), x[1].add_scaled(self.mu, even), x[2].add(even.sub(odd))]
    }
}

/// A function and no closure, which would be one of its own, outside the vectors' `enter`.
#[inline(always)]
fn splat<V: Lanes>((re, im): (V::T, V::T)) -> (V, V) {
    (V::splat(re), V::splat(im))
}

/// sum + x·w.
#[inline(always)]
fn accumulate<V: Lanes>(sum: Complex<V>, x: Complex<V>, (re, im): (V, V)) -> Complex<V> {
    Complex {
        re: x.im.neg_mul_add(im, x.re.mul_add(re, sum.re)),
        im: x.im.mul_add(re, x.re.mul_add(im, sum.im)),
    }
}
