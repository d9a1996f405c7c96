//! The parameters of policies: which objects they are, and what is told where there are none.

use super::{BINDINGS, GROUP, POLICIES, bind, make, policy, replicas, rule};
use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, TestServer};
use serde_json::json;

#[tokio::test]
async fn parameters_are_objects_by_name_or_by_labels() {
    let server = TestServer::start().await;
    make(
        &server,
        POLICIES,
        policy("replicalimit", |spec| {
            spec["paramKind"] = json!({ "apiVersion": "v1", "kind": "ConfigMap" });
            spec["validations"] = json!([{
                "expression": "object.spec.replicas <= int(params.data.most)",
                "messageExpression": "'object.spec.replicas must be no greater than ' + params.data.most + ' of ' + params.metadata.namespace",
            }]);
        }),
    )
    .await;
    bind(&server, "replicalimit", |spec| spec["paramRef"] = json!({ "name": "limit", "parameterNotFoundAction": "Deny" })).await;
    let none = server.admin.post(DEPLOYMENTS, replicas("a", 3)).await;
    let message = none.body["message"].as_str().expect("a message");
    assert!(
        message.ends_with(
            "denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        ),
        "{message}"
    );
    let limit = |name: &str, most: &str| json!({ "metadata": { "name": name, "labels": { "limit": "yes" } }, "data": { "most": most } });
    server.admin.post(CONFIG_MAPS, limit("limit", "3")).await.expect(201);
    server.admin.post(DEPLOYMENTS, replicas("a", 3)).await.expect(201);
    let more = server.admin.post(DEPLOYMENTS, replicas("b", 4)).await;
    let message = more.body["message"].as_str().expect("a message");
    assert!(message.ends_with("denied request: object.spec.replicas must be no greater than 3 of default"), "{message}");
    // By labels: each of the parameters has its say.
    let path = format!("{GROUP}/{BINDINGS}/replicalimit-binding");
    let selected = json!({ "spec": { "paramRef": { "name": null, "selector": { "matchLabels": { "limit": "yes" } } } } });
    let changed = server.admin.patch(&path, "application/merge-patch+json", selected).await.expect(200);
    let version = changed["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    let made = server.admin.post(CONFIG_MAPS, limit("other", "2")).await.expect(201);
    let newest = made["metadata"]["resourceVersion"].as_str().expect("a version");
    for (path, version) in [(format!("{GROUP}/{BINDINGS}"), version.as_str()), (CONFIG_MAPS.to_owned(), newest)] {
        server.admin.get(&format!("{path}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await.expect(200);
    }
    server.admin.post(DEPLOYMENTS, replicas("c", 2)).await.expect(201);
    server.admin.post(DEPLOYMENTS, replicas("d", 3)).await.refused(422, "Invalid");
}

#[tokio::test]
async fn a_kind_of_parameters_that_is_not_served_is_told() {
    let server = TestServer::start().await;
    make(
        &server,
        POLICIES,
        policy("unknown", |spec| {
            spec["paramKind"] = json!({ "apiVersion": "rules.example.com/v1", "kind": "ReplicaLimit" });
            spec["validations"] = json!([{ "expression": "object.spec.replicas <= params.most" }]);
        }),
    )
    .await;
    bind(&server, "unknown", |spec| spec["paramRef"] = json!({ "name": "a", "parameterNotFoundAction": "Allow" })).await;
    let refused = server.admin.post(DEPLOYMENTS, replicas("a", 3)).await;
    let expected = "ValidatingAdmissionPolicy 'unknown' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=ReplicaLimit'";
    assert_eq!(refused.body["message"], format!("deployments.apps \"a\" is forbidden: {expected}"));
}

#[tokio::test]
async fn the_parameters_for_a_namespace_are_in_it() {
    let server = TestServer::start().await;
    server.admin.post("/api/v1/namespaces", json!({ "metadata": { "name": "own" } })).await.expect(201);
    let limit = json!({ "metadata": { "name": "limit" }, "data": { "team": "a" } });
    server.admin.post("/api/v1/namespaces/own/configmaps", limit).await.expect(201);
    make(
        &server,
        POLICIES,
        policy("teams", |spec| {
            spec["matchConstraints"]["resourceRules"] = json!([rule(&["UPDATE"], "", &["namespaces"])]);
            spec["paramKind"] = json!({ "apiVersion": "v1", "kind": "ConfigMap" });
            spec["validations"] = json!([{ "expression": "object.metadata.labels.team == params.data.team" }]);
        }),
    )
    .await;
    bind(&server, "teams", |spec| spec["paramRef"] = json!({ "name": "limit", "parameterNotFoundAction": "Deny" })).await;
    let team = |team: &str| json!({ "metadata": { "labels": { "team": team } } });
    let path = "/api/v1/namespaces/own";
    server.admin.patch(path, "application/merge-patch+json", team("b")).await.refused(422, "Invalid");
    server.admin.patch(path, "application/merge-patch+json", team("a")).await.expect(200);
}
