//! The evaluator. Every step is paid for before it is taken, so an evaluation ends when its budget does; how deep it goes is the height of the tree,
//! which is bounded.

use crate::ast::{How, Select};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::estimate::step;
use crate::functions::Evaluated;
use crate::functions::operators::index;
use crate::node::{FoldNode, Node};
use crate::value::{Bytes, Map, Value, Variables};
use std::rc::Rc;

pub struct Machine<'a, 'm> {
    pub variables: &'m dyn Variables<'a>,
    pub budget: &'m mut Budget,
    /// Variables of the macros that are being gone through, from the outermost.
    pub locals: Vec<Value<'a>>,
}

impl<'a> Machine<'a, '_> {
    pub fn eval(&mut self, node: &'a Node) -> Evaluated<'a> {
        self.budget.work(1)?;
        match node {
            Node::Null => Ok(Value::Null),
            Node::Bool(b) => Ok(Value::Bool(*b)),
            Node::Int(i) => Ok(Value::Int(*i)),
            Node::Uint(u) => Ok(Value::Uint(*u)),
            Node::Double(f) => Ok(Value::Double(*f)),
            Node::String(text) => Ok(Value::text(text)),
            Node::Bytes(bytes) => self.bytes(bytes),
            Node::Type(name) => Ok(Value::Type(name.as_str().into())),
            Node::Local(place) => {
                self.budget.charge(1)?;
                self.locals.get(*place).cloned().ok_or_else(|| EvalError::NoSuchVariable(String::new()))
            }
            Node::Variable(name) => {
                self.budget.charge(1)?;
                self.variables.variable(name).ok_or_else(|| EvalError::NoSuchVariable(name.clone()))
            }
            Node::Select { operand, field, how } => self.select(operand, field, *how),
            Node::Call { function, args } => self.call(*function, args),
            Node::Match { function, pattern, args } => {
                let args = self.all(args)?;
                function.apply(pattern, &args, self.budget)
            }
            Node::And(operands) => self.logic(operands, false),
            Node::Or(operands) => self.logic(operands, true),
            Node::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                match self.eval(condition)? {
                    Value::Bool(true) => self.eval(yes),
                    Value::Bool(false) => self.eval(no),
                    _ => Err(EvalError::NoSuchOverload),
                }
            }
            Node::OrElse { optional, other, unwrap } => self.or_else(optional, other, *unwrap),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    #[inline(never)]
    fn bytes(&mut self, bytes: &'a [u8]) -> Evaluated<'a> {
        self.budget.work(bytes.len() / 16)?;
        Ok(Value::Bytes(Bytes::Owned(bytes.into())))
    }

    #[inline(never)]
    fn all(&mut self, nodes: &'a [Node]) -> Result<Vec<Value<'a>>, EvalError> {
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            values.push(self.eval(node)?);
        }
        Ok(values)
    }

    #[inline(never)]
    fn call(&mut self, function: crate::functions::Native, args: &'a [Node]) -> Evaluated<'a> {
        let args = self.all(args)?;
        function(self.budget, &args)
    }

    /// `&&` ends with the first `false`, `||` with the first `true` (`end`), whatever fails beside it.
    #[inline(never)]
    fn logic(&mut self, operands: &'a [Node], end: bool) -> Evaluated<'a> {
        let mut failed = None;
        for operand in operands {
            match self.eval(operand) {
                Ok(Value::Bool(b)) if b == end => return Ok(Value::Bool(end)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(EvalError::NoSuchOverload)),
                Err(error) if error.is_final() => return Err(error),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Value::Bool(!end)), Err)
    }

    #[inline(never)]
    fn or_else(&mut self, optional: &'a Node, other: &'a Node, unwrap: bool) -> Evaluated<'a> {
        let optional = self.eval(optional)?;
        self.budget.charge(1)?;
        match optional {
            Value::Optional(Some(value)) if unwrap => Ok((*value).clone()),
            Value::Optional(Some(_)) => Ok(optional),
            Value::Optional(None) => self.eval(other),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    #[inline(never)]
    fn select(&mut self, operand: &'a Node, field: &str, how: Select) -> Evaluated<'a> {
        let operand = self.eval(operand)?;
        if how != Select::Test {
            self.budget.charge(1)?;
        }
        let (value, chained) = match &operand {
            Value::Optional(None) => {
                return Ok(if how == Select::Test { Value::Bool(false) } else { Value::Optional(None) });
            }
            Value::Optional(Some(inner)) => (&**inner, true),
            other => (other, false),
        };
        let Value::Map(map) = value else {
            return Err(if how == Select::Test || value.is_null() {
                EvalError::NoSuchKey(field.to_owned())
            } else {
                EvalError::NoSuchOverload
            });
        };
        let found = map.select(field, self.budget)?;
        match how {
            Select::Test => Ok(Value::Bool(found.is_some())),
            Select::Optional => found.map_or(Ok(Value::Optional(None)), Value::some),
            Select::Value if chained => found.map_or(Ok(Value::Optional(None)), Value::some),
            Select::Value => found.ok_or_else(|| EvalError::NoSuchKey(field.to_owned())),
        }
    }

    #[inline(never)]
    fn list(&mut self, items: &'a [(Node, bool)]) -> Evaluated<'a> {
        self.budget.charge(10)?;
        let mut values = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match (self.eval(item)?, optional) {
                (value, false) => values.push(value),
                (Value::Optional(value), true) => values.extend(value.map(unshared)),
                _ => return Err(EvalError::NoSuchOverload),
            }
        }
        Value::list(values)
    }

    #[inline(never)]
    fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Evaluated<'a> {
        self.budget.charge(30)?;
        let mut made = Vec::with_capacity(entries.len());
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            match (self.eval(value)?, optional) {
                (value, false) => made.push((key, value)),
                (Value::Optional(value), true) => made.extend(value.map(|value| (key, unshared(value)))),
                _ => return Err(EvalError::NoSuchOverload),
            }
        }
        Value::map(made)
    }

    /// The value of an element's part, with the variables as they are for it.
    fn within(&mut self, variables: &[Value<'a>], node: &'a Node) -> Evaluated<'a> {
        let outer = self.locals.len();
        self.locals.extend_from_slice(variables);
        let value = self.eval(node);
        self.locals.truncate(outer);
        value
    }

    #[inline(never)]
    fn fold(&mut self, fold: &'a FoldNode) -> Evaluated<'a> {
        let range = self.eval(&fold.range)?;
        let (before, each, after) = step(fold.how);
        self.budget.charge(before + after)?;
        if matches!(fold.how, How::OptMap | How::OptFlatMap) {
            return match range {
                Value::Optional(None) => Ok(Value::Optional(None)),
                Value::Optional(Some(value)) => {
                    let value = self.within(&[unshared(value)], &fold.body)?;
                    if fold.how == How::OptMap { Value::some(value) } else { Ok(value) }
                }
                _ => Err(EvalError::NoSuchOverload),
            };
        }
        let mut state = State::default();
        let two = fold.variables == 2;
        match &range {
            Value::List(list) => {
                for (i, item) in list.iter().enumerate() {
                    self.budget.charge(each)?;
                    let index = crate::functions::count(i);
                    let done = if two { self.step(fold, &[index, item], &mut state)? } else { self.step(fold, &[item], &mut state)? };
                    if done {
                        break;
                    }
                }
            }
            Value::Map(map) if !matches!(map, Map::Lazy(_)) => {
                for (key, value) in map.entries(self.budget)? {
                    self.budget.charge(each)?;
                    let done = if two { self.step(fold, &[key, value], &mut state)? } else { self.step(fold, &[key], &mut state)? };
                    if done {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::NoSuchOverload),
        }
        state.result(fold.how)
    }

    /// One element. Answers whether no other can change the outcome.
    fn step(&mut self, fold: &'a FoldNode, variables: &[Value<'a>], state: &mut State<'a>) -> Result<bool, EvalError> {
        if let Some(filter) = &fold.filter {
            match self.within(variables, filter)? {
                Value::Bool(true) => {}
                Value::Bool(false) => return Ok(false),
                _ => return Err(EvalError::NoSuchOverload),
            }
        }
        let body = self.within(variables, &fold.body);
        match fold.how {
            How::All | How::Exists => {
                let end = fold.how == How::Exists;
                match body {
                    Ok(Value::Bool(b)) if b == end => {
                        state.decided = true;
                        return Ok(true);
                    }
                    Ok(Value::Bool(_)) => {}
                    Ok(_) => state.failed = state.failed.take().or(Some(EvalError::NoSuchOverload)),
                    Err(error) if error.is_final() => return Err(error),
                    Err(error) => state.failed = state.failed.take().or(Some(error)),
                }
            }
            How::ExistsOne | How::Filter => match body? {
                Value::Bool(true) if fold.how == How::Filter => state.items.extend(variables.first().cloned()),
                Value::Bool(true) => state.count += 1,
                Value::Bool(false) => {}
                _ => return Err(EvalError::NoSuchOverload),
            },
            How::Map | How::TransformList => state.items.push(body?),
            How::TransformMap => state.entries.extend(variables.first().cloned().zip(Some(body?))),
            How::TransformMapEntry => {
                let key = body?;
                let Some(value) = &fold.value else { return Err(EvalError::NoSuchOverload) };
                let value = self.within(variables, value)?;
                state.entries.push((key, value));
            }
            How::OptMap | How::OptFlatMap => {}
        }
        Ok(false)
    }
}

/// What a macro has found so far.
#[derive(Default)]
struct State<'a> {
    decided: bool,
    failed: Option<EvalError>,
    count: usize,
    items: Vec<Value<'a>>,
    entries: Vec<(Value<'a>, Value<'a>)>,
}

impl<'a> State<'a> {
    fn result(self, how: How) -> Evaluated<'a> {
        match how {
            How::All | How::Exists => match self.failed {
                Some(error) if !self.decided => Err(error),
                _ => Ok(Value::Bool(self.decided == (how == How::Exists))),
            },
            How::ExistsOne => Ok(Value::Bool(self.count == 1)),
            How::Map | How::Filter | How::TransformList => Value::list(self.items),
            How::TransformMap | How::TransformMapEntry => Value::map(self.entries),
            How::OptMap | How::OptFlatMap => Ok(Value::Optional(None)),
        }
    }
}

fn unshared<'a>(value: Rc<Value<'a>>) -> Value<'a> {
    Rc::try_unwrap(value).unwrap_or_else(|shared| (*shared).clone())
}

/// `a[b]` of an optional: nothing of nothing.
pub fn index_optional<'a>(budget: &mut Budget, operand: &Value<'a>, key: &Value<'a>) -> Evaluated<'a> {
    let inner = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => inner,
        other => other,
    };
    match index(budget, inner, key)? {
        Some(value) => Value::some(value),
        None => Ok(Value::Optional(None)),
    }
}
