//! The runner's end of the spine: an edge around the tick.
//!
//! Invariant: costs a few atomic loads when nobody asks for anything; changes no state. In a scene without an oracle no
//! tick follows a SCRAM until RESUME or HALT: the world is held as it is. With one both are orders like any other.

use super::broker::Running;
use super::clock;
use super::generated::nikola::WaveformShm;
use super::generated::nikola::status_report::State;
use super::notify::Notifier;
use super::port::{Event, TickPort};
use super::sparse::sparse_waveform;
use crate::edge::{Edge, Ending, Flow};
use crate::intake::Batch;
use crate::run::RunError;
use crate::shm::publish::Newest;
use nikola_systems::Simulation;
use nikola_systems::components::telemetry::Sample;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// While held, how often it is looked whether to go on.
const HELD_LOOK_EVERY: Duration = Duration::from_millis(1);

/// Over which span ticks per second are counted, and how often figures are measured at most.
const SPAN: Duration = Duration::from_secs(1);

/// Between two descriptors of frames in shared memory.
const FRAME_EVERY: Duration = Duration::from_millis(100);

/// The edge.
#[derive(Debug)]
pub struct TickSide {
    port: TickPort,
    /// Frames in shared memory, where there are.
    frames: Option<Newest>,
    framed: Instant,
    notifier: Option<Notifier>,
    notified: Instant,
    /// Somebody waits for the receipt of an order in this tick's batch.
    is_awaited: bool,
    since: (Instant, u64),
    ticks_per_second: f64,
    measured: Option<Instant>,
    /// Runs as long as this edge.
    _broker: Running,
}

impl TickSide {
    /// Says READY=1 when systemd asked for it.
    pub fn new(port: TickPort, scene: &str, broker: Running) -> Self {
        let notifier = Notifier::from_environment();
        if let Some(notifier) = &notifier {
            notifier.send("READY=1");
        }
        port.update(|status| status.scene = scene.into());
        let now = Instant::now();
        Self {
            port,
            frames: None,
            framed: now,
            notifier,
            notified: now,
            is_awaited: false,
            since: (now, 0),
            ticks_per_second: 0.0,
            measured: None,
            _broker: broker,
        }
    }

    /// Tells subscribers of `frame` where the newest frame lies.
    pub fn announce(&mut self, frames: Option<Newest>) {
        self.frames = frames;
    }

    fn announce_frame(&mut self, simulation: &Simulation, now: Instant) {
        if now - self.framed < FRAME_EVERY {
            return;
        }
        if let Some((segment, place)) = self.frames.as_ref().and_then(Newest::get) {
            self.framed = now;
            let shape = simulation.torus().extents().map(|extent| extent as u32).to_vec();
            let (slot, sequence, tick) = (place.slot as u32, place.sequence, place.tick);
            self.port.publish(Event::Frame(WaveformShm { segment, slot, sequence, shape, tick }));
        }
    }

    fn notify(&mut self, now: Instant) {
        if let Some(notifier) = &self.notifier
            && notifier.watchdog_every.is_some_and(|every| now - self.notified >= every)
        {
            notifier.send("WATCHDOG=1");
            self.notified = now;
        }
    }

    fn update(&mut self, state: State, simulation: &Simulation, now: Instant) {
        let tick = simulation.tick_count();
        let health = simulation.oracle().map(|report| report.health);
        let span = now - self.since.0;
        if span >= SPAN {
            self.ticks_per_second = tick.saturating_sub(self.since.1) as f64 / span.as_secs_f64();
            self.since = (now, tick);
        }
        self.notify(now);
        let ticks_per_second = self.ticks_per_second;
        self.port.update(|status| {
            status.state = state;
            status.tick = tick;
            status.health = health;
            status.ticks_per_second = ticks_per_second;
            status.said_at = clock::now();
        });
    }

    /// Measures the observables when somebody asked and the last time is a while ago.
    fn measure(&mut self, simulation: &mut Simulation, now: Instant) {
        let is_recent = self.measured.is_some_and(|at| now - at < SPAN);
        if !is_recent && self.port.wishes.wants_figures.swap(false, Ordering::Relaxed) {
            let figures = figures(&simulation.sample());
            self.port.update(|status| status.figures = figures);
            self.measured = Some(now);
        }
    }
}

impl Edge for TickSide {
    fn before_tick(&mut self, simulation: &Simulation, batch: &mut Batch) -> Result<(), RunError> {
        self.is_awaited = !batch.receipts.is_empty();
        while self.port.wishes.is_held.load(Ordering::Acquire) && !batch.wants_halt {
            self.update(State::Held, simulation, Instant::now());
            std::thread::sleep(HELD_LOOK_EVERY);
        }
        Ok(())
    }

    fn after_tick(&mut self, simulation: &mut Simulation) -> Result<Flow, RunError> {
        if std::mem::take(&mut self.is_awaited) {
            self.port.ring();
        }
        let now = Instant::now();
        let tick = simulation.tick_count();
        if let Some(theta) = self.port.wishes.wave_due(tick) {
            self.port.publish(Event::Wave(Box::new(sparse_waveform(simulation, theta))));
        }
        self.announce_frame(simulation, now);
        self.measure(simulation, now);
        self.update(State::Running, simulation, now);
        Ok(Flow::Continue)
    }

    fn at_end(&mut self, simulation: &mut Simulation, ending: Ending) -> Result<(), RunError> {
        self.update(State::Stopped, simulation, Instant::now());
        self.port.publish(Event::Text { topic: "run", text: format!("ended: {ending:?}") });
        Ok(())
    }
}

fn figures(sample: &Sample) -> BTreeMap<String, f64> {
    [
        ("time", sample.time),
        ("norm", sample.norm),
        ("norm_drift", sample.norm_drift),
        ("energy", sample.energy),
        ("energy_drift", sample.energy_drift),
        ("max_abs_psi", sample.max_abs_psi),
        ("sampled_at", sample.tick as f64),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}
