//! The edge that publishes frames while a run goes on.
//! Invariant: at most one frame per period of wall time and one clock reading per tick; nothing in a run depends on
//! whether anybody looks. A frame of a device is asked for and published some ticks later, so that no tick waits for it. A segment that cannot be made is one warning, never the end of a run.

use super::layout::{Header, SEGMENT_BYTES_MAX, ShmError};
use super::writer::{About, Place, Writer, wall_nanos};
use crate::edge::{Edge, Ending, Flow};
use crate::run::RunError;
use nikola_systems::Simulation;
use nikola_systems::components::setup::Precision;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Slots: the one being written, the newest, and two for readers that still copy.
const SLOTS: usize = 4;

/// Bytes of a segment that a run makes without being asked.
const UNASKED_BYTES_MAX: u64 = 64 << 20;

/// Most bytes of a growing torus's frame; pages beyond it are left out of the frame and counted.
const GROWING_FRAME_BYTES: usize = 16 << 20;

/// How frames are published.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRequest {
    /// Frames per second of wall time.
    pub per_second: f64,
    /// Whether a person asked for them: then a large segment is made too, and a failure is an error.
    pub is_asked: bool,
}

/// Where the newest frame lies, for those who tell others.
#[derive(Debug, Clone, Default)]
pub struct Newest(Arc<Mutex<Option<(String, Place)>>>);

impl Newest {
    /// The segment's path and the frame's place in it.
    pub fn get(&self) -> Option<(String, Place)> {
        self.0.lock().map_or(None, |newest| newest.clone())
    }
}

/// The edge.
#[derive(Debug)]
pub struct Publisher {
    writer: Writer,
    every: Duration,
    due: Instant,
    name: String,
    newest: Newest,
    /// Frames that a device is copying, oldest first, and room for one.
    under_way: VecDeque<About>,
    copy: Vec<[f32; 2]>,
}

impl Publisher {
    /// A segment for `simulation`; none where none was asked for and it would be large.
    ///
    /// # Errors
    /// [`ShmError`] when frames were asked for.
    pub fn start(
        simulation: &Simulation,
        folder: &Path,
        title: &str,
        (ticks, dt): (u64, f64),
        request: FrameRequest,
    ) -> Result<Option<Self>, ShmError> {
        if request.per_second <= 0.0 {
            return Ok(None);
        }
        let torus = simulation.torus().clone();
        let scalar_bytes = if simulation.precision() == Precision::F32 { 4 } else { 8 };
        let page_bytes = 2 * torus.page_nodes() * scalar_bytes;
        let capacity_pages = match simulation.growth() {
            None => torus.n_pages(),
            Some(_) => torus.n_pages().min((GROWING_FRAME_BYTES / page_bytes).max(1)),
        };
        let pid = u64::from(std::process::id());
        let header = Header {
            slots: SLOTS,
            capacity_pages,
            scalar_bytes,
            pid,
            epoch: wall_nanos(),
            ticks,
            dt,
            torus,
            title: title.into(),
        };
        let bytes = 8 * header.segment_words() as u64;
        if bytes > if request.is_asked { SEGMENT_BYTES_MAX } else { UNASKED_BYTES_MAX } {
            return Ok(None);
        }
        let name = format!("{}{}.{pid}", super::PREFIX, file_name(title));
        let writer = match Writer::create(folder, &name, header) {
            Ok(writer) => writer,
            Err(error) if request.is_asked => return Err(error),
            Err(error) => {
                eprintln!("warning: no frames in shared memory: {error}");
                return Ok(None);
            }
        };
        let name = writer.path().display().to_string();
        let every = Duration::from_secs_f64((1.0 / request.per_second).min(3600.0));
        Ok(Some(Self {
            writer,
            every,
            due: Instant::now(),
            name,
            newest: Newest::default(),
            under_way: VecDeque::new(),
            copy: Vec::new(),
        }))
    }

    /// Where others learn of new frames.
    pub fn newest(&self) -> Newest {
        self.newest.clone()
    }

    /// Publishes now.
    pub fn publish(&mut self, simulation: &mut Simulation) {
        let place = self.writer.publish(simulation);
        self.tell(place);
    }

    /// Asks a device for a frame, or publishes now where Ψ is on the host (or the device cannot copy by the way).
    fn request(&mut self, simulation: &mut Simulation) {
        let is_begun = simulation.device_mut().is_some_and(|mut device| device.begin_frame());
        if is_begun {
            self.under_way.push_back(About::of(simulation));
        } else if self.under_way.is_empty() {
            self.publish(simulation);
        }
    }

    /// Publishes the frames that a device has copied meanwhile.
    fn collect(&mut self, simulation: &mut Simulation) {
        if self.under_way.is_empty() {
            return;
        }
        let Some(mut device) = simulation.device_mut() else {
            // The device was given up, and what it copied with it.
            self.under_way.clear();
            return;
        };
        while device.take_frame(&mut self.copy)
            && let Some(about) = self.under_way.pop_front()
        {
            let place = self.writer.publish_copy(&about, &self.copy);
            self.tell(place);
        }
    }

    fn tell(&self, place: Place) {
        if let Ok(mut newest) = self.newest.0.lock() {
            *newest = Some((self.name.clone(), place));
        }
    }
}

impl Edge for Publisher {
    fn after_tick(&mut self, simulation: &mut Simulation) -> Result<Flow, RunError> {
        self.collect(simulation);
        let now = Instant::now();
        if now >= self.due {
            self.due = now + self.every;
            self.writer.beat(wall_nanos());
            self.request(simulation);
        }
        Ok(Flow::Continue)
    }

    /// The last frame, before anything else of an orderly end.
    fn at_end(&mut self, simulation: &mut Simulation, _ending: Ending) -> Result<(), RunError> {
        self.publish(simulation);
        Ok(())
    }
}

/// A title as part of a file's name.
fn file_name(title: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    title.chars().take(64).map(plain).collect()
}
