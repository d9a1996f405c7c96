//! Discovery in one document for `/api` and one for `/apis` (`apidiscovery.k8s.io`, KEP-3352). Pure.

use super::catalog::{Catalog, Source};
use super::subresources::shown;
use crate::kinds::{Kinds, is_namespaced};
use orknet_resources::Descriptor;
use serde_json::{Value, json};

/// `APIGroupDiscoveryList` in the given version: the core group, or all others.
pub fn group_discovery(catalog: &Catalog<'_>, core: bool, version: &str) -> Value {
    let items: Vec<_> = catalog
        .groups()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| group_entry(catalog.kinds, group, versions))
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items })
}

fn group_entry(kinds: &Kinds, group: &str, versions: &[(String, Source)]) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .map(|(version, source)| {
            if let Source::There(told) = source {
                let freshness = if told.stale { "Stale" } else { "Current" };
                return json!({ "version": version, "resources": told.resources, "freshness": freshness });
            }
            let resources: Vec<_> = kinds
                .iter()
                .map(|kind| kind.descriptor())
                .filter(|names| names.group == group && names.version == version)
                .map(resource_entry)
                .collect();
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        })
        .collect();
    let metadata =
        if group.is_empty() { json!({ "creationTimestamp": null }) } else { json!({ "name": group, "creationTimestamp": null }) };
    json!({ "metadata": metadata, "versions": versions })
}

fn resource_entry(names: &Descriptor) -> Value {
    let mut entry = json!({
        "resource": names.plural,
        "responseKind": { "group": names.group, "version": names.version, "kind": names.kind },
        "scope": if is_namespaced(names) { "Namespaced" } else { "Cluster" },
        "singularResource": names.singular,
        "verbs": names.verbs,
    });
    if !names.short_names.is_empty() {
        entry["shortNames"] = json!(names.short_names);
    }
    if !names.categories.is_empty() {
        entry["categories"] = json!(names.categories);
    }
    let subresources: Vec<_> = names
        .subresources
        .iter()
        .filter_map(|subresource| {
            let shown = shown(names, subresource)?;
            let (group, version) = shown.version.unwrap_or((names.group, names.version));
            Some(json!({
                "subresource": subresource,
                "responseKind": { "group": group, "version": version, "kind": shown.kind },
                "verbs": shown.verbs,
            }))
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_documents_together_have_every_kind() {
        let kinds = Kinds::new(crate::kinds::own());
        let count = |core| {
            let document = group_discovery(&Catalog::of(&kinds), core, "v2");
            let versions =
                document["items"].as_array().into_iter().flatten().flat_map(|item| item["versions"].as_array().into_iter().flatten());
            versions.map(|version| version["resources"].as_array().map_or(0, Vec::len)).sum::<usize>()
        };
        assert_eq!(count(true) + count(false), kinds.iter().count());
    }
}
