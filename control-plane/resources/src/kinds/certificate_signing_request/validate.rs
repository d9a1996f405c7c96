//! The rules of requests: what may be asked for, who is named as signer, which conditions may come and none may go.

use super::request;
use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::certificates::v1;
use std::collections::HashSet;

pub const APPROVED: &str = "Approved";
pub const DENIED: &str = "Denied";
pub const FAILED: &str = "Failed";

/// Shortest life that may be asked for, in seconds.
const SHORTEST: i32 = 600;
/// Longest domain, path and whole of a signer's name: room for `<domain>/<namespace>.<name>`.
const LONGEST_DOMAIN: usize = 253;
const LONGEST_SIGNER: usize = LONGEST_DOMAIN + 1 + 253 + 63 + 1;
/// Of the API before v1.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

/// What `spec.usages` may say, sorted as messages have it.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// What holds for every request.
pub fn whole(object: &v1::CertificateSigningRequest, errors: &mut Errors) {
    let at = Path::Root.field("spec");
    let spec = &object.spec;
    if let Err(why) = request::parse(&spec.request.0) {
        let shown = serde_json::to_value(&spec.request).unwrap_or_default();
        errors.invalid(&at.field("request"), shown, why);
    }
    let at_usages = at.field("usages");
    let usages = spec.usages.as_deref().unwrap_or_default();
    if usages.is_empty() {
        errors.required(&at_usages, "usages must be provided");
    }
    for (i, usage) in usages.iter().enumerate() {
        errors.one_of_if_set(&at_usages.index(i), Some(usage), USAGES);
    }
    let mut seen = HashSet::new();
    for (i, usage) in usages.iter().enumerate().filter(|(_, usage)| !seen.insert(usage.as_str())) {
        errors.duplicate(&at_usages.index(i), usage.as_str());
    }
    signer(&spec.signer_name, &at.field("signerName"), errors);
    if let Some(seconds) = spec.expiration_seconds.filter(|seconds| *seconds < SHORTEST) {
        errors.invalid(&at.field("expirationSeconds"), seconds, "may not specify a duration less than 600 seconds (10 minutes)");
    }
    let status = Path::Root.field("status");
    conditions(of(object), &status.field("conditions"), errors);
    let certificate = certificate(object);
    if !certificate.is_empty()
        && let Err(why) = request::check_certificates(certificate)
    {
        errors.invalid(&status.field("certificate"), "<certificate data>", why);
    }
}

/// What holds for a change through `subresource`.
pub fn change(new: &v1::CertificateSigningRequest, old: &v1::CertificateSigningRequest, subresource: Option<&str>, errors: &mut Errors) {
    whole(new, errors);
    let status = Path::Root.field("status");
    let at = status.field("conditions");
    for kind in [APPROVED, DENIED, FAILED] {
        if of_type(new, kind).len() < of_type(old, kind).len() {
            errors.forbidden(&at, format!("updates may not remove a condition of type {kind:?}"));
        }
    }
    for kind in [APPROVED, DENIED].into_iter().filter(|_| subresource != Some("approval")) {
        let (now, before) = (of_type(new, kind), of_type(old, kind));
        if now.len() > before.len() {
            errors.forbidden(&at, format!("updates may not add a condition of type {kind:?}"));
        } else if now.len() == before.len() && now != before {
            errors.forbidden(&at, format!("updates may not modify a condition of type {kind:?}"));
        }
    }
    if certificate(new) != certificate(old) {
        let at = status.field("certificate");
        if subresource != Some("status") {
            errors.forbidden(&at, "updates may not set certificate content");
        } else if !certificate(old).is_empty() {
            errors.forbidden(&at, "updates may not modify existing certificate content");
        }
    }
}

/// The conditions of an object.
pub fn of(object: &v1::CertificateSigningRequest) -> &[v1::CertificateSigningRequestCondition] {
    object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// The certificate that was issued; empty when none was.
pub fn certificate(object: &v1::CertificateSigningRequest) -> &[u8] {
    object.status.as_ref().and_then(|status| status.certificate.as_ref()).map(|bytes| &bytes.0[..]).unwrap_or_default()
}

fn of_type<'a>(object: &'a v1::CertificateSigningRequest, kind: &str) -> Vec<&'a v1::CertificateSigningRequestCondition> {
    of(object).iter().filter(|condition| condition.type_ == kind).collect()
}

fn conditions(list: &[v1::CertificateSigningRequestCondition], at: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, condition) in list.iter().enumerate() {
        let at = at.index(i);
        let at_type = at.field("type");
        let kind = condition.type_.as_str();
        if kind.is_empty() {
            errors.required(&at_type, "");
        }
        let allowed: &[&str] = if [APPROVED, DENIED, FAILED].contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        errors.one_of(&at.field("status"), Some(&condition.status), allowed);
        if (kind == APPROVED && seen.contains(DENIED)) || (kind == DENIED && seen.contains(APPROVED)) {
            errors.invalid(&at_type, kind, "Approved and Denied conditions are mutually exclusive");
        }
        if !seen.insert(kind) {
            errors.duplicate(&at_type, kind);
        }
    }
}

fn signer(name: &str, at: &Path<'_>, errors: &mut Errors) {
    if name == LEGACY_SIGNER {
        return errors.invalid(at, name, "the legacy signerName is not allowed via this API version");
    }
    if name.is_empty() {
        return errors.required(at, "signerName must be provided");
    }
    let parts: Vec<&str> = name.split('/').collect();
    let &[domain, path] = &parts[..] else {
        return errors.invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
    };
    if domain.len() > LONGEST_DOMAIN {
        errors.too_long(at, LONGEST_DOMAIN);
    }
    // Of the first label that is wrong alone: more would say the same.
    let mut first_wrong = |segment: &str, check: fn(&str) -> Vec<String>| {
        let wrong = segment.split('.').map(|label| (label, check(label))).find(|(_, found)| !found.is_empty());
        let (label, found) = wrong.unwrap_or_default();
        found.into_iter().for_each(|why| errors.invalid(at, segment, format!("validating label {label:?}: {why}")));
    };
    first_wrong(domain, names::label);
    first_wrong(path, names::subdomain);
    if !domain.contains('.') {
        errors.invalid(at, domain, "should be a domain with at least two segments separated by dots");
    }
    if name.len() > LONGEST_SIGNER {
        errors.too_long(at, LONGEST_SIGNER);
    }
}
