//! FlowSchema: which requests go to which priority level, and what makes them one flow there.
//! The rules are those of `pkg/apis/flowcontrol/validation`, the texts as well.

pub mod first;

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::flowcontrol::v1::{
    self, FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};
use serde_json::Value;

pub struct FlowSchema;

const DEFAULT_PRECEDENCE: i32 = 1000;
const MAX_PRECEDENCE: i32 = 10_000;
/// The verbs that rules may name besides `*`.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

const COLUMNS: &[Column] = &[
    table::NAME,
    text("PriorityLevel", "The priority level that the schema's requests go to"),
    text("MatchingPrecedence", "Of the schemas that match a request, the one with the lowest number takes it"),
    text("DistinguisherMethod", "What makes requests of the schema one flow"),
    table::AGE,
    text("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
];

impl Kind for FlowSchema {
    type Object = v1::FlowSchema;

    const DESCRIPTOR: Descriptor =
        Descriptor { subresources: &["status"], has_generation: true, ..cluster::<v1::FlowSchema>("flowschemas", "flowschema") };
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(object: &mut v1::FlowSchema) {
        let Some(spec) = &mut object.spec else { return };
        if spec.matching_precedence.unwrap_or_default() == 0 {
            spec.matching_precedence = Some(DEFAULT_PRECEDENCE);
        }
    }

    fn validate(object: &v1::FlowSchema, errors: &mut Errors) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let spec = object.spec.clone().unwrap_or_default();
        let at = Path::Root.field("spec");
        validate_spec(name, &spec, &at, errors);
        if first::fixed_schema(name).is_some_and(|fixed| Some(&fixed) != serde_json::to_value(&spec).ok().as_ref()) {
            errors.invalid_as_is(&at, format!("spec of '{name}' must equal the fixed value"));
        }
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        condition_types(conditions.iter().map(|condition| condition.type_.as_deref()), errors);
    }

    fn cells(object: &v1::FlowSchema, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let dangling = conditions.iter().find(|condition| condition.type_.as_deref() == Some("Dangling"));
        vec![
            table::name(&object.metadata),
            spec.priority_level_configuration.name.into(),
            spec.matching_precedence.unwrap_or_default().into(),
            spec.distinguisher_method.map_or_else(|| "<none>".to_owned(), |method| method.type_).into(),
            table::age(&object.metadata, now),
            dangling.map_or("?", |condition| condition.status.as_deref().unwrap_or_default()).into(),
        ]
    }
}

/// No type of condition is there twice, and none is empty.
pub fn condition_types<'a>(types: impl Iterator<Item = Option<&'a str>>, errors: &mut Errors) {
    let at = Path::Root.field("status");
    let at = at.field("conditions");
    let mut before = Vec::new();
    for (i, condition) in types.map(Option::unwrap_or_default).enumerate() {
        let at = at.index(i);
        if before.contains(&condition) {
            errors.duplicate(&at.field("type"), condition);
        }
        before.push(condition);
        if condition.is_empty() {
            errors.required(&at.field("type"), "must not be empty");
        }
    }
}

fn validate_spec(name: &str, spec: &FlowSchemaSpec, at: &Path<'_>, errors: &mut Errors) {
    let at_precedence = at.field("matchingPrecedence");
    match spec.matching_precedence.unwrap_or_default() {
        precedence if precedence <= 0 => errors.invalid(&at_precedence, precedence, "must be a positive value"),
        precedence if precedence > MAX_PRECEDENCE => {
            errors.invalid(&at_precedence, precedence, format!("must not be greater than {MAX_PRECEDENCE}"));
        }
        1 if name != "exempt" => errors.invalid(&at_precedence, 1, "only the schema named 'exempt' may have matchingPrecedence 1"),
        _ => {}
    }
    if let Some(method) = &spec.distinguisher_method {
        let at = at.field("distinguisherMethod");
        errors.one_of_if_set(&at.field("type"), Some(&method.type_), &["ByNamespace", "ByUser"]);
    }
    let (level, at_level) = (&spec.priority_level_configuration.name, at.field("priorityLevelConfiguration"));
    if level.is_empty() {
        errors.required(&at_level.field("name"), "must reference a priority level");
    } else {
        errors.format(&at_level.field("name"), level, names::subdomain(level));
    }
    for (i, rules) in spec.rules.iter().flatten().enumerate() {
        validate_rules(rules, &at.field("rules").index(i), errors);
    }
}

