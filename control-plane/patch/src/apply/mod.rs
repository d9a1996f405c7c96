//! Server-side apply (KEP-555): configurations merged into objects by ownership of fields, and ownership tracked over all other writes.
//!
//! [`apply`] is for apply patches, [`track_update`] for every create, update and other patch. Both are deterministic: the time of the request
//! comes in. Entries that other versions of a kind left in `managedFields` are compared in their versions; how objects are converted comes in as
//! [`Versions`] (`apply_across`, `track_update_across`).

mod collect;
mod compare;
mod conflict;
mod declared;
mod go;
mod items;
mod last_applied;
mod managers;
mod merge;
mod prune;
mod update;
mod versions;

pub use conflict::{Conflict, Conflicts};
pub use update::{Pending, track_update, track_update_across};
pub use versions::{ConvertError, SameFields, Versions};

/// Why an object's `metadata.managedFields` cannot be read, if they cannot.
pub fn managers_fault(object: &Value) -> Option<String> {
    Managers::read(object).err().map(|error| error.to_string())
}

use crate::fields::FieldSet;
use crate::{PatchError, Place, Schema};
use managers::{Identity, Managers, Owned};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use versions::Kin;

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
    /// The configuration, or the object, does not have the shape of its kind (500, without a reason, as with kube-apiserver).
    #[error("{0}")]
    Untyped(String),
    /// The object cannot be converted to a version that somebody owns fields of (500).
    #[error("{0}")]
    Conversion(String),
    /// Nothing was decided: a conversion is to be waited for ([`ConvertError::Pending`]).
    #[error("a conversion is to be waited for")]
    Pending,
}

impl Gvk<'_> {
    /// `v1`, or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// [`apply_across`] for kinds whose versions have the same fields.
pub fn apply(
    schema: &Schema,
    gvk: Gvk<'_>,
    live: Option<&Value>,
    config: &Value,
    manager: &Manager<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    apply_across(schema, &SameFields, gvk, live, config, manager, force)
}

/// Applies a configuration: to `live`, or to nothing when the object does not exist. Both are of the version that `gvk` tells.
///
/// The result has the new `managedFields`. It equals `live` when nothing changes, not even the ownership. `metadata.resourceVersion` and
/// `metadata.uid` of the configuration are in the result for the server to compare with the live object's, as in an update.
pub fn apply_across(
    schema: &Schema,
    versions: &dyn Versions,
    gvk: Gvk<'_>,
    live: Option<&Value>,
    config: &Value,
    manager: &Manager<'_>,
    force: bool,
) -> Result<Value, ApplyError> {
    check(gvk, config)?;
    let own = gvk.api_version();
    let kin = Kin::new(schema, versions, gvk, &own);
    let place = kin.place;
    declared::check(place, gvk, config)?;
    let mut wanted = without_nulls(config);
    for ignored in manager.ignored {
        remove_path(&mut wanted, ignored);
    }
    let empty = json!({ "apiVersion": own, "kind": gvk.kind });
    let before = live.unwrap_or(&empty);
    let managers = match Managers::read(before) {
        Ok(managers) if !managers.0.is_empty() => managers,
        // Unreadable entries say nothing either.
        _ if live.is_some() => untracked(place, gvk, before, manager),
        _ => Managers::default(),
    };
    let mut bare = before.clone();
    remove_path(&mut bare, "metadata.managedFields");
    let request = Request { kin, manager, wanted: &wanted };
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
    kin: Kin<'a>,
    manager: &'a Manager<'a>,
    wanted: &'a Value,
}

