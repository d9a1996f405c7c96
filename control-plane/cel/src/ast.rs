//! An expression as it is written, macros expanded to [`Fold`]s.

/// One node, and where it is: the byte of the source that faults are told at.
#[derive(Debug)]
pub struct Expr {
    pub at: u32,
    /// Levels of the tree below and with it.
    pub height: u16,
    pub kind: ExprKind,
}

#[derive(Debug)]
pub enum ExprKind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Ident(String),
    Select {
        operand: Box<Expr>,
        field: String,
        how: Select,
    },
    /// Functions and operators (`_+_`, `_[_]`, …); `target.function(args)` where there is a target.
    Call {
        target: Option<Box<Expr>>,
        function: String,
        args: Vec<Expr>,
    },
    /// Any number of operands, from left to right.
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// Elements, and whether each is optional (`[?a]`).
    List(Vec<(Expr, bool)>),
    Map(Vec<(Expr, Expr, bool)>),
    /// `Name{field: value}`
    Struct {
        name: String,
        fields: Vec<(String, Expr, bool)>,
    },
    Fold(Box<Fold>),
}

/// How a field is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    Value,
    /// `has(a.b)`
    Test,
    /// `a.?b`
    Optional,
}

/// A macro that goes over a list or a map, or looks into an optional.
#[derive(Debug)]
pub struct Fold {
    pub how: How,
    pub range: Expr,
    /// One or two names.
    pub variables: Vec<String>,
    /// The condition on elements, of those that have one besides the body.
    pub filter: Option<Expr>,
    pub body: Expr,
    /// The value of `transformMapEntry`'s entry.
    pub value: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformList,
    TransformMap,
    TransformMapEntry,
    OptMap,
    OptFlatMap,
}
