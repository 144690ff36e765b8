//! Derivatives along axes and the kinetic energy of a varying metric, by the very discretisation that propagates.
//!
//! Invariant: ⟨Ψ|T|Ψ⟩ = ½ Σ_ij Σ_n D^{ij} Re(∂_iΨ* ∂_jΨ) with the Fourier derivative, plus the Nyquist modes of even
//! axes; in f64 whatever the state's precision, pages in order. Source: `fibre.rs` for one line.

use super::bundle::{AxisPass, Table};
use super::direct::DirectPlan;
use super::fft::FftPlan;
use super::varying::Diffusion;
use super::{Axis, Scheme, ring3};
use crate::field::{PageMut, PageRef, Real, Shape, Threads};
use crate::half_potential::Planes;
use crate::simd::Level;

/// The pass Ψ → ∂Ψ along storage axis `axis`.
pub(crate) fn derivative_pass<T: Real>(shape: &Shape, axis: usize, spacing: f64) -> AxisPass<T> {
    derivative_times(1.0, shape, axis, spacing)
}

/// The pass Ψ → `factor`·∂Ψ along storage axis `axis`.
pub(crate) fn derivative_times<T: Real>(
    factor: f64,
    shape: &Shape,
    axis: usize,
    spacing: f64,
) -> AxisPass<T> {
    let extent = shape.extents[axis];
    if extent == 3 {
        let slope = Table::Slope(T::from_f64(factor * ring3::slope(spacing)));
        return AxisPass::new(shape, axis, slope, |_| 0);
    }
    let nyquist = core::f64::consts::PI / spacing;
    let is_nyquist = |k: f64| extent.is_multiple_of(2) && k >= nyquist * (1.0 - 1e-9);
    operator_pass(shape, axis, spacing, |k| (0.0, factor * if is_nyquist(k) { 0.0 } else { k }))
}

/// The pass along storage axis `axis` that multiplies the mode of wavenumber k with `symbol(k)`, (re, im); the Nyquist mode of
/// an even axis has k > 0.
pub(crate) fn operator_pass<T: Real>(
    shape: &Shape,
    axis: usize,
    spacing: f64,
    symbol: impl Fn(f64) -> (f64, f64),
) -> AxisPass<T> {
    let extent = shape.extents[axis];
    let unit = core::f64::consts::TAU / (extent as f64 * spacing);
    let value = |mode: usize| {
        let signed = if 2 * mode > extent { mode as f64 - extent as f64 } else { mode as f64 };
        symbol(signed * unit)
    };
    let scheme = match FftPlan::operator(extent, value) {
        Some(plan) => Scheme::Fft(plan),
        None => Scheme::Direct(DirectPlan::new(0.0, &(0..extent).map(value).collect::<Vec<_>>())),
    };
    let table = Table::Transforms(vec![Axis { extent, stride: shape.stride(axis), scheme }]);
    AxisPass::new(shape, axis, table, |_| 0)
}

/// A field in double precision, and its derivatives.
#[derive(Debug, Clone)]
pub(crate) struct Wide {
    pub re: Vec<f64>,
    pub im: Vec<f64>,
}

