//! The handle: one world and its schedule, whatever the precision.
//! Invariant: the only way in is the bounded ingress; the only ways out are samples and read-only views.

mod checkpoints;
mod width;

use self::width::Width;
use crate::device::balance::DeviceLog;
use crate::device::{self, Device, Fields, device_world, pairs, scatter_fields};
use crate::mamba_scan::RunningReadout;
use crate::metric_update::{MetricCounts, PlasticMetric};
use crate::observables::{Known, ObservedColumns, measure};
use crate::oracle::NormLedger;
use crate::propagators::{Plan, Propagators};
use crate::state::{ColumnKind, Mark, PageColumn, StateError, StateTable};
use crate::tick;
use crate::wave_form::WaveFlow;
use crate::world::{BuildError, BuildOptions, Compute, Environment, Sources, build, sorted};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::system::{ScheduleSystem, SystemState};
use nikola_components::chemistry::{Chemistry, ChemistryBoard, Effects};
use nikola_components::clock::Tick;
use nikola_components::column::Scalar;
use nikola_components::growth::{Growth, GrowthEvent};
use nikola_components::ledger::EnergyFlows;
use nikola_components::metric::MetricCells;
use nikola_components::oracle::OracleReport;
use nikola_components::ports::{Command, Egress, Event, Ingress, IngressError, LockContention};
use nikola_components::scan::ScanOutput;
use nikola_components::setup::{Equation, Precision, Setup, WaveParameters};
use nikola_components::telemetry::{Sample, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Page, Potential, Psi, Velocity};
use nikola_kernels::Real;
use nikola_kernels::backend::{Backend, DeviceWorld, Residency};
use nikola_kernels::kinetic::remainder::RemainderCounts;
use nikola_kernels::metric_update::n_components;

type ReadPage = fn(&World, Entity, &mut [f64], &mut [f64]);

