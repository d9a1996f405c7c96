//! The facts of `fields.txt`, parsed once when the first protobuf body comes.

use std::collections::HashMap;
use std::sync::OnceLock;

static FACTS: &str = include_str!("fields.txt");

const SCHEMA: &str = "apiextensions.v1.JSONSchemaProps";

/// All messages.
pub struct Table {
    by_name: HashMap<&'static str, usize>,
    messages: Vec<Vec<Field>>,
}

/// Index of a message.
pub type Message = usize;

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub number: u32,
    /// JSON name; `.` when the message's fields belong to the one around it.
    pub name: &'static str,
    pub shape: Shape,
    pub kind: Kind,
    /// Whether a zero counts as a value.
    pub keeps_zero: bool,
    /// Whether the field is written even where there is no value: as its zero.
    pub always: bool,
}

/// How often a value occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    One,
    Many,
    Map,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Boolean,
    Double,
    Bytes,
    Quantity,
    IntOrText,
    Time,
    MicroTime,
    FieldSet,
    Json,
    Texts,
    Message(Message),
    /// `JSONSchemaPropsOrBool`, with the message of a schema, as those that follow.
    SchemaOrBoolean(Message),
    /// `JSONSchemaPropsOrArray`.
    SchemaOrSchemas(Message),
    /// `JSONSchemaPropsOrStringArray`.
    SchemaOrTexts(Message),
}

impl Table {
    /// The table.
    pub fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse(FACTS))
    }

    /// A message by its name, such as `core.v1.Pod`.
    pub fn message(&self, name: &str) -> Option<Message> {
        self.by_name.get(name).copied()
    }

    /// A field of a message; `None` for numbers that are not known.
    pub fn field(&self, message: Message, number: u32) -> Option<&Field> {
        self.messages.get(message)?.iter().find(|field| field.number == number)
    }

    /// The fields of a message, by their numbers.
    pub fn fields(&self, message: Message) -> &[Field] {
        self.messages.get(message).map(Vec::as_slice).unwrap_or_default()
    }

    fn parse(facts: &'static str) -> Self {
        let names = facts.lines().filter(|line| !line.starts_with(' '));
        let by_name: HashMap<_, _> = names.enumerate().map(|(index, name)| (name, index)).collect();
        let mut messages: Vec<Vec<Field>> = Vec::new();
        for line in facts.lines() {
            match (line.strip_prefix(' '), messages.last_mut()) {
                (None, _) => messages.push(Vec::new()),
                (Some(line), Some(fields)) => fields.extend(field(line, &by_name)),
                (Some(_), None) => {}
            }
        }
        Self { by_name, messages }
    }
}

fn field(line: &'static str, by_name: &HashMap<&'static str, usize>) -> Option<Field> {
    let mut parts = line.split(' ');
    let (number, name, kind) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
    let (shape, kind) = match kind.as_bytes().first()? {
        b'*' => (Shape::Many, &kind[1..]),
        b'%' => (Shape::Map, &kind[1..]),
        _ => (Shape::One, kind),
    };
    let (kind, always) = kind.strip_suffix('!').map_or((kind, false), |kind| (kind, true));
    let (kind, keeps_zero) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
    let kind = match kind {
        "s" => Kind::Text,
        "i" => Kind::Integer,
        "b" => Kind::Boolean,
        "d" => Kind::Double,
        "y" => Kind::Bytes,
        "Q" => Kind::Quantity,
        "O" => Kind::IntOrText,
        "T" => Kind::Time,
        "U" => Kind::MicroTime,
        "F" => Kind::FieldSet,
        "R" => Kind::Json,
        "X" => Kind::Texts,
        "B" => Kind::SchemaOrBoolean(*by_name.get(SCHEMA)?),
        "A" => Kind::SchemaOrSchemas(*by_name.get(SCHEMA)?),
        "P" => Kind::SchemaOrTexts(*by_name.get(SCHEMA)?),
        message => Kind::Message(*by_name.get(message)?),
    };
    Some(Field { number, name, shape, kind, keeps_zero, always })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_facts_is_understood() {
        let table = Table::get();
        let lines = FACTS.lines().filter(|line| line.starts_with(' ')).count();
        assert_eq!(table.messages.iter().map(Vec::len).sum::<usize>(), lines);
    }

    #[test]
    fn every_kind_that_can_be_written_has_a_message() {
        // Clients know these as custom resources, which have no protobuf form; and metrics are read as JSON.
        let without = ["networking.orknet.io", "policy.networking.k8s.io", "metrics.k8s.io"];
        for names in orknet_resources::registry().iter().map(|kind| kind.descriptor()).filter(|names| !without.contains(&names.group)) {
            let group = if names.group.is_empty() { "core" } else { names.group.split('.').next().unwrap_or_default() };
            let message = format!("{group}.{}.{}", names.version, names.kind);
            assert!(Table::get().message(&message).is_some(), "{message}");
        }
        for body in ["autoscaling.v1.Scale", "policy.v1.Eviction", "authentication.v1.TokenRequest", "meta.v1.DeleteOptions"] {
            assert!(Table::get().message(body).is_some(), "{body}");
        }
    }
}
