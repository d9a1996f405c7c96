//! The way through pods, Services and nodes to what they serve. Backends are real servers at an address of a network namespace that each test has for
//! itself: the server passes nothing on to its own loopback.

use crate::client::Client;
use crate::harness::{PODS, TestServer, pod};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sched::{CloneFlags, unshare};
use orknet_auth::pki::{KeyAndCertificate, Pki, YEAR, server_tls};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The backends' address.
const ADDRESS: &str = "10.77.0.1";

/// Gives the calling thread, and so the whole test, a network of its own: a loopback device with one more address.
pub fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (these tests need root)");
    for arguments in [&["link", "set", "lo", "up"][..], &["address", "add", "10.77.0.1/32", "dev", "lo"]] {
        let done = Command::new("ip").env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").args(arguments).status().expect("ip runs");
        assert!(done.success(), "ip {arguments:?}");
    }
}

/// A server that tells what it was asked; `/page` is a page with links, `/moved` leads elsewhere, `/echo` upgrades and sends every byte back.
pub struct Backend {
    pub port: u16,
    _task: JoinSet<()>,
}

impl Backend {
    async fn start(tls: Option<&KeyAndCertificate>, ca_pem: &str) -> Self {
        let listener = TcpListener::bind((ADDRESS, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let tls = tls.map(|pair| TlsAcceptor::from(Arc::new(server_tls(ca_pem, pair).expect("TLS"))));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => serve(TokioIo::new(tcp)).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(TokioIo::new(stream)).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, _task: task }
    }

    async fn plain() -> Self {
        Self::start(None, "").await
    }
}

async fn serve(connection: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static) {
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(connection, service_fn(answer));
    drop(serving.with_upgrades().await);
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder();
    let response = match request.uri().path() {
        "/page" => response.header("content-type", "text/html").body("<a href=\"/x\">".into()),
        "/moved" => response.status(302).header("location", "/elsewhere/").body(Full::default()),
        "/fails" => response.status(503).body("the backend's own words".into()),
        "/echo" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.expect("an upgrade")));
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
            response.status(101).header("connection", "Upgrade").header("upgrade", "echo").body(Full::default())
        }
        _ => {
            let (head, body) = request.into_parts();
            let headers: serde_json::Map<String, Value> =
                (head.headers.iter()).map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().into())).collect();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let told = json!({ "method": head.method.as_str(), "uri": head.uri.to_string(), "headers": headers, "body": String::from_utf8_lossy(&body) });
            response.header("content-type", "application/json").body(told.to_string().into())
        }
    };
    Ok(response.expect("an answer"))
}

