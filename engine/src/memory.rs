//! Advice to the operating system about large columns. Invariant: advice only; failure changes speed, never a result.

#![allow(unsafe_code)] // One call of the C library.

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
