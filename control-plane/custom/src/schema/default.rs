//! Filling in what was left out.

use super::{Node, Rest};
use serde_json::Value;

impl Node {
    /// Drops each `null` that may not be there and has no default. Those with a default are left for [`Node::fill`].
    pub fn drop_nulls(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => fields.retain(|name, value| match self.field(name) {
                Some(node) if value.is_null() => node.nullable || node.default.is_some(),
                Some(node) => {
                    node.drop_nulls(value);
                    true
                }
                None => true,
            }),
            Value::Array(items) => {
                if let Some(node) = &self.items {
                    items.iter_mut().for_each(|item| node.drop_nulls(item));
                }
            }
            _ => {}
        }
    }

    /// Fills in defaults: in fields that are absent, and for each `null` that may not be there. Doing it twice is doing it once.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, node) in &self.properties {
                    let Some(default) = &node.default else { continue };
                    if fields.get(name).is_none_or(|value| value.is_null() && !node.nullable) {
                        fields.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in fields.iter_mut() {
                    match (self.properties.get(name), &self.rest) {
                        (Some(node), _) => node.fill(value),
                        (None, Rest::Of(node)) => node.fill_entry(value),
                        _ => {}
                    }
                }
            }
            Value::Array(items) => {
                if let Some(node) = &self.items {
                    items.iter_mut().for_each(|item| node.fill_entry(item));
                }
            }
            _ => {}
        }
    }

    /// An entry of a map or list: it is there, and only a `null` is replaced.
    fn fill_entry(&self, value: &mut Value) {
        if value.is_null()
            && !self.nullable
            && let Some(default) = &self.default
        {
            *value = default.clone();
        }
        self.fill(value);
    }
}
