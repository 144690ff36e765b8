//! The keeper: the edge that makes a run survive. Orders go to the journal, changed pages to the log.
//!
//! Invariant: on the tick's thread it only copies and queues; how long it held a tick up is measured and reported.

use super::Result;
use super::blink;
use super::capture::{capture, state_hash, touched_bytes};
use super::journal::Record;
use super::journal_writer::Journal;
use super::lock::Lock;
use super::nap::{Drowsiness, NapPlan, NapReport, Napper, Trigger, Vitals};
use super::replay::Replay;
use super::store::{Shared, Store};
use crate::edge::{Edge, Ending, Flow};
use crate::intake::Batch;
use crate::observe::histogram::Histogram;
use crate::run::RunError;
use crate::runner::now_nanos;
use nikola_systems::Simulation;
use nikola_systems::components::chemistry::Chemistry;
use nikola_systems::components::oracle::Health;
use nikola_systems::state::Mark;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Memory that is made ready for the first nap.
const WARM_BYTES_MAX: usize = 256 << 20;

/// Ticks between looks at the size of the dirty cache.
const DIRTY_LOOK_EVERY: u64 = 64;

/// Figures of a kept run.
#[derive(Debug, Clone, Default)]
pub struct KeepReport {
    /// How the run was continued, if it was.
    pub replay: Option<Replay>,
    /// Seconds that recovery took.
    pub recovery_secs: f64,
    /// Milliseconds from the last tick of the program that this one replaced to the first of its own.
    pub blink_millis: Option<f64>,
    /// Naps by trigger.
    pub naps: BTreeMap<Trigger, u64>,
    /// Bytes of the largest full state, unencoded.
    pub full_bytes: u64,
    /// Bytes appended by the last nap.
    pub last_nap_bytes: u64,
    /// Bytes appended by all naps.
    pub nap_bytes: u64,
    /// Compactions.
    pub n_compactions: u64,
    /// How long naps held the tick up.
    pub stalls: Histogram,
    /// Longest time a nap took on its thread.
    pub nap_secs_max: f64,
    /// Digests written.
    pub n_digests: u64,
}

impl KeepReport {
    /// The JSON object.
    pub fn to_json(&self) -> Value {
        let naps: BTreeMap<&str, u64> = self.naps.iter().map(|(trigger, n)| (trigger.name(), *n)).collect();
        json!({
            "continued_from_tick": self.replay.map(|replay| replay.tick),
            "checkpoint_tick": self.replay.map(|replay| replay.checkpoint_tick),
            "replayed_orders": self.replay.map_or(0, |replay| replay.n_orders),
            "checked_digests": self.replay.map_or(0, |replay| replay.n_digests),
            "torn_bytes": self.replay.map_or(0, |replay| replay.torn_bytes),
            "recovery_secs": self.recovery_secs,
            "blink_millis": self.blink_millis,
            "naps": naps,
            "full_bytes": self.full_bytes,
            "last_nap_bytes": self.last_nap_bytes,
            "nap_bytes": self.nap_bytes,
            "compactions": self.n_compactions,
            "nap_stall_p50_micros": self.stalls.quantile_micros(0.5),
            "nap_stall_max_micros": self.stalls.max_micros(),
            "nap_secs_max": self.nap_secs_max,
            "digests": self.n_digests,
        })
    }

    /// Lines for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(replay) = &self.replay {
            text += &format!(
                "  continued      at tick {} from the checkpoint of tick {}: {} orders, {} digests, {:.2} s\n",
                replay.tick, replay.checkpoint_tick, replay.n_orders, replay.n_digests, self.recovery_secs
            );
        }
        if let Some(millis) = self.blink_millis {
            text +=
                &format!("  blink          {millis:.1} ms from the old program's last tick to the next\n");
        }
        let naps: Vec<String> =
            self.naps.iter().map(|(trigger, n)| format!("{n} by {}", trigger.name())).collect();
        text + &format!(
            "  naps           {}; last {} of {} bytes; longest stall {:.1} µs; {} compactions\n",
            if naps.is_empty() { "none".into() } else { naps.join(", ") },
            self.last_nap_bytes,
            self.full_bytes,
            self.stalls.max_micros(),
            self.n_compactions
        )
    }
}

/// The persistence edge of one run.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    journal: Journal,
    napper: Napper,
    plan: NapPlan,
    drowsiness: Drowsiness,
    mark: Option<Mark>,
    wants_nap: bool,
    /// Whether no tick has ended since this program took another one's place.
    is_blinking: bool,
    /// Figures so far.
    pub report: KeepReport,
    _lock: Option<Lock>,
}

impl Keeper {
    /// Takes over a store whose journal has been replayed: begins a new segment at the world's tick.
    ///
    /// # Errors
    /// When the segment cannot be begun.
    pub fn start(
        store: Store,
        simulation: &mut Simulation,
        plan: NapPlan,
        replay: Option<Replay>,
    ) -> Result<Self> {
        let (shared, log, segments, lock) = store.into_parts();
        let last = segments.last();
        let index = last.map_or(0, |segment| segment.header.index).max(shared.newest_segment()) + 1;
        let previous_bytes = last.map_or(0, |segment| segment.whole_bytes);
        let group = Duration::from_millis(plan.group_commit_millis);
        let tick = simulation.tick_count();
        let journal = Journal::begin(shared.clone(), index, tick, previous_bytes, group)?;
        let mut napper = Napper::start(shared.clone(), log, plan)?;
        napper.buffers = warm_buffers(simulation);
        Ok(Self {
            shared,
            journal,
            napper,
            plan,
            drowsiness: Drowsiness::new(plan, tick),
            mark: None,
            wants_nap: false,
            is_blinking: blink::began_nanos().is_some(),
            report: KeepReport { replay, ..KeepReport::default() },
            _lock: lock,
        })
    }

