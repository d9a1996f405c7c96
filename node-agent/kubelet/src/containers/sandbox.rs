//! The CRI configuration of a pod's sandbox: host name, resolver, port mappings, sysctls, cgroup. Pure.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::security;
use crate::config::Config;
use crate::cri::labels;
use crate::cri::proto::{DnsConfig, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol};
use crate::paths::Paths;
use crate::pods::PodKey;

/// Name servers that resolvers ask at most (resolv.conf(5)); Kubernetes leaves the rest out.
const SERVERS_MAX: usize = 3;
/// Search domains of a pod at most, and their characters together (KEP-2595).
const SEARCHES_MAX: usize = 32;
const SEARCHES_LENGTH_MAX: usize = 2048;
/// Longest host name that the kernel takes.
const HOST_NAME_MAX: usize = 63;

/// Makes the configuration. `node_resolver` is the parsed resolver file of the node.
pub fn config(
    pod: &Pod,
    attempt: u32,
    config: &Config,
    paths: &Paths,
    node_resolver: &DnsConfig,
    cgroup_parent: String,
) -> PodSandboxConfig {
    let key = PodKey::of(pod);
    let spec = pod.spec.clone().unwrap_or_default();
    let host_network = spec.host_network.unwrap_or(false);
    let (host_name, _) = host_name(pod, &config.cluster_domain);
    let sysctls =
        spec.security_context.iter().flat_map(|c| c.sysctls.iter().flatten()).map(|s| (s.name.clone(), s.value.clone())).collect();
    PodSandboxConfig {
        hostname: if host_network { String::new() } else { host_name },
        log_directory: paths.pod_logs(&key).to_string_lossy().into_owned(),
        dns_config: Some(resolver(&spec, &key.namespace, config, node_resolver)),
        port_mappings: if host_network { Vec::new() } else { port_mappings(&spec) },
        labels: labels::of_pod(&key),
        annotations: pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent,
            security_context: Some(security::of_sandbox(pod)),
            sysctls,
            ..Default::default()
        }),
        metadata: Some(PodSandboxMetadata { name: key.name, uid: key.uid, namespace: key.namespace, attempt }),
        ..Default::default()
    }
}

/// The pod's host name, and its fully qualified name when `spec.subdomain` gives it one.
pub fn host_name(pod: &Pod, cluster_domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.clone().unwrap_or_default();
    let name = spec.hostname.filter(|h| !h.is_empty()).or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    let mut short: String = name.chars().take(HOST_NAME_MAX).collect();
    short.truncate(short.trim_end_matches(['-', '.']).len());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let full = spec.subdomain.filter(|s| !s.is_empty()).map(|s| format!("{short}.{s}.{namespace}.svc.{cluster_domain}"));
    match (&full, spec.set_hostname_as_fqdn) {
        (Some(fqdn), Some(true)) => (fqdn.clone(), full),
        _ => (short, full),
    }
}

/// What the pod's `/etc/resolv.conf` says, by `dnsPolicy` and `dnsConfig`.
pub fn resolver(spec: &PodSpec, namespace: &str, config: &Config, node: &DnsConfig) -> DnsConfig {
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirst" => !spec.host_network.unwrap_or(false),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut made = match policy {
        "None" => DnsConfig::default(),
        _ if cluster && !config.cluster_dns.is_empty() => {
            let domain = &config.cluster_domain;
            let mut searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
            searches.extend(node.searches.iter().cloned());
            DnsConfig {
                servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
                searches,
                options: vec!["ndots:5".to_owned()],
            }
        }
        _ => node.clone(),
    };
    if let Some(extra) = &spec.dns_config {
        append_new(&mut made.servers, extra.nameservers.iter().flatten());
        append_new(&mut made.searches, extra.searches.iter().flatten());
        for option in extra.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else { continue };
            made.options.retain(|o| o.split(':').next() != Some(name));
            made.options.push(match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name.to_owned(),
            });
        }
    }
    made.servers.truncate(SERVERS_MAX);
    made.searches.truncate(SEARCHES_MAX);
    while made.searches.join(" ").len() > SEARCHES_LENGTH_MAX {
        made.searches.pop();
    }
    made
}

