//! The kinetic flow exp(−iτT) of a constant diagonal metric, axis by axis.
//! Invariant: axes commute, so any order gives the same operator. Source: numerics of split-step Fourier schemes.

use std::sync::atomic::{AtomicU64, Ordering};

use rustfft::{Fft, FftPlannerScalar, num_complex::Complex};

use crate::field::{PageMut, Real, Shape, Threads};
use crate::half_potential::{self, LocalFlow, Time};
use crate::simd::Level;

/// Kinetic term of one storage axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AxisTerm {
    /// Nodes along the axis.
    pub extent: usize,
    /// 2π/L.
    pub wavenumber_unit: f64,
    /// D^{dd} = c²·g^{dd}.
    pub diffusion: f64,
}

/// Attributes time inside fused sweeps; the default measures nothing.
#[derive(Debug, Default)]
pub struct Probe {
    /// A monotonic clock in nanoseconds.
    pub now_nanos: Option<fn() -> u64>,
    /// Nanoseconds of processor time spent in local flows, summed over chunks.
    pub local_nanos: AtomicU64,
    /// Nanoseconds of processor time spent in kinetic passes, summed over chunks.
    pub kinetic_nanos: AtomicU64,
}

impl Probe {
    fn now(&self) -> u64 {
        self.now_nanos.map_or(0, |f| f())
    }
}

struct Axis<T: Real> {
    extent: usize,
    stride: usize,
    table: Vec<Complex<f64>>,
    forward: std::sync::Arc<dyn Fft<T::Num>>,
    inverse: std::sync::Arc<dyn Fft<T::Num>>,
}

/// A planned kinetic flow.
pub struct Kinetic<T: Real> {
    level: Level,
    page_nodes: usize,
    axes: Vec<Axis<T>>,
}

impl<T: Real> Kinetic<T> {
    /// Plans the flow over `duration`: exp(−i·duration·½ΣD k²) in real time, exp(−duration·½ΣD k²) in imaginary time.
    pub fn new(level: Level, shape: &Shape, axes: &[AxisTerm], duration: f64, time: Time) -> Self {
        assert_eq!(shape.extents.len(), axes.len());
        let mut planner = FftPlannerScalar::new();
        let axes = axes
            .iter()
            .enumerate()
            .map(|(d, term)| {
                let n = term.extent;
                assert_eq!(n, shape.extents[d]);
                let table = (0..n)
                    .map(|m| {
                        let signed = if 2 * m > n { m as f64 - n as f64 } else { m as f64 };
                        let k = signed * term.wavenumber_unit;
                        let theta = 0.5 * duration * term.diffusion * k * k;
                        match time {
                            Time::Real => Complex::new(libm::cos(theta), -libm::sin(theta)) / n as f64,
                            Time::Imaginary { .. } => Complex::new(libm::exp(-theta) / n as f64, 0.0),
                        }
                    })
                    .collect();
                Axis {
                    extent: n,
                    stride: shape.stride(d),
                    table,
                    forward: planner.plan_fft_forward(n),
                    inverse: planner.plan_fft_inverse(n),
                }
            })
            .collect();
        Kinetic { level, page_nodes: shape.page_nodes, axes }
    }

    fn run(&self, pages: &mut [PageMut<'_, T>], inner: bool) {
        let nodes = self.page_nodes * pages.len();
        for axis in self.axes.iter().filter(|a| a.extent > 1 && (a.extent * a.stride <= self.page_nodes) == inner) {
            let mut line = vec![Complex::new(T::default().to_num(), T::default().to_num()); axis.extent];
            for block in 0..nodes / (axis.extent * axis.stride) {
                for j in 0..axis.stride {
                    let base = block * axis.extent * axis.stride + j;
                    for (r, z) in line.iter_mut().enumerate() {
                        let at = base + r * axis.stride;
                        let (p, i) = (at / self.page_nodes, at % self.page_nodes);
                        *z = Complex::new(pages[p].re[i].to_num(), pages[p].im[i].to_num());
                    }
                    axis.forward.process(&mut line);
                    for (z, t) in line.iter_mut().zip(&axis.table) {
                        let w = Complex::new(T::from_num(z.re).to_f64(), T::from_num(z.im).to_f64()) * t;
                        *z = Complex::new(T::from_f64(w.re).to_num(), T::from_f64(w.im).to_num());
                    }
                    axis.inverse.process(&mut line);
                    for (r, z) in line.iter().enumerate() {
                        let at = base + r * axis.stride;
                        let (p, i) = (at / self.page_nodes, at % self.page_nodes);
                        pages[p].re[i] = T::from_num(z.re);
                        pages[p].im[i] = T::from_num(z.im);
                    }
                }
            }
        }
    }

    /// Opening local flow, then the axes inside a page.
    pub fn sweep_inner(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        opening: Option<&LocalFlow<'_, T>>,
        probe: &Probe,
    ) {
        let start = probe.now();
        if let Some(flow) = opening {
            half_potential::apply(self.level, threads, pages, flow);
        }
        let middle = probe.now();
        self.run(pages, true);
        probe.local_nanos.fetch_add(middle - start, Ordering::Relaxed);
        probe.kinetic_nanos.fetch_add(probe.now() - middle, Ordering::Relaxed);
    }

    /// Axes that cross pages, then the closing local flow.
    pub fn sweep_outer(
        &self,
        threads: Threads<'_>,
        pages: &mut [PageMut<'_, T>],
        closing: Option<&LocalFlow<'_, T>>,
        probe: &Probe,
    ) {
        let start = probe.now();
        self.run(pages, false);
        let middle = probe.now();
        if let Some(flow) = closing {
            half_potential::apply(self.level, threads, pages, flow);
        }
        probe.kinetic_nanos.fetch_add(middle - start, Ordering::Relaxed);
        probe.local_nanos.fetch_add(probe.now() - middle, Ordering::Relaxed);
    }

    /// Which scheme each storage axis runs.
    pub fn describe(&self) -> Vec<String> {
        self.axes.iter().map(|a| format!("rustfft {}", a.extent)).collect()
    }

    /// Bytes of tables and scratch.
    pub fn bytes(&self) -> usize {
        self.axes.iter().map(|a| a.table.len() * size_of::<Complex<f64>>()).sum()
    }
}
