//! Sums from which the energy balance of the wave form is booked: what damping takes in a kick, and what a linear flow
//! with damping does to H.
//!
//! Invariant: f64, fixed chunks in fixed order, lanes folded in a fixed order: the same bits for any number of threads and
//! at every level. Source: the kick's own flow, Ψ̇_t = f − ΓΨ̇ with f = β|Ψ|²Ψ held: Ψ̇(s) = Ψ̇ + g(s)(f − ΓΨ̇),
//! g(s) = (1 − e^{−Γs})/Γ.

#![allow(unsafe_code)] // Vector loads through pointers.

use crate::field::{PageRef, Real, Threads, Values};
use crate::simd::accumulate::total;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::map_chunks;

/// Nodes summed before a partial result is stored.
const CHUNK: usize = 4096;

/// ∫g/s² and ∫g²/s³ over 0..s as series in −Γs.
const FIRST: [f64; 6] = [1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
const SECOND: [f64; 6] = [1.0 / 3.0, 1.0 / 4.0, 7.0 / 60.0, 1.0 / 24.0, 31.0 / 2520.0, 1.0 / 320.0];

/// Sums over all nodes, ρ = |Ψ|².
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Exchange {
    /// Σ|Ψ̇|².
    pub velocity2: f64,
    /// ΣRe Ψ*Ψ̇.
    pub cross: f64,
    /// Σρ².
    pub quartic: f64,
    /// ΣρRe Ψ*Ψ̇.
    pub turn: f64,
    /// Σρ³.
    pub sextic: f64,
    /// Σ∫₀^s Γ|Ψ̇(s')|² ds', what Γ(x) takes in the kick from here to `duration`, which may be negative: then minus what
    /// it took on the way here.
    pub loss: f64,
}

/// The kick that `loss` is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossOver {
    /// s, model time, negative for the kick that ends here.
    pub duration: f64,
    /// β during it.
    pub beta: f64,
}

/// All sums in one pass. Panics if the pages differ in shape.
///
/// - equation: the fields of [`Exchange`]
/// - source: the module's
/// - scheme and order: f64 sums in fixed lanes; the loss by series, below 1e-9 of itself for Γs < 0.1
/// - stability bound: rounding
/// - bytes and flops per node: 4 scalars (5 where Γ varies), about 40 flops in f64
pub fn exchange<T: Real>(
    level: Level,
    threads: Threads<'_>,
    (psi, velocity): (&[PageRef<'_, T>], &[PageRef<'_, T>]),
    damping: Values<'_, T>,
    over: LossOver,
) -> Exchange {
    assert_eq!(psi.len(), velocity.len(), "as many pages of both fields");
    let nodes = psi.first().map_or(0, |page| page.re.len());
    let alike = |page: &PageRef<'_, T>| page.re.len() == nodes && page.im.len() == nodes;
    assert!(psi.iter().chain(velocity).all(alike), "pages of one length");
    let pieces = nodes.div_ceil(CHUNK);
    let parts = map_chunks(threads, pieces * psi.len(), |chunk| {
        let (page, first) = (chunk / pieces, chunk % pieces * CHUNK);
        let range = first..nodes.min(first + CHUNK);
        let cut = |page: &PageRef<'_, T>| -> [*const T; 2] {
            [page.re[range.clone()].as_ptr(), page.im[range.clone()].as_ptr()]
        };
        let damping = match damping {
            Values::Uniform(gamma) => Err(gamma.to_f64()),
            Values::PerNode(slices) => Ok(&slices[page][range.clone()]),
        };
        let run = ExchangeRun {
            psi: cut(&psi[page]),
            velocity: cut(&velocity[page]),
            damping,
            n: range.len(),
            over,
        };
        T::exchange_run(level, run)
    });
    let mut sum = [0.0; 6];
    parts.iter().for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part));
    let [velocity2, cross, quartic, turn, sextic, loss] = sum;
    Exchange { velocity2, cross, quartic, turn, sextic, loss }
}

/// The sums over some nodes of a page. Built only with planes that have them.
#[doc(hidden)]
pub struct ExchangeRun<'a, T: SimdReal> {
    psi: [*const T; 2],
    velocity: [*const T; 2],
    damping: Result<&'a [T], f64>,
    n: usize,
    over: LossOver,
}

