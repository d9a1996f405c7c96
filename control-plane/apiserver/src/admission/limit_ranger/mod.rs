//! The limits of a namespace (LimitRanger): pods get what they do not say of requests and limits ([`defaults`]), and pods and claims stay within bounds
//! ([`bounds`]). A pod's containers are looked at when it is made and when it is resized, a claim whenever it is written; what is on its way out is
//! left alone.

mod bounds;
mod defaults;

use super::chain::{Attributes, Operation, Plugin};
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::object;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::LimitRange;

const RANGES: StoredAs = ("", "limitranges");
const PODS: StoredAs = ("", "pods");
const CLAIMS: StoredAs = ("", "persistentvolumeclaims");

/// See the module.
pub struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        let pod = match (what.operation, what.subresource) {
            (Operation::Create, None) | (Operation::Update, Some("resize")) => what.is(PODS),
            _ => false,
        };
        (pod || (what.is(CLAIMS) && what.writes_whole())) && !what.old.is_some_and(object::is_deleting)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        if what.operation != Operation::Create || !what.is(PODS) {
            return Ok(());
        }
        let ranges = ranges(what);
        if let Some(pod) = what.object.as_deref_mut() {
            ranges.iter().for_each(|range| defaults::fill_in(range, pod));
        }
        Ok(())
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let Some(object) = what.object.as_deref() else { return Ok(()) };
        // The first of them that complains, with all its complaints.
        for range in ranges(what) {
            let found = if what.is(PODS) { bounds::of_pod(&range, object) } else { bounds::of_claim(&range, object) };
            match &found[..] {
                [] => {}
                [only] => return Err(what.refusal(only)),
                several => return Err(what.refusal(format_args!("[{}]", several.join(", ")))),
            }
        }
        Ok(())
    }
}

/// Those of the object's namespace, by name.
fn ranges(what: &Attributes<'_>) -> Vec<LimitRange> {
    let Some(cache) = what.server.storage.caches.of(RANGES) else { return Vec::new() };
    let found = cache.snapshot(what.namespace).objects;
    found.iter().filter_map(|range| serde_json::from_slice(&range.json).ok()).collect()
}
