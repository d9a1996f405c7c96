//! Defaults, rules and table of FlowSchemas.

use super::*;
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::json;

const KIND: Typed<FlowSchema> = Typed::<FlowSchema>::NEW;

fn schema(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({"priorityLevelConfiguration": {"name": "low"}, "rules": [{
        "subjects": [{"kind": "User", "user": {"name": "*"}}],
        "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}]}]});
    change(&mut spec);
    json!({"metadata": {"name": "a"}, "spec": spec})
}

fn complaints(object: Value) -> Vec<String> {
    KIND.validate_create(&KIND.decode(object).unwrap().object).iter().map(ToString::to_string).collect()
}

#[test]
fn precedence_has_a_default_and_bounds() {
    assert_eq!(KIND.decode(schema(|_| {})).unwrap().object["spec"]["matchingPrecedence"], 1000);
    assert_eq!(complaints(schema(|_| {})), [""; 0]);
    for (precedence, what) in [
        (-1, "must be a positive value"),
        (10_001, "must not be greater than 10000"),
        (1, "only the schema named 'exempt' may have matchingPrecedence 1"),
    ] {
        let found = complaints(schema(|spec| spec["matchingPrecedence"] = json!(precedence)));
        assert_eq!(found, [format!("spec.matchingPrecedence: Invalid value: {precedence}: {what}")]);
    }
}

#[test]
fn rules_say_who_and_what() {
    let rule = |change: Value| {
        complaints(schema(|spec| {
            for (key, value) in change.as_object().unwrap() {
                spec["rules"][0][key] = value.clone();
            }
        }))
    };
    let subject = |value: Value| rule(json!({"subjects": [value]}));
    let at = "spec.rules[0]";
    assert_eq!(rule(json!({"subjects": []})), [format!("{at}.subjects: Required value: subjects must contain at least one value")]);
    assert_eq!(
        rule(json!({"resourceRules": []})),
        [format!("{at}: Required value: at least one of resourceRules and nonResourceRules has to be non-empty")]
    );
    assert_eq!(
        subject(json!({"kind": "Group", "user": {"name": "x"}})),
        [
            format!("{at}.subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'"),
            format!("{at}.subjects[0].group: Required value: group is required when subject kind is 'Group'"),
        ]
    );
    assert_eq!(subject(json!({"kind": "User", "user": {"name": ""}})), [format!("{at}.subjects[0].user.name: Required value")]);
    assert_eq!(
        subject(json!({"kind": "Robot"})),
        [format!("{at}.subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\"")]
    );
    let account = json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": ""}});
    assert_eq!(
        subject(account),
        [format!("{at}.subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account")]
    );
    let urls = |list: Value| rule(json!({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": list}]}));
    assert_eq!(urls(json!(["/", "/healthz", "/apis/*"])), [""; 0]);
    for (url, what) in [
        ("", "must not be empty"),
        ("x", "must start with slash"),
        ("/a b", "must not contain white-space"),
        ("//a", "must not contain double slash"),
        ("/a*", "wildcard can only do suffix matching"),
    ] {
        assert_eq!(urls(json!([url])), [format!("{at}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: {url:?}: {what}")]);
    }
    let resources = |change: Value| {
        complaints(schema(|spec| {
            for (key, value) in change.as_object().unwrap() {
                spec["rules"][0]["resourceRules"][0][key] = value.clone();
            }
        }))
    };
    let at = format!("{at}.resourceRules[0]");
    assert_eq!(resources(json!({"namespaces": [], "clusterScope": true})), [""; 0]);
    assert_eq!(
        resources(json!({"namespaces": []})),
        [format!("{at}.namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace")]
    );
    let found = resources(json!({"verbs": ["*", "get"]}));
    assert_eq!(found, [format!("{at}.verbs: Invalid value: []string{{\"*\", \"get\"}}: if '*' is present, must not specify other verbs")]);
    assert!(resources(json!({"verbs": ["guess"]}))[0].starts_with(&format!("{at}.verbs: Unsupported value: []string{{\"guess\"}}")));
    assert!(resources(json!({"namespaces": ["A"]}))[0].contains("each member of this list must be '*' or a DNS-1123 label; "));
}

#[test]
fn the_schemas_of_the_start_keep_their_own_rules_and_two_never_change() {
    for (_, _, object) in first::all().into_iter().filter(|(_, plural, _)| *plural == "flowschemas") {
        assert_eq!(complaints(object.clone()), [""; 0], "{object}");
    }
    let (_, _, mut exempt) =
        first::all().into_iter().find(|(_, plural, object)| *plural == "flowschemas" && object["metadata"]["name"] == "exempt").unwrap();
    exempt["spec"]["rules"][0]["subjects"][0]["group"]["name"] = json!("everybody");
    assert_eq!(complaints(exempt), ["spec: Invalid value: spec of 'exempt' must equal the fixed value"]);
}

#[test]
fn the_table_tells_where_requests_go() {
    let mut object = KIND.decode(schema(|_| {})).unwrap().object;
    let cells = |object: &Value| KIND.cells(object, 0);
    assert_eq!(cells(&object)[..4], [json!("a"), json!("low"), json!(1000), json!("<none>")]);
    assert_eq!(cells(&object)[5], "?");
    object["spec"]["distinguisherMethod"] = json!({"type": "ByUser"});
    object["status"] = json!({"conditions": [{"type": "Dangling", "status": "True"}]});
    assert_eq!((&cells(&object)[3], &cells(&object)[5]), (&json!("ByUser"), &json!("True")));
}
