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
