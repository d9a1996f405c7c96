//! Plans of the service account controller.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use serde_json::json;

use super::plan::{Plan, RootCa, plan};

fn config_map(ca: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": ca}})).unwrap()
}

#[test]
fn a_namespace_gets_what_it_lacks() {
    let namespace = Namespace::default();
    for (has_account, map, ca, create_account, root_ca) in [
        (false, None, "pem", true, RootCa::Create),
        (true, None, "", false, RootCa::Keep),
        (true, Some(config_map("pem")), "pem", false, RootCa::Keep),
        (true, Some(config_map("old")), "pem", false, RootCa::Replace),
        (true, Some(ConfigMap::default()), "pem", false, RootCa::Replace),
    ] {
        assert_eq!(plan(&namespace, has_account, map.as_ref(), ca), Plan { create_account, root_ca });
    }
}

#[test]
fn a_namespace_in_deletion_gets_nothing() {
    let namespace = serde_json::from_value(json!({"metadata": {"name": "a", "deletionTimestamp": "2020-01-01T00:00:00Z"}})).unwrap();
    assert_eq!(plan(&namespace, false, None, "pem"), Plan::default());
}
