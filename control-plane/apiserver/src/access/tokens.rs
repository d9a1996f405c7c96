//! Service-account tokens: verified by signature and time, then held against the account, pod and node that they are bound to.

use crate::cache::Caches;
use crate::kinds::StoredAs;
use crate::object;
use orknet_auth::tokens::{API_AUDIENCE, Reference, Subject, TokenError, TokenIssuer, Verified};
use std::sync::Arc;

const PODS: StoredAs = ("", "pods");
const NODES: StoredAs = ("", "nodes");
const SECRETS: StoredAs = ("", "secrets");
const SERVICE_ACCOUNTS: StoredAs = ("", "serviceaccounts");
/// A pod's token is good for this long after the pod was to be gone (as in Kubernetes).
const GRACE_SECONDS: i64 = 60;

/// See the module.
pub struct TokenReviewer {
    issuer: TokenIssuer,
    caches: Arc<Caches>,
}

impl TokenReviewer {
    pub fn new(issuer: TokenIssuer, caches: Arc<Caches>) -> Self {
        Self { issuer, caches }
    }

    /// The signer.
    pub fn issuer(&self) -> &TokenIssuer {
        &self.issuer
    }

    /// The token, if it is good now for one of `audiences`.
    pub fn verify(&self, token: &str, audiences: &[String]) -> Option<Verified> {
        let verified = self.issuer.verify(token, audiences).ok()?;
        self.is_bound(&verified.subject).then_some(verified)
    }

    /// A token for `subject`; no audiences means this server.
    pub fn issue(&self, subject: &Subject, audiences: &[String], seconds: i64) -> Result<String, TokenError> {
        let own = [API_AUDIENCE.to_owned()];
        let audiences = if audiences.is_empty() { &own } else { audiences };
        self.issuer.issue(subject, audiences, object::now_seconds(), seconds, &uuid::Uuid::new_v4().to_string())
    }

    fn is_bound(&self, subject: &Subject) -> bool {
        let namespace = &subject.namespace;
        self.lives(SERVICE_ACCOUNTS, namespace, &subject.serviceaccount)
            && subject.pod.as_ref().is_none_or(|pod| self.lives(PODS, namespace, pod))
            && subject.node.as_ref().is_none_or(|node| subject.pod.is_some() || self.lives(NODES, "", node))
            && subject.secret.as_ref().is_none_or(|secret| self.lives(SECRETS, namespace, secret))
    }

    fn lives(&self, kind: StoredAs, namespace: &str, reference: &Reference) -> bool {
        let Some(found) = self.caches.get(kind, namespace, &reference.name) else { return false };
        let value = found.value();
        let gone_at = object::unix_seconds(object::meta_str(&value, "deletionTimestamp"));
        object::uid(&value) == reference.uid && gone_at.is_none_or(|at| at + GRACE_SECONDS > object::now_seconds())
    }
}