/// A pod that runs, at this address.
async fn running(server: &TestServer, name: &str, address: &str, port: u16) {
    let mut new = pod(name);
    new["metadata"]["labels"] = json!({ "app": name });
    new["spec"]["nodeName"] = json!("node1");
    new["spec"]["containers"][0]["ports"] = json!([{ "containerPort": port }]);
    server.admin.post(PODS, new).await.expect(201);
    let status = json!({ "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }] } });
    server.admin.patch(&format!("{PODS}/{name}/status"), "application/merge-patch+json", status).await.expect(200);
}

#[tokio::test]
async fn every_method_reaches_a_pod_with_path_query_and_body() {
    own_network();
    let (server, backend) = (TestServer::start().await, Backend::plain().await);
    running(&server, "web", ADDRESS, backend.port).await;
    let admin = server.admin.with_header("authorization", "Bearer nobody").with_header("cookie", "a=b").with_header("x-remote-user", "x");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let told = admin.send(method, &format!("{PODS}/web/proxy/a%20b//c/?limit=no&watch=x"), "text/x", "hello").await.expect(200);
        assert_eq!((&told["method"], &told["uri"], &told["body"]), (&json!(method), &json!("/a%20b/c/?limit=no&watch=x"), &json!("hello")));
        let headers = &told["headers"];
        assert_eq!((&headers["cookie"], &headers["authorization"], &headers["x-remote-user"]), (&json!("a=b"), &Value::Null, &Value::Null));
        assert_eq!((&headers["x-forwarded-for"], &headers["content-type"]), (&json!("127.0.0.1"), &json!("text/x")));
        assert_eq!(headers["x-forwarded-uri"], format!("{PODS}/web/proxy/a%20b/c/"));
    }
    let head = admin.send("HEAD", &format!("{PODS}/web/proxy/x"), "", "").await;
    assert_eq!((head.status, &head.text[..]), (StatusCode::OK, ""));
    // The port as a part of the name, and another one that nobody listens at.
    admin.get(&format!("{PODS}/http:web:{}/proxy/", backend.port)).await.expect(200);
    let why = admin.get(&format!("{PODS}/web:1/proxy/")).await.refused(503, "ServiceUnavailable");
    assert_eq!(why, "error trying to reach service: dial tcp 10.77.0.1:1: connect: connection refused");
    // What a backend says of itself is its own.
    let fails = admin.get(&format!("{PODS}/web/proxy/fails")).await;
    assert_eq!((fails.status.as_u16(), &fails.text[..]), (503, "the backend's own words"));
}

#[tokio::test]
async fn pages_and_redirections_lead_through_the_proxy() {
    own_network();
    let (server, backend) = (TestServer::start().await, Backend::plain().await);
    running(&server, "web", ADDRESS, backend.port).await;
    let moved = server.admin.get(&format!("{PODS}/web/proxy?a=b")).await;
    assert_eq!((moved.status.as_u16(), moved.headers["location"].to_str().ok()), (301, Some(&format!("{PODS}/web/proxy/?a=b")[..])));
    let page = server.admin.get(&format!("{PODS}/web/proxy/page")).await;
    assert_eq!(page.text, format!("<a href=\"{PODS}/web/proxy/x\">"));
    let moved = server.admin.get(&format!("{PODS}/web/proxy/moved")).await;
    assert_eq!((moved.status.as_u16(), moved.headers["location"].to_str().ok()), (302, Some(&format!("{PODS}/web/proxy/elsewhere/")[..])));
}

#[tokio::test]
async fn a_service_leads_to_a_ready_pod() {
    own_network();
    let (server, admin) = {
        let server = TestServer::start().await;
        let admin = server.admin.clone();
        (server, admin)
    };
    // Certified by somebody that the server does not know, for another name.
    let stranger = tempfile::tempdir().expect("a directory");
    let stranger = Pki::open_or_create(stranger.path()).expect("an authority");
    let pair = stranger.issue_serving("x", &["other".to_owned()], &[], YEAR).expect("a certificate");
    let (plain, secure) = (Backend::plain().await, Backend::start(Some(&pair), stranger.ca_pem()).await);
    running(&server, "web", ADDRESS, plain.port).await;
    let services = "/api/v1/namespaces/default/services";
    let ports = json!([{ "name": "http", "port": 80 }, { "name": "tls", "port": 443 }]);
    admin.post(services, json!({ "metadata": { "name": "web" }, "spec": { "ports": ports } })).await.expect(201);
    let none = admin.get(&format!("{services}/web:http/proxy/")).await.refused(503, "ServiceUnavailable");
    assert_eq!(none, "no endpoints available for service \"web:http\"");
    let slice = json!({
        "metadata": { "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": plain.port }, { "name": "tls", "port": secure.port }],
        "endpoints": [{ "addresses": [ADDRESS], "targetRef": { "kind": "Pod", "namespace": "default", "name": "web" } }],
    });
    admin.post("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice).await.expect(201);
    for name in ["web:http", "web:80", "http:web:http", "https:web:tls", "https:web:443"] {
        let told = admin.get(&format!("{services}/{name}/proxy/x")).await.expect(200);
        assert_eq!(told["uri"], "/x", "{name}");
    }
    let none = admin.get(&format!("{services}/web:81/proxy/")).await.refused(503, "ServiceUnavailable");
    assert_eq!(none, "no service port 81 found for service \"web\"");
    admin.get(&format!("{services}/gone/proxy/")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_node_leads_to_its_kubelet_or_another_port() {
    own_network();
    let server = TestServer::start().await;
    let pki = server.handle.pki();
    let pair = pki.issue_serving("kubelet", &["node1".to_owned()], &[], YEAR).expect("a certificate");
    let (kubelet, other) = (Backend::start(Some(&pair), pki.ca_pem()).await, Backend::plain().await);
    let node = |name: &str, address: &str| {
        json!({ "metadata": { "name": name }, "status": {
            "addresses": [{ "type": "InternalIP", "address": address }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": kubelet.port } },
        } })
    };
    server.admin.post("/api/v1/nodes", node("node1", ADDRESS)).await.expect(201);
    server.admin.post("/api/v1/nodes", node("node2", "127.0.0.1")).await.expect(201);
    for name in ["node1".to_owned(), format!("node1:{}", kubelet.port), format!("node1:{}", other.port)] {
        let told = server.admin.get(&format!("/api/v1/nodes/{name}/proxy/stats/summary?only=x")).await.expect(200);
        assert_eq!(told["uri"], "/stats/summary?only=x", "{name}");
    }
    let refused = server.admin.get("/api/v1/nodes/node2/proxy/").await.refused(400, "BadRequest");
    assert_eq!(refused, "address not allowed");
    server.admin.get("/api/v1/nodes/gone/proxy/").await.refused(404, "NotFound");
}

#[tokio::test]
async fn another_protocol_passes_both_ways() {
    own_network();
    let (server, backend) = (TestServer::start().await, Backend::plain().await);
    running(&server, "web", ADDRESS, backend.port).await;
    let mut stream = upgraded(&server.admin, &format!("{PODS}/web/proxy/echo")).await;
    stream.write_all(b"hello").await.expect("writes");
    let mut read = [0; 5];
    stream.read_exact(&mut read).await.expect("reads");
    assert_eq!(&read, b"hello");
}

/// A connection that has been upgraded to `echo`.
pub async fn upgraded(client: &Client, path: &str) -> TokioIo<hyper::upgrade::Upgraded> {
    let tcp = TcpStream::connect(client.address).await.expect("connects");
    let stream = TlsConnector::from(client.tls.clone()).connect("localhost".try_into().expect("a name"), tcp).await.expect("TLS");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection.with_upgrades());
    let request = Request::get(path).header("host", "localhost").header("connection", "upgrade").header("upgrade", "echo");
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    TokioIo::new(hyper::upgrade::on(response).await.expect("an upgrade"))
}

#[tokio::test]
async fn nobody_gets_further_than_he_may() {
    own_network();
    let (server, backend) = (TestServer::start().await, Backend::plain().await);
    running(&server, "web", ADDRESS, backend.port).await;
    running(&server, "inward", "127.0.0.1", backend.port).await;
    let refused = server.admin.get(&format!("{PODS}/inward/proxy/")).await.refused(400, "BadRequest");
    assert_eq!(refused, "address not allowed");
    let refused = server.admin.get(&format!("{PODS}/ftp:web:1/proxy/")).await.refused(400, "BadRequest");
    assert_eq!(refused, "invalid pod request \"ftp:web:1\"");
    // The verb is the method's, the name is as it is in the path.
    let rule = json!({ "apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"], "resourceNames": ["web"] });
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    server.admin.post(&format!("{roles}/roles"), json!({ "metadata": { "name": "look" }, "rules": [rule] })).await.expect(201);
    let binding = json!({ "metadata": { "name": "look" }, "subjects": [{ "kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io" }],
        "roleRef": { "kind": "Role", "name": "look", "apiGroup": "rbac.authorization.k8s.io" } });
    let made = server.admin.post(&format!("{roles}/rolebindings"), binding).await.expect(201);
    let version = &made["metadata"]["resourceVersion"].as_str().expect("a version");
    server.admin.get(&format!("{roles}/rolebindings?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await.expect(200);
    let ann = server.client("ann", None);
    ann.get(&format!("{PODS}/web/proxy/x")).await.expect(200);
    let why = ann.post(&format!("{PODS}/web/proxy/x"), json!({})).await.refused(403, "Forbidden");
    assert!(why.contains("User \"ann\" cannot create resource \"pods/proxy\""), "{why}");
    ann.get(&format!("{PODS}/web:{}/proxy/x", backend.port)).await.refused(403, "Forbidden");
}
