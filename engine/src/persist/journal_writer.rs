//! The journal's thread: takes records from the tick, writes and syncs them in groups.
//!
//! Invariant: a record is acknowledged only when it is durable; records reach the file in the order they were sent.
//! The queue is bounded; a full one makes the run wait, because nothing may be lost. After the first failure nothing
//! is acknowledged any more and the store is poisoned.

use super::cipher::FrameSealer;
use super::header::CipherKind;
use super::journal::{Frame, Record, SEGMENT_HEADER_BYTES, SegmentHeader, encode, segment_name};
use super::store::Shared;
use super::writer::{random_salt, unix_secs};
use super::{AppendFile, PersistError, Result};
use crate::intake::Receipt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Records that wait for the disk.
const QUEUE: usize = 4096;

enum Job {
    Record(Frame, Vec<SyncSender<Receipt>>),
    Rotate { index: u32, tick: u64 },
    Close { tick: u64 },
}

/// The tick's end of the journal.
pub struct Journal {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    index: u32,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Journal(segment {})", self.index)
    }
}

/// The thread's state.
struct Writer {
    shared: Arc<Shared>,
    file: Box<dyn AppendFile>,
    header: SegmentHeader,
    sealer: Option<FrameSealer>,
    sequence: u32,
    bytes: u64,
    durable_bytes: u64,
    waiting: Vec<(u64, SyncSender<Receipt>)>,
    unsynced_since: Option<Instant>,
    buffer: Vec<u8>,
}

impl Journal {
    /// Begins segment `index` at `tick` and names it in the manifest.
    ///
    /// # Errors
    /// When the segment or the manifest cannot be written.
    pub fn begin(
        shared: Arc<Shared>,
        index: u32,
        tick: u64,
        previous_bytes: u64,
        group: Duration,
    ) -> Result<Self> {
        let mut writer = Writer::begin(shared.clone(), index, tick, previous_bytes)?;
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || {
            if let Err(error) = writer.run(&jobs, group) {
                writer.shared.poison(&error);
                writer.refuse_all(&jobs, &error.to_string());
            }
        });
        let thread = thread.map_err(PersistError::writing(&shared.folder))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), shared, index })
    }

    /// Queues a record; `receipts` hear when it is durable.
    ///
    /// # Errors
    /// When the store is poisoned.
    pub fn record(&self, tick: u64, record: Record, receipts: Vec<SyncSender<Receipt>>) -> Result<()> {
        self.send(Job::Record(Frame { tick, record }, receipts))
    }

    /// Begins the next segment and returns its index; records before it belong to the checkpoint being made.
    ///
    /// # Errors
    /// When the store is poisoned.
    pub fn rotate(&mut self, tick: u64) -> Result<u32> {
        self.index += 1;
        self.send(Job::Rotate { index: self.index, tick })?;
        self.wake();
        Ok(self.index)
    }

    /// Closes the segment in order and waits until it is durable.
    ///
    /// # Errors
    /// When the store is poisoned, now or before.
    pub fn close(&mut self, tick: u64) -> Result<()> {
        self.send(Job::Close { tick })?;
        self.wake();
        self.join();
        self.shared.check()
    }

    fn send(&self, job: Job) -> Result<()> {
        self.shared.check()?;
        match self.queue.as_ref().map(|queue| queue.send(job)) {
            Some(Ok(())) => Ok(()),
            _ => Err(PersistError::poisoned(&self.shared.folder, "the journal's thread has ended")),
        }
    }

    /// Does not let the thread wait for the rest of its group.
    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    fn join(&mut self) {
        self.queue = None;
        self.wake();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread shows as a poisoned store at the next check.
            let _ = thread.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.join();
    }
}

