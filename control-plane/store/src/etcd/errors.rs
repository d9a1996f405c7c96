//! What etcd's errors mean to the store's callers. Pure.

use crate::StoreError;
use crate::limits::MAX_VALUE;
use etcd_client::{Error, ResponseHeader};
use std::time::Duration;
use tonic::{Code, Status};

/// Translates an error. Revisions in the result are 0 where etcd does not tell them.
pub fn convert(operation: &'static str, error: Error) -> StoreError {
    match error {
        Error::GRpcStatus(status) => convert_status(operation, status),
        Error::TransportError(error) => StoreError::Unavailable(chain(&error)),
        Error::IoError(error) => StoreError::Unavailable(error.to_string()),
        Error::WatchError(reason) => StoreError::Unavailable(reason),
        other => StoreError::Failed { operation, source: Box::new(other) },
    }
}

/// etcd's revision of an answer.
pub fn revision(header: Option<ResponseHeader>) -> Result<i64, StoreError> {
    header
        .map(|header| header.revision())
        .ok_or_else(|| StoreError::Failed { operation: "read etcd's answer", source: "it has no header".into() })
}

/// etcd did not answer in time.
pub fn too_slow(operation: &'static str, within: Duration) -> StoreError {
    StoreError::Unavailable(format!("etcd did not {operation} within {within:?}"))
}

/// Whether the request cannot have reached etcd, because there was no connection to send it on.
pub fn was_never_sent(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    std::iter::successors(std::error::Error::source(status), |error| error.source()).any(|error| error.is::<tonic::ConnectError>())
}

/// Whether etcd was not there, or not able to answer.
pub fn is_unavailable(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => is_outage(status),
        Error::TransportError(_) | Error::IoError(_) | Error::WatchError(_) => true,
        _ => false,
    }
}

/// Whether a put named a lease that has expired or was revoked.
pub fn is_lease_gone(error: &StoreError) -> bool {
    matches!(error, StoreError::Failed { source, .. } if source.to_string().contains("lease not found"))
}

/// The messages are etcd's (api/v3rpc/rpctypes); its codes alone do not tell them apart.
fn convert_status(operation: &'static str, status: Status) -> StoreError {
    let message = status.message();
    match status.code() {
        Code::OutOfRange if message.contains("has been compacted") => StoreError::Compacted { requested: 0, oldest: 0 },
        Code::OutOfRange if message.contains("future revision") => StoreError::FutureRevision { requested: 0, newest: 0 },
        Code::ResourceExhausted if message.contains("space exceeded") => StoreError::NoSpace(message.to_owned()),
        Code::InvalidArgument if message.contains("request is too large") => {
            StoreError::TooLarge { key: "the commit".into(), size: MAX_VALUE, limit: MAX_VALUE }
        }
        _ if is_outage(&status) => StoreError::Unavailable(chain(&status)),
        _ => StoreError::Failed { operation, source: Box::new(status) },
    }
}

fn is_outage(status: &Status) -> bool {
    match status.code() {
        Code::ResourceExhausted => !status.message().contains("space exceeded"),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => true,
        // tonic's answer when the connection breaks under a request.
        Code::Unknown | Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    }
}

/// The error with what caused it, since transports say only "transport error" themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, message: &str) -> StoreError {
        convert("test", Error::GRpcStatus(Status::new(code, message)))
    }

    #[test]
    fn etcds_messages_become_the_stores_errors() {
        let compacted = of(Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted");
        assert!(matches!(compacted, StoreError::Compacted { .. }));
        let future = of(Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision");
        assert!(matches!(future, StoreError::FutureRevision { .. }));
        assert!(matches!(of(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded"), StoreError::NoSpace(_)));
        assert!(matches!(of(Code::ResourceExhausted, "etcdserver: too many requests"), StoreError::Unavailable(_)));
        assert!(matches!(of(Code::InvalidArgument, "etcdserver: request is too large"), StoreError::TooLarge { .. }));
        assert!(matches!(of(Code::Unavailable, "etcdserver: request timed out"), StoreError::Unavailable(_)));
        assert!(is_lease_gone(&of(Code::NotFound, "etcdserver: requested lease not found")));
    }
}
