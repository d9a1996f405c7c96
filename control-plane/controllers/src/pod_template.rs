//! A pod from a workload's template, and when two templates are the same. Pure.

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The label that keeps the pods of two revisions of a Deployment apart.
pub(crate) const TEMPLATE_HASH: &str = "pod-template-hash";

/// A pod to create; the server completes its name from the owner's.
pub(crate) fn pod_from_template(namespace: &str, template: &PodTemplateSpec, owner: OwnerReference) -> Pod {
    let meta = template.metadata.as_ref();
    Pod {
        metadata: ObjectMeta {
            namespace: Some(namespace.into()),
            generate_name: Some(format!("{}-", owner.name)),
            labels: meta.and_then(|meta| meta.labels.clone()),
            annotations: meta.and_then(|meta| meta.annotations.clone()),
            finalizers: meta.and_then(|meta| meta.finalizers.clone()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The hash in the name of a ReplicaSet or revision: FNV-1a over the template, in an alphabet without vowels so that it spells no words.
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // Serialising a template to JSON can't fail: its maps have string keys.
    let mut bytes = serde_json::to_vec(&comparable(template)).unwrap_or_default();
    bytes.extend(collisions.filter(|count| *count > 0).iter().flat_map(|count| count.to_le_bytes()));
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// The template without the hash label and with one spelling for "no labels".
pub(crate) fn comparable(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(meta) = &mut template.metadata {
        if let Some(labels) = &mut meta.labels {
            labels.remove(TEMPLATE_HASH);
        }
        meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
        meta.creation_timestamp = None;
    }
    template.metadata = template.metadata.filter(|meta| *meta != ObjectMeta::default());
    template
}
