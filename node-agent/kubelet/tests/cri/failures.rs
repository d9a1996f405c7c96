//! Starts that fail, with the reasons Kubernetes gives.

use anyhow::Result;
use serde_json::json;

use super::node::{Node, is_true, shell_pod, waiting};

#[tokio::test(flavor = "multi_thread")]
async fn root_every_failure_has_its_name() -> Result<()> {
    let node = Node::start().await?;
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "k"}}}]);
    let cases = [
        ("never", json!({"image": "localhost/none:1", "imagePullPolicy": "Never"}), "ErrImageNeverPull"),
        ("name", json!({"image": "Not A Name"}), "InvalidImageName"),
        ("pull", json!({"image": "127.0.0.1:1/none:1", "imagePullPolicy": "Always"}), "ImagePullBackOff"),
        ("config", json!({"env": env}), "CreateContainerConfigError"),
        ("root", json!({"securityContext": {"runAsNonRoot": true}}), "CreateContainerConfigError"),
        ("start", json!({"command": ["/no/such/program"]}), "RunContainerError"),
    ];
    for (name, container, reason) in cases {
        let pod = shell_pod(name, "", json!({"containers": [container]}));
        node.want(&pod).await?;
        let met = node.until(&pod, |s| waiting(s, "main").as_deref() == Some(reason)).await;
        assert!(met.is_ok(), "{name} {reason}: {met:?}");
        node.delete(&pod, 0).await?;
        node.until_removed(&pod).await?;
        assert!(node.is_clean(&pod).await?, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_missing_volume_source_is_told_and_found_when_it_appears() -> Result<()> {
    let node = Node::start().await?;
    let more = json!({"volumes": [{"name": "v", "configMap": {"name": "later"}}], "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}]});
    let pod = shell_pod("waits", "exec sleep 1000", more);
    node.want(&pod).await?;
    node.until_state(|s| s.events.iter().any(|(reason, m)| reason == "FailedMount" && m.contains("configmap \"later\" not found"))).await?;
    let map = serde_json::from_value(json!({"data": {"k": "v"}}))?;
    node.state.send_modify(|s| {
        s.config_maps.insert("later".into(), std::sync::Arc::new(map));
    });
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    Ok(())
}
