//! The boundary of a sparse torus: what would leave is measured, pages are born before it does, quiet ones pruned.
//!
//! Invariant: the set of pages changes here and nowhere else, at the tick border; a query visits pages in storage
//! order before and after. A page is born with Ψ = 0, so a birth changes neither norm nor energy; what goes with a
//! pruned page is accounted. Decisions follow from Ψ alone and come out alike for any number of threads.
//!
//! ```text
//!          layer or leak > ε‖Ψ‖             norm below the vacuum's and no neighbour calls
//! absent ───────────────────────▶ active ─────────────────────────────────────────────────▶ quiet
//!   ▲                               ▲             louder, or called for, on any axis         │ │
//!   │                               └────────────────────────────────────────────────────────┘ │
//!   └────────────────────────────────── quiet_ticks in a row ──────────────────────────────────┘
//! ```
//!
//! Each look takes the Gram matrices along one axis, in turn. Source: hysteresis and face neighbours as in pruned grids
//! (Hartke, PCCP 8 (2006) 3627; Larsson, Hartke & Tannor, JCP 145 (2016) 204108).

mod inherit;
mod prune;
mod start;
mod support;

pub use start::{initial_pages, too_many};
pub use support::{TooManyPages, support};

use crate::device::{self, Device};
use crate::ingress::TickPlan;
use crate::metric_update::{self, PlasticMetric};
use crate::observables::pages_ref;
use crate::oracle::weigh;
use crate::propagators::Propagators;
use crate::world::{
    BuildOptions, Compute, EMITTER_CUTOFF, Environment, Sources, fill_profile, page, source_nodes,
};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemState;
use nikola_components::chemistry::Effects;
use nikola_components::clock::Tick;
use nikola_components::column::{Column, MemoryAdvice, Scalar, zeroed};
use nikola_components::fill::{ComplexFill, Profile};
use nikola_components::growth::{Change, Growth, GrowthEvent};
use nikola_components::ledger::{EnergyFlows, Flow};
use nikola_components::metric::MetricCells;
use nikola_components::ports::{Checkpoint, Egress};
use nikola_components::setup::{Setup, WaveParameters};
use nikola_components::telemetry::{Stage, StageTimes};
use nikola_components::torus::Torus;
use nikola_components::wave::{Damping, Page, Potential, Psi};
use nikola_kernels::kinetic::sparse::{ColumnLayers, Leak};
use nikola_kernels::{PageMut, Real, Values, source};
use prune::{book_pruned, farewell, note_spared, share_out};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What new pages are made from, and what waits for them.
#[derive(Resource)]
pub struct Nursery {
    potential: Option<Profile>,
    damping: Option<Profile>,
    memory_advice: Option<MemoryAdvice>,
    /// Fields that arrive at the end of this tick, with their factors.
    pub arrivals: Vec<((f64, f64), Arc<dyn ComplexFill>)>,
    /// A state that is put back at the end of this tick, when its pages exist.
    pub restored: Option<Arc<Checkpoint>>,
}

impl Nursery {
    /// The profiles of a setup that pages carry as columns.
    pub fn new(setup: &Setup, has_potential_column: bool, options: &BuildOptions) -> Self {
        let is_uniform = matches!(setup.damping, Profile::Uniform(_));
        Self {
            potential: has_potential_column.then(|| setup.potential.clone()),
            damping: (!is_uniform).then(|| setup.damping.clone()),
            memory_advice: options.memory_advice,
            arrivals: Vec::new(),
            restored: None,
        }
    }
}

/// What a look decided.
#[derive(Debug, Default)]
struct Decided {
    /// Pages to be born, with what called for them.
    births: BTreeMap<usize, f64>,
    /// Positions in storage order of pages to be pruned.
    prunes: Vec<usize>,
}

type Look<T> = SystemState<(
    Query<'static, 'static, &'static Psi<T>>,
    ResMut<'static, Growth>,
    ResMut<'static, Egress>,
    Res<'static, Torus>,
    Res<'static, Propagators<T>>,
    Res<'static, Compute>,
    Res<'static, Environment>,
    Res<'static, Sources<T>>,
    Res<'static, WaveParameters>,
    Option<Res<'static, Effects>>,
    Res<'static, Tick>,
    Option<ResMut<'static, Device>>,
)>;

