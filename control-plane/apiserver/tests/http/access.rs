//! Who gets in, and who may do what.

use crate::harness::{CONFIG_MAPS, PODS, TestServer, config_map, pod};
use serde_json::json;

#[tokio::test]
async fn strangers_see_health_and_version_only() {
    let server = TestServer::start().await;
    let stranger = server.stranger();
    for path in ["/livez", "/readyz", "/healthz", "/livez/ping", "/readyz/store"] {
        let answer = stranger.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.text[..]), (200, "ok"), "{path}");
    }
    assert!(stranger.get("/readyz?verbose").await.text.contains("[+]store ok\n"));
    assert_eq!(stranger.get("/version").await.expect(200)["minor"], "33");
    for path in ["/", "/api", "/apis", PODS, "/metrics", "/openapi/v3"] {
        let said = stranger.get(path).await.refused(403, "Forbidden");
        assert!(said.contains("User \"system:anonymous\" cannot"), "{path}: {said}");
    }
    stranger.with_header("impersonate-user", "admin").get(PODS).await.refused(403, "Forbidden");
    let forger = stranger.with_header("authorization", "Bearer nonsense");
    for path in [PODS, "/livez", "/readyz", "/healthz", "/livez/ping", "/version"] {
        assert_eq!(forger.get(path).await.refused(401, "Unauthorized"), "Unauthorized", "{path}");
    }
    // Whom his certificate makes known is not asked for a token.
    let admin = server.admin.with_header("authorization", "Bearer nonsense");
    admin.get(PODS).await.expect(200);
    admin.get("/version").await.expect(200);
}

