//! A sequence lock over words: one writer that never waits, any number of readers that never write.
//!
//! Invariant: [`read`] returns a sequence only if the words it copied were stored by one and the same [`write()`]. Source:
//! H.-J. Boehm, "Can seqlocks get along with programming language memory models?" (2012): data are relaxed atomics;
//! a release fence follows the odd sequence, an acquire fence precedes the second look at it.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// A shared word; the trait lets a model checker put its own in place of the processor's.
pub trait Word {
    /// Reads it.
    fn load(&self, ordering: Ordering) -> u64;
    /// Writes it.
    fn store(&self, value: u64, ordering: Ordering);
    /// The fence that belongs to this kind of word.
    fn fence(ordering: Ordering);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, ordering: Ordering) -> u64 {
        self.load(ordering)
    }

    #[inline(always)]
    fn store(&self, value: u64, ordering: Ordering) {
        self.store(value, ordering);
    }

    #[inline(always)]
    fn fence(ordering: Ordering) {
        fence(ordering);
    }
}

/// Lets `fill` store words between an odd and the next even sequence, which is returned. One writer only.
pub fn write<W: Word>(sequence: &W, fill: impl FnOnce()) -> u64 {
    let begun = sequence.load(Ordering::Relaxed) | 1;
    sequence.store(begun, Ordering::Relaxed);
    W::fence(Ordering::Release);
    fill();
    sequence.store(begun + 1, Ordering::Release);
    begun + 1
}

/// Lets `copy` load words, and returns the sequence if no write overlapped; what was copied is torn otherwise.
pub fn read<W: Word>(sequence: &W, copy: impl FnOnce()) -> Option<u64> {
    let before = sequence.load(Ordering::Acquire);
    if !before.is_multiple_of(2) {
        return None;
    }
    copy();
    W::fence(Ordering::Acquire);
    (sequence.load(Ordering::Relaxed) == before).then_some(before)
}

/// Stores `bytes` as little-endian words, the last one filled up with zeros. Panics if `words` is too short.
pub fn store_bytes(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, bytes) in words[..whole.len()].iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()].store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
}

/// Loads words.
pub fn load_words(words: &[AtomicU64], to: &mut [u64]) {
    for (word, to) in words.iter().zip(to) {
        *to = word.load(Ordering::Relaxed);
    }
}