/// The stage, wherever Ψ is: a device measures what it holds, and gives Ψ to the columns before pages come or go.
pub fn grow<T: Real + Scalar>(world: &mut World, look: &mut Look<T>) {
    let began = world.resource::<StageTimes>().now();
    let mut decided = decide(world, look);
    call_for_fields::<T>(world, &mut decided);
    let is_changing = !decided.births.is_empty() || !decided.prunes.is_empty();
    let nursery = world.resource::<Nursery>();
    let is_awaited = !nursery.arrivals.is_empty() || nursery.restored.is_some();
    if (is_changing || is_awaited) && device::bring(world) {
        if is_changing {
            change::<T>(world, decided);
        }
        put_back::<T>(world);
        arrive::<T>(world);
        device::adopt(world);
    }
    let mut times = world.resource_mut::<StageTimes>();
    let ended = times.now();
    times.add(Stage::Boundary, ended - began);
}

/// Looks at the lines along one axis.
fn decide<T: Real + Scalar>(world: &mut World, look: &mut Look<T>) -> Decided {
    let Ok((
        psi,
        mut growth,
        mut egress,
        torus,
        propagators,
        compute,
        environment,
        sources,
        wave,
        effects,
        tick,
        device,
    )) = look.get_mut(world)
    else {
        return Decided::default();
    };
    let growth = &mut *growth;
    let (every, n_axes) = (growth.rule.every, torus.storage().len() as u64);
    let Some(sparse) = propagators.sparse().filter(|_| tick.0.is_multiple_of(every)) else {
        return Decided::default();
    };
    let axis = (tick.0 / every % n_axes) as usize;
    let (columns, leaks) = match device {
        Some(mut device) => {
            device.measure(axis).map_or_else(Default::default, |sums| sparse.judged(axis, &sums))
        }
        None => sparse.faces(compute.threads(), axis, &pages_ref(psi.iter())),
    };
    let norm2 = |column: &ColumnLayers| (0..column.slots.len()).map(|k| column.page_norm2(k)).sum::<f64>();
    let total: f64 = columns.iter().map(norm2).sum();
    if !(total.is_finite() && total > 0.0) {
        return Decided::default();
    }
    let elapsed = wave.dt * (every * n_axes) as f64;
    let mut rates: BTreeMap<usize, f64> = BTreeMap::new();
    rates.extend(leaks.iter().map(|leak| (leak.page, leak.rate2)));
    growth.leaked += elapsed * (torus.cell_volume() * rates.values().sum::<f64>()).sqrt();
    let pinned: BTreeSet<usize> =
        sources.emitters.iter().flat_map(|emitter| &emitter.pages).map(|part| part.position).collect();
    note_quiet(growth, &columns, total, &pinned);
    let is_ripe = |slot: &usize| growth.quiet[*slot] >= growth.rule.quiet_ticks;
    let spare = environment.pages.len() - 1;
    let prunes: Vec<usize> =
        (0..environment.pages.len()).filter(is_ripe).take(growth.rule.births_max.min(spare)).collect();
    // θ at rest leaves the scene's threshold as it is.
    let firing =
        effects.map_or(1.0, |effects| effects.firing_threshold / Effects::default().firing_threshold);
    let scales = (total.sqrt(), elapsed, firing * growth.rule.threshold);
    let births = admitted(growth, &leaks, scales, environment.pages.len(), |index, change| {
        egress.push_growth(GrowthEvent { tick: tick.0, key: page(&torus, index).key, change });
    });
    Decided { births, prunes }
}

