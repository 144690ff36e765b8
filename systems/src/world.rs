//! How a world is built: pages are spawned, columns filled, propagators prepared.
//!
//! Invariant: after [`build`] no entity is added, removed or moved between archetypes, except by stage `boundary` on a
//! sparse torus, and every table a tick needs exists. Filling goes page by page in f64 and rounds once.

mod check;

pub use check::check_scan;

use crate::boundary::{Nursery, TooManyPages, initial_pages, support, too_many};
use crate::damping::DampingLaw;
use crate::integrator::Composition;
use crate::metric_update::{PlasticMetric, cells_at_rest};
use crate::propagators::{Propagators, propagators};
use crate::wave_form::{EnergyKeeper, WaveFlow};
use bevy_ecs::prelude::*;
use nikola_components::clock::Tick;
use nikola_components::column::{Column, MemoryAdvice, Scalar, zeroed};
use nikola_components::emitter::{Emitter, Envelope, Injection, PhaseAccumulator};
use nikola_components::fill::{ComplexFill, Profile, RealFill, TimePotential};
use nikola_components::geometry::morton::MortonKey;
use nikola_components::geometry::peano;
use nikola_components::growth::Growth;
use nikola_components::ports::{Egress, Ingress, IngressLimits, LockContention};
use nikola_components::setup::{Equation, Setup, TimeMode};
use nikola_components::telemetry::StageTimes;
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Page, Potential, Psi, Velocity};
use nikola_kernels::Crew;
use nikola_kernels::simd::Level;
use nikola_kernels::{PageMut, Real, Threads, Values, reduce};
use std::sync::Arc;

/// From so many nodes of a single page on, a pass over it is more than one thread's work: it takes tens of microseconds, and
/// helpers that are awake take a part of it over without a call of the system.
const SHARED_NODES: usize = 8_192;

/// Weights below this fraction of a profile's largest are left out of an emitter's node list.
pub const EMITTER_CUTOFF: f64 = 1e-12;

/// Why a world cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The state does not fit the address space.
    #[error(transparent)]
    Memory(#[from] nikola_components::column::ColumnError),
    /// A profile gave something that is not a number.
    #[error("{what} is {found} at grid coordinates {coordinates:?} (r…z); expected a finite number")]
    NotFinite {
        /// Which profile.
        what: &'static str,
        /// The value.
        found: f64,
        /// Where.
        coordinates: [usize; 9],
    },
    /// The damping is negative somewhere.
    #[error("the damping is {found} at grid coordinates {coordinates:?} (r…z); expected 0 or more")]
    NegativeDamping {
        /// The value.
        found: f64,
        /// Where.
        coordinates: [usize; 9],
    },
    /// A norm was asked for but the initial state vanishes.
    #[error("the initial state is zero everywhere and cannot be scaled to norm {norm}")]
    ZeroInitial {
        /// The norm asked for.
        norm: f64,
    },
    /// A field covers more pages than a sparse torus may have.
    #[error("{what} needs more than {pages_max} pages; {remedy}")]
    TooManyPages {
        /// Which field.
        what: String,
        /// The memory cap.
        pages_max: usize,
        /// What to do instead.
        remedy: &'static str,
    },
    /// A combination that has no meaning.
    #[error("{what}; {remedy}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// What to do instead.
        remedy: String,
    },
    /// The crew could not be started.
    #[error("could not start {threads} worker threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        reason: String,
    },
}

/// What the caller lends to a world; nothing here changes a result.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildOptions {
    /// Worker threads; 0 and 1 both mean the calling thread.
    pub threads: usize,
    /// SIMD level; the best available when absent.
    pub level: Option<Level>,
    /// A monotonic clock in nanoseconds for stage times.
    pub now_nanos: Option<fn() -> u64>,
    /// A monotonic counter that is read in less time than a clock, in a measure of its own: how the time of fused stages divides.
    pub counter: Option<fn() -> u64>,
    /// Called once per large allocation.
    pub memory_advice: Option<MemoryAdvice>,
}

