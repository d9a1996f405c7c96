//! Kubeconfig files (`v1 Config`) with everything embedded, as the cluster hands them out.

use crate::pki::KeyAndCertificate;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

/// The text of a kubeconfig: one cluster at `server` trusted by `ca_pem`, one user with a client certificate, one context of
/// the cluster's name.
pub fn kubeconfig(cluster: &str, server: &str, ca_pem: &str, user: &str, credentials: &KeyAndCertificate) -> String {
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "users": [{"name": user, "user": {
            "client-certificate-data": STANDARD.encode(&credentials.certificate_pem),
            "client-key-data": STANDARD.encode(&credentials.key_pem)}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
        "preferences": {},
    });
    // Cannot fail: the document has string keys only.
    serde_yaml_ng::to_string(&document).unwrap_or_default()
}

/// The same without a user: what who joins must know of a cluster (`kube-public/cluster-info`, as kubeadm writes it).
pub fn cluster_info(server: &str, ca_pem: &str) -> String {
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "contexts": null,
        "current-context": "",
        "preferences": {},
        "users": null,
    });
    serde_yaml_ng::to_string(&document).unwrap_or_default()
}
