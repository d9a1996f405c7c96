//! Lists that are sets or maps: no item twice.

use super::{List, Node};
use crate::complaint;
use orknet_resources::FieldError;
use orknet_resources::field::Path;
use serde_json::{Map, Value};
use std::collections::HashMap;

impl Node {
    /// Complaints about items that are there twice, once for each such item.
    pub fn duplicates(&self, value: &Value) -> Vec<FieldError> {
        let mut found = Vec::new();
        walk(self, value, &Path::Root, &mut found);
        found
    }
}

fn walk(node: &Node, value: &Value, at: &Path<'_>, found: &mut Vec<FieldError>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match node.properties.get(name) {
                    Some(node) => walk(node, value, &at.field(name), found),
                    None => {
                        if let Some(node) = node.field(name) {
                            walk(node, value, &at.key(name), found);
                        }
                    }
                }
            }
        }
        Value::Array(items) => {
            match &node.list {
                List::Atomic => {}
                List::Set => second_ones(items, at, found),
                List::Map(keys) => entries(items, keys, at, found),
            }
            if let Some(node) = &node.items {
                items.iter().enumerate().for_each(|(index, item)| walk(node, item, &at.index(index), found));
            }
        }
        _ => {}
    }
}

fn second_ones(items: &[Value], at: &Path<'_>, found: &mut Vec<FieldError>) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, item) in items.iter().enumerate() {
        let times = seen.entry(identity(item)).or_default();
        *times += 1;
        if *times == 2 {
            found.push(complaint::duplicate(at.index(index).to_string(), item));
        }
    }
}

fn entries(items: &[Value], keys: &[String], at: &Path<'_>, found: &mut Vec<FieldError>) {
    if let Some((index, item)) = items.iter().enumerate().find(|(_, item)| !item.is_null() && !item.is_object()) {
        found.push(complaint::invalid(at.index(index).to_string(), item, "must be an object for an array of list-type map"));
        return;
    }
    let keys: Vec<Value> = items.iter().map(|item| key_of(item, keys)).collect();
    second_ones(&keys, at, found);
}

/// The fields that tell an item from others, as far as it has them.
pub(super) fn key_of(item: &Value, keys: &[String]) -> Value {
    let fields = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(Map::from_iter(fields))
}

/// The same for values that are equal. Numbers are compared as they are written: 1 and 1.0 are two.
pub(super) fn identity(value: &Value) -> String {
    value.to_string()
}