impl Wide {
    pub fn of<T: Real>(pages: &[PageRef<'_, T>]) -> Self {
        Wide {
            re: pages.iter().flat_map(|page| page.re.iter().map(|x| x.to_f64())).collect(),
            im: pages.iter().flat_map(|page| page.im.iter().map(|x| x.to_f64())).collect(),
        }
    }

    /// Raw planes, page after page; they are good as long as nothing else touches the field.
    pub fn planes(&mut self, page_nodes: usize) -> Vec<Planes<f64>> {
        let pages = self.re.chunks_mut(page_nodes).zip(self.im.chunks_mut(page_nodes));
        pages.map(|(re, im)| Planes::of(&mut PageMut { re, im })).collect()
    }

    /// Re (a*b) on a node.
    pub fn dot(&self, other: &Wide, node: usize) -> f64 {
        self.re[node] * other.re[node] + self.im[node] * other.im[node]
    }

    /// Adds a multiple of another field.
    pub fn add(&mut self, factor: f64, other: &Wide) {
        self.re.iter_mut().zip(&other.re).for_each(|(x, y)| *x += factor * y);
        self.im.iter_mut().zip(&other.im).for_each(|(x, y)| *x += factor * y);
    }

    pub fn derivative(&self, shape: &Shape, axis: usize, spacing: f64) -> Wide {
        let mut to = self.clone();
        let planes = to.planes(shape.page_nodes);
        derivative_pass::<f64>(shape, axis, spacing).run(Level::detect(), Threads::Serial, &planes);
        to
    }
}

/// Σ over nodes of the kinetic energy's density: times the volume of a node, ⟨Ψ|T|Ψ⟩. Allocates derivatives as it
/// goes; meant for observation. Panics if pages and shape disagree.
pub fn energy<T: Real>(diffusion: &Diffusion, pages: &[PageRef<'_, T>]) -> f64 {
    let shape = &diffusion.grid.shape;
    assert!(pages.len() == shape.n_pages() && pages.iter().all(|p| p.re.len() == shape.page_nodes));
    energy_of(diffusion, &Wide::of(pages))
}

fn energy_of(diffusion: &Diffusion, psi: &Wide) -> f64 {
    let grid = &diffusion.grid;
    let n = grid.shape.n_nodes();
    let cells: Vec<u32> = (0..n).map(|node| grid.cell_of_node(node) as u32).collect();
    let mut gradients: Vec<Option<Wide>> = (0..grid.cell.len()).map(|_| None).collect();
    let couples =
        |axis: usize| diffusion.off_diagonal.iter().any(|pair| pair.axes.0 == axis || pair.axes.1 == axis);
    let mut sum = 0.0;
    for axis in (0..grid.cell.len()).filter(|&axis| grid.shape.extents[axis] > 1) {
        let gradient = psi.derivative(&grid.shape, axis, grid.spacing[axis]);
        sum += (0..n).fold(0.0, |sum, node| {
            let (re, im) = (gradient.re[node], gradient.im[node]);
            sum + 0.5 * diffusion.at(axis, cells[node] as usize) * (re * re + im * im)
        });
        sum += nyquist(diffusion, axis, psi, &cells);
        if couples(axis) {
            gradients[axis] = Some(gradient);
        }
    }
    for pair in &diffusion.off_diagonal {
        if let (Some(a), Some(b)) = (&gradients[pair.axes.0], &gradients[pair.axes.1]) {
            sum += (0..n).fold(0.0, |sum, node| {
                let product = a.re[node] * b.re[node] + a.im[node] * b.im[node];
                sum + pair.values[cells[node] as usize] * product
            });
        }
    }
    sum
}

/// The Nyquist modes of an even axis, weighed with the line's mean D.
fn nyquist(diffusion: &Diffusion, axis: usize, psi: &Wide, cells: &[u32]) -> f64 {
    let grid = &diffusion.grid;
    let (extent, stride) = (grid.shape.extents[axis], grid.shape.stride(axis));
    if !extent.is_multiple_of(2) {
        return 0.0;
    }
    let k = core::f64::consts::PI / grid.spacing[axis];
    let line = |line: usize| {
        let first = line / stride * extent * stride + line % stride;
        let (mut re, mut im, mut mean) = (0.0, 0.0, 0.0);
        for node in 0..extent {
            let at = first + node * stride;
            let sign = if node.is_multiple_of(2) { 1.0 } else { -1.0 };
            re += sign * psi.re[at];
            im += sign * psi.im[at];
            mean += diffusion.at(axis, cells[at] as usize) / extent as f64;
        }
        0.5 * k * k * mean * (re * re + im * im) / extent as f64
    };
    (0..grid.shape.n_nodes() / extent).fold(0.0, |sum, l| sum + line(l))
}
