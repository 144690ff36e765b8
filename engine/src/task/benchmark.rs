//! The four benchmarks: what is fed, what is wanted, how a figure comes about.
//!
//! Invariant: one code for every reservoir. Readouts are ridge regressions on the same training samples; the ridge
//! with the best validation figure gives the test figure. Nothing is reset between segments: each begins with enough
//! true samples for a reservoir to forget what it predicted before.
//! Sources: NRMSE of NARMA-10 as Atiya & Parlos 2000; 84-step error of Mackey–Glass in closed loop as Jaeger & Haas
//! 2004; valid prediction time in Lyapunov times, error above 0.4 deviations, as Pathak et al., Phys. Rev. Lett. 120
//! (2018) 024102; linear memory capacity as Jaeger, GMD report 152 (2001).

use super::TaskError;
use super::esn::EsnParameters;
use super::reservoir::Reservoir;
use super::series::{self, LORENZ_LYAPUNOV, LORENZ_SAMPLE, LORENZ_SCALE, MACKEY_GLASS_SCALE};
use nikola_systems::kernels::readout::{ReadoutError, Ridge, predict};

/// Ridges tried, relative to each feature's variance.
const RIDGES: [f64; 6] = [1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4];

/// A prediction is valid while its error stays below this many standard deviations.
const VALID_ERROR: f64 = 0.4;

/// Feedback is kept within this many standard deviations, so that a run that has failed stays finite.
const FEEDBACK_MAX: f64 = 4.0;

/// The step whose error is the figure of Mackey–Glass.
const MACKEY_GLASS_STEP: usize = 84;

/// Delays of the memory capacity per feature.
const DELAYS_PER_FEATURE: usize = 2;

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Benchmark {
    /// Tenth-order nonlinear autoregressive moving average of a random input.
    Narma10,
    /// Mackey–Glass with τ = 17, predicted in closed loop.
    MackeyGlass,
    /// Lorenz-63, predicted in closed loop.
    Lorenz63,
    /// Linear reconstruction of past random inputs.
    MemoryCapacity,
}

