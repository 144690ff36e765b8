//! The 64 bytes a `.nik` file begins with.
//! Invariant: written once, with the file's first snapshot; every bit is covered by the checksum. All numbers are
//! little-endian but the magic, whose four bytes read N I K O. Layout: docs/FORMATS.md.

use super::error::{Fault, PersistError, Result};
use nikola_systems::components::setup::Precision;
use std::path::Path;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;

/// Big-endian on disk.
pub const MAGIC: u32 = 0x4E49_4B4F;

/// The version this build writes and reads.
pub const VERSION: (u16, u16) = (0, 4);

/// Nine axes.
const DIM_ENCODING: u8 = 0x09;

/// What the file is encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherKind {
    /// Nothing.
    None,
    /// ChaCha20-Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

/// A parsed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Unix seconds.
    pub creation_secs: u64,
    /// Unix seconds of the last full snapshot: the file's first one.
    pub baseline_secs: u64,
    /// Encryption.
    pub cipher: CipherKind,
    /// Scalar type of the state.
    pub precision: Precision,
    /// Random; separates the keys and tree hashes of files.
    pub salt: [u8; 16],
    /// The first twelve bytes of BLAKE3 over the scene's text.
    pub scene_id: [u8; 12],
    /// Nodes of a page.
    pub page_nodes: u32,
}

impl Header {
    /// The bytes on disk.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_be_bytes());
        bytes[4..6].copy_from_slice(&VERSION.0.to_le_bytes());
        bytes[6..8].copy_from_slice(&VERSION.1.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.creation_secs.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.baseline_secs.to_le_bytes());
        bytes[24] = DIM_ENCODING;
        bytes[25] = u8::from(self.cipher == CipherKind::ChaCha20Poly1305);
        bytes[26] = self.precision.bytes() as u8;
        bytes[28..44].copy_from_slice(&self.salt);
        bytes[44..56].copy_from_slice(&self.scene_id);
        bytes[56..60].copy_from_slice(&self.page_nodes.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// Another kind of file, another version, or damage.
    pub fn parse(path: &Path, bytes: &[u8; HEADER_BYTES]) -> Result<Self> {
        let magic = u32::from_be_bytes(field(bytes, 0));
        if magic != MAGIC {
            let remedy = "give the path of a .nik file";
            let found = format!("the bytes {:02x?}", &bytes[..4]);
            let expected = "4e 49 4b 4f (NIKO)";
            return Err(PersistError::new(
                Fault::Damaged,
                path,
                "magic, bytes 0 to 3",
                found,
                expected,
                remedy,
            ));
        }
        let version = (u16::from_le_bytes(field(bytes, 4)), u16::from_le_bytes(field(bytes, 6)));
        let stored = u32::from_le_bytes(field(bytes, 60));
        let checksum = crc32c::crc32c(&bytes[..60]);
        if version != VERSION && stored == checksum {
            let remedy = "read it with the version of Nikola that wrote it";
            let (found, expected) = (
                format!("version {}.{}", version.0, version.1),
                format!("version {}.{}", VERSION.0, VERSION.1),
            );
            return Err(PersistError::new(
                Fault::Damaged,
                path,
                "version, bytes 4 to 7",
                found,
                expected,
                remedy,
            ));
        }
        if stored != checksum {
            let (found, expected) = (format!("checksum {stored:08x}"), format!("{checksum:08x}"));
            return Err(PersistError::damaged(path, "header, bytes 0 to 63", found, expected));
        }
        let strange =
            |place: &str, found: u8| PersistError::damaged(path, place, found, "a value this build knows");
        if bytes[24] != DIM_ENCODING {
            return Err(strange("dim_encoding, byte 24", bytes[24]));
        }
        if bytes[27] != 0 {
            return Err(strange("reserved, byte 27", bytes[27]));
        }
        Ok(Self {
            creation_secs: u64::from_le_bytes(field(bytes, 8)),
            baseline_secs: u64::from_le_bytes(field(bytes, 16)),
            cipher: match bytes[25] {
                0 => CipherKind::None,
                1 => CipherKind::ChaCha20Poly1305,
                other => return Err(strange("cipher_type, byte 25", other)),
            },
            precision: match bytes[26] {
                4 => Precision::F32,
                8 => Precision::F64,
                other => return Err(strange("precision, byte 26", other)),
            },
            salt: field(bytes, 28),
            scene_id: field(bytes, 44),
            page_nodes: u32::from_le_bytes(field(bytes, 56)),
        })
    }
}

/// `N` bytes from `at` on.
pub fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
