//! Is a container held to what its pod allows: user, files, capabilities, privileges, memory, CPU?

use anyhow::{Result, ensure};
use orknet_tests::pods::{self, has, shell, value, with};
use orknet_tests::{Cluster, Kubectl, tests};
use serde_json::{Value, json};

tests![
    e2e_a_process_runs_as_the_user_and_groups_it_is_told,
    e2e_a_security_context_takes_privileges_away_and_gives_them,
    e2e_limits_and_requests_are_in_the_cgroups,
    e2e_the_quality_of_service_follows_from_the_resources,
    e2e_sysctls_that_are_safe_are_set,
    e2e_host_namespaces_are_the_nodes,
];

const WHO: &str = "echo user=$(id -u); echo group=$(id -g); echo groups=$(id -G); ";

fn e2e_a_process_runs_as_the_user_and_groups_it_is_told(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let look = "touch /v/mine; echo dir=$(stat -c %g:%a /v); echo file=$(stat -c %u:%g /v/mine); echo config=$(stat -L -c %g:%a /c/k)";
    kubectl.run(&["create", "configmap", "c", "--from-literal=k=v"])?;
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "c", "mountPath": "/c"}]});
    let spec = json!({
        "securityContext": {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000], "runAsNonRoot": true},
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c", "defaultMode": 0o400}}],
        "containers": [with(shell("main", &format!("{WHO}{look}")), mounts)],
    });
    let output = pods::run(kubectl, "user", spec)?;
    has(&output, &[("user", "1000"), ("group", "3000"), ("file", "1000:2000"), ("config", "2000:440")])?;
    let mut groups: Vec<&str> = value(&output, "groups")?.split(' ').collect();
    groups.sort_unstable();
    ensure!(groups == ["2000", "3000", "4000"], "{output}");
    ensure!(value(&output, "dir")?.starts_with("2000:27"), "{output}");

    // What a container says wins over its pod.
    let own = with(shell("main", WHO), json!({"securityContext": {"runAsUser": 1001, "runAsGroup": 3001}}));
    let output = pods::run(kubectl, "own", json!({"securityContext": {"runAsUser": 1000, "runAsGroup": 3000}, "containers": [own]}))?;
    has(&output, &[("user", "1001"), ("group", "3001")])?;

    // Root, where root is refused.
    pods::create(kubectl, "root", json!({"securityContext": {"runAsNonRoot": true}, "containers": [shell("main", "id")]}))?;
    let pod = pods::when(kubectl, "root", "the refusal", |pod| reason(pod) == "CreateContainerConfigError")?;
    let message = &pods::container(&pod, "main")["state"]["waiting"]["message"];
    ensure!(message.as_str().is_some_and(|m| m.contains("container has runAsNonRoot and image will run as root")), "{message}");
    Ok(())
}

fn reason(pod: &Value) -> &str {
    pods::container(pod, "main")["state"]["waiting"]["reason"].as_str().unwrap_or_default()
}

