//! The handle: one world and its schedule, whatever the precision.
//! Invariant: the only way in is the bounded ingress; the only ways out are samples and read-only views.

use crate::mamba_scan::RunningReadout;
use crate::observables::{ObservedColumns, measure};
use crate::oracle::NormLedger;
use crate::state::{ColumnKind, Mark, PageColumn, StateError, StateTable};
use crate::tick;
use crate::wave_form::WaveFlow;
use crate::world::{BuildError, BuildOptions, Compute, Environment, Propagators, build};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemState;
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::ports::{Command, Egress, Ingress, IngressError};
use nikola_components::scan::ScanOutput;
use nikola_components::setup::{Precision, Setup, WaveParameters};
use nikola_components::telemetry::{Sample, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Page, Potential, Psi, Velocity};
use nikola_kernels::Real;

type ReadPage = fn(&World, Entity, &mut [f64], &mut [f64]);

/// A running world.
pub struct Simulation {
    world: World,
    schedule: Schedule,
    state: StateTable,
    precision: Precision,
    torus: Torus,
    page_entities: Vec<Entity>,
    read_page: ReadPage,
    read_velocity: fn(&World, Entity, &mut [f64], &mut [f64]) -> bool,
    read_potential: fn(&World, Entity, &mut [f64]) -> bool,
    sample: fn(&mut World) -> Sample,
    describe_kinetic: fn(&World) -> Vec<String>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Simulation({}, tick {})", self.precision.name(), self.tick_count())
    }
}

impl Simulation {
    /// Builds the world of `setup` and measures its references.
    ///
    /// # Errors
    /// [`BuildError`] when a profile is not finite, the damping negative, or the combination meaningless.
    pub fn new(setup: &Setup, options: &BuildOptions) -> Result<Self, BuildError> {
        match setup.precision {
            Precision::F32 => Self::typed::<f32>(setup, options),
            Precision::F64 => Self::typed::<f64>(setup, options),
        }
    }

    fn typed<T: Real + Scalar>(setup: &Setup, options: &BuildOptions) -> Result<Self, BuildError> {
        let mut world = build::<T>(setup, options)?;
        let mut schedule = tick::schedule::<T>(setup);
        schedule.initialize(&mut world).map_err(|error| BuildError::Unsupported {
            what: format!("the tick schedule is inconsistent: {error:?}"),
            remedy: "this is a defect; please report it".into(),
        })?;
        let mut pages = world.query::<(Entity, &Psi<T>)>();
        let page_entities = pages.iter(&world).map(|(entity, _)| entity).collect();
        let mut simulation = Self {
            world,
            schedule,
            state: StateTable::new::<T>(),
            precision: setup.precision,
            torus: setup.torus.clone(),
            page_entities,
            read_page: read_page::<T>,
            read_potential: read_potential::<T>,
            sample: sample::<T>,
            describe_kinetic: |world| match world.get_resource::<WaveFlow<T>>() {
                Some(flow) => flow.plan.describe(),
                None => world
                    .resource::<Propagators<T>>()
                    .plans
                    .first()
                    .map(|plan| plan.describe())
                    .unwrap_or_default(),
            },
            read_velocity: read_velocity::<T>,
        };
        let first = simulation.sample();
        simulation.world.resource_mut::<NormLedger>().set_reference(first.norm, first.energy);
        Ok(simulation)
    }

    /// Advances by one tick.
    pub fn tick(&mut self) {
        self.schedule.run(&mut self.world);
    }

    /// Ticks completed.
    pub fn tick_count(&self) -> u64 {
        self.world.resource::<Tick>().0
    }

    /// Model time.
    pub fn time(&self) -> f64 {
        self.world.resource::<Tick>().time(self.world.resource::<WaveParameters>().dt)
    }

    /// The torus.
    pub fn torus(&self) -> &Torus {
        &self.torus
    }

    /// Scalar type of the state.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// SIMD level and worker threads in use.
    pub fn compute(&self) -> &Compute {
        self.world.resource::<Compute>()
    }

    /// Queues a command for the next tick.
    ///
    /// # Errors
    /// [`IngressError`] when the batch is full or a number is not finite.
    pub fn push(&mut self, command: Command) -> Result<(), IngressError> {
        self.world.resource_mut::<Ingress>().push(command)
    }

    /// Removes the oldest waiting sample.
    pub fn pop_sample(&mut self) -> Option<Sample> {
        self.world.resource_mut::<Egress>().pop()
    }

    /// Measures the standard observables now.
    pub fn sample(&mut self) -> Sample {
        (self.sample)(&mut self.world)
    }

