//! Lease: who holds what until when; nodes' heartbeats and leader election.

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::coordination::v1;
use serde_json::Value;

pub struct Lease;

impl Kind for Lease {
    type Object = v1::Lease;

    const DESCRIPTOR: Descriptor = namespaced::<v1::Lease>("leases", "lease");
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = &[table::NAME, text("Holder", "Identity of the holder"), table::AGE];

    fn validate(object: &v1::Lease, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let Some(spec) = &object.spec else { return };
        if let Some(seconds) = spec.lease_duration_seconds
            && seconds <= 0
        {
            errors.invalid(&at.field("leaseDurationSeconds"), seconds, "must be greater than 0");
        }
        if let Some(count) = spec.lease_transitions
            && count < 0
        {
            errors.invalid(&at.field("leaseTransitions"), count, "must be greater than or equal to 0");
        }
        errors.one_of_if_set(&at.field("strategy"), spec.strategy.as_deref(), &["OldestEmulationVersion"]);
    }

    fn cells(object: &v1::Lease, now: i64) -> Vec<Value> {
        let holder = object.spec.as_ref().and_then(|s| s.holder_identity.as_deref()).unwrap_or_default();
        vec![table::name(&object.metadata), holder.into(), table::age(&object.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn durations_are_positive() {
        let kind = Typed::<Lease>::NEW;
        for (spec, fields) in [
            (json!({"holderIdentity": "a", "leaseDurationSeconds": 40, "renewTime": "2024-01-01T00:00:00.000001Z"}), &[][..]),
            (json!({"leaseDurationSeconds": 0}), &["spec.leaseDurationSeconds"]),
            (json!({"leaseTransitions": -1}), &["spec.leaseTransitions"]),
        ] {
            let object = kind.decode(json!({"metadata": {"name": "a", "namespace": "d"}, "spec": spec})).unwrap().object;
            let found: Vec<String> = kind.validate_create(&object).into_iter().map(|e| e.field).collect();
            assert_eq!(found, fields);
        }
    }
}
