//! What survives a tick: the one place that names every number from which the next tick is computed.
//!
//! Invariant: a world built from the same setup that [`load`](StateTable::load)s what [`capture`](StateTable::capture)
//! and [`scalars`](StateTable::scalars) gave continues bit for bit like the world it came from. Columns travel as the
//! little-endian bytes of their memory, page by page; scalars as one small blob of named sections.
//!
//! **To make new state survive, add it to [`StateTable::new`]:** a column with `ColumnEntry::of` and an id that
//! `docs/FORMATS.md` lists (ids are written to files and never change their meaning); a resource by implementing
//! [`Survives`] for it and adding `ScalarEntry::of`. What is a pure function of the setup and of other state (plans,
//! static potentials) isn't stored; where it must follow a load, add a function to `derive`. A world whose set of
//! pages changes takes over the saved set in `adopt_pages`. The oracle's checkpoints are states themselves and are
//! stored beside the table (`Simulation::checkpoints`), and so is the answer to its wish for one.

mod blob;

pub use blob::{StateReader, StateWriter};

use crate::boundary;
use crate::engs::{self, Engs, Inbox};
use crate::half_potential::{LocalColumns, drive_potential};
use crate::ingress::InputLog;
use crate::mamba_scan::{self, RunningReadout};
use crate::metric_update;
use crate::oracle::NormLedger;
use crate::oracle::weigh;
use crate::oracle::{load_watch, save_watch};
use crate::wave_form::{self, EnergyKeeper};
use crate::world::{Environment, Sources};
use bevy_ecs::change_detection::Tick as ChangeTick;
use bevy_ecs::component::Mutable;
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemState;
use nikola_components::chemistry::{Chemistry, Effects, Work};
use nikola_components::clock::Tick;
use nikola_components::column::{Column, Scalar};
use nikola_components::growth::Growth;
use nikola_components::ledger::EnergyFlows;
use nikola_components::metric::MetricCells;
use nikola_components::setup::WaveParameters;
use nikola_components::torus::Torus;
use nikola_components::wave::{Page, Psi, Velocity};
use nikola_kernels::Real;

/// Why a saved state does not fit a world.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The blob of scalars is not as written.
    #[error("the saved scalars are broken at {place}: found {found}, expected {expected}")]
    Blob {
        /// Section.
        place: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// The saved state is of another setup.
    #[error(
        "the saved state has {what} {found}, this world has {expected}; continue with the scene it came from"
    )]
    Mismatch {
        /// Which quantity.
        what: &'static str,
        /// In the saved state.
        found: String,
        /// In the world.
        expected: String,
    },
    /// A column could not be read.
    #[error("column {column} of page {peano} (Peano index) cannot be read: {reason}")]
    Column {
        /// Name of the column.
        column: &'static str,
        /// Peano index of the page.
        peano: u64,
        /// Why.
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A resource whose value influences the future.
pub trait Survives: Resource<Mutability = Mutable> {
    /// Appends every number that later ticks depend on.
    fn save(&self, out: &mut StateWriter);

    /// Takes them back in the same order.
    ///
    /// # Errors
    /// [`StateError`] when the blob ends early or belongs to another setup.
    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError>;
}

/// Name and place of a column in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnKind {
    /// Id in files.
    pub id: u8,
    /// Name in messages and files.
    pub name: &'static str,
    /// Bytes of one number.
    pub scalar_bytes: usize,
}

/// One column of one page, seen at a tick border.
#[derive(Debug, Clone, Copy)]
pub struct PageColumn<'a> {
    /// Whose.
    pub page: Page,
    /// Which.
    pub kind: ColumnKind,
    /// Whether a system could have written to it since the mark given to `capture`.
    pub is_touched: bool,
    /// The numbers, little-endian.
    pub bytes: &'a [u8],
}

/// A moment that later captures compare with.
#[derive(Debug, Clone, Copy)]
pub struct Mark(ChangeTick);

type Look = Box<dyn for<'w> Fn(&'w World, Entity) -> Option<(&'w [u8], ChangeTick)> + Send + Sync>;
type Reach = Box<dyn for<'w> Fn(&'w mut World, Entity) -> Option<&'w mut [u8]> + Send + Sync>;

/// How one column of a page is read and written.
pub struct ColumnEntry {
    kind: ColumnKind,
    look: Look,
    reach: Reach,
}

