//! Reads `.nik` files.
//!
//! Invariant: nothing damaged is ever handed out: a payload is checked (checksum, authentication, encoding) when it is
//! read, and the Merkle root when the whole state is. A tail without a whole footer is a torn write and is left out,
//! and how long it is, is said. No length that is read is allocated before it is known to lie within the file.

use super::capture::ColumnShape;
use super::cipher::{MasterKey, Sealer};
use super::codec::{self, Scratch};
use super::disk::{Disk, ReadFile};
use super::error::{Fault, PersistError, Result};
use super::footer::{END_MAGIC, FOOTER_BYTES, Footer};
use super::header::{CipherKind, HEADER_BYTES, Header};
use super::merkle::{Hash, Tree};
use super::page::{
    IS_COMPRESSED, IS_DELETED, IS_DIRTY, IS_ENCRYPTED, NO_PAGE, PAGE_HEADER_BYTES, PageHeader, PageKey,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes of the windows in which the last footer is searched.
const WINDOW_BYTES: u64 = 1 << 20;

/// Where a live payload lies.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its header.
    pub header: PageHeader,
    /// Offset of the payload.
    offset: u64,
    /// Salt of its snapshot.
    salt: [u8; 16],
}

/// A `.nik` file open for reading, at one of its snapshots.
pub struct Log {
    path: PathBuf,
    file: Box<dyn ReadFile>,
    bytes: [u8; HEADER_BYTES],
    /// The parsed header.
    pub header: Header,
    key: Option<MasterKey>,
    tree: Tree,
    /// Whole snapshots, oldest first.
    pub snapshots: Vec<Footer>,
    /// Live payloads of the last of them.
    pub live: BTreeMap<PageKey, Entry>,
    /// Bytes behind the last whole snapshot.
    pub torn_bytes: u64,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({}, {} snapshots)", self.path.display(), self.snapshots.len())
    }
}

impl Log {
    /// Opens the file at its last whole snapshot.
    ///
    /// # Errors
    /// Not a `.nik` file, another version, damage, or no whole snapshot.
    pub fn open(disk: &dyn Disk, path: &Path, key: Option<MasterKey>) -> Result<Self> {
        Self::open_at(disk, path, key, None)
    }

    /// Opens the file at the snapshot whose footer lies at `footer`; what follows counts as torn.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when there is no whole footer at that place.
    pub fn open_at(
        disk: &dyn Disk,
        path: &Path,
        key: Option<MasterKey>,
        footer: Option<u64>,
    ) -> Result<Self> {
        let file = disk.open(path).map_err(PersistError::reading(path))?;
        let mut bytes = [0; HEADER_BYTES];
        if file.n_bytes() < HEADER_BYTES as u64 {
            let found = format!("{} bytes", file.n_bytes());
            return Err(PersistError::damaged(path, "header, bytes 0 to 63", found, "64 bytes"));
        }
        file.read_at(0, &mut bytes).map_err(PersistError::reading(path))?;
        let header = Header::parse(path, &bytes)?;
        let key = check_key(path, &header, key)?;
        let tree = Tree::new(key.as_ref().map(|key| key.tree_key(&header.salt)));
        let mut log = Self {
            path: path.to_path_buf(),
            file,
            bytes,
            header,
            key,
            tree,
            snapshots: Vec::new(),
            live: BTreeMap::new(),
            torn_bytes: 0,
        };
        let last = match footer {
            Some(offset) => log.footer_at(offset)?,
            None => log.find_last()?,
        };
        let expected = "a whole snapshot: payloads and a footer of 128 bytes";
        let last = last.ok_or_else(|| {
            let found = format!("none in {} bytes", log.file.n_bytes());
            PersistError::damaged(path, "the last snapshot", found, expected)
        })?;
        log.torn_bytes = log.file.n_bytes() - (last.end + FOOTER_BYTES as u64);
        log.snapshots = log.chain(last)?;
        for i in 0..log.snapshots.len() {
            log.index(i)?;
        }
        Ok(log)
    }

