//! A file mapped into memory, as words.
//! Invariant: the words stay mapped as long as the value lives; memory that other processes write is only ever seen
//! through atomics, so there is no data race for the compiler to exploit.

#![allow(unsafe_code)] // Calls of the C library, and one slice made from its pointer.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

/// Mapped words.
#[derive(Debug)]
pub struct Mapping {
    start: *mut libc::c_void,
    bytes: usize,
}

// SAFETY: the memory belongs to no thread; it is read and written through atomics alone.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps all of `file`, whose size is `bytes`, to read, or to read and write.
    ///
    /// # Errors
    /// What the system says; an empty file cannot be mapped.
    pub fn new(file: &File, bytes: u64, is_writable: bool) -> io::Result<Self> {
        let bytes = usize::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let access = if is_writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a fresh mapping at an address of the system's choice; the descriptor is open.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start, bytes })
    }

    /// The words; a mapping made to read only must not be stored to.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned and `bytes` long for as long as `self` lives; an atomic word has the layout
        // of u64 and may be shared with other processes. Loads of aligned words never write, so that pages mapped to
        // read only are enough for them.
        unsafe { std::slice::from_raw_parts(self.start.cast::<AtomicU64>(), self.bytes / 8) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by `mmap` with these values; no reference outlives `self`.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}
