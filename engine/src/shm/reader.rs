//! The reader's end of a segment.
//! Invariant: maps to read only; believes a header only after checking it against the file's size, and a slot only if
//! its sequence did not change while it was copied. The writer's lock, not its word, tells whether it lives.

use super::layout::{CLOSED, HEARTBEAT, Header, LATEST, SLOT_HEADER_WORDS, ShmError, slot};
use super::mapping::Mapping;
use super::seqlock;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// How often a frame that was overwritten while it was copied is tried again.
const TRIES: usize = 64;

const REMEDY: &str = "name the segment of a run of yours, or leave it out";

/// Whether frames can still come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterState {
    /// The writer holds its lock.
    Alive,
    /// It has said goodbye.
    Ended,
    /// It is gone without a word.
    Crashed,
}

/// One frame: Ψ at a tick border.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// Number of the frame, from 1.
    pub number: u64,
    /// Ticks done.
    pub tick: u64,
    /// Model time.
    pub time: f64,
    /// Nanoseconds since 1970.
    pub wall_nanos: u64,
    /// Active pages of the torus.
    pub active_pages: u64,
    /// Nanoseconds that the stages of the last tick took.
    pub stage_nanos: u64,
    /// D, S, N, B, A; NaN without neurochemistry.
    pub chemistry: [f64; 5],
    /// Storage index of each page in the frame.
    pub pages: Vec<usize>,
    /// Re Ψ, page after page.
    pub re: Vec<f64>,
    /// Im Ψ, page after page.
    pub im: Vec<f64>,
}

/// A segment being read.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: File,
    header: Header,
    mapping: Mapping,
    /// The copy of one slot.
    words: Vec<u64>,
}

impl Reader {
    /// Attaches to a segment.
    ///
    /// # Errors
    /// [`ShmError`]: not there, not the user's own, or not as it should be.
    pub fn attach(path: &Path) -> Result<Self, ShmError> {
        let file = File::open(path).map_err(ShmError::system(path, REMEDY))?;
        let about = file.metadata().map_err(ShmError::system(path, REMEDY))?;
        if !about.is_file() || about.len() == 0 {
            let reason = std::io::Error::other("is no file of any length");
            return Err(ShmError::system(path, REMEDY)(reason));
        }
        let mapping = Mapping::new(&file, about.len(), false).map_err(ShmError::system(path, REMEDY))?;
        let header = Header::read(path, mapping.words(), about.len())?;
        let words = vec![0; header.slot_words()];
        Ok(Self { path: path.into(), file, header, mapping, words })
    }

    /// The newest live segment in `folder`.
    ///
    /// # Errors
    /// [`ShmError::Nobody`].
    pub fn newest(folder: &Path) -> Result<Self, ShmError> {
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with(super::PREFIX) && !name.ends_with(".draft")
            })
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        found.sort();
        let readers = found.into_iter().rev().filter_map(|(_, path)| Self::attach(&path).ok());
        let mut alive = readers.filter(|reader| reader.state() == WriterState::Alive);
        alive.next().ok_or(ShmError::Nobody { folder: folder.into(), prefix: super::PREFIX })
    }

    /// Where the segment lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the writer lives: it holds an exclusive lock on the file for as long as it does.
    pub fn state(&self) -> WriterState {
        if self.mapping.words()[CLOSED].load(Ordering::Acquire) != 0 {
            return WriterState::Ended;
        }
        match self.file.try_lock_shared() {
            Ok(()) => {
                let _ = self.file.unlock();
                WriterState::Crashed
            }
            Err(_) => WriterState::Alive,
        }
    }

    /// Whether the name now stands for another segment: the writer was restarted.
    pub fn is_replaced(&self) -> bool {
        let inode = |about: std::io::Result<std::fs::Metadata>| about.map(|about| about.ino()).ok();
        let now = inode(std::fs::metadata(&self.path));
        now.is_some() && now != inode(self.file.metadata())
    }

    /// Nanoseconds since 1970 at which the writer last showed itself.
    pub fn heartbeat(&self) -> u64 {
        self.mapping.words()[HEARTBEAT].load(Ordering::Relaxed)
    }

    /// Frames published so far.
    pub fn published(&self) -> u64 {
        self.mapping.words()[LATEST].load(Ordering::Acquire)
    }

    /// Copies the newest frame; false before the first one.
    pub fn latest(&mut self, frame: &mut Frame) -> bool {
        for _ in 0..TRIES {
            let published = self.published();
            if published == 0 {
                return false;
            }
            let slot = ((published - 1) % self.header.slots as u64) as usize;
            if self.read_slot(slot, frame).is_some() && frame.number >= published {
                return true;
            }
        }
        false
    }

    /// Copies the frame in `slot` and returns its sequence; none if it is being written. Panics beyond the last slot.
    pub fn read_slot(&mut self, slot: usize, frame: &mut Frame) -> Option<u64> {
        assert!(slot < self.header.slots, "slot {slot} of {}", self.header.slots);
        let words = &self.mapping.words()[self.header.slot_range(slot)];
        let mut n_words = 0;
        let copy = &mut self.words;
        let sequence = seqlock::read(&words[slot::SEQUENCE], || {
            // Only as much as the frame fills; a torn number is cut to the slot and the copy then thrown away.
            let n_pages = words[slot::PAGES].load(Ordering::Relaxed).min(self.header.capacity_pages as u64);
            let blocks = n_pages as usize * 2 * self.header.block_words();
            n_words = SLOT_HEADER_WORDS + self.header.capacity_pages + blocks;
            seqlock::load_words(&words[..n_words], &mut copy[..n_words]);
        })?;
        // A slot that was never written has sequence 0.
        (sequence > 0 && self.unpack(frame)).then_some(sequence)
    }

    /// Turns the copied words into a frame; false if a writer of bad faith numbered pages that do not exist.
    fn unpack(&self, frame: &mut Frame) -> bool {
        let words = &self.words;
        let n_pages = (words[slot::PAGES] as usize).min(self.header.capacity_pages);
        let n_all = self.header.torus.n_pages() as u64;
        let (indices, blocks) = words[SLOT_HEADER_WORDS..].split_at(self.header.capacity_pages);
        if indices[..n_pages].iter().any(|page| *page >= n_all) {
            return false;
        }
        frame.number = words[slot::FRAME];
        frame.tick = words[slot::TICK];
        frame.time = f64::from_bits(words[slot::TIME]);
        frame.wall_nanos = words[slot::WALL];
        frame.active_pages = words[slot::ACTIVE];
        frame.stage_nanos = words[slot::STAGE_NANOS];
        frame.chemistry = std::array::from_fn(|i| f64::from_bits(words[slot::CHEMISTRY + i]));
        frame.pages = indices[..n_pages].iter().map(|page| *page as usize).collect();
        frame.re.clear();
        frame.im.clear();
        let (block, nodes) = (self.header.block_words(), self.header.torus.page_nodes());
        for pair in blocks[..n_pages * 2 * block].chunks_exact(2 * block) {
            numbers(&pair[..block], nodes, self.header.scalar_bytes, &mut frame.re);
            numbers(&pair[block..], nodes, self.header.scalar_bytes, &mut frame.im);
        }
        true
    }
}

/// The first `n` numbers of little-endian words.
fn numbers(words: &[u64], n: usize, scalar_bytes: usize, to: &mut Vec<f64>) {
    if scalar_bytes == 8 {
        to.extend(words[..n].iter().map(|word| f64::from_bits(*word)));
    } else {
        let halves = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        to.extend(halves.take(n).map(|bits| f64::from(f32::from_bits(bits))));
    }
}
