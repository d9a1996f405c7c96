//! Records that end otherwise than with an answer.

use super::*;
use crate::admission::Chain;
use crate::admission::chain::{Attributes, Plugin};
use crate::config::{Config, Listener};
use crate::run::start_with;
use async_trait::async_trait;
use http::{HeaderValue, Request};
use http_body_util::Full;
use orknet_store::StoreConfig;
use orknet_store::embedded::EmbeddedConfig;
use serde_json::Value;
use std::path::Path;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

fn config(directory: &Path) -> AuditConfig {
    let policy_file = directory.join("policy.yaml");
    let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, users: [ann]}]}";
    std::fs::write(&policy_file, policy).expect("writes");
    let log = LogConfig { path: directory.join("audit.log"), max_size_megabytes: 1, max_backups: 0, max_age_days: 0 };
    AuditConfig { policy_file, log }
}

fn events(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("audit.log")).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}

#[test]
fn sources_are_those_that_proxies_tell_and_the_peer() {
    let of = |forwarded: &str, real: &str, peer: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_str(forwarded).expect("a value"));
        headers.insert("x-real-ip", HeaderValue::from_str(real).expect("a value"));
        sources(&headers, peer.parse().ok())
    };
    assert_eq!(of("", "", "::ffff:192.0.2.1"), ["192.0.2.1"]);
    assert_eq!(of("192.0.2.7, x,2001:db8::1", "192.0.2.8", "127.0.0.1"), ["192.0.2.7", "2001:db8::1", "192.0.2.8", "127.0.0.1"]);
    assert_eq!(of("192.0.2.7", "192.0.2.7", ""), ["192.0.2.7"]);
}

#[tokio::test]
async fn an_upgraded_connection_is_complete_when_it_closes() {
    let directory = tempfile::tempdir().expect("a directory");
    let audit = Audit::open(Some(&config(directory.path()))).expect("opens");
    let info = RequestInfo::new(&http::Method::GET, "/api/v1/namespaces/a/pods/b/exec", "").expect("text");
    let (head, ()) = Request::new(()).into_parts();
    let who = Identity::authenticated("ann", []);
    let record = audit.received(Some(&who), &info, &head, "1", None).await.expect("a record");
    let (near, _far) = tokio::io::duplex(64);
    let connection = record.during(async { hold(near) }).await;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
    drop(record.answer(response, true).await);
    audit.flushed().await;
    let stages = || {
        events(directory.path()).iter().map(|event| event["stage"].as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().expect("stages")
    };
    assert_eq!(stages(), ["RequestReceived", "ResponseStarted"], "the connection is open");
    drop(connection);
    audit.flushed().await;
    assert_eq!(stages(), ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
    assert_eq!(events(directory.path())[2]["responseStatus"]["code"], 101);
}

/// Notes something, then fails in a way that no plug-in should.
struct Fault;

#[async_trait]
impl Plugin for Fault {
    fn name(&self) -> &'static str {
        "Fault"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.is(("", "configmaps")) && what.name == "fault"
    }

    async fn mutate(&self, _what: &mut Attributes<'_>) -> Result<(), ApiError> {
        annotate("tests/noted", || "once".into());
        annotate("tests/noted", || "twice".into());
        panic!("as the test wants it")
    }
}

#[tokio::test]
async fn a_request_that_meets_a_fault_is_told_of() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.path().join("store")))).await.expect("opens");
    let config = Config {
        listeners: vec![Listener::Address(([127, 0, 0, 1], 0).into())],
        pki_dir: directory.path().join("pki"),
        audit: Some(config(directory.path())),
        ..Config::default()
    };
    let shutdown = CancellationToken::new();
    let handle = start_with(config, store, shutdown.clone(), Chain::new(vec![Box::new(Fault)])).await.expect("starts");
    handle.ready().await;
    let client = handle.local_client(Identity::authenticated("ann", ["system:masters".to_owned()]));
    let body = Full::new(Bytes::from_static(br#"{"metadata":{"name":"fault"}}"#));
    let request = Request::builder().method("POST").uri("/api/v1/namespaces/default/configmaps").body(body).expect("a request");
    assert_eq!(client.oneshot(request).await.expect("an answer").status().as_u16(), 500);
    shutdown.cancel();
    handle.stopped().await.expect("stops");
    let events = events(directory.path());
    let stages: Vec<_> = events.iter().map(|event| event["stage"].as_str().unwrap_or_default()).collect();
    assert_eq!(stages, ["RequestReceived", "Panic"]);
    assert_eq!((&events[1]["responseStatus"]["code"], &events[1]["annotations"]["tests/noted"]), (&500.into(), &"once".into()));
}

async fn record(audit: &Audit, path: &str) -> Arc<Record> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let info = RequestInfo::new(&http::Method::GET, path, query).expect("text");
    let (head, ()) = Request::new(()).into_parts();
    audit.received(Some(&Identity::authenticated("ann", [])), &info, &head, "1", None).await.expect("a record")
}

#[tokio::test]
async fn a_request_whose_sender_goes_away_has_an_end_that_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let audit = Audit::open(Some(&config(directory.path()))).expect("opens");
    drop(record(&audit, "/api/v1/pods").await);
    drop(record(&audit, "/api/v1/pods?watch=1").await);
    audit.flushed().await;
    let events = events(directory.path());
    let stages: Vec<_> = events.iter().map(|event| event["stage"].as_str().unwrap_or_default()).collect();
    assert_eq!(stages, ["RequestReceived", "ResponseComplete", "RequestReceived", "ResponseStarted", "ResponseComplete"]);
    for end in [1, 4] {
        let status = &events[end]["responseStatus"];
        assert_eq!((&status["code"], &status["message"]), (&200.into(), &"Connection closed early".into()));
    }
}

#[tokio::test]
async fn a_refusal_without_end_is_passed_on_and_not_gathered() {
    let directory = tempfile::tempdir().expect("a directory");
    let audit = Audit::open(Some(&config(directory.path()))).expect("opens");
    let record = record(&audit, "/api/v1/namespaces/a/pods/b/exec").await;
    let endless = futures::stream::repeat_with(|| Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 4096])));
    let mut response = Response::new(Body::from_stream(endless));
    *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    let mut answer = tokio::time::timeout(Duration::from_secs(5), record.answer(response, true)).await.expect("at once");
    assert_eq!(
        answer.body_mut().frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).map(|data| data.len()),
        Some(4096)
    );
    drop(answer);
    audit.flushed().await;
    let events = events(directory.path());
    assert_eq!(events.last().map(|event| event["responseStatus"]["code"].clone()), Some(500.into()));
}
