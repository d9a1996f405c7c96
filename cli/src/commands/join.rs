//! What a machine needs to join: a bootstrap kubeconfig of a token, and the commands that use it. Pure.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// A kubeconfig for the holder of a token, made of the cluster's `cluster-info` (a kubeconfig without a user).
pub fn bootstrap_kubeconfig(cluster_info: &str, token: &str) -> Result<String> {
    let info: Value = serde_yaml_ng::from_str(cluster_info).context("cluster-info is no kubeconfig")?;
    let cluster =
        info.pointer("/clusters/0/cluster").filter(|cluster| cluster["server"].is_string()).context("cluster-info names no server")?;
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "orknet", "cluster": cluster}],
        "users": [{"name": "bootstrap", "user": {"token": token}}],
        "contexts": [{"name": "orknet", "context": {"cluster": "orknet", "user": "bootstrap"}}],
        "current-context": "orknet",
    });
    Ok(serde_yaml_ng::to_string(&document)?)
}

/// What to type on the machine, as root: the file, its owner's alone, and the kubelet that joins by it.
pub fn command(bootstrap_kubeconfig: &str) -> String {
    format!(
        "install -d -m 0700 /etc/orknet\n\
         (umask 077; cat >/etc/orknet/bootstrap-kubeconfig <<'EOF'\n{bootstrap_kubeconfig}EOF\n)\n\
         orknet kubelet --bootstrap-kubeconfig /etc/orknet/bootstrap-kubeconfig --kubeconfig /etc/orknet/kubeconfig \
         --node-name \"$(hostname | tr A-Z a-z)\" --address ADDRESS-OF-THE-NODE\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use orknet_auth::kubeconfig::cluster_info;

    #[test]
    fn the_holder_of_a_token_finds_the_cluster_by_it() {
        let text = bootstrap_kubeconfig(&cluster_info("https://192.0.2.1:6443", "CA"), "abcdef.0123456789abcdef").unwrap();
        let read = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("orknet"));
        let cluster = read.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.server.as_deref(), Some("https://192.0.2.1:6443"));
        assert_eq!(cluster.certificate_authority_data.as_deref(), Some("Q0E="));
        assert!(text.contains("token: abcdef.0123456789abcdef"), "{text}");
        assert!(orknet_kubelet::credentials::kubeconfig::Document::parse(&text).is_ok(), "the kubelet takes it");
        assert!(command(&text).contains(&format!("<<'EOF'\n{text}EOF\n)\norknet kubelet ")));
        assert!(bootstrap_kubeconfig("clusters: []", "t").is_err());
    }
}
