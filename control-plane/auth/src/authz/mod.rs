//! RBAC (`rbac.authorization.k8s.io/v1`) as a pure evaluator: rules and bindings in, a decision out.

mod bindings;

use crate::authn::{GROUP_MASTERS, Identity};
use bindings::{Binding, Bindings};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use std::collections::HashMap;

/// What is asked for (`authorization.k8s.io/v1 SubjectAccessReviewSpec`).
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or an HTTP verb in lower case for paths.
    pub verb: &'a str,
    pub target: Target<'a>,
}

/// What the request is about.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A kind's objects. `subresource`, `namespace` and `name` are empty where there is none.
    Resource { group: &'a str, resource: &'a str, subresource: &'a str, namespace: &'a str, name: &'a str },
    /// A path that names no object (`/metrics`, `/apis`).
    Path(&'a str),
}

/// The roles and bindings of a cluster, indexed for questions. Changed object by object.
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    cluster_roles: HashMap<String, Vec<PolicyRule>>,
    roles: HashMap<(String, String), Vec<PolicyRule>>,
    /// By namespace; those of the cluster under the empty one.
    bindings: HashMap<String, Bindings>,
}

impl Rbac {
    /// Indexes the objects. What an `aggregationRule` sums up is written into the role's rules by a controller.
    pub fn new(
        cluster_roles: impl IntoIterator<Item = ClusterRole>,
        roles: impl IntoIterator<Item = Role>,
        cluster_bindings: impl IntoIterator<Item = ClusterRoleBinding>,
        bindings: impl IntoIterator<Item = RoleBinding>,
    ) -> Self {
        let mut rbac = Self::default();
        for role in cluster_roles {
            rbac.set_cluster_role(&role.metadata.name.unwrap_or_default(), Some(role.rules.unwrap_or_default()));
        }
        for role in roles {
            let (namespace, name) = (role.metadata.namespace.unwrap_or_default(), role.metadata.name.unwrap_or_default());
            rbac.set_role(&namespace, &name, Some(role.rules.unwrap_or_default()));
        }
        for binding in cluster_bindings {
            let now = (binding.role_ref, binding.subjects.unwrap_or_default());
            rbac.set_binding("", &binding.metadata.name.unwrap_or_default(), Some(now));
        }
        for binding in bindings {
            let (namespace, name) = (binding.metadata.namespace.unwrap_or_default(), binding.metadata.name.unwrap_or_default());
            rbac.set_binding(&namespace, &name, Some((binding.role_ref, binding.subjects.unwrap_or_default())));
        }
        rbac
    }

    /// States the rules of a ClusterRole; `None`: it is gone.
    pub fn set_cluster_role(&mut self, name: &str, rules: Option<Vec<PolicyRule>>) {
        match rules {
            Some(rules) => drop(self.cluster_roles.insert(name.to_owned(), rules)),
            None => drop(self.cluster_roles.remove(name)),
        }
    }

    /// States the rules of a Role; `None`: it is gone.
    pub fn set_role(&mut self, namespace: &str, name: &str, rules: Option<Vec<PolicyRule>>) {
        let key = (namespace.to_owned(), name.to_owned());
        match rules {
            Some(rules) => drop(self.roles.insert(key, rules)),
            None => drop(self.roles.remove(&key)),
        }
    }

    /// States role and subjects of a RoleBinding, or (no namespace) of a ClusterRoleBinding; `None`: it is gone.
    pub fn set_binding(&mut self, namespace: &str, name: &str, now: Option<(RoleRef, Vec<Subject>)>) {
        let all = self.bindings.entry(namespace.to_owned()).or_default();
        all.set(namespace, name, now);
        if all.is_empty() {
            self.bindings.remove(namespace);
        }
    }

    /// Whether some rule allows it. There are no denying rules in RBAC.
    pub fn allows(&self, who: &Identity, what: &Attributes<'_>) -> bool {
        who.is_in(GROUP_MASTERS) || self.find(who, what).is_some()
    }

