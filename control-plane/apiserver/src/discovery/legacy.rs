//! Discovery group by group: `APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`. Pure.

use super::catalog::{Catalog, Source};
use super::subresources::shown;
use crate::kinds::{Kind, Kinds, is_namespaced, is_stored};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use orknet_resources::Descriptor;
use serde_json::{Value, json};
use std::net::IpAddr;

/// `/api`.
pub fn api_versions(catalog: &Catalog<'_>, address: IpAddr) -> Value {
    let core = catalog.groups().filter(|(group, _)| group.is_empty());
    let versions: Vec<_> = core.flat_map(|(_, versions)| versions.iter().map(|(version, _)| version)).collect();
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address.to_string() }],
    })
}

/// `/apis`.
pub fn group_list(catalog: &Catalog<'_>) -> Value {
    let groups: Vec<_> = catalog.groups().filter(|(group, _)| !group.is_empty()).map(|(group, versions)| entry(group, versions)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/<group>`.
pub fn group(catalog: &Catalog<'_>, wanted: &str) -> Option<Value> {
    let (group, versions) = catalog.groups().find(|(group, _)| *group == wanted && !group.is_empty())?;
    let mut value = entry(group, versions);
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Some(value)
}

/// `/api/v1`, `/apis/<group>/<version>`.
pub fn resource_list(kinds: &Kinds, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for names in kinds.iter().map(|kind| kind.descriptor()).filter(|names| names.group == group && names.version == version) {
        let mut resource = json!({
            "name": names.plural,
            "singularName": names.singular,
            "namespaced": is_namespaced(names),
            "kind": names.kind,
            "verbs": names.verbs,
        });
        if !names.short_names.is_empty() {
            resource["shortNames"] = json!(names.short_names);
        }
        if !names.categories.is_empty() {
            resource["categories"] = json!(names.categories);
        }
        if let Some(hash) = storage_version_hash(kinds, names) {
            resource["storageVersionHash"] = hash.into();
        }
        resources.push(resource);
        for subresource in names.subresources {
            let Some(shown) = shown(names, subresource) else { continue };
            let mut resource = json!({
                "name": format!("{}/{subresource}", names.plural),
                "singularName": "",
                "namespaced": is_namespaced(names),
                "kind": shown.kind,
                "verbs": shown.verbs,
            });
            if let Some((group, version)) = shown.version {
                resource["group"] = json!(group);
                resource["version"] = json!(version);
            }
            resources.push(resource);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty())
        .then(|| json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources }))
}

/// Names the form in which objects are stored (as kube-apiserver computes it): who moves stored objects to another form sees when it changes. `None` for
/// kinds of several forms, any of which may be stored.
fn storage_version_hash(kinds: &Kinds, names: &Descriptor) -> Option<String> {
    let of_place = |kind: &&Kind| kind.descriptor().stored_as == names.stored_as && is_stored(names) && kind.has_own_form();
    let stored = kinds.iter().find(of_place)?.descriptor();
    let form = format!("{}/{}/{}", stored.group, stored.version, stored.kind);
    Some(STANDARD.encode(&digest(&SHA256, form.as_bytes()).as_ref()[..8]))
}

fn entry(group: &str, versions: &[(String, Source)]) -> Value {
    let version = |(version, _): &(String, Source)| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    let all: Vec<_> = versions.iter().map(version).collect();
    json!({ "name": group, "versions": all, "preferredVersion": versions.first().map(version) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds() -> Kinds {
        Kinds::new(crate::kinds::own())
    }

    #[test]
    fn every_kind_is_listed_in_its_version() {
        let kinds = kinds();
        for names in kinds.iter().map(|kind| kind.descriptor()) {
            let list = resource_list(&kinds, names.group, names.version).expect("listed");
            let resources = list["resources"].as_array().expect("an array");
            assert!(resources.iter().any(|resource| resource["name"] == names.plural), "{}", names.plural);
        }
        assert_eq!(resource_list(&kinds, "apps", "v9"), None);
    }

    #[test]
    fn stored_forms_have_the_hashes_of_kubernetes() {
        let kinds = kinds();
        let hash = |group: &str, version: &str, plural: &str| {
            let list = resource_list(&kinds, group, version).expect("listed");
            let found = list["resources"].as_array().into_iter().flatten().find(|resource| resource["name"] == plural).cloned();
            found.expect("there")["storageVersionHash"].clone()
        };
        // As any kube-apiserver tells them.
        assert_eq!(hash("", "v1", "pods"), "xPOwRZ+Yhw8=");
        assert_eq!(hash("apps", "v1", "deployments"), "8aSe+NMegvE=");
        assert_eq!(hash("events.k8s.io", "v1", "events"), hash("", "v1", "events"));
        assert_eq!(hash("authorization.k8s.io", "v1", "subjectaccessreviews"), Value::Null);
    }

    #[test]
    fn groups_name_their_preferred_version() {
        let apps = group(&Catalog::of(&kinds()), "apps").expect("there");
        assert_eq!(apps["preferredVersion"], json!({ "groupVersion": "apps/v1", "version": "v1" }));
        assert_eq!(group(&Catalog::of(&kinds()), ""), None);
    }
}
