//! A custom resource is as good as any other kind: every verb, form and subresource.

use super::*;
use crate::harness::{TestServer, version as revision};

#[tokio::test]
async fn a_definition_brings_its_kind() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    admin.get(WIDGETS).await.refused(404, "NotFound");
    let made = admin.post(DEFINITIONS, widgets()).await.expect(201);
    assert_eq!(made["spec"]["names"]["singular"], "widget");
    assert_eq!((&made["spec"]["names"]["listKind"], &made["spec"]["conversion"]), (&json!("WidgetList"), &json!({ "strategy": "None" })));
    assert_eq!(made["status"], json!({ "acceptedNames": { "kind": "", "plural": "" }, "storedVersions": ["v1"] }));
    assert_eq!(made["metadata"]["generation"], 1);
    let established = established(admin, "widgets").await;
    assert_eq!(established["status"]["acceptedNames"], established["spec"]["names"]);
    assert_eq!(condition(&established, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(established["metadata"]["generation"], 1);

    // Served from then on, and shown.
    let created = admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    assert_eq!(created["spec"], json!({ "size": 1, "color": "grey" }));
    let mut watch = admin.watch(&format!("{ALL_WIDGETS}?watch=1")).await;
    assert_eq!(watch.next().await.expect("an event")["object"], created);
    let list = admin.get(ALL_WIDGETS).await.expect(200);
    assert_eq!((&list["kind"], &list["apiVersion"], names(&list)), (&json!("WidgetList"), &json!("example.org/v1"), vec!["a".to_owned()]));
    let resources = admin.get("/apis/example.org/v1").await.expect(200);
    let shown: Vec<&Value> = resources["resources"].as_array().expect("resources").iter().map(|resource| &resource["name"]).collect();
    assert_eq!(shown, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!((&resources["resources"][0]["shortNames"], &resources["resources"][0]["categories"]), (&json!(["wd"]), &json!(["all"])));
    let aggregated = admin.with_header("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").get("/apis").await;
    assert!(aggregated.text.contains("\"widgets\""));
    let document = admin.get("/openapi/v3/apis/example.org/v1").await.expect(200);
    let size = &document["components"]["schemas"]["org.example.v1.Widget"]["properties"]["spec"]["properties"]["size"];
    assert_eq!(size["description"], "How large it is.");
    // By this kubectl chooses how it patches.
    let patch = &document["paths"]["/apis/example.org/v1/namespaces/{namespace}/widgets/{name}"]["patch"]["requestBody"]["content"];
    let forms: Vec<&String> = patch.as_object().expect("forms").keys().collect();
    assert_eq!(forms, ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]);
    assert!(admin.get("/openapi/v2").await.expect(200)["definitions"]["org.example.v1.Widget"].is_object());
}

#[tokio::test]
async fn every_way_to_write_is_there_but_strategic_merges() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let first = admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let path = format!("{WIDGETS}/a");
    admin.post(WIDGETS, widget("x", -1)).await.refused(422, "Invalid");
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let mut odd = widget("x", 1);
    odd["spec"]["shape"] = "round".into();
    assert!(admin.post(&strict, odd.clone()).await.refused(400, "BadRequest").contains("spec.shape"));
    let pruned = admin.post(WIDGETS, odd).await.expect(201);
    assert_eq!(pruned["spec"], json!({ "size": 1, "color": "grey" }));

    let merged = admin.patch(&path, "application/merge-patch+json", json!({ "spec": { "color": "red" } })).await.expect(200);
    assert_eq!((&merged["spec"], &merged["metadata"]["generation"]), (&json!({ "size": 1, "color": "red" }), &json!(2)));
    let patch = json!([{ "op": "test", "path": "/spec/size", "value": 1 }, { "op": "replace", "path": "/spec/size", "value": 2 }]);
    admin.patch(&path, "application/json-patch+json", patch.clone()).await.expect(200);
    admin.patch(&path, "application/json-patch+json", patch).await.refused(422, "Invalid");
    let refused = admin.patch(&path, "application/strategic-merge-patch+json", json!({ "spec": { "size": 3 } })).await;
    assert_eq!(
        refused.refused(415, "UnsupportedMediaType"),
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
    admin.put(&path, first).await.refused(409, "Conflict");
    let mut current = admin.get(&path).await.expect(200);
    current["spec"]["size"] = 4.into();
    assert_eq!(admin.put(&path, current).await.expect(200)["spec"]["size"], 4);

    let apply = async |manager: &str, part: &str, count: i64| {
        let parts = json!([{ "name": part, "count": count }]);
        let config =
            json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "b" }, "spec": { "size": 1, "parts": parts } });
        admin.patch(&format!("{WIDGETS}/b?fieldManager={manager}"), "application/apply-patch+yaml", config).await
    };
    apply("one", "wheel", 4).await.expect(201);
    let both = apply("two", "door", 2).await.expect(200);
    assert_eq!(both["spec"]["parts"], json!([{ "name": "wheel", "count": 4 }, { "name": "door", "count": 2 }]), "a list of parts by name");
    assert!(apply("two", "wheel", 3).await.refused(409, "Conflict").contains(".spec.parts[name=\"wheel\"].count"));
    admin.delete(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.expect(200);
    assert_eq!(names(&admin.get(WIDGETS).await.expect(200)), ["b", "x"]);
}

