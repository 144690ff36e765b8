//! Circuit breaker for whatever lies outside: the executor host, agents, every component that messages are handed to.
//! The broker asks it before each one (`broker/data.rs`).
//!
//! ```text
//! CLOSED ──5 failures in a row──▶ OPEN ──30 s──▶ HALF-OPEN ──success──▶ CLOSED
//!                                  ▲────────failure─────┘ (one trial at a time)
//! ```
//!
//! Invariant: while open nothing is tried; the state is on disk before it is acted upon, so a restart does not hammer
//! a dead service again.

use super::clock::{Moment, now};
use super::keys::{KeyError, is_name, write_durably};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Failures in a row that open the circuit.
pub const FAILURES_MAX: u32 = 5;

/// How long it stays open.
pub const OPEN_FOR: Duration = Duration::from_secs(30);

/// The first line of the file.
const HEADER: &str = "nikola-breaker 1";

/// The dependency is not asked now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{service} failed {FAILURES_MAX} times in a row and is not tried for another {} ms", remaining.as_millis())]
pub struct OpenCircuit {
    /// The dependency.
    pub service: String,
    /// Until it may be tried again.
    pub remaining: Duration,
}

/// Where the circuit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In use, after so many failures in a row.
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    /// Not to be tried.
    Open {
        /// Since when.
        since: Moment,
    },
    /// One trial is under way.
    HalfOpen {
        /// Since when; a trial that never ended is given up after [`OPEN_FOR`].
        since: Moment,
    },
}

/// The breaker of one dependency.
#[derive(Debug)]
pub struct Breaker {
    service: String,
    path: PathBuf,
    state: State,
}

