//! Webhooks that cannot be asked, or whose answer is none: the failure policy says what becomes of the request.

use super::hook_server::{HookServer, Reply};
use super::{MUTATING, VALIDATING, configure, hook, patch, unconfigure};
use crate::harness::{CONFIG_MAPS, TestServer, config_map};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Asks through a webhook, under both policies: it fails with this text where it must not, and does nothing where it may.
async fn fails(server: &TestServer, plural: &str, hook: Value, expected: &str) {
    for policy in ["Fail", "Ignore"] {
        let mut hook = hook.clone();
        hook["failurePolicy"] = json!(policy);
        configure(server, plural, "failing", json!([hook])).await;
        let answer = server.admin.post(CONFIG_MAPS, config_map("a")).await;
        if policy == "Fail" {
            let message = answer.refused(500, "InternalError");
            let begin = "Internal error occurred: failed calling webhook \"a.example.com\": ";
            let why = message.strip_prefix(begin).unwrap_or_else(|| panic!("{message}"));
            assert!(why.contains(expected), "{why}");
            server.admin.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
        } else {
            answer.expect(201);
        }
        unconfigure(server, plural, "failing").await;
    }
    server.admin.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_fails() {
    let (server, answering) = (TestServer::start().await, HookServer::allowing().await);
    let url = answering.url();
    // Held, so that nobody else gets it, and not listened at.
    let held = tokio::net::TcpSocket::new_v4().expect("a socket");
    held.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let closed = held.local_addr().expect("an address");
    let to_closed = hook(&answering, "a.example.com", |hook| hook["clientConfig"]["url"] = json!(format!("https://{closed}/x")));
    let expected =
        format!("failed to call webhook: Post \"https://{closed}/x?timeout=10s\": dial tcp {closed}: connect: connection refused");
    fails(&server, VALIDATING, to_closed, &expected).await;

    let stranger = HookServer::allowing().await;
    let distrusted = hook(&answering, "a.example.com", |hook| hook["clientConfig"]["caBundle"] = json!(stranger.ca_bundle()));
    let expected = format!(
        "failed to call webhook: Post \"{url}?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    fails(&server, MUTATING, distrusted, &expected).await;

    let misnamed = HookServer::named("other.example.com", |_| Reply::Silence).await;
    let expected = "tls: failed to verify certificate: x509: certificate is valid for other.example.com, not localhost";
    fails(&server, VALIDATING, hook(&misnamed, "a.example.com", |_| {}), expected).await;

    let nonsense = hook(&answering, "a.example.com", |hook| hook["clientConfig"]["caBundle"] = json!(STANDARD.encode("nonsense")));
    let expected = "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block";
    fails(&server, VALIDATING, nonsense, expected).await;
    assert_eq!(answering.asked(), [Value::Null; 0]);
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_in_time_fails() {
    let (server, silent) = (TestServer::start().await, HookServer::start(|_| Reply::Silence).await);
    let hasty = hook(&silent, "a.example.com", |hook| hook["timeoutSeconds"] = json!(3));
    let expected = format!("failed to call webhook: Post \"{}?timeout=3s\": context deadline exceeded", silent.url());
    fails(&server, VALIDATING, hasty, &expected).await;
    assert_eq!(silent.paths(), ["/ask?timeout=3s"; 2]);
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_failure() {
    let server = TestServer::start().await;
    let raw = |code, body: &str| (code, body.to_owned());
    for ((code, body), expected) in [
        (raw(200, "<html>"), "failed to call webhook: couldn't get version/kind; json parse error: "),
        (raw(200, "{}"), "failed to call webhook: Object 'Kind' is missing in '{}'"),
        (raw(500, "oh dear"), "failed to call webhook: an error on the server (\"oh dear\") has prevented the request from succeeding"),
        (raw(404, ""), "failed to call webhook: the server could not find the requested resource"),
        // It is not followed.
        (raw(307, ""), "failed to call webhook: the server responded with the status code 307 but did not return more information"),
    ] {
        let wrong = HookServer::start(move |_| Reply::Raw(code, body.clone().into())).await;
        fails(&server, VALIDATING, hook(&wrong, "a.example.com", |_| {}), expected).await;
    }
    let huge = HookServer::start(|_| Reply::Raw(200, vec![b' '; (8 << 20) + 1].into())).await;
    fails(&server, MUTATING, hook(&huge, "a.example.com", |_| {}), "the answer has more than 8388608 bytes").await;
    let other = HookServer::start(|_| Reply::Response(json!({ "allowed": true, "uid": "other" }))).await;
    let expected = "received invalid webhook response: expected response.uid=";
    fails(&server, VALIDATING, hook(&other, "a.example.com", |_| {}), expected).await;
    let changing = HookServer::start(|_| Reply::Response(patch(json!([])))).await;
    let expected = "received invalid webhook response: validating webhook may not return response.patch";
    fails(&server, VALIDATING, hook(&changing, "a.example.com", |_| {}), expected).await;
}

#[tokio::test]
async fn a_patch_that_cannot_be_read_is_a_failure() {
    let server = TestServer::start().await;
    for (patch, kind, expected) in [
        ("nonsense", "JSONPatch", "received undecodable patch in webhook response: "),
        ("{}", "JSONPatch", "received undecodable patch in webhook response: "),
        (r#"[{"op":"add","path":"/a","value":1}]"#, "MergePatch", "unsupported patch type \"MergePatch\""),
    ] {
        let response = json!({ "allowed": true, "patchType": kind, "patch": STANDARD.encode(patch) });
        let wrong = HookServer::start(move |_| Reply::Response(response.clone())).await;
        fails(&server, MUTATING, hook(&wrong, "a.example.com", |_| {}), expected).await;
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_fails_whatever_the_policy() {
    let server = TestServer::start().await;
    for operations in [
        json!([{ "op": "remove", "path": "/data/none" }]),
        json!([{ "op": "test", "path": "/data/k", "value": "other" }]),
        json!([{ "op": "replace", "path": "/data", "value": 3 }]),
    ] {
        let unfit = HookServer::start(move |_| Reply::Response(patch(operations.clone()))).await;
        let lenient = hook(&unfit, "a.example.com", |hook| hook["failurePolicy"] = json!("Ignore"));
        configure(&server, MUTATING, "unfit", json!([lenient])).await;
        server.admin.post(CONFIG_MAPS, config_map("a")).await.refused(500, "InternalError");
        unconfigure(&server, MUTATING, "unfit").await;
    }
    // There is nothing to patch where something is deleted.
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let patching = HookServer::start(|_| Reply::Response(patch(json!([{ "op": "add", "path": "/x", "value": 1 }])))).await;
    configure(&server, MUTATING, "unfit", json!([hook(&patching, "a.example.com", |_| {})])).await;
    let message = server.admin.delete(&format!("{CONFIG_MAPS}/a")).await.refused(500, "InternalError");
    assert!(message.ends_with("attempted to modify the object, which is not supported for this operation"), "{message}");
}

#[tokio::test]
async fn calls_are_counted() {
    let (server, failing) = (TestServer::start().await, HookServer::start(|_| Reply::Raw(500, "".into())).await);
    let denying = HookServer::start(|_| Reply::Response(json!({ "allowed": false, "status": { "code": 403 } }))).await;
    let open = hook(&failing, "open.example.com", |hook| hook["failurePolicy"] = json!("Ignore"));
    configure(&server, MUTATING, "a", json!([open])).await;
    configure(&server, VALIDATING, "a", json!([hook(&denying, "no.example.com", |_| {})])).await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await;
    let metrics = server.admin.get("/metrics").await.text;
    for line in [
        r#"request_total{name="open.example.com",type="admit",operation="CREATE",code="500",rejected="false"} 1"#,
        r#"fail_open_count{name="open.example.com",type="admit"} 1"#,
        r#"request_total{name="no.example.com",type="validating",operation="CREATE",code="403",rejected="true"} 1"#,
        r#"rejection_count{name="no.example.com",type="validating",operation="CREATE",error_type="no_error",rejection_code="403"} 1"#,
        r#"admission_duration_seconds_count{name="no.example.com",type="validating",operation="CREATE",rejected="true"} 1"#,
    ] {
        assert!(metrics.contains(&format!("apiserver_admission_webhook_{line}")), "{line} in {metrics}");
    }
}
