//! Security contexts of pods and containers as CRI values. The container's setting wins over the pod's. Pure.

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext};

use crate::cri::proto::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, SeLinuxOption,
    SecurityProfile, SupplementalGroupsPolicy, security_profile::ProfileType,
};

/// Parts of /proc and /sys that a container does not see.
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];
/// Parts of /proc that a container only reads.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The sandbox's context.
pub fn of_sandbox(pod: &Pod) -> LinuxSandboxSecurityContext {
    let spec = pod.spec.clone().unwrap_or_default();
    let context = spec.security_context.clone().unwrap_or_default();
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(&spec, None)),
        run_as_user: context.run_as_user.map(int),
        run_as_group: context.run_as_user.and(context.run_as_group).map(int),
        selinux_options: selinux(None, Some(&context)),
        supplemental_groups: groups(&context),
        supplemental_groups_policy: groups_policy(&context),
        // containerd opens the sandbox's devices and /sys only for a privileged sandbox.
        privileged: spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(is_privileged),
        seccomp: Some(seccomp(None, Some(&context))),
        ..Default::default()
    }
}

/// A container's context. `target` is the id of the container whose processes an ephemeral container wants to see.
pub fn of_container(pod: &Pod, container: &Container, target: Option<String>) -> LinuxContainerSecurityContext {
    let spec = pod.spec.clone().unwrap_or_default();
    let pod_context = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| if unmasked { Vec::new() } else { list.iter().map(|p| (*p).to_owned()).collect() };
    let user = user(pod, container);
    LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(|c| Capability {
            add_capabilities: c.add.clone().unwrap_or_default(),
            drop_capabilities: c.drop.clone().unwrap_or_default(),
            ..Default::default()
        }),
        privileged,
        namespace_options: Some(namespaces(&spec, target)),
        run_as_user: user.map(int),
        // CRI refuses a group without a user; user 0 is what the image would have, unless it says otherwise.
        run_as_group: own.run_as_group.or(pod_context.run_as_group).filter(|_| user.is_some()).map(int),
        selinux_options: selinux(Some(&own), Some(&pod_context)),
        apparmor: if privileged { None } else { apparmor(Some(&own), Some(&pod_context)) },
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups(&pod_context),
        supplemental_groups_policy: groups_policy(&pod_context),
        no_new_privs: own.allow_privilege_escalation == Some(false) && !privileged,
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(if privileged { profile(ProfileType::Unconfined) } else { seccomp(Some(&own), Some(&pod_context)) }),
        ..Default::default()
    }
}

/// The user id a container is asked to run as, if any.
pub fn user(pod: &Pod, container: &Container) -> Option<i64> {
    let own = container.security_context.as_ref().and_then(|c| c.run_as_user);
    own.or_else(|| pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|c| c.run_as_user))
}

/// Checks `runAsNonRoot` against the user the container will run as.
///
/// # Errors
/// A message for users, when the container would run as root or the image names its user without a number.
pub fn check_non_root(pod: &Pod, container: &Container, image_uid: Option<i64>, image_user: &str) -> Result<(), String> {
    let own = container.security_context.as_ref().and_then(|c| c.run_as_non_root);
    let demanded = own.or_else(|| pod.spec.as_ref().and_then(|s| s.security_context.as_ref()).and_then(|c| c.run_as_non_root));
    if demanded != Some(true) {
        return Ok(());
    }
    match user(pod, container) {
        Some(0) => Err("container's runAsUser breaks non-root policy".to_owned()),
        Some(_) => Ok(()),
        None => match image_uid {
            Some(0) => Err("container has runAsNonRoot and image will run as root".to_owned()),
            None if !image_user.is_empty() => {
                Err(format!("container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root"))
            }
            None => Err("container has runAsNonRoot and image will run as root".to_owned()),
            Some(_) => Ok(()),
        },
    }
}

/// True for `privileged: true`.
pub fn is_privileged(container: &Container) -> bool {
    container.security_context.as_ref().and_then(|c| c.privileged).unwrap_or(false)
}

/// Which namespaces a pod's containers share, and with whom.
pub fn namespaces(spec: &PodSpec, target: Option<String>) -> NamespaceOption {
    let mode = |host: Option<bool>, otherwise: NamespaceMode| if host == Some(true) { NamespaceMode::Node } else { otherwise };
    let own_pid = if spec.share_process_namespace == Some(true) { NamespaceMode::Pod } else { NamespaceMode::Container };
    let pid = if target.is_some() { NamespaceMode::Target } else { mode(spec.host_pid, own_pid) };
    NamespaceOption {
        network: mode(spec.host_network, NamespaceMode::Pod) as i32,
        pid: pid as i32,
        ipc: mode(spec.host_ipc, NamespaceMode::Pod) as i32,
        target_id: target.unwrap_or_default(),
        userns_options: None,
    }
}

fn seccomp(own: Option<&SecurityContext>, pod: Option<&PodSecurityContext>) -> SecurityProfile {
    let chosen: Option<&SeccompProfile> =
        own.and_then(|c| c.seccomp_profile.as_ref()).or_else(|| pod.and_then(|c| c.seccomp_profile.as_ref()));
    match chosen.map(|p| (p.type_.as_str(), p)) {
        Some(("RuntimeDefault", _)) => profile(ProfileType::RuntimeDefault),
        Some(("Localhost", p)) => {
            SecurityProfile { profile_type: ProfileType::Localhost as i32, localhost_ref: p.localhost_profile.clone().unwrap_or_default() }
        }
        _ => profile(ProfileType::Unconfined),
    }
}

