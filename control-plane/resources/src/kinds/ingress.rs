//! Ingress: routes of HTTP hosts and paths to services. Proxying is the node's.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced, or_empty};
use k8s_openapi::api::networking::v1;
use serde_json::Value;

pub struct Ingress;

const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];
/// Parts that a routed path may not have, as they would mean another path.
const AMBIGUOUS: &[&str] = &["//", "/./", "/../", "%2f", "%2F"];
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const SHOWN_HOSTS: usize = 3;

impl Kind for Ingress {
    type Object = v1::Ingress;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["ing"],
        subresources: &["status"],
        has_generation: true,
        ..namespaced::<v1::Ingress>("ingresses", "ingress")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Class", "The name of the IngressClass resource that should be used for additional configuration"),
        text("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
        text("Address", "Address through which the ingress is reached"),
        text("Ports", "Ports of TLS configurations that open"),
        table::AGE,
    ];

    fn new_status() -> Value {
        serde_json::json!({"loadBalancer": {}})
    }

    fn validate(object: &v1::Ingress, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = or_empty(&object.spec);
        if spec.rules.as_ref().is_none_or(Vec::is_empty) && spec.default_backend.is_none() {
            errors.invalid(&at, serde_json::to_value(&spec).unwrap_or_default(), "either `defaultBackend` or `rules` must be specified");
        }
        if let Some(class) = spec.ingress_class_name.as_deref() {
            errors.format(&at.field("ingressClassName"), class, names::subdomain(class));
        }
        if let Some(target) = &spec.default_backend {
            backend(target, &at.field("defaultBackend"), errors);
        }
        tls(spec.tls.as_deref().unwrap_or_default(), &at.field("tls"), errors);
        rules(spec.rules.as_deref().unwrap_or_default(), &at.field("rules"), errors);
    }

    fn validate_update(new: &v1::Ingress, _: &v1::Ingress, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            status(new, errors);
        } else {
            Self::validate(new, errors);
        }
    }

    fn cells(object: &v1::Ingress, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let annotated = object.metadata.annotations.as_ref().and_then(|a| a.get(CLASS_ANNOTATION));
        let class = spec.ingress_class_name.as_ref().or(annotated);
        let hosts: Vec<&str> = spec.rules.iter().flatten().filter_map(|r| r.host.as_deref()).filter(|h| !h.is_empty()).collect();
        let hosts = if hosts.is_empty() { "*".to_owned() } else { table::first_few(&hosts, SHOWN_HOSTS) };
        let ports = if spec.tls.as_ref().is_some_and(|t| !t.is_empty()) { "80, 443" } else { "80" };
        let ingress = object.status.iter().flat_map(|s| &s.load_balancer).flat_map(|l| l.ingress.iter().flatten());
        let addresses: Vec<&str> = ingress.filter_map(|i| i.ip.as_deref().filter(|ip| !ip.is_empty()).or(i.hostname.as_deref())).collect();
        vec![
            table::name(&object.metadata),
            table::or_none(class.map(String::as_str)),
            hosts.into(),
            addresses.join(",").into(),
            ports.into(),
            table::age(&object.metadata, now),
        ]
    }
}

fn rules(list: &[v1::IngressRule], at: &Path<'_>, errors: &mut Errors) {
    for (i, rule) in list.iter().enumerate() {
        let at = at.index(i);
        if let Some(host) = rule.host.as_deref().filter(|h| !h.is_empty()) {
            if names::ip(host).is_ok() {
                errors.invalid(&at.field("host"), host, "must be a DNS name, not an IP address");
            }
            let found = if host.contains('*') { names::wildcard_subdomain(host) } else { names::subdomain(host) };
            errors.format(&at.field("host"), host, found);
        }
        let Some(http) = &rule.http else { continue };
        let at = at.field("http");
        let paths = at.field("paths");
        if http.paths.is_empty() {
            errors.required(&paths, "");
        }
        for (i, path) in http.paths.iter().enumerate() {
            let at = paths.index(i);
            routed_path(path, &at, errors);
            backend(&path.backend, &at.field("backend"), errors);
        }
    }
}

