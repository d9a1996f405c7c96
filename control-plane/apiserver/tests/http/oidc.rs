//! OpenID Connect: tokens of an issuer that the server is told of let in whom they name, and nobody else's do.

use crate::client::Client;
use crate::harness::{PODS, TestServer};
use crate::https::{Asked, HttpsServer};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
/// Nothing in these tests takes longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A key of an issuer.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key") }
    }

    fn jwk(&self) -> Value {
        let point: &[u8] = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id, "x": encode(x), "y": encode(y) })
    }

    fn sign(&self, claims: &Value) -> String {
        let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(json!({ "alg": "ES256", "kid": self.id }).to_string()), encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

/// An issuer that publishes these keys.
async fn issuer(keys: Arc<Mutex<Vec<Value>>>) -> HttpsServer {
    HttpsServer::start(|url| {
        move |asked: Asked| match &asked.path[..] {
            "/.well-known/openid-configuration" => (200, json!({ "issuer": url, "jwks_uri": format!("{url}/keys") })),
            "/keys" => (200, json!({ "keys": *keys.lock() })),
            _ => (404, Value::Null),
        }
    })
    .await
}

fn configuration(issuer: &HttpsServer, change: impl FnOnce(&mut Value)) -> String {
    let mut file = json!({
        "apiVersion": "apiserver.config.k8s.io/v1beta1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": { "url": issuer.url(), "audiences": ["orknet"], "certificateAuthority": issuer.ca_pem() },
            "claimMappings": { "username": { "claim": "sub", "prefix": "oidc:" }, "groups": { "claim": "groups", "prefix": "" } },
            "userValidationRules": [{ "expression": "!user.groups.exists(group, group.startsWith('system:'))", "message": "reserved" }],
        }],
    });
    change(&mut file);
    file.to_string()
}

fn claims(issuer: &HttpsServer, change: impl FnOnce(&mut Value)) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut claims = json!({ "iss": issuer.url(), "aud": "orknet", "sub": "ann", "groups": ["dev"], "iat": now, "exp": now + 600 });
    change(&mut claims);
    claims
}

async fn start(file: &str) -> (TestServer, tempfile::NamedTempFile) {
    let path = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(path.path(), file).expect("written");
    let server = TestServer::start_with(|config| config.authentication_file = Some(path.path().to_owned())).await;
    (server, path)
}

fn holder(server: &TestServer, token: &str) -> Client {
    server.stranger().with_header("authorization", &format!("Bearer {token}"))
}

