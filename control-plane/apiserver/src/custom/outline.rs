//! What the server keeps in mind of a stored definition: all but the schemas. Pure.

use super::names::Names;
use crate::cache::CachedObject;
use crate::object;
use orknet_custom::definition::conditions::{self, Condition};
use orknet_custom::definition::{CLEANUP, approval};
use orknet_resources::openapi;
use orknet_store::Revision;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which definition it is, and whether it stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    pub name: String,
    pub uid: String,
    pub revision: Revision,
    pub is_deleting: bool,
}

/// See the module.
pub struct Outline {
    pub head: Head,
    pub object: Arc<CachedObject>,
    pub created: String,
    pub group: String,
    pub wanted: Names,
    pub accepted: Names,
    /// Whether it has ever been said to be served.
    pub is_established: bool,
    /// Whether all names that it wants are its own.
    pub has_names: bool,
    /// Whether it is held until its objects are gone.
    pub has_cleanup: bool,
    /// What its approval is, where its group needs one.
    pub approval: Option<Condition>,
    /// `status.conditions`, as `{"status": {"conditions": …}}`.
    pub told: Value,
    /// The same for definitions that are served in the same way.
    pub shape: String,
}

impl Head {
    /// Reads no more than it needs: definitions are large.
    pub fn read(object: &CachedObject) -> Self {
        #[derive(Default, Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Metadata {
            name: String,
            uid: String,
            resource_version: String,
            deletion_timestamp: String,
        }
        // What this server stored has this form.
        let Metadata { name, uid, resource_version, deletion_timestamp } =
            serde_json::from_slice::<Object>(&object.json).unwrap_or_default().metadata;
        Self { name, uid, revision: resource_version.parse().unwrap_or_default(), is_deleting: !deletion_timestamp.is_empty() }
    }
}

impl Outline {
    pub fn read(object: &Arc<CachedObject>) -> Self {
        let mut value = object.value();
        let head = Head::read(object);
        let names = |pointer: &str| value.pointer(pointer).and_then(|names| Names::deserialize(names).ok()).unwrap_or_default();
        let (wanted, accepted) = (names("/spec/names"), names("/status/acceptedNames"));
        let group = object::text(&value, "/spec/group").to_owned();
        let annotations = value.pointer("/metadata/annotations").and_then(|map| BTreeMap::<String, String>::deserialize(map).ok());
        let shape = shape(&head, &accepted, &mut value);
        Self {
            created: object::meta_str(&value, "creationTimestamp").to_owned(),
            is_established: conditions::holds(&value, "Established"),
            has_names: conditions::holds(&value, "NamesAccepted"),
            has_cleanup: object::finalizers(&value).contains(&CLEANUP),
            approval: approval::condition(&group, annotations.as_ref()),
            told: json!({ "status": { "conditions": value.pointer("/status/conditions").cloned().unwrap_or_else(|| json!([])) } }),
            head,
            object: object.clone(),
            group,
            wanted,
            accepted,
            shape,
        }
    }

    /// Whether its kinds are served: with the names that it has, also when it wants others by now.
    pub fn is_served(&self) -> bool {
        (self.has_names || self.is_established) && !self.accepted.plural.is_empty()
    }
}

/// A hash of all that the kinds are made of.
fn shape(head: &Head, accepted: &Names, value: &mut Value) -> String {
    let spec = value["spec"].take();
    openapi::hash(json!([head.uid, accepted, spec]).to_string().as_bytes())
}
