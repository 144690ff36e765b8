//! A simulated disk: what was not synced may be lost, torn or kept in any order when the power goes; writes may come up
//! short, the disk may be full, a sync may fail.
//!
//! Invariant: what a sync has promised survives every crash; names made, renamed or removed survive in order up to
//! some point. The same seed and the same calls give the same disk.

use super::super::disk::{AppendFile, Disk, ReadFile};
use super::random;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes that are written whole or not at all.
const SECTOR: usize = 512;

/// What goes wrong, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Power goes at this operation: it and all later ones fail.
    PowerCut(u64),
    /// This operation and all later writes fail with ENOSPC, the first after a part of it was written.
    Full(u64),
    /// The first sync from this operation on fails with EIO and leaves the unsynced data of its file in doubt, whatever
    /// later syncs of that file say. Other files are sound, as systems report a lost write by file: two threads write
    /// here, and what one of them syncs while the other learns of its failure is kept.
    FailedSync(u64),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// What a crash keeps at least.
    durable: Vec<u8>,
    /// Everything written.
    content: Vec<u8>,
    /// Where the writes since the last sync begin and end.
    unsynced: Vec<(usize, usize)>,
    /// Whether a sync of it has failed.
    is_in_doubt: bool,
}

#[derive(Debug, Clone)]
enum NameChange {
    Put(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<NameChange>,
    n_operations: u64,
    seed: u64,
    trouble: Option<Trouble>,
    has_failed_sync: bool,
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    match change {
        NameChange::Put(path, inode) => drop(names.insert(path.clone(), *inode)),
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        NameChange::Remove(path) => drop(names.remove(path)),
    }
}

impl SimulatedDisk {
    /// An empty disk with one trouble ahead.
    pub(super) fn new(seed: u64, trouble: Option<Trouble>) -> Self {
        Self(Arc::new(Mutex::new(State { seed, trouble, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no thread panics over the disk")
    }

    /// Operations so far.
    pub(super) fn n_operations(&self) -> u64 {
        self.state().n_operations
    }

    /// Trouble begins.
    pub(super) fn fail_from_now(&self, trouble: Trouble) {
        self.state().trouble = Some(trouble);
    }

    /// The disk after a power cut: a new one without troubles.
    pub(super) fn after_power_cut(&self) -> Self {
        let mut state = self.state();
        let mut seed = state.seed ^ 0xDEAD;
        let kept = random(&mut seed, state.changes.len() as u64 + 1) as usize;
        let mut names = std::mem::take(&mut state.durable_names);
        state.changes.iter().take(kept).for_each(|change| apply(&mut names, change));
        let inodes: Vec<Inode> = state
            .inodes
            .iter()
            .map(|inode| {
                let content = inode.after_power_cut(&mut seed);
                Inode { durable: content.clone(), content, ..Inode::default() }
            })
            .collect();
        let (durable_names, seed) = (names.clone(), seed);
        let after = State { inodes, names, durable_names, seed, ..State::default() };
        Self(Arc::new(Mutex::new(after)))
    }
}

impl Inode {
    /// Keeps what was synced and any subset of the sectors written since; lost ones read as zeros or end the file.
    fn after_power_cut(&self, seed: &mut u64) -> Vec<u8> {
        let mut left = self.durable.clone();
        for &(begin, end) in &self.unsynced {
            let mut at = begin;
            while at < end {
                let next = ((at / SECTOR + 1) * SECTOR).min(end);
                if random(seed, 2) == 0 {
                    if left.len() < next {
                        left.resize(next, 0);
                    }
                    left[at..next].copy_from_slice(&self.content[at..next]);
                }
                at = next;
            }
        }
        left
    }
}

impl State {
    /// Counts an operation and says what goes wrong with it.
    fn operate(&mut self, is_write: bool) -> io::Result<()> {
        let now = self.n_operations;
        self.n_operations += 1;
        match self.trouble {
            Some(Trouble::PowerCut(at)) if now >= at => Err(io::Error::other("the power is gone")),
            Some(Trouble::Full(at)) if now >= at && is_write => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

struct Handle {
    disk: SimulatedDisk,
    inode: usize,
}

impl AppendFile for Handle {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.operate(true);
        let mut seed = state.seed;
        let written = match outcome {
            Ok(()) => bytes.len(),
            // A short write: some of it got there.
            Err(_) => random(&mut seed, bytes.len() as u64) as usize,
        };
        state.seed = seed;
        let inode = &mut state.inodes[self.inode];
        let begin = inode.content.len();
        inode.content.extend_from_slice(&bytes[..written]);
        inode.unsynced.push((begin, begin + written));
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate(false)?;
        let fails_at = match state.trouble {
            Some(Trouble::FailedSync(at)) => Some(at),
            _ => None,
        };
        if fails_at.is_some_and(|at| state.n_operations > at) && !state.has_failed_sync {
            state.has_failed_sync = true;
            state.inodes[self.inode].is_in_doubt = true;
            return Err(io::Error::from_raw_os_error(5));
        }
        let inode = &mut state.inodes[self.inode];
        if !inode.is_in_doubt {
            inode.durable = inode.content.clone();
            inode.unsynced.clear();
        }
        Ok(())
    }
}

struct View(Vec<u8>);

impl ReadFile for View {
    fn n_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)?.get(..out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.state();
        state.operate(true)?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.to_path_buf(), inode);
        state.changes.push(NameChange::Put(path.to_path_buf(), inode));
        Ok(Box::new(Handle { disk: self.clone(), inode }))
    }

    fn reopen(&self, path: &Path, len: u64) -> io::Result<Box<dyn AppendFile>> {
        let mut state = self.state();
        state.operate(true)?;
        let inode = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let file = &mut state.inodes[inode];
        let len = len as usize;
        if file.content.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.content.truncate(len);
        file.durable.truncate(len);
        Ok(Box::new(Handle { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let state = self.state();
        let inode = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(View(state.inodes[inode].content.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate(true)?;
        let change = NameChange::Rename(from.to_path_buf(), to.to_path_buf());
        apply(&mut state.names, &change);
        state.changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate(true)?;
        let change = NameChange::Remove(path.to_path_buf());
        apply(&mut state.names, &change);
        state.changes.push(change);
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.operate(false)?;
        state.durable_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let names = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(names
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }
}
