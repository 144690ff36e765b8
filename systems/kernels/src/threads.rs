//! Chunks on a lent crew. Invariant: which chunk runs where or when never matters, because chunks are disjoint and
//! cut by the data's shape. Source: plain work sharing over an atomic counter.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use crate::crew::SPINS_MAX;
use crate::field::Threads;

/// Calls `work(0) … work(n_chunks − 1)`, each once, on whatever threads there are. The work comes as a pointer, so that
/// what runs it is compiled once and not for each kernel: a call for a chunk costs nothing.
pub(crate) fn for_each_chunk(threads: Threads<'_>, n_chunks: usize, work: impl Fn(usize) + Sync) {
    share(threads, n_chunks, &work);
}

fn share(threads: Threads<'_>, n_chunks: usize, work: &(dyn Fn(usize) + Sync)) {
    match threads {
        Threads::Crew(crew) if n_chunks > 1 && crew.n_threads() > 1 => {
            let next = AtomicUsize::new(0);
            crew.share(&|| {
                loop {
                    let chunk = next.fetch_add(1, Ordering::Relaxed);
                    if chunk >= n_chunks {
                        break;
                    }
                    work(chunk);
                }
            });
        }
        _ => (0..n_chunks).for_each(work),
    }
}

/// Calls `work(level, i)` for each `i` below `sizes[level]`, each once, no level before the one before it is done.
/// Threads are woken once for all levels, since a level may take no longer than waking them.
pub(crate) fn for_each_level(threads: Threads<'_>, sizes: &[usize], work: impl Fn(usize, usize) + Sync) {
    share_levels(threads, sizes, &work);
}

fn share_levels(threads: Threads<'_>, sizes: &[usize], work: &(dyn Fn(usize, usize) + Sync)) {
    match threads {
        Threads::Crew(crew) if crew.n_threads() > 1 && sizes.iter().any(|&size| size > 1) => {
            let (next, gate) = (AtomicUsize::new(0), Gate::default());
            crew.share(&|| {
                let (mut level, mut first) = (0, 0);
                loop {
                    let unit = next.fetch_add(1, Ordering::Relaxed);
                    while level < sizes.len() && unit >= first + sizes[level] {
                        first += sizes[level];
                        level += 1;
                    }
                    if level == sizes.len() {
                        break;
                    }
                    // Whoever took an earlier unit waits for still earlier ones at most, so nobody waits for ever.
                    gate.wait(first);
                    let _done = Done(&gate);
                    work(level, unit - first);
                }
            });
        }
        _ => sizes.iter().enumerate().for_each(|(level, &size)| (0..size).for_each(|i| work(level, i))),
    }
}

/// Counts finished units.
#[derive(Default)]
struct Gate {
    done: AtomicUsize,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Gate {
    /// Returns when `n` units are done.
    fn wait(&self, n: usize) {
        for _ in 0..SPINS_MAX {
            if self.done.load(Ordering::Acquire) >= n {
                return;
            }
            core::hint::spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Sequentially consistent, as in `Done`: either the sleeper sees the last unit, or that unit sees the sleeper.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.done.load(Ordering::SeqCst) < n {
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Marks a unit as done, also where it panics: nobody may wait for it.
struct Done<'a>(&'a Gate);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::SeqCst);
        if self.0.sleepers.load(Ordering::SeqCst) > 0 {
            // A sleeper that has looked and not yet slept holds the lock.
            drop(self.0.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.changed.notify_all();
        }
    }
}

/// Calls `work(i, part)` for each of the parts, each once.
pub(crate) fn for_each_part<P: Send>(
    threads: Threads<'_>,
    parts: impl Iterator<Item = P>,
    work: impl Fn(usize, P) + Sync,
) {
    // A part is handed over by whoever takes its number.
    let parts: Vec<Mutex<Option<P>>> = parts.map(|part| Mutex::new(Some(part))).collect();
    for_each_chunk(threads, parts.len(), |i| {
        let part = parts[i].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(part) = part {
            work(i, part);
        }
    });
}

/// The results of `work(0) … work(n_chunks − 1)`, in that order.
pub(crate) fn map_chunks<R: Send + Sync>(
    threads: Threads<'_>,
    n_chunks: usize,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<R> {
    match threads {
        Threads::Crew(crew) if n_chunks > 8 && crew.n_threads() > 1 => {
            let results: Vec<OnceLock<R>> = (0..n_chunks).map(|_| OnceLock::new()).collect();
            for_each_chunk(threads, n_chunks, |chunk| {
                // Each chunk is taken once.
                let _ = results[chunk].set(work(chunk));
            });
            results.into_iter().filter_map(OnceLock::into_inner).collect()
        }
        _ => (0..n_chunks).map(work).collect(),
    }
}
