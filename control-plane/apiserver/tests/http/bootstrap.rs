//! Bootstrap tokens: who holds one may ask for a certificate and no more, for as long as it is good.

use crate::harness::{PODS, TestServer};
use serde_json::{Value, json};

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

fn secret(changes: Value) -> Value {
    let mut data = json!({ "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true" });
    data.as_object_mut().expect("an object").extend(changes.as_object().cloned().expect("an object"));
    json!({ "metadata": { "name": "bootstrap-token-abcdef" }, "type": "bootstrap.kubernetes.io/token", "stringData": data })
}

#[tokio::test]
async fn a_bootstrap_token_lets_its_holder_ask_for_a_certificate() {
    let server = TestServer::start().await;
    let made = server.admin.post(SECRETS, secret(json!({ "auth-extra-groups": "system:bootstrappers:workers" }))).await.expect(201);
    server.admin.get(SECRETS).await.expect(200);
    let holder = server.stranger().with_header("authorization", "Bearer abcdef.0123456789abcdef");
    let who = holder.post(REVIEWS, json!({})).await.expect(201);
    assert_eq!(who["status"]["userInfo"]["username"], "system:bootstrap:abcdef");
    assert_eq!(
        who["status"]["userInfo"]["groups"],
        json!(["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"])
    );
    holder.get(PODS).await.refused(403, "Forbidden");
    let ask = |resource: &str, subresource: &str| {
        let asked = json!({ "verb": "create", "group": "certificates.k8s.io", "resource": resource, "subresource": subresource });
        json!({ "spec": { "resourceAttributes": asked } })
    };
    for (subresource, allowed) in [("", true), ("nodeclient", true), ("selfnodeclient", false)] {
        let asked = ask("certificatesigningrequests", subresource);
        let answer = holder.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", asked).await.expect(201);
        assert_eq!(answer["status"]["allowed"], allowed, "{subresource}");
    }
    let review = json!({ "spec": { "token": "abcdef.0123456789abcdef" } });
    let answer = server.admin.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.expect(201);
    assert_eq!(answer["status"]["user"]["username"], "system:bootstrap:abcdef");
    let stranger = server.stranger().with_header("authorization", "Bearer abcdef.0123456789abcdeg");
    stranger.get(PODS).await.refused(401, "Unauthorized");
    // From one moment to the next.
    for change in [json!({ "expiration": "2020-01-01T00:00:00Z" }), json!({ "usage-bootstrap-authentication": "false" })] {
        let mut changed = secret(change);
        changed["metadata"]["uid"] = made["metadata"]["uid"].clone();
        server.admin.put(&format!("{SECRETS}/bootstrap-token-abcdef"), changed).await.expect(200);
        server.admin.get(SECRETS).await.expect(200);
        holder.get(PODS).await.refused(401, "Unauthorized");
    }
    server.admin.put(&format!("{SECRETS}/bootstrap-token-abcdef"), secret(json!({}))).await.expect(200);
    server.admin.get(SECRETS).await.expect(200);
    holder.get(PODS).await.refused(403, "Forbidden");
    server.admin.delete(&format!("{SECRETS}/bootstrap-token-abcdef")).await.expect(200);
    server.admin.get(SECRETS).await.expect(200);
    holder.get(PODS).await.refused(401, "Unauthorized");
}

#[tokio::test]
async fn who_is_nobody_yet_reads_what_the_cluster_is_and_nothing_beside_it() {
    let server = TestServer::start().await;
    let maps = "/api/v1/namespaces/kube-public/configmaps";
    for name in ["cluster-info", "other"] {
        server.admin.post(maps, json!({ "metadata": { "name": name }, "data": { "kubeconfig": "k" } })).await.expect(201);
    }
    let stranger = server.stranger();
    assert_eq!(stranger.get(&format!("{maps}/cluster-info")).await.expect(200)["data"]["kubeconfig"], "k");
    stranger.get(&format!("{maps}/other")).await.refused(403, "Forbidden");
    stranger.get(maps).await.refused(403, "Forbidden");
}
