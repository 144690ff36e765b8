//! The governor: what real time does to a tick, decided as data.
//!
//! Invariant: a decision is a pure function of measured times, and the state depends on decisions, never on times: a
//! [`TimingJournal`] replayed through [`super::replay`] gives the same digest. One late tick decides nothing but
//! itself; thresholds act when N of the last M ticks passed them, so a scheduler's hiccup does not damp the field.
//!
//! ```text
//!             predicted end > deadline            N of M > warning      N of M > critical
//! tick ─────► Degrade | Drop (scene's policy)     Throttle(true)        SoftScram, once per episode
//!                                                 none of M: Throttle(false), the episode ends
//! ```

use serde::{Deserialize, Serialize};

/// What happens to a tick that is predicted to overrun its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overrun {
    /// It runs without both halves of the nonlinear flow.
    #[default]
    Degrade,
    /// The frame is dropped: nothing runs in this period, and model time falls behind wall time.
    Drop,
}

/// The scene's settings of real time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RealtimeRules {
    /// Policy for a tick predicted to overrun.
    pub overrun: Overrun,
    /// A tick longer than this counts towards throttled growth, microseconds.
    pub warning_micros: f64,
    /// A tick longer than this counts towards a soft SCRAM, microseconds.
    pub critical_micros: f64,
    /// N of `of`: this many of the last M ticks make a threshold act.
    pub n_of: (u32, u32),
    /// Orders that waited longer than this are refused, milliseconds.
    pub order_age_millis_max: f64,
    /// Time without a tick after which the watchdog ends the process, microseconds; where absent, 2,000 if the
    /// process was granted real-time scheduling, and none if not.
    pub watchdog_micros: Option<u64>,
}

impl Default for RealtimeRules {
    fn default() -> Self {
        Self {
            overrun: Overrun::Degrade,
            warning_micros: 950.0,
            critical_micros: 1050.0,
            n_of: (3, 10),
            order_age_millis_max: 100.0,
            watchdog_micros: None,
        }
    }
}

/// One decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// The tick runs without the nonlinear flow.
    Degrade,
    /// A period passes without a tick.
    Drop,
    /// Growth is throttled from this tick on, or no longer.
    Throttle(bool),
    /// Ticks are critically long: the oracle of a scene that has one damps the field with γ = 0.5, sources off.
    SoftScram,
}

/// Most decisions the journal keeps; later ones are counted only.
pub const JOURNAL_CAPACITY: usize = 1 << 16;

/// Decisions in the order they were made, each with the number of ticks done before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimingJournal {
    decisions: Vec<(u64, Decision)>,
    /// Decisions that no longer fitted.
    pub n_lost: u64,
}

impl TimingJournal {
    /// Adds a decision.
    pub fn push(&mut self, tick: u64, decision: Decision) {
        if self.decisions.len() < JOURNAL_CAPACITY {
            self.decisions.push((tick, decision));
        } else {
            self.n_lost += 1;
        }
    }

    /// All decisions.
    pub fn decisions(&self) -> &[(u64, Decision)] {
        &self.decisions
    }
}

/// The last M answers to "was it over?".
#[derive(Debug, Clone, Copy)]
struct Window {
    bits: u64,
    width: u32,
}

impl Window {
    fn push(&mut self, is_over: bool) {
        let mask = u64::MAX >> (64 - self.width);
        self.bits = ((self.bits << 1) | u64::from(is_over)) & mask;
    }
}

/// Most ticks a window looks back on.
pub const WINDOW_MAX: u32 = 64;

/// Share of a new measurement in the predicted duration of a tick.
const PREDICTION_GAIN: f64 = 0.125;

/// Watches durations and decides.
#[derive(Debug, Clone)]
pub struct Governor {
    rules: RealtimeRules,
    predicted_nanos: f64,
    warning: Window,
    critical: Window,
    is_throttled: bool,
    is_scrammed: bool,
    /// Everything it decided.
    pub journal: TimingJournal,
}

impl Governor {
    /// With nothing measured yet.
    pub fn new(rules: RealtimeRules) -> Self {
        let window = Window { bits: 0, width: rules.n_of.1.clamp(1, WINDOW_MAX) };
        Self {
            rules,
            predicted_nanos: 0.0,
            warning: window,
            critical: window,
            is_throttled: false,
            is_scrammed: false,
            journal: TimingJournal::default(),
        }
    }

