//! CSIStorageCapacity: how much room a driver has for a class of volumes, and where.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::quantity::Quantity;
use crate::table::{self, text};
use crate::typed::{Kind, namespaced};
use crate::{names, selector};
use k8s_openapi::api::storage::v1;
use serde_json::Value;

pub struct CSIStorageCapacity;

impl Kind for CSIStorageCapacity {
    type Object = v1::CSIStorageCapacity;

    const DESCRIPTOR: Descriptor = namespaced::<v1::CSIStorageCapacity>("csistoragecapacities", "csistoragecapacity");
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] =
        &[table::NAME, text("StorageClassName", "The class that the room is for"), text("Capacity", "Room that is left")];

    fn validate(object: &v1::CSIStorageCapacity, errors: &mut Errors) {
        if let Some(nodes) = &object.node_topology {
            selector::validate(nodes, &Path::Root.field("nodeTopology"), errors);
        }
        let class = object.storage_class_name.as_str();
        errors.format(&Path::Root.field("storageClassName"), class, names::subdomain(class));
        if let Some(room) = &object.capacity
            && Quantity::parse(&room.0).is_ok_and(Quantity::is_negative)
        {
            errors.invalid(&Path::Root.field("capacity"), room.0.as_str(), "must be greater than or equal to 0");
        }
    }

    /// What was asked of the driver stays; only the answer changes.
    fn validate_update(new: &v1::CSIStorageCapacity, old: &v1::CSIStorageCapacity, _: Subresource<'_>, errors: &mut Errors) {
        Self::validate(new, errors);
        errors.immutable(&Path::Root.field("nodeTopology"), &new.node_topology, &old.node_topology);
        errors.immutable(&Path::Root.field("storageClassName"), &new.storage_class_name, &old.storage_class_name);
    }

    fn cells(object: &v1::CSIStorageCapacity, _: i64) -> Vec<Value> {
        let room = object.capacity.as_ref().map(|room| room.0.clone()).unwrap_or_default();
        vec![table::name(&object.metadata), object.storage_class_name.as_str().into(), room.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    #[test]
    fn only_the_room_changes() {
        let kind = Typed::<CSIStorageCapacity>::NEW;
        let capacity = |class: &str, room: &str| {
            let body = json!({"metadata": {"name": "a", "namespace": "d"}, "storageClassName": class, "capacity": room,
                "nodeTopology": {"matchLabels": {"zone": "z"}}});
            kind.decode(body).unwrap().object
        };
        let old = capacity("c", "1Gi");
        assert_eq!(kind.validate_create(&old), []);
        assert_eq!(kind.cells(&old, 0), ["a", "c", "1Gi"]);
        assert_eq!(kind.validate_update(&capacity("c", "2Gi"), &old, None), []);
        let found = kind.validate_update(&capacity("d", "-1"), &old, None);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "capacity: Invalid value: \"-1\": must be greater than or equal to 0",
                "storageClassName: Invalid value: \"d\": field is immutable"
            ]
        );
    }
}
