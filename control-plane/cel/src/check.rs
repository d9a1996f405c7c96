//! The checker: resolves names and functions, finds the types, and makes what is evaluated. Words of faults are cel-go's (`checker/errors.go`).

use crate::ast::{Expr, ExprKind, Fold, How, Select};
use crate::declarations::{FUNCTIONS, TYPE_PARAMETERS, named_type};
use crate::error::Issue;
use crate::estimate::{Estimate, Guess};
use crate::functions;
use crate::functions::regex::{self, Patterns};
use crate::node::{FoldNode, Node};
use crate::parser::qualified;
use crate::types::Type;
use crate::unify::{Types, capped, shifted};
use std::collections::BTreeMap;

/// How much of the compile may be spent on types: each argument tried for each overload is one. An honest expression of the greatest length needs less.
const MAX_CHECKS: usize = 4_000_000;

pub struct Checker<'s> {
    source: &'s str,
    variables: &'s BTreeMap<String, Type>,
    patterns: &'s Patterns,
    /// Variables of macros, from the outermost.
    locals: Vec<(String, Type, Guess)>,
    types: Types,
    pub issues: Vec<Issue>,
    checks: usize,
}

/// A checked expression.
pub struct Checked {
    pub node: Node,
    pub type_: Type,
    /// The most that it costs, and how large its value may be.
    pub guess: Guess,
}

impl<'s> Checker<'s> {
    pub fn new(source: &'s str, variables: &'s BTreeMap<String, Type>, patterns: &'s Patterns) -> Self {
        Self { source, variables, patterns, locals: Vec::new(), types: Types::default(), issues: Vec::new(), checks: 0 }
    }

    /// The type with nothing left open.
    pub fn finished(&self, type_: &Type) -> Type {
        self.types.resolve(type_, Some(&Type::Dyn))
    }

    fn wrong(&mut self, at: u32, message: String) {
        // The first hundred tell enough (cel-go's limit of reported errors).
        if self.issues.len() < 100 {
            self.issues.push(Issue::at(self.source, at as usize, message));
        }
    }

    fn undeclared(&mut self, at: u32, name: &str) -> Checked {
        self.wrong(at, format!("undeclared reference to '{name}' (in container '')"));
        broken()
    }

    pub fn check(&mut self, expr: &Expr) -> Checked {
        match &expr.kind {
            ExprKind::Null => constant(Node::Null, Type::Null, 1),
            ExprKind::Bool(b) => constant(Node::Bool(*b), Type::Bool, 1),
            ExprKind::Int(i) => constant(Node::Int(*i), Type::Int, 1),
            ExprKind::Uint(u) => constant(Node::Uint(*u), Type::Uint, 1),
            ExprKind::Double(f) => constant(Node::Double(*f), Type::Double, 1),
            ExprKind::String(text) => constant(Node::String(text.clone()), Type::STRING, text.chars().count() as u64),
            ExprKind::Bytes(bytes) => constant(Node::Bytes(bytes.clone()), Type::BYTES, bytes.len() as u64),
            ExprKind::Ident(name) => self.name(name).unwrap_or_else(|| self.undeclared(expr.at, name)),
            ExprKind::Select { operand, field, how } => self.select(expr, operand, field, *how),
            ExprKind::Call { target, function, args } => self.call(expr.at, target.as_deref(), function, args),
            ExprKind::And(operands) => self.logic(expr.at, operands, "_&&_", Node::And),
            ExprKind::Or(operands) => self.logic(expr.at, operands, "_||_", Node::Or),
            ExprKind::List(items) => self.list(items, false),
            ExprKind::Map(entries) => self.map(entries),
            ExprKind::Struct { name, fields } => {
                for (_, value, _) in fields {
                    self.check(value);
                }
                // Objects of declared types come from outside; expressions make maps.
                self.undeclared(expr.at, name)
            }
            ExprKind::Fold(fold) => self.fold(expr.at, fold),
        }
    }

