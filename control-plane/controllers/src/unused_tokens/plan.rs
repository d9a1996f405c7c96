//! Pure: what is to be done about a token that may be unused.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use orknet_auth::tokens::{INVALID_SINCE, LAST_USED};

/// How long a token must have been unused until it is refused, and how long refused until it is deleted (`--legacy-service-account-token-clean-up-period`).
pub(super) const PERIOD: SignedDuration = SignedDuration::from_hours(365 * 24);

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Label it as refused from now on.
    Refuse,
    Delete,
}

/// `since`: from when on uses are written down.
pub(super) fn step(secret: &Secret, since: Timestamp, now: Timestamp) -> Step {
    let is_long_ago = |at: Timestamp| now.duration_since(at) >= PERIOD;
    let label = |key: &str| secret.metadata.labels.as_ref().and_then(|labels| labels.get(key)).filter(|value| !value.is_empty());
    let made = secret.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let used = label(LAST_USED).map(|text| date(text));
    // A label that cannot be read tells of a use, whenever that was.
    if matches!(used, Some(None)) || secret.metadata.deletion_timestamp.is_some() {
        return Step::Nothing;
    }
    let used = used.flatten();
    let is_unused = [Some(since), made, used].into_iter().flatten().all(is_long_ago);
    if !is_unused {
        return Step::Nothing;
    }
    match label(INVALID_SINCE) {
        None => Step::Refuse,
        Some(text) => match date(text) {
            // Somebody else's words: said anew.
            None => Step::Refuse,
            Some(invalid) if is_long_ago(invalid) && used.is_none_or(|used| used < invalid) => Step::Delete,
            Some(_) => Step::Nothing,
        },
    }
}

/// Midnight (UTC) of a date as labels carry it (`2006-01-02`).
pub(super) fn date(text: &str) -> Option<Timestamp> {
    format!("{text}T00:00:00Z").parse().ok()
}

/// The Secrets that pods mount or read.
pub(super) fn mounted(pods: &[Pod]) -> BTreeSet<&str> {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    let volumes = specs.flat_map(|spec| spec.volumes.iter().flatten());
    let of_volumes = volumes.flat_map(|volume| {
        let direct = volume.secret.iter().filter_map(|secret| secret.secret_name.as_deref());
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        direct.chain(sources.filter_map(|source| source.secret.as_ref().map(|secret| secret.name.as_str())))
    });
    of_volumes.collect()
}
