//! Dropping what the schema does not have.

use super::{Node, Rest};
use orknet_resources::field::Path;
use serde_json::{Map, Value};

/// Fields that an embedded resource has without naming them.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Node {
    /// Drops unknown fields of a resource, whose `apiVersion`, `kind` and `metadata` stay as they are. Answers the paths of what was dropped.
    pub fn prune_resource(&self, object: &mut Value) -> Vec<String> {
        let mut dropped = Vec::new();
        if let Value::Object(fields) = object {
            self.prune_fields(fields, true, self.preserves_unknown, &Path::Root, &mut dropped);
        }
        dropped
    }

    /// Drops unknown fields of a value. Answers the paths of what was dropped.
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        let mut dropped = Vec::new();
        prune(value, Some(self), false, &Path::Root, &mut dropped);
        dropped
    }

    fn prune_fields(&self, fields: &mut Map<String, Value>, is_resource: bool, keeps: bool, at: &Path<'_>, dropped: &mut Vec<String>) {
        fields.retain(|name, value| {
            let here = at.field(name);
            if is_resource && META.contains(&&name[..]) {
                return true;
            }
            match (self.properties.get(name), &self.rest) {
                (Some(node), _) => prune(value, Some(node), false, &here, dropped),
                (None, Rest::Of(node)) => prune(value, Some(node), false, &here, dropped),
                // As in Kubernetes: the entry stays, and what is below it is not known.
                (None, Rest::Any | Rest::Forbidden) => prune(value, None, false, &here, dropped),
                (None, Rest::Undeclared) if keeps => {}
                (None, Rest::Undeclared) => {
                    dropped.push(here.to_string());
                    return false;
                }
            }
            true
        });
    }
}

/// `node`: `None` for a place that the schema does not know. `keeps`: whether unknown fields stay here, whatever the node says.
fn prune(value: &mut Value, node: Option<&Node>, keeps: bool, at: &Path<'_>, dropped: &mut Vec<String>) {
    let keeps = keeps || node.is_some_and(|node| node.preserves_unknown);
    match (value, node) {
        (Value::Object(fields), Some(node)) => node.prune_fields(fields, node.is_embedded, keeps, at, dropped),
        (Value::Object(fields), None) if !keeps => {
            dropped.extend(fields.keys().map(|name| at.field(name).to_string()));
            fields.clear();
        }
        (Value::Array(items), node) => {
            let below = node.and_then(|node| node.items.as_deref());
            if below.is_none() && keeps {
                return;
            }
            for (index, item) in items.iter_mut().enumerate() {
                prune(item, below, keeps, &at.index(index), dropped);
            }
        }
        _ => {}
    }
}
