//! ServiceCIDR: ranges from which Services get their addresses, at most one of each family. The rules are those of
//! `pkg/apis/networking/validation`.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use ipnet::IpNet;
use k8s_openapi::api::networking::v1;
use serde_json::{Value, json};

/// Where objects of the kind are stored: group and plural.
pub const PLACE: (&str, &str) = ("networking.k8s.io", "servicecidrs");
/// The one with the ranges of the server's settings.
pub const DEFAULT: &str = "kubernetes";
/// What holds one that is deleted while addresses of it are used.
pub const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// The condition without which no address is given from a range.
pub const READY: &str = "Ready";
/// What the condition says of ranges that are used.
pub const IS_READY: &str = "Kubernetes Service CIDR is ready";

pub struct ServiceCIDR;

impl Kind for ServiceCIDR {
    type Object = v1::ServiceCIDR;

    const DESCRIPTOR: Descriptor = Descriptor { subresources: &["status"], ..cluster::<v1::ServiceCIDR>("servicecidrs", "servicecidr") };
    // Kubernetes takes a status with a create, though nobody but its own servers sends one.
    const CREATED_WITH_STATUS: bool = true;
    const COLUMNS: &'static [Column] = &[table::NAME, text("CIDRs", "The ranges from which Services get addresses"), table::AGE];

    fn prepare_create(object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.entry("status").or_insert_with(|| json!({}));
        }
    }

    fn validate(object: &v1::ServiceCIDR, errors: &mut Errors) {
        let spec = Path::Root.field("spec");
        let at = spec.field("cidrs");
        let cidrs = cidrs(object);
        match &cidrs[..] {
            [] => return errors.required(&at, "at least one CIDR required"),
            [_] => {}
            [first, second] => {
                // One that is no range at all is not of another family either.
                let family = |cidr: &str| names::cidr(cidr).ok().map(|cidr| cidr.addr().is_ipv4());
                let are_both = matches!((family(first), family(second)), (Some(first), Some(second)) if first != second);
                if !are_both {
                    let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
                    return errors.invalid_as_is(&at, why);
                }
            }
            _ => return errors.invalid_as_is(&at, "may only hold up to 2 values"),
        }
        for (index, cidr) in cidrs.iter().enumerate() {
            errors.format(&at.index(index), cidr, names::network(cidr));
        }
    }

    /// Ranges stay as they are, but one of the other family may be added.
    fn validate_update(new: &v1::ServiceCIDR, old: &v1::ServiceCIDR, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            return;
        }
        Self::validate(new, errors);
        let (is, was) = (cidrs(new), cidrs(old));
        let spec = Path::Root.field("spec");
        let at = spec.field("cidrs");
        if is.len() == was.len() || (was.len() == 1 && is.len() == 2) {
            for (index, (is, was)) in is.iter().zip(&was).enumerate() {
                errors.immutable(&at.index(index), is, was);
            }
        } else {
            errors.immutable(&at, &is, &was);
        }
    }

    fn cells(object: &v1::ServiceCIDR, now: i64) -> Vec<Value> {
        vec![table::name(&object.metadata), cidrs(object).join(",").into(), table::age(&object.metadata, now)]
    }
}

fn cidrs(object: &v1::ServiceCIDR) -> Vec<String> {
    object.spec.as_ref().and_then(|spec| spec.cidrs.clone()).unwrap_or_default()
}

/// The ranges of an object; what is none is passed over.
pub fn ranges(object: &v1::ServiceCIDR) -> Vec<IpNet> {
    cidrs(object).iter().filter_map(|cidr| names::cidr(cidr).ok()).collect()
}

/// Whether addresses are given from its ranges: it is ready, and stays.
pub fn is_usable(object: &v1::ServiceCIDR) -> bool {
    let mut conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
    object.metadata.deletion_timestamp.is_none() && conditions.any(|condition| condition.type_ == READY && condition.status == "True")
}

