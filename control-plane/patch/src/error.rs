//! Why a patch was refused, and which HTTP status that is. The mapping to a `Status` object is the API server's.

/// A patch that cannot be applied. `Display` is what the user reads; it names the path where one is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself does not have the form of its media type (400 BadRequest).
    #[error("{0}")]
    Malformed(String),
    /// The patch is well formed, but this object cannot take it (422 Invalid).
    #[error("{path}: {reason}")]
    Unapplicable { path: String, reason: String },
    /// More operations, or more copied bytes, than the server is willing to process (413 RequestEntityTooLarge).
    #[error("{0}")]
    TooLarge(String),
}

impl PatchError {
    pub(crate) fn unapplicable(path: &str, reason: impl Into<String>) -> Self {
        let path = if path.is_empty() { "." } else { path };
        Self::Unapplicable { path: path.to_owned(), reason: reason.into() }
    }
}
