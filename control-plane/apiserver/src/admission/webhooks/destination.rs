//! Where a webhook is: what a `clientConfig` says, and the addresses behind its Service. Pure.

use crate::object;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The port of a URL or a Service that names none.
const DEFAULT_PORT: u16 = 443;

/// A `clientConfig`, read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub place: Place,
    /// What the server must be certified by; `None`: by one of those that the system trusts.
    pub ca_pem: Option<Vec<u8>>,
    /// As in a URL, with its slash.
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `host`: a name or an address, without brackets. `authority`: as the URL has it.
    Url { authority: String, host: String, port: u16 },
    /// A Service, looked up whenever a connection is made.
    Service { namespace: String, name: String, port: u16 },
}

impl Destination {
    /// From the JSON of a `WebhookClientConfig` (of webhooks, of conversions). The error says what is wrong with it.
    pub fn from_client_config(config: &Value) -> Result<Self, String> {
        let ca_pem = match object::text(config, "/caBundle") {
            "" => None,
            text => Some(STANDARD.decode(text).map_err(|error| format!("unable to load root certificates: {error}"))?),
        };
        if let Some(service) = config.get("service").filter(|service| service.is_object()) {
            let text = |field: &str| service.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(DEFAULT_PORT);
            let place = Place::Service { namespace: text("namespace"), name: text("name"), port };
            let path = text("path");
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            return Ok(Self { place, ca_pem, path });
        }
        let url = object::text(config, "/url");
        let rest = url.strip_prefix("https://").ok_or("webhook configuration must have either service or URL")?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = split_port(authority).ok_or_else(|| format!("Unparsable URL: {url}"))?;
        let place = Place::Url { authority: authority.to_owned(), host: host.to_owned(), port };
        Ok(Self { place, ca_pem, path: path.to_owned() })
    }

    /// What comes before the path.
    pub fn origin(&self) -> String {
        match &self.place {
            Place::Url { authority, .. } => format!("https://{authority}"),
            Place::Service { port, .. } => format!("https://{}:{port}", self.server_name()),
        }
    }

    /// What the server's certificate must be for.
    pub fn server_name(&self) -> String {
        match &self.place {
            Place::Url { host, .. } => host.clone(),
            Place::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
        }
    }
}

/// `a`, `a:1`, `[::1]`, `[::1]:1`.
fn split_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
    };
    let port = match port {
        "" | ":" => DEFAULT_PORT,
        port => port.strip_prefix(':')?.parse().ok()?,
    };
    (!host.is_empty()).then_some((host, port))
}

/// Where the endpoints of a Service that serve one of its ports are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// Addresses of those that are ready, in the order of the slices.
    pub endpoints: Vec<(String, u16)>,
    /// The Service's own address, which leads to one of them where Services are served; or where it says it is elsewhere.
    pub service: Option<(String, u16)>,
}

/// Where a Service's port leads. `slices`: the EndpointSlices of the Service. The error is what the caller reads.
pub fn backends(service: &Value, slices: &[Value], port: u16) -> Result<Backends, String> {
    let name = object::name(service);
    if object::text(service, "/spec/type") == "ExternalName" {
        let elsewhere = object::text(service, "/spec/externalName").to_owned();
        return Ok(Backends { endpoints: Vec::new(), service: Some((elsewhere, port)) });
    }
    let list = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let ports = list(&service["spec"], "ports");
    let wanted = ports.iter().find(|candidate| candidate.get("port").and_then(Value::as_u64) == Some(port.into()));
    let wanted = wanted.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let mut endpoints = Vec::new();
    for slice in slices {
        let number = list(slice, "ports").iter().find(|port| object::text(port, "/name") == object::text(wanted, "/name")).and_then(number);
        let Some(number) = number else { continue };
        for endpoint in list(slice, "endpoints") {
            // What says nothing is ready.
            if endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false) {
                endpoints.extend(object::strings(endpoint.get("addresses")).first().map(|address| ((*address).to_owned(), number)));
            }
        }
    }
    let address = Some(object::text(service, "/spec/clusterIP")).filter(|address| !matches!(*address, "" | "None"));
    if endpoints.is_empty() {
        return Err(format!("no endpoints available for service {name:?}"));
    }
    Ok(Backends { endpoints, service: address.map(|address| (address.to_owned(), port)) })
}

fn number(port: &Value) -> Option<u16> {
    port.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_client_config_says_where_to_and_as_whom() {
        for (config, origin, name, path) in [
            (json!({ "url": "https://a.b/c/d" }), "https://a.b", "a.b", "/c/d"),
            (json!({ "url": "https://a:8443" }), "https://a:8443", "a", "/"),
            (json!({ "url": "https://[::1]:8443/x" }), "https://[::1]:8443", "::1", "/x"),
            (json!({ "service": { "namespace": "n", "name": "s" } }), "https://s.n.svc:443", "s.n.svc", "/"),
            (json!({ "service": { "namespace": "n", "name": "s", "port": 9443, "path": "/x" } }), "https://s.n.svc:9443", "s.n.svc", "/x"),
        ] {
            let read = Destination::from_client_config(&config).expect("reads");
            assert_eq!((&read.origin()[..], &read.server_name()[..], &read.path[..]), (origin, name, path), "{config}");
            assert_eq!(read.ca_pem, None);
        }
        let read = Destination::from_client_config(&json!({ "url": "https://a", "caBundle": "eA==" })).expect("reads");
        assert_eq!(read.ca_pem.as_deref(), Some(&b"x"[..]));
        for wrong in [json!({}), json!({ "url": "http://a" }), json!({ "url": "https://:1" }), json!({ "url": "https://a:x" })] {
            assert!(Destination::from_client_config(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_services_port_leads_to_its_ready_endpoints() {
        let service = json!({ "metadata": { "name": "s" }, "spec": { "clusterIP": "10.96.0.9", "ports": [
            { "name": "http", "port": 80 }, { "name": "hook", "port": 443, "targetPort": 8443 },
        ] } });
        let endpoint = |address: &str, ready: Value| json!({ "addresses": [address], "conditions": { "ready": ready } });
        let slice = json!({
            "ports": [{ "name": "http", "port": 8080 }, { "name": "hook", "port": 8443 }],
            "endpoints": [endpoint("10.0.0.1", json!(true)), endpoint("10.0.0.2", json!(false)), endpoint("10.0.0.3", json!(null))],
        });
        let other = json!({ "ports": [{ "name": "http", "port": 8080 }], "endpoints": [endpoint("10.0.0.4", json!(true))] });
        let found = backends(&service, &[slice.clone(), other.clone()], 443).expect("leads somewhere");
        let text = |address: &str, port| (address.to_owned(), port);
        assert_eq!(found.endpoints, [text("10.0.0.1", 8443), text("10.0.0.3", 8443)]);
        assert_eq!(found.service, Some(text("10.96.0.9", 443)));
        let mut headless = service.clone();
        headless["spec"]["clusterIP"] = json!("None");
        assert_eq!(backends(&headless, &[slice], 443).expect("leads somewhere").service, None);
        assert_eq!(backends(&service, &[other], 443).expect_err("nobody"), "no endpoints available for service \"s\"");
        assert_eq!(backends(&service, &[], 1).expect_err("no port"), "no service port 1 found for service \"s\"");
        let elsewhere = json!({ "metadata": { "name": "s" }, "spec": { "type": "ExternalName", "externalName": "a.b" } });
        assert_eq!(backends(&elsewhere, &[], 7).expect("leads somewhere").service, Some(text("a.b", 7)));
    }
}
