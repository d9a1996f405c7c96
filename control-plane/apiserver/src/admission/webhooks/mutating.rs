//! The plug-in that lets webhooks change objects, one after the other (MutatingAdmissionWebhook).

use super::annotations::{self, Place};
use super::call::{self, Failure, Step};
use super::hook::Hook;
use super::matching::{self, Told};
use super::review::Patch;
use crate::admission::chain::{Attributes, Operation, Plugin};
use crate::admission::rules::is_exempt;
use crate::custom::convert;
use crate::error::ApiError;
use crate::object;
use async_trait::async_trait;
use orknet_patch::PatchError;
use orknet_patch::apply::managers_fault;
use serde_json::Value;
use std::time::Instant;

/// See the module.
pub struct MutatingAdmissionWebhook;

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        let names = what.kind.descriptor();
        !is_exempt(names.group, names.plural)
    }

    async fn mutate(&self, what: &mut Attributes<'_>) -> Result<(), ApiError> {
        let hooks = what.server.webhooks.mutating.now();
        if hooks.is_empty() {
            return Ok(());
        }
        what.reinvocation.enter(what.object.as_deref());
        for (index, hook) in hooks.iter().enumerate() {
            if !what.reinvocation.wants(&hook.id) {
                continue;
            }
            let Some(told) = matching::told(hook, Step::Admit, what).await? else { continue };
            let begun = Instant::now();
            let place = Place { round: what.reinvocation.round(), index };
            let outcome = ask(hook, what, &told, place).await;
            annotations::mutation(place, hook, matches!(outcome, Ok(Some(_))));
            let new = call::settle(hook, Step::Admit, place, what, begun.elapsed(), outcome)?.flatten();
            let changed = new.is_some();
            if let (Some(mut new), Some(object)) = (new, what.object.as_deref_mut()) {
                what.warnings.get_mut().extend(keep_managers(&mut new, object));
                *object = new;
            }
            what.reinvocation.asked(&hook.id, changed, hook.reinvoked);
        }
        what.reinvocation.leave(what.object.as_deref());
        Ok(())
    }
}

/// The object as the webhook wants it to be, read again; `None` when it stays as it is.
async fn ask(hook: &Hook, what: &Attributes<'_>, told: &Told, place: Place) -> Result<Option<Value>, Failure> {
    let own = what.kind;
    let kind = match told {
        Told::Own => own,
        Told::As(kind) => kind,
    };
    let (object, old) = call::shown(what, kind).await.map_err(Failure::Server)?;
    let answer = call::ask(hook, Step::Admit, what, kind, object.as_ref(), old.as_ref()).await?;
    let Some(operations) = answer.patch.map(|patch| operations(&patch)).transpose()?.flatten() else { return Ok(None) };
    let internal = |why: &dyn std::fmt::Display| Failure::Server(ApiError::internal(why));
    let Some(object) = object.filter(|_| what.operation != Operation::Connect) else {
        let why = format!("admission webhook {:?} attempted to modify the object, which is not supported for this operation", hook.name);
        return Err(internal(&why));
    };
    let patched = orknet_patch::json::apply(&object, &operations).map_err(|error| match error {
        PatchError::Malformed(why) => undecodable(&why),
        other => internal(&other),
    })?;
    let read = match what.form {
        Some(form) => form.read(patched).map_err(|error| internal(&error))?,
        None => kind.decode(patched).map_err(|error| internal(&error))?.object,
    };
    annotations::patch(place, hook, &operations);
    if read == object {
        return Ok(None);
    }
    let mut new = convert::in_form_of(what.server, kind, own, read).await.map_err(Failure::Server)?;
    object::meta_mut(&mut new).remove("resourceVersion");
    Ok(Some(new))
}

/// Takes ownership of fields from the object before where a webhook made it unreadable, and answers what is to be said of it.
fn keep_managers(new: &mut Value, before: &Value) -> Option<String> {
    let why = managers_fault(new)?;
    object::keep_meta(new, before, "managedFields");
    Some(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {why}"
    ))
}

/// The patch's operations; `None` when there are none.
fn operations(patch: &Patch) -> Result<Option<Value>, Failure> {
    let operations: Value = serde_json::from_slice(&patch.bytes).map_err(|error| undecodable(&error.to_string()))?;
    match operations.as_array() {
        None => Err(undecodable("it is no list of operations")),
        Some(list) if list.is_empty() => Ok(None),
        Some(_) if patch.kind == "JSONPatch" => Ok(Some(operations)),
        Some(_) => Err(Failure::Calling { code: 400, why: format!("unsupported patch type {:?}", patch.kind) }),
    }
}

fn undecodable(why: &str) -> Failure {
    Failure::Calling { code: 503, why: format!("received undecodable patch in webhook response: {why}") }
}
