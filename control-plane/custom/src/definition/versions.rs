//! The rules for the parts of a version: deprecation, columns, subresources, fields that can be selected by. The schema's are [`crate::schema`]'s.

use crate::schema;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinitionVersion, CustomResourceSubresources, JSONSchemaProps, SelectableField,
};
use orknet_resources::field::{Errors, Path};
use serde_json::{Value, json};

const COLUMN_TYPES: &str = "boolean,date,integer,number,string";
const COLUMN_FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
/// Longest warning, in bytes.
const LONGEST_WARNING: usize = 256;

pub fn deprecation(version: &CustomResourceDefinitionVersion, at: &Path<'_>, errors: &mut Errors) {
    let Some(warning) = version.deprecation_warning.as_deref() else { return };
    let at = at.field("deprecationWarning");
    if version.deprecated != Some(true) {
        return errors.invalid(&at, warning, "can only be set for deprecated versions");
    }
    if warning.len() > LONGEST_WARNING {
        errors.invalid(&at, warning, format!("must be <= {LONGEST_WARNING} characters long"));
    }
    if warning.is_empty() {
        errors.invalid(&at, warning, "must not be an empty string");
    }
    // As Go's `unicode.IsPrint`: of all spaces only the plain one.
    let unprintable = |letter: char| letter.is_control() || (letter.is_whitespace() && letter != ' ');
    if let Some((index, _)) = warning.char_indices().find(|(_, letter)| unprintable(*letter)) {
        let detail = format!("must only contain printable UTF-8 characters; non-printable character found at index {index}");
        errors.invalid(&at, warning, detail);
    }
}

pub fn column(column: &CustomResourceColumnDefinition, at: &Path<'_>, errors: &mut Errors) {
    if column.name.is_empty() {
        errors.required(&at.field("name"), "");
    }
    let one_of = |list: &str, value: &str| list.split(',').any(|known| known == value);
    let at_type = at.field("type");
    match &column.type_[..] {
        "" => errors.required(&at_type, format!("must be one of {COLUMN_TYPES}")),
        known if one_of(COLUMN_TYPES, known) => {}
        other => errors.invalid(&at_type, other, format!("must be one of {COLUMN_TYPES}")),
    }
    if let Some(format) = column.format.as_deref().filter(|format| !format.is_empty() && !one_of(COLUMN_FORMATS, format)) {
        errors.invalid(&at.field("format"), format, format!("must be one of {COLUMN_FORMATS}"));
    }
    let at = at.field("JSONPath");
    if column.json_path.is_empty() {
        errors.required(&at, "");
    } else {
        simple_path(&column.json_path, &at, errors);
    }
}

pub fn subresources(subresources: &CustomResourceSubresources, at: &Path<'_>, errors: &mut Errors) {
    let Some(scale) = &subresources.scale else { return };
    for (field, path, below) in [
        ("scale.specReplicasPath", &scale.spec_replicas_path, ".spec."),
        ("scale.statusReplicasPath", &scale.status_replicas_path, ".status."),
    ] {
        let at = at.field(field);
        if path.is_empty() {
            errors.required(&at, "");
        } else if simple_path(path, &at, errors) && !path.starts_with(below) {
            errors.invalid(&at, path.as_str(), format!("should be a json path under {}", below.trim_end_matches('.')));
        }
    }
    if let Some(path) = scale.label_selector_path.as_deref().filter(|path| !path.is_empty()) {
        let at = at.field("scale.labelSelectorPath");
        if simple_path(path, &at, errors) && !path.starts_with(".spec.") && !path.starts_with(".status.") {
            errors.invalid(&at, path, "should be a json path under either .spec or .status");
        }
    }
}

/// Whether the path, which is not empty, begins as one.
fn simple_path(path: &str, at: &Path<'_>, errors: &mut Errors) -> bool {
    let right = path.starts_with('.');
    if !right {
        errors.invalid(at, path, "must be a simple json path starting with .");
    }
    right
}

/// By a schema that can be read; one that cannot has complaints of its own.
pub fn selectable(fields: &[SelectableField], schema: Option<&JSONSchemaProps>, at: &Path<'_>, errors: &mut Errors) {
    let Some(schema) = schema.filter(|_| !fields.is_empty()) else { return };
    let fields: Vec<Value> = fields.iter().map(|field| json!({ "jsonPath": field.json_path })).collect();
    if let Ok(schema) = schema::Node::compile(&written(schema)) {
        schema::selectable_fields(&fields, &schema, &at.to_string()).into_iter().for_each(|error| errors.push(error));
    }
}

/// The rules for a schema. `has_status`: whether the version has the subresource `status`, which is checked by its own part of the schema alone.
pub fn schema(schema: &JSONSchemaProps, has_status: bool, at: &Path<'_>, errors: &mut Errors) {
    let written = written(schema);
    if has_status {
        let allowed = |field: &String| AT_ROOT.split(' ').any(|known| known == field_name(field));
        if schema.type_.as_deref().is_some_and(|name| name != "object") {
            let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            errors.invalid(&at.field("type"), schema.type_.clone(), why);
        } else if !written.as_object().is_some_and(|fields| fields.keys().all(allowed)) {
            errors.invalid_as_is(
                at,
                format!("only [{AT_ROOT}] fields are allowed at the root of the schema if the status subresource is enabled"),
            );
        }
    }
    schema::problems(&written, &at.to_string()).into_iter().for_each(|error| errors.push(error));
}

/// What a schema may have at its root where there is a status, by the names of upstream's type.
const AT_ROOT: &str = "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems \
UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations";

/// The name that upstream's type has for a field of a schema.
fn field_name(field: &str) -> String {
    let words = field.trim_start_matches('$').replace("x-kubernetes", "X");
    words.split('-').map(|word| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect::<String>()).collect()
}

/// A value of the type always serialises.
fn written(schema: &JSONSchemaProps) -> Value {
    serde_json::to_value(schema).unwrap_or_default()
}
