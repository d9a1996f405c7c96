//! Network namespaces: work done inside of another one, on a thread of its own, so that no other code ever runs there by accident.

use crate::error::{CniError, Code};
use crate::netlink::Netlink;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// An open network namespace; stays usable when its path goes away.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// The namespace at a path, or `None` if there is none (any more).
    pub fn open(path: &Path) -> Result<Option<Self>, CniError> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CniError::new(Code::UnknownContainer, format!("opening the namespace {}", path.display()), error)),
        }
    }

    /// The namespace that this process runs in: the node's.
    pub fn own() -> Result<Self, CniError> {
        // The thread's, not the process's: the same here, and right in tests that run in threads of other namespaces.
        let path = "/proc/thread-self/ns/net";
        File::open(path).map(Self).map_err(|error| CniError::new(Code::Io, format!("opening {path}"), error))
    }

    /// The open file, to name the namespace to the kernel.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Runs `work` inside, with a netlink connection there. Blocks until it is done.
    pub fn enter<T: Send>(&self, work: impl FnOnce(&Netlink) -> Result<T, CniError> + Send) -> Result<T, CniError> {
        let inside = || {
            setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET)
                .map_err(|error| CniError::new(Code::Network, "entering the network namespace", error))?;
            work(&Netlink::connect()?)
        };
        let outcome = std::thread::scope(|scope| scope.spawn(inside).join());
        outcome.unwrap_or_else(|_| Err(CniError::new(Code::Network, "working in the network namespace", "the thread panicked")))
    }
}
