//! Pure: a request in; what is to be done with it out. The signers' rules and the cleaner's times are those of kube-controller-manager 1.33
//! (`pkg/controller/certificates`).

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orknet_auth::authn::GROUP_NODES;
use orknet_resources::kinds::certificate_signing_request::request::{self, Request};
use orknet_resources::kinds::certificate_signing_request::validate::{APPROVED, DENIED, FAILED, certificate, of};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// How long a request is kept after its end, and how long one that nobody decides.
const ENDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// What a node's name begins with.
const NODE: &str = "system:node:";

/// What is next for a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Approve it if who asks may `create` one of these subresources of requests; the first that he may is told of.
    Approve(Vec<Grant>),
    /// A node asks for its own serving certificate: approve it if its names and addresses are the node's. The node, and what it asks for.
    Compare(String, Request),
    Sign(Request),
    /// What is approved breaks its signer's rules.
    Fail(String),
    Delete,
}

/// A permission by which a request is approved without anybody's doing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub subresource: &'static str,
    pub message: &'static str,
}

/// The step, and when to look again if nothing changes.
pub(super) fn plan(request: &CertificateSigningRequest, now: Timestamp) -> (Step, Option<Duration>) {
    let end = end(request);
    if end.is_some_and(|end| now >= end) {
        return (Step::Delete, None);
    }
    (step(request), end.and_then(|end| Duration::try_from(end.duration_since(now)).ok()))
}

fn step(object: &CertificateSigningRequest) -> Step {
    let has = |kind: &str| of(object).iter().any(|condition| condition.type_ == kind);
    let spec = &object.spec;
    let usages: BTreeSet<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    let Ok(asked) = request::parse(&spec.request.0) else { return Step::Nothing };
    if !certificate(object).is_empty() || has(DENIED) || has(FAILED) {
        return Step::Nothing;
    }
    if !has(APPROVED) {
        if spec.signer_name == KUBELET_SERVING {
            return own_serving(object, asked, &usages);
        }
        let is_kubelets = spec.signer_name == KUBELET_CLIENT && kubelet_client(&asked, &usages).is_ok();
        let is_own = spec.username.as_deref() == Some(&asked.common_name);
        let own =
            Grant { subresource: "selfnodeclient", message: "Auto approving self kubelet client certificate after SubjectAccessReview." };
        let first = Grant { subresource: "nodeclient", message: "Auto approving kubelet client certificate after SubjectAccessReview." };
        return match (is_kubelets, is_own) {
            (false, _) => Step::Nothing,
            (true, false) => Step::Approve(vec![first]),
            (true, true) => Step::Approve(vec![own, first]),
        };
    }
    let judged = match spec.signer_name.as_str() {
        API_CLIENT => api_client(spec.usages.as_deref().unwrap_or_default()),
        KUBELET_CLIENT => kubelet_client(&asked, &usages),
        KUBELET_SERVING => kubelet_serving(&asked, &usages),
        // Somebody else's.
        _ => return Step::Nothing,
    };
    judged.map_or_else(Step::Fail, |()| Step::Sign(asked))
}

/// Of the node that asks, as its own credentials say, and of nobody else.
fn own_serving(object: &CertificateSigningRequest, asked: Request, usages: &BTreeSet<&str>) -> Step {
    let spec = &object.spec;
    let is_node = spec.groups.iter().flatten().any(|group| group == GROUP_NODES);
    let is_own = spec.username.as_deref() == Some(&asked.common_name);
    match asked.common_name.strip_prefix(NODE).map(str::to_owned) {
        Some(node) if is_node && is_own && !node.is_empty() && kubelet_serving(&asked, usages).is_ok() => Step::Compare(node, asked),
        _ => Step::Nothing,
    }
}

/// When the request is to be cleaned away, as things are.
fn end(object: &CertificateSigningRequest) -> Option<Timestamp> {
    let mut ends = Vec::new();
    let issued = certificate(object);
    for condition in of(object) {
        let is_over = match condition.type_.as_str() {
            APPROVED => !issued.is_empty(),
            kind => kind == DENIED || kind == FAILED,
        };
        if is_over {
            ends.extend(condition.last_update_time.as_ref().and_then(|time| time.0.checked_add(ENDED).ok()));
        }
        if condition.type_ == APPROVED {
            ends.extend(request::not_after(issued).and_then(|seconds| Timestamp::from_second(seconds).ok()));
        }
    }
    if of(object).is_empty() {
        ends.extend(object.metadata.creation_timestamp.as_ref().and_then(|time| time.0.checked_add(PENDING).ok()));
    }
    ends.into_iter().min()
}

/// How long the certificate is to be good for: as asked, within ten minutes and `longest`.
pub(super) fn life(asked: Option<i32>, longest: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_secs(600);
    let Some(asked) = asked else { return longest };
    let asked = Duration::from_secs(u64::try_from(asked).unwrap_or_default());
    if asked > longest { longest } else { asked.max(SHORTEST) }
}

fn api_client(usages: &[String]) -> Result<(), String> {
    let stranger = usages.iter().find(|usage| !["digital signature", "key encipherment", "client auth"].contains(&usage.as_str()));
    if let Some(usage) = stranger {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    let is_client = usages.iter().any(|usage| usage == "client auth");
    if is_client { Ok(()) } else { Err("missing required usage for client certificate: client auth".to_owned()) }
}

fn kubelet_client(asked: &Request, usages: &BTreeSet<&str>) -> Result<(), String> {
    node_organization(asked)?;
    for (names, what) in [(asked.dns.len(), "DNS"), (asked.emails.len(), "Email"), (asked.ips.len(), "IP"), (asked.uris.len(), "URI")] {
        if names > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    node_name(asked)?;
    node_usages(usages, "client auth")
}

fn kubelet_serving(asked: &Request, usages: &BTreeSet<&str>) -> Result<(), String> {
    node_organization(asked)?;
    if asked.dns.is_empty() && asked.ips.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    for (names, what) in [(asked.emails.len(), "Email"), (asked.uris.len(), "URI")] {
        if names > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    node_usages(usages, "server auth")?;
    node_name(asked)
}

fn node_organization(asked: &Request) -> Result<(), String> {
    if asked.organizations == [GROUP_NODES] { Ok(()) } else { Err("subject organization is not system:nodes".to_owned()) }
}

fn node_name(asked: &Request) -> Result<(), String> {
    if asked.common_name.starts_with(NODE) { Ok(()) } else { Err("subject common name does not begin with system:node:".to_owned()) }
}

/// Encipherment is of RSA keys alone.
fn node_usages(usages: &BTreeSet<&str>, role: &str) -> Result<(), String> {
    let plain = BTreeSet::from(["digital signature", role]);
    let with_rsa = BTreeSet::from(["digital signature", "key encipherment", role]);
    if *usages == plain || *usages == with_rsa {
        return Ok(());
    }
    let names: Vec<&str> = with_rsa.into_iter().collect();
    Err(format!("usages did not match [{}]", names.join(" ")))
}
