//! What policies and bindings are taken, and what of others is complained about.

use super::*;
use crate::contract::Resource;
use crate::typed::{Kind, Typed};
use serde_json::{Value, json};

fn policy(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]},
        "validations": [{"expression": "object.spec.replicas <= 5"}],
    });
    change(&mut spec);
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "p.example.com"}, "spec": spec})
}

fn binding(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({"policyName": "p.example.com", "validationActions": ["Deny"]});
    change(&mut spec);
    json!({"metadata": {"name": "b"}, "spec": spec})
}

fn complaints<K: Kind>(object: Value) -> Vec<String> {
    let kind = Typed::<K>::NEW;
    let object = kind.decode(object).expect("decodes").object;
    kind.validate_create(&object).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_left_out_is_filled_in() {
    let object = Typed::<ValidatingAdmissionPolicy>::NEW.decode(policy(|_| {})).expect("decodes").object;
    let spec = &object["spec"];
    assert_eq!((&spec["failurePolicy"], &spec["matchConstraints"]["matchPolicy"]), (&json!("Fail"), &json!("Equivalent")));
    let constraints = &spec["matchConstraints"];
    assert_eq!((&constraints["namespaceSelector"], &constraints["objectSelector"]), (&json!({}), &json!({})));
    assert_eq!(constraints["resourceRules"][0]["scope"], "*");
    let selected =
        Typed::<ValidatingAdmissionPolicyBinding>::NEW.decode(binding(|spec| spec["matchResources"] = json!({}))).expect("decodes");
    assert_eq!(selected.object["spec"]["matchResources"]["matchPolicy"], "Equivalent");
}

#[test]
fn faults_of_expressions_are_told_at_their_fields() {
    assert_eq!(complaints::<ValidatingAdmissionPolicy>(policy(|_| {})), [""; 0]);
    let compiled = |field: &str, source: &str, why: &str| format!("{field}: Invalid value: {}: {why}", Value::from(source));
    for (change, expected) in [
        (
            json!({"validations": [{"expression": "object.x > y"}]}),
            compiled(
                "spec.validations[0].expression",
                "object.x > y",
                "compilation failed: ERROR: <input>:1:12: undeclared reference to 'y' (in container '')\n | object.x > y\n | ...........^",
            ),
        ),
        (
            json!({"validations": [{"expression": "1 + 1"}]}),
            compiled("spec.validations[0].expression", "1 + 1", "must evaluate to bool but got int"),
        ),
        (
            json!({"validations": [{"expression": "true", "messageExpression": "1"}]}),
            compiled("spec.validations[0].messageExpression", "1", "must evaluate to string but got int"),
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "true"}]}),
            compiled("spec.auditAnnotations[0].valueExpression", "true", "must evaluate to one of [string null] but got bool"),
        ),
        (
            json!({"matchConditions": [{"name": "a", "expression": "'x'"}]}),
            compiled("spec.matchConditions[0].expression", "'x'", "must evaluate to bool but got string"),
        ),
        (
            json!({"variables": [{"name": "a", "expression": "b"}]}),
            compiled(
                "spec.variables[0].expression",
                "b",
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'b' (in container '')\n | b\n | ^",
            ),
        ),
        (json!({"variables": [{"name": "a-b", "expression": "1"}]}), compiled("spec.variables[0].name", "a-b", "name is not a valid CEL identifier")),
        (json!({"variables": [{"name": "", "expression": "1"}]}), "spec.variables[0].name: Required value: name is not specified".to_owned()),
        (json!({"validations": [{"expression": " "}]}), "spec.validations[0].expression: Required value: expression is not specified".to_owned()),
        (
            json!({"validations": [{"expression": "true", "message": "a\nb"}]}),
            compiled("spec.validations[0].message", "a\nb", "message must not contain line breaks"),
        ),
        (
            json!({"validations": [{"expression": "true", "reason": "No"}]}),
            "spec.validations[0].reason: Unsupported value: \"No\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\", \"Unauthorized\"".to_owned(),
        ),
        (json!({"failurePolicy": "Never"}), "spec.failurePolicy: Unsupported value: \"Never\": supported values: \"Fail\", \"Ignore\"".to_owned()),
        (json!({"matchConstraints": {}}), "spec.matchConstraints.resourceRules: Required value".to_owned()),
        (json!({"matchConstraints": null}), "spec.matchConstraints: Required value".to_owned()),
        (json!({"paramKind": {"apiVersion": "v1"}}), "spec.paramKind.kind: Required value".to_owned()),
        (
            json!({"paramKind": {"apiVersion": "a/b/c", "kind": "K"}}),
            compiled("spec.paramKind.apiVersion", "a/b/c", "unexpected GroupVersion string: a/b/c"),
        ),
    ] {
        let found = complaints::<ValidatingAdmissionPolicy>(policy(|spec| {
            spec.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        }));
        assert_eq!(found, [expected], "{change}");
    }
    let empty = complaints::<ValidatingAdmissionPolicy>(policy(|spec| spec["validations"] = json!([])));
    let why = "Required value: validations or auditAnnotations must contain at least one item";
    assert_eq!(empty, [format!("spec.validations: {why}"), format!("spec.auditAnnotations: {why}")]);
}

