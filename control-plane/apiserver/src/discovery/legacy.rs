//! Discovery group by group: `APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`. Pure.

use super::subresources::shown;
use crate::kinds::{Kinds, is_namespaced};
use serde_json::{Value, json};
use std::net::IpAddr;

/// `/api`.
pub fn api_versions(kinds: &Kinds, address: IpAddr) -> Value {
    let versions: Vec<_> = kinds.groups().into_iter().filter(|(group, _)| group.is_empty()).flat_map(|(_, versions)| versions).collect();
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address.to_string() }],
    })
}

/// `/apis`.
pub fn group_list(kinds: &Kinds) -> Value {
    let groups: Vec<_> =
        kinds.groups().into_iter().filter(|(group, _)| !group.is_empty()).map(|(group, versions)| entry(group, &versions)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/<group>`.
pub fn group(kinds: &Kinds, wanted: &str) -> Option<Value> {
    let (group, versions) = kinds.groups().into_iter().find(|(group, _)| *group == wanted && !group.is_empty())?;
    let mut value = entry(group, &versions);
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

fn entry(group: &str, versions: &[&str]) -> Value {
    let version = |version: &&str| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
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
    fn groups_name_their_preferred_version() {
        let apps = group(&kinds(), "apps").expect("there");
        assert_eq!(apps["preferredVersion"], json!({ "groupVersion": "apps/v1", "version": "v1" }));
        assert_eq!(group(&kinds(), ""), None);
    }
}
