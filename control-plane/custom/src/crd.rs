//! What of a CustomResourceDefinition makes its kinds. Read from the JSON of an object that has passed its rules; what is not there is empty.

use crate::kind::Error;
use orknet_resources::{ScalePaths, Scope, WebhookConversion};
use serde_json::Value;
use std::sync::Arc;

/// A CustomResourceDefinition, as far as its kinds need it.
#[derive(Clone, Debug)]
pub struct Definition {
    pub group: String,
    /// Under which the kinds are served: the wanted ones of `spec.names`, unless the caller puts the accepted ones here.
    pub names: Names,
    pub scope: Scope,
    /// `metadata.generation`: 1 as long as the definition is what it was when it was made.
    pub generation: i64,
    /// In the definition's order.
    pub versions: Vec<Version>,
    /// The webhook that converts objects; `None`: nothing but their `apiVersion` changes.
    pub conversion: Option<Arc<WebhookConversion>>,
}

/// `spec.names`, `status.acceptedNames`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub kind: String,
    pub list_kind: String,
    pub categories: Vec<String>,
}

/// One of `spec.versions`.
#[derive(Clone, Debug)]
pub struct Version {
    pub name: String,
    pub served: bool,
    pub storage: bool,
    /// What every answer warns of, where the version is deprecated.
    pub deprecation: Option<String>,
    /// `schema.openAPIV3Schema`; an empty object where there is none.
    pub schema: Value,
    pub has_status: bool,
    pub scale: Option<ScalePaths>,
    /// As the definition has them: [`crate::kinds`] adds the name, and the age where there are none.
    pub columns: Vec<PrinterColumn>,
    /// JSON paths such as `.spec.color`.
    pub selectable_fields: Vec<String>,
}

/// One of `additionalPrinterColumns`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrinterColumn {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i32,
    pub json_path: String,
}

impl Definition {
    /// Reads a CustomResourceDefinition of `apiextensions.k8s.io/v1`.
    pub fn read(object: &Value) -> Result<Self, Error> {
        let spec = &object["spec"];
        let group = text(spec, "group");
        let names = Names::read(&spec["names"]);
        for (what, value) in [("spec.group", &group), ("spec.names.plural", &names.plural), ("spec.names.kind", &names.kind)] {
            if value.is_empty() {
                return Err(Error::Missing(what));
            }
        }
        let scope = if spec["scope"] == "Namespaced" { Scope::Namespaced } else { Scope::Cluster };
        let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
        let versions = items(spec, "versions").iter().map(|version| Version::read(version, &group, &names.kind)).collect();
        let conversion = (spec["conversion"]["strategy"] == "Webhook").then(|| {
            let webhook = &spec["conversion"]["webhook"];
            Arc::new(WebhookConversion {
                client_config: webhook["clientConfig"].clone(),
                reviews: texts(webhook, "conversionReviewVersions"),
            })
        });
        Ok(Self { group, names, scope, generation, versions, conversion })
    }

    /// The version that objects are stored in.
    pub fn storage_version(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.storage)
    }
}

impl Names {
    pub fn read(names: &Value) -> Self {
        let kind = text(names, "kind");
        let or = |name: &str, other: String| Some(text(names, name)).filter(|text| !text.is_empty()).unwrap_or(other);
        Self {
            plural: text(names, "plural"),
            singular: or("singular", kind.to_lowercase()),
            short_names: texts(names, "shortNames"),
            list_kind: or("listKind", format!("{kind}List")),
            categories: texts(names, "categories"),
            kind,
        }
    }
}

impl Version {
    fn read(version: &Value, group: &str, kind: &str) -> Self {
        let name = text(version, "name");
        let deprecation = (version["deprecated"] == true).then(|| {
            let own = version["deprecationWarning"].as_str().map(str::to_owned);
            own.unwrap_or_else(|| format!("{group}/{name} {kind} is deprecated"))
        });
        let subresources = &version["subresources"];
        let schema = version["schema"]["openAPIV3Schema"].clone();
        Self {
            served: version["served"] == true,
            storage: version["storage"] == true,
            deprecation,
            schema: if schema.is_object() { schema } else { Value::Object(Default::default()) },
            has_status: subresources["status"].is_object(),
            scale: subresources["scale"].as_object().map(|_| scale(&subresources["scale"])),
            columns: items(version, "additionalPrinterColumns").iter().map(PrinterColumn::read).collect(),
            selectable_fields: items(version, "selectableFields").iter().map(|field| text(field, "jsonPath")).collect(),
            name,
        }
    }
}

impl PrinterColumn {
    pub fn read(column: &Value) -> Self {
        Self {
            name: text(column, "name"),
            kind: text(column, "type"),
            format: text(column, "format"),
            description: text(column, "description"),
            priority: column["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or_default(),
            json_path: text(column, "jsonPath"),
        }
    }
}

fn scale(scale: &Value) -> ScalePaths {
    let steps = |path: &str| path.trim_start_matches('.').split('.').map(str::to_owned).collect::<Vec<_>>();
    ScalePaths {
        spec_replicas: steps(&text(scale, "specReplicasPath")),
        status_replicas: steps(&text(scale, "statusReplicasPath")),
        selector: Some(text(scale, "labelSelectorPath")).filter(|path| !path.is_empty()).map(|path| steps(&path)),
    }
}

fn text(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_default().to_owned()
}

fn items<'v>(object: &'v Value, name: &str) -> &'v [Value] {
    object[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(object: &Value, name: &str) -> Vec<String> {
    items(object, name).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_definition_is_read_with_what_it_leaves_out() {
        let object = json!({
            "metadata": { "generation": 3 },
            "spec": {
                "group": "example.org",
                "names": { "plural": "widgets", "kind": "Widget", "shortNames": ["wd"] },
                "scope": "Namespaced",
                "versions": [
                    { "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } },
                      "subresources": { "status": {}, "scale": { "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size" } },
                      "additionalPrinterColumns": [{ "name": "Size", "type": "integer", "jsonPath": ".spec.size", "priority": 1 }],
                      "selectableFields": [{ "jsonPath": ".spec.color" }] },
                    { "name": "v1beta1", "served": false, "storage": false, "deprecated": true },
                ],
            },
        });
        let definition = Definition::read(&object).expect("whole");
        assert_eq!((&definition.names.singular[..], &definition.names.list_kind[..]), ("widget", "WidgetList"));
        assert_eq!((definition.scope, definition.generation), (Scope::Namespaced, 3));
        let [v1, v1beta1] = &definition.versions[..] else { panic!("two versions") };
        assert!(v1.served && v1.storage && v1.has_status && v1.deprecation.is_none());
        assert_eq!(v1.scale.as_ref().map(|scale| &scale.spec_replicas[..]), Some(&["spec".to_owned(), "size".to_owned()][..]));
        assert_eq!((v1.columns[0].priority, &v1.selectable_fields[0][..]), (1, ".spec.color"));
        assert_eq!(v1beta1.deprecation.as_deref(), Some("example.org/v1beta1 Widget is deprecated"));
        assert!(Definition::read(&json!({ "spec": { "group": "example.org" } })).is_err());
    }
}
