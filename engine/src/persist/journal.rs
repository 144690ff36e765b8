//! The journal: what entered each tick since the last checkpoint, in append-only segment files.
//!
//! Invariant: frames of a segment are a prefix of what was written; the first broken frame ends it. A frame also says
//! how much of its segment was durable when it was written, and a segment how much of the one before it counted, so
//! that damage is told from a torn tail. Layout: docs/FORMATS.md.

use super::cipher::{FrameSealer, MasterKey, TAG_BYTES};
use super::disk::{Disk, read_whole};
use super::error::{Fault, PersistError, Result};
use super::header::{CipherKind, field};
use crate::intake::Order;
use std::path::{Path, PathBuf};

/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 64;

/// Bytes before a frame's payload.
pub const FRAME_HEADER_BYTES: usize = 32;

/// The first eight bytes of a segment.
pub const MAGIC: [u8; 8] = *b"NIKOJRNL";

/// The newest version this build writes and reads: 2 where payloads are encrypted, else 1.
pub const VERSION: u16 = 2;

/// Largest payload of a frame: a full batch of the longest strikes.
pub const PAYLOAD_MAX: usize = 128 << 20;

/// Largest segment that is read.
const SEGMENT_BYTES_MAX: u64 = 4 << 30;

/// Name of segment `index`.
pub fn segment_name(index: u32) -> String {
    format!("journal-{index:06}.nkj")
}

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Number of the segment, from 1.
    pub index: u32,
    /// Ticks done when it began.
    pub tick: u64,
    /// Unix seconds.
    pub creation_secs: u64,
    /// Random; mixed into the checksum of every frame.
    pub salt: [u8; 16],
    /// Bytes of the segment before that count; 0 for the first.
    pub previous_bytes: u64,
    /// Encryption of the payloads.
    pub cipher: CipherKind,
}

impl SegmentHeader {
    /// The bytes on disk.
    pub fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        let is_encrypted = self.cipher == CipherKind::ChaCha20Poly1305;
        bytes[8..10].copy_from_slice(&if is_encrypted { VERSION } else { 1 }.to_le_bytes());
        bytes[10] = u8::from(is_encrypted);
        bytes[12..16].copy_from_slice(&self.index.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.tick.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.creation_secs.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.salt);
        bytes[48..56].copy_from_slice(&self.previous_bytes.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let place = "segment header, bytes 0 to 63";
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(PersistError::damaged(path, place, format!("{} bytes", bytes.len()), "64 bytes"));
        }
        if bytes[..8] != MAGIC {
            return Err(PersistError::damaged(path, place, "another magic", "NIKOJRNL"));
        }
        let (stored, checksum) = (u32::from_le_bytes(field(bytes, 60)), crc32c::crc32c(&bytes[..60]));
        if stored != checksum {
            let (found, expected) = (format!("checksum {stored:08x}"), format!("{checksum:08x}"));
            return Err(PersistError::damaged(path, place, found, expected));
        }
        let version = u16::from_le_bytes(field(bytes, 8));
        let cipher = match (version, bytes[10]) {
            (1, 0) => CipherKind::None,
            (VERSION, 1) => CipherKind::ChaCha20Poly1305,
            (_, cipher) => {
                let found = format!("version {version}, cipher {cipher}");
                let expected = format!("version 1 without a cipher, or {VERSION} with cipher 1");
                let remedy = "continue with the version of Nikola that wrote it";
                return Err(PersistError::new(Fault::Damaged, path, place, found, expected, remedy));
            }
        };
        Ok(Self {
            index: u32::from_le_bytes(field(bytes, 12)),
            tick: u64::from_le_bytes(field(bytes, 16)),
            creation_secs: u64::from_le_bytes(field(bytes, 24)),
            salt: field(bytes, 32),
            previous_bytes: u64::from_le_bytes(field(bytes, 48)),
            cipher,
        })
    }

    /// What encrypts the segment's payloads.
    ///
    /// # Errors
    /// An encrypted segment and no key.
    pub fn sealer(&self, path: &Path, key: Option<&MasterKey>) -> Result<Option<FrameSealer>> {
        match (self.cipher, key) {
            (CipherKind::None, _) => Ok(None),
            (CipherKind::ChaCha20Poly1305, Some(key)) => Ok(Some(key.segment(&self.to_bytes(), &self.salt))),
            (CipherKind::ChaCha20Poly1305, None) => {
                let (found, remedy) =
                    ("an encrypted journal and no key", "give its key with --key-file FILE");
                Err(PersistError::new(Fault::Key, path, "segment header, byte 10", found, "its key", remedy))
            }
        }
    }
}

