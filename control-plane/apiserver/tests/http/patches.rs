//! The four forms of patches, and ownership.

use crate::client::Client;
use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, TestServer, config_map, deployment, version};
use serde_json::json;

#[tokio::test]
async fn each_form_of_patch_does_what_its_media_type_says() {
    let server = TestServer::start().await;
    server.admin.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let json_patch = json!([{ "op": "replace", "path": "/spec/replicas", "value": 3 }]);
    let patched = server.admin.patch(&path, "application/json-patch+json", json_patch).await.expect(200);
    assert_eq!((&patched["spec"]["replicas"], &patched["metadata"]["generation"]), (&json!(3), &json!(2)));
    let merge = json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "replicas": 4 } });
    let patched = server.admin.patch(&path, "application/merge-patch+json", merge).await.expect(200);
    assert_eq!((&patched["spec"]["replicas"], &patched["metadata"]["labels"]["a"]), (&json!(4), &json!("b")));
    let strategic = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "d", "image": "j" }] } } } });
    let patched = server.admin.patch(&path, "application/strategic-merge-patch+json", strategic).await.expect(200);
    assert_eq!(patched["spec"]["template"]["spec"]["containers"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_patch_that_cannot_be_applied_is_refused() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let missing = json!([{ "op": "remove", "path": "/data/nope" }]);
    server.admin.patch(&path, "application/json-patch+json", missing).await.refused(422, "Invalid");
    server.admin.patch(&path, "application/json-patch+json", json!({ "op": "x" })).await.refused(400, "BadRequest");
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "data": { "k": "x" } });
    server.admin.patch(&path, "application/merge-patch+json", stale).await.refused(409, "Conflict");
    let renamed = json!({ "metadata": { "name": "b" } });
    server.admin.patch(&path, "application/merge-patch+json", renamed).await.refused(400, "BadRequest");
    server.admin.patch(&format!("{CONFIG_MAPS}/x"), "application/merge-patch+json", json!({})).await.refused(404, "NotFound");
}

#[tokio::test]
async fn patches_at_the_same_time_all_count() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let patches = (0..12).map(|index| {
        let client = server.admin.clone();
        async move {
            let patch = json!({ "data": { format!("k{index}"): "x" } });
            client.patch(&format!("{CONFIG_MAPS}/a"), "application/merge-patch+json", patch).await.expect(200);
        }
    });
    futures::future::join_all(patches).await;
    let read = server.admin.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(read["data"].as_object().map(|data| data.len()), Some(13));
}

async fn apply(client: &Client, manager: &str, force: bool, replicas: u32) -> crate::client::Answer {
    let mut object = deployment("web");
    object["spec"]["replicas"] = json!(replicas);
    client.patch(&format!("{DEPLOYMENTS}/web?fieldManager={manager}&force={force}"), "application/apply-patch+yaml", object).await
}

#[tokio::test]
async fn apply_creates_owns_and_conflicts() {
    let server = TestServer::start().await;
    let created = apply(&server.admin, "one", false, 2).await.expect(201);
    assert_eq!(created["metadata"]["managedFields"][0]["manager"], "one");
    let same = apply(&server.admin, "one", false, 2).await.expect(200);
    assert_eq!(version(&same), version(&created));
    let answer = apply(&server.admin, "two", false, 3).await;
    let cause = answer.body["details"]["causes"][0].clone();
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldManagerConflict"), &json!(".spec.replicas")));
    answer.refused(409, "Conflict");
    assert_eq!(apply(&server.admin, "two", true, 3).await.expect(200)["spec"]["replicas"], 3);
    apply(&server.admin, "one", false, 2).await.refused(409, "Conflict");
    let unnamed = server.admin.patch(&format!("{DEPLOYMENTS}/web"), "application/apply-patch+yaml", deployment("web")).await;
    unnamed.refused(422, "Invalid");
}

#[tokio::test]
async fn what_admission_adds_belongs_to_nobody() {
    let server = TestServer::start().await;
    let pods = crate::harness::PODS;
    let path = format!("{pods}/p?fieldManager=one");
    server.admin.patch(&path, "application/apply-patch+yaml", crate::harness::pod("p")).await.expect(201);
    server.admin.patch(&path, "application/apply-patch+yaml", crate::harness::pod("p")).await.expect(200);
    let mut created = crate::harness::pod("q");
    created["metadata"]["labels"] = json!({ "a": "b" });
    let created = server.admin.post(&format!("{pods}?fieldManager=two"), created).await.expect(201);
    let fields = created["metadata"]["managedFields"][0]["fieldsV1"].to_string();
    assert!(fields.contains("f:labels") && !fields.contains("f:volumes"), "{fields}");
}

#[tokio::test]
async fn what_a_part_of_the_process_sets_is_owned_by_its_program() {
    use http::Request;
    use http_body_util::Full;
    use tower::ServiceExt;
    let server = TestServer::start().await;
    let part = server.handle.local_client(orknet_auth::Identity::authenticated("part", ["system:masters".to_owned()]));
    let body = Full::new(bytes::Bytes::from(config_map("a").to_string()));
    let request = Request::post(CONFIG_MAPS).header("content-type", "application/json").body(body).expect("a request");
    assert_eq!(part.oneshot(request).await.expect("an answer").status(), 201);
    let made = server.admin.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "orknet-server");
}

