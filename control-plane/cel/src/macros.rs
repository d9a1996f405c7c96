//! Macros: `has`, the comprehensions over one and two variables, and those of optional values.

use crate::ast::{Expr, ExprKind, Fold, How, Select};
use crate::error::Issue;
use crate::parser::Parser;

/// A call with a target, or what its macro stands for.
pub enum Expanded {
    Macro(Expr),
    Call(Expr, Vec<Expr>),
}

/// `has(a.b)`; any other call gets its arguments back.
pub fn global(parser: &Parser<'_>, at: usize, name: &str, mut args: Vec<Expr>) -> Result<Result<Expr, Vec<Expr>>, Issue> {
    if name != "has" || args.len() != 1 {
        return Ok(Err(args));
    }
    match args.pop() {
        Some(Expr { kind: ExprKind::Select { operand, field, how: Select::Value }, height, .. }) => {
            parser.node(at, height - 1, ExprKind::Select { operand, field, how: Select::Test }).map(Ok)
        }
        other => {
            let at = other.map_or(at, |arg| arg.at as usize);
            Err(parser.issue(at, "invalid argument to has() macro".to_owned()))
        }
    }
}

/// `target.name(args)`.
pub fn member(parser: &Parser<'_>, at: usize, target: Expr, name: &str, args: Vec<Expr>) -> Result<Expanded, Issue> {
    // How many variables, and which argument is a condition on elements.
    let (how, variables, filter) = match (name, args.len()) {
        ("all", 2) => (How::All, 1, false),
        ("all", 3) => (How::All, 2, false),
        ("exists", 2) => (How::Exists, 1, false),
        ("exists", 3) => (How::Exists, 2, false),
        ("exists_one" | "existsOne", 2) => (How::ExistsOne, 1, false),
        ("exists_one" | "existsOne", 3) => (How::ExistsOne, 2, false),
        ("map", 2) => (How::Map, 1, false),
        ("map", 3) => (How::Map, 1, true),
        ("filter", 2) => (How::Filter, 1, false),
        ("transformList", 3) => (How::TransformList, 2, false),
        ("transformList", 4) => (How::TransformList, 2, true),
        ("transformMap", 3) => (How::TransformMap, 2, false),
        ("transformMap", 4) => (How::TransformMap, 2, true),
        ("transformMapEntry", 3) => (How::TransformMapEntry, 2, false),
        ("transformMapEntry", 4) => (How::TransformMapEntry, 2, true),
        ("optMap", 2) => (How::OptMap, 1, false),
        ("optFlatMap", 2) => (How::OptFlatMap, 1, false),
        _ => return Ok(Expanded::Call(target, args)),
    };
    let below = args.iter().map(|arg| arg.height).max().unwrap_or(0).max(target.height);
    let mut args = args.into_iter();
    let mut names = Vec::with_capacity(variables);
    for arg in args.by_ref().take(variables) {
        match arg.kind {
            ExprKind::Ident(name) if names.contains(&name) => {
                return Err(parser.issue(arg.at as usize, format!("duplicate variable name: {name}")));
            }
            ExprKind::Ident(name) => names.push(name),
            _ => return Err(parser.issue(arg.at as usize, "argument must be a simple name".to_owned())),
        }
    }
    let filter = if filter { args.next() } else { None };
    let Some(body) = args.next() else { return Err(parser.issue(at, format!("{name}() has too few arguments"))) };
    let (body, value) = match (how, body) {
        (How::TransformMapEntry, Expr { kind: ExprKind::Map(mut entries), at, .. }) => match (entries.pop(), entries.is_empty()) {
            (Some((key, value, false)), true) => (key, Some(value)),
            _ => return Err(parser.issue(at as usize, "transformMapEntry() needs a map of one entry".to_owned())),
        },
        (How::TransformMapEntry, other) => {
            return Err(parser.issue(other.at as usize, "transformMapEntry() needs a map of one entry".to_owned()));
        }
        (_, body) => (body, None),
    };
    let fold = Fold { how, range: target, variables: names, filter, body, value };
    parser.node(at, below, ExprKind::Fold(Box::new(fold))).map(Expanded::Macro)
}
