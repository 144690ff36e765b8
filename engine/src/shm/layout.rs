//! What lies where in a segment: one page of header, then the slots.
//!
//! Invariant: a header is checked against the size of its file before anything behind it is read; the words that change
//! (latest, heartbeat, closed) are outside the checksum. All words are little-endian u64.
//!
//! ```text
//! word 0       8         16                        64 … 512          512 + k · slot_words
//!      magic…  changing  shape, lengths, title     checksum, zeros   slot k: 16 words, page indices, re and im per page
//! ```

use nikola_systems::components::geometry::axis::Axis;
use nikola_systems::components::torus::{PageRule, Torus};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The first eight bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"NIKOSHM1");
/// Version of the layout.
pub const VERSION: u64 = 1;
/// Words of the header.
pub const HEADER_WORDS: usize = 512;
/// Words of a slot before its pages.
pub const SLOT_HEADER_WORDS: usize = 16;
/// Most slots.
pub const SLOTS_MAX: usize = 64;
/// Most bytes of a segment.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 40;

/// Word of the header: frames published so far.
pub const LATEST: usize = 8;
/// Word of the header: nanoseconds since 1970 at which the writer last showed itself.
pub const HEARTBEAT: usize = 9;
/// Word of the header: 1 when the writer has ended in order.
pub const CLOSED: usize = 10;
const CHANGING: std::ops::Range<usize> = 8..16;
const CHECKED_WORDS: usize = 64;
const TITLE_WORDS: usize = 8;

/// Words of a slot's header.
pub mod slot {
    /// Odd while written.
    pub const SEQUENCE: usize = 0;
    /// Number of the frame, from 1.
    pub const FRAME: usize = 1;
    /// Ticks done.
    pub const TICK: usize = 2;
    /// Model time, f64.
    pub const TIME: usize = 3;
    /// Nanoseconds since 1970.
    pub const WALL: usize = 4;
    /// Pages in the frame.
    pub const PAGES: usize = 5;
    /// Active pages of the torus; more than there are in the frame if they do not fit.
    pub const ACTIVE: usize = 6;
    /// Nanoseconds that the stages of the last tick took.
    pub const STAGE_NANOS: usize = 7;
    /// D, S, N, B, A as f64, NaN without neurochemistry.
    pub const CHEMISTRY: usize = 8;
}

/// Why a segment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShmError {
    /// The system says no.
    #[error("{path}: {reason}\n  expected: a segment of shared memory of your own\n  remedy:   {remedy}")]
    System {
        /// Segment or folder.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The segment is not as it should be.
    #[error(
        "{path}: {place}\n  found:    {found}\n  expected: {expected}\n  remedy:   run the engine and the reader from the same version of Nikola"
    )]
    Layout {
        /// Segment.
        path: PathBuf,
        /// Which part.
        place: &'static str,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// No run publishes frames.
    #[error(
        "{folder}: no running simulation publishes frames\n  expected: a file {prefix}SCENE.PID of a live run\n  remedy:   start `nikola run SCENE`; `--frames 0` and GPU backends publish none"
    )]
    Nobody {
        /// Where was looked.
        folder: PathBuf,
        /// How names begin.
        prefix: &'static str,
    },
}

impl ShmError {
    /// From a failed call of the system.
    pub fn system(path: &Path, remedy: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |reason| Self::System { path: path.into(), reason, remedy }
    }
}

/// The unchanging part of a header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Slots in the ring.
    pub slots: usize,
    /// Most pages of one frame.
    pub capacity_pages: usize,
    /// Bytes of one number, 4 or 8.
    pub scalar_bytes: usize,
    /// Process of the writer.
    pub pid: u64,
    /// Tells this segment from one of the same name before it.
    pub epoch: u64,
    /// The tick after which the run ends.
    pub ticks: u64,
    /// Model time of a tick.
    pub dt: f64,
    /// The torus.
    pub torus: Torus,
    /// Scene, at most 64 bytes of it.
    pub title: String,
}

impl Header {
    /// Words of one column of one page.
    pub fn block_words(&self) -> usize {
        (self.torus.page_nodes() * self.scalar_bytes).div_ceil(8)
    }

    /// Words of one slot.
    pub fn slot_words(&self) -> usize {
        SLOT_HEADER_WORDS + self.capacity_pages * (1 + 2 * self.block_words())
    }

    /// Words of the whole segment.
    pub fn segment_words(&self) -> usize {
        HEADER_WORDS + self.slots * self.slot_words()
    }

    /// The words of a slot.
    pub fn slot_range(&self, slot: usize) -> std::ops::Range<usize> {
        let from = HEADER_WORDS + slot * self.slot_words();
        from..from + self.slot_words()
    }

