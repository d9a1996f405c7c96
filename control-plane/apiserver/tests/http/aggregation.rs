//! Group versions that extension servers serve. The extension server is a real one, behind a Service, at an address of a network namespace of its own.

use crate::harness::TestServer;
use crate::proxies::{own_network, upgraded};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use orknet_auth::pki::{Pki, YEAR, server_tls};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const THINGS: &str = "/apis/things.example/v1/namespaces/default/things";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// An extension server that serves `things` and tells what it was asked; it knows its callers by the authority that the cluster has published.
struct Extension {
    port: u16,
    ca_bundle: String,
    _directory: tempfile::TempDir,
    _task: JoinSet<()>,
}

impl Extension {
    async fn start(server: &TestServer) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let pki = Pki::open_or_create(directory.path()).expect("an authority");
        let pair = pki.issue_serving("extension", &["ext.default.svc".to_owned()], &[], YEAR).expect("a certificate");
        let trust = published(server).await;
        assert_eq!(trust["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
        let callers = trust["data"]["requestheader-client-ca-file"].as_str().expect("an authority");
        let tls = TlsAcceptor::from(Arc::new(server_tls(callers, &pair).expect("TLS")));
        let listener = TcpListener::bind(("10.77.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let tls = tls.clone();
                connections.spawn(async move {
                    let Ok(stream) = tls.accept(tcp).await else { return };
                    let is_known = stream.get_ref().1.peer_certificates().is_some();
                    let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, is_known)) });
                    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    drop(serving.with_upgrades().await);
                });
            }
        });
        Self { port, ca_bundle: STANDARD.encode(pki.ca_pem()), _directory: directory, _task: task }
    }
}

fn answer(mut request: Request<Incoming>, is_known: bool) -> Response<BoxBody<Bytes, Infallible>> {
    let json = |value: Value| Response::builder().header("content-type", "application/json").body(Full::from(value.to_string()).boxed());
    let names = |name: &str| -> Vec<String> {
        request.headers().get_all(name).iter().map(|value| value.to_str().unwrap_or_default().to_owned()).collect()
    };
    let path = request.uri().path();
    let response = match path {
        "/apis/things.example/v1" => json(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "things.example/v1",
            "resources": [{ "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get", "list", "watch"] }] })),
        "/openapi/v3" => {
            json(json!({ "paths": { "apis/things.example/v1": { "serverRelativeURL": "/openapi/v3/apis/things.example/v1?hash=A" } } }))
        }
        "/openapi/v3/apis/things.example/v1" => json(json!({ "openapi": "3.0.0" })),
        _ if path.ends_with("/echo") => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.expect("an upgrade")));
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
            Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "echo").body(Full::default().boxed())
        }
        _ if request.uri().query().is_some_and(|query| query.contains("watch=")) => {
            // One event, and then nothing more for as long as somebody listens.
            let event = json!({ "type": "ADDED", "object": { "metadata": { "name": "a" } } }).to_string() + "\n";
            let events = futures::stream::once(async move { Ok(Frame::data(Bytes::from(event))) }).chain(futures::stream::pending());
            Response::builder().header("content-type", "application/json").body(BodyExt::boxed(StreamBody::new(events.boxed_sync())))
        }
        _ => json(
            json!({ "path": request.uri().to_string(), "known": is_known, "method": request.method().as_str(), "user": names("x-remote-user"),
            "groups": names("x-remote-group"), "extra": names("x-remote-extra-scopes"), "authorization": names("authorization"),
            "impersonate": names("impersonate-user") }),
        ),
    };
    response.expect("an answer")
}

trait BoxedSync: futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync + Sized + 'static {
    fn boxed_sync(self) -> std::pin::Pin<Box<dyn futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>> {
        Box::pin(self)
    }
}

impl<T: futures::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync + 'static> BoxedSync for T {}

