//! The states to which the oracle may go back.
//!
//! Invariant: at most [`CHECKPOINTS_MAX`], of different ticks. A checkpoint keeps its slot for as long as it is kept, so
//! that a store which knows slots writes it once. Later ticks depend on them: they are stored and loaded with the state.

use crate::ports::Checkpoint;
use bevy_ecs::prelude::Resource;
use std::sync::Arc;

/// Checkpoints kept.
pub const CHECKPOINTS_MAX: usize = 4;

/// The last few healthy states, by slot.
#[derive(Debug, Clone, Default, PartialEq, Resource)]
pub struct Checkpoints([Option<Arc<Checkpoint>>; CHECKPOINTS_MAX]);

impl Checkpoints {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Keeps one more, in the place of the oldest when all slots are taken; of two of one tick the first stays.
    pub fn keep(&mut self, checkpoint: Checkpoint) {
        if self.iter().any(|(_, kept)| kept.tick == checkpoint.tick) {
            return;
        }
        // An empty slot is older than any tick.
        if let Some(slot) = self.0.iter_mut().min_by_key(|slot| slot.as_ref().map(|kept| kept.tick)) {
            *slot = Some(Arc::new(checkpoint));
        }
    }

    /// Puts one into its slot; false where that does not exist, is taken, or another slot holds the same tick.
    pub fn put(&mut self, slot: usize, checkpoint: Checkpoint) -> bool {
        if self.iter().any(|(_, kept)| kept.tick == checkpoint.tick) {
            return false;
        }
        match self.0.get_mut(slot) {
            Some(place @ None) => {
                *place = Some(Arc::new(checkpoint));
                true
            }
            _ => false,
        }
    }

    /// The one in this slot.
    pub fn get(&self, slot: usize) -> Option<&Arc<Checkpoint>> {
        self.0.get(slot)?.as_ref()
    }

    /// All of them and their slots, in order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<Checkpoint>)> {
        self.0.iter().enumerate().filter_map(|(slot, kept)| Some((slot, kept.as_ref()?)))
    }

    /// The newest but `skip`, or the oldest where there are no more.
    pub fn newest_but(&self, skip: usize) -> Option<&Arc<Checkpoint>> {
        let mut kept: Vec<_> = self.iter().map(|(_, checkpoint)| checkpoint).collect();
        kept.sort_unstable_by_key(|checkpoint| std::cmp::Reverse(checkpoint.tick));
        kept.get(skip).or(kept.last()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick: u64) -> Checkpoint {
        Checkpoint { tick, pages: vec![0], re: vec![1.0], im: vec![0.0], velocity: None }
    }

    #[test]
    fn the_oldest_goes_and_the_others_keep_their_slots() {
        let mut ring = Checkpoints::default();
        assert_eq!(ring.newest_but(0), None);
        (0..6).for_each(|tick| ring.keep(at(tick)));
        let slots: Vec<_> = ring.iter().map(|(slot, kept)| (slot, kept.tick)).collect();
        assert_eq!(slots, [(0, 4), (1, 5), (2, 2), (3, 3)]);
        let ticks: Vec<_> = (0..5).filter_map(|skip| Some(ring.newest_but(skip)?.tick)).collect();
        assert_eq!(ticks, [5, 4, 3, 2, 2]);
    }

    #[test]
    fn what_does_not_fit_is_not_put() {
        let mut ring = Checkpoints::default();
        assert!(ring.put(2, at(7)));
        assert!(!ring.put(2, at(8)) && !ring.put(3, at(7)) && !ring.put(CHECKPOINTS_MAX, at(9)));
        ring.keep(at(7));
        assert_eq!(ring.iter().count(), 1);
        assert!(ring.get(2).is_some_and(|kept| kept.tick == 7) && ring.get(0).is_none());
    }
}