    /// A variable of a macro, a declared variable or a type.
    fn name(&mut self, name: &str) -> Option<Checked> {
        if let Some((place, (_, type_, guess))) = self.locals.iter().enumerate().rev().find(|(_, (known, ..))| known == name) {
            return Some(Checked { node: Node::Local(place), type_: type_.clone(), guess: Guess { cost: 1, ..*guess } });
        }
        if let Some(type_) = self.variables.get(name) {
            let guess = Guess { cost: 1, size: Estimate::size_of(type_) };
            return Some(Checked { node: Node::Variable(name.to_owned()), type_: type_.clone(), guess });
        }
        let type_ = named_type(name)?;
        Some(constant(Node::Type(name.to_owned()), Type::Type(type_.into()), 1))
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, how: Select) -> Checked {
        if how == Select::Value
            && let Some(name) = qualified(expr)
            && !self.locals.iter().any(|(known, ..)| name.split('.').next() == Some(known))
            && let Some(found) = self.name(&name)
        {
            return found;
        }
        let inner = self.check(operand);
        let of = self.types.resolve(&inner.type_, None);
        let (of, chained) = match of {
            Type::Optional(value) => (self.types.resolve(&value, None), true),
            other => (other, false),
        };
        let found = match &of {
            Type::Error => Type::Error,
            Type::Dyn | Type::Var(_) => Type::Dyn,
            Type::Map(map) => map.value.clone(),
            Type::Object(object) => match object.field(field) {
                Some(field) => field.type_.clone(),
                None => {
                    self.wrong(expr.at, format!("undefined field '{field}'"));
                    Type::Error
                }
            },
            other => {
                self.wrong(expr.at, format!("type '{other}' does not support field selection"));
                Type::Error
            }
        };
        let size = Estimate::size_of(&found);
        let type_ = match how {
            Select::Test => Type::Bool,
            _ if matches!(found, Type::Error) => Type::Error,
            Select::Optional => Type::optional(found),
            Select::Value if chained => Type::optional(found),
            Select::Value => found,
        };
        let cost = inner.guess.cost.saturating_add(u64::from(how != Select::Test));
        let node = Node::Select { operand: Box::new(inner.node), field: field.to_owned(), how };
        Checked { node, type_, guess: Guess { cost, size } }
    }

    fn logic(&mut self, at: u32, operands: &[Expr], function: &str, node: fn(Vec<Node>) -> Node) -> Checked {
        let mut cost = 0_u64;
        let mut nodes = Vec::with_capacity(operands.len());
        for operand in operands {
            let checked = self.check(operand);
            if !self.types.fits(&checked.type_, &Type::Bool) {
                let found = self.finished(&checked.type_);
                let (left, right) = if nodes.is_empty() { (found, Type::Bool) } else { (Type::Bool, found) };
                self.wrong(at, format!("found no matching overload for '{function}' applied to '({left}, {right})'"));
            }
            cost = cost.saturating_add(checked.guess.cost);
            nodes.push(checked.node);
        }
        Checked { node: node(nodes), type_: Type::Bool, guess: Guess { cost, size: 1 } }
    }

    fn call(&mut self, at: u32, target: Option<&Expr>, function: &str, args: &[Expr]) -> Checked {
        // A function whose name has dots, unless the target is a variable.
        let dotted =
            target.and_then(qualified).map(|space| format!("{space}.{function}")).filter(|name| FUNCTIONS.contains_key(name.as_str()));
        let (target, name) = match &dotted {
            Some(name) => (None, name.as_str()),
            None => (target, function),
        };
        let member = target.is_some();
        let checked: Vec<Checked> = target
            .into_iter()
            .chain(args)
            .map(|arg| match &arg.kind {
                // What is to be shown may be of any types.
                ExprKind::List(items) if name == "format" => self.list(items, true),
                _ => self.check(arg),
            })
            .collect();
        let Some(overloads) = FUNCTIONS.get(name) else { return self.undeclared(at, name) };
        let given: Vec<Type> = checked.iter().map(|arg| self.types.resolve(&arg.type_, None)).collect();
        self.checks += overloads.len() * (given.len() + 1);
        if self.checks > MAX_CHECKS {
            self.issues.truncate(0);
            self.wrong(at, "expression is too complex to be checked".to_owned());
            return broken();
        }
        let mut result: Option<Type> = None;
        for overload in overloads.iter().filter(|overload| overload.member == member && overload.args.len() == given.len()) {
            let first = self.types.instantiate(TYPE_PARAMETERS);
            let wanted: Vec<Type> = overload.args.iter().map(|arg| shifted(arg, first)).collect();
            if self.types.all_fit(&given, &wanted) {
                let found = self.types.resolve(&shifted(&overload.result, first), None);
                result = Some(match result {
                    None => found,
                    Some(before) if before.same(&found) => before,
                    Some(_) => Type::Dyn,
                });
            }
        }
        let Some(type_) = result else {
            if !given.iter().any(|arg| matches!(arg, Type::Error)) {
                let shown: Vec<String> = given.iter().map(|arg| self.finished(arg).to_string()).collect();
                let signature = match &shown[..] {
                    [target, args @ ..] if member => format!("{target}.({})", args.join(", ")),
                    all => format!("({})", all.join(", ")),
                };
                self.wrong(at, format!("found no matching overload for '{name}' applied to '{signature}'"));
            }
            return broken();
        };
        let type_ = capped(type_);
        let guess = Estimate::call(name, &given, &checked, &type_);
        let literal_at = args.last().map_or(at, |arg| arg.at);
        let mut nodes: Vec<Node> = checked.into_iter().map(|arg| arg.node).collect();
        if name == "sum" {
            // Of an empty list only its type tells which zero it is.
            nodes.extend(zero(&type_));
        }
        let node = self.callee(name, nodes, literal_at);
        Checked { node, type_, guess }
    }