/// The crew and SIMD level kernels run with.
#[derive(Debug, Resource)]
pub struct Compute {
    /// Chosen at build time.
    pub level: Level,
    crew: Option<Crew>,
    /// Threads that share a pass over the field.
    width: usize,
    /// Whether every tick has work for all threads, whatever the width.
    is_long: bool,
    /// Worker threads (1 for the calling thread).
    pub n_threads: usize,
}

impl Compute {
    /// Where a pass over the field may run.
    pub fn threads(&self) -> Threads<'_> {
        match &self.crew {
            Some(crew) if self.width > 1 => Threads::Part(crew, self.width),
            _ => Threads::Serial,
        }
    }

    /// How many threads share a pass over the field. No width changes a bit.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Lets at most so many threads share a pass over the field.
    pub(crate) fn set_width(&mut self, width: usize) {
        self.width = width;
    }

    /// Where work may run that takes many times as long as a pass over the field: the scan, the energy of a metric that
    /// learns.
    pub fn long_threads(&self) -> Threads<'_> {
        self.crew.as_ref().map_or(Threads::Serial, Threads::Crew)
    }

    /// Wakes the crew's helpers a little before a tick, in a world that rests between ticks. Changes no state.
    pub fn rouse(&self) {
        let n_threads = if self.is_long { self.n_threads } else { self.width };
        self.crew.iter().for_each(|crew| crew.rouse(n_threads));
    }
}

/// Columns that do not vary, and those that vary in time.
#[derive(Resource)]
pub struct Environment {
    /// Page indices in storage order, as queries visit them: all pages, or the active ones of a sparse torus.
    pub pages: Vec<usize>,
    /// V where it is the same everywhere and constant in time.
    pub uniform_potential: Option<f64>,
    /// Γ where it is the same everywhere.
    pub uniform_damping: Option<f64>,
    /// The static potential, needed again whenever the driven one is rebuilt.
    pub static_potential: Option<Profile>,
    /// The time-dependent part.
    pub drive: Option<Arc<dyn TimePotential>>,
    /// Model time the potential columns were built for.
    pub potential_time: f64,
    /// Whether the norm is conserved: the Schrödinger form without damping and sources in real time.
    pub is_closed: bool,
    /// Whether the equation is of second order in time.
    pub is_second_order: bool,
    /// Γ as the scene has it, and what is done to it.
    pub damping_law: DampingLaw,
}

impl Environment {
    /// What β∫|Ψ|⁴ is multiplied with in H: ½, or −¼ where the equation is of second order in time.
    pub fn interaction(&self) -> f64 {
        if self.is_second_order { -0.25 } else { 0.5 }
    }

    /// Position of a page in storage order; none where it is not active.
    pub fn position(&self, page: usize) -> Option<usize> {
        self.pages.binary_search(&page).ok()
    }
}

/// A source as the tick uses it: per page, the nodes it touches and their weights.
pub struct SourceNodes<T> {
    /// Page index.
    pub page: usize,
    /// Its position in storage order.
    pub position: usize,
    /// Node index in the page.
    pub nodes: Vec<u32>,
    /// Real part of profile · amplitude.
    pub re: Vec<T>,
    /// Imaginary part.
    pub im: Vec<T>,
}

/// A running emitter.
pub struct RunningEmitter<T> {
    /// Name in reports.
    pub name: String,
    /// Phase per tick.
    pub phase: PhaseAccumulator,
    /// Frequency in turns per model time, for sub-steps between ticks.
    pub frequency_hz: f64,
    /// Strength in time.
    pub envelope: Envelope,
    /// Factor of the whole source that commands change.
    pub drive: f64,
    /// The first emitter with the same profile and amplitude, whose nodes it acts on: one kick serves all of them.
    pub leader: usize,
    /// Where it acts.
    pub pages: Vec<SourceNodes<T>>,
}

