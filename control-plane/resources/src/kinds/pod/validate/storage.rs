//! The rules for volumes that storage systems stand behind, named in the pod itself, and for claims that come with the pod.
//! Source: `validateVolumeSource` in `pkg/apis/core/validation/validation.go` of Kubernetes 1.33.

use crate::field::{Errors, Path};
use crate::kinds::persistent_volume::source::{
    azure_disk, byte, csi_driver, fibre_channel, flocker, is_iscsi_name, present, quobyte, text,
};
use crate::kinds::persistent_volume_claim;
use crate::names;
use k8s_openapi::api::core::v1;

/// Complains about what the volume's source lacks. Several sources are complained of elsewhere.
pub fn source(volume: &v1::Volume, at: &Path<'_>, errors: &mut Errors) {
    if let Some(disk) = &volume.gce_persistent_disk {
        let at = at.field("gcePersistentDisk");
        present(&at, &[("pdName", &disk.pd_name)], errors);
        byte(&at.field("partition"), disk.partition.unwrap_or_default(), errors);
    }
    if let Some(disk) = &volume.aws_elastic_block_store {
        let at = at.field("awsElasticBlockStore");
        present(&at, &[("volumeID", &disk.volume_id)], errors);
        byte(&at.field("partition"), disk.partition.unwrap_or_default(), errors);
    }
    if let Some(repository) = &volume.git_repo {
        git_repo(repository, &at.field("gitRepo"), errors);
    }
    if let Some(gluster) = &volume.glusterfs {
        present(&at.field("glusterfs"), &[("endpoints", &gluster.endpoints), ("path", &gluster.path)], errors);
    }
    if let Some(dataset) = &volume.flocker {
        flocker(dataset, &at.field("flocker"), errors);
    }
    if let Some(rbd) = &volume.rbd {
        let at = at.field("rbd");
        if rbd.monitors.is_empty() {
            errors.required(&at.field("monitors"), "");
        }
        present(&at, &[("image", &rbd.image)], errors);
    }
    if let Some(cinder) = &volume.cinder {
        let at = at.field("cinder");
        present(&at, &[("volumeID", &cinder.volume_id)], errors);
        if let Some(secret) = &cinder.secret_ref {
            present(&at.field("secretRef"), &[("name", &secret.name)], errors);
        }
    }
    if let Some(ceph) = &volume.cephfs
        && ceph.monitors.is_empty()
    {
        errors.required(&at.field("cephfs").field("monitors"), "");
    }
    if let Some(target) = &volume.iscsi {
        iscsi(target, &volume.name, &at.field("iscsi"), errors);
    }
    if let Some(quobyte_volume) = &volume.quobyte {
        quobyte(quobyte_volume, &at.field("quobyte"), errors);
    }
    if let Some(channel) = &volume.fc {
        fibre_channel(channel, &at.field("fc"), errors);
    }
    if let Some(flex) = &volume.flex_volume {
        flex_volume(flex, &at.field("flexVolume"), errors);
    }
    if let Some(azure) = &volume.azure_file {
        present(&at.field("azureFile"), &[("secretName", &azure.secret_name), ("shareName", &azure.share_name)], errors);
    }
    if let Some(disk) = &volume.vsphere_volume {
        present(&at.field("vsphereVolume"), &[("volumePath", &disk.volume_path)], errors);
    }
    if let Some(disk) = &volume.photon_persistent_disk {
        present(&at.field("photonPersistentDisk"), &[("pdID", &disk.pd_id)], errors);
    }
    if let Some(disk) = &volume.portworx_volume {
        present(&at.field("portworxVolume"), &[("volumeID", &disk.volume_id)], errors);
    }
    if let Some(disk) = &volume.azure_disk {
        azure_disk(disk, &at.field("azureDisk"), errors);
    }
    if let Some(system) = &volume.storageos {
        storage_os(system, &at.field("storageos"), errors);
    }
    if let Some(io) = &volume.scale_io {
        let fields = [("gateway", &*io.gateway), ("system", &io.system), ("volumeName", text(&io.volume_name))];
        present(&at.field("scaleIO"), &fields, errors);
    }
    if let Some(csi) = &volume.csi {
        let at = at.field("csi");
        csi_driver(&csi.driver, &at.field("driver"), errors);
        if let Some(secret) = &csi.node_publish_secret_ref
            && secret.name.is_empty()
        {
            errors.required(&at.field("nodePublishSecretRef").field("name"), "");
        }
    }
    if let Some(ephemeral) = &volume.ephemeral {
        let at = at.field("ephemeral");
        match &ephemeral.volume_claim_template {
            None => errors.required(&at.field("volumeClaimTemplate"), ""),
            Some(template) => persistent_volume_claim::validate_template(template, &at.field("volumeClaimTemplate"), errors),
        }
    }
    if let Some(image) = &volume.image {
        let policies = &["Always", "IfNotPresent", "Never"];
        errors.one_of_if_set(&at.field("image").field("pullPolicy"), image.pull_policy.as_deref(), policies);
    }
}