    /// What is evaluated for a call; constant patterns, durations and times are looked at now.
    fn callee(&mut self, name: &str, mut args: Vec<Node>, at: u32) -> Node {
        if name == "_?_:_" {
            return match <[Node; 3]>::try_from(args) {
                Ok(parts) => Node::Choice(Box::new(parts)),
                Err(_) => Node::Null,
            };
        }
        if matches!(name, "orValue" | "or")
            && args.len() == 2
            && let (Some(other), Some(optional)) = (args.pop(), args.pop())
        {
            return Node::OrElse { optional: Box::new(optional), other: Box::new(other), unwrap: name == "orValue" };
        }
        if let Some(function) = regex::Function::of(name)
            && let Some(Node::String(pattern)) = args.get(1)
        {
            match self.patterns.of_expression(pattern) {
                Ok(pattern) => {
                    args.remove(1);
                    return Node::Match { function, pattern, args };
                }
                Err(why) => self.wrong(at, format!("invalid matches argument: {why}")),
            }
        }
        if let [Node::String(text)] = &args[..] {
            if name == "duration" && functions::time::parse_duration(text).is_none() {
                self.wrong(at, "invalid duration argument".to_owned());
            } else if name == "timestamp" && functions::time::parse_timestamp(text).is_none() {
                self.wrong(at, "invalid timestamp argument".to_owned());
            }
        }
        match functions::native(name) {
            Some(function) => Node::Call { function, args },
            None => Node::Null,
        }
    }

    /// The type of elements of which some came before.
    fn join(&mut self, at: u32, before: Option<Type>, next: &Type) -> Type {
        let next = self.types.resolve(next, None);
        match before {
            None => next,
            Some(before) if self.types.fits(&next, &before) => {
                if matches!(next, Type::Dyn) {
                    next
                } else {
                    before
                }
            }
            Some(before) => {
                let (wanted, found) = (self.finished(&before), self.finished(&next));
                self.wrong(at, format!("expected type '{wanted}' but found '{found}'"));
                before
            }
        }
    }

    /// The type inside of an optional element (`[?a]`).
    fn unwrapped(&mut self, at: u32, type_: &Type, optional: bool) -> Type {
        if !optional {
            return type_.clone();
        }
        let inner = self.types.fresh();
        if !self.types.fits(type_, &Type::optional(inner.clone())) {
            let found = self.finished(type_);
            self.wrong(at, format!("expected type 'optional_type(dyn)' but found '{found}'"));
            return Type::Error;
        }
        self.types.resolve(&inner, None)
    }

    fn list(&mut self, items: &[(Expr, bool)], mixed: bool) -> Checked {
        let (mut element, mut cost, mut nodes) = (None, 10_u64, Vec::with_capacity(items.len()));
        for (item, optional) in items {
            let checked = self.check(item);
            let type_ = self.unwrapped(item.at, &checked.type_, *optional);
            element = Some(if mixed { Type::Dyn } else { self.join(item.at, element, &type_) });
            cost = cost.saturating_add(checked.guess.cost);
            nodes.push((checked.node, *optional));
        }
        let element = element.unwrap_or_else(|| self.types.fresh());
        Checked { node: Node::List(nodes), type_: capped(Type::list(element)), guess: Guess { cost, size: items.len() as u64 } }
    }

    fn map(&mut self, entries: &[(Expr, Expr, bool)]) -> Checked {
        let (mut keys, mut values, mut cost, mut nodes) = (None, None, 30_u64, Vec::with_capacity(entries.len()));
        for (key, value, optional) in entries {
            let (k, v) = (self.check(key), self.check(value));
            keys = Some(self.join(key.at, keys, &k.type_));
            let type_ = self.unwrapped(value.at, &v.type_, *optional);
            values = Some(self.join(value.at, values, &type_));
            cost = cost.saturating_add(k.guess.cost).saturating_add(v.guess.cost);
            nodes.push((k.node, v.node, *optional));
        }
        let key = keys.unwrap_or_else(|| self.types.fresh());
        let value = values.unwrap_or_else(|| self.types.fresh());
        Checked { node: Node::Map(nodes), type_: capped(Type::map(key, value)), guess: Guess { cost, size: entries.len() as u64 } }
    }

