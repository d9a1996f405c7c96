//! What is checked and filled in between the request and the kind's rules, in this order. Reads the cache, never writes.

mod escalation;
mod mirror_pod;
mod namespace;
mod node_restriction;
mod priority;
mod service_account;
mod tolerations;

pub use namespace::must_be_open;
pub use node_restriction::check_token;

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use crate::server::Server;
use node_restriction::Change;
use orknet_auth::Identity;
use serde_json::Value;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    Create,
    Update { subresource: Option<&'a str> },
}

/// Admits a create or an update, or refuses it; may fill in fields.
pub async fn admit(
    server: &Server,
    who: &Identity,
    kind: &Kind,
    operation: Operation<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let change = match (operation, old) {
        (Operation::Update { subresource }, Some(old)) => Change::Update { new: object, old, subresource },
        _ => Change::Create(object),
    };
    let uid_of = |node: &str| server.storage.caches.get(("", "nodes"), "", node).map(|node| object::uid(&node.value()).to_owned());
    node_restriction::check(who, kind, change, uid_of)?;
    let creates = operation == Operation::Create;
    let whole = creates || operation == Operation::Update { subresource: None };
    if creates {
        must_be_open(server, kind, object).await?;
    }
    if kind.descriptor().stored_as == ("", "pods") {
        if creates {
            service_account::inject(server, kind, object).await?;
            priority::resolve(server, kind, object)?;
        }
        if whole {
            tolerations::add_defaults(object);
        }
    }
    if whole {
        escalation::check(server, who, kind, object, old)?;
    }
    if kind.descriptor().plural == "priorityclasses" && whole {
        priority::check_single_default(server, kind, object, old)?;
    }
    Ok(())
}

/// Admits a deletion, or refuses it.
pub fn admit_delete(who: &Identity, kind: &Kind, object: &Value) -> Result<(), ApiError> {
    node_restriction::check(who, kind, Change::Delete(object), |_| None)?;
    namespace::may_be_deleted(kind, object)?;
    priority::may_be_deleted(kind, object)
}
