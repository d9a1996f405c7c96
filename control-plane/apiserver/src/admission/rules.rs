//! Which requests a rule of a webhook or an admission policy is about: operation, scope, group, version, resource and subresource. Pure.
//! Source: `RuleWithOperations` and `NamedRuleWithOperations` of admissionregistration.k8s.io/v1.

use super::chain::Operation;
use crate::object;
use serde_json::Value;

/// The kinds that say what admission asks. Nothing dynamic is asked about them: a webhook that fails could not be removed.
const EXEMPT: [&str; 4] = [
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// What a rule is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    /// The plural.
    pub resource: &'a str,
    /// Empty for the resource itself.
    pub subresource: &'a str,
    pub name: &'a str,
    /// Whether objects of the resource live in namespaces.
    pub namespaced: bool,
}

/// A rule, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and subresource.
    resources: Vec<(String, String)>,
    /// Names of objects; none: all.
    names: Vec<String>,
    /// `Some(true)`: only what lives in namespaces; `Some(false)`: only what does not.
    namespaced: Option<bool>,
}

/// Whether dynamic admission has no say about a resource.
pub fn is_exempt(group: &str, resource: &str) -> bool {
    group == "admissionregistration.k8s.io" && EXEMPT.contains(&resource)
}

impl Rule {
    /// From the JSON of a rule that the kind's own rules have accepted.
    pub fn from_object(rule: &Value) -> Self {
        let list = |field: &str| object::strings(rule.get(field)).into_iter().map(str::to_owned).collect::<Vec<String>>();
        let split = |entry: String| match entry.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), subresource.to_owned()),
            None => (entry, String::new()),
        };
        Self {
            operations: list("operations"),
            groups: list("apiGroups"),
            versions: list("apiVersions"),
            resources: list("resources").into_iter().map(split).collect(),
            names: list("resourceNames"),
            namespaced: match object::text(rule, "/scope") {
                "Namespaced" => Some(true),
                "Cluster" => Some(false),
                _ => None,
            },
        }
    }

    /// Whether the rule is about it.
    pub fn matches(&self, target: &Target<'_>) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        let is = |item: &str, wanted: &str| item == "*" || item == wanted;
        self.namespaced.is_none_or(|namespaced| namespaced == target.namespaced)
            && any(&self.operations, target.operation.name())
            && any(&self.groups, target.group)
            && any(&self.versions, target.version)
            && self.resources.iter().any(|(resource, sub)| is(resource, target.resource) && is(sub, target.subresource))
            && (self.names.is_empty() || self.names.iter().any(|name| name == target.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PODS: Target<'static> =
        Target { operation: Operation::Create, group: "", version: "v1", resource: "pods", subresource: "", name: "a", namespaced: true };

    fn matches(change: Value, target: Target<'_>) -> bool {
        let mut rule = json!({ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "scope": "*" });
        rule.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        Rule::from_object(&rule).matches(&target)
    }

    #[test]
    fn each_part_of_a_rule_has_its_say() {
        let status = Target { subresource: "status", ..PODS };
        let nodes = Target { resource: "nodes", namespaced: false, ..PODS };
        let namespaces = Target { resource: "namespaces", namespaced: false, ..PODS };
        let update = Target { operation: Operation::Update, ..PODS };
        let connect = Target { operation: Operation::Connect, subresource: "exec", ..PODS };
        let scale = Target { group: "apps", resource: "deployments", subresource: "scale", ..PODS };
        for (change, target, expected) in [
            (json!({}), PODS, true),
            (json!({}), update, false),
            (json!({ "operations": ["CREATE", "UPDATE"] }), update, true),
            (json!({ "operations": ["*"] }), update, true),
            (json!({ "operations": ["CONNECT"], "resources": ["pods/exec"] }), connect, true),
            (json!({ "operations": ["CONNECT"] }), connect, false),
            (json!({ "apiGroups": ["apps"] }), PODS, false),
            (json!({ "apiGroups": ["*"] }), PODS, true),
            (json!({ "apiVersions": ["v2"] }), PODS, false),
            (json!({ "apiVersions": ["*"] }), PODS, true),
            (json!({ "resources": ["services"] }), PODS, false),
            (json!({ "resources": ["services", "pods"] }), PODS, true),
            // A star is for resources, not for their subresources.
            (json!({ "resources": ["*"] }), PODS, true),
            (json!({ "resources": ["*"] }), status, false),
            (json!({ "resources": ["pods/*"] }), status, true),
            // As with kube-apiserver, all subresources are said together with none.
            (json!({ "resources": ["pods/*"] }), PODS, true),
            (json!({ "resources": ["pods/status"] }), status, true),
            (json!({ "resources": ["pods/status"] }), PODS, false),
            (json!({ "resources": ["*/status"] }), status, true),
            (json!({ "apiGroups": ["*"], "resources": ["*/scale"] }), scale, true),
            (json!({ "resources": ["*/*"] }), status, true),
            (json!({ "resources": ["*/*"] }), PODS, true),
            (json!({ "scope": "Namespaced" }), PODS, true),
            (json!({ "scope": "Cluster" }), PODS, false),
            (json!({ "scope": "Namespaced", "resources": ["*"] }), nodes, false),
            (json!({ "scope": "Cluster", "resources": ["*"] }), nodes, true),
            (json!({ "scope": "Cluster", "resources": ["*"] }), namespaces, true),
            (json!({ "resourceNames": ["b"] }), PODS, false),
            (json!({ "resourceNames": ["b", "a"] }), PODS, true),
            (json!({ "resourceNames": [] }), PODS, true),
            (json!({ "resources": null }), PODS, false),
        ] {
            assert_eq!(matches(change.clone(), target), expected, "{change} {target:?}");
        }
    }

    #[test]
    fn what_says_what_is_asked_is_asked_about_by_nobody() {
        let group = "admissionregistration.k8s.io";
        assert!(EXEMPT.iter().all(|resource| is_exempt(group, resource)));
        assert!(!is_exempt("", EXEMPT[0]) && !is_exempt(group, "other"));
    }
}