impl Writer {
    fn begin(shared: Arc<Shared>, index: u32, tick: u64, previous_bytes: u64) -> Result<Self> {
        let path = shared.folder.join(segment_name(index));
        let salt = random_salt(&path)?;
        let cipher = if shared.key.is_some() { CipherKind::ChaCha20Poly1305 } else { CipherKind::None };
        let header = SegmentHeader { index, tick, creation_secs: unix_secs(), salt, previous_bytes, cipher };
        let sealer = header.sealer(&path, shared.key.as_ref())?;
        let mut file = shared.disk.create(&path).map_err(PersistError::writing(&path))?;
        let write = |file: &mut dyn AppendFile| {
            file.append(&header.to_bytes())?;
            file.sync()
        };
        write(&mut *file).map_err(PersistError::writing(&path))?;
        shared.disk.sync_folder(&shared.folder).map_err(PersistError::writing(&shared.folder))?;
        shared.change_manifest(|manifest| manifest.segments.push(index))?;
        let bytes = SEGMENT_HEADER_BYTES as u64;
        let mut writer = Self {
            shared,
            file,
            header,
            sealer,
            sequence: 0,
            bytes,
            durable_bytes: bytes,
            waiting: Vec::new(),
            unsynced_since: None,
            buffer: Vec::new(),
        };
        writer.put(&Frame { tick, record: Record::Seed(writer.shared.seed) })?;
        Ok(writer)
    }

    fn run(&mut self, jobs: &Receiver<Job>, group: Duration) -> Result<()> {
        loop {
            let job = match self.unsynced_since {
                None => jobs.recv().map_err(|_| TryRecvError::Disconnected),
                Some(_) => jobs.try_recv(),
            };
            match job {
                Ok(Job::Record(frame, receipts)) => {
                    self.waiting.extend(receipts.into_iter().map(|receipt| (frame.tick, receipt)));
                    self.put(&frame)?;
                }
                Ok(Job::Rotate { index, tick }) => {
                    self.sync()?;
                    let waiting = std::mem::take(&mut self.waiting);
                    *self = Self::begin(self.shared.clone(), index, tick, self.bytes)?;
                    self.waiting = waiting;
                }
                Ok(Job::Close { tick }) => {
                    self.put(&Frame { tick, record: Record::Closed })?;
                    return self.sync();
                }
                // Records gather: waking this thread for each would cost the tick more than the record does.
                Err(TryRecvError::Empty) => {
                    let left = |since: Instant| group.saturating_sub(since.elapsed());
                    std::thread::park_timeout(self.unsynced_since.map_or(group, left));
                }
                Err(TryRecvError::Disconnected) => return self.sync(),
            }
            if self.unsynced_since.is_some_and(|since| since.elapsed() >= group) {
                self.sync()?;
            }
        }
    }

    fn put(&mut self, frame: &Frame) -> Result<()> {
        self.buffer.clear();
        let (sealer, durable_bytes) = (self.sealer.as_ref(), self.durable_bytes);
        encode(frame, &self.header, sealer, self.sequence, durable_bytes, &mut self.buffer);
        let path = || self.shared.folder.join(segment_name(self.header.index));
        self.file.append(&self.buffer).map_err(|error| PersistError::writing(&path())(error))?;
        self.sequence += 1;
        self.bytes += self.buffer.len() as u64;
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if self.unsynced_since.take().is_some() {
            let path = || self.shared.folder.join(segment_name(self.header.index));
            self.file.sync().map_err(|error| PersistError::writing(&path())(error))?;
            self.durable_bytes = self.bytes;
        }
        for (tick, receipt) in self.waiting.drain(..) {
            // Nobody waits for it any more: nothing to tell.
            let _ = receipt.try_send(Receipt::Accepted { tick });
        }
        Ok(())
    }

    /// After a failure: everybody who waits hears of it, until the run ends.
    fn refuse_all(&mut self, jobs: &Receiver<Job>, why: &str) {
        let mut refuse = |receipt: SyncSender<Receipt>| {
            let _ = receipt.try_send(Receipt::Refused(why.to_string()));
        };
        self.waiting.drain(..).for_each(|(_, receipt)| refuse(receipt));
        while let Ok(job) = jobs.recv() {
            if let Job::Record(_, receipts) = job {
                receipts.into_iter().for_each(&mut refuse);
            }
        }
    }
}
