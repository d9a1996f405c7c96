//! One look at an autoscaler: read, plan, scale, tell.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use orknet_reconciler::{Error, Informer, Next, ObjectKey, Reconciler, Recorder, is_not_found, merge_patch};
use parking_lot::Mutex;
use serde_json::json;

use super::history::History;
use super::plan::{self, First, Observed, Plan};
use super::source;
use super::target::{Current, Target};

pub(super) struct Autoscaling {
    client: Client,
    autoscalers: Arc<Informer<HorizontalPodAutoscaler>>,
    recorder: Recorder,
    period: Duration,
    known: Mutex<HashMap<ObjectKey, Known>>,
}

/// What is remembered of an autoscaler.
#[derive(Default)]
struct Known {
    history: History,
    /// The pods that it had when it was looked at last.
    pods: BTreeSet<String>,
}

impl Autoscaling {
    pub fn new(client: Client, autoscalers: Arc<Informer<HorizontalPodAutoscaler>>, recorder: Recorder, period: Duration) -> Self {
        Self { client, autoscalers, recorder, period, known: Mutex::default() }
    }

    async fn look(&self, key: &ObjectKey, hpa: &HorizontalPodAutoscaler) -> Result<(), Error> {
        let kept = hpa.status.as_ref().map_or(0, |status| status.desired_replicas);
        let current = match self.scale(key, hpa).await {
            Ok(current) => current,
            Err(why) => return self.tell(key, hpa, plan::without_scale(hpa, &why, Timestamp::now())).await,
        };
        let scale = current.scale.clone();
        self.known.lock().entry(key.clone()).or_default().history.begin(scale.spec, Timestamp::now());
        let mut plan = match plan::first(hpa, &scale, Timestamp::now()) {
            First::Done(plan) => plan,
            First::Measure(plan) => self.measured(plan, key, hpa, &current).await?,
        };
        if let Some((to, _)) = &plan.rescale {
            let to = *to;
            match current.write(&self.client, to).await {
                Ok(()) => {
                    let now = Timestamp::now();
                    let behavior = hpa.spec.as_ref().and_then(|spec| spec.behavior.as_ref());
                    if let Some(known) = self.known.lock().get_mut(key) {
                        known.history.scaled(behavior, scale.spec, to, now);
                    }
                    plan::rescaled(&mut plan, now);
                }
                Err(why) => plan::not_rescaled(&mut plan, &why, kept, Timestamp::now()),
            }
        }
        self.tell(key, hpa, plan).await
    }

    async fn scale(&self, key: &ObjectKey, hpa: &HorizontalPodAutoscaler) -> Result<Current, String> {
        let Some(spec) = &hpa.spec else { return Err("it has no spec".to_owned()) };
        let reference = &spec.scale_target_ref;
        let target = Target::find(&self.client, reference.api_version.as_deref().unwrap_or("v1"), &reference.kind).await?;
        target.scale(&self.client, &key.namespace, &reference.name).await
    }

    async fn measured(&self, plan: Plan, key: &ObjectKey, hpa: &HorizontalPodAutoscaler, current: &Current) -> Result<Plan, Error> {
        let selector = &current.scale.selector;
        let pods = if selector.is_empty() { Vec::new() } else { self.pods(&key.namespace, selector).await? };
        let rivals = self.rivals(key, &pods);
        let metrics = hpa.spec.as_ref().and_then(|spec| spec.metrics.as_deref()).unwrap_or_default();
        let asked = metrics.iter().filter(|_| !selector.is_empty() && rivals.len() <= 1);
        let measured = join_all(asked.map(|metric| source::measure(&self.client, metric, &key.namespace, selector))).await;
        let observed = Observed { scale: &current.scale, pods: &pods, measured, rivals };
        let mut known = self.known.lock();
        Ok(plan::measured(plan, hpa, &observed, &mut known.entry(key.clone()).or_default().history, Timestamp::now()))
    }

    async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, Error> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let listed = api.list(&ListParams::default().labels(selector).match_any()).await;
        Ok(listed.map_err(Error::api(format!("listing pods of {namespace} by {selector}")))?.items)
    }

    /// The autoscalers that have some of these pods, this one among them.
    fn rivals(&self, key: &ObjectKey, pods: &[Pod]) -> Vec<String> {
        let names: BTreeSet<String> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
        let mut known = self.known.lock();
        let others = known.iter().filter(|(other, known)| {
            *other != key && other.namespace == key.namespace && !known.pods.is_disjoint(&names) && self.autoscalers.get(other).is_some()
        });
        let mut rivals: Vec<String> =
            others.map(|(other, _)| other).chain([key]).map(|key| format!("{}/{}", key.namespace, key.name)).collect();
        rivals.sort_unstable();
        known.entry(key.clone()).or_default().pods = names;
        rivals
    }

    /// Events, and the status where it says something new.
    async fn tell(&self, key: &ObjectKey, hpa: &HorizontalPodAutoscaler, plan: Plan) -> Result<(), Error> {
        for (kind, reason, message) in plan.events {
            self.recorder.record(hpa, kind, reason, message);
        }
        let malformed = |error| Error::Malformed(format!("status of autoscaler {key} can't be encoded: {error}"));
        let old = serde_json::to_value(&hpa.status).map_err(malformed)?;
        let new = serde_json::to_value(&plan.status).map_err(malformed)?;
        let Some(change) = merge_patch::diff(&old, &new) else { return Ok(()) };
        let api = Api::<HorizontalPodAutoscaler>::namespaced(self.client.clone(), &key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(json!({ "status": change }))).await {
            Ok(written) => self.autoscalers.record(written),
            // It went meanwhile.
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::api(format!("writing the status of autoscaler {key}"))(error)),
        }
        Ok(())
    }
}

impl Reconciler for Autoscaling {
    type Key = ObjectKey;
    const NAME: &'static str = "horizontal-pod-autoscaler";

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(hpa) = self.autoscalers.get(key) else {
            self.known.lock().remove(key);
            return Ok(Next::Change);
        };
        self.look(key, &hpa).await?;
        Ok(Next::After(self.period))
    }
}