/// The one with the ranges of the server's settings, ready at once. `now`: RFC 3339.
pub fn default_object(cidrs: &[IpNet], now: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": { "name": DEFAULT, "finalizers": [FINALIZER] },
        "spec": { "cidrs": cidrs.iter().map(ToString::to_string).collect::<Vec<_>>() },
        "status": { "conditions": [
            { "type": READY, "status": "True", "reason": "", "message": IS_READY, "lastTransitionTime": now },
        ] },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;

    const KIND: Typed<ServiceCIDR> = Typed::<ServiceCIDR>::NEW;

    fn object(cidrs: &[&str]) -> Value {
        KIND.decode(json!({"metadata": {"name": "a"}, "spec": {"cidrs": cidrs}})).unwrap().object
    }

    fn complaints(cidrs: &[&str]) -> Vec<String> {
        KIND.validate_create(&object(cidrs)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn there_is_a_range_of_each_family_at_most() {
        for right in [&["10.0.0.0/16"][..], &["10.0.0.0/16", "fd00::/112"], &["fd00::/112", "10.0.0.0/16"]] {
            assert_eq!(complaints(right), [""; 0]);
        }
        assert_eq!(complaints(&[]), ["spec.cidrs: Required value: at least one CIDR required"]);
        let one_each =
            "spec.cidrs: Invalid value: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        assert_eq!(complaints(&["10.0.0.0/16", "10.1.0.0/16"]), [one_each]);
        assert_eq!(complaints(&["10.0.0.0/16", "x"]), [one_each]);
        assert_eq!(complaints(&["10.0.0.0/16", "fd00::/112", "fd01::/112"]), ["spec.cidrs: Invalid value: may only hold up to 2 values"]);
        assert_eq!(
            complaints(&["10.0.0.1/16", "fd00:0::/112"]),
            [
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length",
                "spec.cidrs[1]: Invalid value: \"fd00:0::/112\": must be in canonical form (\"fd00::/112\")",
            ]
        );
    }

    #[test]
    fn ranges_stay_but_for_one_of_the_other_family() {
        let changed = |old: &[&str], new: &[&str]| {
            KIND.validate_update(&object(new), &object(old), None)
                .iter()
                .map(|error| (error.field.clone(), error.detail.clone()))
                .collect::<Vec<_>>()
        };
        let immutable = |field: &str| vec![(field.to_owned(), "field is immutable".to_owned())];
        assert_eq!(changed(&["10.0.0.0/16"], &["10.0.0.0/16", "fd00::/112"]), []);
        assert_eq!(changed(&["10.0.0.0/16"], &["10.1.0.0/16"]), immutable("spec.cidrs[0]"));
        assert_eq!(changed(&["10.0.0.0/16"], &["fd00::/112", "10.0.0.0/16"]), immutable("spec.cidrs[0]"));
        assert_eq!(changed(&["10.0.0.0/16", "fd00::/112"], &["10.0.0.0/16"]), immutable("spec.cidrs"));
    }

    #[test]
    fn a_range_is_used_when_it_is_ready_and_stays() {
        let cidrs: Vec<IpNet> = vec!["10.96.0.0/16".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()];
        let made = default_object(&cidrs, "2026-01-01T00:00:00Z");
        assert_eq!(KIND.validate_create(&made), []);
        assert_eq!(KIND.cells(&made, 0)[1], "10.96.0.0/16,fd00:10:96::/112");
        let typed = |object: &Value| serde_json::from_value::<v1::ServiceCIDR>(object.clone()).unwrap();
        assert!(is_usable(&typed(&made)));
        assert_eq!(ranges(&typed(&made)), cidrs);
        let mut going = made.clone();
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut held = made.clone();
        held["status"]["conditions"][0]["status"] = json!("False");
        let mut new = object(&["10.0.0.0/16"]);
        KIND.prepare_create(&mut new);
        assert_eq!(new["status"], json!({}));
        for unusable in [going, held, new] {
            assert!(!is_usable(&typed(&unusable)), "{unusable}");
        }
    }
}
