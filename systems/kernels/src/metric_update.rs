//! Plastic metric: per cell a symmetric positive definite tensor g that relaxes towards g₀ and yields where the wave
//! runs. Invariant: everything is f64; a cell depends on its own g and the wave in it alone, and cells are cut by
//! number, so neither threads nor the SIMD level change a bit. Tensors are packed row by row of the upper triangle,
//! component after component (structure of arrays), over the storage axes. Derivatives and their products on a cell are
//! formed in the precision of Ψ.
//! Source: structure tensor (Bigün & Granlund 1987); exact flow of a linear relaxation; Cholesky.

#![allow(unsafe_code)] // Vector loads and stores through pointers.

mod energy;
mod mean;
mod place;
mod relaxation;
mod rings;
mod runs;
mod structure;

use core::ops::Range;

pub use energy::{kinetic_form, kinetic_forms};
pub use mean::log_mean;

pub use rings::RingForm;
pub use runs::RunStructure;
pub(crate) use runs::structure_on_runs;
pub use structure::StructurePass;

use self::place::CellPlace;
use self::rings::Rings;

use crate::field::{PageRef, Real, Threads};
use crate::kinetic::fibre::{derivative, diagonalise};
use crate::kinetic::remainder::AXES_MAX;
use crate::kinetic::varying::CellGrid;
use crate::simd::{Kernel, Lanes, Level, dispatch};
use crate::threads::map_long_chunks;

/// Eigenvalues of g are kept in this range.
pub const EIGENVALUE_MIN: f64 = 1e-3;
/// See [`EIGENVALUE_MIN`].
pub const EIGENVALUE_MAX: f64 = 1e3;

/// Most components.
pub const COMPONENTS_MAX: usize = AXES_MAX * (AXES_MAX + 1) / 2;
/// Cells that are factorised together: the lanes of an f64 vector.
pub const BATCH: usize = 8;
/// Cells that are relaxed together, component by component.
const BLOCK_CELLS: usize = 64;
/// Cells per chunk of the structure tensor.
const CHUNK_CELLS: usize = 32;
/// Chunks of cells, at least, where there are cells enough.
const CHUNKS_MIN: usize = 8;

/// Components of a symmetric tensor over `n` axes.
pub const fn n_components(n: usize) -> usize {
    n * (n + 1) / 2
}

/// Position of component (i, j), i ≤ j, over `n` axes.
pub const fn component(n: usize, i: usize, j: usize) -> usize {
    i * n - i * (i + 1) / 2 + j
}

/// Where cells find their neighbours: derivative coefficients and the shape of a cell, prepared once.
#[derive(Debug, Clone)]
pub struct CellStencil {
    grid: CellGrid,
    /// ∂ of each axis by offset.
    slopes: Vec<Vec<f64>>,
    /// First nodes of a cell's runs, relative to its first node.
    runs: Vec<usize>,
    /// Contiguous nodes of a run.
    run: usize,
    /// Of each axis whose lines lie wholly in a run: the other nodes of the line of each node of the run, by offset.
    turns: Vec<Option<Vec<u32>>>,
    /// The same where all lines are rings of three.
    rings: Option<Rings>,
}

impl CellStencil {
    /// Prepares the cells of `grid`.
    pub fn new(grid: &CellGrid) -> Self {
        let shape = &grid.shape;
        let axes = grid.cell.len();
        let mut run = 1;
        for d in (0..axes).rev() {
            run *= grid.cell[d];
            if grid.cell[d] != shape.extents[d] {
                break;
            }
        }
        let inside =
            |node: usize| (0..axes).all(|d| node / shape.stride(d) % shape.extents[d] < grid.cell[d]);
        let reach: usize = (0..axes).map(|d| (grid.cell[d] - 1) * shape.stride(d)).sum();
        let slopes = (0..axes).map(|d| {
            let extent = shape.extents[d];
            (0..extent).map(|offset| derivative(extent, offset, grid.spacing[d])).collect()
        });
        let turns = (0..axes).map(|d| {
            let (extent, stride) = (shape.extents[d], shape.stride(d));
            (grid.cell[d] == extent && extent * stride <= run).then(|| {
                let others = |node: usize| {
                    let coordinate = node / stride % extent;
                    (1..extent).map(move |offset| {
                        (node - coordinate * stride + (coordinate + extent - offset) % extent * stride) as u32
                    })
                };
                (0..run).flat_map(others).collect()
            })
        });
        CellStencil {
            turns: turns.collect(),
            slopes: slopes.collect(),
            runs: (0..=reach).step_by(run).filter(|&node| inside(node)).collect(),
            run,
            rings: Rings::new(grid),
            grid: grid.clone(),
        }
    }

