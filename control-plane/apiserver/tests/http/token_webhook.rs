//! A webhook that is asked whose tokens are: what it is told, what its answers do, and what becomes of them.

use crate::harness::{PODS, TestServer};
use crate::https::{Asked, HttpsServer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const API: &str = "https://kubernetes.default.svc.cluster.local";

/// What a webhook was asked.
type Log = Arc<Mutex<Vec<Asked>>>;

/// A webhook that knows `good` (for this server) and `vaults` (for another audience), fails at first where it is asked about `late`, and cannot tell of `broken`.
async fn webhook(log: Log) -> HttpsServer {
    HttpsServer::start(|_| {
        move |asked: Asked| {
            let token = asked.body["spec"]["token"].as_str().unwrap_or_default().to_owned();
            let mut log = log.lock();
            let before = log.iter().filter(|earlier| earlier.body["spec"]["token"] == token).count();
            log.push(asked);
            let user = json!({ "username": "ann", "uid": "7", "groups": ["dev"], "extra": { "example.org/a": ["b"] } });
            let status = match &token[..] {
                "late" if before < 2 => return (500, json!("not yet")),
                "broken" => return (400, json!("broken")),
                "good" | "late" => json!({ "authenticated": true, "user": user }),
                "vaults" => json!({ "authenticated": true, "user": user, "audiences": ["vault"] }),
                _ => json!({ "authenticated": false }),
            };
            (200, json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status }))
        }
    })
    .await
}

async fn start(webhook: &HttpsServer, ttl: Duration) -> (TestServer, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "webhook",
        "contexts": [{ "name": "webhook", "context": { "cluster": "authn", "user": "api" } }],
        "clusters": [{ "name": "authn", "cluster": {
            "server": format!("{}/authenticate", webhook.url()), "certificate-authority-data": STANDARD.encode(webhook.ca_pem()),
        } }],
        "users": [{ "name": "api", "user": { "token": "its-own" } }],
    });
    std::fs::write(file.path(), kubeconfig.to_string()).expect("written");
    let server = TestServer::start_with(|config| {
        config.token_webhook_file = Some(file.path().to_owned());
        config.token_webhook_ttl = ttl;
    })
    .await;
    (server, file)
}

async fn status(server: &TestServer, token: &str) -> u16 {
    server.stranger().with_header("authorization", &format!("Bearer {token}")).get(PODS).await.status.as_u16()
}

#[tokio::test]
async fn a_webhook_tells_whose_a_token_is() {
    let log = Log::default();
    let webhook = webhook(log.clone()).await;
    let (server, _file) = start(&webhook, Duration::from_secs(600)).await;
    let good = server.stranger().with_header("authorization", "Bearer good");
    let who = good.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.expect(201);
    let expected = json!({ "username": "ann", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": { "example.org/a": ["b"] } });
    assert_eq!(who["status"]["userInfo"], expected);
    assert_eq!((status(&server, "good").await, status(&server, "bad").await, status(&server, "bad").await), (403, 401, 401));
    let asked = std::mem::take(&mut *log.lock());
    // Once about each: answers are kept, those that refuse as well.
    assert_eq!(asked.iter().map(|asked| asked.body["spec"]["token"].clone()).collect::<Vec<_>>(), ["good", "bad"]);
    assert_eq!((&asked[0].path[..], &asked[0].authorization[..]), ("/authenticate?timeout=30s", "Bearer its-own"));
    assert_eq!(
        asked[0].body,
        json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": { "token": "good", "audiences": [API] } })
    );
    // Who is known here is not told to others.
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let token = server.admin.post(path, json!({ "spec": {} })).await.expect(201)["status"]["token"].as_str().expect("a token").to_owned();
    assert_eq!(status(&server, &token).await, 403);
    assert!(log.lock().is_empty());
}

#[tokio::test]
async fn a_token_is_good_for_its_audiences_alone() {
    let webhook = webhook(Log::default()).await;
    let (server, _file) = start(&webhook, Duration::from_secs(600)).await;
    assert_eq!(status(&server, "vaults").await, 401);
    let review = |audiences: Value| server.admin.post(REVIEWS, json!({ "spec": { "token": "vaults", "audiences": audiences } }));
    let answer = review(json!(["vault", "x"])).await.expect(201);
    assert_eq!((&answer["status"]["authenticated"], &answer["status"]["audiences"]), (&json!(true), &json!(["vault"])));
    assert_ne!(review(json!(["x"])).await.expect(201)["status"]["authenticated"], true);
}

#[tokio::test]
async fn what_fails_is_asked_again_if_that_may_help_and_kept_by_nobody() {
    let log = Log::default();
    let webhook = webhook(log.clone()).await;
    let (server, _file) = start(&webhook, Duration::from_secs(600)).await;
    assert_eq!(status(&server, "late").await, 403);
    assert_eq!(std::mem::take(&mut *log.lock()).len(), 3);
    assert_eq!((status(&server, "broken").await, status(&server, "broken").await), (401, 401));
    assert_eq!(log.lock().len(), 2);
}

#[tokio::test]
async fn nothing_is_kept_where_nothing_may_be() {
    let log = Log::default();
    let webhook = webhook(log.clone()).await;
    let (server, _file) = start(&webhook, Duration::ZERO).await;
    assert_eq!((status(&server, "good").await, status(&server, "good").await), (403, 403));
    assert_eq!(log.lock().len(), 2);
}
