//! What a write costs, and whether the quotas of its namespace can bear it (kube-apiserver's `CheckRequest`). Pure.

use super::subject::Subject;
use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use orknet_resources::counting::{Amounts, bounded, in_scope, missing, usage};
use serde_json::Value;

/// A quota, as stored and as read.
pub struct Quota {
    /// What is stored.
    pub object: Value,
    spec: v1::ResourceQuotaSpec,
    /// `status.hard`: what is enforced.
    hard: Amounts,
    used: Amounts,
}

/// What is asked for: a new object, or a change of one.
pub struct Asked<'a> {
    /// Where its kind is stored.
    pub group: &'a str,
    pub plural: &'a str,
    pub new: &'a Subject,
    pub old: Option<&'a Subject>,
    pub now: Timestamp,
}

impl Quota {
    /// `None` for what is no quota.
    pub fn read(object: Value) -> Option<Self> {
        let typed: v1::ResourceQuota = serde_json::from_value(object.clone()).ok()?;
        let status = typed.status.unwrap_or_default();
        let (hard, used) = (Amounts::read(status.hard.as_ref()), Amounts::read(status.used.as_ref()));
        Some(Self { object, spec: typed.spec.unwrap_or_default(), hard, used })
    }

    fn name(&self) -> &str {
        crate::object::name(&self.object)
    }
}

