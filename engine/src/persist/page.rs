//! The 24 bytes before every payload of a `.nik` file.
//! Invariant: the checksum is over the payload as stored; the header itself is covered by the footer's checksum of all
//! page headers and, in encrypted files, authenticated with the payload. Layout: docs/FORMATS.md.

use super::header::field;

/// Bytes of a page header.
pub const PAGE_HEADER_BYTES: usize = 24;

/// The page id of what belongs to no page: the scalars and the description of the state.
pub const NO_PAGE: u64 = u64::MAX;

/// Column id of the scalars, under [`NO_PAGE`].
pub const SCALARS: u8 = 0xFE;

/// Column id of the description of the state (JSON), under [`NO_PAGE`].
pub const ABOUT: u8 = 0xFF;

/// Columns of a metric, which a loss could leave without an inverse.
const METRIC_COLUMNS: [u8; 2] = [16, 17];

/// Flag: changed since the snapshot before; not set in full snapshots.
pub const IS_DIRTY: u8 = 1;
/// Flag: the payload is encoded as the codec byte says.
pub const IS_COMPRESSED: u8 = 2;
/// Flag: the payload is encrypted.
pub const IS_ENCRYPTED: u8 = 4;
/// Flag: the page column ceases to exist; the payload is empty.
pub const IS_DELETED: u8 = 8;

/// What a payload belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageKey {
    /// Peano index of the page, or [`NO_PAGE`].
    pub page_id: u64,
    /// Column id.
    pub column: u8,
}

impl PageKey {
    /// Whether it may be encoded with loss.
    pub fn may_lose(self) -> bool {
        !METRIC_COLUMNS.contains(&self.column)
    }
}

/// A parsed page header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Whose.
    pub key: PageKey,
    /// CRC-32C of the payload as stored.
    pub checksum: u32,
    /// Flags.
    pub flags: u8,
    /// Bytes of the payload as stored.
    pub payload_len: u32,
    /// Codec of a compressed payload.
    pub codec: u8,
    /// Snapshot it was written with.
    pub snapshot: u32,
}

impl PageHeader {
    /// The bytes on disk.
    pub fn to_bytes(self) -> [u8; PAGE_HEADER_BYTES] {
        let mut bytes = [0; PAGE_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.key.page_id.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[12] = self.flags;
        bytes[13..17].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[17] = self.key.column;
        bytes[18] = self.codec;
        bytes[20..24].copy_from_slice(&self.snapshot.to_le_bytes());
        bytes
    }

    /// Any 24 bytes; meaning is checked by whoever knows the snapshot.
    pub fn from_bytes(bytes: &[u8; PAGE_HEADER_BYTES]) -> Self {
        Self {
            key: PageKey { page_id: u64::from_le_bytes(field(bytes, 0)), column: bytes[17] },
            checksum: u32::from_le_bytes(field(bytes, 8)),
            flags: bytes[12],
            payload_len: u32::from_le_bytes(field(bytes, 13)),
            codec: bytes[18],
            snapshot: u32::from_le_bytes(field(bytes, 20)),
        }
    }

    /// What an encrypted payload is authenticated with: the header with the checksum, which depends on the payload,
    /// left out.
    pub fn associated(self) -> [u8; PAGE_HEADER_BYTES] {
        Self { checksum: 0, ..self }.to_bytes()
    }
}

impl std::fmt::Display for PageKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.page_id, self.column) {
            (NO_PAGE, SCALARS) => f.write_str("the scalars"),
            (NO_PAGE, ABOUT) => f.write_str("the description of the state"),
            (page_id, column) => write!(f, "page {page_id}, column {column}"),
        }
    }
}
