//! The checkpoints of a watched world: kept and sent back when the oracle asks for it; and what the oracle tells.
//!
//! Invariant: whoever drives a watched world answers its events between ticks, before anything else enters the next one;
//! a run and its replay do the same, so that both go back to the same states.

use super::Simulation;
use crate::oracle;
use nikola_components::checkpoints::Checkpoints;
use nikola_components::oracle::OracleTally;
use nikola_components::ports::{Checkpoint, Command, Event, Ingress, IngressError};
use nikola_components::setup::Precision;
use std::sync::Arc;

impl Simulation {
    /// The states to which the oracle may go back, where the scene has one.
    pub fn checkpoints(&self) -> Option<&Checkpoints> {
        self.world.get_resource()
    }

    /// Goes on with the checkpoints of a stored state; nothing where the scene has no oracle.
    pub fn set_checkpoints(&mut self, checkpoints: Checkpoints) {
        if let Some(mut own) = self.world.get_resource_mut::<Checkpoints>() {
            *own = checkpoints;
        }
    }

    /// Keeps a copy of Ψ, and of Ψ̇ where there is one, as it is now; nothing where the scene has no oracle.
    pub fn keep_checkpoint(&mut self) {
        if self.checkpoints().is_none() {
            return;
        }
        let (pages, nodes) = (self.active_pages().to_vec(), self.torus().page_nodes());
        let (mut re, mut im) = (vec![0.0; pages.len() * nodes], vec![0.0; pages.len() * nodes]);
        for ((re, im), page) in re.chunks_mut(nodes).zip(im.chunks_mut(nodes)).zip(&pages) {
            self.read_page(*page, re, im);
        }
        let velocity = self.has_velocity.then(|| {
            let mut planes = [vec![0.0; re.len()], vec![0.0; im.len()]];
            let [re, im] = &mut planes;
            for ((re, im), page) in re.chunks_mut(nodes).zip(im.chunks_mut(nodes)).zip(&pages) {
                self.read_velocity(*page, re, im);
            }
            planes
        });
        let checkpoint = Checkpoint { tick: self.tick_count(), pages, re, im, velocity };
        if let Some(mut own) = self.world.get_resource_mut::<Checkpoints>() {
            own.keep(checkpoint);
        }
    }

    /// Does what an event asks for, if it is the oracle's wish to keep a checkpoint or to have one back.
    ///
    /// # Errors
    /// [`IngressError`] when the batch of the next tick is full; the world stays in RESET then, from which the oracle
    /// halts it in time.
    pub fn answer(&mut self, event: &Event) -> Result<(), IngressError> {
        match *event {
            Event::CheckpointWanted => self.keep_checkpoint(),
            Event::RestoreWanted { skip } => {
                let found = self.checkpoints().and_then(|own| own.newest_but(skip)).cloned();
                self.push(Command::Restore(found))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The checkpoint that waits to be taken in by the next tick: `Some(None)` is the answer that there is none.
    pub fn waiting_restore(&self) -> Option<Option<&Arc<Checkpoint>>> {
        self.world.resource::<Ingress>().restore()
    }

    /// What the oracle counted and measured last, where the scene has one: stored beside a state, because no later tick
    /// depends on it.
    pub fn oracle_tally(&self) -> Option<OracleTally> {
        match self.precision() {
            Precision::F32 => oracle::tally::<f32>(&self.world),
            Precision::F64 => oracle::tally::<f64>(&self.world),
        }
    }

    /// Makes the report of a loaded state the one that was given of it when it was saved; none is known of states from
    /// before it was stored.
    pub fn recall_oracle(&mut self, tally: Option<OracleTally>) {
        match self.precision() {
            Precision::F32 => oracle::recall::<f32>(&mut self.world, tally),
            Precision::F64 => oracle::recall::<f64>(&mut self.world, tally),
        }
    }
}
