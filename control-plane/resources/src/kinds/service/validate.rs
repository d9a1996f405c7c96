//! The rules for services. Whether addresses and node ports are free and in range is the allocator's to say.

use crate::field::{Errors, Path};
use crate::{meta, names};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::HashSet;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const MAX_AFFINITY_SECONDS: i32 = 86_400;
/// No balancer may lead to it.
const KUBELET_PORT: i32 = 10_250;
const TRAFFIC_POLICIES: &[&str] = &["Cluster", "Local"];

pub fn service(object: &Service, errors: &mut Errors) {
    let at = Path::Root.field("spec");
    let Some(spec) = &object.spec else {
        errors.required(&at.field("ports"), "");
        return;
    };
    let kind = spec.type_.as_deref().unwrap_or_default();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    if spec.ports.as_ref().is_none_or(Vec::is_empty) && !headless && kind != "ExternalName" {
        errors.required(&at.field("ports"), "");
    }
    errors.one_of(&at.field("type"), spec.type_.as_deref(), TYPES);
    by_type(spec, kind, headless, &at, errors);
    ports(spec, &at.field("ports"), errors);
    if let Some(labels) = &spec.selector {
        meta::labels(labels, &at.field("selector"), errors);
    }
    affinity(spec, &at, errors);
    addresses(spec, kind, &at, errors);
    policies(spec, kind, &at, errors);
}

pub fn update(new: &Service, old: &Service, errors: &mut Errors) {
    service(new, errors);
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let at = Path::Root.field("spec");
    let has_address = |s: &ServiceSpec| s.type_.as_deref() != Some("ExternalName");
    if !has_address(new) || !has_address(old) {
        return;
    }
    let first = |s: &ServiceSpec| s.cluster_ip.clone().unwrap_or_default();
    if !first(old).is_empty() && first(new) != first(old) {
        errors.invalid(&at.field("clusterIPs").index(0), serde_json::json!([first(new)]), "may not change once set");
    }
    let family = |s: &ServiceSpec| s.ip_families.as_ref().and_then(|f| f.first().cloned());
    if family(old).is_some() && family(new).is_some() && family(new) != family(old) {
        errors.invalid(&at.field("ipFamilies").index(0), family(new).unwrap_or_default(), "may not change once set");
    }
    let class = |s: &ServiceSpec| s.load_balancer_class.clone();
    if old.type_ == new.type_ && old.type_.as_deref() == Some("LoadBalancer") && class(new) != class(old) {
        errors.invalid(&at.field("loadBalancerClass"), class(new).unwrap_or_default(), "may not change once set");
    }
}

pub fn status(object: &Service, errors: &mut Errors) {
    let ingress: Vec<_> = object.status.iter().flat_map(|s| &s.load_balancer).flat_map(|l| l.ingress.iter().flatten()).collect();
    let at = Path::Root.field("status");
    let at = at.field("loadBalancer");
    let at = at.field("ingress");
    let kind = object.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    if kind != Some("LoadBalancer") && !ingress.is_empty() {
        errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for (i, entry) in ingress.into_iter().enumerate() {
        let at = at.index(i);
        let ip = entry.ip.as_deref().filter(|ip| !ip.is_empty());
        if let Some(ip) = ip
            && let Err(detail) = names::ip(ip)
        {
            errors.invalid(&at.field("ip"), ip, detail);
        }
        match (ip, entry.ip_mode.as_deref()) {
            (Some(_), None) => errors.required(&at.field("ipMode"), "must be specified when `ip` is set"),
            (None, Some(_)) => errors.forbidden(&at.field("ipMode"), "may not be specified when `ip` is not set"),
            (_, mode) => errors.one_of_if_set(&at.field("ipMode"), mode, &["Proxy", "VIP"]),
        }
        if let Some(name) = entry.hostname.as_deref().filter(|n| !n.is_empty()) {
            errors.format(&at.field("hostname"), name, names::subdomain(name));
            if name.parse::<std::net::IpAddr>().is_ok() {
                errors.invalid(&at.field("hostname"), name, "must be a DNS name, not an IP address");
            }
        }
    }
}

fn by_type(spec: &ServiceSpec, kind: &str, headless: bool, at: &Path<'_>, errors: &mut Errors) {
    if kind == "LoadBalancer" {
        for (i, port) in spec.ports.iter().flatten().enumerate().filter(|(_, port)| port.port == KUBELET_PORT) {
            let detail = format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
            errors.invalid(&at.field("ports").index(i), port.port, detail);
        }
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&at.field("clusterIPs").index(0), "None", detail);
        }
        "ExternalName" => {
            if spec.cluster_ip.as_ref().is_some_and(|ip| !ip.is_empty()) {
                errors.forbidden(&at.field("clusterIPs"), "may not be set for ExternalName services");
            }
            for (key, is_set) in [("ipFamilies", has_some(spec.ip_families.as_ref())), ("ipFamilyPolicy", spec.ip_family_policy.is_some())]
            {
                if is_set {
                    errors.forbidden(&at.field(key), "may not be set for ExternalName services");
                }
            }
            let name = spec.external_name.as_deref().unwrap_or_default();
            // A trailing dot is only removed once.
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                errors.required(&at.field("externalName"), "");
            } else {
                errors.format(&at.field("externalName"), name, names::subdomain(name));
            }
        }
        _ => {}
    }
}

