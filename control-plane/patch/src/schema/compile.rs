//! From OpenAPI schemas to the compact form. Only structure and merge rules are kept: no descriptions, formats or enums.

use super::{Field, Node, Rule, RuleListType, Scalar, Schema, SchemaError, Slot};
use serde_json::{Map, Value};
use std::collections::HashMap;

pub(super) const DEDUCED: Slot = Slot { node: 0, rule: 0 };
pub(super) const OPAQUE: Slot = Slot { node: 1, rule: 0 };

struct Compiler<'d> {
    schema: Schema,
    /// Node of each definition, given out before any is filled in: definitions may refer to each other in circles.
    named: HashMap<&'d str, u32>,
    unnamed: HashMap<Node, u32>,
    interned: HashMap<&'d str, u32>,
    current: &'d str,
}

pub(super) fn empty() -> Schema {
    Schema {
        nodes: vec![Node::Deduced, Node::Opaque],
        fields: Vec::new(),
        names: Vec::new(),
        rules: vec![Rule::default()],
        kinds: HashMap::new(),
    }
}

pub(super) fn compile(definitions: &Value) -> Result<Schema, SchemaError> {
    let definitions = definitions.as_object().ok_or(SchemaError::NotAnObject)?;
    let mut compiler = Compiler { schema: empty(), named: HashMap::new(), unnamed: HashMap::new(), interned: HashMap::new(), current: "" };
    for name in definitions.keys() {
        compiler.named.insert(name, compiler.schema.nodes.len() as u32);
        compiler.schema.nodes.push(Node::Opaque);
    }
    for (name, definition) in definitions {
        compiler.current = name;
        let node = compiler.node(definition)?;
        let index = compiler.named[name.as_str()];
        compiler.schema.nodes[index as usize] = node;
        for kind in definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array).into_iter().flatten() {
            let part = |part: &str| kind.get(part).and_then(Value::as_str).unwrap_or_default();
            let key = format!("{}/{}/{}", part("group"), part("version"), part("kind"));
            compiler.schema.kinds.entry(key.into()).or_insert(index);
        }
    }
    let mut schema = compiler.schema;
    schema.nodes.shrink_to_fit();
    schema.fields.shrink_to_fit();
    schema.names.shrink_to_fit();
    Ok(schema)
}

impl<'d> Compiler<'d> {
    /// A property, item or map value: a reference or a schema in place, with its rule.
    fn slot(&mut self, schema: &'d Value) -> Result<Slot, SchemaError> {
        let rule = self.rule(schema)?;
        if let Some(target) = reference(schema) {
            let Some(&node) = self.named.get(target) else {
                return Err(SchemaError::Dangling { definition: self.current.to_owned(), target: target.to_owned() });
            };
            return Ok(Slot { node, rule });
        }
        let node = self.node(schema)?;
        let next = self.schema.nodes.len() as u32;
        let index = *self.unnamed.entry(node.clone()).or_insert(next);
        if index == next {
            self.schema.nodes.push(node);
        }
        Ok(Slot { node: index, rule })
    }

    fn node(&mut self, schema: &'d Value) -> Result<Node, SchemaError> {
        let properties = schema.get("properties").and_then(Value::as_object).filter(|properties| !properties.is_empty());
        let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
        if properties.is_some() || rest.is_some() {
            return self.object(schema, properties, rest);
        }
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        if flag("x-kubernetes-preserve-unknown-fields") {
            return Ok(Node::Deduced);
        }
        // OpenAPI 2 writes quantities, and integers or strings, as strings; a number is as good.
        let is_either = schema.get("format").and_then(Value::as_str) == Some("int-or-string") || self.current.ends_with(".Quantity");
        if flag("x-kubernetes-int-or-string") || is_either {
            return Ok(Node::Scalar(Scalar::Other));
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("string") => Ok(Node::Scalar(Scalar::String)),
            Some("integer") => Ok(Node::Scalar(Scalar::Integer)),
            Some("boolean") => Ok(Node::Scalar(Scalar::Boolean)),
            Some("number") => Ok(Node::Scalar(Scalar::Other)),
            Some("array") => match schema.get("items") {
                Some(items) => Ok(Node::List(self.slot(items)?)),
                None => Ok(Node::List(OPAQUE)),
            },
            _ => Ok(Node::Opaque),
        }
    }

