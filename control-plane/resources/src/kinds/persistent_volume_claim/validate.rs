//! The rules for a claim, its changes and its status (`ValidatePersistentVolumeClaim…` of Kubernetes 1.33).

use super::access_modes;
use crate::field::{Errors, Path};
use crate::kinds::resource_name;
use crate::quantity::Quantity;
use crate::typed::or_empty;
use crate::{names, selector};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::api::resource;
use std::collections::BTreeMap;

/// The annotation that named the class before `spec.storageClassName` did.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
const DEFAULT_GROUP: &str = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
const RESIZE_STATES: &[&str] =
    &["ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"];

/// The rules for a spec, also in the templates of claims.
pub fn spec(spec: &v1::PersistentVolumeClaimSpec, at: &Path<'_>, errors: &mut Errors) {
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if modes.is_empty() {
        errors.required(&at.field("accessModes"), "at least 1 access mode is required");
    }
    if let Some(chosen) = &spec.selector {
        selector::validate(chosen, &at.field("selector"), errors);
    }
    access_modes(modes, &at.field("accessModes"), errors);
    let at_size = at.field("resources");
    let at_size = at_size.key("storage");
    match size(spec) {
        None => errors.required(&at_size, ""),
        Some(size) if !is_positive(size) => errors.invalid(&at_size, size.0.as_str(), "must be greater than zero"),
        Some(_) => {}
    }
    if let Some(class) = spec.storage_class_name.as_deref().filter(|c| !c.is_empty()) {
        errors.format(&at.field("storageClassName"), class, names::subdomain(class));
    }
    errors.one_of_if_set(&at.field("volumeMode"), spec.volume_mode.as_deref(), &["Block", "Filesystem"]);
    data_sources(spec, at, errors);
}

fn data_sources(spec: &v1::PersistentVolumeClaimSpec, at: &Path<'_>, errors: &mut Errors) {
    if let Some(source) = &spec.data_source {
        data_source(&source.name, &source.kind, source.api_group.as_deref(), &at.field("dataSource"), errors);
    }
    let Some(reference) = &spec.data_source_ref else { return };
    let at_reference = at.field("dataSourceRef");
    data_source(&reference.name, &reference.kind, reference.api_group.as_deref(), &at_reference, errors);
    let elsewhere = reference.namespace.as_deref().filter(|n| !n.is_empty());
    if let Some(namespace) = elsewhere {
        errors.format(&at_reference.field("namespace"), namespace, names::label(namespace));
    }
    if let Some(source) = &spec.data_source {
        let same = (&source.api_group, &source.kind, &source.name) == (&reference.api_group, &reference.kind, &reference.name);
        let shown = at.field("dataSource").to_string();
        if elsewhere.is_some() {
            errors.invalid(at, shown, "may not be specified when dataSourceRef.namespace is specified");
        } else if !same {
            errors.invalid(at, shown, "must match dataSourceRef");
        }
    }
}

fn data_source(name: &str, kind: &str, group: Option<&str>, at: &Path<'_>, errors: &mut Errors) {
    for (field, value) in [("name", name), ("kind", kind)] {
        if value.is_empty() {
            errors.required(&at.field(field), "");
        }
    }
    match group.unwrap_or_default() {
        "" if kind != "PersistentVolumeClaim" => errors.invalid(at, kind, DEFAULT_GROUP),
        "" => {}
        group => errors.format(&at.field("apiGroup"), group, names::subdomain(group)),
    }
}