impl Breaker {
    /// The breaker of `service`, as it was left. A file that says nothing understandable means open from now on: the
    /// dependency is tried again after 30 s, whatever it was.
    ///
    /// # Errors
    /// When the name is none, or the file is there but cannot be read.
    pub fn open(folder: &Path, service: &str) -> Result<Self, KeyError> {
        if !is_name(service) {
            return Err(KeyError::Name { found: service.into() });
        }
        let path = folder.join(format!("{service}.breaker"));
        let state = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).unwrap_or(State::Open { since: now() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::Closed { failures: 0 },
            Err(reason) => return Err(KeyError::File { path, reason }),
        };
        Ok(Self { service: service.into(), path, state })
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Runs `attempt` unless the circuit is open, and learns from its outcome.
    ///
    /// # Errors
    /// [`CallError`]: open, failed, or the state could not be kept.
    pub fn call<T, E>(
        &mut self,
        now: Moment,
        attempt: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, CallError<E>> {
        self.admit(now).map_err(CallError::Open)?;
        match attempt() {
            Ok(value) => {
                self.succeeded()?;
                Ok(value)
            }
            Err(error) => {
                self.failed(now)?;
                Err(CallError::Failed(error))
            }
        }
    }

    /// Whether the dependency may be tried now; the outcome is told by [`succeeded`](Self::succeeded) or
    /// [`failed`](Self::failed).
    ///
    /// # Errors
    /// [`OpenCircuit`]; also when the trial that is due cannot be written down first.
    pub fn admit(&mut self, now: Moment) -> Result<(), OpenCircuit> {
        let (State::Open { since } | State::HalfOpen { since }) = self.state else { return Ok(()) };
        let mut remaining = OPEN_FOR.saturating_sub(now.since(since));
        if remaining.is_zero() {
            if self.change(State::HalfOpen { since: now }).is_ok() {
                return Ok(());
            }
            remaining = OPEN_FOR;
        }
        Err(OpenCircuit { service: self.service.clone(), remaining })
    }

    /// What was admitted went well.
    ///
    /// # Errors
    /// When the state cannot be kept; it holds in memory.
    pub fn succeeded(&mut self) -> Result<(), KeyError> {
        self.change(State::Closed { failures: 0 })
    }

    /// What was admitted failed.
    ///
    /// # Errors
    /// When the state cannot be kept; it holds in memory.
    pub fn failed(&mut self, now: Moment) -> Result<(), KeyError> {
        let state = match self.state {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => {
                State::Closed { failures: failures + 1 }
            }
            _ => State::Open { since: now },
        };
        self.change(state)
    }

    fn change(&mut self, state: State) -> Result<(), KeyError> {
        if state == self.state {
            return Ok(());
        }
        self.state = state;
        write_durably(&self.path, print(state).as_bytes())
    }
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// Not tried.
    #[error(transparent)]
    Open(OpenCircuit),
    /// Tried, and failed so.
    #[error("{0}")]
    Failed(E),
    /// The outcome could not be kept.
    #[error(transparent)]
    State(#[from] KeyError),
}

fn print(state: State) -> String {
    let (word, number) = match state {
        State::Closed { failures } => ("closed", i64::from(failures)),
        State::Open { since } => ("open", since.millis()),
        State::HalfOpen { since } => ("half-open", since.millis()),
    };
    format!("{HEADER}\n{word} {number}\n")
}

fn parse(text: &str) -> Option<State> {
    let (header, line) = text.split_once('\n')?;
    let (word, number) = line.trim().split_once(' ')?;
    let number: u64 = number.parse().ok().filter(|_| header == HEADER)?;
    let since = Moment(Duration::from_millis(number));
    match word {
        "closed" => Some(State::Closed { failures: u32::try_from(number).ok()?.min(FAILURES_MAX - 1) }),
        "open" => Some(State::Open { since }),
        "half-open" => Some(State::HalfOpen { since }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment(Duration::from_secs(1_000_000 + secs))
    }

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("nikola-breaker-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    fn fail(breaker: &mut Breaker, now: Moment) -> bool {
        let mut was_tried = false;
        let outcome = breaker.call(now, || {
            was_tried = true;
            Err::<(), _>("no")
        });
        assert!(outcome.is_err());
        was_tried
    }

    #[test]
    fn opens_after_five_fails_fast_and_tries_once_after_thirty_seconds() {
        let folder = folder("way");
        let mut breaker = Breaker::open(&folder, "executor").expect("new");
        for i in 0..5 {
            assert!(fail(&mut breaker, at(i)));
        }
        assert_eq!(breaker.state(), State::Open { since: at(4) });
        assert!(!fail(&mut breaker, at(5)), "fails fast");
        assert!(!fail(&mut breaker, at(33)));
        assert!(fail(&mut breaker, at(34)), "half open: one trial");
        assert!(!fail(&mut breaker, at(35)), "which failed");
        assert_eq!(breaker.call(at(64), || Ok::<_, ()>(7)).expect("recovered"), 7);
        assert_eq!(breaker.state(), State::Closed { failures: 0 });
        for i in 0..4 {
            assert!(fail(&mut breaker, at(100 + i)));
        }
        assert!(breaker.call(at(104), || Ok::<_, ()>(())).is_ok(), "four failures are not five");
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn survives_a_restart_in_every_state() {
        let folder = folder("restart");
        let mut breaker = Breaker::open(&folder, "agent").expect("new");
        for i in 0..5 {
            breaker = Breaker::open(&folder, "agent").expect("reopened");
            assert!(fail(&mut breaker, at(i)));
        }
        let mut again = Breaker::open(&folder, "agent").expect("reopened");
        assert_eq!(again.state(), breaker.state());
        assert!(!fail(&mut again, at(10)), "still open after the restart");
        std::fs::write(folder.join("agent.breaker"), "nonsense").expect("written");
        let damaged = Breaker::open(&folder, "agent").expect("reopened").state();
        assert!(matches!(damaged, State::Open { .. }), "{damaged:?}");
        let _ = std::fs::remove_dir_all(folder);
    }
}
