//! One writer per state directory.
//! Invariant: the lock is the operating system's and ends with the process, however it ends; the file's text is the
//! owner's process id, for messages only.

use super::error::{Fault, PersistError, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Name of the lock file.
pub const LOCK_NAME: &str = "lock";

/// How long a taken lock is waited for, and how long between two tries: a killed process keeps it until the system has taken
/// it down, and a program that is just being started shares it until it runs.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// A held lock.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of `folder`; waits a second for one that is taken.
    ///
    /// # Errors
    /// When another process holds it for longer, with its id; when the file cannot be made.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_NAME);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = file.map_err(PersistError::writing(&path))?;
        let began = Instant::now();
        let taken = loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                taken => break taken,
            }
        };
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                let _ = file.take(32).read_to_string(&mut owner);
                let found = format!("process {} writes here", owner.trim());
                let remedy = "end that process, or use another directory";
                let expected = "no other engine on this state";
                return Err(PersistError::new(Fault::Busy, folder, "the lock", found, expected, remedy));
            }
            Err(TryLockError::Error(error)) => return Err(PersistError::writing(&path)(error)),
        }
        let text = format!("{}\n", std::process::id());
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())
        };
        write(&mut file).map_err(PersistError::writing(&path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_owner() {
        let folder = std::env::temp_dir().join(format!("nikola-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("writable");
        let first = Lock::take(&folder).expect("free");
        let error = Lock::take(&folder).expect_err("held");
        assert_eq!(error.fault, Fault::Busy);
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        drop(Lock::take(&folder).expect("free again"));
        std::fs::remove_dir_all(&folder).expect("removable");
    }
}
