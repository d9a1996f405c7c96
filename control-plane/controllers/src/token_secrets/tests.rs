//! Plans for the Secrets of tokens.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use serde_json::{Value, json};

use super::plan::{Lacks, Plan, plan};

fn account(uid: &str) -> ServiceAccount {
    serde_json::from_value(json!({ "metadata": { "name": "sa", "uid": uid } })).unwrap()
}

/// `data`: in base64.
fn secret(uid: Option<&str>, data: Value) -> Secret {
    let mut annotations = json!({ "kubernetes.io/service-account.name": "sa" });
    if let Some(uid) = uid {
        annotations["kubernetes.io/service-account.uid"] = json!(uid);
    }
    serde_json::from_value(json!({ "metadata": { "annotations": annotations }, "data": data })).unwrap()
}

#[test]
fn a_secret_gets_what_it_lacks() {
    let all = Lacks { uid: true, ca: true, namespace: true, token: true };
    assert_eq!(plan(&secret(None, json!({})), Some(&account("u")), "pem"), Plan::Fill(all));
    // "pem", "n", "t".
    let full = json!({ "ca.crt": "cGVt", "namespace": "bg==", "token": "dA==" });
    assert_eq!(plan(&secret(Some("u"), full.clone()), Some(&account("u")), "pem"), Plan::Nothing);
    assert_eq!(plan(&secret(Some("u"), full.clone()), Some(&account("u")), ""), Plan::Nothing);
    let lacks = Lacks { ca: true, ..Lacks::default() };
    assert_eq!(plan(&secret(Some("u"), full), Some(&account("u")), "other"), Plan::Fill(lacks));
}

#[test]
fn a_secret_goes_with_its_account_and_is_not_anothers_of_the_name() {
    let of = |uid: &str| secret(Some(uid), json!({}));
    assert_eq!(plan(&of("u"), None, ""), Plan::Delete);
    assert_eq!(plan(&of("u"), Some(&account("v")), ""), Plan::Delete);
    let mut going = of("u");
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(plan(&going, None, ""), Plan::Nothing);
}
