//! What kinds need that k8s-openapi does not have: their names as constants of the type, schemas without `null`, the rules of conditions.

use crate::field::{Errors, Path};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::Schema;
use serde_json::Value;

/// The traits of k8s-openapi for a struct that has the fields `api_version`, `kind` and `metadata`: group, version, plural, scope.
macro_rules! own_kind {
    ($kind:ident, $group:literal, $version:literal, $plural:literal, $scope:ident) => {
        impl k8s_openapi::Resource for $kind {
            const API_VERSION: &'static str = concat!($group, "/", $version);
            const GROUP: &'static str = $group;
            const KIND: &'static str = stringify!($kind);
            const VERSION: &'static str = $version;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = k8s_openapi::$scope;
        }

        impl k8s_openapi::Metadata for $kind {
            type Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use own_kind;

/// `apiVersion` of an object that does not say it (an item of a list).
pub(crate) fn api_version<T: k8s_openapi::Resource>() -> String {
    T::API_VERSION.to_owned()
}

/// `kind` of an object that does not say it.
pub(crate) fn kind<T: k8s_openapi::Resource>() -> String {
    T::KIND.to_owned()
}

/// From a derived schema to one as the API has them: fields may be absent, but not `null`, and descriptions are broken where they are shown, not
/// where the source is.
pub(crate) fn schema(schema: &mut Schema) {
    unwrap_lines(schema.get_mut("description"));
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        unwrap_lines(property.get_mut("description"));
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = &types[..] {
                let only = only.clone();
                property.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(mut choices)) = property.remove("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            match (choices.pop(), choices.is_empty()) {
                (Some(Value::Object(only)), true) => property.extend(only),
                (last, _) => drop(property.insert("anyOf".to_owned(), choices.into_iter().chain(last).collect())),
            }
        }
    }
}

fn unwrap_lines(text: Option<&mut Value>) {
    if let Some(Value::String(text)) = text {
        *text = text.replace('\n', " ");
    }
}

/// The rules of `metav1.Condition`, and of a list of them that is a map by type.
pub(crate) fn conditions(list: &[Condition], at: &Path<'_>, errors: &mut Errors) {
    for (i, condition) in list.iter().enumerate() {
        let at = at.index(i);
        match condition.type_.as_str() {
            "" => errors.required(&at.field("type"), ""),
            name if list[..i].iter().any(|before| before.type_ == name) => errors.duplicate(&at, name),
            name => errors.format(&at.field("type"), name, crate::names::qualified_name(name)),
        }
        errors.one_of(&at.field("status"), Some(&condition.status), &["True", "False", "Unknown"]);
        if condition.reason.is_empty() {
            errors.required(&at.field("reason"), "");
        }
        if let Some(generation) = condition.observed_generation {
            errors.non_negative(&at.field("observedGeneration"), generation);
        }
    }
}

/// The status of the condition of a type, and nothing where there is none: a cell.
pub(crate) fn condition_status(list: &[Condition], name: &str) -> Value {
    list.iter().find(|condition| condition.type_ == name).map(|condition| condition.status.as_str()).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::JsonSchema;
    use serde_json::json;

    #[derive(JsonSchema)]
    #[schemars(transform = super::schema, extend("required" = ["must"]))]
    #[allow(dead_code, reason = "only its schema is looked at")]
    /// An example
    /// of a type.
    struct Example {
        /// A text that is described
        /// in two lines.
        text: Option<String>,
        inner: Option<Box<Example>>,
        must: Option<i32>,
    }

    #[test]
    fn what_may_be_absent_may_not_be_null() {
        let schema = schemars::SchemaGenerator::default().into_root_schema_for::<Example>().to_value();
        assert!(!schema.to_string().contains("null"), "{schema}");
        assert_eq!(schema["properties"]["text"], json!({"description": "A text that is described in two lines.", "type": "string"}));
        assert_eq!(schema["properties"]["inner"], json!({"$ref": "#"}));
        assert_eq!((&schema["required"], &schema["description"]), (&json!(["must"]), &json!("An example of a type.")));
    }

    #[test]
    fn conditions_have_a_type_a_status_and_a_reason() {
        let list: Vec<Condition> = serde_json::from_value(json!([
            {"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "2026-01-02T03:04:05Z"},
            {"type": "A", "status": "Yes", "reason": "", "lastTransitionTime": "2026-01-02T03:04:05Z"},
            {"type": "", "status": "", "lastTransitionTime": "2026-01-02T03:04:05Z"},
        ]))
        .unwrap();
        let mut errors = Errors::default();
        conditions(&list, &Path::Root.field("c"), &mut errors);
        let fields: Vec<String> = errors.into_list().into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["c[1]", "c[1].status", "c[1].reason", "c[2].type", "c[2].status", "c[2].reason"]);
    }
}
