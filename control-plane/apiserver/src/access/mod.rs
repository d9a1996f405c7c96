//! Who is asking and whether they may, from the objects in the cache: service accounts behind tokens, roles and bindings.

mod bootstrap_tokens;
pub mod legacy;
mod nodes;
mod oidc;
mod remote;
mod rules;
mod tokens;
mod webhook;

pub use nodes::Nodes;
pub use oidc::Oidc;
pub use rules::Rules;
pub use tokens::TokenReviewer;
pub use webhook::TokenWebhook;

use crate::cache::Caches;
use orknet_auth::Identity;
use orknet_auth::authn::{GROUP_MASTERS, StaticTokens, identity_from_certificate};
use orknet_auth::authz::Attributes;
use orknet_auth::node::{NoOpinion, node_of};
use orknet_auth::tokens::API_AUDIENCE;
use std::sync::Arc;

/// Authentication and authorization.
pub struct Access {
    pub tokens: TokenReviewer,
    pub rules: Rules,
    pub nodes: Nodes,
    /// Issuers that are believed, and who may come in without any credentials.
    pub oidc: Oidc,
    static_tokens: StaticTokens,
    webhook: Option<TokenWebhook>,
    caches: Arc<Caches>,
}

/// Whose a bearer token is.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub identity: Identity,
    /// Of the audiences that were asked for, those that the token is for.
    pub audiences: Vec<String>,
}

impl Access {
    pub fn new(caches: Arc<Caches>, tokens: TokenReviewer, static_tokens: StaticTokens, oidc: Oidc, webhook: Option<TokenWebhook>) -> Self {
        Self { tokens, rules: Rules::new(caches.clone()), nodes: Nodes::new(caches.clone()), oidc, static_tokens, webhook, caches }
    }

    /// Whose request this is: by the certificate that TLS has verified, else by bearer token, as in Kubernetes. Who is known by the one is not asked for
    /// the other. `None`: nobody known.
    pub async fn authenticate(&self, certificate: Option<&[u8]>, bearer: Option<&str>) -> Option<Identity> {
        if let Some(known) = certificate.and_then(identity_from_certificate) {
            return Some(known);
        }
        self.review(bearer?, &[]).await.map(|known| known.identity)
    }

    /// Whose bearer token this is, for one of `audiences` (none: this server). Who can tell by himself is asked before who must ask others.
    pub async fn review(&self, token: &str, audiences: &[String]) -> Option<Known> {
        let own = [API_AUDIENCE.to_owned()];
        let audiences = if audiences.is_empty() { &own } else { audiences };
        if let Some(verified) = self.tokens.verify(token, audiences) {
            return Some(Known { identity: verified.identity, audiences: verified.audiences });
        }
        // These tokens are good for this server alone.
        if audiences.contains(&own[0]) {
            let mut holder = self.static_tokens.identity(token).or_else(|| bootstrap_tokens::holder(&self.caches, token));
            if holder.is_none() {
                holder = self.oidc.holder(token).await;
            }
            if let Some(identity) = holder {
                return Some(Known { identity, audiences: own.to_vec() });
            }
        }
        self.webhook.as_ref()?.holder(token, audiences).await
    }

    /// Whether `who` may.
    pub fn allows(&self, who: &Identity, what: &Attributes<'_>) -> bool {
        self.decide(who, what, |_| None).allowed
    }

    /// Whether `who` may, and why. `selected` tells the value that a list or watch demands of a field. One who allows it is enough: for members of
    /// `system:nodes` the Node authorizer, for all RBAC (Kubernetes' mode `Node,RBAC`).
    pub fn decide(&self, who: &Identity, what: &Attributes<'_>, selected: impl Fn(&str) -> Option<String>) -> Verdict {
        if who.is_in(GROUP_MASTERS) {
            return Verdict { allowed: true, ..Verdict::default() };
        }
        let of_node = match node_of(who).map(|node| self.nodes.authorize(node, who, what, selected)) {
            Some(Ok(())) => return Verdict { allowed: true, ..Verdict::default() },
            Some(Err(none)) => none,
            None => NoOpinion::default(),
        };
        match self.rules.current().allowed_by(who, what) {
            Some(reason) => Verdict { allowed: true, reason, unrelated: false },
            None => Verdict { allowed: false, reason: of_node.reason.into_owned(), unrelated: of_node.unrelated },
        }
    }
}

/// The answer to whether somebody may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// What allows it, or why a node may not. May be empty.
    pub reason: String,
    /// A node may not because no pod of its own is known that leads to the object. Caches that are behind may not know it yet.
    pub unrelated: bool,
}
