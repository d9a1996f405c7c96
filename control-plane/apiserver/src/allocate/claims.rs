//! The claims as the feed sees them: which addresses and ports are taken. Only a hint for choosing; the store's transaction decides.

use bytes::Bytes;
use orknet_store::Revision;
use parking_lot::RwLock;
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub struct Claims {
    by_key: RwLock<BTreeMap<Bytes, Claim>>,
}

/// One claim.
#[derive(Clone)]
pub struct Claim {
    /// Whose it is, as JSON.
    pub owner: Bytes,
    pub revision: Revision,
}

impl Claims {
    /// Whether the key is claimed.
    pub fn has(&self, key: &Bytes) -> bool {
        self.by_key.read().contains_key(key)
    }

    /// All claims now.
    pub fn all(&self) -> Vec<(Bytes, Claim)> {
        self.by_key.read().iter().map(|(key, claim)| (key.clone(), claim.clone())).collect()
    }

    /// Replaces everything.
    pub fn reset(&self, claims: Vec<(Bytes, Bytes, Revision)>) {
        *self.by_key.write() = claims.into_iter().map(|(key, owner, revision)| (key, Claim { owner, revision })).collect();
    }

    /// Applies a change; `None`: released.
    pub fn apply(&self, key: Bytes, owner: Option<Bytes>, revision: Revision) {
        let mut by_key = self.by_key.write();
        match owner {
            Some(owner) => by_key.insert(key, Claim { owner, revision }),
            None => by_key.remove(&key),
        };
    }
}
