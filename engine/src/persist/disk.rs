//! The disk: every read and write of persistence goes through this trait, so that a simulated disk can break each.
//! Invariant: `append` and `sync` either do everything or fail; nothing is retried. A failed sync means that nothing
//! since the last good one can be trusted to be on the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that grows at its end.
pub trait AppendFile: Send {
    /// Writes all of `bytes` behind what is there.
    ///
    /// # Errors
    /// What the system said; a part may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until everything appended is durable.
    ///
    /// # Errors
    /// What the system said.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is read at any offset.
pub trait ReadFile: Send + Sync {
    /// Its length in bytes.
    fn n_bytes(&self) -> u64;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// What the system said; the end of the file counts.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

/// Files and folders.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// A new, empty file in the place of whatever was there.
    ///
    /// # Errors
    /// What the system said.
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>>;

    /// An existing file, cut to `len` bytes.
    ///
    /// # Errors
    /// What the system said.
    fn reopen(&self, path: &Path, len: u64) -> io::Result<Box<dyn AppendFile>>;

    /// An existing file, for reading.
    ///
    /// # Errors
    /// What the system said.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Puts `from` in the place of `to`, at once.
    ///
    /// # Errors
    /// What the system said.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system said.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until names made, renamed or removed in `folder` are durable.
    ///
    /// # Errors
    /// What the system said.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// The names of the files in `folder`.
    ///
    /// # Errors
    /// What the system said.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
}

/// Reads a whole file of at most `max` bytes.
///
/// # Errors
/// What the system said, or that the file is larger.
pub fn read_whole(disk: &dyn Disk, path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    if file.n_bytes() > max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} bytes; at most {max} fit", file.n_bytes()),
        ));
    }
    let mut bytes = vec![0; file.n_bytes() as usize];
    file.read_at(0, &mut bytes)?;
    Ok(bytes)
}

/// The name a file has while it is being written.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    path.with_file_name(name)
}

/// Replaces a file: temporary neighbour, sync, rename, sync of the folder.
///
/// # Errors
/// What the system said; the old file is whole then.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let neighbour = partial(path);
    let mut file = disk.create(&neighbour)?;
    file.append(bytes)?;
    file.sync()?;
    drop(file);
    disk.rename(&neighbour, path)?;
    disk.sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// A file whose way to the disk begins while it still grows: the sync at the end then waits for little.
struct Growing {
    file: File,
    /// Bytes of the file, and how many of them have been sent on their way.
    n_bytes: u64,
    sent: u64,
}

/// Bytes after which they are sent on their way.
const SEND_BYTES: u64 = 1 << 20;

impl AppendFile for Growing {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.n_bytes += bytes.len() as u64;
        if self.n_bytes - self.sent >= SEND_BYTES {
            send(&self.file, self.sent, self.n_bytes);
            self.sent = self.n_bytes;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Asks the system to begin writing a range. A hint: whether it worked shows at the next sync.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn send(file: &File, from: u64, to: u64) {
    use std::os::fd::AsRawFd;
    // SAFETY: the descriptor is open as long as `file` is; the call touches no memory of ours.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), from as i64, (to - from) as i64, libc::SYNC_FILE_RANGE_WRITE);
    }
}

#[cfg(not(target_os = "linux"))]
fn send(_file: &File, _from: u64, _to: u64) {}

/// An open file and its length when it was opened.
struct Opened(File, u64);

impl ReadFile for Opened {
    fn n_bytes(&self) -> u64 {
        self.1
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }

    #[cfg(not(unix))]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = &self.0;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(out)
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        Ok(Box::new(Growing { file: File::create(path)?, n_bytes: 0, sent: 0 }))
    }

    fn reopen(&self, path: &Path, len: u64) -> io::Result<Box<dyn AppendFile>> {
        let file = OpenOptions::new().append(true).open(path)?;
        if file.metadata()?.len() != len {
            file.set_len(len)?;
        }
        Ok(Box::new(Growing { file, n_bytes: len, sent: len }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        Ok(Box::new(Opened(file, about.len())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        File::open(folder)?.sync_all()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }
}
