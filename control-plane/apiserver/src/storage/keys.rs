//! Where things are in the store:
//!
//! | key | value |
//! |---|---|
//! | `/registry/<group, or core>/<plural>/<namespace>/<name>` | an object of a namespaced kind, as JSON without `resourceVersion` |
//! | `/registry/<group, or core>/<plural>/<name>` | an object of a cluster-wide kind |
//! | `/registry/claims/clusterips/<address>` | the Service that holds a cluster address |
//! | `/registry/claims/nodeports/<port>` | the Service that holds a node port |
//! | `/registry/claims/customresourcenames` | the lock that custom resources get their names under: whose were given out last |
//! | `/registry/masterleases/<address>` | an API server that lives: its port; goes by itself when the server no longer writes it |
//!
//! A name never contains `/`, so no key is a prefix of another's folder.

use crate::kinds::StoredAs;
use bytes::Bytes;
use orknet_store::KeyRange;
use std::net::IpAddr;

/// Everything that the server keeps.
pub const ROOT: &str = "/registry/";
/// Claims on cluster addresses.
pub const CLUSTER_IPS: &str = "/registry/claims/clusterips/";
/// Claims on node ports.
pub const NODE_PORTS: &str = "/registry/claims/nodeports/";
/// Who gives names to custom resources writes it, and compares with it.
pub const NAMES: &str = "/registry/claims/customresourcenames";
/// The API servers that live: a key for each, which ends with its address.
pub const SERVERS: &str = "/registry/masterleases/";

/// The folder of a kind's objects, with the closing slash.
pub fn folder((group, plural): StoredAs) -> String {
    folder_of(group, plural)
}

/// The same for names that may be any.
pub fn folder_of(group: &str, plural: &str) -> String {
    format!("{ROOT}{}/{plural}/", if group.is_empty() { "core" } else { group })
}

/// Whether objects at a place expire: Events, and no custom kind that is called so.
pub fn expires(stored_as: (&str, &str)) -> bool {
    stored_as == ("", "events")
}

/// The key of an object; `namespace` is empty for cluster-wide kinds.
pub fn object(stored_as: StoredAs, namespace: &str, name: &str) -> String {
    format!("{}{}", folder(stored_as), tail(namespace, name))
}

/// What follows the folder in an object's key.
pub fn tail(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// The keys of a kind's objects, in one namespace or (empty) in all.
pub fn objects(stored_as: StoredAs, namespace: &str) -> KeyRange {
    let folder = folder(stored_as);
    KeyRange::prefix(if namespace.is_empty() { folder } else { format!("{folder}{namespace}/") })
}

/// The claim on a cluster address.
pub fn cluster_ip(address: IpAddr) -> Bytes {
    format!("{CLUSTER_IPS}{address}").into()
}

/// The sign of life of the API server at an address.
pub fn server(address: IpAddr) -> Bytes {
    format!("{SERVERS}{address}").into()
}

/// The claim on a node port.
pub fn node_port(port: u16) -> Bytes {
    format!("{NODE_PORTS}{port}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_expire_and_custom_kinds_of_that_name_do_not() {
        assert!(expires(("", "events")));
        assert!(!expires(("example.com", "events")) && !expires(("", "pods")));
    }

    #[test]
    fn keys_of_a_namespace_do_not_reach_into_its_neighbour() {
        let range = objects(("", "pods"), "a");
        assert!(range.contains(object(("", "pods"), "a", "x").as_bytes()));
        assert!(!range.contains(object(("", "pods"), "ab", "x").as_bytes()));
        assert_eq!(object(("apps", "deployments"), "a", "x"), "/registry/apps/deployments/a/x");
        assert_eq!(object(("", "nodes"), "", "x"), "/registry/core/nodes/x");
    }
}
