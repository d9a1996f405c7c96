//! The structure of every kind, as patches need it: how lists and maps merge, and by which keys. Compiled once, compact, read-only.

mod compile;

use serde_json::Value;
use std::collections::HashMap;

/// How the items of a list belong together (`x-kubernetes-list-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType<'s> {
    /// One value, owned and replaced as a whole.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects, told apart by these fields (`x-kubernetes-list-map-keys`).
    Map(&'s [Box<str>]),
}

/// What the schema says about a place in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape<'s> {
    Scalar,
    /// An object whose fields are owned and merged one by one.
    Granular,
    /// An object that is one value.
    AtomicMap,
    List(ListType<'s>),
    /// The schema says nothing; the value decides: objects are granular, all else is one value.
    Deduced,
    /// The schema says nothing, and the value is owned as a whole (embedded extensions, arbitrary JSON).
    Opaque,
}

/// What a scalar of one type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarType {
    String,
    Numeric,
    Boolean,
}

/// The kinds' structures. Names are interned and nodes are indices: about a hundred kilobytes for all of Kubernetes.
#[derive(Debug)]
pub struct Schema {
    nodes: Vec<Node>,
    fields: Vec<Field>,
    names: Vec<Box<str>>,
    rules: Vec<Rule>,
    /// Root nodes by `GROUP/VERSION/KIND`.
    kinds: HashMap<Box<str>, u32>,
}

/// A place in the structure of a kind: follow it with [`Place::field`] and [`Place::item`].
#[derive(Clone, Copy, Debug)]
pub struct Place<'s> {
    schema: &'s Schema,
    slot: Slot,
}

/// A node together with what the field that holds it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Slot {
    node: u32,
    rule: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    Scalar(Scalar),
    Deduced,
    Opaque,
    /// Fields `first..last` sorted by name; `rest` is what other names hold (`additionalProperties`).
    Object {
        first: u32,
        last: u32,
        rest: Option<Slot>,
        atomic: bool,
    },
    List(Slot),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Scalar {
    String,
    Integer,
    Boolean,
    Other,
}

#[derive(Debug)]
struct Field {
    name: u32,
    slot: Slot,
    required: bool,
}

/// The extensions at a field; most fields have none and share rule 0.
#[derive(Debug, Default, PartialEq)]
struct Rule {
    list_type: Option<RuleListType>,
    keys: Vec<Box<str>>,
    atomic_map: Option<bool>,
    merge: bool,
    retain_keys: bool,
    replace: bool,
    merge_key: Option<Box<str>>,
    default: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleListType {
    Atomic,
    Set,
    Map,
}

/// The definitions are not what the compiler understands.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("definitions: not an object of schemas")]
    NotAnObject,
    #[error("{definition}: reference to {target}, which does not exist")]
    Dangling { definition: String, target: String },
    #[error("{definition}: more than 65535 distinct rules")]
    TooManyRules { definition: String },
}

impl Schema {
    /// Compiles the schemas of an OpenAPI document's `definitions` or `components.schemas` (name → schema).
    pub fn from_definitions(definitions: &Value) -> Result<Self, SchemaError> {
        compile::compile(definitions)
    }

    /// A schema that knows no kind: every object is deduced. For kinds without a published structure.
    pub fn empty() -> Self {
        compile::empty()
    }

    /// Where objects of a kind begin; `None` for kinds without a definition.
    pub fn root(&self, group: &str, version: &str, kind: &str) -> Option<Place<'_>> {
        let node = *self.kinds.get(format!("{group}/{version}/{kind}").as_str())?;
        Some(Place { schema: self, slot: Slot { node, rule: 0 } })
    }

    /// Like [`Schema::root`], with a place where everything is deduced for unknown kinds.
    pub fn root_or_deduced(&self, group: &str, version: &str, kind: &str) -> Place<'_> {
        self.root(group, version, kind).unwrap_or(Place { schema: self, slot: compile::DEDUCED })
    }
}

