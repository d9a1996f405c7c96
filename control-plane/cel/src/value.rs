//! Values while an expression is evaluated. What comes from an object stays in the object's JSON and is borrowed; only what the expression makes is owned.

use crate::budget::Budget;
use crate::error::EvalError;
use crate::functions::authorizer::Authz;
use crate::functions::net::Cidr;
use crate::functions::quantity::Quantity;
use crate::functions::semver::Version;
use crate::functions::time::{parse_format, parse_format_time};
use crate::functions::url::Url;
use crate::types::{ListKind, MapType, ObjectType, Type};
use jiff::Timestamp;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::rc::{Rc, Weak};

/// Owned lists, maps and optionals may be so deep in each other: what is deeper ends the evaluation with an error.
const MAX_DEPTH: u16 = 256;

#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Str<'a>),
    Bytes(Bytes<'a>),
    Timestamp(Timestamp),
    /// In nanoseconds, as Go has them.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Rc<Value<'a>>>),
    /// By name.
    Type(Rc<str>),
    Quantity(Quantity),
    Url(Rc<Url>),
    Ip(IpAddr),
    Cidr(Cidr),
    Semver(Rc<Version>),
    /// A named format (`format.dns1123Label()`).
    Format(&'static str),
    Authz(Rc<Authz<'a>>),
}

/// Text, borrowed from the object or the program, or made.
#[derive(Clone, Debug)]
pub enum Str<'a> {
    Borrowed(&'a str),
    Owned(Rc<str>),
}

impl Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

/// Bytes, of an object still in its base64: reading them is work, which who asks for them pays.
#[derive(Clone, Debug)]
pub enum Bytes<'a> {
    Encoded(&'a str),
    Owned(Rc<[u8]>),
}

impl Bytes<'_> {
    /// Of what is no base64: roughly.
    pub fn len(&self) -> usize {
        match self {
            Self::Encoded(text) => text.len() / 4 * 3 - text.bytes().rev().take(2).filter(|&b| b == b'=').count().min(text.len() / 4 * 3),
            Self::Owned(bytes) => bytes.len(),
        }
    }

    /// The bytes; reading base64 costs a sixteenth for each sixteen characters. What is no base64 is an error, as upstream has it.
    pub fn read(&self, budget: &mut Budget) -> Result<Cow<'_, [u8]>, EvalError> {
        match self {
            Self::Encoded(text) => {
                budget.work(text.len() / 16)?;
                let bytes = crate::functions::convert::base64(text);
                bytes.map(Cow::Owned).ok_or_else(|| EvalError::other(format!("Invalid byte formatted string {text:.64}")))
            }
            Self::Owned(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Of an object, with the type of its elements.
    Json(&'a [Json], &'a Type, &'a ListKind),
    Owned(Rc<Items<'a>>),
}

/// Elements of a list that an expression made.
#[derive(Debug)]
pub struct Items<'a> {
    items: Vec<Value<'a>>,
    depth: u16,
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Of an object, as far as its type tells.
    Json(&'a serde_json::Map<String, Json>, Shape<'a>),
    Owned(Rc<Entries<'a>>),
    /// Fields that are made when they are asked for.
    Lazy(Weak<dyn Fields<'a> + 'a>),
}

/// What is known of an object's fields.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'a> {
    Unknown,
    Map(&'a MapType),
    Object(&'a ObjectType),
}

#[derive(Debug)]
pub struct Entries<'a> {
    entries: BTreeMap<Key, (Value<'a>, Value<'a>)>,
    depth: u16,
}

/// A key as maps compare them: `1`, `1u` and `1.0` are the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Bool(bool),
    Number(i128),
    String(Box<str>),
}

/// Fields that are made when they are asked for: the variables of a policy.
pub trait Fields<'a>: std::fmt::Debug {
    /// `None`: there is no such field.
    fn field(&self, name: &str, budget: &mut Budget) -> Option<Result<Value<'a>, EvalError>>;
}

/// What a program's variables are when it is evaluated.
pub trait Variables<'a> {
    fn variable(&self, name: &str) -> Option<Value<'a>>;
}

/// A few variables by name.
#[derive(Debug, Default)]
pub struct Bindings<'a>(pub Vec<(&'a str, Value<'a>)>);

impl<'a> Variables<'a> for Bindings<'a> {
    fn variable(&self, name: &str) -> Option<Value<'a>> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }
}

static ATOMIC: ListKind = ListKind::Atomic;
static DYN: Type = Type::Dyn;

impl<'a> Value<'a> {
    /// A part of an object, of a declared type. What does not have its type's form is what its JSON says.
    pub fn from_json(json: &'a Json, type_: &'a Type) -> Self {
        match (json, type_) {
            (Json::Null, _) => Self::Null,
            (Json::Bool(b), _) => Self::Bool(*b),
            (Json::Number(n), Type::Double) => n.as_f64().map_or(Self::Null, Self::Double),
            (Json::Number(n), _) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(i), ..) => Self::Int(i),
                (None, Some(u), _) => Self::Uint(u),
                (None, None, Some(f)) => Self::Double(f),
                _ => Self::Null,
            },
            (Json::String(s), Type::Timestamp) => parse_format_time(s).map_or(Self::text(s), Self::Timestamp),
            (Json::String(s), Type::Duration) => parse_format(s).map_or(Self::text(s), Self::Duration),
            (Json::String(s), Type::Bytes(_)) => Self::Bytes(Bytes::Encoded(s)),
            (Json::String(s), _) => Self::text(s),
            (Json::Array(items), Type::List(list)) => Self::List(List::Json(items, &list.element, &list.kind)),
            (Json::Array(items), _) => Self::List(List::Json(items, &DYN, &ATOMIC)),
            (Json::Object(fields), Type::Map(map)) => Self::Map(Map::Json(fields, Shape::Map(map))),
            (Json::Object(fields), Type::Object(object)) => Self::Map(Map::Json(fields, Shape::Object(object))),
            (Json::Object(fields), _) => Self::Map(Map::Json(fields, Shape::Unknown)),
        }
    }

    /// A part of an object of which nothing is declared.
    pub fn of(json: &'a Json) -> Self {
        Self::from_json(json, &DYN)
    }

    pub fn text(text: &'a str) -> Self {
        Self::String(Str::Borrowed(text))
    }

    pub fn owned(text: impl Into<Rc<str>>) -> Self {
        Self::String(Str::Owned(text.into()))
    }

    pub fn list(items: Vec<Self>) -> Result<Self, EvalError> {
        let depth = deeper(items.iter().map(Self::depth).max())?;
        Ok(Self::List(List::Owned(Rc::new(Items { items, depth }))))
    }

    /// Entries in any order; a key that comes twice is an error.
    pub fn map(entries: impl IntoIterator<Item = (Self, Self)>) -> Result<Self, EvalError> {
        let mut map = BTreeMap::new();
        let mut depth = None;
        for (key, value) in entries {
            let place = Key::of(&key).ok_or_else(|| EvalError::other(format!("unsupported key type: {}", key.type_name())))?;
            depth = depth.max(Some(value.depth()));
            if let Some((key, _)) = map.insert(place, (key, value)) {
                return Err(EvalError::other(format!("Failed with repeated key {}", key.shown())));
            }
        }
        Ok(Self::Map(Map::Owned(Rc::new(Entries { entries: map, depth: deeper(depth)? }))))
    }

    /// An object whose fields are made when they are asked for.
    pub fn lazy(fields: Weak<dyn Fields<'a> + 'a>) -> Self {
        Self::Map(Map::Lazy(fields))
    }

    pub fn some(value: Self) -> Result<Self, EvalError> {
        deeper(Some(value.depth()))?;
        Ok(Self::Optional(Some(Rc::new(value))))
    }

    /// How deep owned values are in each other.
    fn depth(&self) -> u16 {
        match self {
            Self::List(List::Owned(items)) => items.depth,
            Self::Map(Map::Owned(entries)) => entries.depth,
            Self::Optional(Some(inner)) => inner.depth() + 1,
            _ => 0,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(b) = self { Some(*b) } else { None }
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// How long a text or bytes are, which copying them goes through; of others nothing that matters.
    fn bytes(&self) -> usize {
        match self {
            Self::String(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What `type()` calls it.
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(Map::Json(_, Shape::Object(object))) => &object.name,
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Url(_) => "kubernetes.URL",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
            Self::Authz(authz) => authz.type_name(),
        }
    }

    /// For messages: of texts no more than their beginning.
    pub fn shown(&self) -> String {
        match self {
            Self::String(text) => format!("{:.256}", &**text),
            Self::Int(i) => i.to_string(),
            Self::Uint(u) => u.to_string(),
            Self::Double(f) => crate::functions::convert::double(*f),
            Self::Bool(b) => b.to_string(),
            Self::Null => "null".to_owned(),
            other => other.type_name().to_owned(),
        }
    }

    /// As JSON, for what has a form there: bytes in base64, times as RFC 3339, durations in seconds. Costs a sixteenth for each element, and for each
    /// sixteen bytes of it.
    pub fn to_json(&self, budget: &mut Budget) -> Result<Json, EvalError> {
        budget.work(1 + self.bytes() / 16)?;
        Ok(match self {
            Self::Null | Self::Optional(None) => Json::Null,
            Self::Bool(b) => Json::from(*b),
            Self::Int(i) => Json::from(*i),
            Self::Uint(u) => Json::from(*u),
            Self::Double(f) => Json::from(*f),
            Self::String(text) => Json::from(&**text),
            Self::Optional(Some(inner)) => inner.to_json(budget)?,
            Self::List(list) => list.iter().map(|item| item.to_json(budget)).collect::<Result<_, _>>().map(Json::Array)?,
            Self::Map(map) => {
                let mut fields = serde_json::Map::new();
                for (key, value) in map.entries(budget)? {
                    budget.work(key.bytes() / 16)?;
                    let key = key.as_str().map_or_else(|| key.shown(), str::to_owned);
                    fields.insert(key, value.to_json(budget)?);
                }
                Json::Object(fields)
            }
            other => Json::from(crate::functions::convert::to_string(other).ok_or(EvalError::NoSuchOverload)?),
        })
    }
}

fn deeper(inner: Option<u16>) -> Result<u16, EvalError> {
    let depth = inner.map_or(0, |inner| inner + 1);
    if depth > MAX_DEPTH { Err(EvalError::other(format!("a value is more than {MAX_DEPTH} levels deep"))) } else { Ok(depth) }
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, ..) => items.len(),
            Self::Owned(list) => list.items.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        match self {
            Self::Json(items, element, _) => items.get(index).map(|item| Value::from_json(item, element)),
            Self::Owned(list) => list.items.get(index).cloned(),
        }
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Value<'a>> + use<'a, '_> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// How its elements belong together.
    pub fn kind(&self) -> &ListKind {
        match self {
            Self::Json(_, _, kind) => kind,
            Self::Owned(_) => &ATOMIC,
        }
    }
}

impl<'a> Map<'a> {
    /// How many entries it has; of an object of which the type knows less than the JSON has, at most so many.
    pub fn size(&self) -> usize {
        match self {
            Self::Json(fields, _) => fields.len(),
            Self::Owned(map) => map.entries.len(),
            Self::Lazy(_) => 0,
        }
    }

    /// How many entries it has. Goes through an object's fields, for a quarter of a step each.
    pub fn count(&self, budget: &mut Budget) -> Result<usize, EvalError> {
        if let Self::Json(fields, Shape::Object(object)) = self {
            budget.work(fields.len() / 4)?;
            return Ok(fields.keys().filter(|property| object.property(property).is_some()).count());
        }
        Ok(self.size())
    }

    /// The value of a field, as selection finds it.
    pub fn select(&self, name: &str, budget: &mut Budget) -> Result<Option<Value<'a>>, EvalError> {
        Ok(match self {
            Self::Json(fields, Shape::Unknown) => fields.get(name).map(Value::of),
            Self::Json(fields, Shape::Map(map)) => fields.get(name).map(|value| Value::from_json(value, &map.value)),
            Self::Json(fields, Shape::Object(object)) => {
                object.field(name).and_then(|field| fields.get(&field.property).map(|value| Value::from_json(value, &field.type_)))
            }
            Self::Owned(map) => {
                // For the key's copy.
                budget.work(name.len() / 16)?;
                map.entries.get(&Key::String(name.into())).map(|(_, value)| value.clone())
            }
            Self::Lazy(fields) => match fields.upgrade().and_then(|fields| fields.field(name, budget)) {
                Some(value) => Some(value?),
                None => None,
            },
        })
    }

    /// The value of a property by its name in JSON: what the keys of a list that is a map are called by.
    pub fn property(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(fields, Shape::Object(object)) => {
                let value = fields.get(name)?;
                Some(object.property(name).map_or_else(|| Value::of(value), |(_, field)| Value::from_json(value, &field.type_)))
            }
            Self::Json(fields, _) => fields.get(name).map(Value::of),
            Self::Owned(map) => map.entries.get(&Key::String(name.into())).map(|(_, value)| value.clone()),
            Self::Lazy(_) => None,
        }
    }

    /// The value of a key of any type.
    pub fn get(&self, key: &Value<'a>, budget: &mut Budget) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (_, Value::String(name)) => self.select(name, budget),
            (Self::Owned(map), key) => Ok(Key::of(key).and_then(|key| map.entries.get(&key)).map(|(_, value)| value.clone())),
            _ => Ok(None),
        }
    }

    /// All entries; none of what is made when it is asked for. Finding them costs a quarter of a step for each.
    pub fn entries(&self, budget: &mut Budget) -> Result<Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_>, EvalError> {
        budget.work(self.size() / 4)?;
        Ok(match self {
            Self::Json(fields, Shape::Unknown) => Box::new(fields.iter().map(|(key, value)| (Value::text(key), Value::of(value)))),
            Self::Json(fields, Shape::Map(map)) => {
                let map = *map;
                Box::new(fields.iter().map(move |(key, value)| (Value::text(key), Value::from_json(value, &map.value))))
            }
            Self::Json(fields, Shape::Object(object)) => {
                let (fields, object) = (*fields, *object);
                Box::new(fields.iter().filter_map(move |(property, value)| {
                    let (name, field) = object.property(property)?;
                    Some((Value::text(name), Value::from_json(value, &field.type_)))
                }))
            }
            Self::Owned(map) => Box::new(map.entries.values().cloned()),
            Self::Lazy(_) => Box::new(std::iter::empty()),
        })
    }
}

impl Key {
    /// `None` for what cannot be a key.
    pub fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(i) => Self::Number((*i).into()),
            Value::Uint(u) => Self::Number((*u).into()),
            #[allow(clippy::cast_possible_truncation, reason = "whole and within 64 bits, as the line before says")]
            Value::Double(f) if f.fract() == 0.0 && f.abs() < 2e19 => Self::Number(*f as i128),
            Value::String(text) => Self::String((**text).into()),
            _ => return None,
        })
    }
}

impl<'a> From<bool> for Value<'a> {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}
