//! The tick on a device: the same stages, each saying to the backend what it would do to the columns.
//!
//! Invariant: Ψ lives on the device; the columns of the pages are a copy, fetched when somebody looks. An injection
//! goes through the copy (fetch, inject, send back): it is rare and one path serves both residencies. A failure is
//! kept, the stages after it do nothing, and the copy stays what it was at [`Device::copied_at`]: nothing that failed
//! is read back as a result.

mod lines;
pub mod live;

pub use lines::{adopt, bring, keep, update_metric};

use crate::engs::Engs;
use crate::half_potential::{LocalColumns, LocalPlan, Pending, drive_potential, phasors};
use crate::ingress::TickPlan;
use crate::integrator::LocalStep as CompositionStep;
use crate::oracle::NormLedger;
use crate::oracle::watch::Watch;
use crate::propagators::Propagators;
use crate::wave_form::EnergyKeeper;
use crate::world::{Environment, Sources};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::ledger::EnergyFlows;
use nikola_components::ports::Ingress;
use nikola_components::setup::{Setup, TimeMode, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Potential, Psi, Velocity};
use nikola_kernels::backend::{Backend, BackendError, DeviceWorld, LocalStep, NodeList, Quantity, Watched};
use nikola_kernels::half_potential::Time;
use std::sync::{Mutex, PoisonError};

pub mod balance;
pub mod engs;
pub mod wave_form;

/// The backend and the host's copy of Ψ.
#[derive(Resource)]
pub struct Device {
    inner: Mutex<Inner>,
}

struct Inner {
    backend: Box<dyn Backend>,
    copy: Vec<[f32; 2]>,
    /// Tick of the copy; none when the device went on since.
    is_current: bool,
    copied_at: u64,
    /// The copy holds the injections of its tick already.
    has_injected: bool,
    /// The columns were changed and must be sent.
    is_host_ahead: bool,
    failure: Option<BackendError>,
    /// What the copy needs besides Ψ to go on from.
    kept: lines::Kept,
    /// T and Γ as the device was told of them.
    standing: live::Standing,
}

