//! The edge beside the oracle: answers its requests, writes incident files.
//!
//! Invariant: a watched world has a checkpoint from its first tick on, so that a reset always has somewhere to go. What
//! the edge answers is the first to enter the next tick; it changes no state itself. A halted world ends the run.

use crate::edge::{Edge, Flow};
use crate::observe::OutputError;
use crate::observe::run_folder::RunFolder;
use crate::run::RunError;
use nikola_systems::Simulation;
use nikola_systems::components::checkpoints::Checkpoints;
use nikola_systems::components::oracle::{Health, Incident};
use nikola_systems::components::ports::Event;
use serde_json::json;

/// Incident files of one run, at most: a world that flickers must not fill a disk.
const FILES_MAX: usize = 1000;

/// The edge.
pub struct Incidents {
    folder: Option<RunFolder>,
    n_files: usize,
    last: Option<Incident>,
    is_quiet: bool,
}

impl Incidents {
    /// For a world at its start, or one that goes on: what its last tick asked for is answered now. `None` where nobody
    /// watches it. Files go to `folder`.
    ///
    /// # Errors
    /// When an incident cannot be written.
    pub fn new(
        simulation: &mut Simulation,
        folder: Option<RunFolder>,
        is_quiet: bool,
    ) -> Result<Option<Self>, RunError> {
        if simulation.oracle().is_none() && simulation.chemistry().is_none() {
            return Ok(None);
        }
        if simulation.checkpoints().is_some_and(Checkpoints::is_empty) {
            simulation.keep_checkpoint();
        }
        let mut edge = Self { folder, n_files: 0, last: None, is_quiet };
        edge.attend(simulation)?;
        Ok(Some(edge))
    }

    /// What halted the world, if something did: the incident, or no more than the fact where it lies before this run.
    pub fn halting(&self, simulation: &Simulation) -> Option<String> {
        let is_halted = simulation.oracle().is_some_and(|report| report.health == Health::Halted);
        let last = self.last.as_ref().filter(|incident| incident.to == Health::Halted);
        is_halted
            .then(|| last.map_or_else(|| "the state it continued from was halted already".into(), describe))
    }

    fn attend(&mut self, simulation: &mut Simulation) -> Result<(), RunError> {
        while let Some(event) = simulation.pop_event() {
            if let Err(error) = simulation.answer(&event) {
                self.say(&format!("the checkpoint could not be sent back: {error}"));
            }
            self.hear(event)?;
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<(), RunError> {
        match event {
            Event::CheckpointWanted | Event::RestoreWanted { .. } => {}
            Event::Incident(incident) => {
                self.say(&describe(&incident));
                self.write(&incident)?;
                self.last = Some(incident);
            }
            Event::Refused { tick, digest } => {
                self.say(&format!("tick {tick}: input {digest:016x} refused: it led to a reset before"));
            }
            Event::NapWanted { tick, cause } => self.say(&format!("tick {tick}: nap begins ({cause:?})")),
            Event::Woke { tick } => self.say(&format!("tick {tick}: awake again")),
            Event::AtpLow { tick, atp } => self.say(&format!("tick {tick}: ATP is down to {atp:.3}")),
            Event::Curiosity { tick, goal } => {
                self.say(&format!("tick {tick}: bored; goal {goal:x}: explore"));
            }
        }
        Ok(())
    }

    fn say(&self, text: &str) {
        if !self.is_quiet {
            eprintln!("{text}");
        }
    }

    fn write(&mut self, incident: &Incident) -> Result<(), OutputError> {
        let Some(folder) = self.folder.as_ref().filter(|_| self.n_files < FILES_MAX) else { return Ok(()) };
        self.n_files += 1;
        let mut name = format!("incident-{:09}.json", incident.tick);
        // Several turns of one tick are several files.
        for n in 2.. {
            if !folder.path().join(&name).exists() {
                break;
            }
            name = format!("incident-{:09}-{n}.json", incident.tick);
        }
        let digest = |digest: &u64| format!("{digest:016x}");
        let value = json!({
            "tick": incident.tick,
            "from": incident.from.name(),
            "to": incident.to.name(),
            "cause": incident.cause.name(),
            "value": incident.cause.value(),
            "residual": incident.residual,
            "norm": incident.norm,
            "energy": incident.energy,
            "max_abs_psi": incident.max_abs_psi,
            "blacklisted": incident.blacklisted.iter().map(digest).collect::<Vec<_>>(),
        });
        folder.write_json(&name, &value)
    }
}

/// One line about a change of state.
pub fn describe(incident: &Incident) -> String {
    let value = incident.cause.value().map_or_else(String::new, |value| format!(" {value:.6}"));
    format!(
        "tick {}: {} → {} ({}{value}); residual {:.2e}, norm {:.6}, max |Ψ| {:.4}",
        incident.tick,
        incident.from.name(),
        incident.to.name(),
        incident.cause.name(),
        incident.residual,
        incident.norm,
        incident.max_abs_psi
    )
}

impl Edge for Incidents {
    fn after_tick(&mut self, simulation: &mut Simulation) -> Result<Flow, RunError> {
        self.attend(simulation)?;
        let is_halted = simulation.oracle().is_some_and(|report| report.health == Health::Halted);
        Ok(if is_halted { Flow::Stop } else { Flow::Continue })
    }
}
