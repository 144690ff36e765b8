//! A metric that varies in space, and one that learns.
//!
//! Invariant: plain data. Tensors on a page are packed component after component over the torus' storage axes, upper
//! triangle row by row, one number per cell of the page.

use crate::column::Column;
use crate::fill::Profile;
use crate::geometry::axis::Axis;
use crate::torus::Torus;
use bevy_ecs::prelude::Component;

/// D^{ij}(x) = c² g^{ij}(x), where it is not the constant diagonal of the wave's parameters.
#[derive(Debug, Clone)]
pub struct MetricProfile {
    /// D^{dd} along r…z.
    pub diagonal: [Profile; 9],
    /// D^{ij} = D^{ji} of pairs of different axes, each pair once.
    pub off_diagonal: Vec<(Axis, Axis, Profile)>,
}

/// What a cell of the plastic metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CellRule {
    /// 3 × 3 × 3 nodes along x, y, z, where the page's shape allows: a structure tensor needs a window to have rank.
    #[default]
    Block,
    /// Every node.
    Node,
}

impl CellRule {
    /// Nodes of a cell along r…z. A cell never crosses a page.
    pub fn shape(self, torus: &Torus) -> [usize; 9] {
        let mut shape = [1; 9];
        if self == Self::Block {
            for axis in [Axis::X, Axis::Y, Axis::Z] {
                let nodes = torus.page_shape()[axis.index()];
                shape[axis.index()] = if nodes.is_multiple_of(3) { 3 } else { 1 };
            }
        }
        shape
    }
}

/// ∂g/∂t = −η(D)·C − λ(S)·(g − g₀) on every cell; g₀ is the inverse of the scene's constant metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plasticity {
    /// c = c0/(1 + ŝ): D = c² g⁻¹.
    pub speed: f64,
    /// η at rest: how fast the metric yields, 1/time.
    pub eta: f64,
    /// λ scale: how fast it returns, 1/time.
    pub lambda: f64,
    /// What a cell is.
    pub cell: CellRule,
    /// A cell is updated every so many ticks, a rotating share of the cells each tick.
    pub every: u64,
    /// g⁻¹ is renewed where a component of g moved by more than this.
    pub tolerance: f64,
    /// Mean |∇Ψ|² below which a wave leaves no trace.
    pub gradient_floor: f64,
    /// One application of the off-diagonal remainder stands for so many ticks (odd).
    pub remainder_every: u64,
}

impl Default for Plasticity {
    fn default() -> Self {
        Self {
            speed: 1.0,
            eta: 0.1,
            lambda: 0.1,
            cell: CellRule::Block,
            every: 8,
            tolerance: 1e-4,
            gradient_floor: 1e-12,
            remainder_every: 5,
        }
    }
}

/// The covariant metric g of a page's cells. Double precision: an update of λ·dt ≈ 1e-5 relative would stall in
/// single precision four decimals before its equilibrium.
#[derive(Debug, Component)]
pub struct MetricCells {
    /// g now.
    pub g: Column<f64>,
    /// g that the propagators stand for: as it was when last factorised.
    pub factorised: Column<f64>,
}
