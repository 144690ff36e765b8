//! The kinetic quadratic form Re⟨wΨ, TΨ⟩, T = −½ Σ_d D^{dd}∂_d², of a constant diagonal metric.
//!
//! Invariant: partial sums are cut by the shape and added in a fixed order, so the bits don't depend on threads or
//! SIMD level. With w = 1 the form is the kinetic energy that `reduce::spectral_moments` gives; with w = Γ it is the
//! kinetic part of the damping power, which no split of the energy into local parts contains.

#![allow(unsafe_code)] // Vector loads through pointers.

use core::ops::Range;
use std::sync::Arc;

use rustfft::{Fft, FftPlannerScalar, num_complex::Complex};

use crate::field::{PageRef, Real, Shape, Threads, Values};
use crate::kinetic::AxisTerm;
use crate::simd::accumulate::Accumulator;
use crate::simd::{Kernel, Lanes, Level};
use crate::threads::map_chunks;

/// Lines of a transformed axis per partial sum.
const LINES: usize = 256;

/// Strides below this are summed with masks over whole pages, others by runs.
const RUN_MIN: usize = 16;

/// A planned form.
pub struct KineticForm {
    shape: Shape,
    axes: Vec<FormAxis>,
}

struct FormAxis {
    extent: usize,
    stride: usize,
    /// ½D(2π/L)².
    unit: f64,
    /// Forward transform; absent for rings of three.
    fft: Option<Arc<dyn Fft<f64>>>,
}

impl KineticForm {
    /// Plans the form. `terms` are in storage order and agree with `shape`; panics if not.
    pub fn new(shape: &Shape, terms: &[AxisTerm]) -> Self {
        assert_eq!(shape.extents.len(), terms.len(), "one kinetic term per storage axis");
        let mut planner = FftPlannerScalar::new();
        let axes = terms.iter().enumerate().filter(|(_, term)| term.extent > 1).map(|(d, term)| FormAxis {
            extent: term.extent,
            stride: shape.stride(d),
            unit: 0.5 * term.diffusion * term.wavenumber_unit * term.wavenumber_unit,
            fft: (term.extent != 3).then(|| planner.plan_fft_forward(term.extent)),
        });
        Self { shape: shape.clone(), axes: axes.collect() }
    }

    /// Re Σ (wΨ)* TΨ. Panics if pages and shape disagree.
    ///
    /// - equation: ½ Σ_d D^{dd} Re Σ_k (wΨ)^*_k k_d² Ψ̂_k; on a ring of three T is ½D(2π/L)²/3 times the graph
    ///   Laplacian, so the sum is over pairs, Re (u_i − u_j)*(Ψ_i − Ψ_j) with u = wΨ
    /// - source: Parseval; Hermitian T
    /// - scheme and order: exact
    /// - stability bound: rounding only: differences before products, so that no large terms cancel
    /// - bytes and flops per node: 2 or 3 scalars per axis; 10 to 16 flops per ring, 10·log₂ N_d per transform
    pub fn value<T: Real>(
        &self,
        level: Level,
        threads: Threads<'_>,
        pages: &[PageRef<'_, T>],
        weight: Values<'_, T>,
    ) -> f64 {
        assert!(
            pages.len() == self.shape.n_pages() && pages.iter().all(|p| p.re.len() == self.shape.page_nodes)
        );
        let mut sum = 0.0;
        for axis in &self.axes {
            let chunk = |c: usize| {
                let work = FormChunk { axis, shape: &self.shape, pages, weight, index: c };
                T::form_chunk(level, work)
            };
            let parts = map_chunks(threads, axis.n_chunks(&self.shape), chunk);
            sum += axis.scale() * parts.into_iter().fold(0.0, |sum, part| sum + part);
        }
        sum
    }

    /// Ψ ← e^{−iT·duration}Ψ of a field in double precision, planes in storage order. For building, not for a tick.
    pub fn propagate(&self, re: &mut [f64], im: &mut [f64], duration: f64) {
        assert!(re.len() == self.shape.n_nodes() && im.len() == re.len());
        let mut planner = FftPlannerScalar::new();
        for axis in &self.axes {
            let (n, stride) = (axis.extent, axis.stride);
            let (forward, inverse) = (planner.plan_fft_forward(n), planner.plan_fft_inverse(n));
            let phase = |m: usize| {
                let (sin, cos) = libm::sincos(-duration * axis.unit * axis.mode(m));
                Complex::new(cos / n as f64, sin / n as f64)
            };
            let phases: Vec<Complex<f64>> = (0..n).map(phase).collect();
            let mut line = vec![Complex::new(0.0, 0.0); n];
            for index in 0..re.len() / n {
                let base = index / stride * n * stride + index % stride;
                for (i, z) in line.iter_mut().enumerate() {
                    *z = Complex::new(re[base + i * stride], im[base + i * stride]);
                }
                forward.process(&mut line);
                line.iter_mut().zip(&phases).for_each(|(z, phase)| *z *= phase);
                inverse.process(&mut line);
                for (i, z) in line.iter().enumerate() {
                    (re[base + i * stride], im[base + i * stride]) = (z.re, z.im);
                }
            }
        }
    }
}

impl FormAxis {
    fn crosses_pages(&self, shape: &Shape) -> bool {
        self.extent * self.stride > shape.page_nodes
    }