impl Request<'_> {
    /// Merge, prune, look for conflicts; the new object without `managedFields`, and the owners.
    fn run(&self, live: &Value, mut managers: Managers, force: bool) -> Result<(Value, Managers), ApplyError> {
        let me = Identity::applier(self.manager);
        let merged = merge::merge(self.kin.place, live, self.wanted)?;
        let set = collect::fields_of(self.kin.place, self.wanted);
        let object = match managers.0.remove(&me) {
            Some(last) => self.pruned(merged, &last, &set, &managers)?,
            None => merged,
        };
        let changes = self.kin.changes(Some(live), &object, &managers, self.manager)?;
        let disputed: Vec<_> = managers
            .0
            .iter()
            .filter_map(|(identity, owned)| Some((identity.clone(), owned.set.intersection(&changes.get(&owned.version)?.set))))
            .filter(|(_, set)| !set.is_empty())
            .collect();
        if !force && !disputed.is_empty() {
            return Err(Conflicts::between(&disputed).into());
        }
        managers.disown_changes(&changes);
        let set = managers::strip(&set, self.manager);
        if !set.is_empty() {
            let (version, time) = (self.kin.own.to_owned(), Some(self.manager.time.to_owned()));
            managers.0.insert(me, Owned { version, set, time });
        }
        Ok((object, managers))
    }

    /// The merged object without what this manager applied before, applies no longer, and nobody else owns. It is pruned in the version that was applied
    /// then; what is owned in other versions comes back in each of them. `set`: what is applied now.
    fn pruned(&self, merged: Value, last: &Owned, set: &FieldSet, others: &Managers) -> Result<Value, ApplyError> {
        let (own, then) = (self.kin.own, last.version.as_str());
        let to_then = |object: &Value| {
            let form =
                self.kin.form(object, own, then).map_err(|error| error.of("failed to convert merged object to last applied version"));
            form.map(|form| form.map(Cow::into_owned))
        };
        // Nothing is known of a version that is gone.
        let Some(whole) = to_then(&merged)? else { return Ok(merged) };
        let mut held: BTreeMap<&str, FieldSet> = BTreeMap::new();
        held.insert(own, set.clone());
        for owned in others.0.values() {
            let all = held.entry(owned.version.as_str()).or_default();
            *all = std::mem::take(all).union(&owned.set);
        }
        let place = self.kin.place_in(then);
        let owned = held.remove(then).unwrap_or_default();
        let gone = last.set.with_structs(place).difference(&owned.with_structs(place));
        let mut pruned = prune::remove(place, whole.clone(), &gone, Some(&owned));
        if !held.is_empty() {
            for (version, owned) in &held {
                if let Some(more) = self.with_owned(&whole, &pruned, then, version, owned)? {
                    pruned = more;
                }
            }
            // Only what was to go before may go, whatever conversion there and back makes of the rest.
            let all = collect::fields_of(place, &whole).with_structs(place);
            let left = collect::fields_of(place, &pruned).with_structs(place).union(&owned);
            pruned = prune::remove(place, whole, &all.difference(&left).intersection(&gone), Some(&left));
        }
        let back = self.kin.form(&pruned, then, own).map_err(|error| error.of("failed to convert pruned object"))?.map(Cow::into_owned);
        Ok(back.unwrap_or(merged))
    }

    /// The pruned object (of version `at`) with those fields of the whole that somebody owns in another version; `None` where that does not exist.
    fn with_owned(&self, whole: &Value, pruned: &Value, at: &str, version: &str, owned: &FieldSet) -> Result<Option<Value>, ApplyError> {
        let form = |what: &str, object: &Value| {
            let form = self
                .kin
                .form(object, at, version)
                .map_err(|error| error.of(&format!("failed to convert {what} object at version {version}")));
            form.map(|form| form.map(Cow::into_owned))
        };
        let (Some(whole), Some(pruned)) = (form("merged", whole)?, form("pruned", pruned)?) else { return Ok(None) };
        let place = self.kin.place_in(version);
        let all = collect::fields_of(place, &whole).with_structs(place);
        let left = collect::fields_of(place, &pruned).with_structs(place).union(&owned.with_structs(place));
        let object = prune::remove(place, whole, &all.difference(&left), Some(&left));
        Ok(self.kin.form(&object, version, at)?.map(Cow::into_owned))
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
mod across;
#[cfg(test)]
mod tests;