/// All sources of a world.
#[derive(Resource)]
pub struct Sources<T: Real> {
    /// Running emitters.
    pub emitters: Vec<RunningEmitter<T>>,
    /// One-shot injections, earliest first.
    pub injections: Vec<Injection>,
    /// Whether emitters and injections are off.
    pub is_muted: bool,
}

/// Spawns the world of `setup` for scalar type `T`.
///
/// # Errors
/// [`BuildError`] when a profile is not finite, the damping negative, or the combination meaningless.
pub fn build<T: Real + Scalar>(setup: &Setup, options: &BuildOptions) -> Result<World, BuildError> {
    let composition = Composition::new(setup.wave.integrator);
    check::check(setup, &composition)?;
    let torus = &setup.torus;
    let mut world = World::new();
    let emitters: Vec<_> =
        (0..setup.emitters.len()).map(|index| running(index, setup)).collect::<Result<_, _>>()?;
    let pages = initial_pages(setup, &emitters)?;
    let is_long =
        setup.plasticity.is_some() || setup.scan.as_ref().is_some_and(|scan| !scan.traversals.is_empty());
    let is_wide = setup.growth.is_some() || pages.len() > 1 || torus.page_nodes() >= SHARED_NODES;
    let compute = compute(options, is_wide, is_long)?;

    let mut psi = fill_planes::<T>("the initial state", setup.initial.as_ref(), torus, &pages, options)?;
    let mut velocity = match &setup.equation {
        Equation::Schrodinger => Vec::new(),
        Equation::Wave { velocity } => {
            fill_planes::<T>("the initial velocity", velocity.as_ref(), torus, &pages, options)?
        }
    };
    if let Some(norm) = setup.norm {
        let factor = factor_to_norm(&psi, norm, torus, &compute)?;
        scale(&mut psi, factor);
        scale(&mut velocity, factor);
    }
    let has_potential_column = matches!(setup.potential, Profile::PerNode(_)) || setup.drive.is_some();
    let mut potential = match &setup.potential {
        _ if !has_potential_column => Vec::new(),
        profile => fill_real::<T>("the potential", profile, torus, &pages, options)?,
    };
    let mut damping = match &setup.damping {
        Profile::Uniform(_) => Vec::new(),
        profile => fill_real::<T>("the damping", profile, torus, &pages, options)?,
    };
    refuse_negative(&damping, torus, &pages)?;
    let mut propagators = propagators::<T>(setup, composition, compute.level, options)?;
    propagators.activate(&pages);
    let plastic = match (setup.plasticity, &propagators.diffusion) {
        (Some(plasticity), Some(diffusion)) => Some(PlasticMetric::new(setup, plasticity, &diffusion.grid)),
        _ => None,
    };
    let mut cells = match &plastic {
        Some(plastic) => cells_at_rest(plastic, pages.len())?,
        None => Vec::new(),
    };
    velocity.reverse();
    potential.reverse();
    damping.reverse();
    cells.reverse();
    for (&index, [re, im]) in pages.iter().zip(psi) {
        let mut entity = world.spawn((page(torus, index), Psi { re, im }));
        if let Some([re, im]) = velocity.pop() {
            entity.insert(Velocity { re, im });
        }
        if let Some(column) = potential.pop() {
            entity.insert(Potential(column));
        }
        if let Some(column) = damping.pop() {
            entity.insert(Damping(column));
        }
        if let Some(cells) = cells.pop() {
            entity.insert(cells);
        }
    }

    world.insert_resource(propagators);
    if let Some(plastic) = plastic {
        world.insert_resource(plastic);
    }
    if let Equation::Wave { .. } = setup.equation {
        let flow = WaveFlow::<T>::new(setup, world.resource::<Propagators<T>>(), compute.level);
        world.insert_resource(flow);
        world.insert_resource(EnergyKeeper::new(setup));
    }
    if let Some(rule) = &setup.growth {
        world.insert_resource(Growth::new(rule.clone(), pages.len()));
        world.insert_resource(Nursery::new(setup, has_potential_column, options));
    }
    let mut sources = Sources::<T> { emitters, injections: sorted(&setup.injections), is_muted: false };
    sources.place(&pages);
    world.insert_resource(sources);
    world.insert_resource(environment(setup, has_potential_column, pages));
    world.insert_resource(compute);
    if setup.scan.is_some() {
        crate::mamba_scan::insert::<T>(&mut world, setup)?;
    }
    world.insert_resource(setup.torus.clone());
    world.insert_resource(setup.wave);
    world.insert_resource(Tick::default());
    world.insert_resource(Ingress::new(ingress_limits(setup)));
    world.insert_resource(Egress::default());
    world.insert_resource(LockContention::default());
    world.insert_resource(StageTimes { now_nanos: options.now_nanos, ..StageTimes::default() });
    world.insert_resource(crate::ingress::TickPlan::default());
    world.insert_resource(crate::half_potential::Pending::default());
    world.insert_resource(crate::egress::Sampling::new(setup.sample_every));
    world.insert_resource(crate::observables::Known::default());
    world.insert_resource(crate::oracle::NormLedger::new(setup));
    crate::oracle::balance::equip::<T>(&mut world, setup);
    crate::engs::equip::<T>(&mut world, setup);
    Ok(world)
}

