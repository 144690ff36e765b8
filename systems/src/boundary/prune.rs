//! What goes with a page that is pruned: its norm, its energy and what Γ(x) took from it, told to the ledgers.
//!
//! Invariant: the energies of pages that go together are taken one after the other, so their sum is the whole's change.

use crate::observables::pages_ref;
use crate::oracle::NormLedger;
use crate::propagators::Propagators;
use crate::world::{Compute, Environment, fill_profile, values};
use bevy_ecs::prelude::*;
use nikola_components::column::Scalar;
use nikola_components::fill::Profile;
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::setup::WaveParameters;
use nikola_components::torus::Torus;
use nikola_components::wave::{Page, Potential, Psi};
use nikola_kernels::{Real, Values, reduce};

/// Norm and energy that go with each pruned page, taken one after the other; without the kinetic part where the metric
/// varies.
pub(super) fn farewell<T: Real + Scalar>(world: &mut World, prunes: &[usize]) -> Vec<(usize, (f64, f64))> {
    let mut columns = world.query::<(&Psi<T>, Option<&Potential<T>>)>();
    let (torus, propagators) = (world.resource::<Torus>(), world.resource::<Propagators<T>>());
    let (compute, environment) = (world.resource::<Compute>(), world.resource::<Environment>());
    let beta = world.resource::<WaveParameters>().beta;
    let volume = torus.cell_volume();
    let pages = pages_ref(columns.iter(world).map(|(psi, _)| psi));
    let potential: Vec<&[T]> =
        columns.iter(world).filter_map(|(_, potential)| potential.map(|v| &v.0[..])).collect();
    let mut drops = vec![false; pages.len()];
    let mut gone = Vec::with_capacity(prunes.len());
    // Kinetic energy of the columns that hold a pruned page: without those pruned before, and without this one too.
    let is_varying = propagators.diffusion.is_some();
    let kinetic = |drops: &[bool]| {
        if is_varying {
            return 0.0;
        }
        let sparse = propagators.sparse().expect("a world that grows is sparse");
        let axes = 0..torus.storage().len();
        axes.map(|axis| sparse.energy_without(compute.threads(), axis, &pages, drops))
            .fold(0.0, |sum, (with, without)| sum + (with - without))
    };
    let mut kinetic_before = 0.0;
    for &slot in prunes {
        drops[slot] = true;
        let kinetic_gone = kinetic(&drops);
        let column = potential.get(slot).copied().into_iter().collect::<Vec<_>>();
        let none = Values::Uniform(T::from_f64(0.0));
        let potential = values(environment.uniform_potential, &column);
        let totals = reduce::totals(compute.level, compute.threads(), &pages[slot..=slot], potential, none);
        let energy = kinetic_gone - kinetic_before + totals.potential + 0.5 * beta * totals.quartic;
        gone.push((slot, (volume * totals.norm2, volume * energy)));
        kinetic_before = kinetic_gone;
    }
    gone
}

/// Adds the kinetic energy that went with pruned pages to theirs, by their norms.
pub(super) fn share_out(gone: &mut [(usize, (f64, f64))], kinetic: f64) {
    let total: f64 = gone.iter().map(|(_, (norm, _))| norm).sum();
    let n = gone.len() as f64;
    for (_, (norm, energy)) in gone {
        *energy += kinetic * if total > 0.0 { *norm / total } else { 1.0 / n };
    }
}

/// Γ(x) no longer takes what it took from pruned pages.
pub(super) fn note_spared(world: &mut World, gone: &[(usize, (f64, f64))], members: &[(Entity, Page)]) {
    let law = &world.resource::<Environment>().damping_law;
    let Profile::PerNode(_) = &law.profile else { return };
    if !world.contains_resource::<EnergyFlows>() {
        return;
    }
    let mut gamma = vec![0.0; world.resource::<Torus>().page_nodes()];
    let mut spared = (0.0, 0.0);
    for (slot, (norm, energy)) in gone {
        fill_profile(&law.profile, members[*slot].1.index as usize, &mut gamma);
        let mean = law.scale * gamma.iter().sum::<f64>() / gamma.len() as f64 + law.extra;
        spared = (spared.0 + 2.0 * mean * energy, spared.1 + 2.0 * mean * norm);
    }
    world.resource_mut::<EnergyFlows>().note_jump(true, spared.0, spared.1);
}

/// Tells the ledgers what went with pruned pages.
pub(super) fn book_pruned(world: &mut World, gone: &[(usize, (f64, f64))]) {
    let (norm, energy) = gone.iter().fold((0.0, 0.0), |sum, (_, (n, e))| (sum.0 + n, sum.1 + e));
    world.resource_mut::<NormLedger>().withdraw(norm);
    if let Some(mut flows) = world.get_resource_mut::<EnergyFlows>() {
        flows.add_at_end(Flow::Prune, -energy, -norm);
    }
}
