//! What is checked and filled in between the request and the commit: plug-ins in a fixed order ([`chain`]), asked in two stages, before the kind's rules
//! and after them. Reads the cache; what it writes, it adds to the object's own transaction.

mod chain;
#[cfg(test)]
mod chain_tests;
mod default_class;
mod escalation;
mod limit_ranger;
mod mirror_pod;
mod namespace;
mod node_restriction;
mod plugins;
mod pod_security;
mod priority;
mod quota;
mod runtime_class;
mod service_account;
mod taint_nodes;
mod tolerations;

pub use chain::{Additions, Chain, Operation, Request};
pub use namespace::must_be_open;
pub use node_restriction::check_token;

use crate::error::ApiError;
use chain::Attributes;
use serde_json::Value;

/// The first stage of a create or an update: fills in fields, or refuses it.
pub async fn mutate(request: Request<'_>, object: &mut Value, old: Option<&Value>, warnings: &mut Vec<String>) -> Result<(), ApiError> {
    let mut attributes = Attributes::new(request, Some(object), old);
    request.server.admission.mutate(&mut attributes).await?;
    warnings.append(attributes.warnings.get_mut());
    Ok(())
}

/// The second stage, right before the commit: refuses it, or says what is to be committed with it.
pub async fn validate(
    request: Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<Additions, ApiError> {
    let mut attributes = Attributes::new(request, Some(object), old);
    request.server.admission.validate(&attributes).await?;
    warnings.append(attributes.warnings.get_mut());
    Ok(attributes.additions.into_inner())
}

/// Both stages of a deletion of `old`.
pub async fn delete(request: Request<'_>, old: &Value) -> Result<(), ApiError> {
    both(Attributes::new(request, None, Some(old))).await
}

/// Both stages of a stream.
pub async fn connect(request: Request<'_>) -> Result<(), ApiError> {
    both(Attributes::new(request, None, None)).await
}

async fn both(mut attributes: Attributes<'_>) -> Result<(), ApiError> {
    let server = attributes.server;
    server.admission.mutate(&mut attributes).await?;
    server.admission.validate(&attributes).await
}
