//! What the audit log tells of webhooks: what they say themselves, whether they changed the object and how, and which failed without consequence.
//! Keys and values are kube-apiserver's.

use super::call::Step;
use super::hook::Hook;
use crate::audit;
use serde_json::{Value, json};

/// Which call it was: in the first or second round, of which of the webhooks.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub round: usize,
    pub index: usize,
}

impl Place {
    fn key(self, what: &str) -> String {
        format!("{what}.webhook.admission.k8s.io/round_{}_index_{}", self.round, self.index)
    }
}

/// What the webhook says of the request, under its own name.
pub fn own(hook: &Hook, said: &[(String, String)]) {
    // The webhook's name is what stands before the slash, so there is no other.
    for (key, value) in said.iter().filter(|(key, _)| !key.contains('/')) {
        audit::annotate(&format!("{}/{key}", hook.name), || value.clone());
    }
}

/// Whether it changed the object.
pub fn mutation(place: Place, hook: &Hook, mutated: bool) {
    let value = || json!({ "configuration": hook.configuration, "webhook": hook.name, "mutated": mutated }).to_string();
    audit::annotate(&place.key("mutation"), value);
}

/// How. Told where the bodies of requests are told.
pub fn patch(place: Place, hook: &Hook, operations: &Value) {
    let value =
        || json!({ "configuration": hook.configuration, "webhook": hook.name, "patch": operations, "patchType": "JSONPatch" }).to_string();
    audit::annotate_request(&place.key("patch"), value);
}

/// A call failed, and the request went on.
pub fn failed_open(step: Step, place: Place, hook: &Hook) {
    let what = if step == Step::Admit { "failed-open.mutation" } else { "failed-open.validating" };
    audit::annotate(&place.key(what), || hook.name.clone());
}
