//! AdmissionReview, both ways: what a webhook is told, and what is made of its answer. Pure.
//! Source: admission.k8s.io/v1 and v1beta1; the texts are kube-apiserver's.

use super::hook::ReviewVersion;
use super::matching::namespace_of;
use crate::admission::chain::Attributes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orknet_resources::Descriptor;
use serde_json::{Value, json};

/// What a webhook says.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    pub allowed: bool,
    /// Why not: a `Status`.
    pub status: Value,
    /// Operations of a JSON patch; `None`: nothing is to be changed.
    pub patch: Option<Patch>,
    pub warnings: Vec<String>,
    /// For the audit log.
    pub annotations: Vec<(String, String)>,
}

/// How the object is to be changed.
#[derive(Debug, PartialEq)]
pub struct Patch {
    pub kind: String,
    pub bytes: Vec<u8>,
}

impl ReviewVersion {
    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// The review to send. `told`: the resource that the webhook is told about; `object` and `old` are in its form.
pub fn request(
    version: ReviewVersion,
    uid: &str,
    what: &Attributes<'_>,
    told: &Descriptor,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Value {
    let own = what.kind.descriptor();
    let kind = |names: &Descriptor| match what.form {
        Some(form) => json!({ "group": form.group, "version": form.version, "kind": form.kind }),
        None => json!({ "group": names.group, "version": names.version, "kind": names.kind }),
    };
    let resource = |names: &Descriptor| json!({ "group": names.group, "version": names.version, "resource": names.plural });
    let mut request = json!({
        "uid": uid,
        "kind": kind(told),
        "resource": resource(told),
        "requestKind": kind(own),
        "requestResource": resource(own),
        "operation": what.operation.name(),
        "userInfo": what.who,
        "object": object,
        "oldObject": old,
        "dryRun": what.dry_run,
        "options": what.options.to_value(what.operation),
    });
    let subresource = what.subresource.unwrap_or_default();
    for (field, value) in
        [("subResource", subresource), ("requestSubResource", subresource), ("name", what.name), ("namespace", namespace_of(what))]
    {
        if !value.is_empty() {
            request[field] = json!(value);
        }
    }
    json!({ "kind": "AdmissionReview", "apiVersion": version.api_version(), "request": request })
}

/// Reads an answer. The error says why it is none.
pub fn answer(version: ReviewVersion, uid: &str, is_mutating: bool, body: &[u8]) -> Result<Answer, String> {
    let review: Value = serde_json::from_slice(body)
        .map_err(|error| format!("failed to call webhook: couldn't get version/kind; json parse error: {error}"))?;
    let invalid = |why: String| Err(format!("received invalid webhook response: {why}"));
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&review, "apiVersion"), text(&review, "kind"));
    if kind.is_empty() {
        return Err(format!("failed to call webhook: Object 'Kind' is missing in '{}'", shortened(body)));
    }
    let Some(response) = review.get("response").filter(|response| response.is_object()) else {
        return invalid("webhook response was absent".to_owned());
    };
    let given = text(response, "uid");
    // Older webhooks say no uid.
    if version == ReviewVersion::V1 && given != uid {
        return invalid(format!("expected response.uid={uid:?}, got {given:?}"));
    }
    let expected = version.api_version();
    if api_version != expected || kind != "AdmissionReview" {
        return invalid(format!("expected webhook response of {expected}, Kind=AdmissionReview, got {api_version}, Kind={kind}"));
    }
    let patch = text(response, "patch");
    let bytes = match STANDARD.decode(&patch) {
        Ok(bytes) => bytes,
        Err(error) => return Err(format!("failed to call webhook: response.patch is not base64: {error}")),
    };
    let kind = response.get("patchType").filter(|kind| !kind.is_null());
    let why = match (is_mutating, version, bytes.is_empty(), kind) {
        (true, ReviewVersion::V1, false, None) => Some("webhook returned response.patch but not response.patchType"),
        (true, ReviewVersion::V1, true, Some(_)) => Some("webhook returned response.patchType but not response.patch"),
        (true, ReviewVersion::V1, false, Some(kind)) if kind == "" => Some("webhook returned invalid response.patchType of \"\""),
        (false, ReviewVersion::V1, false, _) => Some("validating webhook may not return response.patch"),
        (false, ReviewVersion::V1, true, Some(_)) => Some("validating webhook may not return response.patchType"),
        _ => None,
    };
    if let Some(why) = why {
        return invalid(why.to_owned());
    }
    let Some(allowed) = response.get("allowed").map_or(Some(false), Value::as_bool) else {
        return Err("failed to call webhook: response.allowed is not a boolean".to_owned());
    };
    let kind = kind.and_then(Value::as_str).unwrap_or("JSONPatch").to_owned();
    let warnings = response.get("warnings").and_then(Value::as_array).into_iter().flatten();
    Ok(Answer {
        allowed,
        status: response.get("status").cloned().unwrap_or_default(),
        patch: (is_mutating && !bytes.is_empty()).then_some(Patch { kind, bytes }),
        warnings: warnings.filter_map(Value::as_str).map(str::to_owned).collect(),
        annotations: (response.get("auditAnnotations").and_then(Value::as_object).into_iter().flatten())
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
    })
}

