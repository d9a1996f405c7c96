//! The crate's error: which operation failed, and why. Leaves reasons shown to users (events, waiting states) to `status::reason`.

use std::path::{Path, PathBuf};

/// What can fail in the kubelet. Every variant names the operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A CRI call to containerd.
    #[error("{operation}: {}", source.message())]
    Cri {
        /// Name of the CRI method.
        operation: &'static str,
        /// containerd's answer, or the transport's error.
        #[source]
        source: Box<tonic::Status>,
    },
    /// A call to the Kubernetes API.
    #[error("{operation}: {source}")]
    Api {
        /// What was asked.
        operation: String,
        /// The server's answer, or the transport's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A file operation.
    #[error("{operation} {}: {source}", path.display())]
    File {
        /// Verb, as in "write".
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// The server's certificates or its listening socket.
    #[error("server: {0}")]
    Server(String),
    /// Something in the configuration or a pod that cannot be done.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Makes a mapper for `map_err` on file operations.
    pub fn file(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { operation, path, source }
    }

    /// Makes a mapper for `map_err` on CRI calls.
    pub fn cri(operation: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |source| Self::Cri { operation, source: Box::new(source) }
    }

    /// Makes a mapper for `map_err` on API calls.
    pub fn api(operation: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let operation = operation.into();
        move |source| Self::Api { operation, source: Box::new(source) }
    }

    /// What containerd said, alone: so Kubernetes tells why a container was not created or started.
    pub fn said(&self) -> String {
        match self {
            Self::Cri { source, .. } => source.message().to_owned(),
            other => other.to_string(),
        }
    }

    /// What containerd said, as Kubernetes tells of failed pulls and sandboxes: with gRPC's code.
    pub fn as_rpc(&self) -> String {
        let Self::Cri { source, .. } = self else { return self.to_string() };
        let code = match source.code() {
            // The two that grpc-go spells otherwise.
            tonic::Code::Ok => "OK".to_owned(),
            tonic::Code::Cancelled => "Canceled".to_owned(),
            code => format!("{code:?}"),
        };
        format!("rpc error: code = {code} desc = {}", source.message())
    }

    /// True when a CRI call failed because the named object is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Cri { source, .. } if source.code() == tonic::Code::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containerd_said_is_told_as_kubernetes_tells_it() {
        let error = Error::cri("PullImage")(tonic::Status::not_found("no such image"));
        assert_eq!(error.said(), "no such image");
        assert_eq!(error.as_rpc(), "rpc error: code = NotFound desc = no such image");
        assert_eq!(Error::cri("x")(tonic::Status::cancelled("m")).as_rpc(), "rpc error: code = Canceled desc = m");
        assert_eq!(Error::Invalid("m".into()).as_rpc(), "m");
    }
}