/// A running world.
pub struct Simulation {
    world: World,
    schedule: Schedule,
    state: StateTable,
    width: Width,
    precision: Precision,
    torus: Torus,
    page_entities: Vec<Entity>,
    /// Revision of the set of pages that `page_entities` lists.
    revision: u64,
    has_velocity: bool,
    read_page: ReadPage,
    read_velocity: fn(&World, Entity, &mut [f64], &mut [f64]) -> bool,
    write_page: fn(&mut World, Entity, &[f64], &[f64]),
    read_potential: fn(&World, Entity, &mut [f64]) -> bool,
    sample: fn(&mut World) -> Sample,
    describe_kinetic: fn(&World) -> Vec<String>,
    remainder: fn(&World) -> Option<RemainderCounts>,
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
        let schedule = initialised(tick::schedule::<T>(setup), &mut world)?;
        let page_entities = entities(&mut world);
        // What is larger is always worth all threads.
        let is_small = page_entities.len() == 1 && setup.growth.is_none();
        let width = Width::new(if is_small { world.resource::<Compute>().width() } else { 1 });
        let mut simulation = Self {
            world,
            width,
            schedule,
            state: StateTable::new::<T>(),
            precision: setup.precision,
            torus: setup.torus.clone(),
            page_entities,
            revision: 0,
            has_velocity: matches!(setup.equation, Equation::Wave { .. }),
            read_page: read_page::<T>,
            write_page: write_page::<T>,
            read_potential: read_potential::<T>,
            sample: sample::<T>,
            describe_kinetic: |world| match world.get_resource::<WaveFlow<T>>() {
                Some(flow) => flow.describe(),
                None => world
                    .resource::<Propagators<T>>()
                    .plans
                    .first()
                    .map(|plan| plan.describe())
                    .unwrap_or_default(),
            },
            read_velocity: read_velocity::<T>,
            remainder: |world| world.resource::<Propagators<T>>().plans.first().and_then(Plan::remainder),
        };
        let first = simulation.sample();
        simulation.world.resource_mut::<NormLedger>().set_reference(first.norm, first.energy);
        simulation.run(crate::oracle::balance::begin::<T>);
        Ok(simulation)
    }

    /// Runs systems once, between ticks.
    fn run<M>(&mut self, systems: impl IntoScheduleConfigs<ScheduleSystem, M>) {
        let mut once = Schedule::default();
        once.add_systems(systems);
        once.run(&mut self.world);
    }

    /// What a backend is built from; `None` in double precision, which no backend computes in.
    pub fn device_world(&mut self) -> Option<DeviceWorld> {
        (self.precision == Precision::F32).then(|| device_world(&mut self.world))
    }

    /// Hands Ψ to a backend built from [`Self::device_world`] of this very state; ticks run there from now on.
    ///
    /// # Errors
    /// [`BuildError`] when the schedule is inconsistent (a defect).
    pub fn move_to(&mut self, setup: &Setup, backend: Box<dyn Backend>) -> Result<(), BuildError> {
        let copy = self.gathered();
        let tick = *self.world.resource::<Tick>();
        let mut device = Device::new(backend, copy, &self.world);
        device.continue_from(tick, self.world.resource::<Propagators<f32>>().which.len());
        self.world.insert_resource(device);
        self.world.insert_resource(DeviceLog::default());
        self.schedule = initialised(tick::device_schedule(setup), &mut self.world)?;
        Ok(())
    }

    /// Gives the device up: ticks run on the host from its last copy of Ψ on. Returns the tick of that copy; injections
    /// that struck since are due again if `setup` is the one this world was built from.
    ///
    /// # Errors
    /// [`BuildError`] when the schedule is inconsistent (a defect).
    pub fn return_to_host(&mut self, setup: &Setup) -> Result<u64, BuildError> {
        let tick = self.tick_count();
        let Some(device) = self.world.remove_resource::<Device>() else { return Ok(tick) };
        self.world.remove_resource::<DeviceLog>();
        let (copied_at, lacking_from) = (device.copied_at(), device.lacks_injections_from());
        device.put_back(&mut self.world);
        device.last_copy(|pairs| self.scatter(pairs));
        *self.world.resource_mut::<Tick>() = Tick(copied_at);
        self.world.resource_mut::<NormLedger>().rewind();
        let mut sources = self.world.resource_mut::<Sources<f32>>();
        sources.injections = sorted(&setup.injections);
        sources.injections.retain(|injection| injection.tick >= lacking_from);
        self.schedule = initialised(tick::schedule::<f32>(setup), &mut self.world)?;
        // What was booked since the copy is of a state that is gone.
        self.run((device::drive_columns, crate::oracle::balance::begin::<f32>).chain());
        Ok(copied_at)
    }

    /// Where Ψ is.
    pub fn residency(&self) -> Residency {
        if self.device().is_some() { Residency::Device } else { Residency::Host }
    }

    /// The device, where Ψ is on one.
    pub fn device(&self) -> Option<&Device> {
        self.world.get_resource::<Device>()
    }

    /// As [`Self::device`], to measure it.
    pub fn device_mut(&mut self) -> Option<Mut<'_, Device>> {
        self.world.get_resource_mut::<Device>()
    }

    /// Advances by one tick.
    pub fn tick(&mut self) {
        self.schedule.run(&mut self.world);
        if self.width.is_open() {
            let width = self.width.after_tick(self.world.resource::<StageTimes>());
            self.world.resource_mut::<Compute>().set_width(width);
        }
        let revision = self.growth().map_or(0, |growth| growth.revision);
        if revision != self.revision {
            self.page_entities = entities(&mut self.world);
            self.revision = revision;
        }
    }

    /// Indices of the pages there are, ascending: all, or the active ones of a sparse torus.
    pub fn active_pages(&self) -> &[usize] {
        &self.world.resource::<Environment>().pages
    }

    /// The account of a sparse torus; none on a dense one.
    pub fn growth(&self) -> Option<&Growth> {
        self.world.get_resource::<Growth>()
    }

    /// Removes the oldest waiting event of a page.
    pub fn pop_growth(&mut self) -> Option<GrowthEvent> {
        self.world.resource_mut::<Egress>().pop_growth()
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

    /// Removes the oldest waiting event.
    pub fn pop_event(&mut self) -> Option<Event> {
        self.world.resource_mut::<Egress>().pop_event()
    }

    /// What the oracle saw last, where the scene has one.
    pub fn oracle(&self) -> Option<&OracleReport> {
        self.world.get_resource()
    }

    /// Energy that entered and left, by cause, where the scene has an oracle.
    pub fn energy_flows(&self) -> Option<&EnergyFlows> {
        self.world.get_resource()
    }

    /// Waits for a port's lock so far.
    pub fn lock_contention_count(&self) -> u64 {
        self.world.resource::<LockContention>().total()
    }

    /// The counter of such waits, for an edge that guards a port with a lock.
    pub fn lock_contention(&self) -> LockContention {
        self.world.resource::<LockContention>().clone()
    }

    /// The neurochemical scalars, where the scene has them.
    pub fn chemistry(&self) -> Option<&Chemistry> {
        self.world.get_resource()
    }

    /// What they do to the stages.
    pub fn effects(&self) -> Option<&Effects> {
        self.world.get_resource()
    }

    /// The scalars for other threads, where the scene has them.
    pub fn chemistry_board(&self) -> Option<ChemistryBoard> {
        self.world.get_resource::<ChemistryBoard>().cloned()
    }

    /// Overwrites Ψ of a page without telling anyone: what a fault in memory would do. For drills.
    pub fn corrupt_page(&mut self, page: usize, change: impl Fn(usize, f64, f64) -> (f64, f64)) {
        let nodes = self.torus.page_nodes();
        let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
        self.read_page(page, &mut re, &mut im);
        for i in 0..nodes {
            (re[i], im[i]) = change(i, re[i], im[i]);
        }
        self.fetch();
        (self.write_page)(&mut self.world, self.page_entities[page], &re, &im);
        if self.device().is_some() {
            let copy = self.gathered();
            let tick = *self.world.resource::<Tick>();
            self.world.resource_mut::<Device>().replace(copy, tick);
        }
    }

    /// Measures the standard observables now.
    pub fn sample(&mut self) -> Sample {
        self.fetch();
        (self.sample)(&mut self.world)
    }

    /// Brings Ψ from the device into the columns.
    fn fetch(&mut self) {
        let tick = *self.world.resource::<Tick>();
        if let Some(device) = self.world.remove_resource::<Device>() {
            device.look(tick, |pairs| self.scatter(pairs));
            self.world.insert_resource(device);
        }
    }

    /// Copies a backend's pairs into the columns.
    fn scatter(&mut self, pairs: &[[f32; 2]]) {
        let mut state = SystemState::<Fields<'static, 'static>>::new(&mut self.world);
        if let Ok(mut fields) = state.get_mut(&mut self.world) {
            scatter_fields(pairs, &mut fields);
        }
    }

    /// The columns as a backend has them.
    fn gathered(&mut self) -> Vec<[f32; 2]> {
        let mut state = SystemState::<Fields<'static, 'static>>::new(&mut self.world);
        state.get_mut(&mut self.world).map(|fields| pairs(&fields).collect()).unwrap_or_default()
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

    /// Tells of a loaded state what its last scan gave; says whether that was a scan like this world's.
    pub fn recall_scan(&mut self, output: ScanOutput) -> bool {
        let Some(mut own) = self.world.get_resource_mut::<ScanOutput>() else { return false };
        let lengths = |output: &ScanOutput| (output.features.len(), output.values.len());
        let names = |output: &ScanOutput| -> Vec<_> {
            output.traversals.iter().map(|scanned| scanned.traversal).collect()
        };
        let is_like = lengths(&own) == lengths(&output) && names(&own) == names(&output);
        if is_like {
            *own = output;
        }
        is_like
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
    pub fn save_scalars(&mut self) -> Vec<u8> {
        if self.device().is_some() && !self.world.resource::<Propagators<f32>>().is_live() {
            self.run((device::balance::settle, device::engs::settle).chain());
        }
        self.state.scalars(&self.world)
    }

    /// Shows every column that survives, page by page; see [`StateTable::capture`].
    pub fn save_columns(&mut self, since: Option<Mark>, visit: &mut dyn FnMut(PageColumn<'_>)) -> Mark {
        self.fetch();
        self.state.capture(&mut self.world, since, visit)
    }

    /// Continues from a saved state, whatever there was before: orders that wait for the state there is are dropped with it.
    /// See [`StateTable::load`].
    ///
    /// # Errors
    /// [`StateError`] when the state is of another setup or a column cannot be had; the world is unusable then.
    pub fn load_state<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &mut self,
        pages: &[Page],
        scalars: &[u8],
        fill: impl FnMut(&Page, ColumnKind, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), StateError> {
        if self.device().is_some() {
            self.world.insert_resource(DeviceLog::default());
        }
        self.world.resource_mut::<Ingress>().clear();
        self.state.load(&mut self.world, pages, scalars, fill)?;
        self.page_entities = entities(&mut self.world);
        device::adopt(&mut self.world);
        if self.device().is_some() {
            self.run(device::send_parameters);
        }
        Ok(())
    }

    /// What the plastic metric did so far, where there is one.
    pub fn metric_counts(&self) -> Option<MetricCounts> {
        self.world.get_resource::<PlasticMetric>().map(|metric| metric.counts)
    }

    /// The covariant metric g of cell `at` of a page: packed components over the storage axes (upper triangle row by
    /// row), and whether there is one.
    pub fn read_metric(&self, page: usize, at: usize) -> Option<Vec<f64>> {
        let cells = self.world.get::<MetricCells>(self.page_entities[page])?;
        let axes = self.torus.storage().len();
        let per_page = cells.g.len() / n_components(axes);
        Some((0..n_components(axes)).map(|c| cells.g[c * per_page + at]).collect())
    }

    /// What the remainder of an off-diagonal metric did so far, where there is one.
    pub fn remainder_counts(&self) -> Option<RemainderCounts> {
        (self.remainder)(&self.world)
    }

    /// Copies Ψ of a page (storage order, exact widening to f64); zeros where it is not active.
    pub fn read_page(&self, page: usize, re: &mut [f64], im: &mut [f64]) {
        if let Some(device) = self.device() {
            let Some(position) = self.world.resource::<Environment>().position(page) else {
                re.fill(0.0);
                im.fill(0.0);
                return;
            };
            let first = position * re.len();
            return device.look(*self.world.resource::<Tick>(), |pairs| {
                for ((pair, re), im) in pairs[first..].iter().zip(re).zip(im) {
                    (*re, *im) = (f64::from(pair[0]), f64::from(pair[1]));
                }
            });
        }
        match self.entity(page) {
            Some(entity) => (self.read_page)(&self.world, entity, re, im),
            None => {
                re.fill(0.0);
                im.fill(0.0);
            }
        }
    }

    /// Copies Ψ̇ of a page likewise; false where the equation is first order in time and there is none.
    pub fn read_velocity(&self, page: usize, re: &mut [f64], im: &mut [f64]) -> bool {
        if let Some(device) = self.device() {
            let first = self.torus.n_nodes() + page * re.len();
            return device.look(*self.world.resource::<Tick>(), |pairs| {
                let Some(pairs) = pairs.get(first..) else { return false };
                for ((pair, re), im) in pairs.iter().zip(re).zip(im) {
                    (*re, *im) = (f64::from(pair[0]), f64::from(pair[1]));
                }
                !pairs.is_empty()
            });
        }
        self.entity(page).is_some_and(|entity| (self.read_velocity)(&self.world, entity, re, im))
    }

    /// Whether the equation is of second order in time, so that every page has a Ψ̇.
    pub fn has_velocity(&self) -> bool {
        self.has_velocity
    }

    fn entity(&self, page: usize) -> Option<Entity> {
        Some(self.page_entities[self.world.resource::<Environment>().position(page)?])
    }

    /// Copies the potential of a page as the last half step used it; on a page that is not active only its uniform part.
    pub fn read_potential(&self, page: usize, values: &mut [f64]) {
        let is_there =
            self.entity(page).is_some_and(|entity| (self.read_potential)(&self.world, entity, values));
        if !is_there {
            values.fill(self.world.resource::<Environment>().uniform_potential.unwrap_or(0.0));
        }
    }
}

fn initialised(mut schedule: Schedule, world: &mut World) -> Result<Schedule, BuildError> {
    schedule.initialize(world).map_err(|error| BuildError::Unsupported {
        what: format!("the tick schedule is inconsistent: {error:?}"),
        remedy: "this is a defect; please report it".into(),
    })?;
    Ok(schedule)
}

/// The entities of pages in storage order.
fn entities(world: &mut World) -> Vec<Entity> {
    let mut pages = world.query_filtered::<Entity, With<Page>>();
    pages.iter(world).collect()
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

fn write_page<T: Real + Scalar>(world: &mut World, entity: Entity, re: &[f64], im: &[f64]) {
    if let Some(mut psi) = world.get_mut::<Psi<T>>(entity) {
        psi.re.iter_mut().zip(re).for_each(|(slot, value)| *slot = T::from_f64(*value));
        psi.im.iter_mut().zip(im).for_each(|(slot, value)| *slot = T::from_f64(*value));
    }
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
    let known = &mut Known::default();
    measure(&columns, &torus, &wave, &environment, &propagators, &compute, &ledger, *tick, known)
}
