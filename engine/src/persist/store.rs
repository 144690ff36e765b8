//! A state directory: made, opened, recovered.
//!
//! Invariant: at any instant the manifest names files that are whole and durable. A directory is opened by one engine at
//! a time. After the first failed write or sync the store is poisoned: nothing more is written or acknowledged.
//!
//! ```text
//! DIR/scene.ron   manifest.ron   lock   log-NNNNNN.nik   journal-NNNNNN.nkj …
//! ```

use super::capture::{capture, restore};
use super::checkpoints::Slots;
use super::cipher::MasterKey;
use super::disk::{Disk, partial, read_whole, replace};
use super::error::{Fault, PersistError, Result};
use super::header::{CipherKind, Header};
use super::journal::{Segment, read_segments};
use super::lock::{LOCK_NAME, Lock};
use super::manifest::{HOST, MANIFEST_NAME, MANIFEST_VERSION, Manifest};
use super::reader::{Log, hex};
use super::writer::{Encoding, LogWriter, random_salt, unix_secs};
use crate::scene::Scene;
use nikola_systems::Simulation;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Name of the stored scene.
pub const SCENE_NAME: &str = "scene.ron";

/// Largest stored scene that is read.
const SCENE_BYTES_MAX: u64 = 16 << 20;

/// What the threads of one store share.
#[derive(Debug)]
pub struct Shared {
    /// The directory.
    pub folder: PathBuf,
    /// Where it is.
    pub disk: Arc<dyn Disk>,
    /// The key, where the state is encrypted.
    pub key: Option<MasterKey>,
    /// The scene's seed.
    pub seed: u64,
    manifest: Mutex<Manifest>,
    poison: Mutex<Option<String>>,
}

impl Shared {
    /// The store of `folder` as `manifest` describes it.
    pub fn new(
        folder: &Path,
        disk: Arc<dyn Disk>,
        key: Option<MasterKey>,
        seed: u64,
        manifest: Manifest,
    ) -> Self {
        Self {
            folder: folder.to_path_buf(),
            disk,
            key,
            seed,
            manifest: Mutex::new(manifest),
            poison: Mutex::new(None),
        }
    }

    /// Changes the manifest on the disk.
    ///
    /// # Errors
    /// When it cannot be replaced; the store is poisoned then.
    pub fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<()> {
        self.check()?;
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = manifest.clone();
        change(&mut changed);
        changed.write(&*self.disk, &self.folder).inspect_err(|error| self.poison(error))?;
        *manifest = changed;
        Ok(())
    }

    /// The manifest as it is on the disk.
    pub fn manifest(&self) -> Manifest {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Index of the newest segment the manifest names; 0 for none.
    pub fn newest_segment(&self) -> u32 {
        self.manifest().segments.last().copied().unwrap_or(0)
    }

    /// A write failed: nothing is written any more.
    pub fn poison(&self, error: &PersistError) {
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        poison.get_or_insert_with(|| error.to_string());
    }

    /// Whether everything written so far succeeded.
    ///
    /// # Errors
    /// The first failure.
    pub fn check(&self) -> Result<()> {
        match &*self.poison.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(why) => Err(PersistError::poisoned(&self.folder, why)),
        }
    }
}

/// A state directory that is open for writing.
#[derive(Debug)]
pub struct Store {
    /// What its threads share.
    pub shared: Arc<Shared>,
    /// The `.nik` file.
    pub log: LogWriter,
    /// Journal segments since its last snapshot.
    pub segments: Vec<Segment>,
    lock: Option<Lock>,
}

impl Store {
    /// What the keeper takes over.
    pub fn into_parts(self) -> (Arc<Shared>, LogWriter, Vec<Segment>, Option<Lock>) {
        (self.shared, self.log, self.segments, self.lock)
    }

    /// Whether `folder` holds a state.
    pub fn is_in(disk: &dyn Disk, folder: &Path) -> bool {
        disk.open(&folder.join(MANIFEST_NAME)).is_ok()
    }

    /// Makes a new state directory from a world at its first tick.
    ///
    /// # Errors
    /// When something else is there already, or a write fails.
    pub fn create(
        disk: Arc<dyn Disk>,
        folder: &Path,
        lock: Option<Lock>,
        key: Option<MasterKey>,
        scene: &Scene,
        seed: u64,
        simulation: &mut Simulation,
    ) -> Result<Self> {
        let strangers = disk.list(folder).map_err(PersistError::reading(folder))?;
        if let Some(stranger) = strangers.iter().find(|name| !is_ours(name)) {
            let (found, remedy) =
                (format!("the file {stranger}"), "name a new or empty directory with --state");
            let expected = "a state directory, or an empty one";
            return Err(PersistError::new(Fault::Input, folder, "the directory", found, expected, remedy));
        }
        let path = folder.join(SCENE_NAME);
        replace(&*disk, &path, scene.text().as_bytes()).map_err(PersistError::writing(&path))?;
        let log_path = folder.join(log_name(1));
        let header = Header {
            creation_secs: unix_secs(),
            baseline_secs: unix_secs(),
            cipher: if key.is_some() { CipherKind::ChaCha20Poly1305 } else { CipherKind::None },
            precision: simulation.precision(),
            salt: random_salt(&log_path)?,
            scene_id: scene_id(scene.text()),
            page_nodes: simulation.torus().page_nodes() as u32,
        };
        let mut first = capture(simulation, None, &mut Vec::new());
        first.complete(&mut Slots::default());
        let mut log = LogWriter::create(&*disk, &partial(&log_path), header, key)?;
        log.append(first.tick, &first.contents, &[], Encoding::Lossless)?;
        log.settle(&*disk, &log_path)?;
        let footer = *log.last().expect("just written");
        let manifest = Manifest {
            version: MANIFEST_VERSION,
            scene_name: scene.source.name.clone(),
            base_dir: scene.base_dir.to_string_lossy().into_owned(),
            log: log_name(1),
            footer: footer.end,
            snapshot: footer.snapshot,
            tick: footer.tick,
            root: hex(&footer.root),
            segments: Vec::new(),
            backend: backend_of(simulation),
        };
        manifest.write(&*disk, folder)?;
        let shared = Shared::new(folder, disk, key, seed, manifest);
        Ok(Self { shared: Arc::new(shared), log, segments: Vec::new(), lock })
    }

