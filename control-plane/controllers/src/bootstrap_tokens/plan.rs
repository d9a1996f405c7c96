//! Pure: which signatures `cluster-info` should have, what it says in the first place.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use orknet_auth::bootstrap_tokens::{SIGNATURE_PREFIX, signature, signer};

/// The ConfigMap's name and namespace, as kubeadm's.
pub(super) const CLUSTER_INFO: &str = "cluster-info";
pub(super) const PUBLIC: &str = "kube-public";
/// What is signed.
pub(super) const KUBECONFIG: &str = "kubeconfig";

/// A change of the ConfigMap's data: `None` takes a key away. Empty: all is as it should be.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// One signature for each token that signs now, and none else. Without a kubeconfig there is nothing to sign.
pub(super) fn plan<'a>(data: &BTreeMap<String, String>, secrets: impl Iterator<Item = &'a Secret>, now: Timestamp) -> Changes {
    let Some(content) = data.get(KUBECONFIG) else { return Changes::new() };
    let wanted: BTreeMap<String, String> = secrets
        .filter_map(|secret| signer(secret, now))
        .map(|token| (format!("{SIGNATURE_PREFIX}{}", token.id), signature(content, &token)))
        .collect();
    let gone = data.keys().filter(|key| key.starts_with(SIGNATURE_PREFIX) && !wanted.contains_key(*key)).map(|key| (key.clone(), None));
    let new = wanted.iter().filter(|(key, value)| data.get(*key) != Some(value)).map(|(key, value)| (key.clone(), Some(value.clone())));
    gone.chain(new).collect()
}
