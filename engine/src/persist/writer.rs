//! Appends snapshots to a `.nik` file.
//!
//! Invariant: payloads are synced before their footer is written, the footer before `append` returns; what a reader
//! finds is always a whole number of snapshots. Payloads whose content has not changed since the snapshot before are
//! not written again. After a failed write the writer refuses everything.

use super::cipher::{MasterKey, Sealer, TAG_BYTES};
use super::codec::{self, Scratch};
use super::disk::{AppendFile, Disk};
use super::error::{PersistError, Result};
use super::footer::{FOOTER_BYTES, Footer};
use super::header::{CipherKind, HEADER_BYTES, Header};
use super::merkle::{Hash, Tree};
use super::nrle;
use super::page::{
    IS_COMPRESSED, IS_DELETED, IS_DIRTY, IS_ENCRYPTED, PAGE_HEADER_BYTES, PageHeader, PageKey,
};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Encoded bytes that are collected before they are written.
const BATCH_BYTES: usize = 4 << 20;

/// The content of one payload before it is encoded.
#[derive(Debug, Clone)]
pub struct Content {
    /// Whose.
    pub key: PageKey,
    /// Bytes of one number; 0 for bytes that are no numbers.
    pub width: usize,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Content {
    /// What the nonary encoding gives back; bytes that are no numbers stay, and numbers that must be exact.
    fn quantised(&self) -> Self {
        let bytes = match self.lossy_width() {
            Some(width) => nrle::quantise(&self.bytes, width),
            None => self.bytes.clone(),
        };
        Self { bytes, ..*self }
    }

    /// Bytes of a number, where they are numbers that may lose digits.
    fn lossy_width(&self) -> Option<usize> {
        (matches!(self.width, 4 | 8) && self.key.may_lose()).then_some(self.width)
    }
}

/// What one snapshot took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotSize {
    /// Snapshot number.
    pub snapshot: u64,
    /// Payloads written.
    pub n_payloads: u32,
    /// Live payloads.
    pub n_live: u32,
    /// Bytes appended, headers and footer included.
    pub stored_bytes: u64,
    /// Bytes of the content of all live payloads.
    pub live_bytes: u64,
}

/// How payloads are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Bit for bit.
    #[default]
    Lossless,
    /// Columns as nonary digits.
    Nonary,
}

/// Seconds since 1970.
pub fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Sixteen random bytes.
///
/// # Errors
/// When the system gives none.
pub fn random_salt(path: &Path) -> Result<[u8; 16]> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| {
        let found = std::io::Error::other(error.to_string());
        PersistError::writing(path)(found)
    })?;
    Ok(salt)
}

/// A `.nik` file open for appending.
pub struct LogWriter {
    path: PathBuf,
    file: Box<dyn AppendFile>,
    header: [u8; HEADER_BYTES],
    key: Option<MasterKey>,
    tree: Tree,
    /// Leaf and length of every live payload.
    live: BTreeMap<PageKey, (Hash, u64)>,
    len: u64,
    last: Option<Footer>,
    is_poisoned: bool,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogWriter({}, {} bytes)", self.path.display(), self.len)
    }
}