/// Asks until the answer has this code.
async fn becomes(client: &Client, path: &str, code: u16) {
    let asking = async {
        while client.get(path).await.status.as_u16() != code {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap_or_else(|_| panic!("{path} does not answer {code}"));
}

#[tokio::test]
async fn tokens_of_an_issuer_let_in_whom_they_name() {
    let key = Key::new("one");
    let issuer = issuer(Arc::new(Mutex::new(vec![key.jwk()]))).await;
    let (server, _file) = start(&configuration(&issuer, |_| {})).await;
    let token = key.sign(&claims(&issuer, |_| {}));
    let who = holder(&server, &token).post(REVIEWS, json!({})).await.expect(201);
    assert_eq!(who["status"]["userInfo"]["username"], "oidc:ann");
    assert_eq!(who["status"]["userInfo"]["groups"], json!(["dev", "system:authenticated"]));
    holder(&server, &token).get(PODS).await.refused(403, "Forbidden");
    let review = server.admin.post("/apis/authentication.k8s.io/v1/tokenreviews", json!({ "spec": { "token": token } })).await.expect(201);
    assert_eq!((&review["status"]["authenticated"], &review["status"]["user"]["username"]), (&json!(true), &json!("oidc:ann")));
    let elsewhere = json!({ "spec": { "token": token, "audiences": ["vault"] } });
    let review = server.admin.post("/apis/authentication.k8s.io/v1/tokenreviews", elsewhere).await.expect(201);
    assert_ne!(review["status"]["authenticated"], true);
    for (name, refused) in [
        ("of another audience", key.sign(&claims(&issuer, |claims| claims["aud"] = json!("vault")))),
        ("expired", key.sign(&claims(&issuer, |claims| claims["exp"] = json!(1)))),
        ("not good yet", key.sign(&claims(&issuer, |claims| claims["nbf"] = json!(claims["exp"])))),
        ("of another issuer", key.sign(&claims(&issuer, |claims| claims["iss"] = json!("https://localhost:1")))),
        ("of a group that is reserved", key.sign(&claims(&issuer, |claims| claims["groups"] = json!(["system:masters"])))),
        ("signed by somebody else", Key::new("one").sign(&claims(&issuer, |_| {}))),
    ] {
        let answer = holder(&server, &refused).get(PODS).await;
        assert_eq!(answer.status.as_u16(), 401, "{name}");
    }
}

#[tokio::test]
async fn new_keys_of_an_issuer_are_found_and_old_ones_are_good_no_more() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let keys = Arc::new(Mutex::new(vec![old.jwk()]));
    let issuer = issuer(keys.clone()).await;
    let (server, _file) = start(&configuration(&issuer, |_| {})).await;
    let (with_old, with_new) = (old.sign(&claims(&issuer, |_| {})), new.sign(&claims(&issuer, |_| {})));
    holder(&server, &with_old).get(PODS).await.refused(403, "Forbidden");
    holder(&server, &with_new).get(PODS).await.refused(401, "Unauthorized");
    *keys.lock() = vec![new.jwk()];
    becomes(&holder(&server, &with_new), PODS, 403).await;
    holder(&server, &with_old).get(PODS).await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn the_configuration_is_followed_and_a_faulty_one_changes_nothing() {
    let key = Key::new("one");
    let issuer = issuer(Arc::new(Mutex::new(vec![key.jwk()]))).await;
    let (server, file) = start(&configuration(&issuer, |_| {})).await;
    let (ann, stranger) = (holder(&server, &key.sign(&claims(&issuer, |_| {}))), server.stranger());
    ann.get(PODS).await.refused(403, "Forbidden");
    stranger.get(PODS).await.refused(403, "Forbidden");
    // Faulty first, then right: when the second is seen, the first one has been passed over or never was.
    std::fs::write(file.path(), configuration(&issuer, |file| file["jwt"][0]["issuer"]["audiences"] = json!([]))).expect("written");
    ann.get(PODS).await.refused(403, "Forbidden");
    let closed = configuration(&issuer, |file| file["anonymous"] = json!({ "enabled": true, "conditions": [{ "path": "/apis" }] }));
    std::fs::write(file.path(), closed).expect("written");
    becomes(&stranger, PODS, 401).await;
    stranger.get("/apis").await.refused(403, "Forbidden");
    ann.get(PODS).await.refused(403, "Forbidden");
    std::fs::write(file.path(), configuration(&issuer, |file| file["jwt"] = json!([]))).expect("written");
    becomes(&ann, PODS, 401).await;
}

#[tokio::test]
async fn a_server_does_not_start_with_a_faulty_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("authentication.yaml");
    std::fs::write(
        &path,
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [{issuer: {}, claimMappings: {}}]\n",
    )
    .expect("written");
    let config = orknet_apiserver::Config {
        listeners: vec![orknet_apiserver::Listener::Address(([127, 0, 0, 1], 0).into())],
        pki_dir: directory.path().join("pki"),
        authentication_file: Some(path),
        ..Default::default()
    };
    let store = crate::harness::open(directory.path()).await;
    let Err(error) = orknet_apiserver::start(config, store, tokio_util::sync::CancellationToken::new()).await else {
        panic!("it starts");
    };
    let told = error.to_string();
    assert!(told.contains("jwt[0].issuer.url: Required value") && told.contains("jwt[0].claimMappings.username: Required value"), "{told}");
}
