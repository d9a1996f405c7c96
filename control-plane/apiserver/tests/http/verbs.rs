//! Create, get, update, status: what the server sets, keeps and refuses.

use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, TestServer, config_map, deployment, version};
use serde_json::json;

#[tokio::test]
async fn a_created_object_has_an_identity_and_a_version() {
    let server = TestServer::start().await;
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let meta = &created["metadata"];
    assert!(meta["uid"].as_str().is_some_and(|uid| uid.len() == 36));
    assert!(meta["creationTimestamp"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!((&meta["namespace"], &created["data"]["k"]), (&json!("default"), &json!("v")));
    let read = server.admin.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(read, created);
    let from_cache = server.admin.get(&format!("{CONFIG_MAPS}/a?resourceVersion={}", version(&created))).await.expect(200);
    assert_eq!(from_cache, created);
}

#[tokio::test]
async fn names_can_be_generated() {
    let server = TestServer::start().await;
    let mut object = config_map("");
    object["metadata"] = json!({ "generateName": "web-" });
    let first = server.admin.post(CONFIG_MAPS, object.clone()).await.expect(201);
    let second = server.admin.post(CONFIG_MAPS, object).await.expect(201);
    assert!(first["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("web-") && name.len() == 9));
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
}

#[tokio::test]
async fn bodies_may_be_yaml_and_answers_too() {
    let server = TestServer::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata: {a: b}\n";
    server.admin.send("POST", CONFIG_MAPS, "application/yaml", yaml).await.expect(201);
    let answer = server.admin.with_header("accept", "application/yaml").get(&format!("{CONFIG_MAPS}/y")).await;
    assert_eq!(answer.headers["content-type"], "application/yaml");
    assert!(answer.text.contains("\nkind: ConfigMap\n"), "{}", answer.text);
}

#[tokio::test]
async fn an_update_that_changes_nothing_keeps_the_version() {
    let server = TestServer::start().await;
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let same = server.admin.put(&path, created.clone()).await.expect(200);
    assert_eq!(version(&same), version(&created));
    let mut changed = created.clone();
    changed["data"]["k"] = json!("w");
    let updated = server.admin.put(&path, changed).await.expect(200);
    assert!(version(&updated) > version(&created));
    assert_eq!(updated["metadata"]["uid"], created["metadata"]["uid"]);
}

#[tokio::test]
async fn a_stale_update_is_a_conflict_in_the_words_of_kubernetes() {
    let server = TestServer::start().await;
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let mut first = created.clone();
    first["data"]["k"] = json!("1");
    server.admin.put(&path, first).await.expect(200);
    let mut second = created;
    second["data"]["k"] = json!("2");
    let message = server.admin.put(&path, second).await.refused(409, "Conflict");
    let expected = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again";
    assert_eq!(message, expected);
}

#[tokio::test]
async fn a_taken_name_is_a_conflict() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let message = server.admin.post(CONFIG_MAPS, config_map("a")).await.refused(409, "AlreadyExists");
    assert_eq!(message, r#"configmaps "a" already exists"#);
}

#[tokio::test]
async fn spec_and_status_are_written_through_their_own_doors() {
    let server = TestServer::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut object = deployment("web");
    object["status"] = json!({ "replicas": 9 });
    let created = server.admin.post(DEPLOYMENTS, object).await.expect(201);
    assert_eq!((&created["metadata"]["generation"], created["status"].get("replicas")), (&json!(1), None));
    let mut both = created.clone();
    both["status"] = json!({ "replicas": 5, "observedGeneration": 1 });
    both["spec"]["replicas"] = json!(7);
    let status = server.admin.put(&format!("{path}/status"), both.clone()).await.expect(200);
    assert_eq!((&status["spec"]["replicas"], &status["status"]["replicas"]), (&json!(2), &json!(5)));
    assert_eq!(status["metadata"]["generation"], 1);
    both["metadata"]["resourceVersion"] = status["metadata"]["resourceVersion"].clone();
    both["status"] = json!({});
    let spec = server.admin.put(&path, both).await.expect(200);
    assert_eq!(
        (&spec["spec"]["replicas"], &spec["status"]["replicas"], &spec["metadata"]["generation"]),
        (&json!(7), &json!(5), &json!(2))
    );
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_writes_nothing() {
    let server = TestServer::start().await;
    let created = server.admin.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await.expect(201);
    assert_eq!(created["metadata"]["name"], "a");
    server.admin.get(&format!("{CONFIG_MAPS}/a")).await.refused(404, "NotFound");
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    server.admin.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("a")).await.refused(409, "AlreadyExists");
    server.admin.delete(&format!("{CONFIG_MAPS}/a?dryRun=All")).await.expect(200);
    server.admin.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
}

#[tokio::test]
async fn a_scale_is_read_and_set_through_the_subresource() {
    let server = TestServer::start().await;
    server.admin.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = server.admin.get(&path).await.expect(200);
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!("Scale"), &json!(2), &json!("app=web")));
    scale["spec"]["replicas"] = json!(0);
    server.admin.put(&path, scale.clone()).await.expect(200);
    // One of another name is meant for another.
    scale["metadata"] = json!({ "name": "other", "namespace": "default" });
    server.admin.put(&path, scale).await.refused(400, "BadRequest");
    let patched = server.admin.patch(&path, "application/merge-patch+json", json!({ "spec": { "replicas": 4 } })).await.expect(200);
    assert_eq!(patched["spec"]["replicas"], 4);
    let read = server.admin.get(&format!("{DEPLOYMENTS}/web")).await.expect(200);
    assert_eq!((&read["spec"]["replicas"], &read["metadata"]["generation"]), (&json!(4), &json!(3)));
}

#[tokio::test]
async fn a_patched_scale_has_its_form_or_is_refused() {
    let server = TestServer::start().await;
    server.admin.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    for replicas in [json!("5"), json!(3.5), json!([]), json!(true), json!(1_u64 << 40)] {
        let patch = json!({ "spec": { "replicas": replicas } });
        server.admin.patch(&path, "application/merge-patch+json", patch).await.refused(400, "BadRequest");
        let patch = json!([{ "op": "replace", "path": "/spec/replicas", "value": replicas }]);
        server.admin.patch(&path, "application/json-patch+json", patch).await.refused(400, "BadRequest");
    }
    server.admin.patch(&path, "application/merge-patch+json", json!({ "spec": [] })).await.refused(400, "BadRequest");
    let strict = format!("{path}?fieldValidation=Strict");
    server.admin.patch(&strict, "application/merge-patch+json", json!({ "spec": { "replica": 3 } })).await.refused(400, "BadRequest");
    assert_eq!(server.admin.get(&path).await.expect(200)["spec"]["replicas"], 2);
    // As with a PUT: a specification that is not there is one of nothing.
    let patched = server.admin.patch(&path, "application/merge-patch+json", json!({ "spec": null })).await.expect(200);
    assert_eq!(patched["spec"]["replicas"], 0);
}

#[tokio::test]
async fn objects_survive_a_restart() {
    let server = TestServer::start().await;
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    let server = TestServer::start_on(directory, store, |_| {}).await;
    assert_eq!(server.admin.get(&format!("{CONFIG_MAPS}/a")).await.expect(200), created);
    assert_eq!(server.admin.get(CONFIG_MAPS).await.expect(200)["items"], json!([created]));
}

#[tokio::test]
async fn a_lease_is_only_replaced_by_who_knows_its_version() {
    let server = TestServer::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = serde_json::json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "a" } });
    let created = server.admin.post(leases, lease.clone()).await.expect(201);
    let message = server.admin.put(&format!("{leases}/l"), lease).await.refused(422, "Invalid");
    assert_eq!(
        message,
        r#"leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update"#
    );
    server.admin.put(&format!("{leases}/l"), created).await.expect(200);
}