    /// Which binding allows it, in Kubernetes' words; `None` when no rule does.
    pub fn allowed_by(&self, who: &Identity, what: &Attributes<'_>) -> Option<String> {
        let (binding, subject, home) = self.find(who, what)?;
        let Binding { name, role, .. } = binding;
        let subject = match (subject.kind.as_str(), subject.namespace.as_deref()) {
            ("ServiceAccount", None | Some("")) => format!("ServiceAccount {:?}", format!("{}/{home}", subject.name)),
            ("ServiceAccount", Some(namespace)) => format!("ServiceAccount {:?}", format!("{}/{namespace}", subject.name)),
            (kind, _) => format!("{kind} {:?}", subject.name),
        };
        let (kind, name) =
            if home.is_empty() { ("ClusterRoleBinding", name.to_string()) } else { ("RoleBinding", format!("{name}/{home}")) };
        Some(format!("RBAC: allowed by {kind} {name:?} of {} {:?} to {subject}", role.kind, role.name))
    }

    /// The first binding, with the subject that is `who`, of which a rule allows it, and its namespace.
    fn find<'a>(&'a self, who: &'a Identity, what: &'a Attributes<'_>) -> Option<(&'a Binding, &'a Subject, &'a str)> {
        let namespace = match what.target {
            Target::Resource { namespace, .. } => namespace,
            Target::Path(_) => "",
        };
        let allows = |rules: &[PolicyRule]| rules.iter().any(|rule| rule_allows(rule, what));
        let (binding, subject, _, home) = self.each_role(who, namespace).find(|(_, _, rules, _)| allows(rules))?;
        Some((binding, subject, home))
    }

    /// Every rule that a binding gives `who` in `namespace` (empty: cluster-wide ones only), for `SelfSubjectRulesReview`. What masters may without
    /// any rule is not among them: it is the binding of `cluster-admin` that shows it.
    pub fn rules_for(&self, who: &Identity, namespace: &str) -> Vec<PolicyRule> {
        self.each_role(who, namespace).flat_map(|(_, _, rules, _)| rules).cloned().collect()
    }

    /// The rules of the role that a binding in `namespace` (empty: a cluster's) refers to; `None` when there is no such role.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Option<&[PolicyRule]> {
        let rules = if role.kind == "ClusterRole" {
            self.cluster_roles.get(&role.name)
        } else {
            self.roles.get(&(namespace.to_owned(), role.name.clone()))
        };
        rules.map(Vec::as_slice)
    }

    /// Each binding that is of force for `who` in `namespace`, with the subject that it is, the role's rules, and the binding's namespace.
    fn each_role<'a>(
        &'a self,
        who: &'a Identity,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Binding, &'a Subject, &'a [PolicyRule], &'a str)> {
        let local = (!namespace.is_empty()).then_some(namespace);
        let homes = [Some(""), local].into_iter().flatten().filter_map(move |home| Some((home, self.bindings.get(home)?)));
        let all = homes.flat_map(move |(home, bindings)| bindings.of(who, home).map(move |(binding, subject)| (binding, subject, home)));
        all.filter_map(move |(binding, subject, home)| {
            let rules = if home.is_empty() {
                self.cluster_roles.get(&binding.role.name).map(Vec::as_slice)
            } else {
                self.rules_of(&binding.role, home)
            };
            Some((binding, subject, rules?, home))
        })
    }
}

/// Whether one rule allows it (`PolicyRule`: verbs, and either paths or groups, resources and names).
pub fn rule_allows(rule: &PolicyRule, what: &Attributes<'_>) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| list.iter().flatten().any(|item| item == "*" || item == wanted);
    if !rule.verbs.iter().any(|verb| verb == "*" || verb == what.verb) {
        return false;
    }
    match what.target {
        Target::Path(path) => rule.non_resource_urls.iter().flatten().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => pattern == path,
        }),
        Target::Resource { group, resource, subresource, name, .. } => {
            let named = rule.resource_names.as_ref().is_none_or(|names| names.is_empty() || names.iter().any(|own| own == name));
            has(&rule.api_groups, group) && named && names_resource(rule, resource, subresource)
        }
    }
}

fn names_resource(rule: &PolicyRule, resource: &str, subresource: &str) -> bool {
    rule.resources.iter().flatten().any(|pattern| match pattern.split_once('/') {
        _ if pattern == "*" => true,
        None => subresource.is_empty() && pattern == resource,
        Some((parent, child)) => !subresource.is_empty() && child == subresource && (parent == "*" || parent == resource),
    })
}