impl<T: Real> Kernel<T> for ExchangeRun<'_, T> {
    type Out = [f64; 6];
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> [f64; 6] {
        let ExchangeRun { psi, velocity, damping, n, over } = self;
        let mut sums = [V::Wide::splat(0.0); 6];
        for i in (0..n).step_by(V::N) {
            let n = V::N.min(n - i);
            // SAFETY: `n` nodes from `i` on exist, of the damping too.
            let [x, y, p, q, gamma] = unsafe {
                let gamma = match damping {
                    Ok(damping) => V::load_n(damping.as_ptr().add(i), n),
                    Err(_) => V::splat(T::default()),
                };
                [
                    V::load_n(psi[0].add(i), n),
                    V::load_n(psi[1].add(i), n),
                    V::load_n(velocity[0].add(i), n),
                    V::load_n(velocity[1].add(i), n),
                    gamma,
                ]
            };
            for half in 0..n.div_ceil(V::Wide::N) {
                let gamma = match damping {
                    Ok(_) => gamma.widen(half),
                    Err(gamma) => V::Wide::splat(gamma),
                };
                let fields = [x.widen(half), y.widen(half), p.widen(half), q.widen(half)];
                add_nodes::<V::Wide>(&mut sums, fields, gamma, over);
            }
        }
        // A loop, no map: a closure would make every store of a vector a call.
        let mut totals = [0.0; 6];
        for (found, sum) in totals.iter_mut().zip(sums) {
            *found = total(sum);
        }
        totals
    }
}

#[inline(always)]
fn add_nodes<W: Lanes<T = f64>>(sums: &mut [W; 6], [x, y, p, q]: [W; 4], gamma: W, over: LossOver) {
    let density = y.mul_add(y, x.mul(x));
    let cross = y.mul_add(q, x.mul(p));
    let velocity2 = q.mul_add(q, p.mul(p));
    let square = density.mul(density);
    // w = f − ΓΨ̇, the slope of Ψ̇.
    let strength = density.mul(W::splat(over.beta));
    let (a, b) = (gamma.neg_mul_add(p, strength.mul(x)), gamma.neg_mul_add(q, strength.mul(y)));
    let s = W::splat(over.duration);
    let exponent = gamma.mul(s).neg();
    let (mut first, mut second) = (W::splat(FIRST[5]), W::splat(SECOND[5]));
    for k in (0..5).rev() {
        first = first.mul_add(exponent, W::splat(FIRST[k]));
        second = second.mul_add(exponent, W::splat(SECOND[k]));
    }
    let rate = q.mul_add(b, p.mul(a));
    let slope2 = b.mul_add(b, a.mul(a));
    // |Ψ̇|² + 2s·Re(Ψ̇*w)·first + s²|w|²·second.
    let mean = slope2.mul(second).mul_add(s, rate.add(rate).mul(first)).mul_add(s, velocity2);
    let loss = mean.mul(gamma).mul(s);
    for (sum, part) in
        sums.iter_mut().zip([velocity2, cross, square, density.mul(cross), square.mul(density), loss])
    {
        *sum = sum.add(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_what_the_kick_takes_and_the_sums_are_sums() {
        let n = 37;
        let plane = |k: f64| -> Vec<f64> { (0..n).map(|i| libm::sin(k * (i + 1) as f64)).collect() };
        let planes = [plane(0.3), plane(1.1), plane(2.3), plane(0.7)];
        let gamma: Vec<f64> = (0..n).map(|i| 3.0 + libm::cos(i as f64)).collect();
        let psi = [PageRef { re: &planes[0][..], im: &planes[1][..] }];
        let velocity = [PageRef { re: &planes[2][..], im: &planes[3][..] }];
        for duration in [0.01, -0.01] {
            let over = LossOver { duration, beta: -1.7 };
            let damping = [&gamma[..]];
            let found = exchange(
                Level::detect(),
                Threads::Serial,
                (&psi, &velocity),
                Values::PerNode(&damping),
                over,
            );
            let (mut loss, mut turn) = (0.0, 0.0);
            for i in 0..n {
                let [x, y, p, q] = [0, 1, 2, 3].map(|k| planes[k][i]);
                let density = x * x + y * y;
                turn += density * (x * p + y * q);
                let steps = 2000;
                let h = duration / f64::from(steps);
                for k in 0..steps {
                    let s = h * (f64::from(k) + 0.5);
                    let g = -libm::expm1(-gamma[i] * s) / gamma[i];
                    let along = |f: f64, v: f64| v + g * (f - gamma[i] * v);
                    let (a, b) = (along(-1.7 * density * x, p), along(-1.7 * density * y, q));
                    loss += h * gamma[i] * (a * a + b * b);
                }
            }
            assert!((found.loss - loss).abs() < 1e-8 * loss.abs(), "{} {loss}", found.loss);
            assert!((found.turn - turn).abs() < 1e-12 * turn.abs(), "{} {turn}", found.turn);
            for level in Level::available() {
                let other =
                    exchange(level, Threads::Serial, (&psi, &velocity), Values::PerNode(&damping), over);
                assert_eq!(other, found, "{level:?}");
            }
        }
    }
}
