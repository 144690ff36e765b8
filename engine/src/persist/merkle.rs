//! The Merkle tree over all live payloads of a state.
//!
//! Invariant: leaves are sorted by (page id, column); a leaf covers the content before compression and encryption, so
//! the same state has the same root however it is stored. In encrypted files every hash is keyed, so that a root tells
//! nothing to those without the key. Hash: BLAKE3.
//!
//! ```text
//! leaf = H(0 ‖ page id ‖ column ‖ content)      node = H(1 ‖ left ‖ right), an odd last one moves up
//! root = H(2 ‖ snapshot ‖ tick ‖ number of leaves ‖ top)
//! ```

use super::page::PageKey;

/// A hash.
pub type Hash = [u8; 32];

/// The hash function of one file: keyed where the file is encrypted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tree {
    key: Option<[u8; 32]>,
}

impl Tree {
    /// With a key, or without.
    pub fn new(key: Option<[u8; 32]>) -> Self {
        Self { key }
    }

    fn hasher(&self, kind: u8) -> blake3::Hasher {
        let mut hasher = self.key.as_ref().map_or_else(blake3::Hasher::new, blake3::Hasher::new_keyed);
        hasher.update(&[kind]);
        hasher
    }

    /// The leaf of one payload.
    pub fn leaf(&self, key: PageKey, content: &[u8]) -> Hash {
        let mut hasher = self.hasher(0);
        hasher.update(&key.page_id.to_le_bytes()).update(&[key.column]).update(content);
        *hasher.finalize().as_bytes()
    }

    /// The root over leaves in order of their keys.
    pub fn root(&self, snapshot: u64, tick: u64, leaves: impl Iterator<Item = Hash>) -> Hash {
        let mut level: Vec<Hash> = leaves.collect();
        let n_leaves = level.len() as u64;
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| match pair {
                    [left, right] => *self.hasher(1).update(left).update(right).finalize().as_bytes(),
                    _ => pair[0],
                })
                .collect();
        }
        let mut hasher = self.hasher(2);
        hasher.update(&snapshot.to_le_bytes()).update(&tick.to_le_bytes()).update(&n_leaves.to_le_bytes());
        *hasher.update(level.first().unwrap_or(&[0; 32])).finalize().as_bytes()
    }
}
