//! Contiguous ranges of Morton keys, one per worker, moved when the load differs too much.
//!
//! Invariant: the ranges cover all keys, do not overlap, and lie in the order of the workers; a move shifts one
//! boundary, so that neighbours in space stay with one worker.

/// Load of the busiest worker over that of the idlest from which boundaries move.
pub const IMBALANCE_MAX: f64 = 1.5;

/// Messages between two looks at the load.
pub const LOOK_EVERY: u64 = 4096;

/// Keys remembered per look to find where a boundary should go.
const SAMPLES_MAX: usize = 1024;

/// A 128-bit Morton key, big-endian, so that byte order is key order.
pub type Key = [u8; 16];

/// Ranges by worker: worker `i` holds keys from `starts[i]` up to `starts[i + 1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRanges {
    starts: Vec<Key>,
    loads: Vec<u64>,
    samples: Vec<Key>,
    n_routed: u64,
}

impl KeyRanges {
    /// Equal shares of the 126 bits that keys have.
    pub fn new(n_workers: usize) -> Self {
        let n_workers = n_workers.max(1);
        let share = (1u128 << 126) / n_workers as u128;
        let starts = (0..n_workers).map(|i| (share * i as u128).to_be_bytes()).collect();
        Self { starts, loads: vec![0; n_workers], samples: Vec::new(), n_routed: 0 }
    }

    /// How many workers there are.
    pub fn n_workers(&self) -> usize {
        self.starts.len()
    }

    /// The first key of each worker's range.
    pub fn starts(&self) -> &[Key] {
        &self.starts
    }

    /// The worker that holds a key.
    pub fn worker(&self, key: &Key) -> usize {
        self.starts.partition_point(|start| start <= key) - 1
    }

    /// The worker for a message with that key. Counts it, and moves boundaries every so often when it must.
    pub fn route(&mut self, key: &Key) -> usize {
        let worker = self.worker(key);
        self.loads[worker] += 1;
        self.n_routed += 1;
        // Every fourth, so that the samples of one look fill the memory exactly.
        if self.n_routed.is_multiple_of(LOOK_EVERY / SAMPLES_MAX as u64) && self.samples.len() < SAMPLES_MAX {
            self.samples.push(*key);
        }
        if self.n_routed.is_multiple_of(LOOK_EVERY) {
            self.balance();
        }
        worker
    }

    /// Moves all boundaries to the quantiles of the sampled keys when the loads differ by more than the set ratio.
    fn balance(&mut self) {
        let (least, most) = (self.loads.iter().min(), self.loads.iter().max());
        let (least, most) = (*least.unwrap_or(&0) as f64, *most.unwrap_or(&0) as f64);
        if most > IMBALANCE_MAX * least.max(1.0) {
            self.samples.sort_unstable();
            let n_workers = self.starts.len();
            for i in 1..n_workers {
                let start = self.samples[i * self.samples.len() / n_workers];
                // Equal keys cannot be told apart: the range before stays empty rather than out of order.
                self.starts[i] = start.max(self.starts[i - 1]);
            }
        }
        self.loads.fill(0);
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> Key {
        n.to_be_bytes()
    }

    /// Keys crowd in the lowest 1/256 of all.
    fn crowded(n: u64) -> Key {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        key(u128::from(mixed) << 54)
    }

    #[test]
    fn ranges_cover_every_key_in_order() {
        let ranges = KeyRanges::new(3);
        assert_eq!(ranges.worker(&key(0)), 0);
        assert_eq!(ranges.worker(&key((1 << 126) - 1)), 2);
        assert_eq!(ranges.worker(&[0xff; 16]), 2);
        assert!(ranges.starts().is_sorted());
    }

    #[test]
    fn a_lopsided_load_moves_the_boundaries() {
        let mut ranges = KeyRanges::new(4);
        let before = ranges.clone();
        for n in 0..LOOK_EVERY {
            assert_eq!(ranges.route(&crowded(n)), 0, "all keys lie in the first range");
        }
        assert_ne!(ranges.starts(), before.starts());
        let mut loads = [0u64; 4];
        for n in LOOK_EVERY..2 * LOOK_EVERY {
            loads[ranges.worker(&crowded(n))] += 1;
        }
        let ratio = *loads.iter().max().expect("four") as f64 / *loads.iter().min().expect("four") as f64;
        assert!(ratio < IMBALANCE_MAX, "{loads:?}");
    }

    #[test]
    fn a_fair_load_moves_nothing() {
        let mut ranges = KeyRanges::new(4);
        let before = ranges.clone();
        for n in 0..4 * LOOK_EVERY {
            ranges.route(&key(u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) << 62));
        }
        assert_eq!(ranges.starts(), before.starts());
    }

    #[test]
    fn one_key_alone_keeps_the_order() {
        let mut ranges = KeyRanges::new(3);
        for _ in 0..2 * LOOK_EVERY {
            ranges.route(&key(5));
        }
        assert!(ranges.starts().is_sorted());
    }
}
