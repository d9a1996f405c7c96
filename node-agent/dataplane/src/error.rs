//! What can go wrong between a node and its kernel. Each error is one line that names the operation and, where there is one, the remedy.

use crate::Hook;
use std::{io, path::PathBuf};

/// A failed operation on the data plane.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The build found no BPF toolchain.
    #[error("this binary was built without the BPF programs ({missing} was missing); run `cargo xtask setup` and build again")]
    NoPrograms {
        /// What the build did not find.
        missing: &'static str,
    },
    /// The kernel lacks something that nothing replaces.
    #[error("the kernel lacks {feature}; {remedy}")]
    MissingFeature {
        /// The feature, as kernel documents call it.
        feature: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// Object file and ABI disagree.
    #[error("the BPF programs and this binary disagree about map {map}: {what}; build both from one tree")]
    ObjectMismatch {
        /// The map's name.
        map: String,
        /// In what they differ.
        what: String,
    },
    /// A pinned map is not what the ABI and the configuration say, although its version is the same.
    #[error("the pinned map {path} does not fit: {what}; an agent of this version that starts makes maps that do")]
    PinMismatch {
        /// The pin.
        path: PathBuf,
        /// In what it differs.
        what: String,
    },
    /// A capacity was configured for a map that there is not, or one of zero.
    #[error("capacities: {map}: {what}")]
    Capacity {
        /// The name in the configuration.
        map: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The object file could not be loaded.
    #[error("can't load the BPF programs: {0}")]
    Load(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The kernel's verifier or loader refused one program.
    #[error("the kernel refuses the program {hook}: {reason}")]
    ProgramRefused {
        /// Which program.
        hook: Hook,
        /// The kernel's error and the last line of the verifier's log.
        reason: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nothing is pinned there: no agent of this version has run.
    #[error("no maps of this version in {path}; is the agent of this node running, with this pin directory?")]
    NotPinned {
        /// The directory that was looked at.
        path: PathBuf,
    },
    /// Attaching or replacing a program failed.
    #[error("can't attach {hook} to {target}: {source}")]
    Attach {
        hook: Hook,
        /// The cgroup's path or the device.
        target: String,
        #[source]
        source: io::Error,
    },
    /// The clsact queueing discipline or a filter on it failed.
    #[error("can't attach {hook} to {target} through clsact: {source}")]
    Clsact {
        hook: Hook,
        /// The device.
        target: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The path is not a cgroup of version 2.
    #[error("{path} is not a cgroup v2 directory; name one below the cgroup2 mount")]
    NotACgroup { path: PathBuf },
    /// An operation on one map failed.
    #[error("can't {operation} map {map}: {source}")]
    Map {
        operation: &'static str,
        map: &'static str,
        #[source]
        source: io::Error,
    },
    /// A file operation failed.
    #[error("can't {operation} {path}: {source}")]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A test run of a program failed.
    #[error("can't run {hook} on a packet: {source}")]
    Run {
        hook: Hook,
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { operation, path, source }
    }

    pub(crate) fn map(operation: &'static str, map: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Map { operation, map, source }
    }
}
