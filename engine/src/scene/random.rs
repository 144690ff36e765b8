//! Random initial fields: white noise and thermal modes.
//! Invariant: the value at a node depends on (seed, stream, canonical index of the node) only, so that it is the
//! same for every page shape, thread count and platform.

use super::evaluate::Grid;
use super::separable::{Complex, Separable, polar};
use core::f64::consts::FRAC_1_SQRT_2;
use nikola_components::fill::ComplexFill;
use nikola_components::noise;
use std::sync::Arc;

/// First streams of scene noise, far from those of the engine's own random numbers.
const WHITE_STREAM: u32 = 0x5ce0_0000;
const MODES_STREAM: u32 = 0x5ce1_0000;

/// A complex normal number with ⟨|a|²⟩ = 1.
fn complex_normal(seed: u64, first_stream: u32, stream: u32, index: u64) -> Complex {
    let (a, b) = noise::normal_pair(seed, first_stream.wrapping_add(stream), 0, index);
    (a * FRAC_1_SQRT_2, b * FRAC_1_SQRT_2)
}

/// Independent complex normal numbers on every node.
pub struct White {
    /// Where.
    pub grid: Arc<Grid>,
    /// Root mean square.
    pub rms: f64,
    /// Scene seed.
    pub seed: u64,
    /// Which noise of the scene.
    pub stream: u32,
}

impl ComplexFill for White {
    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        let extents = *self.grid.torus.extents();
        self.grid.torus.for_each_node(page, |i, node| {
            let index = (0..9).fold(0u64, |index, d| index * extents[d] as u64 + node[d] as u64);
            let (a, b) = complex_normal(self.seed, WHITE_STREAM, self.stream, index);
            re[i] = self.rms * a;
            im[i] = self.rms * b;
        });
    }
}

/// A sum of plane waves with random amplitudes.
pub struct Modes {
    waves: Vec<Separable>,
}

impl Modes {
    /// All modes |m_d| ≤ `mode_max[d]`, weighted by 1/(½ΣDk² + gap), scaled to ⟨|Ψ|²⟩ = rms².
    pub fn new(
        grid: &Arc<Grid>,
        mode_max: [i64; 9],
        diffusion: &[f64; 9],
        gap: f64,
        rms: f64,
        seed: u64,
        stream: u32,
    ) -> Self {
        let spans = mode_max.map(|max| (2 * max + 1) as u64);
        let count: u64 = spans.iter().product();
        let mode = |mut index: u64| -> [i64; 9] {
            let mut mode = [0; 9];
            for d in (0..9).rev() {
                mode[d] = (index % spans[d]) as i64 - mode_max[d];
                index /= spans[d];
            }
            mode
        };
        let wave_number = |d: usize, m: i64| core::f64::consts::TAU * m as f64 / grid.torus.lengths()[d];
        let weight = |mode: &[i64; 9]| {
            let kinetic: f64 = (0..9).map(|d| 0.5 * diffusion[d] * wave_number(d, mode[d]).powi(2)).sum();
            1.0 / (kinetic + gap)
        };
        let total: f64 = (0..count).map(|index| weight(&mode(index))).sum();
        let waves = (0..count).map(|index| {
            let mode = mode(index);
            let (a, b) = complex_normal(seed, MODES_STREAM, stream, index);
            let scale = rms * libm::sqrt(weight(&mode) / total);
            let wave = Separable::new(grid.clone(), (scale * a, scale * b));
            (0..9).filter(|&d| mode[d] != 0).fold(wave, |wave, d| {
                wave.along(d, |position| polar(1.0, wave_number(d, mode[d]) * position))
            })
        });
        Self { waves: waves.collect() }
    }
}

impl ComplexFill for Modes {
    fn fill(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        re.fill(0.0);
        im.fill(0.0);
        for wave in &self.waves {
            wave.add(page, re, im);
        }
    }
}
