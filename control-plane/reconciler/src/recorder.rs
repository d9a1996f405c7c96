//! Writes Events (core v1). Never makes its caller wait: occurrences go through a bounded channel to one task.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::event_series::{EventType, Memory, Occurrence, Verdict};
use crate::is_not_found;

/// Occurrences that may wait to be written; more are dropped (Events are best effort).
const WAITING: usize = 1024;

/// Records Events in the name of one component. Clones share the channel.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
}

impl Recorder {
    /// Starts the writing task, which ends at `shutdown`. `component` is the Event's source, e.g. `deployment-controller`. Must be called
    /// inside a tokio runtime.
    pub fn start(client: Client, component: &'static str, shutdown: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = write_all(client, component, receiver) => {}
            }
        });
        Self { sender }
    }

    /// Records that something happened to `object`. Does not wait; a repeat raises the count of the Event that is already there.
    pub fn record<K: Resource<DynamicType = ()>>(&self, object: &K, kind: EventType, reason: &str, message: String) {
        self.record_action(object, kind, reason, "", message);
    }

    /// Like [`Recorder::record`], with the `action` field.
    pub fn record_action<K: Resource<DynamicType = ()>>(&self, object: &K, kind: EventType, reason: &str, action: &str, message: String) {
        let occurrence = Occurrence {
            object: ObjectReference { resource_version: object.meta().resource_version.clone(), ..object.object_ref(&()) },
            kind,
            reason: reason.into(),
            message,
            action: action.into(),
            at: Timestamp::now(),
        };
        if self.sender.try_send(occurrence).is_err() {
            tracing::debug!(reason, "event dropped: too many are waiting");
        }
    }
}

async fn write_all(client: Client, component: &'static str, mut receiver: mpsc::Receiver<Occurrence>) {
    let mut memory = Memory::default();
    while let Some(occurrence) = receiver.recv().await {
        let result = match memory.judge(&occurrence) {
            Verdict::Drop => Ok(()),
            Verdict::Create { name } => create(&client, component, &occurrence, name).await,
            Verdict::Repeat { name, count } => match raise(&client, &occurrence, &name, count).await {
                Err(error) if is_not_found(&error) => {
                    memory.forget(&occurrence);
                    match memory.judge(&occurrence) {
                        Verdict::Create { name } => create(&client, component, &occurrence, name).await,
                        Verdict::Repeat { .. } | Verdict::Drop => Ok(()),
                    }
                }
                result => result,
            },
        };
        if let Err(error) = result {
            memory.forget(&occurrence);
            tracing::debug!(reason = occurrence.reason, %error, "event not written");
        }
    }
}

async fn create(client: &Client, component: &str, occurrence: &Occurrence, name: String) -> Result<(), kube::Error> {
    let namespace = namespace_of(occurrence);
    let event = Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.into()), ..ObjectMeta::default() },
        involved_object: occurrence.object.clone(),
        type_: Some(occurrence.kind.as_str().into()),
        reason: Some(occurrence.reason.clone()),
        message: Some(shortened(&occurrence.message)),
        action: Some(occurrence.action.clone()).filter(|action| !action.is_empty()),
        count: Some(1),
        first_timestamp: Some(Time(occurrence.at)),
        last_timestamp: Some(Time(occurrence.at)),
        event_time: Some(MicroTime(occurrence.at)).filter(|_| !occurrence.action.is_empty()),
        source: Some(EventSource { component: Some(component.into()), host: None }),
        reporting_component: Some(component.into()),
        reporting_instance: Some(component.into()),
        ..Event::default()
    };
    Api::<Event>::namespaced(client.clone(), namespace).create(&PostParams::default(), &event).await.map(drop)
}

async fn raise(client: &Client, occurrence: &Occurrence, name: &str, count: i32) -> Result<(), kube::Error> {
    let patch = serde_json::json!({ "count": count, "lastTimestamp": Time(occurrence.at) });
    let api = Api::<Event>::namespaced(client.clone(), namespace_of(occurrence));
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

/// Events about cluster-scoped objects live in `default`.
fn namespace_of(occurrence: &Occurrence) -> &str {
    occurrence.object.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

/// Core v1 Events allow 1,024 bytes of message.
fn shortened(message: &str) -> String {
    let mut end = message.len().min(1024);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message[..end].into()
}