/// Counts the ticks for which pages have been quiet, as far as one axis shows.
fn note_quiet(growth: &mut Growth, columns: &[ColumnLayers], total: f64, pinned: &BTreeSet<usize>) {
    let (own, facing) = (growth.rule.vacuum.powi(2) * total, growth.rule.threshold.powi(2) * total);
    for column in columns {
        let side = column.side;
        for (k, &slot) in column.slots.iter().enumerate() {
            // Neighbours follow each other in a column; where they don't, there is a gap.
            let positions = &column.positions;
            let before = k.checked_sub(1).filter(|&j| positions[j].abs_diff(positions[k]) == 1);
            let after =
                Some(k + 1).filter(|&j| j < positions.len() && positions[j].abs_diff(positions[k]) == 1);
            let is_called = before.is_some_and(|j| column.layers[j * side + side - 1] > facing)
                || after.is_some_and(|j| column.layers[j * side] > facing);
            let is_quiet = column.page_norm2(k) < own && !is_called && !pinned.contains(&slot);
            growth.quiet[slot] = if is_quiet { growth.quiet[slot] + growth.rule.every } else { 0 };
        }
    }
}

/// The pages that are called for and may be born: strongest first, as many as a tick and the memory cap allow.
fn admitted(
    growth: &mut Growth,
    leaks: &[Leak],
    (norm, elapsed, threshold): (f64, f64, f64),
    n_pages: usize,
    mut refuse: impl FnMut(usize, Change),
) -> BTreeMap<usize, f64> {
    let mut strengths: BTreeMap<usize, f64> = BTreeMap::new();
    for leak in leaks {
        let strength = (leak.rate2.sqrt() * elapsed).max(leak.layer2.sqrt()) / norm;
        let known = strengths.entry(leak.page).or_insert(0.0);
        *known = known.max(strength);
    }
    let mut called: Vec<(usize, f64)> =
        strengths.into_iter().filter(|(_, strength)| *strength > threshold).collect();
    called.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    called.truncate(growth.rule.births_max);
    let room = if growth.is_throttled { 0 } else { growth.rule.pages_max.saturating_sub(n_pages) };
    if let Some(&(page, _)) = called.get(room) {
        growth.n_refusals += (called.len() - room) as u64;
        refuse(page, if growth.is_throttled { Change::Throttled } else { Change::Capped });
    }
    called.into_iter().take(room).collect()
}

/// Injections of the next tick, and fields that arrive now, call for the pages they touch.
fn call_for_fields<T: Real + Scalar>(world: &mut World, decided: &mut Decided) {
    let (growth, torus) = (world.resource::<Growth>(), world.resource::<Torus>());
    let (sources, tick) = (world.resource::<Sources<T>>(), world.resource::<Tick>().0);
    let environment = world.resource::<Environment>();
    let due = sources.injections.iter().take_while(|injection| injection.tick <= tick);
    let arriving = world.resource::<Nursery>().arrivals.iter().map(|(_, profile)| profile);
    let rule = &growth.rule;
    let mut wanted = BTreeSet::new();
    for profile in due.map(|injection| &injection.profile).chain(arriving) {
        // Beyond the cap a field acts on the pages that exist.
        let pages = support(profile.as_ref(), torus, &rule.seeds, rule.threshold, rule.pages_max);
        wanted.extend(pages.unwrap_or_default());
    }
    let restored = &world.resource::<Nursery>().restored;
    wanted.extend(restored.iter().flat_map(|checkpoint| &checkpoint.pages));
    if wanted.is_empty() {
        return;
    }
    decided.prunes.retain(|&slot| !wanted.contains(&environment.pages[slot]));
    let mut room = rule.pages_max.saturating_sub(environment.pages.len() + decided.births.len());
    for page in wanted {
        let is_new = environment.position(page).is_none() && !decided.births.contains_key(&page);
        if is_new && room > 0 {
            decided.births.insert(page, 1.0);
            room -= 1;
        }
    }
}

