//! Events about pods and the node: written in the background, repeated ones counted on one object.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a repeated event is counted on the same object.
const WINDOW: Duration = Duration::from_secs(600);
/// Events that wait while the server is slow; more are dropped.
const QUEUE: usize = 1024;

/// Something worth telling about an object.
#[derive(Clone, Debug)]
pub struct Note {
    /// The object; for a container the field path names it.
    pub about: ObjectReference,
    /// True for trouble (type Warning).
    pub warning: bool,
    /// CamelCase, as in `Pulled`.
    pub reason: Cow<'static, str>,
    /// For people.
    pub message: String,
}

/// Writes notes as Event objects.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Note>,
}

impl Recorder {
    /// Starts the writer; it ends with `shutdown`.
    pub fn start(client: Client, node_name: &str, shutdown: &CancellationToken) -> Self {
        let (queue, notes) = mpsc::channel(QUEUE);
        let source = EventSource { component: Some("kubelet".to_owned()), host: Some(node_name.to_owned()) };
        tokio::spawn(shutdown.clone().run_until_cancelled_owned(write(client, source, notes)));
        Self { queue }
    }

    /// Queues a note; drops it when the queue is full.
    pub fn note(&self, note: Note) {
        let (reason, message) = (note.reason.clone(), note.message.clone());
        if self.queue.try_send(note).is_err() {
            tracing::debug!(%reason, message, "event dropped");
        }
    }
}

/// What makes two notes the same event.
type Same = (Option<String>, Option<String>, Cow<'static, str>, String);

struct Seen {
    name: String,
    count: i32,
    first: Instant,
}

async fn write(client: Client, source: EventSource, mut notes: mpsc::Receiver<Note>) {
    let mut seen: HashMap<Same, Seen> = HashMap::new();
    while let Some(note) = notes.recv().await {
        seen.retain(|_, s| s.first.elapsed() < WINDOW);
        // Events about things without a namespace live in the default one.
        let namespace = note.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let same = (note.about.uid.clone(), note.about.field_path.clone(), note.reason.clone(), note.message.clone());
        let now = Time(Timestamp::now());
        if let Some(known) = seen.get_mut(&same) {
            known.count += 1;
            let body = json!({"count": known.count, "lastTimestamp": now});
            match api.patch(&known.name, &PatchParams::default(), &Patch::Merge(body)).await {
                Ok(_) => continue,
                Err(error) => tracing::debug!(%error, "repeated event not counted; writing a new one"),
            }
        }
        let name = format!("{}.{:016x}", note.about.name.as_deref().unwrap_or("unknown"), rand::random::<u64>());
        let event = event(&note, name.clone(), namespace, &source, now);
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                seen.insert(same, Seen { name, count: 1, first: Instant::now() });
            }
            Err(error) => tracing::debug!(%error, reason = %note.reason, "event not written"),
        }
    }
}

fn event(note: &Note, name: String, namespace: String, source: &EventSource, now: Time) -> Event {
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: note.about.clone(),
        reason: Some(note.reason.to_string()),
        message: Some(note.message.clone()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(source.clone()),
        reporting_component: source.component.clone(),
        reporting_instance: source.host.clone(),
        ..Event::default()
    }
}
