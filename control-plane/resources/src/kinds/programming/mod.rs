//! NodeProgramming, NetworkPolicyStatus, ServiceStatus (`networking.orknet.io`): whether what was applied is in force. Agents write the first about
//! their node, the control plane sums them up in the others. None has a spec, so none has the subresource `status`: they are written whole.

mod follow;
mod types;

use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::table::{self, number, text};
use crate::typed::{Kind, cluster, namespaced, or_empty, own};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;
use std::collections::HashSet;

pub use types::*;

/// The condition's type that says whether an object is in force on every node.
pub const PROGRAMMED: &str = "Programmed";

/// How many failed objects one report may tell of.
const MAX_FAILED: usize = 1000;

pub struct NodeProgrammingKind;
pub struct NetworkPolicyStatusKind;
pub struct ServiceStatusKind;

const COMPANION_COLUMNS: &[Column] = &[
    table::NAME,
    text("Programmed", "Whether the object is in force on every node"),
    text("Nodes", "On how many nodes of how many the object is in force"),
    number("Generation", "The generation of the object that this speaks of"),
    table::AGE,
];

impl Kind for NodeProgrammingKind {
    type Object = NodeProgramming;

    const DESCRIPTOR: Descriptor = cluster::<NodeProgramming>("nodeprogrammings", "nodeprogramming");
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("NetworkPolicies", "The version of NetworkPolicies that is in the node's kernel"),
        text("Services", "The version of Services that is in the node's kernel"),
        number("Failed", "How many objects are not in force on the node"),
        table::AGE,
    ];

    fn validate(object: &NodeProgramming, errors: &mut Errors) {
        let at = Path::Root.field("status");
        let status = or_empty(&object.status);
        let list = at.field("programmed");
        let mut seen = HashSet::new();
        for (i, entry) in status.programmed.iter().flatten().enumerate() {
            let at = list.index(i);
            match entry.kind.as_str() {
                "" => errors.required(&at.field("kind"), ""),
                kind if !seen.insert(kind) => errors.duplicate(&at.field("kind"), kind),
                _ => {}
            }
            version(&entry.resource_version, &at.field("resourceVersion"), errors);
        }
        let list = at.field("behind");
        let mut seen = HashSet::new();
        for (i, entry) in status.behind.iter().flatten().enumerate() {
            match entry.kind.as_str() {
                "" => errors.required(&list.index(i).field("kind"), ""),
                kind if !seen.insert(kind) => errors.duplicate(&list.index(i).field("kind"), kind),
                _ => {}
            }
        }
        let list = at.field("failed");
        let failed = status.failed.as_deref().unwrap_or_default();
        if failed.len() > MAX_FAILED {
            errors.too_many(&list, failed.len(), MAX_FAILED);
        }
        for (i, entry) in failed.iter().enumerate() {
            for (name, value) in [("kind", &entry.kind), ("name", &entry.name)] {
                if value.is_empty() {
                    errors.required(&list.index(i).field(name), "");
                }
            }
        }
    }

    fn cells(object: &NodeProgramming, now: i64) -> Vec<Value> {
        let status = or_empty(&object.status);
        let version = |kind: &str| {
            let entry = status.programmed.iter().flatten().find(|entry| entry.kind == kind);
            Value::from(entry.map(|entry| entry.resource_version.as_str()).unwrap_or_default())
        };
        vec![
            table::name(&object.metadata),
            version("NetworkPolicy"),
            version("Service"),
            status.failed.as_ref().map_or(0, Vec::len).into(),
            table::age(&object.metadata, now),
        ]
    }
}

/// A kind of companions: its objects, whose they are and where those are stored, and its names.
macro_rules! companion {
    ($kind:ident, $object:ident of $of:ident at $place:expr, $plural:literal, $singular:literal, $short:literal) => {
        impl Kind for $kind {
            type Object = $object;

            const DESCRIPTOR: Descriptor = Descriptor {
                short_names: &[$short],
                companion_of: Some($place),
                read_newest: true,
                ..namespaced::<$object>($plural, $singular)
            };
            const CREATES_ON_UPDATE: bool = true;
            const COLUMNS: &'static [Column] = COMPANION_COLUMNS;

            fn validate(object: &$object, errors: &mut Errors) {
                programming(&or_empty(&object.status), errors);
            }

            fn cells(object: &$object, now: i64) -> Vec<Value> {
                companion_cells(&object.metadata, &or_empty(&object.status), now)
            }

            fn follow(companion: &mut Value, object: &Value, now: &str) {
                follow::follow::<$of>(companion, object, now);
            }
        }
    };
}

companion!(
    NetworkPolicyStatusKind,
    NetworkPolicyStatus of NetworkPolicy at ("networking.k8s.io", "networkpolicies"),
    "networkpolicystatuses",
    "networkpolicystatus",
    "netpolstatus"
);
companion!(ServiceStatusKind, ServiceStatus of Service at ("", "services"), "servicestatuses", "servicestatus", "svcstatus");

