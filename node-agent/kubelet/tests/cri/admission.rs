//! Pods that were bound to a node which cannot take them.

use std::sync::Arc;

use anyhow::Result;
use orknet_kubelet::api::source::Wanted;
use serde_json::json;

use super::node::{Node, is_true, shell_pod};

#[tokio::test(flavor = "multi_thread")]
async fn root_a_pod_that_does_not_fit_is_refused_and_one_that_runs_is_not_asked_again() -> Result<()> {
    let mut node = Node::start().await?;
    let pod = |name: &str| {
        let more = json!({"containers": [{"resources": {"requests": {"cpu": "100m"}}}]});
        shell_pod(name, "exec sleep 1000", more)
    };
    let (runs, late, last) = (pod("runs"), pod("late"), pod("last"));
    node.want(&runs).await?;
    node.until(&runs, |s| is_true(s, "Ready")).await?;

    // The API has not heard of it, as when the kubelet died before it told: what containerd has counts.
    node.restart_kubelet_with(|config| config.cpu_capacity = Some("50m".into())).await?;
    node.wanted.send(Wanted::All(vec![Arc::new(runs.clone()), Arc::new(late.clone())])).await?;
    let refused = node.until(&late, |s| s.phase.as_deref() == Some("Failed")).await?;
    let why = "Node didn't have enough resource: cpu, requested: 100, used: 100, capacity: 50";
    assert_eq!((refused.reason.as_deref(), refused.message.as_deref()), (Some("OutOfcpu"), Some(&*format!("Pod was rejected: {why}"))));
    assert_eq!((refused.container_statuses.as_ref(), refused.start_time.is_some()), (None, true));
    assert_eq!(node.events("OutOfcpu"), [why]);
    assert_eq!(node.running(&runs).await?.len(), 1);
    node.until(&runs, |s| is_true(s, "Ready")).await?;

    // What a refused pod asked for is not taken; what a removed one had is free.
    node.restart_kubelet_with(|config| config.cpu_capacity = Some("100m".into())).await?;
    let mut known = late.clone();
    known.status = Some(refused.clone());
    node.wanted.send(Wanted::All(vec![Arc::new(runs.clone()), Arc::new(known)])).await?;
    node.delete(&runs, 0).await?;
    node.until_removed(&runs).await?;
    node.until_clean(&runs).await?;
    node.wanted.send(Wanted::Gone(Arc::new(runs))).await?;
    node.want(&last).await?;
    node.until(&last, |s| is_true(s, "Ready")).await?;
    assert_eq!(node.status(&late), Some(refused));
    node.delete(&late, 0).await?;
    node.until_removed(&late).await
}
