//! Service: one stable address for many pods.
//!
//! Before: `{"spec": {"ports": [{"port": 80}]}}`. After: `type: ClusterIP`, `sessionAffinity: None`, `internalTrafficPolicy: Cluster`,
//! `ports: [{port: 80, protocol: TCP, targetPort: 80}]`. Addresses, node ports and IP families are allocated by the server.

mod change;
mod default;
mod table;
mod validate;

use crate::contract::{Column, Descriptor, Subresource};
use crate::field::Errors;
use crate::json;
use crate::names::NameRule;
use crate::typed::{Kind, namespaced};
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct Service;

impl Kind for Service {
    type Object = v1::Service;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &["proxy", "status"],
        // Kubernetes 1.33 keeps none; ServiceStatus says with it which state of the Service is in force.
        has_generation: true,
        ..namespaced::<v1::Service>("services", "service")
    };
    const NAME: NameRule = NameRule::Label1035;
    const CREATES_ON_UPDATE: bool = true;
    const COLUMNS: &'static [Column] = table::COLUMNS;

    fn default(object: &mut v1::Service) {
        if let Some(spec) = &mut object.spec {
            default::spec(spec);
        }
        default::status(object);
    }

    fn prepare_create(object: &mut Value) {
        json::put(object, &["status"], serde_json::json!({"loadBalancer": {}}));
    }

    fn prepare_update(new: &mut Value, old: &Value, subresource: Subresource<'_>) {
        if subresource.is_none() {
            change::keep_allocated(new, old);
            change::drop_of_old_type(new, old);
        }
    }

    fn validate(object: &v1::Service, errors: &mut Errors) {
        validate::service(object, errors);
    }

    fn validate_update(new: &v1::Service, old: &v1::Service, subresource: Subresource<'_>, errors: &mut Errors) {
        match subresource {
            Some("status") => validate::status(new, errors),
            _ => validate::update(new, old, errors),
        }
    }

    fn cells(object: &v1::Service, now: i64) -> Vec<Value> {
        table::cells(object, now)
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        let text = |field| json::text(object, &["spec", field]);
        vec![("spec.clusterIP", text("clusterIP")), ("spec.type", text("type"))]
    }
}
