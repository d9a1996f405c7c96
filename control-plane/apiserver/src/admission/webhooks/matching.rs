//! Which webhooks a request is for, and in which version they want to hear of it.

use super::call::Step;
use super::conditions;
use super::hook::Hook;
use crate::admission::chain::{Attributes, Operation};
use crate::admission::namespace;
use crate::admission::rules::{Rule, Target};
use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs, is_namespaced};
use crate::selector::LabelSelector;
use orknet_resources::Descriptor;
use serde_json::Value;

const NAMESPACES: StoredAs = ("", "namespaces");

/// The resource that a webhook is told about: that of the request, or another version of it.
pub enum Told {
    Own,
    /// The same objects under another group or version.
    As(Kind),
}

/// Whether the webhook is to be asked, and about what. An error is one of finding out.
pub async fn told(hook: &Hook, step: Step, what: &Attributes<'_>) -> Result<Option<Told>, ApiError> {
    if !objects_match(&hook.objects, what) {
        return Ok(None);
    }
    let Some(told) = resource(&hook.rules, hook.equivalent, what) else { return Ok(None) };
    if !namespace_matches(&hook.namespaces, what).await? {
        return Ok(None);
    }
    let kind = match &told {
        Told::Own => what.kind,
        Told::As(kind) => kind,
    };
    Ok(conditions::hold(hook, step, what, kind).await?.then_some(told))
}

/// The namespace that reviews and selectors mean: that of a namespace is itself.
pub fn namespace_of<'a>(what: &Attributes<'a>) -> &'a str {
    if what.is(NAMESPACES) { what.name } else { what.namespace }
}

/// What of the request the rules are about: `equivalent`: also where it is about the same objects in another version.
pub fn resource(rules: &[Rule], equivalent: bool, what: &Attributes<'_>) -> Option<Told> {
    let matches = |rule: &Rule, names: &Descriptor| rule.matches(&target(names, what));
    if rules.iter().any(|rule| matches(rule, what.kind.descriptor())) {
        return Some(Told::Own);
    }
    if !equivalent {
        return None;
    }
    let others = others(what);
    // Rules that are said earlier count before kinds that are.
    let found = rules.iter().find_map(|rule| others.iter().find(|kind| matches(rule, kind.descriptor())));
    found.cloned().map(Told::As)
}

fn target<'a>(names: &'a Descriptor, what: &'a Attributes<'_>) -> Target<'a> {
    Target {
        operation: what.operation,
        group: names.group,
        version: names.version,
        resource: names.plural,
        subresource: what.subresource.unwrap_or_default(),
        name: what.name,
        namespaced: is_namespaced(names),
    }
}

/// The kinds in which the same objects are served, with the same subresource.
fn others(what: &Attributes<'_>) -> Vec<Kind> {
    let own = what.kind.path();
    let has = |names: &Descriptor| what.subresource.is_none_or(|subresource| names.subresources.contains(&subresource));
    let kinds = what.server.kinds();
    let others = kinds.iter().filter(|kind| kind.descriptor().stored_as == what.kind.descriptor().stored_as && kind.path() != own);
    others.filter(|kind| has(kind.descriptor())).cloned().collect()
}

/// Whether one of the objects has the labels; what has none is selected by nobody who selects.
pub fn objects_match(selector: &LabelSelector, what: &Attributes<'_>) -> bool {
    let selects = |object: &Value| selector.matches(|key| object.pointer("/metadata/labels")?.get(key)?.as_str());
    selector.is_empty() || what.object.as_deref().is_some_and(selects) || what.old.is_some_and(selects)
}

pub async fn namespace_matches(selector: &LabelSelector, what: &Attributes<'_>) -> Result<bool, ApiError> {
    let name = namespace_of(what);
    if selector.is_empty() || name.is_empty() {
        return Ok(true);
    }
    let selects = |namespace: &Value| selector.matches(|key| namespace.pointer("/metadata/labels")?.get(key)?.as_str());
    let itself = what.is(NAMESPACES) && what.subresource.is_none() && matches!(what.operation, Operation::Create | Operation::Update);
    if let (true, Some(namespace)) = (itself, what.object.as_deref()) {
        return Ok(selects(namespace));
    }
    let found = namespace::find(what.server, name).await?;
    found.map(|found| selector.matches(|key| found.label(key))).ok_or_else(|| ApiError::not_found_resource("", "namespaces", name))
}