/// Asks again until the answer is one that is waited for.
async fn until(server: &TestServer, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let waiting = async {
        loop {
            let answer = server.admin.with_header("accept", AGGREGATED).get(path).await;
            if wanted(&answer.body) {
                return answer.body;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("{path} does not become what it should"))
}

async fn published(server: &TestServer) -> Value {
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    until(server, path, |map| map["data"]["requestheader-client-ca-file"].is_string()).await
}

fn reason(api_service: &Value) -> (&str, &str) {
    let condition = &api_service["status"]["conditions"][0];
    (condition["status"].as_str().unwrap_or_default(), condition["reason"].as_str().unwrap_or_default())
}

async fn becomes(server: &TestServer, name: &str, wanted: (&str, &str)) -> Value {
    until(server, &format!("{API_SERVICES}/{name}"), |found| reason(found) == wanted).await
}

fn slice(port: u16) -> Value {
    json!({ "metadata": { "name": "ext-1", "labels": { "kubernetes.io/service-name": "ext" } }, "addressType": "IPv4",
        "ports": [{ "name": "https", "port": port }], "endpoints": [{ "addresses": ["10.77.0.1"] }] })
}

/// An APIService for `things.example/v1`, and all that is behind it.
async fn register(server: &TestServer, extension: &Extension) {
    let service = json!({ "metadata": { "name": "ext" }, "spec": { "ports": [{ "name": "https", "port": 443 }] } });
    let spec = json!({ "group": "things.example", "version": "v1", "groupPriorityMinimum": 900, "versionPriority": 10,
        "service": { "namespace": "default", "name": "ext" }, "caBundle": extension.ca_bundle });
    server.admin.post(API_SERVICES, json!({ "metadata": { "name": "v1.things.example" }, "spec": spec })).await.expect(201);
    becomes(server, "v1.things.example", ("False", "ServiceNotFound")).await;
    assert_eq!(server.admin.get(&format!("{THINGS}/x")).await.text, "service unavailable\n");
    server.admin.post(SERVICES, service).await.expect(201);
    becomes(server, "v1.things.example", ("False", "EndpointsNotFound")).await;
    server.admin.post(SLICES, slice(extension.port)).await.expect(201);
    becomes(server, "v1.things.example", ("True", "Passed")).await;
    // Requests follow the APIService a moment later.
    until(server, &format!("{THINGS}/x"), |told| told["path"].is_string()).await;
}

#[tokio::test]
async fn requests_reach_an_extension_server_with_who_asks() {
    own_network();
    let server = TestServer::start().await;
    let extension = Extension::start(&server).await;
    register(&server, &extension).await;
    let told = server.admin.with_header("x-remote-group", "liars").post(&format!("{THINGS}?a=b%20c"), json!({})).await.expect(200);
    assert_eq!((&told["path"], &told["method"], &told["known"]), (&json!(format!("{THINGS}?a=b%20c")), &json!("POST"), &json!(true)));
    assert_eq!((&told["user"], &told["groups"]), (&json!(["admin"]), &json!(["system:masters", "system:authenticated"])));
    let acting = server.admin.with_header("impersonate-user", "ann").with_header("impersonate-extra-scopes", "view");
    let acting = acting.with_header("authorization", "Bearer x");
    acting.get(&format!("{THINGS}/x")).await.refused(403, "Forbidden");
    let rule = json!({ "apiGroups": ["things.example"], "resources": ["things"], "verbs": ["get", "watch"] });
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    server.admin.post(&format!("{rbac}/clusterroles"), json!({ "metadata": { "name": "look" }, "rules": [rule] })).await.expect(201);
    let binding = json!({ "metadata": { "name": "look" }, "subjects": [{ "kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io" }],
        "roleRef": { "kind": "ClusterRole", "name": "look", "apiGroup": "rbac.authorization.k8s.io" } });
    server.admin.post(&format!("{rbac}/clusterrolebindings"), binding).await.expect(201);
    until(&server, &format!("{rbac}/clusterrolebindings/look?resourceVersion=0"), |found| found["kind"] == "ClusterRoleBinding").await;
    let told = acting.get(&format!("{THINGS}/x")).await.expect(200);
    assert_eq!((&told["user"], &told["extra"]), (&json!(["ann"]), &json!(["view"])));
    assert_eq!((&told["authorization"], &told["impersonate"]), (&json!([]), &json!([])));
    // Streams: events as they come, and whatever else both ends agree on.
    let mut watch = server.admin.watch(&format!("{THINGS}?watch=1")).await;
    assert_eq!(watch.next_named().await, ("ADDED".to_owned(), "a".to_owned()));
    let mut stream = upgraded(&server.admin, &format!("{THINGS}/x/echo")).await;
    stream.write_all(b"hello").await.expect("writes");
    let mut read = [0; 5];
    stream.read_exact(&mut read).await.expect("reads");
    assert_eq!(&read, b"hello");
}

#[tokio::test]
async fn what_an_extension_server_serves_is_discovered_and_remembered_while_it_is_away() {
    own_network();
    let server = TestServer::start().await;
    let extension = Extension::start(&server).await;
    register(&server, &extension).await;
    let entry = |found: &Value, group: &str| {
        found["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|item| item["metadata"]["name"] == group)
            .map(|item| item["versions"][0].clone())
    };
    let fresh = |found: &Value, freshness: &str| entry(found, "things.example").is_some_and(|version| version["freshness"] == freshness);
    let found = until(&server, "/apis", |found| fresh(found, "Current")).await;
    let version = entry(&found, "things.example").expect("there");
    assert_eq!((&version["resources"][0]["resource"], &version["resources"][0]["scope"]), (&json!("things"), &json!("Namespaced")));
    // In the order of priorities: built-in groups, custom resources, this one, metrics.
    let names: Vec<&Value> = found["items"].as_array().into_iter().flatten().map(|item| &item["metadata"]["name"]).collect();
    assert_eq!(names.first(), Some(&&json!("apiregistration.k8s.io")));
    assert_eq!(names[names.len() - 2..], [&json!("things.example"), &json!("metrics.k8s.io")]);
    let groups = server.admin.get("/apis").await.expect(200);
    assert!(groups["groups"].as_array().into_iter().flatten().any(|group| group["name"] == "things.example"));
    assert_eq!(server.admin.get("/apis/things.example").await.expect(200)["preferredVersion"]["version"], "v1");
    assert_eq!(server.admin.get("/apis/things.example/v1").await.expect(200)["resources"][0]["name"], "things");
    let index = server.admin.get("/openapi/v3").await.expect(200);
    let place = index["paths"]["apis/things.example/v1"]["serverRelativeURL"].as_str().expect("a document").to_owned();
    assert_eq!(server.admin.get(&place).await.expect(200)["openapi"], "3.0.0");
    // Its last endpoint goes.
    server.admin.delete(&format!("{SLICES}/ext-1")).await.expect(200);
    becomes(&server, "v1.things.example", ("False", "EndpointsNotFound")).await;
    let found = until(&server, "/apis", |found| fresh(found, "Stale")).await;
    assert_eq!(entry(&found, "things.example").expect("there")["resources"][0]["resource"], "things");
    let away = server.admin.get(&format!("{THINGS}/x")).await;
    assert_eq!((away.status.as_u16(), &away.text[..]), (503, "service unavailable\n"));
    // And with its APIService all trace of it.
    server.admin.delete(&format!("{API_SERVICES}/v1.things.example")).await.expect(200);
    until(&server, "/apis", |found| entry(found, "things.example").is_none()).await;
    server.admin.get(&format!("{THINGS}/x")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn an_extension_server_must_be_who_it_should_be() {
    own_network();
    let server = TestServer::start().await;
    let extension = Extension::start(&server).await;
    register(&server, &extension).await;
    let patch = |spec: Value| {
        let (admin, path) = (server.admin.clone(), format!("{API_SERVICES}/v1.things.example"));
        async move { admin.patch(&path, "application/merge-patch+json", json!({ "spec": spec })).await.expect(200) }
    };
    let other = STANDARD.encode(server.handle.pki().ca_pem());
    patch(json!({ "caBundle": other })).await;
    let unknown = "error trying to reach service: tls: failed to verify certificate: x509: certificate signed by unknown authority\n";
    let asking = async {
        while server.admin.get(&format!("{THINGS}/x")).await.text != unknown {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("nobody else is believed");
    patch(json!({ "caBundle": null, "insecureSkipTLSVerify": true })).await;
    until(&server, &format!("{THINGS}/x"), |told| told["known"] == true).await;
}

#[tokio::test]
async fn every_group_version_has_an_api_service_as_long_as_it_is_served() {
    let server = TestServer::start().await;
    let core = becomes(&server, "v1.", ("True", "Local")).await;
    assert_eq!((&core["spec"]["groupPriorityMinimum"], &core["spec"]["versionPriority"]), (&json!(18000), &json!(1)));
    becomes(&server, "v1.apps", ("True", "Local")).await;
    let definition = json!({
        "metadata": { "name": "toys.shop.example" },
        "spec": { "group": "shop.example", "scope": "Namespaced", "names": { "plural": "toys", "kind": "Toy" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }] },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    server.admin.post(definitions, definition).await.expect(201);
    let made = becomes(&server, "v1.shop.example", ("True", "Local")).await;
    assert_eq!(made["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "true");
    // What is changed by others is put right; what is deleted is made anew.
    let patch = json!({ "spec": { "versionPriority": 7 } });
    server.admin.patch(&format!("{API_SERVICES}/v1.apps"), "application/merge-patch+json", patch).await.expect(200);
    until(&server, &format!("{API_SERVICES}/v1.apps"), |found| found["spec"]["versionPriority"] == 15).await;
    // Given to an extension server, and taken back.
    let given = |service: Value| json!({ "spec": { "service": service } });
    let apps = format!("{API_SERVICES}/v1.apps");
    let elsewhere = given(json!({ "namespace": "default", "name": "ext" }));
    server.admin.patch(&apps, "application/merge-patch+json", elsewhere).await.expect(200);
    becomes(&server, "v1.apps", ("False", "ServiceNotFound")).await;
    assert_eq!(server.admin.get("/apis/apps/v1/deployments").await.text, "service unavailable\n");
    server.admin.patch(&apps, "application/merge-patch+json", given(Value::Null)).await.expect(200);
    becomes(&server, "v1.apps", ("True", "Local")).await;
    until(&server, "/apis/apps/v1/deployments", |list| list["kind"] == "DeploymentList").await;
    let uid = made["metadata"]["uid"].clone();
    server.admin.delete(&format!("{API_SERVICES}/v1.shop.example")).await.expect(200);
    until(&server, &format!("{API_SERVICES}/v1.shop.example"), |found| {
        found["metadata"]["uid"].is_string() && found["metadata"]["uid"] != uid
    })
    .await;
    server.admin.delete(&format!("{definitions}/toys.shop.example")).await.expect(200);
    until(&server, &format!("{API_SERVICES}/v1.shop.example"), |found| found["code"] == 404).await;
    let table = server.admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").get(API_SERVICES).await.expect(200);
    assert_eq!(
        table["rows"][0]["cells"].as_array().map(|cells| cells[..3].to_vec()),
        Some(vec![json!("v1."), json!("Local"), json!("True")])
    );
}
