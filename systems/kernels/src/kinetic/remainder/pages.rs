//! The remainder on the active pages of a sparse torus whose cells are runs, cell by cell.
//!
//! Invariant: fields lie cell after cell, page after page, [`PITCH`] numbers to a cell, zeros behind its nodes, so that every vector
//! is whole. A page is a chunk: what its cells give to each other stays in it, in the order of cells; along an axis where a page
//! shares its column with others, fluxes go through a field of their own. So neither threads nor vectors change a bit.
//! Source: `rings.rs`; `kinetic/sparse/runs.rs` for ∂.

#![allow(unsafe_code)] // Vector loads and stores through pointers, and fields shared between chunks.

use super::lanczos::ByCells;
use super::rings::{
    Fluxes, Gradients, MARGIN, PITCH, ROW, RingMoves, RingTakes, TENSOR, fill_fluxes, power_of_cell,
};
use super::{AXES_MAX, Pair, Scratch};
use crate::field::{Real, Threads};
use crate::half_potential::Planes;
use crate::kinetic::sparse::{
    AHEAD, Aligned, LineAxis, RunSlopes, RunTables, Runs, SHIFTS, SIDE, Sum, Tie, along_inside, copy_run,
    fetch, fetch_run, outside_terms, sum_terms, ties,
};
use crate::simd::accumulate::Accumulator;
use crate::simd::{Kernel, Lanes, Level, SimdReal};
use crate::threads::{for_each_chunk, map_chunks};

/// The active pages.
pub(super) struct Pages<T> {
    runs: Runs,
    tables: RunTables<T>,
    /// −½D^{ij} of each cell.
    tensors: Vec<T>,
    /// Fluxes along axes that have columns of several pages, by the axis' number.
    far: Vec<Option<Scratch<T>>>,
}

impl<T: Real> Pages<T> {
    /// With D of `pairs`, whose axes are those of `runs`.
    pub fn new(runs: Runs, pairs: &[Pair<T>]) -> Self {
        let n_cells = runs.n_pages() * runs.per_page();
        let field = || Scratch::with_room(n_cells * PITCH);
        let far = (0..runs.n_axes()).map(|axis| runs.is_shared(axis).then(field));
        let mut pages = Self {
            tables: RunTables::new(&runs, PITCH),
            tensors: vec![T::default(); n_cells * TENSOR],
            far: far.collect(),
            runs,
        };
        pages.renew(pairs, &(0..n_cells).collect::<Vec<_>>());
        pages
    }

    fn page_len(&self) -> usize {
        self.runs.per_page() * PITCH
    }

    /// A field page by page.
    fn by_pages(&self, field: Planes<T>) -> Vec<Planes<T>> {
        assert_eq!(field.len, self.field_len(), "a field of the pages");
        let len = self.page_len();
        // SAFETY: so many pages are in the field.
        (0..self.runs.n_pages()).map(|page| Planes { len, ..unsafe { field.offset(page * len) } }).collect()
    }

    fn far_planes(&mut self) -> Vec<Vec<Planes<T>>> {
        let n = self.field_len();
        let planes: Vec<_> = self.far.iter_mut().map(|far| far.as_mut().map(|far| far.aligned(n))).collect();
        planes.into_iter().map(|far| far.map_or_else(Vec::new, |far| self.by_pages(far))).collect()
    }
}

impl<T: Real> ByCells<T> for Pages<T> {
    fn apply(
        &mut self,
        level: Level,
        threads: Threads<'_>,
        (source, image): (Planes<T>, Planes<T>),
        less: Option<(Planes<T>, f64)>,
    ) -> f64 {
        let far = &self.far_planes()[..];
        let (pages, source, image) = (&*self, &self.by_pages(source)[..], &self.by_pages(image)[..]);
        for_each_chunk(threads, source.len(), |slot| {
            T::page_cells(level, PageCells { pages, far, source, image: image[slot], slot });
        });
        let less = less.map(|(field, share)| (self.by_pages(field), T::from_f64(share)));
        let parts = map_chunks(threads, source.len(), |slot| {
            let less = less.as_ref().map(|(field, share)| (field[slot], *share));
            let (source, image) = (source[slot], image[slot]);
            T::page_joins(level, PageJoins { pages, far, source, image, less, slot })
        });
        parts.iter().sum()
    }

    fn power(&self, level: Level, threads: Threads<'_>, field: Planes<T>) -> f64 {
        let field = &self.by_pages(field)[..];
        let parts = map_chunks(threads, field.len(), |slot| {
            T::page_powers(level, PagePowers { pages: self, field, slot })
        });
        parts.iter().sum()
    }

