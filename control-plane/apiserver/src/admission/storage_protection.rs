//! New claims and volumes are held by a finalizer while they are used (StorageObjectInUseProtection). A controller takes it off.

use super::chain::{Attributes, Operation, Plugin};
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::object;
use async_trait::async_trait;
use serde_json::Value;

/// What is held, and by which finalizer.
const HELD: [(StoredAs, &str); 2] =
    [(("", "persistentvolumeclaims"), "kubernetes.io/pvc-protection"), (("", "persistentvolumes"), "kubernetes.io/pv-protection")];

/// See the module.
pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.operation == Operation::Create && what.subresource.is_none() && finalizer(what).is_some()
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        if let (Some(finalizer), Some(object)) = (finalizer(what), what.object.as_deref_mut()) {
            hold(object, finalizer);
        }
        Ok(())
    }
}

fn finalizer(what: &Attributes<'_>) -> Option<&'static str> {
    HELD.iter().find(|(place, _)| what.is(*place)).map(|(_, finalizer)| *finalizer)
}

fn hold(object: &mut Value, finalizer: &str) {
    let mut finalizers: Vec<String> = object::finalizers(object).into_iter().map(str::to_owned).collect();
    if !finalizers.iter().any(|present| present == finalizer) {
        finalizers.push(finalizer.to_owned());
        object::set_finalizers(object, &finalizers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_finalizer_is_there_once_after_others() {
        let (_, own) = HELD[0];
        for (given, expected) in
            [(json!(null), json!([own])), (json!(["a.b/c"]), json!(["a.b/c", own])), (json!([own, "a.b/c"]), json!([own, "a.b/c"]))]
        {
            let mut claim = json!({ "metadata": { "finalizers": given } });
            hold(&mut claim, own);
            assert_eq!(claim["metadata"]["finalizers"], expected);
        }
    }
}
