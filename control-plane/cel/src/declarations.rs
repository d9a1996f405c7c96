//! Signatures of functions and operators, written as `(string, int) -> string`, and `string.(int) -> string` for calls with a target. `A` and `B`
//! stand for any type.

use crate::types::Type;
use std::collections::HashMap;
use std::sync::LazyLock;

/// One way to call a function.
#[derive(Clone, Debug)]
pub struct Overload {
    /// Whether the first argument is the target.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
}

/// `A` and `B` of a signature.
pub const TYPE_PARAMETERS: u32 = 2;

/// All ways to call what the tables of the libraries name.
pub static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut all: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for library in crate::functions::LIBRARIES {
        for (name, signatures, _) in *library {
            let overloads = signatures.split(';').map(str::trim).filter(|signature| !signature.is_empty()).map(overload);
            all.entry(name).or_default().extend(overloads);
        }
    }
    all
});

fn overload(text: &str) -> Overload {
    let (call, result) = text.split_once("->").unwrap_or((text, "dyn"));
    let call = call.trim();
    let open =
        call.find(".(").map(|dot| dot + 1).filter(|_| !call.starts_with('(')).or_else(|| call.starts_with('(').then_some(0)).unwrap_or(0);
    let target = call[..open].trim_end_matches('.');
    let inner = call[open..].trim_start_matches('(').strip_suffix(')').unwrap_or_default();
    let mut args: Vec<Type> = Vec::new();
    if !target.is_empty() {
        args.push(type_of(target));
    }
    args.extend(split(inner).into_iter().map(type_of));
    Overload { member: !target.is_empty(), args, result: type_of(result) }
}

/// At commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn type_of(text: &str) -> Type {
    let text = text.trim();
    let inner = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
    if let Some(element) = inner("list<") {
        return Type::list(type_of(element));
    }
    if let Some(parts) = inner("map<").map(split)
        && let [key, value] = parts[..]
    {
        return Type::map(type_of(key), type_of(value));
    }
    if let Some(value) = inner("optional<") {
        return Type::optional(type_of(value));
    }
    if let Some(value) = inner("type<") {
        return Type::Type(type_of(value).into());
    }
    match text {
        "A" => Type::Var(0),
        "B" => Type::Var(1),
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::STRING,
        "bytes" => Type::BYTES,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        other => OPAQUE.iter().find(|name| **name == other).map_or(Type::Error, |name| Type::Opaque(name)),
    }
}

/// Names of the libraries' types.
pub const OPAQUE: &[&str] = &[
    "kubernetes.Quantity",
    "kubernetes.URL",
    "net.IP",
    "net.CIDR",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.PathCheck",
    "kubernetes.authorization.GroupCheck",
    "kubernetes.authorization.ResourceCheck",
    "kubernetes.authorization.Decision",
];

/// Types by the name that expressions use for them.
pub fn named_type(name: &str) -> Option<Type> {
    Some(match name {
        "bool" | "int" | "uint" | "double" | "string" | "bytes" => type_of(name),
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "type" => Type::Type(Type::Dyn.into()),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        other => Type::Opaque(OPAQUE.iter().find(|known| **known == other)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_can_be_read() {
        for (name, overloads) in FUNCTIONS.iter() {
            assert!(!overloads.is_empty(), "{name}");
            for overload in overloads {
                let broken = overload.args.iter().chain([&overload.result]).any(|t| t.to_string().contains("!error!"));
                assert!(!broken, "{name}: {overload:?}");
            }
        }
        let size = &FUNCTIONS["size"];
        assert!(size.iter().any(|o| o.member) && size.iter().any(|o| !o.member));
    }
}