/// Prunes and gives birth, and puts everything that depends on the set of pages in order again.
fn change<T: Real + Scalar>(world: &mut World, decided: Decided) {
    let tick = world.resource::<Tick>().0;
    let mut events = Vec::new();
    weigh::see_border::<T>(world);
    if !decided.prunes.is_empty() {
        let mut members = world.query::<(Entity, &Page)>();
        let before: Vec<(Entity, Page)> = members.iter(world).map(|(entity, page)| (entity, *page)).collect();
        let mut gone = farewell::<T>(world, &decided.prunes);
        let kinetic = varying_kinetic::<T>(world);
        for (slot, _) in &gone {
            world.despawn(before[*slot].0);
        }
        if let Some(kinetic) = kinetic {
            // D on the pages becomes the background's with their end, so only the whole is exact.
            take_over::<T>(world);
            let lost = kinetic - varying_kinetic::<T>(world).unwrap_or(kinetic);
            share_out(&mut gone, lost);
        }
        note_spared(world, &gone, &before);
        book_pruned(world, &gone);
        events.extend(gone.into_iter().map(|(slot, (norm, energy))| {
            let change = Change::Pruned { norm, energy };
            GrowthEvent { tick, key: before[slot].1.key, change }
        }));
    }
    let mut born = Vec::new();
    for (index, strength) in decided.births {
        let page = page(world.resource::<Torus>(), index);
        let change = match spawn::<T>(world, page) {
            true => Change::Born { strength },
            false => Change::NotFinite,
        };
        if let Change::Born { .. } = change {
            born.push(index);
        }
        events.push(GrowthEvent { tick, key: page.key, change });
    }
    let kinetic = varying_kinetic::<T>(world).filter(|_| !born.is_empty());
    take_over::<T>(world);
    if let Some(kinetic) = kinetic {
        inherit_metric::<T>(world, &born);
        let gained = varying_kinetic::<T>(world).unwrap_or(kinetic) - kinetic;
        if let Some(mut flows) = world.get_resource_mut::<EnergyFlows>() {
            flows.add_at_end(Flow::Growth, gained, 0.0);
        }
    }
    let mut growth = world.resource_mut::<Growth>();
    for event in &events {
        match event.change {
            Change::Born { .. } => growth.n_births += 1,
            Change::Pruned { norm, energy } => {
                growth.n_prunings += 1;
                growth.pruned_norm += norm;
                growth.pruned_energy += energy;
            }
            Change::Capped | Change::Throttled | Change::NotFinite => growth.n_refusals += 1,
        }
    }
    let mut egress = world.resource_mut::<Egress>();
    events.into_iter().for_each(|event| egress.push_growth(event));
}

/// Brings the rows into order and makes everything follow the set of pages.
fn take_over<T: Real + Scalar>(world: &mut World) {
    reorder(world);
    let mut members = world.query::<&Page>();
    let pages: Vec<usize> = members.iter(world).map(|page| page.index as usize).collect();
    adopt::<T>(world, pages);
}

/// The kinetic energy now, where the metric varies: it changes with the set of pages in more ways than one. The new pages,
/// whose Ψ is zero, may not be known to the operator yet.
fn varying_kinetic<T: Real + Scalar>(world: &mut World) -> Option<f64> {
    world.resource::<Propagators<T>>().diffusion.as_ref()?;
    let mut columns = world.query::<(&Page, &Psi<T>)>();
    let (propagators, environment) = (world.resource::<Propagators<T>>(), world.resource::<Environment>());
    let mut known: Vec<(u32, &Psi<T>)> = columns
        .iter(world)
        .filter(|(page, _)| environment.position(page.index as usize).is_some())
        .map(|(page, psi)| (page.index, psi))
        .collect();
    known.sort_unstable_by_key(|(index, _)| *index);
    let pages = pages_ref(known.into_iter().map(|(_, psi)| psi));
    let one = Values::Uniform(T::from_f64(1.0));
    let volume = world.resource::<Torus>().cell_volume();
    Some(volume * propagators.kinetic_form(world.resource::<Compute>().threads(), &pages, one))
}

