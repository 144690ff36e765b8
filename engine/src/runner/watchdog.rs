//! The watchdog: a tick thread that stops ticking ends the process, with its stack and its last ticks on the disk.
//!
//! Invariant: the handler runs on the tick thread and does only what signal-safety(7) allows: it opens, writes and
//! syncs a file through raw descriptors, formats numbers on its stack, and leaves by `_exit`. Whatever it reads was
//! allocated before it was armed. A supervisor restarts the process from checkpoint and journal; without one, the exit
//! code says what happened.
//!
//! ```text
//! tick thread: pet ── tick ── pet ── tick ── … (nothing for the limit)
//! timer:       set 2,000 µs ahead by each pet ───────► SIGALRM → black box → exit code
//! ```
//!
//! Source: timer_create(2) with SIGEV_THREAD_ID.

#![allow(unsafe_code)] // Timers, a signal handler, and raw writes from it.

use crate::exit;
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Ticks the black box remembers.
pub const REMEMBERED: usize = 1000;

/// Most frames of the stack trace.
const FRAMES_MAX: usize = 64;

/// One tick as the black box remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRecord {
    /// Ticks done, it included.
    pub tick: u64,
    /// How long its work took.
    pub work_nanos: u64,
    /// How late its period ended.
    pub late_nanos: u64,
    /// Whether it ran without the nonlinear flow.
    pub is_degraded: bool,
}

struct Slot([AtomicU64; 4]);

static SLOTS: [Slot; REMEMBERED] = [const { Slot([const { AtomicU64::new(0) }; 4]) }; REMEMBERED];
static N_RECORDED: AtomicUsize = AtomicUsize::new(0);
static PATH: AtomicPtr<c_char> = AtomicPtr::new(std::ptr::null_mut());
static LIMIT_MICROS: AtomicU64 = AtomicU64::new(0);

// Part of the C library of every Linux; the libc crate lacks them there.
unsafe extern "C" {
    fn timer_create(clock: libc::clockid_t, event: *mut libc::sigevent, timer: *mut *mut c_void) -> c_int;
    fn timer_settime(
        timer: *mut c_void,
        flags: c_int,
        new: *const libc::itimerspec,
        old: *mut libc::itimerspec,
    ) -> c_int;
    fn timer_delete(timer: *mut c_void) -> c_int;
}

/// SIGEV_THREAD_ID of linux/signal.h: the signal goes to one thread.
const SIGEV_THREAD_ID: c_int = 4;

/// An armed watchdog of the calling thread. One per process.
#[derive(Debug)]
pub struct Watchdog {
    timer: *mut c_void,
    limit: libc::timespec,
}

impl Watchdog {
    /// Arms it: `limit_micros` without [`Watchdog::pet`] end the process. The black box is written to `path`.
    ///
    /// # Errors
    /// The system's, when it has no timer left.
    pub fn arm(limit_micros: u64, path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // The handler may need the path until the process ends: it is never freed.
        PATH.store(path.into_raw(), Ordering::Release);
        LIMIT_MICROS.store(limit_micros, Ordering::Relaxed);
        N_RECORDED.store(0, Ordering::Relaxed);
        load_unwinder();
        let handler: extern "C" fn(c_int) = bark;
        // SAFETY: a zeroed action is valid; the handler keeps to signal-safe calls.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            if libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let mut timer = std::ptr::null_mut();
        // SAFETY: a zeroed event is valid; the thread is the calling one; `timer` is a valid place.
        let code = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGALRM;
            event.sigev_notify_thread_id = libc::gettid();
            timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer)
        };
        if code != 0 {
            return Err(io::Error::last_os_error());
        }
        let limit = libc::timespec {
            tv_sec: (limit_micros / 1_000_000) as libc::time_t,
            tv_nsec: (limit_micros % 1_000_000 * 1000) as libc::c_long,
        };
        let watchdog = Self { timer, limit };
        watchdog.pet();
        Ok(watchdog)
    }

    /// The thread is alive: the limit starts anew.
    pub fn pet(&self) {
        self.set(self.limit);
    }

    /// Remembers a tick for the black box.
    pub fn remember(&self, record: TickRecord) {
        let n = N_RECORDED.load(Ordering::Relaxed);
        let values = [record.tick, record.work_nanos, record.late_nanos, u64::from(record.is_degraded)];
        for (slot, value) in SLOTS[n % REMEMBERED].0.iter().zip(values) {
            slot.store(value, Ordering::Relaxed);
        }
        N_RECORDED.store(n + 1, Ordering::Release);
    }

    fn set(&self, limit: libc::timespec) {
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let new = libc::itimerspec { it_interval: never, it_value: limit };
        // SAFETY: the timer exists as long as `self`; no old value is asked for.
        unsafe { timer_settime(self.timer, 0, &new, std::ptr::null_mut()) };
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SAFETY: the timer exists and is not used again; a signal already on its way would find the handler.
        unsafe { timer_delete(self.timer) };
    }
}

