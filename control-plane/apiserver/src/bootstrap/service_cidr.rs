//! The ServiceCIDR `kubernetes`, which has the ranges of the server's settings. Its finalizer and its condition are there from the start: before it
//! there is nobody to set them. Source: `pkg/controlplane/controller/defaultservicecidr`.

use super::{ensure as ensure_object, reconcile};
use crate::error::ApiError;
use crate::object;
use crate::server::Server;
use orknet_resources::kinds::service_cidr::{DEFAULT, PLACE, default_object};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Makes it where it is missing, and adds the range of a family that the settings have got since.
pub async fn ensure(server: &Server) -> Result<(), ApiError> {
    let (group, plural) = PLACE;
    let configured = &server.config.service_cidrs;
    if configured.is_empty() {
        return Ok(());
    }
    let wanted = default_object(configured, &object::timestamp(0));
    let Some(found) = server.storage.caches.get(PLACE, "", DEFAULT) else { return ensure_object(server, group, plural, wanted).await };
    let found = found.value();
    if extended(&wanted, &found).is_none() && ranges(&wanted) != ranges(&found) && !server.bootstrapped.load(Ordering::Acquire) {
        let (settings, object) = (ranges(&wanted), ranges(&found));
        tracing::warn!(?settings, ?object, "the ServiceCIDR {DEFAULT:?} has other ranges than the settings, and counts");
    }
    reconcile(server, group, plural, &wanted, extended).await
}

/// The object with a second range, where that is all that the settings have beside it. `None`: it stays as it is.
fn extended(wanted: &Value, found: &Value) -> Option<Value> {
    let (wants, has) = (ranges(wanted), ranges(found));
    if object::is_deleting(found) || wants.len() != 2 || has.len() != 1 || wants.first() != has.first() {
        return None;
    }
    let mut new = found.clone();
    new["spec"]["cidrs"] = json!(wants);
    Some(new)
}

fn ranges(object: &Value) -> Vec<&str> {
    object::strings(object.pointer("/spec/cidrs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(cidrs: &[&str]) -> Value {
        let cidrs: Vec<ipnet::IpNet> = cidrs.iter().map(|cidr| cidr.parse().expect("range")).collect();
        default_object(&cidrs, "2026-01-01T00:00:00Z")
    }

    #[test]
    fn only_a_second_family_is_added() {
        let (v4, both) = (with(&["10.96.0.0/16"]), with(&["10.96.0.0/16", "fd00:10:96::/112"]));
        assert_eq!(ranges(&extended(&both, &v4).expect("added")), ranges(&both));
        assert_eq!(extended(&v4, &both), None);
        assert_eq!(extended(&both, &both), None);
        assert_eq!(extended(&both, &with(&["10.97.0.0/16"])), None);
        assert_eq!(extended(&both, &with(&["fd00:10:96::/112"])), None);
        let mut going = v4;
        object::set_meta(&mut going, "deletionTimestamp", "2026-01-01T00:00:00Z");
        assert_eq!(extended(&both, &going), None);
    }

    #[test]
    fn what_is_stored_at_the_start_is_ready_and_held() {
        let kinds = crate::kinds::Kinds::new(crate::kinds::own());
        let kind = kinds.find_any_version(PLACE.0, PLACE.1).expect("registered");
        let stored = super::super::prepare(&kind, with(&["10.96.0.0/16"])).expect("decodes");
        assert_eq!(kind.validate_create(&stored), []);
        assert_eq!(object::finalizers(&stored), ["networking.k8s.io/service-cidr-finalizer"]);
        assert_eq!(stored["status"]["conditions"][0]["status"], "True");
    }
}
