//! Each check: what it lets pass and what not, in which words, of which versions (after the fixtures of pod-security-admission).

use super::checks::{details, reasons, violations};
use super::policy::Policy;
use super::subject::Subject;
use serde_json::{Value, json};

/// What a standard (`baseline:v1.30`) says of a pod.
fn told(standard: &str, pod: &Value) -> String {
    let (level, version) = standard.split_once(':').expect("a version");
    let labels = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/enforce-version": version } } });
    let (policy, complaints) = Policy::of(&labels);
    assert!(complaints.is_empty() && policy.enforce.to_string() == standard, "{standard}");
    details(&violations(policy.enforce, &Subject::read(pod)))
}

fn merged(one: &Value, other: &Value) -> Value {
    let (Value::Object(a), Value::Object(b)) = (one, other) else { return other.clone() };
    let mut all = a.clone();
    for (key, value) in b {
        let value = a.get(key).map_or_else(|| value.clone(), |own| merged(own, value));
        all.insert(key.clone(), value);
    }
    Value::Object(all)
}

/// A pod that is within every standard, with more in its spec.
fn good_with(spec: &Value) -> Value {
    let strict = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    let containers = |name: &str| json!([{ "name": name, "image": "i", "securityContext": strict }]);
    let base = json!({
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "containers": containers("c"), "initContainers": containers("i"),
    });
    json!({ "metadata": { "name": "p" }, "spec": merged(&base, spec) })
}

/// The same with more in the security contexts of some of its containers.
fn good_in(context: &Value, names: &[&str]) -> Value {
    let mut pod = good_with(&json!({}));
    for (list, name) in [("initContainers", "i"), ("containers", "c")] {
        if names.contains(&name) {
            let own = pod["spec"][list][0]["securityContext"].clone();
            pod["spec"][list][0]["securityContext"] = merged(&own, context);
        }
    }
    pod
}

#[test]
fn a_pod_that_asks_for_nothing_is_within_every_standard() {
    // Those of versions to come are held to what is known.
    for standard in
        ["privileged:latest", "baseline:latest", "restricted:latest", "restricted:v1.0", "restricted:v1.19", "restricted:v1.999"]
    {
        assert_eq!(told(standard, &good_with(&json!({}))), "", "{standard}");
    }
}

