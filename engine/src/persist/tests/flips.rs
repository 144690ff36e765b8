//! Each single flipped bit of a small `.nik` file, and of a journal, is noticed; a torn tail costs the last snapshot only.

use super::super::Fault;
use super::super::capture::state_hash;
use super::super::cipher::MasterKey;
use super::super::disk::RealDisk;
use super::super::header::{CipherKind, field};
use super::super::journal::{Frame, Record, Segment, SegmentHeader, encode, frame_checksum};
use super::super::reader::Log;
use super::super::verify::verify_file;
use super::super::writer::Encoding;
use super::{folder, load, small_log};
use crate::intake::Order;
use std::path::Path;

const KEY: MasterKey = MasterKey::new([1; 32]);

#[test]
fn a_log_gives_the_state_back() {
    let folder = folder("log");
    let path = folder.join("a.nik");
    let mut written = small_log(&path, None, Encoding::Lossless);
    let (log, mut read) = load(&RealDisk, &path, None).expect("whole");
    assert_eq!(state_hash(&mut read), state_hash(&mut written));
    assert_eq!((log.snapshots.len(), log.torn_bytes), (3, 0));
    // The third snapshot is of the second's tick: nothing but a footer.
    let sizes: Vec<u32> = log.snapshots.iter().map(|footer| footer.n_payloads).collect();
    assert_eq!(sizes[0], 10, "four pages of two columns, the scalars and the description");
    assert!(sizes[1] < sizes[0] && sizes[2] <= sizes[1], "{sizes:?}");
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn every_flipped_bit_of_a_file_is_noticed() {
    let folder = folder("flips");
    let path = folder.join("a.nik");
    small_log(&path, None, Encoding::Lossless);
    let whole = std::fs::read(&path).expect("readable");
    let snapshots = Log::open(&RealDisk, &path, None).expect("whole").snapshots.len();
    for at in 0..whole.len() {
        // One bit of every byte, and every bit of what holds the file together.
        let bits = if at < 64 || at + 128 >= whole.len() { 0..8 } else { at % 8..at % 8 + 1 };
        for bit in bits {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).expect("writable");
            match verify_file(&RealDisk, &path, None) {
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains("a.nik") && message.contains("found"), "{message}");
                }
                Ok(findings) => {
                    let left = Log::open(&RealDisk, &path, None).expect("verified").snapshots.len();
                    assert!(findings.torn_bytes >= 128 && left < snapshots, "byte {at}, bit {bit}");
                    assert!(at + 128 >= whole.len(), "byte {at}, bit {bit} counts as a torn tail");
                }
            }
        }
    }
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn a_torn_tail_costs_the_last_snapshot_only() {
    let folder = folder("torn");
    let path = folder.join("a.nik");
    small_log(&path, None, Encoding::Lossless);
    let whole = std::fs::read(&path).expect("readable");
    let footers = Log::open(&RealDisk, &path, None).expect("whole").snapshots;
    for len in (64..whole.len()).step_by(7).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..len]).expect("writable");
        let complete = footers.iter().filter(|footer| footer.end + 128 <= len as u64).count();
        match load(&RealDisk, &path, None) {
            Ok((log, _)) => assert_eq!(log.snapshots.len(), complete, "{len} bytes"),
            Err(error) => assert_eq!(complete, 0, "{len} bytes: {error}"),
        }
    }
    std::fs::remove_dir_all(&folder).expect("removable");
}

