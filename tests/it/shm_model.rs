//! The sequence lock under a model checker: every interleaving and every order that the memory model allows.
//! Invariant: the same functions that the engine runs, on the checker's words. Without its fences the lock must be found
//! wrong, or the check would prove nothing.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, fence};
use nikola_engine::shm::seqlock::{Word, read, write};
use std::cell::Cell;
use std::sync::atomic::Ordering;

struct Checked<const HAS_FENCES: bool>(AtomicU64);

impl<const HAS_FENCES: bool> Word for Checked<HAS_FENCES> {
    fn load(&self, ordering: Ordering) -> u64 {
        self.0.load(ordering)
    }

    fn store(&self, value: u64, ordering: Ordering) {
        self.0.store(value, ordering);
    }

    fn fence(ordering: Ordering) {
        if HAS_FENCES {
            fence(ordering);
        }
    }
}

fn check<const HAS_FENCES: bool>() {
    loom::model(|| {
        let word = || Checked::<HAS_FENCES>(AtomicU64::new(0));
        let shared = Arc::new([word(), word(), word()]);
        let theirs = Arc::clone(&shared);
        let writer = loom::thread::spawn(move || {
            let [sequence, a, b] = &*theirs;
            for value in 1..=2 {
                write(sequence, || {
                    a.store(value, Ordering::Relaxed);
                    b.store(value, Ordering::Relaxed);
                });
            }
        });
        let [sequence, a, b] = &*shared;
        let copy = Cell::new((0, 0));
        let found = read(sequence, || copy.set((a.load(Ordering::Relaxed), b.load(Ordering::Relaxed))));
        if let Some(found) = found {
            let (a, b) = copy.get();
            assert_eq!(a, b, "torn");
            assert_eq!(found, 2 * a, "the sequence belongs to another frame");
        }
        writer.join().expect("no panic");
    });
}

#[test]
fn no_interleaving_tears_an_accepted_read() {
    check::<true>();
}

#[test]
fn without_fences_the_model_checker_finds_a_torn_read() {
    let outcome = std::panic::catch_unwind(check::<false>);
    assert!(outcome.is_err(), "the check cannot fail");
}
