//! From which ranges addresses are given: those of ServiceCIDRs that are ready and stay, that of the settings first.

use super::{Allocation, pool};
use crate::cache::Caches;
use crate::object;
use crate::storage::keys;
use bytes::Bytes;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use orknet_resources::kinds::service_cidr;
use orknet_store::{Compare, Revision};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A range that gives addresses now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    pub cidr: IpNet,
    /// The ServiceCIDR that it is of, with the revision that was looked at; `None`: the server's settings, before there is an object for them.
    pub source: Option<(Bytes, Revision)>,
}

/// Those that there are, as this server last saw it.
pub fn usable(caches: &Caches, configured: &[IpNet]) -> Vec<Usable> {
    of(caches.values(service_cidr::PLACE), configured)
}

fn of(mut objects: Vec<Value>, configured: &[IpNet]) -> Vec<Usable> {
    let is_default = |object: &Value| object::name(object) == service_cidr::DEFAULT;
    // Stable: the others stay in the order of their names.
    objects.sort_by_key(|object| !is_default(object));
    let settings = configured.iter().map(|cidr| Usable { cidr: *cidr, source: None });
    // It is made again where somebody has removed it.
    let mut usable: Vec<Usable> = if objects.first().is_some_and(is_default) { Vec::new() } else { settings.collect() };
    for object in objects {
        let Ok(revision) = object::resource_version(&object).parse::<u64>() else { continue };
        let key = Bytes::from(keys::object(service_cidr::PLACE, "", object::name(&object)));
        let Ok(typed) = serde_json::from_value::<ServiceCIDR>(object) else { continue };
        if service_cidr::is_usable(&typed) {
            let ranges = service_cidr::ranges(&typed).into_iter();
            usable.extend(ranges.map(|cidr| Usable { cidr, source: Some((key.clone(), revision)) }));
        }
    }
    usable
}

/// Each address must be from a range that is, when it is given, what was looked at: one that is deleted gives no more.
pub fn must_stay(usable: &[Usable], addresses: &BTreeSet<IpAddr>) -> Allocation {
    let source = |address: &IpAddr| usable.iter().find(|range| pool::contains(range.cidr, *address)).and_then(|range| range.source.clone());
    let sources: BTreeSet<(Bytes, Revision)> = addresses.iter().filter_map(source).collect();
    let compares = sources.into_iter().map(|(key, revision)| Compare::ModRevision(key, revision)).collect();
    Allocation { compares, ops: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, cidr: &str, revision: u64, ready: &str) -> Value {
        json!({
            "metadata": { "name": name, "resourceVersion": revision.to_string() },
            "spec": { "cidrs": [cidr] },
            "status": { "conditions": [
                { "type": "Ready", "status": ready, "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" },
            ] },
        })
    }

    fn cidr(text: &str) -> IpNet {
        text.parse().expect("range")
    }

    fn names(usable: &[Usable]) -> Vec<String> {
        usable.iter().map(|range| range.cidr.to_string()).collect()
    }

    #[test]
    fn ranges_of_the_settings_are_first_and_only_usable_ones_follow() {
        let configured = [cidr("10.96.0.0/16")];
        assert_eq!(names(&of(Vec::new(), &configured)), ["10.96.0.0/16"]);
        let mut going = object("going", "10.99.0.0/16", 4, "True");
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let all = vec![
            object("a", "10.97.0.0/16", 2, "True"),
            object("b", "10.98.0.0/16", 3, "False"),
            going,
            object("kubernetes", "10.95.0.0/16", 1, "True"),
        ];
        assert_eq!(names(&of(all.clone(), &configured)), ["10.95.0.0/16", "10.97.0.0/16"]);
        assert_eq!(names(&of(all[..3].to_vec(), &configured)), ["10.96.0.0/16", "10.97.0.0/16"]);
        // One that is there and goes is not replaced by the settings.
        let mut own = all[3].clone();
        own["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(names(&of(vec![own], &configured)), [""; 0]);
    }

    #[test]
    fn an_address_is_compared_with_the_range_that_it_is_from() {
        let usable = of(vec![object("a", "10.97.0.0/16", 7, "True")], &[cidr("10.96.0.0/16")]);
        let compares = |address: &str| must_stay(&usable, &[address.parse().expect("address")].into()).compares;
        assert!(compares("10.96.0.1").is_empty());
        let found = compares("10.97.0.1");
        assert!(matches!(&found[..], [Compare::ModRevision(key, 7)] if key == "/registry/networking.k8s.io/servicecidrs/a"), "{found:?}");
    }
}
