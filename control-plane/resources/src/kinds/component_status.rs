//! ComponentStatus (deprecated): how the parts of the control plane are. Read only, never stored; what it says is the server's.

use crate::contract::{Column, Descriptor};
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::core::v1;
use serde_json::Value;

pub struct ComponentStatus;

impl Kind for ComponentStatus {
    type Object = v1::ComponentStatus;

    const DESCRIPTOR: Descriptor = Descriptor {
        short_names: &["cs"],
        verbs: &["get", "list"],
        deprecated: Some("v1 ComponentStatus is deprecated in v1.19+"),
        ..cluster::<v1::ComponentStatus>("componentstatuses", "componentstatus")
    };
    const COLUMNS: &'static [Column] = &[
        table::NAME,
        text("Status", "Status of the component conditions"),
        text("Message", "Message of the component conditions"),
        text("Error", "Error of the component conditions"),
    ];

    fn cells(object: &v1::ComponentStatus, _: i64) -> Vec<Value> {
        let healthy = object.conditions.iter().flatten().find(|condition| condition.type_ == "Healthy");
        let status = match healthy.map(|condition| &condition.status[..]) {
            Some("True") => "Healthy",
            Some("False") => "Unhealthy",
            _ => "Unknown",
        };
        let said = |text: Option<&String>| text.cloned().unwrap_or_default().into();
        vec![
            table::name(&object.metadata),
            status.into(),
            said(healthy.and_then(|condition| condition.message.as_ref())),
            said(healthy.and_then(|condition| condition.error.as_ref())),
        ]
    }
}
