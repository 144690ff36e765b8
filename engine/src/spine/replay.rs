//! Replay protection: a message is accepted once, and only while it is fresh.
//!
//! Invariant: per sender the latest 1024 sequences are remembered exactly and everything below them is refused
//! (anti-replay window after RFC 4303 §3.4.3); memory does not grow with the number of messages.

use super::clock::Moment;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How far a timestamp may be from the broker's clock, either way.
pub const FRESH: Duration = Duration::from_secs(30);

/// Sequences remembered per sender: concurrent processes with one key may overtake each other by so many messages.
pub const WINDOW: usize = 1024;

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Its timestamp is not of now.
    #[error(
        "the timestamp is {millis} ms from this broker's clock; expected at most 30000: check the sender's clock"
    )]
    Stale {
        /// Sender's time minus ours.
        millis: i64,
    },
    /// It was sent before this broker started, which cannot tell whether it was answered already.
    #[error("the message was sent before this broker started; send it anew")]
    BeforeStart,
    /// The sequence was seen, or lies below the window.
    #[error("sequence {found} was used before or is older than the latest {WINDOW}; expected a larger one")]
    Repeated {
        /// Sequence.
        found: u64,
    },
}

#[derive(Debug, Default)]
struct Window {
    /// Ascending: nearly every sequence is larger than all before it.
    seen: VecDeque<u64>,
    /// Everything at or below is refused.
    floor: u64,
}

/// What has been seen, by sender.
#[derive(Debug)]
pub struct ReplayGuard {
    started: Moment,
    windows: HashMap<Vec<u8>, Window>,
}

impl ReplayGuard {
    /// Remembers nothing yet, and accepts nothing from before `started`.
    pub fn new(started: Moment) -> Self {
        Self { started, windows: HashMap::new() }
    }

    /// Accepts a message once. `sender` is what authenticated it: its key.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is remembered then.
    pub fn accept(
        &mut self,
        sender: &[u8],
        sequence: u64,
        timestamp_ms: i64,
        now: Moment,
    ) -> Result<(), ReplayError> {
        let millis = timestamp_ms.saturating_sub(now.millis());
        if millis.unsigned_abs() > FRESH.as_millis() as u64 {
            return Err(ReplayError::Stale { millis });
        }
        if timestamp_ms < self.started.millis() {
            return Err(ReplayError::BeforeStart);
        }
        if !self.windows.contains_key(sender) {
            self.windows.insert(sender.to_vec(), Window::default());
        }
        let window = self.windows.get_mut(sender).expect("inserted above");
        let place = match window.seen.back() {
            Some(&latest) if sequence <= latest => window.seen.binary_search(&sequence).err(),
            _ => Some(window.seen.len()),
        };
        let Some(place) = place.filter(|_| sequence > window.floor) else {
            return Err(ReplayError::Repeated { found: sequence });
        };
        window.seen.insert(place, sequence);
        if window.seen.len() > WINDOW {
            window.floor = window.seen.pop_front().expect("more than the window");
        }
        Ok(())
    }

    /// Forgets a sender whose key was withdrawn.
    pub fn forget(&mut self, sender: &[u8]) {
        self.windows.remove(sender);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn each_sequence_counts_once_per_sender() {
        let mut guard = ReplayGuard::new(at(0));
        assert_eq!(guard.accept(b"a", 5, 1000, at(1000)), Ok(()));
        assert_eq!(guard.accept(b"a", 5, 1000, at(1000)), Err(ReplayError::Repeated { found: 5 }));
        assert_eq!(guard.accept(b"b", 5, 1000, at(1000)), Ok(()));
        // Overtaking within the window is fine; zero never is.
        assert_eq!(guard.accept(b"a", 4, 1000, at(1000)), Ok(()));
        assert_eq!(guard.accept(b"a", 0, 1000, at(1000)), Err(ReplayError::Repeated { found: 0 }));
    }

    #[test]
    fn below_the_window_everything_is_refused_and_memory_is_bounded() {
        let mut guard = ReplayGuard::new(at(0));
        for sequence in 1..=100_000 {
            assert_eq!(guard.accept(b"a", sequence, 0, at(0)), Ok(()));
        }
        let window = &guard.windows[&b"a"[..]];
        assert_eq!((window.seen.len(), window.floor), (WINDOW, 100_000 - WINDOW as u64));
        for sequence in [1, 500, 98_976, 98_977, 100_000] {
            assert!(guard.accept(b"a", sequence, 0, at(0)).is_err(), "{sequence}");
        }
    }

    #[test]
    fn stale_timestamps_are_refused() {
        let mut guard = ReplayGuard::new(at(50_000));
        assert_eq!(guard.accept(b"a", 1, 69_999, at(100_000)), Err(ReplayError::Stale { millis: -30_001 }));
        assert_eq!(guard.accept(b"a", 1, 130_001, at(100_000)), Err(ReplayError::Stale { millis: 30_001 }));
        assert_eq!(
            guard.accept(b"a", 1, i64::MIN, at(100_000)),
            Err(ReplayError::Stale { millis: i64::MIN })
        );
        assert_eq!(guard.accept(b"a", 1, 70_000, at(100_000)), Ok(()));
        assert_eq!(guard.accept(b"a", 2, 49_999, at(60_000)), Err(ReplayError::BeforeStart));
    }
}
