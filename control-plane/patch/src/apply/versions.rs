//! Objects of one kind in the versions that it is served in. An entry of `managedFields` has the paths of its own version, so that what changed, and what
//! is to go, is looked for in each version that somebody owns fields of (`Updater` of structured-merge-diff v4.6).

use super::compare::compare;
use super::managers::{Managers, strip};
use super::{ApplyError, Gvk, Manager};
use crate::fields::FieldSet;
use crate::{Place, Schema};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What apply has to know of the versions of a kind. A version is an `apiVersion`: `v1`, `apps/v1`.
///
/// Conversions that take time (by a webhook) are planned for: what is not at hand is [`ConvertError::Pending`], which ends the call without a change. The
/// caller gets what was asked for and calls again, until nothing is pending. The same questions are asked each time, for the same arguments.
pub trait Versions {
    /// Where objects of a version begin. `own`: where the request's do.
    fn place<'s>(&'s self, version: &str, own: Place<'s>) -> Place<'s>;

    /// An object of the kind, of whichever version, in another one.
    fn convert(&self, object: &Value, version: &str) -> Result<Value, ConvertError>;
}

/// Why an object is not there in a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConvertError {
    /// The kind is not served in that version (any longer).
    Gone,
    /// Not yet: to be asked again.
    Pending,
    /// It cannot be converted; why.
    Failed(String),
}

/// Kinds whose versions have the same fields: all paths are taken as they are.
#[derive(Clone, Copy, Debug)]
pub struct SameFields;

impl Versions for SameFields {
    fn place<'s>(&'s self, _version: &str, own: Place<'s>) -> Place<'s> {
        own
    }

    fn convert(&self, object: &Value, _version: &str) -> Result<Value, ConvertError> {
        Ok(object.clone())
    }
}

/// What changed between two objects, in one version.
#[derive(Debug)]
pub(super) struct Changed {
    /// Fields with another value than before, or with none before.
    pub set: FieldSet,
    pub removed: FieldSet,
}

/// The versions of a kind, seen from that of a request.
#[derive(Clone, Copy)]
pub(super) struct Kin<'a> {
    pub place: Place<'a>,
    /// The request's.
    pub own: &'a str,
    versions: &'a dyn Versions,
}

impl<'a> Kin<'a> {
    /// `own`: the `apiVersion` of `gvk`.
    pub fn new(schema: &'a Schema, versions: &'a dyn Versions, gvk: Gvk<'_>, own: &'a str) -> Self {
        Self { place: schema.root_or_deduced(gvk.group, gvk.version, gvk.kind), own, versions }
    }

    pub fn place_in(&self, version: &str) -> Place<'a> {
        if version == self.own { self.place } else { self.versions.place(version, self.place) }
    }

    /// An object that is in one version, in another; `None` where that does not exist.
    pub fn form<'v>(&self, object: &'v Value, from: &str, to: &str) -> Result<Option<Cow<'v, Value>>, ApplyError> {
        if from == to {
            return Ok(Some(Cow::Borrowed(object)));
        }
        match self.versions.convert(object, to) {
            Ok(converted) => Ok(Some(Cow::Owned(converted))),
            Err(ConvertError::Gone) => Ok(None),
            Err(ConvertError::Pending) => Err(ApplyError::Pending),
            Err(ConvertError::Failed(why)) => Err(ApplyError::Conversion(why)),
        }
    }

    /// What changed from `old` (`None`: there was nothing) to `new`, both of the request's version: in that, and in each version of an entry that exists.
    /// Without what the request does not write.
    pub fn changes(
        &self,
        old: Option<&Value>,
        new: &Value,
        managers: &Managers,
        manager: &Manager<'_>,
    ) -> Result<BTreeMap<String, Changed>, ApplyError> {
        let nothing = Value::Object(serde_json::Map::new());
        let mut changes = BTreeMap::new();
        for version in std::iter::once(self.own).chain(managers.0.values().map(|owned| owned.version.as_str())) {
            if changes.contains_key(version) {
                continue;
            }
            let old = match old {
                Some(old) => self.form(old, self.own, version).map_err(|error| error.of("failed to convert old object"))?,
                None => Some(Cow::Borrowed(&nothing)),
            };
            let new = self.form(new, self.own, version).map_err(|error| error.of("failed to convert new object"))?;
            let (Some(old), Some(new)) = (old, new) else { continue };
            let compared = compare(self.place_in(version), &old, &new);
            let changed = Changed { set: strip(&compared.set(), manager), removed: strip(&compared.removed, manager) };
            changes.insert(version.to_owned(), changed);
        }
        Ok(changes)
    }
}

impl ApplyError {
    /// A failure to convert, with what was to be converted.
    pub(super) fn of(self, what: &str) -> Self {
        match self {
            Self::Conversion(why) => Self::Conversion(format!("{what}: {why}")),
            other => other,
        }
    }
}

impl Managers {
    /// Takes from everybody what changed, in the version of each entry. Entries of versions that no longer exist go.
    pub(super) fn disown_changes(&mut self, changes: &BTreeMap<String, Changed>) {
        self.0.retain(|_, owned| match changes.get(&owned.version) {
            Some(changed) => {
                owned.set = owned.set.difference(&changed.set).difference(&changed.removed);
                !owned.set.is_empty()
            }
            None => false,
        });
    }
}
