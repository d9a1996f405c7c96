//! EndpointSlice: a part of a service's backends, of one address family.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use crate::{meta, names};
use k8s_openapi::api::discovery::v1;
use serde_json::Value;
use std::collections::HashSet;

pub struct EndpointSlice;

const MAX_ENDPOINTS: usize = 1000;
const MAX_PORTS: usize = 20_000;
const MAX_ADDRESSES: usize = 100;
/// Zones, and nodes, of one endpoint's hints.
const MAX_HINTS: usize = 8;
const SHOWN: usize = 3;
pub(super) const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

impl Kind for EndpointSlice {
    type Object = v1::EndpointSlice;

    const DESCRIPTOR: Descriptor =
        Descriptor { has_generation: true, ..namespaced::<v1::EndpointSlice>("endpointslices", "endpointslice") };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("AddressType", "Family of the addresses"),
        text("Ports", "Ports of the endpoints"),
        text("Endpoints", "Addresses of the endpoints"),
        table::AGE,
    ];

    fn default(object: &mut v1::EndpointSlice) {
        for port in object.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(object: &v1::EndpointSlice, errors: &mut Errors) {
        errors.one_of(&Path::Root.field("addressType"), Some(&object.address_type), &["FQDN", "IPv4", "IPv6"]);
        endpoints(object, &Path::Root.field("endpoints"), errors);
        ports(object.ports.as_deref().unwrap_or_default(), &Path::Root.field("ports"), errors);
    }

    fn validate_update(new: &v1::EndpointSlice, old: &v1::EndpointSlice, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        errors.immutable(&Path::Root.field("addressType"), &new.address_type, &old.address_type);
    }

    fn cells(object: &v1::EndpointSlice, now: i64) -> Vec<Value> {
        let ports: Vec<String> = object
            .ports
            .iter()
            .flatten()
            .map(|p| p.port.map(|n| n.to_string()).or_else(|| p.name.clone()).unwrap_or_else(|| "*".to_owned()))
            .collect();
        let addresses: Vec<&String> = object.endpoints.iter().flat_map(|e| &e.addresses).collect();
        vec![
            table::name(&object.metadata),
            object.address_type.as_str().into(),
            or_unset(&ports).into(),
            or_unset(&addresses).into(),
            table::age(&object.metadata, now),
        ]
    }
}

fn or_unset<T: AsRef<str>>(items: &[T]) -> String {
    if items.is_empty() { "<unset>".to_owned() } else { table::first_few(items, SHOWN) }
}

fn endpoints(object: &v1::EndpointSlice, at: &Path<'_>, errors: &mut Errors) {
    if object.endpoints.len() > MAX_ENDPOINTS {
        errors.too_many(at, object.endpoints.len(), MAX_ENDPOINTS);
        return;
    }
    for (i, endpoint) in object.endpoints.iter().enumerate() {
        let at = at.index(i);
        let addresses = at.field("addresses");
        match endpoint.addresses.len() {
            0 => errors.required(&addresses, "must contain at least 1 address"),
            n if n > MAX_ADDRESSES => errors.too_many(&addresses, n, MAX_ADDRESSES),
            _ => {}
        }
        for (i, address) in endpoint.addresses.iter().enumerate() {
            check_address(&object.address_type, address, &addresses.index(i), errors);
        }
        if let Some(name) = endpoint.node_name.as_deref() {
            errors.format(&at.field("nodeName"), name, names::subdomain(name));
        }
        if let Some(name) = endpoint.hostname.as_deref() {
            errors.format(&at.field("hostname"), name, names::label(name));
        }
        if let Some(topology) = &endpoint.deprecated_topology {
            meta::labels(topology, &at.field("deprecatedTopology"), errors);
        }
        if let Some(hints) = &endpoint.hints {
            let at = at.field("hints");
            let zones: Vec<&str> = hints.for_zones.iter().flatten().map(|zone| zone.name.as_str()).collect();
            check_hints(&zones, &at.field("forZones"), names::label_value, errors);
            let nodes: Vec<&str> = hints.for_nodes.iter().flatten().map(|node| node.name.as_str()).collect();
            check_hints(&nodes, &at.field("forNodes"), names::subdomain, errors);
        }
    }
}

/// Zones or nodes that an endpoint is for.
fn check_hints(hints: &[&str], at: &Path<'_>, rule: fn(&str) -> Vec<String>, errors: &mut Errors) {
    if hints.len() > MAX_HINTS {
        errors.too_many(at, hints.len(), MAX_HINTS);
    }
    let mut seen = HashSet::new();
    for (i, name) in hints.iter().enumerate() {
        let at = at.index(i);
        errors.format(&at.field("name"), name, rule(name));
        if !seen.insert(name) {
            errors.duplicate(&at.field("name"), *name);
        }
    }
}

