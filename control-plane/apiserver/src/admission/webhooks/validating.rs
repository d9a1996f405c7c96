//! The plug-in that asks webhooks whether an object may be as it is, all at once (ValidatingAdmissionWebhook).

use super::annotations::Place;
use super::call::{self, Step};
use super::hook::Hook;
use super::matching::{self, Told};
use crate::admission::chain::{Attributes, Plugin};
use crate::admission::rules::is_exempt;
use crate::error::ApiError;
use async_trait::async_trait;
use futures::future::join_all;
use std::time::Instant;

/// See the module.
pub struct ValidatingAdmissionWebhook;

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, what: &Attributes<'_>) -> bool {
        let names = what.kind.descriptor();
        !is_exempt(names.group, names.plural)
    }

    async fn validate(&self, what: &Attributes<'_>) -> Result<(), ApiError> {
        let hooks = what.server.webhooks.validating.now();
        let mut asked = Vec::new();
        for hook in hooks.iter() {
            if let Some(told) = matching::told(hook, Step::Validating, what).await? {
                asked.push((hook, told));
            }
        }
        // Of several that refuse, the first one counts.
        join_all(asked.iter().enumerate().map(|(index, (hook, told))| ask(hook, what, told, Place { round: 0, index })))
            .await
            .into_iter()
            .collect()
    }
}

async fn ask(hook: &Hook, what: &Attributes<'_>, told: &Told, place: Place) -> Result<(), ApiError> {
    let kind = match told {
        Told::Own => what.kind,
        Told::As(kind) => kind,
    };
    let (object, old) = call::shown(what, kind).await?;
    let begun = Instant::now();
    let outcome = call::ask(hook, Step::Validating, what, kind, object.as_ref(), old.as_ref()).await;
    call::settle(hook, Step::Validating, place, what, begun.elapsed(), outcome).map(drop)
}
