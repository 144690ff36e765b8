//! The clock of the spine, as a parameter: everything that waits, ages or expires takes the time as an argument.
//! Invariant: only [`now`] looks at a clock; tests run years in microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment: time since 1970 UTC by the machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0.as_millis() as i64
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// This much later.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

/// The present moment.
pub fn now() -> Moment {
    Moment(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
