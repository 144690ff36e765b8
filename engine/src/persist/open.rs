//! Opens the state of a run: continues what a directory holds, or begins anew in it.
//! Invariant: a directory is continued only by the scene it was begun with; what may differ is how long it runs, what it
//! records and when it naps.

use super::blink;
use super::cipher::MasterKey;
use super::disk::{Disk, RealDisk};
use super::error::{Fault, PersistError, Result};
use super::journal::read_segments;
use super::keeper::Keeper;
use super::lock::Lock;
use super::manifest::Manifest;
use super::nap::NapPlan;
use super::replay::{Replay, replay};
use super::store::{SCENE_NAME, Store, open_log, refuse_another_backend, stored_scene};
use crate::intake::OrderBuilder;
use crate::runner::now_nanos;
use crate::scene::document::{Document, OutputsForm};
use crate::scene::{Scene, SceneError, load_str};
use nikola_systems::Simulation;
use nikola_systems::components::setup::Setup;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a run keeps its state.
#[derive(Debug, Clone)]
pub struct StateRequest {
    /// The directory.
    pub folder: PathBuf,
    /// A key file: the state is encrypted.
    pub key_file: Option<PathBuf>,
}

impl StateRequest {
    /// The key, if there is a key file.
    ///
    /// # Errors
    /// When the file is no key or others may read it.
    pub fn key(&self) -> Result<Option<MasterKey>> {
        self.key_file.as_deref().map(MasterKey::read).transpose()
    }
}

/// Opens or creates the state of a freshly built world, which is at the tick reached before when this returns.
///
/// # Errors
/// Another engine writes there, another scene, damage, a failed write.
pub fn open(
    request: &StateRequest,
    scene: &Scene,
    setup: &Setup,
    plan: NapPlan,
    simulation: &mut Simulation,
) -> Result<Keeper> {
    let folder = &request.folder;
    let key = request.key()?;
    std::fs::create_dir_all(folder).map_err(PersistError::writing(folder))?;
    let lock = Some(Lock::take(folder)?);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if !Store::is_in(&*disk, folder) {
        let store = Store::create(disk, folder, lock, key, scene, setup.seed, simulation)?;
        return Keeper::start(store, simulation, plan, None);
    }
    let began = now_nanos();
    refuse_another_scene(folder, &stored_scene(&*disk, folder)?, scene)?;
    let store = Store::open(disk, folder, lock, key, setup.seed, simulation)?;
    let replayed = match blink::take_over(simulation, &store.shared, &store.segments) {
        Some(taken) => taken,
        None => replay(simulation, &OrderBuilder::new(scene, setup), &store.segments, None)?,
    };
    let mut keeper = Keeper::start(store, simulation, plan, Some(replayed))?;
    keeper.report.recovery_secs = (now_nanos() - began) as f64 * 1e-9;
    Ok(keeper)
}

/// The scene that a directory holds.
///
/// # Errors
/// When it cannot be read.
pub fn scene_in(folder: &Path) -> Result<Scene> {
    let manifest = Manifest::read(&RealDisk, folder)?;
    let text = stored_scene(&RealDisk, folder)?;
    let mut scene =
        load_str(&manifest.scene_name, &text, &[]).map_err(|error| stored_fault(folder, &error))?;
    scene.base_dir = PathBuf::from(manifest.base_dir);
    Ok(scene)
}

fn stored_fault(folder: &Path, error: &SceneError) -> PersistError {
    PersistError::damaged(&folder.join(SCENE_NAME), "the stored scene", error, "a scene this build reads")
}

/// Puts the state of a directory, with its journal up to `until`, into a freshly built world; changes nothing on the
/// disk.
///
/// # Errors
/// Another engine writes there, damage, or digests that differ.
pub fn look_into(
    request: &StateRequest,
    scene: &Scene,
    setup: &Setup,
    until: Option<u64>,
    simulation: &mut Simulation,
) -> Result<Replay> {
    let folder = &request.folder;
    let _lock = Lock::take(folder)?;
    let manifest = Manifest::read(&RealDisk, folder)?;
    refuse_another_backend(folder, &manifest, simulation)?;
    let key = request.key()?;
    let log = open_log(&RealDisk, folder, &manifest, key)?;
    super::capture::restore(&log, simulation)?;
    let segments = read_segments(&RealDisk, folder, &manifest.segments, key.as_ref())?;
    replay(simulation, &OrderBuilder::new(scene, setup), &segments, until)
}

/// Fields that may differ between the runs of one state.
fn without_free_fields(document: &Document) -> Document {
    Document {
        title: String::new(),
        description: String::new(),
        ticks: 0,
        observables: Vec::new(),
        outputs: OutputsForm::default(),
        naps: None,
        schedule: Vec::new(),
        ..document.clone()
    }
}

fn refuse_another_scene(folder: &Path, stored: &str, scene: &Scene) -> Result<()> {
    let before = load_str(SCENE_NAME, stored, &[]).map_err(|error| stored_fault(folder, &error))?;
    if without_free_fields(&before.document) == without_free_fields(&scene.document) {
        return Ok(());
    }
    let free = ["title", "description", "ticks", "observables", "outputs", "naps", "schedule"];
    let fields: Vec<&str> = scene
        .source
        .fields()
        .chain(before.source.fields())
        .filter(|field| !free.contains(field))
        .filter(|field| before.source.value_text(field) != scene.source.value_text(field))
        .collect();
    let found = match fields.first() {
        Some(field) => format!("another scene: `{field}` differs"),
        None => "another scene".into(),
    };
    let remedy = "continue with the scene in that directory, or name a new directory with --state";
    let expected = "the scene that the state was begun with";
    Err(PersistError::new(Fault::Scene, folder, "the state", found, expected, remedy))
}
