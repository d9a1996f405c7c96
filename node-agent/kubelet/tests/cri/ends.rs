//! Pods that end: by themselves, by deletion, by a deadline.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::node::{Node, container, is_true, shell_pod};

#[tokio::test(flavor = "multi_thread")]
async fn root_a_finished_pod_keeps_its_status_and_log_but_no_resources() -> Result<()> {
    let node = Node::start().await?;
    let pod = shell_pod("done", "echo bye; exit 0", json!({"restartPolicy": "Never"}));
    node.want(&pod).await?;
    let status = node.until(&pod, |s| s.phase.as_deref() == Some("Succeeded")).await?;
    let end = container(&status, "main").unwrap().state.clone().unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (0, Some("Completed")));
    assert_eq!(node.log(&pod, "main", 0), "bye\n");
    node.delete(&pod, 0).await?;
    node.until_removed(&pod).await?;
    node.until_clean(&pod).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_the_end_of_the_log_is_the_message_of_a_failure() -> Result<()> {
    let node = Node::start().await?;
    let more = json!({"restartPolicy": "Never", "containers": [{"terminationMessagePolicy": "FallbackToLogsOnError"}]});
    let pod = shell_pod("fails", "echo broken; exit 4", more);
    node.want(&pod).await?;
    let status = node.until(&pod, |s| s.phase.as_deref() == Some("Failed")).await?;
    let end = container(&status, "main").unwrap().state.clone().unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.message.as_deref()), (4, Some("broken\n")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_deletion_runs_the_hook_and_lets_the_container_finish() -> Result<()> {
    let node = Node::start().await?;
    let directory = node.containerd.path("shared");
    std::fs::create_dir(&directory)?;
    let script = "trap 'echo term >> /d/f; exit 0' TERM; while :; do sleep 0.1; done";
    let more = json!({"volumes": [{"name": "d", "hostPath": {"path": directory, "type": "Directory"}}], "containers": [{
        "volumeMounts": [{"name": "d", "mountPath": "/d"}],
        "lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "echo start >> /d/f"]}}, "preStop": {"exec": {"command": ["sh", "-c", "echo stop >> /d/f"]}}}}]});
    let pod = shell_pod("hooks", script, more);
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    node.delete(&pod, 30).await?;
    node.until_removed(&pod).await?;
    assert_eq!(std::fs::read_to_string(directory.join("f"))?, "start\nstop\nterm\n");
    let status = node.status(&pod).unwrap();
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_shorter_grace_period_cuts_a_running_one_short() -> Result<()> {
    let node = Node::start().await?;
    let pod = shell_pod("stubborn", "trap '' TERM; while :; do sleep 0.1; done", json!({}));
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    node.delete(&pod, 600).await?;
    node.until_state(|s| s.events.iter().any(|(reason, _)| reason == "Killing")).await?;
    let begun = Instant::now();
    node.delete(&pod, 0).await?;
    node.until_removed(&pod).await?;
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(node.status(&pod).unwrap().phase.as_deref(), Some("Failed"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_pod_past_its_deadline_fails() -> Result<()> {
    let node = Node::start().await?;
    let pod = shell_pod("late", "exec sleep 1000", json!({"activeDeadlineSeconds": 2}));
    node.want(&pod).await?;
    let status = node.until(&pod, |s| s.phase.as_deref() == Some("Failed")).await?;
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    Ok(())
}