fn e2e_a_security_context_takes_privileges_away_and_gives_them(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let look = "grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | sed 's/:\\s*/=/'; \
        touch /x 2>/dev/null && echo root=writable || echo root=read-only; \
        touch /dev/shm/x && echo shm=writable; \
        test -w /proc/sys/kernel/domainname && mount -t tmpfs none /mnt 2>/dev/null && echo mount=yes || echo mount=no; \
        test -e /dev/kmsg && echo devices=all || echo devices=few";
    let seen = |name: &str, context: Value| {
        let main = with(shell("main", &format!("mkdir -p /mnt; {look}")), json!({"securityContext": context}));
        pods::run(kubectl, name, json!({"containers": [main]}))
    };
    let usual = seen("usual", json!({}))?;
    has(&usual, &[("CapEff", "00000000a80425fb"), ("NoNewPrivs", "0"), ("root", "writable"), ("mount", "no"), ("devices", "few")])?;
    let tight = seen(
        "tight",
        json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, "seccompProfile": {"type": "RuntimeDefault"}}),
    )?;
    has(&tight, &[("CapEff", "0000000000000400"), ("NoNewPrivs", "1"), ("Seccomp", "2"), ("root", "read-only"), ("shm", "writable")])?;
    let free = seen("free", json!({"privileged": true}))?;
    has(&free, &[("mount", "yes"), ("devices", "all"), ("Seccomp", "0")])?;
    let more = seen("more", json!({"capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]}}))?;
    has(&more, &[("CapEff", "00000000a80435fa")])
}

fn e2e_limits_and_requests_are_in_the_cgroups(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    // Version 1 has a tree per controller, version 2 one for all; a container sees its own at the root.
    let look = "cd /sys/fs/cgroup; if [ -e memory/memory.limit_in_bytes ]; then \
          echo memory=$(cat memory/memory.limit_in_bytes); echo quota=$(cat cpu/cpu.cfs_quota_us)/$(cat cpu/cpu.cfs_period_us); \
          echo shares=$(cat cpu/cpu.shares); \
        else echo memory=$(cat memory.max); echo quota=$(sed 's, ,/,' cpu.max); echo weight=$(cat cpu.weight); fi; exec sleep 3600";
    let resources = json!({"resources": {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}}});
    pods::start(kubectl, "limited", json!({"containers": [with(shell("main", look), resources), shell("free", look)]}))?;
    let output = orknet_tests::eventually("the log", || {
        let said = kubectl.run(&["logs", "limited", "-c", "main"])?;
        ensure!(said.lines().count() == 3, "{said}");
        Ok(said)
    })?;
    has(&output, &[("memory", "67108864"), ("quota", "50000/100000")])?;
    // 250 thousandths are 256 shares of 1024, or a weight of 1 + (256 - 2) * 9999 / 262142.
    ensure!(output.contains("shares=256\n") || output.contains("weight=10\n"), "{output}");
    Ok(())
}

fn e2e_the_quality_of_service_follows_from_the_resources(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let look = "echo score=$(cat /proc/self/oom_score_adj)";
    let both = json!({"cpu": "100m", "memory": "32Mi"});
    // A local cluster's containerd goes no lower than where it is itself.
    for (name, class, resources, scores) in [
        ("guaranteed", "Guaranteed", json!({"limits": both}), -997..=0),
        ("burstable", "Burstable", json!({"requests": {"memory": "32Mi"}}), 3..=999),
        ("best-effort", "BestEffort", json!({}), 1000..=1000),
    ] {
        let main = with(shell("main", look), json!({"resources": resources}));
        let output = pods::run(kubectl, name, json!({"containers": [main]}))?;
        ensure!(kubectl.run(&["get", "pod", name, "-o", "jsonpath={.status.qosClass}"])? == class, "{name}");
        let score: i32 = value(&output, "score")?.parse()?;
        ensure!(scores.contains(&score), "{name}: the kernel's preference is {score}, expected {scores:?}");
    }
    Ok(())
}

fn e2e_sysctls_that_are_safe_are_set(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({
        "securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "100"}]},
        "containers": [shell("main", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start")],
    });
    ensure!(pods::run(kubectl, "sysctl", spec)? == "100\n");
    Ok(())
}

fn e2e_host_namespaces_are_the_nodes(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let spec = json!({"hostNetwork": true, "hostPID": true, "hostIPC": true, "containers": [shell("main", "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; ps | wc -l")]});
    let output = pods::run(kubectl, "host", spec)?;
    let node = kubectl.run(&["get", "pod", "host", "-o", "jsonpath={.spec.nodeName}"])?;
    let of_node = cluster.inside(&node, &["readlink", "/proc/self/ns/net", "/proc/self/ns/ipc"])?;
    let lines: Vec<&str> = output.lines().collect();
    ensure!(lines[..2] == of_node.lines().collect::<Vec<_>>()[..2], "{output}{of_node}");
    ensure!(lines[2].trim().parse::<u32>()? > 10, "all processes of the node are seen: {output}");
    Ok(())
}