/// A segment with every kind of record, encrypted where there is a key.
fn journal(key: Option<MasterKey>) -> Vec<u8> {
    let cipher = if key.is_some() { CipherKind::ChaCha20Poly1305 } else { CipherKind::None };
    let header =
        SegmentHeader { index: 3, tick: 10, creation_secs: 1, salt: [5; 16], previous_bytes: 0, cipher };
    let sealer = header.sealer(Path::new("j"), key.as_ref()).expect("a key where there is a cipher");
    let records = [
        Record::Seed(7),
        Record::Orders(vec![Order::SetBeta(0.1), Order::Inject("(profile: Uniform())".into())]),
        Record::Digest([8; 32]),
        Record::Closed,
    ];
    let mut bytes = header.to_bytes().to_vec();
    for (i, record) in records.into_iter().enumerate() {
        let durable = bytes.len() as u64;
        encode(
            &Frame { tick: 10 + i as u64, record },
            &header,
            sealer.as_ref(),
            i as u32,
            durable,
            &mut bytes,
        );
    }
    bytes
}

#[test]
fn every_flipped_bit_of_a_journal_is_noticed() {
    let path = Path::new("journal-000003.nkj");
    for key in [None, Some(KEY)] {
        check_flips(path, key);
    }
}

fn check_flips(path: &Path, key: Option<MasterKey>) {
    let bytes = journal(key);
    let whole = Segment::parse(path, &bytes, key.as_ref()).expect("whole");
    assert!(whole.is_closed() && whole.frames.len() == 4 && whole.torn_bytes == 0);
    let last_frame = bytes.len() - if key.is_some() { 48 } else { 32 };
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match Segment::parse(path, &flipped, key.as_ref()) {
            Err(error) => assert!(error.to_string().contains("byte"), "{error}"),
            // Only the last frame can be taken for a torn tail; then the segment is not closed any more.
            Ok(segment) => assert!(!segment.is_closed() && bit / 8 >= last_frame, "bit {bit}"),
        }
    }
}

#[test]
fn a_journal_cut_anywhere_keeps_its_whole_frames() {
    let path = Path::new("journal-000003.nkj");
    let bytes = journal(None);
    let whole = Segment::parse(path, &bytes, None).expect("whole");
    for len in 64..bytes.len() {
        let cut = Segment::parse(path, &bytes[..len], None).expect("a torn tail is no damage");
        assert_eq!(cut.frames, whole.frames[..cut.frames.len()], "{len} bytes");
        assert_eq!(cut.whole_bytes + cut.torn_bytes, len as u64);
    }
}

#[test]
fn an_encrypted_journal_is_read_with_its_key_alone() {
    let path = Path::new("journal-000003.nkj");
    let (plain, sealed) = (journal(None), journal(Some(KEY)));
    let shows = |bytes: &[u8]| bytes.windows(7).any(|window| window == b"SetBeta");
    assert!(shows(&plain) && !shows(&sealed));
    let read = Segment::parse(path, &sealed, Some(&KEY)).expect("its key");
    assert_eq!(read.frames, Segment::parse(path, &plain, None).expect("plain").frames);
    for key in [None, Some(MasterKey::new([2; 32]))] {
        let error = Segment::parse(path, &sealed, key.as_ref()).expect_err("not its key");
        assert_eq!(error.fault, Fault::Key, "{error}");
    }
    // A digest that claims another tick, its checksum repaired: not authentic.
    let header = SegmentHeader::parse(path, &sealed).expect("whole");
    let frames: Vec<(usize, usize)> = frame_ranges(&sealed);
    let (digest, begin) = (frames[2], frames[2].0);
    let mut moved = sealed.clone();
    moved[begin + 8] ^= 1;
    let checksum = frame_checksum(&header, &field(&moved, begin), &moved[begin + 32..digest.1]);
    moved[begin + 4..begin + 8].copy_from_slice(&checksum.to_le_bytes());
    let error = Segment::parse(path, &moved, Some(&KEY)).expect_err("another tick");
    assert!(error.fault == Fault::Key && error.to_string().contains("authentic"), "{error}");
}

/// Begin and end of every frame.
fn frame_ranges(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut at = 64;
    while at < bytes.len() {
        let end = at + 32 + u32::from_le_bytes(field(bytes, at)) as usize;
        ranges.push((at, end));
        at = end;
    }
    ranges
}