#[tokio::test]
async fn strangers_may_what_is_given_to_everybody_unless_none_are_let_in() {
    let server = TestServer::start().await;
    let role = json!({ "metadata": { "name": "look" }, "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] });
    server.admin.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", role).await.expect(201);
    let everybody = json!({ "metadata": { "name": "look" }, "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "look" },
        "subjects": [{ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:unauthenticated" }] });
    server.admin.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", everybody).await.expect(201);
    server.stranger().get(PODS).await.expect(200);
    server.stranger().get(CONFIG_MAPS).await.refused(403, "Forbidden");
    server.stranger().with_header("authorization", "Bearer nonsense").get(PODS).await.refused(401, "Unauthorized");
    let closed = TestServer::start_with(|config| config.anonymous_auth = false).await;
    assert_eq!(closed.stranger().get(PODS).await.refused(401, "Unauthorized"), "Unauthorized");
    assert_eq!(closed.stranger().get("/livez").await.status, 200);
}

#[tokio::test]
async fn what_no_rule_allows_is_forbidden_in_the_words_of_kubernetes() {
    let server = TestServer::start().await;
    let bob = server.client("bob", None);
    let message = bob.get(PODS).await.refused(403, "Forbidden");
    assert_eq!(message, r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#);
    let message = bob.get("/api/v1/nodes/n").await.refused(403, "Forbidden");
    assert_eq!(message, r#"nodes "n" is forbidden: User "bob" cannot get resource "nodes" in API group "" at the cluster scope"#);
    let message = bob.get("/metrics").await.refused(403, "Forbidden");
    assert_eq!(message, r#"forbidden: User "bob" cannot get path "/metrics""#);
    bob.get("/api").await.expect(200);
}

#[tokio::test]
async fn a_binding_takes_effect_without_a_restart() {
    let server = TestServer::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role =
        json!({ "metadata": { "name": "r" }, "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create"] }] });
    server.admin.post(&format!("{rbac}/roles"), role).await.expect(201);
    let binding = json!({ "metadata": { "name": "b" }, "subjects": [{ "kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io" }],
        "roleRef": { "kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io" } });
    server.admin.post(&format!("{rbac}/rolebindings"), binding).await.expect(201);
    // The rules come from the cache, which a consistent list waits for.
    server.admin.get(&format!("{rbac}/rolebindings")).await.expect(200);
    let bob = server.client("bob", None);
    bob.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    bob.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    bob.delete(&format!("{CONFIG_MAPS}/a")).await.refused(403, "Forbidden");
    let ask = |verb: &str| json!({ "spec": { "resourceAttributes": { "verb": verb, "resource": "configmaps", "namespace": "default" } } });
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(bob.post(reviews, ask("create")).await.expect(201)["status"]["allowed"], true);
    assert_eq!(bob.post(reviews, ask("delete")).await.expect(201)["status"]["allowed"], false);
    let rules = json!({ "spec": { "namespace": "default" } });
    let rules = bob.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await.expect(201);
    assert!(rules["status"]["resourceRules"].to_string().contains("configmaps"));
}

#[tokio::test]
async fn acting_as_another_must_be_allowed() {
    let server = TestServer::start().await;
    let as_bob = server.admin.with_header("impersonate-user", "bob").with_header("impersonate-group", "dev");
    let review = as_bob.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await.expect(201);
    assert_eq!(review["status"]["userInfo"]["username"], "bob");
    assert_eq!(review["status"]["userInfo"]["groups"], json!(["dev", "system:authenticated"]));
    as_bob.get(PODS).await.refused(403, "Forbidden");
    server.admin.with_header("impersonate-user", "andré").get(PODS).await.refused(403, "Forbidden");
    let sneaky = server.client("bob", None).with_header("impersonate-user", "admin").with_header("impersonate-group", "system:masters");
    sneaky.get(PODS).await.refused(403, "Forbidden");
    server.admin.with_header("impersonate-group", "x").get(PODS).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn tokens_of_a_file_let_their_users_in() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "secret,ann,1,\"system:masters\"\n").expect("written");
    let server = TestServer::start_with(|config| config.token_file = Some(file.path().to_owned())).await;
    let ann = server.stranger().with_header("authorization", "Bearer secret");
    ann.get(PODS).await.expect(200);
}

#[tokio::test]
async fn a_certificate_of_another_authority_does_not_get_in() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    let mut foreign = other.client("admin", Some("system:masters"));
    foreign.address = server.admin.address;
    let attempt = tokio::spawn(async move { foreign.get(PODS).await.status });
    // The handshake fails on one side or the other.
    assert!(attempt.await.is_err());
}

#[tokio::test]
async fn parts_of_the_process_go_through_the_same_rules() {
    use http::{Request, StatusCode};
    use http_body_util::Full;
    use tower::ServiceExt;
    let server = TestServer::start().await;
    let as_user = |groups: &[&str]| {
        let who = orknet_auth::Identity::authenticated("part", groups.iter().map(|group| (*group).to_owned()));
        server.handle.local_client(who).oneshot(Request::get(PODS).body(Full::new(bytes::Bytes::new())).expect("a request"))
    };
    assert_eq!(as_user(&["system:masters"]).await.expect("an answer").status(), StatusCode::OK);
    assert_eq!(as_user(&[]).await.expect("an answer").status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_rule_about_one_name_allows_to_list_and_watch_that_name() {
    let server = TestServer::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({ "metadata": { "name": "r" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get", "list", "watch"] }] });
    server.admin.post(&format!("{rbac}/roles"), role).await.expect(201);
    let binding =
        json!({ "metadata": { "name": "b" }, "subjects": [{ "kind": "User", "name": "bob" }], "roleRef": { "kind": "Role", "name": "r" } });
    server.admin.post(&format!("{rbac}/rolebindings"), binding).await.expect(201);
    for name in ["mine", "other"] {
        server.admin.post(CONFIG_MAPS, config_map(name)).await.expect(201);
    }
    server.admin.get(&format!("{rbac}/rolebindings")).await.expect(200);
    let bob = server.client("bob", None);
    let list = bob.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dmine")).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    let mut watch = bob.watch(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dmine&watch=1")).await;
    assert_eq!(watch.next_named().await, ("ADDED".to_owned(), "mine".to_owned()));
    for query in ["", "?fieldSelector=metadata.name%3Dother", "?fieldSelector=metadata.name!%3Dother"] {
        bob.get(&format!("{CONFIG_MAPS}{query}")).await.refused(403, "Forbidden");
    }
    // What is asked for is what is allowed: the first selector for both, and the name in the path before any selector's.
    let twice = bob.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dmine&fieldSelector=")).await.expect(200);
    assert_eq!(twice["items"], list["items"]);
    for path in ["?fieldSelector=&fieldSelector=metadata.name%3Dmine", "/other?watch=1&fieldSelector=metadata.name%3Dmine"] {
        bob.get(&format!("{CONFIG_MAPS}{path}")).await.refused(403, "Forbidden");
    }
    let old_form = "/api/v1/watch/namespaces/default/configmaps/other?fieldSelector=metadata.name%3Dmine";
    bob.get(old_form).await.refused(403, "Forbidden");
    server.admin.get(old_form).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn a_kubelet_makes_no_better_node_of_its_own_and_reads_nothing_by_a_mirror() {
    let server = TestServer::start().await;
    let kubelet = server.client("system:node:n1", Some("system:nodes"));
    let nodes = "/api/v1/nodes";
    let node = |label: &str| json!({ "metadata": { "name": "n1", "labels": { label: "" } }, "spec": { "taints": [{ "key": "t", "effect": "NoSchedule" }] } });
    kubelet.post(nodes, node("node-role.kubernetes.io/control-plane")).await.refused(403, "Forbidden");
    let created = kubelet.post(nodes, node("kubernetes.io/hostname")).await.expect(201);
    for (patch, code) in [
        (json!({ "metadata": { "labels": { "node-restriction.kubernetes.io/a": "b" } } }), 403),
        (json!({ "spec": { "taints": null } }), 403),
        (json!({ "metadata": { "labels": { "own": "b" } } }), 200),
    ] {
        for path in [format!("{nodes}/n1"), format!("{nodes}/n1/status")] {
            // The specification cannot be changed by way of the status anyway.
            let expected = if path.ends_with("status") && patch.get("spec").is_some() { 200 } else { code };
            kubelet.patch(&path, "application/merge-patch+json", patch.clone()).await.expect(expected);
        }
    }
    let mut mirror = pod("static-n1");
    mirror["spec"]["nodeName"] = json!("n1");
    mirror["metadata"]["annotations"] = json!({ "kubernetes.io/config.mirror": "x" });
    mirror["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "Node", "name": "n1", "uid": created["metadata"]["uid"], "controller": true }]);
    let mut curious = mirror.clone();
    curious["spec"]["volumes"] = json!([{ "name": "v", "secret": { "secretName": "s" } }]);
    // The uid of the node is read from the cache, which a consistent list waits for.
    server.admin.get(nodes).await.expect(200);
    let message = kubelet.post(PODS, curious.clone()).await.refused(403, "Forbidden");
    assert!(message.ends_with("node \"n1\" can not create pods that reference secrets"), "{message}");
    let message = server.admin.post(PODS, curious).await.refused(403, "Forbidden");
    assert!(message.ends_with("a mirror pod may not reference secrets"), "{message}");
    kubelet.post(PODS, mirror).await.expect(201);
}

#[tokio::test]
async fn a_role_is_not_relabelled_by_who_has_less() {
    let server = TestServer::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = |name: &str, resource: &str, verbs: &[&str]| {
        let group = if resource == "clusterroles" { "rbac.authorization.k8s.io" } else { "" };
        json!({ "metadata": { "name": name }, "rules": [{ "apiGroups": [group], "resources": [resource], "verbs": verbs }] })
    };
    server.admin.post(&format!("{rbac}/clusterroles"), role("editor", "clusterroles", &["patch"])).await.expect(201);
    server.admin.post(&format!("{rbac}/clusterroles"), role("strong", "secrets", &["get"])).await.expect(201);
    let binding = json!({ "metadata": { "name": "b" }, "subjects": [{ "kind": "User", "name": "bob" }],
        "roleRef": { "kind": "ClusterRole", "name": "editor" } });
    server.admin.post(&format!("{rbac}/clusterrolebindings"), binding).await.expect(201);
    server.admin.get(&format!("{rbac}/clusterrolebindings")).await.expect(200);
    let bob = server.client("bob", None);
    let patch = async |name: &str, meta: serde_json::Value| {
        bob.patch(&format!("{rbac}/clusterroles/{name}"), "application/merge-patch+json", json!({ "metadata": meta })).await
    };
    let labels = json!({ "labels": { "rbac.authorization.k8s.io/aggregate-to-view": "true" } });
    let message = patch("strong", labels.clone()).await.refused(403, "Forbidden");
    assert!(message.contains("is attempting to grant RBAC permissions not currently held"), "{message}");
    patch("editor", labels).await.expect(200);
    patch("strong", json!({ "finalizers": ["a/b"] })).await.expect(200);
}

#[tokio::test]
async fn who_may_patch_may_not_create_for_that() {
    let server = TestServer::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({ "metadata": { "name": "r" }, "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"] }] });
    server.admin.post(&format!("{rbac}/roles"), role).await.expect(201);
    let binding =
        json!({ "metadata": { "name": "b" }, "subjects": [{ "kind": "User", "name": "bob" }], "roleRef": { "kind": "Role", "name": "r" } });
    server.admin.post(&format!("{rbac}/rolebindings"), binding).await.expect(201);
    server.admin.get(&format!("{rbac}/rolebindings")).await.expect(200);
    server.admin.post(CONFIG_MAPS, config_map("there")).await.expect(201);
    let bob = server.client("bob", None);
    let apply = async |name: &str| {
        bob.patch(&format!("{CONFIG_MAPS}/{name}?fieldManager=m&force=1"), "application/apply-patch+yaml", config_map(name)).await
    };
    apply("there").await.expect(200);
    let message = apply("new").await.refused(403, "Forbidden");
    assert!(message.contains("cannot create resource \"configmaps\""), "{message}");
    server.admin.get(&format!("{CONFIG_MAPS}/new")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn a_kubelet_touches_its_own_pods_and_gets_tokens_for_them_alone() {
    let server = TestServer::start().await;
    let mut uids = std::collections::HashMap::new();
    for name in ["n1", "n2"] {
        let mut bound = pod(name);
        bound["spec"]["nodeName"] = json!(name);
        let created = server.admin.post(PODS, bound).await.expect(201);
        uids.insert(name, created["metadata"]["uid"].clone());
    }
    let kubelet = server.client("system:node:n1", Some("system:nodes"));
    let status = json!({ "status": { "phase": "Running" } });
    kubelet.patch(&format!("{PODS}/n1/status"), "application/merge-patch+json", status.clone()).await.expect(200);
    kubelet.patch(&format!("{PODS}/n2/status"), "application/merge-patch+json", status).await.refused(403, "Forbidden");
    kubelet.delete(&format!("{PODS}/n2")).await.refused(403, "Forbidden");
    let labelled = json!({ "metadata": { "labels": { "app": "victim" } } });
    let message = kubelet.patch(&format!("{PODS}/n1/status"), "application/merge-patch+json", labelled).await.refused(403, "Forbidden");
    assert!(message.ends_with("node \"n1\" cannot update labels through pod status"), "{message}");
    let tokens = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let bound = |name: &str| {
        let reference = json!({ "kind": "Pod", "apiVersion": "v1", "name": name, "uid": uids[name] });
        json!({ "spec": { "audiences": [], "boundObjectRef": reference } })
    };
    kubelet.post(tokens, bound("n1")).await.expect(201);
    kubelet.post(tokens, bound("n2")).await.refused(403, "Forbidden");
    let mut of_any = bound("n1");
    of_any["spec"]["boundObjectRef"]["uid"] = json!("");
    kubelet.post(tokens, of_any).await.refused(403, "Forbidden");
    kubelet.post(tokens, json!({ "spec": { "audiences": [] } })).await.refused(403, "Forbidden");
    server.admin.post(tokens, json!({ "spec": { "audiences": [] } })).await.expect(201);
}