    /// The cells.
    pub fn grid(&self) -> &CellGrid {
        &self.grid
    }

    /// The place of a cell, from which the next ones are found without division.
    fn place(&self, cell: usize) -> CellPlace {
        let (axes, grid) = (self.grid.cell.len(), &self.grid);
        let mut place = CellPlace::default();
        for d in 0..axes {
            (place.extents[d], place.cell[d]) = (grid.shape.extents[d], grid.cell[d]);
            place.strides[d] = grid.shape.stride(d);
            place.coordinates[d] = cell / grid.stride(d) % grid.extent(d) * grid.cell[d];
        }
        place
    }
}

/// Structure tensors of `cells`: Σ over a cell's nodes of Re(∂_iΨ ∂_jΨ*), component after component, `cells.len()`
/// numbers each, into `sums`. Panics if pages, shape and `sums` disagree.
///
/// - equation: S_ij = Σ_n Re(∂_iΨ ∂_jΨ*)
/// - source: the module's; ∂ as it propagates, see `kinetic/fibre.rs`
/// - scheme and order: exact
/// - stability bound: none
/// - bytes and flops per node: 2 scalars per axis and neighbour in cache, 4 flops per component
pub fn structure<T: Real>(
    level: Level,
    threads: Threads<'_>,
    stencil: &CellStencil,
    pages: &[PageRef<'_, T>],
    cells: Range<usize>,
    sums: &mut [f64],
) {
    let shape = &stencil.grid.shape;
    assert!(pages.len() == shape.n_pages() && pages.iter().all(|p| p.re.len() == shape.page_nodes));
    let components = n_components(stencil.grid.cell.len());
    assert_eq!(sums.len(), components * cells.len(), "a number per component and cell");
    // A cell sees no other: how they are cut never shows.
    let size = cells.len().div_ceil(CHUNKS_MIN).clamp(1, CHUNK_CELLS);
    let parts = map_long_chunks(threads, cells.len().div_ceil(size), |chunk| {
        let first = cells.start + chunk * size;
        let chunk = first..cells.end.min(first + size);
        T::structure_pass(level, StructurePass { stencil, pages, cells: chunk })
    });
    turn(&parts, (components, size), sums);
}

/// From parts of `size` cells, component after component, to all cells component after component.
fn turn(parts: &[Vec<f64>], (components, size): (usize, usize), sums: &mut [f64]) {
    let n_cells = sums.len() / components;
    for (c, sums) in sums.chunks_exact_mut(n_cells.max(1)).enumerate() {
        for (sums, part) in sums.chunks_mut(size).zip(parts) {
            sums.copy_from_slice(&part[c * sums.len()..][..sums.len()]);
        }
    }
}

/// Rates of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relaxation {
    /// η: how fast g yields, 1/time.
    pub eta: f64,
    /// λ: how fast it returns, 1/time.
    pub lambda: f64,
    /// Time since the cell's last update.
    pub duration: f64,
    /// Below this mean |∇Ψ|² the wave no longer counts.
    pub gradient_floor: f64,
}

/// g of some cells: `stride` numbers from one component to the next, cells contiguous.
#[derive(Debug)]
pub struct Tensors<'a> {
    /// The numbers.
    pub g: &'a mut [f64],
    /// Distance between components.
    pub stride: usize,
    /// First cell, within a component.
    pub first: usize,
}

