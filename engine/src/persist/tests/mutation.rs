//! Seeded mutation of everything that is read from outside: no panic, no allocation by a length that was read.
//!
//! A loop in the test process over a small corpus, not a coverage-guided fuzzer. Allocations are bounded because readers
//! see a file of a few kilobytes and may only take what lies within it; a huge declared length must be refused at once.

use super::super::disk::{AppendFile, Disk, ReadFile};
use super::super::journal::Segment;
use super::super::manifest::Manifest;
use super::super::page::PAGE_HEADER_BYTES;
use super::super::verify::verify_file;
use super::super::writer::Encoding;
use super::{folder, random, small_log};
use std::io;
use std::path::Path;

/// Rounds per kind of file.
const ROUNDS: u64 = 1_500;

/// One file in memory.
#[derive(Debug)]
struct Memory(Vec<u8>);

impl ReadFile for Vec<u8> {
    fn n_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        assert!(out.len() <= self.len(), "asks for {} of {} bytes", out.len(), self.len());
        let from = usize::try_from(offset).ok().and_then(|at| self.get(at..)?.get(..out.len()));
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl Disk for Memory {
    fn open(&self, _: &Path) -> io::Result<Box<dyn ReadFile>> {
        Ok(Box::new(self.0.clone()))
    }

    fn create(&self, _: &Path) -> io::Result<Box<dyn AppendFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn reopen(&self, _: &Path, _: u64) -> io::Result<Box<dyn AppendFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A few changes of the kinds that break parsers.
fn mutate(bytes: &mut Vec<u8>, seed: &mut u64) {
    for _ in 0..1 + random(seed, 4) {
        let at = random(seed, bytes.len() as u64) as usize;
        match random(seed, 6) {
            0 => bytes[at] ^= 1 << random(seed, 8),
            1 => bytes[at] = [0, 0xFF, 0x7F, 0x80][random(seed, 4) as usize],
            2 => bytes.truncate(at.max(1)),
            3 => {
                let end = (at + 8).min(bytes.len());
                bytes[at..end].fill(0xFF);
            }
            4 => {
                let piece = bytes[at..(at + 40).min(bytes.len())].to_vec();
                let to = random(seed, bytes.len() as u64) as usize;
                bytes.splice(to..to, piece);
            }
            _ => {
                let end = (at + random(seed, 60) as usize).min(bytes.len());
                bytes.drain(at..end);
                bytes.push(0);
            }
        }
    }
}

/// Puts right every checksum of a `.nik` file that can be, so that mutations get past them.
fn with_checksums(bytes: &mut [u8]) {
    if bytes.len() < 64 + 128 {
        return;
    }
    let header = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&header.to_le_bytes());
    let end = bytes.len() - 128;
    bytes[end + 32..end + 40].copy_from_slice(&(end as u64).to_le_bytes());
    let begin = u64::from_le_bytes(bytes[end + 24..end + 32].try_into().expect("8 bytes")) as usize;
    let (mut at, mut over_headers) = (begin, 0);
    while at.checked_add(PAGE_HEADER_BYTES).is_some_and(|offset| offset <= end) {
        let len = u32::from_le_bytes(bytes[at + 13..at + 17].try_into().expect("4 bytes")) as usize;
        if let Some(payload) = bytes.get(at + 24..at + 24 + len) {
            let checksum = crc32c::crc32c(payload);
            bytes[at + 8..at + 12].copy_from_slice(&checksum.to_le_bytes());
        }
        over_headers = crc32c::crc32c_append(over_headers, &bytes[at..at + 24]);
        at += 24 + len;
    }
    bytes[end + 108..end + 112].copy_from_slice(&over_headers.to_le_bytes());
    bytes[end + 120..].copy_from_slice(b"NIKOEND4");
    let footer = crc32c::crc32c_append(crc32c::crc32c(&bytes[..64]), &bytes[end..end + 116]);
    bytes[end + 116..end + 120].copy_from_slice(&footer.to_le_bytes());
}

#[test]
fn no_mutation_of_a_log_panics_or_allocates_without_bound() {
    let folder = folder("mutation");
    let path = folder.join("a.nik");
    let mut refused = 0;
    for encoding in [Encoding::Lossless, Encoding::Nonary] {
        small_log(&path, None, encoding);
        let whole = std::fs::read(&path).expect("readable");
        for round in 0..ROUNDS {
            let mut seed = round;
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut seed);
            if round % 2 == 0 {
                with_checksums(&mut bytes);
            }
            refused += u64::from(verify_file(&Memory(bytes), Path::new("a.nik"), None).is_err());
        }
    }
    assert!(refused > ROUNDS, "{refused} of {} refused", 2 * ROUNDS);
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn a_payload_that_claims_four_gigabytes_is_refused_before_anything_is_taken() {
    let folder = folder("huge");
    let path = folder.join("a.nik");
    small_log(&path, None, Encoding::Lossless);
    let mut bytes = std::fs::read(&path).expect("readable");
    let end = bytes.len() - 128;
    let begin = u64::from_le_bytes(bytes[end + 24..end + 32].try_into().expect("8 bytes")) as usize;
    // The first snapshot's first page header, if the last snapshot is empty.
    let at = if begin < end { begin } else { 64 };
    bytes[at + 13..at + 17].fill(0xFF);
    let error =
        verify_file(&Memory(bytes), Path::new("a.nik"), None).expect_err("a claim of 4 GB").to_string();
    assert!(error.contains("4294967295"), "{error}");
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn no_mutation_of_a_journal_or_manifest_panics() {
    use super::super::journal::{Frame, Record, SegmentHeader, encode};
    let header = SegmentHeader {
        index: 1,
        tick: 0,
        creation_secs: 1,
        salt: [3; 16],
        previous_bytes: 0,
        cipher: super::super::header::CipherKind::None,
    };
    let mut journal = header.to_bytes().to_vec();
    for i in 0..6 {
        let record = if i % 2 == 0 { Record::Digest([i as u8; 32]) } else { Record::Seed(i) };
        encode(&Frame { tick: i, record }, &header, None, i as u32, 64, &mut journal);
    }
    let manifest = Manifest {
        version: 1,
        scene_name: "s".into(),
        base_dir: String::new(),
        log: "log-000001.nik".into(),
        footer: 1,
        snapshot: 1,
        tick: 1,
        root: String::new(),
        segments: vec![1],
        backend: "cpu".into(),
    };
    let text = manifest.to_text().into_bytes();
    let path = Path::new("x");
    let (mut torn, mut broken) = (0, 0);
    for round in 0..ROUNDS {
        let mut seed = round + 77;
        let mut bytes = journal.clone();
        mutate(&mut bytes, &mut seed);
        match Segment::parse(path, &bytes, None) {
            Ok(segment) => torn += u64::from(segment.frames.len() < 6),
            Err(_) => broken += 1,
        }
        let mut bytes = text.clone();
        mutate(&mut bytes, &mut seed);
        assert!(bytes == text || Manifest::parse(path, &bytes).is_err(), "round {round}");
    }
    assert!(torn > 0 && broken > 0, "{torn} torn, {broken} broken");
}
