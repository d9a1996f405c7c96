//! The rules for names: those that a definition wants, and those that it has.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionNames;
use orknet_resources::field::{Errors, Path};
use orknet_resources::names::label_1035;

/// A spec must have all of them.
pub fn required(names: &CustomResourceDefinitionNames, at: &Path<'_>, errors: &mut Errors) {
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    for (field, name) in [
        ("plural", names.plural.clone()),
        ("singular", text(&names.singular)),
        ("kind", names.kind.clone()),
        ("listKind", text(&names.list_kind)),
    ] {
        if name.is_empty() {
            errors.required(&at.field(field), "");
        }
    }
}

/// The form of those that are there.
pub fn form(names: &CustomResourceDefinitionNames, at: &Path<'_>, errors: &mut Errors) {
    let list_kind = names.list_kind.as_deref().unwrap_or_default();
    for (field, name) in [("plural", &names.plural[..]), ("singular", names.singular.as_deref().unwrap_or_default())] {
        if !name.is_empty() {
            label(&at.field(field), name, name, "", errors);
        }
    }
    for (field, name) in [("kind", &names.kind[..]), ("listKind", list_kind)] {
        if !name.is_empty() {
            label(&at.field(field), name, &name.to_lowercase(), "may have mixed case, but should otherwise match: ", errors);
        }
    }
    for (i, name) in names.short_names.iter().flatten().enumerate() {
        label(&at.field("shortNames").index(i), name, name, "", errors);
    }
    if !names.kind.is_empty() && names.kind == list_kind {
        errors.invalid(&at.field("listKind"), list_kind, "kind and listKind may not be the same");
    }
    for (i, name) in names.categories.iter().flatten().enumerate() {
        label(&at.field("categories").index(i), name, name, "", errors);
    }
}

/// `checked` must be a label that begins with a letter; all complaints in one.
pub fn label(at: &Path<'_>, shown: &str, checked: &str, before: &str, errors: &mut Errors) {
    let found = label_1035(checked);
    if !found.is_empty() {
        errors.invalid(at, shown, format!("{before}{}", found.join(",")));
    }
}
