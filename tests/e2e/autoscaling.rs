//! Does a Deployment have as many pods as its load asks for?

use anyhow::{Context, Result, ensure};
use orknet_tests::{Cluster, Kubectl, eventually, pods, tests};

tests![e2e_a_busy_deployment_grows_and_an_idle_one_shrinks];

/// Busy until it is told to rest.
const SCRIPT: &str = "while [ ! -e /tmp/rest ]; do :; done; sleep 3600";

fn e2e_a_busy_deployment_grows_and_an_idle_one_shrinks(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "busy", &format!("--image={}", pods::BUSYBOX), "--", "sh", "-c", SCRIPT])?;
    kubectl.run(&["set", "resources", "deployment/busy", "--requests=cpu=20m", "--limits=cpu=100m"])?;
    kubectl.run(&["rollout", "status", "deployment/busy", "--timeout=180s"])?;
    kubectl.run(&["autoscale", "deployment", "busy", "--min=1", "--max=3", "--cpu-percent=50"])?;
    let quick = r#"{"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}}"#;
    kubectl.run(&["patch", "hpa", "busy", "--type=merge", "-p", quick])?;
    let old = kubectl.json(&["get", "horizontalpodautoscalers.v1.autoscaling", "busy"])?;
    ensure!(old["apiVersion"] == "autoscaling/v1" && old["spec"]["targetCPUUtilizationPercentage"] == 50, "{old}");

    let replicas = |wanted: &str| {
        eventually("the replicas", || {
            let now = kubectl.run(&["get", "deployment", "busy", "-o", "jsonpath={.spec.replicas}"])?;
            ensure!(now == wanted, "{now}: {}", kubectl.run(&["describe", "hpa", "busy"])?);
            Ok(())
        })
    };
    replicas("3")?;
    pods::event(kubectl, "busy", "SuccessfulRescale")?;
    let told = eventually("the status", || {
        let hpa = kubectl.json(&["get", "hpa", "busy"])?;
        let conditions = hpa["status"]["conditions"].as_array().context("no conditions")?;
        let holds = |kind: &str| conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True");
        ensure!(holds("AbleToScale") && holds("ScalingActive"), "{hpa}");
        ensure!(hpa["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"].is_u64(), "{hpa}");
        kubectl.run(&["get", "hpa", "busy"])
    })?;
    ensure!(told.contains("Deployment/busy") && told.contains("/50%"), "{told}");

    eventually("every pod at rest", || {
        let names = kubectl.run(&["get", "pods", "-l", "app=busy", "--field-selector=status.phase=Running", "-o", "name"])?;
        ensure!(names.lines().count() >= 3, "{names}");
        for name in names.lines() {
            kubectl.run(&["exec", name, "--", "touch", "/tmp/rest"])?;
        }
        Ok(())
    })?;
    replicas("1")
}
