//! The rules for a schema: it is structural (`invariants`, `complete`), its defaults are right (`defaults`), and it has nothing that Kubernetes does not
//! support (`supported`). Fields and words are those of Kubernetes' apiextensions validation.

mod complete;
mod defaults;
mod invariants;
mod supported;
mod view;

use super::cel::Rules;
use super::{MAX_DEPTH, Node};
use crate::complaint;
use orknet_resources::FieldError;
use orknet_resources::field::Path;
use serde_json::Value;

/// What is wrong with a schema. `at`: its field (`spec.versions[0].schema.openAPIV3Schema`).
pub fn problems(schema: &Value, at: &str) -> Vec<FieldError> {
    let whole = |why: String| vec![complaint::invalid(at.to_owned(), &"".into(), why)];
    if view::depth(schema) > MAX_DEPTH {
        return whole(format!("schemas are nested deeper than {MAX_DEPTH} levels"));
    }
    let path = Path::Field(&Path::Root, at);
    let mut found = Vec::new();
    let unreadable = view::unreadable(schema);
    let compiled = Node::compile(schema);
    if unreadable.is_none() {
        invariants::check(schema, &path, &mut found);
        complete::check(schema, &path, &mut found);
        found.sort_by_cached_key(ToString::to_string);
        if let Ok(node) = &compiled
            && found.is_empty()
        {
            defaults::check(node, &path, &mut found);
        }
    }
    supported::check(schema, &path, &mut found);
    if let Ok(node) = &compiled
        && found.is_empty()
        && unreadable.is_none()
    {
        // Of a schema that is right otherwise: what an expression says depends on it.
        Rules::compile(node, &path, &mut found);
    }
    match (found.is_empty(), unreadable, compiled) {
        // The rules say the same better, where they say it.
        (true, Some(why), _) => whole(why),
        (true, None, Err(error)) => whole(format!("error building validator: {error}")),
        _ => found,
    }
}

#[cfg(test)]
mod tests;
