//! ValidatingAdmissionPolicy: which objects are looked at, and what must be true of them.

use super::matching;
use crate::contract::{Column, Descriptor, Subresource};
use crate::expressions::{PolicyEnvironments, words};
use crate::field::{Errors, Path};
use crate::kinds::webhook_configuration::conditions;
use crate::names;
use crate::table::{self, number, text};
use crate::typed::{Kind, cluster, own};
use k8s_openapi::api::admissionregistration::v1::{self, ParamKind, ValidatingAdmissionPolicySpec, Validation};
use orknet_cel::{CompileError, Composer, Program, Type, is_identifier};
use serde_json::Value;

pub struct ValidatingAdmissionPolicy;

/// Reasons that a validation may give.
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const MOST_ANNOTATIONS: usize = 20;
/// Bytes of the expression of an annotation.
const LONGEST_ANNOTATION: usize = 5 * 1024;

const COLUMNS: &[Column] = &[
    table::NAME,
    number("Validations", "Validations indicates the number of validation rules defined in this configuration"),
    text("ParamKind", "ParamKind specifies the kind of resources used to parameterize this policy"),
    table::AGE,
];

impl Kind for ValidatingAdmissionPolicy {
    type Object = v1::ValidatingAdmissionPolicy;

    const DESCRIPTOR: Descriptor = Descriptor {
        categories: &["api-extensions"],
        has_generation: true,
        subresources: &["status"],
        ..cluster::<v1::ValidatingAdmissionPolicy>("validatingadmissionpolicies", "validatingadmissionpolicy")
    };
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(object: &mut v1::ValidatingAdmissionPolicy) {
        let spec = object.spec.get_or_insert_default();
        spec.failure_policy.get_or_insert_with(|| "Fail".to_owned());
        if let Some(constraints) = &mut spec.match_constraints {
            matching::default(constraints);
        }
    }

    fn validate(object: &v1::ValidatingAdmissionPolicy, errors: &mut Errors) {
        let spec = object.spec.clone().unwrap_or_default();
        validate(object.metadata.name.as_deref().unwrap_or_default(), &spec, true, errors);
    }

    fn validate_update(
        new: &v1::ValidatingAdmissionPolicy,
        old: &v1::ValidatingAdmissionPolicy,
        subresource: Subresource<'_>,
        errors: &mut Errors,
    ) {
        if subresource == Some("status") {
            status(new, errors);
            return;
        }
        let (spec, before) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        let same_conditions = spec.param_kind == before.param_kind && spec.match_conditions == before.match_conditions;
        validate(new.metadata.name.as_deref().unwrap_or_default(), &spec, !same_conditions, errors);
    }

    fn cells(object: &v1::ValidatingAdmissionPolicy, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let parameters = spec.param_kind.map_or_else(
            || "<unset>".to_owned(),
            |kind| format!("{}/{}", kind.api_version.unwrap_or_default(), kind.kind.unwrap_or_default()),
        );
        let validations = spec.validations.map_or(0, |validations| validations.len());
        vec![table::name(&object.metadata), validations.into(), parameters.into(), table::age(&object.metadata, now)]
    }
}

fn validate(name: &str, spec: &ValidatingAdmissionPolicySpec, check_conditions: bool, errors: &mut Errors) {
    let at = &Path::Root.field("spec");
    match spec.failure_policy.as_deref() {
        None => errors.required(&at.field("failurePolicy"), ""),
        policy => errors.one_of_if_set(&at.field("failurePolicy"), policy, &["Fail", "Ignore"]),
    }
    if let Some(kind) = &spec.param_kind {
        param_kind(kind, &at.field("paramKind"), errors);
    }
    match &spec.match_constraints {
        None => errors.required(&at.field("matchConstraints"), ""),
        Some(constraints) => {
            matching::validate(constraints, &at.field("matchConstraints"), errors);
            if constraints.resource_rules.as_ref().is_none_or(Vec::is_empty) {
                errors.required(&at.field("matchConstraints").field("resourceRules"), "");
            }
        }
    }
    let environments = PolicyEnvironments::new(spec.param_kind.is_some());
    if check_conditions {
        let list = spec.match_conditions.as_deref().unwrap_or_default();
        conditions::validate(&environments.all, list, &at.field("matchConditions"), errors);
    }
    let mut expressions = Expressions { composer: Composer::default(), environments };
    variables(spec, &mut expressions, &at.field("variables"), errors);
    let (validations, annotations) =
        (spec.validations.as_deref().unwrap_or_default(), spec.audit_annotations.as_deref().unwrap_or_default());
    if validations.is_empty() && annotations.is_empty() {
        for field in ["validations", "auditAnnotations"] {
            errors.required(&at.field(field), "validations or auditAnnotations must contain at least one item");
        }
        return;
    }
    for (i, rule) in validations.iter().enumerate() {
        validation(rule, &expressions, &at.field("validations").index(i), errors);
    }
    audit_annotations(name, annotations, &expressions, &at.field("auditAnnotations"), errors);
}

/// What the policy's expressions are compiled with.
struct Expressions {
    composer: Composer,
    environments: PolicyEnvironments,
}

impl Expressions {
    fn compile(&self, source: &str, expected: &[Type]) -> Result<Program, CompileError> {
        self.composer.compile(&self.environments.all, source, expected)
    }
}