fn check_address(family: &str, address: &str, at: &Path<'_>, errors: &mut Errors) {
    match (family, names::ip(address)) {
        ("IPv4" | "IPv6", Err(detail)) => errors.invalid(at, address, detail),
        ("IPv4", Ok(ip)) if !ip.is_ipv4() => errors.invalid(at, address, "must be an IPv4 address"),
        ("IPv6", Ok(ip)) if !ip.is_ipv6() => errors.invalid(at, address, "must be an IPv6 address"),
        ("IPv4" | "IPv6", Ok(ip)) => not_special(&ip, at, errors),
        ("FQDN", _) => errors.format(at, address, names::subdomain(address)),
        _ => {}
    }
}

/// Addresses that name the node itself or nobody are no endpoints (also a hole in the node's own firewalling).
pub(super) fn not_special(ip: &std::net::IpAddr, at: &Path<'_>, errors: &mut Errors) {
    let link_local = match ip {
        std::net::IpAddr::V4(v4) => v4.is_link_local(),
        std::net::IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let link_local_multicast = match ip {
        std::net::IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
        std::net::IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    };
    for (wrong, detail) in [
        (ip.is_unspecified(), "may not be unspecified (0.0.0.0 or ::)"),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (link_local_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ] {
        if wrong {
            errors.invalid(at, ip.to_string(), detail);
        }
    }
}

fn ports(list: &[v1::EndpointPort], at: &Path<'_>, errors: &mut Errors) {
    if list.len() > MAX_PORTS {
        errors.too_many(at, list.len(), MAX_PORTS);
        return;
    }
    let mut seen = std::collections::HashSet::new();
    for (i, port) in list.iter().enumerate() {
        let at = at.index(i);
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() {
            errors.format(&at.field("name"), name, names::label(name));
        }
        if !seen.insert(name) {
            errors.duplicate(&at.field("name"), name);
        }
        if let Some(number) = port.port
            && let Some(detail) = names::port_number(number)
        {
            errors.invalid(&at.field("port"), number, detail);
        }
        errors.one_of(&at.field("protocol"), port.protocol.as_deref(), PROTOCOLS);
        if let Some(protocol) = port.app_protocol.as_deref() {
            errors.format(&at.field("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<EndpointSlice> = Typed::NEW;

    fn slice(fields: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a", "namespace": "d"}, "addressType": "IPv4", "endpoints": []});
        for (key, value) in fields.as_object().unwrap() {
            object[key] = value.clone();
        }
        KIND.decode(object).unwrap().object
    }

    #[test]
    fn ports_have_a_name_and_a_protocol() {
        assert_eq!(slice(json!({"ports": [{"port": 80}]}))["ports"], json!([{"name": "", "port": 80, "protocol": "TCP"}]));
    }

    #[test]
    fn addresses_fit_the_family() {
        for (fields, expected) in [
            (json!({"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}), None),
            (json!({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}]}), None),
            (json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]}), None),
            (json!({"endpoints": [{"addresses": []}]}), Some("endpoints[0].addresses: Required value: must contain at least 1 address")),
            (
                json!({"endpoints": [{"addresses": ["fd00::1"]}]}),
                Some("endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address"),
            ),
            (
                json!({"endpoints": [{"addresses": ["127.0.0.1"]}]}),
                Some("endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback"),
            ),
            (
                json!({"endpoints": [{"addresses": ["10.0.0.1"], "hints": {"forNodes": [{"name": "a"}, {"name": "a"}]}}]}),
                Some("endpoints[0].hints.forNodes[1].name: Duplicate value: \"a\""),
            ),
            (
                json!({"endpoints": [{"addresses": ["10.0.0.1"], "hints": {"forNodes": [{"name": "A"}], "forZones": [{"name": "A"}]}}]}),
                Some("endpoints[0].hints.forNodes[0].name: Invalid value: \"A\""),
            ),
            (json!({"addressType": "X"}), Some("addressType: Unsupported value: \"X\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"")),
            (json!({"ports": [{"name": "a"}, {"name": "a"}]}), Some("ports[1].name: Duplicate value: \"a\"")),
            (json!({"ports": [{"port": 0}]}), Some("ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive")),
        ] {
            let found: Vec<String> = KIND.validate_create(&slice(fields)).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
        let found = KIND.validate_update(&slice(json!({"addressType": "IPv6"})), &slice(json!({})), None);
        assert_eq!(found[0].field, "addressType");
    }

    #[test]
    fn the_table_shows_a_few_ports_and_addresses() {
        let endpoints: Vec<Value> = (1..=5).map(|i| json!({"addresses": [format!("10.0.0.{i}")]})).collect();
        let cells = KIND.cells(&slice(json!({"endpoints": endpoints, "ports": [{"port": 80}, {"name": "x"}]})), 0);
        assert_eq!(cells[1..4], ["IPv4", "80,x", "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more..."]);
        assert_eq!(KIND.cells(&slice(json!({})), 0)[1..4], ["IPv4", "<unset>", "<unset>"]);
    }
}
