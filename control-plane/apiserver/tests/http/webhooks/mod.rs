//! Webhooks of admission, asked over real TLS: what they are told, what their answers do, and what becomes of a request when they fail.

mod failures;
pub mod hook_server;
mod matching;
mod patches;
mod reviews;
mod subresources;

use crate::harness::TestServer;
use hook_server::HookServer;
use serde_json::{Value, json};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
pub const MUTATING: &str = "mutatingwebhookconfigurations";
pub const VALIDATING: &str = "validatingwebhookconfigurations";

/// A webhook of a configuration: asked by this server about writes of ConfigMaps in the namespace `default`, unless `change` says otherwise.
pub fn hook(server: &HookServer, name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut hook = json!({
        "name": name,
        "clientConfig": { "url": server.url(), "caBundle": server.ca_bundle() },
        "rules": [rule(&["*"], "", "v1", &["configmaps"])],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    });
    change(&mut hook);
    hook
}

fn rule(operations: &[&str], group: &str, version: &str, resources: &[&str]) -> Value {
    json!({ "operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": resources })
}

/// Makes a configuration; the server asks its webhooks when this returns.
pub async fn configure(server: &TestServer, plural: &str, name: &str, hooks: Value) {
    let made =
        server.admin.post(&format!("{GROUP}/{plural}"), json!({ "metadata": { "name": name }, "webhooks": hooks })).await.expect(201);
    let version = made["metadata"]["resourceVersion"].as_str().expect("a version");
    seen(server, plural, version).await;
}

/// Removes a configuration; the server asks its webhooks no more when this returns.
async fn unconfigure(server: &TestServer, plural: &str, name: &str) {
    server.admin.delete(&format!("{GROUP}/{plural}/{name}")).await.expect(200);
    // A write of another kind is after it.
    let path = "/api/v1/namespaces/default/secrets";
    let later = server.admin.post(path, json!({ "metadata": { "generateName": "mark-" } })).await.expect(201);
    seen(server, plural, later["metadata"]["resourceVersion"].as_str().expect("a version")).await;
}

async fn seen(server: &TestServer, plural: &str, version: &str) {
    let path = format!("{GROUP}/{plural}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    server.admin.get(&path).await.expect(200);
}

/// What the answer warns of.
fn warnings(answer: &crate::client::Answer) -> Vec<String> {
    answer.headers.get_all("warning").iter().map(|value| value.to_str().expect("text").to_owned()).collect()
}

/// A patch as webhooks answer it.
pub fn patch(operations: Value) -> Value {
    use base64::Engine;
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({ "allowed": true, "patchType": "JSONPatch", "patch": patch })
}
