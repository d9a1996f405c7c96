//! What is counted about webhooks, in the names of kube-apiserver. Names of webhooks are users' to give: so many are told apart, and no more.

use super::call::Step;
use crate::admission::Operation;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Most names that are told apart; further ones are `other`.
const MOST_NAMES: usize = 200;
/// Codes above are told as this one.
const MOST_CODE: u16 = 600;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DurationLabels {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    rejected: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    code: u32,
    rejected: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RejectionLabels {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    error_type: &'static str,
    rejection_code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OpenLabels {
    name: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConditionLabels {
    name: String,
    kind: &'static str,
    r#type: &'static str,
    operation: &'static str,
}

/// See the module.
pub struct WebhookMetrics {
    names: Mutex<BTreeSet<String>>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    requests: Family<RequestLabels, Counter>,
    // Counts whose names do not end as those of counters must here.
    rejections: Family<RejectionLabels, Gauge>,
    open: Family<OpenLabels, Gauge>,
    excluded: Family<ConditionLabels, Counter>,
    undecided: Family<ConditionLabels, Counter>,
}

impl WebhookMetrics {
    /// Adds them to the server's.
    pub fn new(registry: &mut Registry) -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        let (requests, rejections, open) = (Family::default(), Family::default(), Family::default());
        let prefix = "apiserver_admission_webhook_";
        registry.register(format!("{prefix}admission_duration_seconds"), "Time that a webhook took", durations.clone());
        registry.register(format!("{prefix}request"), "Calls of webhooks", requests.clone());
        registry.register(format!("{prefix}rejection_count"), "Requests refused by webhooks, or because they failed", rejections.clone());
        registry.register(format!("{prefix}fail_open_count"), "Failed calls of webhooks that may fail", open.clone());
        let (excluded, undecided) = (Family::default(), Family::default());
        let prefix = "apiserver_admission_match_condition_";
        registry.register(format!("{prefix}exclusions"), "Requests that a match condition kept from a webhook", excluded.clone());
        registry.register(format!("{prefix}evaluation_errors"), "Match conditions that could not be evaluated", undecided.clone());
        Self { names: Mutex::default(), durations, requests, rejections, open, excluded, undecided }
    }

    pub fn asked(&self, name: &str, step: Step, operation: Operation, took: Duration, code: u16, rejected: bool) {
        let (name, r#type, operation, rejected) = (self.bounded(name), step.name(), operation.name(), rejected.to_string());
        let labels = DurationLabels { name: name.clone(), r#type, operation, rejected: rejected.clone() };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        let labels = RequestLabels { name, r#type, operation, code: code.min(MOST_CODE).into(), rejected };
        self.requests.get_or_create(&labels).inc();
    }

    pub fn rejected(&self, name: &str, step: Step, operation: Operation, error_type: &'static str, code: u16) {
        let rejection_code = code.min(MOST_CODE).into();
        let labels =
            RejectionLabels { name: self.bounded(name), r#type: step.name(), operation: operation.name(), error_type, rejection_code };
        self.rejections.get_or_create(&labels).inc();
    }

    pub fn failed_open(&self, name: &str, step: Step) {
        self.open.get_or_create(&OpenLabels { name: self.bounded(name), r#type: step.name() }).inc();
    }

    /// A match condition is not fulfilled.
    pub fn excluded(&self, name: &str, step: Step, operation: Operation) {
        self.excluded.get_or_create(&self.condition(name, step, operation)).inc();
    }

    /// A match condition could not be evaluated.
    pub fn undecided(&self, name: &str, step: Step, operation: Operation) {
        self.undecided.get_or_create(&self.condition(name, step, operation)).inc();
    }

    fn condition(&self, name: &str, step: Step, operation: Operation) -> ConditionLabels {
        // Conditions call the stages as policies do.
        let r#type = if step == Step::Admit { "admit" } else { "validating" };
        ConditionLabels { name: self.bounded(name), kind: "webhook", r#type, operation: operation.name() }
    }

    fn bounded(&self, name: &str) -> String {
        let mut names = self.names.lock();
        if !names.contains(name) {
            if names.len() >= MOST_NAMES {
                return "other".to_owned();
            }
            names.insert(name.to_owned());
        }
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_up_to_a_number() {
        let mut registry = Registry::default();
        let metrics = WebhookMetrics::new(&mut registry);
        for number in 0..1000 {
            metrics.asked(&format!("{number}.example.com"), Step::Admit, Operation::Create, Duration::ZERO, 999, false);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("writes");
        let series = text.lines().filter(|line| line.starts_with("apiserver_admission_webhook_request_total{")).count();
        assert_eq!(series, MOST_NAMES + 1);
        let line =
            r#"apiserver_admission_webhook_request_total{name="other",type="admit",operation="CREATE",code="600",rejected="false"} 800"#;
        assert!(text.contains(line), "{text}");
    }
}
