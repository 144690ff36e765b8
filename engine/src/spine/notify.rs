//! Tells systemd that the service is up and alive (sd_notify(3)).
//! Invariant: does nothing unless systemd started this process; never fails the engine.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to systemd.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    address: SocketAddr,
    /// How often WATCHDOG=1 is expected, halved as sd_watchdog_enabled(3) advises; none without a watchdog.
    pub watchdog_every: Option<Duration>,
}

impl Notifier {
    /// From NOTIFY_SOCKET and WATCHDOG_USEC; none when this process was not started by systemd.
    pub fn from_environment() -> Option<Self> {
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Self::new(&std::env::var_os("NOTIFY_SOCKET")?, micros)
    }

    /// To a socket given by path, or by `@name` for an abstract one.
    pub fn new(socket: &std::ffi::OsStr, watchdog_micros: Option<u64>) -> Option<Self> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
            _ => SocketAddr::from_pathname(socket).ok()?,
        };
        let watchdog_every = watchdog_micros.map(|micros| Duration::from_micros(micros / 2));
        Some(Self { socket: UnixDatagram::unbound().ok()?, address, watchdog_every })
    }

    /// Sends a state such as `READY=1`.
    pub fn send(&self, state: &str) {
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, receiver: &UnixDatagram) {
        let notifier = Notifier::new(name.as_ref(), Some(2_000_000)).expect("an address");
        assert_eq!(notifier.watchdog_every, Some(Duration::from_secs(1)));
        notifier.send("READY=1");
        let mut bytes = [0; 64];
        let n = receiver.recv(&mut bytes).expect("a datagram");
        assert_eq!(&bytes[..n], b"READY=1");
    }

    #[test]
    fn paths_and_abstract_names_are_reached() {
        let path = std::env::temp_dir().join(format!("nikola-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        check(path.to_str().expect("UTF-8"), &UnixDatagram::bind(&path).expect("bound"));
        let _ = std::fs::remove_file(&path);
        let name = format!("nikola-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        check(&format!("@{name}"), &UnixDatagram::bind_addr(&address).expect("bound"));
    }
}