impl LogWriter {
    /// A new file; its header is on the disk with the first snapshot.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(disk: &dyn Disk, path: &Path, header: Header, key: Option<MasterKey>) -> Result<Self> {
        let bytes = header.to_bytes();
        let mut file = disk.create(path).map_err(PersistError::writing(path))?;
        file.append(&bytes).map_err(PersistError::writing(path))?;
        Ok(Self::over(path, file, &header, key, HEADER_BYTES as u64))
    }

    /// A file whose whole snapshots a reader has gone through; what lies behind them is cut off.
    ///
    /// # Errors
    /// When it cannot be opened or cut.
    pub fn resume(
        disk: &dyn Disk,
        path: &Path,
        header: Header,
        key: Option<MasterKey>,
        last: Footer,
        live: BTreeMap<PageKey, (Hash, u64)>,
    ) -> Result<Self> {
        let len = last.end + FOOTER_BYTES as u64;
        let file = disk.reopen(path, len).map_err(PersistError::writing(path))?;
        Ok(Self { live, last: Some(last), ..Self::over(path, file, &header, key, len) })
    }

    fn over(
        path: &Path,
        file: Box<dyn AppendFile>,
        header: &Header,
        key: Option<MasterKey>,
        len: u64,
    ) -> Self {
        let key = key.filter(|_| header.cipher == CipherKind::ChaCha20Poly1305);
        Self {
            path: path.to_path_buf(),
            file,
            header: header.to_bytes(),
            tree: Tree::new(key.as_ref().map(|key| key.tree_key(&header.salt))),
            key,
            live: BTreeMap::new(),
            len,
            last: None,
            is_poisoned: false,
        }
    }

    /// The newest footer.
    pub fn last(&self) -> Option<&Footer> {
        self.last.as_ref()
    }

    /// Bytes of the file.
    pub fn n_bytes(&self) -> u64 {
        self.len
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a file that was written under another name its own.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn settle(&mut self, disk: &dyn Disk, path: &Path) -> Result<()> {
        disk.rename(&self.path, path).map_err(PersistError::writing(path))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        disk.sync_folder(folder).map_err(PersistError::writing(folder))?;
        self.path = path.to_path_buf();
        Ok(())
    }

    /// Appends a snapshot: those of `contents` that changed, and deletions of live payloads that are neither in
    /// `contents` nor in `untouched`.
    ///
    /// # Errors
    /// The first failed write; the writer is poisoned then.
    pub fn append(
        &mut self,
        tick: u64,
        contents: &[Content],
        untouched: &[PageKey],
        encoding: Encoding,
    ) -> Result<SnapshotSize> {
        let number = self.last.map_or(1, |last| last.snapshot + 1);
        self.append_as(number, tick, contents, untouched, encoding)
    }

    /// As [`append`](Self::append), with a snapshot number of its own: the first snapshot of a compacted file keeps the
    /// number it had.
    ///
    /// # Errors
    /// The first failed write.
    pub fn append_as(
        &mut self,
        snapshot: u64,
        tick: u64,
        contents: &[Content],
        untouched: &[PageKey],
        encoding: Encoding,
    ) -> Result<SnapshotSize> {
        if self.is_poisoned {
            return Err(PersistError::poisoned(&self.path, "an earlier write or sync of this file failed"));
        }
        self.is_poisoned = true;
        let size = self.try_append(snapshot, tick, contents, untouched, encoding)?;
        self.is_poisoned = false;
        Ok(size)
    }

    fn try_append(
        &mut self,
        snapshot: u64,
        tick: u64,
        contents: &[Content],
        untouched: &[PageKey],
        encoding: Encoding,
    ) -> Result<SnapshotSize> {
        let begin = self.len;
        let salt = random_salt(&self.path)?;
        let mut written = Written::default();
        let tree = self.tree;
        let is_full = self.last.is_none();
        let rounded: Vec<Content>;
        let contents = match encoding {
            Encoding::Lossless => contents,
            Encoding::Nonary => {
                rounded = contents.par_iter().map(Content::quantised).collect();
                &rounded
            }
        };
        let mut ordered: Vec<&Content> = contents.iter().collect();
        ordered.sort_unstable_by_key(|content| content.key);
        let sealer = self.key.as_ref().map(|key| Sealer { key, header: &self.header, salt });
        let flags = if is_full { 0 } else { IS_DIRTY };
        let shape = Shape { snapshot: snapshot as u32, flags, encoding, sealer };
        // A group is encoded while the one before is written.
        let mut ready = Vec::new();
        let groups = groups(&ordered);
        for group in groups.into_iter().map(Some).chain([None]) {
            let (file, path) = (&mut self.file, &self.path);
            let (put, encoded) = rayon::join(
                || ready.iter().try_for_each(|payload: &Payload<'_>| payload.write(file.as_mut())),
                || group.map(|group| changed(group, &self.live, &tree, &shape)).unwrap_or_default(),
            );
            put.map_err(PersistError::writing(path))?;
            for Payload { content, leaf, head, body } in std::mem::replace(&mut ready, encoded) {
                written.add(&head, body.len());
                self.live.insert(content.key, (leaf, content.bytes.len() as u64));
            }
        }
        for key in self.vanished(&ordered, untouched) {
            let header = PageHeader {
                key,
                checksum: crc32c::crc32c(&[]),
                flags: IS_DELETED,
                payload_len: 0,
                codec: codec::RAW,
                snapshot: snapshot as u32,
            };
            let bytes = header.to_bytes();
            self.file.append(&bytes).map_err(PersistError::writing(&self.path))?;
            written.add(&bytes, 0);
            self.live.remove(&key);
        }
        self.len += written.n_bytes;
        self.finish(snapshot, tick, begin, salt, is_full, &written)
    }

    fn vanished(&self, contents: &[&Content], untouched: &[PageKey]) -> Vec<PageKey> {
        let mut kept: Vec<PageKey> = contents.iter().map(|content| content.key).collect();
        kept.extend_from_slice(untouched);
        kept.sort_unstable();
        self.live.keys().filter(|key| kept.binary_search(key).is_err()).copied().collect()
    }

    fn finish(
        &mut self,
        snapshot: u64,
        tick: u64,
        begin: u64,
        salt: [u8; 16],
        is_full: bool,
        written: &Written,
    ) -> Result<SnapshotSize> {
        self.file.sync().map_err(PersistError::writing(&self.path))?;
        let footer = Footer {
            snapshot,
            tick,
            n_payloads: written.n_payloads,
            n_live: self.live.len() as u32,
            begin,
            end: self.len,
            time_secs: unix_secs(),
            root: self.tree.root(snapshot, tick, self.live.values().map(|(leaf, _)| *leaf)),
            previous: self.last.map_or(0, |last| last.end),
            salt,
            is_full,
            headers_checksum: written.headers_checksum,
        };
        self.file.append(&footer.to_bytes(&self.header)).map_err(PersistError::writing(&self.path))?;
        self.file.sync().map_err(PersistError::writing(&self.path))?;
        self.len += FOOTER_BYTES as u64;
        self.last = Some(footer);
        Ok(SnapshotSize {
            snapshot,
            n_payloads: written.n_payloads,
            n_live: footer.n_live,
            stored_bytes: self.len - begin,
            live_bytes: self.live.values().map(|(_, len)| len).sum(),
        })
    }
}

#[derive(Default)]
struct Written {
    n_payloads: u32,
    n_bytes: u64,
    headers_checksum: u32,
}

impl Written {
    /// Counts a payload behind its header.
    fn add(&mut self, head: &[u8; PAGE_HEADER_BYTES], body_bytes: usize) {
        self.n_payloads += 1;
        self.n_bytes += (PAGE_HEADER_BYTES + body_bytes) as u64;
        self.headers_checksum = crc32c::crc32c_append(self.headers_checksum, head);
    }
}

/// What all payloads of a snapshot have in common.
struct Shape<'a> {
    snapshot: u32,
    flags: u8,
    encoding: Encoding,
    sealer: Option<Sealer<'a>>,
}

