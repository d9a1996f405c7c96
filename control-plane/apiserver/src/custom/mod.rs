//! Custom resources: the kinds that stored CustomResourceDefinitions define. Every server follows the definitions by itself, looking at all of them
//! whenever one changes, and does what is to be done now: it serves their kinds ([`serve`]), says which names they have and whether they are served
//! ([`status`]), and clears away the objects of those that are being deleted ([`cleanup`]). What it writes it compares, so several servers may do it.
//!
//! A definition's kinds are served from the moment its names are accepted; `Established` is written after that.

mod cleanup;
pub mod convert;
mod names;
mod outline;
mod serve;
mod status;

use crate::cache::CachedObject;
use crate::error::ApiError;
use crate::kinds::{Kind, StoredAs};
use crate::server::Server;
use crate::storage::keys;
use cleanup::Cleanups;
pub use convert::Kept;
use orknet_custom::definition::STORED_AS;
use orknet_store::Compare;
use outline::{Head, Outline};
use parking_lot::RwLock;
use serve::Served;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Pause before what could not be written is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What requests ask of it.
pub struct Custom {
    /// Which definition defines the objects at a place.
    defined: RwLock<HashMap<StoredAs, Arc<Outline>>>,
    /// Whether the definitions that were stored when the server started are served.
    ready: watch::Sender<bool>,
}

impl Default for Custom {
    fn default() -> Self {
        Self { defined: RwLock::default(), ready: watch::Sender::new(false) }
    }
}

impl Custom {
    /// Whether objects at the place are of a definition.
    pub fn defines(&self, stored_as: StoredAs) -> bool {
        self.defined.read().contains_key(&stored_as)
    }

    /// Whether all definitions that were stored when the server started are served.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Completes when they are.
    pub async fn ready(&self) {
        // The sender lives in self, so the wait cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }
}

/// 405 when the definition of the kind is being deleted, 404 when it is gone. Answers what must still hold when an object is created: that the
/// definition has not been touched since. So nothing is made that the clearing away does not see. Nothing for kinds that no definition defines.
pub fn must_be_open(server: &Server, kind: &Kind) -> Result<Option<Compare>, ApiError> {
    let known = server.custom.defined.read().get(&kind.descriptor().stored_as).cloned();
    let Some(known) = known else { return Ok(None) };
    let now = server.storage.caches.get(STORED_AS, "", &known.head.name).ok_or_else(ApiError::no_such_resource)?;
    let head = if Arc::ptr_eq(&now, &known.object) { known.head.clone() } else { Head::read(&now) };
    if head.uid != known.head.uid {
        return Err(ApiError::no_such_resource());
    }
    if head.is_deleting {
        return Err(ApiError::method_not_allowed("create not allowed while custom resource definition is terminating"));
    }
    Ok(Some(Compare::ModRevision(keys::object(STORED_AS, "", &head.name).into(), head.revision)))
}

/// Follows the stored definitions until shutdown.
pub async fn keep(server: Arc<Server>) {
    let shutdown = server.shutdown.clone();
    let mut follower =
        Follower { server, known: HashMap::new(), served: HashMap::new(), lifted: HashMap::new(), cleanups: Cleanups::default() };
    shutdown.run_until_cancelled(follower.run()).await;
}

/// What one server has done for the definitions.
struct Follower {
    server: Arc<Server>,
    /// By name, as last read.
    known: HashMap<String, Arc<Outline>>,
    /// By name: what is served of them, or why nothing is.
    served: HashMap<String, Served>,
    /// By name: the generation for which this server has said that the schema can be used after all.
    lifted: HashMap<String, i64>,
    cleanups: Cleanups,
}

impl Follower {
    async fn run(&mut self) {
        self.server.storage.caches.filled().await;
        // The server's own kinds are always there.
        while let Some(definitions) = self.server.storage.caches.of(STORED_AS) {
            let mut snapshot = definitions.snapshot("");
            let done = self.pass(&snapshot.objects).await;
            tokio::select! {
                () = snapshot.cursor.wait() => {}
                () = tokio::time::sleep(RETRY), if !done => {}
                () = self.cleanups.ended() => {}
            }
        }
    }

    /// Does what is to be done for these definitions. Answers whether all of it is.
    async fn pass(&mut self, objects: &[Arc<CachedObject>]) -> bool {
        let definitions = self.read(objects);
        let served = self.serve(&definitions).await;
        self.server.custom.ready.send_replace(true);
        let told = match self.tell(&definitions).await {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, "the state of definitions could not be written");
                false
            }
        };
        for definition in definitions.iter().filter(|definition| definition.head.is_deleting && definition.has_cleanup) {
            self.cleanups.begin(&self.server, definition);
        }
        served && told
    }

    /// The definitions, the oldest first: who came first has the names.
    fn read(&mut self, objects: &[Arc<CachedObject>]) -> Vec<Arc<Outline>> {
        let known = std::mem::take(&mut self.known);
        for object in objects {
            let before = known.get(object.place().1).filter(|before| Arc::ptr_eq(&before.object, object)).cloned();
            let outline = before.unwrap_or_else(|| Arc::new(Outline::read(object)));
            self.known.insert(outline.head.name.clone(), outline);
        }
        let mut definitions: Vec<Arc<Outline>> = self.known.values().cloned().collect();
        definitions.sort_by(|one, other| (&one.created, &one.head.name).cmp(&(&other.created, &other.head.name)));
        definitions
    }
}
