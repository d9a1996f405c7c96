//! The rules for a definition, with upstream's words and in its order (`apiextensions/validation`).

use super::hoisted::{Hoisted, columns, selectable};
use super::{approval, conversion, names, storage_version, versions};
use approval::Approval;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec, CustomResourceDefinitionStatus,
    CustomResourceDefinitionVersion, CustomResourceSubresources, CustomResourceValidation,
};
use orknet_resources::Subresource;
use orknet_resources::field::{Errors, Path};
use orknet_resources::names::subdomain;
use std::collections::HashSet;

/// The rules for a new one.
pub fn create(object: &CustomResourceDefinition, errors: &mut Errors) {
    name(object, errors);
    spec(&object.spec, &Path::Root.field("spec"), errors);
    status(object.status.as_ref(), errors);
    stored_versions(object, errors);
    approved(object, None, errors);
    preserve(object, None, errors);
}

/// The rules for a change.
pub fn update(new: &CustomResourceDefinition, old: &CustomResourceDefinition, subresource: Subresource<'_>, errors: &mut Errors) {
    if subresource.is_some() {
        return status(new.status.as_ref(), errors);
    }
    let at = Path::Root.field("spec");
    spec(&new.spec, &at, errors);
    let names = at.field("names");
    if is_established(old) {
        // What is stored depends on them.
        errors.immutable(&at.field("scope"), &new.spec.scope, &old.spec.scope);
        errors.immutable(&names.field("kind"), &new.spec.names.kind, &old.spec.names.kind);
    }
    errors.immutable(&at.field("group"), &new.spec.group, &old.spec.group);
    errors.immutable(&names.field("plural"), &new.spec.names.plural, &old.spec.names.plural);
    status(new.status.as_ref(), errors);
    stored_versions(new, errors);
    approved(new, Some(old), errors);
    preserve(new, Some(old), errors);
}

fn is_established(object: &CustomResourceDefinition) -> bool {
    let conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

fn name(object: &CustomResourceDefinition, errors: &mut Errors) {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    if name != format!("{}.{}", object.spec.names.plural, object.spec.group) {
        errors.invalid(&Path::Root.field("metadata").field("name"), name, "must be spec.names.plural+\".\"+spec.group");
    }
}

fn spec(spec: &CustomResourceDefinitionSpec, at: &Path<'_>, errors: &mut Errors) {
    group(&spec.group, &at.field("group"), errors);
    errors.one_of(&at.field("scope"), Some(&spec.scope), &["Cluster", "Namespaced"]);
    let at_versions = at.field("versions");
    for (i, version) in spec.versions.iter().enumerate() {
        if schema_of(version.schema.as_ref()).is_none() {
            errors.required(&at_versions.index(i).field("schema").field("openAPIV3Schema"), "schemas are required");
        }
    }
    let common = Hoisted::of(&spec.versions);
    for (i, each) in spec.versions.iter().enumerate() {
        let at = at_versions.index(i);
        conversion::version_name(&each.name, &at.field("name"), errors);
        version(each, &common, &at, errors);
    }
    let distinct: HashSet<&str> = spec.versions.iter().map(|version| &version.name[..]).collect();
    if distinct.len() != spec.versions.len() {
        errors.invalid_as_is(&at_versions, "must contain unique version names");
    }
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        errors.invalid_as_is(&at_versions, "must have exactly one version marked as storage version");
    }
    if let Some(first) = spec.versions.first() {
        conversion::version_name(&first.name, &at.field("version"), errors);
    }
    names::required(&spec.names, &at.field("names"), errors);
    names::form(&spec.names, &at.field("names"), errors);
    let has_status = spec.versions.iter().any(|version| has_status(version.subresources.as_ref()));
    if let Some(schema) = common.schema {
        validation(schema, has_status, &at.field("validation"), errors);
    }
    if let Some(subresources) = common.subresources {
        versions::subresources(subresources, &at.field("subresources"), errors);
    }
    for (i, column) in common.columns.iter().enumerate() {
        versions::column(column, &at.field("additionalPrinterColumns").index(i), errors);
    }
    // Selected fields of all versions alike stand beside schemas that may differ.
    let schema = spec.versions.first().and_then(|version| schema_of(version.schema.as_ref()));
    versions::selectable(common.selectable, schema, &at.field("selectableFields"), errors);
    if let Some(conversion) = &spec.conversion {
        let at = at.field("conversion");
        if conversion.strategy != "None" && spec.preserve_unknown_fields == Some(true) {
            errors.invalid(&at.field("strategy"), conversion.strategy.as_str(), "must be None if spec.preserveUnknownFields is true");
        }
        conversion::rules(conversion, &at, errors);
    }
}