impl ColumnEntry {
    /// The column that `get` and `get_mut` find in component `C`. Pages without the component have no such column.
    pub fn of<C: Component<Mutability = Mutable>, T: Scalar>(
        id: u8,
        name: &'static str,
        get: fn(&C) -> &Column<T>,
        get_mut: fn(&mut C) -> &mut Column<T>,
    ) -> Self {
        Self {
            kind: ColumnKind { id, name, scalar_bytes: size_of::<T>() },
            look: Box::new(move |world, entity| {
                let component = world.get_entity(entity).ok()?.get_ref::<C>()?;
                let changed = component.last_changed();
                Some((get(component.into_inner()).bytes(), changed))
            }),
            reach: Box::new(move |world, entity| {
                Some(get_mut(world.get_mut::<C>(entity)?.into_inner()).bytes_mut())
            }),
        }
    }
}

/// How one resource is saved and loaded.
pub struct ScalarEntry {
    name: &'static str,
    save: fn(&World, &mut StateWriter),
    load: fn(&mut World, &mut StateReader<'_>) -> Result<(), StateError>,
}

impl ScalarEntry {
    /// The resource `R` under `name`.
    pub fn of<R: Survives>(name: &'static str) -> Self {
        Self {
            name,
            save: |world, out| world.resource::<R>().save(out),
            load: |world, from| world.resource_mut::<R>().load(from),
        }
    }

    /// The same for a resource that only some setups have; elsewhere the section is empty.
    pub fn where_present<R: Survives>(name: &'static str) -> Self {
        Self {
            name,
            save: |world, out| {
                if let Some(resource) = world.get_resource::<R>() {
                    resource.save(out);
                }
            },
            load: |world, from| match world.get_resource_mut::<R>() {
                Some(mut resource) => resource.load(from),
                None => Ok(()),
            },
        }
    }
}

/// Makes the world's set of pages equal to a saved one.
type AdoptPages = fn(&mut World, &[Page]) -> Result<(), StateError>;

/// The table of everything that survives.
pub struct StateTable {
    columns: Vec<ColumnEntry>,
    scalars: Vec<ScalarEntry>,
    /// Called after a load, in order: what follows from the loaded state.
    derive: Vec<fn(&mut World)>,
    adopt_pages: AdoptPages,
}

impl StateTable {
    /// The table of a world with scalar type `T`.
    pub fn new<T: Real + Scalar>() -> Self {
        Self {
            columns: vec![
                ColumnEntry::of::<Psi<T>, T>(1, "psi_re", |psi| &psi.re, |psi| &mut psi.re),
                ColumnEntry::of::<Psi<T>, T>(2, "psi_im", |psi| &psi.im, |psi| &mut psi.im),
                ColumnEntry::of::<Velocity<T>, T>(3, "velocity_re", |own| &own.re, |own| &mut own.re),
                ColumnEntry::of::<Velocity<T>, T>(4, "velocity_im", |own| &own.im, |own| &mut own.im),
                ColumnEntry::of::<MetricCells, f64>(16, "metric", |cells| &cells.g, |cells| &mut cells.g),
                ColumnEntry::of::<MetricCells, f64>(
                    17,
                    "metric_factorised",
                    |cells| &cells.factorised,
                    |cells| &mut cells.factorised,
                ),
            ],
            scalars: vec![
                ScalarEntry::of::<Tick>("tick"),
                ScalarEntry { name: "wave", save: save_wave, load: load_wave },
                ScalarEntry::of::<NormLedger>("norm_ledger"),
                ScalarEntry::of::<Environment>("environment"),
                ScalarEntry::where_present::<EnergyKeeper>("energy_keeper"),
                ScalarEntry::of::<Sources<T>>("sources"),
                ScalarEntry::where_present::<RunningReadout>("readout"),
                ScalarEntry::where_present::<Growth>("growth"),
                ScalarEntry::where_present::<EnergyFlows>("energy_flows"),
                ScalarEntry { name: "oracle", save: save_watch::<T>, load: load_watch::<T> },
                ScalarEntry::where_present::<InputLog>("inputs"),
                ScalarEntry::where_present::<Chemistry>("chemistry"),
                ScalarEntry::where_present::<Effects>("effects"),
                ScalarEntry::where_present::<Engs>("engs"),
                ScalarEntry::where_present::<Inbox>("inbox"),
                ScalarEntry::where_present::<Work>("work"),
            ],
            derive: vec![
                forget_past_injections::<T>,
                refresh_driven_potential::<T>,
                metric_update::restore::<T>,
                engs::restore::<T>,
                wave_form::restore::<T>,
                mamba_scan::restore::<T>,
                weigh::restore::<T>,
            ],
            adopt_pages: adopt_pages::<T>,
        }
    }

    /// The columns pages may have.
    pub fn kinds(&self) -> impl Iterator<Item = ColumnKind> {
        self.columns.iter().map(|entry| entry.kind)
    }

    /// The pages of a world, in storage order.
    pub fn pages(world: &World) -> Vec<(Entity, Page)> {
        let Some(mut query) = world.try_query::<(Entity, &Page)>() else { return Vec::new() };
        query.iter(world).map(|(entity, page)| (entity, *page)).collect()
    }

