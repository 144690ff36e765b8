//! How the watch weighs the energy: by a T that stays what it was, or by one that changes; and what stages tell it that
//! change T.
//!
//! Invariant: a stage that changes T between two kicks of the sources says so here, in the tick in which it happens.

use super::live::{Border, LivePower};
use super::power::SourcePower;
use super::watch::Watch;
use crate::observables::pages_ref;
use crate::propagators::Propagators;
use crate::world::{Environment, Sources, values};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::setup::{Equation, Setup, WaveParameters};
use nikola_components::torus::Torus;
use nikola_components::wave::{Potential, Psi};
use nikola_kernels::energy::KineticForm;
use nikola_kernels::{PageRef, Real, Values};

/// How T is known.
pub enum Energies<T: Real> {
    /// A constant metric on a dense torus: T is what it was when the world was built, times a factor.
    Constant {
        /// T as it was.
        form: KineticForm,
        /// The sources, weighed by it.
        sources: SourcePower<T>,
    },
    /// T can change.
    Live(LivePower),
    /// The wave form: its stage books the work of the sources and of the damping as they do it.
    Booked,
}

impl<T: Real> Energies<T> {
    /// For a world with these propagators.
    pub fn new(setup: &Setup, propagators: &Propagators<T>) -> Self {
        if let Equation::Wave { .. } = setup.equation {
            return Self::Booked;
        }
        if propagators.is_live() {
            return Self::Live(LivePower::new(setup));
        }
        let form = KineticForm::new(&propagators.shape, &propagators.terms);
        Self::Constant { sources: SourcePower::new(setup, &form), form }
    }

    /// T as it was when the world was built and the sources weighed by it, where T stays that: all a device knows.
    pub fn constant(&self) -> Option<(&KineticForm, &SourcePower<T>)> {
        match self {
            Self::Constant { form, sources } => Some((form, sources)),
            Self::Live(_) | Self::Booked => None,
        }
    }
}

/// The work of the sources, for stages that change T while they work.
#[derive(SystemParam)]
pub struct SourceWork<'w, T: Real + Scalar> {
    watch: Option<ResMut<'w, Watch<T>>>,
    sources: Res<'w, Sources<T>>,
    torus: Res<'w, Torus>,
    tick: Res<'w, Tick>,
}

impl<T: Real + Scalar> SourceWork<'_, T> {
    /// T changed on some cells since the border, ascending: what the kick that opens this tick gains by it.
    pub fn follow(
        &mut self,
        propagators: &Propagators<T>,
        wave: &WaveParameters,
        pages: &[PageRef<'_, T>],
        cells: &[usize],
    ) -> f64 {
        let Some(watch) = &mut self.watch else { return 0.0 };
        let Energies::Live(power) = &mut watch.energies else { return 0.0 };
        let border = Border { tick: *self.tick, pages, wave, volume: self.torus.cell_volume() };
        power.follow(&border, &self.sources, propagators, cells)
    }

    /// The same where T changed as a whole.
    pub fn refresh(
        &mut self,
        propagators: &Propagators<T>,
        wave: &WaveParameters,
        pages: &[PageRef<'_, T>],
    ) -> f64 {
        let Some(watch) = &mut self.watch else { return 0.0 };
        let Energies::Live(power) = &mut watch.energies else { return 0.0 };
        let border = Border { tick: *self.tick, pages, wave, volume: self.torus.cell_volume() };
        if let Some(gained) = power.follow_all(&border, &self.sources, propagators) {
            return gained;
        }
        // What V and β contribute cancels.
        let zero = Values::Uniform(T::from_f64(0.0));
        let before = power.at(&border, &self.sources, &zero).energy;
        power.refresh(propagators, &self.sources, self.torus.page_nodes());
        0.5 * (power.at(&border, &self.sources, &zero).energy - before)
    }
}

/// The set of pages is about to change at this border: the kick that closed the tick is looked at before.
pub(crate) fn see_border<T: Real + Scalar>(world: &mut World) {
    let Some(mut watch) = world.remove_resource::<Watch<T>>() else { return };
    let mut columns = world.query::<(&Psi<T>, Option<&Potential<T>>)>();
    let (sources, torus) = (world.resource::<Sources<T>>(), world.resource::<Torus>());
    let (environment, wave) = (world.resource::<Environment>(), world.resource::<WaveParameters>());
    let pages = pages_ref(columns.iter(world).map(|(psi, _)| psi));
    let potential: Vec<&[T]> = columns.iter(world).filter_map(|(_, v)| v.map(|v| &v.0[..])).collect();
    let potential = values(environment.uniform_potential, &potential);
    if let Energies::Live(power) = &mut watch.energies {
        power.refresh(world.resource::<Propagators<T>>(), sources, torus.page_nodes());
        let (tick, volume) = (*world.resource::<Tick>(), torus.cell_volume());
        let border = Border { tick, pages: &pages, wave, volume };
        watch.closing = Some(power.at(&border, sources, &potential));
    }
    world.insert_resource(watch);
}

/// After a load: the sources are weighed by T as it is now.
pub(crate) fn restore<T: Real + Scalar>(world: &mut World) {
    let Some(mut watch) = world.remove_resource::<Watch<T>>() else { return };
    if let Energies::Live(power) = &mut watch.energies {
        let page_nodes = world.resource::<Torus>().page_nodes();
        power.refresh(world.resource::<Propagators<T>>(), world.resource::<Sources<T>>(), page_nodes);
    }
    world.insert_resource(watch);
}