impl Benchmark {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Narma10, Self::MackeyGlass, Self::Lorenz63, Self::MemoryCapacity];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Narma10 => "narma10",
            Self::MackeyGlass => "mackey-glass",
            Self::Lorenz63 => "lorenz63",
            Self::MemoryCapacity => "memory-capacity",
        }
    }

    /// What is compared.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Narma10 => "NRMSE",
            Self::MackeyGlass => "NRMSE of step 84 in closed loop",
            Self::Lorenz63 => "valid prediction time, Lyapunov times",
            Self::MemoryCapacity => "linear memory capacity, steps",
        }
    }

    /// Whether figure `a` beats `b`. NaN never does.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Self::Narma10 | Self::MackeyGlass => a < b || (b.is_nan() && !a.is_nan()),
            Self::Lorenz63 | Self::MemoryCapacity => a > b || (b.is_nan() && !a.is_nan()),
        }
    }

    /// Networks that compete for the best validation figure.
    pub fn network_grid(self, lengths: &Lengths) -> Vec<EsnParameters> {
        let (radii, inputs, leaks, bias): (&[f64], &[f64], &[f64], f64) = match self {
            Self::MemoryCapacity => (&[0.9, 0.95, 0.99, 1.0], &[1e-3, 1e-2, 1e-1], &[1.0], 0.0),
            Self::MackeyGlass => (&[0.7, 0.9, 0.99], &[0.05, 0.15, 0.5], &[0.2, 0.4, 1.0], 0.2),
            Self::Narma10 | Self::Lorenz63 => (&[0.4, 0.7, 0.9, 0.99], &[0.03, 0.1, 0.3], &[0.5, 1.0], 0.3),
        };
        let mut grid = Vec::new();
        for &spectral_radius in radii {
            for &input_scale in inputs {
                for &leak in leaks {
                    grid.push(EsnParameters { spectral_radius, input_scale, leak, bias });
                }
            }
        }
        let stride = grid.len().div_ceil(lengths.networks_max).max(1);
        grid.into_iter().step_by(stride).collect()
    }

    /// The samples of a run.
    pub fn data(self, lengths: &Lengths, seed: u64) -> Data {
        let n_open = lengths.washout + lengths.train + lengths.validation + lengths.test;
        let n_closed = lengths.washout
            + lengths.train
            + 2 * lengths.segments * lengths.segment_stride()
            + lengths.horizon;
        let standard = |(mean, deviation): (f64, f64), x: f64| (x - mean) / deviation;
        let (samples, wanted): (Vec<Vec<f64>>, Vec<f64>) = match self {
            Self::Narma10 => {
                let inputs = series::uniform(n_open + 1, 0.0, 0.5, seed);
                let wanted = series::narma10(&inputs)[1..].to_vec();
                (inputs[..n_open].iter().map(|u| vec![4.0 * u - 1.0]).collect(), wanted)
            }
            Self::MemoryCapacity => {
                (series::uniform(n_open, -1.0, 1.0, seed).into_iter().map(|u| vec![u]).collect(), Vec::new())
            }
            Self::MackeyGlass => {
                let start = 1.1 + 0.2 * series::uniform(1, 0.0, 1.0, seed)[0];
                let x = series::mackey_glass(n_closed, 10, start, 1000);
                (x.into_iter().map(|x| vec![standard(MACKEY_GLASS_SCALE, x)]).collect(), Vec::new())
            }
            Self::Lorenz63 => {
                let start: [f64; 3] = core::array::from_fn(|d| 1.0 + series::uniform(3, 0.0, 1.0, seed)[d]);
                let points = series::lorenz63(n_closed, LORENZ_SAMPLE, 10, start, 1000);
                let scaled = |point: [f64; 3]| (0..3).map(|d| standard(LORENZ_SCALE[d], point[d])).collect();
                (points.into_iter().map(scaled).collect(), Vec::new())
            }
        };
        let n_inputs = samples.first().map_or(1, Vec::len);
        Data { benchmark: self, lengths: *lengths, n_inputs, samples, wanted }
    }
}

/// How many samples are used for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Steps before training, during which the start is forgotten.
    pub washout: usize,
    /// Training steps.
    pub train: usize,
    /// Validation steps of open-loop benchmarks.
    pub validation: usize,
    /// Test steps of open-loop benchmarks.
    pub test: usize,
    /// Closed-loop predictions for validation, and as many for the test.
    pub segments: usize,
    /// True samples before each.
    pub synchronise: usize,
    /// Longest closed-loop prediction.
    pub horizon: usize,
    /// Networks tried.
    pub networks_max: usize,
}

impl Lengths {
    /// The lengths that are reported.
    pub const FULL: Self = Self {
        washout: 300,
        train: 2500,
        validation: 1500,
        test: 2000,
        segments: 20,
        synchronise: 150,
        horizon: 1000,
        networks_max: usize::MAX,
    };

    /// A few seconds: for tests and a first look.
    pub const QUICK: Self = Self {
        washout: 150,
        train: 900,
        validation: 300,
        test: 400,
        segments: 4,
        synchronise: 100,
        horizon: 300,
        networks_max: 2,
    };

    fn segment_stride(&self) -> usize {
        self.synchronise + MACKEY_GLASS_STEP
    }
}

/// One reservoir's result.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Figure {
    /// On validation data, with the ridge that was chosen there.
    pub validation: f64,
    /// On test data.
    pub test: f64,
    /// Mean valid prediction time on test data, model time; closed loop only.
    pub valid_time: Option<f64>,
    /// The ridge.
    pub ridge: f64,
}

/// The samples of one run.
#[derive(Debug, Clone)]
pub struct Data {
    benchmark: Benchmark,
    lengths: Lengths,
    /// Inputs per step.
    pub n_inputs: usize,
    samples: Vec<Vec<f64>>,
    /// NARMA's output after each step; empty where targets are samples themselves.
    wanted: Vec<f64>,
}

