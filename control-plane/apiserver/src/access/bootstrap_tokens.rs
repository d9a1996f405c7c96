//! Bootstrap tokens, by the Secrets in the cache.

use crate::cache::Caches;
use crate::kinds::StoredAs;
use k8s_openapi::jiff::Timestamp;
use orknet_auth::Identity;
use orknet_auth::bootstrap_tokens::{NAMESPACE, Token, identity};

const SECRETS: StoredAs = ("", "secrets");

/// Whose bootstrap token this is now.
pub fn holder(caches: &Caches, token: &str) -> Option<Identity> {
    let token = Token::parse(token)?;
    let found = caches.get(SECRETS, NAMESPACE, &token.secret_name())?;
    identity(&token, &serde_json::from_value(found.value()).ok()?, Timestamp::now())
}