    fn fold(&mut self, at: u32, fold: &Fold) -> Checked {
        let range = self.check(&fold.range);
        let of = self.types.resolve(&range.type_, None);
        let two = fold.variables.len() == 2;
        let variables: Vec<Type> = match (&of, fold.how) {
            (Type::Dyn | Type::Error | Type::Var(_), _) => vec![Type::Dyn; fold.variables.len()],
            (Type::Optional(inner), How::OptMap | How::OptFlatMap) => vec![(**inner).clone()],
            (found, How::OptMap | How::OptFlatMap) => {
                self.wrong(at, format!("found no matching overload for 'hasValue' applied to '{found}.()'"));
                vec![Type::Error]
            }
            (Type::List(list), _) if two => vec![Type::Int, list.element.clone()],
            (Type::List(list), _) => vec![list.element.clone()],
            (Type::Map(map), _) if two => vec![map.key.clone(), map.value.clone()],
            (Type::Map(map), _) => vec![map.key.clone()],
            (found, _) => {
                let message = format!("expression of type '{found}' cannot be range of a comprehension (must be list, map, or dynamic)");
                self.wrong(fold.range.at, message);
                vec![Type::Error; fold.variables.len()]
            }
        };
        let outer = self.locals.len();
        for (name, type_) in fold.variables.iter().zip(variables.iter()) {
            let guess = Guess { cost: 1, size: Estimate::size_of(type_) };
            self.locals.push((name.clone(), type_.clone(), guess));
        }
        let filter = fold.filter.as_ref().map(|filter| self.check(filter));
        let body = self.check(&fold.body);
        let value = fold.value.as_ref().map(|value| self.check(value));
        self.locals.truncate(outer);
        if let Some(filter) = &filter {
            self.must_be_bool(at, filter, "_?_:_", true);
        }
        match fold.how {
            How::All => self.must_be_bool(at, &body, "_&&_", false),
            How::Exists => self.must_be_bool(at, &body, "_||_", false),
            How::ExistsOne | How::Filter => self.must_be_bool(at, &body, "_?_:_", true),
            _ => {}
        }
        let type_ = capped(self.fold_type(at, fold.how, &variables, &of, &body, value.as_ref()));
        let costs = (filter.as_ref(), &body, value.as_ref());
        let guess = Estimate::fold(fold.how, range.guess, costs.0.map(|f| f.guess), costs.1.guess, costs.2.map(|v| v.guess));
        let node = FoldNode {
            how: fold.how,
            range: range.node,
            variables: fold.variables.len(),
            filter: filter.map(|filter| filter.node),
            body: body.node,
            value: value.map(|value| value.node),
        };
        Checked { node: Node::Fold(Box::new(node)), type_, guess }
    }

    fn fold_type(&mut self, at: u32, how: How, variables: &[Type], range: &Type, body: &Checked, value: Option<&Checked>) -> Type {
        let first = variables.first().cloned().unwrap_or(Type::Dyn);
        match how {
            How::All | How::Exists | How::ExistsOne => Type::Bool,
            How::Map | How::TransformList => Type::list(body.type_.clone()),
            How::Filter => Type::list(first),
            How::TransformMap => {
                let key = if matches!(range, Type::Dyn | Type::Var(_)) { Type::Dyn } else { first };
                Type::map(key, body.type_.clone())
            }
            How::TransformMapEntry => Type::map(body.type_.clone(), value.map_or(Type::Dyn, |value| value.type_.clone())),
            How::OptMap => Type::optional(body.type_.clone()),
            How::OptFlatMap => {
                let inner = self.types.fresh();
                if self.types.fits(&body.type_, &Type::optional(inner.clone())) {
                    return Type::optional(self.types.resolve(&inner, None));
                }
                let found = self.finished(&body.type_);
                self.wrong(at, format!("found no matching overload for '_?_:_' applied to '(bool, {found}, optional_type(dyn))'"));
                Type::Error
            }
        }
    }

    fn must_be_bool(&mut self, at: u32, checked: &Checked, function: &str, condition: bool) {
        if self.types.fits(&checked.type_, &Type::Bool) {
            return;
        }
        let found = self.finished(&checked.type_);
        let signature = if condition { format!("({found}, dyn, dyn)") } else { format!("(bool, {found})") };
        self.wrong(at, format!("found no matching overload for '{function}' applied to '{signature}'"));
    }
}

fn constant(node: Node, type_: Type, size: u64) -> Checked {
    Checked { node, type_, guess: Guess { cost: 0, size } }
}

/// Where it is not `0`.
fn zero(type_: &Type) -> Option<Node> {
    Some(match type_ {
        Type::Uint => Node::Uint(0),
        Type::Double => Node::Double(0.0),
        Type::Duration => Node::Call { function: functions::native("duration")?, args: vec![Node::String("0s".to_owned())] },
        _ => return None,
    })
}

fn broken() -> Checked {
    constant(Node::Null, Type::Error, 1)
}