    /// Opens a state directory and puts its checkpoint into a freshly built world; the journal is still to be replayed.
    ///
    /// # Errors
    /// Damage, another key, another scene.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        lock: Option<Lock>,
        key: Option<MasterKey>,
        seed: u64,
        simulation: &mut Simulation,
    ) -> Result<Self> {
        let manifest = Manifest::read(&*disk, folder)?;
        refuse_another_backend(folder, &manifest, simulation)?;
        let reader = open_log(&*disk, folder, &manifest, key)?;
        // A plain state stays plain, whatever key is given.
        let key = key.filter(|_| reader.header.cipher == CipherKind::ChaCha20Poly1305);
        // Leaves for the differential snapshots to come.
        let live = restore(&reader, simulation)?;
        let segments = read_segments(&*disk, folder, &manifest.segments, key.as_ref())?;
        remove_leftovers(&*disk, folder, &manifest)?;
        let log = LogWriter::resume(&*disk, reader.path(), reader.header, key, *reader.last(), live)?;
        let shared = Shared::new(folder, disk, key, seed, manifest);
        Ok(Self { shared: Arc::new(shared), log, segments, lock })
    }
}

/// What computes a world's ticks, as the manifest names it.
fn backend_of(simulation: &Simulation) -> String {
    simulation.device().map_or_else(|| HOST.into(), |device| device.describe())
}

/// A state goes on where it was computed: a device's bits are its own.
///
/// # Errors
/// When the world is elsewhere than the manifest says.
pub fn refuse_another_backend(folder: &Path, manifest: &Manifest, simulation: &Simulation) -> Result<()> {
    let found = backend_of(simulation);
    if found == manifest.backend {
        return Ok(());
    }
    let remedy = if manifest.backend == HOST {
        "continue with --backend cpu"
    } else {
        "continue with --backend gpu (and --adapter NAME) on that device, or begin a new directory"
    };
    let expected = format!("{}, which computed the state", manifest.backend);
    Err(PersistError::new(Fault::Scene, folder, "the backend", found, expected, remedy))
}

/// Opens the log of a manifest at the checkpoint it names.
///
/// # Errors
/// Damage, or another root than the manifest's.
pub fn open_log(disk: &dyn Disk, folder: &Path, manifest: &Manifest, key: Option<MasterKey>) -> Result<Log> {
    let path = folder.join(&manifest.log);
    let log = Log::open_at(disk, &path, key, Some(manifest.footer))?;
    let last = log.last();
    let is_named =
        hex(&last.root) == manifest.root && last.snapshot == manifest.snapshot && last.tick == manifest.tick;
    if is_named {
        return Ok(log);
    }
    let found = format!("snapshot {} of tick {}, root {}", last.snapshot, last.tick, hex(&last.root));
    let expected =
        format!("snapshot {} of tick {}, root {}", manifest.snapshot, manifest.tick, manifest.root);
    Err(PersistError::damaged(&path, "the checkpoint that the manifest names", found, expected))
}

/// The stored scene's text.
///
/// # Errors
/// When it cannot be read.
pub fn stored_scene(disk: &dyn Disk, folder: &Path) -> Result<String> {
    let path = folder.join(SCENE_NAME);
    let bytes = read_whole(disk, &path, SCENE_BYTES_MAX).map_err(PersistError::reading(&path))?;
    String::from_utf8(bytes)
        .map_err(|error| PersistError::damaged(&path, "the stored scene", error, "UTF-8 text"))
}

/// The first twelve bytes of BLAKE3 over a scene's text.
pub fn scene_id(text: &str) -> [u8; 12] {
    super::header::field(blake3::hash(text.as_bytes()).as_bytes(), 0)
}

/// Name of `.nik` file number `n` of a state directory.
pub fn log_name(n: u32) -> String {
    format!("log-{n:06}.nik")
}

fn is_ours(name: &str) -> bool {
    let is_data = (name.starts_with("log-") && name.ends_with(".nik"))
        || (name.starts_with("journal-") && name.ends_with(".nkj"));
    is_data || name.ends_with(".partial") || [SCENE_NAME, MANIFEST_NAME, LOCK_NAME].contains(&name)
}

/// Removes what a step that was cut short has left behind.
fn remove_leftovers(disk: &dyn Disk, folder: &Path, manifest: &Manifest) -> Result<()> {
    let segments: Vec<String> =
        manifest.segments.iter().map(|index| super::journal::segment_name(*index)).collect();
    for name in disk.list(folder).map_err(PersistError::reading(folder))? {
        let is_kept = !is_ours(&name)
            || name == manifest.log
            || segments.contains(&name)
            || [SCENE_NAME, MANIFEST_NAME, LOCK_NAME].contains(&name.as_str());
        if !is_kept {
            let path = folder.join(name);
            disk.remove(&path).map_err(PersistError::writing(&path))?;
        }
    }
    Ok(())
}
