//! Pure: what is to be done about a token that may be unused.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orknet_auth::node::references::{Kind, all_of_pod};
use orknet_auth::tokens::{ACCOUNT_NAME, ACCOUNT_UID, INVALID_SINCE, LAST_USED};

/// How long a token must have been unused until it is refused, and how long refused until it is deleted (`--legacy-service-account-token-clean-up-period`).
pub(super) const PERIOD: SignedDuration = SignedDuration::from_hours(365 * 24);
/// A date is of something that happened on that day, and may have at its end.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Label it as refused from now on.
    Refuse,
    Delete,
}

/// Whether the Secret holds a token of this account. Who lists another's has not had it made with himself.
pub(super) fn is_of(secret: &Secret, account: &ServiceAccount) -> bool {
    let annotation = |key: &str| secret.metadata.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str).unwrap_or_default();
    let uid = annotation(ACCOUNT_UID);
    Some(annotation(ACCOUNT_NAME)) == account.metadata.name.as_deref() && (uid.is_empty() || Some(uid) == account.metadata.uid.as_deref())
}

/// `since`: the day from which on uses are written down.
pub(super) fn step(secret: &Secret, since: Timestamp, now: Timestamp) -> Step {
    let is_long_ago = |at: Timestamp| now.duration_since(at) > PERIOD;
    let is_day_long_ago = |day: Timestamp| now.duration_since(day) >= PERIOD + DAY;
    let label = |key: &str| secret.metadata.labels.as_ref().and_then(|labels| labels.get(key)).filter(|value| !value.is_empty());
    let made = secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let used = label(LAST_USED).map(|text| date(text));
    // A label that cannot be read tells of a use, whenever that was.
    if matches!(used, Some(None)) || secret.metadata.deletion_timestamp.is_some() {
        return Step::Nothing;
    }
    let used = used.flatten();
    let is_unused = made.is_none_or(is_long_ago) && [Some(since), used].into_iter().flatten().all(is_day_long_ago);
    if !is_unused {
        return Step::Nothing;
    }
    match label(INVALID_SINCE) {
        None => Step::Refuse,
        Some(text) => match date(text) {
            // Somebody else's words: said anew.
            None => Step::Refuse,
            Some(invalid) if is_day_long_ago(invalid) && used.is_none_or(|used| used < invalid) => Step::Delete,
            Some(_) => Step::Nothing,
        },
    }
}

/// Midnight (UTC) of a date as labels carry it (`2006-01-02`).
pub(super) fn date(text: &str) -> Option<Timestamp> {
    format!("{text}T00:00:00Z").parse().ok()
}

/// The names of Secrets that pods of a namespace mount or read, whatever for.
pub(super) fn used(pods: &[Pod]) -> BTreeSet<String> {
    let all = pods.iter().filter_map(|pod| serde_json::to_value(pod).ok()).flat_map(|pod| all_of_pod(&pod));
    all.filter(|reference| reference.kind == Kind::Secret)
        .filter_map(|reference| reference.object.split_once('/').map(|(_, name)| name.to_owned()))
        .collect()
}