fn ingress_limits(setup: &Setup) -> IngressLimits {
    let readout = setup.scan.as_ref().and_then(|scan| Some((scan, scan.readout.as_ref()?)));
    IngressLimits {
        n_emitters: setup.emitters.len(),
        n_targets: readout.map_or(0, |(_, readout)| readout.n_targets),
        n_weights: readout
            .map_or(0, |(scan, readout)| readout.n_targets * (1 + readout.n_features(scan.traversals.len()))),
        has_oracle: setup.oracle.is_some(),
        has_chemistry: setup.engs.is_some(),
    }
}

fn compute(options: &BuildOptions, is_wide: bool, is_long: bool) -> Result<Compute, BuildError> {
    let level = options.level.unwrap_or_else(Level::detect);
    let n_threads = options.threads.max(1);
    let is_wide = n_threads > 1 && is_wide;
    let crew = if is_wide || n_threads > 1 && is_long {
        let failed =
            |reason: std::io::Error| BuildError::Threads { threads: n_threads, reason: reason.to_string() };
        Some(Crew::new(n_threads).map_err(failed)?)
    } else {
        None
    };
    Ok(Compute { level, crew, width: if is_wide { n_threads } else { 1 }, is_long, n_threads })
}

/// Identity of the page with this index.
pub fn page(torus: &Torus, index: usize) -> Page {
    let origin = torus.node(index, 0);
    let key = MortonKey::encode(origin.map(|coordinate| coordinate as u16)).expect("extents are below 2^14");
    Page { index: index as u32, key, peano: peano::page_index(torus.extents(), &torus.page_shape(), &origin) }
}

/// The real and the imaginary plane of every page.
fn fill_planes<T: Real + Scalar>(
    what: &'static str,
    profile: &dyn ComplexFill,
    torus: &Torus,
    indices: &[usize],
    options: &BuildOptions,
) -> Result<Vec<[Column<T>; 2]>, BuildError> {
    let nodes = torus.page_nodes();
    // Both planes of a page lie next to each other: the sweeps touch them together.
    let mut planes = zeroed::<T>(2 * indices.len(), nodes, options.memory_advice)?.into_iter();
    let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
    let mut pages = Vec::with_capacity(indices.len());
    while let (Some(mut plane_re), Some(mut plane_im)) = (planes.next(), planes.next()) {
        let page = indices[pages.len()];
        re.fill(0.0);
        im.fill(0.0);
        profile.fill(page, &mut re, &mut im);
        round_into(what, &re, &mut plane_re, torus, page)?;
        round_into(what, &im, &mut plane_im, torus, page)?;
        pages.push([plane_re, plane_im]);
    }
    Ok(pages)
}

