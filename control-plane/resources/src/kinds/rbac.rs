//! Role-based access control: roles and their bindings. Deciding is the authoriser's.

use crate::contract::{Column, Descriptor, Scope, Subresource};
use crate::field::{Errors, Path};
use crate::names::{self, NameRule};
use crate::table::{self, text, wide};
use crate::typed::{Kind, cluster, namespaced};
use k8s_openapi::api::rbac::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

pub struct Role;
pub struct RoleBinding;
pub struct ClusterRole;
pub struct ClusterRoleBinding;

const GROUP: &str = "rbac.authorization.k8s.io";
const ROLE_COLUMNS: &[Column] = &[table::NAME, text("Created At", "When the object was created")];
const BINDING_COLUMNS: &[Column] = &[
    table::NAME,
    text("Role", "The role bound"),
    table::AGE,
    wide("Users", "Users in the binding"),
    wide("Groups", "Groups in the binding"),
    wide("ServiceAccounts", "Service accounts in the binding"),
];

impl Kind for Role {
    type Object = v1::Role;

    const DESCRIPTOR: Descriptor = namespaced::<v1::Role>("roles", "role");
    const NAME: NameRule = NameRule::PathSegment;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = ROLE_COLUMNS;

    fn validate(object: &v1::Role, errors: &mut Errors) {
        rules(object.rules.as_deref().unwrap_or_default(), true, errors);
    }

    fn cells(object: &v1::Role, _: i64) -> Vec<Value> {
        role_cells(&object.metadata)
    }
}

impl Kind for ClusterRole {
    type Object = v1::ClusterRole;

    const DESCRIPTOR: Descriptor = cluster::<v1::ClusterRole>("clusterroles", "clusterrole");
    const NAME: NameRule = NameRule::PathSegment;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = ROLE_COLUMNS;

    fn validate(object: &v1::ClusterRole, errors: &mut Errors) {
        rules(object.rules.as_deref().unwrap_or_default(), false, errors);
        let Some(aggregation) = &object.aggregation_rule else { return };
        let at = Path::Root.field("aggregationRule");
        let at = at.field("clusterRoleSelectors");
        let selectors = aggregation.cluster_role_selectors.as_deref().unwrap_or_default();
        if selectors.is_empty() {
            errors.required(&at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (i, chosen) in selectors.iter().enumerate() {
            crate::selector::validate(chosen, &at.index(i), errors);
        }
    }

    fn cells(object: &v1::ClusterRole, _: i64) -> Vec<Value> {
        role_cells(&object.metadata)
    }
}

impl Kind for RoleBinding {
    type Object = v1::RoleBinding;

    const DESCRIPTOR: Descriptor = namespaced::<v1::RoleBinding>("rolebindings", "rolebinding");
    const NAME: NameRule = NameRule::PathSegment;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = BINDING_COLUMNS;

    fn default(object: &mut v1::RoleBinding) {
        default_binding(&mut object.role_ref, object.subjects.as_deref_mut());
    }

    fn validate(object: &v1::RoleBinding, errors: &mut Errors) {
        let subjects = object.subjects.as_deref().unwrap_or_default();
        binding(&object.role_ref, subjects, &["ClusterRole", "Role"], Scope::Namespaced, errors);
    }

    fn validate_update(new: &v1::RoleBinding, old: &v1::RoleBinding, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        same_role(&new.role_ref, &old.role_ref, errors);
    }

    fn cells(object: &v1::RoleBinding, now: i64) -> Vec<Value> {
        binding_cells(&object.metadata, &object.role_ref, object.subjects.as_deref().unwrap_or_default(), now)
    }
}

impl Kind for ClusterRoleBinding {
    type Object = v1::ClusterRoleBinding;

    const DESCRIPTOR: Descriptor = cluster::<v1::ClusterRoleBinding>("clusterrolebindings", "clusterrolebinding");
    const NAME: NameRule = NameRule::PathSegment;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = BINDING_COLUMNS;

    fn default(object: &mut v1::ClusterRoleBinding) {
        default_binding(&mut object.role_ref, object.subjects.as_deref_mut());
    }

    fn validate(object: &v1::ClusterRoleBinding, errors: &mut Errors) {
        let subjects = object.subjects.as_deref().unwrap_or_default();
        binding(&object.role_ref, subjects, &["ClusterRole"], Scope::Cluster, errors);
    }

    fn validate_update(new: &v1::ClusterRoleBinding, old: &v1::ClusterRoleBinding, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        same_role(&new.role_ref, &old.role_ref, errors);
    }

    fn cells(object: &v1::ClusterRoleBinding, now: i64) -> Vec<Value> {
        binding_cells(&object.metadata, &object.role_ref, object.subjects.as_deref().unwrap_or_default(), now)
    }
}

fn default_binding(role: &mut v1::RoleRef, subjects: Option<&mut [v1::Subject]>) {
    if role.api_group.is_empty() {
        GROUP.clone_into(&mut role.api_group);
    }
    for subject in subjects.into_iter().flatten() {
        if matches!(subject.kind.as_str(), "User" | "Group") && subject.api_group.as_ref().is_none_or(String::is_empty) {
            subject.api_group = Some(GROUP.to_owned());
        }
    }
}

fn rules(list: &[v1::PolicyRule], namespaced: bool, errors: &mut Errors) {
    let at = Path::Root.field("rules");
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|l| !l.is_empty());
    for (i, rule) in list.iter().enumerate() {
        let at = at.index(i);
        if rule.verbs.is_empty() {
            errors.required(&at.field("verbs"), "verbs must contain at least one value");
        }
        if some(&rule.non_resource_urls) {
            let shown = || serde_json::json!(rule.non_resource_urls);
            if namespaced {
                errors.invalid(&at.field("nonResourceURLs"), shown(), "namespaced rules cannot apply to non-resource URLs");
            }
            if some(&rule.api_groups) || some(&rule.resources) || some(&rule.resource_names) {
                let detail = "rules cannot apply to both regular resources and non-resource URLs";
                errors.invalid(&at.field("nonResourceURLs"), shown(), detail);
            }
            continue;
        }
        if !some(&rule.api_groups) {
            errors.required(&at.field("apiGroups"), "resource rules must supply at least one api group");
        }
        if !some(&rule.resources) {
            errors.required(&at.field("resources"), "resource rules must supply at least one resource");
        }
    }
}

fn binding(role: &v1::RoleRef, subjects: &[v1::Subject], kinds: &[&str], scope: Scope, errors: &mut Errors) {
    let at = Path::Root.field("roleRef");
    if role.api_group != GROUP {
        errors.not_supported(&at.field("apiGroup"), role.api_group.as_str(), &[GROUP]);
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&at.field("kind"), role.kind.as_str(), kinds);
    }
    if role.name.is_empty() {
        errors.required(&at.field("name"), "");
    } else {
        errors.format(&at.field("name"), &role.name, names::path_segment(&role.name, false));
    }
    let at = Path::Root.field("subjects");
    for (i, subject) in subjects.iter().enumerate() {
        let at = at.index(i);
        if subject.name.is_empty() {
            errors.required(&at.field("name"), "");
        }
        let group = subject.api_group.as_deref().unwrap_or_default();
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    errors.format(&at.field("name"), &subject.name, names::subdomain(&subject.name));
                }
                if !group.is_empty() {
                    errors.not_supported(&at.field("apiGroup"), group, &[""]);
                }
                // In a namespace the account's own is not implied: the server's defaulting leaves it to the user.
                if scope == Scope::Cluster && subject.namespace.as_deref().unwrap_or_default().is_empty() {
                    errors.required(&at.field("namespace"), "");
                }
            }
            "User" | "Group" if group != GROUP => errors.not_supported(&at.field("apiGroup"), group, &[GROUP]),
            "User" | "Group" => {}
            other => errors.not_supported(&at.field("kind"), other, &["Group", "ServiceAccount", "User"]),
        }
    }
}

