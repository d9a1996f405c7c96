//! Expressions that belong together: variables that may refer to those before them, and what refers to all of them (`variables.name`).

use crate::error::CompileError;
use crate::types::{Field, ObjectType, Type};
use crate::{Env, Program};
use std::sync::Arc;

/// Compiles them, one after the other, against what else is declared.
#[derive(Debug)]
pub struct Composer {
    variables: Arc<ObjectType>,
}

impl Default for Composer {
    fn default() -> Self {
        Self { variables: Arc::new(ObjectType::empty("kubernetes.variables")) }
    }
}

impl Composer {
    /// The next variable, of any type. One that is faulty counts as declared, so that its fault is told once.
    pub fn variable(&mut self, env: &Env, name: &str, source: &str) -> Result<Program, CompileError> {
        let mut compiled = self.compile(env, source, &[Type::Dyn]);
        let type_ = match &mut compiled {
            Ok(program) => {
                // A type that has hold of all variables (that of the expression `variables`) is not kept: the next one is to be added in place.
                if Arc::strong_count(&self.variables) > 1 {
                    program.type_ = Type::Dyn;
                }
                program.type_.clone()
            }
            Err(_) => Type::Dyn,
        };
        if let Some(variables) = Arc::get_mut(&mut self.variables) {
            variables.insert(name, Field { property: name.to_owned(), type_ });
        }
        compiled
    }

    /// An expression of one of the types.
    pub fn compile(&self, env: &Env, source: &str, expected: &[Type]) -> Result<Program, CompileError> {
        env.clone().with("variables", Type::Object(self.variables.clone())).compile(source, expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_variables_does_not_make_types_without_end() {
        let env = Env::new(&[]);
        let mut composer = Composer::default();
        composer.variable(&env, "v0", "1").unwrap();
        // Each wraps the one before 240 times; without a bound the last one's type would have 48,000 levels.
        for index in 1..200 {
            let source = format!("{}variables.v{}{}", "optional.of(".repeat(240), index - 1, ")".repeat(240));
            composer.variable(&env, &format!("v{index}"), &source).unwrap();
        }
        assert!(composer.compile(&env, "variables.v199 == variables.v198", &[Type::Bool]).is_ok());
    }

    #[test]
    fn variables_know_those_before_them() {
        let env = Env::new(&[("object", Type::Dyn)]);
        let mut composer = Composer::default();
        for (name, source) in [("a", "object.spec.replicas > 1"), ("b", "variables.a && true"), ("all", "[variables]"), ("c", "1")] {
            composer.variable(&env, name, source).unwrap();
        }
        assert!(composer.compile(&env, "variables.b && variables.c == 1", &[Type::Bool]).is_ok());
        let wrong = composer.compile(&env, "variables.d", &[Type::Bool]).unwrap_err().to_string();
        assert!(wrong.contains("undefined field 'd'"), "{wrong}");
        let wrong = composer.variable(&env, "e", "variables.e").unwrap_err().to_string();
        assert!(wrong.contains("undefined field 'e'"), "{wrong}");
        assert!(composer.compile(&env, "variables.e", &[Type::Dyn]).is_ok());
    }
}
