//! Edges: what surrounds a tick. Recording, persistence, frames and messages see the world only here.
//!
//! Invariant: edges are called in a fixed order, between ticks, on the runner's thread; none changes the state.
//!
//! ```text
//! intake → before_tick → tick → after_tick → … → at_end
//!          batch final          world at rest     once, however the run ends in order
//! ```

use crate::intake::Batch;
use crate::run::RunError;
use nikola_systems::Simulation;

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// This tick was the last.
    Stop,
}

/// Why a run ended in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// All its ticks are done.
    #[default]
    Done,
    /// An edge stopped it.
    Stopped,
    /// Somebody asked for it: a halt order or a signal.
    Halted,
    /// A new program goes on from here.
    Blink,
}

/// Something that looks at the world between ticks.
pub trait Edge {
    /// The batch of the coming tick is final and in the world's ingress.
    ///
    /// # Errors
    /// [`RunError`] ends the run before the tick.
    fn before_tick(&mut self, _simulation: &Simulation, _batch: &mut Batch) -> Result<(), RunError> {
        Ok(())
    }

    /// A tick has ended.
    ///
    /// # Errors
    /// [`RunError`] ends the run.
    fn after_tick(&mut self, _simulation: &mut Simulation) -> Result<Flow, RunError> {
        Ok(Flow::Continue)
    }

    /// The run ends in order; nothing follows.
    ///
    /// # Errors
    /// [`RunError`].
    fn at_end(&mut self, _simulation: &mut Simulation, _ending: Ending) -> Result<(), RunError> {
        Ok(())
    }
}
