//! A crew of threads that shares work with whoever calls it.
//!
//! Invariant: which thread does what never shows in a result; a call returns when nobody works for it any more, whatever
//! happens; nobody is waited for who has not begun. Between two calls helpers look for work for about as long as waking
//! them would take, and then sleep: the stages of a tick follow each other faster than a thread wakes up.
//! Source: a work-sharing loop with an entry counter; who enters and who closes see each other as in Dekker's algorithm.

#![allow(unsafe_code)] // Work on loan from the caller's stack.

use std::cell::UnsafeCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Rounds of looking before a thread sleeps: about as long as waking it takes.
pub(crate) const SPINS_MAX: usize = 4_000;

/// The caller and its helpers.
#[derive(Debug)]
pub struct Crew {
    /// None without helpers.
    pool: Option<rayon::ThreadPool>,
    n_threads: usize,
    desk: Arc<Desk>,
}

type Work = dyn Fn() + Sync;

/// What the caller and its helpers share.
#[derive(Default)]
struct Desk {
    /// Odd while there is work; every call has numbers of its own.
    door: AtomicU64,
    /// The work on loan; valid while the door is open or somebody is inside.
    work: UnsafeCell<Option<*const Work>>,
    /// Helpers at work, or about to see that they come too late.
    inside: AtomicUsize,
    /// Helpers that look for work.
    awake: AtomicUsize,
    /// Helpers that the present work has room for.
    seats: AtomicUsize,
    is_taken: AtomicBool,
    has_panicked: AtomicBool,
    is_waiting: AtomicBool,
    lock: Mutex<()>,
    left: Condvar,
}

// SAFETY: only `work` is not `Send` by itself. What it points to is `Sync`, and is called only while `share` waits for it.
unsafe impl Send for Desk {}
// SAFETY: only `work` is not `Sync` by itself. It is written by the one caller who holds `is_taken`, before the door of its
// call is opened, and read by those who found that door open after they entered; the door closes behind them, and the caller
// waits until they have left before it gives `is_taken` back. The door's store and loads order the write before the reads.
unsafe impl Sync for Desk {}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Crew {
    /// A crew of `n_threads`, the caller among them.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn new(n_threads: usize) -> io::Result<Self> {
        let n_threads = n_threads.max(1);
        let builder = rayon::ThreadPoolBuilder::new().num_threads(n_threads - 1);
        let pool = match n_threads {
            1 => None,
            _ => Some(builder.thread_name(|i| format!("kernel-{i}")).build().map_err(io::Error::other)?),
        };
        Ok(Crew { pool, n_threads, desk: Arc::default() })
    }

    /// Threads, the caller among them.
    pub fn n_threads(&self) -> usize {
        self.n_threads
    }

    /// Wakes the helpers of `n_threads` that sleep: whoever knows that a call comes soon spares it the waking. They look for work
    /// for a while.
    pub fn rouse(&self, n_threads: usize) {
        if let Some(pool) = &self.pool {
            self.wake(pool, n_threads.min(self.n_threads).saturating_sub(1));
        }
    }

    fn wake(&self, pool: &rayon::ThreadPool, n_helpers: usize) {
        for _ in self.desk.awake.load(Ordering::Relaxed)..n_helpers {
            self.desk.awake.fetch_add(1, Ordering::Relaxed);
            let desk = Arc::clone(&self.desk);
            pool.spawn(move || desk.help());
        }
    }

    /// Has `work` called by the caller and by helpers that are there in time, about `n_threads` together, two or more. It takes what
    /// is to be done piece by piece, until nothing is left, and may run on each thread, even twice. A call from inside a call, or
    /// beside one, runs alone.
    pub(crate) fn share(&self, n_threads: usize, work: &(dyn Fn() + Sync)) {
        let Some(pool) = &self.pool else { return work() };
        let desk = &self.desk;
        if desk.is_taken.swap(true, Ordering::Acquire) {
            return work();
        }
        // Before the door opens: from then on nothing may unwind until it is closed.
        let n_helpers = n_threads.min(self.n_threads) - 1;
        self.wake(pool, n_helpers);
        desk.seats.store(n_helpers, Ordering::Relaxed);
        let borrowed: *const (dyn Fn() + Sync + '_) = work;
        // SAFETY: only the lifetime changes; `lent` is called only behind the door that is opened and closed below, and this
        // returns when everybody who found it open has left.
        let lent = unsafe { std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const Work>(borrowed) };
        // SAFETY: this holds `is_taken`, so nobody else writes; the door is closed, and whoever enters with the number of an
        // earlier one does not read.
        unsafe { *desk.work.get() = Some(lent) };
        let door = desk.door.load(Ordering::Relaxed) + 1;
        desk.door.store(door, Ordering::SeqCst);
        let outcome = catch_unwind(AssertUnwindSafe(work));
        desk.door.store(door + 1, Ordering::SeqCst);
        desk.wait_until_empty();
        let has_panicked = desk.has_panicked.swap(false, Ordering::Relaxed);
        desk.is_taken.store(false, Ordering::Release);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(!has_panicked, "a kernel panicked on another thread");
    }
}