fn git_repo(repository: &v1::GitRepoVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    present(at, &[("repository", &repository.repository)], errors);
    let directory = text(&repository.directory);
    let at = at.field("directory");
    if directory.starts_with('/') {
        errors.invalid(&at, directory, "must be a relative path");
    }
    super::container::no_climbing(directory, &at, errors);
    if directory.starts_with("..") && !directory.starts_with("../") && directory != ".." {
        errors.invalid(&at, directory, "must not start with '..'");
    }
}

fn iscsi(target: &v1::ISCSIVolumeSource, volume: &str, at: &Path<'_>, errors: &mut Errors) {
    present(at, &[("targetPortal", &target.target_portal)], errors);
    if target.initiator_name.is_some() && volume.len() + 1 + target.target_portal.len() > 64 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid(&at.field("targetportal"), target.target_portal.as_str(), detail);
    }
    match &*target.iqn {
        "" => errors.required(&at.field("iqn"), ""),
        name if is_iscsi_name(name) => {}
        name => errors.invalid(&at.field("iqn"), name, "must be valid format"),
    }
    byte(&at.field("lun"), target.lun, errors);
    let authenticates = target.chap_auth_discovery == Some(true) || target.chap_auth_session == Some(true);
    if authenticates && target.secret_ref.is_none() {
        errors.required(&at.field("secretRef"), "");
    }
    if let Some(name) = target.initiator_name.as_deref().filter(|name| !is_iscsi_name(name)) {
        errors.invalid(&at.field("initiatorname"), name, "must be valid format");
    }
}

fn flex_volume(flex: &v1::FlexVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    present(at, &[("driver", &flex.driver)], errors);
    let at = at.field("options");
    for key in flex.options.iter().flat_map(|options| options.keys()) {
        let namespace = format!(".{}", key.split('/').next().unwrap_or_default().to_ascii_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid(&at.key(key), key.as_str(), "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

fn storage_os(volume: &v1::StorageOSVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    match text(&volume.volume_name) {
        "" => errors.required(&at.field("volumeName"), ""),
        name => errors.format(&at.field("volumeName"), name, names::label(name)),
    }
    match text(&volume.volume_namespace) {
        "" => {}
        name => errors.format(&at.field("volumeNamespace"), name, names::label(name)),
    }
    if let Some(secret) = &volume.secret_ref {
        present(&at.field("secretRef"), &[("name", &secret.name)], errors);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::json;

    #[test]
    fn sources_have_what_they_need() {
        for (source, expected) in [
            (json!({"gcePersistentDisk": {"pdName": "d", "partition": 256}}), ".gcePersistentDisk.partition: Invalid value: 256"),
            (json!({"awsElasticBlockStore": {"volumeID": ""}}), ".awsElasticBlockStore.volumeID: Required value"),
            (
                json!({"gitRepo": {"repository": "r", "directory": "a/../b"}}),
                ".gitRepo.directory: Invalid value: \"a/../b\": must not contain '..'",
            ),
            (json!({"gitRepo": {"repository": ""}}), ".gitRepo.repository: Required value"),
            (json!({"glusterfs": {"endpoints": "e", "path": ""}}), ".glusterfs.path: Required value"),
            (json!({"rbd": {"monitors": [], "image": "i"}}), ".rbd.monitors: Required value"),
            (json!({"cephfs": {"monitors": []}}), ".cephfs.monitors: Required value"),
            (json!({"cinder": {"volumeID": ""}}), ".cinder.volumeID: Required value"),
            (json!({"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 0}}), ".iscsi.iqn: Invalid value: \"x\": must be valid format"),
            (json!({"fc": {"targetWWNs": ["w"]}}), ".fc.lun: Required value: lun is required if targetWWNs is specified"),
            (
                json!({"flexVolume": {"driver": "d", "options": {"a.k8s.io/b": "c"}}}),
                ".flexVolume.options[a.k8s.io/b]: Invalid value: \"a.k8s.io/b\": kubernetes.io and k8s.io namespaces are reserved",
            ),
            (json!({"azureFile": {"secretName": "s", "shareName": ""}}), ".azureFile.shareName: Required value"),
            (json!({"storageos": {"volumeName": ""}}), ".storageos.volumeName: Required value"),
            (json!({"scaleIO": {"gateway": "g", "system": "s", "secretRef": {"name": "x"}}}), ".scaleIO.volumeName: Required value"),
            (json!({"csi": {"driver": ""}}), ".csi.driver: Required value"),
            (json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": ""}}}), ".csi.nodePublishSecretRef.name: Required value"),
            (json!({"ephemeral": {}}), ".ephemeral.volumeClaimTemplate: Required value"),
            (
                json!({"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}}}),
                ".ephemeral.volumeClaimTemplate.spec.accessModes: Required value",
            ),
        ] {
            let mut volume = source.clone();
            volume["name"] = json!("v");
            let found = complaints(json!({ "volumes": [volume] }));
            assert!(found.iter().any(|told| told.starts_with(&format!("spec.volumes[0]{expected}"))), "{source}: {found:?}");
        }
        let fine = json!({"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}}});
        assert_eq!(complaints(json!({ "volumes": [fine] })), Vec::<String>::new());
    }
}
