//! Every answer about the deprecated Endpoints says so.

use crate::harness::{CONFIG_MAPS, TestServer};
use serde_json::json;

const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";

#[tokio::test]
async fn reads_writes_and_failures_about_endpoints_warn() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let body = json!({ "metadata": { "name": "e" }, "subsets": [{ "addresses": [{ "ip": "10.0.0.1" }] }] });
    let one = format!("{ENDPOINTS}/e");
    for (answer, code) in [
        (admin.post(ENDPOINTS, body.clone()).await, 201),
        (admin.post(ENDPOINTS, body.clone()).await, 409),
        (admin.get(&one).await, 200),
        (admin.get(ENDPOINTS).await, 200),
        (admin.get("/api/v1/endpoints").await, 200),
        (admin.put(&one, body).await, 200),
        (admin.patch(&one, "application/merge-patch+json", json!({ "metadata": { "labels": { "a": "b" } } })).await, 200),
        (admin.delete(&one).await, 200),
        (admin.get(&one).await, 404),
        (admin.delete(ENDPOINTS).await, 200),
    ] {
        assert_eq!(answer.status.as_u16(), code, "{}", answer.text);
        assert_eq!(answer.warnings(), [r#"299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice""#]);
    }
    for path in
        [CONFIG_MAPS, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", "/api/v1/namespaces/default/endpoints/e/status"]
    {
        assert_eq!(admin.get(path).await.warnings(), [""; 0], "{path}");
    }
    let refused = server.client("bob", None).get(ENDPOINTS).await;
    assert_eq!((refused.status.as_u16(), refused.warnings().len()), (403, 0));
}
