//! The rules for probes and lifecycle hooks.

use crate::field::{Errors, Path};
use crate::names;
use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What a probe is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Liveness,
    Readiness,
    Startup,
}

pub fn probe(probe: &Probe, purpose: Purpose, at: &Path<'_>, errors: &mut Errors) {
    let mut handlers = actions(probe.exec.as_ref(), probe.http_get.as_ref(), probe.tcp_socket.as_ref(), at, errors);
    if let Some(grpc) = &probe.grpc {
        handlers += 1;
        port_number(grpc.port, &at.field("grpc").field("port"), errors);
    }
    exactly_one(handlers, at, errors);
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        errors.non_negative(&at.field(name), value.unwrap_or_default());
    }
    if purpose != Purpose::Readiness && probe.success_threshold != Some(1) {
        errors.invalid(&at.field("successThreshold"), probe.success_threshold.unwrap_or_default(), "must be 1");
    }
    if let Some(seconds) = probe.termination_grace_period_seconds {
        let at = at.field("terminationGracePeriodSeconds");
        if purpose == Purpose::Readiness {
            errors.invalid(&at, seconds, "must not be set for readinessProbes");
        } else if seconds <= 0 {
            errors.invalid(&at, seconds, "must be greater than 0");
        }
    }
}

pub fn hook(hook: &LifecycleHandler, grace_seconds: i64, at: &Path<'_>, errors: &mut Errors) {
    let mut handlers = actions(hook.exec.as_ref(), hook.http_get.as_ref(), hook.tcp_socket.as_ref(), at, errors);
    if let Some(sleep) = &hook.sleep {
        handlers += 1;
        if sleep.seconds < 0 || sleep.seconds > grace_seconds {
            let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})");
            errors.invalid(&at.field("sleep"), sleep.seconds, detail);
        }
    }
    exactly_one(handlers, at, errors);
}

fn exactly_one(handlers: usize, at: &Path<'_>, errors: &mut Errors) {
    match handlers {
        0 => errors.required(at, "must specify a handler type"),
        1 => {}
        _ => errors.forbidden(at, "may not specify more than 1 handler type"),
    }
}

/// Checks those that are there; returns how many.
fn actions(
    exec: Option<&ExecAction>,
    http: Option<&HTTPGetAction>,
    tcp: Option<&TCPSocketAction>,
    at: &Path<'_>,
    errors: &mut Errors,
) -> usize {
    if let Some(exec) = exec
        && exec.command.as_ref().is_none_or(Vec::is_empty)
    {
        errors.required(&at.field("exec").field("command"), "");
    }
    if let Some(http) = http {
        let at = at.field("httpGet");
        if http.path.as_deref().unwrap_or_default().is_empty() {
            errors.required(&at.field("path"), "");
        }
        port(&http.port, &at.field("port"), errors);
        errors.one_of(&at.field("scheme"), http.scheme.as_deref(), &["HTTP", "HTTPS"]);
        for header in http.http_headers.iter().flatten() {
            errors.format(&at.field("httpHeaders"), &header.name, names::http_header(&header.name));
        }
    }
    if let Some(tcp) = tcp {
        port(&tcp.port, &at.field("tcpSocket").field("port"), errors);
    }
    [exec.is_some(), http.is_some(), tcp.is_some()].into_iter().filter(|set| *set).count()
}

/// A port by number or by the name that a container gives it.
pub fn port(port: &IntOrString, at: &Path<'_>, errors: &mut Errors) {
    match port {
        IntOrString::Int(number) => port_number(*number, at, errors),
        IntOrString::String(name) => errors.format(at, name, names::port_name(name)),
    }
}

fn port_number(number: i32, at: &Path<'_>, errors: &mut Errors) {
    if let Some(detail) = names::port_number(number) {
        errors.invalid(at, number, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::complaints;
    use serde_json::{Value, json};

    fn with(field: &str, value: Value) -> Vec<String> {
        let prefix = format!("spec.containers[0].{field}");
        let found = complaints(json!({"containers": [{"name": "a", "image": "x", field: value}]}));
        found.iter().map(|f| f.strip_prefix(&prefix).unwrap_or(f).to_owned()).collect()
    }

    #[test]
    fn probes_have_one_handler_and_sane_numbers() {
        for (field, probe, expected) in [
            ("livenessProbe", json!({"httpGet": {"port": "http"}}), None),
            ("readinessProbe", json!({"tcpSocket": {"port": 80}, "successThreshold": 3}), None),
            ("startupProbe", json!({"grpc": {"port": 80}}), None),
            ("livenessProbe", json!({}), Some(": Required value: must specify a handler type")),
            (
                "livenessProbe",
                json!({"exec": {"command": ["a"]}, "grpc": {"port": 1}}),
                Some(": Forbidden: may not specify more than 1 handler type"),
            ),
            ("livenessProbe", json!({"exec": {}}), Some(".exec.command: Required value")),
            (
                "livenessProbe",
                json!({"httpGet": {"port": 0}}),
                Some(".httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
            ),
            (
                "livenessProbe",
                json!({"tcpSocket": {"port": 1}, "successThreshold": 2}),
                Some(".successThreshold: Invalid value: 2: must be 1"),
            ),
            (
                "readinessProbe",
                json!({"tcpSocket": {"port": 1}, "periodSeconds": -1}),
                Some(".periodSeconds: Invalid value: -1: must be greater"),
            ),
            (
                "readinessProbe",
                json!({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1}),
                Some(".terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes"),
            ),
            ("lifecycle", json!({"preStop": {"sleep": {"seconds": 5}}}), None),
            (
                "lifecycle",
                json!({"preStop": {"sleep": {"seconds": 50}}}),
                Some(".preStop.sleep: Invalid value: 50: must be non-negative and less than"),
            ),
            ("lifecycle", json!({"postStart": {}}), Some(".postStart: Required value: must specify a handler type")),
        ] {
            let found = with(field, probe);
            assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
            assert!(expected.is_none_or(|e| found[0].starts_with(e)), "{found:?}");
        }
    }
}
