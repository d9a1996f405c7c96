//! IPAddress: that an address is used, and by what. Its name is the address. The rules are those of `pkg/apis/networking/validation`.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names::{self, NameRule};
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::networking::v1::{self, ParentReference};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Where objects of the kind are stored: group and plural.
pub const PLACE: (&str, &str) = ("networking.k8s.io", "ipaddresses");
/// The label with the address' family, `IPv4` or `IPv6`.
pub const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
/// The label that says whose to make and to remove it is.
pub const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
/// What that label has where the address is a Service's.
pub const ALLOCATOR: &str = "ipallocator.k8s.io";

pub struct IPAddress;

impl Kind for IPAddress {
    type Object = v1::IPAddress;

    const DESCRIPTOR: Descriptor = Descriptor { short_names: &["ip"], ..cluster::<v1::IPAddress>("ipaddresses", "ipaddress") };
    const NAME: NameRule = NameRule::Address;
    const COLUMNS: &'static [Column] =
        &[table::NAME, text("ParentRef", "The object that uses the address: its resource, namespace and name"), table::AGE];

    fn validate(object: &v1::IPAddress, errors: &mut Errors) {
        let parent = object.spec.clone().unwrap_or_default().parent_ref;
        let spec = Path::Root.field("spec");
        let at = spec.field("parentRef");
        if parent == ParentReference::default() {
            return errors.required(&at, "");
        }
        // The core group has no name.
        if let Some(group) = parent.group.as_deref().filter(|group| !group.is_empty()) {
            errors.format(&at.field("group"), group, names::subdomain(group));
        }
        for (field, value) in [("resource", &parent.resource), ("name", &parent.name)] {
            if value.is_empty() {
                errors.required(&at.field(field), "");
            } else {
                errors.format(&at.field(field), value, names::path_segment(value, false));
            }
        }
        if let Some(namespace) = parent.namespace.as_deref().filter(|namespace| !namespace.is_empty()) {
            errors.format(&at.field("namespace"), namespace, names::path_segment(namespace, false));
        }
    }

    fn validate_update(new: &v1::IPAddress, old: &v1::IPAddress, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        let parent = |object: &v1::IPAddress| object.spec.clone().unwrap_or_default().parent_ref;
        errors.immutable(&Path::Root.field("spec").field("parentRef"), &parent(new), &parent(old));
    }

    fn cells(object: &v1::IPAddress, now: i64) -> Vec<Value> {
        let parent = object.spec.clone().unwrap_or_default().parent_ref;
        vec![table::name(&object.metadata), shown(&parent).into(), table::age(&object.metadata, now)]
    }
}

/// `services/default/web`; the group, where there is one, follows the resource.
fn shown(parent: &ParentReference) -> String {
    if *parent == ParentReference::default() {
        return "<none>".to_owned();
    }
    let group = parent.group.as_deref().filter(|group| !group.is_empty()).map(|group| format!(".{group}")).unwrap_or_default();
    let namespace = parent.namespace.as_deref().filter(|space| !space.is_empty()).map(|space| format!("{space}/")).unwrap_or_default();
    format!("{}/{namespace}{}", format!("{}{group}", parent.resource).to_lowercase(), parent.name)
}

/// `IPv4` or `IPv6`.
pub fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The object that says that a Service has the address, without what the server sets.
pub fn of_service(address: IpAddr, namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address.to_string(),
            "labels": { FAMILY: family(address), MANAGED_BY: ALLOCATOR },
        },
        "spec": { "parentRef": { "resource": "services", "namespace": namespace, "name": name } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;

    const KIND: Typed<IPAddress> = Typed::<IPAddress>::NEW;

    fn object(name: &str, parent: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"parentRef": parent}})
    }

    fn complaints(object: Value) -> Vec<String> {
        KIND.validate_create(&KIND.decode(object).unwrap().object).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_is_an_address_in_its_one_form() {
        let parent = json!({"resource": "services", "namespace": "a", "name": "b"});
        assert_eq!(complaints(object("10.0.0.1", parent.clone())), [""; 0]);
        assert_eq!(complaints(object("2001:db8::1", parent.clone())), [""; 0]);
        assert_eq!(
            complaints(object("2001:db8:0::1", parent.clone())),
            ["metadata.name: Invalid value: \"2001:db8:0::1\": must be in canonical form (\"2001:db8::1\")"]
        );
        assert!(complaints(object("web", parent))[0].contains("must be a valid IP address"));
    }

    #[test]
    fn a_parent_is_named_and_stays() {
        assert_eq!(complaints(json!({"metadata": {"name": "10.0.0.1"}})), ["spec.parentRef: Required value"]);
        assert_eq!(
            complaints(object("10.0.0.1", json!({"group": "A", "namespace": "a/b"})))
                .iter()
                .map(|complaint| complaint.split(": ").take(2).collect::<Vec<_>>().join(": "))
                .collect::<Vec<_>>(),
            [
                "spec.parentRef.group: Invalid value",
                "spec.parentRef.resource: Required value",
                "spec.parentRef.name: Required value",
                "spec.parentRef.namespace: Invalid value",
            ]
        );
        let old = KIND.decode(object("10.0.0.1", json!({"resource": "services", "namespace": "a", "name": "b"}))).unwrap().object;
        let mut new = old.clone();
        assert_eq!(KIND.validate_update(&new, &old, None), []);
        new["spec"]["parentRef"]["name"] = json!("c");
        let found = KIND.validate_update(&new, &old, None);
        assert_eq!((found.len(), &found[0].field[..], &found[0].detail[..]), (1, "spec.parentRef", "field is immutable"));
    }

    #[test]
    fn a_row_tells_the_parent() {
        let row = |parent: Value| KIND.cells(&object("10.0.0.1", parent), 0)[1].clone();
        assert_eq!(row(json!({"resource": "services", "namespace": "default", "name": "web"})), "services/default/web");
        assert_eq!(
            row(json!({"group": "gateway.networking.k8s.io", "resource": "Gateways", "name": "Web"})),
            "gateways.gateway.networking.k8s.io/Web"
        );
        assert_eq!(row(json!({})), "<none>");
    }

    #[test]
    fn that_of_a_service_keeps_the_rules() {
        for address in ["10.96.0.1", "fd00:10:96::1"] {
            let made = of_service(address.parse().unwrap(), "default", "web");
            assert_eq!(complaints(made.clone()), [""; 0]);
            assert_eq!(KIND.decode(made.clone()).unwrap().object, made);
        }
        assert_eq!(of_service("fd00::1".parse().unwrap(), "a", "b")["metadata"]["labels"][FAMILY], "IPv6");
    }
}
