//! The error of one reconcile, and the questions reconcilers ask about an answer of the API server.

/// A reconcile that did not reach its end; the key is tried again with back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request to the API server failed.
    #[error("{operation} failed")]
    Api {
        /// What was being done, with the object's name.
        operation: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// An object does not have the shape its kind demands.
    #[error("{0}")]
    Malformed(String),
}

impl Error {
    /// Wraps an API error with the operation that met it; for `map_err`.
    pub fn api(operation: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { operation: operation.into(), source: Box::new(source) }
    }

    /// Whether this is only a lost race, worth no warning: a conflict, or an object that came or went meanwhile.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::Api { source, .. } if is_conflict(source) || is_not_found(source) || is_already_exists(source))
    }
}

/// HTTP 409 with reason Conflict: the object changed since it was read.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason != "AlreadyExists")
}

/// HTTP 409 with reason AlreadyExists.
pub fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// HTTP 404.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// HTTP 410: the resource version or the kind is gone.
pub fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}

/// HTTP 422: the object was refused by validation; trying again without a change is pointless.
pub fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

/// HTTP 403 because the namespace is being deleted: nothing can be created there any more.
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.code == 403
        && (status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating")
            || status.message.contains("because it is being terminated"))
}
