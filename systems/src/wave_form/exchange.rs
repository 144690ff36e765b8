//! What sources, damping and a change of D do to the energy of a watched world, booked in the tick in which they do it.
//!
//! Invariant: each factor of the step that does not conserve energy is booked by its own exact change of H, read from the
//! fields before it acts (or, for the kick that closes a tick, after); nothing is sampled, so no quadrature is in the
//! balance. Sources: Δ½|Ψ̇|² on the nodes they touch. Γ in a kick: ∫Γ|Ψ̇|² along it. A uniform Γ in the exact linear
//! flow: there Q = H + (Γ/2)∫Re Ψ*Ψ̇ decays as e^{−Γt} exactly, mode by mode, because ½|Ψ̇ + ΓΨ/2|² + ½⟨Ψ, (ω² − Γ²/4)Ψ⟩
//! does; so the balance knows H at the flow's end from H at its beginning and both cross terms. With β, H swings by
//! O(dt²) around the account, without a trend.
//!
//! Source: kernels `wave_form::exchange`; the damped oscillator.

use super::{Around, Fields};
use crate::half_potential::phasors;
use crate::oracle::watch::Watch;
use crate::world::{Sources, values};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::setup::WaveParameters;
use nikola_components::torus::Torus;
use nikola_kernels::wave_form::exchange::{Exchange, LossOver, exchange};
use nikola_kernels::{PageMut, PageRef, Real, reduce};

/// Where a watched world's exchange of energy is booked.
#[derive(SystemParam)]
pub struct Books<'w, T: Real + Scalar> {
    flows: Option<ResMut<'w, EnergyFlows>>,
    watch: Option<Res<'w, Watch<T>>>,
    torus: Res<'w, Torus>,
}

impl<T: Real + Scalar> Books<'_, T> {
    /// Whether anything is booked.
    pub(super) fn is_open(&self) -> bool {
        self.flows.is_some()
    }

    /// Adds a change of H per volume of a node. A field that left the finite numbers is judged by what is seen of it.
    fn add(&mut self, flow: Flow, change: f64) {
        let change = self.torus.cell_volume() * change;
        if let Some(flows) = self.flows.as_deref_mut().filter(|_| change.is_finite()) {
            flows.add(flow, change);
        }
    }

    /// The kick by E at a border, which is about to act on `velocity`.
    pub(super) fn book_sources(
        &mut self,
        velocity: &[PageMut<'_, T>],
        at: Tick,
        sources: &Sources<T>,
        wave: &WaveParameters,
    ) {
        if !self.is_open() || sources.emitters.is_empty() {
            return;
        }
        let kicks: Vec<_> = phasors(sources, wave, at, 0.0, 0.5).collect();
        let mut change = 0.0;
        // Of emitters that share nodes, each finds Ψ̇ as the others before it left it.
        for k in 0..kicks.len() {
            let (index, (re, im)) = kicks[k];
            for part in &sources.emitters[index].pages {
                let page = &velocity[part.position];
                for ((node, x), y) in part.nodes.iter().zip(&part.re).zip(&part.im) {
                    let (x, y) = (x.to_f64(), y.to_f64());
                    let (a, b) = (x * re - y * im, x * im + y * re);
                    let at = *node as usize;
                    let (p, q) = (page.re[at].to_f64(), page.im[at].to_f64());
                    change += a * (p + 0.5 * a) + b * (q + 0.5 * b);
                }
            }
            change += overlaps(sources, &kicks[..k], kicks[k]);
        }
        self.add(Flow::Source, change);
    }

    /// The sums of both fields at the beginning of the exact flow and its kicks (`side` 1) or at their end (−1), where the
    /// world is watched and damped.
    pub(super) fn sums(&self, fields: &Fields<'_, T>, side: f64, around: &Around<'_, T>) -> Option<Exchange> {
        let is_damped = around.environment.uniform_damping != Some(0.0);
        if !self.is_open() || !is_damped {
            return None;
        }
        let over = LossOver { duration: side * 0.5 * around.wave.dt, beta: around.beta() };
        // A uniform Γ belongs to the flow, not to the kicks.
        let uniform = around.environment.uniform_damping.map(|_| 0.0);
        Some(sums_of(fields, uniform, over, around))
    }

    /// The exact flow and its kicks, from the sums around them.
    pub(super) fn book_turn(
        &mut self,
        before: Option<Exchange>,
        after: Option<Exchange>,
        around: &Around<'_, T>,
    ) {
        let (Some(before), Some(after)) = (before, after) else { return };
        let Some(gamma) = around.environment.uniform_damping else {
            return self.add(Flow::Damping, after.loss - before.loss);
        };
        let (Some(flows), Some(watch)) = (&self.flows, &self.watch) else { return };
        let (dt, strength) = (around.wave.dt, 0.5 * around.wave.dt * around.beta());
        // H without the energy of β, after the first kick.
        let known = watch.expected_energy(flows) / self.torus.cell_volume();
        let kicked = strength * before.turn + 0.5 * strength * strength * before.sextic;
        let linear = known + 0.25 * around.beta() * before.quartic + kicked;
        let (first, last) =
            (before.cross + strength * before.quartic, after.cross - strength * after.quartic);
        let change = libm::expm1(-gamma * dt) * (linear + 0.5 * gamma * first) + 0.5 * gamma * (first - last);
        self.add(Flow::Damping, change);
    }

    /// Half a tick's damping, which is about to act.
    pub(super) fn book_damping(&mut self, fields: &Fields<'_, T>, around: &Around<'_, T>) {
        if !self.is_open() || around.environment.uniform_damping == Some(0.0) {
            return;
        }
        let duration = 0.5 * around.wave.dt;
        let change = match around.environment.uniform_damping {
            Some(gamma) => {
                let (level, threads) = (around.compute.level, around.compute.threads());
                let velocity = views(&fields.velocity);
                0.5 * libm::expm1(-2.0 * gamma * duration) * reduce::norm2(level, threads, &velocity)
            }
            None => -sums_of(fields, None, LossOver { duration, beta: 0.0 }, around).loss,
        };
        self.add(Flow::Damping, change);
    }

    /// A change of D, which its stage has booked as far as H goes, did this to the shadow.
    pub(super) fn book_shadow(&mut self, change: f64, is_whole: bool) {
        self.add(if is_whole { Flow::Parameters } else { Flow::Metric }, change);
    }
}

