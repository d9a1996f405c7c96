//! Access reviews: whether a subject may do something.

use crate::access::Access;
use crate::object;
use crate::selector::FieldSelector;
use orknet_auth::Identity;
use orknet_auth::authz::{Attributes, Target};
use serde_json::{Value, json};

/// `SubjectAccessReviewStatus` of the attributes in `spec`.
pub fn review(access: &Access, who: &Identity, spec: &Value) -> Value {
    let text = |pointer: &str| object::text(spec, pointer);
    let attributes = if spec.get("nonResourceAttributes").is_some_and(Value::is_object) {
        Attributes { verb: text("/nonResourceAttributes/verb"), target: Target::Path(text("/nonResourceAttributes/path")) }
    } else {
        let target = Target::Resource {
            group: text("/resourceAttributes/group"),
            resource: text("/resourceAttributes/resource"),
            subresource: text("/resourceAttributes/subresource"),
            namespace: text("/resourceAttributes/namespace"),
            name: text("/resourceAttributes/name"),
        };
        Attributes { verb: text("/resourceAttributes/verb"), target }
    };
    let verdict = access.decide(who, &attributes, |field| selected(spec.pointer("/resourceAttributes/fieldSelector")?, field));
    let mut status = json!({ "allowed": verdict.allowed });
    if !verdict.reason.is_empty() {
        status["reason"] = verdict.reason.into();
    }
    status
}

/// The value that a `FieldSelectorAttributes` demands of a field, in whichever form it is written.
fn selected(selector: &Value, field: &str) -> Option<String> {
    if let Some(raw) = selector.get("rawSelector").and_then(Value::as_str).filter(|raw| !raw.is_empty()) {
        return FieldSelector::parse(raw).ok()?.exact(field).map(str::to_owned);
    }
    let requirements = selector.get("requirements")?.as_array()?;
    requirements.iter().find_map(|requirement| {
        let one = match object::strings(requirement.get("values"))[..] {
            [one] => one,
            _ => return None,
        };
        let demands = object::text(requirement, "/key") == field && object::text(requirement, "/operator") == "In";
        demands.then(|| one.to_owned())
    })
}

/// The subject that a `SubjectAccessReviewSpec` names.
pub fn subject(spec: &Value) -> Identity {
    Identity {
        username: object::text(spec, "/user").to_owned(),
        uid: object::text(spec, "/uid").to_owned(),
        groups: object::strings(spec.get("groups")).into_iter().map(str::to_owned).collect(),
        extra: serde_json::from_value(spec.get("extra").cloned().unwrap_or_else(|| json!({}))).unwrap_or_default(),
    }
}
