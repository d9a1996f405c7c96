//! One change at a time: `up` and `down` of a cluster exclude each other, and what clusters share on the host is touched by one.
//!
//! A lock is a listening socket with an abstract name (unix(7)): it is gone with its process, and leaves no file.

use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

/// Held until dropped.
pub struct Lock {
    _socket: UnixListener,
}

impl Lock {
    /// For changing the cluster of this name. Blocking, up to `patience`.
    pub fn cluster(name: &str, patience: Duration) -> Result<Self> {
        let busy = || format!("`orknet up` or `orknet down` is at work on cluster {name:?}; remedy: wait for it, or end it");
        Self::take(&format!("orknet/cluster/{name}"), patience).with_context(busy)
    }

    /// For changing what all clusters share: directories above theirs, /run/netns, /run/containerd. Blocking.
    pub fn host() -> Result<Self> {
        Self::take("orknet/host", Duration::from_secs(30)).context("another cluster is being brought up or down and does not end")
    }

    fn take(name: &str, patience: Duration) -> Result<Self> {
        let address = SocketAddr::from_abstract_name(name).context("the name of a lock is too long")?;
        let end = Instant::now() + patience;
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(socket) => return Ok(Self { _socket: socket }),
                Err(error) if error.kind() != ErrorKind::AddrInUse => return Err(error).context("cannot make a lock"),
                Err(_) if Instant::now() > end => bail!("waited {patience:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_until_it_is_dropped() {
        let name = format!("test-{}", std::process::id());
        let first = Lock::cluster(&name, Duration::ZERO).unwrap();
        let error = Lock::cluster(&name, Duration::ZERO).err().unwrap();
        assert!(error.to_string().contains("at work on cluster"), "{error:#}");
        drop(first);
        Lock::cluster(&name, Duration::ZERO).unwrap();
    }
}
