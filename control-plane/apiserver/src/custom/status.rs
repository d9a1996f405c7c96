//! What the server says of a definition in its status: which names it has, whether it is served. What is to be said is pure; it is written only over
//! the state that it was decided for.
//!
//! Names are given out under a lock in the store: a key that every gift writes and compares with, so that of two definitions that want the same name,
//! one gets it, whichever servers they are looked at by.

use super::Follower;
use super::names::{Names, Taken, accept};
use super::outline::Outline;
use super::serve::Served;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use crate::ownership::{SERVER, Writer};
use crate::storage::{encode, keys};
use orknet_custom::definition::STORED_AS;
use orknet_custom::definition::conditions::{self, Condition};
use orknet_store::{Commit, Compare, Op, Revision};
use serde_json::{Value, json};
use std::sync::Arc;

/// Was told by servers that could not convert by webhooks: only the storage version was served.
const VERSIONS_SERVED: &str = "VersionsServed";
/// Tells that the schema cannot be used.
const NON_STRUCTURAL: &str = "NonStructuralSchema";

/// What a status is to say.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    names: Names,
    conditions: Vec<Condition>,
    /// Conditions that are no longer there.
    without: Vec<&'static str>,
}

impl Told {
    /// Whether the definition says all of it.
    fn is_in(&self, definition: &Outline) -> bool {
        self.names == definition.accepted
            && self.conditions.iter().all(|condition| condition.is_in(&definition.told))
            && self.without.iter().all(|name| conditions::find(&definition.told, name).is_none())
    }

    /// `is_lifted`: whether this server has said once that the schema can be used. Then what others say of it stays.
    fn leave_lifted(&mut self, is_lifted: bool) {
        self.without.retain(|name| !is_lifted || *name != NON_STRUCTURAL);
    }
}