/// A payload ready to be written.
struct Payload<'a> {
    content: &'a Content,
    leaf: Hash,
    head: [u8; PAGE_HEADER_BYTES],
    /// The content itself where it is stored as it is.
    body: Cow<'a, [u8]>,
}

impl Payload<'_> {
    fn write(&self, file: &mut dyn AppendFile) -> std::io::Result<()> {
        file.append(&self.head)?;
        if self.body.is_empty() { Ok(()) } else { file.append(&self.body) }
    }
}

/// Encodes those of a group that are not what is live already.
fn changed<'a>(
    group: &[&'a Content],
    live: &BTreeMap<PageKey, (Hash, u64)>,
    tree: &Tree,
    shape: &Shape<'_>,
) -> Vec<Payload<'a>> {
    let encode = |scratch: &mut Scratch, content: &&'a Content| {
        let content: &'a Content = content;
        let leaf = tree.leaf(content.key, &content.bytes);
        let is_new = live.get(&content.key).is_none_or(|(old, _)| *old != leaf);
        is_new.then(|| {
            let (head, body) = payload(content, shape, scratch);
            Payload { content, leaf, head, body }
        })
    };
    group.par_iter().map_init(Scratch::default, encode).flatten_iter().collect()
}

/// Runs of contents of about [`BATCH_BYTES`] each.
fn groups<'a>(contents: &'a [&'a Content]) -> Vec<&'a [&'a Content]> {
    let mut groups = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, content) in contents.iter().enumerate() {
        bytes += content.bytes.len();
        if bytes >= BATCH_BYTES {
            groups.push(&contents[begin..=i]);
            (begin, bytes) = (i + 1, 0);
        }
    }
    groups.push(&contents[begin..]);
    groups
}

/// The header and the bytes of one payload as stored.
fn payload<'a>(
    content: &'a Content,
    shape: &Shape<'_>,
    scratch: &mut Scratch,
) -> ([u8; PAGE_HEADER_BYTES], Cow<'a, [u8]>) {
    let Shape { snapshot, flags, encoding, sealer } = shape;
    let mut bytes = Vec::new();
    let codec = match (encoding, content.lossy_width()) {
        (Encoding::Nonary, Some(width)) => {
            nrle::encode_column(&content.bytes, width, &mut bytes);
            codec::NONARY
        }
        _ => codec::encode(&content.bytes, content.width, scratch, &mut bytes),
    };
    let mut body = if codec == codec::RAW { Cow::from(&content.bytes) } else { Cow::from(bytes) };
    let tag = if sealer.is_some() { TAG_BYTES } else { 0 };
    let mut header = PageHeader {
        key: content.key,
        checksum: 0,
        flags: flags
            | if codec == codec::RAW { 0 } else { IS_COMPRESSED }
            | if sealer.is_some() { IS_ENCRYPTED } else { 0 },
        payload_len: (body.len() + tag) as u32,
        codec,
        snapshot: *snapshot,
    };
    if let Some(sealer) = sealer {
        sealer.seal(&header, body.to_mut(), 0);
    }
    header.checksum = crc32c::crc32c(&body);
    (header.to_bytes(), body)
}
