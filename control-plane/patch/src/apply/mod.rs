//! Server-side apply (KEP-555): configurations merged into objects by ownership of fields, and ownership tracked over all other writes.
//!
//! [`apply`] is for apply patches, [`track_update`] for every create, update and other patch. Both are deterministic: the time of the request
//! comes in. Entries that other versions of a kind left in `managedFields` are read with the paths they have: kinds served in several versions
//! here have the same fields in all of them.

mod collect;
mod compare;
mod conflict;
mod declared;
mod items;
mod last_applied;
mod managers;
mod merge;
mod prune;
mod update;

pub use conflict::{Conflict, Conflicts};
pub use update::track_update;

/// Why an object's `metadata.managedFields` cannot be read, if they cannot.
pub fn managers_fault(object: &Value) -> Option<String> {
    Managers::read(object).err().map(|error| error.to_string())
}

use crate::{PatchError, Place, Schema};
use managers::{Identity, Managers, Owned};
use serde_json::{Map, Value, json};

/// Owner of what was there before ownership was tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Group, version and kind of the request's object.
#[derive(Clone, Copy, Debug)]
pub struct Gvk<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
}

/// Who writes, when, and through which door.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// The request's `fieldManager`, or what the server derives from the user agent.
    pub name: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
    /// RFC 3339, in seconds: `2026-11-26T12:00:00Z`.
    pub time: &'a str,
    /// Fields that this door does not write, such as `status` on the main resource and `spec` on `status`: they are neither taken over from the
    /// configuration nor owned by it. Dotted paths.
    pub ignored: &'a [&'a str],
}

/// An apply that was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that the configuration changes, and `force` was not given (409).
    #[error(transparent)]
    Conflicts(#[from] Conflicts),
    /// The configuration cannot be applied to any object (400 or 422).
    #[error(transparent)]
    Patch(#[from] PatchError),
}

impl Gvk<'_> {
    /// `v1`, or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Applies a configuration: to `live`, or to nothing when the object does not exist.
///
/// The result has the new `managedFields`. It equals `live` when nothing changes, not even the ownership. `metadata.resourceVersion` and
/// `metadata.uid` of the configuration are in the result for the server to compare with the live object's, as in an update.
pub fn apply(
    schema: &Schema,
    gvk: Gvk<'_>,
    live: Option<&Value>,
    config: &Value,
    manager: &Manager<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    check(gvk, config)?;
    let place = schema.root_or_deduced(gvk.group, gvk.version, gvk.kind);
    declared::check(place, gvk, config)?;
    let mut wanted = without_nulls(config);
    for ignored in manager.ignored {
        remove_path(&mut wanted, ignored);
    }
    let empty = json!({ "apiVersion": gvk.api_version(), "kind": gvk.kind });
    let before = live.unwrap_or(&empty);
    let managers = match Managers::read(before) {
        Ok(managers) if !managers.0.is_empty() => managers,
        // Unreadable entries say nothing either.
        _ if live.is_some() => untracked(place, gvk, before, manager),
        _ => Managers::default(),
    };
    let mut bare = before.clone();
    remove_path(&mut bare, "metadata.managedFields");
    let request = Request { place, gvk, manager, wanted: &wanted };
    let result = match request.run(&bare, managers.clone(), force) {
        Err(ApplyError::Conflicts(conflicts)) if manager.name == last_applied::KUBECTL => {
            let allowed = last_applied::allowed(place, &bare);
            let left: Vec<Conflict> = conflicts.0.into_iter().filter(|conflict| !contains(&allowed, conflict)).collect();
            if !left.is_empty() {
                return Err(Conflicts(left).into());
            }
            request.run(&bare, managers.clone(), true)
        }
        other => other,
    };
    let (mut object, owners) = result?;
    if manager.name == last_applied::KUBECTL {
        last_applied::refresh(&mut object, config);
    }
    if object == bare && live.is_some() && same_owners(&owners, &managers) {
        return Ok(before.clone());
    }
    owners.write(&mut object);
    Ok(object)
}

struct Request<'a> {
    place: Place<'a>,
    gvk: Gvk<'a>,
    manager: &'a Manager<'a>,
    wanted: &'a Value,
}

