//! What is checked and filled in between the request and the commit: plug-ins in a fixed order ([`chain`]), asked in two stages, before the kind's rules
//! and after them. Reads the cache; what it writes, it adds to the object's own transaction.

mod asked;
mod certificates;
pub mod chain;
#[cfg(test)]
mod chain_tests;
mod claim_resize;
mod default_class;
mod escalation;
mod expression;
pub mod form;
mod limit_ranger;
mod mirror_pod;
mod namespace;
mod node_restriction;
mod plugins;
mod pod_security;
pub mod policies;
mod priority;
mod quota;
pub mod rules;
mod runtime_class;
mod service_account;
mod storage_protection;
mod taint_nodes;
mod tolerations;
pub mod webhooks;

pub use asked::Asked;
pub use chain::{Additions, Chain, Operation, Request};
pub use namespace::must_be_open;
pub use node_restriction::check_token;

use crate::error::ApiError;
use chain::Attributes;
use serde_json::Value;

/// The first stage of a create or an update: fills in fields, or refuses it. Answers whether a webhook has changed the object, so that what the
/// server sets is to be set again.
pub async fn mutate(request: Request<'_>, object: &mut Value, old: Option<&Value>, warnings: &mut Vec<String>) -> Result<bool, ApiError> {
    let mut attributes = Attributes::new(request, Some(object), old);
    let done = request.server.admission.mutate(&mut attributes).await;
    tell(done, &mut attributes, warnings)?;
    Ok(attributes.reinvocation.has_changed())
}

/// The second stage, right before the commit: refuses it, or says what is to be committed with it.
pub async fn validate(
    request: Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<Additions, ApiError> {
    let mut attributes = Attributes::new(request, Some(object), old);
    let done = request.server.admission.validate(&attributes).await;
    tell(done, &mut attributes, warnings)?;
    Ok(attributes.additions.into_inner())
}

/// Both stages for what is not kept as it is: the body of a subresource that something is made from, a question, the options of a stream.
pub async fn submit(request: Request<'_>, body: &mut Value, warnings: &mut Vec<String>) -> Result<(), ApiError> {
    both(Attributes::new(request, Some(body), None), warnings).await
}

/// Both stages of a deletion of `old`.
pub async fn delete(request: Request<'_>, old: &Value, warnings: &mut Vec<String>) -> Result<(), ApiError> {
    both(Attributes::new(request, None, Some(old)), warnings).await
}

async fn both(mut attributes: Attributes<'_>, warnings: &mut Vec<String>) -> Result<(), ApiError> {
    let chain = &attributes.server.admission;
    let mut done = chain.mutate(&mut attributes).await;
    if done.is_ok() {
        done = chain.validate(&attributes).await;
    }
    tell(done, &mut attributes, warnings)
}

/// Warnings are told with a refusal too.
fn tell(done: Result<(), ApiError>, attributes: &mut Attributes<'_>, warnings: &mut Vec<String>) -> Result<(), ApiError> {
    warnings.append(attributes.warnings.get_mut());
    done.map_err(|error| error.with_warnings(warnings.clone()))
}
