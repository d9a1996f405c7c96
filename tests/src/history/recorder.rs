//! Clients that write, read and watch ConfigMaps through several API servers over HTTP, and remember all of it.
//!
//! Every client stays with one server, so that it can be told since when that one serves. What was not answered in time is asked no second time: it
//! may or may not have happened.

use super::random::Random;
use super::{Change, History, Operation, Outcome, Revision, Seen, State, Watched, What};
use crate::https::{Answer, Api, Connection};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clients of each server that write and read, and that watch.
const WRITERS: usize = 3;
const WATCHERS: usize = 2;
/// Objects that all clients fight for.
const OBJECTS: u64 = 12;
/// What is not answered within this time is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// A client's pause between two requests: so many milliseconds at most.
const PAUSE: u64 = 20;
/// How long the watches may take to tell the rest.
const END: Duration = Duration::from_secs(30);

/// What controllers put into every namespace is none of ours.
pub fn is_ours(name: &str) -> bool {
    name.starts_with("object")
}

/// Clients at work.
pub struct Recorder {
    shared: Arc<Shared>,
    began: Revision,
    writers: Vec<JoinHandle<()>>,
    watchers: Vec<JoinHandle<Result<Watched>>>,
}

struct Shared {
    start: Instant,
    apis: Vec<Api>,
    /// Path of the objects.
    path: String,
    /// Bytes of ballast in each object.
    ballast: usize,
    stop: AtomicBool,
    /// The last revision, once it is known.
    end: AtomicU64,
    /// By which server's client.
    operations: Mutex<Vec<(usize, Operation)>>,
}

/// What a recording has brought.
pub struct Recorded {
    pub history: History,
    /// Before the first write.
    pub began: Revision,
    /// Of the last write.
    pub end: Revision,
    /// Of each server: when its writes were acknowledged, in order.
    acknowledged: Vec<Vec<u64>>,
}

impl Recorder {
    /// Begins, in a namespace that is there.
    pub fn start(apis: &[Api], namespace: &str, ballast: usize) -> Result<Self> {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let after = revision(&apis[0].get(&path)?.expect(200)?)?;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            apis: apis.iter().map(|api| api.clone().within(PATIENCE)).collect(),
            path,
            ballast,
            stop: AtomicBool::new(false),
            end: AtomicU64::new(u64::MAX),
            operations: Mutex::default(),
        });
        let clients = |each: usize| (0..apis.len()).flat_map(move |server| (0..each).map(move |client| (server, client)));
        let writers = clients(WRITERS).map(|(server, client)| {
            let shared = shared.clone();
            std::thread::spawn(move || Client::new(&shared, server, client).run())
        });
        let watchers = clients(WATCHERS).map(|(server, client)| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.watch(server, after, client > 0))
        });
        let (writers, watchers) = (writers.collect(), watchers.collect());
        Ok(Self { shared, began: after, writers, watchers })
    }

    /// Microseconds since it began.
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// How many writes were acknowledged by each server that were sent after `since`.
    pub fn acknowledged(&self, since: u64) -> Vec<usize> {
        let operations = self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = vec![0; self.shared.apis.len()];
        operations
            .iter()
            .filter(|(_, operation)| operation.sent >= since && is_acknowledged(operation))
            .for_each(|(server, _)| counts[*server] += 1);
        counts
    }

    /// Ends the writers, writes a last object through each server, and waits until every watch has told of all of them.
    pub fn finish(mut self) -> Result<Recorded> {
        self.shared.stop.store(true, Ordering::Release);
        for writer in self.writers.drain(..) {
            writer.join().ok().context("a client panicked")?;
        }
        let mut end = 0;
        for server in 0..self.shared.apis.len() {
            end = end.max(self.shared.write_last(server)?);
        }
        self.shared.end.store(end, Ordering::Release);
        let mut history = History::default();
        let began = self.began;
        for watcher in self.watchers.drain(..) {
            history.watches.push(watcher.join().ok().context("a watch panicked")??);
        }
        let operations = std::mem::take(&mut *self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner));
        let mut acknowledged = vec![Vec::new(); self.shared.apis.len()];
        for (server, operation) in operations {
            if is_acknowledged(&operation) {
                acknowledged[server].push(operation.answered);
            }
            history.operations.push(operation);
        }
        acknowledged.iter_mut().for_each(|times| times.sort_unstable());
        Ok(Recorded { history, began, end, acknowledged })
    }
}

impl Drop for Recorder {
    /// Of one that was not finished.
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.end.store(0, Ordering::Release);
    }
}

