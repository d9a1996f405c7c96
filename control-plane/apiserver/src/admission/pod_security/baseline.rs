//! The checks of the level `baseline`: nothing that is known to give power over the node (`pod-security-admission/policy/check_*.go` of Kubernetes
//! 1.33). Each tells of the first version that it is of.

use super::subject::{SECCOMP, SECCOMP_OF_POD, Setters, Subject, Violation, containers, plural, quoted};
use k8s_openapi::api::core::v1::{AppArmorProfile, SELinuxOptions, SeccompProfile};
use std::collections::BTreeSet;

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// With the version that each is allowed from.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];
const SELINUX_TYPES: [(&str, u32); 5] =
    [("", 0), ("container_t", 0), ("container_init_t", 0), ("container_kvm_t", 0), ("container_engine_t", 31)];

pub fn app_armor(subject: &Subject, _: u32) -> Option<Violation> {
    let bad = |profile: Option<&AppArmorProfile>| profile.map(|p| p.type_.clone()).filter(|kind| !is_known_profile(kind));
    let mut setters = Setters::default();
    note(&mut setters, bad(subject.context().and_then(|context| context.app_armor_profile.as_ref())), None);
    for container in subject.containers() {
        note(&mut setters, bad(container.context.and_then(|context| context.app_armor_profile.as_ref())), Some(container.name));
    }
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations = subject.annotations().filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value));
    let annotations: Vec<String> = annotations.map(|(key, value)| format!("{key}={value:?}")).collect();
    if setters.is_nobody() && annotations.is_empty() {
        return None;
    }
    let word = (!annotations.is_empty()).then(|| plural("annotation", "annotations", annotations.len()).to_owned());
    let values: Vec<&String> = setters.values.iter().chain(&annotations).collect();
    Some(Violation::new(
        plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len()),
        format!("{} must not set AppArmor profile type to {}", setters.shown_with(word), quoted(&values)),
    ))
}

pub fn capabilities(subject: &Subject, _: u32) -> Option<Violation> {
    let (bad, added) = adders(subject, &|capability| CAPABILITIES.contains(&capability));
    (!bad.is_empty()).then(|| {
        let detail = format!("{} must not include {} in securityContext.capabilities.add", containers(&bad), quoted(&added));
        Violation::new("non-default capabilities", detail)
    })
}

/// The containers that add capabilities other than the allowed ones, and these.
pub fn adders<'a>(subject: &'a Subject, allowed: &dyn Fn(&str) -> bool) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let (mut bad, mut added) = (Vec::new(), BTreeSet::new());
    for container in subject.containers() {
        let all = container.context.and_then(|context| context.capabilities.as_ref()?.add.as_ref());
        let forbidden: Vec<&str> = all.into_iter().flatten().map(String::as_str).filter(|capability| !allowed(capability)).collect();
        if !forbidden.is_empty() {
            bad.push(container.name);
            added.extend(forbidden);
        }
    }
    (bad, added)
}

pub fn host_namespaces(subject: &Subject, _: u32) -> Option<Violation> {
    let spec = &subject.spec;
    let shared = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    let shared: Vec<String> =
        shared.into_iter().filter(|(_, shared)| *shared == Some(true)).map(|(name, _)| format!("{name}=true")).collect();
    (!shared.is_empty()).then(|| Violation::new("host namespaces", shared.join(", ")))
}

pub fn host_path_volumes(subject: &Subject, _: u32) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<&String> = volumes.map(|volume| &volume.name).collect();
    let word = plural("volume", "volumes", names.len());
    (!names.is_empty()).then(|| Violation::new("hostPath volumes", format!("{word} {}", quoted(&names))))
}

pub fn host_ports(subject: &Subject, _: u32) -> Option<Violation> {
    let (mut bad, mut ports) = (Vec::new(), BTreeSet::new());
    for container in subject.containers() {
        let own: Vec<String> =
            container.ports.iter().filter_map(|port| port.host_port).filter(|port| *port != 0).map(|port| port.to_string()).collect();
        if !own.is_empty() {
            bad.push(container.name);
            ports.extend(own);
        }
    }
    (!bad.is_empty()).then(|| {
        let (verb, word) = (plural("uses", "use", bad.len()), plural("hostPort", "hostPorts", ports.len()));
        Violation::new("hostPort", format!("{} {verb} {word} {}", containers(&bad), Vec::from_iter(ports).join(", ")))
    })
}

pub fn privileged(subject: &Subject, _: u32) -> Option<Violation> {
    let bad = subject.containers().filter(|container| container.context.and_then(|context| context.privileged) == Some(true));
    let bad: Vec<&str> = bad.map(|container| container.name).collect();
    (!bad.is_empty()).then(|| Violation::new("privileged", format!("{} must not set securityContext.privileged=true", containers(&bad))))
}

pub fn proc_mount(subject: &Subject, _: u32) -> Option<Violation> {
    let mut setters = Setters::default();
    for container in subject.containers() {
        let kind = container.context.and_then(|context| context.proc_mount.clone());
        note(&mut setters, kind.filter(|kind| kind != "Default"), Some(container.name));
    }
    (!setters.is_nobody()).then(|| {
        Violation::new("procMount", format!("{} must not set securityContext.procMount to {}", setters.shown(), quoted(&setters.values)))
    })
}

