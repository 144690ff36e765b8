//! The edge beside the oracle: keeps checkpoints, answers its requests, writes incident files.
//!
//! Invariant: a ring of the last few healthy states in memory, the first at tick 0, so that a reset
//! always has somewhere to go. What the edge answers enters the next tick through ingress; it changes no state itself.
//! A halted world ends the run.

use crate::edge::{Edge, Flow};
use crate::observe::OutputError;
use crate::observe::run_folder::RunFolder;
use crate::run::RunError;
use nikola_systems::Simulation;
use nikola_systems::components::oracle::{Health, Incident};
use nikola_systems::components::ports::{Checkpoint, Command, Event};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;

/// Checkpoints kept.
const CHECKPOINTS_MAX: usize = 4;

/// Incident files of one run, at most: a world that flickers must not fill a disk.
const FILES_MAX: usize = 1000;

/// The edge.
pub struct Incidents {
    folder: Option<RunFolder>,
    checkpoints: VecDeque<Arc<Checkpoint>>,
    n_files: usize,
    last: Option<Incident>,
    is_quiet: bool,
}

impl Incidents {
    /// For a world at its start; `None` where nobody watches it. Files go to `folder`.
    pub fn new(simulation: &Simulation, folder: Option<RunFolder>, is_quiet: bool) -> Option<Self> {
        let is_needed = simulation.oracle().is_some() || simulation.chemistry().is_some();
        let mut edge = Self { folder, checkpoints: VecDeque::new(), n_files: 0, last: None, is_quiet };
        if simulation.oracle().is_some() {
            edge.keep(simulation);
        }
        is_needed.then_some(edge)
    }

    /// The incident that halted the world, if one did.
    pub fn halting(&self) -> Option<&Incident> {
        self.last.as_ref().filter(|incident| incident.to == Health::Halted)
    }

    fn keep(&mut self, simulation: &Simulation) {
        if self.checkpoints.len() == CHECKPOINTS_MAX {
            self.checkpoints.pop_front();
        }
        let (pages, nodes) = (simulation.active_pages().to_vec(), simulation.torus().page_nodes());
        let (mut re, mut im) = (vec![0.0; pages.len() * nodes], vec![0.0; pages.len() * nodes]);
        let (mut speed_re, mut speed_im) = (Vec::new(), Vec::new());
        for ((re, im), page) in re.chunks_mut(nodes).zip(im.chunks_mut(nodes)).zip(&pages) {
            simulation.read_page(*page, re, im);
            let (mut x, mut y) = (vec![0.0; nodes], vec![0.0; nodes]);
            if simulation.read_velocity(*page, &mut x, &mut y) {
                speed_re.append(&mut x);
                speed_im.append(&mut y);
            }
        }
        let velocity = (!speed_re.is_empty()).then_some([speed_re, speed_im]);
        let tick = simulation.tick_count();
        self.checkpoints.push_back(Arc::new(Checkpoint { tick, pages, re, im, velocity }));
    }

    fn hear(&mut self, simulation: &mut Simulation, event: Event) -> Result<(), RunError> {
        match event {
            Event::CheckpointWanted => self.keep(simulation),
            Event::RestoreWanted { skip } => {
                let found =
                    self.checkpoints.len().checked_sub(skip + 1).or(self.checkpoints.len().checked_sub(1));
                let checkpoint = found.and_then(|index| self.checkpoints.get(index)).cloned();
                // A full batch would leave the world in RESET, from which the oracle halts it in time.
                if let Err(error) = simulation.push(Command::Restore(checkpoint)) {
                    self.say(&format!("the checkpoint could not be sent back: {error}"));
                }
            }
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
        while let Some(event) = simulation.pop_event() {
            self.hear(simulation, event)?;
        }
        let is_halted = simulation.oracle().is_some_and(|report| report.health == Health::Halted);
        Ok(if is_halted { Flow::Stop } else { Flow::Continue })
    }
}