impl Data {
    /// Trains, selects and tests one reservoir.
    ///
    /// # Errors
    /// [`TaskError`] when the reservoir diverges or no ridge gives a readout.
    pub fn measure(&self, reservoir: &mut dyn Reservoir) -> Result<Figure, TaskError> {
        match self.benchmark {
            Benchmark::Narma10 | Benchmark::MemoryCapacity => self.open_loop(reservoir),
            Benchmark::MackeyGlass | Benchmark::Lorenz63 => self.closed_loop(reservoir),
        }
    }

    fn n_targets(&self, n_features: usize) -> usize {
        match self.benchmark {
            Benchmark::Narma10 => 1,
            Benchmark::MemoryCapacity => (DELAYS_PER_FEATURE * n_features).min(self.lengths.washout),
            Benchmark::MackeyGlass | Benchmark::Lorenz63 => self.n_inputs,
        }
    }

    /// What a readout should give after step `k`.
    fn target(&self, k: usize, out: &mut [f64]) {
        match self.benchmark {
            Benchmark::Narma10 => out[0] = self.wanted[k],
            Benchmark::MemoryCapacity => {
                for (delay, slot) in out.iter_mut().enumerate() {
                    *slot = self.samples[k - delay][0];
                }
            }
            Benchmark::MackeyGlass | Benchmark::Lorenz63 => out.copy_from_slice(&self.samples[k + 1]),
        }
    }

    /// Feeds the washout and the training samples.
    fn train(&self, reservoir: &mut dyn Reservoir) -> Result<Ridge, TaskError> {
        let n_features = reservoir.n_features();
        let mut features = vec![0.0; n_features];
        let mut targets = vec![0.0; self.n_targets(n_features)];
        let mut ridge = Ridge::new(n_features, targets.len());
        for k in 0..self.lengths.washout + self.lengths.train {
            reservoir.step(&self.samples[k], &mut features)?;
            if k >= self.lengths.washout {
                self.target(k, &mut targets);
                ridge.add(&features, &targets);
            }
        }
        Ok(ridge)
    }

    fn open_loop(&self, reservoir: &mut dyn Reservoir) -> Result<Figure, TaskError> {
        let sums = self.train(reservoir)?;
        let n_features = reservoir.n_features();
        let first = self.lengths.washout + self.lengths.train;
        let mut rows = vec![0.0; n_features * (self.lengths.validation + self.lengths.test)];
        for (row, sample) in rows.chunks_exact_mut(n_features).zip(&self.samples[first..]) {
            reservoir.step(sample, row)?;
        }
        let (validation, test) = rows.split_at(n_features * self.lengths.validation);
        let (ridge, weights, figure) =
            self.select(&sums, |weights| Ok(self.open_figure(weights, validation, n_features, first)))?;
        let test = self.open_figure(&weights, test, n_features, first + self.lengths.validation);
        Ok(Figure { validation: figure, test, valid_time: None, ridge })
    }

    /// The ridge with the best figure: (ridge, weights, figure).
    fn select(
        &self,
        sums: &Ridge,
        mut figure: impl FnMut(&[f64]) -> Result<f64, TaskError>,
    ) -> Result<(f64, Vec<f64>, f64), TaskError> {
        let mut best: Option<(f64, Vec<f64>, f64)> = None;
        let mut refusal = ReadoutError::TooFewExamples { found: 0 };
        for ridge in RIDGES {
            let weights = match sums.solve(ridge) {
                Ok(weights) => weights,
                Err(error) => {
                    refusal = error;
                    continue;
                }
            };
            let found = figure(&weights)?;
            if best.as_ref().is_none_or(|(.., known)| self.benchmark.is_better(found, *known)) {
                best = Some((ridge, weights, found));
            }
        }
        best.ok_or(TaskError::Readout(refusal))
    }

