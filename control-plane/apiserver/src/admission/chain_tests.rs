//! The order of admission, seen by plug-ins of this test's own.

use super::chain::{Attributes, Chain, Plugin};
use crate::config::{Config, Listener};
use crate::error::ApiError;
use crate::object;
use crate::run::start_with;
use async_trait::async_trait;
use http::Request;
use http_body_util::{BodyExt, Full};
use orknet_auth::Identity;
use orknet_store::StoreConfig;
use orknet_store::embedded::EmbeddedConfig;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

type Log = Arc<Mutex<Vec<String>>>;

/// Appends its letter to the annotation `letters` of Services, and tells what it saw in each stage.
struct Letter(char, Log);

#[async_trait]
impl Plugin for Letter {
    fn name(&self) -> &'static str {
        "Letter"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        what.is(("", "services")) && what.namespace == "default" && what.subresource != Some("status")
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        self.tell("mutates", what);
        if let Some(service) = what.object.as_deref_mut() {
            let letters = format!("{}{}", letters(service), self.0);
            object::meta_mut(service).insert("annotations".into(), json!({ "letters": letters }));
            what.warnings.lock().push(format!("{} was here", self.0));
        }
        Ok(())
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        self.tell("validates", what);
        what.warnings.lock().push(format!("{} has seen it", self.0));
        let refused = what.object.as_deref().is_some_and(|service| service.pointer("/metadata/labels/refuse").is_some());
        if refused && self.0 == 'b' { Err(what.refusal("the test says so")) } else { Ok(()) }
    }
}

impl Letter {
    fn tell(&self, stage: &str, what: &Attributes<'_>) {
        let object = what.object.as_deref().or(what.old).expect("an object");
        let has_address = !object::text(object, "/spec/clusterIP").is_empty();
        let kind = object::text(object, "/spec/type");
        let line =
            format!("{} {stage} {:?} {:?} {kind} address={has_address} dry={}", self.0, what.operation, letters(object), what.dry_run);
        self.1.lock().push(line);
    }
}

fn letters(object: &Value) -> &str {
    object::text(object, "/metadata/annotations/letters")
}

#[tokio::test]
async fn each_plugin_sees_what_those_before_it_filled_in_and_the_second_stage_sees_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.path().join("store")))).await.expect("opens");
    let config = Config {
        listeners: vec![Listener::Address(([127, 0, 0, 1], 0).into())],
        pki_dir: directory.path().join("pki"),
        ..Config::default()
    };
    let (log, shutdown) = (Log::default(), CancellationToken::new());
    let chain = Chain::new(vec![Box::new(Letter('a', log.clone())), Box::new(Letter('b', log.clone()))]);
    let handle = start_with(config, store, shutdown.clone(), chain).await.expect("starts");
    handle.ready().await;
    let client = handle.local_client(Identity::authenticated("admin", ["system:masters".to_owned()]));
    let ask = |method: &str, rest: &str, body: Value| {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/namespaces/default/services{rest}"))
            .header("content-type", if method == "PATCH" { "application/merge-patch+json" } else { "application/json" })
            .body(Full::new(bytes::Bytes::from(body.to_string())))
            .expect("a request");
        let (client, log) = (client.clone(), log.clone());
        async move {
            let answer = client.oneshot(request).await.expect("an answer");
            let warnings: Vec<String> =
                answer.headers().get_all("warning").iter().map(|value| value.to_str().expect("text").to_owned()).collect();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.expect("whole").to_bytes();
            let body: Value = serde_json::from_slice(&body).expect("JSON");
            (status, warnings, body, std::mem::take(&mut *log.lock()))
        }
    };
    let warned = ["299 - \"a was here\"", "299 - \"b was here\"", "299 - \"a has seen it\"", "299 - \"b has seen it\""];
    let service = json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }] } });
    // What clients leave out is there at once, an address only in the second stage.
    let created = |dry: bool| {
        [
            format!("a mutates Create \"\" ClusterIP address=false dry={dry}"),
            format!("b mutates Create \"a\" ClusterIP address=false dry={dry}"),
            format!("a validates Create \"ab\" ClusterIP address=true dry={dry}"),
            format!("b validates Create \"ab\" ClusterIP address=true dry={dry}"),
        ]
    };
    let (status, warnings, _, seen) = ask("POST", "?dryRun=All", service.clone()).await;
    assert_eq!((status, &warnings[..], &seen[..]), (201, &warned.map(str::to_owned)[..], &created(true)[..]));
    let (status, warnings, body, seen) = ask("POST", "", service.clone()).await;
    assert_eq!((status, &warnings[..], &seen[..]), (201, &warned.map(str::to_owned)[..], &created(false)[..]));
    assert_eq!(letters(&body), "ab");
    let (status, warnings, body, seen) = ask("PATCH", "/s", json!({ "metadata": { "labels": { "x": "y" } } })).await;
    assert_eq!((status, &warnings[..], letters(&body)), (200, &warned.map(str::to_owned)[..], "abab"));
    assert_eq!(seen.first().map(String::as_str), Some("a mutates Update \"ab\" ClusterIP address=true dry=false"));
    assert_eq!(seen.last().map(String::as_str), Some("b validates Update \"abab\" ClusterIP address=true dry=false"));
    // The kind's rules come before the second stage, and what that refuses is not written.
    let (status, _, _, seen) = ask("PATCH", "/s", json!({ "spec": { "type": "Nonsense" } })).await;
    assert_eq!((status, seen.len()), (422, 2), "{seen:?}");
    let (status, _, body, _) = ask("PATCH", "/s", json!({ "metadata": { "labels": { "refuse": "this" } } })).await;
    assert_eq!((status, &body["message"]), (403, &json!("services \"s\" is forbidden: the test says so")));
    let (_, _, body, _) = ask("GET", "/s", Value::Null).await;
    assert_eq!((letters(&body), &body["metadata"]["labels"]), ("abab", &json!({ "x": "y" })));
    let (status, _, _, seen) = ask("DELETE", "/s", json!({})).await;
    let stages: Vec<&str> = seen.iter().map(|line| line.split(" \"").next().expect("a stage")).collect();
    assert_eq!((status, &stages[..]), (200, &["a mutates Delete", "b mutates Delete", "a validates Delete", "b validates Delete"][..]));
    shutdown.cancel();
    handle.stopped().await.expect("stops");
}

#[test]
fn the_order_is_that_of_kubernetes() {
    let names: Vec<&str> = Chain::default().names().collect();
    // Of `AllOrderedPlugins`, those that are here; those of escalation and of requests are of storage there.
    let expected = [
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "TaintNodesByCondition",
        "PodSecurity",
        "Priority",
        "DefaultTolerationSeconds",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
        "PrivilegeEscalation",
        "CertificateRequest",
        "ResourceQuota",
    ];
    assert_eq!(names, expected);
}
