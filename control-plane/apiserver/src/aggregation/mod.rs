//! Group versions that extension servers serve (APIServices with a Service): their requests are passed on ([`pass`]), what they serve is told in this
//! server's discovery, and whether they can be reached in their APIServices ([`availability`]). Those of the server's own group versions are kept
//! ([`register`]). Every server does all of this by itself, from the objects in its caches.

mod availability;
mod discovered;
mod pass;
mod priority;
mod register;
mod table;
mod trust;

pub use discovered::Discovered;
pub use pass::pass;
pub use priority::sort;
pub use table::{GroupVersion, Remote, Table};
pub use trust::FrontProxy;

use crate::cache::Cursor;
use crate::kinds::StoredAs;
use crate::server::Server;
use availability::{Verdict, behind, objection, probe, tell};
use futures::future::join_all;
use parking_lot::RwLock;
use register::{GROUP, PLURAL};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

const SERVICES: StoredAs = ("", "services");
const SLICES: StoredAs = ("discovery.k8s.io", "endpointslices");
/// How often a server that was there is asked whether it still is.
const REFRESH: Duration = Duration::from_secs(30);
/// How often one that was not is.
const RETRY: Duration = Duration::from_secs(2);
/// How often all is looked at though nothing is known to have changed.
const INTERVAL: Duration = Duration::from_secs(60);
/// Changes that come together are looked at together.
const PAUSE: Duration = Duration::from_millis(50);

/// What requests ask of it.
pub struct Aggregation {
    front: FrontProxy,
    table: RwLock<Arc<Table>>,
    discovered: RwLock<Arc<HashMap<GroupVersion, Discovered>>>,
    changed: Notify,
    /// Whether those of what is served at the start have been made, or could not be.
    ready: watch::Sender<bool>,
}

impl Aggregation {
    pub fn new(front: FrontProxy) -> Self {
        Self { front, table: RwLock::default(), discovered: RwLock::default(), changed: Notify::new(), ready: watch::Sender::new(false) }
    }

    /// Completes when the group versions that are served at the start have their APIServices, or could not get them.
    pub async fn ready(&self) {
        // The sender lives in self, so the wait cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Who serves what, now.
    pub fn table(&self) -> Arc<Table> {
        self.table.read().clone()
    }

    /// What extension servers have told.
    pub fn discovered(&self) -> Arc<HashMap<GroupVersion, Discovered>> {
        self.discovered.read().clone()
    }
}

/// Follows the APIServices, and keeps those of the server, until shutdown.
pub async fn keep(server: Arc<Server>) {
    let shutdown = server.shutdown.clone();
    let both = async {
        server.storage.caches.filled().await;
        server.custom.ready().await;
        tokio::join!(follow(&server), look_after(&server));
    };
    shutdown.run_until_cancelled(both).await;
}

async fn follow(server: &Arc<Server>) {
    let caches = &server.storage.caches;
    while let Some(cache) = caches.of((GROUP, PLURAL)) {
        let mut snapshot = cache.snapshot("");
        let aggregation = &server.aggregation;
        let table = Table::read(&snapshot.objects, &aggregation.table(), &aggregation.front, caches);
        *aggregation.table.write() = Arc::new(table);
        aggregation.changed.notify_one();
        let done = async {
            register::keep(server, &snapshot.objects).await?;
            trust::publish(server, &aggregation.front).await
        };
        let done = done.await.inspect_err(|error| tracing::warn!(%error, "APIServices could not be kept"));
        // A store that takes no writes keeps no server from serving what there is.
        aggregation.ready.send_replace(true);
        tokio::select! {
            () = snapshot.cursor.wait() => {}
            () = server.serving.changed() => {}
            () = tokio::time::sleep(if done.is_ok() { INTERVAL } else { RETRY }) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What was last found out of one remote.
struct Seen {
    /// What it was found out from.
    from: (Option<Value>, Vec<Value>, Value),
    at: Instant,
    verdict: Verdict,
}

async fn look_after(server: &Arc<Server>) {
    let mut seen: HashMap<GroupVersion, Seen> = HashMap::new();
    loop {
        // Before anything is looked at, so that no change is missed.
        let news = [SERVICES, SLICES].map(|place| server.storage.caches.of(place).map(|cache| cache.end()));
        let table = server.aggregation.table();
        let looks = table.remotes().map(|remote| look(server, remote, seen.get(&(remote.group.clone(), remote.version.clone()))));
        let looked = join_all(looks).await;
        let mut discovered = HashMap::clone(&server.aggregation.discovered());
        discovered.retain(|key, _| looked.iter().any(|(known, _)| known == key));
        seen.retain(|key, _| looked.iter().any(|(known, _)| known == key));
        for (key, news) in looked {
            let Some((now, found)) = news else { continue };
            match found {
                Some(found) => drop(discovered.insert(key.clone(), found)),
                // What it said last is better than nothing.
                None => discovered.entry(key.clone()).or_default().stale = true,
            }
            seen.insert(key, now);
        }
        let is_well = seen.values().all(|seen| seen.verdict.holds);
        *server.aggregation.discovered.write() = Arc::new(discovered);
        wait(server, if seen.is_empty() { None } else { Some((news, if is_well { REFRESH } else { RETRY })) }).await;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until there is something to look at: other APIServices, or, where there are remote ones, changes of what is behind them, or the time.
async fn wait(server: &Server, remote: Option<([Option<Cursor>; 2], Duration)>) {
    let behind = async {
        let Some(([services, slices], time)) = remote else { return std::future::pending().await };
        let next = async |cursor: Option<Cursor>| match cursor {
            Some(mut cursor) => cursor.wait().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            () = next(services) => {}
            () = next(slices) => {}
            () = tokio::time::sleep(time) => {}
        }
    };
    tokio::select! {
        () = server.aggregation.changed.notified() => {}
        () = behind => {}
    }
}

/// Looks at one remote if it is time to, and tells. `None`: nothing new.
async fn look(server: &Server, remote: &Arc<Remote>, seen: Option<&Seen>) -> (GroupVersion, Option<(Seen, Option<Discovered>)>) {
    let key = (remote.group.clone(), remote.version.clone());
    let (service, slices) = behind(remote, &server.storage.caches);
    let from = (service, slices, remote.object.value()["spec"].clone());
    let pause = seen.map_or(Duration::ZERO, |seen| if seen.verdict.holds { REFRESH } else { RETRY });
    if seen.is_some_and(|seen| seen.from == from && seen.at.elapsed() < pause) {
        return (key, None);
    }
    let found = match objection(&remote.service, from.0.as_ref(), &from.1) {
        Some(objection) => Err(objection),
        None => probe(remote, &server.aggregation.front, &server.storage.caches).await,
    };
    let verdict = match &found {
        Ok(_) => Verdict { holds: true, reason: "Passed", message: "all checks passed".to_owned() },
        Err(verdict) => verdict.clone(),
    };
    if let Err(error) = tell(server, &remote.object.value(), &verdict).await {
        tracing::warn!(%error, api_service = remote.name(), "the state of an APIService could not be written");
    }
    (key, Some((Seen { from, at: Instant::now(), verdict }, found.ok())))
}