    fn take(
        &self,
        level: Level,
        threads: Threads<'_>,
        image: Planes<T>,
        (field, share): (Planes<T>, f64),
    ) -> f64 {
        let (image, field, share) = (self.by_pages(image), self.by_pages(field), T::from_f64(share));
        let parts = map_chunks(threads, image.len(), |slot| {
            let cells = 0..self.runs.per_page();
            T::ring_takes(level, RingTakes { image: image[slot], field: field[slot], share, cells })
        });
        parts.iter().sum()
    }

    fn pack(&self, level: Level, threads: Threads<'_>, nodes: &[Planes<T>], field: Planes<T>) {
        let fields = self.by_pages(field);
        for_each_chunk(threads, nodes.len(), |slot| {
            let (run, nodes, cells) = (self.runs.run(), nodes[slot], 0..self.runs.per_page());
            T::ring_moves(level, RingMoves { run, nodes, cells, fields: &[fields[slot]], weights: &[] });
        });
    }

    fn unpack(
        &self,
        level: Level,
        threads: Threads<'_>,
        (fields, weights): (&[Planes<T>], &[(f64, f64)]),
        nodes: &[Planes<T>],
    ) {
        let rounded = |(re, im): &(f64, f64)| (T::from_f64(*re), T::from_f64(*im));
        let weights: &[(T, T)] = &weights.iter().map(rounded).collect::<Vec<_>>();
        let fields: Vec<Vec<Planes<T>>> = fields.iter().map(|field| self.by_pages(*field)).collect();
        for_each_chunk(threads, nodes.len(), |slot| {
            let (run, nodes, cells) = (self.runs.run(), nodes[slot], 0..self.runs.per_page());
            let fields: &[Planes<T>] = &fields.iter().map(|field| field[slot]).collect::<Vec<_>>();
            T::ring_moves(level, RingMoves { run, nodes, cells, fields, weights });
        });
    }

    fn field_len(&self) -> usize {
        self.runs.n_pages() * self.page_len()
    }

    fn bytes(&self) -> usize {
        let far = self.far.iter().flatten().count();
        (self.tensors.len() + 2 * far * self.field_len()) * T::BYTES
    }

    fn renew(&mut self, pairs: &[Pair<T>], cells: &[usize]) {
        for &cell in cells {
            let tensor = &mut self.tensors[cell * TENSOR..][..TENSOR];
            for pair in pairs {
                let ((i, j), value) = (pair.axes, T::from_f64(-0.5 * pair.values[cell].to_f64()));
                (tensor[i * AXES_MAX + j], tensor[j * AXES_MAX + i]) = (value, value);
            }
        }
    }
}

/// R on the cells of a page, but for what comes from others. Built only with fields of the pages.
pub struct PageCells<'a, T: SimdReal> {
    pages: &'a Pages<T>,
    /// Pages of each axis' field, where there is one.
    far: &'a [Vec<Planes<T>>],
    source: &'a [Planes<T>],
    image: Planes<T>,
    slot: usize,
}

