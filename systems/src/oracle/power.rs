//! The power of the sources: 2dt·Re⟨E, hΨ⟩ and 2dt·Re⟨E, Ψ⟩ at a tick border.
//!
//! Invariant: reads the nodes where a profile or T of it is above the emitters' cutoff, in a fixed order. T acts on
//! the profile once, when the world is built; so a border costs one pass over those nodes per distinct profile,
//! however many emitters share it.
//!
//! The step conserves H̃ = H + O(dt²), not H, and a source that works all the time would let the difference pile up:
//! 2dt·Re⟨E, (h̃ − h)Ψ⟩ per border. So T̃E = h̃E − VE stands for TE, where h̃ is the generator of one linear step,
//! h̃E = i d/dn(Sⁿ E) at n = 0, by the five-point difference over n = ±1, ±2 steps, S = e^{−iVdt/2}e^{−iTdt}e^{−iVdt/2}
//! (error (dt·h)⁴/30). With β the rest is O(dt²β).

use crate::oracle::account::Amount;
use crate::world::{EMITTER_CUTOFF, Sources, fill_profile};
use nikola_components::clock::Tick;
use nikola_components::emitter::Emitter;
use nikola_components::setup::{Setup, WaveParameters};
use nikola_kernels::backend::WorkList;
use nikola_kernels::energy::KineticForm;
use nikola_kernels::source::{Strengths, WorkNodes, work};
use nikola_kernels::{PageRef, Real, Values};
use std::sync::Arc;

/// One profile that emitters share.
struct Shared<T> {
    pages: Vec<(usize, WorkNodes<T>)>,
    /// Which emitters, with their amplitudes.
    emitters: Vec<(usize, f64)>,
}

/// Every source of a world, ready to be weighed.
pub struct SourcePower<T> {
    profiles: Vec<Shared<T>>,
}

impl<T: Real> SourcePower<T> {
    /// Prepares the profiles of the setup's emitters.
    pub fn new(setup: &Setup, form: &KineticForm) -> Self {
        let emitters = &setup.emitters;
        let mut profiles: Vec<(&Emitter, Vec<(usize, f64)>)> = Vec::new();
        for (index, emitter) in emitters.iter().enumerate() {
            let known = profiles.iter_mut().find(|(other, _)| Arc::ptr_eq(&other.profile, &emitter.profile));
            match known {
                Some((_, users)) => users.push((index, emitter.amplitude)),
                None => profiles.push((emitter, vec![(index, emitter.amplitude)])),
            }
        }
        let shared = profiles
            .into_iter()
            .map(|(emitter, emitters)| Shared { pages: nodes(emitter, setup, form), emitters });
        Self { profiles: shared.collect() }
    }