#[tokio::test]
async fn a_put_creates_what_is_not_there_where_the_kind_allows_it_and_the_sender_may() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let rules = json!([{ "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["update"] }]);
    let role = |name: &str| json!({ "metadata": { "name": name }, "rules": rules });
    let created = admin.put(&format!("{roles}/r"), role("r")).await.expect(201);
    let replaced = admin.put(&format!("{roles}/r"), role("r")).await.expect(200);
    assert_eq!(replaced["metadata"]["uid"], created["metadata"]["uid"]);
    let lease = json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "a" } });
    admin.put("/apis/coordination.k8s.io/v1/namespaces/default/leases/l", lease).await.expect(201);
    admin.put(&format!("{CONFIG_MAPS}/c"), config_map("c")).await.refused(404, "NotFound");
    // An object with an identity was there before.
    admin.delete(&format!("{roles}/r")).await.expect(200);
    admin.put(&format!("{roles}/r"), created).await.refused(404, "NotFound");
    admin.post(roles, role("r")).await.expect(201);
    let binding =
        json!({ "metadata": { "name": "b" }, "subjects": [{ "kind": "User", "name": "bob" }], "roleRef": { "kind": "Role", "name": "r" } });
    admin.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.expect(201);
    admin.get("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings").await.expect(200);
    let bob = server.client("bob", None);
    bob.put(&format!("{roles}/r"), role("r")).await.expect(200);
    bob.put(&format!("{roles}/s"), role("s")).await.refused(403, "Forbidden");
}