impl Asked<'_> {
    /// Whether the quota bounds, or is about to bound, what the object is of.
    pub fn may_concern(&self, quota: &Quota) -> bool {
        let wanted = quota.spec.hard.iter().flatten().map(|(name, _)| name.as_str());
        in_scope(&quota.spec, self.new.pod()) && wanted.chain(quota.hard.names()).any(|name| self.bounds(name))
    }

    /// What each of the quotas has used when this is written, `None` where it costs nothing; or why it may not be written.
    pub fn charge<'q>(&self, quotas: impl Iterator<Item = &'q Quota> + Clone) -> Result<Vec<Option<Amounts>>, String> {
        for quota in quotas.clone().filter(|quota| self.concerns(quota, self.new)) {
            self.must_be_countable(quota)?;
        }
        quotas.map(|quota| self.charge_one(quota)).collect()
    }

    fn bounds(&self, name: &str) -> bool {
        bounded(self.group, self.plural, name)
    }

    fn concerns(&self, quota: &Quota, object: &Subject) -> bool {
        in_scope(&quota.spec, object.pod()) && quota.hard.names().any(|name| self.bounds(name))
    }

    /// Containers must say what is bounded, and what has been used so far must be known.
    fn must_be_countable(&self, quota: &Quota) -> Result<(), String> {
        let bounding = || quota.hard.names().filter(|name| self.bounds(name));
        if let Some(missing) = self.new.pod().and_then(|pod| missing(pod, bounding())) {
            return Err(format!("failed quota: {}: must specify {missing}", quota.name()));
        }
        if bounding().any(|name| quota.used.get(name).is_none()) {
            let names: Vec<&str> = bounding().collect();
            return Err(format!("status unknown for quota: {}, resources: {}", quota.name(), names.join(",")));
        }
        Ok(())
    }

    fn charge_one(&self, quota: &Quota) -> Result<Option<Amounts>, String> {
        if !self.concerns(quota, self.new) {
            return Ok(None);
        }
        let usage = |object: &Subject| usage(self.group, self.plural, object.counted(), self.now);
        // What counted before is paid for.
        let before = self.old.filter(|old| self.concerns(quota, old)).map(usage).unwrap_or_default();
        let requested = usage(self.new).increase(&before).only(|name| quota.hard.get(name).is_some());
        if requested.is_empty() {
            return Ok(None);
        }
        let mut used = quota.used.clone();
        used.add(&requested);
        let exceeds = |name: &str| {
            let (used, hard) = (used.get(name), quota.hard.get(name));
            requested.get(name).is_some() && used.zip(hard).is_some_and(|(used, hard)| used > hard)
        };
        let too_much = requested.only(exceeds);
        if too_much.is_empty() {
            return Ok(Some(used));
        }
        let (name, so_far, hard) = (quota.name(), quota.used.only(exceeds), quota.hard.only(exceeds));
        let (requested, so_far, hard) = (too_much.shown(), so_far.shown(), hard.shown());
        Err(format!("exceeded quota: {name}, requested: {requested}, used: {so_far}, limited: {hard}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn quota(name: &str, spec: Value, hard: Value, used: Value) -> Quota {
        Quota::read(json!({ "metadata": { "name": name }, "spec": spec, "status": { "hard": hard, "used": used } })).expect("a quota")
    }

    fn pod(requests: Value, limits: Value) -> Subject {
        let container = json!({ "name": "c", "resources": { "requests": requests, "limits": limits } });
        Subject::of(("", "pods"), &json!({ "metadata": {}, "spec": { "containers": [container] } }))
    }

    fn charged(plural: &'static str, new: &Subject, old: Option<&Subject>, quotas: &[Quota]) -> Result<Vec<Option<String>>, String> {
        let asked = Asked { group: "", plural, new, old, now: Timestamp::UNIX_EPOCH };
        Ok(asked.charge(quotas.iter())?.into_iter().map(|used| used.map(|used| used.shown())).collect())
    }

    #[test]
    fn what_is_made_is_charged_to_each_quota_that_it_counts_against() {
        let quotas = [
            quota("all", json!({}), json!({ "pods": "2", "secrets": "1" }), json!({ "pods": "1", "secrets": "1" })),
            quota("idle", json!({ "scopes": ["BestEffort"] }), json!({ "pods": "0" }), json!({ "pods": "0" })),
            quota("busy", json!({ "scopes": ["NotBestEffort"] }), json!({ "requests.cpu": "1" }), json!({ "requests.cpu": "250m" })),
            quota("others", json!({}), json!({ "services": "0" }), json!({ "services": "0" })),
            // Its count is not known yet, nor what it enforces.
            quota("new", json!({ "hard": { "pods": "0" } }), json!({}), json!({})),
        ];
        let used = charged("pods", &pod(json!({ "cpu": "750m" }), json!({})), None, &quotas).expect("enough");
        assert_eq!(used, [Some("pods=2,secrets=1".into()), None, Some("requests.cpu=1".into()), None, None]);
    }

    #[test]
    fn refusals_have_the_words_of_kubernetes() {
        let small =
            |name: &str| quota(name, json!({}), json!({ "pods": "2", "limits.cpu": "1" }), json!({ "pods": "2", "limits.cpu": "500m" }));
        let cpu = |amount: &str| pod(json!({}), json!({ "cpu": amount }));
        for (quotas, pod, expected) in [
            (vec![small("q")], cpu("500m"), "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
            (
                vec![small("q")],
                cpu("600m"),
                "exceeded quota: q, requested: limits.cpu=600m,pods=1, used: limits.cpu=500m,pods=2, limited: limits.cpu=1,pods=2",
            ),
            // What cannot be counted is told before what is too much.
            (vec![small("q"), small("r")], pod(json!({ "cpu": "1" }), json!({})), "failed quota: q: must specify limits.cpu for: c"),
            (
                vec![small("q"), quota("r", json!({}), json!({ "pods": "1", "memory": "1" }), json!({ "pods": "0" }))],
                pod(json!({ "memory": "1" }), json!({ "cpu": "1" })),
                "status unknown for quota: r, resources: memory,pods",
            ),
        ] {
            assert_eq!(charged("pods", &pod, None, &quotas), Err(expected.to_owned()));
        }
    }

    #[test]
    fn only_what_grows_is_charged() {
        let service = |kind: &str, ports: usize| {
            let ports: Vec<Value> = (0..ports).map(|port| json!({ "port": port })).collect();
            Subject::of(("", "services"), &json!({ "metadata": {}, "spec": { "type": kind, "ports": ports } }))
        };
        let full = [quota(
            "q",
            json!({}),
            json!({ "services": "1", "services.nodeports": "2" }),
            json!({ "services": "1", "services.nodeports": "1" }),
        )];
        for (old, new, expected) in [
            (service("ClusterIP", 1), service("ClusterIP", 5), Ok(vec![None])),
            (service("NodePort", 2), service("NodePort", 1), Ok(vec![None])),
            (service("NodePort", 1), service("NodePort", 2), Ok(vec![Some("services=1,services.nodeports=2".to_owned())])),
            (
                service("NodePort", 1),
                service("NodePort", 3),
                Err("exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=1, limited: services.nodeports=2"
                    .to_owned()),
            ),
        ] {
            assert_eq!(charged("services", &new, Some(&old), &full), expected);
        }
    }

    #[test]
    fn what_comes_into_a_scope_is_charged_whole() {
        let quotas = [quota("q", json!({ "scopes": ["NotBestEffort"] }), json!({ "pods": "1" }), json!({ "pods": "0" }))];
        let (idle, busy) = (pod(json!({}), json!({})), pod(json!({ "cpu": "1" }), json!({})));
        assert_eq!(charged("pods", &busy, Some(&idle), &quotas), Ok(vec![Some("pods=1".into())]));
        assert_eq!(charged("pods", &busy, Some(&busy), &quotas), Ok(vec![None]));
    }
}
