//! Which kinds policies are checked for.

use k8s_openapi::api::admissionregistration::v1::{ExpressionWarning, ValidatingAdmissionPolicy};
use serde_json::{Value, json};

use super::plan;

fn policy(rules: Value) -> ValidatingAdmissionPolicy {
    let spec = json!({ "matchConstraints": { "resourceRules": rules } });
    serde_json::from_value(json!({ "metadata": { "name": "p", "generation": 2 }, "spec": spec })).unwrap()
}

fn rule(groups: &[&str], versions: &[&str], resources: &[&str]) -> Value {
    json!({ "operations": ["CREATE"], "apiGroups": groups, "apiVersions": versions, "resources": resources })
}

/// As a server that has every resource says it.
fn kinds(rules: Value) -> Vec<String> {
    let found = plan::kinds(&plan::named(&policy(rules)), |named| Some(named.resource.to_uppercase()));
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_name_kinds_unless_they_name_all() {
    assert_eq!(
        kinds(json!([
            rule(&["apps", ""], &["v1"], &["pods", "pods/status", "*/scale"]),
            rule(&["*"], &["v1"], &["a"]),
            rule(&["b"], &["*"], &["a"]),
            rule(&["c"], &["v1", "v2"], &["*"]),
        ])),
        ["/v1, Kind=PODS", "apps/v1, Kind=PODS"]
    );
    assert_eq!(kinds(json!([rule(&["*"], &["*"], &["*"])])), [""; 0]);
}

#[test]
fn ten_kinds_of_a_rule_are_enough() {
    let many: Vec<String> = (10..40).map(|i| format!("r{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let found = kinds(json!([rule(&["a"], &["v1"], &["x"]), rule(&["b"], &["v1"], &many), rule(&["c"], &["v1"], &["y"])]));
    assert_eq!(found.len(), 11, "{found:?}");
    assert_eq!((&found[0][..], &found[1][..], &found[10][..]), ("a/v1, Kind=X", "b/v1, Kind=R10", "b/v1, Kind=R19"));
}

#[test]
fn what_is_not_served_is_left_out() {
    let list = json!({ "resources": [{ "name": "pods", "kind": "Pod" }, { "name": "pods/binding", "kind": "Binding" }] });
    let rules = plan::named(&policy(json!([rule(&[""], &["v1"], &["pods", "podz"])])));
    let found = plan::kinds(&rules, |named| plan::kind_in(&list, &named.resource));
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["/v1, Kind=Pod"]);
    let root = |group: &str, version: &str| plan::root(group, version).unwrap_or_default();
    assert_eq!((root("", "v1"), root("a.example.com", "v1")), ("/api/v1".to_owned(), "/apis/a.example.com/v1".to_owned()));
    for (group, version) in
        [("apps/v1/deployments?watch=1&x=", "v1"), ("..", "v1"), ("", "pods?watch=1"), ("a#", "v1"), ("a%2f", "v1"), ("a", "")]
    {
        assert_eq!(plan::root(group, version), None, "{group} {version}");
    }
}

#[test]
fn each_generation_is_checked_once() {
    let mut policy = policy(json!([]));
    assert!(plan::is_to_be_checked(&policy));
    let warning = ExpressionWarning { field_ref: "spec.validations[0].expression".into(), warning: "w".into() };
    let status = plan::status(&policy, vec![warning]);
    let expected = json!({ "observedGeneration": 2, "typeChecking": { "expressionWarnings": [{ "fieldRef": "spec.validations[0].expression", "warning": "w" }] } });
    assert_eq!(serde_json::to_value(&status).unwrap(), expected);
    policy.status = Some(status);
    assert!(!plan::is_to_be_checked(&policy));
    policy.metadata.generation = Some(3);
    assert!(plan::is_to_be_checked(&policy));
    // What was found before goes with it.
    let clean = serde_json::to_value(plan::status(&policy, Vec::new())).unwrap();
    assert_eq!(clean, json!({ "observedGeneration": 3, "typeChecking": {} }));
}
