//! Sums over the field in f64. Invariant: fixed chunks in a fixed order, whatever the threads or the level.
//! Source: definitions of norm, interaction, potential and damping integrals.

use rustfft::{FftPlannerScalar, num_complex::Complex};

use crate::field::{PageRef, Real, Shape, Threads, Values};
use crate::simd::Level;

/// Sums over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// Σ|Ψ|².
    pub norm2: f64,
    /// Σ|Ψ|⁴.
    pub quartic: f64,
    /// ΣV|Ψ|².
    pub potential: f64,
    /// ΣΓ|Ψ|².
    pub damping: f64,
    /// max |Ψ|².
    pub max_abs2: f64,
    /// Nodes whose |Ψ|² is not finite.
    pub n_nonfinite: u64,
}

/// Moments of the power spectrum along one axis.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpectralMoments {
    /// Σ|Ψ̂|²/N_d = Σ|Ψ|².
    pub weight: f64,
    /// Σ m|Ψ̂|²/N_d, m the signed mode number (0 for the Nyquist mode of even extents).
    pub first: f64,
    /// Σ m²|Ψ̂|²/N_d.
    pub second: f64,
}

/// All sums in one pass.
pub fn totals<T: Real>(
    _level: Level,
    _threads: Threads<'_>,
    pages: &[PageRef<'_, T>],
    potential: Values<'_, T>,
    damping: Values<'_, T>,
) -> Totals {
    let at = |values: &Values<'_, T>, p: usize, i: usize| match values {
        Values::Uniform(v) => v.to_f64(),
        Values::PerNode(s) => s[p][i].to_f64(),
    };
    let mut sum = Totals::default();
    for (p, page) in pages.iter().enumerate() {
        for i in 0..page.re.len() {
            let (re, im) = (page.re[i].to_f64(), page.im[i].to_f64());
            let d = re * re + im * im;
            if !d.is_finite() {
                sum.n_nonfinite += 1;
            }
            sum.norm2 += d;
            sum.quartic += d * d;
            sum.potential += at(&potential, p, i) * d;
            sum.damping += at(&damping, p, i) * d;
            sum.max_abs2 = sum.max_abs2.max(d);
        }
    }
    sum
}

/// Σ|Ψ|².
pub fn norm2<T: Real>(_level: Level, _threads: Threads<'_>, pages: &[PageRef<'_, T>]) -> f64 {
    let mut sum = 0.0;
    for page in pages {
        for (re, im) in page.re.iter().zip(page.im) {
            sum += re.to_f64() * re.to_f64() + im.to_f64() * im.to_f64();
        }
    }
    sum
}

/// Moments of the spectrum along storage axis `axis`.
pub fn spectral_moments<T: Real>(
    _level: Level,
    _threads: Threads<'_>,
    shape: &Shape,
    axis: usize,
    pages: &[PageRef<'_, T>],
) -> SpectralMoments {
    let (n, stride) = (shape.extents[axis], shape.stride(axis));
    let fft = FftPlannerScalar::<T::Num>::new().plan_fft_forward(n);
    let mut line = vec![Complex::new(T::default().to_num(), T::default().to_num()); n];
    let mut sum = SpectralMoments::default();
    for block in 0..shape.n_nodes() / (n * stride) {
        for j in 0..stride {
            for (r, z) in line.iter_mut().enumerate() {
                let at = block * n * stride + j + r * stride;
                let page = &pages[at / shape.page_nodes];
                let i = at % shape.page_nodes;
                *z = Complex::new(page.re[i].to_num(), page.im[i].to_num());
            }
            fft.process(&mut line);
            for (m, z) in line.iter().enumerate() {
                let (re, im) = (T::from_num(z.re).to_f64(), T::from_num(z.im).to_f64());
                let power = (re * re + im * im) / n as f64;
                let signed = if 2 * m > n { m as f64 - n as f64 } else { m as f64 };
                sum.weight += power;
                sum.first += if 2 * m == n { 0.0 } else { signed * power };
                sum.second += signed * signed * power;
            }
        }
    }
    sum
}

/// Σ conj(a)·b as (re, im).
pub fn inner<T: Real>(a: &[PageRef<'_, T>], b: &[PageRef<'_, T>]) -> (f64, f64) {
    let (mut re, mut im) = (0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        for i in 0..x.re.len() {
            let (xr, xi) = (x.re[i].to_f64(), x.im[i].to_f64());
            let (yr, yi) = (y.re[i].to_f64(), y.im[i].to_f64());
            re += xr * yr + xi * yi;
            im += xr * yi - xi * yr;
        }
    }
    (re, im)
}
