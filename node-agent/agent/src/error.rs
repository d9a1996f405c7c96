//! Why the agent cannot start or go on. Everything that may heal by itself is logged and tried again instead.

use std::path::PathBuf;

/// A failure that ends the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting makes no sense.
    #[error("agent configuration: {0}")]
    Config(&'static str),
    /// The programs cannot be loaded or attached.
    #[error(transparent)]
    Dataplane(#[from] crate::dataplane::Failure),
    /// The host has no cgroup v2 hierarchy.
    #[error("no cgroup2 file system is mounted; mount one (mount -t cgroup2 none /sys/fs/cgroup/unified) or name a directory")]
    NoCgroup,
    /// A kernel setting cannot be made.
    #[error("cannot set {path} to {value}: {source}; the agent needs a writable /proc/sys/net")]
    Sysctl {
        path: String,
        value: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// The socket for the CNI plugin cannot be opened.
    #[error("cannot listen on {path}: {source}")]
    Socket {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The address for metrics and health is taken or not ours.
    #[error("cannot serve metrics on {address}: {source}")]
    Http {
        address: std::net::SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// Netlink does not work.
    #[error("netlink: {operation}: {cause}")]
    Netlink {
        operation: String,
        /// The kernel's or the library's words.
        cause: String,
    },
    /// A file of the host cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Without the CNI plugin's records every pod of the node would be taken for gone.
    #[error("cannot learn which pods are on this node: {0}")]
    Records(#[source] orknet_cni::error::CniError),
    /// A part of the agent ended although nobody asked it to.
    #[error("the agent's {0} ended unexpectedly")]
    Ended(&'static str),
}
