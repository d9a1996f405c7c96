//! Pods that live: they start, are ready, restart as their policy says.

use anyhow::Result;
use orknet_kubelet::pods::PodKey;
use serde_json::json;

use super::node::{Node, container, is_true, shell, shell_pod, waiting};

#[tokio::test(flavor = "multi_thread")]
async fn root_a_pod_runs_with_its_environment_and_leaves_nothing_behind() -> Result<()> {
    let node = Node::start().await?;
    let script = "echo $NAME $HOST $KUBERNETES_SERVICE_HOST $1; cat /etc/hosts; hostname; exec sleep 1000";
    let more = json!({"hostAliases": [{"ip": "192.0.2.9", "hostnames": ["alias"]}], "containers": [{
        "command": ["sh", "-c", script, "x", "$(NAME)-arg"],
        "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
        "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}}}]});
    let pod = shell_pod("runs", "", more);
    node.want(&pod).await?;
    let status = node.until(&pod, |s| is_true(s, "Ready")).await?;
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(status.qos_class.as_deref(), Some("Guaranteed"));
    let main = container(&status, "main").unwrap();
    assert!(main.container_id.as_deref().unwrap().starts_with("containerd://"));
    assert!(!main.image_id.is_empty());
    let limit = node.context.config.cgroup_root.join("memory").join(node.context.cgroups.path("uid-runs").trim_start_matches('/'));
    if limit.exists() {
        assert_eq!(std::fs::read_to_string(limit.join("memory.limit_in_bytes"))?.trim(), (64 << 20).to_string());
    }
    node.delete(&pod, 1).await?;
    node.until_removed(&pod).await?;
    node.until_clean(&pod).await?;
    for reason in ["Pulled", "Created", "Started", "Killing"] {
        assert!(!node.events(reason).is_empty(), "{reason}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_logs_hosts_and_names_are_what_the_pod_sees() -> Result<()> {
    let node = Node::start().await?;
    let script = "echo $NAME; cat /etc/hosts; hostname; echo done; exec sleep 1000";
    let more = json!({"hostAliases": [{"ip": "192.0.2.9", "hostnames": ["alias"]}],
        "containers": [{"env": [{"name": "NAME", "value": "a"}], "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}]});
    let pod = shell_pod("sees", script, more);
    node.want(&pod).await?;
    node.until(&pod, |s| is_true(s, "Ready")).await?;
    let log = node.log(&pod, "main", 0);
    assert!(log.starts_with("a\n# Kubernetes-managed hosts file."), "{log}");
    assert!(log.contains("192.0.2.9\talias\n") && log.ends_with("\nsees\ndone\n"), "{log}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_crashing_container_is_restarted_and_then_backs_off() -> Result<()> {
    let node = Node::start().await?;
    let pod = shell_pod("crash", "echo run; echo why > /dev/termination-log; exit 3", json!({}));
    node.want(&pod).await?;
    let status = node.until(&pod, |s| waiting(s, "main").as_deref() == Some("CrashLoopBackOff")).await?;
    let main = container(&status, "main").unwrap();
    assert_eq!(main.restart_count, 1);
    let last = main.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref(), last.message.as_deref()), (3, Some("Error"), Some("why\n")));
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert!(!node.events("BackOff").is_empty());
    assert_eq!(node.log(&pod, "main", 0), "run\n");
    // After the second restart the first run is nobody's business any more.
    node.until(&pod, |s| container(s, "main").is_some_and(|c| c.restart_count == 2)).await?;
    node.until(&pod, |s| waiting(s, "main").as_deref() == Some("CrashLoopBackOff")).await?;
    let first = node.context.paths.pod_logs(&PodKey::of(&pod)).join("main/0.log");
    node.until_true(|| !first.exists()).await?;
    assert_eq!(node.log(&pod, "main", 1), "run\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_init_containers_run_in_order_and_sidecars_stay() -> Result<()> {
    let node = Node::start().await?;
    let mut side = shell("side", "trap 'exit 0' TERM; echo side >> /d/f; touch /d/up; while :; do sleep 1; done");
    side["restartPolicy"] = "Always".into();
    side["startupProbe"] = json!({"exec": {"command": ["test", "-e", "/d/up"]}, "periodSeconds": 1});
    let mut init = vec![shell("one", "echo one >> /d/f"), side, shell("two", "echo two >> /d/f")];
    let mount = json!([{"name": "d", "mountPath": "/d"}]);
    init.iter_mut().for_each(|c| c["volumeMounts"] = mount.clone());
    let more = json!({"restartPolicy": "Never", "volumes": [{"name": "d", "emptyDir": {}}], "initContainers": init, "containers": [{"volumeMounts": mount}]});
    let pod = shell_pod("init", "cat /d/f", more);
    node.want(&pod).await?;
    let status = node.until(&pod, |s| s.phase.as_deref() == Some("Succeeded")).await?;
    assert_eq!(node.log(&pod, "main", 0), "one\nside\ntwo\n");
    assert!(is_true(&status, "Initialized"));
    let side = &status.init_container_statuses.unwrap()[1];
    assert!(side.state.as_ref().unwrap().terminated.is_some(), "{side:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn root_a_failing_liveness_probe_restarts_and_readiness_follows_its_probe() -> Result<()> {
    let node = Node::start().await?;
    let probe = |file: &str| json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "failureThreshold": 1});
    let script = "touch /alive; trap 'exit 0' TERM; echo begun; while :; do sleep 0.1; [ -e /d/ready ] && rm -f /alive; done";
    let more = json!({"volumes": [{"name": "d", "emptyDir": {}}], "containers": [{"volumeMounts": [{"name": "d", "mountPath": "/d"}],
        "livenessProbe": probe("/alive"), "readinessProbe": probe("/d/ready")}]});
    let pod = shell_pod("live", script, more);
    node.want(&pod).await?;
    let status = node.until(&pod, |s| container(s, "main").is_some_and(|c| c.started == Some(true))).await?;
    assert!(!is_true(&status, "Ready"));
    std::fs::write(node.context.paths.volume("uid-live", "empty-dir", "d").join("ready"), "")?;
    node.until(&pod, |s| container(s, "main").is_some_and(|c| c.restart_count >= 1)).await?;
    assert!(node.events("Unhealthy").iter().any(|m| m.starts_with("Liveness probe failed")));
    assert!(node.events("Killing").iter().any(|m| m == "Container main failed liveness probe, will be restarted"));
    Ok(())
}
