//! Policies over a real server: what is found about their expressions is told in their status, also for kinds that a definition brought.

mod cluster;

use std::time::Duration;

use cluster::Cluster;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

/// The status once it is about the present generation.
async fn checked(policies: &Api<ValidatingAdmissionPolicy>, name: &str) -> Value {
    let found = async {
        loop {
            let policy = policies.get(name).await.unwrap();
            let status = policy.status.unwrap_or_default();
            if status.observed_generation == policy.metadata.generation {
                return serde_json::to_value(status).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap()
}

fn policy(name: &str, group: &str, resource: &str, expression: &str) -> ValidatingAdmissionPolicy {
    let rule = json!({ "operations": ["CREATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource] });
    let spec = json!({ "matchConstraints": { "resourceRules": [rule] }, "validations": [{ "expression": expression }] });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_are_checked_against_the_types_of_what_they_are_about() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let policies = Api::<ValidatingAdmissionPolicy>::all(cluster.client.clone());
    let params = PostParams::default();
    policies.create(&params, &policy("wrong", "apps", "deployments", "object.replicas > 1")).await.unwrap();
    let warning = "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | object.replicas > 1\n | ......^\n";
    let expected = json!({ "observedGeneration": 1, "typeChecking": { "expressionWarnings": [
        { "fieldRef": "spec.validations[0].expression", "warning": warning }] } });
    assert_eq!(checked(&policies, "wrong").await, expected);
    // What is mended is no more warned of.
    let mended = json!({ "spec": { "validations": [{ "expression": "object.spec.replicas > 1" }] } });
    policies.patch("wrong", &PatchParams::default(), &Patch::Merge(mended)).await.unwrap();
    assert_eq!(checked(&policies, "wrong").await, json!({ "observedGeneration": 2, "typeChecking": {} }));
    // Kinds that nobody serves are none, and those of definitions are like others.
    policies.create(&params, &policy("early", "example.com", "gadgets", "object.spec.sise > 1")).await.unwrap();
    assert_eq!(checked(&policies, "early").await, json!({ "observedGeneration": 1, "typeChecking": {} }));
    let schema =
        json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": { "size": { "type": "integer" } } } } });
    let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "gadgets.example.com" },
        "spec": { "group": "example.com", "scope": "Namespaced", "names": { "plural": "gadgets", "singular": "gadget", "kind": "Gadget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] } });
    let of_definitions = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let of_definitions = ApiResource::from_gvk_with_plural(&of_definitions, "customresourcedefinitions");
    let definitions = Api::<DynamicObject>::all_with(cluster.client.clone(), &of_definitions);
    definitions.create(&params, &serde_json::from_value(definition).unwrap()).await.unwrap();
    let established = async {
        loop {
            let found = definitions.get("gadgets.example.com").await.unwrap();
            let conditions = found.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == "Established" && one["status"] == "True") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, established).await.unwrap();
    policies.create(&params, &policy("late", "example.com", "gadgets", "object.spec.sise > 1 && object.spec.size > 1")).await.unwrap();
    let found = checked(&policies, "late").await;
    let told = found["typeChecking"]["expressionWarnings"][0]["warning"].as_str().unwrap_or_default();
    assert!(told.starts_with("example.com/v1, Kind=Gadget: ERROR: <input>:1:12: undefined field 'sise'"), "{found}");
    drop((policies, definitions));
    cluster.stop().await;
}
