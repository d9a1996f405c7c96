//! The rules of each kind of storage that a volume can be (`ValidatePersistentVolumeSpec` of Kubernetes 1.33, source by source).

use crate::field::{Errors, Path};
use crate::kinds::pod::validate;
use crate::names;
use k8s_openapi::api::core::v1;
use serde_json::Value;

const ONE_ONLY: &str = "may not specify more than 1 volume type";
const HOST_PORTS: &str = "must be a host:port pair or multiple pairs separated by commas";

/// How many kinds of storage the spec names; complains about each after the first, and about what the first lacks. `volume`: the volume's name.
pub fn all(spec: &v1::PersistentVolumeSpec, volume: &str, at: &Path<'_>, errors: &mut Errors) -> usize {
    let mut count = 0;
    // Whether the source is the one to look into.
    let mut first = |name: &str, errors: &mut Errors| {
        if count > 0 {
            errors.forbidden(&at.field(name), ONE_ONLY);
            return false;
        }
        count += 1;
        true
    };
    if let Some(host) = spec.host_path.as_ref().filter(|_| first("hostPath", errors)) {
        validate::host_path(host, &at.field("hostPath"), errors);
    }
    if let Some(disk) = spec.gce_persistent_disk.as_ref().filter(|_| first("gcePersistentDisk", errors)) {
        let at = at.field("persistentDisk");
        present(&at, &[("pdName", &disk.pd_name)], errors);
        byte(&at.field("partition"), disk.partition.unwrap_or_default(), errors);
    }
    if let Some(disk) = spec.aws_elastic_block_store.as_ref().filter(|_| first("awsElasticBlockStore", errors)) {
        let at = at.field("awsElasticBlockStore");
        present(&at, &[("volumeID", &disk.volume_id)], errors);
        byte(&at.field("partition"), disk.partition.unwrap_or_default(), errors);
    }
    if let Some(gluster) = spec.glusterfs.as_ref().filter(|_| first("glusterfs", errors)) {
        glusterfs(gluster, &at.field("glusterfs"), errors);
    }
    if let Some(dataset) = spec.flocker.as_ref().filter(|_| first("flocker", errors)) {
        flocker(dataset, &at.field("flocker"), errors);
    }
    if let Some(nfs) = spec.nfs.as_ref().filter(|_| first("nfs", errors)) {
        validate::nfs(nfs, &at.field("nfs"), errors);
    }
    if let Some(rbd) = spec.rbd.as_ref().filter(|_| first("rbd", errors)) {
        let at = at.field("rbd");
        if rbd.monitors.is_empty() {
            errors.required(&at.field("monitors"), "");
        }
        present(&at, &[("image", &rbd.image)], errors);
    }
    if let Some(volume) = spec.quobyte.as_ref().filter(|_| first("quobyte", errors)) {
        quobyte(volume, &at.field("quobyte"), errors);
    }
    if let Some(ceph) = spec.cephfs.as_ref().filter(|_| first("cephFS", errors))
        && ceph.monitors.is_empty()
    {
        errors.required(&at.field("cephfs").field("monitors"), "");
    }
    if let Some(target) = spec.iscsi.as_ref().filter(|_| first("iscsi", errors)) {
        iscsi(target, volume, &at.field("iscsi"), errors);
    }
    if let Some(cinder) = spec.cinder.as_ref().filter(|_| first("cinder", errors)) {
        let at = at.field("cinder");
        present(&at, &[("volumeID", &cinder.volume_id)], errors);
        if let Some(secret) = &cinder.secret_ref {
            present(&at.field("secretRef"), &[("name", text(&secret.name)), ("namespace", text(&secret.namespace))], errors);
        }
    }
    if let Some(channel) = spec.fc.as_ref().filter(|_| first("fc", errors)) {
        fibre_channel(channel, &at.field("fc"), errors);
    }
    if let Some(azure) = spec.azure_file.as_ref().filter(|_| first("azureFile", errors)) {
        let at = at.field("azureFile");
        present(&at, &[("secretName", &azure.secret_name), ("shareName", &azure.share_name)], errors);
        if azure.secret_namespace.as_ref().is_some_and(String::is_empty) {
            errors.required(&at.field("secretNamespace"), "");
        }
    }
    if let Some(disk) = spec.vsphere_volume.as_ref().filter(|_| first("vsphereVolume", errors)) {
        present(&at.field("vsphereVolume"), &[("volumePath", &disk.volume_path)], errors);
    }
    if let Some(disk) = spec.photon_persistent_disk.as_ref().filter(|_| first("photonPersistentDisk", errors)) {
        present(&at.field("photonPersistentDisk"), &[("pdID", &disk.pd_id)], errors);
    }
    if let Some(disk) = spec.portworx_volume.as_ref().filter(|_| first("portworxVolume", errors)) {
        present(&at.field("portworxVolume"), &[("volumeID", &disk.volume_id)], errors);
    }
    if let Some(disk) = spec.azure_disk.as_ref().filter(|_| first("azureDisk", errors)) {
        azure_disk(disk, &at.field("azureDisk"), errors);
    }
    if let Some(io) = spec.scale_io.as_ref().filter(|_| first("scaleIO", errors)) {
        let fields = [("gateway", &*io.gateway), ("system", &io.system), ("volumeName", text(&io.volume_name))];
        present(&at.field("scaleIO"), &fields, errors);
    }
    if let Some(local) = spec.local.as_ref().filter(|_| first("local", errors)) {
        let path = at.field("local");
        present(&path, &[("path", &local.path)], errors);
        validate::no_climbing(&local.path, &path.field("path"), errors);
        if spec.node_affinity.is_none() {
            errors.required(&at.field("nodeAffinity"), "Local volume requires node affinity");
        }
    }
    if let Some(volume) = spec.storageos.as_ref().filter(|_| first("storageos", errors)) {
        storage_os(volume, &at.field("storageos"), errors);
    }
    if let Some(driver) = spec.csi.as_ref().filter(|_| first("csi", errors)) {
        csi(driver, &at.field("csi"), errors);
    }
    // A flexVolume is never the one too many.
    if let Some(flex) = &spec.flex_volume {
        count += 1;
        flex_volume(flex, &at.field("flexVolume"), errors);
    }
    count
}

