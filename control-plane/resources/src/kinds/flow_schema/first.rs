//! The FlowSchemas and PriorityLevelConfigurations that a cluster begins with, as Kubernetes 1.33 has them
//! (`apiserver/pkg/apis/flowcontrol/bootstrap`). Facts, no I/O.

use serde_json::{Map, Value, json};

/// The group of both kinds.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
/// Whether an object's spec is the server's to keep (`true`) or somebody's own (`false`).
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// Those whose spec is always the server's.
pub const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// Group, plural and object of each.
pub fn all() -> Vec<(&'static str, &'static str, Value)> {
    let levels = levels().into_iter().map(|(name, spec)| (GROUP, "prioritylevelconfigurations", object(name, spec)));
    levels.chain(schemas().into_iter().map(|(name, spec)| (GROUP, "flowschemas", object(name, spec)))).collect()
}

/// The spec that the schema of this name must have.
pub fn fixed_schema(name: &str) -> Option<Value> {
    fixed(name, schemas())
}

/// The spec that the level of this name must have.
pub fn fixed_level(name: &str) -> Option<Value> {
    fixed(name, levels())
}

fn fixed(name: &str, all: Vec<(&'static str, Value)>) -> Option<Value> {
    let wanted = MANDATORY.iter().find(|mandatory| **mandatory == name)?;
    all.into_iter().find(|(name, _)| name == wanted).map(|(_, spec)| spec)
}

fn object(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name, "annotations": { AUTO_UPDATE: "true" } }, "spec": spec })
}

fn levels() -> Vec<(&'static str, Value)> {
    let limited = |shares: i32, lendable: i32, response: Value| {
        json!({ "type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response } })
    };
    let queues =
        |queues: i32, hand: i32| json!({ "type": "Queue", "queuing": { "queues": queues, "handSize": hand, "queueLengthLimit": 50 } });
    vec![
        ("catch-all", limited(5, 0, json!({ "type": "Reject" }))),
        ("exempt", json!({ "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 } })),
        ("system", limited(30, 33, queues(64, 6))),
        ("node-high", limited(40, 25, queues(64, 6))),
        ("leader-election", limited(10, 0, queues(16, 4))),
        ("workload-high", limited(40, 50, queues(128, 6))),
        ("workload-low", limited(100, 90, queues(128, 6))),
        ("global-default", limited(20, 50, queues(128, 6))),
    ]
}

const BY_USER: Option<&str> = Some("ByUser");
const BY_NAMESPACE: Option<&str> = Some("ByNamespace");

fn schemas() -> Vec<(&'static str, Value)> {
    let everybody = || groups(&["system:unauthenticated", "system:authenticated"]);
    let manager = || user("system:kube-controller-manager");
    let scheduler = || user("system:kube-scheduler");
    let reads_and_writes: &[&str] = &["get", "create", "update"];
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let probes = json!([{ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }]);
    vec![
        ("exempt", schema("exempt", 1, None, everything(groups(&["system:masters"])))),
        ("probes", schema("exempt", 2, None, rules(everybody(), &[], probes))),
        (
            "system-leader-election",
            schema(
                "leader-election",
                100,
                BY_USER,
                rules(vec![manager(), scheduler(), account("*")], &[leases(reads_and_writes)], Value::Null),
            ),
        ),
        (
            "endpoint-controller",
            schema(
                "workload-high",
                150,
                BY_USER,
                rules(
                    vec![manager(), account("endpoint-controller"), account("endpointslicemirroring-controller")],
                    &[resources(reads_and_writes, "", &["endpoints"], false)],
                    Value::Null,
                ),
            ),
        ),
        (
            "workload-leader-election",
            schema(
                "leader-election",
                200,
                BY_USER,
                rules(
                    vec![account("*")],
                    &[resources(reads_and_writes, "", &["endpoints", "configmaps"], false), leases(reads_and_writes)],
                    Value::Null,
                ),
            ),
        ),
        (
            "system-node-high",
            schema(
                "node-high",
                400,
                BY_USER,
                rules(groups(&["system:nodes"]), &[resources(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"])], Value::Null),
            ),
        ),
        ("system-nodes", schema("system", 500, BY_USER, everything(groups(&["system:nodes"])))),
        ("kube-controller-manager", schema("workload-high", 800, BY_NAMESPACE, everything(vec![manager()]))),
        ("kube-scheduler", schema("workload-high", 800, BY_NAMESPACE, everything(vec![scheduler()]))),
        ("kube-system-service-accounts", schema("workload-high", 900, BY_NAMESPACE, everything(vec![account("*")]))),
        ("service-accounts", schema("workload-low", 9000, BY_USER, everything(groups(&["system:serviceaccounts"])))),
        ("global-default", schema("global-default", 9900, BY_USER, everything(everybody()))),
        ("catch-all", schema("catch-all", 10_000, BY_USER, everything(everybody()))),
    ]
}

fn schema(level: &str, precedence: i32, distinguisher: Option<&str>, rules: Value) -> Value {
    let mut spec = json!({ "priorityLevelConfiguration": { "name": level }, "matchingPrecedence": precedence, "rules": [rules] });
    if let Some(method) = distinguisher {
        spec["distinguisherMethod"] = json!({ "type": method });
    }
    spec
}

/// Every request of these subjects.
fn everything(subjects: Vec<Value>) -> Value {
    rules(subjects, &[resources(&["*"], "*", &["*"], true)], json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]))
}

fn rules(subjects: Vec<Value>, resources: &[Value], others: Value) -> Value {
    let mut rules = Map::from_iter([("subjects".to_owned(), Value::from(subjects))]);
    if !resources.is_empty() {
        rules.insert("resourceRules".into(), resources.to_vec().into());
    }
    if !others.is_null() {
        rules.insert("nonResourceRules".into(), others);
    }
    rules.into()
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({ "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"] });
    if cluster {
        rule["clusterScope"] = json!(true);
    }
    rule
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({ "kind": "Group", "group": { "name": name } })).collect()
}

fn user(name: &str) -> Value {
    json!({ "kind": "User", "user": { "name": name } })
}

/// A service account of `kube-system`; `*`: all of them.
fn account(name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "serviceAccount": { "name": name, "namespace": "kube-system" } })
}