/// Pages that were born, whose plastic metric is at rest until now, get that of their neighbours.
fn inherit_metric<T: Real + Scalar>(world: &mut World, born: &[usize]) {
    if !world.contains_resource::<PlasticMetric>() {
        return;
    }
    let cell = match &world.resource::<Propagators<T>>().diffusion {
        Some(diffusion) => diffusion.grid.cell.clone(),
        None => return,
    };
    let mut columns = world.query::<(&Page, &MetricCells)>();
    let known: BTreeMap<usize, &MetricCells> = columns
        .iter(world)
        .map(|(page, cells)| (page.index as usize, cells))
        .filter(|(page, _)| !born.contains(page))
        .collect();
    let torus = world.resource::<Torus>();
    let inherited: BTreeMap<usize, Vec<f64>> = born
        .iter()
        .filter_map(|&page| Some((page, inherit::inherited(torus, &cell, page, &known)?)))
        .collect();
    let mut columns = world.query::<(&Page, &mut MetricCells)>();
    for (page, mut cells) in columns.iter_mut(world) {
        if let Some(g) = inherited.get(&(page.index as usize)) {
            cells.g.copy_from_slice(g);
            cells.factorised.copy_from_slice(g);
        }
    }
    let environment = world.resource::<Environment>();
    let positions: BTreeSet<usize> =
        inherited.keys().filter_map(|page| environment.position(*page)).collect();
    metric_update::renew_pages::<T>(world, |position| positions.contains(&position));
}

/// Makes everything that depends on the set of pages follow it; `pages` are in storage order.
fn adopt<T: Real + Scalar>(world: &mut World, pages: Vec<usize>) {
    world.resource_mut::<Propagators<T>>().activate(&pages);
    world.resource_mut::<Sources<T>>().place(&pages);
    let mut environment = world.resource_mut::<Environment>();
    let before = std::mem::replace(&mut environment.pages, pages);
    if environment.drive.is_some() {
        environment.potential_time = f64::NAN;
    }
    let pages = environment.pages.clone();
    let mut growth = world.resource_mut::<Growth>();
    let quiet = |page: &usize| before.binary_search(page).map_or(0, |slot| growth.quiet[slot]);
    growth.quiet = pages.iter().map(quiet).collect();
    growth.revision += 1;
}

/// Makes the set of pages that of a saved state; their Ψ is zero where they are new.
pub fn replace_pages<T: Real + Scalar>(world: &mut World, saved: &[Page]) {
    let mut members = world.query::<(Entity, &Page)>();
    let before: Vec<(Entity, Page)> = members.iter(world).map(|(entity, page)| (entity, *page)).collect();
    for (entity, page) in &before {
        if !saved.contains(page) {
            world.despawn(*entity);
        }
    }
    for page in saved {
        if !before.iter().any(|(_, known)| known == page) {
            // Its columns were finite when it was born: a profile is a pure function of the page.
            spawn::<T>(world, *page);
        }
    }
    take_over::<T>(world);
}

/// The index of a page that belongs to the torus.
pub fn page_of(torus: &Torus, found: Page) -> Option<usize> {
    let index = found.index as usize;
    (index < torus.n_pages() && page(torus, index) == found).then_some(index)
}

/// Spawns a page with Ψ = 0, a metric at rest and its other columns; not where a profile is no finite number.
fn spawn<T: Real + Scalar>(world: &mut World, page: Page) -> bool {
    let (torus, nursery) = (world.resource::<Torus>(), world.resource::<Nursery>());
    if !world.resource::<Propagators<T>>().is_metric_finite(page.index as usize) {
        return false;
    }
    let nodes = torus.page_nodes();
    let law = &world.resource::<Environment>().damping_law;
    let column = |profile: &Profile, scale: f64, extra: f64| -> Option<Column<T>> {
        let mut exact = vec![0.0; nodes];
        fill_profile(profile, page.index as usize, &mut exact);
        exact.iter_mut().for_each(|value| *value = scale * *value + extra);
        let mut column = zeroed::<T>(1, nodes, nursery.memory_advice).ok()?.pop()?;
        for (slot, value) in column.iter_mut().zip(exact) {
            *slot = T::from_f64(value);
        }
        column.iter().all(|value| value.to_f64().is_finite()).then_some(column)
    };
    let planes = zeroed::<T>(2, nodes, nursery.memory_advice).ok();
    let potential = nursery.potential.as_ref().map(|profile| column(profile, 1.0, 0.0));
    let damping = nursery.damping.as_ref().map(|profile| column(profile, law.scale, law.extra));
    let metric = world.get_resource::<PlasticMetric>().map(|metric| metric_update::cells_at_rest(metric, 1));
    let metric = metric.map(|cells| cells.ok().and_then(|mut cells| cells.pop()));
    if metric.as_ref().is_some_and(Option::is_none) {
        return false;
    }
    let is_positive = |damping: &Column<T>| damping.iter().all(|value| value.to_f64() >= 0.0);
    let mut planes = planes.into_iter().flatten();
    let (Some(re), Some(im), None | Some(Some(_)), None | Some(Some(_))) =
        (planes.next(), planes.next(), &potential, &damping)
    else {
        return false;
    };
    if damping.iter().flatten().any(|damping| !is_positive(damping)) {
        return false;
    }
    let mut entity = world.spawn((page, Psi { re, im }));
    if let Some(column) = potential.flatten() {
        entity.insert(Potential(column));
    }
    if let Some(column) = damping.flatten() {
        entity.insert(Damping(column));
    }
    if let Some(cells) = metric.flatten() {
        entity.insert(cells);
    }
    true
}

