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
mod rings;

use core::ops::Range;

pub use energy::kinetic_form;
pub use mean::log_mean;

pub use rings::RingForm;

use self::place::CellPlace;
use self::rings::{Gradients, PITCH, Rings, Slopes};

use crate::field::{PageRef, Real, Threads};
use crate::kinetic::fibre::{derivative, diagonalise};
use crate::kinetic::varying::CellGrid;
use crate::simd::{Kernel, Lanes, Level, SimdReal, dispatch};
use crate::threads::map_chunks;

/// Eigenvalues of g are kept in this range.
pub const EIGENVALUE_MIN: f64 = 1e-3;
/// See [`EIGENVALUE_MIN`].
pub const EIGENVALUE_MAX: f64 = 1e3;

/// Most axes.
const AXES_MAX: usize = 9;
/// Most components.
const COMPONENTS_MAX: usize = AXES_MAX * (AXES_MAX + 1) / 2;
/// Cells that are factorised together: the lanes of an f64 vector.
const BATCH: usize = 8;
/// Cells that are relaxed together, component by component.
const BLOCK_CELLS: usize = 64;
/// Cells per chunk of the structure tensor.
const CHUNK_CELLS: usize = 32;

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
    let n_chunks = cells.len().div_ceil(CHUNK_CELLS);
    let parts = map_chunks(threads, n_chunks, |chunk| {
        let first = cells.start + chunk * CHUNK_CELLS;
        let chunk = first..cells.end.min(first + CHUNK_CELLS);
        T::structure_pass(level, StructurePass { stencil, pages, cells: chunk })
    });
    turn(&parts, components, sums);
}

/// From cell after cell, in parts of [`CHUNK_CELLS`] cells, to component after component.
fn turn(parts: &[Vec<f64>], components: usize, sums: &mut [f64]) {
    let n_cells = sums.len() / components;
    for (c, sums) in sums.chunks_exact_mut(n_cells.max(1)).enumerate() {
        for (sums, part) in sums.chunks_mut(CHUNK_CELLS).zip(parts) {
            for (cell, to) in sums.iter_mut().enumerate() {
                *to = part[cell * components + c];
            }
        }
    }
}

/// The structure tensors of some cells, cell after cell. Built only with pages of the stencil's shape.
pub struct StructurePass<'a, T: SimdReal> {
    stencil: &'a CellStencil,
    pages: &'a [PageRef<'a, T>],
    cells: Range<usize>,
}

impl<T: Real> Kernel<T> for StructurePass<'_, T> {
    type Out = Vec<f64>;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> Vec<f64> {
        match &self.stencil.rings {
            Some(rings) => self.on_rings::<V>(rings),
            None => self.on_runs::<V>(),
        }
    }
}

