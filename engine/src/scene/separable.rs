//! Complex fields that are products of functions of one axis each: plane waves, packets, solitons.
//!
//! Invariant: the transcendental functions are evaluated once per grid line, never per node; the product is taken
//! slowest axis first, so that a node costs about one complex product.

use super::evaluate::Grid;
use nikola_components::fill::ComplexFill;
use std::sync::Arc;

/// A complex number (re, im).
pub type Complex = (f64, f64);

/// a·b.
pub fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// modulus · e^{i phase}.
pub fn polar(modulus: f64, phase: f64) -> Complex {
    (modulus * libm::cos(phase), modulus * libm::sin(phase))
}

/// factor · Π_d table_d(x_d).
pub struct Separable {
    grid: Arc<Grid>,
    factor: Complex,
    tables: [Option<Vec<Complex>>; 9],
}

impl Separable {
    /// A constant, to be multiplied with [`Separable::along`].
    pub fn new(grid: Arc<Grid>, factor: Complex) -> Self {
        Self { grid, factor, tables: [const { None }; 9] }
    }

    /// Multiplies by a function of the position along axis `d`.
    pub fn along(mut self, d: usize, function: impl Fn(f64) -> Complex) -> Self {
        let line = self.grid.lines[d].iter().map(|&position| function(position));
        self.tables[d] = Some(match self.tables[d].take() {
            None => line.collect(),
            Some(table) => table.into_iter().zip(line).map(|(a, b)| times(a, b)).collect(),
        });
        self
    }

    /// Adds the field to the two planes of a page.
    pub fn add(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        self.visit(page, re.len(), |i, (a, b)| {
            re[i] += a;
            im[i] += b;
        });
    }

    fn visit(&self, page: usize, length: usize, mut visit: impl FnMut(usize, Complex)) {
        let torus = &self.grid.torus;
        let storage = torus.storage();
        let extents = torus.extents();
        let mut node = torus.node(page, 0);
        // Axes of one node hold a constant factor.
        let constant =
            (0..9).filter(|&d| extents[d] == 1).fold(self.factor, |product, d| match &self.tables[d] {
                Some(table) => times(product, table[0]),
                None => product,
            });
        // prefix[k] is the product over the first k axes of the storage order.
        let mut prefix = vec![constant; storage.len() + 1];
        let mut changed = 0;
        for i in 0..length {
            for k in changed..storage.len() {
                let d = storage[k].index();
                prefix[k + 1] = match &self.tables[d] {
                    Some(table) => times(prefix[k], table[node[d]]),
                    None => prefix[k],
                };
            }
            visit(i, prefix[storage.len()]);
            changed = torus.step(&mut node);
        }
    }
}

impl ComplexFill for Separable {
    /// The largest factor along each axis: exactly where the product is largest.
    fn seeds(&self) -> Vec<[usize; 9]> {
        let square = |&(re, im): &Complex| re * re + im * im;
        let peak = |table: &Vec<Complex>| {
            (0..table.len())
                .rev()
                .max_by(|&a, &b| square(&table[a]).total_cmp(&square(&table[b])))
                .unwrap_or(0)
        };
        vec![core::array::from_fn(|d| self.tables[d].as_ref().map_or(0, peak))]
    }

    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        self.visit(page, re.len(), |i, (a, b)| {
            re[i] = a;
            im[i] = b;
        });
    }
}

/// Sum of fields.
pub struct SumOf(pub Vec<Arc<dyn ComplexFill>>);

/// Product of fields.
pub struct ProductOf(pub Vec<Arc<dyn ComplexFill>>);

/// Fills with the first part and folds each further one in, node by node.
fn fold_parts(
    parts: &[Arc<dyn ComplexFill>],
    empty: Complex,
    page: usize,
    re: &mut [f64],
    im: &mut [f64],
    fold: impl Fn(Complex, Complex) -> Complex,
) {
    let Some((first, rest)) = parts.split_first() else {
        re.fill(empty.0);
        im.fill(empty.1);
        return;
    };
    first.fill(page, re, im);
    let (mut part_re, mut part_im) = (vec![0.0; re.len()], vec![0.0; im.len()]);
    for part in rest {
        part.fill(page, &mut part_re, &mut part_im);
        for i in 0..re.len() {
            (re[i], im[i]) = fold((re[i], im[i]), (part_re[i], part_im[i]));
        }
    }
}

/// The seeds of every part.
fn seeds_of(parts: &[Arc<dyn ComplexFill>]) -> Vec<[usize; 9]> {
    parts.iter().flat_map(|part| part.seeds()).collect()
}

impl ComplexFill for SumOf {
    fn seeds(&self) -> Vec<[usize; 9]> {
        seeds_of(&self.0)
    }

    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        fold_parts(&self.0, (0.0, 0.0), page, re, im, |a, b| (a.0 + b.0, a.1 + b.1));
    }
}

impl ComplexFill for ProductOf {
    fn seeds(&self) -> Vec<[usize; 9]> {
        seeds_of(&self.0)
    }

    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        fold_parts(&self.0, (1.0, 0.0), page, re, im, times);
    }
}
