//! The IPAddress objects that say which Service has an address: what is written where an address is given.

use super::Allocation;
use crate::kinds::Kinds;
use crate::life;
use crate::object;
use crate::storage::{encode, keys};
use bytes::Bytes;
use orknet_resources::kinds::ip_address;
use orknet_store::{Compare, Op};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where the object of an address is.
pub fn key(address: IpAddr) -> Bytes {
    keys::object(ip_address::PLACE, "", &address.to_string()).into()
}

/// The object of an address that a Service has, as it is stored. `None`: this server does not serve the kind.
pub fn stored(kinds: &Kinds, address: IpAddr, service: &Value) -> Option<Bytes> {
    let kind = kinds.find_any_version(ip_address::PLACE.0, ip_address::PLACE.1)?;
    let mut object = ip_address::of_service(address, object::namespace(service), object::name(service));
    life::before_create(&kind, &mut object, "");
    Some(encode(&object))
}

/// What the transaction of a Service that gets these addresses writes. Whoever has made an IPAddress before has the address.
pub fn of(kinds: &Kinds, addresses: &BTreeSet<IpAddr>, service: &Value) -> Allocation {
    let mut allocation = Allocation::default();
    for address in addresses {
        let Some(value) = stored(kinds, *address, service) else { continue };
        allocation.compares.push(Compare::Absent(key(*address)));
        allocation.ops.push(Op::Put { key: key(*address), value, ttl: None });
    }
    allocation
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_address_has_an_object_that_names_the_service() {
        let kinds = Kinds::new(crate::kinds::own());
        let addresses: BTreeSet<IpAddr> = ["10.96.0.7", "fd00:10:96::7"].iter().map(|address| address.parse().expect("address")).collect();
        let service = json!({ "metadata": { "name": "web", "namespace": "default" } });
        let allocation = of(&kinds, &addresses, &service);
        assert_eq!((allocation.compares.len(), allocation.ops.len()), (2, 2));
        let Op::Put { key, value, ttl: None } = &allocation.ops[1] else { panic!("{:?}", allocation.ops) };
        assert_eq!(key, &Bytes::from("/registry/networking.k8s.io/ipaddresses/fd00:10:96::7"));
        let object: Value = serde_json::from_slice(value).expect("JSON");
        assert_eq!(object["spec"]["parentRef"], json!({ "resource": "services", "namespace": "default", "name": "web" }));
        assert_eq!(object["metadata"]["labels"][ip_address::FAMILY], "IPv6");
        assert!(!object::uid(&object).is_empty() && object["metadata"].get("generation").is_none());
    }
}
