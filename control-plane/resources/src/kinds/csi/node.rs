//! CSINode: the drivers of volumes that a node has.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::kinds::persistent_volume::source::csi_driver;
use crate::names;
use crate::table::{self, number};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::storage::v1;
use serde_json::Value;
use std::collections::HashSet;

pub struct CSINode;

const MAX_NODE_ID: usize = 192;

impl Kind for CSINode {
    type Object = v1::CSINode;

    const DESCRIPTOR: Descriptor = cluster::<v1::CSINode>("csinodes", "csinode");
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[table::NAME, number("Drivers", "How many drivers the node has"), table::AGE];

    fn validate(object: &v1::CSINode, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        let at = at.field("drivers");
        let mut drivers = HashSet::new();
        for (i, driver) in object.spec.drivers.iter().enumerate() {
            let at = at.index(i);
            csi_driver(&driver.name, &at.field("name"), errors);
            if driver.node_id.is_empty() {
                errors.required(&at.field("nodeID"), "");
            }
            if driver.node_id.len() > MAX_NODE_ID {
                let detail = format!("must be {MAX_NODE_ID} characters or less");
                errors.invalid(&at.field("nodeID"), driver.node_id.as_str(), detail);
            }
            let count = driver.allocatable.as_ref().and_then(|a| a.count).unwrap_or_default();
            errors.non_negative(&at.field("allocatable").field("count"), count);
            if !drivers.insert(driver.name.as_str()) {
                errors.duplicate(&at.field("name"), driver.name.as_str());
            }
            let mut keys = HashSet::new();
            for key in driver.topology_keys.iter().flatten() {
                if key.is_empty() {
                    errors.required(&at, "");
                }
                if !keys.insert(key) {
                    errors.duplicate(&at, key.as_str());
                }
                errors.format(&at, key, names::qualified_name(key));
            }
        }
    }

    /// Drivers come and go; one that stays is the same.
    fn validate_update(new: &v1::CSINode, old: &v1::CSINode, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        let at = Path::Root.field("spec");
        for driver in &new.spec.drivers {
            let mut before = old.spec.drivers.iter().filter(|old| old.name == driver.name).peekable();
            if let Some(first) = before.peek().copied()
                && !before.any(|same| same == driver)
            {
                errors.immutable(&at.field("drivers"), driver, first);
            }
        }
    }

    fn cells(object: &v1::CSINode, now: i64) -> Vec<Value> {
        vec![table::name(&object.metadata), object.spec.drivers.len().into(), table::age(&object.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<CSINode> = Typed::NEW;

    fn node(drivers: Value) -> Value {
        KIND.decode(json!({"metadata": {"name": "n"}, "spec": {"drivers": drivers}})).unwrap().object
    }

    #[test]
    fn drivers_of_a_node_have_rules_and_stay_the_same() {
        let driver = |name: &str, id: &str| json!({"name": name, "nodeID": id, "topologyKeys": ["a/zone"]});
        for (drivers, expected) in [
            (json!([driver("a.b", "1"), driver("c", "1")]), vec![]),
            (json!([driver("", "1")]), vec!["spec.drivers[0].name"; 2]),
            (json!([driver("a", "")]), vec!["spec.drivers[0].nodeID"]),
            (json!([driver("a", &"x".repeat(193))]), vec!["spec.drivers[0].nodeID"]),
            (json!([driver("a", "1"), driver("a", "1")]), vec!["spec.drivers[1].name"]),
            (json!([{"name": "a", "nodeID": "1", "topologyKeys": ["k", "k"]}]), vec!["spec.drivers[0]"]),
            (json!([{"name": "a", "nodeID": "1", "allocatable": {"count": -1}}]), vec!["spec.drivers[0].allocatable.count"]),
        ] {
            let found: Vec<String> = KIND.validate_create(&node(drivers.clone())).into_iter().map(|e| e.field).collect();
            assert_eq!(found, expected, "{drivers}");
        }
        let old = node(json!([driver("a", "1")]));
        for (drivers, count) in [(json!([]), 0), (json!([driver("b", "2"), driver("a", "1")]), 0), (json!([driver("a", "2")]), 1)] {
            let found = KIND.validate_update(&node(drivers.clone()), &old, None);
            assert_eq!(found.len(), count, "{drivers}: {found:?}");
            assert!(found.iter().all(|e| (e.field.as_str(), e.detail.as_str()) == ("spec.drivers", "field is immutable")));
        }
        assert_eq!(KIND.cells(&old, 0)[1], 1);
    }
}
