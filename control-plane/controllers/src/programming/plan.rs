//! Pure: what an object needs of the nodes, and what its status says of how it stands.

use std::borrow::Cow;
use std::fmt::Write;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use orknet_reconciler::pod_state::controller_of;
use orknet_resources::kinds::programming::PROGRAMMED;

use super::progress::Verdict;

/// So many nodes are named in a message, and so many characters of what each says.
const NAMED: usize = 3;
const REASON: usize = 300;

/// What a node must have come to for an object to be in force: the version at which the object's present generation was first seen. Later versions
/// differ in metadata and status alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub uid: String,
    pub generation: i64,
    pub version: u64,
}

/// The mark of an object as it is now; `before` is the one that was noted of it, or of a predecessor of its name.
pub(super) fn mark(meta: &ObjectMeta, before: Option<Mark>) -> Mark {
    let uid = meta.uid.clone().unwrap_or_default();
    let generation = meta.generation.unwrap_or_default();
    let version = meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0);
    // A mark above the object's own version is of a store that was set back since.
    match before.filter(|before| before.uid == uid && before.generation == generation && before.version <= version) {
        Some(before) => before,
        None => Mark { uid, generation, version },
    }
}

/// The mark that a condition stands for: where it says that a generation is in force everywhere, whoever reports since then has it.
pub(super) fn mark_of_condition(meta: &ObjectMeta, condition: Option<&Condition>) -> Option<Mark> {
    let condition = condition.filter(|condition| condition.status == "True")?;
    Some(Mark { uid: meta.uid.clone()?, generation: condition.observed_generation?, version: 0 })
}

/// Whether a companion is of a later generation of its object than the one that was seen: what could be said of that is outdated, and the object's
/// change is on its way here. (The API server writes both in one transaction.)
pub(super) fn is_ahead(companion: &ObjectMeta, object: &ObjectMeta) -> bool {
    let is_of_it = controller_of(companion).is_some_and(|owner| Some(&owner.uid) == object.uid.as_ref());
    is_of_it && companion.generation.unwrap_or_default() > object.generation.unwrap_or_default()
}

/// `2/3`.
pub(super) fn nodes(verdict: &Verdict) -> String {
    format!("{}/{}", verdict.programmed, verdict.nodes)
}

/// The condition `Programmed`. The time is that of `before` unless the status has changed.
pub(super) fn condition(generation: i64, verdict: &Verdict, before: Option<&Condition>, now: Timestamp) -> Condition {
    let (status, reason) = match verdict {
        Verdict { nodes: 0, .. } => ("Unknown", "NoNodes"),
        Verdict { failed, .. } if !failed.is_empty() => ("False", "Failed"),
        Verdict { nodes, programmed, .. } if programmed < nodes => ("False", "Pending"),
        _ => ("True", "Programmed"),
    };
    let since = before.filter(|before| before.status == status).map_or(Time(now), |before| before.last_transition_time.clone());
    Condition {
        type_: PROGRAMMED.into(),
        status: status.into(),
        reason: reason.into(),
        message: message(verdict),
        observed_generation: Some(generation),
        last_transition_time: since,
    }
}

/// The conditions of a type among others.
pub(super) fn programmed(conditions: Option<&Vec<Condition>>) -> Option<&Condition> {
    conditions?.iter().find(|condition| condition.type_ == PROGRAMMED)
}

/// The conditions with this one of ours, at its place; others', which the API server keeps too, stay.
pub(super) fn with(before: Option<&Vec<Condition>>, own: Condition) -> Vec<Condition> {
    let mut conditions = before.cloned().unwrap_or_default();
    match conditions.iter_mut().find(|condition| condition.type_ == own.type_) {
        Some(condition) => *condition = own,
        None => conditions.push(own),
    }
    conditions
}

fn message(verdict: &Verdict) -> String {
    let Verdict { nodes, programmed, waiting, failed } = verdict;
    if *nodes == 0 {
        return "there are no nodes".into();
    }
    let mut text = match nodes - programmed {
        0 if *nodes == 1 => return "in force on the only node".into(),
        0 => return format!("in force on all {nodes} nodes"),
        _ => format!("in force on {programmed} of {nodes} nodes"),
    };
    let failed = failed.iter().map(|(node, why)| (node.as_str(), Some(why.as_str())));
    let waiting = waiting.iter().map(|(node, why)| (node.as_str(), why.as_deref()));
    // Those who say why come first.
    let (telling, silent): (Vec<_>, Vec<_>) = waiting.partition(|(_, why)| why.is_some());
    for (what, nodes) in [("failed on", failed.collect::<Vec<_>>()), ("waiting for", [telling, silent].concat())] {
        if !nodes.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, "; {what} {}", listed(&nodes));
        }
    }
    text
}

/// Three of the nodes with what they say, and how many there are besides.
fn listed(nodes: &[(&str, Option<&str>)]) -> String {
    let named = nodes.iter().take(NAMED).map(|(node, why)| match why {
        Some(why) => format!("{node} ({})", shortened(why)),
        None => (*node).to_owned(),
    });
    let (mut text, count) = (named.collect::<Vec<_>>().join(", "), nodes.len());
    if count > NAMED {
        // Writing to a String does not fail.
        let _ = write!(text, " and {} more", count - NAMED);
    }
    text
}

/// As much of a reason as a message has room for.
fn shortened(why: &str) -> Cow<'_, str> {
    match why.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &why[..end]).into(),
        None => why.into(),
    }
}