#[tokio::test]
async fn status_and_scale_are_doors_of_their_own() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let mut new = widget("a", 3);
    new["status"] = json!({ "replicas": 9 });
    let created = admin.post(WIDGETS, new).await.expect(201);
    assert!(created.get("status").is_none(), "{created}");
    let status = json!({ "spec": { "size": 9 }, "status": { "replicas": 2, "selector": "app=a" } });
    let path = format!("{WIDGETS}/a");
    let told = admin.patch(&format!("{path}/status"), "application/merge-patch+json", status).await.expect(200);
    assert_eq!((&told["spec"]["size"], &told["status"]["replicas"], &told["metadata"]["generation"]), (&json!(3), &json!(2), &json!(1)));

    let scale = admin.get(&format!("{path}/scale")).await.expect(200);
    assert_eq!(
        (&scale["kind"], &scale["apiVersion"], &scale["spec"]),
        (&json!("Scale"), &json!("autoscaling/v1"), &json!({ "replicas": 3 }))
    );
    assert_eq!(scale["status"], json!({ "replicas": 2, "selector": "app=a" }));
    let patch = json!({ "spec": { "replicas": 5 } });
    let scaled = admin.patch(&format!("{path}/scale"), "application/merge-patch+json", patch.clone()).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    let now = admin.get(&path).await.expect(200);
    assert_eq!((&now["spec"]["size"], &now["metadata"]["generation"], &now["status"]["replicas"]), (&json!(5), &json!(2), &json!(2)));
    admin.patch(&format!("{path}/scale"), "application/strategic-merge-patch+json", patch).await.refused(415, "UnsupportedMediaType");
    admin
        .patch(&format!("{path}/scale"), "application/merge-patch+json", json!({ "spec": { "replicas": -1 } }))
        .await
        .refused(422, "Invalid");
}

#[tokio::test]
async fn tables_metadata_and_selectors_are_the_definitions() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let mut red = widget("b", 2);
    red["spec"]["color"] = "red".into();
    red["metadata"]["finalizers"] = json!(["example.org/held"]);
    admin.post(WIDGETS, red).await.expect(201);
    let table = admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").get(WIDGETS).await.expect(200);
    let columns: Vec<&Value> = table["columnDefinitions"].as_array().expect("columns").iter().map(|column| &column["name"]).collect();
    assert_eq!((columns, &table["rows"][1]["cells"]), (vec![&json!("Name"), &json!("Size")], &json!(["b", 2])));
    let metadata =
        admin.with_header("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").get(WIDGETS).await.expect(200);
    assert_eq!((&metadata["kind"], metadata["items"][0].get("spec")), (&json!("PartialObjectMetadataList"), None));
    assert_eq!(names(&admin.get(&format!("{WIDGETS}?fieldSelector=spec.color%3Dred")).await.expect(200)), ["b"]);
    admin.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D2")).await.refused(400, "BadRequest");

    // Finalizers hold it.
    let held = admin.delete(&format!("{WIDGETS}/b")).await.expect(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    let free = json!({ "metadata": { "finalizers": null } });
    admin.patch(&format!("{WIDGETS}/b"), "application/merge-patch+json", free).await.expect(200);
    admin.get(&format!("{WIDGETS}/b")).await.refused(404, "NotFound");

    let crds = admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").get(DEFINITIONS).await.expect(200);
    let columns: Vec<&Value> = crds["columnDefinitions"].as_array().expect("columns").iter().map(|column| &column["name"]).collect();
    assert_eq!(columns, ["Name", "Created At"]);
    let cells = &crds["rows"][0]["cells"];
    assert_eq!(cells[0], "widgets.example.org");
    assert!(cells[1].as_str().is_some_and(|created| created.ends_with('Z')), "{cells}");
}

#[tokio::test]
async fn who_may_what_is_asked_as_for_any_kind() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    define(admin, widgets()).await;
    let created = admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let reader = server.client("reader", None);
    reader.get(WIDGETS).await.refused(403, "Forbidden");
    let role = json!({ "metadata": { "name": "reads" }, "rules": [{ "apiGroups": [GROUP], "resources": ["widgets"], "verbs": ["get", "list", "watch"] }] });
    admin.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", role).await.expect(201);
    let binding = json!({ "metadata": { "name": "reads" }, "subjects": [{ "kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io" }],
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads" } });
    admin.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.expect(201);
    let from = format!("{WIDGETS}?resourceVersion={}&resourceVersionMatch=NotOlderThan", revision(&created));
    for _ in 0..200 {
        if reader.get(&from).await.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    reader.get(WIDGETS).await.expect(200);
    reader.post(WIDGETS, widget("b", 1)).await.refused(403, "Forbidden");
    reader.get(&format!("{WIDGETS}/a/status")).await.refused(403, "Forbidden");
}
