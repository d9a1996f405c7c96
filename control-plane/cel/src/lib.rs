//! CEL, the expression language of Kubernetes' rules, as its API servers have it: compiled against declared variables, evaluated within a budget.
//!
//! [`Env`] declares variables, [`Env::compile`] makes a [`Program`], [`Program::evaluate`] asks it for a value. Values of objects are borrowed from
//! their JSON. Compiling and evaluating end whatever the source and the values are: height and length of a source are bounded, each step of an
//! evaluation is paid for before it is taken ([`Budget`]), and regular expressions never go back.
//!
//! The interpreter is this crate's own, because those that there are cannot be stopped: their loops have no place where a cost could be counted.
//! Grammar, macros and costs are cel-go's; the libraries are those of Kubernetes 1.33.

mod ast;
#[cfg(test)]
mod bombs;
mod budget;
mod check;
mod compare;
mod compose;
mod declarations;
mod error;
mod escape;
mod estimate;
mod eval;
mod functions;
mod lexer;
#[cfg(test)]
mod libraries;
mod macros;
mod node;
mod parser;
mod selection;
#[cfg(test)]
mod tests;
mod types;
mod unify;
mod value;

pub use budget::{Budget, MATCH_CONDITIONS_LIMIT, OBJECT_LIMIT, PER_CALL_LIMIT};
pub use compare::equal;
pub use compose::Composer;
pub use error::{CompileError, EvalError, Issue};
pub use escape::{escape, is_identifier};
pub use functions::authorizer::{Authorizer, Authz, Decision, Question};
pub use functions::regex::{Pattern, Patterns};
pub use functions::time::parse_format as parse_duration;
pub use functions::url::Url;
pub use selection::selects;
pub use types::{Bound, Field, ListKind, ListType, MapType, ObjectType, Type};
pub use value::{Bindings, Fields, Value, Variables};

use check::Checker;
use eval::Machine;
use node::Node;
use std::collections::BTreeMap;

/// Stack that parsing, checking and evaluating need at most for one level of an expression, in bytes. A test goes through the deepest of all
/// kinds on a thread with nearly none.
const LEVEL: usize = if cfg!(debug_assertions) { 20 << 10 } else { 6 << 10 };

/// Stack that comparing the deepest values needs: what expressions make is bounded ([`value`]), and readers of JSON stop at 128 levels.
const VALUES: usize = 512 * if cfg!(debug_assertions) { 6 << 10 } else { 2 << 10 };

/// Calls what goes through so many levels on a stack that is large enough.
fn with_stack<T>(levels: u16, go: impl FnOnce() -> T) -> T {
    let need = LEVEL * (usize::from(levels) + 8) + VALUES;
    stacker::maybe_grow(need, 2 * need, go)
}

/// Declared variables.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: BTreeMap<String, Type>,
    patterns: Patterns,
}

impl Env {
    pub fn new(variables: &[(&str, Type)]) -> Self {
        Self { variables: variables.iter().map(|(name, type_)| ((*name).to_owned(), type_.clone())).collect(), ..Self::default() }
    }

    /// Whose programs take their constant patterns from here, with others.
    #[must_use]
    pub fn sharing(mut self, patterns: &Patterns) -> Self {
        self.patterns = patterns.clone();
        self
    }

    /// With one more variable, or another type of it.
    #[must_use]
    pub fn with(mut self, name: &str, type_: Type) -> Self {
        self.variables.insert(name.to_owned(), type_);
        self
    }

    /// Without a variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// A program whose value is of one of the expected types; of any for [`Type::Dyn`].
    pub fn compile(&self, source: &str, expected: &[Type]) -> Result<Program, CompileError> {
        with_stack(parser::MAX_HEIGHT, || {
            let expr = parser::parse(source).map_err(CompileError::Issues)?;
            let mut checker = Checker::new(source, &self.variables, &self.patterns);
            let checked = checker.check(&expr);
            let type_ = checker.finished(&checked.type_);
            if !checker.issues.is_empty() {
                return Err(CompileError::Issues(checker.issues));
            }
            let fits = expected.iter().any(|wanted| matches!(wanted, Type::Dyn) || wanted.same(&type_));
            if !fits {
                return Err(CompileError::Result { expected: expected.to_vec(), found: type_ });
            }
            Ok(Program { node: checked.node, height: expr.height, type_, estimate: checked.guess.cost })
        })
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    node: Node,
    height: u16,
    type_: Type,
    estimate: u64,
}

impl Program {
    /// Of its value.
    pub fn type_(&self) -> &Type {
        &self.type_
    }

    /// The most that an evaluation can cost, by what the types say of sizes; `u64::MAX` where they say nothing of one that matters.
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    /// The value; at most [`PER_CALL_LIMIT`] of the budget is spent on it, and one for asking at all: a million rules that say `true` are work too.
    pub fn evaluate<'a>(&'a self, variables: &dyn Variables<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        let outer = budget.enter()?;
        let value =
            budget.charge(1).and_then(|()| with_stack(self.height, || Machine { variables, budget, locals: Vec::new() }.eval(&self.node)));
        budget.leave(outer);
        value
    }
}