fn ports(spec: &ServiceSpec, at: &Path<'_>, errors: &mut Errors) {
    let list = spec.ports.as_deref().unwrap_or_default();
    let kind = spec.type_.as_deref().unwrap_or_default();
    let (mut names_seen, mut seen, mut node_ports) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (i, port) in list.iter().enumerate() {
        let at = at.index(i);
        let name = port.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            if list.len() > 1 {
                errors.required(&at.field("name"), "");
            }
        } else {
            errors.format(&at.field("name"), name, names::label(name));
            if !names_seen.insert(name) {
                errors.duplicate(&at.field("name"), name);
            }
        }
        if let Some(detail) = names::port_number(port.port) {
            errors.invalid(&at.field("port"), port.port, detail);
        }
        let protocol = port.protocol.as_deref().unwrap_or_default();
        errors.one_of(&at.field("protocol"), Some(protocol), PROTOCOLS);
        target(port, &at, errors);
        if let Some(protocol) = port.app_protocol.as_deref() {
            errors.format(&at.field("appProtocol"), protocol, names::qualified_name(protocol));
        }
        if !seen.insert((protocol, port.port)) {
            errors.duplicate(&at, serde_json::json!({"port": port.port, "protocol": protocol}));
        }
        if let Some(node_port) = port.node_port.filter(|n| *n != 0) {
            if kind == "ClusterIP" {
                errors.forbidden(&at.field("nodePort"), "may not be used when `type` is 'ClusterIP'");
            } else if kind == "ExternalName" {
                errors.forbidden(&at.field("nodePort"), "may not be used when `type` is 'ExternalName'");
            }
            if !node_ports.insert((protocol, node_port)) {
                errors.duplicate(&at.field("nodePort"), node_port);
            }
        }
    }
}

fn target(port: &ServicePort, at: &Path<'_>, errors: &mut Errors) {
    match &port.target_port {
        Some(IntOrString::Int(number)) => {
            if let Some(detail) = names::port_number(*number) {
                errors.invalid(&at.field("targetPort"), *number, detail);
            }
        }
        Some(IntOrString::String(name)) => errors.format(&at.field("targetPort"), name, names::port_name(name)),
        None => {}
    }
}

