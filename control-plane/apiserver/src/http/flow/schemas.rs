//! Which FlowSchema takes a request, and which of its flows the request is of. Pure. Source: `apiserver/pkg/util/flowcontrol/rule.go`.

use crate::http::request_info::{RequestInfo, ResourcePath};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject};
use orknet_auth::Identity;

const ALL: &str = "*";
const ACCOUNT: &str = "system:serviceaccount:";

/// A schema as configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub name: String,
    pub uid: String,
    pub level: String,
    precedence: i32,
    distinguisher: Option<Distinguisher>,
    rules: Vec<PolicyRulesWithSubjects>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    User,
    Namespace,
}

impl Schema {
    /// `None` for one that is not whole.
    pub fn of(object: FlowSchema) -> Option<Self> {
        let spec = object.spec?;
        let distinguisher = match spec.distinguisher_method.as_ref().map(|method| &method.type_[..]) {
            None => None,
            Some("ByUser") => Some(Distinguisher::User),
            Some("ByNamespace") => Some(Distinguisher::Namespace),
            Some(_) => return None,
        };
        Some(Self {
            name: object.metadata.name?,
            uid: object.metadata.uid.unwrap_or_default(),
            level: spec.priority_level_configuration.name,
            precedence: spec.matching_precedence.unwrap_or_default(),
            distinguisher,
            rules: spec.rules.unwrap_or_default(),
        })
    }

    /// What tells the request's flow from others of the schema.
    pub fn flow<'a>(&self, who: &'a Identity, info: &'a RequestInfo) -> &'a str {
        match self.distinguisher {
            None => "",
            Some(Distinguisher::User) => &who.username,
            Some(Distinguisher::Namespace) => info.resource.as_ref().map_or("", |path| &path.namespace),
        }
    }

    fn matches(&self, who: &Identity, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rules| {
            let asked = match &info.resource {
                Some(path) => rules.resource_rules.iter().flatten().any(|rule| resource_matches(rule, info.verb, path)),
                None => rules.non_resource_rules.iter().flatten().any(|rule| path_matches(rule, info.verb, &info.path)),
            };
            asked && rules.subjects.iter().any(|subject| is_subject(subject, who))
        })
    }
}

/// In the order in which they are asked.
pub fn sort(schemas: &mut [Schema]) {
    schemas.sort_by(|one, other| (one.precedence, &one.name).cmp(&(other.precedence, &other.name)));
}

/// The schema that takes a request: of the sorted ones the first that matches; `catch-all` takes whatever no other does.
pub fn find<'a>(schemas: &'a [Schema], who: &Identity, info: &RequestInfo) -> Option<&'a Schema> {
    let matching = schemas.iter().find(|schema| schema.matches(who, info));
    matching.or_else(|| schemas.iter().find(|schema| schema.name == "catch-all"))
}

fn is_subject(subject: &Subject, who: &Identity) -> bool {
    if let Some(user) = subject.user.as_ref().filter(|_| subject.kind == "User") {
        return user.name == ALL || user.name == who.username;
    }
    if let Some(group) = subject.group.as_ref().filter(|_| subject.kind == "Group") {
        return group.name == ALL || who.is_in(&group.name);
    }
    let Some(account) = subject.service_account.as_ref().filter(|_| subject.kind == "ServiceAccount") else { return false };
    let Some((namespace, name)) = who.username.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':')) else { return false };
    namespace == account.namespace && (account.name == ALL || account.name == name)
}

fn resource_matches(rule: &ResourcePolicyRule, verb: &str, path: &ResourcePath) -> bool {
    let resource = if path.subresource.is_empty() { path.plural.clone() } else { format!("{}/{}", path.plural, path.subresource) };
    let named = has(&rule.verbs, verb) && has(&rule.resources, &resource) && has(&rule.api_groups, &path.group);
    let place = if path.namespace.is_empty() {
        rule.cluster_scope.unwrap_or_default()
    } else {
        has(rule.namespaces.as_deref().unwrap_or_default(), &path.namespace)
    };
    named && place
}

