//! Encryption and its misuse: wrong keys, swapped pages, cut tags, key files that others may read.

use super::super::Fault;
use super::super::capture::state_hash;
use super::super::cipher::MasterKey;
use super::super::disk::RealDisk;
use super::super::page::{IS_ENCRYPTED, PAGE_HEADER_BYTES, PageHeader};
use super::super::reader::Log;
use super::super::writer::Encoding;
use super::{folder, load, small_log};
use std::path::Path;

const KEY: [u8; 32] = [0x42; 32];

/// Page headers of the first snapshot: offset and header.
fn headers(bytes: &[u8], end: u64) -> Vec<(usize, PageHeader)> {
    let mut found = Vec::new();
    let mut at = 64;
    while at < end as usize {
        let header = PageHeader::from_bytes(bytes[at..at + PAGE_HEADER_BYTES].try_into().expect("24 bytes"));
        found.push((at, header));
        at += PAGE_HEADER_BYTES + header.payload_len as usize;
    }
    found
}

#[test]
fn an_encrypted_state_comes_back_with_its_key_alone() {
    let folder = folder("key");
    let path = folder.join("a.nik");
    let mut written = small_log(&path, Some(MasterKey::new(KEY)), Encoding::Lossless);
    let (log, mut read) = load(&RealDisk, &path, Some(MasterKey::new(KEY))).expect("its key");
    assert_eq!(state_hash(&mut read), state_hash(&mut written));
    assert!(log.live.values().all(|entry| entry.header.flags & IS_ENCRYPTED != 0));
    for key in [None, Some(MasterKey::new([0x43; 32]))] {
        let error = load(&RealDisk, &path, key).map(|_| ()).expect_err("not its key");
        assert_eq!(error.fault, Fault::Key, "{error}");
    }
    let stored = std::fs::read(&path).expect("readable");
    let plain = folder.join("plain.nik");
    small_log(&plain, None, Encoding::Lossless);
    let about = b"page_shape";
    let shows = |bytes: &[u8]| bytes.windows(about.len()).any(|window| window == about);
    assert!(shows(&std::fs::read(&plain).expect("readable")) && !shows(&stored));
    std::fs::remove_dir_all(&folder).expect("removable");
}

/// Repairs every checksum that an attacker could, so that only authentication is left to notice.
fn with_checksums(mut bytes: Vec<u8>, path: &Path) -> Vec<u8> {
    let log = Log::open(&RealDisk, path, Some(MasterKey::new(KEY))).expect("whole");
    for footer in &log.snapshots {
        let (begin, end) = (footer.begin as usize, footer.end as usize);
        let (mut at, mut over_headers) = (begin, 0);
        while at < end {
            let len = u32::from_le_bytes(bytes[at + 13..at + 17].try_into().expect("4 bytes")) as usize;
            let checksum = crc32c::crc32c(&bytes[at + 24..at + 24 + len]);
            bytes[at + 8..at + 12].copy_from_slice(&checksum.to_le_bytes());
            over_headers = crc32c::crc32c_append(over_headers, &bytes[at..at + 24]);
            at += 24 + len;
        }
        bytes[end + 108..end + 112].copy_from_slice(&over_headers.to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..64]), &bytes[end..end + 116]);
        bytes[end + 116..end + 120].copy_from_slice(&checksum.to_le_bytes());
    }
    bytes
}

#[test]
fn swapped_pages_and_changed_tags_are_not_authentic() {
    let folder = folder("swap");
    let path = folder.join("a.nik");
    small_log(&path, Some(MasterKey::new(KEY)), Encoding::Lossless);
    let whole = std::fs::read(&path).expect("readable");
    let end = Log::open(&RealDisk, &path, Some(MasterKey::new(KEY))).expect("whole").snapshots[0].end;
    let headers = headers(&whole, end);
    let same = |i: usize| {
        (i + 1..headers.len()).find(|j| headers[*j].1.payload_len == headers[i].1.payload_len).map(|j| (i, j))
    };
    let (first, second) = (0..headers.len()).find_map(same).expect("two payloads of one length");
    let len = headers[first].1.payload_len as usize;
    let range = |i: usize| headers[i].0 + PAGE_HEADER_BYTES..headers[i].0 + PAGE_HEADER_BYTES + len;
    let mut swapped = whole.clone();
    swapped[range(first)].copy_from_slice(&whole[range(second)]);
    swapped[range(second)].copy_from_slice(&whole[range(first)]);
    let mut cut = whole.clone();
    cut[range(first).end - 1] ^= 0x80;
    for (what, bytes) in [("swapped", swapped), ("tag", cut)] {
        std::fs::write(&path, &whole).expect("writable");
        let repaired = with_checksums(bytes, &path);
        std::fs::write(&path, &repaired).expect("writable");
        // The last snapshot may have replaced the page: go through the first.
        let log = Log::open_at(&RealDisk, &path, Some(MasterKey::new(KEY)), Some(end))
            .expect("its structure is whole");
        let error = super::super::verify::check_log(&log).expect_err(what);
        assert!(error.fault == Fault::Key && error.to_string().contains("authentic"), "{what}: {error}");
    }
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("mode");
    let path = folder.join("key");
    std::fs::write(&path, KEY).expect("writable");
    for mode in [0o644, 0o640, 0o700, 0o400] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("own file");
        let error = MasterKey::read(&path).expect_err("mode").to_string();
        assert!(error.contains(&format!("{mode:04o}")) && error.contains("0600"), "{error}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("own file");
    assert!(MasterKey::read(&path).is_ok());
    std::fs::write(&path, [1; 31]).expect("writable");
    assert!(MasterKey::read(&path).expect_err("short").to_string().contains("31 bytes"));
    std::fs::remove_dir_all(&folder).expect("removable");
}

#[test]
fn a_nonary_file_verifies_and_keeps_every_digit() {
    let folder = folder("nonary");
    let path = folder.join("a.nik");
    small_log(&path, None, Encoding::Nonary);
    let (log, _) = load(&RealDisk, &path, None).expect("whole");
    assert!(log.is_lossy());
    std::fs::remove_dir_all(&folder).expect("removable");
}