    /// NRMSE, or the sum over delays of the squared correlation with the past input.
    fn open_figure(&self, weights: &[f64], rows: &[f64], n_features: usize, first: usize) -> f64 {
        let n_targets = self.n_targets(n_features);
        let (mut found, mut targets) = (vec![0.0; n_targets], vec![0.0; n_targets]);
        let mut statistics = vec![Pairs::default(); n_targets];
        for (i, row) in rows.chunks_exact(n_features).enumerate() {
            predict(weights, row, &mut found);
            self.target(first + i, &mut targets);
            for ((pairs, found), target) in statistics.iter_mut().zip(&found).zip(&targets) {
                pairs.add(*found, *target);
            }
        }
        match self.benchmark {
            Benchmark::MemoryCapacity => statistics.iter().map(Pairs::correlation_squared).sum(),
            _ => statistics[0].nrmse(),
        }
    }

    fn closed_loop(&self, reservoir: &mut dyn Reservoir) -> Result<Figure, TaskError> {
        let sums = self.train(reservoir)?;
        let mut time = 0.0;
        let n = self.lengths.segments;
        let (ridge, weights, validation) =
            self.select(&sums, |weights| Ok(self.free_runs(reservoir, weights, 0..n)?.0))?;
        let (test, steps) = self.free_runs(reservoir, &weights, n..2 * n)?;
        time += steps * if self.benchmark == Benchmark::Lorenz63 { LORENZ_SAMPLE } else { 1.0 };
        Ok(Figure { validation, test, valid_time: Some(time), ridge })
    }

    /// Runs segments in closed loop. Returns the figure and the mean number of valid steps.
    fn free_runs(
        &self,
        reservoir: &mut dyn Reservoir,
        weights: &[f64],
        segments: core::ops::Range<usize>,
    ) -> Result<(f64, f64), TaskError> {
        let (mut squares, mut valid_steps) = (0.0, 0.0);
        let n = segments.len() as f64;
        for segment in segments {
            let first = self.lengths.washout + self.lengths.train + segment * self.lengths.segment_stride();
            let run = self.free_run(reservoir, weights, first)?;
            squares += run.square_at_step;
            valid_steps += run.valid_steps as f64 / n;
        }
        let figure = match self.benchmark {
            Benchmark::Lorenz63 => valid_steps * LORENZ_SAMPLE * LORENZ_LYAPUNOV,
            _ => (squares / n).sqrt(),
        };
        Ok((figure, valid_steps))
    }

    /// Synchronises on true samples from `first` on, then feeds predictions back.
    fn free_run(
        &self,
        reservoir: &mut dyn Reservoir,
        weights: &[f64],
        first: usize,
    ) -> Result<FreeRun, TaskError> {
        let mut features = vec![0.0; reservoir.n_features()];
        let mut predicted = vec![0.0; self.n_inputs];
        let start = first + self.lengths.synchronise;
        for sample in &self.samples[first..start] {
            reservoir.step(sample, &mut features)?;
        }
        let mut run = FreeRun { square_at_step: 0.0, valid_steps: self.lengths.horizon };
        // The Mackey–Glass figure needs the error of its step even after the prediction has failed.
        let step_needed = if self.benchmark == Benchmark::MackeyGlass { MACKEY_GLASS_STEP } else { 0 };
        for step in 1..=self.lengths.horizon {
            predict(weights, &features, &mut predicted);
            let square: f64 =
                predicted.iter().zip(&self.samples[start + step - 1]).map(|(a, b)| (a - b).powi(2)).sum();
            if step == MACKEY_GLASS_STEP {
                run.square_at_step = square;
            }
            let is_valid = (square / self.n_inputs as f64).sqrt() <= VALID_ERROR;
            if !is_valid {
                run.valid_steps = run.valid_steps.min(step - 1);
            }
            if run.valid_steps < self.lengths.horizon && step >= step_needed {
                break;
            }
            predicted.iter_mut().for_each(|value| *value = value.clamp(-FEEDBACK_MAX, FEEDBACK_MAX));
            reservoir.step(&predicted, &mut features)?;
        }
        Ok(run)
    }
}

/// One closed-loop prediction.
struct FreeRun {
    /// Squared error at step 84, in variances.
    square_at_step: f64,
    /// Steps before the error exceeded [`VALID_ERROR`].
    valid_steps: usize,
}

