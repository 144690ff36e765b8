//! The oracle's checkpoints in a `.nik` file: two columns for each slot, two more where there is a Ψ̇, and what the description says of them.
//!
//! Invariant: a checkpoint is shared with the tick's thread, not copied there, and written once, for as long as it keeps
//! its slot. What is loaded is complete and of this torus, or it is refused. A file without them (of an earlier version,
//! or of tick 0) begins with the loaded state as the only one. Layout: docs/FORMATS.md, "Description".

use super::capture::{About, number, page_row, stored_pages};
use super::merkle::Hash;
use super::page::PageKey;
use super::reader::{Buffers, Log};
use super::writer::Content;
use super::{PersistError, Result};
use nikola_systems::Simulation;
use nikola_systems::components::checkpoints::{CHECKPOINTS_MAX, Checkpoints};
use nikola_systems::components::ports::{Checkpoint, Command};
use nikola_systems::components::setup::Precision;
use nikola_systems::components::wave::Page;
use nikola_systems::world::page;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Column id of the real parts of Ψ in slot 0; each slot has two. Those of Ψ̇ follow, in the same order.
const FIRST_COLUMN: u8 = 32;
const FIRST_OF_VELOCITY: usize = 2 * CHECKPOINTS_MAX;

/// Names of the columns, by id from [`FIRST_COLUMN`] on.
const NAMES: [&str; 4 * CHECKPOINTS_MAX] = [
    "checkpoint_0_re",
    "checkpoint_0_im",
    "checkpoint_1_re",
    "checkpoint_1_im",
    "checkpoint_2_re",
    "checkpoint_2_im",
    "checkpoint_3_re",
    "checkpoint_3_im",
    "checkpoint_0_velocity_re",
    "checkpoint_0_velocity_im",
    "checkpoint_1_velocity_re",
    "checkpoint_1_velocity_im",
    "checkpoint_2_velocity_re",
    "checkpoint_2_velocity_im",
    "checkpoint_3_velocity_re",
    "checkpoint_3_velocity_im",
];

/// Ids of the columns of a slot: two of Ψ, and two of Ψ̇ where there is one.
fn columns(slot: usize, has_velocity: bool) -> impl Iterator<Item = u8> {
    let of = move |first: usize| [0, 1].map(|part| FIRST_COLUMN + (first + 2 * slot + part) as u8);
    of(0).into_iter().chain(of(FIRST_OF_VELOCITY)).take(if has_velocity { 4 } else { 2 })
}

/// Whether a column belongs to a checkpoint.
pub fn is_of_checkpoint(column: u8) -> bool {
    (FIRST_COLUMN..FIRST_COLUMN + NAMES.len() as u8).contains(&column)
}

/// A checkpoint as a capture holds it.
#[derive(Debug, Clone)]
pub struct Held {
    slot: usize,
    checkpoint: Arc<Checkpoint>,
    /// Peano indices of its pages.
    peano: Vec<u64>,
    precision: Precision,
}

/// By slot, the tick of the checkpoint that the file holds already.
pub type Slots = [Option<u64>; CHECKPOINTS_MAX];

/// Shares the checkpoints of a world.
pub fn hold(simulation: &Simulation) -> Vec<Held> {
    let Some(own) = simulation.checkpoints().filter(|own| !own.is_empty()) else { return Vec::new() };
    let live: Vec<u64> = simulation.pages().iter().map(|page| page.peano).collect();
    let torus = simulation.torus();
    let peano = |checkpoint: &Checkpoint| match checkpoint.pages == simulation.active_pages() {
        true => live.clone(),
        false => checkpoint.pages.iter().map(|index| page(torus, *index).peano).collect(),
    };
    own.iter()
        .map(|(slot, checkpoint)| Held {
            slot,
            checkpoint: checkpoint.clone(),
            peano: peano(checkpoint),
            precision: simulation.precision(),
        })
        .collect()
}

