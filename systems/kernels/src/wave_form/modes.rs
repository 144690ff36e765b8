//! The turn of every mode, as three shears and a scale.
//!
//! Invariant: with W = Ψ̇ + (α/2)Ψ a mode's flow is σE·[C, s; −Ω²s, C], a matrix of determinant E², and every real
//! matrix of determinant 1 with equal diagonal is the product of shears (1 p)(1 0; q 1)(1 p), q = −Ω²s,
//! p = (C − 1)/q. A shear keeps areas whatever its coefficient rounds to, so the symplectic form decays as e^{−αh}
//! exactly and an undamped mode neither gains nor loses energy in the long run, in single precision too: the
//! rounding of p and q only shifts its frequency by a part in 10⁷. Angles are reduced to |Ωh| ≤ π/2 with a sign σ
//! beforehand, so that p stays below 1/Ω and there is no bound on the time step.
//!
//! What the transforms leave out (1/n, the ring's 1/3, 2/3, 1/2) is applied here as two rounded factors, one per row
//! and one per column; by how much they are off is known, and joins the decay as an increment inside the last shears.
//!
//! Source: numerical practice of lifting schemes (Daubechies & Sweldens, J. Fourier Anal. Appl. 4 (1998) 247).

#![allow(unsafe_code)] // Vector loads and stores through pointers.

use std::collections::BTreeMap;

use libm::{cos, cosh, expm1, sin, sinh, sqrt, tan, tanh};

use crate::field::Real;
use crate::half_potential::Planes;
use crate::kinetic::{Axis, AxisTerm, Kinetic};
use crate::simd::{Kernel, Lanes};

/// Below this |Ω²h²| the series of C and s are exact to rounding.
const SERIES: f64 = 1e-4;

/// cos Ωh and sin Ωh/Ω for Ω² = `omega2` of either sign.
pub(crate) fn cosine_and_sine(omega2: f64, h: f64) -> (f64, f64) {
    let x = omega2 * h * h;
    if x.abs() < SERIES {
        let cosine = 1.0 - x / 2.0 * (1.0 - x / 12.0 * (1.0 - x / 30.0));
        return (cosine, h * (1.0 - x / 6.0 * (1.0 - x / 20.0 * (1.0 - x / 42.0))));
    }
    let omega = sqrt(omega2.abs());
    if omega2 > 0.0 {
        (cos(omega * h), sin(omega * h) / omega)
    } else {
        (cosh(omega * h), sinh(omega * h) / omega)
    }
}

/// (p, q, σ) of a mode with Ω² = `omega2` over time `h`: the shears of its turn and its sign.
pub fn shears(omega2: f64, h: f64) -> (f64, f64, f64) {
    let x = omega2 * h * h;
    if x.abs() < SERIES {
        let p = 0.5 * h * (1.0 + x / 12.0 * (1.0 + x / 10.0 * (1.0 + 17.0 * x / 168.0)));
        return (p, -omega2 * cosine_and_sine(omega2, h).1, 1.0);
    }
    let omega = sqrt(omega2.abs());
    if omega2 < 0.0 {
        return (tanh(0.5 * omega * h) / omega, omega * sinh(omega * h), 1.0);
    }
    let half_turns = (omega * h / core::f64::consts::PI).round();
    let angle = omega * h - half_turns * core::f64::consts::PI;
    let sign = if half_turns % 2.0 == 0.0 { 1.0 } else { -1.0 };
    (tan(0.5 * angle) / omega, -omega * sin(angle), sign)
}

/// A weight as a rounded factor and the relative increment that makes up for the rounding.
#[derive(Clone, Copy)]
struct Weight<T> {
    factor: T,
    rest: f64,
}

impl<T: Real> Weight<T> {
    fn new(weight: f64) -> Self {
        let factor = T::from_f64(weight);
        Weight { factor, rest: weight / factor.to_f64() - 1.0 }
    }
}

/// Position by position along some axes, slowest first: Σ D k² and the product of the weights.
fn combine<T: Real>(axes: &[Axis<T>], terms: &[AxisTerm]) -> Vec<(f64, f64)> {
    let mut all = vec![(0.0, 1.0)];
    for (axis, term) in axes.iter().zip(terms) {
        let n = axis.extent;
        let along: Vec<(f64, f64)> = axis
            .modes()
            .into_iter()
            .map(|(mode, weight)| {
                let k = mode.min(n - mode) as f64 * term.wavenumber_unit;
                (term.diffusion * k * k, weight)
            })
            .collect();
        all = all
            .iter()
            .flat_map(|&(omega2, weight)| along.iter().map(move |&(o, w)| (omega2 + o, weight * w)))
            .collect();
    }
    all
}

/// Tables of the turn. A mode is a row (its place along the axes that cross pages) and a column (the rest); rows with
/// the same Σ D k² share their coefficients, which on a cubic torus leaves few.
pub(crate) struct Modes<T> {
    /// Columns of a row.
    pub run: usize,
    /// For each row, its class and weight.
    rows: Vec<(usize, Weight<T>)>,
    /// Per column: the factor and the rest of its weight.
    factor: Vec<T>,
    rest: Vec<T>,
    /// Per class and column.
    p: Vec<T>,
    q: Vec<T>,
    /// ±1.
    sign: Vec<T>,
    half_alpha: T,
    /// e^{−αh/2} − 1.
    decay: f64,
}