fn group(group: &str, at: &Path<'_>, errors: &mut Errors) {
    let found = subdomain(group);
    match group {
        "" => errors.required(at, ""),
        _ if !found.is_empty() => errors.invalid(at, group, found.join(",")),
        _ if !group.contains('.') => errors.invalid(at, group, "should be a domain with at least one dot"),
        _ => {}
    }
}

/// What a version has that the others have not.
fn version(version: &CustomResourceDefinitionVersion, common: &Hoisted<'_>, at: &Path<'_>, errors: &mut Errors) {
    versions::deprecation(version, at, errors);
    if let Some(schema) = version.schema.as_ref().filter(|_| !common.schema_is) {
        validation(schema, has_status(version.subresources.as_ref()), &at.field("schema"), errors);
    }
    if let Some(subresources) = version.subresources.as_ref().filter(|_| !common.subresources_is) {
        versions::subresources(subresources, &at.field("subresources"), errors);
    }
    for (i, column) in columns(version).iter().enumerate().filter(|_| !common.columns_is) {
        versions::column(column, &at.field("additionalPrinterColumns").index(i), errors);
    }
    if !common.selectable_is {
        versions::selectable(selectable(version), schema_of(version.schema.as_ref()), &at.field("selectableFields"), errors);
    }
}

fn validation(validation: &CustomResourceValidation, has_status: bool, at: &Path<'_>, errors: &mut Errors) {
    if let Some(schema) = &validation.open_api_v3_schema {
        versions::schema(schema, has_status, &at.field("openAPIV3Schema"), errors);
    }
}

fn schema_of(
    validation: Option<&CustomResourceValidation>,
) -> Option<&k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps> {
    validation?.open_api_v3_schema.as_ref()
}

fn has_status(subresources: Option<&CustomResourceSubresources>) -> bool {
    subresources.is_some_and(|subresources| subresources.status.is_some())
}

fn status(status: Option<&CustomResourceDefinitionStatus>, errors: &mut Errors) {
    let accepted = status.and_then(|status| status.accepted_names.as_ref());
    let nothing = CustomResourceDefinitionNames::default();
    names::form(accepted.unwrap_or(&nothing), &Path::Root.field("status").field("acceptedNames"), errors);
}

fn stored_versions(object: &CustomResourceDefinition, errors: &mut Errors) {
    let status = Path::Root.field("status");
    let at = status.field("storedVersions");
    let stored = object.status.iter().flat_map(|status| status.stored_versions.iter().flatten()).collect::<Vec<_>>();
    if stored.is_empty() {
        return errors.invalid_as_is(&at, "must have at least one stored version");
    }
    if let Some(storage) = storage_version(&object.spec).filter(|storage| !stored.contains(&&storage.name)) {
        errors.invalid(
            &at,
            stored.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
            format!("must have the storage version {}", storage.name),
        );
    }
    for (i, name) in stored.iter().enumerate() {
        if !object.spec.versions.iter().any(|version| version.name == **name) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration \
                 ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.invalid(&at.index(i), name.as_str(), why);
        }
    }
}

fn approved(new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>, errors: &mut Errors) {
    if !approval::is_protected(&new.spec.group) {
        return;
    }
    let (state, words) = approval::approval(new.metadata.annotations.as_ref());
    if old.is_some_and(|old| approval::approval(old.metadata.annotations.as_ref()).0 == state) {
        return;
    }
    let metadata = Path::Root.field("metadata");
    let annotations = metadata.field("annotations");
    let at = annotations.key(approval::ANNOTATION);
    match state {
        Approval::Missing => errors.required(&at, words),
        Approval::Invalid => {
            let said = new.metadata.annotations.as_ref().and_then(|annotations| annotations.get(approval::ANNOTATION));
            errors.invalid(&at, said.cloned().unwrap_or_default(), words);
        }
        Approval::Bypassed | Approval::Approved => {}
    }
}

fn preserve(new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>, errors: &mut Errors) {
    let had = old.is_some_and(|old| old.spec.preserve_unknown_fields == Some(true));
    if new.spec.preserve_unknown_fields == Some(true) && !had {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&Path::Root.field("spec").field("preserveUnknownFields"), true, detail);
    }
}
