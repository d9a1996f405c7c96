//! The rules for security contexts.

use crate::field::{Errors, Path};
use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext};

const MAX_ID: i64 = i32::MAX as i64;

pub fn pod(spec: &PodSpec, at: &Path<'_>, errors: &mut Errors) {
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        errors.invalid(&at.field("shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled");
    }
    let Some(context) = &spec.security_context else { return };
    let at = at.field("securityContext");
    for (name, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group), ("fsGroup", context.fs_group)] {
        self::id(id, &at.field(name), errors);
    }
    for (i, group) in context.supplemental_groups.iter().flatten().enumerate() {
        id(Some(*group), &at.field("supplementalGroups").index(i), errors);
    }
    errors.one_of_if_set(&at.field("fsGroupChangePolicy"), context.fs_group_change_policy.as_deref(), &["Always", "OnRootMismatch"]);
    seccomp(context.seccomp_profile.as_ref(), &at.field("seccompProfile"), errors);
    for (i, sysctl) in context.sysctls.iter().flatten().enumerate() {
        let at = at.field("sysctls");
        let at = at.index(i);
        if sysctl.name.is_empty() {
            errors.required(&at.field("name"), "");
        } else if !sysctl.name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_' | b'/')) {
            let form = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(&at.field("name"), sysctl.name.as_str(), format!("must have at most 253 characters and match regex {form}"));
        }
    }
}

pub fn container(context: &SecurityContext, at: &Path<'_>, errors: &mut Errors) {
    for (name, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        self::id(id, &at.field(name), errors);
    }
    errors.one_of_if_set(&at.field("procMount"), context.proc_mount.as_deref(), &["Default", "Unmasked"]);
    seccomp(context.seccomp_profile.as_ref(), &at.field("seccompProfile"), errors);
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            errors.invalid(at, "", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        let added = context.capabilities.iter().flat_map(|c| c.add.iter().flatten());
        if added.into_iter().any(|c| c == "CAP_SYS_ADMIN" || c == "SYS_ADMIN") {
            errors.invalid(at, "", "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
}

fn id(id: Option<i64>, at: &Path<'_>, errors: &mut Errors) {
    if let Some(id) = id
        && !(0..=MAX_ID).contains(&id)
    {
        errors.invalid(at, id, format!("must be between 0 and {MAX_ID}, inclusive"));
    }
}

fn seccomp(profile: Option<&SeccompProfile>, at: &Path<'_>, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    errors.one_of(&at.field("type"), Some(&profile.type_), &["Localhost", "RuntimeDefault", "Unconfined"]);
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => errors.required(&at.field("localhostProfile"), "must be set when seccomp type is Localhost"),
        ("Localhost", Some(path)) => super::container::local_path(path, &at.field("localhostProfile"), errors),
        (_, Some(path)) => errors.invalid(&at.field("localhostProfile"), path, "can only be set when seccomp type is Localhost"),
        (_, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::json;

    #[test]
    fn contexts_do_not_contradict_themselves() {
        let container = |context| json!({"containers": [{"name": "a", "image": "x", "securityContext": context}]});
        for (spec, expected) in [
            (json!({"securityContext": {"runAsUser": 0, "fsGroup": 5, "seccompProfile": {"type": "RuntimeDefault"}}}), None),
            (
                json!({"securityContext": {"runAsUser": -1}}),
                Some("spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647"),
            ),
            (
                json!({"hostPID": true, "shareProcessNamespace": true}),
                Some("spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and"),
            ),
            (
                container(json!({"privileged": true, "allowPrivilegeEscalation": false})),
                Some("spec.containers[0].securityContext: Invalid value: \"\": cannot set"),
            ),
            (
                container(json!({"seccompProfile": {"type": "Localhost"}})),
                Some("spec.containers[0].securityContext.seccompProfile.localhostProfile: Required"),
            ),
        ] {
            let found = complaints(spec);
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }
}
