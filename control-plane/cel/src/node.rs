//! An expression as it is evaluated: names resolved, functions found, constant patterns compiled.

use crate::ast::{How, Select};
use crate::functions::Native;
use crate::functions::regex::Pattern;
use std::sync::Arc;

#[derive(Debug)]
pub enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    /// A type, by name.
    Type(String),
    /// Of a macro, by its place among those in scope.
    Local(usize),
    Variable(String),
    Select {
        operand: Box<Node>,
        field: String,
        how: Select,
    },
    Call {
        function: Native,
        args: Vec<Node>,
    },
    /// A function of regular expressions whose pattern is constant; `args` without it.
    Match {
        function: crate::functions::regex::Function,
        pattern: Arc<Pattern>,
        args: Vec<Node>,
    },
    And(Vec<Node>),
    Or(Vec<Node>),
    /// Condition, and the value for each outcome.
    Choice(Box<[Node; 3]>),
    /// `a.orValue(b)`: the second is only evaluated where it is needed.
    OrElse {
        optional: Box<Node>,
        other: Box<Node>,
        unwrap: bool,
    },
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Fold(Box<FoldNode>),
}

#[derive(Debug)]
pub struct FoldNode {
    pub how: How,
    pub range: Node,
    pub variables: usize,
    pub filter: Option<Node>,
    pub body: Node,
    pub value: Option<Node>,
}