/// What may change: the volume and the class, once; the size of a bound claim, which never goes below what the claim has.
pub fn change(new: &v1::PersistentVolumeClaim, old: &v1::PersistentVolumeClaim, errors: &mut Errors) {
    let annotation = |claim: &v1::PersistentVolumeClaim| claim.metadata.annotations.as_ref()?.get(CLASS_ANNOTATION).cloned();
    let (new_class, old_class) = (annotation(new), annotation(old));
    let (new_spec, old_spec) = (or_empty(&new.spec), or_empty(&old.spec));
    let (mut changed, mut allowed) = (new_spec.clone().into_owned(), old_spec.clone().into_owned());
    if text(&old_spec.volume_name).is_empty() {
        allowed.volume_name.clone_from(&new_spec.volume_name);
    }
    let was_open = old_spec.storage_class_name.is_none() && new_spec.storage_class_name.is_some();
    let named_before = old_class.is_some() && old_class == new_spec.storage_class_name;
    if was_open && named_before && (new_class.is_none() || new_class == old_class) {
        changed.storage_class_name = None;
    } else {
        if new_class != old_class {
            let at = Path::Root.field("metadata");
            let at = at.field("annotations");
            errors.invalid(&at.field(CLASS_ANNOTATION), new_class.unwrap_or_default(), "field is immutable");
        }
        if was_open && (old_class.is_none() || named_before) {
            changed.storage_class_name = None;
        }
    }
    let bound = new.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Bound"));
    if bound {
        if let Some(requests) = changed.resources.as_mut().and_then(|r| r.requests.as_mut()) {
            match size(&old_spec) {
                Some(size) => drop(requests.insert("storage".to_owned(), size.clone())),
                None => drop(requests.remove("storage")),
            }
        }
        if changed.volume_attributes_class_name.is_some() {
            changed.volume_attributes_class_name.clone_from(&allowed.volume_attributes_class_name);
        }
    }
    let at = Path::Root.field("spec");
    if changed != allowed {
        errors.forbidden(&at, FIXED);
    }
    let has = old.status.as_ref().and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("storage"));
    let (wanted, before) = (amount(size(&new_spec)), amount(size(&old_spec)));
    if wanted < before && wanted <= amount(has) {
        let at = at.field("resources");
        let at = at.field("requests");
        errors.forbidden(&at.field("storage"), "field can not be less than status.capacity");
    }
    errors.immutable(&Path::Root.field("volumeMode"), &new_spec.volume_mode, &old_spec.volume_mode);
    if old_spec.volume_attributes_class_name.is_some() {
        let at = at.field("volumeAttributesClassName");
        match new_spec.volume_attributes_class_name.as_deref() {
            None => errors.forbidden(&at, "update from non-nil value to nil is forbidden"),
            Some("") if old_spec.volume_attributes_class_name.as_deref() != Some("") => {
                errors.forbidden(&at, "update from non-nil value to an empty string is forbidden");
            }
            Some(_) => {}
        }
    }
}

/// Amounts are not negative; what is told of a resize is of storage.
pub fn status(new: &v1::PersistentVolumeClaim, errors: &mut Errors) {
    if or_empty(&new.spec).access_modes.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&Path::Root.field("Spec").field("accessModes"), "");
    }
    let at = Path::Root.field("status");
    let status = or_empty(&new.status);
    amounts(status.capacity.as_ref(), &at.field("capacity"), errors);
    let at_states = at.field("allocatedResourceStatus");
    for (name, state) in status.allocated_resource_statuses.iter().flatten() {
        claimed(name, &at_states, errors);
        if !RESIZE_STATES.contains(&state.as_str()) {
            errors.not_supported(&at_states, name.as_str(), RESIZE_STATES);
        }
    }
    let at_allocated = at.field("allocatedResources");
    for (name, amount) in status.allocated_resources.iter().flatten() {
        if claimed(name, &at_allocated, errors) {
            amounts(Some(&BTreeMap::from([(name.clone(), amount.clone())])), &at_allocated, errors);
        }
    }
}

/// Whether a claim can have the resource: storage, or somebody else's.
fn claimed(name: &str, at: &Path<'_>, errors: &mut Errors) -> bool {
    let found = names::qualified_name(name);
    let qualified = found.is_empty();
    errors.format(at, name, found);
    let known = !resource_name::is_native(name) || name == "storage";
    if qualified && !known {
        errors.not_supported(at, name, &["storage"]);
    }
    qualified && known
}

fn amounts(list: Option<&BTreeMap<String, resource::Quantity>>, at: &Path<'_>, errors: &mut Errors) {
    for (name, amount) in list.into_iter().flatten() {
        if let Ok(parsed) = Quantity::parse(&amount.0)
            && parsed.units() < 0
        {
            errors.invalid(&at.key(name), parsed.units(), "must be a valid resource quantity");
        }
    }
}

fn size(spec: &v1::PersistentVolumeClaimSpec) -> Option<&resource::Quantity> {
    spec.resources.as_ref()?.requests.as_ref()?.get("storage")
}

/// Nothing is as good as zero.
fn amount(size: Option<&resource::Quantity>) -> Option<Quantity> {
    Quantity::parse(size.map_or("0", |s| &s.0)).ok()
}

fn is_positive(size: &resource::Quantity) -> bool {
    Quantity::parse(&size.0).is_ok_and(|q| !q.is_zero() && !q.is_negative())
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}