impl Recorded {
    /// The longest time in which this server acknowledged no write, of what is between the two times.
    pub fn longest_gap(&self, server: usize, from: u64, until: u64) -> Duration {
        let inside = self.acknowledged[server].iter().copied().filter(|time| (from..until).contains(time));
        let times: Vec<u64> = [from].into_iter().chain(inside).chain([until]).collect();
        Duration::from_micros(times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0))
    }

    /// How often watches of this server had to list everything anew.
    pub fn lists(&self, server: usize) -> usize {
        let watches = &self.history.watches[server * WATCHERS..(server + 1) * WATCHERS];
        watches.iter().flat_map(|watched| &watched.seen).filter(|seen| matches!(seen, Seen::Listed { .. })).count()
    }

    /// How many writes were acknowledged, and of how many nobody knows.
    pub fn counts(&self) -> (usize, usize) {
        let unknown = self.history.operations.iter().filter(|operation| outcome(operation) == Some(Outcome::Unknown)).count();
        (self.acknowledged.iter().map(Vec::len).sum(), unknown)
    }
}

fn outcome(operation: &Operation) -> Option<Outcome> {
    match operation.what {
        What::Put { outcome, .. } | What::Delete { outcome, .. } => Some(outcome),
        What::Get { .. } | What::List { .. } => None,
    }
}

fn is_acknowledged(operation: &Operation) -> bool {
    matches!(outcome(operation), Some(Outcome::Done(_)))
}

impl Shared {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn record(&self, server: usize, operation: Operation) {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push((server, operation));
    }

    fn object(&self, key: &str, value: &str, before: Option<Revision>) -> String {
        let mut metadata = json!({"name": key});
        if let Some(before) = before {
            metadata["resourceVersion"] = before.to_string().into();
        }
        let ballast = "x".repeat(self.ballast);
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value, "ballast": ballast}}).to_string()
    }

    /// Creates an object until the server says that it did.
    fn write_last(&self, server: usize) -> Result<Revision> {
        let deadline = Instant::now() + END;
        for attempt in 0.. {
            let (key, value) = (format!("object-last-{server}-{attempt}"), format!("last {server} {attempt}"));
            let sent = self.now();
            let answer = self.apis[server].post(&self.path, &self.object(&key, &value, None));
            let outcome = outcome_of(&answer);
            self.record(server, Operation { sent, answered: self.now(), what: What::Put { key, value, before: None, outcome } });
            if let Outcome::Done(Some(revision)) = outcome {
                return Ok(revision);
            }
            ensure!(Instant::now() < deadline, "server {server} takes no last write: {answer:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("out of numbers")
    }

    /// Watches until the end, with a new connection after each that ends, from where that was.
    fn watch(&self, server: usize, after: Revision, bookmarks: bool) -> Result<Watched> {
        let mut watched = Watched { after, seen: Vec::new() };
        let (mut newest, mut deadline) = (after, None);
        loop {
            let end = self.end.load(Ordering::Acquire);
            if newest >= end {
                return Ok(watched);
            }
            if end < u64::MAX {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + END);
                ensure!(
                    Instant::now() < deadline,
                    "a watch of server {server} has told everything up to {newest}, and no more until {end}"
                );
            }
            if let Err(error) = self.follow(server, bookmarks, &mut newest, &mut watched.seen) {
                if error.is::<Fallen>()
                    && let Ok((at, found)) = self.apis[server].get(&self.path).and_then(|answer| listed(&answer))
                {
                    watched.seen.push(Seen::Listed { at, found });
                    newest = at;
                    continue;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn follow(&self, server: usize, bookmarks: bool, newest: &mut Revision, seen: &mut Vec<Seen>) -> Result<()> {
        let path = format!("{}?watch=1&resourceVersion={newest}&allowWatchBookmarks={bookmarks}", self.path);
        let mut stream = self.apis[server].connect()?.follow(&path)?;
        while *newest < self.end.load(Ordering::Acquire) {
            let Some(line) = stream.line()? else { return Ok(()) };
            let event: Value = serde_json::from_slice(&line)?;
            let (kind, object) = (event["type"].as_str().context("an event has a type")?, &event["object"]);
            if kind == "ERROR" {
                return Err(if object["code"] == 410 { Fallen.into() } else { anyhow::anyhow!("{object}") });
            }
            let at = revision(object)?;
            if kind == "BOOKMARK" {
                seen.push(Seen::Bookmark(at));
                *newest = at.max(*newest);
                continue;
            }
            let (key, value) = content(object)?;
            *newest = at;
            if !is_ours(&key) {
                continue;
            }
            seen.push(match kind {
                "ADDED" => Seen::Added(Change { revision: at, key, value: Some(value) }),
                "MODIFIED" => Seen::Modified(Change { revision: at, key, value: Some(value) }),
                "DELETED" => Seen::Deleted { revision: at, key, held: value },
                other => bail!("an event of type {other}"),
            });
        }
        Ok(())
    }
}

/// The server keeps nothing from so long ago.
#[derive(Debug)]
struct Fallen;

impl std::fmt::Display for Fallen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a watch was told that its revision is too old")
    }
}

impl std::error::Error for Fallen {}

/// One client that writes and reads.
struct Client<'a> {
    shared: &'a Shared,
    server: usize,
    name: String,
    random: Random,
    connection: Option<Connection>,
    /// Versions that it has seen, by object: some are out of date.
    seen: HashMap<String, Revision>,
    writes: u64,
}

impl<'a> Client<'a> {
    fn new(shared: &'a Shared, server: usize, number: usize) -> Self {
        let random = Random(1 + (server * WRITERS + number) as u64 * 7919);
        Self { shared, server, name: format!("{server}-{number}"), random, connection: None, seen: HashMap::new(), writes: 0 }
    }

    fn run(&mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let key = format!("object-{}", self.random.below(OBJECTS));
            match self.random.below(10) {
                0 => self.list(),
                1 => self.outdated(&key),
                _ => self.change(&key),
            }
            std::thread::sleep(Duration::from_millis(self.random.below(PAUSE)));
        }
    }

    /// Sends a request. An error before it is sent is none of its outcomes.
    fn send(&mut self, method: &str, path: &str, body: &str) -> Option<(u64, u64, Result<Answer>)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.shared.apis[self.server].connect().ok()?,
        };
        let sent = self.shared.now();
        let answer = connection.send(method, path, &[("content-type", "application/json")], body.as_bytes());
        let answered = self.shared.now();
        if answer.is_ok() {
            self.connection = Some(connection);
        }
        Some((sent, answered, answer))
    }

    fn list(&mut self) {
        let path = self.shared.path.clone();
        let Some((sent, answered, Ok(answer))) = self.send("GET", &path, "") else { return };
        let Ok((at, found)) = listed(&answer) else { return };
        self.shared.record(self.server, Operation { sent, answered, what: What::List { at, found } });
    }

    /// Reads an object, then makes, changes or deletes it.
    fn change(&mut self, key: &str) {
        let path = format!("{}/{key}", self.shared.path);
        let Some((sent, answered, Ok(answer))) = self.send("GET", &path, "") else { return };
        let found = match answer.code {
            404 => None,
            200 => {
                let Ok(object) = answer.expect(200) else { return };
                let (Ok(version), Ok((_, value))) = (revision(&object), content(&object)) else { return };
                Some((version, value))
            }
            _ => return,
        };
        let before = found.as_ref().map(|(version, _)| *version);
        self.shared.record(self.server, Operation { sent, answered, what: What::Get { key: key.to_owned(), found } });
        before.map(|before| self.seen.entry(key.to_owned()).or_insert(before));
        match before {
            Some(before) if self.random.below(4) == 0 => {
                let body = json!({"preconditions": {"resourceVersion": before.to_string()}}).to_string();
                let Some((sent, answered, answer)) = self.send("DELETE", &path, &body) else { return };
                let outcome = match outcome_of(&answer) {
                    Outcome::Done(_) => Outcome::Done(None),
                    other => other,
                };
                let what = What::Delete { key: key.to_owned(), before, outcome };
                self.shared.record(self.server, Operation { sent, answered, what });
            }
            before => self.put(key, before),
        }
    }

    /// An update of a version that was seen long ago.
    fn outdated(&mut self, key: &str) {
        if let Some(before) = self.seen.remove(key) {
            self.put(key, Some(before));
        }
    }

    fn put(&mut self, key: &str, before: Option<Revision>) {
        self.writes += 1;
        let value = format!("{} {}", self.name, self.writes);
        let body = self.shared.object(key, &value, before);
        let sent = match before {
            None => self.send("POST", &self.shared.path.clone(), &body),
            Some(_) => self.send("PUT", &format!("{}/{key}", self.shared.path), &body),
        };
        let Some((sent, answered, answer)) = sent else { return };
        let what = What::Put { key: key.to_owned(), value, before, outcome: outcome_of(&answer) };
        self.shared.record(self.server, Operation { sent, answered, what });
    }
}