impl Held {
    /// Adds the checkpoint to what a snapshot holds: its content, or where `stored` says that the file has it already,
    /// the keys alone. `stored` says afterwards that it has.
    pub fn put(&self, stored: &mut Slots, contents: &mut Vec<Content>, untouched: &mut Vec<PageKey>) {
        let Checkpoint { tick, re, im, velocity, .. } = &*self.checkpoint;
        let is_stored = stored[self.slot].replace(*tick) == Some(*tick);
        let nodes = re.len() / self.peano.len().max(1);
        let planes = [re, im].into_iter().chain(velocity.iter().flatten());
        for (column, plane) in columns(self.slot, velocity.is_some()).zip(planes) {
            for (page_id, numbers) in self.peano.iter().zip(plane.chunks(nodes.max(1))) {
                let key = PageKey { page_id: *page_id, column };
                if is_stored {
                    untouched.push(key);
                    continue;
                }
                let bytes = match self.precision {
                    // Exact: the numbers were widened when the checkpoint was taken.
                    Precision::F32 => numbers.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
                    Precision::F64 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
                };
                contents.push(Content { key, width: self.precision.bytes(), bytes });
            }
        }
    }
}

/// Adds to the description which checkpoints there are, and which of them waits to be taken in; nothing where there is
/// none.
pub fn describe(simulation: &Simulation, about: &mut Value) {
    let Some(own) = simulation.checkpoints().filter(|own| !own.is_empty()) else { return };
    let (torus, bytes) = (simulation.torus(), simulation.precision().bytes());
    let mut entries = Vec::new();
    for (slot, checkpoint) in own.iter() {
        let mut entry = json!({"slot": slot, "tick": checkpoint.tick});
        if checkpoint.pages != simulation.active_pages() {
            entry["pages"] =
                checkpoint.pages.iter().map(|index| page_row(torus, &page(torus, *index))).collect();
        }
        if checkpoint.velocity.is_some() {
            entry["velocity"] = true.into();
        }
        entries.push(entry);
        for id in columns(slot, checkpoint.velocity.is_some()) {
            let name = NAMES[usize::from(id - FIRST_COLUMN)];
            if let Some(list) = about["columns"].as_array_mut() {
                list.push(json!({"id": id, "name": name, "bytes": bytes}));
            }
        }
    }
    about["checkpoints"] = entries.into();
    if let Some(waiting) = simulation.waiting_restore() {
        let is_it = |kept: &Arc<Checkpoint>| waiting.is_some_and(|waiting| waiting.tick == kept.tick);
        let slot = own.iter().find(|(_, kept)| is_it(kept)).map(|(slot, _)| slot);
        about["restore"] = json!({ "slot": slot });
    }
}

/// What the description says of one checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    slot: usize,
    tick: u64,
    /// Its pages where they are others than the state's.
    pages: Option<Vec<(u64, [usize; 9])>>,
    has_velocity: bool,
}

/// Reads what the description says; `rows` reads a list of pages.
///
/// # Errors
/// What is wrong.
pub fn parse(
    about: &Value,
    rows: impl Fn(&Value) -> std::result::Result<Vec<(u64, [usize; 9])>, String>,
) -> std::result::Result<Vec<Stored>, String> {
    let Some(list) = about.get("checkpoints") else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or("checkpoints that are no list")?;
    let mut stored: Vec<Stored> = Vec::new();
    for entry in list {
        let (slot, tick) = (number(&entry["slot"])?, number(&entry["tick"])?);
        if slot >= CHECKPOINTS_MAX as u64 {
            return Err(format!("a checkpoint in slot {slot} of {CHECKPOINTS_MAX}"));
        }
        if stored.iter().any(|other| other.slot as u64 == slot || other.tick == tick) {
            return Err(format!("two checkpoints in slot {slot} or of tick {tick}"));
        }
        let pages = entry.get("pages").map(&rows).transpose()?;
        let has_velocity = match entry.get("velocity") {
            None => false,
            Some(value) => value.as_bool().ok_or("a velocity that is neither true nor false")?,
        };
        stored.push(Stored { slot: slot as usize, tick, pages, has_velocity });
    }
    if let Some(waiting) = about.get("restore") {
        let slot = waiting.get("slot").ok_or("a restore without a slot")?;
        if !slot.is_null() && !stored.iter().any(|entry| slot.as_u64() == Some(entry.slot as u64)) {
            return Err(format!("a restore of slot {slot}, in which there is no checkpoint"));
        }
    }
    Ok(stored)
}