    /// Writes the header into the begin of a segment, all changing words zero.
    pub fn write(&self, words: &[AtomicU64]) {
        let mut image = [0; CHECKED_WORDS];
        image[..8].copy_from_slice(&[
            MAGIC,
            VERSION,
            self.slots as u64,
            self.slot_words() as u64,
            self.capacity_pages as u64,
            self.torus.page_nodes() as u64,
            self.scalar_bytes as u64,
            self.pid,
        ]);
        let shape = self.torus.page_shape();
        for d in 0..9 {
            image[16 + d] = self.torus.extents()[d] as u64;
            image[25 + d] = self.torus.lengths()[d].to_bits();
            image[34 + d] = shape[d] as u64;
        }
        image[43..48].copy_from_slice(&[
            u64::from(self.torus.has_contiguous_pages()),
            self.epoch,
            self.ticks,
            self.dt.to_bits(),
            0,
        ]);
        let mut title = [0; 8 * TITLE_WORDS];
        let end = self.title.floor_char_boundary(title.len());
        title[..end].copy_from_slice(&self.title.as_bytes()[..end]);
        for (word, bytes) in image[48..48 + TITLE_WORDS].iter_mut().zip(title.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        image[CHECKED_WORDS - 1] = checksum(&image);
        for (word, value) in words.iter().zip(image) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Reads and checks the header of a segment of `bytes` bytes.
    ///
    /// # Errors
    /// [`ShmError::Layout`] names the first part that is wrong.
    pub fn read(path: &Path, words: &[AtomicU64], bytes: u64) -> Result<Self, ShmError> {
        let wrong = |place, found: String, expected: String| ShmError::Layout {
            path: path.into(),
            place,
            found,
            expected,
        };
        if words.len() < HEADER_WORDS {
            return Err(wrong(
                "its size",
                format!("{bytes} bytes"),
                format!("at least {}", 8 * HEADER_WORDS),
            ));
        }
        let mut image = [0; CHECKED_WORDS];
        super::seqlock::load_words(words, &mut image);
        if image[0] != MAGIC {
            return Err(wrong("its first 8 bytes", format!("{:016x}", image[0]), format!("{MAGIC:016x}")));
        }
        if image[1] != VERSION {
            return Err(wrong("the version", image[1].to_string(), VERSION.to_string()));
        }
        let sum = checksum(&image);
        if image[CHECKED_WORDS - 1] != sum {
            let found = format!("{:08x}", image[CHECKED_WORDS - 1]);
            return Err(wrong("the header's CRC-32C", found, format!("{sum:08x}")));
        }
        let array = |from: usize| -> [u64; 9] { std::array::from_fn(|d| image[from + d]) };
        let extents = array(16).map(|x| usize::try_from(x).unwrap_or(usize::MAX));
        let shape = array(34).map(|x| usize::try_from(x).unwrap_or(usize::MAX));
        let rule = if image[43] == 1 { PageRule::Shape(shape) } else { PageRule::Blocks(shape) };
        let torus = Torus::new(extents, array(25).map(f64::from_bits), rule)
            .map_err(|error| wrong("the torus", error.to_string(), "a torus".into()))?;
        let title: Vec<u8> = image[48..48 + TITLE_WORDS].iter().flat_map(|word| word.to_le_bytes()).collect();
        let header = Self {
            slots: in_range(image[2], 1, SLOTS_MAX as u64)
                .ok_or_else(|| wrong("the number of slots", image[2].to_string(), "1 to 64".into()))?,
            capacity_pages: in_range(image[4], 1, torus.n_pages() as u64).ok_or_else(|| {
                wrong("the pages of a frame", image[4].to_string(), "those of the torus".into())
            })?,
            scalar_bytes: in_range(image[6], 4, 8)
                .filter(|bytes| bytes.is_multiple_of(4))
                .ok_or_else(|| wrong("the bytes of a number", image[6].to_string(), "4 or 8".into()))?,
            pid: image[7],
            epoch: image[44],
            ticks: image[45],
            dt: f64::from_bits(image[46]),
            torus,
            title: String::from_utf8_lossy(&title).trim_end_matches('\0').to_string(),
        };
        let per_page = 8 * (1 + 2 * header.block_words() as u64);
        let needed = (header.capacity_pages as u64)
            .checked_mul(per_page)
            .and_then(|pages| pages.checked_add(8 * SLOT_HEADER_WORDS as u64))
            .and_then(|slot| slot.checked_mul(header.slots as u64))
            .and_then(|slots| slots.checked_add(8 * HEADER_WORDS as u64))
            .filter(|needed| *needed <= SEGMENT_BYTES_MAX);
        if needed != Some(bytes) || image[3] != header.slot_words() as u64 {
            let expected =
                needed.map_or_else(|| "less than a tebibyte".into(), |bytes| format!("{bytes} bytes"));
            return Err(wrong("its size", format!("{bytes} bytes"), expected));
        }
        Ok(header)
    }

    /// Names of the axes with more than one node.
    pub fn axes(&self) -> Vec<Axis> {
        Axis::ALL.into_iter().filter(|axis| self.torus.extents()[axis.index()] > 1).collect()
    }
}

fn in_range(value: u64, min: u64, max: u64) -> Option<usize> {
    (min..=max).contains(&value).then(|| usize::try_from(value).ok())?
}

/// CRC-32C of the header's words, but the changing ones and its own.
fn checksum(image: &[u64; CHECKED_WORDS]) -> u64 {
    let fixed = image[..CHECKED_WORDS - 1].iter().enumerate().filter(|(i, _)| !CHANGING.contains(i));
    fixed.fold(0, |sum, (_, word)| crc32c::crc32c_append(sum, &word.to_le_bytes())).into()
}
