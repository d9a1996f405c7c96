//! Who owns which fields (`metadata.managedFields`): what the patch machinery needs to know of a write.

use crate::kinds::Kind;
use crate::object;
use orknet_auth::Identity;
use orknet_patch::Schema;
use orknet_patch::apply::{self, Gvk, Manager};
use serde_json::Value;

/// One writer of one kind through one door.
pub struct Writer<'a> {
    pub kind: &'a Kind,
    pub manager: &'a str,
    pub subresource: Option<&'a str>,
}

impl Writer<'_> {
    /// The kind's names as the patch machinery wants them.
    pub fn gvk(&self) -> Gvk<'_> {
        let names = self.kind.descriptor();
        Gvk { group: names.group, version: names.version, kind: names.kind }
    }

    /// Records the ownership of a create (`old`: `None`) or an update.
    pub fn track(&self, schema: &Schema, old: Option<&Value>, new: &mut Value) {
        let time = object::timestamp(0);
        apply::track_update(schema, self.gvk(), old, new, &self.manager(&time));
    }

    /// Applies a configuration to the object as it is, or to nothing.
    pub fn apply(&self, schema: &Schema, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, apply::ApplyError> {
        let time = object::timestamp(0);
        apply::apply(schema, self.gvk(), live, config, &self.manager(&time), force)
    }

    fn manager<'a>(&'a self, time: &'a str) -> Manager<'a> {
        let has_status = self.kind.descriptor().subresources.contains(&"status");
        let ignored: &[&str] = match self.subresource {
            None if has_status => &["status"],
            Some("status") => &["spec"],
            _ => &[],
        };
        Manager { name: self.manager, subresource: self.subresource.unwrap_or_default(), time, ignored }
    }
}

/// The manager of writes that the server does by itself.
pub const SERVER: &str = "orknet-apiserver";

/// The server's own identity.
pub fn server_identity() -> Identity {
    Identity::authenticated("system:apiserver", ["system:masters".to_owned()])
}