impl Request<'_> {
    /// Merge, prune, look for conflicts; the new object without `managedFields`, and the owners.
    fn run(&self, live: &Value, mut managers: Managers, force: bool) -> Result<(Value, Managers), ApplyError> {
        let me = Identity::applier(self.manager);
        let merged = merge::merge(self.place, live, self.wanted)?;
        let set = collect::fields_of(self.place, self.wanted);
        let last = managers.0.remove(&me);
        let others = managers.0.values().fold(set.clone(), |all, owned| all.union(&owned.set));
        let object = match &last {
            Some(last) => {
                let gone = last.set.with_structs(self.place).difference(&others.with_structs(self.place));
                prune::remove(self.place, merged, &gone, Some(&others))
            }
            None => merged,
        };
        let changes = compare::compare(self.place, live, &object);
        let changed = changes.set();
        let disputed: Vec<_> = managers
            .0
            .iter()
            .map(|(identity, owned)| (identity.clone(), owned.set.intersection(&changed)))
            .filter(|(_, set)| !set.is_empty())
            .collect();
        if !force && !disputed.is_empty() {
            return Err(Conflicts::between(&disputed).into());
        }
        managers.disown(&changed, None);
        managers.disown(&changes.removed, None);
        let set = managers::strip(&set, self.manager);
        if !set.is_empty() {
            managers.0.insert(me, Owned { version: self.gvk.api_version(), set, time: Some(self.manager.time.to_owned()) });
        }
        Ok((object, managers))
    }
}

/// The owners of an object that was never tracked.
fn untracked(place: Place<'_>, gvk: Gvk<'_>, live: &Value, manager: &Manager<'_>) -> Managers {
    let everybody = Manager { ignored: &[], ..*manager };
    let set = managers::strip(&collect::fields_of(place, live), &everybody);
    let mut managers = Managers::default();
    let owned = Owned { version: gvk.api_version(), set, time: Some(manager.time.to_owned()) };
    managers.0.insert(Identity::updater(BEFORE_FIRST_APPLY, &gvk.api_version(), ""), owned);
    managers
}

fn check(gvk: Gvk<'_>, config: &Value) -> Result<(), PatchError> {
    let malformed = |what: &str| Err(PatchError::Malformed(what.to_owned()));
    if !config.is_object() {
        return malformed("error decoding YAML: an apply patch is an object");
    }
    if config.get("metadata").is_some_and(|metadata| !metadata.is_object()) {
        return malformed("metadata: expected an object");
    }
    if config.pointer("/metadata/managedFields").is_some_and(|fields| fields.as_array().is_none_or(|fields| !fields.is_empty())) {
        return malformed("metadata.managedFields must be nil");
    }
    match (config.get("apiVersion").and_then(Value::as_str), config.get("kind").and_then(Value::as_str)) {
        (Some(version), Some(kind)) if version == gvk.api_version() && kind == gvk.kind => Ok(()),
        (Some(version), Some(_)) if version != gvk.api_version() => Err(PatchError::Malformed(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            gvk.api_version()
        ))),
        (Some(_), Some(kind)) => Err(PatchError::Malformed(format!("kind in the patch: {kind}, expected: {}", gvk.kind))),
        _ => malformed("apiVersion and kind must be set in an apply patch"),
    }
}

fn contains(set: &crate::fields::FieldSet, conflict: &Conflict) -> bool {
    let mut one = crate::fields::FieldSet::new();
    one.insert(&conflict.path.0);
    one.difference(set).is_empty()
}

/// Equal but for the times.
fn same_owners(one: &Managers, other: &Managers) -> bool {
    one.0.len() == other.0.len()
        && one.0.iter().zip(&other.0).all(|((me, mine), (you, yours))| me == you && mine.version == yours.version && mine.set == yours.set)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), without_nulls(value)));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Removes a field by its dotted path.
fn remove_path(object: &mut Value, path: &str) {
    match path.split_once('.') {
        Some((first, rest)) => {
            if let Some(inner) = object.get_mut(first) {
                remove_path(inner, rest);
            }
        }
        None => {
            if let Some(fields) = object.as_object_mut() {
                fields.remove(path);
            }
        }
    }
}

#[cfg(test)]
mod tests;