/// Marks pages that are on their way to another row.
#[derive(Component)]
struct Displaced;

/// Brings the rows of pages into storage order again: those behind the first that is out of order leave their table
/// and come back one by one.
fn reorder(world: &mut World) {
    let mut members = world.query::<(Entity, &Page)>();
    let rows: Vec<(u32, Entity)> = members.iter(world).map(|(entity, page)| (page.index, entity)).collect();
    let mut ordered = rows.clone();
    ordered.sort_unstable_by_key(|(index, _)| *index);
    let first = rows.iter().zip(&ordered).position(|(a, b)| a != b).unwrap_or(rows.len());
    for (_, entity) in &ordered[first..] {
        world.entity_mut(*entity).insert(Displaced);
    }
    for (_, entity) in &ordered[first..] {
        world.entity_mut(*entity).remove::<Displaced>();
    }
}

/// Puts a checkpoint back that was sent during this tick, now that its pages exist; other pages stay zero.
fn put_back<T: Real + Scalar>(world: &mut World) {
    let Some(checkpoint) = world.resource_mut::<Nursery>().restored.take() else { return };
    let nodes = world.resource::<Torus>().page_nodes();
    let mut columns = world.query::<(&Page, &mut Psi<T>)>();
    for (page, mut psi) in columns.iter_mut(world) {
        let Ok(k) = checkpoint.pages.binary_search(&(page.index as usize)) else { continue };
        let range = k * nodes..(k + 1) * nodes;
        let psi = &mut *psi;
        psi.re.iter_mut().zip(&checkpoint.re[range.clone()]).for_each(|(slot, x)| *slot = T::from_f64(*x));
        psi.im.iter_mut().zip(&checkpoint.im[range]).for_each(|(slot, x)| *slot = T::from_f64(*x));
    }
    world.resource_mut::<TickPlan>().is_rebased = true;
    if let Some(mut flows) = world.get_resource_mut::<EnergyFlows>() {
        flows.attribute_rest(Flow::Scram);
    }
}

/// Adds the fields that were sent during this tick, now that their pages exist.
fn arrive<T: Real + Scalar>(world: &mut World) {
    let arrivals = std::mem::take(&mut world.resource_mut::<Nursery>().arrivals);
    for (amplitude, profile) in arrivals {
        let environment = world.resource::<Environment>();
        let torus = world.resource::<Torus>();
        let parts = source_nodes::<T>(profile.as_ref(), amplitude, torus, &environment.pages, EMITTER_CUTOFF);
        let mut psi = world.query::<&mut Psi<T>>();
        let mut pages: Vec<_> = psi.iter_mut(world).map(Mut::into_inner).collect();
        for part in parts {
            let psi = &mut *pages[part.position];
            let page = PageMut { re: &mut psi.re, im: &mut psi.im };
            source::kick(page, &part.nodes, &part.re, &part.im, 1.0, 0.0);
        }
        world.resource_mut::<TickPlan>().is_rebased = true;
        if let Some(mut flows) = world.get_resource_mut::<EnergyFlows>() {
            flows.attribute_rest(Flow::Source);
        }
    }
}
