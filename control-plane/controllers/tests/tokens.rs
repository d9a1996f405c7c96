//! Tokens of service accounts over a real server: those of Secrets, and those of before a rotation of keys.

mod cluster;

use std::time::Duration;

use cluster::Cluster;
use http::Request;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_auth::account_keys;
use serde_json::{Value, json};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

async fn account(client: &Client, name: &str) {
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &account).await.unwrap();
}

/// Whose token it is; `None`: nobody's.
async fn holder(client: &Client, token: &str) -> Option<String> {
    let review: TokenReview = serde_json::from_value(json!({ "spec": { "token": token } })).unwrap();
    let status = Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &review).await.unwrap().status?;
    status.user?.username.filter(|_| status.authenticated == Some(true))
}

/// The server knows of a write a moment after it was answered.
async fn until_held(client: &Client, token: &str, by: Option<&str>) {
    let reached = async {
        while holder(client, token).await.as_deref() != by {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, reached).await.unwrap();
}

async fn until(secrets: &Api<Secret>, name: &str, is_so: impl Fn(Option<&Secret>) -> bool) -> Option<Secret> {
    let reached = async {
        loop {
            let found = secrets.get_opt(name).await.unwrap();
            if is_so(found.as_ref()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, reached).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secrets_token_is_good_while_secret_and_account_are_there_and_its_use_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |config| config.root_ca_pem = "pem".into()).await;
    let client = cluster.client.clone();
    account(&client, "a").await;
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    let of = |name: &str, account: &str| -> Secret {
        let metadata = json!({ "name": name, "annotations": { "kubernetes.io/service-account.name": account } });
        serde_json::from_value(json!({ "metadata": metadata, "type": "kubernetes.io/service-account-token" })).unwrap()
    };
    secrets.create(&PostParams::default(), &of("t", "a")).await.unwrap();
    secrets.create(&PostParams::default(), &of("stray", "nobody")).await.unwrap();
    until(&secrets, "stray", |secret| secret.is_none()).await;
    let is_filled = |secret: Option<&Secret>| secret.is_some_and(|secret| secret.data.iter().flatten().any(|(key, _)| key == "token"));
    let filled = until(&secrets, "t", is_filled).await.unwrap();
    let data = filled.data.unwrap();
    assert_eq!((&data["ca.crt"].0[..], &data["namespace"].0[..]), (&b"pem"[..], &b"default"[..]));
    let token = String::from_utf8(data["token"].0.clone()).unwrap();
    let user = Some("system:serviceaccount:default:a");
    until_held(&client, &token, user).await;

    let today: String = k8s_openapi::jiff::Timestamp::now().to_string().chars().take(10).collect();
    let label = |secret: Option<&Secret>, key: &str| secret.and_then(|secret| secret.metadata.labels.as_ref()?.get(key).cloned());
    let used = until(&secrets, "t", |secret| label(secret, "kubernetes.io/legacy-token-last-used").is_some()).await;
    // Midnight may be between the two.
    assert!(label(used.as_ref(), "kubernetes.io/legacy-token-last-used").unwrap() >= today);

    let mark = |value: Value| json!({ "metadata": { "labels": { "kubernetes.io/legacy-token-invalid-since": value } } });
    for (value, by) in [(json!(today), None), (Value::Null, user)] {
        secrets.patch("t", &PatchParams::default(), &Patch::Merge(mark(value))).await.unwrap();
        until_held(&client, &token, by).await;
    }
    Api::<ServiceAccount>::default_namespaced(client.clone()).delete("a", &DeleteParams::default()).await.unwrap();
    until(&secrets, "t", |secret| secret.is_none()).await;
    account(&client, "a").await;
    until_held(&client, &token, None).await;
    drop((secrets, client));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_former_key_are_good_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let pki = directory.path().join("pki");
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    account(&cluster.client, "a").await;
    let accounts = Api::<ServiceAccount>::default_namespaced(cluster.client.clone());
    let asked = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } });
    let made: TokenRequest = accounts.create_subresource("token", "a", &PostParams::default(), &asked).await.unwrap();
    let token = made.status.unwrap().token;
    drop(accounts);
    cluster.stop().await;

    let (_, former) = account_keys::rotate(&pki).unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    assert_eq!(holder(&cluster.client, &token).await.as_deref(), Some("system:serviceaccount:default:a"));
    let keys = Request::get("/openid/v1/jwks").body(Vec::new()).unwrap();
    let keys: Value = cluster.client.request(keys).await.unwrap();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(keys["keys"][1]["kid"], former.as_str());
    cluster.stop().await;

    assert!(account_keys::remove(&pki, &former).unwrap());
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    assert_eq!(holder(&cluster.client, &token).await, None);
    cluster.stop().await;
}