/// What a frame records.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Orders that enter the tick that begins when `tick` ticks are done; what real time decided about it is among them.
    Orders(Vec<Order>),
    /// BLAKE3 over the whole state after `tick` ticks.
    Digest([u8; 32]),
    /// The scene's seed, once per segment.
    Seed(u64),
    /// The segment was closed in order after `tick` ticks.
    Closed,
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Self::Orders(_) => 1,
            Self::Digest(_) => 3,
            Self::Seed(_) => 4,
            Self::Closed => 5,
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Orders(orders) => ron::to_string(orders).expect("orders are data").into_bytes(),
            Self::Digest(digest) => digest.to_vec(),
            Self::Seed(seed) => seed.to_le_bytes().to_vec(),
            Self::Closed => Vec::new(),
        }
    }

    fn parse(kind: u8, payload: &[u8]) -> std::result::Result<Self, String> {
        let text = || std::str::from_utf8(payload).map_err(|error| error.to_string());
        let length = |_| format!("{} bytes of payload", payload.len());
        Ok(match kind {
            1 => Self::Orders(ron::from_str(text()?).map_err(|error| error.to_string())?),
            3 => Self::Digest(payload.try_into().map_err(length)?),
            4 => Self::Seed(u64::from_le_bytes(payload.try_into().map_err(length)?)),
            5 => Self::Closed,
            other => return Err(format!("record kind {other}, which this build does not know")),
        })
    }
}

/// A record and its place in time.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Ticks done.
    pub tick: u64,
    /// What happened.
    pub record: Record,
}

/// Appends frame number `sequence` to `out`.
pub fn encode(
    frame: &Frame,
    header: &SegmentHeader,
    sealer: Option<&FrameSealer>,
    sequence: u32,
    durable_bytes: u64,
    out: &mut Vec<u8>,
) {
    let mut payload = frame.record.payload();
    let tag_bytes = if sealer.is_some() { TAG_BYTES } else { 0 };
    let mut head = [0; FRAME_HEADER_BYTES];
    head[0..4].copy_from_slice(&((payload.len() + tag_bytes) as u32).to_le_bytes());
    head[8..16].copy_from_slice(&frame.tick.to_le_bytes());
    head[16..20].copy_from_slice(&sequence.to_le_bytes());
    head[20] = frame.record.kind();
    head[24..32].copy_from_slice(&durable_bytes.to_le_bytes());
    if let Some(sealer) = sealer {
        sealer.seal(sequence, &head, &mut payload);
    }
    let checksum = frame_checksum(header, &head, &payload);
    head[4..8].copy_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(&payload);
}

/// Over the segment's salt, the head without the checksum, and the payload.
pub(super) fn frame_checksum(header: &SegmentHeader, head: &[u8; FRAME_HEADER_BYTES], payload: &[u8]) -> u32 {
    let salted = crc32c::crc32c(&header.salt);
    let head = crc32c::crc32c_append(crc32c::crc32c_append(salted, &head[..4]), &head[8..]);
    crc32c::crc32c_append(head, payload)
}

/// A segment as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The file.
    pub path: PathBuf,
    /// Its header.
    pub header: SegmentHeader,
    /// Whole frames from its start.
    pub frames: Vec<Frame>,
    /// Bytes of header and whole frames.
    pub whole_bytes: u64,
    /// Bytes behind them.
    pub torn_bytes: u64,
}

