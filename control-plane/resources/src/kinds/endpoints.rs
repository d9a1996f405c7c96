//! Endpoints: the older, whole list of a service's backends.

use super::endpoint_slice::{PROTOCOLS, not_special};
use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct Endpoints;

const SHOWN: usize = 3;

impl Kind for Endpoints {
    type Object = v1::Endpoints;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["ep"],
        deprecated: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ..namespaced::<v1::Endpoints>("endpoints", "endpoints")
    };
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = &[table::NAME, text("Endpoints", "Addresses and ports"), table::AGE];

    fn default(object: &mut v1::Endpoints) {
        for port in object.subsets.iter_mut().flatten().flat_map(|s| s.ports.iter_mut().flatten()) {
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(object: &v1::Endpoints, errors: &mut Errors) {
        let subsets = Path::Root.field("subsets");
        for (i, subset) in object.subsets.iter().flatten().enumerate() {
            let at = subsets.index(i);
            let ready = subset.addresses.as_deref().unwrap_or_default();
            let not_ready = subset.not_ready_addresses.as_deref().unwrap_or_default();
            if ready.is_empty() && not_ready.is_empty() {
                errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
            }
            addresses(ready, &at.field("addresses"), errors);
            addresses(not_ready, &at.field("notReadyAddresses"), errors);
            let list = subset.ports.as_deref().unwrap_or_default();
            ports(list, &at.field("ports"), errors);
        }
    }

    fn cells(object: &v1::Endpoints, now: i64) -> Vec<Value> {
        vec![table::name(&object.metadata), shown(object).into(), table::age(&object.metadata, now)]
    }
}

fn shown(object: &v1::Endpoints) -> String {
    let mut list = Vec::new();
    for subset in object.subsets.iter().flatten() {
        let ips = || subset.addresses.iter().flatten().map(|a| a.ip.as_str());
        match subset.ports.as_deref().unwrap_or_default() {
            [] => list.extend(ips().map(str::to_owned)),
            ports => {
                for port in ports {
                    list.extend(
                        ips().map(|ip| if ip.contains(':') { format!("[{ip}]:{}", port.port) } else { format!("{ip}:{}", port.port) }),
                    );
                }
            }
        }
    }
    table::first_few(&list, SHOWN)
}

fn addresses(list: &[v1::EndpointAddress], at: &Path<'_>, errors: &mut Errors) {
    for (i, address) in list.iter().enumerate() {
        let at = at.index(i);
        match names::ip(&address.ip) {
            Err(detail) => errors.invalid(&at.field("ip"), address.ip.as_str(), detail),
            Ok(ip) => not_special(&ip, &at.field("ip"), errors),
        }
        if let Some(name) = address.hostname.as_deref().filter(|n| !n.is_empty()) {
            errors.format(&at.field("hostname"), name, names::label(name));
        }
        if let Some(name) = address.node_name.as_deref() {
            errors.format(&at.field("nodeName"), name, names::subdomain(name));
        }
    }
}

fn ports(list: &[v1::EndpointPort], at: &Path<'_>, errors: &mut Errors) {
    for (i, port) in list.iter().enumerate() {
        let at = at.index(i);
        match port.name.as_deref().unwrap_or_default() {
            "" if list.len() > 1 => errors.required(&at.field("name"), ""),
            "" => {}
            name => errors.format(&at.field("name"), name, names::label(name)),
        }
        if let Some(detail) = names::port_number(port.port) {
            errors.invalid(&at.field("port"), port.port, detail);
        }
        errors.one_of(&at.field("protocol"), port.protocol.as_deref(), PROTOCOLS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn the_table_joins_addresses_and_ports() {
        let kind = Typed::<Endpoints>::NEW;
        let object = json!({"metadata": {"name": "a", "namespace": "d"},
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}, {"port": 81}]}]});
        assert_eq!(kind.cells(&object, 0)[1], "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more...");
        assert_eq!(kind.cells(&json!({"metadata": {"name": "a"}}), 0)[1], "<none>");
    }

    #[test]
    fn several_ports_need_names() {
        let kind = Typed::<Endpoints>::NEW;
        let body = json!({"metadata": {"name": "a", "namespace": "d"},
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}, {"name": "x", "port": 81}]}, {}]});
        let object = kind.decode(body).unwrap().object;
        let fields: Vec<String> = kind.validate_create(&object).into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["subsets[0].ports[0].name", "subsets[1]"]);
    }
}
