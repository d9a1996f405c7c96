//! Claims grow only where their class allows it (PersistentVolumeClaimResize). That they are bound when they do is a rule of their kind, too.

use super::chain::{Attributes, Operation, Plugin};
use super::default_class::STORAGE;
use crate::error::ApiError;
use crate::object;
use async_trait::async_trait;
use orknet_resources::quantity::Quantity;
use serde_json::Value;

/// See the module.
pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.operation == Operation::Update && what.subresource.is_none() && what.is(STORAGE.of)
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let (Some(new), Some(old)) = (what.object.as_deref(), what.old) else { return Ok(()) };
        if size(new) <= size(old) {
            return Ok(());
        }
        if object::text(old, "/status/phase") != "Bound" {
            return Err(what.refusal("Only bound persistent volume claims can be expanded"));
        }
        let (class, before) = (STORAGE.of_object(new), STORAGE.of_object(old));
        let found = (class == before && !class.is_empty()).then(|| what.server.storage.caches.get(STORAGE.classes, "", class)).flatten();
        let may_grow = found.is_some_and(|class| class.value().get("allowVolumeExpansion").and_then(Value::as_bool) == Some(true));
        if may_grow {
            return Ok(());
        }
        Err(what
            .refusal("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
    }
}

/// What a claim requests; nothing, if that is not said.
fn size(claim: &Value) -> Option<Quantity> {
    Quantity::parse(object::text(claim, "/spec/resources/requests/storage")).ok()
}