fn validate_rules(rules: &PolicyRulesWithSubjects, at: &Path<'_>, errors: &mut Errors) {
    if rules.subjects.is_empty() {
        errors.required(&at.field("subjects"), "subjects must contain at least one value");
    }
    for (i, subject) in rules.subjects.iter().enumerate() {
        validate_subject(subject, &at.field("subjects").index(i), errors);
    }
    let resources = rules.resource_rules.as_deref().unwrap_or_default();
    let others = rules.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && others.is_empty() {
        errors.required(at, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (i, rule) in resources.iter().enumerate() {
        resource_rule(rule, &at.field("resourceRules").index(i), errors);
    }
    for (i, rule) in others.iter().enumerate() {
        other_rule(rule, &at.field("nonResourceRules").index(i), errors);
    }
}

fn validate_subject(subject: &Subject, at: &Path<'_>, errors: &mut Errors) {
    let parts = [
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    if !parts.iter().any(|(kind, ..)| *kind == subject.kind) {
        return errors.not_supported(&at.field("kind"), subject.kind.as_str(), &["Group", "ServiceAccount", "User"]);
    }
    for (kind, field, is_set) in parts {
        match (kind == subject.kind, is_set) {
            (true, false) => errors.required(&at.field(field), format!("{field} is required when subject kind is '{kind}'")),
            (false, true) => errors.forbidden(&at.field(field), format!("{field} is forbidden when subject kind is not '{kind}'")),
            _ => {}
        }
    }
    if let (Some(account), "ServiceAccount") = (&subject.service_account, &subject.kind[..]) {
        let at = at.field("serviceAccount");
        if account.name.is_empty() {
            errors.required(&at.field("name"), "");
        } else if account.name != "*" {
            errors.format(&at.field("name"), &account.name, names::subdomain(&account.name));
        }
        if account.namespace.is_empty() {
            errors.required(&at.field("namespace"), "must specify namespace for service account");
        } else {
            errors.format(&at.field("namespace"), &account.namespace, names::label(&account.namespace));
        }
    }
    let named = [
        ("User", "user", subject.user.as_ref().map(|user| &user.name)),
        ("Group", "group", subject.group.as_ref().map(|group| &group.name)),
    ];
    for (kind, field, name) in named {
        if kind == subject.kind && name.is_some_and(String::is_empty) {
            errors.required(&at.field(field).field("name"), "");
        }
    }
}

fn resource_rule(rule: &ResourcePolicyRule, at: &Path<'_>, errors: &mut Errors) {
    verbs(&rule.verbs, at, errors);
    all_or_some(&rule.api_groups, &at.field("apiGroups"), ("resource rules must supply at least one api group", "api groups"), errors);
    all_or_some(&rule.resources, &at.field("resources"), ("resource rules must supply at least one resource", "resources"), errors);
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    let at = at.field("namespaces");
    if !namespaces.is_empty() || !rule.cluster_scope.unwrap_or_default() {
        let missing = "resource rules that are not cluster scoped must supply at least one namespace";
        all_or_some(namespaces, &at, (missing, "namespaces"), errors);
    }
    if !namespaces.iter().any(|namespace| namespace == "*") {
        for (i, namespace) in namespaces.iter().enumerate() {
            let complaints = names::label(namespace).into_iter();
            let introduced = complaints.map(|text| format!("each member of this list must be '*' or a DNS-1123 label; {text}"));
            errors.format(&at.index(i), namespace, introduced);
        }
    }
}

fn other_rule(rule: &NonResourcePolicyRule, at: &Path<'_>, errors: &mut Errors) {
    verbs(&rule.verbs, at, errors);
    let at = at.field("nonResourceURLs");
    let urls = &rule.non_resource_urls;
    all_or_some(urls, &at, ("nonResourceURLs must contain at least one value", "non-resource URLs"), errors);
    if !urls.iter().any(|url| url == "*") {
        for (i, url) in urls.iter().enumerate() {
            if let Some(complaint) = url_form(url) {
                errors.invalid(&at.index(i), url.as_str(), complaint);
            }
        }
    }
}

fn verbs(verbs: &[String], at: &Path<'_>, errors: &mut Errors) {
    let at = at.field("verbs");
    all_or_some(verbs, &at, ("verbs must contain at least one value", "verbs"), errors);
    let has_all = verbs.iter().any(|verb| verb == "*");
    if !has_all && !verbs.iter().all(|verb| VERBS.contains(&&verb[..])) {
        errors.not_supported(&at, verbs.to_vec(), VERBS);
    }
}

/// A list must have something, and `*` alone where it has that. The texts: what is missing, and what the others are called.
fn all_or_some(list: &[String], at: &Path<'_>, (missing, others): (&str, &str), errors: &mut Errors) {
    if list.is_empty() {
        errors.required(at, missing);
    } else if list.len() > 1 && list.iter().any(|entry| entry == "*") {
        errors.invalid(at, list.to_vec(), format!("if '*' is present, must not specify other {others}"));
    }
}

/// What is wrong with a path, or a prefix of paths that ends in `/*`.
fn url_form(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