/// What takes ∫|Ψ|² to `norm`.
fn factor_to_norm<T: Real + Scalar>(
    pages: &[[Column<T>; 2]],
    norm: f64,
    torus: &Torus,
    compute: &Compute,
) -> Result<f64, BuildError> {
    let views: Vec<_> =
        pages.iter().map(|[re, im]| nikola_kernels::PageRef { re: &re[..], im: &im[..] }).collect();
    let found = torus.cell_volume() * reduce::norm2(compute.level, compute.threads(), &views);
    if found <= 0.0 {
        return Err(BuildError::ZeroInitial { norm });
    }
    Ok((norm / found).sqrt())
}

fn scale<T: Real + Scalar>(pages: &mut [[Column<T>; 2]], factor: f64) {
    for value in pages.iter_mut().flatten().flat_map(|column| column.iter_mut()) {
        *value = T::from_f64(value.to_f64() * factor);
    }
}

fn fill_real<T: Real + Scalar>(
    what: &'static str,
    profile: &Profile,
    torus: &Torus,
    pages: &[usize],
    options: &BuildOptions,
) -> Result<Vec<Column<T>>, BuildError> {
    let mut columns = zeroed::<T>(pages.len(), torus.page_nodes(), options.memory_advice)?;
    let mut values = vec![0.0; torus.page_nodes()];
    for (&page, column) in pages.iter().zip(&mut columns) {
        fill_profile(profile, page, &mut values);
        round_into(what, &values, column, torus, page)?;
    }
    Ok(columns)
}

/// Writes a profile's values on a page, in f64.
pub fn fill_profile(profile: &Profile, page: usize, values: &mut [f64]) {
    match profile {
        Profile::Uniform(value) => values.fill(*value),
        Profile::PerNode(fill) => RealFill::fill(fill.as_ref(), page, values),
    }
}

fn round_into<T: Real>(
    what: &'static str,
    values: &[f64],
    column: &mut [T],
    torus: &Torus,
    page: usize,
) -> Result<(), BuildError> {
    for (i, (&value, slot)) in values.iter().zip(column).enumerate() {
        *slot = T::from_f64(value);
        if !slot.to_f64().is_finite() {
            return Err(BuildError::NotFinite { what, found: value, coordinates: torus.node(page, i) });
        }
    }
    Ok(())
}

fn refuse_negative<T: Real + Scalar>(
    damping: &[Column<T>],
    torus: &Torus,
    pages: &[usize],
) -> Result<(), BuildError> {
    for (&page, column) in pages.iter().zip(damping) {
        if let Some(i) = column.iter().position(|value| value.to_f64() < 0.0) {
            let found = column[i].to_f64();
            return Err(BuildError::NegativeDamping { found, coordinates: torus.node(page, i) });
        }
    }
    Ok(())
}

fn environment(setup: &Setup, has_potential_column: bool, pages: Vec<usize>) -> Environment {
    let uniform = |profile: &Profile| match profile {
        Profile::Uniform(value) => Some(*value),
        Profile::PerNode(_) => None,
    };
    let uniform_damping = uniform(&setup.damping);
    let is_closed_otherwise = setup.emitters.is_empty()
        && setup.wave.time == TimeMode::Real
        && matches!(setup.equation, Equation::Schrodinger);
    Environment {
        pages,
        uniform_potential: uniform(&setup.potential).filter(|_| !has_potential_column),
        uniform_damping,
        static_potential: setup.drive.is_some().then(|| setup.potential.clone()),
        drive: setup.drive.clone(),
        potential_time: f64::NAN,
        is_closed: uniform_damping == Some(0.0) && is_closed_otherwise,
        is_second_order: matches!(setup.equation, Equation::Wave { .. }),
        damping_law: DampingLaw {
            profile: setup.damping.clone(),
            scale: 1.0,
            extra: 0.0,
            is_closed_otherwise,
        },
    }
}

