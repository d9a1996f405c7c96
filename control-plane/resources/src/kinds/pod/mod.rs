//! Pod: containers that live and die together on one node.
//!
//! Before: `{"spec": {"containers": [{"name": "a", "image": "busybox:1"}]}}`. After: `restartPolicy: Always`, `dnsPolicy: ClusterFirst`,
//! `terminationGracePeriodSeconds: 30`, `imagePullPolicy: IfNotPresent`, …, `status: {phase: Pending, qosClass: BestEffort}`.
//!
//! `default` and `validate` also serve the templates of the kinds that make pods. Admission (service account, default tolerations) is the server's.

pub mod default;
mod qos;
mod resize;
mod table;
mod update;
pub mod validate;
pub mod warnings;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use serde::Deserialize;
use serde_json::{Value, json};

pub use qos::qos_class;

pub struct Pod;

impl Kind for Pod {
    type Object = v1::Pod;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["po"],
        categories: &["all"],
        subresources: &["attach", "binding", "ephemeralcontainers", "eviction", "exec", "log", "portforward", "proxy", "resize", "status"],
        has_generation: true,
        ..namespaced::<v1::Pod>("pods", "pod")
    };
    const RESET_BY_STATUS: &'static [&'static str] = &["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"];
    const COLUMNS: &'static [Column] = table::COLUMNS;

    fn default(object: &mut v1::Pod) {
        if let Some(spec) = &mut object.spec {
            default::spec(spec);
            default::pod(spec);
        }
    }

    fn prepare_create(object: &mut Value) {
        let spec = json::get(object, &["spec"]).and_then(|s| v1::PodSpec::deserialize(s).ok()).unwrap_or_default();
        let mut status = json!({"phase": "Pending", "qosClass": qos_class(&spec)});
        if spec.scheduling_gates.is_some_and(|gates| !gates.is_empty()) {
            status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates"}]);
        }
        json::put(object, &["status"], status);
    }

    fn prepare_update(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        update::prepare(new, old, subresource);
    }

    fn validate(object: &v1::Pod, errors: &mut Errors) {
        let at = Path::Root.field("spec");
        match &object.spec {
            Some(spec) => validate::spec(spec, &at, errors),
            None => errors.required(&at.field("containers"), ""),
        }
    }

    fn validate_update(new: &v1::Pod, old: &v1::Pod, subresource: Subresource<'_>, errors: &mut Errors) {
        match subresource {
            None => update::validate(new, old, errors),
            Some("status") => update::validate_status(new, old, errors),
            Some("ephemeralcontainers") => update::validate_ephemeral(new, old, errors),
            Some("resize") => resize::validate(new, old, errors),
            Some(_) => Self::validate(new, errors),
        }
    }

    fn warnings(object: &v1::Pod) -> Vec<String> {
        object.spec.as_ref().map(|spec| warnings::all(spec, object.metadata.annotations.as_ref(), &Path::Root)).unwrap_or_default()
    }

    fn cells(object: &v1::Pod, now: i64) -> Vec<Value> {
        table::cells(object, now)
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        let spec = |field| json::text(object, &["spec", field]);
        let status = |field| json::text(object, &["status", field]);
        vec![
            ("spec.nodeName", spec("nodeName")),
            ("spec.restartPolicy", spec("restartPolicy")),
            ("spec.schedulerName", spec("schedulerName")),
            ("spec.serviceAccountName", spec("serviceAccountName")),
            ("spec.hostNetwork", json::text_or(object, &["spec", "hostNetwork"], "false")),
            ("status.phase", status("phase")),
            ("status.podIP", status("podIP")),
            ("status.nominatedNodeName", status("nominatedNodeName")),
        ]
    }
}
