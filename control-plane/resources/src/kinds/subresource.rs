//! Bodies of subresources that are kinds of their own: Scale, Eviction, TokenRequest. What they do is the server's.

use crate::contract::{DecodeError, FieldError};
use crate::field::{Errors, Path};
use crate::typed::decode_body;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::policy::v1::Eviction;
use serde_json::Value;

/// Ten minutes to 2^32 seconds, as for projected tokens.
const TOKEN_SECONDS: std::ops::RangeInclusive<i64> = 600..=1 << 32;
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// A typed body with the paths of unknown fields.
pub type Body<T> = Result<(T, Vec<String>), DecodeError>;

/// `scale`: the number of replicas wanted.
pub fn scale(body: Value) -> Body<Scale> {
    decode_body(body)
}

/// The rules for a scale that comes in.
pub fn validate_scale(scale: &Scale) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let replicas = scale.spec.as_ref().and_then(|s| s.replicas).unwrap_or_default();
    errors.non_negative(&Path::Root.field("spec").field("replicas"), replicas);
    errors.into_list()
}

/// `eviction` of a pod, with the options of the deletion.
pub fn eviction(body: Value) -> Body<Eviction> {
    decode_body(body)
}

/// `token` of a service account, with the default lifetime.
pub fn token_request(body: Value) -> Body<TokenRequest> {
    let (mut request, unknown) = decode_body::<TokenRequest>(body)?;
    request.spec.expiration_seconds.get_or_insert(DEFAULT_TOKEN_SECONDS);
    Ok((request, unknown))
}

/// The rules for a token request.
pub fn validate_token_request(request: &TokenRequest) -> Vec<FieldError> {
    let mut errors = Errors::default();
    let at = Path::Root.field("spec");
    let seconds = request.spec.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
    if seconds < *TOKEN_SECONDS.start() {
        errors.invalid(&at.field("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > *TOKEN_SECONDS.end() {
        errors.invalid(&at.field("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
    }
    errors.into_list()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_are_read_strictly_and_checked() {
        let (scale, unknown) = scale(json!({"kind": "Scale", "spec": {"replicas": -1, "x": 1}})).unwrap();
        assert_eq!(unknown, ["spec.x"]);
        assert_eq!(validate_scale(&scale)[0].to_string(), "spec.replicas: Invalid value: -1: must be greater than or equal to 0");
        assert!(eviction(json!({"apiVersion": "v1", "kind": "Eviction"})).is_err());
        assert_eq!(eviction(json!({"metadata": {"name": "p"}})).unwrap().0.metadata.name.as_deref(), Some("p"));
        let (request, _) = token_request(json!({"spec": {"audiences": []}})).unwrap();
        assert_eq!(request.spec.expiration_seconds, Some(3600));
        let (short, _) = token_request(json!({"spec": {"expirationSeconds": 5}})).unwrap();
        assert_eq!(validate_token_request(&short)[0].field, "spec.expirationSeconds");
    }
}