    /// Work of the two half kicks at the border of `tick`, energy and norm. T is `kinetic_scale` times what it was when
    /// the world was built.
    pub fn at(
        &self,
        tick: Tick,
        sources: &Sources<T>,
        wave: &WaveParameters,
        pages: &[PageRef<'_, T>],
        potential: &Values<'_, T>,
        kinetic_scale: f64,
        cell_volume: f64,
    ) -> Amount {
        let mut total = Amount::default();
        for (index, phasor) in self.phasors(tick, sources, wave) {
            let mut sums = [0.0; 4];
            for (page, nodes) in &self.profiles[index].pages {
                let strengths = Strengths { kinetic: kinetic_scale, beta: wave.beta };
                let parts = work(pages[*page], nodes, potential, *page, &strengths);
                sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
            }
            add_work(&mut total, phasor, &sums, wave, cell_volume);
        }
        total
    }

    /// Index and phasor of each profile that works at the border of `tick`.
    pub fn phasors(
        &self,
        tick: Tick,
        sources: &Sources<T>,
        wave: &WaveParameters,
    ) -> impl Iterator<Item = (usize, (f64, f64))> {
        let profiles = if sources.is_muted { &[] } else { &self.profiles[..] };
        profiles.iter().enumerate().filter_map(move |(index, shared)| {
            let (re, im) = phasor(&shared.emitters, sources, tick, wave);
            (re != 0.0 || im != 0.0).then_some((index, (re, im)))
        })
    }

    /// The profiles as a backend takes them.
    pub fn lists(&self, page_nodes: usize) -> Vec<WorkList> {
        let list = |shared: &Shared<T>| {
            let mut list = WorkList::default();
            for (page, nodes) in &shared.pages {
                for (node, weights) in nodes.iter() {
                    list.nodes.push((page * page_nodes) as u32 + node);
                    list.weights.push(weights.map(|weight| weight.to_f64() as f32));
                }
            }
            list
        };
        self.profiles.iter().map(list).collect()
    }
}

/// Adds the work that the sums of a profile say: twice Re(conj(phasor)·s) for energy and norm.
pub fn add_work(
    total: &mut Amount,
    (re, im): (f64, f64),
    sums: &[f64; 4],
    wave: &WaveParameters,
    cell_volume: f64,
) {
    let scale = 2.0 * wave.dt * cell_volume;
    total.energy += scale * (re * sums[0] + im * sums[1]);
    total.norm += scale * (re * sums[2] + im * sums[3]);
}

/// Σ of the phasors, at a tick border, of emitters that share a profile; each with its amplitude.
pub fn phasor<T: Real>(
    emitters: &[(usize, f64)],
    sources: &Sources<T>,
    tick: Tick,
    wave: &WaveParameters,
) -> (f64, f64) {
    let (mut re, mut im) = (0.0, 0.0);
    for &(index, amplitude) in emitters {
        let emitter = &sources.emitters[index];
        let strength = emitter.drive * emitter.envelope.at(tick.time(wave.dt)) * amplitude;
        let turns = emitter.phase.turns(tick.0);
        let (sin, cos) = nikola_kernels::transcendental::sincos(-core::f64::consts::TAU * turns);
        re += strength * cos;
        im += strength * sin;
    }
    (re, im)
}

fn nodes<T: Real>(emitter: &Emitter, setup: &Setup, form: &KineticForm) -> Vec<(usize, WorkNodes<T>)> {
    let torus = &setup.torus;
    let page_nodes = torus.page_nodes();
    let (mut re, mut im) = (vec![0.0; torus.n_nodes()], vec![0.0; torus.n_nodes()]);
    for (page, (re, im)) in re.chunks_mut(page_nodes).zip(im.chunks_mut(page_nodes)).enumerate() {
        emitter.profile.fill(page, re, im);
    }
    let largest = |re: &[f64], im: &[f64]| {
        re.iter().zip(im).fold(0.0_f64, |most, (re, im)| most.max(re * re + im * im))
    };
    let cutoff = EMITTER_CUTOFF * EMITTER_CUTOFF;
    let keep = cutoff * largest(&re, &im);
    for (re, im) in re.iter_mut().zip(&mut im).filter(|(re, im)| **re * **re + **im * **im <= keep) {
        (*re, *im) = (0.0, 0.0);
    }
    let (t_re, t_im) = generator(&re, &im, setup, form);
    let keep_kinetic = cutoff * largest(&t_re, &t_im);
    let mut pages = Vec::new();
    for page in 0..torus.n_pages() {
        let mut nodes = WorkNodes::default();
        for i in 0..page_nodes {
            let at = page * page_nodes + i;
            let (profile, kinetic) = ((re[at], im[at]), (t_re[at], t_im[at]));
            let is_touched = profile.0 * profile.0 + profile.1 * profile.1 > 0.0
                || kinetic.0 * kinetic.0 + kinetic.1 * kinetic.1 > keep_kinetic;
            if is_touched {
                nodes.push(i as u32, profile, kinetic);
            }
        }
        if !nodes.is_empty() {
            pages.push((page, nodes));
        }
    }
    pages
}

/// T̃E, see the module.
fn generator(re: &[f64], im: &[f64], setup: &Setup, form: &KineticForm) -> (Vec<f64>, Vec<f64>) {
    let torus = &setup.torus;
    let mut potential = vec![0.0; torus.n_nodes()];
    for (page, values) in potential.chunks_mut(torus.page_nodes()).enumerate() {
        fill_profile(&setup.potential, page, values);
    }
    let dt = setup.wave.dt;
    let turn = |re: &mut [f64], im: &mut [f64], duration: f64| {
        for ((re, im), v) in re.iter_mut().zip(im).zip(&potential) {
            let (sin, cos) = nikola_kernels::transcendental::sincos(-duration * v);
            (*re, *im) = (*re * cos - *im * sin, *re * sin + *im * cos);
        }
    };
    let (mut out_re, mut out_im) = (vec![0.0; re.len()], vec![0.0; re.len()]);
    for (steps, weight) in [(1, 8.0), (-1, -8.0), (2, -1.0), (-2, 1.0)] {
        let (mut x, mut y) = (re.to_vec(), im.to_vec());
        let step = dt * f64::from(i32::signum(steps));
        for _ in 0..steps.abs() {
            turn(&mut x, &mut y, 0.5 * step);
            form.propagate(&mut x, &mut y, step);
            turn(&mut x, &mut y, 0.5 * step);
        }
        // i·(d/dt): (x + iy)·i = −y + ix.
        let weight = weight / (12.0 * dt);
        out_re.iter_mut().zip(&y).for_each(|(out, y)| *out -= weight * y);
        out_im.iter_mut().zip(&x).for_each(|(out, x)| *out += weight * x);
    }
    for (i, v) in potential.iter().enumerate() {
        out_re[i] -= v * re[i];
        out_im[i] -= v * im[i];
    }
    (out_re, out_im)
}
