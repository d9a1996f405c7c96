//! ClusterNetworkPolicy: what traffic pods may have, by the word of who runs the cluster, above and below NetworkPolicies. Enforcing is the data
//! plane's. Kubernetes has the kind as a custom resource (sigs.k8s.io/network-policy-api); here it is built in, with the same schema and rules.

#[cfg(test)]
mod tests;
mod types;
mod validate;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::table::{self, text};
use crate::typed::{Kind, cluster, or_empty, own};
use serde_json::Value;

pub use types::*;

pub struct ClusterNetworkPolicyKind;

impl Kind for ClusterNetworkPolicyKind {
    type Object = ClusterNetworkPolicy;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["cnp"],
        subresources: &["status"],
        has_generation: true,
        read_newest: true,
        ..cluster::<ClusterNetworkPolicy>("clusternetworkpolicies", "clusternetworkpolicy")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Tier", "When the policy is looked at: before or after NetworkPolicies"),
        text("Priority", "The policy's place in its tier"),
        table::AGE,
    ];

    fn validate(object: &ClusterNetworkPolicy, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        match &object.spec {
            Some(spec) => validate::spec(spec, &at, errors),
            None => errors.required(&at, ""),
        }
    }

    fn validate_update(new: &ClusterNetworkPolicy, _: &ClusterNetworkPolicy, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource == Some("status") {
            let at = Path::Root.field("status");
            own::conditions(or_empty(&new.status).conditions.as_deref().unwrap_or_default(), &at.field("conditions"), errors);
        } else {
            Self::validate(new, errors);
        }
    }

    fn cells(object: &ClusterNetworkPolicy, now: i64) -> Vec<Value> {
        let spec = or_empty(&object.spec);
        let priority = spec.priority.map(|priority| priority.to_string()).unwrap_or_default();
        vec![
            table::name(&object.metadata),
            spec.tier.as_deref().unwrap_or_default().into(),
            priority.into(),
            table::age(&object.metadata, now),
        ]
    }
}
