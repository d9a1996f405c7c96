//! Rules in CEL (`x-kubernetes-validations`): compiled with the types that the schema gives `self` and `oldSelf`, and asked of objects within a budget.
//!
//! A tree of its own beside the schema's, with the places that have rules and those on the way to them.

mod cost;
mod evaluate;
mod types;

#[cfg(test)]
mod tests;

use super::compile::ALL_PATTERNS;
use super::{FieldPath, List, Node, Rest, Rule};
use crate::complaint::invalid;
use cost::{Cardinality, Costs};
use orknet_cel::{Env, Patterns, Program, Type};
use orknet_resources::field::Path;
use orknet_resources::{Cause, FieldError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use types::Declared;

/// From here on an estimate only says that nobody can tell (a tenth of what there is, for numbers that become texts). Messages of such a cost are taken,
/// unlike rules, and held to the budget when they are made.
const UNTOLD: u64 = u64::MAX / 16;

/// The rules at a place and below.
#[derive(Debug, Default)]
pub struct Rules {
    /// Of `self`; `Dyn` where there are no rules at the place itself.
    type_: Option<Type>,
    /// The name of the schema's type, as complaints show the value.
    kind: &'static str,
    own: Vec<Compiled>,
    properties: BTreeMap<String, Rules>,
    rest: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    /// A text: the rule that a stored definition has cannot be compiled any more.
    program: Result<Program, String>,
    message: Option<Program>,
    uses_old_self: bool,
    /// Where complaints point, below the place.
    field: String,
}

/// The way to a place, as far as rules depend on it.
#[derive(Clone, Copy)]
struct Way<'w> {
    at: &'w Path<'w>,
    cardinality: Cardinality,
    is_resource: bool,
    /// The place above whose old and new values cannot be told to belong together.
    uncorrelated: Option<&'w Path<'w>>,
    /// Where the constant patterns of all rules are kept.
    patterns: &'w Patterns,
}

impl Rules {
    /// The rules of an object's schema; `None` where it has none. Complaints about them go to `found`; `at` is the schema's field.
    pub fn compile(root: &Node, at: &Path<'_>, found: &mut Vec<FieldError>) -> Option<Self> {
        if !root.any(&|node| !node.rules.is_empty()) {
            return None;
        }
        let mut costs = Costs::default();
        let patterns = Patterns::within(ALL_PATTERNS);
        let way = Way { at, cardinality: Cardinality::ONE, is_resource: true, uncorrelated: None, patterns: &patterns };
        let rules = compile(root, way, &mut costs, found);
        costs.check(at, found);
        rules
    }
}

fn compile(node: &Node, way: Way<'_>, costs: &mut Costs, found: &mut Vec<FieldError>) -> Option<Rules> {
    let mut rules = Rules { kind: node.types.text(), ..Rules::default() };
    if let Rest::Of(rest) = &node.rest {
        let at = way.at.field("additionalProperties");
        let cardinality = way.cardinality.times(node.checks.as_deref().and_then(|checks| checks.max_properties));
        rules.rest = compile(rest, Way { at: &at, cardinality, is_resource: rest.is_embedded, ..way }, costs, found).map(Box::new);
    }
    for (name, property) in &node.properties {
        let properties = way.at.field("properties");
        let uncorrelated = way.uncorrelated.or(node.is_atomic.then_some(way.at));
        let below = Way { at: &properties.key(name), is_resource: property.is_embedded, uncorrelated, ..way };
        if let Some(below) = compile(property, below, costs, found) {
            rules.properties.insert(name.clone(), below);
        }
    }
    if let Some(items) = &node.items {
        let at = way.at.field("items");
        let cardinality = way.cardinality.times(node.checks.as_deref().and_then(|checks| checks.max_items));
        let uncorrelated = way.uncorrelated.or((!matches!(node.list, List::Map(_))).then_some(way.at));
        let below = Way { at: &at, cardinality, is_resource: items.is_embedded, uncorrelated, ..way };
        rules.items = compile(items, below, costs, found).map(Box::new);
    }
    if !node.rules.is_empty() {
        own(node, way, &mut rules, costs, found);
    }
    let is_empty = rules.own.is_empty() && rules.properties.is_empty() && rules.rest.is_none() && rules.items.is_none();
    (!is_empty).then_some(rules)
}

