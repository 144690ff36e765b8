//! The manifest: which files of a state directory make up the state.
//!
//! Invariant: replaced atomically, after everything it names is durable. Files of the directory that it doesn't name
//! are leftovers of a step that was cut short, and are removed by the next writer. RON text; the last line is a comment
//! with the checksum of the rest.

use super::disk::{Disk, read_whole, replace};
use super::error::{Fault, PersistError, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Name of the manifest.
pub const MANIFEST_NAME: &str = "manifest.ron";

/// The version this build writes and reads.
pub const MANIFEST_VERSION: u32 = 1;

const BYTES_MAX: u64 = 1 << 20;
const CHECKSUM: &str = "// crc32c ";

/// What the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file.
    pub version: u32,
    /// Name of the scene in messages.
    pub scene_name: String,
    /// Folder to which paths in the scene are relative.
    pub base_dir: String,
    /// The `.nik` file.
    pub log: String,
    /// Offset of the footer of the checkpoint.
    pub footer: u64,
    /// Its snapshot number.
    pub snapshot: u64,
    /// Its tick.
    pub tick: u64,
    /// Its Merkle root in hexadecimal digits.
    pub root: String,
    /// Indices of the journal segments since then, in order.
    pub segments: Vec<u32>,
    /// What computed the state: [`HOST`], or what a device's backend says of itself.
    #[serde(default = "host", skip_serializing_if = "is_host")]
    pub backend: String,
}

/// The processor: its bits do not depend on the machine.
pub const HOST: &str = "cpu";

fn host() -> String {
    HOST.into()
}

fn is_host(backend: &String) -> bool {
    backend == HOST
}

impl Manifest {
    /// Reads the manifest of `folder`.
    ///
    /// # Errors
    /// Missing, damaged, or of another version.
    pub fn read(disk: &dyn Disk, folder: &Path) -> Result<Self> {
        let path = folder.join(MANIFEST_NAME);
        let bytes = read_whole(disk, &path, BYTES_MAX).map_err(PersistError::reading(&path))?;
        Self::parse(&path, &bytes)
    }

    /// Parses the text of a manifest.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let damaged = |found: String| PersistError::damaged(path, "the manifest", found, "a whole manifest");
        let text = std::str::from_utf8(bytes).map_err(|error| damaged(error.to_string()))?;
        let (body, checksum) = text.rsplit_once(CHECKSUM).ok_or_else(|| damaged("no checksum".into()))?;
        let expected = format!("{:08x}\n", crc32c::crc32c(body.as_bytes()));
        if checksum != expected {
            return Err(damaged(format!("checksum {:?}, computed {:?}", checksum.trim(), expected.trim())));
        }
        let manifest: Self = ron::from_str(body).map_err(|error| damaged(error.to_string()))?;
        if manifest.version != MANIFEST_VERSION {
            let found = format!("version {}", manifest.version);
            let expected = format!("version {MANIFEST_VERSION}");
            let remedy = "continue with the version of Nikola that wrote it";
            return Err(PersistError::new(Fault::Damaged, path, "version", found, expected, remedy));
        }
        let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
        if !is_plain(&manifest.log) {
            return Err(damaged(format!("the file name {:?}", manifest.log)));
        }
        Ok(manifest)
    }

    /// The text of the manifest.
    pub fn to_text(&self) -> String {
        let pretty = ron::ser::PrettyConfig::new();
        let body = ron::ser::to_string_pretty(self, pretty).expect("plain data becomes RON") + "\n";
        let checksum = crc32c::crc32c(body.as_bytes());
        format!("{body}{CHECKSUM}{checksum:08x}\n")
    }

    /// Replaces the manifest of `folder`.
    ///
    /// # Errors
    /// A failed write; the old manifest is whole then.
    pub fn write(&self, disk: &dyn Disk, folder: &Path) -> Result<()> {
        let path = folder.join(MANIFEST_NAME);
        replace(disk, &path, self.to_text().as_bytes()).map_err(PersistError::writing(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            version: MANIFEST_VERSION,
            scene_name: "a \"scene\".ron".into(),
            base_dir: "scenes".into(),
            log: "log-000001.nik".into(),
            footer: 70,
            snapshot: 1,
            tick: u64::MAX,
            root: "00".repeat(32),
            segments: vec![1, 2],
            backend: "an adapter (a driver)".into(),
        }
    }

    #[test]
    fn a_manifest_comes_back_and_every_flipped_bit_is_seen() {
        let text = manifest().to_text();
        let path = Path::new("manifest.ron");
        assert_eq!(Manifest::parse(path, text.as_bytes()).expect("as written"), manifest());
        for bit in 0..8 * text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::parse(path, &bytes).is_err(), "bit {bit}");
        }
        for len in 0..text.len() {
            assert!(Manifest::parse(path, &text.as_bytes()[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn a_manifest_without_a_backend_is_of_the_processor() {
        let text = Manifest { backend: HOST.into(), ..manifest() }.to_text();
        assert!(!text.contains("backend"), "{text}");
        let read = Manifest::parse(Path::new("manifest.ron"), text.as_bytes()).expect("as written");
        assert_eq!(read.backend, HOST);
    }

    #[test]
    fn another_version_and_paths_elsewhere_are_refused() {
        let path = Path::new("manifest.ron");
        let refused = |manifest: Manifest| {
            Manifest::parse(path, manifest.to_text().as_bytes()).expect_err("refused").to_string()
        };
        assert!(refused(Manifest { version: 2, ..manifest() }).contains("version 2"));
        assert!(refused(Manifest { log: "../other.nik".into(), ..manifest() }).contains("other.nik"));
    }
}
