//! The reference: an echo-state network of leaky tanh units with sparse random recurrent weights.
//! Invariant: a network depends on its parameters and seed only; its spectral radius is the one asked for.
//! Source: Jaeger, GMD report 148 (2001); Jaeger, Lukoševičius, Popovici & Siewert, Neural Netw. 20 (2007) 335.

use super::TaskError;
use super::reservoir::Reservoir;
use nikola_systems::components::noise;

/// Recurrent connections per unit.
const DEGREE: usize = 10;

/// Steps of the power iteration that measures the spectral radius, and those left out as transient.
const POWER_STEPS: usize = 600;
const POWER_TRANSIENT: usize = 200;

const STREAM_TARGETS: u32 = 0x4553_4e01;
const STREAM_WEIGHTS: u32 = 0x4553_4e02;
const STREAM_INPUTS: u32 = 0x4553_4e03;
const STREAM_BIAS: u32 = 0x4553_4e04;

/// What is tuned.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct EsnParameters {
    /// Largest modulus of the recurrent matrix' eigenvalues.
    pub spectral_radius: f64,
    /// Input weights are uniform in ± this.
    pub input_scale: f64,
    /// Share of the new state per step, in (0, 1].
    pub leak: f64,
    /// Biases are uniform in ± this.
    pub bias: f64,
}

/// A network.
#[derive(Debug, Clone)]
pub struct EchoStateNetwork {
    leak: f64,
    n_inputs: usize,
    /// `DEGREE` (source, weight) pairs per unit.
    connections: Vec<(u32, f64)>,
    /// `n_inputs` weights per unit.
    input_weights: Vec<f64>,
    bias: Vec<f64>,
    state: Vec<f64>,
    next: Vec<f64>,
}

impl EchoStateNetwork {
    /// A network of `n_units` at rest.
    pub fn new(n_units: usize, n_inputs: usize, parameters: &EsnParameters, seed: u64) -> Self {
        let symmetric = |stream, i: usize| 2.0 * noise::uniform(seed, stream, 0, i as u64) - 1.0;
        let source = |i: usize| {
            let pick = noise::uniform(seed, STREAM_TARGETS, 0, i as u64);
            ((pick * n_units as f64) as usize).min(n_units - 1) as u32
        };
        let mut connections: Vec<(u32, f64)> =
            (0..n_units * DEGREE).map(|i| (source(i), symmetric(STREAM_WEIGHTS, i))).collect();
        let scale = parameters.spectral_radius / spectral_radius(&connections, n_units);
        connections.iter_mut().for_each(|(_, weight)| *weight *= scale);
        Self {
            leak: parameters.leak,
            n_inputs,
            connections,
            input_weights: (0..n_units * n_inputs)
                .map(|i| parameters.input_scale * symmetric(STREAM_INPUTS, i))
                .collect(),
            bias: (0..n_units).map(|i| parameters.bias * symmetric(STREAM_BIAS, i)).collect(),
            state: vec![0.0; n_units],
            next: vec![0.0; n_units],
        }
    }
}

/// Growth per step of a random vector under the matrix: its largest |eigenvalue|, whatever the eigenvalues' phases.
fn spectral_radius(connections: &[(u32, f64)], n_units: usize) -> f64 {
    let mut x: Vec<f64> = (0..n_units).map(|i| 1.0 + (i % 7) as f64).collect();
    let mut log_growth = 0.0;
    for step in 0..POWER_STEPS {
        let mut y: Vec<f64> = connections
            .chunks_exact(DEGREE)
            .map(|row| row.iter().map(|(source, weight)| weight * x[*source as usize]).sum())
            .collect();
        let norm = y.iter().map(|y| y * y).sum::<f64>().sqrt();
        y.iter_mut().for_each(|y| *y /= norm);
        if step >= POWER_TRANSIENT {
            log_growth += norm.ln();
        }
        x = y;
    }
    (log_growth / (POWER_STEPS - POWER_TRANSIENT) as f64).exp()
}

impl Reservoir for EchoStateNetwork {
    fn n_features(&self) -> usize {
        self.state.len()
    }

    fn step(&mut self, inputs: &[f64], features: &mut [f64]) -> Result<(), TaskError> {
        let rows = self.connections.chunks_exact(DEGREE).zip(self.input_weights.chunks_exact(self.n_inputs));
        for (i, (row, input_weights)) in rows.enumerate() {
            let driven: f64 = input_weights.iter().zip(inputs).map(|(w, u)| w * u).sum();
            let recurrent: f64 = row.iter().map(|(source, w)| w * self.state[*source as usize]).sum();
            let target = (self.bias[i] + driven + recurrent).tanh();
            self.next[i] = (1.0 - self.leak) * self.state[i] + self.leak * target;
        }
        std::mem::swap(&mut self.state, &mut self.next);
        features.copy_from_slice(&self.state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: EsnParameters =
        EsnParameters { spectral_radius: 0.9, input_scale: 0.5, leak: 1.0, bias: 0.1 };

    #[test]
    fn the_spectral_radius_is_the_one_asked_for() {
        // Small signals decay by the radius per step: the slope of ln|x| over many steps of the linear regime.
        for radius in [0.5, 0.9] {
            let parameters =
                EsnParameters { spectral_radius: radius, bias: 0.0, input_scale: 1e-6, ..PARAMETERS };
            let mut network = EchoStateNetwork::new(200, 1, &parameters, 5);
            let mut x = vec![0.0; 200];
            network.step(&[1.0], &mut x).expect("finite");
            // The largest entry: squares of what 600 steps leave would underflow.
            let norm = |x: &[f64]| x.iter().fold(0.0_f64, |norm, x| norm.max(x.abs()));
            for _ in 0..300 {
                network.step(&[0.0], &mut x).expect("finite");
            }
            let before = norm(&x);
            for _ in 0..300 {
                network.step(&[0.0], &mut x).expect("finite");
            }
            let found = (norm(&x) / before).powf(1.0 / 300.0);
            assert!((found - radius).abs() < 0.01, "{found} instead of {radius}");
        }
    }

    #[test]
    fn forgets_its_start() {
        // The echo-state property: two states driven alike become one.
        let mut a = EchoStateNetwork::new(100, 1, &PARAMETERS, 1);
        let mut b = a.clone();
        b.state.iter_mut().for_each(|x| *x = 0.5);
        let (mut x, mut y) = (vec![0.0; 100], vec![0.0; 100]);
        for k in 0..400 {
            let input = [(0.3 * f64::from(k)).sin()];
            a.step(&input, &mut x).expect("finite");
            b.step(&input, &mut y).expect("finite");
        }
        assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-10));
    }
}
