//! Node: a machine that runs pods. The kubelet creates it with its status, controllers taint it.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::names;
use crate::quantity::Quantity;
use crate::table::{self, text, wide};
use crate::typed::{Kind, cluster, or_empty};
use k8s_openapi::api::core::v1;
use serde_json::Value;
use std::collections::HashSet;

pub struct Node;

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE: &str = "kubernetes.io/role";
const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

impl Kind for Node {
    type Object = v1::Node;

    const DESCRIPTOR: Descriptor =
        Descriptor { short_names: &["no"], subresources: &["proxy", "status"], ..cluster::<v1::Node>("nodes", "node") };
    const CREATED_WITH_STATUS: bool = true;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Status", "The status of the node"),
        text("Roles", "The roles of the node"),
        table::AGE,
        text("Version", "Kubelet Version reported by the node."),
        wide("Internal-IP", "Address inside the cluster"),
        wide("External-IP", "Address outside of the cluster"),
        wide("OS-Image", "OS Image reported by the node"),
        wide("Kernel-Version", "Kernel Version reported by the node"),
        wide("Container-Runtime", "ContainerRuntime Version reported by the node"),
    ];

    fn default(object: &mut v1::Node) {
        if let Some(status) = &mut object.status
            && status.allocatable.is_none()
        {
            status.allocatable.clone_from(&status.capacity);
        }
    }

    fn validate(object: &v1::Node, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let spec = or_empty(&object.spec);
        taints(spec.taints.as_deref().unwrap_or_default(), &at.field("taints"), errors);
        let cidrs = at.field("podCIDRs");
        let list = spec.pod_cidrs.as_deref().unwrap_or_default();
        for (i, cidr) in list.iter().enumerate() {
            if let Err(detail) = names::cidr(cidr) {
                errors.invalid(&cidrs.index(i), cidr.as_str(), detail);
            }
        }
        if list.len() > 2 {
            let shown = serde_json::to_value(list).unwrap_or_default();
            errors.invalid(&cidrs, shown, "may specify no more than one CIDR for each IP family");
        }
        let status = or_empty(&object.status);
        for (name, amounts) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
            for (resource, amount) in amounts.iter().flatten() {
                if Quantity::parse(&amount.0).is_ok_and(Quantity::is_negative) {
                    let at = Path::Root.field("status");
                    errors.invalid(&at.field(name).key(resource), amount.0.as_str(), "must be greater than or equal to 0");
                }
            }
        }
    }

    fn validate_update(new: &v1::Node, old: &v1::Node, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        let at = Path::Root.field("spec");
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        if old.pod_cidrs.as_ref().is_some_and(|c| !c.is_empty()) && new.pod_cidrs != old.pod_cidrs {
            errors.forbidden(&at.field("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
        }
        if old.provider_id.as_ref().is_some_and(|p| !p.is_empty()) && new.provider_id != old.provider_id {
            errors.forbidden(&at.field("providerID"), "node updates may not change providerID except from \"\" to valid");
        }
    }

    fn cells(object: &v1::Node, now: i64) -> Vec<Value> {
        let status = or_empty(&object.status);
        let info = or_empty(&status.node_info);
        let address = |kind: &str| status.addresses.iter().flatten().find(|a| a.type_ == kind).map(|a| a.address.as_str());
        let known = |text: &str| Value::from(if text.is_empty() { "<unknown>" } else { text });
        vec![
            table::name(&object.metadata),
            readiness(object).into(),
            roles(object).into(),
            table::age(&object.metadata, now),
            info.kubelet_version.as_str().into(),
            table::or_none(address("InternalIP")),
            table::or_none(address("ExternalIP")),
            known(&info.os_image),
            known(&info.kernel_version),
            known(&info.container_runtime_version),
        ]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", json::text_or(object, &["spec", "unschedulable"], "false"))]
    }
}

fn taints(list: &[v1::Taint], at: &Path<'_>, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, taint) in list.iter().enumerate() {
        let at = at.index(i);
        errors.format(&at.field("key"), &taint.key, names::qualified_name(&taint.key));
        let value = taint.value.as_deref().unwrap_or_default();
        errors.format(&at.field("value"), value, names::label_value(value));
        errors.one_of(&at.field("effect"), Some(&taint.effect), EFFECTS);
        if !seen.insert((&taint.key, &taint.effect)) {
            errors.duplicate(&at, serde_json::to_value(taint).unwrap_or_default());
        }
    }
}

fn readiness(object: &v1::Node) -> String {
    let conditions = object.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let ready = match conditions.into_iter().find(|c| c.type_ == "Ready").map(|c| c.status.as_str()) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = object.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    if closed { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}

fn roles(object: &v1::Node) -> String {
    let labels = object.metadata.labels.iter().flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some(role) => Some(role),
            None if key == ROLE => Some(value.as_str()),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    table::joined(roles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<Node> = Typed::NEW;

    #[test]
    fn the_table_shows_readiness_roles_and_addresses() {
        let node = json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""},
                "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "False"}], "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "nodeInfo": {"kubeletVersion": "v1.33.0", "osImage": "Debian", "kernelVersion": "6.1", "containerRuntimeVersion": "containerd://1.6"}},
        });
        let cells = KIND.cells(&node, 303);
        let expected = [
            "n",
            "NotReady,SchedulingDisabled",
            "control-plane,worker",
            "5m3s",
            "v1.33.0",
            "10.0.0.1",
            "<none>",
            "Debian",
            "6.1",
            "containerd://1.6",
        ];
        assert_eq!(cells, expected);
        assert_eq!(KIND.selectable_fields(&node), [("spec.unschedulable", "true".to_owned())]);
    }

    #[test]
    fn a_node_is_created_with_its_status_and_updated_without() {
        let mut node = KIND.decode(json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2000m"}}})).unwrap().object;
        KIND.prepare_create(&mut node);
        assert_eq!((&node["status"]["capacity"]["cpu"], &node["status"]["allocatable"]["cpu"]), (&json!("2"), &json!("2")));
        let mut new = json!({"metadata": {"name": "n"}});
        KIND.prepare_update(&mut new, &node, None);
        assert_eq!(new["status"], node["status"]);
    }

    #[test]
    fn taints_and_address_blocks_are_checked() {
        for (spec, field) in [
            (json!({"taints": [{"key": "a", "effect": "Never"}]}), "spec.taints[0].effect"),
            (json!({"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}), "spec.taints[1]"),
            (json!({"podCIDRs": ["10.0.0.0"]}), "spec.podCIDRs[0]"),
        ] {
            let found = KIND.validate_create(&json!({"metadata": {"name": "n"}, "spec": spec}));
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].field, field);
        }
        let with = |cidr| json!({"metadata": {"name": "n"}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        assert_eq!(KIND.validate_update(&with("10.0.1.0/24"), &with("10.0.0.0/24"), None)[0].field, "spec.podCIDRs");
    }
}