    /// Nanoseconds per stage of the last tick.
    pub fn stage_times(&self) -> StageTimes {
        *self.world.resource::<StageTimes>()
    }

    /// The norm ledger: compensated leak, finiteness.
    pub fn ledger(&self) -> &NormLedger {
        self.world.resource::<NormLedger>()
    }

    /// What the last scan gave, where the world has a scan.
    pub fn scan(&self) -> Option<&ScanOutput> {
        self.world.get_resource::<ScanOutput>()
    }

    /// Weights of the readout, where the world has one: per target, the bias and one per feature.
    pub fn readout_weights(&self) -> Option<&[f64]> {
        self.world.get_resource::<RunningReadout>().map(|readout| &readout.learner.weights[..])
    }

    /// The scheme that runs each axis, in storage order.
    pub fn describe_kinetic(&self) -> Vec<String> {
        (self.describe_kinetic)(&self.world)
    }

    /// The columns a page may have, as they are saved.
    pub fn column_kinds(&self) -> Vec<ColumnKind> {
        self.state.kinds().collect()
    }

    /// The pages there are, in storage order.
    pub fn pages(&self) -> Vec<Page> {
        StateTable::pages(&self.world).into_iter().map(|(_, page)| page).collect()
    }

    /// Every number outside the columns from which the next tick is computed.
    pub fn save_scalars(&self) -> Vec<u8> {
        self.state.scalars(&self.world)
    }

    /// Shows every column that survives, page by page; see [`StateTable::capture`].
    pub fn save_columns(&mut self, since: Option<Mark>, visit: &mut dyn FnMut(PageColumn<'_>)) -> Mark {
        self.state.capture(&mut self.world, since, visit)
    }

    /// Continues from a saved state; see [`StateTable::load`].
    ///
    /// # Errors
    /// [`StateError`] when the state is of another setup or a column cannot be had; the world is unusable then.
    pub fn load_state<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &mut self,
        pages: &[Page],
        scalars: &[u8],
        fill: impl FnMut(&Page, ColumnKind, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), StateError> {
        self.state.load(&mut self.world, pages, scalars, fill)
    }

    /// Copies Ψ of a page (storage order, exact widening to f64).
    pub fn read_page(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        (self.read_page)(&self.world, self.page_entities[page], re, im);
    }

    /// Copies Ψ̇ of a page likewise; false where the equation is first order in time and there is none.
    pub fn read_velocity(&self, page: usize, re: &mut [f64], im: &mut [f64]) -> bool {
        (self.read_velocity)(&self.world, self.page_entities[page], re, im)
    }

    /// Copies the potential of a page as the last half step used it.
    pub fn read_potential(&self, page: usize, values: &mut [f64]) {
        if !(self.read_potential)(&self.world, self.page_entities[page], values) {
            values.fill(self.world.resource::<Environment>().uniform_potential.unwrap_or(0.0));
        }
    }
}

fn read_page<T: Real + Scalar>(world: &World, entity: Entity, re: &mut [f64], im: &mut [f64]) {
    if let Some(psi) = world.get::<Psi<T>>(entity) {
        widen(&psi.re, re);
        widen(&psi.im, im);
    }
}

fn read_velocity<T: Real + Scalar>(world: &World, entity: Entity, re: &mut [f64], im: &mut [f64]) -> bool {
    let Some(velocity) = world.get::<Velocity<T>>(entity) else { return false };
    widen(&velocity.re, re);
    widen(&velocity.im, im);
    true
}

fn read_potential<T: Real + Scalar>(world: &World, entity: Entity, values: &mut [f64]) -> bool {
    match world.get::<Potential<T>>(entity) {
        Some(potential) => {
            widen(&potential.0, values);
            true
        }
        None => false,
    }
}

fn widen<T: Real>(column: &[T], out: &mut [f64]) {
    for (slot, value) in out.iter_mut().zip(column) {
        *slot = value.to_f64();
    }
}

type MeasureState<T> = SystemState<(
    ObservedColumns<'static, 'static, T>,
    Res<'static, Torus>,
    Res<'static, WaveParameters>,
    Res<'static, Environment>,
    Res<'static, Propagators<T>>,
    Res<'static, Compute>,
    Res<'static, NormLedger>,
    Res<'static, Tick>,
)>;

fn sample<T: Real + Scalar>(world: &mut World) -> Sample {
    let mut state = MeasureState::<T>::new(world);
    let (columns, torus, wave, environment, propagators, compute, ledger, tick) =
        state.get(world).expect("every world has these resources");
    measure(&columns, &torus, &wave, &environment, &propagators, &compute, &ledger, *tick)
}