fn path_matches(rule: &NonResourcePolicyRule, verb: &str, path: &str) -> bool {
    let prefix = |url: &str| url.strip_suffix('*').filter(|prefix| prefix.ends_with('/')).is_some_and(|prefix| path.starts_with(prefix));
    has(&rule.verbs, verb) && (has(&rule.non_resource_urls, path) || rule.non_resource_urls.iter().any(|url| prefix(url)))
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;
    use orknet_resources::kinds::flow_schema::first;
    use serde_json::json;

    fn first_schemas() -> Vec<Schema> {
        let objects = first::all().into_iter().filter(|(_, plural, _)| *plural == "flowschemas");
        let mut schemas: Vec<_> =
            objects.map(|(_, _, object)| Schema::of(serde_json::from_value(object).expect("a schema")).expect("whole")).collect();
        sort(&mut schemas);
        schemas
    }

    fn taken<'a>(schemas: &'a [Schema], user: &str, group: &str, request: (&str, &str)) -> (&'a str, String) {
        let who = Identity::authenticated(user, [group.to_owned()]);
        let method = request.0.parse::<Method>().expect("a method");
        let (path, query) = request.1.split_once('?').unwrap_or((request.1, ""));
        let info = RequestInfo::new(&method, path, query).expect("text");
        let schema = find(schemas, &who, &info).expect("taken");
        (&schema.name, schema.flow(&who, &info).to_owned())
    }

    #[test]
    fn the_schemas_of_the_start_take_what_kubernetes_takes_by_them() {
        let schemas = first_schemas();
        let node = ("system:node:a", "system:nodes");
        let account = "system:serviceaccount:kube-system:dns";
        let accounts = "system:serviceaccounts";
        for (user, group, request, schema, flow) in [
            ("admin", "system:masters", ("GET", "/api/v1/pods"), "exempt", ""),
            (
                node.0,
                node.1,
                ("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a"),
                "system-node-high",
                "system:node:a",
            ),
            (node.0, node.1, ("PATCH", "/api/v1/nodes/a/status"), "system-node-high", "system:node:a"),
            (node.0, node.1, ("GET", "/api/v1/pods?watch=1"), "system-nodes", "system:node:a"),
            (
                "system:kube-scheduler",
                "x",
                ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"),
                "system-leader-election",
                "system:kube-scheduler",
            ),
            ("system:kube-scheduler", "x", ("GET", "/api/v1/namespaces/a/pods"), "kube-scheduler", "a"),
            ("system:kube-controller-manager", "x", ("GET", "/api/v1/pods"), "kube-controller-manager", ""),
            (
                "system:kube-controller-manager",
                "x",
                ("POST", "/api/v1/namespaces/a/endpoints"),
                "endpoint-controller",
                "system:kube-controller-manager",
            ),
            (account, accounts, ("GET", "/api/v1/namespaces/a/configmaps/b"), "workload-leader-election", account),
            (account, accounts, ("GET", "/api/v1/services"), "kube-system-service-accounts", ""),
            ("system:serviceaccount:a:b", accounts, ("GET", "/api/v1/services"), "service-accounts", "system:serviceaccount:a:b"),
            ("jane", "people", ("GET", "/api/v1/pods"), "global-default", "jane"),
            ("jane", "people", ("GET", "/healthz"), "probes", ""),
            ("jane", "people", ("GET", "/openapi/v3"), "global-default", "jane"),
        ] {
            assert_eq!(taken(&schemas, user, group, request), (schema, flow.to_owned()), "{user} {request:?}");
        }
        // Who is in no group at all is caught.
        let nobody = Identity { username: "x".into(), ..Identity::default() };
        let info = RequestInfo::new(&Method::GET, "/api/v1/pods", "").expect("text");
        assert_eq!(find(&schemas, &nobody, &info).map(|schema| &schema.name[..]), Some("catch-all"));
    }

    #[test]
    fn rules_are_about_paths_namespaces_and_subresources() {
        let schema = |rules: serde_json::Value| {
            let subjects = json!([{ "kind": "User", "user": { "name": "*" } }]);
            let mut rules = rules;
            rules["subjects"] = subjects;
            let spec = json!({ "priorityLevelConfiguration": { "name": "x" }, "rules": [rules] });
            Schema::of(serde_json::from_value(json!({ "metadata": { "name": "s" }, "spec": spec })).expect("a schema")).expect("whole")
        };
        let matches =
            |schema: &Schema, path: &str| schema.matches(&Identity::anonymous(), &RequestInfo::new(&Method::GET, path, "").expect("text"));
        let resources = |cluster: bool, namespaces: &[&str], resource: &str| {
            schema(
                json!({ "resourceRules": [{ "verbs": ["*"], "apiGroups": [""], "resources": [resource], "namespaces": namespaces, "clusterScope": cluster }] }),
            )
        };
        let inside = resources(false, &["a"], "pods");
        assert!(matches(&inside, "/api/v1/namespaces/a/pods") && !matches(&inside, "/api/v1/namespaces/b/pods"));
        assert!(!matches(&inside, "/api/v1/pods") && !matches(&inside, "/api/v1/namespaces/a/pods/x/log"));
        assert!(matches(&resources(true, &[], "pods"), "/api/v1/pods"));
        assert!(matches(&resources(false, &["*"], "pods/log"), "/api/v1/namespaces/a/pods/x/log"));
        let paths = schema(json!({ "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": ["/version", "/openapi/*"] }] }));
        assert!(matches(&paths, "/version") && matches(&paths, "/openapi/v3/apis") && !matches(&paths, "/openapi"));
        assert!(!matches(&paths, "/api/v1/pods"));
    }
}
