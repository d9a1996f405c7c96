//! Access reviews: whether a subject may do something.

use crate::access::Access;
use crate::object;
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
    if access.allows(who, &attributes) {
        json!({ "allowed": true, "reason": "RBAC: allowed by a binding of this subject" })
    } else {
        json!({ "allowed": false })
    }
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
