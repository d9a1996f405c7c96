//! What is wrong with an expression, and what goes wrong in evaluating one. `Display` is what clients read.

use crate::types::Type;
use std::fmt;

/// Longest line that is shown with its faults, in characters: each of them would show it.
const SHOWN: usize = 500;

/// Why a source is no program.
#[derive(Clone, Debug)]
pub enum CompileError {
    /// Syntax, references, types: at least one.
    Issues(Vec<Issue>),
    /// The expression is well-formed and of another type than wanted.
    Result { expected: Vec<Type>, found: Type },
}

/// One fault, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// The line of the source that it is in; empty for a very long one.
    pub snippet: String,
}

impl Issue {
    /// At a byte of the source.
    pub fn at(source: &str, offset: usize, message: String) -> Self {
        let offset = (0..=offset.min(source.len())).rev().find(|&at| source.is_char_boundary(at)).unwrap_or(0);
        let before = &source[..offset];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let snippet = source[start..].split('\n').next().filter(|line| line.chars().count() <= SHOWN).unwrap_or_default().to_owned();
        Self { line: before.matches('\n').count() + 1, column: source[start..offset].chars().count() + 1, message, snippet }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, snippet } = self;
        write!(f, "ERROR: <input>:{line}:{column}: {message}")?;
        if snippet.is_empty() && *column > 1 {
            return Ok(());
        }
        write!(f, "\n | {}\n | {}^", snippet.replace('\t', " "), ".".repeat(column - 1))
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issues(issues) => {
                for (i, issue) in issues.iter().enumerate() {
                    write!(f, "{}{issue}", if i > 0 { "\n" } else { "" })?;
                }
                Ok(())
            }
            Self::Result { expected, found } => match &expected[..] {
                [only] => write!(f, "must evaluate to {only} but got {found}"),
                _ => {
                    let names: Vec<String> = expected.iter().map(Type::to_string).collect();
                    write!(f, "must evaluate to one of [{}] but got {found}", names.join(" "))
                }
            },
        }
    }
}

impl std::error::Error for CompileError {}

/// Why an evaluation has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// One evaluation may cost [`crate::PER_CALL_LIMIT`].
    #[error("operation cancelled: actual cost limit exceeded")]
    CostExceeded,
    /// All evaluations together may cost what the budget had.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    BudgetExceeded,
    #[error("no such key: {0}")]
    NoSuchKey(String),
    #[error("no such overload")]
    NoSuchOverload,
    #[error("no such attribute(s): {0}")]
    NoSuchVariable(String),
    /// Arithmetic, conversions, bounds: upstream's words.
    #[error("{0}")]
    Other(String),
}

impl EvalError {
    pub fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }

    /// Whether evaluation ends at once, whatever `||` and `&&` would make of an error.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::CostExceeded | Self::BudgetExceeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_very_long_line_is_not_shown_with_each_of_its_faults() {
        let line = format!("{} x", "a".repeat(SHOWN + 1));
        let told = Issue::at(&line, SHOWN + 2, "wrong".into()).to_string();
        assert_eq!(told, format!("ERROR: <input>:1:{}: wrong", SHOWN + 3));
        let told = Issue::at(&format!("{line}\nb"), line.len() + 1, "wrong".into()).to_string();
        assert_eq!(told, "ERROR: <input>:2:1: wrong\n | b\n | ^");
    }
}
