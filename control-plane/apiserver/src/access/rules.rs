//! The RBAC evaluator over the roles and bindings in the cache, brought up to date before every question: what has changed is changed in it, nothing else.

use crate::cache::{CachedObject, Caches, Change, ChangeKind, Cursor};
use crate::kinds::StoredAs;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use orknet_auth::authz::Rbac;
use orknet_store::Revision;
use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::de::DeserializeOwned;
use std::sync::Arc;

const GROUP: &str = "rbac.authorization.k8s.io";
const SOURCES: [(StoredAs, Source); 4] = [
    ((GROUP, "clusterroles"), Source::ClusterRoles),
    ((GROUP, "roles"), Source::Roles),
    ((GROUP, "clusterrolebindings"), Source::ClusterBindings),
    ((GROUP, "rolebindings"), Source::Bindings),
];

/// Which kind an object is of.
#[derive(Clone, Copy, Debug)]
enum Source {
    ClusterRoles,
    Roles,
    ClusterBindings,
    Bindings,
}

/// The newest change of each kind.
type Versions = [Revision; SOURCES.len()];

/// See the module.
pub struct Rules {
    caches: Arc<Caches>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    rbac: Rbac,
    /// Up to where everything is in `rbac`; `None` before it has been built.
    versions: Option<Versions>,
    cursors: Vec<(Source, Cursor)>,
}

impl Rules {
    pub fn new(caches: Arc<Caches>) -> Self {
        Self { caches, state: RwLock::default() }
    }

    /// The rules as the cache has them now. To be let go at once: whoever asks after the next change of a rule waits for it. Not to be asked for again
    /// meanwhile.
    pub fn current(&self) -> MappedRwLockReadGuard<'_, Rbac> {
        // Asked before the changes are taken up: a change between the two is taken up now, and looked for once more.
        let versions = SOURCES.map(|(kind, _)| self.caches.of(kind).map(|cache| cache.revision()).unwrap_or_default());
        let state = self.state.read();
        if state.versions == Some(versions) {
            return RwLockReadGuard::map(state, |state| &state.rbac);
        }
        drop(state);
        let mut state = self.state.write();
        state.catch_up(&self.caches);
        state.versions = Some(versions);
        RwLockReadGuard::map(RwLockWriteGuard::downgrade(state), |state| &state.rbac)
    }
}

impl State {
    fn catch_up(&mut self, caches: &Caches) {
        if self.cursors.len() < SOURCES.len() || !self.replay() {
            self.rebuild(caches);
        }
    }

    /// Applies what has changed; false when a source has forgotten some of it.
    fn replay(&mut self) -> bool {
        for (source, cursor) in &mut self.cursors {
            loop {
                let Ok(changes) = cursor.ready() else { return false };
                if changes.is_empty() {
                    break;
                }
                for Change { kind, object, .. } in changes {
                    set(&mut self.rbac, *source, &object, kind == ChangeKind::Put);
                }
            }
        }
        true
    }

    fn rebuild(&mut self, caches: &Caches) {
        *self = Self::default();
        for (kind, source) in SOURCES {
            let Some(cache) = caches.of(kind) else { continue };
            let snapshot = cache.snapshot("");
            for object in &snapshot.objects {
                set(&mut self.rbac, source, object, true);
            }
            self.cursors.push((source, snapshot.cursor));
        }
    }
}

/// States what an object is now. One that cannot be read grants nothing.
fn set(rbac: &mut Rbac, source: Source, object: &CachedObject, is_there: bool) {
    fn read<T: DeserializeOwned>(object: &CachedObject) -> Option<T> {
        serde_json::from_value(object.value()).ok()
    }
    let (namespace, name) = object.place();
    match source {
        Source::ClusterRoles => {
            let role = is_there.then(|| read::<ClusterRole>(object)).flatten();
            rbac.set_cluster_role(name, role.map(|role| role.rules.unwrap_or_default()));
        }
        Source::Roles => {
            let role = is_there.then(|| read::<Role>(object)).flatten();
            rbac.set_role(namespace, name, role.map(|role| role.rules.unwrap_or_default()));
        }
        Source::ClusterBindings => {
            let binding = is_there.then(|| read::<ClusterRoleBinding>(object)).flatten();
            rbac.set_binding("", name, binding.map(|binding| (binding.role_ref, binding.subjects.unwrap_or_default())));
        }
        Source::Bindings => {
            let binding = is_there.then(|| read::<RoleBinding>(object)).flatten();
            rbac.set_binding(namespace, name, binding.map(|binding| (binding.role_ref, binding.subjects.unwrap_or_default())));
        }
    }
}