/// Relaxes `n_cells` tensors over the axes of `rest`, a diagonal g₀.
///
/// - equation: ∂g/∂t = −ηC − λ(g − g₀), C = S / (tr S + floor)
/// - source: exact flow: g ← g₀ − (η/λ)C + e^{−λt}(g − g₀ + (η/λ)C)
/// - scheme and order: exact for a frozen wave
/// - stability bound: none
/// - bytes and flops per cell and component: 24 bytes, 6 flops
pub fn relax(
    level: Level,
    tensors: &mut Tensors<'_>,
    sums: &[f64],
    rest: &[f64],
    nodes: usize,
    rates: &Relaxation,
) {
    let n_cells = sums.len() / n_components(rest.len());
    let end = (n_components(rest.len()) - 1) * tensors.stride + tensors.first + n_cells;
    assert!(end <= tensors.g.len() && n_cells <= tensors.stride, "so many tensors");
    dispatch::<f64, _>(level, relaxation::Relax { tensors, sums, rest, nodes, rates });
}

/// Appends the cells, counted from the first of `tensors`, of which a component is more than `tolerance` away from
/// `factorised`, or is no number.
pub fn moved(
    level: Level,
    tensors: &Tensors<'_>,
    factorised: &[f64],
    components: usize,
    n_cells: usize,
    tolerance: f64,
    found: &mut Vec<usize>,
) {
    let end = (components - 1) * tensors.stride + tensors.first + n_cells;
    assert!(end <= tensors.g.len() && end <= factorised.len(), "so many tensors");
    for block in (0..n_cells).step_by(BLOCK_CELLS) {
        let cells = block..n_cells.min(block + BLOCK_CELLS);
        let far = relaxation::Far { tensors, factorised, components, cells: cells.clone() };
        let far = dispatch::<f64, _>(level, far);
        // What is no number is not near.
        found.extend(cells.clone().filter(|k| far[k - block] > tolerance || far[k - block].is_nan()));
    }
}

/// Whether every number is one.
pub fn is_finite(level: Level, numbers: &[f64]) -> bool {
    dispatch::<f64, _>(level, relaxation::Finite { numbers })
}

/// What became of up to eight tensors.
#[derive(Debug, Clone, Copy)]
pub struct Factorised {
    /// g⁻¹, lane after lane within a component.
    pub inverse: [[f64; BATCH]; COMPONENTS_MAX],
    /// Whether eigenvalues had to be moved into the allowed range.
    pub was_projected: [bool; BATCH],
}

/// Inverts g of at most eight cells (`lanes[c]` holds component c of each) through Cholesky factors; where an
/// eigenvalue left [`EIGENVALUE_MIN`]…[`EIGENVALUE_MAX`], g is projected back first.
///
/// - equation: g = LLᵀ, g⁻¹ = L⁻ᵀL⁻¹
/// - source: Golub & Van Loan, 4.2; the guard factorises g − min·1, which succeeds only if every eigenvalue is above
/// - scheme and order: exact
/// - stability bound: condition number 10⁶ at most after projection
/// - bytes and flops per cell: 8 per component, n³ flops
pub fn factorise(level: Level, axes: usize, g: &mut [[f64; BATCH]; COMPONENTS_MAX]) -> Factorised {
    let lowest = dispatch::<f64, _>(level, LowestPivot { axes, g });
    let mut was_projected = [false; BATCH];
    for (lane, lowest) in lowest.iter().enumerate() {
        let trace: f64 = (0..axes).map(|i| g[component(axes, i, i)][lane]).sum();
        if !(*lowest > 0.0 && trace <= EIGENVALUE_MAX) {
            was_projected[lane] = project(axes, g, lane);
        }
    }
    Factorised { inverse: inverse(level, axes, g), was_projected }
}

/// The inverses of up to eight positive definite tensors, as they are: g from g⁻¹, or g⁻¹ from g; see [`factorise`].
pub fn inverse(
    level: Level,
    axes: usize,
    g: &[[f64; BATCH]; COMPONENTS_MAX],
) -> [[f64; BATCH]; COMPONENTS_MAX] {
    dispatch::<f64, _>(level, Invert { axes, g })
}