impl<T: Real> Kernel<T> for PageCells<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) {
        let PageCells { pages, far, source, image, slot } = self;
        let (runs, zero) = (&pages.runs, V::splat(T::default()));
        let mut slopes = RunSlopes::new(runs, &pages.tables, source, slot);
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut fluxes: Fluxes<T> = [Aligned([[T::default(); ROW]; 2]); AXES_MAX];
        // SAFETY: fields have PITCH numbers for each cell; a page's chunk owns its image and its part of the far fields.
        unsafe {
            for lane in (0..image.len).step_by(V::N) {
                zero.store(image.re.add(lane));
                zero.store(image.im.add(lane));
            }
            // In order, before cells are read from where their neighbours are.
            fetch::<V>(source[slot].re, source[slot].len);
            fetch::<V>(source[slot].im, source[slot].len);
            for cell in 0..runs.per_page() {
                slopes.fill::<V>(cell, &mut gradients.0);
                let tensor = pages.tensors.as_ptr().add((slot * runs.per_page() + cell) * TENSOR);
                fetch::<V>(tensor.wrapping_add(AHEAD * TENSOR), TENSOR);
                fill_fluxes::<V>(runs.n_axes(), tensor, &gradients.0, &mut fluxes);
                let own = image.offset(cell * PITCH);
                for lane in (0..PITCH).step_by(V::N) {
                    let (mut re, mut im) = (V::load(own.re.add(lane)), V::load(own.im.add(lane)));
                    for (k, line) in runs.inside().iter().enumerate() {
                        let ties = slopes.inside_ties(k);
                        if ties.len() > 1 {
                            continue;
                        }
                        let rows = core::slice::from_ref(fluxes.get_unchecked(line.axis));
                        let keeps = pages.tables.keeps.get_unchecked(k);
                        let at = (MARGIN + lane, lane / V::N);
                        let [x, y] = along_inside::<V>(line.stride, ties, rows, keeps, at);
                        (re, im) = (re.add(x), im.add(y));
                    }
                    re.store(own.re.add(lane));
                    im.store(own.im.add(lane));
                }
                for (k, line) in runs.inside().iter().chain(runs.outside()).enumerate() {
                    let flux = &fluxes.get_unchecked(line.axis).0;
                    let is_inside = k < runs.inside().len();
                    let ties = if is_inside {
                        slopes.inside_ties(k)
                    } else {
                        slopes.outside_ties(k - runs.inside().len())
                    };
                    if ties.len() > 1 {
                        let far = far.get_unchecked(line.axis).get_unchecked(slot).offset(cell * PITCH);
                        for lane in (0..PITCH).step_by(V::N) {
                            V::load(flux[0].as_ptr().add(MARGIN + lane)).store(far.re.add(lane));
                            V::load(flux[1].as_ptr().add(MARGIN + lane)).store(far.im.add(lane));
                        }
                        fetch_run::<V>(far, AHEAD * PITCH);
                    } else if !is_inside {
                        give::<V>(line, ties.get_unchecked(0), flux, cell, image);
                    }
                }
            }
        }
    }
}

/// Adds what a cell's flux gives to the other two cells of its line in the page.
///
/// # Safety
/// The cell exists; the caller owns the image of the page.
#[inline(always)]
unsafe fn give<V: Lanes>(
    line: &LineAxis,
    tie: &Tie<V::T>,
    flux: &[[V::T; ROW]; 2],
    cell: usize,
    image: Planes<V::T>,
) {
    // SAFETY: says the caller.
    unsafe {
        let place = usize::from(*line.places.get_unchecked(cell));
        for to in 0..SIDE {
            if to == place {
                continue;
            }
            // What the other cell takes from here.
            let weight = V::splat(*tie.weights.get_unchecked(place + SIDE - 1 - to));
            let other = image.offset((cell + to * line.stride - place * line.stride) * PITCH);
            for lane in (0..PITCH).step_by(V::N) {
                let (x, y) = (
                    V::load(flux[0].as_ptr().add(MARGIN + lane)),
                    V::load(flux[1].as_ptr().add(MARGIN + lane)),
                );
                x.mul_add(weight, V::load(other.re.add(lane))).store(other.re.add(lane));
                y.mul_add(weight, V::load(other.im.add(lane))).store(other.im.add(lane));
            }
        }
    }
}

/// Re⟨field|R·field⟩ on a page, 2 Σ_{i<j} of what R couples. Built only with a field of the pages.
pub struct PagePowers<'a, T: SimdReal> {
    pages: &'a Pages<T>,
    field: &'a [Planes<T>],
    slot: usize,
}

impl<T: Real> Kernel<T> for PagePowers<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let PagePowers { pages, field, slot } = self;
        let runs = &pages.runs;
        let mut slopes = RunSlopes::new(runs, &pages.tables, field, slot);
        let mut gradients: Aligned<Gradients<T>> = Aligned([[[T::default(); PITCH]; 2]; AXES_MAX]);
        let mut total = Accumulator::<V>::new();
        for cell in 0..runs.per_page() {
            // SAFETY: the field has PITCH numbers for each cell; a cell has TENSOR numbers.
            unsafe {
                slopes.fill::<V>(cell, &mut gradients.0);
                let tensor = pages.tensors.as_ptr().add((slot * runs.per_page() + cell) * TENSOR);
                fetch::<V>(tensor.wrapping_add(AHEAD * TENSOR), TENSOR);
                total.add(power_of_cell::<V>(runs.n_axes(), tensor, &gradients.0));
            }
        }
        -2.0 * total.total()
    }
}

/// What comes from other pages, less a share of another field. Built only with fields of the pages.
pub struct PageJoins<'a, T: SimdReal> {
    pages: &'a Pages<T>,
    far: &'a [Vec<Planes<T>>],
    source: Planes<T>,
    image: Planes<T>,
    less: Option<(Planes<T>, T)>,
    slot: usize,
}