impl Inner {
    /// Calls the backend unless it failed before; keeps the first failure.
    fn call<R>(&mut self, work: impl FnOnce(&mut dyn Backend) -> Result<R, BackendError>) -> Option<R> {
        if self.failure.is_some() {
            return None;
        }
        match work(self.backend.as_mut()) {
            Ok(done) => Some(done),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    fn refresh(&mut self, tick: Tick) {
        if self.is_current {
            return;
        }
        let mut copy = std::mem::take(&mut self.copy);
        let mut fresh = Vec::new();
        if self.call(|backend| backend.read(&mut fresh)).is_some() {
            copy = fresh;
            (self.is_current, self.copied_at, self.has_injected) = (true, tick.0, false);
        }
        self.copy = copy;
    }
}

impl Device {
    /// A device built from `world`, whose Ψ is that of the columns now.
    pub fn new(backend: Box<dyn Backend>, copy: Vec<[f32; 2]>, world: &World) -> Self {
        let inner = Inner {
            backend,
            copy,
            is_current: true,
            copied_at: world.resource::<Tick>().0,
            has_injected: false,
            is_host_ahead: false,
            failure: None,
            kept: lines::Kept::default(),
            standing: live::Standing::of(world),
        };
        Self { inner: Mutex::new(inner) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&mut self) -> &mut Inner {
        self.inner.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the backend says of itself.
    pub fn describe(&self) -> String {
        self.lock().backend.describe()
    }

    /// Why the backend cannot go on, if it cannot.
    pub fn failure(&self) -> Option<BackendError> {
        self.lock().failure.clone()
    }

    /// Tick of the last copy of Ψ on the host.
    pub fn copied_at(&self) -> u64 {
        self.lock().copied_at
    }

    /// First tick whose injections the last copy lacks.
    pub fn lacks_injections_from(&self) -> u64 {
        let inner = self.lock();
        inner.copied_at + u64::from(inner.has_injected)
    }

    /// Ticks of `n_flows` kinetic flows each go on from `tick`.
    pub fn continue_from(&mut self, tick: Tick, n_flows: usize) {
        self.inner().backend.continue_after(tick.0 * n_flows as u64);
    }

    /// Another Ψ, as of `tick`.
    pub fn replace(&mut self, copy: Vec<[f32; 2]>, tick: Tick) {
        let inner = self.inner();
        inner.call(|backend| backend.write(&copy));
        (inner.copy, inner.is_current, inner.copied_at) = (copy, true, tick.0);
        inner.has_injected = false;
    }

    /// Runs `look` on the host's copy of Ψ, fetched first if the device went on since.
    pub fn look<R>(&self, tick: Tick, look: impl FnOnce(&[[f32; 2]]) -> R) -> R {
        let mut inner = self.lock();
        inner.refresh(tick);
        look(&inner.copy)
    }

    /// Runs `look` on the host's last copy of Ψ, whatever became of the device.
    pub fn last_copy<R>(&self, look: impl FnOnce(&[[f32; 2]]) -> R) -> R {
        look(&self.lock().copy)
    }

    /// Begins a copy of Ψ for somebody who looks; false where the backend cannot. Waits for nothing.
    pub fn begin_frame(&mut self) -> bool {
        self.inner().call(|backend| backend.begin_frame()).unwrap_or(false)
    }

    /// The oldest copy begun by [`Self::begin_frame`], if it is there. Waits for nothing.
    pub fn take_frame(&mut self, psi: &mut Vec<[f32; 2]>) -> bool {
        self.inner().call(|backend| backend.take_frame(psi)).unwrap_or(false)
    }

    /// Gives the backend to `work`, e.g. to measure it.
    pub fn with_backend<R>(&mut self, work: impl FnOnce(&mut dyn Backend) -> R) -> R {
        work(self.inner().backend.as_mut())
    }
}

/// What a backend is built from: the world as it stands.
pub fn device_world(world: &mut World) -> DeviceWorld {
    let psi = gathered(world);
    let wave_form = wave_form::gathered(world);
    let watched = watched(world);
    let mut columns = world.query::<(&Psi<f32>, Option<&Potential<f32>>, Option<&Damping<f32>>)>();
    let (mut potential, mut damping) = (Vec::new(), Vec::new());
    for (_, v, gamma) in columns.iter(world) {
        potential.extend(v.iter().flat_map(|v| v.0.iter().copied()));
        damping.extend(gamma.iter().flat_map(|gamma| gamma.0.iter().copied()));
    }
    let quantity = |uniform: Option<f64>, values: Vec<f32>| match uniform {
        Some(value) => Quantity::Uniform(value),
        None => Quantity::PerNode(values),
    };
    let environment = world.resource::<Environment>();
    let potential = quantity(environment.uniform_potential, potential);
    let damping = quantity(environment.uniform_damping, damping);
    let propagators = world.resource::<Propagators<f32>>();
    let wave = world.resource::<WaveParameters>();
    let page_nodes = world.resource::<Torus>().page_nodes();
    let list = |emitter: &crate::world::RunningEmitter<f32>| {
        let mut list = NodeList::default();
        for part in &emitter.pages {
            let first = (part.position * page_nodes) as u32;
            list.nodes.extend(part.nodes.iter().map(|node| first + node));
            list.weights.extend(part.re.iter().zip(&part.im).map(|(&re, &im)| [re, im]));
        }
        list
    };
    DeviceWorld {
        shape: propagators.shape.clone(),
        axes: propagators.terms.clone(),
        durations: propagators.durations.clone(),
        time: match wave.time {
            TimeMode::Real => Time::Real,
            TimeMode::Imaginary => Time::Imaginary { mu: 0.0 },
        },
        potential,
        damping,
        sources: world.resource::<Sources<f32>>().emitters.iter().map(list).collect(),
        psi,
        lines: lines::flows(world),
        wave: wave_form,
        watched,
    }
}

/// What of the world is watched on the device, by the oracle or the neurochemistry.
fn watched(world: &World) -> Option<Watched> {
    let (watch, engs) = (world.get_resource::<Watch<f32>>(), world.get_resource::<Engs>());
    let is_wave = world.contains_resource::<EnergyKeeper>();
    if watch.is_none() && engs.is_none() || is_wave || world.resource::<Propagators<f32>>().is_live() {
        return None;
    }
    let page_nodes = world.resource::<Torus>().page_nodes();
    let terms = &world.resource::<Propagators<f32>>().terms;
    Some(Watched {
        axes: engs.map_or(&terms[..], |engs| engs.scene_terms()).to_vec(),
        profiles: watch
            .and_then(|watch| watch.energies.constant())
            .map(|(_, sources)| sources.lists(page_nodes))
            .unwrap_or_default(),
        is_driven: world.resource::<Environment>().drive.is_some(),
        reservoir: engs.map(|engs| engs.reservoir(page_nodes)).unwrap_or_default(),
    })
}

/// V and Γ of every page, where they are columns.
pub type ParameterColumns<'w, 's> =
    Query<'w, 's, (Option<&'static Potential<f32>>, Option<&'static Damping<f32>>), With<Psi<f32>>>;

/// After a load: what the backend was built with may have changed.
pub fn send_parameters(
    device: Option<ResMut<'_, Device>>,
    columns: ParameterColumns<'_, '_>,
    environment: Res<'_, Environment>,
    propagators: Res<'_, Propagators<f32>>,
    watch: Option<Res<'_, Watch<f32>>>,
    engs: Option<Res<'_, Engs>>,
    wave_form: Option<Res<'_, EnergyKeeper>>,
) {
    let Some(mut device) = device else { return };
    let inner = device.inner();
    if environment.drive.is_some() {
        let potential = columns.iter().filter_map(|(v, _)| v);
        let values: Vec<f32> = potential.flat_map(|v| v.0.iter().copied()).collect();
        inner.call(|backend| backend.set_potential(&values));
    }
    let has_log = !propagators.is_live() && wave_form.is_none();
    if has_log && (watch.is_some() || engs.is_some()) {
        balance::send_damping(inner, &environment, columns.iter().filter_map(|(_, damping)| damping));
        inner.call(|backend| backend.watching()?.set_axes(&propagators.terms));
    }
}

/// After a return to the host: V in the columns is that of the tick the run goes on from.
pub fn drive_columns(
    mut columns: LocalColumns<'_, '_, f32>,
    mut environment: ResMut<'_, Environment>,
    wave: Res<'_, WaveParameters>,
    tick: Res<'_, Tick>,
) {
    drive_potential(&mut columns, &mut environment, tick.time(wave.dt));
}

/// Ψ of all pages as pairs.
fn gathered(world: &mut World) -> Vec<[f32; 2]> {
    let mut pages = world.query::<&Psi<f32>>();
    let pairs = pages.iter(world).flat_map(|psi| psi.re.iter().zip(psi.im.iter()));
    pairs.map(|(&re, &im)| [re, im]).collect()
}

/// The columns that a backend's pairs stand for: Ψ, and in the wave form Ψ̇.
pub type Fields<'w, 's> = Query<'w, 's, (&'static mut Psi<f32>, Option<&'static mut Velocity<f32>>)>;

/// Copies all pairs of a backend into the columns.
pub fn scatter_fields(pairs: &[[f32; 2]], fields: &mut Fields<'_, '_>) {
    scatter(pairs, fields.iter_mut().map(|(psi, _)| psi.into_inner()));
    let n = fields.iter().map(|(psi, _)| psi.re.len()).sum::<usize>();
    let velocities = fields.iter_mut().filter_map(|(_, velocity)| velocity);
    wave_form::scatter(&pairs[n..], velocities.map(Mut::into_inner));
}

/// All pairs of the columns, as a backend has them: Ψ page by page, then Ψ̇.
pub fn pairs<'a>(fields: &'a Fields<'_, '_>) -> impl Iterator<Item = [f32; 2]> + 'a {
    let psi = fields.iter().flat_map(|(psi, _)| psi.re.iter().zip(psi.im.iter()));
    let velocities = fields.iter().filter_map(|(_, velocity)| velocity);
    let velocity = velocities.flat_map(|velocity| velocity.re.iter().zip(velocity.im.iter()));
    psi.chain(velocity).map(|(&re, &im)| [re, im])
}

/// Copies the pairs of Ψ into the columns.
pub fn scatter<'a>(pairs: &[[f32; 2]], pages: impl Iterator<Item = &'a mut Psi<f32>>) {
    let mut rest = pairs;
    for psi in pages {
        let (mine, others) = rest.split_at(psi.re.len());
        for ((re, im), pair) in psi.re.iter_mut().zip(psi.im.iter_mut()).zip(mine) {
            (*re, *im) = (pair[0], pair[1]);
        }
        rest = others;
    }
}

/// What of a setup no backend can do yet: the scene field that asks for it, and what to do instead.
pub fn unsupported(setup: &Setup) -> Option<(&'static str, &'static str)> {
    use nikola_components::setup::Precision;
    // Exhaustive on purpose: a new field must be decided upon here.
    let Setup {
        torus: _,
        precision,
        seed: _,
        equation: _,
        wave: _,
        metric: _,
        plasticity: _,
        potential: _,
        drive: _,
        damping: _,
        initial: _,
        norm: _,
        emitters: _,
        injections: _,
        growth: _,
        scan: _,
        oracle: _,
        engs: _,
        sample_every: _,
    } = setup;
    (*precision == Precision::F64).then_some(("precision: F64", "set precision: F32 (or --precision f32)"))
}

/// Before `ingress`: fetches Ψ into the columns when something strikes them in this tick.
pub fn fetch(
    mut device: ResMut<'_, Device>,
    mut fields: Fields<'_, '_>,
    ingress: Res<'_, Ingress>,
    sources: Res<'_, Sources<f32>>,
    flows: Option<Res<'_, EnergyFlows>>,
    tick: Res<'_, Tick>,
) {
    let is_struck = sources.injections.first().is_some_and(|injection| injection.tick <= tick.0);
    if is_struck || ingress.strikes() || (flows.is_some() && ingress.looks()) {
        let inner = device.inner();
        inner.refresh(*tick);
        inner.is_host_ahead = true;
        scatter_fields(&inner.copy, &mut fields);
    }
}

/// After `ingress`: sends the columns back.
pub fn send(mut device: ResMut<'_, Device>, fields: Fields<'_, '_>) {
    let inner = device.inner();
    if !std::mem::take(&mut inner.is_host_ahead) {
        return;
    }
    let copy: Vec<[f32; 2]> = pairs(&fields).collect();
    inner.call(|backend| backend.write(&copy));
    (inner.copy, inner.has_injected) = (copy, true);
}

/// The opening half step: `half_potential::open` on the device.
pub fn open(
    mut columns: LocalColumns<'_, '_, f32>,
    mut device: ResMut<'_, Device>,
    mut environment: ResMut<'_, Environment>,
    mut pending: ResMut<'_, Pending>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<f32>>,
    propagators: Res<'_, Propagators<f32>>,
    ledger: Res<'_, NormLedger>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
) {
    let inner = device.inner();
    inner.is_current = false;
    drive(inner, &mut columns, &mut environment, tick.time(wave.dt));
    let first = propagators.composition.local[0];
    kick(inner, &sources, &wave, *tick, 0.0, first.weight());
    pending.opening = Some(LocalPlan {
        duration: wave.dt * first.weight(),
        beta: if plan.is_degraded { 0.0 } else { wave.beta },
        gain: ledger.gain(),
        mu: ledger.mu(),
    });
}

/// The kinetic stage on the device, with the inner local flows of fourth-order compositions.
pub fn propagate(
    mut columns: LocalColumns<'_, '_, f32>,
    mut device: ResMut<'_, Device>,
    mut environment: ResMut<'_, Environment>,
    mut pending: ResMut<'_, Pending>,
    mut times: ResMut<'_, StageTimes>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<f32>>,
    mut propagators: ResMut<'_, Propagators<f32>>,
    ledger: Res<'_, NormLedger>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    let inner = device.inner();
    let n_kinetic = propagators.which.len();
    let local = |weight: f64| LocalPlan {
        duration: wave.dt * weight,
        beta: if plan.is_degraded { 0.0 } else { wave.beta },
        gain: 0.0,
        mu: ledger.mu(),
    };
    let mut opening = pending.opening.take();
    for i in 0..n_kinetic {
        if let Some(armed) = opening.take() {
            inner.call(|backend| backend.local(&step(&armed)));
            if n_kinetic == 1 && ledger.measures_leak(*tick, &environment) {
                pending.norm2_before = inner.call(|backend| backend.norm2());
            }
        }
        let flow = propagators.which[i];
        let by_lines = lines::step(&mut propagators, flow, *tick);
        inner.call(|backend| match &by_lines {
            Some(step) => backend.propagate(step),
            None => backend.kinetic(flow),
        });
        if i + 1 == n_kinetic {
            break;
        }
        let between: CompositionStep = propagators.composition.local[i + 1];
        let has_kick = !sources.emitters.is_empty();
        drive(inner, &mut columns, &mut environment, tick.time(wave.dt) + between.at * wave.dt);
        let first = local(if has_kick { between.left } else { between.weight() });
        inner.call(|backend| backend.local(&step(&first)));
        if has_kick {
            kick(inner, &sources, &wave, *tick, between.at, between.weight());
            opening = Some(local(between.right));
        }
    }
    let ended = times.now();
    times.add(Stage::Kinetic, ended - began);
}

/// The closing half step: `half_potential::close` on the device.
pub fn close(
    mut columns: LocalColumns<'_, '_, f32>,
    mut device: ResMut<'_, Device>,
    mut environment: ResMut<'_, Environment>,
    mut pending: ResMut<'_, Pending>,
    mut tick: ResMut<'_, Tick>,
    mut ledger: ResMut<'_, NormLedger>,
    propagators: Res<'_, Propagators<f32>>,
    wave: Res<'_, WaveParameters>,
    sources: Res<'_, Sources<f32>>,
) {
    let inner = device.inner();
    let end = Tick(tick.0 + 1);
    if let Some(before) = pending.norm2_before.take()
        && let Some(after) = inner.call(|backend| backend.norm2())
    {
        ledger.note_leak(before, after);
    }
    drive(inner, &mut columns, &mut environment, end.time(wave.dt));
    let weight = propagators.composition.local.last().map_or(0.0, |step| step.weight());
    let local = LocalPlan { duration: wave.dt * weight, mu: ledger.mu(), ..pending.closing };
    pending.closing = LocalPlan::default();
    inner.call(|backend| backend.local(&step(&local)));
    kick(inner, &sources, &wave, end, 0.0, weight);
    if inner.failure.is_none() {
        *tick = end;
    }
}

/// The oracle on the device: the ledger steers by the norm that the device sums.
pub fn watch(
    mut device: ResMut<'_, Device>,
    mut ledger: ResMut<'_, NormLedger>,
    mut times: ResMut<'_, StageTimes>,
    environment: Res<'_, Environment>,
    torus: Res<'_, Torus>,
    wave: Res<'_, WaveParameters>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
) {
    let began = times.now();
    let inner = device.inner();
    if let Some(interval) = ledger.due(*tick, &plan)
        && let Some(norm2) = inner.call(|backend| backend.norm2())
    {
        let norm = torus.cell_volume() * norm2;
        if let Some(gain) = ledger.judge(*tick, norm, interval, &environment, &plan, &wave) {
            let scale = LocalStep { duration: 0.0, beta: 0.0, gain, mu: 0.0 };
            inner.call(|backend| backend.local(&scale));
            inner.is_current = false;
        }
    }
    let ended = times.now();
    times.add(Stage::Oracle, ended - began);
}

/// Before `egress`: fetches Ψ into the columns when a sample is due.
pub fn bring_back(
    device: ResMut<'_, Device>,
    mut fields: Fields<'_, '_>,
    sampling: Res<'_, crate::egress::Sampling>,
    plan: Res<'_, TickPlan>,
    tick: Res<'_, Tick>,
) {
    if plan.wants_sample || sampling.is_due(*tick) {
        device.look(*tick, |pairs| scatter_fields(pairs, &mut fields));
    }
}

/// Before a stage that reads the columns in every tick.
pub fn fetch_columns(device: ResMut<'_, Device>, mut fields: Fields<'_, '_>, tick: Res<'_, Tick>) {
    device.look(*tick, |pairs| scatter_fields(pairs, &mut fields));
}

fn step(plan: &LocalPlan) -> LocalStep {
    let LocalPlan { duration, beta, gain, mu } = *plan;
    LocalStep { duration, beta, gain, mu }
}

fn kick(
    inner: &mut Inner,
    sources: &Sources<f32>,
    wave: &WaveParameters,
    tick: Tick,
    offset: f64,
    weight: f64,
) {
    if sources.is_muted {
        return;
    }
    for (index, phasor) in phasors(sources, wave, tick, offset, weight) {
        inner.call(|backend| backend.kick(index, phasor));
    }
}

/// Rebuilds V for model time `t` on the host and sends it, where it depends on time.
fn drive(inner: &mut Inner, columns: &mut LocalColumns<'_, '_, f32>, environment: &mut Environment, t: f64) {
    let before = environment.potential_time;
    drive_potential(columns, environment, t);
    if environment.drive.is_none() || environment.potential_time == before {
        return;
    }
    let mut values = Vec::new();
    for (_, potential, _) in columns.iter_mut() {
        values.extend(potential.iter().flat_map(|v| v.0.iter().copied()));
    }
    inner.call(|backend| backend.set_potential(&values));
}