    /// Waits until the nap that is going on has ended.
    ///
    /// # Errors
    /// When it failed.
    pub fn settle(&mut self) -> Result<()> {
        let report = self.napper.wait()?;
        self.take(report);
        Ok(())
    }

    fn take(&mut self, report: Option<NapReport>) {
        let Some(nap) = report else { return };
        self.report.full_bytes = self.report.full_bytes.max(nap.size.live_bytes);
        self.report.last_nap_bytes = nap.size.stored_bytes;
        self.report.nap_bytes += nap.size.stored_bytes;
        self.report.n_compactions += u64::from(nap.is_compacted);
        self.report.nap_secs_max = self.report.nap_secs_max.max(nap.secs);
    }

    fn nap(&mut self, simulation: &mut Simulation, trigger: Trigger) -> Result<()> {
        let began = now_nanos();
        let tick = simulation.tick_count();
        let copy = capture(simulation, self.mark, &mut self.napper.buffers);
        self.mark = Some(copy.mark);
        let segment = self.journal.rotate(tick)?;
        self.napper.nap(copy, segment)?;
        self.drowsiness.begin(tick);
        self.wants_nap = false;
        *self.report.naps.entry(trigger).or_default() += 1;
        self.report.stalls.add(now_nanos() - began);
        Ok(())
    }

    /// No checkpoint: a nap that is going on ends, the journal is closed, the state waits in shared memory.
    fn blink(&mut self, simulation: &mut Simulation) -> Result<()> {
        self.settle()?;
        self.journal.close(simulation.tick_count())?;
        if let Err(error) = blink::hand_over(simulation, &self.shared) {
            eprintln!("warning: blink: {error}\n  the new program recovers from the disk");
        }
        Ok(())
    }

    fn look(&mut self, simulation: &mut Simulation) -> Result<()> {
        let tick = simulation.tick_count();
        let report = self.napper.poll();
        self.take(report);
        if !self.napper.is_asleep() {
            let (mark, vitals) = (self.mark, vitals(simulation));
            let dirty = || match tick.is_multiple_of(DIRTY_LOOK_EVERY) {
                true => touched_bytes(simulation, mark),
                false => 0,
            };
            if let Some(trigger) = self.drowsiness.look(tick, vitals, self.wants_nap, dirty) {
                self.nap(simulation, trigger)?;
            }
        }
        if self.plan.digest_every > 0 && tick.is_multiple_of(self.plan.digest_every) {
            self.journal.record(tick, Record::Digest(state_hash(simulation)), Vec::new())?;
            self.report.n_digests += 1;
        }
        self.shared.check()
    }

    fn end(&mut self, simulation: &mut Simulation, ending: Ending) -> Result<()> {
        if ending == Ending::Blink {
            return self.blink(simulation);
        }
        self.settle()?;
        // What an edge stopped (a state that is no longer finite) is not worth a checkpoint: the last one stays.
        if ending != Ending::Stopped {
            self.nap(simulation, Trigger::End)?;
            self.settle()?;
        }
        self.journal.close(simulation.tick_count())
    }
}

/// Buffers for a whole capture whose memory has been touched: the first nap must not wait for pages of the system.
fn warm_buffers(simulation: &mut Simulation) -> Vec<Vec<u8>> {
    let mut buffers = Vec::new();
    let mut left = WARM_BYTES_MAX;
    simulation.save_columns(None, &mut |column| {
        let n_bytes = column.bytes.len();
        if n_bytes <= left {
            left -= n_bytes;
            let mut buffer = vec![1; n_bytes];
            buffer.clear();
            buffers.push(buffer);
        }
    });
    // They are taken from the end, the columns come from the start.
    buffers.reverse();
    buffers
}

/// What of a world may bring a nap about.
fn vitals(simulation: &Simulation) -> Vitals {
    let of = |chemistry: &Chemistry| Vitals { dopamine: Some(chemistry.dopamine), atp: Some(chemistry.atp) };
    simulation.chemistry().map_or_else(Vitals::default, of)
}

/// A state that is no longer finite is not worth keeping: whoever watches it stops the run, but the oracle brings it back.
fn is_sound(simulation: &Simulation) -> bool {
    let ledger = simulation.ledger();
    match simulation.oracle() {
        None => ledger.n_nonfinite_ticks == 0,
        Some(report) => ledger.norm.is_finite() && report.health != Health::Reset,
    }
}

impl Edge for Keeper {
    fn before_tick(
        &mut self,
        _simulation: &Simulation,
        batch: &mut Batch,
    ) -> std::result::Result<(), RunError> {
        self.wants_nap |= batch.wants_nap;
        if !batch.orders.is_empty() {
            let orders = std::mem::take(&mut batch.orders);
            let receipts = std::mem::take(&mut batch.receipts);
            self.journal.record(batch.tick, Record::Orders(orders), receipts)?;
        }
        Ok(())
    }

    fn after_tick(&mut self, simulation: &mut Simulation) -> std::result::Result<Flow, RunError> {
        if self.is_blinking {
            self.is_blinking = false;
            self.report.blink_millis = blink::elapsed_millis();
        }
        if is_sound(simulation) {
            self.look(simulation)?;
        }
        Ok(Flow::Continue)
    }

    fn at_end(&mut self, simulation: &mut Simulation, ending: Ending) -> std::result::Result<(), RunError> {
        Ok(self.end(simulation, ending)?)
    }
}
