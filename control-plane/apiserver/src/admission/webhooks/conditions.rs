//! Match conditions: expressions that a request must fulfil before a webhook is asked about it.
//! Source: `apiserver/pkg/admission/plugin/webhook/matchconditions` of Kubernetes 1.33.

use super::call::{self, Step};
use super::hook::{Condition, Hook, ReviewVersion};
use super::review;
use crate::admission::chain::Attributes;
use crate::admission::expression::RequestAuthorizer;
use crate::error::ApiError;
use crate::in_place::in_place;
use crate::kinds::Kind;
use orknet_cel::{Authz, Bindings, Budget, EvalError, MATCH_CONDITIONS_LIMIT, Value as Cel};
use orknet_resources::expressions;
use serde_json::Value;

/// What conditions say together.
#[derive(Debug, PartialEq)]
enum Verdict {
    Yes,
    No,
    /// Of some it is not known, and none says no.
    Unknown(String),
}

/// Whether all are fulfilled by the object in the form of `kind`. One that says no is enough, whatever goes wrong with others; where something goes wrong
/// and none says no, the request is refused (403), or the webhook is not asked, as its failure policy says.
pub async fn hold(hook: &Hook, step: Step, what: &Attributes<'_>, kind: &Kind) -> Result<bool, ApiError> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let metrics = &what.server.metrics.webhooks;
    match verdict(&hook.conditions, what, kind, &call::shown(what, kind).await?) {
        Verdict::Yes => Ok(true),
        Verdict::No => {
            metrics.excluded(&hook.name, step, what.operation);
            Ok(false)
        }
        Verdict::Unknown(why) => {
            metrics.undecided(&hook.name, step, what.operation);
            let (webhook, configuration) = (&hook.name, &hook.configuration);
            tracing::warn!(webhook, configuration, why, "match conditions of a webhook cannot be evaluated");
            if hook.ignores_failure { Ok(false) } else { Err(what.refusal(why)) }
        }
    }
}

fn verdict(conditions: &[Condition], what: &Attributes<'_>, kind: &Kind, (object, old): &(Option<Value>, Option<Value>)) -> Verdict {
    let mut request = review::request(ReviewVersion::V1, "", what, kind.descriptor(), None, None)["request"].take();
    if let Some(request) = request.as_object_mut() {
        request.retain(|name, _| !matches!(&name[..], "uid" | "object" | "oldObject"));
    }
    let authorizer = RequestAuthorizer { server: what.server, who: what.who };
    let request_type = expressions::request_type();
    let variables = Bindings(vec![
        ("object", cel(object.as_ref())),
        ("oldObject", cel(old.as_ref())),
        ("namespaceObject", Cel::Null),
        ("request", Cel::from_json(&request, request_type)),
        ("authorizer", Authz::variable(&authorizer)),
        ("authorizer.requestResource", Authz::resource(&authorizer, RequestAuthorizer::question_of(what))),
    ]);
    let mut budget = Budget::new(MATCH_CONDITIONS_LIMIT);
    in_place(|| {
        combined(conditions.iter().map(|condition| {
            let program = condition.program.as_ref().map_err(|why| (false, why.clone()))?;
            let value = program.evaluate(&variables, &mut budget).map_err(|error| {
                let why = format!("expression '{}' resulted in error: {error}", condition.expression);
                if error == EvalError::BudgetExceeded { (true, error.to_string()) } else { (false, why) }
            })?;
            Ok(value.as_bool() == Some(true))
        }))
    })
}

fn cel(object: Option<&Value>) -> Cel<'_> {
    object.map_or(Cel::Null, Cel::of)
}

/// Of the answers; an error says whether it ends everything.
fn combined(answers: impl Iterator<Item = Result<bool, (bool, String)>>) -> Verdict {
    let mut errors = Vec::new();
    for answer in answers {
        match answer {
            Ok(true) => {}
            Ok(false) => return Verdict::No,
            Err((true, why)) => return Verdict::Unknown(why),
            Err((false, why)) => errors.push(why),
        }
    }
    match &errors[..] {
        [] => Verdict::Yes,
        [one] => Verdict::Unknown(one.clone()),
        several => Verdict::Unknown(format!("[{}]", several.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_says_no_is_enough() {
        let fault = |why: &str| Err((false, why.to_owned()));
        for (answers, expected) in [
            (vec![], Verdict::Yes),
            (vec![Ok(true), Ok(true)], Verdict::Yes),
            (vec![Ok(true), Ok(false)], Verdict::No),
            (vec![fault("a"), Ok(false)], Verdict::No),
            (vec![fault("a"), Ok(true)], Verdict::Unknown("a".into())),
            (vec![fault("a"), fault("b")], Verdict::Unknown("[a, b]".into())),
            (vec![Err((true, "spent".into())), Ok(false)], Verdict::Unknown("spent".into())),
        ] {
            assert_eq!(combined(answers.clone().into_iter()), expected, "{answers:?}");
        }
    }
}