/// The name of a CSI driver.
pub fn csi_driver(name: &str, at: &Path<'_>, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(at, "");
    }
    if name.len() > 63 {
        errors.too_long(at, 63);
    }
    errors.format(at, name, names::subdomain(&name.to_ascii_lowercase()));
}

fn csi(csi: &v1::CSIPersistentVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    csi_driver(&csi.driver, &at.field("driver"), errors);
    present(at, &[("volumeHandle", &csi.volume_handle)], errors);
    for (field, secret) in [
        ("controllerPublishSecretRef", &csi.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &csi.controller_expand_secret_ref),
        ("nodePublishSecretRef", &csi.node_publish_secret_ref),
        ("nodeExpandSecretRef", &csi.node_expand_secret_ref),
    ] {
        let Some(secret) = secret else { continue };
        let at = at.field(field);
        match text(&secret.name) {
            "" => errors.required(&at.field("name"), ""),
            name => errors.format(&at.field("name"), name, names::subdomain(name)),
        }
        match text(&secret.namespace) {
            "" => errors.required(&at.field("namespace"), ""),
            name => errors.format(&at.field("namespace"), name, names::label(name)),
        }
    }
}

fn glusterfs(gluster: &v1::GlusterfsPersistentVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    present(at, &[("endpoints", &gluster.endpoints), ("path", &gluster.path)], errors);
    let at = at.field("endpointsNamespace");
    match gluster.endpoints_namespace.as_deref() {
        None => {}
        Some("") => errors.invalid(&at, "", "if the endpointnamespace is set, it must be a valid namespace name"),
        Some(name) => errors.format(&at, name, names::label(name)),
    }
}

pub fn flocker(dataset: &v1::FlockerVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    let (name, uuid) = (text(&dataset.dataset_name), text(&dataset.dataset_uuid));
    if name.is_empty() && uuid.is_empty() {
        errors.required(at, "one of datasetName and datasetUUID is required");
    }
    if !name.is_empty() && !uuid.is_empty() {
        errors.invalid(at, "resource", "datasetName and datasetUUID can not be specified simultaneously");
    }
    if name.contains('/') {
        errors.invalid(&at.field("datasetName"), name, "must not contain '/'");
    }
}

pub fn quobyte(volume: &v1::QuobyteVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    if volume.registry.is_empty() {
        errors.required(&at.field("registry"), HOST_PORTS);
    } else if text(&volume.tenant).len() >= 65 {
        errors.required(&at.field("tenant"), "must be a UUID and may not exceed a length of 64 characters");
    } else {
        for _ in volume.registry.split(',').filter(|pair| !is_host_port(pair)) {
            errors.invalid(&at.field("registry"), volume.registry.as_str(), HOST_PORTS);
        }
    }
    present(at, &[("volume", &volume.volume)], errors);
}

fn iscsi(target: &v1::ISCSIPersistentVolumeSource, volume: &str, at: &Path<'_>, errors: &mut Errors) {
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
    match &target.secret_ref {
        None if authenticates => errors.required(&at.field("secretRef"), ""),
        None => {}
        Some(secret) => present(&at.field("secretRef"), &[("name", text(&secret.name))], errors),
    }
    if let Some(name) = target.initiator_name.as_deref().filter(|name| !is_iscsi_name(name)) {
        errors.invalid(&at.field("initiatorname"), name, "must be valid format");
    }
}