fn affinity(spec: &ServiceSpec, at: &Path<'_>, errors: &mut Errors) {
    errors.one_of(&at.field("sessionAffinity"), spec.session_affinity.as_deref(), &["ClientIP", "None"]);
    let config = at.field("sessionAffinityConfig");
    match (spec.session_affinity.as_deref(), &spec.session_affinity_config) {
        (Some("None"), Some(_)) => {
            errors.forbidden(&config, "must not be set when session affinity is None");
        }
        (Some("ClientIP"), Some(set)) => {
            let seconds = set.client_ip.as_ref().and_then(|c| c.timeout_seconds);
            let at = config.field("clientIP");
            match seconds {
                None => errors.required(&at.field("timeoutSeconds"), "when session affinity is ClientIP"),
                Some(seconds) if !(1..=MAX_AFFINITY_SECONDS).contains(&seconds) => {
                    let detail = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
                    errors.invalid(&at.field("timeoutSeconds"), seconds, detail);
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

fn addresses(spec: &ServiceSpec, kind: &str, at: &Path<'_>, errors: &mut Errors) {
    let list = at.field("clusterIPs");
    let ips = spec.cluster_ips.as_deref().unwrap_or_default();
    if let (Some(single), Some(first)) = (&spec.cluster_ip, ips.first())
        && single != first
    {
        errors.invalid(&list, serde_json::json!(ips), "first value must match `clusterIP`");
    }
    if ips.len() > 2 {
        errors.invalid(&list, serde_json::json!(ips), "may only hold up to 2 values");
    }
    for (i, ip) in ips.iter().enumerate() {
        match ip.as_str() {
            "None" if ips.len() > 1 => errors.invalid(&list.index(i), "None", "'None' must be the first and only value"),
            "None" => {}
            "" => errors.invalid(&list.index(i), "", "must be empty when `clusterIPs` is not specified"),
            text => {
                if let Err(detail) = names::ip(text) {
                    errors.invalid(&list.index(i), text, detail);
                }
            }
        }
    }
    if let [a, b] = ips
        && let (Ok(a), Ok(b)) = (names::ip(a), names::ip(b))
        && a.is_ipv4() == b.is_ipv4()
    {
        errors.invalid(&list, serde_json::json!(ips), "may specify no more than one IP for each IP family");
    }
    let families = at.field("ipFamilies");
    let listed = spec.ip_families.as_deref().unwrap_or_default();
    let mut seen = HashSet::new();
    for (i, family) in listed.iter().enumerate() {
        errors.one_of(&families.index(i), Some(family), &["IPv4", "IPv6"]);
        if !seen.insert(family) {
            errors.duplicate(&families.index(i), family.as_str());
        }
    }
    let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    errors.one_of_if_set(&at.field("ipFamilyPolicy"), spec.ip_family_policy.as_deref(), policies);
    let external = at.field("externalIPs");
    for (i, text) in spec.external_ips.iter().flatten().enumerate() {
        match names::ip(text) {
            Err(detail) => errors.invalid(&external.index(i), text.as_str(), detail),
            Ok(ip) => crate::kinds::endpoint_slice::not_special(&ip, &external.index(i), errors),
        }
    }
    let ranges = at.field("LoadBalancerSourceRanges");
    let sources = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    if !sources.is_empty() && kind != "LoadBalancer" {
        errors.forbidden(&ranges, "may only be used when `type` is 'LoadBalancer'");
    }
    for (i, range) in sources.iter().enumerate() {
        if let Err(detail) = names::cidr(range.trim()) {
            errors.invalid(&ranges.index(i), range.as_str(), detail);
        }
    }
}

fn policies(spec: &ServiceSpec, kind: &str, at: &Path<'_>, errors: &mut Errors) {
    let external = at.field("externalTrafficPolicy");
    let reachable = matches!(kind, "NodePort" | "LoadBalancer") || kind == "ClusterIP" && has_some(spec.external_ips.as_ref());
    match spec.external_traffic_policy.as_deref().filter(|p| !p.is_empty()) {
        Some(policy) if !reachable => {
            errors.invalid(&external, policy, "may only be set for externally-accessible services");
        }
        Some(policy) => errors.one_of_if_set(&external, Some(policy), TRAFFIC_POLICIES),
        None if reachable => errors.required(&external, ""),
        None => {}
    }
    errors.one_of_if_set(&at.field("internalTrafficPolicy"), spec.internal_traffic_policy.as_deref(), TRAFFIC_POLICIES);
    if let Some(port) = spec.health_check_node_port.filter(|p| *p != 0) {
        let at = at.field("healthCheckNodePort");
        if kind != "LoadBalancer" || spec.external_traffic_policy.as_deref() != Some("Local") {
            errors.invalid(&at, port, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
        } else if let Some(detail) = names::port_number(port) {
            errors.invalid(&at, port, detail);
        }
    }
    if spec.allocate_load_balancer_node_ports.is_some() && kind != "LoadBalancer" {
        errors.forbidden(&at.field("allocateLoadBalancerNodePorts"), "may only be used when `type` is 'LoadBalancer'");
    }
    if let Some(class) = spec.load_balancer_class.as_deref() {
        if kind == "LoadBalancer" {
            errors.format(&at.field("loadBalancerClass"), class, names::qualified_name(class));
        } else {
            errors.forbidden(&at.field("loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'");
        }
    }
    let distributions = &["PreferClose", "PreferSameNode", "PreferSameZone"];
    errors.one_of_if_set(&at.field("trafficDistribution"), spec.traffic_distribution.as_deref(), distributions);
}

fn has_some(list: Option<&Vec<String>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::Service as Kind;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::{Value, json};

    const KIND: Typed<Kind> = Typed::NEW;

    fn service(spec: Value) -> Value {
        KIND.decode(json!({"metadata": {"name": "s", "namespace": "d"}, "spec": spec})).unwrap().object
    }

    #[test]
    fn services_have_their_rules() {
        let ports = json!([{"port": 80}]);
        for (spec, expected) in [
            (json!({"ports": ports}), None),
            (json!({"clusterIP": "None"}), None),
            (json!({"type": "ExternalName", "externalName": "a.b"}), None),
            (
                json!({"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30000}, {"name": "b", "port": 80, "protocol": "UDP"}]}),
                None,
            ),
            (json!({}), Some("spec.ports: Required value")),
            (
                json!({"type": "X", "ports": ports}),
                Some(
                    "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ),
            ),
            (
                json!({"ports": [{"port": 0, "targetPort": 1}]}),
                Some("spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
            ),
            (json!({"ports": [{"name": "a", "port": 1}, {"port": 2}]}), Some("spec.ports[1].name: Required value")),
            (json!({"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]}), Some("spec.ports[1]: Duplicate value: ")),
            (
                json!({"ports": [{"port": 1, "targetPort": "Http"}]}),
                Some("spec.ports[0].targetPort: Invalid value: \"Http\": must contain only alpha-numeric"),
            ),
            (
                json!({"ports": [{"port": 1, "nodePort": 30000}]}),
                Some("spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
            ),
            (
                json!({"ports": ports, "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}),
                Some(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less than 86400",
                ),
            ),
            (json!({"ports": ports, "clusterIP": "x"}), Some("spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address")),
            (
                json!({"ports": ports, "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}),
                Some("spec.clusterIPs: Invalid value: []string{\"10.0.0.2\"}: first value must match `clusterIP`"),
            ),
            (
                json!({"ports": ports, "externalTrafficPolicy": "Local"}),
                Some("spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"),
            ),
            (
                json!({"ports": ports, "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
                Some("spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"),
            ),
            (
                json!({"type": "LoadBalancer", "ports": ports, "loadBalancerSourceRanges": [" 10.0.0.0/8 ", "fd00::/8", "10.0.0.0"]}),
                Some("spec.LoadBalancerSourceRanges[2]: Invalid value: \"10.0.0.0\": must be a valid CIDR value"),
            ),
            (
                json!({"type": "LoadBalancer", "ports": [{"port": 10250}]}),
                Some("spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"),
            ),
            (
                json!({"type": "LoadBalancer", "ports": ports, "healthCheckNodePort": 30000}),
                Some("spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and"),
            ),
            (
                json!({"type": "NodePort", "ports": ports, "allocateLoadBalancerNodePorts": false}),
                Some("spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"),
            ),
            (
                json!({"type": "NodePort", "ports": ports, "loadBalancerClass": "Not A Name"}),
                Some("spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"),
            ),
            (
                json!({"type": "LoadBalancer", "ports": ports, "externalTrafficPolicy": "Near"}),
                Some("spec.externalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\""),
            ),
            (json!({"ports": ports, "externalIPs": ["192.0.2.1", "fd00::1"], "externalTrafficPolicy": "Local"}), None),
            (
                json!({"ports": ports, "externalIPs": ["127.0.0.1"]}),
                Some("spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range"),
            ),
            (
                json!({"ports": ports, "externalIPs": ["example.com"]}),
                Some("spec.externalIPs[0]: Invalid value: \"example.com\": must be a valid IP address"),
            ),
            (
                json!({"ports": ports, "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
                Some("spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"),
            ),
            (
                json!({"ports": ports, "internalTrafficPolicy": "Near"}),
                Some("spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\""),
            ),
            (
                json!({"ports": ports, "trafficDistribution": "Near"}),
                Some(
                    "spec.trafficDistribution: Unsupported value: \"Near\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
                ),
            ),
            (
                json!({"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30000}, {"name": "b", "port": 81, "nodePort": 30000}]}),
                Some("spec.ports[1].nodePort: Duplicate value: 30000"),
            ),
            (
                json!({"type": "ExternalName", "externalName": "a.b", "ipFamilyPolicy": "SingleStack"}),
                Some("spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services"),
            ),
            (json!({"ports": ports, "selector": {"a": "-"}}), Some("spec.selector: Invalid value: \"-\": a valid label must be")),
            (json!({"type": "ExternalName"}), Some("spec.externalName: Required value")),
            (
                json!({"type": "NodePort", "clusterIP": "None", "ports": ports}),
                Some("spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"),
            ),
        ] {
            let found: Vec<String> = KIND.validate_create(&service(spec.clone())).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{spec}: {found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }

    #[test]
    fn the_first_address_never_changes() {
        let with = |ip| service(json!({"ports": [{"port": 80}], "clusterIP": ip}));
        let found = KIND.validate_update(&with("10.0.0.2"), &with("10.0.0.1"), None);
        assert_eq!(found[0].to_string(), "spec.clusterIPs[0]: Invalid value: []string{\"10.0.0.2\"}: may not change once set");
        let external = service(json!({"type": "ExternalName", "externalName": "a.b"}));
        assert!(KIND.validate_update(&external, &with("10.0.0.1"), None).is_empty());
    }

    #[test]
    fn the_status_of_a_load_balancer_has_its_rules() {
        let status = |kind: &str, entry: Value| {
            let mut object = service(json!({"type": kind, "ports": [{"port": 80}]}));
            object["metadata"]["resourceVersion"] = "1".into();
            let old = object.clone();
            object["status"] = json!({"loadBalancer": {"ingress": [entry]}});
            KIND.validate_update(&object, &old, Some("status")).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(status("LoadBalancer", json!({"ip": "192.0.2.1", "ipMode": "VIP", "hostname": "a.b"})), Vec::<String>::new());
        let at = "status.loadBalancer.ingress";
        for (kind, entry, expected) in [
            (
                "NodePort",
                json!({"ip": "192.0.2.1", "ipMode": "VIP"}),
                format!("{at}: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"),
            ),
            ("LoadBalancer", json!({"ip": "x", "ipMode": "VIP"}), format!("{at}[0].ip: Invalid value: \"x\": must be a valid IP address")),
            ("LoadBalancer", json!({"ip": "192.0.2.1"}), format!("{at}[0].ipMode: Required value: must be specified when `ip` is set")),
            (
                "LoadBalancer",
                json!({"hostname": "a.b", "ipMode": "VIP"}),
                format!("{at}[0].ipMode: Forbidden: may not be specified when `ip` is not set"),
            ),
            (
                "LoadBalancer",
                json!({"ip": "192.0.2.1", "ipMode": "X"}),
                format!("{at}[0].ipMode: Unsupported value: \"X\": supported values: \"Proxy\", \"VIP\""),
            ),
            (
                "LoadBalancer",
                json!({"hostname": "192.0.2.1"}),
                format!("{at}[0].hostname: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address"),
            ),
        ] {
            let found = status(kind, entry);
            assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}, expected {expected}");
        }
    }

    #[test]
    fn names_are_those_of_dns_hosts() {
        let mut object = service(json!({"ports": [{"port": 80}]}));
        object["metadata"]["name"] = "1a".into();
        assert!(KIND.validate_create(&object)[0].detail.starts_with("a DNS-1035 label must consist of"));
    }
}