/// What a list tells: its revision, and the objects in order.
fn listed(answer: &Answer) -> Result<(Revision, State)> {
    let list = answer.expect(200)?;
    let items = list["items"].as_array().context("a list has items")?;
    let mut found = Vec::new();
    for item in items {
        let (key, value) = content(item)?;
        found.push((key, revision(item)?, value));
    }
    found.retain(|(key, ..)| is_ours(key));
    found.sort();
    Ok((revision(&list)?, found))
}

/// What an answer says about a write. Too many requests (429) and what is said of the request itself (4xx) mean that nothing was done.
fn outcome_of(answer: &Result<Answer>) -> Outcome {
    match answer {
        Ok(answer) if (200..300).contains(&answer.code) => {
            let said = serde_json::from_slice::<Value>(&answer.body).ok();
            Outcome::Done(said.and_then(|object| revision(&object).ok()))
        }
        Ok(answer) if (400..500).contains(&answer.code) && answer.code != 408 => Outcome::Refused,
        Ok(_) | Err(_) => Outcome::Unknown,
    }
}

fn revision(object: &Value) -> Result<Revision> {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).with_context(|| format!("no version in {object}"))
}

/// Name and value of an object as it is sent, and as it is stored.
pub fn content(object: &Value) -> Result<(String, String)> {
    let name = object["metadata"]["name"].as_str().context("an object has a name")?;
    Ok((name.to_owned(), object["data"]["value"].as_str().unwrap_or_default().to_owned()))
}
