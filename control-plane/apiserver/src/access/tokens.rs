//! Service-account tokens: verified by signature and time, then held against the account, pod and node that they are bound to.

use super::legacy::{self, Uses};
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
    issuer: Arc<TokenIssuer>,
    caches: Arc<Caches>,
    uses: Uses,
}

impl TokenReviewer {
    pub fn new(issuer: TokenIssuer, caches: Arc<Caches>) -> Self {
        Self { issuer: Arc::new(issuer), caches, uses: Uses::default() }
    }

    /// The signer.
    pub fn issuer(&self) -> &Arc<TokenIssuer> {
        &self.issuer
    }

    /// Uses of Secrets' tokens that are to be written down.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// The token, if it is good now for one of `audiences`.
    pub fn verify(&self, token: &str, audiences: &[String]) -> Option<Verified> {
        match self.issuer.verify(token, audiences) {
            Ok(verified) => self.is_bound(&verified.subject).then_some(verified),
            Err(_) => self.verify_legacy(token, audiences),
        }
    }

    /// The token of a Secret, which is for this server alone.
    fn verify_legacy(&self, token: &str, audiences: &[String]) -> Option<Verified> {
        let own = audiences.iter().find(|audience| *audience == API_AUDIENCE)?;
        let found = self.issuer.verify_legacy(token).ok()?;
        let (namespace, name) = (&found.namespace, &found.secret);
        let secret = self.caches.get(SECRETS, namespace, name)?.value();
        if let Err(why) = legacy::check(&secret, token) {
            tracing::warn!(namespace, name, account = found.account.name, ?why, "the token of a Secret was refused");
            return None;
        }
        if !self.lives(SERVICE_ACCOUNTS, namespace, &found.account) {
            return None;
        }
        self.uses.note(&found, &secret);
        let subject = Subject { namespace: namespace.clone(), serviceaccount: found.account.clone(), pod: None, node: None, secret: None };
        Some(Verified { identity: found.identity(), subject, audiences: vec![own.clone()] })
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
