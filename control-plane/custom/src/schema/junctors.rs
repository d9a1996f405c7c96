//! `allOf`, `anyOf`, `oneOf` and `not`.

use super::Checks;
use super::same::Unchanged;
use super::validate::{At, Found, check};
use serde_json::Value;

impl Checks {
    /// Asks the schemas that a value must meet besides. Only what all of them must meet can be left as it was (`old`): for the others, what is meant
    /// depends on what is wrong.
    pub(super) fn junctors(&self, value: &Value, old: Option<&Value>, at: At<'_>, (found, known): (&mut Found, &mut Unchanged)) {
        if !self.any_of.is_empty() {
            let (met, best) = self.alternatives(&self.any_of, value, at, known);
            if met == 0 {
                found.errors.push(at.composite("must validate at least one schema (anyOf)"));
            }
            found.merge(best);
        }
        if !self.one_of.is_empty() {
            let (met, best) = self.alternatives(&self.one_of, value, at, known);
            match met {
                0 => found.errors.push(at.composite("must validate one and only one schema (oneOf). Found none valid")),
                1 => {}
                met => {
                    let what = format_args!("must validate one and only one schema (oneOf). Found {met} valid alternatives").to_string();
                    found.errors.push(at.composite(what));
                }
            }
            found.merge(best);
        }
        let mut met = 0;
        for schema in &self.all_of {
            let outcome = check(schema, value, old, at, known);
            met += usize::from(outcome.errors.is_empty());
            found.merge(outcome);
        }
        if met < self.all_of.len() {
            let none = if met == 0 { ". None validated" } else { "" };
            found.errors.push(at.composite(format_args!("must validate all the schemas (allOf){none}")));
        }
        if let Some(not) = &self.not
            && check(not, value, None, at, known).errors.is_empty()
        {
            found.errors.push(at.composite("must not validate the schema (not)"));
        }
    }

    /// How many of the schemas the value meets, and what the first of them says; if it meets none, what the one says that it comes closest to.
    fn alternatives(&self, schemas: &[super::Node], value: &Value, at: At<'_>, known: &mut Unchanged) -> (usize, Found) {
        let mut met = 0;
        let mut best: Option<Found> = None;
        for schema in schemas {
            let outcome = check(schema, value, None, at, known);
            let is_met = outcome.errors.is_empty();
            let closer = best.as_ref().is_none_or(|best| outcome.passed > best.passed);
            if met == 0 && (is_met || closer) {
                best = Some(outcome);
            }
            met += usize::from(is_met);
        }
        (met, best.unwrap_or_default())
    }
}
