//! ResourceQuotas as admission enforces them; a test plays the controller that counts.

use crate::harness::{CONFIG_MAPS, PODS, TestServer, config_map, pod};
use futures::future::join_all;
use serde_json::{Value, json};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// A quota of which nothing is used.
async fn with(server: &TestServer, name: &str, spec: Value) {
    let mut quota = server.admin.post(QUOTAS, json!({ "metadata": { "name": name }, "spec": spec })).await.expect(201);
    let zeros: serde_json::Map<String, Value> =
        spec["hard"].as_object().expect("amounts").keys().map(|name| (name.clone(), json!("0"))).collect();
    quota["status"] = json!({ "hard": spec["hard"], "used": zeros });
    server.admin.put(&format!("{QUOTAS}/{name}/status"), quota).await.expect(200);
    // A consistent list waits for what admission reads.
    server.admin.get(QUOTAS).await.expect(200);
}

async fn used(server: &TestServer, name: &str) -> Value {
    server.admin.get(&format!("{QUOTAS}/{name}")).await.expect(200)["status"]["used"].clone()
}

#[tokio::test]
async fn what_is_made_is_charged_with_its_own_write_and_what_is_not_made_costs_nothing() {
    let server = TestServer::start().await;
    with(&server, "q", json!({ "hard": { "count/configmaps": "2", "configmaps": "2" } })).await;
    let one = json!({ "count/configmaps": "1", "configmaps": "1" });
    let created = server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    assert_eq!(used(&server, "q").await, one);
    // In one transaction.
    let quota = server.admin.get(&format!("{QUOTAS}/q")).await.expect(200);
    assert_eq!(quota["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    // A taken name, a broken rule, a dry run and a change cost nothing.
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(409);
    server.admin.post(CONFIG_MAPS, config_map("not a name")).await.expect(422);
    server.admin.post(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("b")).await.expect(201);
    server.admin.put(&format!("{CONFIG_MAPS}/a"), config_map("a")).await.expect(200);
    assert_eq!(used(&server, "q").await, one);
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    for path in [CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}?dryRun=All")] {
        let message = server.admin.post(&path, config_map("c")).await.refused(403, "Forbidden");
        assert_eq!(
            message,
            "configmaps \"c\" is forbidden: exceeded quota: q, requested: configmaps=1,count/configmaps=1, \
             used: configmaps=2,count/configmaps=2, limited: configmaps=2,count/configmaps=2"
        );
    }
    assert_eq!(server.admin.get(&format!("{CONFIG_MAPS}/c")).await.status, 404);
}

#[tokio::test]
async fn a_quota_that_is_made_again_is_refused_for_its_name() {
    let server = TestServer::start().await;
    with(&server, "q", json!({ "hard": { "resourcequotas": "5" } })).await;
    let again = json!({ "metadata": { "name": "q" }, "spec": { "hard": { "pods": "1" } } });
    server.admin.post(QUOTAS, again).await.refused(409, "AlreadyExists");
    let other = json!({ "metadata": { "name": "r" }, "spec": { "hard": { "pods": "1" } } });
    server.admin.post(QUOTAS, other).await.expect(201);
    assert_eq!(used(&server, "q").await, json!({ "resourcequotas": "1" }));
}

#[tokio::test]
async fn clients_at_once_get_no_more_than_there_is() {
    let server = TestServer::start().await;
    with(&server, "q", json!({ "hard": { "count/configmaps": "10" } })).await;
    with(&server, "r", json!({ "hard": { "configmaps": "12" } })).await;
    let answers = join_all((0..64).map(|index| server.admin.post(CONFIG_MAPS, config_map(&format!("c{index}"))))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 403).count();
    assert_eq!((made, refused), (10, 54));
    assert_eq!((used(&server, "q").await, used(&server, "r").await), (json!({ "count/configmaps": "10" }), json!({ "configmaps": "10" })));
}

#[tokio::test]
async fn pods_are_charged_by_scope_and_say_what_is_bounded() {
    let server = TestServer::start().await;
    with(&server, "idle", json!({ "hard": { "pods": "1" }, "scopes": ["BestEffort"] })).await;
    with(&server, "busy", json!({ "hard": { "limits.cpu": "1", "pods": "9" }, "scopes": ["NotBestEffort"] })).await;
    let cpu = |name: &str, resources: Value| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = resources;
        pod
    };
    server.admin.post(PODS, pod("a")).await.expect(201);
    let message = server.admin.post(PODS, pod("b")).await.refused(403, "Forbidden");
    assert_eq!(message, "pods \"b\" is forbidden: exceeded quota: idle, requested: pods=1, used: pods=1, limited: pods=1");
    let message = server.admin.post(PODS, cpu("b", json!({ "requests": { "cpu": "1" } }))).await.refused(403, "Forbidden");
    assert_eq!(message, "pods \"b\" is forbidden: failed quota: busy: must specify limits.cpu for: c");
    server.admin.post(PODS, cpu("b", json!({ "limits": { "cpu": "600m" } }))).await.expect(201);
    assert_eq!(
        (used(&server, "idle").await, used(&server, "busy").await),
        (json!({ "pods": "1" }), json!({ "limits.cpu": "600m", "pods": "1" }))
    );
    // A resize is charged by what it adds.
    let resized = |cpu: &str| json!({ "spec": { "containers": [{ "name": "c", "resources": { "limits": { "cpu": cpu }, "requests": { "cpu": "600m" } } }] } });
    let (path, strategic) = (format!("{PODS}/b/resize"), "application/strategic-merge-patch+json");
    let message = server.admin.patch(&path, strategic, resized("1100m")).await.refused(403, "Forbidden");
    assert_eq!(
        message,
        "pods \"b\" is forbidden: exceeded quota: busy, requested: limits.cpu=500m, used: limits.cpu=600m, limited: limits.cpu=1"
    );
    server.admin.patch(&path, strategic, resized("900m")).await.expect(200);
    assert_eq!(used(&server, "busy").await, json!({ "limits.cpu": "900m", "pods": "1" }));
}

