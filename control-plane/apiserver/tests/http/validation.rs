//! Fields that are unknown or twice, and rules that are broken.

use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, TestServer, deployment};
use serde_json::json;

#[tokio::test]
async fn strict_validation_refuses_unknown_and_repeated_fields() {
    let server = TestServer::start().await;
    let mut object = deployment("web");
    object["spec"]["foo"] = json!(1);
    let message = server.admin.post(&format!("{DEPLOYMENTS}?fieldValidation=Strict"), object.clone()).await.refused(400, "BadRequest");
    assert_eq!(message, r#"Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo""#);
    let twice = r#"{"metadata":{"name":"a"},"data":{"k":"1","k":"2"}}"#;
    let strict = server.admin.send("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), "application/json", twice).await;
    assert!(strict.refused(400, "BadRequest").contains(r#"duplicate field "data.k""#));
}

#[tokio::test]
async fn otherwise_they_are_warnings_or_nothing() {
    let server = TestServer::start().await;
    let mut object = deployment("web");
    object["spec"]["foo"] = json!(1);
    let warned = server.admin.post(DEPLOYMENTS, object.clone()).await;
    assert_eq!(warned.headers["warning"], r#"299 - "unknown field \"spec.foo\"""#);
    assert_eq!(warned.expect(201)["spec"].get("foo"), None);
    object["metadata"]["name"] = json!("quiet");
    let ignored = server.admin.post(&format!("{DEPLOYMENTS}?fieldValidation=Ignore"), object).await;
    assert_eq!((ignored.status.as_u16(), ignored.headers.get("warning")), (201, None));
}

#[tokio::test]
async fn broken_rules_are_unprocessable_with_a_cause_for_each() {
    let server = TestServer::start().await;
    let mut object = deployment("Bad_Name");
    object["spec"]["replicas"] = json!(-1);
    let answer = server.admin.post(DEPLOYMENTS, object).await;
    let causes: Vec<_> = answer.body["details"]["causes"].as_array().expect("causes").iter().map(|cause| cause["field"].clone()).collect();
    assert!(causes.contains(&json!("metadata.name")) && causes.contains(&json!("spec.replicas")), "{causes:?}");
    let message = answer.refused(422, "Invalid");
    assert!(message.starts_with(r#"Deployment.apps "Bad_Name" is invalid: ["#), "{message}");
}

#[tokio::test]
async fn wrong_types_name_the_field() {
    let server = TestServer::start().await;
    let mut object = deployment("web");
    object["spec"]["replicas"] = json!("two");
    let message = server.admin.post(DEPLOYMENTS, object).await.refused(400, "BadRequest");
    assert!(message.contains("replicas"), "{message}");
}
