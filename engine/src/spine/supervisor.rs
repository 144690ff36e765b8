//! Children of the broker and their resurrection.
//!
//! ```text
//! RUNNING ──dead (silent) ──▶ TERMINATING ──5 s──▶ SIGKILL ──ended──▶ WAITING ──back-off──▶ RUNNING
//!    └──────ended by itself──────────────────────────────────────────▶  │ 5 restarts in 10 min
//!                                                                       ▼
//!                                                                    GIVEN UP
//! ```
//!
//! Invariant: takes the time as an argument; a child keeps its name, and so its key, through every restart; the wait
//! before a restart doubles and the number of restarts is bounded.

use super::clock::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Time between SIGTERM and SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);

/// First wait before a restart; doubles with every restart inside [`RESTART_WINDOW`].
pub const BACK_OFF: Duration = Duration::from_secs(1);

/// Restarts inside [`RESTART_WINDOW`] after which a child is given up.
pub const RESTARTS_MAX: usize = 5;

/// See [`RESTARTS_MAX`].
pub const RESTART_WINDOW: Duration = Duration::from_secs(600);

/// What to run under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildSpec {
    /// Name: that of its key and of its line in the white list.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
}

/// Starts and ends processes; a fake one in tests.
pub trait Processes {
    /// Starts a child; the number names it in the other calls.
    ///
    /// # Errors
    /// Why it cannot be started.
    fn start(&mut self, spec: &ChildSpec) -> std::io::Result<u32>;
    /// SIGTERM.
    fn terminate(&mut self, process: u32);
    /// SIGKILL.
    fn kill(&mut self, process: u32);
    /// Whether it has ended (and is no zombie any more).
    fn has_ended(&mut self, process: u32) -> bool;
}

/// Where a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildState {
    /// Alive as far as one knows.
    Running {
        /// Process.
        process: u32,
    },
    /// Asked to end.
    Terminating {
        /// Process.
        process: u32,
        /// When it was asked.
        since: Moment,
        /// Whether SIGKILL was sent.
        is_killed: bool,
    },
    /// Not running; started again then.
    Waiting {
        /// When.
        until: Moment,
    },
    /// Restarted too often.
    GivenUp,
}

#[derive(Debug)]
struct Child {
    spec: ChildSpec,
    state: ChildState,
    restarts: VecDeque<Moment>,
}

/// All children.
#[derive(Debug)]
pub struct Supervisor<P> {
    processes: P,
    children: Vec<Child>,
}

impl<P: Processes> Supervisor<P> {
    /// Starts every child at the next [`step`](Self::step).
    pub fn new(processes: P, specs: Vec<ChildSpec>, now: Moment) -> Self {
        let child =
            |spec| Child { spec, state: ChildState::Waiting { until: now }, restarts: VecDeque::new() };
        Self { processes, children: specs.into_iter().map(child).collect() }
    }

    /// Where a child is; none for a name nobody supervises.
    pub fn state(&self, name: &str) -> Option<ChildState> {
        self.children.iter().find(|child| child.spec.name == name).map(|child| child.state)
    }

    /// A child is DEAD by its silence: SIGTERM, and whatever follows in [`step`](Self::step).
    pub fn resurrect(&mut self, name: &str, now: Moment) {
        for child in self.children.iter_mut().filter(|child| child.spec.name == name) {
            if let ChildState::Running { process } = child.state {
                self.processes.terminate(process);
                child.state = ChildState::Terminating { process, since: now, is_killed: false };
            }
        }
    }

    /// Does what is due; names of the children that were started.
    pub fn step(&mut self, now: Moment) -> Vec<String> {
        let mut started = Vec::new();
        for child in &mut self.children {
            match child.state {
                ChildState::Running { process } if self.processes.has_ended(process) => child.wait(now),
                ChildState::Terminating { process, since, is_killed } => {
                    if self.processes.has_ended(process) {
                        child.wait(now);
                    } else if !is_killed && now.since(since) >= GRACE {
                        self.processes.kill(process);
                        child.state = ChildState::Terminating { process, since, is_killed: true };
                    }
                }
                ChildState::Waiting { until } if now >= until => match self.processes.start(&child.spec) {
                    Ok(process) => {
                        child.state = ChildState::Running { process };
                        started.push(child.spec.name.clone());
                    }
                    Err(_) => child.wait(now),
                },
                _ => {}
            }
        }
        started
    }

    /// Ends every child: SIGTERM now, SIGKILL for those that are still there at the next call.
    pub fn end(&mut self, is_patient: bool) -> bool {
        let mut n_running = 0;
        for child in &mut self.children {
            let (ChildState::Running { process } | ChildState::Terminating { process, .. }) = child.state
            else {
                continue;
            };
            if self.processes.has_ended(process) {
                child.state = ChildState::GivenUp;
                continue;
            }
            n_running += 1;
            if is_patient {
                self.processes.terminate(process);
            } else {
                self.processes.kill(process);
            }
        }
        n_running == 0
    }
}

impl Child {
    /// Plans the next start, or gives up.
    fn wait(&mut self, now: Moment) {
        self.restarts.retain(|restart| now.since(*restart) < RESTART_WINDOW);
        if self.restarts.len() == RESTARTS_MAX {
            self.state = ChildState::GivenUp;
            return;
        }
        let wait = BACK_OFF * (1 << self.restarts.len());
        self.restarts.push_back(now);
        self.state = ChildState::Waiting { until: now.after(wait) };
    }
}

