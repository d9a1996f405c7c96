//! `TokenReview` and `SelfSubjectReview`: whose token this is, who I am.

use crate::access::{Access, Known};
use crate::object;
use orknet_auth::Identity;
use serde_json::{Value, json};

/// `TokenReviewStatus`.
pub async fn token_review(access: &Access, spec: &Value) -> Value {
    let audiences: Vec<String> = object::strings(spec.get("audiences")).into_iter().map(str::to_owned).collect();
    match access.review(object::text(spec, "/token"), &audiences).await {
        Some(Known { identity, audiences }) => json!({ "authenticated": true, "user": identity, "audiences": audiences }),
        None => json!({ "user": {}, "error": "the token is not valid" }),
    }
}

/// `SelfSubjectReviewStatus`.
pub fn self_review(who: &Identity) -> Value {
    json!({ "userInfo": who })
}
