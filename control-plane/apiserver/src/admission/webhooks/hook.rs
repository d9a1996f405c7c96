//! A configured webhook, read, and the list of all of them, which is read again when a configuration has changed.

use super::destination::Destination;
use crate::admission::rules::Rule;
use crate::cache::Caches;
use crate::in_place::in_place;
use crate::kinds::StoredAs;
use crate::object;
use crate::selector::LabelSelector;
use orknet_cel::{Env, Program};
use orknet_resources::expressions;
use orknet_store::Revision;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A form of AdmissionReview that the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewVersion {
    V1,
    V1Beta1,
}

/// One webhook of one configuration.
#[derive(Debug)]
pub struct Hook {
    /// Unique among all of its sort: configuration, name, and number among those of that name.
    pub id: String,
    pub configuration: String,
    pub name: String,
    pub rules: Vec<Rule>,
    /// Whether it is asked about the same object in other versions too (`matchPolicy: Equivalent`).
    pub equivalent: bool,
    pub namespaces: LabelSelector,
    pub objects: LabelSelector,
    /// Whether a request goes on when the call fails (`failurePolicy: Ignore`).
    pub ignores_failure: bool,
    /// Whether it may be asked about dry runs.
    pub is_for_dry_runs: bool,
    pub patience: Duration,
    /// Whether it wants to be asked again when others have changed the object after it.
    pub reinvoked: bool,
    /// The first of its versions that the server speaks.
    pub review: Option<ReviewVersion>,
    /// Or what is wrong with its address.
    pub destination: Result<Destination, String>,
    /// What a request must fulfil besides.
    pub conditions: Vec<Condition>,
}

/// An expression that says yes or no.
#[derive(Debug)]
pub struct Condition {
    pub expression: String,
    /// Or why it is no program.
    pub program: Result<Program, String>,
}

impl Hook {
    fn from_object(environment: &Env, configuration: &str, number: usize, hook: &Value) -> Self {
        let name = object::text(hook, "/name").to_owned();
        let list = |field: &str| hook.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let selector = |field: &str| hook.get(field).and_then(LabelSelector::from_object).unwrap_or_default();
        let seconds = hook.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(10);
        Self {
            id: format!("{configuration}/{name}/{number}"),
            configuration: configuration.to_owned(),
            rules: list("rules").iter().map(Rule::from_object).collect(),
            equivalent: object::text(hook, "/matchPolicy") != "Exact",
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            ignores_failure: object::text(hook, "/failurePolicy") == "Ignore",
            is_for_dry_runs: matches!(object::text(hook, "/sideEffects"), "None" | "NoneOnDryRun"),
            patience: Duration::from_secs(seconds),
            reinvoked: object::text(hook, "/reinvocationPolicy") == "IfNeeded",
            review: object::strings(hook.get("admissionReviewVersions")).into_iter().find_map(|version| match version {
                "v1" => Some(ReviewVersion::V1),
                "v1beta1" => Some(ReviewVersion::V1Beta1),
                _ => None,
            }),
            destination: Destination::from_client_config(hook.get("clientConfig").unwrap_or(&Value::Null)),
            conditions: (list("matchConditions").iter())
                .map(|condition| object::text(condition, "/expression").to_owned())
                .map(|expression| Condition { program: expressions::condition(environment, &expression), expression })
                .collect(),
            name,
        }
    }
}

/// The webhooks of configurations, by the configurations' names and then as they are listed.
pub fn read(configurations: &[Value]) -> Vec<Hook> {
    let mut sorted: Vec<&Value> = configurations.iter().collect();
    sorted.sort_by_key(|configuration| object::name(configuration));
    let environment = expressions::environment();
    let mut hooks = Vec::new();
    for configuration in sorted {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        for hook in configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten() {
            let number = numbers.entry(object::text(hook, "/name")).or_default();
            hooks.push(Hook::from_object(&environment, object::name(configuration), *number, hook));
            *number += 1;
        }
    }
    hooks
}

/// All webhooks of one sort, as the cache has them.
pub struct Hooks {
    caches: Arc<Caches>,
    place: StoredAs,
    /// What was read, and of which revision.
    read: Mutex<(Revision, Arc<[Hook]>)>,
    /// Whose turn it is to read anew.
    compiling: Mutex<()>,
}

impl Hooks {
    pub fn new(caches: Arc<Caches>, place: StoredAs) -> Self {
        Self { caches, place, read: Mutex::new((0, Arc::new([]))), compiling: Mutex::new(()) }
    }

    /// Those that are configured now.
    pub fn now(&self) -> Arc<[Hook]> {
        let Some(cache) = self.caches.of(self.place) else { return Arc::new([]) };
        let known = || {
            let read = self.read.lock();
            (read.0 == cache.revision()).then(|| read.1.clone())
        };
        known().unwrap_or_else(|| {
            in_place(|| {
                // One compiles, for all who wait; who needs nothing new goes on.
                let _turn = self.compiling.lock();
                known().unwrap_or_else(|| {
                    let snapshot = cache.snapshot("");
                    let values: Vec<Value> = snapshot.objects.iter().map(|object| object.value()).collect();
                    let hooks: Arc<[Hook]> = self::read(&values).into();
                    *self.read.lock() = (snapshot.revision, hooks.clone());
                    hooks
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn webhooks_are_in_the_order_of_their_configurations_names() {
        let configuration = |name: &str, hooks: &[&str]| json!({ "metadata": { "name": name }, "webhooks": hooks.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() });
        let read = read(&[configuration("b", &["x.y.z"]), configuration("a", &["p.q.r", "n.o.p", "p.q.r"])]);
        let ids: Vec<&str> = read.iter().map(|hook| &hook.id[..]).collect();
        assert_eq!(ids, ["a/p.q.r/0", "a/n.o.p/0", "a/p.q.r/1", "b/x.y.z/0"]);
    }

    #[test]
    fn a_webhook_speaks_the_first_version_that_is_known() {
        let version = |versions: &[&str]| {
            read(&[json!({ "metadata": { "name": "a" }, "webhooks": [{ "admissionReviewVersions": versions }] })])[0].review
        };
        assert_eq!(version(&["v2", "v1beta1", "v1"]), Some(ReviewVersion::V1Beta1));
        assert_eq!(version(&["v1", "v1beta1"]), Some(ReviewVersion::V1));
        assert_eq!(version(&["v2"]), None);
    }
}