/// Real processes, with the variables by which a child finds the spine and its own key.
#[derive(Debug)]
pub struct RealProcesses {
    /// Variables every child gets; NIKOLA_NAME is added.
    pub environment: Vec<(String, String)>,
    children: Vec<std::process::Child>,
}

impl RealProcesses {
    /// None running yet.
    pub fn new(environment: Vec<(String, String)>) -> Self {
        Self { environment, children: Vec::new() }
    }

    fn child(&mut self, process: u32) -> Option<&mut std::process::Child> {
        self.children.iter_mut().find(|child| child.id() == process)
    }
}

impl Processes for RealProcesses {
    fn start(&mut self, spec: &ChildSpec) -> std::io::Result<u32> {
        let empty = || std::io::Error::new(std::io::ErrorKind::InvalidInput, "the command is empty");
        let (program, arguments) = spec.command.split_first().ok_or_else(empty)?;
        let mut command = std::process::Command::new(program);
        command.args(arguments).envs(self.environment.iter().cloned()).env("NIKOLA_NAME", &spec.name);
        let child = command.stdin(std::process::Stdio::null()).spawn()?;
        let process = child.id();
        self.children.push(child);
        Ok(process)
    }

    fn terminate(&mut self, process: u32) {
        // A child that was not waited for keeps its number, so the signal reaches nobody else.
        if self.child(process).is_some() {
            super::signal::terminate(process);
        }
    }

    fn kill(&mut self, process: u32) {
        if let Some(child) = self.child(process) {
            let _ = child.kill();
        }
    }

    fn has_ended(&mut self, process: u32) -> bool {
        let has_ended =
            self.child(process).is_none_or(|child| child.try_wait().is_ok_and(|end| end.is_some()));
        if has_ended {
            self.children.retain(|child| child.id() != process);
        }
        has_ended
    }
}

impl Drop for RealProcesses {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes that end when told, or only when killed.
    #[derive(Debug, Default)]
    struct Fake {
        log: Vec<String>,
        alive: Vec<u32>,
        n_started: u32,
        is_stubborn: bool,
    }

    impl Processes for Fake {
        fn start(&mut self, spec: &ChildSpec) -> std::io::Result<u32> {
            self.n_started += 1;
            self.alive.push(self.n_started);
            self.log.push(format!("start {}", spec.name));
            Ok(self.n_started)
        }
        fn terminate(&mut self, process: u32) {
            self.log.push(format!("term {process}"));
            self.alive.retain(|alive| *alive != process || self.is_stubborn);
        }
        fn kill(&mut self, process: u32) {
            self.log.push(format!("kill {process}"));
            self.alive.retain(|alive| *alive != process);
        }
        fn has_ended(&mut self, process: u32) -> bool {
            !self.alive.contains(&process)
        }
    }

    fn at(millis: u64) -> Moment {
        Moment(Duration::from_millis(millis))
    }

    fn supervisor(fake: Fake) -> Supervisor<Fake> {
        let spec = ChildSpec { name: "memory".into(), command: vec!["memory".into()] };
        let mut supervisor = Supervisor::new(fake, vec![spec], at(0));
        assert_eq!(supervisor.step(at(0)), ["memory"]);
        supervisor
    }

    #[test]
    fn a_stubborn_child_is_killed_after_five_seconds_and_restarted() {
        let mut supervisor = supervisor(Fake { is_stubborn: true, ..Fake::default() });
        supervisor.resurrect("memory", at(10_000));
        supervisor.resurrect("memory", at(10_001));
        for millis in (10_000..=16_100).step_by(100) {
            supervisor.step(at(millis));
        }
        assert_eq!(supervisor.processes.log, ["start memory", "term 1", "kill 1", "start memory"]);
        assert_eq!(supervisor.state("memory"), Some(ChildState::Running { process: 2 }));
    }

    #[test]
    fn restarts_back_off_and_end() {
        let mut supervisor = supervisor(Fake::default());
        let mut starts = Vec::new();
        for millis in (0..200_000).step_by(100) {
            supervisor.processes.alive.clear();
            if !supervisor.step(at(millis)).is_empty() {
                starts.push(millis);
            }
        }
        // Each start is seen to have failed 100 ms later; the waits are 1, 2, 4, 8 and 16 s.
        assert_eq!(starts, [1_000, 3_100, 7_200, 15_300, 31_400]);
        assert_eq!(supervisor.state("memory"), Some(ChildState::GivenUp));
    }

    #[test]
    fn a_real_child_is_ended_and_seen_to_end() {
        let mut processes = RealProcesses::new(vec![("NIKOLA_TEST".into(), "1".into())]);
        let spec = |script: &str| ChildSpec {
            name: "child".into(),
            command: ["sh", "-c", script].map(String::from).to_vec(),
        };
        let cat = processes.start(&ChildSpec {
            name: "c".into(),
            command: vec!["tail".into(), "-f".into(), "/dev/null".into()],
        });
        let cat = cat.expect("tail starts");
        assert!(!processes.has_ended(cat));
        processes.terminate(cat);
        while !processes.has_ended(cat) {
            std::thread::yield_now();
        }
        let named = processes.start(&spec("test $NIKOLA_NAME = child")).expect("sh starts");
        while !processes.has_ended(named) {
            std::thread::yield_now();
        }
        assert!(processes.start(&ChildSpec { name: "n".into(), command: vec![] }).is_err());
    }
}