#[tokio::test]
async fn a_quota_that_has_not_been_counted_for_is_not_enforced_and_one_half_counted_refuses() {
    let server = TestServer::start().await;
    let spec = json!({ "hard": { "services": "0" } });
    let mut quota = server.admin.post(QUOTAS, json!({ "metadata": { "name": "q" }, "spec": spec })).await.expect(201);
    server.admin.get(QUOTAS).await.expect(200);
    let service = |name: &str, kind: &str| json!({ "metadata": { "name": name }, "spec": { "type": kind, "ports": [{ "port": 80 }] } });
    server.admin.post(SERVICES, service("a", "ClusterIP")).await.expect(201);
    quota["status"] = json!({ "hard": { "services": "2", "services.nodeports": "1" }, "used": { "services": "1" } });
    let quota = server.admin.put(&format!("{QUOTAS}/q/status"), quota).await.expect(200);
    server.admin.get(QUOTAS).await.expect(200);
    let message = server.admin.post(SERVICES, service("b", "ClusterIP")).await.refused(403, "Forbidden");
    assert_eq!(message, "services \"b\" is forbidden: status unknown for quota: q, resources: services,services.nodeports");
    let mut counted = quota.clone();
    counted["status"]["used"] = json!({ "services": "1", "services.nodeports": "0" });
    server.admin.put(&format!("{QUOTAS}/q/status"), counted).await.expect(200);
    server.admin.get(QUOTAS).await.expect(200);
    // A Service that comes to have a node port is charged for that alone.
    let merge = "application/merge-patch+json";
    server.admin.patch(&format!("{SERVICES}/a"), merge, json!({ "spec": { "type": "NodePort" } })).await.expect(200);
    assert_eq!(used(&server, "q").await, json!({ "services": "1", "services.nodeports": "1" }));
    server.admin.post(SERVICES, service("b", "ClusterIP")).await.expect(201);
    let message =
        server.admin.patch(&format!("{SERVICES}/b"), merge, json!({ "spec": { "type": "NodePort" } })).await.refused(403, "Forbidden");
    assert_eq!(
        message,
        "services \"b\" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"
    );
}