/// Moves the eigenvalues of one lane into the allowed range; says whether any was outside.
fn project(axes: usize, g: &mut [[f64; BATCH]; COMPONENTS_MAX], lane: usize) -> bool {
    let at = |i: usize, j: usize| component(axes, i.min(j), i.max(j));
    let mut a: Vec<f64> = (0..axes * axes).map(|ij| g[at(ij / axes, ij % axes)][lane]).collect();
    let vectors = diagonalise(&mut a, axes);
    let eigenvalues: Vec<f64> = (0..axes).map(|e| a[e * axes + e]).collect();
    if eigenvalues.iter().all(|value| (EIGENVALUE_MIN..=EIGENVALUE_MAX).contains(value)) {
        return false;
    }
    for i in 0..axes {
        for j in i..axes {
            g[at(i, j)][lane] = (0..axes).fold(0.0, |sum, e| {
                let value = eigenvalues[e].clamp(EIGENVALUE_MIN, EIGENVALUE_MAX);
                sum + value * vectors[e * axes + i] * vectors[e * axes + j]
            });
        }
    }
    true
}

type Packed<W> = [W; COMPONENTS_MAX];

/// L of g − shift in the places of the upper triangle (component (i, j) is L_ji), and the least pivot squared.
#[inline(always)]
fn cholesky<W: Lanes<T = f64>>(
    axes: usize,
    g: &[[f64; BATCH]; COMPONENTS_MAX],
    shift: f64,
) -> (Packed<W>, W) {
    let zero = W::splat(0.0);
    let mut l = [zero; COMPONENTS_MAX];
    let mut least = W::splat(f64::INFINITY);
    for i in 0..axes {
        for j in i..axes {
            // SAFETY: eight numbers.
            let mut sum = unsafe { W::load(g[component(axes, i, j)].as_ptr()) };
            if i == j {
                sum = sum.sub(W::splat(shift));
            }
            for k in 0..i {
                sum = l[component(axes, k, i)].neg_mul_add(l[component(axes, k, j)], sum);
            }
            l[component(axes, i, j)] = if i == j {
                least = sum.min(least);
                sum.max(W::splat(f64::MIN_POSITIVE)).sqrt()
            } else {
                sum.div(l[component(axes, i, i)])
            };
        }
    }
    (l, least)
}

/// The least pivot of g − [`EIGENVALUE_MIN`], per lane.
struct LowestPivot<'a> {
    axes: usize,
    g: &'a [[f64; BATCH]; COMPONENTS_MAX],
}

impl Kernel<f64> for LowestPivot<'_> {
    type Out = [f64; BATCH];
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) -> [f64; BATCH] {
        let mut lanes = [0.0; 16];
        cholesky::<V>(self.axes, self.g, EIGENVALUE_MIN).1.store_array(&mut lanes);
        core::array::from_fn(|lane| lanes[lane])
    }
}

/// g⁻¹ of eight positive definite tensors.
struct Invert<'a> {
    axes: usize,
    g: &'a [[f64; BATCH]; COMPONENTS_MAX],
}

impl Kernel<f64> for Invert<'_> {
    type Out = [[f64; BATCH]; COMPONENTS_MAX];
    #[inline(always)]
    fn run<V: Lanes<T = f64>>(self) -> [[f64; BATCH]; COMPONENTS_MAX] {
        let axes = self.axes;
        let (l, _) = cholesky::<V>(axes, self.g, 0.0);
        // M = L⁻¹, lower triangular: component (i, j) holds M_ji.
        let mut m = [V::splat(0.0); COMPONENTS_MAX];
        for i in 0..axes {
            m[component(axes, i, i)] = V::splat(1.0).div(l[component(axes, i, i)]);
            for j in i + 1..axes {
                let mut sum = V::splat(0.0);
                for k in i..j {
                    sum = l[component(axes, k, j)].neg_mul_add(m[component(axes, i, k)], sum);
                }
                m[component(axes, i, j)] = sum.div(l[component(axes, j, j)]);
            }
        }
        let mut inverse = [[0.0; BATCH]; COMPONENTS_MAX];
        for i in 0..axes {
            for j in i..axes {
                let mut sum = V::splat(0.0);
                for k in j..axes {
                    sum = m[component(axes, i, k)].mul_add(m[component(axes, j, k)], sum);
                }
                // SAFETY: eight numbers.
                unsafe { sum.store(inverse[component(axes, i, j)].as_mut_ptr()) };
            }
        }
        inverse
    }
}

#[cfg(test)]
mod tests;
