//! Structural schemas: the form of a custom resource as its definition gives it, compiled once and read-only.
//!
//! A [`Node`] says what is kept at a place ([`Node::prune`]), what is filled in ([`Node::fill`]), and what is right there ([`Node::complaints`]). Rules for the
//! schema itself are [`problems`]. Nothing refers back to itself (`$ref` is not supported), and no schema is nested deeper than [`MAX_DEPTH`], so every walk
//! ends: values are followed only as far as the schema goes.

pub mod cel;
mod compile;
mod default;
mod embedded;
mod field_path;
mod format;
mod junctors;
mod lists;
mod prune;
mod rules;
mod same;
mod scalar;
mod structural;
mod validate;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

pub use compile::CompileError;
pub use embedded::{Metadata, read_metadata};
pub use field_path::{FieldPath, MAX_SELECTABLE_BYTES, selectable_fields};
pub use format::Format;
pub use rules::{Reason, Rule};
pub use structural::problems;

use orknet_cel::Pattern;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many schemas may stand inside of each other. What a request's JSON can nest is less.
pub const MAX_DEPTH: usize = 100;

/// The schema of one place.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub types: Types,
    pub nullable: bool,
    pub default: Option<Value>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserves_unknown: bool,
    /// `x-kubernetes-embedded-resource`: an object with `apiVersion`, `kind` and `metadata`.
    pub is_embedded: bool,
    pub properties: BTreeMap<String, Node>,
    pub rest: Rest,
    pub items: Option<Box<Node>>,
    pub list: List,
    /// `x-kubernetes-map-type: atomic`.
    pub is_atomic: bool,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    checks: Option<Box<Checks>>,
}

/// Types that a value may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Types {
    /// Nothing is said.
    #[default]
    Any,
    One(Type),
    /// `x-kubernetes-int-or-string`.
    IntOrString,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Array,
    Boolean,
    Integer,
    Number,
    Object,
    String,
}

/// What fields that are not named hold (`additionalProperties`).
#[derive(Clone, Debug, Default)]
pub enum Rest {
    #[default]
    Undeclared,
    /// `true`.
    Any,
    /// `false`.
    Forbidden,
    Of(Box<Node>),
}

/// `x-kubernetes-list-type`; a list without one is atomic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum List {
    #[default]
    Atomic,
    Set,
    /// Items are told apart by these fields.
    Map(Vec<String>),
}

/// Value validations.
#[derive(Clone, Debug, Default)]
struct Checks {
    /// As the schema writes it, and what it asks of a text, where that is known.
    format: Option<(String, Option<Format>)>,
    maximum: Option<f64>,
    exclusive_maximum: bool,
    minimum: Option<f64>,
    exclusive_minimum: bool,
    multiple_of: Option<f64>,
    max_length: Option<i64>,
    min_length: Option<i64>,
    pattern: Option<(String, Arc<Pattern>)>,
    max_items: Option<i64>,
    min_items: Option<i64>,
    max_properties: Option<i64>,
    min_properties: Option<i64>,
    required: Vec<String>,
    values: Vec<Value>,
    all_of: Vec<Node>,
    any_of: Vec<Node>,
    one_of: Vec<Node>,
    not: Option<Box<Node>>,
}

impl Type {
    const ALL: [Self; 6] = [Self::Array, Self::Boolean, Self::Integer, Self::Number, Self::Object, Self::String];

    pub fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl Types {
    fn contains(self, one: Type) -> bool {
        match self {
            Self::Any => false,
            Self::One(own) => own == one,
            Self::IntOrString => matches!(one, Type::Integer | Type::String),
        }
    }

    /// As messages name them.
    fn text(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::One(own) => own.name(),
            Self::IntOrString => "integer,string",
        }
    }
}

impl Node {
    /// The schema of a field; `None`: nothing is known about it.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(match &self.rest {
            Rest::Of(node) => Some(node),
            _ => None,
        })
    }

    /// Whether there is anything to fill in, here or below.
    pub fn has_defaults(&self) -> bool {
        self.any(&|node| node.default.is_some())
    }

    /// Whether a node here or below is such a one. Value validations hold no structure and are not looked at.
    pub fn any(&self, is: &impl Fn(&Self) -> bool) -> bool {
        let rest = match &self.rest {
            Rest::Of(node) => Some(&**node),
            _ => None,
        };
        is(self) || self.properties.values().chain(self.items.as_deref()).chain(rest).any(|node| node.any(is))
    }
}
