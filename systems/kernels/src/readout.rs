//! Linear readouts: a map from features to targets, fitted at once (ridge regression) or one example at a time
//! (recursive least squares). Invariant: f64 throughout, sums in the order the examples come, no randomness: the same
//! examples give the same bits. A weight row is `[bias, w_1 … w_n]`; a prediction is `bias + Σ w_i f_i`.
//! Sources: Hoerl & Kennard, Technometrics 12 (1970) 55; Golub & Van Loan, *Matrix Computations*, §4.2 (Cholesky);
//! Haykin, *Adaptive Filter Theory*, ch. 10 (recursive least squares).

/// `bias + Σ w_i f_i` for every row of `weights` (`values.len()` rows of `features.len() + 1`).
///
/// - equation: y = W·(1, f)
/// - source: definition
/// - scheme and order: one pass, in index order
/// - stability bound: none (linear)
/// - bytes and flops per weight: 8, 2 flops
pub fn predict(weights: &[f64], features: &[f64], values: &mut [f64]) {
    let width = features.len() + 1;
    assert_eq!(weights.len(), values.len() * width);
    for (row, value) in weights.chunks_exact(width).zip(values) {
        *value = row[1..].iter().zip(features).fold(row[0], |sum, (w, f)| sum + w * f);
    }
}

/// Why a system could not be solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReadoutError {
    /// Fewer than two examples.
    TooFewExamples {
        /// How many there were.
        found: usize,
    },
    /// A pivot of the factorisation is not positive: features depend on each other and the ridge is too small, or
    /// one of them is not finite.
    Singular {
        /// Index of the feature.
        feature: usize,
        /// Its pivot, relative to its variance.
        pivot: f64,
    },
}

impl core::fmt::Display for ReadoutError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooFewExamples { found } => {
                write!(f, "{found} example(s) to fit a readout; expected at least 2")
            }
            Self::Singular { feature, pivot } => write!(
                f,
                "feature {feature} is a combination of earlier ones (pivot {pivot:.1e}); expected a positive pivot: \
                 raise the ridge or remove the feature"
            ),
        }
    }
}

impl std::error::Error for ReadoutError {}

/// Sums over examples from which a ridge regression is solved, for any ridge.
#[derive(Debug, Clone)]
pub struct Ridge {
    n_features: usize,
    n_targets: usize,
    n_examples: usize,
    /// The first example; sums are of differences to it, so that a large mean costs no digits.
    origin: Vec<f64>,
    shifted: Vec<f64>,
    /// Σ of the shifted row (features, then targets).
    sum: Vec<f64>,
    /// Σ f_i · row_j for j ≥ i, row-major with `n_features + n_targets` columns.
    products: Vec<f64>,
}

impl Ridge {
    /// No examples yet.
    pub fn new(n_features: usize, n_targets: usize) -> Self {
        let width = n_features + n_targets;
        Self {
            n_features,
            n_targets,
            n_examples: 0,
            origin: vec![0.0; width],
            shifted: vec![0.0; width],
            sum: vec![0.0; width],
            products: vec![0.0; n_features * width],
        }
    }

    /// Adds one example. Panics if the lengths are not those of `new`.
    ///
    /// - equation: S ← S + f·(f, y)ᵀ
    /// - source: normal equations
    /// - scheme and order: upper triangle only, in index order
    /// - stability bound: none
    /// - bytes and flops per example: 4·n² bytes of sums, n² flops
    pub fn add(&mut self, features: &[f64], targets: &[f64]) {
        assert!(features.len() == self.n_features && targets.len() == self.n_targets);
        let width = self.origin.len();
        let row = features.iter().chain(targets);
        if self.n_examples == 0 {
            self.origin.iter_mut().zip(row.clone()).for_each(|(slot, value)| *slot = *value);
        }
        self.n_examples += 1;
        for ((slot, value), origin) in self.shifted.iter_mut().zip(row).zip(&self.origin) {
            *slot = value - origin;
        }
        for (sum, value) in self.sum.iter_mut().zip(&self.shifted) {
            *sum += value;
        }
        for i in 0..self.n_features {
            let value = self.shifted[i];
            let products = &mut self.products[i * width + i..(i + 1) * width];
            for (product, other) in products.iter_mut().zip(&self.shifted[i..]) {
                *product += value * other;
            }
        }
    }

