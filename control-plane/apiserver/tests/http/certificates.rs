//! The server's own certificates, renewed while it runs; and requests for certificates: who may do what with them.

use crate::harness::TestServer;
use crate::webhooks::hook_server::{HookServer, Reply};
use crate::webhooks::{MUTATING, configure, hook, patch};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The certificate that the server shows on a new connection, which the client has found good.
async fn shown(server: &TestServer) -> Vec<u8> {
    let tcp = TcpStream::connect(server.admin.address).await.expect("connects");
    let name = ServerName::IpAddress(server.admin.address.ip().into());
    let tls = TlsConnector::from(server.admin.tls.clone()).connect(name, tcp).await.expect("a certificate that is good");
    tls.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

#[tokio::test]
async fn the_server_shows_a_fresh_certificate_before_the_old_one_ends() {
    let life = Duration::from_secs(3);
    let begun = Instant::now();
    let server = TestServer::start_with(|config| config.certificate_life = life).await;
    let first = shown(&server).await;
    while shown(&server).await == first {
        assert!(begun.elapsed() < 10 * life, "the certificate was never renewed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The first has ended by then, and connections are accepted as ever.
    tokio::time::sleep((life + Duration::from_secs(1)).saturating_sub(begun.elapsed())).await;
    assert_eq!(server.admin.get("/readyz").await.status, 200);
}

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const JANE: &str = include_str!("../../../resources/src/kinds/certificate_signing_request/jane.csr");

fn request(name: &str, signer: &str) -> Value {
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": STANDARD.encode(JANE), "signerName": signer, "usages": ["client auth"], "username": "system:admin",
            "groups": ["system:masters"]},
        "status": {"conditions": [{"type": "Approved", "status": "True"}]}})
}