fn views<'a, T: Real>(pages: &'a [PageMut<'_, T>]) -> Vec<PageRef<'a, T>> {
    pages.iter().map(PageMut::as_ref).collect()
}

fn sums_of<T: Real + Scalar>(
    fields: &Fields<'_, T>,
    uniform: Option<f64>,
    over: LossOver,
    around: &Around<'_, T>,
) -> Exchange {
    let damping = values(uniform, &fields.damping);
    let (psi, velocity) = (views(&fields.psi), views(&fields.velocity));
    exchange(around.compute.level, around.compute.threads(), (&psi, &velocity), damping, over)
}

/// ΣRe δ*δ' of a kick and of those before it, on the nodes they share.
fn overlaps<T: Real>(
    sources: &Sources<T>,
    before: &[(usize, (f64, f64))],
    (index, phasor): (usize, (f64, f64)),
) -> f64 {
    let times = |(x, y): (f64, f64), (re, im): (f64, f64)| (x * re - y * im, x * im + y * re);
    let mut sum = 0.0;
    for &(other, other_phasor) in before {
        for part in &sources.emitters[index].pages {
            let shared = sources.emitters[other].pages.iter().find(|shared| shared.page == part.page);
            let Some(shared) = shared else { continue };
            // Both lists of nodes are ascending.
            let mut k = 0;
            for ((node, x), y) in part.nodes.iter().zip(&part.re).zip(&part.im) {
                while k < shared.nodes.len() && shared.nodes[k] < *node {
                    k += 1;
                }
                if shared.nodes.get(k) == Some(node) {
                    let own = times((x.to_f64(), y.to_f64()), phasor);
                    let weight = (shared.re[k].to_f64(), shared.im[k].to_f64());
                    let theirs = times(weight, other_phasor);
                    sum += own.0 * theirs.0 + own.1 * theirs.1;
                }
            }
        }
    }
    sum
}
