//! What an extension server says that it serves, in the forms in which this server tells it on. Pure.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is known of one group version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// `APIResourceDiscovery`s of `apidiscovery.k8s.io`.
    pub resources: Vec<Value>,
    /// Where its OpenAPI v3 document is, with the hash that changes with it; `None` where it has none.
    pub openapi: Option<String>,
    /// Whether the server could not be asked since.
    pub stale: bool,
}

impl Discovered {
    /// From an `APIResourceList`, and the index of OpenAPI documents where there is one.
    pub fn read(group: &str, version: &str, list: &[u8], openapi: Option<&[u8]>) -> Self {
        let list: Value = serde_json::from_slice(list).unwrap_or_default();
        let index: Option<Value> = openapi.and_then(|index| serde_json::from_slice(index).ok());
        let place =
            index.as_ref().and_then(|index| index.get("paths")?.get(format!("apis/{group}/{version}"))?.get("serverRelativeURL")?.as_str());
        // Only where this server asks it there.
        let own = format!("/openapi/v3/apis/{group}/{version}");
        let openapi = place.filter(|place| place.split('?').next() == Some(&own)).map(str::to_owned);
        Self { resources: resources(group, version, &list), openapi, stale: false }
    }
}

/// The resources of an `APIResourceList` with their subresources below them (as Kubernetes converts the one form to the other).
fn resources(group: &str, version: &str, list: &Value) -> Vec<Value> {
    let mut resources: BTreeMap<String, Value> = BTreeMap::new();
    let mut order = Vec::new();
    for entry in list["resources"].as_array().into_iter().flatten() {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let or = |field: &str, own: &str| if text(field).is_empty() { own.to_owned() } else { text(field).to_owned() };
        // A version without a group is one of the core group.
        let group = if text("group").is_empty() && !text("version").is_empty() { String::new() } else { or("group", group) };
        let kind = json!({ "group": group, "version": or("version", version), "kind": text("kind") });
        let scope = if entry["namespaced"] == true { "Namespaced" } else { "Cluster" };
        let mut place = |name: &str| {
            if !resources.contains_key(name) {
                order.push(name.to_owned());
            }
            name.to_owned()
        };
        match text("name").split_once('/') {
            Some((name, subresource)) => {
                let name = place(name);
                let parent = resources.entry(name.clone()).or_insert_with(|| json!({ "resource": name, "scope": scope, "verbs": [] }));
                let shown = json!({ "subresource": subresource, "responseKind": kind, "verbs": entry["verbs"] });
                match parent["subresources"].as_array_mut() {
                    Some(all) => all.push(shown),
                    None => parent["subresources"] = json!([shown]),
                }
            }
            None => {
                let name = place(text("name"));
                let known = resources.remove(&name).and_then(|known| known.get("subresources").cloned());
                let mut shown = json!({ "resource": name, "responseKind": kind, "scope": scope,
                    "singularResource": text("singularName"), "verbs": entry["verbs"] });
                for field in ["shortNames", "categories"] {
                    if entry[field].is_array() {
                        shown[field] = entry[field].clone();
                    }
                }
                if let Some(known) = known {
                    shown["subresources"] = known;
                }
                resources.insert(name, shown);
            }
        }
    }
    order.into_iter().filter_map(|name| resources.remove(&name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_resources_is_told_in_the_other_form() {
        let list = json!({ "kind": "APIResourceList", "resources": [
            { "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get"], "shortNames": ["th"] },
            { "name": "things/scale", "namespaced": true, "kind": "Scale", "group": "autoscaling", "version": "v1", "verbs": ["get"] },
            { "name": "lone/status", "namespaced": false, "kind": "Lone", "verbs": ["get"] },
        ] });
        let index = json!({ "paths": { "apis/g/v1": { "serverRelativeURL": "/openapi/v3/apis/g/v1?hash=A" } } });
        let read = Discovered::read("g", "v1", list.to_string().as_bytes(), Some(index.to_string().as_bytes()));
        let things = json!({ "resource": "things", "responseKind": { "group": "g", "version": "v1", "kind": "Thing" }, "scope": "Namespaced",
            "singularResource": "thing", "verbs": ["get"], "shortNames": ["th"], "subresources": [
                { "subresource": "scale", "responseKind": { "group": "autoscaling", "version": "v1", "kind": "Scale" }, "verbs": ["get"] } ] });
        assert_eq!(read.resources[0], things);
        assert_eq!(read.resources[1]["subresources"][0]["subresource"], "status");
        assert_eq!(read.openapi.as_deref(), Some("/openapi/v3/apis/g/v1?hash=A"));
        let elsewhere = json!({ "paths": { "apis/g/v1": { "serverRelativeURL": "/api/v1/secrets" } } });
        assert_eq!(Discovered::read("g", "v1", b"nonsense", Some(elsewhere.to_string().as_bytes())), Discovered::default());
    }
}
