//! Requests for certificates: who asks is what the server knows of him; who approves, and who signs, must be allowed to for that signer; and nobody gets
//! a certificate that may do everything. Kubernetes' CertificateApproval, CertificateSigning and CertificateSubjectRestriction, and what its storage of
//! requests fills in.

use super::chain::{Attributes, Operation, Plugin};
use crate::error::ApiError;
use crate::kinds::StoredAs;
use crate::object;
use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use orknet_auth::Identity;
use orknet_auth::authn::GROUP_MASTERS;
use orknet_auth::authz;
use orknet_resources::kinds::certificate_signing_request::request;
use serde_json::{Value, json};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: StoredAs = (GROUP, "certificatesigningrequests");
/// The signer of certificates for anybody who is a client of the API server.
const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// Fills in who asks, and when conditions came. After webhooks, whatever they say (`PrepareForCreate` of Kubernetes' storage): a webhook does not say
/// whose certificate it shall be.
pub struct CertificateRequest;

#[async_trait]
impl Plugin for CertificateRequest {
    fn name(&self) -> &'static str {
        "CertificateRequest"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.is(REQUESTS) && matches!(what.operation, Operation::Create | Operation::Update)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        let (who, old) = (what.who, what.old);
        match (what.object.as_deref_mut(), old) {
            (Some(new), None) => set_requester(new, who),
            (Some(new), Some(old)) => set_times(new, old, &object::timestamp(0)),
            _ => {}
        }
        Ok(())
    }
}

/// Approving and denying takes the verb `approve` on the signer.
pub struct CertificateApproval;

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.is(REQUESTS) && what.operation == Operation::Update && what.subresource == Some("approval")
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        // Of the request as it is: an approver does not choose the signer.
        let signer = what.old.map(signer).unwrap_or_default();
        if may(what, "approve", signer) {
            Ok(())
        } else {
            Err(what.refusal(format!("user not permitted to approve requests with signerName {signer:?}")))
        }
    }
}

/// Signing, and saying that it failed, takes the verb `sign` on the signer.
pub struct CertificateSigning;

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.is(REQUESTS) && what.operation == Operation::Update && what.subresource == Some("status")
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let (Some(new), Some(old)) = (what.object.as_deref(), what.old) else { return Ok(()) };
        let same = |field: &str| new.pointer(field) == old.pointer(field);
        let signer = signer(old);
        if (same("/status/certificate") && same("/status/conditions")) || may(what, "sign", signer) {
            Ok(())
        } else {
            Err(what.refusal(format!("user not permitted to sign requests with signerName {signer:?}")))
        }
    }
}

/// Who may ask for certificates of API clients does not become a member of `system:masters` by it.
pub struct CertificateSubjectRestriction;

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.is(REQUESTS) && what.operation == Operation::Create && what.subresource.is_none()
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let why = what.object.as_deref().and_then(forbidden_subject);
        why.map_or(Ok(()), |why| Err(what.refusal(why)))
    }
}

fn signer(request: &Value) -> &str {
    object::text(request, "/spec/signerName")
}

/// Whether who acts may do so for the signer, by name or by all signers of its domain (`example.com/*`).
fn may(what: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let all = format!("{}/*", signer.split('/').next().unwrap_or_default());
    [signer, &all].into_iter().any(|name| {
        let target = authz::Target::Resource { group: GROUP, resource: "signers", subresource: "", namespace: "", name };
        what.server.access.allows(what.who, &authz::Attributes { verb, target })
    })
}

/// Whatever the client says of itself is replaced by what the server knows.
fn set_requester(request: &mut Value, who: &Identity) {
    let spec = object::map_at(request, "spec");
    ["username", "uid", "groups", "extra"].into_iter().for_each(|field| drop(spec.remove(field)));
    if !who.username.is_empty() {
        spec.insert("username".to_owned(), json!(who.username));
    }
    if !who.uid.is_empty() {
        spec.insert("uid".to_owned(), json!(who.uid));
    }
    if !who.groups.is_empty() {
        spec.insert("groups".to_owned(), json!(who.groups));
    }
    if !who.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(who.extra));
    }
}

/// Conditions without times get them: now, or when a condition of the same type and status came.
fn set_times(new: &mut Value, old: &Value, now: &str) {
    let before = old.pointer("/status/conditions").and_then(Value::as_array);
    let is_missing = |condition: &Value, field: &str| condition.get(field).is_none_or(Value::is_null);
    for condition in new.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let same = before.into_iter().flatten().find(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
        let came = same.and_then(|old| old.get("lastTransitionTime")).filter(|time| !time.is_null()).cloned();
        if is_missing(condition, "lastUpdateTime") {
            condition["lastUpdateTime"] = now.into();
        }
        if is_missing(condition, "lastTransitionTime") {
            condition["lastTransitionTime"] = came.unwrap_or_else(|| now.into());
        }
    }
}

fn forbidden_subject(object: &Value) -> Option<String> {
    if signer(object) != API_CLIENT {
        return None;
    }
    let pem = STANDARD.decode(object::text(object, "/spec/request")).unwrap_or_default();
    match request::parse(&pem) {
        Ok(asked) if asked.organizations.iter().any(|group| group == GROUP_MASTERS) => {
            Some(format!("use of {API_CLIENT} signer with {GROUP_MASTERS} group is not allowed"))
        }
        Ok(_) => None,
        Err(why) => Some(format!("failed to parse CSR: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_what_the_server_knows() {
        let mut request = json!({"spec": {"username": "system:admin", "groups": ["system:masters"], "uid": "1", "extra": {"a": ["b"]}, "signerName": "s"}});
        set_requester(&mut request, &Identity::authenticated("jane", ["dev".to_owned()]));
        assert_eq!(request["spec"], json!({"username": "jane", "groups": ["dev", "system:authenticated"], "signerName": "s"}));
    }

    #[test]
    fn conditions_keep_the_time_at_which_they_came() {
        let old = json!({"status": {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": "1"}]}});
        let mut new =
            json!({"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True", "lastUpdateTime": "2"}]}});
        set_times(&mut new, &old, "9");
        let expected = json!([{"type": "A", "status": "True", "lastUpdateTime": "9", "lastTransitionTime": "1"},
            {"type": "B", "status": "True", "lastUpdateTime": "2", "lastTransitionTime": "9"}]);
        assert_eq!(new["status"]["conditions"], expected);
    }
}
