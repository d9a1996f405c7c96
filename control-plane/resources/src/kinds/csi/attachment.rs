//! VolumeAttachment: the wish that a volume be attached to a node, and whether it is.

use super::driver::flag;
use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::kinds::persistent_volume::{source::csi_driver, validate::inline};
use crate::names;
use crate::table::{self, text};
use crate::typed::{Kind, cluster, or_empty};
use k8s_openapi::api::storage::v1;
use serde_json::Value;

pub struct VolumeAttachment;

const MAX_METADATA_BYTES: usize = 256 * 1024;
const MAX_MESSAGE_BYTES: usize = 1024;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

impl Kind for VolumeAttachment {
    type Object = v1::VolumeAttachment;

    const DESCRIPTOR: Descriptor =
        Descriptor { subresources: &["status"], ..cluster::<v1::VolumeAttachment>("volumeattachments", "volumeattachment") };
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Attacher", "The driver that attaches"),
        text("PV", "The volume"),
        text("Node", "The node"),
        flag("Attached", "Whether the volume is attached"),
        table::AGE,
    ];

    fn new_status() -> Value {
        serde_json::json!({"attached": false})
    }

    fn validate(object: &v1::VolumeAttachment, errors: &mut Errors) {
        whole(object, errors);
        let at = Path::Root.field("spec");
        csi_driver(&object.spec.attacher, &at.field("attacher"), errors);
        if let Some(name) = &object.spec.source.persistent_volume_name {
            errors.format(&at.field("source").field("persistentVolumeName"), name, names::subdomain(name));
        }
    }

    fn validate_update(new: &v1::VolumeAttachment, old: &v1::VolumeAttachment, _: Subresource<'_>, errors: &mut Errors) {
        whole(new, errors);
        errors.immutable(&Path::Root.field("spec"), &new.spec, &old.spec);
    }

    fn cells(object: &v1::VolumeAttachment, now: i64) -> Vec<Value> {
        vec![
            table::name(&object.metadata),
            object.spec.attacher.as_str().into(),
            object.spec.source.persistent_volume_name.as_deref().unwrap_or_default().into(),
            object.spec.node_name.as_str().into(),
            object.status.as_ref().is_some_and(|s| s.attached).into(),
            table::age(&object.metadata, now),
        ]
    }
}

/// The rules for an attachment, new or old; new ones are held to more.
fn whole(object: &v1::VolumeAttachment, errors: &mut Errors) {
    let (at, spec) = (Path::Root.field("spec"), &object.spec);
    if spec.attacher.is_empty() {
        errors.required(&at.field("attacher"), "");
    }
    let source = at.field("source");
    match (&spec.source.inline_volume_spec, spec.source.persistent_volume_name.as_deref()) {
        (None, None) => errors.required(&source, ONE_SOURCE),
        (Some(_), Some(_)) => errors.forbidden(&source, ONE_SOURCE),
        (None, Some("")) => errors.required(&source.field("persistentVolumeName"), "must specify non empty persistentVolumeName"),
        (None, Some(_)) => {}
        (Some(volume), None) => inline(volume, &source.field("inlineVolumeSpec"), errors),
    }
    errors.format(&at.field("nodeName"), &spec.node_name, names::subdomain(&spec.node_name));
    let (at, status) = (Path::Root.field("status"), or_empty(&object.status));
    if status.attachment_metadata.iter().flatten().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_METADATA_BYTES {
        errors.too_long(&at.field("attachmentMetadata"), MAX_METADATA_BYTES);
    }
    for (name, failure) in [("attachError", &status.attach_error), ("detachError", &status.detach_error)] {
        let Some(failure) = failure else { continue };
        let at = at.field(name);
        if failure.message.as_ref().is_some_and(|message| message.len() > MAX_MESSAGE_BYTES) {
            // The bound that Kubernetes names is another than the one that it holds to.
            errors.too_long(&at.field("message"), MAX_METADATA_BYTES);
        }
        if let Some(code) = failure.error_code.filter(|code| *code < 0) {
            errors.invalid(&at.field("errorCode"), code, format!("must be between 0 and {}, inclusive", i32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<VolumeAttachment> = Typed::NEW;

    fn attachment(change: &Value, status: &Value) -> Value {
        let mut spec = json!({"attacher": "d.example", "nodeName": "n", "source": {"persistentVolumeName": "v"}});
        for (key, value) in change.as_object().unwrap() {
            spec[key] = value.clone();
        }
        KIND.decode(json!({"metadata": {"name": "a"}, "spec": spec, "status": status})).unwrap().object
    }

    #[test]
    fn one_volume_goes_to_one_node() {
        let inline = |change: Value| {
            let mut spec = json!({"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "1"}});
            for (key, value) in change.as_object().unwrap() {
                spec[key] = value.clone();
            }
            json!({"source": {"inlineVolumeSpec": spec}})
        };
        let at = "spec.source.inlineVolumeSpec";
        for (change, expected) in [
            (json!({}), vec![]),
            (json!({"attacher": "d/e"}), vec!["spec.attacher: Invalid value: \"d/e\": a lowercase RFC 1123 subdomain".to_owned()]),
            (json!({"source": {}}), vec![format!("spec.source: Required value: {ONE_SOURCE}")]),
            (
                json!({"source": {"persistentVolumeName": "v", "inlineVolumeSpec": {}}}),
                vec![format!("spec.source: Forbidden: {ONE_SOURCE}")],
            ),
            (json!({"nodeName": "A"}), vec!["spec.nodeName: Invalid value: \"A\": a lowercase RFC 1123 subdomain".to_owned()]),
            (inline(json!({})), vec![]),
            (
                inline(json!({"capacity": {"storage": "1"}})),
                vec![format!("{at}.capacity: Forbidden: may not be specified in the context of inline volumes")],
            ),
            (
                inline(json!({"csi": null, "nfs": {"server": "s", "path": "/"}})),
                vec![format!("{at}.csi: Required value: has to be specified in the context of inline volumes")],
            ),
            (
                inline(json!({"persistentVolumeReclaimPolicy": "Delete"})),
                vec![format!("{at}.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes")],
            ),
        ] {
            let found: Vec<String> = KIND.validate_create(&attachment(&change, &json!({}))).iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), expected.len(), "{change}: {found:?}");
            assert!(found.iter().zip(&expected).all(|(found, start)| found.starts_with(start)), "{change}: {found:?}");
        }
    }

    #[test]
    fn only_the_status_changes() {
        let old = attachment(&json!({}), &json!({}));
        let attached = attachment(&json!({}), &json!({"attached": true}));
        assert_eq!(KIND.validate_update(&attached, &old, Some("status")), []);
        assert_eq!(KIND.cells(&attached, 0)[1..5], [json!("d.example"), json!("v"), json!("n"), json!(true)]);
        let found = KIND.validate_update(&attachment(&json!({"nodeName": "m"}), &json!({})), &old, None);
        assert_eq!((found[0].field.as_str(), found[0].detail.as_str()), ("spec", "field is immutable"));
        let failed = attachment(&json!({}), &json!({"attachError": {"message": "x".repeat(1025), "errorCode": -1}}));
        let found: Vec<String> = KIND.validate_update(&failed, &old, Some("status")).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "status.attachError.message: Too long: may not be more than 262144 bytes",
                "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive"
            ]
        );
    }
}
