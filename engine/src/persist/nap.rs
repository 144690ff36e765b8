//! Naps: when the state is flushed, and the thread that does it while the tick goes on.
//!
//! Invariant: the tick only copies what changed (at the tick border) and hands the copy over; encoding, writing, syncing
//! and compacting happen on this module's thread. One nap at a time: a trigger during a nap waits for its end.
//!
//! ```text
//! awake ──(dopamine, dirty cache, ATP, command, timer)──▶ copy ──▶ flush: sort → encode → append → fsync →
//!   ▲                                                              footer → fsync → manifest → old segments go
//!   └──────────────────────────────────────────────────────────────── every n snapshots: compact ◀┘
//! ```

use super::capture::Capture;
use super::checkpoints::{Slots, is_of_checkpoint};
use super::compact::compact;
use super::journal::segment_name;
use super::reader::hex;
use super::store::Shared;
use super::writer::{Content, Encoding, LogWriter, SnapshotSize};
use super::{PersistError, Result};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Why a nap begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// Dopamine stayed under its threshold.
    Dopamine,
    /// Changed pages take more memory than allowed.
    DirtyCache,
    /// The energy reserve is below its floor.
    Atp,
    /// A command.
    Command,
    /// The scene's timer.
    Timer,
    /// The run ends.
    End,
}

impl Trigger {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dopamine => "dopamine",
            Self::DirtyCache => "dirty cache",
            Self::Atp => "ATP",
            Self::Command => "command",
            Self::Timer => "timer",
            Self::End => "end",
        }
    }
}

/// When naps begin, as the scene says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NapPlan {
    /// Ticks between naps of the timer; 0 for none.
    pub every_ticks: u64,
    /// Memory of changed pages from which a nap begins.
    pub dirty_bytes: Option<u64>,
    /// Dopamine below which a nap begins once it stayed there.
    pub dopamine_below: Option<f64>,
    /// How many ticks it must stay there.
    pub dopamine_ticks: u64,
    /// Energy reserve below which a nap begins.
    pub atp_below: Option<f64>,
    /// Fewest ticks between naps that nobody commanded.
    pub rest_ticks: u64,
    /// Snapshots after which the file is compacted; 0 for never.
    pub compact_every: u64,
    /// Ticks between digests in the journal; 0 for none.
    pub digest_every: u64,
    /// Longest time an entry of the journal waits for its sync.
    pub group_commit_millis: u64,
    /// How columns are stored.
    pub encoding: Encoding,
}

impl Default for NapPlan {
    fn default() -> Self {
        Self {
            every_ticks: 10_000,
            dirty_bytes: None,
            dopamine_below: Some(0.1),
            dopamine_ticks: 1_000,
            atp_below: Some(0.05),
            rest_ticks: 1_000,
            compact_every: 100,
            digest_every: 1_000,
            group_commit_millis: 5,
            encoding: Encoding::Lossless,
        }
    }
}

/// The scalars of the world that may bring a nap about, where it has them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Vitals {
    /// Dopamine in [0, 1].
    pub dopamine: Option<f64>,
    /// Energy reserve in [0, 1].
    pub atp: Option<f64>,
}

/// Decides when a nap is due.
#[derive(Debug)]
pub struct Drowsiness {
    plan: NapPlan,
    last_nap: u64,
    tired_since: Option<u64>,
}

impl Drowsiness {
    /// Awake since `tick`.
    pub fn new(plan: NapPlan, tick: u64) -> Self {
        Self { plan, last_nap: tick, tired_since: None }
    }

    /// Whether and why a nap is due after `tick`. `dirty_bytes` is only asked for when it could matter.
    pub fn look(
        &mut self,
        tick: u64,
        vitals: Vitals,
        is_commanded: bool,
        dirty_bytes: impl FnOnce() -> u64,
    ) -> Option<Trigger> {
        let plan = &self.plan;
        let is_below = |value: Option<f64>, limit: Option<f64>| {
            value.zip(limit).is_some_and(|(value, limit)| value < limit)
        };
        if is_below(vitals.dopamine, plan.dopamine_below) {
            self.tired_since.get_or_insert(tick);
        } else {
            self.tired_since = None;
        }
        if is_commanded {
            return Some(Trigger::Command);
        }
        let awake = tick - self.last_nap;
        if plan.every_ticks > 0 && awake >= plan.every_ticks {
            return Some(Trigger::Timer);
        }
        if awake < plan.rest_ticks {
            return None;
        }
        if is_below(vitals.atp, plan.atp_below) {
            return Some(Trigger::Atp);
        }
        if self.tired_since.is_some_and(|since| tick - since >= plan.dopamine_ticks) {
            return Some(Trigger::Dopamine);
        }
        plan.dirty_bytes.filter(|limit| dirty_bytes() >= *limit).map(|_| Trigger::DirtyCache)
    }