/// Whether a binding's subject is `who`; a service account without namespace is one of the binding's own.
fn names(subject: &Subject, who: &Identity, home: &str) -> bool {
    match subject.kind.as_str() {
        "User" => subject.name == who.username,
        "Group" => who.is_in(&subject.name),
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or(home);
            let account = who.username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            account == Some((namespace, subject.name.as_str()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rbac() -> Rbac {
        let parse = |value| serde_json::from_value(value).unwrap();
        Rbac::new(
            [parse(json!({"metadata": {"name": "reader"}, "rules": [
                    {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
                    {"nonResourceURLs": ["/metrics", "/apis/*"], "verbs": ["get"]}]}))],
            [serde_json::from_value(json!({"metadata": {"name": "one", "namespace": "a"}, "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["key"], "verbs": ["get"]}]}))
            .unwrap()],
            [serde_json::from_value(
                json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": "reader"},
                    "subjects": [{"kind": "User", "name": "ann"}]}),
            )
            .unwrap()],
            [serde_json::from_value(json!({"metadata": {"name": "b", "namespace": "a"},
                "roleRef": {"apiGroup": "", "kind": "Role", "name": "one"}, "subjects": [{"kind": "ServiceAccount", "name": "sa"}]}))
            .unwrap()],
        )
    }

    fn asks(user: &str, verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let target = Target::Resource { group, resource, subresource, namespace, name };
        rbac().allows(&Identity::authenticated(user, []), &Attributes { verb, target })
    }

    #[test]
    fn cluster_roles_hold_everywhere_and_only_for_what_they_name() {
        assert!(asks("ann", "get", "", "pods", "any", "p"));
        assert!(asks("ann", "get", "", "pods/log", "any", "p"));
        assert!(!asks("ann", "get", "", "pods/exec", "any", "p"));
        assert!(!asks("ann", "delete", "", "pods", "any", "p"));
        assert!(!asks("ann", "get", "apps", "pods", "any", "p"));
        assert!(!asks("bob", "get", "", "pods", "any", "p"));
    }

    #[test]
    fn roles_hold_in_their_namespace_and_for_their_names() {
        let account = "system:serviceaccount:a:sa";
        assert!(asks(account, "get", "", "secrets", "a", "key"));
        assert!(!asks(account, "get", "", "secrets", "a", "other"));
        assert!(!asks(account, "get", "", "secrets", "b", "key"));
        assert!(!asks("system:serviceaccount:b:sa", "get", "", "secrets", "a", "key"));
    }

    #[test]
    fn masters_are_shown_what_their_binding_gives_once() {
        let parse = |value: serde_json::Value| serde_json::from_value(value).unwrap();
        let bindings = crate::bootstrap::cluster_role_bindings().into_iter().map(|value| serde_json::from_value(value).unwrap());
        let rbac = Rbac::new(crate::bootstrap::cluster_roles().into_iter().map(parse), [], bindings, []);
        let rules = rbac.rules_for(&Identity::authenticated("root", [GROUP_MASTERS.to_owned()]), "default");
        let everything = rules.iter().filter(|rule| rule.verbs == ["*"]).count();
        let everywhere = rules.iter().filter(|rule| rule.non_resource_urls.as_deref() == Some(&["*".to_owned()])).count();
        assert_eq!((everything, everywhere), (2, 1));
    }

    #[test]
    fn a_star_is_a_name_and_an_account_without_namespace_is_of_the_binding() {
        let who = |subject: serde_json::Value, user: &str| {
            names(&serde_json::from_value(subject).unwrap(), &Identity::authenticated(user, []), "home")
        };
        assert!(!who(json!({"kind": "User", "name": "*"}), "ann"));
        assert!(who(json!({"kind": "ServiceAccount", "name": "sa", "namespace": ""}), "system:serviceaccount:home:sa"));
        assert!(!who(json!({"kind": "ServiceAccount", "name": "sa", "namespace": "other"}), "system:serviceaccount:home:sa"));
    }

    #[test]
    fn masters_may_do_everything_and_paths_match_by_prefix() {
        let master = Identity::authenticated("root", [GROUP_MASTERS.to_owned()]);
        let path = |path| Attributes { verb: "get", target: Target::Path(path) };
        assert!(rbac().allows(&master, &path("/anything")));
        let ann = Identity::authenticated("ann", []);
        assert!(rbac().allows(&ann, &path("/apis/apps")));
        assert!(rbac().allows(&ann, &path("/metrics")));
        assert!(!rbac().allows(&ann, &path("/metrics/x")));
        assert_eq!(rbac().rules_for(&ann, "a").len(), 2);
    }
}
