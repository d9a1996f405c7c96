//! Who owns which fields (`metadata.managedFields`): what the patch machinery needs to know of a write.

use crate::custom::convert::{Forms, ROUNDS};
use crate::kinds::Kind;
use crate::object;
use crate::server::Server;
use orknet_auth::Identity;
use orknet_patch::Schema;
use orknet_patch::apply::{self, ApplyError, Gvk, Manager};
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

    /// Records the ownership of a create (`old`: `None`) or an update, where a kind has one version.
    pub fn track(&self, schema: &Schema, old: Option<&Value>, new: &mut Value) {
        let time = object::timestamp(0);
        apply::track_update(schema, self.gvk(), old, new, &self.manager(&time));
    }

    /// Records the ownership of a create (`old`: `None`) or an update, in all versions of the kind.
    pub async fn track_in_all(&self, server: &Server, old: Option<&Value>, new: &mut Value) {
        let forms = Forms::of(server, self.kind);
        let time = object::timestamp(0);
        for _ in 0..ROUNDS {
            let done = apply::track_update_across(server.structure(self.kind), &forms, self.gvk(), old, new, &self.manager(&time));
            if done.is_ok() || !forms.fetch().await {
                return;
            }
        }
    }

    /// Applies a configuration to the object as it is, or to nothing. While the forms have something to fetch, the answer is [`ApplyError::Pending`].
    pub fn apply(&self, forms: &Forms<'_>, live: Option<&Value>, config: &Value, force: bool) -> Result<Value, ApplyError> {
        let time = object::timestamp(0);
        let schema = forms.server.structure(self.kind);
        apply::apply_across(schema, forms, self.gvk(), live, config, &self.manager(&time), force)
    }

    fn manager<'a>(&'a self, time: &'a str) -> Manager<'a> {
        let ignored = self.kind.reset_fields(self.subresource);
        Manager { name: self.manager, subresource: self.subresource.unwrap_or_default(), time, ignored }
    }
}

/// The manager of writes that the server does by itself.
pub const SERVER: &str = "orknet-apiserver";

/// The server's own identity.
pub fn server_identity() -> Identity {
    Identity::authenticated("system:apiserver", ["system:masters".to_owned()])
}
