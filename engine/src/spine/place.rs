//! Where a spine is: endpoints, the broker's public key, its key store; kept in `spine.json` of the run folder.
//! Invariant: nothing secret; a client needs nothing else to connect, except a key of its own.

use super::keys::{KeyError, write_durably};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file.
pub const FILE: &str = "spine.json";

/// Longest path of a Unix socket on Linux, without the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The four doors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// ROUTER, drained first.
    pub control: String,
    /// ROUTER.
    pub data: String,
    /// PUB.
    pub events: String,
    /// ROUTER for keys that are not known yet; refuses everybody unless pairing is open.
    pub pairing: String,
}

/// Why a place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The sockets' paths would be too long for the system.
    #[error(
        "{found} has {} bytes; expected at most {SOCKET_PATH_BYTES_MAX} for a socket\n  remedy: a shorter --out, or run \
         from a folder nearer to it",
        found.len()
    )]
    TooLong {
        /// The longest path.
        found: String,
    },
    /// Not of the form tcp://ADDRESS:PORT.
    #[error("{found:?} is no address to listen on; expected tcp://ADDRESS:PORT with a port below 65533")]
    Address {
        /// What was given.
        found: String,
    },
    /// No engine is known there.
    #[error("{path}: {reason}\n  remedy: name the folder of a running `nikola run` with --run", path = path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
        /// Why it is none.
        reason: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] KeyError),
}

impl Endpoints {
    /// Unix sockets in a folder, by whichever of its absolute and relative path is shorter.
    ///
    /// # Errors
    /// [`PlaceError::TooLong`].
    pub fn in_folder(folder: &Path) -> Result<Self, PlaceError> {
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let shorter = if absolute.as_os_str().len() <= SOCKET_PATH_BYTES_MAX - "/control.ipc".len() {
            absolute
        } else {
            folder.to_path_buf()
        };
        let path = |name: &str| shorter.join(name).display().to_string();
        let longest = path("control.ipc");
        if longest.len() > SOCKET_PATH_BYTES_MAX {
            return Err(PlaceError::TooLong { found: longest });
        }
        let endpoint = |name: &str| format!("ipc://{}", path(name));
        Ok(Self {
            control: endpoint("control.ipc"),
            data: endpoint("data.ipc"),
            events: endpoint("events.ipc"),
            pairing: endpoint("pairing.ipc"),
        })
    }

    /// Four TCP ports in a row.
    ///
    /// # Errors
    /// [`PlaceError::Address`].
    pub fn on_tcp(address: &str) -> Result<Self, PlaceError> {
        let wrong = || PlaceError::Address { found: address.into() };
        let (host, port) =
            address.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
        let port: u16 = port.parse().ok().filter(|port| (1..=65_532).contains(port)).ok_or_else(wrong)?;
        let endpoint = |offset| format!("tcp://{host}:{}", port + offset);
        Ok(Self { control: endpoint(0), data: endpoint(1), events: endpoint(2), pairing: endpoint(3) })
    }
}

/// Everything a client needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Process of the broker.
    pub pid: u32,
    /// On this machine.
    pub endpoints: Endpoints,
    /// On the network, when it was asked for.
    pub network: Option<Endpoints>,
    /// The broker's public key in Z85.
    pub server_key: String,
    /// Folder of the key store.
    pub keys: PathBuf,
}

impl Place {
    /// Writes `spine.json`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path) -> Result<(), PlaceError> {
        let text = serde_json::to_string_pretty(self).expect("strings and numbers are JSON") + "\n";
        Ok(write_durably(&folder.join(FILE), text.as_bytes())?)
    }

    /// Reads `spine.json` of a folder.
    ///
    /// # Errors
    /// [`PlaceError::NotFound`].
    pub fn read(folder: &Path) -> Result<Self, PlaceError> {
        let path = folder.join(FILE);
        let not_found = |reason: String| PlaceError::NotFound { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| not_found(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| not_found(error.to_string()))
    }

    /// The spine of `folder`, or of the newest run below `runs/` whose process is alive.
    ///
    /// # Errors
    /// [`PlaceError::NotFound`].
    pub fn find(folder: Option<&Path>) -> Result<Self, PlaceError> {
        if let Some(folder) = folder {
            return Self::read(folder);
        }
        let runs = Path::new("runs");
        let mut found: Vec<_> = std::fs::read_dir(runs)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let place = Self::read(&path).ok()?;
                let written = std::fs::metadata(path.join(FILE)).ok()?.modified().ok()?;
                Path::new("/proc").join(place.pid.to_string()).exists().then_some((written, place))
            })
            .collect();
        found.sort_by_key(|(written, _)| *written);
        let none = || PlaceError::NotFound { path: runs.into(), reason: "no running engine below it".into() };
        found.pop().map(|(_, place)| place).ok_or_else(none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_four_and_bounded() {
        let tcp = Endpoints::on_tcp("tcp://localhost:5550").expect("an address");
        assert_eq!(
            (tcp.control.as_str(), tcp.pairing.as_str()),
            ("tcp://localhost:5550", "tcp://localhost:5553")
        );
        for bad in ["localhost:5550", "tcp://x", "tcp://x:0", "tcp://x:65533", "ipc://x"] {
            assert!(Endpoints::on_tcp(bad).is_err(), "{bad}");
        }
        let long = Path::new("/").join("x".repeat(120));
        assert!(matches!(Endpoints::in_folder(&long), Err(PlaceError::TooLong { .. })));
    }
}