impl<T: Real> StructurePass<'_, T> {
    /// Cells that are runs of rings of three.
    #[inline(always)]
    fn on_rings<V: Lanes<T = T>>(self, rings: &Rings) -> Vec<f64> {
        let axes = self.stencil.grid.cell.len();
        let mut slopes = Slopes::new(rings, V::N);
        let mut gradients: Gradients<T> = [[[T::default(); PITCH]; 2]; AXES_MAX];
        let mut rows = [0.0; COMPONENTS_MAX.next_multiple_of(BATCH) * BATCH];
        let mut out = Vec::with_capacity(n_components(axes) * self.cells.len());
        let planes = [self.pages[0].re.as_ptr(), self.pages[0].im.as_ptr()];
        for cell in self.cells {
            // SAFETY: the page has the stencil's nodes, as its rings have.
            unsafe { slopes.fill::<V, false>(planes, core::ptr::null(), cell, &mut gradients) };
            products::<V>(gradients.as_flattened().as_flattened(), axes, PITCH, &mut rows, &mut out);
        }
        out
    }

    #[inline(always)]
    fn on_runs<V: Lanes<T = T>>(self) -> Vec<f64> {
        let axes = self.stencil.grid.cell.len();
        let width = self.stencil.grid.cell_nodes().next_multiple_of(V::N);
        // ∂_dΨ on the cell's nodes, real then imaginary part of each axis; lanes beyond the last node stay 0.
        let mut gradients = vec![T::default(); 2 * axes * width];
        let mut rows = vec![0.0; COMPONENTS_MAX.next_multiple_of(BATCH) * BATCH];
        let mut out = Vec::with_capacity(n_components(axes) * self.cells.len());
        let mut place = self.stencil.place(self.cells.start);
        for _ in self.cells.clone() {
            let origin = place.origin();
            for (r, first) in self.stencil.runs.iter().enumerate() {
                for d in 0..axes {
                    let (re, im) = gradients[2 * d * width..].split_at_mut(width);
                    let at = r * self.stencil.run..(r + 1) * self.stencil.run;
                    // A run begins where the axes inside it begin; along the others, runs of a cell lie side by side.
                    let inside = if *first == 0 { 0 } else { first / place.strides[d] % place.extents[d] };
                    let coordinate = place.coordinates[d] + inside;
                    let start = (origin + first, coordinate);
                    self.slope::<V>(d, start, &mut re[at.clone()], &mut im[at]);
                }
            }
            products::<V>(&gradients, axes, width, &mut rows, &mut out);
            place.advance(axes);
        }
        out
    }

    /// The page of a node, and the node in it.
    #[inline(always)]
    fn page_of(&self, node: usize) -> (&PageRef<'_, T>, usize) {
        match self.pages {
            [page] => (page, node),
            pages => {
                let nodes = self.stencil.grid.shape.page_nodes;
                (&pages[node / nodes], node % nodes)
            }
        }
    }

    /// ∂_dΨ on the run of nodes from `first` on, which has this coordinate along the axis.
    #[inline(always)]
    fn slope<V: Lanes<T = T>>(
        &self,
        d: usize,
        (first, coordinate): (usize, usize),
        re: &mut [T],
        im: &mut [T],
    ) {
        let shape = &self.stencil.grid.shape;
        let (extent, stride) = (shape.extents[d], shape.stride(d));
        let slopes = &self.stencil.slopes[d];
        let beside = |node: usize, coordinate: usize, offset: usize| {
            let wrapped =
                if coordinate < offset { coordinate + extent - offset } else { coordinate - offset };
            self.page_of(node - coordinate * stride + wrapped * stride)
        };
        let n_nodes = re.len();
        if let Some(others) = &self.stencil.turns[d] {
            let (page, node) = self.page_of(first);
            let (from_re, from_im) = (&page.re[node..][..n_nodes], &page.im[node..][..n_nodes]);
            let out = re.iter_mut().zip(im);
            for ((re, im), others) in out.zip(others.chunks_exact(extent - 1)) {
                let (mut x, mut y) = (0.0, 0.0);
                for (slope, &other) in slopes[1..].iter().zip(others) {
                    x += slope * from_re[other as usize].to_f64();
                    y += slope * from_im[other as usize].to_f64();
                }
                (*re, *im) = (T::from_f64(x), T::from_f64(y));
            }
            return;
        }
        if stride < n_nodes {
            // The run turns around within the axis: node by node.
            for (k, (re, im)) in re.iter_mut().zip(im).enumerate() {
                let (mut x, mut y) = (0.0, 0.0);
                for (offset, slope) in slopes.iter().enumerate().skip(1) {
                    let (page, node) = beside(first + k, (first + k) / stride % extent, offset);
                    x += slope * page.re[node].to_f64();
                    y += slope * page.im[node].to_f64();
                }
                (*re, *im) = (T::from_f64(x), T::from_f64(y));
            }
            return;
        }
        for (offset, slope) in slopes.iter().enumerate().skip(1) {
            let (page, node) = beside(first, coordinate, offset);
            let (from_re, from_im) = (&page.re[node..][..n_nodes], &page.im[node..][..n_nodes]);
            let slope = V::splat(T::from_f64(*slope));
            // SAFETY: `n_nodes` scalars are readable, and writable where the sums go.
            unsafe {
                if slopes.len() == 3 && offset == 1 {
                    // Both neighbours of a ring of three at once.
                    let (page, node) = beside(first, coordinate, 2);
                    let other = V::splat(T::from_f64(slopes[2]));
                    let planes = [
                        (from_re, &page.re[node..][..n_nodes], &mut *re),
                        (from_im, &page.im[node..][..n_nodes], &mut *im),
                    ];
                    for (from, beyond, to) in planes {
                        if n_nodes < V::N {
                            let x = V::load_n(from.as_ptr(), n_nodes).mul(slope);
                            let x = V::load_n(beyond.as_ptr(), n_nodes).mul_add(other, x);
                            x.store_n(to.as_mut_ptr(), n_nodes);
                            continue;
                        }
                        // The last vector overlaps the one before, which is cheaper than a mask.
                        let mut lane = 0;
                        while lane < n_nodes {
                            let at = lane.min(n_nodes - V::N);
                            let x = V::load(from.as_ptr().add(at)).mul(slope);
                            let x = V::load(beyond.as_ptr().add(at)).mul_add(other, x);
                            x.store(to.as_mut_ptr().add(at));
                            lane += V::N;
                        }
                    }
                    return;
                }
                for lane in (0..n_nodes).step_by(V::N) {
                    let n = V::N.min(n_nodes - lane);
                    let (to_re, to_im) = (re.as_mut_ptr().add(lane), im.as_mut_ptr().add(lane));
                    let mut x = V::load_n(from_re.as_ptr().add(lane), n).mul(slope);
                    let mut y = V::load_n(from_im.as_ptr().add(lane), n).mul(slope);
                    if offset > 1 {
                        (x, y) = (x.add(V::load_n(to_re, n)), y.add(V::load_n(to_im, n)));
                    }
                    x.store_n(to_re, n);
                    y.store_n(to_im, n);
                }
            }
        }
    }
}