#[test]
fn the_usual_pod_is_within_baseline_and_is_told_all_that_restricted_asks() {
    let pod = json!({ "spec": { "containers": [{ "name": "c" }] } });
    assert_eq!(told("baseline:latest", &pod), "");
    assert_eq!(
        told("restricted:latest", &pod),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
         seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
}

#[test]
fn each_check_of_baseline_has_its_words() {
    let pod = |spec: Value| good_with(&spec);
    let context = |context: Value| good_with(&json!({ "securityContext": context }));
    let annotated = |key: &str, value: &str| merged(&good_with(&json!({})), &json!({ "metadata": { "annotations": { key: value } } }));
    for (pod, expected) in [
        (annotated("container.apparmor.security.beta.kubernetes.io/c", "runtime/default"), ""),
        (annotated("container.apparmor.security.beta.kubernetes.io/c", "localhost/x"), ""),
        (
            annotated("container.apparmor.security.beta.kubernetes.io/c", "unconfined"),
            "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
             \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")",
        ),
        (context(json!({ "appArmorProfile": { "type": "RuntimeDefault" } })), ""),
        (
            context(json!({ "appArmorProfile": { "type": "Unconfined" } })),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
        (
            good_in(&json!({ "appArmorProfile": { "type": "Unconfined" } }), &["c"]),
            "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
        ),
        (good_in(&json!({ "capabilities": { "add": ["CHOWN", "NET_BIND_SERVICE"] } }), &["c"]), ""),
        (
            good_in(&json!({ "capabilities": { "add": ["NET_RAW", "CHOWN", "SYS_TIME"] } }), &["i", "c"]),
            "non-default capabilities (containers \"i\", \"c\" must not include \"NET_RAW\", \"SYS_TIME\" in securityContext.capabilities.add)",
        ),
        (pod(json!({ "hostNetwork": false })), ""),
        (
            pod(json!({ "hostNetwork": true, "hostPID": true, "hostIPC": true })),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (pod(json!({ "volumes": [{ "name": "v", "nfs": { "server": "s", "path": "/" } }] })), ""),
        (pod(json!({ "volumes": [{ "name": "v", "hostPath": { "path": "/" } }] })), "hostPath volumes (volume \"v\")"),
        (
            pod(json!({ "volumes": [{ "name": "b", "hostPath": { "path": "/" } }, { "name": "a", "hostPath": { "path": "/" } }] })),
            "hostPath volumes (volumes \"b\", \"a\")",
        ),
        (pod(json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 80, "hostPort": 0 }] }] })), ""),
        (
            pod(json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 80, "hostPort": 80 }] }] })),
            "hostPort (container \"c\" uses hostPort 80)",
        ),
        (
            pod(
                json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 1, "hostPort": 80 }, { "containerPort": 2, "hostPort": 443 }] },
                { "name": "d", "ports": [{ "containerPort": 1, "hostPort": 80 }] }] }),
            ),
            "hostPort (containers \"c\", \"d\" use hostPorts 443, 80)",
        ),
        (good_in(&json!({ "privileged": false }), &["c"]), ""),
        (good_in(&json!({ "privileged": true }), &["i"]), "privileged (container \"i\" must not set securityContext.privileged=true)"),
        (good_in(&json!({ "procMount": "Default" }), &["c"]), ""),
        (
            good_in(&json!({ "procMount": "Unmasked" }), &["c"]),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (context(json!({ "seLinuxOptions": { "type": "container_t", "level": "s0" } })), ""),
        (
            context(json!({ "seLinuxOptions": { "type": "spc_t", "user": "u", "role": "r" } })),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set; role may not be set)",
        ),
        (
            good_in(&json!({ "seLinuxOptions": { "user": "u" } }), &["c", "i"]),
            "seLinuxOptions (containers \"i\", \"c\" set forbidden securityContext.seLinuxOptions: user may not be set)",
        ),
        (context(json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": "x" } })), ""),
        (
            merged(
                &good_in(&json!({ "seccompProfile": { "type": "Unconfined" } }), &["c"]),
                &json!({ "spec": { "securityContext": { "seccompProfile": { "type": "Unconfined" } } } }),
            ),
            "seccompProfile (pod and container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            context(
                json!({ "sysctls": [{ "name": "net.ipv4.tcp_syncookies", "value": "1" }, { "name": "net.ipv4.tcp_rmem", "value": "1" }] }),
            ),
            "",
        ),
        (
            context(json!({ "sysctls": [{ "name": "kernel.msgmax", "value": "1" }, { "name": "a.b", "value": "1" }] })),
            "forbidden sysctls (kernel.msgmax, a.b)",
        ),
        (context(json!({ "windowsOptions": { "hostProcess": false } })), ""),
        (
            merged(
                &good_in(&json!({ "windowsOptions": { "hostProcess": true } }), &["c"]),
                &json!({ "spec": { "securityContext": { "windowsOptions": { "hostProcess": true } } } }),
            ),
            "hostProcess (pod and container \"c\" must not set securityContext.windowsOptions.hostProcess=true)",
        ),
    ] {
        assert_eq!(told("baseline:latest", &pod), expected, "{pod}");
        assert_eq!(told("privileged:latest", &pod), "", "{pod}");
        // What is too much for baseline is so for restricted, in these words or in its own.
        assert!(expected.is_empty() || !told("restricted:latest", &pod).is_empty(), "{pod}");
    }
}

#[test]
fn each_check_of_restricted_has_its_words() {
    let volumes = |volumes: Value| good_with(&json!({ "volumes": volumes }));
    let context = |context: Value| good_with(&json!({ "securityContext": context }));
    for (pod, expected) in [
        (
            good_in(&json!({ "allowPrivilegeEscalation": true }), &["i", "c"]),
            "allowPrivilegeEscalation != false (containers \"i\", \"c\" must set securityContext.allowPrivilegeEscalation=false)",
        ),
        (good_in(&json!({ "capabilities": { "add": ["NET_BIND_SERVICE"] } }), &["c"]), ""),
        (
            good_in(&json!({ "capabilities": { "add": ["CHOWN"], "drop": ["NET_RAW"] } }), &["c"]),
            "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; \
             container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            volumes(json!([{ "name": "a", "emptyDir": {} }, { "name": "b", "csi": { "driver": "d" } }, { "name": "c", "ephemeral": {} },
                { "name": "d", "projected": {} }, { "name": "e", "image": { "reference": "i" } }])),
            "",
        ),
        (
            volumes(json!([{ "name": "v", "hostPath": { "path": "/" } }])),
            "restricted volume types (volume \"v\" uses restricted volume type \"hostPath\")",
        ),
        (
            volumes(json!([{ "name": "v", "nfs": { "server": "s", "path": "/" } }, { "name": "a", "hostPath": { "path": "/" } }])),
            "restricted volume types (volumes \"v\", \"a\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (
            context(json!({ "runAsNonRoot": null })),
            "runAsNonRoot != true (pod or containers \"i\", \"c\" must set securityContext.runAsNonRoot=true)",
        ),
        (
            merged(
                &good_in(&json!({ "runAsNonRoot": true }), &["c", "i"]),
                &json!({ "spec": { "securityContext": { "runAsNonRoot": false } } }),
            ),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (
            good_in(&json!({ "runAsNonRoot": false }), &["c"]),
            "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false)",
        ),
        (context(json!({ "runAsUser": 1000 })), ""),
        (
            merged(&good_in(&json!({ "runAsUser": 0 }), &["c"]), &json!({ "spec": { "securityContext": { "runAsUser": 0 } } })),
            "runAsUser=0 (pod and container \"c\" must not set runAsUser=0)",
        ),
        (
            merged(
                &good_in(&json!({ "seccompProfile": { "type": "Localhost" } }), &["c", "i"]),
                &json!({ "spec": { "securityContext": { "seccompProfile": null } } }),
            ),
            "",
        ),
        (
            context(json!({ "seccompProfile": null })),
            "seccompProfile (pod or containers \"i\", \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
        ),
        (
            context(json!({ "seccompProfile": { "type": "Unconfined" } })),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ] {
        assert_eq!(told("restricted:latest", &pod), expected, "{pod}");
    }
}

