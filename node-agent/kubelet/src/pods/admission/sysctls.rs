//! Which kernel settings a pod may ask for (`spec.securityContext.sysctls`): those that touch nobody but the pod, and those that the node's
//! operator allows. Pure. The list and the words are those of Kubernetes 1.33 ("Using sysctls in a Kubernetes Cluster").

use k8s_openapi::api::core::v1::Pod;

use crate::status::reason::Waiting;

/// Settings of the pod's own namespaces that cannot harm others.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Why the pod may not run with what it asks for; none when it may. `unsafe_allowed` are names, or beginnings that end in `*`.
pub fn refusal(pod: &Pod, unsafe_allowed: &[String]) -> Option<Waiting> {
    let spec = pod.spec.as_ref()?;
    let asked = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    let why = asked.map(|sysctl| sysctl.name.replace('/', ".")).find_map(|name| {
        let of_host = |prefix: &str, host: Option<bool>| name.starts_with(prefix) && host.unwrap_or(false);
        let is_allowed = SAFE.contains(&name.as_str()) || unsafe_allowed.iter().any(|pattern| matches(pattern, &name));
        if of_host("net.", spec.host_network) {
            Some(format!("\"{name}\" not allowed with host net enabled"))
        } else if of_host("kernel.shm", spec.host_ipc) || of_host("kernel.msg", spec.host_ipc) || of_host("fs.mqueue.", spec.host_ipc) {
            Some(format!("\"{name}\" not allowed with host ipc enabled"))
        } else {
            (!is_allowed).then(|| format!("\"{name}\" not allowlisted"))
        }
    })?;
    Some(Waiting::new("SysctlForbidden", format!("forbidden sysctl: {why}")))
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_touches_nobody_else_or_was_allowed_is_set() {
        let told = |name: &str, more: serde_json::Value, allowed: &[&str]| {
            let mut spec = json!({"containers": [], "securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
            refusal(&pod, &allowed).map(|why| format!("{}: {}", why.reason, why.message))
        };
        let none = || json!({});
        assert_eq!(told("net.ipv4.tcp_syncookies", none(), &[]), None);
        assert_eq!(told("net/ipv4/tcp_syncookies", none(), &[]), None);
        let refused = told("kernel.msgmax", none(), &[]);
        assert_eq!(refused.as_deref(), Some("SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted"));
        assert_eq!(told("kernel.msgmax", none(), &["kernel.msg*"]), None);
        assert!(told("kernel.msgmax", none(), &["kernel.msg"]).is_some());
        let on_host = told("net.ipv4.tcp_syncookies", json!({"hostNetwork": true}), &[]);
        assert_eq!(
            on_host.as_deref(),
            Some("SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled")
        );
        assert!(told("kernel.shm_rmid_forced", json!({"hostIPC": true}), &[]).unwrap().contains("host ipc"));
    }
}
