//! Who is asking and whether they may, from the objects in the cache: service accounts behind tokens, roles and bindings.

mod rules;
mod tokens;

pub use rules::Rules;
pub use tokens::TokenReviewer;

use crate::cache::Caches;
use orknet_auth::Identity;
use orknet_auth::authn::{StaticTokens, identity_from_certificate};
use orknet_auth::authz::Attributes;
use std::sync::Arc;

/// Authentication and authorization.
pub struct Access {
    pub tokens: TokenReviewer,
    pub rules: Rules,
    static_tokens: StaticTokens,
}

impl Access {
    pub fn new(caches: Arc<Caches>, tokens: TokenReviewer, static_tokens: StaticTokens) -> Self {
        Self { tokens, rules: Rules::new(caches), static_tokens }
    }

    /// Whose request this is: by the certificate that TLS has verified, else by bearer token, as in Kubernetes. Who is known by the one is not asked for
    /// the other. `None`: nobody known.
    pub fn authenticate(&self, certificate: Option<&[u8]>, bearer: Option<&str>) -> Option<Identity> {
        certificate.and_then(identity_from_certificate).or_else(|| self.identity_of(bearer?))
    }

    /// Whose bearer token this is, for the API server as audience.
    pub fn identity_of(&self, token: &str) -> Option<Identity> {
        self.static_tokens.identity(token).or_else(|| self.tokens.verify(token, &[]).map(|verified| verified.identity))
    }

    /// Whether `who` may.
    pub fn allows(&self, who: &Identity, what: &Attributes<'_>) -> bool {
        self.rules.current().allows(who, what)
    }
}
