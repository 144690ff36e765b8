//! Encryption of payloads and journals: ChaCha20-Poly1305 (RFC 8439) with keys derived from a 32-byte key file.
//!
//! Invariant: no nonce is used twice with one key. A key belongs to one column of one attempt to write one snapshot of
//! one file (BLAKE3 key derivation over the file's salt, the snapshot's salt and the column id); the nonce is the
//! snapshot number and the page id. The file's header and the page header are authenticated with the payload, so pages
//! cannot be moved between places, columns, snapshots or files. A journal segment has a key of its own (its random salt);
//! the nonce of a frame is its number, and a segment is never continued after it was closed or cut.

use super::error::{Fault, PersistError, Result};
use super::header::HEADER_BYTES;
use super::page::PageHeader;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use std::path::Path;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Bytes of an authentication tag, behind the encrypted payload.
pub const TAG_BYTES: usize = 16;

const PAYLOAD_CONTEXT: &str = "nikola .nik 0.4 payload key";
const TREE_CONTEXT: &str = "nikola .nik 0.4 tree key";
const JOURNAL_CONTEXT: &str = "nikola journal 2 segment key";

/// A master key.
#[derive(Clone, Copy)]
pub struct MasterKey([u8; KEY_BYTES]);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// A key from memory.
    pub const fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads a key file: 32 bytes, readable by its owner alone.
    ///
    /// # Errors
    /// Another size, or permissions other than 0600.
    pub fn read(path: &Path) -> Result<Self> {
        let remedy = "make one: head -c 32 /dev/urandom > FILE; chmod 600 FILE";
        let wrong = |place: &str, found: String, expected: &str| {
            PersistError::new(Fault::Key, path, place, found, expected, remedy)
        };
        let unreadable =
            |error: std::io::Error| wrong("the key file", error.to_string(), "a readable key file");
        let about = std::fs::metadata(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777;
            if mode != 0o600 {
                let found = format!("mode {mode:04o}");
                return Err(wrong(
                    "permissions of the key file",
                    found,
                    "mode 0600: others must not read it",
                ));
            }
        }
        if about.len() != KEY_BYTES as u64 {
            return Err(wrong("the key file", format!("{} bytes", about.len()), "32 bytes"));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let bytes =
            bytes.try_into().map_err(|_| wrong("the key file", "another length".into(), "32 bytes"))?;
        Ok(Self(bytes))
    }

    /// The key of the Merkle tree of a file.
    pub fn tree_key(&self, file_salt: &[u8; 16]) -> [u8; 32] {
        blake3::derive_key(TREE_CONTEXT, &[&self.0[..], file_salt].concat())
    }

    /// The cipher of one journal segment.
    pub fn segment(&self, header: &[u8; HEADER_BYTES], salt: &[u8; 16]) -> FrameSealer {
        let key = blake3::derive_key(JOURNAL_CONTEXT, &[&self.0[..], salt].concat());
        FrameSealer { cipher: ChaCha20Poly1305::new(&Key::from(key)), header: *header }
    }

    /// The cipher of one column in one snapshot.
    fn cipher(&self, file_salt: &[u8], snapshot_salt: &[u8; 16], column: u8) -> ChaCha20Poly1305 {
        let material = [&self.0[..], file_salt, snapshot_salt, &[column]].concat();
        ChaCha20Poly1305::new(&Key::from(blake3::derive_key(PAYLOAD_CONTEXT, &material)))
    }
}

/// Encrypts and decrypts the payloads of one snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Sealer<'a> {
    /// The master key.
    pub key: &'a MasterKey,
    /// The file's header.
    pub header: &'a [u8; HEADER_BYTES],
    /// The snapshot's salt.
    pub salt: [u8; 16],
}

impl Sealer<'_> {
    fn parts(&self, page: &PageHeader) -> (ChaCha20Poly1305, Nonce, Vec<u8>) {
        let cipher = self.key.cipher(&self.header[28..44], &self.salt, page.key.column);
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&page.snapshot.to_le_bytes());
        nonce[4..].copy_from_slice(&page.key.page_id.to_le_bytes());
        (cipher, Nonce::from(nonce), [&self.header[..], &page.associated()].concat())
    }

    /// Encrypts `payload[from..]` in place and appends the tag. `page.payload_len` must count the tag already.
    pub fn seal(&self, page: &PageHeader, payload: &mut Vec<u8>, from: usize) {
        let (cipher, nonce, associated) = self.parts(page);
        let tag = cipher
            .encrypt_inout_detached(&nonce, &associated, (&mut payload[from..]).into())
            .expect("a payload is shorter than 256 GB");
        payload.extend_from_slice(&tag);
    }

    /// Decrypts a payload in place and returns its length without the tag; `None` when it is not authentic.
    pub fn open(&self, page: &PageHeader, payload: &mut [u8]) -> Option<usize> {
        let len = payload.len().checked_sub(TAG_BYTES)?;
        let (cipher, nonce, associated) = self.parts(page);
        let (text, tag) = payload.split_at_mut(len);
        let tag = Tag::try_from(&*tag).ok()?;
        cipher.decrypt_inout_detached(&nonce, &associated, text.into(), &tag).ok().map(|()| len)
    }
}

/// Encrypts and decrypts the frames of one journal segment. Its header and each frame's head, checksum left out, are
/// authenticated with the payload.
#[derive(Clone)]
pub struct FrameSealer {
    cipher: ChaCha20Poly1305,
    header: [u8; HEADER_BYTES],
}

impl std::fmt::Debug for FrameSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameSealer(…)")
    }
}

impl FrameSealer {
    fn nonce(sequence: u32) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&sequence.to_le_bytes());
        Nonce::from(nonce)
    }

    /// Encrypts the payload of frame `sequence` and appends the tag; `head` must count the tag already.
    pub fn seal(&self, sequence: u32, head: &[u8], payload: &mut Vec<u8>) {
        let associated = [&self.header[..], head].concat();
        let tag = self
            .cipher
            .encrypt_inout_detached(&Self::nonce(sequence), &associated, payload.as_mut_slice().into())
            .expect("a payload is shorter than 256 GB");
        payload.extend_from_slice(&tag);
    }

    /// The payload of frame `sequence`; `None` when it is not authentic.
    pub fn open(&self, sequence: u32, head: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = payload.split_at_checked(payload.len().checked_sub(TAG_BYTES)?)?;
        let mut text = text.to_vec();
        let tag = Tag::try_from(tag).ok()?;
        let associated = [&self.header[..], head].concat();
        self.cipher
            .decrypt_inout_detached(&Self::nonce(sequence), &associated, text.as_mut_slice().into(), &tag)
            .ok()
            .map(|()| text)
    }
}
