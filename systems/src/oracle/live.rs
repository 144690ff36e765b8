//! The power of the sources where T can change: a plastic metric, pages that come and go.
//!
//! Invariant: TE of every profile is that of T now, a pure function of D and of the set of pages, whatever happened before;
//! so a loaded world books the same numbers. Where D changed on some cells, only what their lines reach is computed again.
//!
//! The kick that opens a tick acts under the T of that tick, the kick that closed the last one under the T before: the first
//! half was booked when the border was, so what a change of T in between does to it, dt·Re⟨E, δT Ψ⟩, is booked as work of
//! the sources where T changes. (The correction of [`super::power`] for h̃ − h is left out: it is of the order
//! dt²·Re⟨E, [h,[h, h]]Ψ⟩ and would have to be computed anew with T.)

use super::account::Amount;
use super::power::phasor;
use crate::propagators::Propagators;
use crate::world::Sources;
use nikola_components::clock::Tick;
use nikola_components::setup::{Setup, WaveParameters};
use nikola_kernels::kinetic::lattice::Image;
use nikola_kernels::{PageRef, Real, Values};
use std::sync::Arc;

/// One profile that emitters share.
struct Profile {
    /// Which emitters, with their amplitudes.
    emitters: Vec<(usize, f64)>,
    image: Option<Image>,
}

/// Every source of a world whose T can change.
pub struct LivePower {
    profiles: Vec<Profile>,
    /// Revision of T that the images were made for.
    revision: Option<u64>,
}

/// A tick border and what was there.
pub struct Border<'a, T: Real> {
    /// The tick that ended.
    pub tick: Tick,
    /// Ψ.
    pub pages: &'a [PageRef<'a, T>],
    /// dt and β.
    pub wave: &'a WaveParameters,
    /// Volume of a node.
    pub volume: f64,
}

impl LivePower {
    /// Groups the setup's emitters by profile.
    pub fn new(setup: &Setup) -> Self {
        let mut profiles: Vec<(usize, Profile)> = Vec::new();
        for (index, emitter) in setup.emitters.iter().enumerate().filter(|(_, e)| e.amplitude != 0.0) {
            let shares = |other: usize| Arc::ptr_eq(&setup.emitters[other].profile, &emitter.profile);
            match profiles.iter_mut().find(|(first, _)| shares(*first)) {
                Some((_, profile)) => profile.emitters.push((index, emitter.amplitude)),
                None => {
                    profiles
                        .push((index, Profile { emitters: vec![(index, emitter.amplitude)], image: None }));
                }
            }
        }
        Self { profiles: profiles.into_iter().map(|(_, profile)| profile).collect(), revision: None }
    }

    /// Makes the images those of T now, where T is another than they were made for.
    pub fn refresh<T: Real>(
        &mut self,
        propagators: &Propagators<T>,
        sources: &Sources<T>,
        page_nodes: usize,
    ) {
        if self.revision == Some(propagators.revision) {
            return;
        }
        self.revision = Some(propagators.revision);
        let Some((lattice, diffusion)) = propagators.operator() else { return };
        for profile in &mut self.profiles {
            let (first, amplitude) = profile.emitters[0];
            let (mut re, mut im) = (vec![0.0; lattice.n_nodes()], vec![0.0; lattice.n_nodes()]);
            for part in &sources.emitters[first].pages {
                let page = part.position * page_nodes;
                for ((node, x), y) in part.nodes.iter().zip(&part.re).zip(&part.im) {
                    re[page + *node as usize] = x.to_f64() / amplitude;
                    im[page + *node as usize] = y.to_f64() / amplitude;
                }
            }
            profile.image = Some(lattice.image(diffusion, re, im));
        }
    }

    /// As [`Self::follow`] where all of T changed, by its cells: the images need not be made anew. None where they were not
    /// those of T before, or T has more to it than cells.
    pub fn follow_all<T: Real>(
        &mut self,
        border: &Border<'_, T>,
        sources: &Sources<T>,
        propagators: &Propagators<T>,
    ) -> Option<f64> {
        let cells = propagators.learning_cells()?;
        if self.revision? + 1 != propagators.revision {
            return None;
        }
        self.revision = Some(propagators.revision);
        Some(self.follow(border, sources, propagators, &cells.collect::<Vec<_>>()))
    }

    /// Work of the two half kicks at a tick border, energy and norm.
    pub fn at<T: Real>(
        &self,
        border: &Border<'_, T>,
        sources: &Sources<T>,
        potential: &Values<'_, T>,
    ) -> Amount {
        let mut total = Amount::default();
        let scale = 2.0 * border.wave.dt * border.volume;
        self.for_each(border, sources, |image, (re, im)| {
            let sums = image.power(border.pages, potential, border.wave.beta);
            total.energy += scale * (re * sums[0] + im * sums[1]);
            total.norm += scale * (re * sums[2] + im * sums[3]);
        });
        total
    }

    /// The images follow D, which changed on `cells` since the border. Returns dt·Re⟨E, δT Ψ⟩.
    pub fn follow<T: Real>(
        &mut self,
        border: &Border<'_, T>,
        sources: &Sources<T>,
        propagators: &Propagators<T>,
        cells: &[usize],
    ) -> f64 {
        let Some((lattice, diffusion)) = propagators.operator() else { return 0.0 };
        let mut gained = 0.0;
        for profile in &mut self.profiles {
            let Some(image) = &mut profile.image else { continue };
            let change = lattice.renew_image(diffusion, image, cells.iter().copied(), border.pages);
            let (re, im) = phasor(&profile.emitters, sources, border.tick, border.wave);
            gained += border.wave.dt * border.volume * (re * change.0 + im * change.1);
        }
        if sources.is_muted { 0.0 } else { gained }
    }

    fn for_each<T: Real>(
        &self,
        border: &Border<'_, T>,
        sources: &Sources<T>,
        mut visit: impl FnMut(&Image, (f64, f64)),
    ) {
        if sources.is_muted {
            return;
        }
        for profile in &self.profiles {
            let (re, im) = phasor(&profile.emitters, sources, border.tick, border.wave);
            if let Some(image) = profile.image.as_ref().filter(|_| re != 0.0 || im != 0.0) {
                visit(image, (re, im));
            }
        }
    }
}
