//! Secrets sealed in the store: nothing of them is there in plain text, keys are changed, and a server without the key does not take them for gone.

use crate::harness::{CONFIG_MAPS, TestServer, config_map, open};
use orknet_store::{KeyRange, Store};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const KEYS: [(&str, &str); 2] =
    [("old", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), ("new", "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=")];

/// A configuration that seals Secrets with these keys, the first of which writes.
fn configuration(directory: &Path, keys: &[(&str, &str)]) -> PathBuf {
    let keys: Vec<_> = keys.iter().map(|(name, secret)| json!({ "name": name, "secret": secret })).collect();
    let file = json!({ "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{ "resources": ["secrets"], "providers": [{ "aesgcm": { "keys": keys } }, { "identity": {} }] }] });
    let path = directory.join("encryption.yaml");
    std::fs::write(&path, file.to_string()).expect("writes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets");
    path
}

/// Everything that the store holds, as text.
async fn all(store: &Arc<dyn Store>) -> String {
    let found = store.range(KeyRange::prefix("/"), None, 0).await.expect("reads");
    found
        .entries
        .iter()
        .map(|entry| format!("{} {}\n", String::from_utf8_lossy(&entry.key), String::from_utf8_lossy(&entry.value)))
        .collect()
}

fn secret(name: &str) -> serde_json::Value {
    json!({ "metadata": { "name": name }, "stringData": { "k": "hidden-text" } })
}

const HIDDEN: &str = "aGlkZGVuLXRleHQ=";

#[tokio::test]
async fn secrets_are_sealed_in_the_store_and_served_as_ever() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = configuration(directory.path(), &KEYS[..1]);
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |config| config.encryption_file = Some(file)).await;
    let mut watch = server.admin.watch(&format!("{SECRETS}?watch=1")).await;
    server.admin.post(SECRETS, secret("a")).await.expect(201);
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(watch.next().await.expect("an event")["object"]["data"]["k"], HIDDEN);
    assert_eq!(server.admin.get(&format!("{SECRETS}/a")).await.expect(200)["data"]["k"], HIDDEN);
    // At a version, past the cache.
    let version = crate::harness::version(&server.admin.get(SECRETS).await.expect(200));
    let exact = server.admin.get(&format!("{SECRETS}?resourceVersion={version}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!(exact["items"][0]["data"]["k"], HIDDEN);
    let changed = json!({ "data": { "more": "bW9yZQ==" } });
    server.admin.patch(&format!("{SECRETS}/a"), "application/merge-patch+json", changed).await.expect(200);
    let stored = all(&store).await;
    assert!(stored.contains("/registry/core/secrets/default/a k8s:enc:aesgcm:v1:old:"), "{stored}");
    assert!(!stored.contains(HIDDEN) && !stored.contains("bW9yZQ==") && stored.contains("\"k\":\"v\""), "{stored}");
}

#[tokio::test]
async fn keys_are_changed_by_restarts_and_what_was_plain_is_sealed() {
    let mut directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |_| {}).await;
    server.admin.post(SECRETS, secret("a")).await.expect(201);
    assert!(all(&store).await.contains(HIDDEN), "plain text before");
    directory = server.stop().await;
    for keys in [&KEYS[..1], &[KEYS[1], KEYS[0]], &KEYS[1..]] {
        let file = configuration(directory.path(), keys);
        let server = TestServer::start_on(directory, store.clone(), |config| config.encryption_file = Some(file)).await;
        let head = format!("/registry/core/secrets/default/a k8s:enc:aesgcm:v1:{}:", keys[0].0);
        let sealed = async {
            while !all(&store).await.contains(&head) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), sealed).await.expect("sealed with the first key in time");
        assert_eq!(server.admin.get(&format!("{SECRETS}/a")).await.expect(200)["data"]["k"], HIDDEN);
        directory = server.stop().await;
    }
}

#[tokio::test]
async fn a_server_without_the_key_is_not_ready_rather_than_without_secrets() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = configuration(directory.path(), &KEYS[..1]);
    let store = open(directory.path()).await;
    let server = TestServer::start_on(directory, store.clone(), |config| config.encryption_file = Some(file)).await;
    server.admin.post(SECRETS, secret("a")).await.expect(201);
    let mut directory = server.stop().await;
    for keys in [None, Some(&KEYS[1..])] {
        let file = keys.map(|keys| configuration(directory.path(), keys));
        let server = TestServer::begin_on(directory, store.clone(), |config| config.encryption_file = file).await;
        // It refuses after it has waited for its caches.
        server.admin.get(SECRETS).await.refused(503, "ServiceUnavailable");
        assert_eq!(server.admin.get("/readyz").await.status, 500);
        directory = server.stop().await;
    }
}