fn programming(status: &ProgrammingStatus, errors: &mut Errors) {
    let at = Path::Root.field("status");
    if let Some(generation) = status.observed_generation {
        errors.non_negative(&at.field("observedGeneration"), generation);
    }
    if let Some(text) = &status.observed_resource_version {
        version(text, &at.field("observedResourceVersion"), errors);
    }
    own::conditions(status.conditions.as_deref().unwrap_or_default(), &at.field("conditions"), errors);
}

/// Resource versions are compared as numbers (KEP-5504), so they must be some.
fn version(text: &str, at: &Path<'_>, errors: &mut Errors) {
    match text {
        "" => errors.required(at, ""),
        text if text.bytes().all(|c| c.is_ascii_digit()) && text.parse::<u64>().is_ok() => {}
        text => errors.invalid(at, text, "must be a decimal number"),
    }
}

fn companion_cells(metadata: &ObjectMeta, status: &ProgrammingStatus, now: i64) -> Vec<Value> {
    vec![
        table::name(metadata),
        own::condition_status(status.conditions.as_deref().unwrap_or_default(), PROGRAMMED),
        status.nodes.as_deref().unwrap_or_default().into(),
        status.observed_generation.into(),
        table::age(metadata, now),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const NODE: Typed<NodeProgrammingKind> = Typed::NEW;
    const POLICY: Typed<NetworkPolicyStatusKind> = Typed::NEW;

    #[test]
    fn a_report_is_read_shown_and_checked() {
        let report = json!({"metadata": {"name": "n1"}, "status": {
            "programmed": [{"kind": "NetworkPolicy", "resourceVersion": "12"}, {"kind": "Service", "resourceVersion": "9"}],
            "failed": [{"kind": "NetworkPolicy", "namespace": "d", "name": "p", "message": "no room"}],
            "observedTime": "2026-01-02T03:04:05.000006Z"}});
        let read = NODE.decode(report).unwrap();
        assert!(read.unknown.is_empty() && NODE.validate_create(&read.object).is_empty());
        assert_eq!(read.object["apiVersion"], "networking.orknet.io/v1alpha1");
        assert_eq!(NODE.cells(&read.object, 0)[..4], [json!("n1"), json!("12"), json!("9"), json!(1)]);
        for (status, field) in [
            (json!({"programmed": [{"kind": "Pod", "resourceVersion": "1a"}]}), "status.programmed[0].resourceVersion"),
            (json!({"programmed": [{"kind": "Pod", "resourceVersion": "+1"}]}), "status.programmed[0].resourceVersion"),
            (json!({"programmed": [{"kind": "Pod"}]}), "status.programmed[0].resourceVersion"),
            (json!({"programmed": [{"resourceVersion": "1"}]}), "status.programmed[0].kind"),
            (
                json!({"programmed": [{"kind": "Pod", "resourceVersion": "1"}, {"kind": "Pod", "resourceVersion": "2"}]}),
                "status.programmed[1].kind",
            ),
            (json!({"failed": [{"kind": "Pod"}]}), "status.failed[0].name"),
            (json!({"failed": vec![json!({"kind": "Pod", "name": "a"}); 1001]}), "status.failed"),
        ] {
            let read = NODE.decode(json!({"metadata": {"name": "n1"}, "status": status})).unwrap().object;
            let found: Vec<String> = NODE.validate_create(&read).into_iter().map(|e| e.field).collect();
            assert_eq!(found, [field]);
        }
    }

    #[test]
    fn a_companion_shows_the_condition() {
        let object = json!({"metadata": {"name": "p", "namespace": "d"}, "status": {"observedGeneration": 3, "observedResourceVersion": "7",
            "nodes": "1/2", "conditions": [{"type": "Programmed", "status": "False", "reason": "Waiting", "message": "n2",
            "lastTransitionTime": "2026-01-02T03:04:05Z"}]}});
        let read = POLICY.decode(object).unwrap();
        assert!(read.unknown.is_empty() && POLICY.validate_create(&read.object).is_empty());
        assert_eq!(POLICY.cells(&read.object, 0)[1..4], [json!("False"), json!("1/2"), json!(3)]);
        let empty = json!({"metadata": {"name": "p", "namespace": "d"}});
        assert_eq!(POLICY.cells(&empty, 0)[1..4], [json!(""), json!(""), Value::Null]);
    }

    #[test]
    fn what_is_written_of_the_status_is_kept() {
        let mut object = json!({"metadata": {"name": "p"}, "status": {"nodes": "1/2"}});
        POLICY.prepare_create(&mut object);
        POLICY.prepare_update(&mut object, &json!({"status": {"nodes": "0/2"}}), None);
        assert_eq!(object["status"]["nodes"], "1/2");
    }
}