    /// Before a tick, with `left_nanos` of its period left. A degraded or dropped tick measures nothing of a whole
    /// one, so the prediction shrinks a little each time and a whole tick is tried again.
    pub fn before_tick(&mut self, tick: u64, left_nanos: u64) -> Option<Decision> {
        if self.predicted_nanos <= left_nanos as f64 {
            return None;
        }
        self.predicted_nanos *= 1.0 - PREDICTION_GAIN;
        let decision = match self.rules.overrun {
            Overrun::Degrade => Decision::Degrade,
            Overrun::Drop => Decision::Drop,
        };
        self.journal.push(tick, decision);
        Some(decision)
    }

    /// After tick number `tick` (ticks done, it included) took `nanos`: what the coming ticks do differently.
    pub fn after_tick(&mut self, tick: u64, nanos: u64, was_degraded: bool) -> Vec<Decision> {
        let micros = nanos as f64 * 1e-3;
        if !was_degraded {
            self.predicted_nanos += PREDICTION_GAIN * (nanos as f64 - self.predicted_nanos);
        }
        self.warning.push(micros > self.rules.warning_micros);
        self.critical.push(micros > self.rules.critical_micros);
        let enough = self.rules.n_of.0;
        let mut decisions = Vec::new();
        if !self.is_throttled && self.warning.bits.count_ones() >= enough {
            self.is_throttled = true;
            decisions.push(Decision::Throttle(true));
        } else if self.is_throttled && self.warning.bits == 0 {
            self.is_throttled = false;
            decisions.push(Decision::Throttle(false));
        }
        if !self.is_scrammed && self.critical.bits.count_ones() >= enough {
            self.is_scrammed = true;
            decisions.push(Decision::SoftScram);
        } else if self.critical.bits == 0 {
            self.is_scrammed = false;
        }
        for &decision in &decisions {
            self.journal.push(tick, decision);
        }
        decisions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn governor(n_of: (u32, u32)) -> Governor {
        Governor::new(RealtimeRules { n_of, ..RealtimeRules::default() })
    }

    #[test]
    fn one_late_tick_decides_nothing() {
        let mut governor = governor((3, 10));
        for tick in 1..100 {
            let nanos = if tick % 20 == 0 { 3_000_000 } else { 200_000 };
            assert!(governor.after_tick(tick, nanos, false).is_empty());
        }
    }

    #[test]
    fn thresholds_act_on_n_of_m_and_let_go_when_all_is_calm() {
        let mut governor = governor((3, 10));
        let mut decided = Vec::new();
        for tick in 1..=40 {
            let nanos = if tick <= 3 {
                1_000_000
            } else if tick <= 6 {
                1_100_000
            } else {
                100_000
            };
            decided.extend(governor.after_tick(tick, nanos, false).into_iter().map(|what| (tick, what)));
        }
        let expected =
            [(3, Decision::Throttle(true)), (6, Decision::SoftScram), (16, Decision::Throttle(false))];
        assert_eq!(decided, expected);
        assert_eq!(governor.journal.decisions(), expected);
    }

    #[test]
    fn a_tick_predicted_to_overrun_is_degraded_or_dropped_and_tried_whole_again() {
        for (overrun, decision) in [(Overrun::Degrade, Decision::Degrade), (Overrun::Drop, Decision::Drop)] {
            let mut governor = Governor::new(RealtimeRules { overrun, ..RealtimeRules::default() });
            assert_eq!(governor.before_tick(0, 1), None, "nothing is measured yet");
            for tick in 1..50 {
                governor.after_tick(tick, 1_500_000, false);
            }
            assert_eq!(governor.before_tick(50, 1_000_000), Some(decision));
            let skipped =
                (51..100).take_while(|&tick| governor.before_tick(tick, 1_000_000).is_some()).count();
            assert!((1..10).contains(&skipped), "{skipped} in a row");
            assert_eq!(governor.before_tick(100, 100_000), Some(decision), "less time is left");
        }
    }

    #[test]
    fn the_journal_is_bounded_and_counts_what_it_lost() {
        let mut journal = TimingJournal::default();
        for tick in 0..JOURNAL_CAPACITY as u64 + 5 {
            journal.push(tick, Decision::Drop);
        }
        assert_eq!((journal.decisions().len(), journal.n_lost), (JOURNAL_CAPACITY, 5));
    }
}