#[test]
fn checks_are_of_the_versions_that_have_them() {
    let context = |context: Value| good_with(&json!({ "securityContext": context }));
    let bare = good_in(&json!({ "allowPrivilegeEscalation": true, "capabilities": { "drop": null } }), &["c"]);
    let windows = merged(&bare, &json!({ "spec": { "os": { "name": "windows" }, "securityContext": { "seccompProfile": null } } }));
    let sysctl = |name: &str| context(json!({ "sysctls": [{ "name": name, "value": "1" }] }));
    let unconfined =
        |key: &str| merged(&context(json!({ "seccompProfile": null })), &json!({ "metadata": { "annotations": { key: "unconfined" } } }));
    let engine = context(json!({ "seLinuxOptions": { "type": "container_engine_t" } }));
    let added = good_in(&json!({ "capabilities": { "add": ["NET_RAW"] } }), &["c"]);
    for (pod, level, before, from) in [
        (&bare, "restricted", 7, 8),
        (&context(json!({ "runAsUser": 0 })), "restricted", 22, 23),
        (&context(json!({ "seccompProfile": null })), "restricted", 18, 19),
        // Annotations counted before the field did.
        (&unconfined("seccomp.security.alpha.kubernetes.io/pod"), "baseline", 19, 18),
        (&unconfined("container.seccomp.security.alpha.kubernetes.io/c"), "baseline", 19, 18),
        (&windows, "restricted", 25, 24),
        (&sysctl("net.ipv4.ip_local_reserved_ports"), "baseline", 27, 26),
        (&sysctl("net.ipv4.tcp_fin_timeout"), "baseline", 29, 28),
        (&sysctl("net.ipv4.tcp_wmem"), "baseline", 32, 31),
        (&engine, "baseline", 31, 30),
    ] {
        assert_eq!(told(&format!("{level}:v1.{before}"), pod), "", "v1.{before} {pod}");
        assert_ne!(told(&format!("{level}:v1.{from}"), pod), "", "v1.{from} {pod}");
    }
    // Until restricted has a check of its own, that of baseline complains.
    assert!(told("restricted:v1.21", &added).starts_with("non-default capabilities ("));
    assert!(told("restricted:v1.22", &added).starts_with("unrestricted capabilities ("));
    assert!(
        told("restricted:v1.18", &unconfined("seccomp.security.alpha.kubernetes.io/pod"))
            .starts_with("seccompProfile (forbidden annotation ")
    );
}

#[test]
fn containers_that_are_added_to_a_running_pod_are_looked_at_too() {
    let mut pod = good_with(&json!({}));
    let old = Subject::read(&pod);
    pod["spec"]["ephemeralContainers"] = json!([{ "name": "e", "image": "i", "securityContext": { "privileged": true } }]);
    let found = violations(
        Policy::of(&json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "baseline" } } })).0.enforce,
        &Subject::read(&pod),
    );
    assert_eq!(reasons(&found), "privileged");
    assert!(Subject::read(&pod).differs_from(&old));
}

#[test]
fn a_change_of_labels_is_no_reason_to_judge_again() {
    let old = good_with(&json!({}));
    for (change, expected) in [
        (json!({ "metadata": { "labels": { "a": "b" } } }), false),
        (json!({ "spec": { "activeDeadlineSeconds": 5 } }), false),
        (json!({ "metadata": { "annotations": { "seccomp.security.alpha.kubernetes.io/pod": "unconfined" } } }), true),
        (json!({ "metadata": { "annotations": { "container.seccomp.security.alpha.kubernetes.io/c": "unconfined" } } }), true),
        (json!({ "spec": { "containers": [{ "name": "c", "image": "other" }] } }), true),
    ] {
        assert_eq!(Subject::read(&merged(&old, &change)).differs_from(&Subject::read(&old)), expected, "{change}");
    }
}