impl Segment {
    /// Whether it was closed in order.
    pub fn is_closed(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.record == Record::Closed)
    }

    /// Reads a segment.
    ///
    /// # Errors
    /// A broken header, a broken frame in a part that was durable, another key.
    pub fn read(disk: &dyn Disk, path: &Path, key: Option<&MasterKey>) -> Result<Self> {
        let bytes = read_whole(disk, path, SEGMENT_BYTES_MAX).map_err(PersistError::reading(path))?;
        Self::parse(path, &bytes, key)
    }

    /// Parses the bytes of a segment.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, bytes: &[u8], key: Option<&MasterKey>) -> Result<Self> {
        let header = SegmentHeader::parse(path, bytes)?;
        let sealer = header.sealer(path, key)?;
        let mut frames = Vec::new();
        let mut at = SEGMENT_HEADER_BYTES;
        while let Some((head, payload)) = frame_at(&header, bytes, at) {
            if head.sequence != frames.len() as u32 {
                break;
            }
            let opened = match &sealer {
                None => payload,
                Some(sealer) => &open(sealer, path, at, &head, payload)?,
            };
            let record = Record::parse(head.kind, opened).map_err(|found| {
                PersistError::damaged(path, format!("frame at byte {at}"), found, "a record this build knows")
            })?;
            frames.push(Frame { tick: head.tick, record });
            at += FRAME_HEADER_BYTES + payload.len();
        }
        // A whole frame further on that calls this place durable tells damage from a torn tail.
        for later in at + 1..bytes.len().saturating_sub(FRAME_HEADER_BYTES - 1) {
            let Some((head, _)) = frame_at(&header, bytes, later) else { continue };
            if head.durable_bytes > at as u64 {
                let found = format!("a broken frame; the one at byte {later} is whole");
                return Err(PersistError::damaged(
                    path,
                    format!("frame at byte {at}"),
                    found,
                    "a whole frame",
                ));
            }
        }
        let (whole_bytes, torn_bytes) = (at as u64, (bytes.len() - at) as u64);
        Ok(Self { path: path.to_path_buf(), header, frames, whole_bytes, torn_bytes })
    }
}

/// Decrypts the payload of the frame at byte `at`.
fn open(sealer: &FrameSealer, path: &Path, at: usize, head: &Head, payload: &[u8]) -> Result<Vec<u8>> {
    sealer.open(head.sequence, &head.without_checksum, payload).ok_or_else(|| {
        let (found, expected) =
            ("a payload that is not authentic", "one sealed with this key for this place");
        let remedy = "give the key the journal was written with";
        PersistError::new(Fault::Key, path, format!("frame at byte {at}"), found, expected, remedy)
    })
}

struct Head {
    without_checksum: [u8; FRAME_HEADER_BYTES],
    tick: u64,
    sequence: u32,
    kind: u8,
    durable_bytes: u64,
}

/// The frame that begins at byte `at`, if a whole one does.
fn frame_at<'a>(header: &SegmentHeader, bytes: &'a [u8], at: usize) -> Option<(Head, &'a [u8])> {
    let rest = bytes.get(at..)?;
    let (head, rest) = rest.split_at_checked(FRAME_HEADER_BYTES)?;
    let len = u32::from_le_bytes(field(head, 0)) as usize;
    if len > PAYLOAD_MAX {
        return None;
    }
    let payload = rest.get(..len)?;
    let mut head: [u8; FRAME_HEADER_BYTES] = field(head, 0);
    if u32::from_le_bytes(field(&head, 4)) != frame_checksum(header, &head, payload) {
        return None;
    }
    head[4..8].fill(0);
    let head = Head {
        without_checksum: head,
        tick: u64::from_le_bytes(field(&head, 8)),
        sequence: u32::from_le_bytes(field(&head, 16)),
        kind: head[20],
        durable_bytes: u64::from_le_bytes(field(&head, 24)),
    };
    Some((head, payload))
}

/// Reads the segments of a checkpoint in order. All but the last must be as long as their successor says.
///
/// # Errors
/// Damage, a gap, or another key.
pub fn read_segments(
    disk: &dyn Disk,
    folder: &Path,
    indices: &[u32],
    key: Option<&MasterKey>,
) -> Result<Vec<Segment>> {
    let mut segments: Vec<Segment> = Vec::with_capacity(indices.len());
    for &index in indices {
        let path = folder.join(segment_name(index));
        let segment = Segment::read(disk, &path, key)?;
        if segment.header.index != index {
            let found = format!("segment {}", segment.header.index);
            return Err(PersistError::damaged(&path, "segment header", found, format!("segment {index}")));
        }
        if let Some(before) = segments.last() {
            let counted = segment.header.previous_bytes;
            if before.whole_bytes < counted {
                let (found, expected) = (format!("{} whole bytes", before.whole_bytes), format!("{counted}"));
                return Err(PersistError::damaged(&before.path, "its frames", found, expected));
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}