/// What compiling found, told about the expression as it is written.
fn tell<T>(compiled: Result<T, CompileError>, source: &str, at: &Path<'_>, errors: &mut Errors) {
    if let Err(error) = compiled {
        errors.invalid(at, source, words(&error));
    }
}

fn variables(spec: &ValidatingAdmissionPolicySpec, expressions: &mut Expressions, at: &Path<'_>, errors: &mut Errors) {
    for (i, variable) in spec.variables.iter().flatten().enumerate() {
        let at = at.index(i);
        if variable.name.trim().is_empty() {
            errors.required(&at.field("name"), "name is not specified");
        } else if !is_identifier(&variable.name) {
            errors.invalid(&at.field("name"), variable.name.as_str(), "name is not a valid CEL identifier");
        }
        if variable.expression.trim().is_empty() {
            errors.required(&at.field("expression"), "expression is not specified");
        } else {
            let Expressions { composer, environments } = expressions;
            let compiled = composer.variable(&environments.all, &variable.name, &variable.expression);
            tell(compiled, &variable.expression, &at.field("expression"), errors);
        }
    }
}

fn validation(rule: &Validation, expressions: &Expressions, at: &Path<'_>, errors: &mut Errors) {
    if rule.expression.trim().is_empty() {
        errors.required(&at.field("expression"), "expression is not specified");
    } else {
        tell(expressions.compile(&rule.expression, &[Type::Bool]), &rule.expression, &at.field("expression"), errors);
    }
    let message_expression = rule.message_expression.as_deref().unwrap_or_default();
    if !message_expression.is_empty() {
        let at = at.field("messageExpression");
        if message_expression.trim().is_empty() {
            errors.invalid(&at, message_expression, "must be non-empty if specified");
        } else {
            let compiled = expressions.composer.compile(&expressions.environments.messages, message_expression, &[Type::STRING]);
            tell(compiled, message_expression, &at, errors);
        }
    }
    let message = rule.message.as_deref().unwrap_or_default();
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&at.field("message"), message, "message must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&at.field("message"), message, "message must not contain line breaks");
    }
    errors.one_of_if_set(&at.field("reason"), rule.reason.as_deref(), REASONS);
}

fn audit_annotations(policy: &str, list: &[v1::AuditAnnotation], expressions: &Expressions, at: &Path<'_>, errors: &mut Errors) {
    if list.len() > MOST_ANNOTATIONS {
        let shown = serde_json::to_value(list).unwrap_or_default();
        errors.invalid(at, shown, format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations"));
    }
    for (i, annotation) in list.iter().enumerate() {
        let (at, key) = (at.index(i), annotation.key.as_str());
        if policy.is_empty() {
            errors.invalid(&at.field("key"), key, "requires metadata.name be non-empty");
        } else {
            let whole = format!("{policy}/{key}");
            errors.format(&at.field("key"), &whole, names::qualified_name(&whole));
        }
        let source = annotation.value_expression.trim();
        let value = at.field("valueExpression");
        if source.is_empty() {
            errors.required(&value, "valueExpression is not specified");
        } else if source.len() > LONGEST_ANNOTATION {
            errors.required(&value, format!("must not exceed {LONGEST_ANNOTATION} bytes in length"));
        } else {
            tell(expressions.compile(source, &[Type::STRING, Type::Null]), &annotation.value_expression, &value, errors);
        }
        if list[..i].iter().any(|before| before.key == key) {
            errors.duplicate(&at.field("key"), key);
        }
    }
}

fn param_kind(kind: &ParamKind, at: &Path<'_>, errors: &mut Errors) {
    let (api_version, name) = (kind.api_version.as_deref().unwrap_or_default(), kind.kind.as_deref().unwrap_or_default());
    let field = &at.field("apiVersion");
    if api_version.is_empty() {
        errors.required(field, "");
    } else if api_version.matches('/').count() > 1 {
        errors.invalid(field, api_version, format!("unexpected GroupVersion string: {api_version}"));
    } else {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let joined = |found: Vec<String>| found.join(",");
        if !group.is_empty() && !names::subdomain(group).is_empty() {
            errors.invalid(field, group, joined(names::subdomain(group)));
        }
        if version.is_empty() {
            errors.invalid(field, api_version, "version must be specified");
        } else if !names::label_1035(version).is_empty() {
            errors.invalid(field, version, joined(names::label_1035(version)));
        }
    }
    let found = names::label_1035(&name.to_lowercase());
    if name.is_empty() {
        errors.required(&at.field("kind"), "");
    } else if !found.is_empty() {
        errors.invalid(&at.field("kind"), name, format!("may have mixed case, but should otherwise match: {}", found.join(",")));
    }
}

fn status(object: &v1::ValidatingAdmissionPolicy, errors: &mut Errors) {
    let status = object.status.clone().unwrap_or_default();
    let at = Path::Root.field("status");
    let checking = at.field("typeChecking");
    for (i, warning) in status.type_checking.iter().flat_map(|checking| checking.expression_warnings.iter().flatten()).enumerate() {
        let at = checking.field("expressionWarnings");
        let at = at.index(i);
        if warning.warning.is_empty() {
            errors.required(&at.field("warning"), "");
        }
        if warning.field_ref.trim().is_empty() {
            errors.required(&at.field("fieldRef"), "");
        }
    }
    own::conditions(status.conditions.as_deref().unwrap_or_default(), &at.field("conditions"), errors);
}
