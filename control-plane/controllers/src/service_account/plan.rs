//! Pure: what a namespace lacks.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};

pub(super) const DEFAULT_ACCOUNT: &str = "default";
pub(super) const ROOT_CA: &str = "kube-root-ca.crt";
pub(super) const CA_FILE: &str = "ca.crt";

/// What to write.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub create_account: bool,
    pub root_ca: RootCa,
}

/// What to do with the ConfigMap.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum RootCa {
    #[default]
    Keep,
    Create,
    Replace,
}

/// A namespace in deletion gets nothing; without a certificate there is nothing to publish.
pub(super) fn plan(namespace: &Namespace, has_account: bool, config_map: Option<&ConfigMap>, root_ca: &str) -> Plan {
    if namespace.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let root_ca = match config_map {
        _ if root_ca.is_empty() => RootCa::Keep,
        None => RootCa::Create,
        Some(map) if map.data.as_ref().and_then(|data| data.get(CA_FILE)).map(String::as_str) == Some(root_ca) => RootCa::Keep,
        Some(_) => RootCa::Replace,
    };
    Plan { create_account: !has_account, root_ca }
}
