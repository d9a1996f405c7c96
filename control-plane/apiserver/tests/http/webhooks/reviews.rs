//! What webhooks are told, and what a refusal and its warnings become.

use super::hook_server::{HookServer, Reply};
use super::{GROUP, MUTATING, VALIDATING, configure, hook, rule, unconfigure, warnings};
use crate::harness::{CONFIG_MAPS, TestServer, config_map};
use serde_json::{Value, json};

#[tokio::test]
async fn a_webhook_is_told_all_about_a_request() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    configure(&server, VALIDATING, "a", json!([hook(&asked, "a.example.com", |_| {})])).await;
    let client = server.admin.with_header("user-agent", "test/1");
    let made = client.post(&format!("{CONFIG_MAPS}?fieldManager=me&fieldValidation=Strict"), config_map("a")).await.expect(201);
    let [question] = &asked.asked()[..] else { panic!("one question") };
    assert_eq!(question["uid"].as_str().map(str::len), Some(36));
    let kind = json!({ "group": "", "version": "v1", "kind": "ConfigMap" });
    let resource = json!({ "group": "", "version": "v1", "resource": "configmaps" });
    assert_eq!((&question["kind"], &question["requestKind"]), (&kind, &kind));
    assert_eq!((&question["resource"], &question["requestResource"]), (&resource, &resource));
    assert_eq!((&question["name"], &question["namespace"], &question["operation"]), (&json!("a"), &json!("default"), &json!("CREATE")));
    let who = &question["userInfo"];
    assert_eq!((&who["username"], &who["groups"]), (&json!("admin"), &json!(["system:masters", "system:authenticated"])));
    assert!(
        who["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().is_some_and(|id| id.starts_with("X509SHA256=")),
        "{who}"
    );
    assert_eq!((&question["oldObject"], &question["dryRun"]), (&Value::Null, &json!(false)));
    let options = json!({ "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "fieldValidation": "Strict" });
    assert_eq!(question["options"], options);
    assert_eq!((question.get("subResource"), question.get("requestSubResource")), (None, None));
    let mut shown = made.clone();
    shown["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    assert_eq!(question["object"], shown);
    assert_eq!(asked.paths(), ["/ask?timeout=10s"]);

    let mut changed = made.clone();
    changed["data"]["k"] = json!("w");
    client.put(&format!("{CONFIG_MAPS}/a?dryRun=All"), changed).await.expect(200);
    let [question] = &asked.asked()[..] else { panic!("one question") };
    assert_eq!((&question["operation"], &question["dryRun"]), (&json!("UPDATE"), &json!(true)));
    assert_eq!((&question["oldObject"], &question["object"]["data"]["k"]), (&made, &json!("w")));
    assert_eq!(question["options"], json!({ "kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"] }));

    client.patch(&format!("{CONFIG_MAPS}/a"), "application/merge-patch+json", json!({ "data": { "k": "x" } })).await.expect(200);
    assert_eq!(asked.asked()[0]["options"]["kind"], "PatchOptions");

    client
        .delete_with(&format!("{CONFIG_MAPS}/a"), json!({ "gracePeriodSeconds": 0, "propagationPolicy": "Background" }))
        .await
        .expect(200);
    let [question] = &asked.asked()[..] else { panic!("one question") };
    assert_eq!((&question["operation"], &question["name"], &question["object"]), (&json!("DELETE"), &json!("a"), &Value::Null));
    assert_eq!(question["oldObject"]["data"]["k"], "x");
    let options =
        json!({ "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background" });
    assert_eq!(question["options"], options);
    // All of it over one connection.
    assert_eq!(asked.connections(), 1);
}

#[tokio::test]
async fn who_asks_through_impersonation_is_told_with_extras() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    configure(&server, MUTATING, "a", json!([hook(&asked, "a.example.com", |_| {})])).await;
    let client = (server.admin.with_header("impersonate-user", "ann"))
        .with_header("impersonate-group", "system:masters")
        .with_header("impersonate-uid", "7")
        .with_header("impersonate-extra-scope", "all");
    client.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let expected =
        json!({ "username": "ann", "uid": "7", "groups": ["system:masters", "system:authenticated"], "extra": { "scope": ["all"] } });
    assert_eq!(asked.asked()[0]["userInfo"], expected);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_webhooks_words() {
    let server = TestServer::start().await;
    for (plural, status, code, reason, message) in [
        (VALIDATING, json!({ "code": 403, "reason": "Forbidden", "message": "not you" }), 403, "Forbidden", "denied the request: not you"),
        (MUTATING, json!({ "code": 422, "reason": "Invalid", "message": "not so" }), 422, "Invalid", "denied the request: not so"),
        (VALIDATING, json!({ "code": 200, "reason": "Conflict" }), 400, "Conflict", "denied the request: Conflict"),
    ] {
        let response = json!({ "allowed": false, "status": status, "warnings": ["look out"] });
        let denying = HookServer::start(move |_| Reply::Response(response.clone())).await;
        configure(&server, plural, "deny", json!([hook(&denying, "no.example.com", |_| {})])).await;
        let answer = server.admin.post(CONFIG_MAPS, config_map("a")).await;
        assert_eq!(warnings(&answer), ["299 - \"look out\""]);
        assert_eq!(answer.refused(code, reason), format!("admission webhook \"no.example.com\" {message}"));
        server.admin.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
        unconfigure(&server, plural, "deny").await;
    }
    let denying = HookServer::start(|_| Reply::Response(json!({ "allowed": false }))).await;
    configure(&server, VALIDATING, "deny", json!([hook(&denying, "no.example.com", |_| {})])).await;
    let answer = server.admin.post(CONFIG_MAPS, config_map("a")).await;
    assert_eq!((answer.status.as_u16(), answer.body.get("reason")), (400, None));
    assert_eq!(answer.body["message"], "admission webhook \"no.example.com\" denied the request without explanation");
}

#[tokio::test]
async fn warnings_are_passed_on() {
    let server = TestServer::start().await;
    let [one, two] = ["one", "two"].map(|text| HookServer::start(move |_| Reply::Response(json!({ "allowed": true, "warnings": [text] }))));
    let (one, two) = (one.await, two.await);
    configure(&server, MUTATING, "a", json!([hook(&one, "a.example.com", |_| {})])).await;
    configure(&server, VALIDATING, "a", json!([hook(&two, "b.example.com", |_| {})])).await;
    let expected = ["299 - \"one\"", "299 - \"two\""];
    assert_eq!(warnings(&server.admin.post(CONFIG_MAPS, config_map("a")).await), expected);
    assert_eq!(warnings(&server.admin.delete(CONFIG_MAPS).await), expected);
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(warnings(&server.admin.delete(&format!("{CONFIG_MAPS}/a")).await), expected);
}

#[tokio::test]
async fn older_webhooks_are_asked_in_their_version() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    let old = hook(&asked, "a.example.com", |hook| hook["admissionReviewVersions"] = json!(["v1beta1"]));
    configure(&server, VALIDATING, "a", json!([old])).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(asked.asked().len(), 1);
}

#[tokio::test]
async fn configurations_are_objects_as_others() {
    let (server, asked) = (TestServer::start().await, HookServer::allowing().await);
    configure(&server, MUTATING, "a", json!([hook(&asked, "a.example.com", |_| {})])).await;
    let path = format!("{GROUP}/{MUTATING}/a");
    let made = server.admin.get(&path).await.expect(200);
    assert_eq!((&made["metadata"]["generation"], &made["webhooks"][0]["failurePolicy"]), (&json!(1), &json!("Fail")));
    let mut changed = made.clone();
    changed["webhooks"][0]["timeoutSeconds"] = json!(5);
    assert_eq!(server.admin.put(&path, changed.clone()).await.expect(200)["metadata"]["generation"], 2);
    changed["metadata"].as_object_mut().expect("metadata").remove("resourceVersion");
    server.admin.put(&path, changed).await.refused(422, "Invalid");
    let wrong = json!({ "metadata": { "name": "b" }, "webhooks": [hook(&asked, "a.b", |_| {})] });
    let message = server.admin.post(&format!("{GROUP}/{MUTATING}"), wrong).await.refused(422, "Invalid");
    assert!(message.contains("should be a domain with at least three segments separated by dots"), "{message}");
    let table = server.admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table = table.get(&format!("{GROUP}/{MUTATING}")).await.expect(200);
    assert_eq!(table["rows"][0]["cells"].as_array().map(|cells| cells[..2].to_vec()), Some(vec![json!("a"), json!(1)]));
}

#[tokio::test]
async fn nobody_is_asked_about_configurations() {
    let (server, denying) = (TestServer::start().await, HookServer::start(|_| Reply::Response(json!({ "allowed": false }))).await);
    let all = |hook: &mut Value| hook["rules"] = json!([rule(&["*"], "*", "*", &["*/*"])]);
    for plural in [MUTATING, VALIDATING] {
        configure(&server, plural, "all", json!([hook(&denying, "no.example.com", all)])).await;
    }
    server.admin.post(CONFIG_MAPS, config_map("a")).await.refused_by_hook();
    for plural in [MUTATING, VALIDATING] {
        server.admin.delete(&format!("{GROUP}/{plural}/all")).await.expect(200);
    }
}

impl crate::client::Answer {
    /// Of a request that a webhook denied without a word.
    pub fn refused_by_hook(self) -> String {
        let message = self.body["message"].as_str().unwrap_or_default().to_owned();
        assert!(self.status.as_u16() == 400 && message.ends_with("denied the request without explanation"), "{}", self.text);
        message
    }
}
