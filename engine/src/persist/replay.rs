//! Replay: from a checkpoint through the journal to where the run was.
//!
//! Invariant: the same orders enter the same ticks, and the oracle is answered as it was, so the state reached is the one
//! that was; every digest on the way is compared, and the first that differs stops the replay with both digests and the
//! tick. What left the last tick is left for whoever goes on.

use super::capture::state_hash;
use super::error::{Fault, PersistError, Result};
use super::journal::{Record, Segment};
use super::reader::hex;
use crate::intake::OrderBuilder;
use nikola_systems::Simulation;

/// What a replay came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replay {
    /// Tick of the checkpoint.
    pub checkpoint_tick: u64,
    /// Tick reached.
    pub tick: u64,
    /// Orders that entered again.
    pub n_orders: u64,
    /// Digests compared.
    pub n_digests: u64,
    /// Bytes of torn tails that were left out.
    pub torn_bytes: u64,
}

/// Replays `segments` into a world that holds their checkpoint; with `until`, not beyond that tick.
///
/// # Errors
/// A digest that differs; an order that cannot be built again.
pub fn replay(
    simulation: &mut Simulation,
    builder: &OrderBuilder,
    segments: &[Segment],
    until: Option<u64>,
) -> Result<Replay> {
    let checkpoint_tick = simulation.tick_count();
    let mut report = Replay { checkpoint_tick, ..Replay::default() };
    let until = until.unwrap_or(u64::MAX);
    let mut entered = None;
    for segment in segments {
        report.torn_bytes += segment.torn_bytes;
        let counted = segment.frames.iter().filter(|frame| frame.tick >= checkpoint_tick);
        for frame in counted.take_while(|frame| frame.tick <= until) {
            let is_input = matches!(frame.record, Record::Orders(_));
            if is_input && frame.tick == until {
                continue;
            }
            advance(simulation, frame.tick);
            let broken = |what: String| {
                let place = format!("the record of tick {}", frame.tick);
                PersistError::damaged(&segment.path, place, what, "a record that the scene understands")
            };
            match &frame.record {
                Record::Orders(orders) => {
                    // The answer is the first to enter a tick, as it was in the run.
                    attend(simulation);
                    for order in orders {
                        let command = builder.build(order).map_err(|error| broken(error.to_string()))?;
                        simulation.push(command).map_err(|error| broken(error.to_string()))?;
                        report.n_orders += 1;
                    }
                    entered = Some(frame.tick);
                }
                Record::Digest(expected) => {
                    compare(simulation, segment, frame.tick, expected)?;
                    report.n_digests += 1;
                }
                Record::Seed(_) | Record::Closed => {}
            }
        }
    }
    // What has entered a tick was part of a tick that ran.
    if entered == Some(simulation.tick_count()) {
        simulation.tick();
    }
    report.tick = simulation.tick_count();
    Ok(report)
}

fn advance(simulation: &mut Simulation, tick: u64) {
    while simulation.tick_count() < tick {
        attend(simulation);
        simulation.tick();
    }
}

/// Does what the oracle asked for at the end of the last tick. The rest of what left it was told when it ran; births and
/// prunings too.
fn attend(simulation: &mut Simulation) {
    while let Some(event) = simulation.pop_event() {
        // A full batch leaves the world in RESET, as it did in the run.
        let _ = simulation.answer(&event);
    }
    while simulation.pop_growth().is_some() {}
}

fn compare(simulation: &mut Simulation, segment: &Segment, tick: u64, expected: &[u8; 32]) -> Result<()> {
    let found = state_hash(simulation);
    if found == *expected {
        return Ok(());
    }
    let remedy = "replay with the version of Nikola and the files that the scene was run with";
    let place = format!("the state after tick {tick} differs from the recorded one");
    Err(PersistError::new(Fault::Diverged, &segment.path, place, hex(&found), hex(expected), remedy))
}