fn running<T: Real>(index: usize, setup: &Setup) -> Result<RunningEmitter<T>, BuildError> {
    let emitter = &setup.emitters[index];
    let is_alike = |other: &Emitter| {
        Arc::ptr_eq(&other.profile, &emitter.profile) && other.amplitude == emitter.amplitude
    };
    let (profile, torus) = (emitter.profile.as_ref(), &setup.torus);
    let (pages, cutoff) = match &setup.growth {
        None => ((0..torus.n_pages()).collect(), EMITTER_CUTOFF),
        Some(rule) => {
            let pages = support(profile, torus, &rule.seeds, rule.threshold, rule.pages_max);
            (
                pages.map_err(|TooManyPages| too_many(&format!("emitter {}", emitter.name), rule))?,
                rule.threshold,
            )
        }
    };
    Ok(RunningEmitter {
        name: emitter.name.clone(),
        phase: PhaseAccumulator::new(emitter.frequency_hz, setup.wave.dt, emitter.phase_turns),
        frequency_hz: emitter.frequency_hz,
        envelope: emitter.envelope.clone(),
        drive: 1.0,
        leader: setup.emitters.iter().position(is_alike).unwrap_or(index),
        pages: source_nodes(profile, (emitter.amplitude, 0.0), torus, &pages, cutoff),
    })
}

impl<T: Real> Sources<T> {
    /// Notes where the emitters' pages stand in storage order. Panics where one is not active.
    pub fn place(&mut self, pages: &[usize]) {
        for part in self.emitters.iter_mut().flat_map(|emitter| &mut emitter.pages) {
            part.position = pages.binary_search(&part.page).expect("pages of emitters are always active");
        }
    }
}

/// The nodes a profile touches on `pages`, with its weights times a complex factor; weights below `cutoff` of the
/// largest are left out.
pub fn source_nodes<T: Real>(
    profile: &dyn ComplexFill,
    factor: (f64, f64),
    torus: &Torus,
    pages: &[usize],
    cutoff: f64,
) -> Vec<SourceNodes<T>> {
    let nodes = torus.page_nodes();
    let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
    let mut largest = 0.0_f64;
    let fill = |page, re: &mut [f64], im: &mut [f64]| {
        re.fill(0.0);
        im.fill(0.0);
        profile.fill(page, re, im);
    };
    for &page in pages {
        fill(page, &mut re, &mut im);
        largest = re.iter().zip(&im).fold(largest, |largest, (re, im)| largest.max(re * re + im * im));
    }
    let cutoff = largest * cutoff * cutoff;
    let mut parts = Vec::new();
    for (position, &page) in pages.iter().enumerate() {
        fill(page, &mut re, &mut im);
        let mut touched = SourceNodes { page, position, nodes: Vec::new(), re: Vec::new(), im: Vec::new() };
        for (i, (&re, &im)) in re.iter().zip(&im).enumerate() {
            if re * re + im * im > cutoff {
                touched.nodes.push(i as u32);
                touched.re.push(T::from_f64(re * factor.0 - im * factor.1));
                touched.im.push(T::from_f64(re * factor.1 + im * factor.0));
            }
        }
        if !touched.nodes.is_empty() {
            parts.push(touched);
        }
    }
    parts
}

/// One-shot injections, earliest first.
pub fn sorted(injections: &[Injection]) -> Vec<Injection> {
    let mut injections = injections.to_vec();
    injections.sort_by_key(|injection| injection.tick);
    injections
}

/// Pages of a query as kernels take them, in storage order.
pub fn pages_mut<'a, T: Real + Scalar>(psi: impl Iterator<Item = &'a mut Psi<T>>) -> Vec<PageMut<'a, T>> {
    psi.map(|psi| PageMut { re: &mut psi.re, im: &mut psi.im }).collect()
}

/// A quantity that is uniform or lies in columns, as kernels take it.
pub fn values<'a, T: Real>(uniform: Option<f64>, columns: &'a [&'a [T]]) -> Values<'a, T> {
    match uniform {
        Some(value) => Values::Uniform(T::from_f64(value)),
        None => Values::PerNode(columns),
    }
}
