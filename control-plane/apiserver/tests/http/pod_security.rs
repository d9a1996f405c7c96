//! Pod Security Standards by the labels of a namespace.

use crate::harness::{TestServer, deployment, pod};
use orknet_apiserver::{AuditConfig, AuditLogConfig};
use serde_json::{Value, json};

const NAMESPACES: &str = "/api/v1/namespaces";
const MERGE: &str = "application/merge-patch+json";

/// A namespace with labels of Pod Security, and the account that its pods run as.
async fn namespace(server: &TestServer, name: &str, labels: &[(&str, &str)]) {
    let made = server.admin.post(NAMESPACES, json!({ "metadata": { "name": name, "labels": of(labels) } })).await.expect(201);
    assert_eq!(made["metadata"]["name"], name);
    let account = json!({ "metadata": { "name": "default" } });
    server.admin.post(&format!("{NAMESPACES}/{name}/serviceaccounts"), account).await.expect(201);
    // A consistent list waits for what admission reads.
    server.admin.get(NAMESPACES).await.expect(200);
}

fn of(labels: &[(&str, &str)]) -> Value {
    labels
        .iter()
        .map(|(mode, value)| (format!("pod-security.kubernetes.io/{mode}"), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn privileged(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    pod
}

#[tokio::test]
async fn pods_are_refused_or_warned_of_as_the_namespace_says() {
    let server = TestServer::start().await;
    namespace(&server, "free", &[]).await;
    namespace(&server, "a", &[("enforce", "baseline"), ("warn", "restricted"), ("warn-version", "v1.22")]).await;
    server.admin.post(&format!("{NAMESPACES}/free/pods"), privileged("p")).await.expect(201);
    let pods = format!("{NAMESPACES}/a/pods");
    let message = server.admin.post(&pods, privileged("p")).await.refused(403, "Forbidden");
    assert_eq!(
        message,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)"
    );
    let answer = server.admin.post(&pods, pod("p")).await;
    let warned = answer.warnings();
    answer.expect(201);
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(
        warned[0].contains(
            "would violate PodSecurity \\\"restricted:v1.22\\\": allowPrivilegeEscalation != false (container \\\"c\\\" must set"
        ),
        "{warned:?}"
    );
    // A container that is added later is held to the same.
    let debugger = json!({ "spec": { "ephemeralContainers": [{ "name": "d", "image": "i", "securityContext": { "privileged": true } }] } });
    let path = format!("{pods}/p/ephemeralcontainers");
    let message = server.admin.patch(&path, "application/strategic-merge-patch+json", debugger).await.refused(403, "Forbidden");
    assert!(message.contains("violates PodSecurity \"baseline:latest\": privileged (container \"d\" must not"), "{message}");
    // Of other changes nobody is told.
    let answer = server.admin.patch(&format!("{pods}/p"), MERGE, json!({ "metadata": { "labels": { "x": "y" } } })).await;
    assert_eq!((answer.status.as_u16(), answer.warnings().len()), (200, 0));
}

#[tokio::test]
async fn workloads_are_made_and_their_templates_warned_of() {
    let server = TestServer::start().await;
    namespace(&server, "a", &[("enforce", "restricted"), ("warn", "baseline")]).await;
    let mut bad = deployment("d");
    bad["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    let cron_job = json!({ "metadata": { "name": "c" }, "spec": { "schedule": "* * * * *", "jobTemplate": { "spec": {
        "template": { "spec": { "restartPolicy": "Never", "hostPID": true, "containers": [{ "name": "c", "image": "i" }] } } } } } });
    for (path, object, what) in
        [("/apis/apps/v1/namespaces/a/deployments", bad, "hostNetwork"), ("/apis/batch/v1/namespaces/a/cronjobs", cron_job, "hostPID")]
    {
        let answer = server.admin.post(path, object).await;
        let warned = answer.warnings();
        answer.expect(201);
        assert_eq!(warned, [format!("299 - \"would violate PodSecurity \\\"baseline:latest\\\": host namespaces ({what}=true)\"")]);
    }
}

#[tokio::test]
async fn labels_are_understood_and_stricter_ones_tell_of_pods_that_are_there() {
    let server = TestServer::start().await;
    let bad = json!({ "metadata": { "name": "x", "labels": of(&[("enforce", "strict")]) } });
    let message = server.admin.post(NAMESPACES, bad).await.refused(422, "Invalid");
    assert_eq!(
        message,
        "Namespace \"x\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": \
         must be one of privileged, baseline, restricted"
    );
    namespace(&server, "a", &[]).await;
    for name in ["q", "p"] {
        server.admin.post(&format!("{NAMESPACES}/a/pods"), privileged(name)).await.expect(201);
    }
    server.admin.get(&format!("{NAMESPACES}/a/pods")).await.expect(200);
    let label = |value: &str| json!({ "metadata": { "labels": of(&[("enforce", value)]) } });
    // Also of what is not done.
    for (path, value, expected) in [
        (format!("{NAMESPACES}/a?dryRun=All"), "baseline", true),
        (format!("{NAMESPACES}/a"), "baseline", true),
        (format!("{NAMESPACES}/a"), "baseline", false),
        (format!("{NAMESPACES}/a"), "privileged", false),
    ] {
        let answer = server.admin.patch(&path, MERGE, label(value)).await;
        let warned = answer.warnings();
        answer.expect(200);
        let told = [
            "299 - \"existing pods in namespace \\\"a\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
            "299 - \"p (and 1 other pod): privileged\"",
        ];
        assert_eq!(warned, if expected { &told[..] } else { &[] }, "{path} {value}");
    }
    server.admin.patch(&format!("{NAMESPACES}/a"), MERGE, label("strict")).await.refused(422, "Invalid");
}

#[tokio::test]
async fn a_pod_that_is_refused_is_noted_in_the_audit_log_too() {
    let logs = tempfile::tempdir().expect("a directory");
    let policy_file = logs.path().join("policy.yaml");
    let rules = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, resources: [{group: '', resources: [pods]}]}], omitStages: [RequestReceived]}";
    std::fs::write(&policy_file, rules).expect("writes");
    let path = logs.path().join("audit.log");
    let log = AuditLogConfig { path: path.clone(), max_size_megabytes: 100, max_backups: 0, max_age_days: 0 };
    let server = TestServer::start_with(|config| config.audit = Some(AuditConfig { policy_file, log })).await;
    namespace(&server, "a", &[("enforce", "baseline"), ("audit", "restricted"), ("warn", "restricted")]).await;
    let answer = server.admin.post(&format!("{NAMESPACES}/a/pods"), privileged("p")).await;
    // Of what is refused nobody is warned besides.
    assert_eq!(answer.warnings().len(), 0);
    answer.refused(403, "Forbidden");
    server.stop().await;
    let text = std::fs::read_to_string(path).expect("a log");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let event = events.iter().find(|event| event["verb"] == "create" && event["responseStatus"]["code"] == 403).expect("the refusal");
    let noted = event["annotations"]["pod-security.kubernetes.io/audit-violations"].as_str().unwrap_or_default();
    assert!(noted.starts_with("would violate PodSecurity \"restricted:latest\": ") && noted.contains("privileged"), "{event}");
    assert_eq!(event["annotations"]["pod-security.kubernetes.io/enforce-policy"], "baseline:latest");
}