fn same_role(new: &v1::RoleRef, old: &v1::RoleRef, errors: &mut Errors) {
    if new != old {
        let shown = serde_json::to_value(new).unwrap_or_default();
        errors.invalid(&Path::Root.field("roleRef"), shown, "cannot change roleRef");
    }
}

fn role_cells(metadata: &ObjectMeta) -> Vec<Value> {
    let created = metadata.creation_timestamp.as_ref().and_then(|t| serde_json::to_value(t).ok());
    vec![table::name(metadata), created.unwrap_or_else(|| "<unknown>".into())]
}

fn binding_cells(metadata: &ObjectMeta, role: &v1::RoleRef, subjects: &[v1::Subject], now: i64) -> Vec<Value> {
    let of = |kind: &str| {
        let named = subjects.iter().filter(|s| s.kind == kind).map(|s| match (kind, s.namespace.as_deref()) {
            ("ServiceAccount", Some(namespace)) => format!("{namespace}/{}", s.name),
            _ => s.name.clone(),
        });
        Value::from(named.collect::<Vec<_>>().join(", "))
    };
    vec![
        table::name(metadata),
        format!("{}/{}", role.kind, role.name).into(),
        table::age(metadata, now),
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn rules_name_verbs_and_either_resources_or_paths() {
        let kind = Typed::<ClusterRole>::NEW;
        for (rule, fields) in [
            (json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}), &[][..]),
            (json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"]}), &[]),
            (json!({"verbs": [], "apiGroups": [""], "resources": ["pods"]}), &["rules[0].verbs"]),
            (json!({"verbs": ["get"]}), &["rules[0].apiGroups", "rules[0].resources"]),
            (json!({"verbs": ["get"], "nonResourceURLs": ["/"], "resources": ["pods"]}), &["rules[0].nonResourceURLs"]),
        ] {
            let found = kind.validate_create(&json!({"metadata": {"name": "system:a"}, "rules": [rule]}));
            assert_eq!(found.into_iter().map(|e| e.field).collect::<Vec<_>>(), fields);
        }
    }

    #[test]
    fn bindings_have_defaults_rules_and_a_fixed_role() {
        let kind = Typed::<RoleBinding>::NEW;
        let body = |role: &str| {
            json!({"metadata": {"name": "a", "namespace": "d"}, "roleRef": {"kind": "Role", "name": role},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "d"}, {"kind": "Group", "name": "g"}]})
        };
        let object = kind.decode(body("r")).unwrap().object;
        assert_eq!((&object["roleRef"]["apiGroup"], &object["subjects"][0]["apiGroup"]), (&json!(GROUP), &json!(GROUP)));
        assert!(kind.validate_create(&object).is_empty());
        assert_eq!(kind.cells(&object, 0)[1], "Role/r");
        assert_eq!(kind.cells(&object, 0)[3..], ["u", "g", "d/s"]);
        let found = kind.validate_update(&kind.decode(body("q")).unwrap().object, &object, None);
        assert_eq!((found[0].field.as_str(), found[0].detail.as_str()), ("roleRef", "cannot change roleRef"));
    }

    #[test]
    fn accounts_in_cluster_bindings_name_their_namespace() {
        let kind = Typed::<ClusterRoleBinding>::NEW;
        let body = json!({"metadata": {"name": "a"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]});
        let found = kind.validate_create(&kind.decode(body).unwrap().object);
        assert_eq!(found[0].to_string(), "subjects[0].namespace: Required value");
    }
}