#[test]
fn parameters_are_known_where_there_is_a_kind_of_them() {
    let uses = |kind: bool| {
        complaints::<ValidatingAdmissionPolicy>(policy(|spec| {
            spec["validations"] =
                json!([{"expression": "object.spec.replicas <= params.most", "messageExpression": "'most: ' + string(params.most)"}]);
            if kind {
                spec["paramKind"] = json!({"apiVersion": "rules.example.com/v1", "kind": "ReplicaLimit"});
            }
        }))
    };
    assert_eq!((uses(true).len(), uses(false).len()), (0, 2));
}

#[test]
fn bindings_say_what_to_do_and_with_what() {
    assert_eq!(complaints::<ValidatingAdmissionPolicyBinding>(binding(|_| {})), [""; 0]);
    for (change, expected) in [
        (json!({"policyName": ""}), "spec.policyName: Required value"),
        (json!({"validationActions": []}), "spec.validationActions: Required value: at least one validation action is required"),
        (
            json!({"validationActions": ["Log"]}),
            "spec.validationActions[0]: Unsupported value: \"Log\": supported values: \"Audit\", \"Deny\", \"Warn\"",
        ),
        (json!({"validationActions": ["Warn", "Warn"]}), "spec.validationActions[1]: Duplicate value: \"Warn\""),
        (
            json!({"paramRef": {"parameterNotFoundAction": "Deny"}}),
            "spec.paramRef: Required value: one of name or selector must be specified",
        ),
        (json!({"paramRef": {"name": "a"}}), "spec.paramRef.parameterNotFoundAction: Required value"),
    ] {
        let found = complaints::<ValidatingAdmissionPolicyBinding>(binding(|spec| {
            spec.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        }));
        assert_eq!(found, [expected], "{change}");
    }
    let both = complaints::<ValidatingAdmissionPolicyBinding>(binding(|spec| spec["validationActions"] = json!(["Deny", "Warn"])));
    assert!(both.len() == 1 && both[0].contains("must not contain both Deny and Warn"), "{both:?}");
}

#[test]
fn tables_name_parameters() {
    let cells = |object: Value| Typed::<ValidatingAdmissionPolicyBinding>::NEW.cells(&object, 0)[2].clone();
    for (reference, expected) in [
        (json!(null), "<unset>"),
        (json!({"name": "a"}), "*/a"),
        (json!({"name": "a", "namespace": "n"}), "n/a"),
        (json!({"selector": {"matchLabels": {"a": "b"}}}), "a=b"),
    ] {
        assert_eq!(cells(binding(|spec| spec["paramRef"] = reference.clone())), expected, "{reference}");
    }
    let row =
        Typed::<ValidatingAdmissionPolicy>::NEW.cells(&policy(|spec| spec["paramKind"] = json!({"apiVersion": "a/v1", "kind": "K"})), 0);
    assert_eq!((&row[1], &row[2]), (&json!(1), &json!("a/v1/K")));
}
