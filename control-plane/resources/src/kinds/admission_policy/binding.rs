//! ValidatingAdmissionPolicyBinding: where a policy holds, with which parameters, and what a failure means.

use super::matching;
use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use crate::{names, selector};
use k8s_openapi::api::admissionregistration::v1::{self, ParamRef};
use serde_json::Value;

pub struct ValidatingAdmissionPolicyBinding;

const COLUMNS: &[Column] = &[
    table::NAME,
    text("PolicyName", "The policy definition which the policy binding binds to"),
    text("ParamRef", "The param definition which the policy binding binds to"),
    table::AGE,
];

impl Kind for ValidatingAdmissionPolicyBinding {
    type Object = v1::ValidatingAdmissionPolicyBinding;

    const DESCRIPTOR: Descriptor = Descriptor {
        categories: &["api-extensions"],
        has_generation: true,
        ..cluster::<v1::ValidatingAdmissionPolicyBinding>("validatingadmissionpolicybindings", "validatingadmissionpolicybinding")
    };
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(object: &mut v1::ValidatingAdmissionPolicyBinding) {
        if let Some(resources) = object.spec.as_mut().and_then(|spec| spec.match_resources.as_mut()) {
            matching::default(resources);
        }
    }

    fn validate(object: &v1::ValidatingAdmissionPolicyBinding, errors: &mut Errors) {
        let spec = object.spec.clone().unwrap_or_default();
        let at = Path::Root.field("spec");
        match spec.policy_name.as_deref().unwrap_or_default() {
            "" => errors.required(&at.field("policyName"), ""),
            name => errors.format(&at.field("policyName"), name, names::subdomain(name)),
        }
        if let Some(reference) = &spec.param_ref {
            param_ref(reference, &at.field("paramRef"), errors);
        }
        if let Some(resources) = &spec.match_resources {
            // Spelled so upstream, too.
            matching::validate(resources, &at.field("matchResouces"), errors);
        }
        actions(spec.validation_actions.as_deref().unwrap_or_default(), &at.field("validationActions"), errors);
    }

    fn cells(object: &v1::ValidatingAdmissionPolicyBinding, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let parameters = match spec.param_ref {
            Some(ParamRef { name: Some(name), namespace, .. }) if !name.is_empty() => {
                format!("{}/{name}", namespace.filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| "*".to_owned()))
            }
            Some(ParamRef { selector: Some(selected), .. }) => selector::shown(Some(&selected)),
            _ => "<unset>".to_owned(),
        };
        vec![
            table::name(&object.metadata),
            spec.policy_name.unwrap_or_default().into(),
            parameters.into(),
            table::age(&object.metadata, now),
        ]
    }
}

fn param_ref(reference: &ParamRef, at: &Path<'_>, errors: &mut Errors) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let name = reference.name.as_deref().unwrap_or_default();
    if !name.is_empty() {
        errors.format(&at.field("name"), name, names::path_segment(name, false));
        if reference.selector.is_some() {
            errors.forbidden(&at.field("name"), EXCLUSIVE);
        }
    }
    match &reference.selector {
        Some(selected) => {
            selector::validate(selected, &at.field("selector"), errors);
            if !name.is_empty() {
                errors.forbidden(&at.field("selector"), EXCLUSIVE);
            }
        }
        None if name.is_empty() => errors.required(at, "one of name or selector must be specified"),
        None => {}
    }
    match reference.parameter_not_found_action.as_deref() {
        None | Some("") => errors.required(&at.field("parameterNotFoundAction"), ""),
        action => errors.one_of_if_set(&at.field("parameterNotFoundAction"), action, &["Deny", "Allow"]),
    }
}

fn actions(list: &[String], at: &Path<'_>, errors: &mut Errors) {
    for (i, action) in list.iter().enumerate() {
        errors.one_of_if_set(&at.index(i), Some(action), &["Audit", "Deny", "Warn"]);
        if list[..i].contains(action) {
            errors.duplicate(&at.index(i), action.as_str());
        }
    }
    let has = |wanted: &str| list.iter().any(|action| action == wanted);
    if has("Deny") && has("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(at, list.to_vec(), why);
    }
    if list.is_empty() {
        errors.required(at, "at least one validation action is required");
    }
}
