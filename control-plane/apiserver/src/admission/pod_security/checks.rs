//! Which checks a standard consists of: each has a level, and one form for the versions from one on. Pure.

use super::policy::{Level, Standard};
use super::subject::{Subject, Violation};
use super::{baseline, restricted};

type Form = fn(&Subject, u32) -> Option<Violation>;

struct Check {
    level: Level,
    /// The minor version from which each form holds, ascending.
    forms: &'static [(u32, Form)],
    /// Minor version from which `restricted` has a check of its own in its place.
    replaced_from: Option<u32>,
}

/// In the order in which they complain: by level, then by name.
const CHECKS: &[Check] = &[
    baseline(&[(0, baseline::app_armor)]),
    Check { level: Level::Baseline, forms: &[(0, baseline::capabilities)], replaced_from: Some(22) },
    baseline(&[(0, baseline::host_namespaces)]),
    Check { level: Level::Baseline, forms: &[(0, baseline::host_path_volumes)], replaced_from: Some(0) },
    baseline(&[(0, baseline::host_ports)]),
    baseline(&[(0, baseline::privileged)]),
    baseline(&[(0, baseline::proc_mount)]),
    baseline(&[(0, baseline::selinux_options)]),
    Check {
        level: Level::Baseline,
        forms: &[(0, baseline::seccomp_annotations), (19, baseline::seccomp_profile)],
        replaced_from: Some(19),
    },
    baseline(&[(0, baseline::sysctls)]),
    baseline(&[(0, baseline::windows_host_process)]),
    restricted(&[
        (8, restricted::allow_privilege_escalation),
        (25, |subject, minor| restricted::unless_for_windows(restricted::allow_privilege_escalation, subject, minor)),
    ]),
    restricted(&[
        (22, restricted::capabilities),
        (25, |subject, minor| restricted::unless_for_windows(restricted::capabilities, subject, minor)),
    ]),
    restricted(&[(0, restricted::volumes)]),
    restricted(&[(0, restricted::run_as_non_root)]),
    restricted(&[(23, restricted::run_as_user)]),
    restricted(&[
        (19, restricted::seccomp_profile),
        (25, |subject, minor| restricted::unless_for_windows(restricted::seccomp_profile, subject, minor)),
    ]),
];

const fn baseline(forms: &'static [(u32, Form)]) -> Check {
    Check { level: Level::Baseline, forms, replaced_from: None }
}

const fn restricted(forms: &'static [(u32, Form)]) -> Check {
    Check { level: Level::Restricted, forms, replaced_from: None }
}

/// Why the pod is not within the standard; empty if it is.
pub fn violations(standard: Standard, subject: &Subject) -> Vec<Violation> {
    let minor = standard.version.minor();
    let applies = |check: &&Check| {
        let is_replaced = standard.level == Level::Restricted && check.replaced_from.is_some_and(|from| from <= minor);
        check.level <= standard.level && !is_replaced
    };
    let newest = |check: &Check| check.forms.iter().rev().find(|(from, _)| *from <= minor).map(|(_, form)| *form);
    CHECKS.iter().filter(applies).filter_map(newest).filter_map(|form| form(subject, minor)).collect()
}

/// `privileged, runAsUser=0`
pub fn reasons(violations: &[Violation]) -> String {
    let reasons: Vec<&str> = violations.iter().map(|violation| violation.reason.as_str()).collect();
    reasons.join(", ")
}

/// `privileged (container "a" must not set securityContext.privileged=true), runAsUser=0 (pod must not set runAsUser=0)`
pub fn details(violations: &[Violation]) -> String {
    let shown: Vec<String> = violations.iter().map(|violation| format!("{} ({})", violation.reason, violation.detail)).collect();
    shown.join(", ")
}