impl<'s> Place<'s> {
    /// How values here are owned and merged.
    pub fn shape(self) -> Shape<'s> {
        match self.node() {
            Node::Scalar(_) => Shape::Scalar,
            Node::Deduced => Shape::Deduced,
            Node::Opaque => Shape::Opaque,
            Node::Object { atomic, .. } => {
                if self.rule().atomic_map.unwrap_or(*atomic) {
                    Shape::AtomicMap
                } else {
                    Shape::Granular
                }
            }
            Node::List(_) => Shape::List(self.list_type()),
        }
    }

    /// The type of a scalar; `None` for what is no scalar, or one of several types (quantities, integers or strings).
    pub fn scalar_type(self) -> Option<ScalarType> {
        match self.node() {
            Node::Scalar(Scalar::String) => Some(ScalarType::String),
            Node::Scalar(Scalar::Integer) => Some(ScalarType::Numeric),
            Node::Scalar(Scalar::Boolean) => Some(ScalarType::Boolean),
            _ => None,
        }
    }

    /// The place of a field or map entry. Names that the schema does not have lead to a deduced place.
    pub fn field(self, name: &str) -> Place<'s> {
        let slot = match self.node() {
            Node::Object { rest, .. } => self.declared(name).map(|field| field.slot).or(*rest),
            Node::Opaque => Some(compile::OPAQUE),
            _ => None,
        };
        Place { slot: slot.unwrap_or(compile::DEDUCED), ..self }
    }

    /// Whether the schema declares this field by name (as opposed to an entry of a map).
    pub fn declares(self, name: &str) -> bool {
        self.declared(name).is_some()
    }

    /// Whether an object here may not have a field of this name.
    pub fn refuses(self, name: &str) -> bool {
        matches!(self.node(), Node::Object { rest: None, .. }) && !self.declares(name)
    }

    /// The place of the items of a list.
    pub fn item(self) -> Place<'s> {
        let slot = match self.node() {
            Node::List(item) => *item,
            Node::Opaque => compile::OPAQUE,
            _ => compile::DEDUCED,
        };
        Place { slot, ..self }
    }

    /// What a missing key field of a list item stands for: its default, or the zero value of a required field.
    pub fn key_default(self, key: &str) -> Option<Value> {
        let field = self.declared(key)?;
        let place = Place { slot: field.slot, ..self };
        if let Some(default) = &place.rule().default {
            return Some(default.clone());
        }
        match (field.required, place.node()) {
            (true, Node::Scalar(Scalar::String)) => Some(Value::from("")),
            (true, Node::Scalar(Scalar::Integer)) => Some(Value::from(0)),
            (true, Node::Scalar(Scalar::Boolean)) => Some(Value::from(false)),
            _ => None,
        }
    }

    /// Strategic merge: lists merge item by item (`x-kubernetes-patch-strategy: merge`).
    pub fn merges(self) -> bool {
        self.rule().merge
    }

    /// Strategic merge: objects are replaced instead of merged (`x-kubernetes-patch-strategy: replace`).
    pub fn replaces(self) -> bool {
        self.rule().replace
    }

    /// Strategic merge: only the fields that the patch lists are kept (`x-kubernetes-patch-strategy: retainKeys`).
    pub fn retains_keys(self) -> bool {
        self.rule().retain_keys
    }

    /// Strategic merge: the field that tells items apart (`x-kubernetes-patch-merge-key`); `None` for lists of scalars.
    pub fn merge_key(self) -> Option<&'s str> {
        self.rule().merge_key.as_deref()
    }

    fn list_type(self) -> ListType<'s> {
        let rule = self.rule();
        match rule.list_type {
            Some(RuleListType::Set) => ListType::Set,
            Some(RuleListType::Map) => ListType::Map(&rule.keys),
            _ => ListType::Atomic,
        }
    }

    fn declared(self, name: &str) -> Option<&'s Field> {
        let Node::Object { first, last, .. } = self.node() else { return None };
        let fields = &self.schema.fields[*first as usize..*last as usize];
        let index = fields.binary_search_by(|field| (*self.schema.names[field.name as usize]).cmp(name)).ok()?;
        Some(&fields[index])
    }

    fn node(self) -> &'s Node {
        &self.schema.nodes[self.slot.node as usize]
    }

    fn rule(self) -> &'s Rule {
        &self.schema.rules[self.slot.rule as usize]
    }
}

#[cfg(test)]
pub(crate) mod tests;
