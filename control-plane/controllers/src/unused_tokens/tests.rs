//! Plans for unused tokens.

use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::plan::{Step, date, is_of, step, used};

fn at(text: &str) -> Timestamp {
    date(text).unwrap()
}

fn secret(made: &str, labels: Value) -> Secret {
    serde_json::from_value(json!({ "metadata": { "creationTimestamp": format!("{made}T00:00:00Z"), "labels": labels } })).unwrap()
}

#[test]
fn a_token_is_refused_after_a_year_without_use_and_deleted_after_another() {
    let (used, invalid) = ("kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since");
    let (since, now) = (at("2020-01-01"), at("2024-06-01"));
    for (made, labels, wanted) in [
        ("2020-01-01", json!({}), Step::Refuse),
        ("2024-01-01", json!({}), Step::Nothing),
        ("2020-01-01", json!({ used: "2022-01-01" }), Step::Refuse),
        ("2020-01-01", json!({ used: "2024-01-01" }), Step::Nothing),
        ("2020-01-01", json!({ used: "yesterday" }), Step::Nothing),
        ("2020-01-01", json!({ used: "2022-01-01", invalid: "2023-05-01" }), Step::Delete),
        ("2020-01-01", json!({ invalid: "2023-05-01" }), Step::Delete),
        ("2020-01-01", json!({ invalid: "2024-01-01" }), Step::Nothing),
        ("2020-01-01", json!({ used: "2023-05-02", invalid: "2023-05-01" }), Step::Nothing),
        // A day counts from its end on: 2024 has a day more.
        ("2020-01-01", json!({ used: "2023-06-02" }), Step::Nothing),
        ("2020-01-01", json!({ used: "2023-06-01" }), Step::Refuse),
        ("2020-01-01", json!({ invalid: "2023-06-02" }), Step::Nothing),
        ("2020-01-01", json!({ invalid: "2023-06-01" }), Step::Delete),
    ] {
        assert_eq!(step(&secret(made, labels.clone()), since, now), wanted, "{made} {labels}");
    }
    // Uses are not written down for long enough.
    assert_eq!(step(&secret("2020-01-01", json!({})), at("2024-01-01"), now), Step::Nothing);
}

#[test]
fn only_a_token_of_the_account_itself_is_looked_at() {
    let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": "sa", "uid": "u" } })).unwrap();
    let of = |annotations: Value| is_of(&serde_json::from_value(json!({ "metadata": { "annotations": annotations } })).unwrap(), &account);
    let (name, uid) = ("kubernetes.io/service-account.name", "kubernetes.io/service-account.uid");
    assert!(of(json!({ name: "sa" })) && of(json!({ name: "sa", uid: "u" })));
    assert!(!of(json!({})) && !of(json!({ name: "other" })) && !of(json!({ name: "sa", uid: "v" })));
}

#[test]
fn what_pods_mount_or_read_is_known() {
    let volumes = json!([{ "name": "a", "secret": { "secretName": "one" } },
        { "name": "b", "projected": { "sources": [{ "secret": { "name": "two" } }] } }, { "name": "c", "emptyDir": {} }]);
    let variable = json!({ "name": "T", "valueFrom": { "secretKeyRef": { "name": "three", "key": "token" } } });
    let containers = json!([{ "name": "c", "env": [variable], "envFrom": [{ "secretRef": { "name": "four" } }] }]);
    let pod: Pod =
        serde_json::from_value(json!({ "metadata": { "namespace": "n" }, "spec": { "containers": containers, "volumes": volumes,
        "imagePullSecrets": [{ "name": "five" }], "serviceAccountName": "sa" } }))
        .unwrap();
    assert_eq!(used(&[pod]).into_iter().collect::<Vec<_>>(), ["five", "four", "one", "three", "two"]);
}