pub fn fibre_channel(channel: &v1::FCVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    let targets = channel.target_wwns.as_deref().unwrap_or_default();
    let wide = channel.wwids.as_deref().unwrap_or_default();
    let at_targets = at.field("targetWWNs");
    if targets.is_empty() && wide.is_empty() {
        errors.required(&at_targets, "must specify either targetWWNs or wwids, but not both");
    }
    if !targets.is_empty() && !wide.is_empty() {
        errors.invalid(&at_targets, Value::from(targets), "targetWWNs and wwids can not be specified simultaneously");
    }
    match channel.lun {
        _ if targets.is_empty() => {}
        None => errors.required(&at.field("lun"), "lun is required if targetWWNs is specified"),
        Some(lun) => byte(&at.field("lun"), lun, errors),
    }
}

fn flex_volume(flex: &v1::FlexPersistentVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    present(at, &[("driver", &flex.driver)], errors);
    let at = at.field("options");
    for key in flex.options.iter().flat_map(|options| options.keys()) {
        let namespace = format!(".{}", key.split('/').next().unwrap_or_default().to_ascii_lowercase());
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            errors.invalid(&at.key(key), key.as_str(), "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

pub fn azure_disk(disk: &v1::AzureDiskVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    present(at, &[("diskName", &disk.disk_name), ("diskURI", &disk.disk_uri)], errors);
    errors.one_of_if_set(&at.field("cachingMode"), disk.caching_mode.as_deref(), &["None", "ReadOnly", "ReadWrite"]);
    errors.one_of_if_set(&at.field("kind"), disk.kind.as_deref(), &["Dedicated", "Managed", "Shared"]);
    let managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    let blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let (start, form) = match disk.kind.as_deref() {
        None => return,
        Some("Managed") => ("/subscriptions/", managed),
        Some(_) => ("https://", blob),
    };
    if !disk.disk_uri.starts_with(start) {
        errors.not_supported(&at.field("diskURI"), disk.disk_uri.as_str(), &[form]);
    }
}

fn storage_os(volume: &v1::StorageOSPersistentVolumeSource, at: &Path<'_>, errors: &mut Errors) {
    match text(&volume.volume_name) {
        "" => errors.required(&at.field("volumeName"), ""),
        name => errors.format(&at.field("volumeName"), name, names::label(name)),
    }
    match text(&volume.volume_namespace) {
        "" => {}
        name => errors.format(&at.field("volumeNamespace"), name, names::label(name)),
    }
    if let Some(secret) = &volume.secret_ref {
        present(&at.field("secretRef"), &[("name", text(&secret.name)), ("namespace", text(&secret.namespace))], errors);
    }
}

/// Texts that must be there.
pub fn present(at: &Path<'_>, fields: &[(&str, &str)], errors: &mut Errors) {
    for (name, _) in fields.iter().filter(|(_, value)| value.is_empty()) {
        errors.required(&at.field(name), "");
    }
}

pub fn byte(at: &Path<'_>, value: i32, errors: &mut Errors) {
    if !(0..=255).contains(&value) {
        errors.invalid(at, value, "must be between 0 and 255, inclusive");
    }
}

pub fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

/// `host:port`, `[v6]:port`; either part may be empty.
fn is_host_port(pair: &str) -> bool {
    match pair.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").is_some_and(|(host, port)| !port.contains(':') && !host.contains(['[', ']'])),
        None => pair.matches(':').count() == 1 && !pair.contains(['[', ']']),
    }
}

/// `iqn.2001-04.com.example:disk1` (RFC 3720 3.2.6.3.1), `eui.` and 16 or `naa.` and 32 letters or digits.
pub fn is_iscsi_name(name: &str) -> bool {
    let plain = |text: &str, length| text.len() == length && text.bytes().all(|c| c.is_ascii_alphanumeric());
    match (name.get(..4), name.get(4..)) {
        (Some("eui."), Some(rest)) => plain(rest, 16),
        (Some("naa."), Some(rest)) => plain(rest, 32),
        (Some("iqn."), Some(rest)) => {
            let Some((authority, disk)) = rest.split_once(':') else { return false };
            let (Some(date), Some(domain)) = (authority.get(..8), authority.get(8..)) else { return false };
            let digit = |i: usize| date.as_bytes().get(i).is_some_and(u8::is_ascii_digit);
            [0, 1, 2, 3, 5, 6].into_iter().all(digit)
                && date.as_bytes().get(4) == Some(&b'-')
                && date.ends_with('.')
                && !domain.is_empty()
                && domain.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.'))
                && !disk.is_empty()
                && !disk.chars().any(|c| matches!(c, ',' | ';' | '*' | '&' | '$' | '|') || c.is_ascii_whitespace())
        }
        _ => false,
    }
}
