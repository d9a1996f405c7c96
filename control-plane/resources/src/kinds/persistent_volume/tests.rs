//! Volumes that are accepted and refused, with the words of the refusal.

use super::PersistentVolume;
use crate::contract::Resource;
use crate::typed::Typed;
use serde_json::{Value, json};

const KIND: Typed<PersistentVolume> = Typed::NEW;

/// A right volume with `change` in its spec; `null` takes a field away.
fn volume(change: &Value) -> Value {
    let mut spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}});
    for (key, value) in change.as_object().unwrap() {
        spec[key] = value.clone();
    }
    KIND.decode(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap().object
}

fn refused(change: &Value) -> Vec<String> {
    KIND.validate_create(&volume(change)).iter().map(ToString::to_string).collect()
}

fn refused_change(new: &Value, old: &Value) -> Vec<String> {
    KIND.validate_update(&volume(new), &volume(old), None).iter().map(ToString::to_string).collect()
}

/// In place of the hostPath: the only source.
fn only(name: &str, source: Value) -> Value {
    json!({"hostPath": null, name: source})
}

#[test]
fn a_volume_says_how_much_and_how() {
    for (change, expected) in [
        (json!({}), vec![]),
        (json!({"accessModes": []}), vec!["spec.accessModes: Required value"]),
        (
            json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}),
            vec!["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (
            json!({"capacity": {}}),
            vec!["spec.capacity: Required value", "spec.capacity: Unsupported value: {}: supported values: \"storage\""],
        ),
        (json!({"capacity": {"storage": "0"}}), vec!["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"]),
        (
            json!({"capacity": {"storage": "-1Gi"}}),
            vec![
                "spec.capacity[storage]: Invalid value: -1073741824: must be a valid resource quantity",
                "spec.capacity[storage]: Invalid value: \"-1Gi\": must be greater than zero",
            ],
        ),
        (
            json!({"persistentVolumeReclaimPolicy": "Keep"}),
            vec!["spec.persistentVolumeReclaimPolicy: Unsupported value: \"Keep\": supported values: \"Delete\", \"Recycle\", \"Retain\""],
        ),
        (
            json!({"persistentVolumeReclaimPolicy": "Recycle", "hostPath": {"path": "/./"}}),
            vec!["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
        ),
        (json!({"persistentVolumeReclaimPolicy": "Recycle", "hostPath": {"path": "/x"}}), vec![]),
        (json!({"volumeMode": "Tape"}), vec!["spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \"Filesystem\""]),
        (json!({"nodeAffinity": {}}), vec!["spec.nodeAffinity.required: Required value: must specify required node constraints"]),
        (
            json!({"nodeAffinity": {"required": {"nodeSelectorTerms": []}}}),
            vec!["spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term"],
        ),
    ] {
        assert_eq!(refused(&change), expected, "{change}");
    }
    assert!(refused(&json!({"storageClassName": "A"}))[0].starts_with("spec.storageClassName: Invalid value: \"A\": a lowercase RFC 1123"));
}

#[test]
fn a_volume_is_one_kind_of_storage() {
    assert_eq!(refused(&json!({"hostPath": null})), ["spec: Required value: must specify a volume type"]);
    let two = json!({"nfs": {}, "csi": {}});
    let more = "Forbidden: may not specify more than 1 volume type";
    assert_eq!(refused(&two), [format!("spec.nfs: {more}"), format!("spec.csi: {more}")]);
}