fn own(node: &Node, way: Way<'_>, rules: &mut Rules, costs: &mut Costs, found: &mut Vec<FieldError>) {
    let at = way.at.field("x-kubernetes-validations");
    let Some(declared) = types::declared(node, "selfType", way.is_resource) else {
        let detail = "internal error: failed to retrieve type information for x-kubernetes-validations".to_owned();
        found.push(FieldError { cause: Cause::Invalid, field: at.to_string(), value: None, detail });
        return;
    };
    for (index, rule) in node.rules.iter().enumerate() {
        let here = at.index(index);
        let compiled = compile_rule(rule, node, &declared, way.patterns, &here, found);
        let number = |program: &Program| way.cardinality.cost(program.estimate(), declared.min_size);
        if let Ok(program) = &compiled.program {
            costs.observe(&here.field("rule"), "estimated rule cost", number(program), found);
        }
        if let Some(program) = compiled.message.as_ref().filter(|program| program.estimate() < UNTOLD) {
            costs.observe(&here.field("messageExpression"), "estimated messageExpression cost", program.estimate(), found);
        }
        match (way.uncorrelated, rule.optional_old_self) {
            (Some(place), _) if compiled.uses_old_self => {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {place}");
                found.push(invalid(here.field("rule").to_string(), &rule.rule.as_str().into(), why));
            }
            (_, Some(optional)) if compiled.program.is_ok() && !compiled.uses_old_self => {
                let why = "may not be set if oldSelf is not used in rule";
                found.push(invalid(here.field("optionalOldSelf").to_string(), &optional.into(), why));
            }
            _ => {}
        }
        rules.own.push(compiled);
    }
    rules.type_ = Some(declared.type_);
}

fn compile_rule(
    rule: &Rule,
    node: &Node,
    declared: &Declared,
    patterns: &Patterns,
    at: &Path<'_>,
    found: &mut Vec<FieldError>,
) -> Compiled {
    let without = Env::new(&[("self", declared.type_.clone())]).sharing(patterns);
    let old = if rule.optional_old_self == Some(true) { Type::optional(declared.type_.clone()) } else { declared.type_.clone() };
    let with = without.clone().with("oldSelf", old);
    let mut wrong = |field: &str, why: String| {
        // Shown as upstream's type of a rule is.
        let detail = format!("{}: {why}", shown(rule));
        found.push(FieldError { cause: Cause::Invalid, field: at.field(field).to_string(), value: None, detail });
        why
    };
    let run = |source: &str, env: &Env, expected: Type, otherwise: &str| match env.compile(source, &[expected]) {
        Ok(program) => Ok(program),
        Err(orknet_cel::CompileError::Result { .. }) => Err(otherwise.to_owned()),
        Err(error) => Err(format!("compilation failed: {error}")),
    };
    let source = rule.rule.trim();
    // Without the old value first: a rule that needs it is one about changes.
    let first = run(source, &without, Type::Bool, "cel expression must evaluate to a bool");
    let uses_old_self = first.is_err() && source.contains("oldSelf");
    let program = if uses_old_self { run(source, &with, Type::Bool, "cel expression must evaluate to a bool") } else { first };
    let program = program.map_err(|why| wrong("rule", why));
    let message = match rule.message_expression.trim() {
        "" => None,
        source => {
            let env = if uses_old_self { &with } else { &without };
            let compiled = run(source, env, Type::STRING, "messageExpression must evaluate to a string");
            compiled
                .map_err(|why| wrong("messageExpression", format!("messageExpression {}", why.trim_start_matches("messageExpression "))))
                .ok()
        }
    };
    let field = FieldPath::parse(&rule.field_path, node, true).map(|(path, _)| path.to_string()).unwrap_or_default();
    Compiled { rule: rule.clone(), program, message, uses_old_self, field }
}

/// A rule as Go shows one in a complaint.
fn shown(rule: &Rule) -> String {
    let text = |text: &str| Value::from(text).to_string();
    format!(
        "apiextensions.ValidationRule{{Rule:{}, Message:{}, MessageExpression:{}, Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:{}, \
         OptionalOldSelf:(*bool)(nil)}}",
        text(&rule.rule),
        text(&rule.message),
        text(&rule.message_expression),
        text(&rule.field_path)
    )
}

/// What is said when an object is too wrong for rules to be asked.
pub fn not_checked(errors: &[FieldError]) -> Option<FieldError> {
    let blocks =
        |cause: Cause| matches!(cause, Cause::NotSupported | Cause::Required | Cause::TooLong | Cause::TooMany | Cause::TypeInvalid);
    errors.iter().any(|error| blocks(error.cause)).then(|| {
        let why =
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        invalid("<nil>".to_owned(), &json!(null), why)
    })
}
