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
        Self::start_writer(client, Source { component, host: None, instance: format!("{component}-{}", host_name()) }, shutdown)
    }

    /// As [`Recorder::start`], for a component of which every node has one: Events name the node beside it.
    pub fn start_on_node(client: Client, component: &'static str, node: &str, shutdown: CancellationToken) -> Self {
        Self::start_writer(client, Source { component, host: Some(node.to_owned()), instance: node.to_owned() }, shutdown)
    }

    fn start_writer(client: Client, source: Source, shutdown: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(shutdown.run_until_cancelled_owned(Writer { client, source }.write_all(receiver)));
        Self { sender }
    }

    /// Records that something happened to `object`. Does not wait; a repeat raises the count of the Event that is already there.
    pub fn record<K: Resource<DynamicType = ()>>(&self, object: &K, kind: EventType, reason: &str, message: String) {
        self.record_action(object, kind, reason, "", message);
    }

    /// Like [`Recorder::record`], with the `action` field.
    pub fn record_action<K: Resource<DynamicType = ()>>(&self, object: &K, kind: EventType, reason: &str, action: &str, message: String) {
        let object = ObjectReference { resource_version: object.meta().resource_version.clone(), ..object.object_ref(&()) };
        self.send(Occurrence { object, kind, reason: reason.into(), message, action: action.into(), at: Timestamp::now() });
    }

    /// Like [`Recorder::record`], about whatever `object` refers to: also a part of an object, by its field path.
    pub fn record_reference(&self, object: ObjectReference, kind: EventType, reason: &str, message: String) {
        self.send(Occurrence { object, kind, reason: reason.into(), message, action: String::new(), at: Timestamp::now() });
    }

    fn send(&self, occurrence: Occurrence) {
        let reason = occurrence.reason.clone();
        if self.sender.try_send(occurrence).is_err() {
            tracing::debug!(reason, "event dropped: too many are waiting");
        }
    }
}

/// Writes what one component records.
struct Writer {
    client: Client,
    source: Source,
}

/// In whose name Events are written.
struct Source {
    component: &'static str,
    /// The node that the Events name beside the component.
    host: Option<String>,
    /// Which of the component's processes this is: its name with that of the host.
    instance: String,
}

impl Writer {
    async fn write_all(self, mut receiver: mpsc::Receiver<Occurrence>) {
        let mut memory = Memory::default();
        while let Some(occurrence) = receiver.recv().await {
            let result = match memory.judge(&occurrence) {
                Verdict::Drop => Ok(()),
                Verdict::Create { name } => self.create(&occurrence, name).await,
                Verdict::Repeat { name, count } => match self.raise(&occurrence, &name, count).await {
                    Err(error) if is_not_found(&error) => {
                        memory.forget(&occurrence);
                        match memory.judge(&occurrence) {
                            Verdict::Create { name } => self.create(&occurrence, name).await,
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

    async fn create(&self, occurrence: &Occurrence, name: String) -> Result<(), kube::Error> {
        let event = self.source.event(occurrence, name);
        let api = Api::<Event>::namespaced(self.client.clone(), namespace_of(occurrence));
        api.create(&PostParams::default(), &event).await.map(drop)
    }

    async fn raise(&self, occurrence: &Occurrence, name: &str, count: i32) -> Result<(), kube::Error> {
        let patch = serde_json::json!({ "count": count, "lastTimestamp": Time(occurrence.at) });
        let api = Api::<Event>::namespaced(self.client.clone(), namespace_of(occurrence));
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }
}

impl Source {
    /// The Event of a first occurrence. Only those of a node's component, and those with an action, which follow events.k8s.io, name the process:
    /// so `kubectl get events -o wide` shows `kubelet, NODE`, `deployment-controller` and `default-scheduler, default-scheduler-HOST`, as with
    /// Kubernetes.
    fn event(&self, occurrence: &Occurrence, name: String) -> Event {
        let has_action = !occurrence.action.is_empty();
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace_of(occurrence).into()), ..ObjectMeta::default() },
            involved_object: occurrence.object.clone(),
            type_: Some(occurrence.kind.as_str().into()),
            reason: Some(occurrence.reason.clone()),
            message: Some(shortened(&occurrence.message)),
            action: has_action.then(|| occurrence.action.clone()),
            count: Some(1),
            first_timestamp: Some(Time(occurrence.at)),
            last_timestamp: Some(Time(occurrence.at)),
            event_time: has_action.then_some(MicroTime(occurrence.at)),
            source: Some(EventSource { component: Some(self.component.into()), host: self.host.clone() }),
            reporting_component: Some(self.component.into()),
            reporting_instance: Some(if has_action || self.host.is_some() { self.instance.clone() } else { String::new() }),
            ..Event::default()
        }
    }
}

/// Empty when the kernel does not tell it.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_of_a_node_or_with_an_action_name_the_process() {
        let occurrence = |action: &str| Occurrence {
            object: ObjectReference { namespace: Some("a".into()), ..ObjectReference::default() },
            kind: EventType::Normal,
            reason: "Scheduled".into(),
            message: String::new(),
            action: action.into(),
            at: Timestamp::UNIX_EPOCH,
        };
        let of = |host: Option<&str>| Source { component: "s", host: host.map(Into::into), instance: "s-host".into() };
        let instance = |host, action: &str| of(host).event(&occurrence(action), "e".into()).reporting_instance.unwrap();
        assert_eq!(
            (instance(None, "Binding").as_str(), instance(None, "").as_str(), instance(Some("n"), "").as_str()),
            ("s-host", "", "s-host")
        );
    }
}