#[test]
fn each_kind_of_storage_has_its_rules() {
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}});
    let iscsi = |change: Value| {
        let mut source = json!({"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2001-04.com.example:storage.disk1.sys1", "lun": 1});
        for (key, value) in change.as_object().unwrap() {
            source[key] = value.clone();
        }
        only("iscsi", source)
    };
    for (change, expected) in [
        (only("hostPath", json!({})), vec!["spec.hostPath.path: Required value"]),
        (only("hostPath", json!({"path": "/a/../b"})), vec!["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
        (only("nfs", json!({"server": "s", "path": "p"})), vec!["spec.nfs.path: Invalid value: \"p\": must be an absolute path"]),
        (json!({"hostPath": null, "local": {"path": "/d"}, "nodeAffinity": affinity}), vec![]),
        (only("local", json!({"path": "/d"})), vec!["spec.nodeAffinity: Required value: Local volume requires node affinity"]),
        (
            json!({"hostPath": null, "local": {"path": "/d/.."}, "nodeAffinity": affinity}),
            vec!["spec.local.path: Invalid value: \"/d/..\": must not contain '..'"],
        ),
        (only("csi", json!({"driver": "d.example", "volumeHandle": "1"})), vec![]),
        (only("csi", json!({"driver": "d.example"})), vec!["spec.csi.volumeHandle: Required value"]),
        (
            only("csi", json!({"driver": "d", "volumeHandle": "1", "nodePublishSecretRef": {"name": "s"}})),
            vec!["spec.csi.nodePublishSecretRef.namespace: Required value"],
        ),
        (iscsi(json!({})), vec![]),
        (iscsi(json!({"iqn": "eui.0123456789ABCDEF"})), vec![]),
        (iscsi(json!({"iqn": "naa.60004567BA64678D0123456789ABCDEF"})), vec![]),
        (
            iscsi(json!({"iqn": "iqn.2001-04.com.example"})),
            vec!["spec.iscsi.iqn: Invalid value: \"iqn.2001-04.com.example\": must be valid format"],
        ),
        (iscsi(json!({"iqn": "eui.0123"})), vec!["spec.iscsi.iqn: Invalid value: \"eui.0123\": must be valid format"]),
        (iscsi(json!({"lun": 256})), vec!["spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive"]),
        (iscsi(json!({"chapAuthSession": true})), vec!["spec.iscsi.secretRef: Required value"]),
        (only("fc", json!({"lun": 1})), vec!["spec.fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both"]),
        (only("fc", json!({"targetWWNs": ["a"]})), vec!["spec.fc.lun: Required value: lun is required if targetWWNs is specified"]),
        (only("rbd", json!({"image": "i"})), vec!["spec.rbd.monitors: Required value"]),
        (only("cephfs", json!({})), vec!["spec.cephfs.monitors: Required value"]),
        (only("glusterfs", json!({"endpoints": "e"})), vec!["spec.glusterfs.path: Required value"]),
        (
            only("quobyte", json!({"registry": "here", "volume": "v"})),
            vec!["spec.quobyte.registry: Invalid value: \"here\": must be a host:port pair or multiple pairs separated by commas"],
        ),
        (only("quobyte", json!({"registry": "here:1,[::1]:2", "volume": "v"})), vec![]),
        (
            only("flexVolume", json!({"driver": "d", "options": {"a.kubernetes.io/b": "c"}})),
            vec![
                "spec.flexVolume.options[a.kubernetes.io/b]: Invalid value: \"a.kubernetes.io/b\": kubernetes.io and k8s.io namespaces are reserved",
            ],
        ),
        (only("flocker", json!({"datasetName": "a/b"})), vec!["spec.flocker.datasetName: Invalid value: \"a/b\": must not contain '/'"]),
        (
            only("azureDisk", json!({"diskName": "d", "diskURI": "https://x", "kind": "Managed"})),
            vec![
                "spec.azureDisk.diskURI: Unsupported value: \"https://x\": supported values: \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"",
            ],
        ),
        (only("azureFile", json!({"secretName": "s"})), vec!["spec.azureFile.shareName: Required value"]),
        (
            only("gcePersistentDisk", json!({"pdName": "p", "partition": -1})),
            vec!["spec.persistentDisk.partition: Invalid value: -1: must be between 0 and 255, inclusive"],
        ),
        (only("cinder", json!({"volumeID": "v", "secretRef": {"name": "s"}})), vec!["spec.cinder.secretRef.namespace: Required value"]),
    ] {
        assert_eq!(refused(&change), expected, "{change}");
    }
    let long = "iscsi-target-portal-of-a-very-long-name.storage.example.com:3260";
    assert_eq!(refused(&iscsi(json!({"initiatorName": "eui.0123456789ABCDEF", "targetPortal": long}))).len(), 1);
}

#[test]
fn storage_and_place_of_a_volume_stay() {
    let source = "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation";
    let affinity = |key: &str, value: &str| json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}]}}});
    let csi = |change: Value| {
        let mut source = json!({"driver": "d", "volumeHandle": "1"});
        for (key, value) in change.as_object().unwrap() {
            source[key] = value.clone();
        }
        only("csi", source)
    };
    let secret = |name: &str| csi(json!({"controllerExpandSecretRef": {"name": name, "namespace": "d"}}));
    for (new, old, expected) in [
        (json!({"capacity": {"storage": "2Gi"}, "storageClassName": "c", "mountOptions": ["ro"]}), json!({}), vec![]),
        (json!({"hostPath": {"path": "/y"}}), json!({}), vec![source]),
        (only("nfs", json!({"server": "s", "path": "/x"})), json!({}), vec![source]),
        (json!({"volumeMode": "Block"}), json!({}), vec!["volumeMode: Invalid value: \"Block\": field is immutable"]),
        (affinity("a", "b"), json!({}), vec![]),
        (affinity("topology.kubernetes.io/zone", "z"), affinity("failure-domain.beta.kubernetes.io/zone", "z"), vec![]),
        (secret("s"), csi(json!({})), vec![]),
        (secret("t"), secret("s"), vec![source]),
        (csi(json!({})), secret("s"), vec![source]),
    ] {
        assert_eq!(refused_change(&new, &old), expected, "{new} {old}");
    }
    for (new, old) in [
        (affinity("a", "c"), affinity("a", "b")),
        (json!({}), affinity("a", "b")),
        (affinity("failure-domain.beta.kubernetes.io/zone", "z"), affinity("topology.kubernetes.io/zone", "z")),
    ] {
        let found = refused_change(&new, &old);
        assert!(found.len() == 1 && found[0].starts_with("nodeAffinity: ") && found[0].ends_with("field is immutable"), "{found:?}");
    }
}

#[test]
fn what_is_left_out_is_filled_in() {
    let spec = &volume(&only("rbd", json!({"image": "i", "monitors": ["m"]})))["spec"];
    assert_eq!(spec["rbd"], json!({"image": "i", "monitors": ["m"], "pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}));
    assert_eq!((&spec["persistentVolumeReclaimPolicy"], &spec["volumeMode"]), (&json!("Retain"), &json!("Filesystem")));
}

#[test]
fn the_table_shows_size_modes_and_policy() {
    assert_eq!(KIND.cells(&volume(&json!({})), 0)[1..4], ["1Gi", "RWO", "Retain"]);
}
