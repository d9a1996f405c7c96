//! Asking the rules of an object.

use super::{Compiled, Rules};
use crate::complaint;
use crate::schema::same::Unchanged;
use crate::schema::{Node, Rest, rules::Reason};
use orknet_cel::{Bindings, Budget, EvalError, OBJECT_LIMIT, Type, Value as Cel};
use orknet_resources::FieldError;
use orknet_resources::field::Path;
use serde_json::Value;

/// Bytes that a message made by an expression may have.
const MAX_MESSAGE: usize = 5 * 1024;

/// No further rule is asked.
struct Ended;

/// A value, and where it was before the change.
#[derive(Clone, Copy)]
struct Pair<'v> {
    new: &'v Value,
    old: Option<&'v Value>,
}

impl Rules {
    /// Complaints about an object that keeps to the schema. `old`: before a change.
    pub fn complaints(&self, node: &Node, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut asked = Asked { budget: Budget::new(OBJECT_LIMIT), found: Vec::new(), unchanged: Unchanged::default() };
        let pair = Pair { new, old };
        // Whoever ended it has said why.
        let _: Result<(), Ended> = asked.walk(self, node, pair, &Path::Root);
        asked.found
    }
}

impl Pair<'_> {
    /// Whether it was there before and is the same: then a rule that is not about the change may stay broken.
    fn is_unchanged(self, node: &Node, known: &mut Unchanged) -> bool {
        self.old.is_some_and(|old| known.same(node, self.new, old))
    }
}

struct Asked {
    budget: Budget,
    found: Vec<FieldError>,
    unchanged: Unchanged,
}

impl Asked {
    fn walk(&mut self, rules: &Rules, node: &Node, pair: Pair<'_>, at: &Path<'_>) -> Result<(), Ended> {
        if pair.new.is_null() {
            return Ok(());
        }
        if let Some(type_) = &rules.type_ {
            for rule in &rules.own {
                self.ask(rule, (rules.kind, type_), node, pair, at)?;
            }
        }
        match pair.new {
            Value::Array(items) => {
                let (Some(rules), Some(below)) = (&rules.items, &node.items) else { return Ok(()) };
                for (index, (item, old)) in items.iter().zip(node.old_items(items, pair.old)).enumerate() {
                    self.walk(rules, below, Pair { new: item, old }, &at.index(index))?;
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    // Old and new parts of an atomic map do not belong together.
                    let old = pair.old.filter(|_| !node.is_atomic).and_then(|old| old.get(name));
                    if let (Some(rules), Some(below)) = (rules.properties.get(name), node.properties.get(name)) {
                        self.walk(rules, below, Pair { new: value, old }, &at.field(name))?;
                    } else if let (Some(rules), Rest::Of(below), None) = (&rules.rest, &node.rest, node.properties.get(name)) {
                        self.walk(rules, below, Pair { new: value, old }, &at.key(name))?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn ask(&mut self, rule: &Compiled, (kind, type_): (&str, &Type), node: &Node, pair: Pair<'_>, at: &Path<'_>) -> Result<(), Ended> {
        let optional = rule.rule.optional_old_self == Some(true);
        // A rule about a change is asked when there was something before.
        if rule.uses_old_self && pair.old.is_none() && !optional {
            return Ok(());
        }
        // The value is shown by its type.
        let kind = Value::from(kind);
        let name = rule.rule.rule.trim();
        let named = if rule.rule.message.is_empty() { name } else { rule.rule.message.trim() };
        let here = field(at, "");
        let mut variables = vec![("self", Cel::from_json(pair.new, type_))];
        if rule.uses_old_self {
            let inner = match type_ {
                Type::Optional(inner) => inner,
                other => other,
            };
            let old = pair.old.map(|old| Cel::from_json(old, inner));
            let old = match (optional, old) {
                (false, Some(old)) => Ok(old),
                (false, None) => return Ok(()),
                (true, Some(old)) => Cel::some(old),
                (true, None) => Ok(Cel::Optional(None)),
            };
            match old {
                Ok(old) => variables.push(("oldSelf", old)),
                Err(error) => {
                    self.found.push(complaint::invalid(here, &kind, format!("{error} evaluating rule: {named}")));
                    return Ok(());
                }
            }
        }
        let variables = Bindings(variables);
        let value = match &rule.program {
            Ok(program) => program.evaluate(&variables, &mut self.budget),
            Err(why) => Err(EvalError::other(why.clone())),
        };
        let complaint = match value {
            Ok(value) if value.as_bool() == Some(true) => return Ok(()),
            Ok(_) => {
                let at = field(at, &rule.field);
                let message = self.message(rule, &variables, &at, &kind)?;
                by_reason(rule.rule.reason, at, &kind, message)
            }
            Err(error @ EvalError::BudgetExceeded) => {
                self.found.push(complaint::invalid(here, &kind, error.to_string()));
                return Err(Ended);
            }
            Err(error @ EvalError::CostExceeded) => {
                let why = format!("'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {named}");
                self.found.push(complaint::invalid(here, &kind, why));
                return Err(Ended);
            }
            Err(error @ EvalError::NoSuchOverload) => {
                let why =
                    format!("'{error}': call arguments did not match a supported operator, function or macro signature for rule: {named}");
                complaint::invalid(here, &kind, why)
            }
            Err(error) => complaint::invalid(here, &kind, format!("{error} evaluating rule: {named}")),
        };
        // What was broken before and has not changed may stay so, unless the rule is about the change.
        if rule.uses_old_self || !pair.is_unchanged(node, &mut self.unchanged) {
            self.found.push(complaint);
        }
        Ok(())
    }

    /// What a broken rule says: its expression, as far as that makes a text of one line, else its message.
    fn message<'a>(&mut self, rule: &'a Compiled, variables: &Bindings<'a>, at: &str, kind: &Value) -> Result<String, Ended> {
        let otherwise = || rule.rule.message_or_default();
        let Some(program) = &rule.message else { return Ok(otherwise()) };
        let why = match program.evaluate(variables, &mut self.budget) {
            Ok(value) => {
                let text = value.as_str().map(str::trim).unwrap_or_default();
                let is_message = !text.is_empty() && !text.contains('\n') && text.len() <= MAX_MESSAGE;
                return Ok(if is_message { text.to_owned() } else { otherwise() });
            }
            Err(EvalError::BudgetExceeded) => {
                "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned()
            }
            Err(EvalError::CostExceeded) => format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {}",
                complaint::quoted(&rule.rule.message_expression)
            ),
            Err(_) => return Ok(otherwise()),
        };
        self.found.push(complaint::invalid(at.to_owned(), kind, why));
        Err(Ended)
    }
}

fn by_reason(reason: Reason, field: String, kind: &Value, message: String) -> FieldError {
    match reason {
        Reason::Invalid => complaint::invalid(field, kind, message),
        Reason::Forbidden => complaint::forbidden(field, message),
        Reason::Required => complaint::required(field, message),
        // Go's has no room for more.
        Reason::Duplicate => complaint::duplicate(field, kind),
    }
}

/// The field of a place, or of one below it; Go's nil path for the object itself.
fn field(at: &Path<'_>, below: &str) -> String {
    match (at, below) {
        (Path::Root, "") => "<nil>".to_owned(),
        (Path::Root, below) => below.to_owned(),
        (at, "") => at.to_string(),
        (at, below) => format!("{at}.{below}"),
    }
}
