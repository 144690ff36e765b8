//! The 128 bytes that end every snapshot of a `.nik` file.
//! Invariant: a snapshot exists if and only if its footer is whole; the checksum also covers the file's header, so a
//! footer cannot be moved between files. Layout: docs/FORMATS.md.

use super::header::{HEADER_BYTES, field};

/// Bytes of a footer.
pub const FOOTER_BYTES: usize = 128;

/// The last eight bytes of a footer.
pub const END_MAGIC: [u8; 8] = *b"NIKOEND4";

/// A parsed footer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// Snapshot number, from 1.
    pub snapshot: u64,
    /// Ticks done.
    pub tick: u64,
    /// Payloads in this snapshot.
    pub n_payloads: u32,
    /// Live payloads after it.
    pub n_live: u32,
    /// Offset of its first page header.
    pub begin: u64,
    /// Offset behind its last payload: where this footer begins.
    pub end: u64,
    /// Unix seconds.
    pub time_secs: u64,
    /// Merkle root over all live payloads.
    pub root: [u8; 32],
    /// Offset of the footer before, or 0.
    pub previous: u64,
    /// Random; separates this snapshot's keys from those of any other attempt to write it.
    pub salt: [u8; 16],
    /// Whether it holds every live payload.
    pub is_full: bool,
    /// CRC-32C over its page headers, one after the other.
    pub headers_checksum: u32,
}

impl Footer {
    /// The bytes on disk, in a file that begins with `header`.
    pub fn to_bytes(self, header: &[u8; HEADER_BYTES]) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        bytes[0..8].copy_from_slice(&self.snapshot.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.tick.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.n_payloads.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.n_live.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.begin.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.end.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.time_secs.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.root);
        bytes[80..88].copy_from_slice(&self.previous.to_le_bytes());
        bytes[88..104].copy_from_slice(&self.salt);
        bytes[104..108].copy_from_slice(&u32::from(self.is_full).to_le_bytes());
        bytes[108..112].copy_from_slice(&self.headers_checksum.to_le_bytes());
        let checksum = Self::checksum(header, &bytes);
        bytes[116..120].copy_from_slice(&checksum.to_le_bytes());
        bytes[120..128].copy_from_slice(&END_MAGIC);
        bytes
    }

    /// The footer at `offset`, or none when these bytes are no whole footer of this file at this place.
    pub fn parse(header: &[u8; HEADER_BYTES], offset: u64, bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let checksum = u32::from_le_bytes(field(bytes, 116));
        if bytes[120..] != END_MAGIC || checksum != Self::checksum(header, bytes) {
            return None;
        }
        let footer = Self {
            snapshot: u64::from_le_bytes(field(bytes, 0)),
            tick: u64::from_le_bytes(field(bytes, 8)),
            n_payloads: u32::from_le_bytes(field(bytes, 16)),
            n_live: u32::from_le_bytes(field(bytes, 20)),
            begin: u64::from_le_bytes(field(bytes, 24)),
            end: u64::from_le_bytes(field(bytes, 32)),
            time_secs: u64::from_le_bytes(field(bytes, 40)),
            root: field(bytes, 48),
            previous: u64::from_le_bytes(field(bytes, 80)),
            salt: field(bytes, 88),
            is_full: u32::from_le_bytes(field(bytes, 104)) & 1 != 0,
            headers_checksum: u32::from_le_bytes(field(bytes, 108)),
        };
        (footer.end == offset && footer.begin >= HEADER_BYTES as u64 && footer.begin <= footer.end)
            .then_some(footer)
    }

    fn checksum(header: &[u8; HEADER_BYTES], bytes: &[u8; FOOTER_BYTES]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(header), &bytes[..116])
    }
}