impl Desk {
    /// Looks for work until there was none for a while.
    fn help(&self) {
        let (mut last, mut spins) = (0, 0);
        while spins < SPINS_MAX {
            let door = self.door.load(Ordering::Acquire);
            let is_open = door % 2 == 1 && door != last;
            if is_open && self.inside.load(Ordering::Relaxed) < self.seats.load(Ordering::Relaxed) {
                self.enter(door);
                (last, spins) = (door, 0);
            } else {
                spins += 1;
                core::hint::spin_loop();
            }
        }
        self.awake.fetch_sub(1, Ordering::Relaxed);
    }

    fn enter(&self, door: u64) {
        // Sequentially consistent, as in `share`: either this sees that the door is closed, or the caller that this is
        // inside.
        self.inside.fetch_add(1, Ordering::SeqCst);
        if self.door.load(Ordering::SeqCst) == door {
            // SAFETY: the door is open and this is inside: the caller has written `work` and waits until this has left.
            let work = unsafe { (*self.work.get()).map(|work| &*work) };
            let outcome = work.map(|work| catch_unwind(AssertUnwindSafe(work)));
            if matches!(outcome, Some(Err(_))) {
                self.has_panicked.store(true, Ordering::Relaxed);
            }
        }
        self.inside.fetch_sub(1, Ordering::SeqCst);
        if self.is_waiting.load(Ordering::SeqCst) {
            // A caller that has looked and not yet slept holds the lock.
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.left.notify_all();
        }
    }

    fn wait_until_empty(&self) {
        for _ in 0..SPINS_MAX {
            if self.inside.load(Ordering::SeqCst) == 0 {
                return;
            }
            core::hint::spin_loop();
        }
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_waiting.store(true, Ordering::SeqCst);
        while self.inside.load(Ordering::SeqCst) > 0 {
            guard = self.left.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.is_waiting.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Threads;
    use crate::threads::for_each_chunk;

    fn pieces(crew: &Crew, n: usize, each: impl Fn(usize) + Sync) {
        for_each_chunk(Threads::Crew(crew), n, each);
    }

    #[test]
    fn every_piece_is_done_once_before_the_call_returns_however_often_it_is_called() {
        for n_threads in [1, 2, 4] {
            let crew = Crew::new(n_threads).expect("threads");
            for call in 0..2_000 {
                let done: Vec<AtomicUsize> = (0..call % 17).map(|_| AtomicUsize::new(0)).collect();
                pieces(&crew, done.len(), |i| {
                    // Pieces of different lengths; borrowed from a stack that is gone after the call.
                    for _ in 0..i * 20 {
                        core::hint::spin_loop();
                    }
                    done[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    done.iter().all(|n| n.load(Ordering::Relaxed) == 1),
                    "{n_threads} threads, call {call}"
                );
            }
        }
    }

    #[test]
    fn helpers_do_help() {
        let crew = Crew::new(2).expect("threads");
        // Each piece waits until the other has begun: one thread alone would wait for ever.
        let begun = AtomicUsize::new(0);
        pieces(&crew, 2, |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            while begun.load(Ordering::SeqCst) < 2 {
                core::hint::spin_loop();
            }
        });
    }

    #[test]
    fn a_part_of_a_crew_does_every_piece_too() {
        let crew = Crew::new(4).expect("threads");
        for n_threads in 0..6 {
            // Whether helpers are awake makes no difference.
            crew.rouse(n_threads);
            let n = AtomicUsize::new(0);
            for_each_chunk(Threads::Part(&crew, n_threads), 100, |_| _ = n.fetch_add(1, Ordering::Relaxed));
            assert_eq!(n.load(Ordering::Relaxed), 100, "{n_threads} of four");
        }
    }

    #[test]
    fn a_call_inside_a_call_runs_alone() {
        let crew = Crew::new(3).expect("threads");
        let n = AtomicUsize::new(0);
        pieces(&crew, 8, |_| pieces(&crew, 8, |_| _ = n.fetch_add(1, Ordering::Relaxed)));
        assert_eq!(n.load(Ordering::Relaxed), 64);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_crew_lives_on() {
        let crew = Crew::new(2).expect("threads");
        for bad in 0..32 {
            let outcome =
                catch_unwind(AssertUnwindSafe(|| pieces(&crew, 32, |i| assert_ne!(i, bad, "as asked"))));
            assert!(outcome.is_err());
        }
        let n = AtomicUsize::new(0);
        pieces(&crew, 5, |_| _ = n.fetch_add(1, Ordering::Relaxed));
        assert_eq!(n.load(Ordering::Relaxed), 5);
    }
}
