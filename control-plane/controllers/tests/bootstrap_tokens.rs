//! Bootstrap tokens over a real server: `cluster-info` is published and signed, tokens go when they expire.

mod cluster;

use std::time::Duration;

use cluster::Cluster;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

fn token(id: &str, ends: Option<Timestamp>) -> Secret {
    let end = ends.map(|end| end.to_string()).unwrap_or_default();
    let data = json!({"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", "expiration": end});
    let metadata = json!({"name": format!("bootstrap-token-{id}")});
    serde_json::from_value(json!({"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "stringData": data})).unwrap()
}

async fn until_signed_by(maps: &Api<ConfigMap>, ids: &[&str]) -> ConfigMap {
    let wanted: Vec<String> = ids.iter().map(|id| format!("jws-kubeconfig-{id}")).chain(["kubeconfig".to_owned()]).collect();
    let signed = async {
        loop {
            let found = maps.get_opt("cluster-info").await.unwrap();
            if let Some(found) = found.filter(|found| found.data.iter().flatten().map(|(key, _)| key).eq(&wanted)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, signed).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_info_is_signed_by_the_tokens_that_live_and_they_go_when_they_expire() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |config| {
        config.root_ca_pem = "pem".into();
        config.api_server = "https://10.0.0.1:6443".into();
    })
    .await;
    let secrets = Api::<Secret>::namespaced(cluster.client.clone(), "kube-system");
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "kube-public");
    let ends = Timestamp::now() + SignedDuration::from_secs(3);
    secrets.create(&PostParams::default(), &token("aaaaaa", None)).await.unwrap();
    secrets.create(&PostParams::default(), &token("bbbbbb", Some(ends))).await.unwrap();
    let found = until_signed_by(&maps, &["aaaaaa", "bbbbbb"]).await.data.unwrap();
    assert!(found["kubeconfig"].contains("server: https://10.0.0.1:6443") && !found["kubeconfig"].contains("client-key"));
    let signing = orknet_auth::bootstrap_tokens::Token { id: "aaaaaa", secret: "0123456789abcdef" };
    let expected = orknet_auth::bootstrap_tokens::signature(&found["kubeconfig"], &signing);
    assert_eq!(found["jws-kubeconfig-aaaaaa"], expected);
    until_signed_by(&maps, &["aaaaaa"]).await;
    assert!(Timestamp::now() >= ends);
    assert!(secrets.get_opt("bootstrap-token-bbbbbb").await.unwrap().is_none());
    assert!(secrets.get_opt("bootstrap-token-aaaaaa").await.unwrap().is_some());
    cluster.stop().await;
}