    fn n_chunks(&self, shape: &Shape) -> usize {
        match (&self.fft, self.crosses_pages(shape)) {
            (Some(_), _) => (shape.n_nodes() / self.extent).div_ceil(LINES),
            (None, true) => shape.n_pages() / 3,
            (None, false) => shape.n_pages(),
        }
    }

    /// Factor of the sum over pairs (rings) or modes.
    fn scale(&self) -> f64 {
        if self.fft.is_some() { self.unit } else { self.unit / 3.0 }
    }

    /// k² of mode `m` in units of (2π/L)².
    fn mode(&self, m: usize) -> f64 {
        let signed = if 2 * m > self.extent { m as f64 - self.extent as f64 } else { m as f64 };
        signed * signed
    }
}

/// One partial sum of one axis.
#[doc(hidden)]
pub struct FormChunk<'a, T> {
    axis: &'a FormAxis,
    shape: &'a Shape,
    pages: &'a [PageRef<'a, T>],
    weight: Values<'a, T>,
    index: usize,
}

impl<'a, T: Real> FormChunk<'a, T> {
    pub(crate) fn sum(self, level: Level) -> f64 {
        if self.axis.fft.is_some() {
            return self.lines();
        }
        crate::simd::dispatch(level, RingChunk(self))
    }

    /// Lines of a transformed axis.
    fn lines(&self) -> f64 {
        let (n, stride) = (self.axis.extent, self.axis.stride);
        let n_lines = self.shape.n_nodes() / n;
        let Some(forward) = &self.axis.fft else { return 0.0 };
        let is_uniform = match self.weight {
            Values::Uniform(weight) => Some(weight.to_f64()),
            Values::PerNode(_) => None,
        };
        let mut line = vec![Complex::new(0.0, 0.0); n];
        let mut weighted = vec![Complex::new(0.0, 0.0); n];
        let mut scratch = vec![Complex::new(0.0, 0.0); forward.get_inplace_scratch_len()];
        let mut sum = 0.0;
        for index in self.index * LINES..n_lines.min((self.index + 1) * LINES) {
            let mut at = index / stride * n * stride + index % stride;
            for (z, u) in line.iter_mut().zip(&mut weighted) {
                let (page, i) = (at / self.shape.page_nodes, at % self.shape.page_nodes);
                *z = Complex::new(self.pages[page].re[i].to_f64(), self.pages[page].im[i].to_f64());
                if let Values::PerNode(weight) = self.weight {
                    *u = *z * weight[page][i].to_f64();
                }
                at += stride;
            }
            forward.process_with_scratch(&mut line, &mut scratch);
            if is_uniform.is_none() {
                forward.process_with_scratch(&mut weighted, &mut scratch);
            }
            for (m, z) in line.iter().enumerate() {
                let power = match is_uniform {
                    Some(weight) => weight * z.norm_sqr(),
                    None => weighted[m].re * z.re + weighted[m].im * z.im,
                };
                sum += self.axis.mode(m) * power;
            }
        }
        sum / n as f64
    }

    fn run(&self, page: usize, range: Range<usize>) -> Run<'a, T> {
        Run {
            re: &self.pages[page].re[range.clone()],
            im: &self.pages[page].im[range.clone()],
            weight: on_page(self.weight, page).map(|weight| &weight[range]),
        }
    }
}

/// Contiguous nodes with their weights.
#[derive(Clone, Copy)]
struct Run<'a, T> {
    re: &'a [T],
    im: &'a [T],
    weight: Result<&'a [T], T>,
}

struct RingChunk<'a, T>(FormChunk<'a, T>);

impl<T: Real> Kernel<T> for RingChunk<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let FormChunk { axis, shape, index, .. } = self.0;
        let (stride, nodes) = (axis.stride, shape.page_nodes);
        let mut sum = Accumulator::<V>::new();
        if axis.crosses_pages(shape) {
            let step = stride / nodes;
            let page = index / step * 3 * step + index % step;
            let runs = [0, 1, 2].map(|k| self.0.run(page + k * step, 0..nodes));
            bonds_of_runs(&runs, &mut sum);
        } else if stride < RUN_MIN {
            bonds_of_page(&self.0.run(index, 0..nodes), stride, &mut sum);
        } else {
            for base in (0..nodes).step_by(3 * stride) {
                let runs = [0, 1, 2].map(|k| self.0.run(index, base + k * stride..base + (k + 1) * stride));
                bonds_of_runs(&runs, &mut sum);
            }
        }
        sum.total()
    }
}

/// Lanes `i..` of a slice, zeros beyond its end.
#[inline(always)]
fn load<V: Lanes>(x: &[V::T], i: usize) -> V {
    let rest = x.len().saturating_sub(i);
    let start = x.as_ptr().wrapping_add(i);
    // SAFETY: the slice has `rest` scalars from `i` on; N are read where there are so many, else `rest`, which may be none.
    unsafe { if rest >= V::N { V::load(start) } else { V::load_n(start, rest) } }
}