    /// The weights that minimise Σ|y − W·(1, f)|² + ridge·Σ_i var_i·n·w_i², one row per target.
    ///
    /// The penalty is relative to each feature's own variance, so that units of features don't matter; the bias is
    /// not penalised. A feature without variance gets weight 0.
    ///
    /// - equation: (C + ridge·diag C)·w = c, C the centred Gram matrix
    /// - source: Hoerl & Kennard 1970; Cholesky C = LLᵀ
    /// - scheme and order: direct
    /// - stability bound: relative error about ε·cond(C)
    /// - bytes and flops: 8·n² bytes, n³/3 flops
    ///
    /// # Errors
    /// [`ReadoutError`] with fewer than two examples or a singular system.
    pub fn solve(&self, ridge: f64) -> Result<Vec<f64>, ReadoutError> {
        if self.n_examples < 2 {
            return Err(ReadoutError::TooFewExamples { found: self.n_examples });
        }
        let (n, width) = (self.n_features, self.n_features + self.n_targets);
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / self.n_examples as f64).collect();
        let centred = |i: usize, j: usize| self.products[i * width + j] - self.sum[i] * mean[j];
        let mut factor = vec![0.0; n * n];
        for i in 0..n {
            // Rounding leaves a constant feature a variance of about ε·(its sum of squares).
            let variance = centred(i, i);
            let is_constant = variance <= 1e-14 * self.products[i * width + i];
            for j in 0..i {
                factor[i * n + j] = centred(j, i);
            }
            factor[i * n + i] = if is_constant { f64::INFINITY } else { variance * (1.0 + ridge) };
        }
        cholesky(&mut factor, n)?;
        let mut weights = vec![0.0; self.n_targets * (n + 1)];
        for (target, row) in weights.chunks_exact_mut(n + 1).enumerate() {
            let slopes = &mut row[1..];
            for (i, slope) in slopes.iter_mut().enumerate() {
                *slope = centred(i, n + target);
            }
            solve_in_place(&factor, slopes);
            let at_origin = self.origin[n + target] + mean[n + target];
            let offset: f64 =
                row[1..].iter().enumerate().map(|(i, slope)| slope * (self.origin[i] + mean[i])).sum();
            row[0] = at_origin - offset;
        }
        Ok(weights)
    }
}

/// Replaces the lower triangle of the row-major `n`×`n` matrix by L with LLᵀ = A. An infinite diagonal entry makes
/// its row zero: that unknown is left out.
fn cholesky(a: &mut [f64], n: usize) -> Result<(), ReadoutError> {
    for i in 0..n {
        let (above, row) = a.split_at_mut(i * n);
        let row = &mut row[..n];
        let diagonal = row[i];
        if diagonal == f64::INFINITY {
            row[..i].fill(0.0);
            continue;
        }
        for j in 0..i {
            let other = &above[j * n..j * n + j + 1];
            let dot: f64 = dot(&row[..j], &other[..j]);
            row[j] = if other[j] == f64::INFINITY { 0.0 } else { (row[j] - dot) / other[j] };
        }
        let pivot = diagonal - dot(&row[..i], &row[..i]);
        // A negated comparison would let NaN pass.
        if pivot > 0.0 {
            row[i] = pivot.sqrt();
        } else {
            return Err(ReadoutError::Singular { feature: i, pivot: pivot / diagonal });
        }
    }
    Ok(())
}

/// Σ a_i b_i in eight running sums, so that it vectorises; the order is fixed.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_blocks, b_blocks) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a_blocks.remainder().iter().zip(b_blocks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_blocks.zip(b_blocks) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + tail
}

/// LLᵀx = b, b replaced by x.
fn solve_in_place(factor: &[f64], b: &mut [f64]) {
    let n = b.len();
    for i in 0..n {
        let (done, rest) = b.split_at_mut(i);
        rest[0] = (rest[0] - dot(&factor[i * n..i * n + i], done)) / factor[i * n + i];
    }
    for i in (0..n).rev() {
        let below: f64 = (i + 1..n).map(|j| factor[j * n + i] * b[j]).sum();
        b[i] = (b[i] - below) / factor[i * n + i];
    }
}

/// Recursive least squares: weights that follow examples one at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Recursive {
    /// One row `[bias, w_1 … w_n]` per target.
    pub weights: Vec<f64>,
    /// The inverse of the weighted Gram matrix, (n + 1)², row-major.
    pub inverse: Vec<f64>,
    gain: Vec<f64>,
    row: Vec<f64>,
}

impl Recursive {
    /// Zero weights; `ridge` is the penalty on every weight, bias included.
    pub fn new(n_features: usize, n_targets: usize, ridge: f64) -> Self {
        let width = n_features + 1;
        let mut inverse = vec![0.0; width * width];
        inverse.iter_mut().step_by(width + 1).for_each(|diagonal| *diagonal = 1.0 / ridge);
        Self { weights: vec![0.0; n_targets * width], inverse, gain: vec![0.0; width], row: vec![0.0; width] }
    }

    /// Learns one example; examples of long ago count `forgetting` (0 < φ ≤ 1) less per step.
    ///
    /// - equation: k = Pf/(φ + fᵀPf), w ← w + k(y − w·f), P ← (P − k fᵀP)/φ
    /// - source: Haykin, ch. 10
    /// - scheme and order: exact; with φ = 1 the ridge regression of all examples so far
    /// - stability bound: P stays symmetric because both triangles are written from one product
    /// - bytes and flops per example: 16·n² bytes, 4·n² flops
    pub fn learn(&mut self, features: &[f64], targets: &[f64], forgetting: f64) {
        let width = self.row.len();
        assert!(features.len() + 1 == width && targets.len() * width == self.weights.len());
        self.row[0] = 1.0;
        self.row[1..].copy_from_slice(features);
        for (gain, line) in self.gain.iter_mut().zip(self.inverse.chunks_exact(width)) {
            *gain = dot(line, &self.row);
        }
        let scale = 1.0 / (forgetting + dot(&self.gain, &self.row));
        for (weights, target) in self.weights.chunks_exact_mut(width).zip(targets) {
            let error = (target - dot(weights, &self.row)) * scale;
            weights.iter_mut().zip(&self.gain).for_each(|(weight, gain)| *weight += gain * error);
        }
        for (line, &gain) in self.inverse.chunks_exact_mut(width).zip(&self.gain) {
            for (value, other) in line.iter_mut().zip(&self.gain) {
                *value = (*value - gain * other * scale) / forgetting;
            }
        }
    }
}

#[cfg(test)]
mod tests;
