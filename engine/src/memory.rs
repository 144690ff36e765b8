//! What the process asks of the operating system: huge pages for large columns, and errors instead of signals.
//! Invariant: failure changes speed or how an error is told, never a result.

#![allow(unsafe_code)] // Calls of the C library.

/// Asks for huge pages, so that sweeps over hundreds of pages do not wait for address translation.
pub fn advise_huge_pages(start: *mut u8, bytes: usize) {
    // SAFETY: the caller owns `bytes` bytes from `start`; this advice does not change their content.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// A write beyond the file size limit (`ulimit -f`) fails like a full disk, instead of ending the process unheard.
pub fn report_file_size_limits_as_errors() {
    // SAFETY: sets the disposition of one signal to "ignore" before any other thread runs.
    #[cfg(unix)]
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
