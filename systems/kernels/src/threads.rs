//! Chunks on a lent crew. Invariant: which chunk runs where or when never matters, because chunks are disjoint and
//! cut by the data's shape. Source: plain work sharing over an atomic counter.
//!
//! Every other thread begins in the middle, so that in call after call it finds most of its data where it left them: in its
//! own cache. Both halves are taken upwards: at the place where they meet one thread begins and the other ends, so that they
//! do not write to the same cache lines at the same time.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};

use crate::crew::SPINS_MAX;
use crate::field::Threads;

/// Calls `work(0) … work(n_chunks − 1)`, each once, on whatever threads there are. The work comes as a pointer, so that
/// what runs it is compiled once and not for each kernel: a call for a chunk costs nothing.
pub(crate) fn for_each_chunk(threads: Threads<'_>, n_chunks: usize, work: impl Fn(usize) + Sync) {
    share(threads, n_chunks, &work);
}

fn share(threads: Threads<'_>, n_chunks: usize, work: &(dyn Fn(usize) + Sync)) {
    match threads.crew() {
        Some((crew, n_threads)) if n_chunks > 1 => {
            let queue = Queue::default();
            crew.share(n_threads, &|| {
                let side = Side::of_this_thread();
                while let Some(chunk) = queue.take(side, n_chunks) {
                    work(chunk);
                }
            });
        }
        _ => (0..n_chunks).for_each(work),
    }
}

/// Which half of a queue a thread takes from first.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Front,
    Back,
}

impl Side {
    /// The caller's is the front one.
    fn of_this_thread() -> Self {
        match rayon::current_thread_index() {
            Some(helper) if helper.is_multiple_of(2) => Self::Back,
            _ => Self::Front,
        }
    }
}

/// Numbers below some n, each half taken upwards by its side and, when the other side is done with its own, downwards by
/// that: how many the front took, and in the upper half of the bits how many the back did.
#[derive(Default)]
struct Queue(AtomicU64);

impl Queue {
    /// One for the back.
    const BACK: u64 = 1 << 32;

    /// The next number below `n`, which is below 2^31; none when all are taken.
    fn take(&self, side: Side, n: usize) -> Option<usize> {
        let step = if side == Side::Front { 1 } else { Self::BACK };
        let taken = self.0.fetch_add(step, Ordering::Relaxed);
        let (front, back) = ((taken % Self::BACK) as usize, (taken / Self::BACK) as usize);
        let is_left = front + back < n;
        let lower = n / 2;
        is_left.then(|| match side {
            Side::Front if front < lower => front,
            Side::Front => n - 1 - (front - lower),
            Side::Back if back < n - lower => lower + back,
            Side::Back => n - 1 - back,
        })
    }
}

/// Calls `work(level, i)` for each `i` below `sizes[level]`, each once, no level before the one before it is done.
/// Threads are woken once for all levels, since a level may take no longer than waking them.
pub(crate) fn for_each_level(threads: Threads<'_>, sizes: &[usize], work: impl Fn(usize, usize) + Sync) {
    share_levels(threads, sizes, &work);
}

fn share_levels(threads: Threads<'_>, sizes: &[usize], work: &(dyn Fn(usize, usize) + Sync)) {
    match threads.crew() {
        Some((crew, n_threads)) if sizes.iter().any(|&size| size > 1) => {
            let queues: Vec<Queue> = sizes.iter().map(|_| Queue::default()).collect();
            let gate = Gate::default();
            crew.share(n_threads, &|| {
                let (side, mut before) = (Side::of_this_thread(), 0);
                for (level, (queue, &size)) in queues.iter().zip(sizes).enumerate() {
                    while let Some(i) = queue.take(side, size) {
                        let _done = Done(&gate);
                        // Whoever took a unit of an earlier level waits for still earlier ones at most, so nobody waits for
                        // ever.
                        gate.wait(before);
                        work(level, i);
                    }
                    before += size;
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
    if n_chunks > 8 { map_long_chunks(threads, n_chunks, work) } else { (0..n_chunks).map(work).collect() }
}

/// The same where a few chunks are worth sharing.
pub(crate) fn map_long_chunks<R: Send + Sync>(
    threads: Threads<'_>,
    n_chunks: usize,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<R> {
    match threads.crew() {
        Some(_) if n_chunks > 1 => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crew::Crew;

    #[test]
    fn a_queue_gives_each_number_once_from_the_half_that_is_asked() {
        for pattern in 0..128_usize {
            let (queue, n) = (Queue::default(), 7);
            let (mut front, mut back) = (Vec::new(), Vec::new());
            for turn in 0.. {
                let side = if pattern >> (turn % 7) & 1 == 0 { Side::Front } else { Side::Back };
                let Some(i) = queue.take(side, n) else { break };
                if side == Side::Front { &mut front } else { &mut back }.push(i);
            }
            let own = |numbers: &[usize], half: core::ops::Range<usize>| {
                let own = numbers.iter().filter(|i| half.contains(i));
                own.clone().eq(numbers.iter().take(own.clone().count())) && own.is_sorted()
            };
            assert!(own(&front, 0..3) && own(&back, 3..7), "{front:?} {back:?}");
            let mut all = [front, back].concat();
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
            assert!([Side::Front, Side::Back].iter().all(|&side| queue.take(side, n).is_none()));
        }
    }

    #[test]
    fn no_level_begins_before_the_one_before_it_is_done() {
        for n_threads in [1, 2, 4] {
            let crew = Crew::new(n_threads).expect("threads");
            for round in 0..500 {
                let sizes = [round % 7, 1, 9, 0, 5];
                let done = AtomicUsize::new(0);
                for_each_level(Threads::Crew(&crew), &sizes, |level, i| {
                    let before: usize = sizes[..level].iter().sum();
                    let now = done.load(Ordering::SeqCst);
                    assert!(now >= before && now < before + sizes[level], "{now} done in level {level}");
                    (0..20 * i).for_each(|_| core::hint::spin_loop());
                    done.fetch_add(1, Ordering::SeqCst);
                });
                assert_eq!(done.into_inner(), sizes.iter().sum::<usize>());
            }
        }
    }
}
