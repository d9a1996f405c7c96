//! Writes to a workload's pods, in the workload's name: create, change, delete. Each answer goes into the store, each outcome
//! becomes an Event about the workload. Which pods, is for the plans.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use orknet_reconciler::{Error, EventType, Informer, Recorder, is_already_exists, is_namespace_terminating, is_not_found};
use serde_json::Value;

use crate::context::Context;
use crate::delete_exact::{Deletion, delete_exact};
use crate::pod_events::{self, Verb};

/// The means to write pods.
pub(crate) struct PodControl {
    pub client: Client,
    pub pods: Arc<Informer<Pod>>,
    pub recorder: Recorder,
}

impl PodControl {
    /// Writes by the controller's `account`, and Events in the name of `component`.
    pub fn new(context: &Context, pods: Arc<Informer<Pod>>, component: &'static str, account: &str) -> Self {
        let client = context.client_of(account);
        Self { recorder: context.recorder(component, &client), client, pods }
    }

    pub fn api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// A merge patch on a pod; nothing when the pod is gone.
    pub async fn patch(&self, pod: &Pod, patch: Value, doing: &str) -> Result<(), Error> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let api = self.api(pod.metadata.namespace.as_deref().unwrap_or_default());
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(written) => self.pods.record(written),
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(Error::api(format!("{doing} pod {name}"))(error)),
        }
        Ok(())
    }

    /// Creates pods in growing batches, so that a refusal costs one request, not five hundred. The first refusal is the error. In a
    /// namespace that is being deleted nothing is created, and that is no error.
    pub async fn create<K>(&self, owner: &K, pods: &[Pod]) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + Debug,
    {
        let api = self.api(owner.meta().namespace.as_deref().unwrap_or_default());
        let (mut left, mut batch) = (pods, 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            let params = PostParams::default();
            let mut first_error = None;
            for (pod, result) in now.iter().zip(join_all(now.iter().map(|pod| api.create(&params, pod))).await) {
                match result {
                    Ok(created) => {
                        let name = created.metadata.name.clone().unwrap_or_default();
                        self.pods.record(created);
                        let text = pod_events::done(Verb::Create, &K::kind(&()), named(owner), &name);
                        self.recorder.record(owner, EventType::Normal, "SuccessfulCreate", text);
                    }
                    Err(error) if is_namespace_terminating(&error) => return Ok(()),
                    Err(error) => {
                        // A pod of a fixed name that is there already is seen by the next pass: no failure worth telling.
                        if pod.metadata.name.is_none() || !is_already_exists(&error) {
                            let name = pod.metadata.name.as_deref().unwrap_or_default();
                            let text = pod_events::failed(Verb::Create, &K::kind(&()), named(owner), name, &message(&error));
                            self.recorder.record(owner, EventType::Warning, "FailedCreate", text);
                        }
                        first_error.get_or_insert(error);
                    }
                }
            }
            if let Some(error) = first_error {
                return Err(Error::api("creating a pod")(error));
            }
            (left, batch) = (later, batch * 2);
        }
        Ok(())
    }

    /// Deletes pods, all at once; those that are gone already are no error. The first refusal is the error.
    pub async fn delete<K>(&self, owner: &K, pods: &[Arc<Pod>]) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let api = self.api(owner.meta().namespace.as_deref().unwrap_or_default());
        let api = &api;
        let results = join_all(pods.iter().map(|pod| async move { (pod, delete_exact(api, &**pod, DeleteParams::default()).await) })).await;
        let mut first_error = None;
        for (pod, result) in results {
            match result {
                Ok(Deletion::Gone) => {}
                Ok(Deletion::Taken(left)) => {
                    left.into_iter().for_each(|pod| self.pods.record(pod));
                    let text = pod_events::done(Verb::Delete, &K::kind(&()), named(owner), named(&**pod));
                    self.recorder.record(owner, EventType::Normal, "SuccessfulDelete", text);
                }
                Err(error) => {
                    let text = pod_events::failed(Verb::Delete, &K::kind(&()), named(owner), named(&**pod), &describe(&error));
                    self.recorder.record(owner, EventType::Warning, "FailedDelete", text);
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// An error in the server's own words where there are any.
pub(crate) fn describe(error: &Error) -> String {
    match error {
        Error::Api { source, .. } => message(source),
        Error::Malformed(text) => text.clone(),
    }
}

fn named<K: Resource>(object: &K) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