/// Sums over (found, wanted).
#[derive(Debug, Clone, Copy, Default)]
struct Pairs {
    n: f64,
    found: f64,
    wanted: f64,
    found_squared: f64,
    wanted_squared: f64,
    product: f64,
    error_squared: f64,
}

impl Pairs {
    fn add(&mut self, found: f64, wanted: f64) {
        self.n += 1.0;
        self.found += found;
        self.wanted += wanted;
        self.found_squared += found * found;
        self.wanted_squared += wanted * wanted;
        self.product += found * wanted;
        self.error_squared += (found - wanted) * (found - wanted);
    }

    fn wanted_variance(&self) -> f64 {
        self.wanted_squared / self.n - (self.wanted / self.n).powi(2)
    }

    fn nrmse(&self) -> f64 {
        (self.error_squared / self.n / self.wanted_variance()).sqrt()
    }

    fn correlation_squared(&self) -> f64 {
        let covariance = self.product / self.n - self.found * self.wanted / (self.n * self.n);
        let found_variance = self.found_squared / self.n - (self.found / self.n).powi(2);
        let denominator = found_variance * self.wanted_variance();
        if denominator > 0.0 { covariance * covariance / denominator } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Features that are the last `n` inputs: what every figure of a perfect memory must be is known.
    struct DelayLine(Vec<f64>);

    impl Reservoir for DelayLine {
        fn n_features(&self) -> usize {
            self.0.len()
        }

        fn step(&mut self, inputs: &[f64], features: &mut [f64]) -> Result<(), TaskError> {
            self.0.rotate_right(1);
            self.0[0] = inputs[0];
            features.copy_from_slice(&self.0);
            Ok(())
        }
    }

    #[test]
    fn a_delay_line_remembers_exactly_its_length() {
        let data = Benchmark::MemoryCapacity.data(&Lengths::QUICK, 1);
        let figure = data.measure(&mut DelayLine(vec![0.0; 20])).expect("full rank");
        assert!((figure.test - 20.0).abs() < 0.3, "{figure:?}");
    }

    #[test]
    fn a_linear_memory_leaves_the_known_share_of_narma() {
        // The best linear predictor of NARMA-10 leaves an NRMSE near 0.4 (0.38–0.45 in the literature).
        let data = Benchmark::Narma10.data(&Lengths { train: 3000, ..Lengths::QUICK }, 1);
        let figure = data.measure(&mut DelayLine(vec![0.0; 30])).expect("full rank");
        assert!((0.3..0.5).contains(&figure.test), "{figure:?}");
    }

    #[test]
    fn validation_and_test_use_different_samples_and_seeds_matter() {
        let figures: Vec<_> = [1, 2]
            .map(|seed| Benchmark::Narma10.data(&Lengths::QUICK, seed).measure(&mut DelayLine(vec![0.0; 12])))
            .into_iter()
            .map(|figure| figure.expect("full rank"))
            .collect();
        assert_ne!(figures[0].validation, figures[0].test);
        assert_ne!(figures[0].test, figures[1].test);
    }

    #[test]
    fn a_closed_loop_of_a_linear_predictor_is_judged_not_rewarded() {
        let data = Benchmark::MackeyGlass.data(&Lengths::QUICK, 1);
        let figure = data.measure(&mut DelayLine(vec![0.0; 30])).expect("full rank");
        assert!(figure.test > 0.1 && figure.test.is_finite(), "{figure:?}");
        assert!(figure.valid_time.is_some_and(|time| time < 200.0), "{figure:?}");
    }

    #[test]
    fn better_means_lower_errors_and_longer_times() {
        assert!(Benchmark::Narma10.is_better(0.1, 0.2) && !Benchmark::Narma10.is_better(f64::NAN, 0.2));
        assert!(Benchmark::Lorenz63.is_better(7.0, 6.0) && Benchmark::Lorenz63.is_better(1.0, f64::NAN));
    }
}
