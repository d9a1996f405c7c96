//! `metadata.managedFields`: who owns which fields. Read, written, stripped and kept short here.

use super::Manager;
use crate::fields::{FieldSet, FieldsError, Segment};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Entries of operation `Update` that an object keeps apart; older ones are merged into one.
const MAX_UPDATERS: usize = 10;
const MERGED_UPDATERS: &str = "ancient-changes";
/// Fields that nobody owns: identity and what the server fills in.
const STRIPPED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// What tells entries apart. An applier has one entry for all versions of a kind (its version is empty here), an updater one for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub operation: Operation,
    pub manager: String,
    pub version: String,
    pub subresource: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    /// The `apiVersion` that the fields are of.
    pub version: String,
    pub set: FieldSet,
    /// RFC 3339; absent in entries that never had one.
    pub time: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Managers(pub BTreeMap<Identity, Owned>);

#[derive(Debug, thiserror::Error)]
pub(super) enum ManagersError {
    #[error("managedFields: an entry is no object")]
    NotAnObject,
    #[error("managedFields: operation is neither Apply nor Update")]
    Operation,
    #[error("managedFields: fieldsType is not FieldsV1")]
    FieldsType,
    #[error("managedFields: {0}")]
    Fields(#[from] FieldsError),
}

impl Identity {
    pub fn applier(manager: &Manager<'_>) -> Self {
        Self {
            operation: Operation::Apply,
            manager: manager.name.to_owned(),
            version: String::new(),
            subresource: manager.subresource.to_owned(),
        }
    }

    pub fn updater(name: &str, version: &str, subresource: &str) -> Self {
        Self { operation: Operation::Update, manager: name.to_owned(), version: version.to_owned(), subresource: subresource.to_owned() }
    }
}

impl Managers {
    /// Reads the entries of an object; none where it has none.
    pub fn read(object: &Value) -> Result<Self, ManagersError> {
        let mut managers = Self::default();
        for entry in entries(object).into_iter().flatten() {
            let entry = entry.as_object().ok_or(ManagersError::NotAnObject)?;
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let operation = match text("operation").as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err(ManagersError::Operation),
            };
            if text("fieldsType") != "FieldsV1" {
                return Err(ManagersError::FieldsType);
            }
            let set = entry.get("fieldsV1").map_or_else(|| Ok(FieldSet::new()), FieldSet::from_fields_v1)?;
            let version = text("apiVersion");
            let identity = Identity {
                operation,
                manager: text("manager"),
                version: if operation == Operation::Apply { String::new() } else { version.clone() },
                subresource: text("subresource"),
            };
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            managers.0.insert(identity, Owned { version, set, time });
        }
        Ok(managers)
    }

    /// Writes the entries into an object, or removes the field when there are none.
    pub fn write(mut self, object: &mut Value) {
        self.0.retain(|_, owned| !owned.set.is_empty());
        self.cap();
        let mut entries: Vec<(Identity, Owned)> = self.0.into_iter().collect();
        entries.sort_by(|(one, owned), (other, owned_too)| {
            (one.operation, &owned.time, &one.manager, &owned.version, &one.subresource).cmp(&(
                other.operation,
                &owned_too.time,
                &other.manager,
                &owned_too.version,
                &other.subresource,
            ))
        });
        let entries: Vec<Value> = entries.into_iter().map(write_entry).collect();
        let Some(object) = object.as_object_mut() else { return };
        let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        let Some(metadata) = metadata.as_object_mut() else { return };
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), Value::Array(entries));
        }
    }

    fn cap(&mut self) {
        let mut updaters: Vec<Identity> = self.0.keys().filter(|identity| identity.operation == Operation::Update).cloned().collect();
        let mut excess = updaters.len().saturating_sub(MAX_UPDATERS);
        updaters.sort_by(|one, other| self.0[one].time.cmp(&self.0[other].time));
        let mut first_of: BTreeMap<String, Identity> = BTreeMap::new();
        for updater in updaters {
            if excess == 0 {
                return;
            }
            let bucket = Identity::updater(MERGED_UPDATERS, &updater.version, "");
            let Some(first) = first_of.get(&updater.version).cloned() else {
                first_of.insert(updater.version.clone(), updater);
                continue;
            };
            if let Some(owned) = self.0.remove(&first) {
                self.merge_into(&bucket, owned);
            }
            if let Some(owned) = self.0.remove(&updater) {
                self.merge_into(&bucket, owned);
                excess -= 1;
            }
            first_of.insert(bucket.version.clone(), bucket);
        }
    }

    fn merge_into(&mut self, bucket: &Identity, owned: Owned) {
        match self.0.get_mut(bucket) {
            Some(known) => {
                known.set = std::mem::take(&mut known.set).union(&owned.set);
                known.time = known.time.take().max(owned.time);
            }
            None => {
                self.0.insert(bucket.clone(), owned);
            }
        }
    }
}

/// Whether a client asks to forget all ownership: `managedFields` is `[]` or `[{}]`.
pub(super) fn is_reset(object: &Value) -> bool {
    match entries(object).map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(only)]) => only.is_empty(),
        _ => false,
    }
}

/// The set without the fields that nobody owns, and without what this request does not write.
pub(super) fn strip(set: &FieldSet, manager: &Manager<'_>) -> FieldSet {
    let path = |path: &[&str]| path.iter().map(|name| Segment::field(name)).collect::<Vec<_>>();
    let stripped = STRIPPED.iter().fold(set.clone(), |set, field| set.without(&path(field)));
    let ignored = manager.ignored.iter().fold(stripped, |set, field| set.without(&path(&field.split('.').collect::<Vec<_>>())));
    // `metadata` alone says nothing, but its labels do.
    ignored.difference(&{
        let mut metadata = FieldSet::new();
        metadata.insert(&path(&["metadata"]));
        metadata
    })
}

fn entries(object: &Value) -> Option<&Vec<Value>> {
    object.get("metadata")?.get("managedFields")?.as_array()
}

fn write_entry((identity, owned): (Identity, Owned)) -> Value {
    let operation = match identity.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut entry = json!({
        "manager": identity.manager,
        "operation": operation,
        "apiVersion": owned.version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.set.to_fields_v1(),
    });
    if let Some(time) = owned.time {
        entry["time"] = time.into();
    }
    if !identity.subresource.is_empty() {
        entry["subresource"] = identity.subresource.into();
    }
    entry
}
