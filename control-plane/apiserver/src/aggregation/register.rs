//! The APIServices of what this server serves itself: one for each group version, kept as long as it is served. Those of built-in groups are made at the
//! start; those of custom resources come and go with their definitions. A group version that somebody has given to an extension server stays his.

use super::availability::{Verdict, tell};
use super::priority;
use crate::bootstrap;
use crate::cache::CachedObject;
use crate::error::ApiError;
use crate::kinds::Kinds;
use crate::object;
use crate::ownership::server_identity;
use crate::server::Server;
use crate::storage::keys;
use crate::verbs::write::{Update, update};
use orknet_custom::definition::STORED_AS as DEFINITIONS;
use orknet_store::{Compare, Op};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const GROUP: &str = "apiregistration.k8s.io";
pub const PLURAL: &str = "apiservices";
/// Says that the server keeps an APIService, and how: `onstart` those of built-in groups, `true` those of custom resources (kube-aggregator's label).
const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";

/// What there shall be, by name.
fn wanted(kinds: &Kinds) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    // The group of APIServices itself has none, as with Kubernetes.
    for kind in kinds.iter().filter(|kind| kind.descriptor().group != GROUP) {
        let (group, version, _) = kind.path();
        let name = format!("{version}.{group}");
        let (label, (group_priority, version_priority)) =
            if kind.is_added() { ("true", priority::CUSTOM) } else { ("onstart", priority::own(group, version)) };
        let mut spec = json!({ "version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority });
        if !group.is_empty() {
            spec["group"] = group.into();
        }
        all.entry(name.clone()).or_insert_with(|| json!({ "metadata": { "name": name, "labels": { LABEL: label } }, "spec": spec }));
    }
    all
}

/// What is to be done about one APIService.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Create,
    /// Gives it the wanted spec.
    Correct,
    Delete,
    Nothing,
}

/// `is_defined`: whether a definition still says that there shall be the group version, though it is not served yet.
fn step(wanted: Option<&Value>, there: Option<&Value>, is_defined: bool) -> Step {
    let managed = |object: &Value| match object["metadata"]["labels"].get(LABEL).and_then(Value::as_str) {
        Some("true") => Some(true),
        Some("onstart") => Some(false),
        _ => None,
    };
    match (wanted, there) {
        (None, None) => Step::Nothing,
        (Some(_), None) => Step::Create,
        (_, Some(there)) if managed(there).is_none() => Step::Nothing,
        // Built-in group versions are given away by giving their APIService a Service.
        (_, Some(there)) if managed(there) == Some(false) && there["spec"]["service"].is_object() => Step::Nothing,
        // Another server may serve what this one does not (yet, or any more).
        (None, Some(there)) if managed(there) == Some(true) && !is_defined => Step::Delete,
        (None, Some(_)) => Step::Nothing,
        (Some(wanted), Some(there)) if wanted["spec"] == there["spec"] => Step::Nothing,
        (Some(_), Some(_)) => Step::Correct,
    }
}

/// Brings the APIServices into line with what is served.
pub async fn keep(server: &Server, objects: &[Arc<CachedObject>]) -> Result<(), ApiError> {
    let kinds = server.kinds();
    let wanted = wanted(&kinds);
    let there: BTreeMap<String, (Value, u64)> = (objects.iter())
        .map(|object| {
            let value = object.value();
            let revision = object::resource_version(&value).parse().unwrap_or_default();
            (object.place().1.to_owned(), (value, revision))
        })
        .collect();
    let (mut defined, mut missing) = (None, Vec::new());
    for name in wanted.keys().chain(there.keys()).collect::<BTreeSet<_>>() {
        let (wanted, there) = (wanted.get(name), there.get(name));
        // One that was given to an extension server before.
        if let Some((value, _)) = there.filter(|(value, _)| !value["spec"]["service"].is_object()) {
            tell(server, value, &Verdict::local()).await?;
        }
        let is_defined = wanted.is_none() && there.is_some() && defined.get_or_insert_with(|| definitions(server)).contains(name);
        match (step(wanted, there.map(|(value, _)| value), is_defined), wanted, there) {
            (Step::Create, Some(wanted), _) => missing.push(wanted.clone()),
            (Step::Correct, Some(wanted), _) => correct(server, name, &wanted["spec"]).await?,
            (Step::Delete, _, Some((value, revision))) if object::finalizers(value).is_empty() => {
                let key = keys::object((GROUP, PLURAL), "", name);
                let compares = vec![Compare::ModRevision(key.clone().into(), *revision)];
                server.storage.commit(compares, vec![Op::Delete { key: key.into() }]).await?;
            }
            _ => {}
        }
    }
    bootstrap::ensure_all(server, GROUP, PLURAL, missing).await
}

/// The APIServices of what CustomResourceDefinitions say.
fn definitions(server: &Server) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for definition in server.storage.caches.values(DEFINITIONS) {
        let group = object::text(&definition, "/spec/group");
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
        names.extend(versions.map(|version| format!("{}.{group}", object::text(version, "/name"))));
    }
    names
}

async fn correct(server: &Server, name: &str, spec: &Value) -> Result<(), ApiError> {
    let Some(kind) = server.kinds().find_any_version(GROUP, PLURAL) else { return Ok(()) };
    let what = Update::own(&kind, "", name);
    let change = |old: &Value, _: u64| {
        let mut new = old.clone();
        new["spec"] = spec.clone();
        Ok(new)
    };
    match update(server, &server_identity(), &what, change).await {
        Err(error) if error.code() == 404 => Ok(()),
        done => done.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_version_is_registered_and_passes_its_rules() {
        let kinds = Kinds::new(crate::kinds::own());
        let kind = kinds.find_any_version(GROUP, PLURAL).expect("registered");
        let wanted = wanted(&kinds);
        for (name, object) in &wanted {
            let decoded = kind.decode(object.clone()).expect("reads").object;
            assert_eq!(kind.validate_create(&decoded), [], "{name}");
        }
        assert!(wanted.contains_key("v1.") && wanted.contains_key("v1.apps") && !wanted.contains_key("v1.apiregistration.k8s.io"));
    }

    #[test]
    fn what_somebody_has_given_away_stays_his() {
        let object = |label: Option<&str>, priority: u32, service: Value| {
            let labels = label.map_or_else(|| json!({}), |label| json!({ LABEL: label }));
            json!({ "metadata": { "labels": labels }, "spec": { "groupPriorityMinimum": priority, "service": service } })
        };
        let wanted = object(Some("onstart"), 1, Value::Null);
        let elsewhere = json!({ "name": "s" });
        for (there, expected) in [
            (None, Step::Create),
            (Some(object(Some("onstart"), 1, Value::Null)), Step::Nothing),
            (Some(object(Some("onstart"), 2, Value::Null)), Step::Correct),
            (Some(object(Some("onstart"), 2, elsewhere.clone())), Step::Nothing),
            (Some(object(None, 2, elsewhere.clone())), Step::Nothing),
            (Some(object(Some("true"), 2, elsewhere)), Step::Correct),
        ] {
            assert_eq!(step(Some(&wanted), there.as_ref(), false), expected, "{there:?}");
        }
        let custom = object(Some("true"), 1, Value::Null);
        assert_eq!((step(None, Some(&custom), true), step(None, Some(&custom), false)), (Step::Nothing, Step::Delete));
        assert_eq!(step(None, Some(&object(Some("onstart"), 1, Value::Null)), false), Step::Nothing);
        assert_eq!(step(None, Some(&object(None, 1, Value::Null)), false), Step::Nothing);
    }
}