/// Lets `user` do `verbs` with the requests, and `approve` or `sign` for the signers.
async fn allow(server: &TestServer, user: &str, signing: &[&str], signers: &[&str]) {
    let mut rules = vec![json!({"apiGroups": ["certificates.k8s.io"], "verbs": ["*"],
        "resources": ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"]})];
    if !signing.is_empty() {
        rules.push(json!({"apiGroups": ["certificates.k8s.io"], "verbs": signing, "resources": ["signers"], "resourceNames": signers}));
    }
    let role = json!({"metadata": {"name": user}, "rules": rules});
    let binding = json!({"metadata": {"name": user}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let made = server.admin.post(&format!("/apis/rbac.authorization.k8s.io/v1/{plural}"), object).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
}

#[tokio::test]
async fn a_request_goes_its_way_by_those_who_may() {
    let server = TestServer::start().await;
    allow(&server, "asker", &["approve"], &["example.com/other"]).await;
    allow(&server, "approver", &["approve"], &["example.com/*"]).await;
    allow(&server, "signer", &["sign"], &["example.com/s"]).await;
    let [asker, approver, signer] = ["asker", "approver", "signer"].map(|user| server.client(user, None));
    // Who asks is what the server knows of him, and nothing is decided yet.
    let made = asker.post(REQUESTS, request("a", "example.com/s")).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.body["spec"]["username"], "asker");
    assert_eq!(made.body["spec"]["groups"], json!(["system:authenticated"]));
    assert_eq!(made.body["status"], json!({}));

    let path = |part: &str| format!("{REQUESTS}/a/{part}");
    let mut approved = made.body.clone();
    approved["metadata"]["resourceVersion"] = "".into();
    approved["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Because"}], "certificate": "eA=="});
    let refused = asker.put(&path("approval"), approved.clone()).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("user not permitted to approve requests with signerName"), "{}", refused.text);
    let done = approver.put(&path("approval"), approved.clone()).await;
    assert_eq!(done.status, 200, "{}", done.text);
    let condition = &done.body["status"]["conditions"][0];
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"] == condition["lastUpdateTime"], "{condition}");
    assert!(done.body["status"].get("certificate").is_none(), "a certificate comes from a signer alone");
    // What was decided stays decided.
    for change in [json!([]), json!([{"type": "Denied", "status": "True"}])] {
        let patch = json!({"status": {"conditions": change}});
        assert_eq!(approver.patch(&path("approval"), "application/merge-patch+json", patch).await.status, 422);
    }

    let certificate = json!({"status": {"certificate": STANDARD.encode(server.handle.pki().ca_pem())}});
    let sign = |who: crate::client::Client, body: Value| async move {
        who.patch(&format!("{REQUESTS}/a/status"), "application/merge-patch+json", body).await
    };
    let refused = sign(approver, certificate.clone()).await;
    assert!(refused.status == 403 && refused.text.contains("user not permitted to sign requests with signerName"), "{}", refused.text);
    let done = sign(signer.clone(), certificate).await;
    assert_eq!((done.status.as_u16(), &done.body["status"]["conditions"][0]["type"]), (200, &json!("Approved")), "{}", done.text);
    let again = sign(signer, json!({"status": {"certificate": "eA=="}})).await;
    assert!(again.status == 422 && again.text.contains("updates may not modify existing certificate content"), "{}", again.text);
    // What is asked for does not change.
    let changed = server.admin.patch(&format!("{REQUESTS}/a"), "application/merge-patch+json", json!({"spec": {"usages": ["any"]}})).await;
    assert_eq!((changed.status.as_u16(), &changed.body["spec"]["usages"]), (200, &json!(["client auth"])));

    let listed = |selector: &str| format!("{REQUESTS}?fieldSelector=spec.signerName%3D{selector}");
    assert_eq!(server.admin.get(&listed("example.com/s")).await.body["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.admin.get(&listed("example.com/t")).await.body["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn nobody_becomes_a_master_by_a_request() {
    let server = TestServer::start().await;
    let mut body = request("m", "kubernetes.io/kube-apiserver-client");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
    body["spec"]["request"] = STANDARD.encode(pem).into();
    let refused = server.admin.post(REQUESTS, body.clone()).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.text.contains("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"),
        "{}",
        refused.text
    );
    body["spec"]["signerName"] = "example.com/s".into();
    assert_eq!(server.admin.post(REQUESTS, body).await.status, 201);
}

#[tokio::test]
async fn a_webhook_does_not_say_who_asks() {
    let server = TestServer::start().await;
    allow(&server, "asker", &[], &[]).await;
    // It sees what the client says of itself, as with Kubernetes; what is kept is what the server knows.
    let lying = HookServer::start(|_| {
        Reply::Response(patch(json!([
            { "op": "add", "path": "/spec/username", "value": "system:admin" },
            { "op": "add", "path": "/spec/groups", "value": ["system:masters"] },
            { "op": "add", "path": "/spec/uid", "value": "0" },
            { "op": "add", "path": "/spec/extra", "value": { "a": ["b"] } },
            { "op": "add", "path": "/metadata/labels", "value": { "was": "here" } },
        ])))
    })
    .await;
    let about = |reinvocation: &'static str| {
        move |hook: &mut Value| {
            hook["rules"] = json!([{ "operations": ["CREATE"], "apiGroups": ["certificates.k8s.io"], "apiVersions": ["v1"],
                "resources": ["certificatesigningrequests"] }]);
            hook["reinvocationPolicy"] = json!(reinvocation);
        }
    };
    let hooks = [hook(&lying, "a.example.com", about("IfNeeded")), hook(&lying, "b.example.com", about("Never"))];
    configure(&server, MUTATING, "lying", json!(hooks)).await;
    let made = server.client("asker", None).post(REQUESTS, request("a", "example.com/s")).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.body["metadata"]["labels"], json!({ "was": "here" }), "the webhook was asked");
    let spec = &made.body["spec"];
    assert_eq!((&spec["username"], &spec["groups"]), (&json!("asker"), &json!(["system:authenticated"])));
    assert_eq!(spec.get("uid"), None);
    // By which certificate he came is told by the server.
    let extra = spec["extra"].as_object().expect("what the certificate tells");
    assert_eq!(extra.keys().collect::<Vec<_>>(), ["authentication.kubernetes.io/credential-id"]);
}
