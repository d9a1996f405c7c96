//! Plans of the signer.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::plan::{Changes, plan};

fn token(id: &str, expiration: &str) -> Secret {
    let name = format!("bootstrap-token-{id}");
    let mut secret: Secret = serde_json::from_value(json!({"metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token"})).unwrap();
    let data = [("token-id", id), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-signing", "true"), ("expiration", expiration)];
    secret.data = Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into()))).collect());
    secret
}

fn apply(data: &mut BTreeMap<String, String>, changes: Changes) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(data.insert(key, value)),
            None => drop(data.remove(&key)),
        }
    }
}

#[test]
fn cluster_info_has_the_signatures_of_the_tokens_that_sign() {
    let early: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let late: Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
    let secrets = [token("aaaaaa", ""), token("bbbbbb", "2026-01-02T00:00:00Z")];
    let mut data = BTreeMap::from([("kubeconfig".to_owned(), "k".to_owned()), ("jws-kubeconfig-cccccc".to_owned(), "x".to_owned())]);
    let changes = plan(&data, secrets.iter(), early);
    apply(&mut data, changes);
    assert_eq!(data.keys().collect::<Vec<_>>(), ["jws-kubeconfig-aaaaaa", "jws-kubeconfig-bbbbbb", "kubeconfig"]);
    assert_eq!(plan(&data, secrets.iter(), early), Changes::new());
    assert_eq!(plan(&data, secrets.iter(), late), Changes::from([("jws-kubeconfig-bbbbbb".to_owned(), None)]));
    data.insert("kubeconfig".to_owned(), "other".to_owned());
    assert_eq!(plan(&data, secrets.iter(), early).len(), 2);
    data.remove("kubeconfig");
    assert_eq!(plan(&data, secrets.iter(), early), Changes::new());
}