impl Follower {
    /// Writes what the definitions do not say yet. Answers whether all was written.
    ///
    /// That a schema cannot be used is taken back once for each generation: a server of another version that cannot use it says so again, and then it stays,
    /// rather than that both write against each other for ever.
    pub(super) async fn tell(&mut self, definitions: &[Arc<Outline>]) -> Result<bool, ApiError> {
        let mut lock = None;
        let known = &self.known;
        self.lifted.retain(|name, _| known.contains_key(name));
        for definition in definitions.iter().filter(|definition| !definition.head.is_deleting) {
            let served = self.served.get(&definition.head.name).filter(|served| served.shape == definition.shape);
            let mut told = told(definition, &self.taken(definition, definitions), served);
            if told.is_in(definition) {
                continue;
            }
            let generation = definition.object.value()["metadata"]["generation"].as_i64().unwrap_or_default();
            let is_lifted = self.lifted.get(&definition.head.name) == Some(&generation);
            told.leave_lifted(is_lifted);
            if told.is_in(definition) {
                continue;
            }
            let claims = told.names != definition.accepted;
            if claims && lock.is_none() {
                lock = Some(self.lock().await?);
                // Others may have given names out until now: what they wrote is looked at first.
                self.server.storage.catch_up().await?;
                if !self.is_up_to_date(definitions) {
                    return Ok(true);
                }
                told = self::told(definition, &self.taken(definition, definitions), served);
                told.leave_lifted(is_lifted);
            }
            let lifts = told.without.contains(&NON_STRUCTURAL) && conditions::find(&definition.told, NON_STRUCTURAL).is_some();
            let written = self.write(definition, &told, lock.filter(|_| claims)).await?;
            if written && lifts {
                self.lifted.insert(definition.head.name.clone(), generation);
            }
            // Names given out now are another's from now on: the next look knows that. Or somebody was faster: the cache will tell of it.
            if claims || !written {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// Whether the cache has these definitions and no others.
    fn is_up_to_date(&self, definitions: &[Arc<Outline>]) -> bool {
        let Some(cache) = self.server.storage.caches.of(STORED_AS) else { return false };
        let now = cache.snapshot("").objects;
        let known = |object| definitions.iter().any(|definition| Arc::ptr_eq(&definition.object, object));
        now.len() == definitions.len() && now.iter().all(known)
    }

    /// The names of a definition's group that others have.
    fn taken<'a>(&self, definition: &Outline, definitions: &'a [Arc<Outline>]) -> Taken<'a> {
        let mut taken = Taken::default();
        // What it wants is its own already: nobody else's names matter, and there may be many.
        if definition.wanted == definition.accepted {
            return taken;
        }
        for kind in crate::kinds::own().iter().map(|kind| kind.descriptor()).filter(|names| names.group == definition.group) {
            taken.add([kind.plural, kind.singular].into_iter().chain(kind.short_names.iter().copied()), [kind.kind]);
        }
        let others = definitions.iter().filter(|other| other.group == definition.group && other.head.name != definition.head.name);
        others.for_each(|other| taken.add_names(&other.accepted));
        taken
    }

    /// The revision of the lock that names are given out under; `None` where nobody has yet.
    async fn lock(&self) -> Result<Option<Revision>, ApiError> {
        Ok(self.server.storage.get(keys::NAMES).await?.map(|stored| stored.revision))
    }

    /// Writes the status, unless the definition or (where it is held) the lock has been written meanwhile.
    async fn write(&self, definition: &Outline, told: &Told, lock: Option<Option<Revision>>) -> Result<bool, ApiError> {
        let Some(kind) = self.server.kinds().find_any_version(STORED_AS.0, STORED_AS.1) else { return Ok(false) };
        let old = definition.object.value();
        let mut new = old.clone();
        new["status"]["acceptedNames"] = json!(told.names);
        let now = object::timestamp(0);
        told.conditions.iter().for_each(|condition| conditions::set(&mut new, condition, &now));
        told.without.iter().for_each(|name| conditions::remove(&mut new, name));
        let (mut compares, mut ops) = put(&self.server, &kind, &old, &mut new, definition.head.revision);
        if let Some(lock) = lock {
            let key = || bytes::Bytes::from_static(keys::NAMES.as_bytes());
            compares.push(lock.map_or_else(|| Compare::Absent(key()), |revision| Compare::ModRevision(key(), revision)));
            ops.push(Op::Put { key: key(), value: encode(&json!({ "metadata": { "name": definition.head.name } })), ttl: None });
        }
        Ok(matches!(self.server.storage.commit(compares, ops).await?, Commit::Done(_)))
    }
}

/// The write of a definition's status over the revision that it was decided for.
fn put(server: &crate::server::Server, kind: &Kind, old: &Value, new: &mut Value, revision: Revision) -> (Vec<Compare>, Vec<Op>) {
    Writer { kind, manager: SERVER, subresource: Some("status") }.track(server.structure(kind), Some(old), new);
    let key = keys::object(STORED_AS, "", object::name(old));
    let compare = Compare::ModRevision(key.clone().into(), revision);
    (vec![compare], vec![Op::Put { key: key.into(), value: encode(&kind.to_stored(new.clone())), ttl: None }])
}

/// What the status of a definition is to say. `served`: what is served of it as it is now.
fn told(definition: &Outline, taken: &Taken<'_>, served: Option<&Served>) -> Told {
    let (names, accepted) = accept(&definition.wanted, &definition.accepted, taken);
    let mut conditions = Vec::from_iter(definition.approval.clone());
    let mut without = Vec::new();
    let established = (!definition.is_established).then(|| established(&accepted, served));
    conditions.push(accepted);
    conditions.extend(established);
    match served.and_then(|served| served.refused.as_deref()) {
        Some(why) => conditions.push(Condition::new(NON_STRUCTURAL, true, "Violations", why)),
        // What cannot be looked at now is as it was.
        None if served.is_some() => without.push(NON_STRUCTURAL),
        None => {}
    }
    without.push(VERSIONS_SERVED);
    Told { names, conditions, without }
}

/// For one that never was.
fn established(accepted: &Condition, served: Option<&Served>) -> Condition {
    let is = |holds: bool, reason: &str, message: &str| Condition::new("Established", holds, reason, message);
    match served {
        _ if !accepted.holds => is(false, "NotAccepted", "not all names are accepted"),
        None => is(false, "Installing", "the initial names have been accepted"),
        Some(Served { refused: Some(why), .. }) => is(false, "NotServed", why),
        Some(_) => is(true, "InitialNamesAccepted", "the initial names have been accepted"),
    }
}
