//! Claims and changes of claims that are accepted and refused, with the words of the refusal.

use super::PersistentVolumeClaim;
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::{Value, json};

const KIND: Typed<PersistentVolumeClaim> = Typed::NEW;
const FIXED: &str =
    "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

/// A right claim with `change` in its spec; `null` takes a field away.
fn claim(change: Value) -> Value {
    let mut body = json!({"metadata": {"name": "a", "namespace": "d"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    for (key, value) in change.as_object().unwrap() {
        body["spec"][key] = value.clone();
    }
    KIND.decode(body).unwrap().object
}

fn sized(size: &str, status: Value) -> Value {
    let mut claim = claim(json!({"resources": {"requests": {"storage": size}}}));
    claim["status"] = status;
    claim
}

fn refused_change(new: &Value, old: &Value, subresource: Option<&str>) -> Vec<String> {
    KIND.validate_update(new, old, subresource).iter().map(ToString::to_string).collect()
}

#[test]
fn a_claim_says_how_much_and_how() {
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    for (change, expected) in [
        (json!({}), vec![]),
        (json!({"accessModes": []}), vec!["spec.accessModes: Required value: at least 1 access mode is required"]),
        (
            json!({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}),
            vec!["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (json!({"resources": {}}), vec!["spec.resources[storage]: Required value"]),
        (
            json!({"resources": {"requests": {"storage": "0"}}}),
            vec!["spec.resources[storage]: Invalid value: \"0\": must be greater than zero"],
        ),
        (
            json!({"resources": {"requests": {"storage": "-1"}}}),
            vec!["spec.resources[storage]: Invalid value: \"-1\": must be greater than zero"],
        ),
        (json!({"volumeMode": "Tape"}), vec!["spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\""]),
        (json!({"dataSource": snapshot, "dataSourceRef": snapshot}), vec![]),
        (json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": ""}}), vec!["spec.dataSource.name: Required value"]),
        (
            json!({"dataSourceRef": {"kind": "Pod", "name": "p"}}),
            vec!["spec.dataSourceRef: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup"],
        ),
        (
            json!({"dataSource": snapshot, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "s"}}),
            vec!["spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"],
        ),
        (
            json!({"dataSource": snapshot, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "s", "namespace": "e"}}),
            vec!["spec: Invalid value: \"spec.dataSource\": may not be specified when dataSourceRef.namespace is specified"],
        ),
    ] {
        let found: Vec<String> = KIND.validate_create(&claim(change.clone())).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{change}");
    }
}

#[test]
fn volume_and_class_come_once() {
    let class = |name: &str| claim(json!({"storageClassName": name}));
    let volume = |name: &str| claim(json!({"volumeName": name}));
    for (new, old, expected) in [
        (volume("v"), claim(json!({})), vec![]),
        (volume("w"), volume("v"), vec![FIXED]),
        (class("c"), claim(json!({})), vec![]),
        (class("d"), class("c"), vec![FIXED]),
        (claim(json!({})), class("c"), vec![FIXED]),
        (claim(json!({"accessModes": ["ReadOnlyMany"]})), claim(json!({})), vec![FIXED]),
        (claim(json!({"volumeMode": "Block"})), claim(json!({})), vec![FIXED, "volumeMode: Invalid value: \"Block\": field is immutable"]),
    ] {
        assert_eq!(refused_change(&new, &old, None), expected, "{new} {old}");
    }
}

#[test]
fn a_class_moves_from_the_annotation_to_its_field() {
    let annotated = |class: Option<&str>, field: Option<&str>| {
        let mut claim = claim(json!({"storageClassName": field}));
        if let Some(class) = class {
            claim["metadata"]["annotations"] = json!({"volume.beta.kubernetes.io/storage-class": class});
        }
        claim
    };
    let fixed = "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: \"b\": field is immutable";
    for (new, old, expected) in [
        (annotated(Some("a"), Some("a")), annotated(Some("a"), None), vec![]),
        (annotated(None, Some("a")), annotated(Some("a"), None), vec![]),
        (annotated(Some("a"), Some("b")), annotated(Some("a"), None), vec![FIXED]),
        (annotated(Some("b"), None), annotated(Some("a"), None), vec![fixed]),
    ] {
        assert_eq!(refused_change(&new, &old, None), expected, "{new} {old}");
    }
}

#[test]
fn only_bound_claims_grow_and_none_shrinks_below_what_it_has() {
    let bound = |capacity: &str| json!({"phase": "Bound", "capacity": {"storage": capacity}});
    let pending = json!({"phase": "Pending"});
    let less = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity";
    for (new, old, status, expected) in [
        ("2Gi", "1Gi", bound("1Gi"), vec![]),
        ("1024Mi", "1Gi", pending.clone(), vec![]),
        ("2Gi", "1Gi", pending.clone(), vec![FIXED]),
        ("1Gi", "2Gi", pending, vec![FIXED]),
        ("1Gi", "2Gi", bound("2Gi"), vec![less]),
        ("1Gi", "3Gi", bound("1Gi"), vec![less]),
        // Growing failed: a smaller wish may be made, as long as it is one for more.
        ("2Gi", "3Gi", bound("1Gi"), vec![]),
    ] {
        let found = refused_change(&sized(new, status.clone()), &sized(old, status), None);
        assert_eq!(found, expected, "{old} to {new}");
    }
}

#[test]
fn the_status_tells_of_amounts_of_storage() {
    let old = sized("1Gi", json!({"phase": "Bound"}));
    for (status, expected) in [
        (json!({"capacity": {"storage": "1Gi"}, "allocatedResources": {"storage": "2Gi"}}), vec![]),
        (json!({"allocatedResourceStatuses": {"storage": "NodeResizePending", "example.com/x": "NodeResizePending"}}), vec![]),
        (
            json!({"capacity": {"storage": "-1Gi"}}),
            vec!["status.capacity[storage]: Invalid value: -1073741824: must be a valid resource quantity"],
        ),
        (
            json!({"allocatedResources": {"storage": "-2"}}),
            vec!["status.allocatedResources[storage]: Invalid value: -2: must be a valid resource quantity"],
        ),
        (
            json!({"allocatedResources": {"cpu": "1"}}),
            vec!["status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\""],
        ),
        (
            json!({"allocatedResourceStatuses": {"storage": "Soon"}}),
            vec![
                "status.allocatedResourceStatus: Unsupported value: \"storage\": supported values: \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", \"NodeResizeInfeasible\", \"NodeResizePending\"",
            ],
        ),
    ] {
        assert_eq!(refused_change(&sized("1Gi", status.clone()), &old, Some("status")), expected, "{status}");
    }
}

#[test]
fn a_source_is_told_in_both_fields() {
    let source = json!({"kind": "PersistentVolumeClaim", "name": "s"});
    let other = json!({"apiGroup": "example.com", "kind": "Image", "name": "s"});
    let prepared = |spec: Value| {
        let mut claim = claim(spec);
        KIND.prepare_create(&mut claim);
        (claim["spec"].get("dataSource").cloned(), claim["spec"].get("dataSourceRef").cloned())
    };
    let both = (Some(source.clone()), Some(source.clone()));
    assert_eq!(prepared(json!({"dataSource": source})), both);
    assert_eq!(prepared(json!({"dataSourceRef": source})), both);
    assert_eq!(prepared(json!({"dataSource": other})), (None, None));
    assert_eq!(prepared(json!({"dataSourceRef": other})), (Some(other.clone()), Some(other)));
    let mut elsewhere = source;
    elsewhere["namespace"] = "e".into();
    assert_eq!(prepared(json!({"dataSourceRef": elsewhere})), (None, Some(elsewhere)));
    let (new, old) = (claim(json!({"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "s"}})), claim(json!({})));
    assert_eq!(refused_change(&new, &old, None), [FIXED]);
}
