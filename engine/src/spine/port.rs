//! What the broker's thread and the tick's share, beside the intake through which orders go.
//!
//! Invariant: the tick never waits for the broker. Events that do not fit are dropped and counted; the status is left
//! alone while the broker reads it; the rest are atomics.

use super::clock::Moment;
use super::generated::nikola::{SparseWaveform, WaveformShm, status_report::State};
use nikola_systems::components::oracle::Health;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// Events that wait for the broker.
pub const EVENTS_MAX: usize = 64;

/// What the engine tells everybody.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A sparse wave.
    Wave(Box<SparseWaveform>),
    /// A dense wave in shared memory.
    Frame(WaveformShm),
    /// Something happened, in words, under a topic.
    Text {
        /// Topic.
        topic: &'static str,
        /// What.
        text: String,
    },
}

/// How the engine is, as the tick left it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineStatus {
    /// State.
    pub state: State,
    /// Ticks completed.
    pub tick: u64,
    /// Over the last second or so.
    pub ticks_per_second: f64,
    /// Norm, energy and the like.
    pub figures: BTreeMap<String, f64>,
    /// Name of the scene.
    pub scene: String,
    /// State by its oracle, where it has one.
    pub health: Option<Health>,
    /// When the tick said so last.
    pub said_at: Moment,
}

/// What the broker wants of the tick; set at any time, looked at between ticks.
#[derive(Debug, Default)]
pub struct Wishes {
    /// SCRAM: no further tick until it is cleared.
    pub is_held: AtomicBool,
    /// Somebody asked for figures since they were measured last.
    pub wants_figures: AtomicBool,
    /// Ticks between two sparse waves; 0 for none.
    pub wave_period: AtomicU64,
    /// Their threshold as a multiple of Ψ_rms: bits of an f64.
    pub wave_theta: AtomicU64,
}

impl Wishes {
    /// Asks for sparse waves.
    pub fn publish_wave(&self, period_ticks: u64, theta: f64) {
        self.wave_theta.store(theta.to_bits(), Ordering::Relaxed);
        self.wave_period.store(period_ticks, Ordering::Release);
    }

    /// The threshold when a wave is due at this tick.
    pub fn wave_due(&self, tick: u64) -> Option<f64> {
        let period = self.wave_period.load(Ordering::Acquire);
        (period > 0 && tick.is_multiple_of(period))
            .then(|| f64::from_bits(self.wave_theta.load(Ordering::Relaxed)))
    }
}

/// The broker's end.
#[derive(Debug)]
pub struct BrokerPort {
    events: Receiver<Event>,
    status: Arc<Mutex<EngineStatus>>,
    bell: UnixStream,
    /// What it wants.
    pub wishes: Arc<Wishes>,
}

/// The tick's end.
#[derive(Debug)]
pub struct TickPort {
    events: SyncSender<Event>,
    status: Arc<Mutex<EngineStatus>>,
    bell: UnixStream,
    dropped_events: u64,
    /// What the broker wants.
    pub wishes: Arc<Wishes>,
}

/// Both ends.
///
/// # Errors
/// When the system gives no pair of sockets for the bell.
pub fn port() -> std::io::Result<(BrokerPort, TickPort)> {
    let (events, take_events) = sync_channel(EVENTS_MAX);
    let (bell, rings) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    rings.set_nonblocking(true)?;
    let status = Arc::new(Mutex::new(EngineStatus::default()));
    let wishes = Arc::new(Wishes::default());
    let broker =
        BrokerPort { events: take_events, status: Arc::clone(&status), bell, wishes: Arc::clone(&wishes) };
    Ok((broker, TickPort { events, status, bell: rings, dropped_events: 0, wishes }))
}

impl BrokerPort {
    /// The descriptor that becomes readable when something waits.
    pub fn bell(&self) -> &UnixStream {
        &self.bell
    }

    /// Silences the bell; what rang it is taken next.
    pub fn silence(&mut self) {
        let mut bytes = [0; 256];
        while matches!(self.bell.read(&mut bytes), Ok(n) if n > 0) {}
    }

    /// The next event.
    pub fn event(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// How the engine is.
    pub fn status(&self) -> EngineStatus {
        self.status.lock().map(|status| status.clone()).unwrap_or_default()
    }
}

impl TickPort {
    /// Tells everybody; dropped and counted when the broker does not keep up.
    pub fn publish(&mut self, event: Event) {
        match self.events.try_send(event) {
            Ok(()) => self.ring(),
            Err(_) => self.dropped_events += 1,
        }
    }

    /// Events that were dropped.
    pub fn dropped_events(&self) -> u64 {
        self.dropped_events
    }

    /// Changes the status unless the broker is reading it; then the next tick will.
    pub fn update(&self, change: impl FnOnce(&mut EngineStatus)) {
        if let Ok(mut status) = self.status.try_lock() {
            change(&mut status);
        }
    }

    /// Wakes the broker.
    pub fn ring(&mut self) {
        // A full bell rings already.
        let _ = self.bell.write(&[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unread_port_drops_and_counts() {
        let (mut broker, mut tick) = port().expect("a pair");
        for _ in 0..EVENTS_MAX + 2 {
            tick.publish(Event::Text { topic: "t", text: String::new() });
        }
        assert_eq!(tick.dropped_events(), 2);
        broker.silence();
        assert_eq!(std::iter::from_fn(|| broker.event()).count(), EVENTS_MAX);
    }

    #[test]
    fn waves_are_due_when_somebody_asked() {
        let wishes = Wishes::default();
        assert_eq!(wishes.wave_due(100), None);
        wishes.publish_wave(50, 0.2);
        assert_eq!((wishes.wave_due(100), wishes.wave_due(101)), (Some(0.2), None));
    }

    #[test]
    fn a_status_being_read_is_left_alone() {
        let (broker, tick) = port().expect("a pair");
        let reading = broker.status.lock().expect("a lock");
        tick.update(|status| status.tick = 7);
        drop(reading);
        assert_eq!(broker.status().tick, 0);
        tick.update(|status| status.tick = 8);
        assert_eq!(broker.status().tick, 8);
    }
}
