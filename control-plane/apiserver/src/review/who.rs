//! `TokenReview` and `SelfSubjectReview`: whose token this is, who I am.

use crate::access::Access;
use crate::object;
use orknet_auth::Identity;
use orknet_auth::tokens::API_AUDIENCE;
use serde_json::{Value, json};

/// `TokenReviewStatus`.
pub fn token_review(access: &Access, spec: &Value) -> Value {
    let token = object::text(spec, "/token");
    let audiences: Vec<String> = object::strings(spec.get("audiences")).into_iter().map(str::to_owned).collect();
    if let Some(verified) = access.tokens.verify(token, &audiences) {
        return json!({ "authenticated": true, "user": verified.identity, "audiences": verified.audiences });
    }
    // Other tokens are good for this server alone.
    let meant = audiences.is_empty() || audiences.iter().any(|audience| audience == API_AUDIENCE);
    match access.identity_of(token).filter(|_| meant) {
        Some(user) => json!({ "authenticated": true, "user": user, "audiences": [API_AUDIENCE] }),
        None => json!({ "user": {}, "error": "the token is not valid" }),
    }
}

/// `SelfSubjectReviewStatus`.
pub fn self_review(who: &Identity) -> Value {
    json!({ "userInfo": who })
}
