//! Companions: objects that tell of others, of the same namespace and name (`Descriptor::companion_of`). Whatever writes an object writes its
//! companion in the same transaction, and whatever writes a companion compares with the object: at no revision of the store does a companion
//! tell of anything else than of the object that is there, whichever server wrote either, and whoever reads, lists or watches sees no other.

use crate::allocate::Allocation;
use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs};
use crate::object;
use crate::server::Server;
use crate::storage::{Stored, encode, keys};
use orknet_store::{Compare, Op};
use serde_json::{Value, json};

/// What the write of `new` (in place of `old`) adds to its transaction. A companion is brought into line with its object; 404 when a new one has none.
pub async fn follow(server: &Server, kind: &Kind, old: Option<&Value>, new: &mut Value) -> Result<Allocation, ApiError> {
    if let Some(place) = kind.descriptor().companion_of {
        return follow_object(server, kind, place, old, new).await;
    }
    // What else changes, no companion tells of.
    let is_told = !object::is_deleting(new) && old.is_none_or(|old| object::generation(old) != object::generation(new));
    match server.kinds().companions_of(kind.descriptor().stored_as).filter(|_| is_told) {
        Some(companions) => Ok(put(&companions, old.is_none(), cached(server, companions.descriptor().stored_as, new), new)),
        None => Ok(Allocation::default()),
    }
}

/// What the transaction that removes an object, or begins its deletion, removes besides.
pub fn release(server: &Server, kind: &Kind, object: &Value) -> Allocation {
    let key = server.kinds().companions_of(kind.descriptor().stored_as).map(|companions| key(companions.descriptor().stored_as, object));
    Allocation { compares: Vec::new(), ops: key.map(|key| Op::Delete { key: key.into() }).into_iter().collect() }
}

/// The write of a companion.
async fn follow_object(
    server: &Server,
    kind: &Kind,
    place: StoredAs,
    old: Option<&Value>,
    companion: &mut Value,
) -> Result<Allocation, ApiError> {
    let key = key(place, companion);
    let stays = |found: &Stored| !object::is_deleting(&found.object);
    let found = match cached(server, place, companion).filter(stays) {
        Some(found) => Some(found),
        // It may have been made a moment ago.
        None => server.storage.get(&key).await?.filter(stays),
    };
    match found {
        Some(found) => {
            kind.follow(companion, &found.object, &object::timestamp(0));
            Ok(Allocation { compares: vec![Compare::ModRevision(key.into(), found.revision)], ops: Vec::new() })
        }
        None if old.is_none() => Err(ApiError::not_found_resource(place.0, place.1, object::name(companion))),
        // Left over by a server that did not know companions.
        None => Ok(Allocation::default()),
    }
}

/// The companion of an object that is written, `present` being the one that there is. A new object gets a new one.
fn put(kind: &Kind, is_new: bool, present: Option<Stored>, object: &Value) -> Allocation {
    let names = kind.descriptor();
    let key = key(names.stored_as, object);
    let compare = match &present {
        Some(present) => Compare::ModRevision(key.clone().into(), present.revision),
        None => Compare::Absent(key.clone().into()),
    };
    let now = object::timestamp(0);
    let fresh = || {
        json!({ "apiVersion": names.api_version(), "kind": names.kind, "metadata": {
            "name": object::name(object), "namespace": object::namespace(object),
            "uid": uuid::Uuid::new_v4().to_string(), "creationTimestamp": now } })
    };
    let mut companion = present.filter(|_| !is_new).map_or_else(fresh, |present| present.object);
    kind.follow(&mut companion, object, &now);
    Allocation { compares: vec![compare], ops: vec![Op::Put { key: key.into(), value: encode(&companion), ttl: None }] }
}

/// The object of another kind with the same namespace and name, as this server last saw it.
fn cached(server: &Server, place: StoredAs, object: &Value) -> Option<Stored> {
    let value = server.storage.caches.get(place, object::namespace(object), object::name(object))?.value();
    let revision = object::resource_version(&value).parse().ok()?;
    Some(Stored { object: value, revision })
}

fn key(place: StoredAs, object: &Value) -> String {
    keys::object(place, object::namespace(object), object::name(object))
}
