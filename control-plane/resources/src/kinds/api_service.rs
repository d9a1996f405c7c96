//! APIService: who serves one version of one API group, this server itself ("local") or an extension server behind a Service.
//!
//! Before: `{"spec": {"group": "g.example", "version": "v1", "service": {"name": "s", "namespace": "n"}, …}}`. After: `service.port: 443`. A local one is
//! available from the beginning; what becomes of the others the server finds out.

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::{Errors, Path};
use crate::json;
use crate::names::{self, NameRule};
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1;
use serde_json::{Value, json};

pub struct APIService;

const PORT: i32 = 443;
const MOST_GROUP_PRIORITY: i32 = 20_000;
const MOST_VERSION_PRIORITY: i32 = 1000;

impl Kind for APIService {
    type Object = v1::APIService;

    const DESCRIPTOR: Descriptor =
        Descriptor { categories: &["api-extensions"], subresources: &["status"], ..cluster::<v1::APIService>("apiservices", "apiservice") };
    const NAME: NameRule = NameRule::PathSegment;
    const REPLACES_KNOWN_VERSIONS_ONLY: bool = true;
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Service", "The reference to the service that hosts this API endpoint."),
        text("Available", "Whether this service is available."),
        table::AGE,
    ];

    fn default(object: &mut v1::APIService) {
        if let Some(service) = object.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
            service.port.get_or_insert(PORT);
        }
    }

    fn prepare_create(object: &mut Value) {
        let is_local = json::get(object, &["spec", "service"]).is_none_or(Value::is_null);
        let status = if is_local {
            let now = json::get(object, &["metadata", "creationTimestamp"]).cloned().unwrap_or_default();
            json!({ "conditions": [{ "type": "Available", "status": "True", "lastTransitionTime": now, "reason": "Local",
                "message": "Local APIServices are always available" }] })
        } else {
            json!({})
        };
        json::put(object, &["status"], status);
    }

    fn validate(object: &v1::APIService, errors: &mut Errors) {
        let spec = object.spec.clone().unwrap_or_default();
        let (group, version) = (spec.group.as_deref().unwrap_or_default(), spec.version.as_deref().unwrap_or_default());
        let (name, wanted) = (object.metadata.name.as_deref().unwrap_or_default(), format!("{version}.{group}"));
        if name != wanted {
            let detail = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
            errors.invalid(&Path::Root.field("metadata").field("name"), name, detail);
        }
        let at = Path::Root.field("spec");
        if group.is_empty() && version != "v1" {
            errors.required(&at.field("group"), "only v1 may have an empty group and it better be legacy kube");
        }
        if !group.is_empty() {
            errors.format(&at.field("group"), group, names::subdomain(group));
        }
        errors.format(&at.field("version"), version, names::label_1035(version));
        if !(1..=MOST_GROUP_PRIORITY).contains(&spec.group_priority_minimum) {
            errors.invalid(&at.field("groupPriorityMinimum"), spec.group_priority_minimum, "must be positive and less than 20000");
        }
        if !(1..=MOST_VERSION_PRIORITY).contains(&spec.version_priority) {
            errors.invalid(&at.field("versionPriority"), spec.version_priority, "must be positive and less than 1000");
        }
        let ca_bytes = spec.ca_bundle.as_ref().map_or(0, |bundle| bundle.0.len());
        let insecure = spec.insecure_skip_tls_verify.unwrap_or_default();
        let Some(service) = spec.service else {
            if ca_bytes > 0 {
                errors.invalid(&at.field("caBundle"), format!("{ca_bytes} bytes"), "local APIServices may not have a caBundle");
            }
            if insecure {
                let detail = "local APIServices may not have insecureSkipTLSVerify";
                errors.invalid(&at.field("insecureSkipTLSVerify"), insecure, detail);
            }
            return;
        };
        let of = at.field("service");
        for (name, value) in [("namespace", &service.namespace), ("name", &service.name)] {
            if value.as_deref().unwrap_or_default().is_empty() {
                errors.required(&of.field(name), "");
            }
        }
        if let Some(detail) = service.port.and_then(names::port_number) {
            errors.invalid(&of.field("port"), service.port.unwrap_or_default(), detail);
        }
        if insecure && ca_bytes > 0 {
            errors.invalid(&at.field("insecureSkipTLSVerify"), insecure, "may not be true if caBundle is present");
        }
    }

    fn validate_update(new: &v1::APIService, _: &v1::APIService, subresource: Subresource<'_>, errors: &mut Errors) {
        if subresource != Some("status") {
            return Self::validate(new, errors);
        }
        let status = Path::Root.field("status");
        let at = status.field("conditions");
        let conditions = new.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        for (index, condition) in conditions.iter().enumerate() {
            errors.one_of(&at.index(index).field("status"), Some(&condition.status), &["True", "False", "Unknown"]);
        }
    }

    fn cells(object: &v1::APIService, now: i64) -> Vec<Value> {
        let service = object.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let served_by = service.map_or_else(
            || "Local".to_owned(),
            |service| format!("{}/{}", service.namespace.as_deref().unwrap_or_default(), service.name.as_deref().unwrap_or_default()),
        );
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let available = conditions.iter().find(|condition| condition.type_ == "Available").map_or_else(
            || "Unknown".to_owned(),
            |condition| match condition.reason.as_deref().unwrap_or_default() {
                reason if condition.status != "True" && !reason.is_empty() => format!("{} ({reason})", condition.status),
                _ => condition.status.clone(),
            },
        );
        vec![table::name(&object.metadata), served_by.into(), available.into(), table::age(&object.metadata, now)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;

    const KIND: Typed<APIService> = Typed::NEW;

    fn service(name: &str, spec: &Value) -> Value {
        let mut spec = spec.clone();
        for (field, value) in [("groupPriorityMinimum", 100), ("versionPriority", 10)] {
            if spec.get(field).is_none() {
                spec[field] = json!(value);
            }
        }
        KIND.decode(json!({ "metadata": { "name": name, "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": spec })).unwrap().object
    }

    #[test]
    fn local_ones_are_available_and_others_have_to_show_it() {
        let mut local = service("v1.g.example", &json!({ "group": "g.example", "version": "v1" }));
        KIND.prepare_create(&mut local);
        assert_eq!(KIND.validate_create(&local), []);
        assert_eq!(KIND.cells(&local, 0)[1..3], ["Local", "True"]);
        let spec = json!({ "group": "g.example", "version": "v1", "service": { "namespace": "n", "name": "s" } });
        let mut remote = service("v1.g.example", &spec);
        KIND.prepare_create(&mut remote);
        assert_eq!((&remote["spec"]["service"]["port"], &remote["status"]), (&json!(443), &json!({})));
        assert_eq!(KIND.cells(&remote, 0)[1..3], ["n/s", "Unknown"]);
        remote["status"] = json!({ "conditions": [{ "type": "Available", "status": "False", "reason": "ServiceNotFound" }] });
        assert_eq!(KIND.cells(&remote, 0)[2], "False (ServiceNotFound)");
    }

    #[test]
    fn names_priorities_and_trust_have_rules() {
        for (name, spec, expected) in [
            ("v1.", json!({ "version": "v1" }), vec![]),
            (
                "v2.",
                json!({ "version": "v2" }),
                vec!["spec.group: Required value: only v1 may have an empty group and it better be legacy kube"],
            ),
            (
                "x",
                json!({ "group": "g", "version": "v1" }),
                vec!["metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.g\""],
            ),
            (
                "v1.g",
                json!({ "group": "g", "version": "v1", "groupPriorityMinimum": 20001, "versionPriority": 0 }),
                vec![
                    "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
                    "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
                ],
            ),
            (
                "v1.g",
                json!({ "group": "g", "version": "v1", "caBundle": "eA==", "insecureSkipTLSVerify": true }),
                vec![
                    "spec.caBundle: Invalid value: \"1 bytes\": local APIServices may not have a caBundle",
                    "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
                ],
            ),
            (
                "v1.g",
                json!({ "group": "g", "version": "v1", "caBundle": "eA==", "insecureSkipTLSVerify": true, "service": {} }),
                vec![
                    "spec.service.namespace: Required value",
                    "spec.service.name: Required value",
                    "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
                ],
            ),
        ] {
            let found: Vec<String> = KIND.validate_create(&service(name, &spec)).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{name} {spec}");
        }
        let mut new = service("v1.g", &json!({ "group": "g", "version": "v1" }));
        new["status"] = json!({ "conditions": [{ "type": "Available", "status": "Maybe" }] });
        let found = KIND.validate_update(&new, &new, Some("status"));
        assert_eq!(found[0].field, "status.conditions[0].status");
    }
}