fn selinux(own: Option<&SecurityContext>, pod: Option<&PodSecurityContext>) -> Option<SeLinuxOption> {
    let own = own.and_then(|c| c.se_linux_options.as_ref());
    own.or_else(|| pod.and_then(|c| c.se_linux_options.as_ref())).cloned().map(|options| SeLinuxOption {
        user: options.user.unwrap_or_default(),
        role: options.role.unwrap_or_default(),
        r#type: options.type_.unwrap_or_default(),
        level: options.level.unwrap_or_default(),
    })
}

/// None leaves it to the runtime, which takes its default profile where the host has AppArmor.
fn apparmor(own: Option<&SecurityContext>, pod: Option<&PodSecurityContext>) -> Option<SecurityProfile> {
    let own = own.and_then(|c| c.app_armor_profile.as_ref());
    let chosen = own.or_else(|| pod.and_then(|c| c.app_armor_profile.as_ref()))?;
    Some(match chosen.type_.as_str() {
        "Localhost" => SecurityProfile {
            profile_type: ProfileType::Localhost as i32,
            localhost_ref: chosen.localhost_profile.clone().unwrap_or_default(),
        },
        "Unconfined" => profile(ProfileType::Unconfined),
        _ => profile(ProfileType::RuntimeDefault),
    })
}

fn profile(profile_type: ProfileType) -> SecurityProfile {
    SecurityProfile { profile_type: profile_type as i32, localhost_ref: String::new() }
}

fn groups(context: &PodSecurityContext) -> Vec<i64> {
    context.supplemental_groups.iter().flatten().copied().chain(context.fs_group).collect()
}

fn groups_policy(context: &PodSecurityContext) -> i32 {
    match context.supplemental_groups_policy.as_deref() {
        Some("Strict") => SupplementalGroupsPolicy::Strict as i32,
        _ => SupplementalGroupsPolicy::Merge as i32,
    }
}

fn int(value: i64) -> Int64Value {
    Int64Value { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({"spec": spec})).unwrap()
    }

    #[test]
    fn a_containers_setting_wins_over_the_pods() {
        let pod = pod(serde_json::json!({
            "securityContext": {"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4], "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a"}, {"name": "b", "securityContext": {"runAsUser": 9, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true}}]
        }));
        let containers = &pod.spec.as_ref().unwrap().containers;
        let a = of_container(&pod, &containers[0], None);
        let b = of_container(&pod, &containers[1], None);
        assert_eq!(a.run_as_user, Some(int(1)));
        assert_eq!(b.run_as_user, Some(int(9)));
        assert_eq!(b.run_as_group, Some(int(2)));
        assert_eq!(a.supplemental_groups, [4, 3]);
        assert_eq!(a.seccomp.unwrap().profile_type, ProfileType::RuntimeDefault as i32);
        assert!(b.no_new_privs && b.readonly_rootfs && !a.no_new_privs);
        assert!(a.masked_paths.contains(&"/proc/kcore".to_owned()));
    }

    #[test]
    fn profiles_of_the_hosts_security_modules_are_passed_on() {
        let pod = pod(serde_json::json!({
            "securityContext": {"seLinuxOptions": {"level": "s0:c1"}, "appArmorProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a"}, {"name": "b", "securityContext": {"seLinuxOptions": {"type": "t"}, "appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}}}]
        }));
        let [a, b] = [0, 1].map(|n| of_container(&pod, &pod.spec.as_ref().unwrap().containers[n], None));
        assert_eq!((a.selinux_options.unwrap().level, b.selinux_options.unwrap().r#type), ("s0:c1".to_owned(), "t".to_owned()));
        assert_eq!(a.apparmor.unwrap().profile_type, ProfileType::RuntimeDefault as i32);
        assert_eq!(b.apparmor.unwrap().localhost_ref, "p");
    }

    #[test]
    fn a_privileged_container_sees_everything() {
        let pod = pod(serde_json::json!({"containers": [{"name": "a", "securityContext": {"privileged": true}}]}));
        let made = of_container(&pod, &pod.spec.as_ref().unwrap().containers[0], None);
        assert!(made.privileged && made.masked_paths.is_empty());
        assert!(of_sandbox(&pod).privileged);
    }

    #[test]
    fn run_as_non_root_is_checked_against_the_effective_user() {
        for (context, image_uid, image_user, ok) in [
            (serde_json::json!({}), Some(0), "", true),
            (serde_json::json!({"runAsNonRoot": true}), Some(0), "", false),
            (serde_json::json!({"runAsNonRoot": true}), Some(5), "", true),
            (serde_json::json!({"runAsNonRoot": true}), None, "web", false),
            (serde_json::json!({"runAsNonRoot": true, "runAsUser": 7}), Some(0), "", true),
            (serde_json::json!({"runAsNonRoot": true, "runAsUser": 0}), Some(5), "", false),
        ] {
            let pod = pod(serde_json::json!({"containers": [{"name": "a", "securityContext": context}]}));
            let container = &pod.spec.as_ref().unwrap().containers[0];
            assert_eq!(check_non_root(&pod, container, image_uid, image_user).is_ok(), ok, "{context}");
        }
    }
}
