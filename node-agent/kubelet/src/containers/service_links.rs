//! Environment variables that tell a container about Services: `X_SERVICE_HOST`, `X_SERVICE_PORT`, and the older `X_PORT_80_TCP…` forms. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// The Service whose variables every pod gets, in this namespace.
const API_NAMESPACE: &str = "default";
const API_SERVICE: &str = "kubernetes";

/// Variables for a pod in `namespace`. Without `links` only those of the API server's Service.
pub fn variables<'a>(services: impl Iterator<Item = &'a Service>, namespace: &str, links: bool) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let (Some(name), Some(of)) = (service.metadata.name.as_deref(), service.metadata.namespace.as_deref()) else { continue };
        let is_api = of == API_NAMESPACE && name == API_SERVICE;
        if (is_api && !chosen.contains_key(name)) || (links && of == namespace) {
            chosen.insert(name, service);
        }
    }
    chosen.into_values().flat_map(of_service).collect()
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let (Some(name), Some(spec)) = (service.metadata.name.as_deref(), service.spec.as_ref()) else { return Vec::new() };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return Vec::new() };
    let Some(ports) = spec.ports.as_ref().filter(|p| !p.is_empty()) else { return Vec::new() };
    let prefix = upper(name);
    let mut variables =
        vec![(format!("{prefix}_SERVICE_HOST"), ip.to_owned()), (format!("{prefix}_SERVICE_PORT"), ports[0].port.to_string())];
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (index, port) in ports.iter().enumerate() {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string()));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        let one = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((format!("{one}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{one}_PORT"), port.port.to_string()));
        variables.push((format!("{one}_ADDR"), ip.to_owned()));
        variables.push((one, url));
    }
    variables
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(namespace: &str, name: &str, ip: &str) -> Service {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": [{"name": "web-ui", "port": 80}, {"port": 53, "protocol": "UDP"}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_service_has_host_port_and_link_variables() {
        let services = [service("n", "my-db", "10.96.0.5"), service("n", "headless", "None"), service("other", "x", "10.96.0.6")];
        let variables = variables(services.iter(), "n", true);
        let want = [
            ("MY_DB_PORT", "tcp://10.96.0.5:80"),
            ("MY_DB_PORT_53_UDP", "udp://10.96.0.5:53"),
            ("MY_DB_PORT_53_UDP_ADDR", "10.96.0.5"),
            ("MY_DB_PORT_53_UDP_PORT", "53"),
            ("MY_DB_PORT_53_UDP_PROTO", "udp"),
            ("MY_DB_PORT_80_TCP", "tcp://10.96.0.5:80"),
            ("MY_DB_PORT_80_TCP_ADDR", "10.96.0.5"),
            ("MY_DB_PORT_80_TCP_PORT", "80"),
            ("MY_DB_PORT_80_TCP_PROTO", "tcp"),
            ("MY_DB_SERVICE_HOST", "10.96.0.5"),
            ("MY_DB_SERVICE_PORT", "80"),
            ("MY_DB_SERVICE_PORT_WEB_UI", "80"),
        ];
        assert_eq!(variables.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), want);
    }

    #[test]
    fn without_links_only_the_api_server_is_known() {
        let services = [service("default", "kubernetes", "10.96.0.1"), service("n", "db", "10.96.0.2")];
        let without = variables(services.iter(), "n", false);
        assert_eq!(without["KUBERNETES_SERVICE_HOST"], "10.96.0.1");
        assert!(!without.contains_key("DB_SERVICE_HOST"));
        assert!(variables(services.iter(), "n", true).contains_key("DB_SERVICE_HOST"));
    }

    #[test]
    fn a_namespaces_own_service_named_kubernetes_wins() {
        let services = [service("n", "kubernetes", "10.96.0.9"), service("default", "kubernetes", "10.96.0.1")];
        assert_eq!(variables(services.iter(), "n", true)["KUBERNETES_SERVICE_HOST"], "10.96.0.9");
    }
}