/// Appends Σ_lanes (re_i re_j + im_i im_j) of all components to `out`; `rows` is room for eight numbers of each.
#[inline(always)]
fn products<V: Lanes>(gradients: &[V::T], axes: usize, width: usize, rows: &mut [f64], out: &mut Vec<f64>) {
    let components = n_components(axes);
    let mut c = 0;
    for i in 0..axes {
        for j in i..axes {
            let (a, b) = (&gradients[2 * i * width..][..2 * width], &gradients[2 * j * width..][..2 * width]);
            let mut sum = V::splat(V::T::default());
            for lane in (0..2 * width).step_by(V::N) {
                // SAFETY: N numbers are readable from `lane` on.
                sum = unsafe { V::load(a.as_ptr().add(lane)).mul_add(V::load(b.as_ptr().add(lane)), sum) };
            }
            let mut wide = sum.widen(0);
            for half in 1..V::N / BATCH {
                wide = wide.add(sum.widen(half));
            }
            // SAFETY: a row of eight numbers.
            unsafe { wide.store(rows[c * BATCH..].as_mut_ptr()) };
            c += 1;
        }
    }
    // Lanes are summed for eight components at a time.
    for first in (0..components).step_by(BATCH) {
        let mut columns = [0.0; BATCH * BATCH];
        let mut sum = [0.0; 16];
        // SAFETY: eight rows of eight numbers on both sides.
        unsafe {
            let from = rows[first * BATCH..].as_ptr();
            V::Wide::transpose(from, BATCH, BATCH, BATCH, columns.as_mut_ptr(), BATCH, BATCH);
            let mut total = V::Wide::splat(0.0);
            for column in columns.chunks_exact(BATCH) {
                total = total.add(V::Wide::load(column.as_ptr()));
            }
            total.store_array(&mut sum);
        }
        out.extend_from_slice(&sum[..BATCH.min(components - first)]);
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
pub fn relax(tensors: &mut Tensors<'_>, sums: &[f64], rest: &[f64], nodes: usize, rates: &Relaxation) {
    let axes = rest.len();
    let n_cells = sums.len() / n_components(axes);
    let Relaxation { eta, lambda, duration, gradient_floor } = *rates;
    let returned = -libm::expm1(-lambda * duration);
    // (1 − e^{−λt})/λ, its limit where nothing returns.
    let yielded = if lambda * duration < 1e-12 { duration } else { returned / lambda };
    for block in (0..n_cells).step_by(BLOCK_CELLS) {
        let cells = block..n_cells.min(block + BLOCK_CELLS);
        let mut scales = [0.0; BLOCK_CELLS];
        let scales = &mut scales[..cells.len()];
        for i in 0..axes {
            let sums = &sums[component(axes, i, i) * n_cells..][cells.clone()];
            scales.iter_mut().zip(sums).for_each(|(trace, sum)| *trace += sum);
        }
        for scale in &mut *scales {
            *scale = eta * yielded / (*scale + nodes as f64 * gradient_floor).max(f64::MIN_POSITIVE);
        }
        for i in 0..axes {
            for j in i..axes {
                let c = component(axes, i, j);
                let target = if i == j { rest[i] } else { 0.0 };
                let sums = &sums[c * n_cells..][cells.clone()];
                let g = &mut tensors.g[c * tensors.stride + tensors.first..][cells.clone()];
                for ((g, sum), scale) in g.iter_mut().zip(sums).zip(&*scales) {
                    *g += returned * (target - *g) - scale * sum;
                }
            }
        }
    }
}

/// Appends the cells, counted from the first of `tensors`, of which a component is more than `tolerance` away from
/// `factorised`, or is no number.
pub fn moved(
    tensors: &Tensors<'_>,
    factorised: &[f64],
    components: usize,
    n_cells: usize,
    tolerance: f64,
    found: &mut Vec<usize>,
) {
    for block in (0..n_cells).step_by(BLOCK_CELLS) {
        let cells = block..n_cells.min(block + BLOCK_CELLS);
        let mut is_near = [true; BLOCK_CELLS];
        for c in 0..components {
            let at = c * tensors.stride + tensors.first;
            let pairs = tensors.g[at..][cells.clone()].iter().zip(&factorised[at..][cells.clone()]);
            for (is_near, (now, then)) in is_near.iter_mut().zip(pairs) {
                *is_near &= (now - then).abs() <= tolerance;
            }
        }
        found.extend(cells.clone().filter(|k| !is_near[k - block]));
    }
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
    Factorised { inverse: dispatch::<f64, _>(level, Invert { axes, g }), was_projected }
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
