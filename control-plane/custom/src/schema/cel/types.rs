//! The types that expressions see, from schemas, with the most that each can hold in a request (upstream: `apiserver/pkg/cel/common/schemas.go`).

use super::super::{Format, List, Node, Rest, Type as Kind, Types};
use orknet_cel::{Bound, ListKind, Type};

/// Bytes of the largest request.
pub const MAX_REQUEST: u64 = 3 << 20;

/// The type of a place.
pub struct Declared {
    pub type_: Type,
    /// The least bytes that a value takes in JSON.
    pub min_size: u64,
}

/// `None` for a place that no expression can see. `name`: of the type, different for each place; types of one name are taken to be the same.
pub fn declared(node: &Node, name: &str, is_resource: bool) -> Option<Declared> {
    let checks = node.checks.as_deref();
    let bound = |own: Option<i64>| own.map(|max| Bound(u64::try_from(max).unwrap_or_default()));
    let one = |type_: Type, min_size: u64| Some(Declared { type_, min_size });
    match node.types {
        Types::IntOrString => one(Type::Dyn, 1),
        Types::Any => None,
        Types::One(Kind::Boolean) => one(Type::Bool, 4),
        Types::One(Kind::Integer) => one(Type::Int, 1),
        Types::One(Kind::Number) => one(Type::Double, 1),
        Types::One(Kind::String) => text(node),
        Types::One(Kind::Array) => {
            let items = node.items.as_deref()?;
            let element = declared(items, &format!("{name}.@idx"), items.is_embedded)?;
            // A comma after each.
            let max = bound(checks.and_then(|checks| checks.max_items)).unwrap_or(Bound((MAX_REQUEST - 2) / (element.min_size + 1)));
            let kind = match &node.list {
                List::Atomic => ListKind::Atomic,
                List::Set => ListKind::Set,
                List::Map(keys) => ListKind::Map(keys.clone()),
            };
            one(Type::list_of(element.type_, max, kind), 2)
        }
        Types::One(Kind::Object) => {
            if let Rest::Of(rest) = &node.rest
                && !is_resource
            {
                let value = declared(rest, &format!("{name}.@elem"), rest.is_embedded)?;
                // Quotes, colon, comma, and a name.
                let max = bound(checks.and_then(|checks| checks.max_properties)).unwrap_or(Bound((MAX_REQUEST - 2) / (value.min_size + 6)));
                return one(Type::map_of(Type::STRING, value.type_, max), 2);
            }
            Some(object(node, name, is_resource))
        }
    }
}

fn object(node: &Node, name: &str, is_resource: bool) -> Declared {
    let required = node.checks.as_deref().map(|checks| &checks.required[..]).unwrap_or_default();
    let mut min_size = 2;
    let mut fields = Vec::new();
    for (field, property) in &node.properties {
        if is_resource && matches!(&field[..], "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let Some(declared) = declared(property, &format!("{name}.{field}"), property.is_embedded) else { continue };
        if required.contains(field) && property.default.is_none() {
            min_size += field.len() as u64 + declared.min_size + 4;
        }
        fields.push((field.clone(), declared.type_));
    }
    if is_resource {
        // Of metadata, expressions see the names.
        let string = || Type::String(Bound(MAX_REQUEST - 2));
        let names = ["name", "generateName"].map(|field| (field.to_owned(), string()));
        fields.extend(["apiVersion", "kind"].map(|field| (field.to_owned(), string())));
        fields.push(("metadata".to_owned(), Type::object(format!("{name}.metadata"), names)));
    }
    Declared { type_: Type::object(name, fields), min_size }
}

fn text(node: &Node) -> Option<Declared> {
    let checks = node.checks.as_deref();
    let format = checks.and_then(|checks| checks.format.as_ref()).and_then(|(_, format)| *format);
    let max = checks.and_then(|checks| checks.max_length).map(|max| u64::try_from(max).unwrap_or_default());
    let longest_value = || {
        checks.and_then(|checks| checks.values.iter().filter_map(|value| value.as_str()).map(str::len).max()).map(|length| length as u64)
    };
    let (type_, min_size) = match format {
        Some(Format::Byte) => (Type::Bytes(Bound(max.unwrap_or(MAX_REQUEST - 2))), 2),
        Some(Format::Duration) => (Type::Duration, 4),
        Some(Format::Date) => (Type::Timestamp, 12),
        Some(Format::DateTime) => (Type::Timestamp, 22),
        // A character takes four bytes at most.
        _ => (Type::String(Bound(max.map(|max| max.saturating_mul(4)).or_else(longest_value).unwrap_or(MAX_REQUEST - 2))), 2),
    };
    Some(Declared { type_, min_size })
}