/// Reads the checkpoints of a file for the torus of `simulation`, which holds the file's state; adds the leaves of their
/// payloads.
///
/// # Errors
/// Damage, or pages that this torus does not have.
pub fn read(
    log: &Log,
    about: &About,
    simulation: &Simulation,
    buffers: &mut Buffers,
    leaves: &mut BTreeMap<PageKey, (Hash, u64)>,
) -> Result<Checkpoints> {
    let mut own = Checkpoints::default();
    let width = log.header.precision.bytes();
    let mut bytes = vec![0; log.column_bytes(width)];
    for entry in &about.checkpoints {
        let place = format!("the checkpoint of tick {}", entry.tick);
        let damaged = |found: String, expected: &str| {
            PersistError::damaged(log.path(), place.as_str(), found, expected)
        };
        let rows = entry.pages.as_ref().unwrap_or(&about.pages);
        let pages =
            stored_pages(simulation, about, rows).map_err(|found| damaged(found, "pages of this torus"))?;
        let indices: Vec<usize> = pages.iter().map(|page| page.index as usize).collect();
        let is_dense = simulation.growth().is_none();
        if !indices.is_sorted_by(|a, b| a < b) || (is_dense && indices != simulation.active_pages()) {
            let found = format!("{} pages, out of order or not all", pages.len());
            return Err(damaged(found, "its pages in storage order, all of a dense torus"));
        }
        let mut plane = |column: u8| -> Result<Vec<f64>> {
            let mut numbers = Vec::new();
            for &Page { peano, .. } in &pages {
                let key = PageKey { page_id: peano, column };
                let leaf = log.read_into(key, width, buffers, &mut bytes)?;
                leaves.insert(key, (leaf, bytes.len() as u64));
                numbers.extend(widened(&bytes, log.header.precision));
            }
            Ok(numbers)
        };
        if entry.has_velocity != simulation.has_velocity() {
            let found = if entry.has_velocity { "a velocity" } else { "no velocity" };
            return Err(damaged(found.into(), "one exactly where the equation is of second order in time"));
        }
        let mut planes =
            columns(entry.slot, entry.has_velocity).map(&mut plane).collect::<Result<Vec<_>>>()?;
        let velocity = planes.drain(2..).collect::<Vec<_>>().try_into().ok();
        let [re, im] = planes.try_into().unwrap_or_default();
        if !own.put(entry.slot, Checkpoint { tick: entry.tick, pages: indices, re, im, velocity }) {
            return Err(damaged(format!("slot {} twice", entry.slot), "a slot of its own"));
        }
    }
    Ok(own)
}

fn widened(bytes: &[u8], precision: Precision) -> Vec<f64> {
    match precision {
        Precision::F32 => {
            bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number).into()).collect()
        }
        Precision::F64 => bytes.as_chunks::<8>().0.iter().map(|number| f64::from_le_bytes(*number)).collect(),
    }
}

/// Puts checked checkpoints into the world, and the answer that was on its way to the oracle.
///
/// # Errors
/// When the next tick takes nothing in.
pub fn install(own: Checkpoints, log: &Log, about: &About, simulation: &mut Simulation) -> Result<()> {
    if own.is_empty() {
        // The file knows none: a reset goes back to what was just loaded, at the earliest.
        simulation.keep_checkpoint();
        return Ok(());
    }
    let waiting = about.value.get("restore").map(|waiting| {
        let slot = waiting["slot"].as_u64();
        slot.and_then(|slot| own.get(slot as usize)).cloned()
    });
    simulation.set_checkpoints(own);
    let Some(checkpoint) = waiting.filter(|_| simulation.checkpoints().is_some()) else { return Ok(()) };
    simulation.push(Command::Restore(checkpoint)).map_err(|error| {
        let expected = "a world that takes it in";
        PersistError::damaged(log.path(), "the checkpoint that waits", error, expected)
    })
}
