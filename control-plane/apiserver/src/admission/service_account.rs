//! Every pod runs as a service account, whose token it finds in a volume (ServiceAccount admission).

use super::mirror_pod::{self, Reference, refers_to};
use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs};
use crate::life::generate_name;
use crate::object;
use crate::server::Server;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const SERVICE_ACCOUNTS: StoredAs = ("", "serviceaccounts");
/// Where programs look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// A namespace's account is made a moment after the namespace: how long a pod waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How the names of the token's volumes begin.
const VOLUME_PREFIX: &str = "kube-api-access-";
/// A little more than an hour, so that programs can tell the token was injected (as in Kubernetes).
const TOKEN_SECONDS: i64 = 3607;

/// Why the pod may not be, whoever makes it: the node of a mirror pod would get at what it refers to.
pub fn refusal(pod: &Value) -> Option<&'static str> {
    let refused = [
        (Reference::ServiceAccount, "a mirror pod may not reference service accounts"),
        (Reference::Secret, "a mirror pod may not reference secrets"),
        (Reference::ServiceAccountToken, "a mirror pod may not use service account token volume projections"),
    ];
    if !mirror_pod::is_mirror(pod) {
        return None;
    }
    refused.into_iter().find(|(what, _)| refers_to(pod, *what)).map(|(_, why)| why)
}

/// Sets the account and mounts its token, unless account or pod say no. 403 when the account is not there. Mirror pods stay as they are.
pub async fn inject(server: &Server, kind: &Kind, pod: &mut Value) -> Result<(), ApiError> {
    if mirror_pod::is_mirror(pod) {
        return Ok(());
    }
    let mut name = object::text(pod, "/spec/serviceAccountName").to_owned();
    if name.is_empty() {
        name = "default".into();
    }
    let spec = object::map_at(pod, "spec");
    spec.insert("serviceAccountName".into(), json!(name));
    spec.insert("serviceAccount".into(), json!(name));
    let namespace = object::namespace(pod).to_owned();
    let account = account(server, &namespace, &name).await.ok_or_else(|| {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        ApiError::forbidden(kind.descriptor(), object::name(pod), why)
    })?;
    let automount = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_bool);
    let wanted = automount(pod, "/spec/automountServiceAccountToken")
        .or_else(|| automount(&account, "/automountServiceAccountToken"))
        .unwrap_or(true);
    if wanted {
        mount(pod, &generate_name(VOLUME_PREFIX));
    }
    let secrets = account.get("imagePullSecrets").and_then(Value::as_array).filter(|secrets| !secrets.is_empty());
    let own = pod.pointer("/spec/imagePullSecrets").and_then(Value::as_array).is_some_and(|secrets| !secrets.is_empty());
    if let (false, Some(secrets)) = (own, secrets) {
        object::map_at(pod, "spec").insert("imagePullSecrets".into(), json!(secrets));
    }
    Ok(())
}

async fn account(server: &Server, namespace: &str, name: &str) -> Option<Value> {
    let ends = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = server.storage.caches.get(SERVICE_ACCOUNTS, namespace, name) {
            return Some(found.value());
        }
        if Instant::now() >= ends {
            return None;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Mounts the token in every container that has nothing at its place, and adds the volume if one does and it is not there already (containers may
/// come later, by a webhook).
fn mount(pod: &mut Value, volume: &str) {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    let present = volumes.map(object_name).find(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let (volume, is_present) = (present.as_deref().unwrap_or(volume), present.is_some());
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter(|container| container.is_object()) {
            let mounts = container.get("volumeMounts").and_then(Value::as_array).cloned().unwrap_or_default();
            if mounts.iter().any(|mount| mount.get("mountPath").and_then(Value::as_str) == Some(MOUNT_PATH)) {
                continue;
            }
            let added = json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH });
            container["volumeMounts"] = mounts.into_iter().chain([added]).collect();
            mounted = true;
        }
    }
    if !mounted || is_present {
        return;
    }
    let added = json!({
        "name": volume,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
            ],
        },
    });
    let spec = object::map_at(pod, "spec");
    match spec.get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.push(added),
        None => {
            spec.insert("volumes".into(), json!([added]));
        }
    }
}

fn object_name(volume: &Value) -> &str {
    object::text(volume, "/name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_comes_later_mounts_the_same_volume() {
        let mut pod = json!({ "spec": { "containers": [{ "name": "a" }] } });
        mount(&mut pod, "kube-api-access-x");
        pod["spec"]["containers"].as_array_mut().expect("a list").push(json!({ "name": "sidecar" }));
        mount(&mut pod, "kube-api-access-y");
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"][0]["name"], "kube-api-access-x");
        assert_eq!(pod["spec"]["volumes"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn the_token_is_mounted_where_nothing_else_is() {
        let mut pod = json!({ "spec": {
            "initContainers": [{ "name": "i" }],
            "containers": [{ "name": "a" }, { "name": "b", "volumeMounts": [{ "name": "own", "mountPath": MOUNT_PATH }] }],
        } });
        mount(&mut pod, "kube-api-access-x");
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-x");
        assert_eq!(pod["spec"]["initContainers"][0]["volumeMounts"][0]["mountPath"], MOUNT_PATH);
        assert_eq!(pod["spec"]["containers"][1]["volumeMounts"].as_array().map(Vec::len), Some(1));
        assert_eq!(pod["spec"]["volumes"].as_array().map(Vec::len), Some(1));
    }
}
