//! What configurations are taken, and what of others is complained about.

use super::*;
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::{Value, json};

fn configuration(change: impl FnOnce(&mut Value)) -> Value {
    let mut hook = json!({
        "name": "a.example.com",
        "clientConfig": {"url": "https://hook.example.com/a"},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    change(&mut hook);
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "c"}, "webhooks": [hook]})
}

fn complaints(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let kind = Typed::<MutatingWebhookConfiguration>::NEW;
    let object = kind.decode(configuration(change)).expect("decodes").object;
    kind.validate_create(&object).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_left_out_is_filled_in() {
    let service = |hook: &mut Value| hook["clientConfig"] = json!({"service": {"name": "s", "namespace": "n"}});
    let mutating = Typed::<MutatingWebhookConfiguration>::NEW.decode(configuration(service)).expect("decodes").object;
    let validating = Typed::<ValidatingWebhookConfiguration>::NEW.decode(configuration(service)).expect("decodes").object;
    let (mutating, validating) = (&mutating["webhooks"][0], &validating["webhooks"][0]);
    for hook in [mutating, validating] {
        assert_eq!((&hook["failurePolicy"], &hook["matchPolicy"]), (&json!("Fail"), &json!("Equivalent")));
        assert_eq!((&hook["namespaceSelector"], &hook["objectSelector"]), (&json!({}), &json!({})));
        assert_eq!((&hook["timeoutSeconds"], &hook["rules"][0]["scope"]), (&json!(10), &json!("*")));
        assert_eq!(hook["clientConfig"]["service"]["port"], 443);
    }
    assert_eq!((mutating["reinvocationPolicy"].as_str(), validating.get("reinvocationPolicy")), (Some("Never"), None));
}

#[test]
fn rows_tell_how_many_webhooks_there_are() {
    let kind = Typed::<ValidatingWebhookConfiguration>::NEW;
    assert_eq!(kind.cells(&configuration(|_| {}), 0)[..2], [json!("c"), json!(1)]);
    assert_eq!(kind.cells(&json!({"metadata": {"name": "d"}}), 0)[1], 0);
}

#[test]
fn a_webhook_that_can_be_called_is_taken() {
    assert_eq!(complaints(|_| {}), [""; 0]);
    for resources in [json!(["*"]), json!(["*/*"]), json!(["pods", "pods/status", "*/scale"]), json!(["*", "pods/exec"])] {
        assert_eq!(complaints(|hook| hook["rules"][0]["resources"] = resources.clone()), [""; 0], "{resources}");
    }
    for url in ["https://127.0.0.1:8443", "https://[::1]:8443/a//b"] {
        assert_eq!(complaints(|hook| hook["clientConfig"]["url"] = json!(url)), [""; 0], "{url}");
    }
}

#[test]
fn every_field_has_its_rules() {
    type Change = fn(&mut Value);
    let cases: &[(Change, &[&str])] = &[
        (
            |hook| hook["name"] = json!("a.b"),
            &["webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots"],
        ),
        (|hook| hook["name"] = json!(""), &["webhooks[0].name: Required value"]),
        (
            |hook| hook["sideEffects"] = json!("Some"),
            &["webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""],
        ),
        (
            |hook| drop(hook.as_object_mut().unwrap().remove("sideEffects")),
            &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
        ),
        (
            |hook| hook["failurePolicy"] = json!("Retry"),
            &["webhooks[0].failurePolicy: Unsupported value: \"Retry\": supported values: \"Fail\", \"Ignore\""],
        ),
        (
            |hook| hook["matchPolicy"] = json!("Near"),
            &["webhooks[0].matchPolicy: Unsupported value: \"Near\": supported values: \"Equivalent\", \"Exact\""],
        ),
        (
            |hook| hook["reinvocationPolicy"] = json!("Often"),
            &["webhooks[0].reinvocationPolicy: Unsupported value: \"Often\": supported values: \"IfNeeded\", \"Never\""],
        ),
        (
            |hook| hook["timeoutSeconds"] = json!(31),
            &["webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds"],
        ),
        (
            |hook| hook["objectSelector"] = json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
            &["webhooks[0].objectSelector.matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator"],
        ),
        (
            |hook| hook["admissionReviewVersions"] = json!([]),
            &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
        ),
        (
            |hook| hook["admissionReviewVersions"] = json!(["v2", "v2"]),
            &[
                "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v2\": duplicate version",
                "webhooks[0].admissionReviewVersions: Invalid value: []string{\"v2\", \"v2\"}: must include at least one of v1, v1beta1",
            ],
        ),
        (
            |hook| hook["matchConditions"] = json!([{"name": "", "expression": " "}]),
            &["webhooks[0].matchConditions[0].expression: Required value", "webhooks[0].matchConditions[0].name: Required value"],
        ),
        (
            |hook| hook["matchConditions"] = json!([{"name": "a", "expression": "true"}, {"name": "a", "expression": "true"}]),
            &["webhooks[0].matchConditions[1].name: Duplicate value: \"a\""],
        ),
        (
            |hook| hook["matchConditions"] = json!([{"name": "a", "expression": "request.name"}]),
            &["webhooks[0].matchConditions[0].expression: Invalid value: \"request.name\": must evaluate to bool but got string"],
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(&complaints(change), expected);
    }
}

#[test]
fn rules_name_operations_and_resources_once() {
    let at = "webhooks[0].rules[0]";
    for (field, value, expected) in [
        ("operations", json!([]), vec![format!("{at}.operations: Required value")]),
        (
            "operations",
            json!(["*", "CREATE"]),
            vec![format!(
                "{at}.operations: Invalid value: []admissionregistration.OperationType{{\"*\", \"CREATE\"}}: if '*' is present, must not specify other operations"
            )],
        ),
        (
            "operations",
            json!(["READ"]),
            vec![format!(
                "{at}.operations[0]: Unsupported value: \"READ\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\""
            )],
        ),
        (
            "apiGroups",
            json!(["*", "apps"]),
            vec![format!(
                "{at}.apiGroups: Invalid value: []string{{\"*\", \"apps\"}}: if '*' is present, must not specify other API groups"
            )],
        ),
        ("apiVersions", json!([""]), vec![format!("{at}.apiVersions[0]: Required value")]),
        ("resources", json!([""]), vec![format!("{at}.resources[0]: Required value")]),
        (
            "resources",
            json!(["pods/*", "pods/log"]),
            vec![format!("{at}.resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log")],
        ),
        (
            "resources",
            json!(["*/scale", "jobs/scale"]),
            vec![format!("{at}.resources[1]: Invalid value: \"jobs/scale\": if '*/scale' is present, must not specify jobs/scale")],
        ),
        (
            "resources",
            json!(["*/*", "pods"]),
            vec![format!(
                "{at}.resources: Invalid value: []string{{\"*/*\", \"pods\"}}: if '*/*' is present, must not specify other resources"
            )],
        ),
        (
            "resources",
            json!(["*", "pods"]),
            vec![format!(
                "{at}.resources: Invalid value: []string{{\"*\", \"pods\"}}: if '*' is present, must not specify other resources without subresources"
            )],
        ),
        (
            "scope",
            json!("Node"),
            vec![format!("{at}.scope: Unsupported value: \"Node\": supported values: \"*\", \"Cluster\", \"Namespaced\"")],
        ),
    ] {
        assert_eq!(complaints(|hook| hook["rules"][0][field] = value.clone()), expected, "{field}");
    }
}

#[test]
fn a_webhook_is_behind_one_address() {
    let at = "webhooks[0].clientConfig";
    let form = "; desired format: https://host[/path]";
    for (config, expected) in [
        (json!({}), vec![format!("{at}: Required value: exactly one of url or service is required")]),
        (
            json!({"url": "https://a", "service": {"name": "s", "namespace": "n"}}),
            vec![format!("{at}: Required value: exactly one of url or service is required")],
        ),
        (json!({"url": "http://a"}), vec![format!("{at}.url: Invalid value: \"http\": 'https' is the only allowed URL scheme{form}")]),
        (
            json!({"url": ""}),
            vec![
                format!("{at}.url: Invalid value: \"\": 'https' is the only allowed URL scheme{form}"),
                format!("{at}.url: Invalid value: \"\": host must be provided{form}"),
            ],
        ),
        (
            json!({"url": "https://u:p@a/b?c=d#e"}),
            vec![
                format!("{at}.url: Invalid value: \"u:p\": user information is not permitted in the URL"),
                format!("{at}.url: Invalid value: \"e\": fragments are not permitted in the URL"),
                format!("{at}.url: Invalid value: \"c=d\": query parameters are not permitted in the URL"),
            ],
        ),
        (
            json!({"url": "https://a b"}),
            vec![format!(
                "{at}.url: Required value: url must be a valid URL: parse \"https://a b\": invalid character \" \" in host name{form}"
            )],
        ),
        (
            json!({"service": {"port": 0}}),
            vec![
                format!("{at}.service.name: Required value: service name is required"),
                format!("{at}.service.namespace: Required value: service namespace is required"),
                format!("{at}.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive"),
            ],
        ),
        (
            json!({"service": {"name": "s", "namespace": "n", "path": "a//b"}}),
            vec![
                format!("{at}.service.path: Invalid value: \"a//b\": must start with a '/'"),
                format!("{at}.service.path: Invalid value: \"a//b\": segment[0] may not be empty"),
                format!("{at}.service.path: Invalid value: \"a//b\": segment[1] may not be empty"),
            ],
        ),
    ] {
        assert_eq!(complaints(|hook| hook["clientConfig"] = config.clone()), expected, "{config}");
    }
    for path in ["/", "", "/a", "/a/b/", "/v1.0/x"] {
        let service = json!({"service": {"name": "s", "namespace": "n", "path": path}});
        assert_eq!(complaints(|hook| hook["clientConfig"] = service.clone()), [""; 0], "{path}");
    }
}

#[test]
fn what_was_stored_may_stay_as_it_is() {
    let kind = Typed::<ValidatingWebhookConfiguration>::NEW;
    let decode = |change: fn(&mut Value)| kind.decode(configuration(change)).expect("decodes").object;
    let named = |mut object: Value| {
        object["metadata"]["resourceVersion"] = json!("1");
        object
    };
    let (good, bad) = (
        named(decode(|_| {})),
        named(decode(|hook| {
            hook["sideEffects"] = json!("Some");
            hook["admissionReviewVersions"] = json!(["v2"]);
            hook["matchConditions"] = json!([{"name": "", "expression": "x"}]);
        })),
    );
    assert!(kind.validate_update(&bad, &bad, None).is_empty());
    assert_eq!(kind.validate_update(&bad, &good, None).len(), 4);
    let mut twice = good.clone();
    let hook = twice["webhooks"][0].clone();
    twice["webhooks"].as_array_mut().unwrap().push(hook);
    assert!(kind.validate_update(&twice, &twice, None).is_empty());
    let found: Vec<String> = kind.validate_update(&twice, &good, None).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["webhooks[1].name: Duplicate value: \"a.example.com\""]);
}
