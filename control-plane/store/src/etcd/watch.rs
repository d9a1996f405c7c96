//! Watches over etcd: one stream each, opened again from the last revision when the connection breaks.

use super::client::{Clients, Connection};
use super::{Shared, entry, origin};
use crate::{Event, EventKind, KeyRange, PROGRESS_INTERVAL, Revision, StoreError, Watch, WatchItem};
use bytes::Bytes;
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use futures::StreamExt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// A watch that cannot be opened again for so long ends.
const RECONNECT_FOR: Duration = Duration::from_secs(60);
/// Before every try, so that a watch that etcd cancels again and again does not spin.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
/// Progress that etcd has not told of by then is asked for again: what it is asked of a watch that it has not brought up to date yet, as every new one,
/// it forgets.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Opens a watch and waits until etcd has it.
pub async fn open(shared: Arc<Shared>, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
    let (requests, replaced) = (shared.progress.subscribe(), shared.replaced.subscribe());
    let moved = shared.connection.members.subscribe();
    let mut follower = Follower {
        shared,
        range,
        position: after,
        stream: None,
        partial: Vec::new(),
        queue: VecDeque::new(),
        requests,
        replaced,
        moved,
        unanswered: None,
        spoke: Instant::now(),
        told: after,
    };
    follower.connect().await?;
    let stream = futures::stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Ok(item) => Some((Ok(item), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(stream.boxed())
}

/// The compacted revision, which etcd tells only to a watch that begins before it; `requested` is known to be compacted.
pub async fn compacted_revision(connection: &Connection, requested: Revision) -> Result<Revision, StoreError> {
    let ask = |mut clients: Clients| async move {
        let options = WatchOptions::new().with_start_revision(connection.clock.to_etcd(requested).max(1));
        let mut stream = clients.watch.watch(connection.keys.marker(), Some(options)).await?;
        while let Some(response) = stream.message().await? {
            if response.canceled() {
                return Ok(connection.clock.of_etcd(response.compact_revision()));
            }
        }
        Err(etcd_client::Error::WatchError("the watch ended".into()))
    };
    connection.retried("read the compacted revision", ask).await
}

struct Follower {
    shared: Arc<Shared>,
    range: KeyRange,
    /// Everything up to this revision is delivered or in the queue.
    position: Revision,
    stream: Option<WatchStream>,
    /// Events of a revision that is not complete yet, since etcd cuts large answers.
    partial: Vec<(Event, bool)>,
    queue: VecDeque<WatchItem>,
    requests: watch::Receiver<u64>,
    replaced: watch::Receiver<bool>,
    /// Of another member that is asked.
    moved: watch::Receiver<usize>,
    /// When to ask for progress again that was asked for; never with markers.
    unanswered: Option<Instant>,
    spoke: Instant,
    /// The newest revision that the receiver knows of.
    told: Revision,
}

impl Follower {
    async fn next(&mut self) -> Result<WatchItem, StoreError> {
        loop {
            if let Some(item) = self.queue.pop_front() {
                self.spoke = Instant::now();
                self.told = self.position;
                return Ok(item);
            }
            let Some(stream) = &mut self.stream else {
                self.reconnect().await?;
                continue;
            };
            let idle = self.spoke + PROGRESS_INTERVAL;
            let unanswered = self.unanswered;
            tokio::select! {
                response = stream.message() => match response {
                    Ok(Some(response)) => self.receive(response)?,
                    Ok(None) => self.stream = None,
                    Err(error) => {
                        tracing::debug!(%error, "a watch's connection broke");
                        self.stream = None;
                    }
                },
                Ok(()) = self.requests.changed() => self.ask().await,
                Ok(()) = self.moved.changed() => self.stream = None,
                Ok(()) = self.replaced.changed() => return Err(StoreError::Replaced),
                () = tokio::time::sleep_until(unanswered.unwrap_or(idle)), if unanswered.is_some() => self.ask().await,
                () = tokio::time::sleep_until(idle) => {
                    self.spoke = Instant::now();
                    if self.position > self.told {
                        self.queue.push_back(WatchItem::Progress(self.position));
                    } else if self.shared.progress.by_marker {
                        // The marker's event is the answer. Without one the connection is gone, which the stream tells.
                        let _ = self.shared.progress.mark_idle(&self.shared.connection).await;
                    } else {
                        self.ask().await;
                    }
                }
            }
        }
    }

    async fn ask(&mut self) {
        self.unanswered = Some(Instant::now() + ASK_AGAIN_AFTER);
        if let Some(stream) = &mut self.stream
            && stream.request_progress().await.is_err()
        {
            self.stream = None;
        }
    }

    /// Opens the stream over everything below the prefix, so that the store's origin is in it: who was away while the store was restored is told
    /// before he sees anything of the new one. It begins at the position itself, whose events are dropped: so etcd answers "compacted" exactly when something after it is gone.
    async fn connect(&mut self) -> Result<(), StoreError> {
        let connection = &self.shared.connection;
        self.moved.mark_unchanged();
        let (_, fence) = origin::read(connection).await?;
        if fence != connection.clock.fence {
            return Err(self.shared.replaced());
        }
        let (start, end) = connection.keys.everything();
        let first = connection.clock.to_etcd(self.position).max(1);
        let options = WatchOptions::new().with_range(end).with_start_revision(first).with_prev_key().with_fragment();
        self.partial.clear();
        let opened = connection.once("watch", |mut clients| {
            let (start, options) = (start.clone(), options.clone());
            async move {
                let mut stream = clients.watch.watch(start, Some(options)).await?;
                let first = stream.message().await?;
                Ok((stream, first))
            }
        });
        let (stream, first) = opened.await?;
        self.stream = first.is_some().then_some(stream);
        if let Some(first) = first {
            self.receive(first)?;
        }
        if self.stream.is_some() { Ok(()) } else { Err(StoreError::Unavailable("etcd closed the watch at once".into())) }
    }

    async fn reconnect(&mut self) -> Result<(), StoreError> {
        let deadline = Instant::now() + RECONNECT_FOR;
        loop {
            sleep(RECONNECT_AFTER).await;
            match self.connect().await {
                Err(StoreError::Unavailable(reason)) if Instant::now() < deadline => {
                    tracing::debug!(reason, "a watch could not be opened again yet");
                    self.stream = None;
                }
                other => return other,
            }
        }
    }

    fn receive(&mut self, response: WatchResponse) -> Result<(), StoreError> {
        let shared = self.shared.clone();
        let (keys, clock) = (&shared.connection.keys, shared.connection.clock);
        if response.compact_revision() > 0 {
            return Err(StoreError::Compacted { requested: self.position, oldest: clock.of_etcd(response.compact_revision()) });
        }
        if response.canceled() {
            // Without a leader, for example: it is opened again.
            tracing::debug!(reason = response.cancel_reason(), "etcd cancelled a watch");
            self.stream = None;
            return Ok(());
        }
        if response.created() {
            return Ok(());
        }
        if response.events().is_empty() {
            let revision = response.header().map_or(0, |header| clock.of_etcd(header.revision()));
            // See `progress`: an old etcd's word is not taken.
            if !self.shared.progress.by_marker && revision >= self.position {
                self.unanswered = None;
                self.position = revision;
                self.queue.push_back(WatchItem::Progress(revision));
            }
            return Ok(());
        }
        let (marker, origin) = (keys.marker(), keys.origin());
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let revision = clock.of_etcd(kv.mod_revision());
            if revision > self.position && kv.key() == origin {
                return Err(shared.replaced());
            }
            if revision <= self.position || !(keys.is_data(kv.key()) || kv.key() == marker) {
                continue;
            }
            if self.partial.first().is_some_and(|(first, _)| first.revision != revision) {
                self.complete();
            }
            let kind = match event.event_type() {
                EventType::Put => {
                    EventKind::Put { value: Bytes::copy_from_slice(kv.value()), create_revision: clock.of_etcd(kv.create_revision()) }
                }
                EventType::Delete => EventKind::Delete,
            };
            let previous = event.prev_kv().map(|previous| entry(&shared.connection, previous.clone()));
            let key = Bytes::copy_from_slice(keys.decode(kv.key()));
            self.partial.push((Event { revision, key, kind, previous }, kv.key() == marker));
        }
        if !response.0.fragment {
            self.complete();
        }
        Ok(())
    }

    /// Hands over the revision that was being collected.
    fn complete(&mut self) {
        let Some((first, is_marker)) = self.partial.first() else { return };
        let (revision, is_marker) = (first.revision, *is_marker);
        self.position = revision;
        let collected = std::mem::take(&mut self.partial).into_iter();
        let events: Vec<Event> =
            collected.filter(|(event, marker)| !marker && self.range.contains(&event.key)).map(|(event, _)| event).collect();
        if is_marker {
            self.queue.push_back(WatchItem::Progress(revision));
        } else if !events.is_empty() {
            self.queue.push_back(WatchItem::Events(events));
        }
    }
}