pub fn selinux_options(subject: &Subject, minor: u32) -> Option<Violation> {
    let mut setters = Setters::default();
    let (mut user, mut role) = (false, false);
    // The type, if it is a bad one, and whether anything is.
    let mut look = |options: Option<&SELinuxOptions>| {
        let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let own_user = options.is_some_and(|options| is_set(&options.user));
        let own_role = options.is_some_and(|options| is_set(&options.role));
        user |= own_user;
        role |= own_role;
        let is_allowed = |kind: &String| SELINUX_TYPES.iter().any(|(allowed, from)| *allowed == kind && *from <= minor);
        let kind = options.and_then(|options| options.type_.clone()).filter(|kind| !is_allowed(kind));
        (kind.is_some() || own_user || own_role, kind)
    };
    let (is_bad, kind) = look(subject.context().and_then(|context| context.se_linux_options.as_ref()));
    setters.pod = is_bad;
    setters.values.extend(kind);
    for container in subject.containers() {
        let (is_bad, kind) = look(container.context.and_then(|context| context.se_linux_options.as_ref()));
        setters.containers.extend(is_bad.then_some(container.name));
        setters.values.extend(kind);
    }
    if setters.is_nobody() {
        return None;
    }
    let types =
        (!setters.values.is_empty()).then(|| format!("{} {}", plural("type", "types", setters.values.len()), quoted(&setters.values)));
    let what: Vec<String> = types
        .into_iter()
        .chain(user.then(|| "user may not be set".to_owned()))
        .chain(role.then(|| "role may not be set".to_owned()))
        .collect();
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.shown(), what.join("; "));
    Some(Violation::new("seLinuxOptions", detail))
}

/// Before 1.19: in annotations.
pub fn seccomp_annotations(subject: &Subject, _: u32) -> Option<Violation> {
    let allowed = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let names: BTreeSet<String> = subject.containers().map(|container| format!("{SECCOMP}{}", container.name)).collect();
    let bad = subject.annotations().filter(|(key, value)| (*key == SECCOMP_OF_POD || names.contains(*key)) && !allowed(value));
    let bad: Vec<String> = bad.map(|(key, value)| format!("{key}={value:?}")).collect();
    let word = plural("annotation", "annotations", bad.len());
    (!bad.is_empty()).then(|| Violation::new("seccompProfile", format!("forbidden {word} {}", bad.join(", "))))
}

pub fn seccomp_profile(subject: &Subject, _: u32) -> Option<Violation> {
    let setters = seccomp_setters(subject);
    (!setters.is_nobody()).then(|| seccomp_violation(&setters))
}

/// Who sets a profile that is none of the allowed.
pub fn seccomp_setters(subject: &Subject) -> Setters<'_> {
    let bad = |profile: Option<&SeccompProfile>| profile.map(|p| p.type_.clone()).filter(|kind| !is_known_profile(kind));
    let mut setters = Setters::default();
    note(&mut setters, bad(subject.context().and_then(|context| context.seccomp_profile.as_ref())), None);
    for container in subject.containers() {
        note(&mut setters, bad(container.context.and_then(|context| context.seccomp_profile.as_ref())), Some(container.name));
    }
    setters
}

pub fn seccomp_violation(setters: &Setters<'_>) -> Violation {
    let detail = format!("{} must not set securityContext.seccompProfile.type to {}", setters.shown(), quoted(&setters.values));
    Violation::new("seccompProfile", detail)
}

pub fn sysctls(subject: &Subject, minor: u32) -> Option<Violation> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(allowed, from)| *allowed == name && *from <= minor);
    let set = subject.context().into_iter().flat_map(|context| context.sysctls.iter().flatten());
    let bad: Vec<&str> = set.map(|sysctl| sysctl.name.as_str()).filter(|name| !allowed(name)).collect();
    (!bad.is_empty()).then(|| Violation::new("forbidden sysctls", bad.join(", ")))
}

pub fn windows_host_process(subject: &Subject, _: u32) -> Option<Violation> {
    let pod = subject.context().and_then(|context| context.windows_options.as_ref()?.host_process);
    let is_bad = |host_process: Option<bool>| host_process == Some(true);
    let bad = subject.containers().filter(|c| is_bad(c.context.and_then(|context| context.windows_options.as_ref()?.host_process)));
    let setters = Setters { pod: is_bad(pod), containers: bad.map(|container| container.name).collect(), ..Setters::default() };
    (!setters.is_nobody())
        .then(|| Violation::new("hostProcess", format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.shown())))
}

fn is_known_profile(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

/// Notes who sets a bad value, if there is one; `None`: the pod.
fn note<'a>(setters: &mut Setters<'a>, value: Option<String>, container: Option<&'a str>) {
    let Some(value) = value else { return };
    match container {
        Some(name) => setters.containers.push(name),
        None => setters.pod = true,
    }
    setters.values.insert(value);
}