    fn object(
        &mut self,
        schema: &'d Value,
        properties: Option<&'d Map<String, Value>>,
        rest: Option<&'d Value>,
    ) -> Result<Node, SchemaError> {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut fields = Vec::new();
        for (name, property) in properties.into_iter().flatten() {
            let slot = self.slot(property)?;
            fields.push((name.as_str(), slot));
        }
        fields.sort_unstable_by_key(|(name, _)| *name);
        // What is open to other fields says nothing about them; an object within an object has a type and metadata that its schema need not name.
        let open = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"];
        let is_open = open.iter().any(|name| schema.get(*name).and_then(Value::as_bool) == Some(true));
        let rest = rest.map(|rest| self.slot(rest)).transpose()?.or(is_open.then_some(DEDUCED));
        let first = self.schema.fields.len() as u32;
        for (name, slot) in fields {
            let field = Field { name: self.intern(name), slot, required: required.contains(&name) };
            self.schema.fields.push(field);
        }
        let last = self.schema.fields.len() as u32;
        let atomic = schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic");
        Ok(Node::Object { first, last, rest, atomic })
    }

    fn rule(&mut self, schema: &Value) -> Result<u16, SchemaError> {
        let rule = read_rule(schema);
        let index = match self.schema.rules.iter().position(|known| *known == rule) {
            Some(index) => index,
            None => {
                self.schema.rules.push(rule);
                self.schema.rules.len() - 1
            }
        };
        u16::try_from(index).map_err(|_| SchemaError::TooManyRules { definition: self.current.to_owned() })
    }

    fn intern(&mut self, name: &'d str) -> u32 {
        *self.interned.entry(name).or_insert_with(|| {
            self.schema.names.push(name.into());
            self.schema.names.len() as u32 - 1
        })
    }
}

/// The name that `$ref` ends in, be it alone or wrapped into `allOf` so that it can have siblings (OpenAPI 3.0).
fn reference(schema: &Value) -> Option<&str> {
    let target = schema.get("$ref").or_else(|| schema.get("allOf")?.get(0)?.get("$ref"))?.as_str()?;
    target.rsplit('/').next()
}

fn read_rule(schema: &Value) -> Rule {
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    let strategies: Vec<&str> = text("x-kubernetes-patch-strategy").unwrap_or_default().split(',').collect();
    let merge = strategies.contains(&"merge");
    let merge_key: Option<Box<str>> = text("x-kubernetes-patch-merge-key").map(Into::into);
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    let mut keys: Vec<Box<str>> = keys.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect();
    let list_type = match (text("x-kubernetes-list-type"), merge, &merge_key) {
        (Some("map"), ..) => Some(RuleListType::Map),
        (Some("set"), ..) => Some(RuleListType::Set),
        (Some(_), ..) => Some(RuleListType::Atomic),
        // Without a list type the strategic merge rule decides, as in kube-openapi's schema conversion.
        (None, true, Some(key)) => {
            keys = vec![key.clone()];
            Some(RuleListType::Map)
        }
        (None, true, None) if text("type") == Some("array") => Some(RuleListType::Set),
        _ => None,
    };
    Rule {
        list_type,
        keys,
        atomic_map: text("x-kubernetes-map-type").map(|map_type| map_type == "atomic"),
        merge,
        retain_keys: strategies.contains(&"retainKeys"),
        replace: strategies.contains(&"replace"),
        merge_key,
        default: schema.get("default").filter(|default| !default.is_object() && !default.is_array() && !default.is_null()).cloned(),
    }
}