    /// A nap begins after `tick`.
    pub fn begin(&mut self, tick: u64) {
        self.last_nap = tick;
        self.tired_since = None;
    }
}

/// What one nap came to.
#[derive(Debug, Clone, Copy)]
pub struct NapReport {
    /// Ticks done.
    pub tick: u64,
    /// Sizes.
    pub size: SnapshotSize,
    /// Seconds of the thread.
    pub secs: f64,
    /// Whether the file was compacted afterwards.
    pub is_compacted: bool,
}

struct Job {
    capture: Capture,
    segment: u32,
}

/// The tick's end of the nap thread.
pub struct Napper {
    jobs: Option<SyncSender<Job>>,
    reports: Receiver<(NapReport, Vec<Vec<u8>>)>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    is_asleep: bool,
    /// Buffers for the next capture.
    pub buffers: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Napper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Napper(asleep: {})", self.is_asleep)
    }
}

impl Napper {
    /// Starts the thread over an open log.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(shared: Arc<Shared>, log: LogWriter, plan: NapPlan) -> Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(1);
        let (outbox, reports) = channel();
        let mut sleeper = Sleeper { shared: shared.clone(), log, plan, slots: Slots::default() };
        let thread =
            std::thread::Builder::new().name("nap".into()).spawn(move || sleeper.run(&inbox, &outbox));
        let thread = thread.map_err(PersistError::writing(&shared.folder))?;
        Ok(Self {
            jobs: Some(jobs),
            reports,
            thread: Some(thread),
            shared,
            is_asleep: false,
            buffers: Vec::new(),
        })
    }

    /// Whether a nap is going on.
    pub fn is_asleep(&self) -> bool {
        self.is_asleep
    }

    /// Hands a copy over; journal segments before `segment` end with it.
    ///
    /// # Errors
    /// When the store is poisoned.
    pub fn nap(&mut self, capture: Capture, segment: u32) -> Result<()> {
        self.shared.check()?;
        match self.jobs.as_ref().map(|jobs| jobs.send(Job { capture, segment })) {
            Some(Ok(())) => {
                self.is_asleep = true;
                Ok(())
            }
            _ => Err(PersistError::poisoned(&self.shared.folder, "the nap thread has ended")),
        }
    }

    /// The report of a nap that has ended since the last call.
    pub fn poll(&mut self) -> Option<NapReport> {
        self.reports.try_recv().ok().map(|report| self.wake(report))
    }

    /// Waits for the nap that is going on.
    ///
    /// # Errors
    /// When it failed.
    pub fn wait(&mut self) -> Result<Option<NapReport>> {
        let report = if self.is_asleep { self.reports.recv().ok() } else { None };
        let report = report.map(|report| self.wake(report));
        self.shared.check()?;
        Ok(report)
    }

    fn wake(&mut self, (report, buffers): (NapReport, Vec<Vec<u8>>)) -> NapReport {
        self.is_asleep = false;
        self.buffers = buffers;
        report
    }
}

impl Drop for Napper {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread shows as a poisoned store at the next check.
            let _ = thread.join();
        }
    }
}

struct Sleeper {
    shared: Arc<Shared>,
    log: LogWriter,
    plan: NapPlan,
    /// Checkpoints that the log holds.
    slots: Slots,
}