/// Ψ and wΨ of a vector of nodes.
#[derive(Clone, Copy)]
struct Pair<V> {
    re: V,
    im: V,
    weighted_re: V,
    weighted_im: V,
}

impl<V: Lanes> Pair<V> {
    #[inline(always)]
    fn load(run: &Run<'_, V::T>, i: usize) -> Self {
        let (re, im) = (load::<V>(run.re, i), load::<V>(run.im, i));
        let weight = match run.weight {
            Ok(slice) => load::<V>(slice, i),
            Err(uniform) => V::splat(uniform),
        };
        Self { re, im, weighted_re: weight.mul(re), weighted_im: weight.mul(im) }
    }

    /// Re (u − u')*(Ψ − Ψ').
    #[inline(always)]
    fn bond(&self, other: &Self) -> V {
        let re = self.re.sub(other.re).mul(self.weighted_re.sub(other.weighted_re));
        self.im.sub(other.im).mul_add(self.weighted_im.sub(other.weighted_im), re)
    }
}

/// Three runs that face each other along a ring.
#[inline(always)]
fn bonds_of_runs<V: Lanes>(runs: &[Run<'_, V::T>; 3], sum: &mut Accumulator<V>) {
    let [a, b, c] = runs;
    for i in (0..a.re.len()).step_by(V::N) {
        let (a, b, c) = (Pair::<V>::load(a, i), Pair::<V>::load(b, i), Pair::<V>::load(c, i));
        sum.add(a.bond(&b).add(b.bond(&c)).add(c.bond(&a)));
    }
}

/// A ring axis of small stride on a whole page: every node looks one and two strides ahead, masked by its position.
#[inline(always)]
fn bonds_of_page<V: Lanes>(page: &Run<'_, V::T>, stride: usize, sum: &mut Accumulator<V>) {
    let period = 3 * stride;
    let (one, zero) = (V::T::from_f64(1.0), V::T::default());
    let mut near = [zero; 3 * RUN_MIN + 16];
    let mut far = near;
    for k in 0..period + 16 {
        let position = k % period / stride;
        near[k] = if position < 2 { one } else { zero };
        far[k] = if position == 0 { one } else { zero };
    }
    for i in (0..page.re.len()).step_by(V::N) {
        let k = i % period;
        let here = Pair::<V>::load(page, i);
        let (next, last) = (Pair::<V>::load(page, i + stride), Pair::<V>::load(page, i + 2 * stride));
        let bonds = load::<V>(&near, k).mul(here.bond(&next));
        sum.add(load::<V>(&far, k).mul_add(here.bond(&last), bonds));
    }
}

/// Σ wρ(V + βρ), ρ = |Ψ|²: the local part of Re⟨wΨ, hΨ⟩.
///
/// - equation: as above
/// - source: h = T + V + β|Ψ|²
/// - scheme and order: exact, f64 sums over pages in order
/// - stability bound: rounding below 1e-13 relative for terms of one sign
/// - bytes and flops per node: 3 or 4 scalars, 8 flops
pub fn local_form<T: Real>(
    level: Level,
    threads: Threads<'_>,
    pages: &[PageRef<'_, T>],
    potential: Values<'_, T>,
    beta: f64,
    weight: Values<'_, T>,
) -> f64 {
    let chunk = |page: usize| {
        let PageRef { re, im } = pages[page];
        let weighted = Run { re, im, weight: on_page(weight, page) };
        T::local_form(level, LocalForm { weighted, potential: on_page(potential, page), beta })
    };
    map_chunks(threads, pages.len(), chunk).into_iter().fold(0.0, |sum, part| sum + part)
}

/// A quantity on one page: per node, or uniform.
fn on_page<T: Real>(values: Values<'_, T>, page: usize) -> Result<&[T], T> {
    match values {
        Values::Uniform(value) => Err(value),
        Values::PerNode(slices) => Ok(slices[page]),
    }
}

/// One page of [`local_form`].
#[doc(hidden)]
pub struct LocalForm<'a, T> {
    weighted: Run<'a, T>,
    potential: Result<&'a [T], T>,
    beta: f64,
}

impl<T: Real> Kernel<T> for LocalForm<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let mut sum = Accumulator::<V>::new();
        let beta = V::splat(T::from_f64(self.beta));
        for i in (0..self.weighted.re.len()).step_by(V::N) {
            let node = Pair::<V>::load(&self.weighted, i);
            let v = match self.potential {
                Ok(slice) => load::<V>(slice, i),
                Err(uniform) => V::splat(uniform),
            };
            let density = node.im.mul_add(node.im, node.re.mul(node.re));
            let weighted = node.weighted_im.mul_add(node.im, node.weighted_re.mul(node.re));
            sum.add(weighted.mul(beta.mul_add(density, v)));
        }
        sum.total()
    }
}

#[cfg(test)]
mod tests;
