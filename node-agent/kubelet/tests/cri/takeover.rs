//! Restarts of the kubelet and of containerd, and pods nobody owns any more.

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use orknet_kubelet::api::source::Wanted;
use serde_json::json;
use std::sync::Arc;

use super::node::{Node, container, is_true, shell_pod};

fn id_of(node: &Node, pod: &Pod) -> Option<String> {
    container(&node.status(pod)?, "main")?.container_id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_restarted_kubelet_restarts_no_container_and_removes_what_is_gone() -> Result<()> {
    let mut node = Node::start().await?;
    let probe = json!({"containers": [{"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}]});
    let kept = shell_pod("kept", "exec sleep 1000", probe);
    let gone = shell_pod("gone", "exec sleep 1000", json!({}));
    for pod in [&kept, &gone] {
        node.want(pod).await?;
        node.until(pod, |s| is_true(s, "Ready")).await?;
    }
    let before = id_of(&node, &kept);
    node.restart_kubelet().await?;
    let mut known = kept.clone();
    known.status = node.status(&kept);
    // Seen anew only if it is written anew.
    node.state.send_modify(|s| {
        s.statuses.remove("uid-kept");
    });
    known.metadata.labels = Some([("new".to_owned(), "label".to_owned())].into());
    node.wanted.send(Wanted::All(vec![Arc::new(known)])).await?;
    node.until_clean(&gone).await?;
    // A container that dies now is noticed: the pod has a worker.
    let id = before.clone().unwrap().trim_start_matches("containerd://").to_owned();
    assert_eq!(node.running(&kept).await?, vec![id.clone()]);
    node.context.cri.stop_container(&id, std::time::Duration::ZERO).await?;
    let status = node.until(&kept, |s| container(s, "main").is_some_and(|c| c.restart_count == 1) && is_true(s, "Ready")).await?;
    assert_ne!(container(&status, "main").unwrap().container_id, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_pods_outlive_containerd_and_the_worker_goes_on_afterwards() -> Result<()> {
    let mut node = Node::start().await?;
    let pod = shell_pod("outlives", "exec sleep 1000", json!({}));
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    let before = id_of(&node, &pod);
    node.containerd.pause();
    assert!(node.context.cri.version().await.is_err());
    node.containerd.resume()?;
    node.until_runtime().await?;
    assert_eq!(node.running(&pod).await?, vec![before.unwrap().trim_start_matches("containerd://").to_owned()]);
    node.delete(&pod, 1).await?;
    node.until_removed(&pod).await?;
    assert!(node.is_clean(&pod).await?);
    Ok(())
}
