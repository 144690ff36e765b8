//! Who was heard of when.
//!
//! ```text
//! RUNNING ──silent > 3 s──▶ DEGRADED ──silent > 10 s──▶ DEAD ──(supervised) SIGTERM ─ 5 s ─ SIGKILL ─▶ restarted
//!    ▲──────────heard of─────────┘──────────heard of──────┘
//! ```
//!
//! Invariant: takes the time as an argument and starts nothing itself; each change of state is reported once.

use super::clock::Moment;
use super::generated::nikola::{ComponentId, StatusReport, status_report::State};
use std::collections::BTreeMap;
use std::time::Duration;

/// A component reports this often.
pub const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Silence after which a component is DEGRADED.
pub const DEGRADED_AFTER: Duration = Duration::from_secs(3);

/// Silence after which it is DEAD.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);

/// A dead component nobody restarts is forgotten after this silence.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Most components that are watched.
const COMPONENTS_MAX: usize = 1024;

/// A component and its state now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Name.
    pub name: String,
    /// What it became.
    pub state: State,
}

#[derive(Debug)]
struct Watched {
    last_seen: Moment,
    state: State,
    report: StatusReport,
}

/// The map from component to when it was last seen.
#[derive(Debug, Default)]
pub struct Health {
    watched: BTreeMap<String, Watched>,
}

impl Health {
    /// A component was heard of. A new one is watched from now on; beyond 1024 it is not.
    pub fn seen(&mut self, name: &str, component: ComponentId, now: Moment) {
        if let Some(watched) = self.watched.get_mut(name) {
            watched.last_seen = now;
        } else if self.watched.len() < COMPONENTS_MAX {
            let report =
                StatusReport { component: component.into(), name: name.into(), ..StatusReport::default() };
            let watched = Watched { last_seen: now, state: State::Unknown, report };
            self.watched.insert(name.into(), watched);
        }
    }

    /// A component said how it is.
    pub fn report(&mut self, name: &str, mut report: StatusReport, now: Moment) {
        self.seen(name, report.component(), now);
        if let Some(watched) = self.watched.get_mut(name) {
            report.name = name.into();
            report.components.clear();
            watched.report = report;
        }
    }

    /// A component left, or its key was withdrawn.
    pub fn forget(&mut self, name: &str) {
        self.watched.remove(name);
    }

    /// Whose state changed since the last call.
    pub fn check(&mut self, now: Moment) -> Vec<Change> {
        self.watched.retain(|_, watched| now.since(watched.last_seen) <= FORGOTTEN_AFTER);
        let mut changes = Vec::new();
        for (name, watched) in &mut self.watched {
            let state = state_after(now.since(watched.last_seen));
            if state != watched.state {
                watched.state = state;
                changes.push(Change { name: name.clone(), state });
            }
        }
        changes
    }

    /// How everybody is.
    pub fn reports(&self, now: Moment) -> Vec<StatusReport> {
        let report = |watched: &Watched| {
            let silence = now.since(watched.last_seen);
            StatusReport {
                state: state_after(silence).into(),
                silence_ms: silence.as_millis() as u64,
                ..watched.report.clone()
            }
        };
        self.watched.values().map(report).collect()
    }
}

/// What a component is after that much silence.
pub fn state_after(silence: Duration) -> State {
    match silence {
        silence if silence > DEAD_AFTER => State::Dead,
        silence if silence > DEGRADED_AFTER => State::Degraded,
        _ => State::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    #[test]
    fn silence_degrades_at_three_seconds_and_kills_at_ten() {
        let mut health = Health::default();
        health.seen("memory", ComponentId::Memory, at(0));
        let mut found = Vec::new();
        for millis in (0..=20_000).step_by(100) {
            found.extend(health.check(at(millis)).into_iter().map(|change| (millis, change.state)));
        }
        assert_eq!(found, [(0, State::Running), (3_100, State::Degraded), (10_100, State::Dead)]);
        health.seen("memory", ComponentId::Memory, at(20_000));
        assert_eq!(health.check(at(20_001))[0].state, State::Running);
    }

    #[test]
    fn reports_say_for_how_long_it_was_silent() {
        let mut health = Health::default();
        let report = StatusReport { tick: 7, name: "liar".into(), ..StatusReport::default() };
        health.report("agent", report, at(0));
        let reports = health.reports(at(4_000));
        assert_eq!((reports[0].tick, reports[0].silence_ms), (7, 4_000));
        assert_eq!((reports[0].state(), reports[0].name.as_str()), (State::Degraded, "agent"));
        health.check(at(700_000));
        assert!(health.reports(at(700_000)).is_empty());
    }
}