/// Reads the text of a resolver file.
pub fn parse_resolver(text: &str) -> DnsConfig {
    let mut made = DnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let keyword = words.next();
        let rest: Vec<String> = words.map(str::to_owned).collect();
        match keyword {
            Some("nameserver") => made.servers.extend(rest.into_iter().next()),
            // The last line wins, as in the resolver itself.
            Some("search" | "domain") => made.searches = rest,
            Some("options") => made.options.extend(rest),
            _ => {}
        }
    }
    made
}

fn append_new<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

fn port_mappings(spec: &PodSpec) -> Vec<PortMapping> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let mapped = ports.filter(|p| p.host_port.unwrap_or(0) > 0).map(|p| PortMapping {
        protocol: match p.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        } as i32,
        container_port: p.container_port,
        host_port: p.host_port.unwrap_or(0),
        host_ip: p.host_ip.clone().unwrap_or_default(),
    });
    mapped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver_of(spec: serde_json::Value) -> DnsConfig {
        let mut value = spec;
        value["containers"] = serde_json::json!([]);
        let spec: PodSpec = serde_json::from_value(value).unwrap();
        let config = Config { cluster_dns: vec!["10.96.0.10".parse().unwrap()], ..Config::default() };
        let node = parse_resolver("# c\nnameserver 192.0.2.53\ndomain old\nsearch example.org\noptions edns0 ; c\n");
        resolver(&spec, "n", &config, &node)
    }

    #[test]
    fn each_dns_policy_has_its_resolver() {
        let cluster = ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"];
        for (spec, servers, searches, options) in [
            (serde_json::json!({}), vec!["10.96.0.10"], cluster.to_vec(), vec!["ndots:5"]),
            (serde_json::json!({"hostNetwork": true}), vec!["192.0.2.53"], vec!["example.org"], vec!["edns0"]),
            (
                serde_json::json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                vec!["10.96.0.10"],
                cluster.to_vec(),
                vec!["ndots:5"],
            ),
            (serde_json::json!({"dnsPolicy": "Default"}), vec!["192.0.2.53"], vec!["example.org"], vec!["edns0"]),
            (
                serde_json::json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "2"}, {"name": "x"}]}}),
                vec!["1.1.1.1"],
                vec!["a"],
                vec!["ndots:2", "x"],
            ),
            (
                serde_json::json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}}),
                vec!["10.96.0.10"],
                cluster.to_vec(),
                vec!["ndots:1"],
            ),
        ] {
            let made = resolver_of(spec.clone());
            assert_eq!((made.servers, made.searches, made.options), (own(servers), own(searches), own(options)), "{spec}");
        }
    }

    #[test]
    fn a_resolver_has_no_more_than_resolvers_read() {
        let long = "x".repeat(63);
        let searches: Vec<String> = (0..40).map(|n| format!("{n}.{long}.{long}")).collect();
        let made = resolver_of(serde_json::json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3"], "searches": searches}}));
        assert_eq!(made.servers, ["10.96.0.10", "1.1.1.1", "1.1.1.2"]);
        assert!(made.searches.len() < 32 && made.searches.join(" ").len() <= 2048);
    }

    fn own(list: Vec<&str>) -> Vec<String> {
        list.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn host_names_are_short_and_qualified_by_the_subdomain() {
        let pod = |v| serde_json::from_value::<Pod>(v).unwrap();
        let long = "a".repeat(62) + "-bc";
        let made = host_name(&pod(serde_json::json!({"metadata": {"name": long}})), "cluster.local");
        assert_eq!(made, ("a".repeat(62), None));
        let spec =
            serde_json::json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"hostname": "h", "subdomain": "s", "containers": []}});
        assert_eq!(host_name(&pod(spec), "cluster.local"), ("h".into(), Some("h.s.n.svc.cluster.local".into())));
    }

    #[test]
    fn host_ports_become_mappings() {
        let spec = serde_json::json!({"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]}]});
        let mappings = port_mappings(&serde_json::from_value(spec).unwrap());
        assert_eq!(mappings.len(), 1);
        assert_eq!((mappings[0].host_port, mappings[0].container_port, mappings[0].protocol), (5353, 53, Protocol::Udp as i32));
    }
}