    /// The scalars of a world at a tick border.
    pub fn scalars(&self, world: &World) -> Vec<u8> {
        let mut out = StateWriter::default();
        for entry in &self.scalars {
            out.section(entry.name, |out| (entry.save)(world, out));
        }
        out.into_bytes()
    }

    /// Shows every column of every page at a tick border, page by page in storage order. `since` is what an earlier
    /// capture returned; without it every column counts as touched.
    pub fn capture(
        &self,
        world: &mut World,
        since: Option<Mark>,
        visit: &mut dyn FnMut(PageColumn<'_>),
    ) -> Mark {
        let mark = Mark(world.increment_change_tick());
        for (entity, page) in Self::pages(world) {
            for entry in &self.columns {
                let Some((bytes, changed)) = (entry.look)(world, entity) else { continue };
                let is_touched = since.is_none_or(|since| changed.is_newer_than(since.0, mark.0));
                visit(PageColumn { page, kind: entry.kind, is_touched, bytes });
            }
        }
        mark
    }

    /// Puts a saved state into a world of the same setup, freshly built or with an earlier state: its pages, its scalars, and
    /// every column, which `fill` writes in place. A world whose load failed must not be ticked.
    ///
    /// # Errors
    /// [`StateError`] when the state is of another setup or `fill` fails.
    pub fn load<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &self,
        world: &mut World,
        pages: &[Page],
        scalars: &[u8],
        mut fill: impl FnMut(&Page, ColumnKind, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), StateError> {
        (self.adopt_pages)(world, pages)?;
        let mut from = StateReader::new(scalars);
        for entry in &self.scalars {
            from.section(entry.name, |from| (entry.load)(world, from))?;
        }
        from.end()?;
        for (entity, page) in Self::pages(world) {
            for entry in &self.columns {
                let Some(bytes) = (entry.reach)(world, entity) else { continue };
                fill(&page, entry.kind, bytes).map_err(|reason| StateError::Column {
                    column: entry.kind.name,
                    peano: page.peano,
                    reason: reason.into(),
                })?;
            }
        }
        for derive in &self.derive {
            derive(world);
        }
        Ok(())
    }
}

/// A sparse world takes the saved set of pages; a dense one must have it already.
fn adopt_pages<T: Real + Scalar>(world: &mut World, saved: &[Page]) -> Result<(), StateError> {
    if !world.contains_resource::<Growth>() {
        return require_same_pages(world, saved);
    }
    let torus = world.resource::<Torus>().clone();
    if let Some(strange) = saved.iter().find(|page| boundary::page_of(&torus, **page).is_none()) {
        return Err(StateError::Mismatch {
            what: "a page with Peano index",
            found: strange.peano.to_string(),
            expected: "pages of its own torus only".into(),
        });
    }
    boundary::replace_pages::<T>(world, saved);
    Ok(())
}

/// The pages of a dense world never change: a saved set must be the same one.
fn require_same_pages(world: &mut World, saved: &[Page]) -> Result<(), StateError> {
    let here = StateTable::pages(world);
    if here.len() != saved.len() {
        let (found, expected) = (saved.len().to_string(), here.len().to_string());
        return Err(StateError::Mismatch { what: "a number of pages of", found, expected });
    }
    let mut peano = [saved.iter().map(|page| page.peano).collect(), Vec::with_capacity(here.len())];
    peano[1].extend(here.iter().map(|(_, page)| page.peano));
    peano.iter_mut().for_each(|indices| indices.sort_unstable());
    match peano[0].iter().zip(&peano[1]).find(|(saved, here)| saved != here) {
        None => Ok(()),
        Some((saved, here)) => Err(StateError::Mismatch {
            what: "a page with Peano index",
            found: saved.to_string(),
            expected: here.to_string(),
        }),
    }
}

/// Injections before the loaded tick have struck already.
fn forget_past_injections<T: Real>(world: &mut World) {
    let tick = world.resource::<Tick>().0;
    world.resource_mut::<Sources<T>>().injections.retain(|injection| injection.tick >= tick);
}

type DrivenState<T> = SystemState<(LocalColumns<'static, 'static, T>, ResMut<'static, Environment>)>;

/// Potential columns that depend on time are rebuilt for the time they were last built for.
fn refresh_driven_potential<T: Real + Scalar>(world: &mut World) {
    let mut state = DrivenState::<T>::new(world);
    let Ok((mut columns, mut environment)) = state.get_mut(world) else { return };
    let built_for = std::mem::replace(&mut environment.potential_time, f64::NAN);
    if !built_for.is_nan() {
        drive_potential(&mut columns, &mut environment, built_for);
    }
}

/// The account, the quiet counts, and whether growth is throttled; the rule is the setup's.
impl Survives for Growth {
    fn save(&self, out: &mut StateWriter) {
        for count in [self.n_births, self.n_prunings, self.n_refusals, self.quiet.len() as u64] {
            out.put_u64(count);
        }
        [self.pruned_norm, self.pruned_energy, self.leaked].into_iter().for_each(|value| out.put_f64(value));
        self.quiet.iter().for_each(|&ticks| out.put_u64(ticks));
        out.put_u64(u64::from(self.is_throttled));
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.n_births = from.take_u64()?;
        self.n_prunings = from.take_u64()?;
        self.n_refusals = from.take_u64()?;
        let found = from.take_u64()?;
        if found != self.quiet.len() as u64 {
            let (found, expected) = (found.to_string(), self.quiet.len().to_string());
            return Err(StateError::Mismatch { what: "quiet counts of", found, expected });
        }
        self.pruned_norm = from.take_f64()?;
        self.pruned_energy = from.take_f64()?;
        self.leaked = from.take_f64()?;
        for ticks in &mut self.quiet {
            *ticks = from.take_u64()?;
        }
        self.is_throttled = from.take_u64()? != 0;
        Ok(())
    }
}

impl Survives for Tick {
    fn save(&self, out: &mut StateWriter) {
        out.put_u64(self.0);
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.0 = from.take_u64()?;
        Ok(())
    }
}

/// β may be changed by a command; the rest must be the setup's.
impl Survives for WaveParameters {
    fn save(&self, out: &mut StateWriter) {
        out.put_f64(self.dt);
        self.diffusion.iter().for_each(|&value| out.put_f64(value));
        out.put_f64(self.beta);
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        from.require_f64("a time step", self.dt)?;
        for value in self.diffusion {
            from.require_f64("a diffusion coefficient", value)?;
        }
        self.beta = from.take_f64()?;
        Ok(())
    }
}

/// The parameters as the scene has them: what arousal does to D follows from the effects.
fn save_wave(world: &World, out: &mut StateWriter) {
    unmodulated(world).save(out);
}

fn load_wave(world: &mut World, from: &mut StateReader<'_>) -> Result<(), StateError> {
    let mut wave = unmodulated(world);
    wave.load(from)?;
    world.insert_resource(wave);
    Ok(())
}

fn unmodulated(world: &World) -> WaveParameters {
    let wave = *world.resource::<WaveParameters>();
    let diffusion = world.get_resource::<Engs>().map_or(wave.diffusion, |engs| engs.scene_diffusion());
    WaveParameters { diffusion, ..wave }
}

/// The model time for which driven potential columns were built, and what is done to Γ; the columns follow from them.
impl Survives for Environment {
    fn save(&self, out: &mut StateWriter) {
        out.put_f64(self.potential_time);
        out.put_f64(self.damping_law.scale);
        out.put_f64(self.damping_law.extra);
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.potential_time = from.take_f64()?;
        self.damping_law.scale = from.take_f64()?;
        self.damping_law.extra = from.take_f64()?;
        Ok(())
    }
}

/// How strongly each emitter acts, and whether all are off; the rest is the setup's.
impl<T: Real> Survives for Sources<T> {
    fn save(&self, out: &mut StateWriter) {
        out.put_u64(self.emitters.len() as u64);
        self.emitters.iter().for_each(|emitter| out.put_f64(emitter.drive));
        out.put_u64(u64::from(self.is_muted));
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let (found, expected) = (from.take_u64()?, self.emitters.len());
        if found != expected as u64 {
            let (found, expected) = (found.to_string(), expected.to_string());
            return Err(StateError::Mismatch { what: "a number of emitters of", found, expected });
        }
        for emitter in &mut self.emitters {
            emitter.drive = from.take_f64()?;
        }
        self.is_muted = from.take_u64()? != 0;
        Ok(())
    }
}

/// The weights and the inverse that learning one example at a time goes on from.
impl Survives for RunningReadout {
    fn save(&self, out: &mut StateWriter) {
        for values in [&self.learner.weights, &self.learner.inverse] {
            out.put_u64(values.len() as u64);
            values.iter().for_each(|&value| out.put_f64(value));
        }
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        for values in [&mut self.learner.weights, &mut self.learner.inverse] {
            let (found, expected) = (from.take_u64()?, values.len());
            if found != expected as u64 {
                let (found, expected) = (found.to_string(), expected.to_string());
                return Err(StateError::Mismatch { what: "a readout of size", found, expected });
            }
            for value in values.iter_mut() {
                *value = from.take_f64()?;
            }
        }
        Ok(())
    }
}