fn routed_path(path: &v1::HTTPIngressPath, at: &Path<'_>, errors: &mut Errors) {
    let text = path.path.as_deref().unwrap_or_default();
    let at_path = at.field("path");
    match path.path_type.as_str() {
        "" => errors.required(&at.field("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid(&at_path, text, "must be an absolute path");
            }
            for part in AMBIGUOUS.iter().filter(|part| text.contains(**part)) {
                errors.invalid(&at_path, text, format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."] {
                if text.ends_with(end) {
                    errors.invalid(&at_path, text, format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&at_path, text, "must be an absolute path");
            }
        }
        other => errors.not_supported(&at.field("pathType"), other, PATH_TYPES),
    }
}

fn backend(backend: &v1::IngressBackend, at: &Path<'_>, errors: &mut Errors) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => errors.invalid(at, "", "cannot set both resource and service backends"),
        (None, None) => errors.required(at, "resource or service backend is required"),
        (None, Some(resource)) => {
            for (name, value) in [("kind", &resource.kind), ("name", &resource.name)] {
                if value.is_empty() {
                    errors.required(&at.field("resource").field(name), "");
                }
            }
        }
        (Some(service), None) => {
            let at = at.field("service");
            if service.name.is_empty() {
                errors.required(&at.field("name"), "");
            } else {
                errors.format(&at.field("name"), &service.name, names::label_1035(&service.name));
            }
            let port = service.port.clone().unwrap_or_default();
            let (name, number) = (port.name.unwrap_or_default(), port.number.unwrap_or_default());
            let at = at.field("port");
            match (name.as_str(), number) {
                ("", 0) => errors.required(&at, "port name or number is required"),
                ("", number) => {
                    if let Some(detail) = names::port_number(number) {
                        errors.invalid(&at.field("number"), number, detail);
                    }
                }
                (name, 0) => errors.format(&at.field("name"), name, names::port_name(name)),
                _ => errors.invalid(&at, "", "cannot set both port name & port number"),
            }
        }
    }
}

fn tls(list: &[v1::IngressTLS], at: &Path<'_>, errors: &mut Errors) {
    for (i, entry) in list.iter().enumerate() {
        let at = at.index(i);
        let hosts = at.field("hosts");
        for (i, host) in entry.hosts.iter().flatten().enumerate() {
            let found = if host.contains('*') { names::wildcard_subdomain(host) } else { names::subdomain(host) };
            errors.format(&hosts.index(i), host, found);
        }
        if let Some(name) = entry.secret_name.as_deref().filter(|n| !n.is_empty()) {
            errors.format(&at.field("secretName"), name, names::subdomain(name));
        }
    }
}

fn status(object: &v1::Ingress, errors: &mut Errors) {
    let at = Path::Root.field("status");
    let at = at.field("loadBalancer");
    let at = at.field("ingress");
    let entries = object.status.iter().flat_map(|s| &s.load_balancer).flat_map(|l| l.ingress.iter().flatten());
    for (i, entry) in entries.enumerate() {
        if let Some(ip) = entry.ip.as_deref().filter(|ip| !ip.is_empty())
            && let Err(detail) = names::ip(ip)
        {
            errors.invalid(&at.index(i).field("ip"), ip, detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<Ingress> = Typed::NEW;

    fn ingress(spec: Value) -> Value {
        json!({"metadata": {"name": "a", "namespace": "d"}, "spec": spec})
    }

    fn route(path: Value) -> Value {
        let mut full = json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}});
        for (key, value) in path.as_object().unwrap() {
            full[key] = value.clone();
        }
        json!({"rules": [{"host": "a.b", "http": {"paths": [full]}}]})
    }

    #[test]
    fn routes_are_clear() {
        let at = "spec.rules[0].http.paths[0]";
        for (spec, expected) in [
            (route(json!({})), None),
            (json!({"defaultBackend": {"service": {"name": "s", "port": {"name": "http"}}}}), None),
            (json!({}), Some("spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified".to_owned())),
            (route(json!({"pathType": ""})), Some(format!("{at}.pathType: Required value: pathType must be specified"))),
            (
                route(json!({"pathType": "Regex"})),
                Some(format!(
                    "{at}.pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
                )),
            ),
            (route(json!({"path": "a"})), Some(format!("{at}.path: Invalid value: \"a\": must be an absolute path"))),
            (route(json!({"path": "/a//b"})), Some(format!("{at}.path: Invalid value: \"/a//b\": must not contain '//'"))),
            (route(json!({"path": "/a/.."})), Some(format!("{at}.path: Invalid value: \"/a/..\": cannot end with '/..'"))),
            (route(json!({"backend": {}})), Some(format!("{at}.backend: Required value: resource or service backend is required"))),
            (
                route(json!({"backend": {"service": {"name": "s"}}})),
                Some(format!("{at}.backend.service.port: Required value: port name or number is required")),
            ),
            (
                json!({"rules": [{"host": "10.0.0.1"}]}),
                Some("spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address".to_owned()),
            ),
            (
                json!({"rules": [{"host": "a.*"}]}),
                Some("spec.rules[0].host: Invalid value: \"a.*\": a wildcard DNS-1123 subdomain must".to_owned()),
            ),
        ] {
            let found: Vec<String> = KIND.validate_create(&ingress(spec)).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(&e)), "{found:?}");
        }
    }

    #[test]
    fn the_table_shows_hosts_and_ports() {
        let mut object = ingress(route(json!({})));
        assert_eq!(KIND.cells(&object, 0)[1..5], ["<none>", "a.b", "", "80"]);
        object["spec"]["tls"] = json!([{}]);
        object["spec"]["ingressClassName"] = "c".into();
        object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        assert_eq!(KIND.cells(&object, 0)[1..5], ["c", "a.b", "192.0.2.1", "80, 443"]);
    }
}
