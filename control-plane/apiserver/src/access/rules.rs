//! The RBAC evaluator over the roles and bindings in the cache, made anew when one of them has changed.

use crate::cache::Caches;
use crate::kinds::StoredAs;
use orknet_auth::authz::Rbac;
use orknet_store::Revision;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::sync::Arc;

const GROUP: &str = "rbac.authorization.k8s.io";
const KINDS: [StoredAs; 4] = [(GROUP, "clusterroles"), (GROUP, "roles"), (GROUP, "clusterrolebindings"), (GROUP, "rolebindings")];

/// See the module.
pub struct Rules {
    caches: Arc<Caches>,
    built: Mutex<(Option<[Revision; 4]>, Arc<Rbac>)>,
}

impl Rules {
    pub fn new(caches: Arc<Caches>) -> Self {
        Self { caches, built: Mutex::new((None, Arc::default())) }
    }

    /// The rules as the cache has them now.
    pub fn current(&self) -> Arc<Rbac> {
        let versions = KINDS.map(|kind| self.caches.of(kind).map(|cache| cache.revision()).unwrap_or_default());
        let mut built = self.built.lock();
        if built.0 != Some(versions) {
            let rbac = Rbac::new(self.all(KINDS[0]), self.all(KINDS[1]), self.all(KINDS[2]), self.all(KINDS[3]));
            *built = (Some(versions), Arc::new(rbac));
        }
        built.1.clone()
    }

    /// Objects that cannot be read grant nothing.
    fn all<T: DeserializeOwned>(&self, kind: StoredAs) -> Vec<T> {
        self.caches.values(kind).into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect()
    }
}