    /// The newest whole snapshot.
    pub fn last(&self) -> &Footer {
        &self.snapshots[self.snapshots.len() - 1]
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file.
    pub fn file_len(&self) -> u64 {
        self.file.n_bytes()
    }

    fn footer_at(&self, offset: u64) -> Result<Option<Footer>> {
        let end = offset.checked_add(FOOTER_BYTES as u64);
        if offset < HEADER_BYTES as u64 || end.is_none_or(|end| end > self.file.n_bytes()) {
            return Ok(None);
        }
        let mut bytes = [0; FOOTER_BYTES];
        self.file.read_at(offset, &mut bytes).map_err(PersistError::reading(&self.path))?;
        Ok(Footer::parse(&self.bytes, offset, &bytes))
    }

    /// Searches the last whole footer from the end of the file backwards.
    fn find_last(&self) -> Result<Option<Footer>> {
        let mut end = self.file.n_bytes();
        let mut window = Vec::new();
        while end > HEADER_BYTES as u64 {
            let begin = end.saturating_sub(WINDOW_BYTES).max(HEADER_BYTES as u64);
            window.resize((end - begin) as usize, 0);
            self.file.read_at(begin, &mut window).map_err(PersistError::reading(&self.path))?;
            for at in (0..window.len().saturating_sub(END_MAGIC.len() - 1)).rev() {
                if window[at] != END_MAGIC[0] || !window[at..].starts_with(&END_MAGIC) {
                    continue;
                }
                let behind = begin + (at + END_MAGIC.len()) as u64;
                let Some(offset) = behind.checked_sub(FOOTER_BYTES as u64) else { continue };
                if let Some(footer) = self.footer_at(offset)? {
                    return Ok(Some(footer));
                }
            }
            // Windows overlap by a magic, so that none is cut in two.
            end = if begin == HEADER_BYTES as u64 { begin } else { begin + END_MAGIC.len() as u64 - 1 };
        }
        Ok(None)
    }

    /// All footers up to `last`, oldest first; together they cover the file without a gap.
    fn chain(&self, last: Footer) -> Result<Vec<Footer>> {
        let mut chain = vec![last];
        let mut newest = last;
        while newest.previous != 0 {
            let place =
                format!("footer of the snapshot before {}, byte {}", newest.snapshot, newest.previous);
            let before = (newest.previous < newest.begin)
                .then(|| self.footer_at(newest.previous))
                .transpose()?
                .flatten();
            let expected = "a whole footer of the snapshot before";
            let before = before
                .ok_or_else(|| PersistError::damaged(&self.path, &*place, "no whole footer", expected))?;
            let is_next =
                before.snapshot < newest.snapshot && before.end + FOOTER_BYTES as u64 == newest.begin;
            if !is_next {
                let found = format!("snapshot {} that ends at byte {}", before.snapshot, before.end);
                return Err(PersistError::damaged(&self.path, &*place, found, expected));
            }
            chain.push(before);
            newest = before;
        }
        if newest.begin != HEADER_BYTES as u64 {
            let place = format!("snapshot {}", newest.snapshot);
            let found = format!("a begin at byte {}", newest.begin);
            return Err(PersistError::damaged(
                &self.path,
                place,
                found,
                "the first snapshot to begin at byte 64",
            ));
        }
        chain.reverse();
        Ok(chain)
    }

    /// Reads the page headers of snapshot `i` into the index of live payloads.
    fn index(&mut self, i: usize) -> Result<()> {
        let footer = self.snapshots[i];
        let place = |at: u64| format!("page header of snapshot {}, byte {at}", footer.snapshot);
        let (mut at, mut n, mut checksum) = (footer.begin, 0, 0);
        while at < footer.end {
            let mut bytes = [0; PAGE_HEADER_BYTES];
            let offset = at + PAGE_HEADER_BYTES as u64;
            if offset > footer.end {
                return Err(PersistError::damaged(
                    &self.path,
                    place(at),
                    "the snapshot's end",
                    "a page header",
                ));
            }
            self.file.read_at(at, &mut bytes).map_err(PersistError::reading(&self.path))?;
            checksum = crc32c::crc32c_append(checksum, &bytes);
            let header = PageHeader::from_bytes(&bytes);
            let end = offset + u64::from(header.payload_len);
            if end > footer.end {
                let found = format!("a payload of {} bytes", header.payload_len);
                let expected = format!("at most {}", footer.end - offset);
                return Err(PersistError::damaged(&self.path, place(at), found, expected));
            }
            let known = IS_DIRTY | IS_COMPRESSED | IS_ENCRYPTED | IS_DELETED;
            if header.flags & !known != 0 || u64::from(header.snapshot) != footer.snapshot & 0xFFFF_FFFF {
                let found = format!("flags {:#04x}, snapshot {}", header.flags, header.snapshot);
                return Err(PersistError::damaged(&self.path, place(at), found, "those of this snapshot"));
            }
            if header.flags & IS_DELETED != 0 {
                self.live.remove(&header.key);
            } else {
                self.live.insert(header.key, Entry { header, offset, salt: footer.salt });
            }
            n += 1;
            at = end;
        }
        let is_whole = checksum == footer.headers_checksum && n == footer.n_payloads;
        if !is_whole || self.live.len() as u64 != u64::from(footer.n_live) {
            let found = format!("{n} payloads, {} live, checksum {checksum:08x}", self.live.len());
            let expected = format!(
                "{}, {}, {:08x} as its footer says",
                footer.n_payloads, footer.n_live, footer.headers_checksum
            );
            let place = format!("page headers of snapshot {}", footer.snapshot);
            return Err(PersistError::damaged(&self.path, place, found, expected));
        }
        Ok(())
    }

    /// Reads the stored bytes of a payload into `buffer`: checked, authenticated, decrypted, still encoded.
    fn fetch<'b>(&self, entry: &Entry, buffer: &'b mut Vec<u8>) -> Result<&'b [u8]> {
        let header = &entry.header;
        let place = || format!("{}, byte {}", header.key, entry.offset);
        buffer.resize(header.payload_len as usize, 0);
        self.file.read_at(entry.offset, buffer).map_err(PersistError::reading(&self.path))?;
        let checksum = crc32c::crc32c(buffer);
        if checksum != header.checksum {
            let (found, expected) = (format!("checksum {checksum:08x}"), format!("{:08x}", header.checksum));
            return Err(PersistError::damaged(&self.path, place(), found, expected));
        }
        let is_encrypted = header.flags & IS_ENCRYPTED != 0;
        if is_encrypted != self.key.is_some() {
            let expected = if is_encrypted { "a plain payload" } else { "an encrypted payload" };
            return Err(PersistError::damaged(&self.path, place(), "the other kind", expected));
        }
        let Some(key) = &self.key else { return Ok(buffer) };
        let sealer = Sealer { key, header: &self.bytes, salt: entry.salt };
        match sealer.open(header, buffer) {
            Some(len) => Ok(&buffer[..len]),
            None => {
                let (found, remedy) =
                    ("a payload that is not authentic", "give the key the file was written with");
                let expected = "one sealed with this key for this place";
                Err(PersistError::new(Fault::Key, &self.path, place(), found, expected, remedy))
            }
        }
    }

    /// Decodes a payload into the whole of `out` and returns its leaf.
    ///
    /// # Errors
    /// Damage, or a column of another length.
    pub fn read_into(
        &self,
        key: PageKey,
        width: usize,
        buffers: &mut Buffers,
        out: &mut [u8],
    ) -> Result<Hash> {
        let entry = self.entry(key)?;
        let stored = self.fetch(&entry, &mut buffers.stored)?;
        codec::decode(entry.header.codec, stored, width, &mut buffers.scratch, out).map_err(|found| {
            let place = format!("{key}, byte {}", entry.offset);
            PersistError::damaged(&self.path, place, found, format!("a column of {} bytes", out.len()))
        })?;
        Ok(self.tree.leaf(key, out))
    }

    /// A payload of its own length: the scalars, or the description of the state.
    ///
    /// # Errors
    /// Damage.
    pub fn read_raw(&self, key: PageKey, buffers: &mut Buffers) -> Result<(Vec<u8>, Hash)> {
        let entry = self.entry(key)?;
        let stored = self.fetch(&entry, &mut buffers.stored)?;
        if entry.header.codec != codec::RAW {
            let found = format!("codec {}", entry.header.codec);
            return Err(PersistError::damaged(&self.path, key.to_string(), found, "raw bytes"));
        }
        Ok((stored.to_vec(), self.tree.leaf(key, stored)))
    }

    /// Where a live payload is.
    ///
    /// # Errors
    /// When there is none.
    pub fn entry(&self, key: PageKey) -> Result<Entry> {
        let missing = || PersistError::damaged(&self.path, key.to_string(), "no such payload", "a live one");
        self.live.get(&key).copied().ok_or_else(missing)
    }

    /// Bytes of a column with one number on each node of a page.
    pub fn column_bytes(&self, width: usize) -> usize {
        self.header.page_nodes as usize * width
    }

    /// Reads every live payload, hands the content to `see`, and checks the Merkle root.
    ///
    /// # Errors
    /// The first damaged payload, or another root.
    pub fn read_all(
        &self,
        shape_of: impl Fn(PageKey) -> ColumnShape,
        mut see: impl FnMut(PageKey, usize, &[u8]),
    ) -> Result<BTreeMap<PageKey, (Hash, u64)>> {
        let mut buffers = Buffers::default();
        let mut leaves = BTreeMap::new();
        let mut column = Vec::new();
        for &key in self.live.keys() {
            let (leaf, len) = if key.page_id == NO_PAGE {
                let (content, leaf) = self.read_raw(key, &mut buffers)?;
                see(key, 0, &content);
                (leaf, content.len())
            } else {
                let ColumnShape { width, numbers, .. } = shape_of(key);
                let n_bytes = numbers.map_or_else(|| self.column_bytes(width), |numbers| numbers * width);
                let n_stored = self.entry(key)?.header.payload_len as usize;
                if numbers.is_some() && n_bytes > EXPANSION_MAX * n_stored {
                    let (found, expected) =
                        (format!("{n_bytes} bytes of {n_stored}"), "a column that they can hold");
                    return Err(PersistError::damaged(&self.path, key.to_string(), found, expected));
                }
                column.resize(n_bytes, 0);
                let leaf = self.read_into(key, width, &mut buffers, &mut column)?;
                see(key, width, &column);
                (leaf, column.len())
            };
            leaves.insert(key, (leaf, len as u64));
        }
        self.check_root(leaves.values().map(|(leaf, _)| *leaf))?;
        Ok(leaves)
    }

    /// Compares the root over `leaves`, in order of their keys, with the last footer's.
    ///
    /// # Errors
    /// Another root.
    pub fn check_root(&self, leaves: impl Iterator<Item = Hash>) -> Result<()> {
        let last = self.last();
        let root = self.tree.root(last.snapshot, last.tick, leaves);
        if root == last.root {
            return Ok(());
        }
        let place = format!("Merkle root of snapshot {}", last.snapshot);
        Err(PersistError::damaged(&self.path, place, hex(&root), hex(&last.root)))
    }

    /// Whether any live payload is encoded with loss.
    pub fn is_lossy(&self) -> bool {
        self.live.values().any(|entry| entry.header.codec == codec::NONARY)
    }
}

/// Bytes that one stored byte can stand for at most, without loss: those of LZ4.
const EXPANSION_MAX: usize = 256;

/// Buffers for reading payloads one after the other.
#[derive(Debug, Default)]
pub struct Buffers {
    stored: Vec<u8>,
    scratch: Scratch,
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn check_key(path: &Path, header: &Header, key: Option<MasterKey>) -> Result<Option<MasterKey>> {
    match (header.cipher, key) {
        (CipherKind::None, _) => Ok(None),
        (CipherKind::ChaCha20Poly1305, Some(key)) => Ok(Some(key)),
        (CipherKind::ChaCha20Poly1305, None) => {
            let remedy = "give its key with --key-file FILE";
            let found = "an encrypted file and no key";
            Err(PersistError::new(Fault::Key, path, "cipher_type, byte 25", found, "its key", remedy))
        }
    }
}