impl Sleeper {
    fn run(&mut self, inbox: &Receiver<Job>, outbox: &Sender<(NapReport, Vec<Vec<u8>>)>) {
        while let Ok(job) = inbox.recv() {
            let mut job = job;
            match self.nap(&mut job) {
                Ok(report) => {
                    // What was made here is not needed by the next capture.
                    let is_copy = |content: &Content| !is_of_checkpoint(content.key.column);
                    let copies = job.capture.contents.into_iter().filter(is_copy);
                    let buffers = copies.map(|content| content.bytes).collect();
                    if outbox.send((report, buffers)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.shared.poison(&error);
                    return;
                }
            }
        }
    }

    fn nap(&mut self, job: &mut Job) -> Result<NapReport> {
        let began = std::time::Instant::now();
        job.capture.complete(&mut self.slots);
        let Capture { tick, contents, untouched, .. } = &job.capture;
        let size = self.log.append(*tick, contents, untouched, self.plan.encoding)?;
        let stale = self.shared.checkpoint(&self.log, job.segment)?;
        let is_due = self.plan.compact_every > 0 && size.snapshot.is_multiple_of(self.plan.compact_every);
        if is_due {
            self.log = compact(&self.shared, &self.log)?;
        }
        for index in stale {
            let path = self.shared.folder.join(segment_name(index));
            // A segment that stays behind is removed at the next start.
            let _ = self.shared.disk.remove(&path);
        }
        Ok(NapReport { tick: *tick, size, secs: began.elapsed().as_secs_f64(), is_compacted: is_due })
    }
}

impl Shared {
    /// Names the last snapshot of `log` as the checkpoint; returns segments that are no longer needed.
    ///
    /// # Errors
    /// When the manifest cannot be replaced.
    pub fn checkpoint(&self, log: &LogWriter, first_segment: u32) -> Result<Vec<u32>> {
        let Some(footer) = log.last().copied() else { return Ok(Vec::new()) };
        let name = log.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut stale = Vec::new();
        self.change_manifest(|manifest| {
            manifest.log = name;
            manifest.footer = footer.end;
            manifest.snapshot = footer.snapshot;
            manifest.tick = footer.tick;
            manifest.root = hex(&footer.root);
            stale = manifest.segments.extract_if(.., |index| *index < first_segment).collect();
        })?;
        Ok(stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTED: Vitals = Vitals { dopamine: Some(0.5), atp: Some(0.9) };

    fn drowsiness(plan: NapPlan) -> Drowsiness {
        Drowsiness::new(NapPlan { rest_ticks: 10, ..plan }, 0)
    }

    #[test]
    fn each_trigger_brings_a_nap_about() {
        let quiet = NapPlan { every_ticks: 0, ..NapPlan::default() };
        let mut own = drowsiness(quiet);
        assert_eq!(own.look(500, RESTED, false, || 0), None);
        assert_eq!(own.look(501, RESTED, true, || 0), Some(Trigger::Command));
        assert_eq!(own.look(502, Vitals { atp: Some(0.049), ..RESTED }, false, || 0), Some(Trigger::Atp));
        let timer = NapPlan { every_ticks: 100, ..quiet };
        assert_eq!(drowsiness(timer).look(99, RESTED, false, || 0), None);
        assert_eq!(drowsiness(timer).look(100, RESTED, false, || 0), Some(Trigger::Timer));
        let pressed = NapPlan { dirty_bytes: Some(1 << 20), ..quiet };
        assert_eq!(drowsiness(pressed).look(50, RESTED, false, || (1 << 20) - 1), None);
        assert_eq!(drowsiness(pressed).look(50, RESTED, false, || 1 << 20), Some(Trigger::DirtyCache));
    }

    #[test]
    fn fatigue_must_last() {
        let tired = Vitals { dopamine: Some(0.09), ..RESTED };
        let mut own = drowsiness(NapPlan { every_ticks: 0, dopamine_ticks: 5, ..NapPlan::default() });
        for tick in 100..105 {
            assert_eq!(own.look(tick, tired, false, || 0), None, "tick {tick}");
        }
        assert_eq!(own.look(105, tired, false, || 0), Some(Trigger::Dopamine));
        assert_eq!(own.look(106, RESTED, false, || 0), None, "a better mood begins anew");
        assert_eq!(own.look(107, tired, false, || 0), None);
    }

    #[test]
    fn after_a_nap_only_commands_and_the_timer_wake_it_up_again_soon() {
        let mut own = drowsiness(NapPlan { every_ticks: 5, ..NapPlan::default() });
        let empty = Vitals { atp: Some(0.0), ..RESTED };
        own.begin(100);
        assert_eq!(own.look(104, empty, false, || 0), None);
        assert_eq!(own.look(104, empty, true, || 0), Some(Trigger::Command));
        assert_eq!(own.look(105, empty, false, || 0), Some(Trigger::Timer));
    }
}
