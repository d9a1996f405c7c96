//! Types of expressions, as the checker knows them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of a variable or an expression. The bounds of strings, lists and maps only serve the estimate of costs ([`crate::estimate`]):
/// they do not make types differ.
#[derive(Clone, Debug)]
pub enum Type {
    /// Known only when it is evaluated.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    /// At most so many characters.
    String(Bound),
    /// At most so many bytes.
    Bytes(Bound),
    Timestamp,
    Duration,
    List(Arc<ListType>),
    Map(Arc<MapType>),
    Optional(Arc<Type>),
    /// Fields with names and types: a part of an object that a schema describes.
    Object(Arc<ObjectType>),
    /// A type of a library, by name (`kubernetes.Quantity`, `net.IP` …).
    Opaque(&'static str),
    /// The type of a type.
    Type(Arc<Type>),
    /// To be found out by the checker.
    Var(u32),
    /// Of what is wrong already: fits everything, so that one fault is told once.
    Error,
}

/// The most that something has of characters, bytes or elements; [`Bound::NONE`] where nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound(pub u64);

impl Bound {
    pub const NONE: Self = Self(u64::MAX);
}

/// How elements of a list belong together (`x-kubernetes-list-type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    Atomic,
    /// Equal whatever the order; adding lists adds what is not there.
    Set,
    /// Elements known by these properties; adding lists replaces those of the same keys.
    Map(Vec<String>),
}

#[derive(Debug)]
pub struct ListType {
    pub element: Type,
    pub max: Bound,
    pub kind: ListKind,
}

#[derive(Debug)]
pub struct MapType {
    pub key: Type,
    pub value: Type,
    pub max: Bound,
}

#[derive(Debug)]
pub struct ObjectType {
    pub name: String,
    /// By the name that expressions use ([`crate::escape`]).
    fields: BTreeMap<String, Field>,
    /// Names that expressions use by properties' names in JSON, where both differ.
    escaped: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Field {
    /// The property's name in JSON.
    pub property: String,
    pub type_: Type,
}

impl Type {
    /// Of any length.
    pub const STRING: Self = Self::String(Bound::NONE);
    /// Of any length.
    pub const BYTES: Self = Self::Bytes(Bound::NONE);

    /// Of any length, in order.
    pub fn list(element: Self) -> Self {
        Self::List(Arc::new(ListType { element, max: Bound::NONE, kind: ListKind::Atomic }))
    }

    pub fn list_of(element: Self, max: Bound, kind: ListKind) -> Self {
        Self::List(Arc::new(ListType { element, max, kind }))
    }

    /// Of any length.
    pub fn map(key: Self, value: Self) -> Self {
        Self::map_of(key, value, Bound::NONE)
    }

    pub fn map_of(key: Self, value: Self, max: Bound) -> Self {
        Self::Map(Arc::new(MapType { key, value, max }))
    }

    pub fn optional(inner: Self) -> Self {
        Self::Optional(Arc::new(inner))
    }

    /// `properties`: name in JSON, and type. Names that no expression can write are left out, as upstream does.
    pub fn object(name: impl Into<String>, properties: impl IntoIterator<Item = (String, Self)>) -> Self {
        let mut object = ObjectType::empty(&name.into());
        for (property, type_) in properties {
            if let Some(name) = crate::escape(&property) {
                object.insert(&name, Field { property, type_ });
            }
        }
        Self::Object(Arc::new(object))
    }

    /// The same, with fields whose names are taken as they are (no escaping): types that Kubernetes declares in code.
    pub fn native(name: impl Into<String>, fields: impl IntoIterator<Item = (String, Self)>) -> Self {
        let mut object = ObjectType::empty(&name.into());
        for (property, type_) in fields {
            object.insert(&property.clone(), Field { property, type_ });
        }
        Self::Object(Arc::new(object))
    }

    /// Whether both are the same type, bounds apart.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(a), Self::List(b)) => a.element.same(&b.element),
            (Self::Map(a), Self::Map(b)) => a.key.same(&b.key) && a.value.same(&b.value),
            (Self::Optional(a), Self::Optional(b)) | (Self::Type(a), Self::Type(b)) => a.same(b),
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a.name == b.name,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (Self::Var(a), Self::Var(b)) => a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl ObjectType {
    pub(crate) fn empty(name: &str) -> Self {
        Self { name: name.to_owned(), fields: BTreeMap::new(), escaped: BTreeMap::new() }
    }

    pub(crate) fn insert(&mut self, name: &str, field: Field) {
        if field.property != name {
            self.escaped.insert(field.property.clone(), name.to_owned());
        }
        self.fields.insert(name.to_owned(), field);
    }

    /// The field of the name that expressions use.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    /// The field of a property's name in JSON, with the name that expressions use.
    pub fn property(&self, property: &str) -> Option<(&str, &Field)> {
        let name = self.escaped.get(property).map_or(property, String::as_str);
        self.fields.get_key_value(name).filter(|(_, field)| field.property == property).map(|(name, field)| (name.as_str(), field))
    }
}

/// As messages name it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn | Self::Var(_) => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String(_) => f.write_str("string"),
            Self::Bytes(_) => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(list) => write!(f, "list({})", list.element),
            Self::Map(map) => write!(f, "map({}, {})", map.key, map.value),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Object(object) => f.write_str(&object.name),
            Self::Opaque(name) => f.write_str(name),
            Self::Type(inner) => write!(f, "type({inner})"),
            Self::Error => f.write_str("!error!"),
        }
    }
}