fn shortened(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(256)]).into_owned()
}

/// The `Status` of a refusal: its code is one of an error, and it says who refused.
pub fn refusal(webhook: &str, status: &Value) -> Value {
    let text = |field: &str| status.get(field).and_then(Value::as_str).unwrap_or_default();
    let denied = format!("admission webhook {webhook:?} denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = status.get("code").and_then(Value::as_u64).filter(|code| (400..1000).contains(code)).unwrap_or(400);
    json!({ "message": message, "reason": text("reason"), "code": code, "details": status.get("details").cloned().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(response: Value, is_mutating: bool) -> Result<Answer, String> {
        let review = json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response });
        answer(ReviewVersion::V1, "u", is_mutating, review.to_string().as_bytes())
    }

    #[test]
    fn an_answer_is_to_the_question_and_whole() {
        let patch = STANDARD.encode("[]");
        let invalid = |why: &str| Err(format!("received invalid webhook response: {why}"));
        for (response, is_mutating, expected) in [
            (json!({ "uid": "v" }), true, invalid("expected response.uid=\"u\", got \"v\"")),
            (json!({}), true, invalid("expected response.uid=\"u\", got \"\"")),
            (json!(null), true, invalid("webhook response was absent")),
            (json!({ "uid": "u", "patch": patch }), true, invalid("webhook returned response.patch but not response.patchType")),
            (json!({ "uid": "u", "patchType": "JSONPatch" }), true, invalid("webhook returned response.patchType but not response.patch")),
            (json!({ "uid": "u", "patch": patch, "patchType": "" }), true, invalid("webhook returned invalid response.patchType of \"\"")),
            (json!({ "uid": "u", "patch": patch }), false, invalid("validating webhook may not return response.patch")),
            (json!({ "uid": "u", "patchType": "JSONPatch" }), false, invalid("validating webhook may not return response.patchType")),
        ] {
            assert_eq!(read(response.clone(), is_mutating), expected, "{response}");
        }
        let full = read(json!({ "uid": "u", "allowed": true, "patch": patch, "patchType": "JSONPatch", "warnings": ["w"] }), true);
        let full = full.expect("reads");
        assert_eq!((full.allowed, &full.warnings[..]), (true, &["w".to_owned()][..]));
        assert_eq!(full.patch, Some(Patch { kind: "JSONPatch".into(), bytes: b"[]".to_vec() }));
        assert!(!read(json!({ "uid": "u" }), false).expect("reads").allowed);
    }

    #[test]
    fn what_is_no_review_is_no_answer() {
        let read = |body: &str| answer(ReviewVersion::V1, "u", false, body.as_bytes()).expect_err("no answer");
        assert!(read("<html>").starts_with("failed to call webhook: couldn't get version/kind; json parse error: "));
        assert_eq!(read("{}"), "failed to call webhook: Object 'Kind' is missing in '{}'");
        let other = read(r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","response":{"uid":"u","allowed":true}}"#);
        assert_eq!(
            other,
            "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview"
        );
    }

    #[test]
    fn older_webhooks_need_to_say_less() {
        let patch = STANDARD.encode("[]");
        let review =
            json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1", "response": { "allowed": true, "patch": patch } });
        let read = answer(ReviewVersion::V1Beta1, "u", true, review.to_string().as_bytes()).expect("reads");
        assert_eq!(read.patch.expect("a patch").kind, "JSONPatch");
    }

    #[test]
    fn a_refusal_says_who_and_is_an_error() {
        let of = |status: Value| refusal("a.b.c", &status);
        let message = |status: Value| of(status)["message"].as_str().map(str::to_owned).expect("text");
        assert_eq!(message(json!(null)), "admission webhook \"a.b.c\" denied the request without explanation");
        assert_eq!(message(json!({ "message": "no" })), "admission webhook \"a.b.c\" denied the request: no");
        assert_eq!(message(json!({ "reason": "Forbidden" })), "admission webhook \"a.b.c\" denied the request: Forbidden");
        assert_eq!(of(json!({ "code": 200 }))["code"], 400);
        assert_eq!(of(json!({ "code": 403, "reason": "Forbidden" }))["code"], 403);
    }
}