/// The C library loads its unwinder on first use, which is no thing to do in a signal handler.
fn load_unwinder() {
    let mut frames = [std::ptr::null_mut(); 1];
    trace(&mut frames);
}

#[cfg(target_env = "gnu")]
fn trace(frames: &mut [*mut c_void]) -> usize {
    // SAFETY: `frames` has the length given.
    unsafe { libc::backtrace(frames.as_mut_ptr(), frames.len() as c_int) as usize }
}

#[cfg(not(target_env = "gnu"))]
fn trace(_frames: &mut [*mut c_void]) -> usize {
    0
}

#[cfg(target_env = "gnu")]
fn write_frames(fd: c_int, frames: &[*mut c_void]) {
    // SAFETY: the frames came from `backtrace`; this call writes to the descriptor without allocating.
    unsafe { libc::backtrace_symbols_fd(frames.as_ptr(), frames.len() as c_int, fd) };
}

#[cfg(not(target_env = "gnu"))]
fn write_frames(fd: c_int, _frames: &[*mut c_void]) {
    put(fd, b"(this C library gives no stack trace)\n");
}

/// Writes bytes to a descriptor; what cannot be written is lost.
fn put(fd: c_int, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: `rest` is readable for its length.
        let written = unsafe { libc::write(fd, rest.as_ptr().cast(), rest.len()) };
        if written <= 0 {
            return;
        }
        rest = &rest[written as usize..];
    }
}

/// Writes a number in decimal.
fn put_number(fd: c_int, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    put(fd, &digits[at..]);
}

/// The handler.
extern "C" fn bark(_signal: c_int) {
    let path = PATH.load(Ordering::Acquire);
    // SAFETY: the path is a C string that is never freed; open(2) is signal-safe.
    let file = unsafe { libc::open(path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, 0o644) };
    let fd = if file < 0 { 2 } else { file };
    put(fd, b"black box 1\nno tick for (micros) ");
    put_number(fd, LIMIT_MICROS.load(Ordering::Relaxed));
    put(fd, b"\n\nstack of the tick thread, innermost first (addr2line resolves the offsets)\n");
    let mut frames = [std::ptr::null_mut(); FRAMES_MAX];
    let n_frames = trace(&mut frames);
    write_frames(fd, &frames[..n_frames]);
    put(fd, b"\nlast ticks\ntick,work_nanos,late_nanos,is_degraded\n");
    let n = N_RECORDED.load(Ordering::Acquire);
    for i in n.saturating_sub(REMEMBERED)..n {
        for (field, slot) in SLOTS[i % REMEMBERED].0.iter().enumerate() {
            if field > 0 {
                put(fd, b",");
            }
            put_number(fd, slot.load(Ordering::Relaxed));
        }
        put(fd, b"\n");
    }
    put(2, b"watchdog: the tick thread stood still; the black box has its stack and its last ticks\n");
    // SAFETY: both are signal-safe; `_exit` runs no destructor.
    unsafe {
        if file >= 0 {
            libc::fsync(file);
        }
        libc::_exit(c_int::from(exit::WATCHDOG));
    }
}