#[tokio::test]
async fn a_configuration_has_no_fields_that_its_kind_has_not() {
    let server = TestServer::start().await;
    let path = format!("{DEPLOYMENTS}/web?fieldManager=me&fieldValidation=Ignore");
    let mut config = deployment("web");
    config["spec"]["foo"] = json!(1);
    // With kube-apiserver's code, and without a reason.
    let refused = async |config: serde_json::Value| {
        let answer = server.admin.patch(&path, "application/apply-patch+yaml", config).await;
        assert_eq!(answer.status.as_u16(), 500, "{}", answer.text);
        answer.body["message"].as_str().unwrap_or_default().to_owned()
    };
    let message = refused(config.clone()).await;
    assert_eq!(message, "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema");
    config["spec"]["template"]["spec"]["containers"][0]["bar"] = json!({});
    let message = refused(config).await;
    assert!(message.ends_with("errors:\n  .spec.foo: field not declared in schema\n  .spec.template.spec.containers[name=\"c\"].bar: field not declared in schema"), "{message}");
    let too_long = format!("{DEPLOYMENTS}/web?fieldManager={}", "x".repeat(129));
    server.admin.patch(&too_long, "application/apply-patch+yaml", deployment("web")).await.refused(422, "Invalid");
}

#[tokio::test]
async fn a_scale_that_is_applied_owns_the_workloads_number() {
    let server = TestServer::start().await;
    let apply = async |query: &str, config: serde_json::Value| {
        server.admin.patch(&format!("{DEPLOYMENTS}/web{query}"), "application/apply-patch+yaml", config).await
    };
    apply("?fieldManager=owner", deployment("web")).await.expect(201);
    let scale = |replicas: i64| json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "web" }, "spec": { "replicas": replicas } });
    let refused = apply("/scale?fieldManager=scaler", scale(5)).await;
    assert_eq!(refused.body["details"]["causes"][0]["field"], ".spec.replicas", "{}", refused.text);
    let message = refused.refused(409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"owner\": .spec.replicas");
    let scaled = apply("/scale?fieldManager=scaler&force=true", scale(5)).await.expect(200);
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    let workload = server.admin.get(&format!("{DEPLOYMENTS}/web")).await.expect(200);
    let entries = workload["metadata"]["managedFields"].as_array().expect("entries");
    let of = |manager: &str| entries.iter().find(|entry| entry["manager"] == manager).expect("an entry");
    let told = of("scaler");
    assert_eq!((&told["operation"], &told["subresource"], &told["apiVersion"]), (&json!("Apply"), &json!("scale"), &json!("apps/v1")));
    assert_eq!(told["fieldsV1"], json!({ "f:spec": { "f:replicas": {} } }));
    assert_eq!(of("owner")["fieldsV1"]["f:spec"].get("f:replicas"), None);
    // Who no longer says how many keeps what the other says, and the other may change it.
    let mut silent = deployment("web");
    silent["spec"].as_object_mut().expect("a spec").remove("replicas");
    assert_eq!(apply("?fieldManager=owner", silent).await.expect(200)["spec"]["replicas"], 5);
    apply("/scale?fieldManager=scaler", scale(3)).await.expect(200);
    apply("/scale?fieldManager=scaler", scale(-1)).await.refused(422, "Invalid");
    apply("/scale", scale(4)).await.refused(422, "Invalid");
    let mut other = scale(4);
    other["metadata"]["name"] = json!("db");
    apply("/scale?fieldManager=scaler", other).await.refused(400, "BadRequest");
    assert_eq!(server.admin.get(&format!("{DEPLOYMENTS}/web/scale")).await.expect(200)["spec"]["replicas"], 3);
}

#[tokio::test]
async fn an_apply_in_one_version_knows_the_owners_of_another() {
    let server = TestServer::start().await;
    let apply = async |version: &str, manager: &str, replicas: i64| {
        let config = json!({
            "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": { "name": "web" },
            "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" }, "maxReplicas": replicas },
        });
        let path = format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/web?fieldManager={manager}");
        server.admin.patch(&path, "application/apply-patch+yaml", config).await
    };
    let first = apply("v1", "one", 5).await.expect(201);
    assert_eq!(first["metadata"]["managedFields"][0]["apiVersion"], "autoscaling/v1");
    let message = apply("v2", "two", 6).await.refused(409, "Conflict");
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .spec.maxReplicas");
    // The same applier goes over to the other version, and once more changes nothing.
    let second = apply("v2", "one", 6).await.expect(200);
    assert_eq!(second["metadata"]["managedFields"][0]["apiVersion"], "autoscaling/v2");
    let again = apply("v2", "one", 6).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], second["metadata"]["resourceVersion"]);
}
