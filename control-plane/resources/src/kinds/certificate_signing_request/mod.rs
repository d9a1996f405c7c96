//! CertificateSigningRequest: somebody asks a signer for a certificate. Who asks is the server's to say (admission), whether it is granted and signed
//! the controllers' and people's, each through a subresource of its own.

pub mod request;
#[cfg(test)]
mod tests;
pub mod validate;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::Errors;
use crate::json;
use crate::names::NameRule;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::certificates::v1;
use serde_json::{Value, json};

pub struct CertificateSigningRequest;

impl Kind for CertificateSigningRequest {
    type Object = v1::CertificateSigningRequest;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["csr"],
        subresources: &["approval", "status"],
        ..cluster::<v1::CertificateSigningRequest>("certificatesigningrequests", "certificatesigningrequest")
    };
    const NAME: NameRule = NameRule::PathSegment;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        table::AGE,
        text("SignerName", "Who is asked to sign"),
        text("Requestor", "Who asks"),
        text("RequestedDuration", "How long the certificate is wanted to be good for"),
        text("Condition", "What became of the request"),
    ];

    fn prepare_create(object: &mut Value) {
        json::put(object, &["status"], json!({}));
    }

    fn prepare_update(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        json::keep(new, old, "spec");
        match subresource {
            Some("approval") => {
                let conditions = json::get(new, &["status", "conditions"]).cloned();
                json::keep(new, old, "status");
                if let Some(conditions) = conditions {
                    json::put(new, &["status", "conditions"], conditions);
                } else if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
                    status.remove("conditions");
                }
            }
            // What others decided stays as it was, word for word, unless something comes or goes: that is refused.
            Some("status") => [validate::APPROVED, validate::DENIED].into_iter().for_each(|kind| keep_conditions(new, old, kind)),
            _ => {}
        }
    }

    fn validate(object: &v1::CertificateSigningRequest, errors: &mut Errors) {
        validate::whole(object, errors);
    }

    fn validate_update(
        new: &v1::CertificateSigningRequest,
        old: &v1::CertificateSigningRequest,
        subresource: Subresource<'_>,
        errors: &mut Errors,
    ) {
        validate::change(new, old, subresource, errors);
    }

    fn cells(object: &v1::CertificateSigningRequest, now: i64) -> Vec<Value> {
        let spec = &object.spec;
        vec![
            table::name(&object.metadata),
            table::age(&object.metadata, now),
            table::or_none(Some(&spec.signer_name)),
            spec.username.as_deref().unwrap_or_default().into(),
            spec.expiration_seconds.map_or_else(|| "<none>".to_owned(), |seconds| table::duration(seconds.into())).into(),
            condition(object).into(),
        ]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", json::text(object, &["spec", "signerName"]))]
    }
}

/// `Approved,Issued`
fn condition(object: &v1::CertificateSigningRequest) -> String {
    let has = |kind: &str| validate::of(object).iter().any(|condition| condition.type_ == kind);
    let decided = if has(validate::DENIED) {
        "Denied"
    } else if has(validate::APPROVED) {
        "Approved"
    } else {
        "Pending"
    };
    let failed = if has(validate::FAILED) { ",Failed" } else { "" };
    let issued = if validate::certificate(object).is_empty() { "" } else { ",Issued" };
    format!("{decided}{failed}{issued}")
}

fn keep_conditions(new: &mut Value, old: &Value, kind: &str) {
    let is = |condition: &&Value| condition.get("type").and_then(Value::as_str) == Some(kind);
    let before: Vec<Value> =
        json::get(old, &["status", "conditions"]).and_then(Value::as_array).into_iter().flatten().filter(is).cloned().collect();
    let Some(conditions) = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else { return };
    let places: Vec<&mut Value> = conditions.iter_mut().filter(|condition| is(&&**condition)).collect();
    if places.len() == before.len() {
        places.into_iter().zip(before).for_each(|(place, condition)| *place = condition);
    }
}
