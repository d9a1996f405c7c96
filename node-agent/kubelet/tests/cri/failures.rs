//! Starts that fail, with the reasons Kubernetes gives; images that go.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use orknet_kubelet::api::source::Wanted;
use orknet_kubelet::images::garbage;
use serde_json::json;

use super::image::{PAUSE, SHELL};

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
        node.until_clean(&pod).await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn root_only_pulled_images_that_nobody_uses_are_collected() -> Result<()> {
    let mut node = Node::start().await?;
    let pod = shell_pod("uses", "exec sleep 1000", json!({}));
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    // Any disk is too full for this.
    node.restart_kubelet_with(|config| (config.image_gc_high_percent, config.image_gc_low_percent) = (0, 0)).await?;
    let id = async |name: &str| node.context.cri.image(name).await.map(|image| image.map(|image| image.id));
    let later = SystemTime::now() + Duration::from_secs(3600);
    let shell = id(SHELL).await?.unwrap();
    assert!(garbage::collect(&node.context, later).await?.is_empty(), "nothing was pulled");
    garbage::record(&node.context.paths, &shell)?;
    assert!(garbage::collect(&node.context, later).await?.is_empty(), "it is in use");
    assert_eq!(id(SHELL).await?, Some(shell.clone()));
    node.wanted.send(Wanted::All(Vec::new())).await?;
    node.until_clean(&pod).await?;
    assert!(garbage::collect(&node.context, later).await?.is_empty(), "it was in use just now");
    assert_eq!(garbage::collect(&node.context, later + Duration::from_secs(600)).await?, [shell]);
    assert_eq!(id(SHELL).await?, None);
    assert!(id(PAUSE).await?.is_some());
    Ok(())
}