impl<T: Real> Modes<T> {
    pub fn new(transform: &Kinetic<T>, terms: &[AxisTerm], duration: f64, alpha: f64) -> Self {
        let (outer, inner) = transform.axes.split_at(transform.split.0);
        let rows = combine(outer, &terms[..outer.len()]);
        let columns = combine(inner, &terms[outer.len()..]);
        let mut classes: BTreeMap<u64, usize> = BTreeMap::new();
        let mut values = Vec::new();
        let rows = rows
            .into_iter()
            .map(|(omega2, weight)| {
                let class = *classes.entry(omega2.to_bits()).or_insert_with(|| {
                    values.push(omega2);
                    values.len() - 1
                });
                (class, Weight::new(weight))
            })
            .collect();
        let quarter = 0.25 * alpha * alpha;
        let mut modes = Modes {
            run: columns.len(),
            rows,
            factor: columns.iter().map(|&(_, weight)| Weight::<T>::new(weight).factor).collect(),
            rest: columns.iter().map(|&(_, weight)| T::from_f64(Weight::<T>::new(weight).rest)).collect(),
            p: Vec::new(),
            q: Vec::new(),
            sign: Vec::new(),
            half_alpha: T::from_f64(0.5 * alpha),
            decay: expm1(-0.5 * alpha * duration),
        };
        // The increment is exact where α/2 is: take the oscillation relative to the α/2 that is applied.
        let own = modes.half_alpha.to_f64();
        debug_assert!((own * own - quarter).abs() <= 1e-6 * quarter);
        for row in values {
            for &(column, _) in &columns {
                let (p, q, sign) = shears(row + column - own * own, duration);
                modes.p.push(T::from_f64(p));
                modes.q.push(T::from_f64(q));
                modes.sign.push(T::from_f64(sign));
            }
        }
        modes
    }

    /// Bytes of the tables.
    pub fn bytes(&self) -> usize {
        (3 * self.p.len() + 2 * self.run) * T::BYTES + self.rows.len() * size_of::<(usize, Weight<T>)>()
    }
}

/// `len` columns of one row, from column `first` on, both fields in place.
///
/// - equation: W = Ψ̇ + (α/2)Ψ; Ψ += pW, W += qΨ, Ψ += pW; both times σE·weight; Ψ̇ = W − (α/2)Ψ
/// - source: see the module
/// - scheme and order: exact
/// - stability bound: none
/// - bytes and flops per node: 8 scalars of state, 5 of tables; 44 flops
///
/// Built only where row, columns and planes exist and nobody else touches the planes.
pub(crate) struct TurnRun<'a, T> {
    pub modes: &'a Modes<T>,
    pub row: usize,
    pub first: usize,
    pub len: usize,
    pub psi: Planes<T>,
    pub velocity: Planes<T>,
    pub gain: f64,
}

impl<T: Real> Kernel<T> for TurnRun<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let TurnRun { modes, row, first, len, psi, velocity, gain } = self;
        let (class, weight) = modes.rows[row];
        let at = class * modes.run + first;
        let tables =
            [&modes.p[at..], &modes.q[at..], &modes.sign[at..], &modes.factor[first..], &modes.rest[first..]];
        let common = V::splat(T::from_f64(weight.rest + modes.decay + gain));
        let row_factor = V::splat(weight.factor);
        let half_alpha = V::splat(modes.half_alpha);
        for i in (0..len).step_by(V::N) {
            let n = V::N.min(len - i);
            // SAFETY: `n` columns from `i` on exist in the tables and the planes, see the struct.
            unsafe {
                let [p, q, sign, factor, rest] = tables;
                let (p, q) = (V::load_n(p.as_ptr().add(i), n), V::load_n(q.as_ptr().add(i), n));
                let sign = V::load_n(sign.as_ptr().add(i), n);
                let (factor, rest) =
                    (V::load_n(factor.as_ptr().add(i), n), V::load_n(rest.as_ptr().add(i), n));
                let (factor, increment) = (factor.mul(sign), rest.add(common));
                for (psi, velocity) in [(psi.re, velocity.re), (psi.im, velocity.im)] {
                    let (psi, velocity) = (psi.add(i), velocity.add(i));
                    let x = V::load_n(psi, n);
                    let w = half_alpha.mul_add(x, V::load_n(velocity, n));
                    let x = p.mul_add(w, x);
                    // The increment joins each last shear before its sum is rounded: alone, it would be rounded off.
                    let pull = q.mul(x);
                    let whole = w.add(pull);
                    let push = p.mul(whole);
                    let w = w.add(increment.mul_add(whole, pull));
                    let x = x.add(increment.mul_add(x.add(push), push));
                    let (x, w) = (x.mul(factor).mul(row_factor), w.mul(factor).mul(row_factor));
                    x.store_n(psi, n);
                    half_alpha.neg_mul_add(x, w).store_n(velocity, n);
                }
            }
        }
    }
}
