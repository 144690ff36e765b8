//! The writer's end of a segment.
//! Invariant: a segment has one writer, which holds the file's lock as long as it lives, however it ends; a name is
//! only ever given to a complete header, so that a restarted writer's readers see the new segment or none.

use super::layout::{CLOSED, HEADER_WORDS, HEARTBEAT, Header, LATEST, SLOT_HEADER_WORDS, ShmError, slot};
use super::mapping::Mapping;
use super::seqlock;
use nikola_systems::Simulation;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const REMEDY: &str = "free memory there, name another folder in NIKOLA_SHM, or run with --frames 0";

/// Ids of Ψ's columns (docs/FORMATS.md).
const PSI_COLUMNS: [u8; 2] = [1, 2];

/// Where a published frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Slot of the ring.
    pub slot: usize,
    /// Its sequence, even.
    pub sequence: u64,
    /// Tick of the frame.
    pub tick: u64,
}

/// A segment being written.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    header: Header,
    mapping: Mapping,
    published: u64,
    _locked: File,
}

/// Nanoseconds since 1970.
pub fn wall_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Writer {
    /// Makes a segment in `folder` and gives it its name.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(folder: &Path, name: &str, header: Header) -> Result<Self, ShmError> {
        remove_abandoned(folder);
        let path = folder.join(name);
        let draft = folder.join(format!("{name}.draft"));
        let failed = |reason| ShmError::System { path: path.clone(), reason, remedy: REMEDY };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&draft).map_err(failed)?;
        file.try_lock().map_err(|error| failed(error.into()))?;
        let bytes = 8 * header.segment_words() as u64;
        let made = reserve(&file, bytes).and_then(|()| Mapping::new(&file, bytes, true));
        let mapping = made.inspect_err(|_| drop(fs::remove_file(&draft))).map_err(failed)?;
        header.write(&mapping.words()[..HEADER_WORDS]);
        mapping.words()[HEARTBEAT].store(wall_nanos(), Ordering::Relaxed);
        fs::rename(&draft, &path).map_err(failed)?;
        Ok(Self { path, header, mapping, published: 0, _locked: file })
    }

    /// Where the segment lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Shows readers that the writer lives.
    pub fn beat(&self, wall_nanos: u64) {
        self.mapping.words()[HEARTBEAT].store(wall_nanos, Ordering::Relaxed);
    }

    /// Copies Ψ at a tick border into the next slot: about one load and one store per eight bytes, no waiting.
    pub fn publish(&mut self, simulation: &mut Simulation) -> Place {
        let about = About::of(simulation);
        let capacity = self.header.capacity_pages;
        let block_words = self.header.block_words();
        self.store(&about, |blocks| {
            // Pages come in storage order, as in the list of the active ones; columns of a page one after the other.
            let n_pages = simulation.active_pages().len().min(capacity);
            let mut at = [0; 2];
            simulation.save_columns(None, &mut |column| {
                if let Some(part) = PSI_COLUMNS.iter().position(|id| *id == column.kind.id)
                    && at[part] < n_pages
                {
                    let from = (2 * at[part] + part) * block_words;
                    seqlock::store_bytes(&blocks[from..from + block_words], column.bytes);
                    at[part] += 1;
                }
            });
        })
    }

    /// As [`Self::publish`], of a copy of Ψ that a device made: all pages in storage order, pairs in single precision.
    pub fn publish_copy(&mut self, about: &About, psi: &[[f32; 2]]) -> Place {
        let page_nodes = self.header.torus.page_nodes();
        let (capacity, block_words) = (self.header.capacity_pages, self.header.block_words());
        let mut plane = Vec::with_capacity(4 * page_nodes);
        self.store(about, |blocks| {
            for (page, pairs) in psi.chunks_exact(page_nodes).take(capacity).enumerate() {
                for part in 0..2 {
                    plane.clear();
                    plane.extend(pairs.iter().flat_map(|pair| pair[part].to_le_bytes()));
                    let from = (2 * page + part) * block_words;
                    seqlock::store_bytes(&blocks[from..from + block_words], &plane);
                }
            }
        })
    }

    /// Stores one frame into the next slot; `fill` stores the blocks.
    fn store(&mut self, about: &About, fill: impl FnOnce(&[AtomicU64])) -> Place {
        self.published += 1;
        let index = ((self.published - 1) % self.header.slots as u64) as usize;
        let words = &self.mapping.words()[self.header.slot_range(index)];
        let (capacity, published) = (self.header.capacity_pages, self.published);
        let sequence = seqlock::write(&words[slot::SEQUENCE], || {
            about.store(words, published, capacity);
            fill(&words[SLOT_HEADER_WORDS + capacity..]);
        });
        self.mapping.words()[LATEST].store(published, Ordering::Release);
        Place { slot: index, sequence, tick: about.tick }
    }
}

/// What a frame says besides Ψ.
#[derive(Debug, Clone)]
pub struct About {
    tick: u64,
    time: f64,
    stage_nanos: u64,
    chemistry: [f64; 5],
    active: Vec<usize>,
}

impl About {
    /// As of now.
    pub fn of(simulation: &Simulation) -> Self {
        let chemistry = simulation.chemistry().map_or([f64::NAN; 5], |now| {
            [now.dopamine, now.serotonin, now.norepinephrine, now.boredom, now.atp]
        });
        Self {
            tick: simulation.tick_count(),
            time: simulation.time(),
            stage_nanos: simulation.stage_times().nanos.iter().sum(),
            chemistry,
            active: simulation.active_pages().to_vec(),
        }
    }

    /// Stores everything but the blocks into the words of a slot.
    fn store(&self, words: &[AtomicU64], published: u64, capacity_pages: usize) {
        let set = |word: usize, value: u64| words[word].store(value, Ordering::Relaxed);
        set(slot::FRAME, published);
        set(slot::TICK, self.tick);
        set(slot::TIME, self.time.to_bits());
        set(slot::WALL, wall_nanos());
        set(slot::STAGE_NANOS, self.stage_nanos);
        for (i, value) in self.chemistry.into_iter().enumerate() {
            set(slot::CHEMISTRY + i, value.to_bits());
        }
        set(slot::ACTIVE, self.active.len() as u64);
        set(slot::PAGES, self.active.len().min(capacity_pages) as u64);
        for (word, page) in words[SLOT_HEADER_WORDS..].iter().take(capacity_pages).zip(&self.active) {
            word.store(*page as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.mapping.words()[CLOSED].store(1, Ordering::Release);
        let _ = fs::remove_file(&self.path);
    }
}

/// Sizes a file and takes its memory now: a full folder must be an error here, not a signal at the first store.
fn reserve(file: &File, bytes: u64) -> std::io::Result<()> {
    use std::io::Write;
    let zeros = [0; 1 << 16];
    let mut left = bytes;
    let mut file = file;
    while left > 0 {
        let now = left.min(zeros.len() as u64);
        file.write_all(&zeros[..now as usize])?;
        left -= now;
    }
    Ok(())
}

/// A draft younger than this may be between its making and its lock.
const DRAFT_AGE: Duration = Duration::from_secs(60);

/// Removes segments whose writers ended without doing so.
fn remove_abandoned(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(super::PREFIX)) else { continue };
        let age = entry.metadata().and_then(|about| about.modified()).map(|at| at.elapsed());
        let is_old = matches!(age, Ok(Ok(age)) if age > DRAFT_AGE);
        if (is_old || !name.ends_with(".draft"))
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = OpenOptions::new().read(true).write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}
