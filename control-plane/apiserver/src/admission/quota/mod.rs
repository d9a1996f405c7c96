//! Quotas of a namespace (ResourceQuota): what is made or grows is charged to every quota that it counts against ([`charge`]), in the transaction of its
//! own write, which compares the quotas' versions. So the sum of what was let pass never exceeds a quota, however many clients ask whichever server at
//! once, and what comes to nothing costs nothing. What goes is given back by the controller of quotas, which counts anew.
//!
//! What is enforced is `status.hard`: a new quota holds as soon as the controller has counted for it. A server whose cache has not heard of a namespace's
//! first quota lets pass what the controller's next count then finds.

mod charge;
mod subject;

use super::chain::{Attributes, Operation, Plugin};
use crate::error::ApiError;
use crate::kinds::{StoredAs, is_namespaced, is_stored};
use crate::object;
use crate::storage::{encode, keys, parse};
use async_trait::async_trait;
use charge::{Asked, Quota};
use orknet_resources::counting::is_counted;
use orknet_store::{Compare, Op};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use subject::Subject;

const QUOTAS: StoredAs = ("", "resourcequotas");

/// See the module.
#[derive(Default)]
pub struct ResourceQuota {
    turns: Turns,
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        let (group, plural) = what.kind.descriptor().stored_as;
        let is_kept = is_namespaced(what.kind.descriptor()) && is_stored(what.kind.descriptor());
        if !is_kept || what.namespace.is_empty() || !is_counted(group, plural) {
            return false;
        }
        match (what.operation, what.subresource) {
            (Operation::Create, None) => true,
            // What of these counts may grow.
            (Operation::Update, None) => matches!((group, plural), ("", "services" | "persistentvolumeclaims")),
            (Operation::Update, Some("resize")) => (group, plural) == ("", "pods"),
            _ => false,
        }
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let (Some(object), server) = (what.object.as_deref(), what.server) else { return Ok(()) };
        let Some(cache) = server.storage.caches.of(QUOTAS) else { return Ok(()) };
        let known = cache.snapshot(what.namespace).objects;
        if known.is_empty() {
            return Ok(());
        }
        let (group, plural) = what.kind.descriptor().stored_as;
        let (new, old) = (Subject::of((group, plural), object), what.old.map(|old| Subject::of((group, plural), old)));
        let asked = Asked { group, plural, new: &new, old: old.as_ref(), now: jiff::Timestamp::now() };
        if !known.iter().filter_map(|quota| Quota::read(quota.value())).any(|quota| asked.may_concern(&quota)) {
            return Ok(());
        }
        // One at a time in a namespace, for as long as the transaction takes: else all but one would find the quota changed, and try again.
        let turn = self.turns.take(what.namespace).await;
        let found = server.storage.range(keys::objects(QUOTAS, what.namespace), None, 0).await?;
        let mut quotas = Vec::new();
        for entry in found.entries {
            quotas.extend(Quota::read(parse(&entry.value, entry.mod_revision)?.object).map(|quota| (quota, entry.mod_revision)));
        }
        let charged = asked.charge(quotas.iter().map(|(quota, _)| quota)).map_err(|why| what.refusal(why))?;
        let mut additions = what.additions.lock();
        for ((quota, revision), used) in quotas.iter().zip(charged) {
            let Some(used) = used else { continue };
            // A quota that is made again is refused for its name.
            if (group, plural) == QUOTAS && object::name(&quota.object) == object::name(object) {
                continue;
            }
            let key = keys::object(QUOTAS, what.namespace, object::name(&quota.object));
            let mut charged = quota.object.clone();
            object::map_at(&mut charged, "status").insert("used".into(), json!(used.to_list()));
            additions.allocation.compares.push(Compare::ModRevision(key.clone().into(), *revision));
            additions.allocation.ops.push(Op::Put { key: key.into(), value: encode(&charged), ttl: None });
            // Kept by those alone who write to a quota.
        }
        if !additions.allocation.ops.is_empty() {
            additions.turns.push(turn);
        }
        Ok(())
    }
}

/// One turn for each namespace. Those that nobody has or waits for are forgotten.
#[derive(Default)]
struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// First come, first served. Cancel-safe.
    async fn take(&self, namespace: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock();
            match turns.get(namespace).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    turns.retain(|_, turn| turn.strong_count() > 0);
                    let turn = Arc::default();
                    turns.insert(namespace.to_owned(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_namespace_has_one_turn_at_a_time() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        assert!(turns.take("a").now_or_never().is_none());
        let other = turns.take("b").now_or_never();
        assert!(other.is_some());
        drop(first);
        assert!(turns.take("a").now_or_never().is_some());
        drop(other);
        turns.take("c").await;
        assert_eq!(turns.0.lock().len(), 1);
    }
}
