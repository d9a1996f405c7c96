//! The file that containers see as `/etc/hosts`. Pure, but for reading the node's own file.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use crate::containers::sandbox::host_name;

/// The text for a pod. `node_file` is the node's own `/etc/hosts`, the base for pods in the host's network.
pub fn text(pod: &Pod, ips: &[IpAddr], cluster_domain: &str, node_file: &str) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut text = if spec.host_network == Some(true) {
        format!("# Kubernetes-managed hosts file (host network).\n{node_file}")
    } else {
        let mut text = "# Kubernetes-managed hosts file.\n\
            127.0.0.1\tlocalhost\n\
            ::1\tlocalhost ip6-localhost ip6-loopback\n\
            fe00::0\tip6-localnet\n\
            fe00::0\tip6-mcastprefix\n\
            fe00::1\tip6-allnodes\n\
            fe00::2\tip6-allrouters\n"
            .to_owned();
        let (name, full) = host_name(pod, cluster_domain);
        for ip in ips {
            match full.as_deref().filter(|full| *full != name) {
                Some(full) => text.push_str(&format!("{ip}\t{full}\t{name}\n")),
                None => text.push_str(&format!("{ip}\t{name}\n")),
            }
        }
        text
    };
    let aliases: Vec<String> = spec
        .host_aliases
        .iter()
        .flatten()
        .map(|alias| format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")))
        .collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        text.extend(aliases);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_aliases_are_listed() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"metadata": {"name": "p", "namespace": "n"},
            "spec": {"subdomain": "s", "containers": [], "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}))
        .unwrap();
        let text = text(&pod, &["10.0.0.1".parse().unwrap()], "cluster.local", "");
        assert!(text.contains("\n10.0.0.1\tp.s.n.svc.cluster.local\tp\n"), "{text}");
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_host_network_pod_has_the_nodes_file() {
        let pod: Pod = serde_json::from_str(r#"{"spec": {"hostNetwork": true, "containers": []}}"#).unwrap();
        assert_eq!(text(&pod, &[], "c", "127.0.0.1 x\n"), "# Kubernetes-managed hosts file (host network).\n127.0.0.1 x\n");
    }
}
