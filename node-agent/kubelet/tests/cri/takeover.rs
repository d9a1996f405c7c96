//! Restarts of the kubelet and of containerd, and pods nobody owns any more.

use anyhow::Result;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use orknet_kubelet::api::source::Wanted;
use serde_json::json;
use std::sync::Arc;

use super::node::{Node, container, is_true, shell_pod, waiting};

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
    node.until_clean(&pod).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_crash_loop_goes_on_where_it_was_when_the_kubelet_is_restarted() -> Result<()> {
    let mut node = Node::start().await?;
    let pod = shell_pod("crashes", "exit 1", json!({}));
    let message = |s: &PodStatus| container(s, "main")?.state.as_ref()?.waiting.as_ref()?.message.clone();
    node.want(&pod).await?;
    let status = node.until(&pod, |s| waiting(s, "main").as_deref() == Some("CrashLoopBackOff")).await?;
    assert!(message(&status).unwrap().starts_with("back-off 10s"), "{status:?}");
    node.restart_kubelet().await?;
    let known = Pod { status: node.status(&pod), ..pod.clone() };
    node.wanted.send(Wanted::All(vec![Arc::new(known)])).await?;
    // One that forgot would start it at once, and begin with ten seconds again.
    let longer = |s: &PodStatus| container(s, "main").is_some_and(|c| c.restart_count == 2) && message(s).is_some();
    let status = node.until(&pod, longer).await?;
    assert!(message(&status).unwrap().starts_with("back-off 20s"), "{status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_container_restarts_with_the_files_of_an_object_that_is_gone() -> Result<()> {
    let node = Node::start().await?;
    let map = serde_json::from_value(json!({"data": {"a": "map"}}))?;
    node.state.send_modify(|s| drop(s.config_maps.insert("cm".into(), Arc::new(map))));
    let more = json!({"volumes": [{"name": "v", "configMap": {"name": "cm"}}],
        "containers": [{"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]});
    let pod = shell_pod("keeps", "cat /v/a; echo; exec sleep 1000", more);
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    node.state.send_modify(|s| drop(s.config_maps.remove("cm")));
    let id = node.running(&pod).await?.remove(0);
    node.context.cri.stop_container(&id, std::time::Duration::ZERO).await?;
    node.until(&pod, |s| container(s, "main").is_some_and(|c| c.restart_count == 1) && is_true(s, "Ready")).await?;
    assert_eq!(node.log(&pod, "main", 1), "map\n");
    assert!(node.events("FailedMount")[0].contains("configmap \"cm\" not found"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_condition_that_somebody_wrote_over_is_written_again() -> Result<()> {
    let node = Node::start().await?;
    let pod = shell_pod("marked", "exec sleep 1000", json!({}));
    node.want(&pod).await?;
    let mut status = node.until(&pod, |s| is_true(s, "Ready")).await?;
    // As the node's controller does with pods of a node that it does not hear of.
    status.conditions.iter_mut().flatten().filter(|c| c.type_ == "Ready").for_each(|c| c.status = "False".to_owned());
    node.state.send_modify(|s| drop(s.statuses.insert("uid-marked".into(), status.clone())));
    let mut marked = Pod { status: Some(status), ..pod.clone() };
    marked.metadata.resource_version = Some("1000".to_owned());
    node.want(&marked).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    Ok(())
}