impl<T: Real> Kernel<T> for PageJoins<'_, T> {
    type Out = f64;
    #[inline(always)]
    fn run<V: Lanes<T = T>>(self) -> f64 {
        let PageJoins { pages, far, source, image, less, slot } = self;
        let (runs, tables) = (&pages.runs, &pages.tables);
        let shared = |line: &&LineAxis| line.links(slot).len() > 1;
        let inside: Vec<Shared<'_, T>> = runs
            .inside()
            .iter()
            .zip(&tables.keeps)
            .filter(|(line, _)| shared(line))
            .map(|(line, keeps)| Shared { line, ties: ties(Sum::Slope, line, slot), keeps: Some(keeps) })
            .collect();
        let outside: Vec<Shared<'_, T>> = runs
            .outside()
            .iter()
            .filter(shared)
            .map(|line| Shared { line, ties: ties(Sum::Slope, line, slot), keeps: None })
            .collect();
        let most = inside.iter().chain(&outside).map(|shared| shared.ties.len()).max().unwrap_or(0);
        let nothing = Planes { re: core::ptr::null_mut(), im: core::ptr::null_mut(), len: 0 };
        let mut rows = vec![Aligned([[T::default(); ROW]; 2]); most];
        let mut terms = vec![(nothing, T::default()); most * SIDE];
        let mut total = Accumulator::<V>::new();
        for cell in 0..runs.per_page() {
            let mut product = V::splat(T::default());
            let mut sums = Aligned([[T::default(); PITCH]; 2]);
            // SAFETY: fields have PITCH numbers for each cell; the chunk owns the page's image.
            unsafe {
                let (own, with) = (image.offset(cell * PITCH), source.offset(cell * PITCH));
                for lane in (0..PITCH).step_by(V::N) {
                    V::load(own.re.add(lane)).store(sums.0[0].as_mut_ptr().add(lane));
                    V::load(own.im.add(lane)).store(sums.0[1].as_mut_ptr().add(lane));
                }
                for shared in &inside {
                    let far = far.get_unchecked(shared.line.axis);
                    for (k, tie) in shared.ties.iter().enumerate() {
                        let page = far.get_unchecked(tie.slot);
                        copy_run::<V>(tables, page.offset(cell * PITCH), rows.get_unchecked_mut(k));
                        fetch_run::<V>(*page, (cell + AHEAD) * PITCH);
                    }
                    let Some(keeps) = shared.keeps else { continue };
                    for lane in (0..PITCH).step_by(V::N) {
                        let at = (MARGIN + lane, lane / V::N);
                        let found = along_inside::<V>(shared.line.stride, &shared.ties, &rows, keeps, at);
                        add_to(&mut sums.0, lane, found);
                    }
                }
                for shared in &outside {
                    let far = far.get_unchecked(shared.line.axis);
                    let n = outside_terms(shared.line, &shared.ties, far, (cell, PITCH), &mut terms);
                    for lane in (0..PITCH).step_by(V::N) {
                        add_to(&mut sums.0, lane, sum_terms::<V>(&terms, n, lane));
                    }
                }
                for lane in (0..PITCH).step_by(V::N) {
                    let mut re = V::load(sums.0[0].as_ptr().add(lane));
                    let mut im = V::load(sums.0[1].as_ptr().add(lane));
                    if let Some((field, share)) = less {
                        let (field, share) = (field.offset(cell * PITCH + lane), V::splat(share));
                        re = V::load(field.re).neg_mul_add(share, re);
                        im = V::load(field.im).neg_mul_add(share, im);
                    }
                    re.store(own.re.add(lane));
                    im.store(own.im.add(lane));
                    product = V::load(with.re.add(lane)).mul_add(re, product);
                    product = V::load(with.im.add(lane)).mul_add(im, product);
                }
            }
            total.add(product);
        }
        total.total()
    }
}

/// An axis along which a page shares its column.
struct Shared<'a, T> {
    line: &'a LineAxis,
    ties: Vec<Tie<T>>,
    /// Inside cells.
    keeps: Option<&'a Aligned<[[T; PITCH]; SHIFTS]>>,
}

/// Adds a vector to each plane.
///
/// # Safety
/// There is a vector from `lane` on.
#[inline(always)]
unsafe fn add_to<V: Lanes>(sums: &mut [[V::T; PITCH]; 2], lane: usize, [x, y]: [V; 2]) {
    // SAFETY: says the caller.
    unsafe {
        let (re, im) = (sums[0].as_mut_ptr().add(lane), sums[1].as_mut_ptr().add(lane));
        V::load(re).add(x).store(re);
        V::load(im).add(y).store(im);
    }
}
