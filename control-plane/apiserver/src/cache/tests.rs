//! Places that come and go while others write: nothing is missing, nothing is there twice, nothing stays.

use super::*;
use async_trait::async_trait;
use orknet_store::embedded::EmbeddedConfig;
use orknet_store::{Commit, Compare, KeyRange, Op, RangeResult, Store, StoreConfig, StoreError, Watch};
use rand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

const PLACE: StoredAs = ("example.org", "things");

/// The embedded store, whose reads of the place wait for a permit.
struct Held {
    inner: Arc<dyn Store>,
    permits: Semaphore,
    /// A permit is added for each read that begins to wait.
    waiting: Semaphore,
}

#[async_trait]
impl Store for Held {
    async fn range(&self, range: KeyRange, revision: Option<Revision>, limit: usize) -> Result<RangeResult, StoreError> {
        if range.start.starts_with(crate::storage::keys::folder(PLACE).as_bytes()) {
            self.waiting.add_permits(1);
            self.permits.acquire().await.expect("open").forget();
        }
        self.inner.range(range, revision, limit).await
    }

    async fn commit(&self, compares: Vec<Compare>, ops: Vec<Op>) -> Result<Commit, StoreError> {
        self.inner.commit(compares, ops).await
    }

    async fn watch(&self, range: KeyRange, after: Revision) -> Result<Watch, StoreError> {
        self.inner.watch(range, after).await
    }

    async fn request_progress(&self) -> Result<(), StoreError> {
        self.inner.request_progress().await
    }

    async fn current_revision(&self) -> Result<Revision, StoreError> {
        self.inner.current_revision().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.inner.compact(revision).await
    }

    async fn size(&self) -> Result<u64, StoreError> {
        self.inner.size().await
    }
}

struct Fed {
    store: Arc<Held>,
    caches: Arc<Caches>,
    _feed: AbortOnDropHandle<Result<(), orknet_store::StoreError>>,
    _directory: TempDir,
}

impl Fed {
    /// `permits`: how many reads of the place do not wait.
    async fn start(permits: usize) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = StoreConfig::Embedded(EmbeddedConfig::new(directory.path().join("store")));
        let inner = orknet_store::open(config).await.expect("opens");
        let store = Arc::new(Held { inner, permits: Semaphore::new(permits), waiting: Semaphore::new(0) });
        let caches = Arc::new(Caches::new(&Kinds::new(&[]), Arc::default()));
        let feed = tokio::spawn(feed(caches.clone(), store.clone(), CancellationToken::new()));
        caches.filled().await;
        Self { store, caches, _feed: AbortOnDropHandle::new(feed), _directory: directory }
    }

    /// Adds the place beside, and waits until its folder is being read.
    async fn begin_add(&self) -> AbortOnDropHandle<Result<(), Ended>> {
        let caches = self.caches.clone();
        let adding = tokio::spawn(async move { caches.add(PLACE, Vec::new()).await });
        self.read_begins().await;
        AbortOnDropHandle::new(adding)
    }

    async fn read_begins(&self) {
        tokio::time::timeout(WAIT, self.store.waiting.acquire()).await.expect("in time").expect("open").forget();
    }

    async fn reach(&self, revision: Revision) {
        self.caches.reach(&*self.store, revision).await.expect("in time");
    }

    /// The names and versions in the cache.
    fn shown(&self) -> Vec<(String, Revision)> {
        let cache = self.caches.of(PLACE).expect("there");
        cache.snapshot("").objects.iter().map(|object| shown(object)).collect()
    }
}

fn shown(object: &CachedObject) -> (String, Revision) {
    (object.tail.to_string(), crate::object::resource_version(&object.value()).parse().expect("a version"))
}

fn key(name: &str) -> String {
    crate::storage::keys::object(PLACE, "", name)
}

/// Writes (or removes) an object; answers the revision.
async fn write(store: &dyn Store, name: &str, value: Option<Value>) -> Revision {
    let key = key(name).into();
    let op = match value {
        Some(value) => Op::Put { key, value: value.to_string().into(), ttl: None },
        None => Op::Delete { key },
    };
    match store.commit(Vec::new(), vec![op]).await.expect("commits") {
        Commit::Done(revision) => revision,
        failed => panic!("{failed:?}"),
    }
}

fn object(name: &str) -> Option<Value> {
    Some(json!({ "metadata": { "name": name } }))
}

#[tokio::test]
async fn what_changes_while_a_new_place_is_read_is_told_after_what_was_there() {
    let fed = Fed::start(0).await;
    let before = write(&*fed.store, "before", object("before")).await;
    let gone = write(&*fed.store, "gone", object("gone")).await;
    fed.reach(gone).await;
    let mut adding = fed.begin_add().await;
    write(&*fed.store, "gone", None).await;
    let during = write(&*fed.store, "during", object("during")).await;
    fed.reach(during).await;
    assert!(fed.caches.of(PLACE).is_none(), "nobody sees a place that is not filled");
    fed.store.permits.add_permits(1);
    assert_eq!((&mut adding).await.expect("ends"), Ok(()));
    assert_eq!(fed.shown(), [("before".to_owned(), before), ("during".to_owned(), during)]);
    // The changes since the read are there to be replayed from its revision on, those before are not.
    let cache = fed.caches.of(PLACE).expect("there");
    let mut cursor = cache.after(gone).expect("kept");
    let told: Vec<_> = cursor.ready().expect("kept").iter().map(|change| (change.kind, shown(&change.object))).collect();
    assert_eq!(told, [(ChangeKind::Delete, ("gone".to_owned(), during - 1)), (ChangeKind::Put, ("during".to_owned(), during))]);
    assert_eq!(cache.after(gone - 1).err(), Some(gone));
    let after = write(&*fed.store, "after", object("after")).await;
    fed.reach(after).await;
    assert_eq!(cursor.ready().expect("kept").len(), 1);
}

#[tokio::test]
async fn a_place_whose_past_is_forgotten_while_it_is_read_is_read_anew() {
    let fed = Fed::start(0).await;
    let first = write(&*fed.store, "first", object("first")).await;
    fed.reach(first).await;
    let mut adding = fed.begin_add().await;
    let second = write(&*fed.store, "second", object("second")).await;
    let changed = write(&*fed.store, "first", object("first")).await;
    fed.reach(changed).await;
    fed.store.compact(changed).await.expect("compacts");
    fed.store.permits.add_permits(1);
    fed.read_begins().await;
    let third = write(&*fed.store, "third", object("third")).await;
    fed.reach(third).await;
    fed.store.permits.add_permits(1);
    assert_eq!((&mut adding).await.expect("ends"), Ok(()));
    assert_eq!(fed.shown(), [("first".to_owned(), changed), ("second".to_owned(), second), ("third".to_owned(), third)]);
}

#[tokio::test]
async fn a_place_that_goes_ends_its_watches_and_leaves_nothing() {
    let fed = Fed::start(usize::MAX >> 4).await;
    fed.caches.add(PLACE, Vec::new()).await.expect("is added");
    let revision = write(&*fed.store, "a", object("a")).await;
    fed.reach(revision).await;
    let cache = fed.caches.of(PLACE).expect("there");
    let object = Arc::downgrade(&cache.get("", "a").expect("there"));
    let (mut watching, mut behind) = (cache.end(), cache.after(revision - 1).expect("kept"));
    assert_eq!(watching.ready().map(|changes| changes.len()), Ok(0));
    let waiting = tokio::spawn(async move {
        watching.wait().await;
        watching.ready().map(drop)
    });
    tokio::task::yield_now().await;
    fed.caches.remove(PLACE);
    assert_eq!(waiting.await.expect("is woken"), Err(Fallen::Ended));
    assert_eq!(behind.ready().map(drop), Err(Fallen::Ended));
    assert_eq!((fed.caches.count(), fed.caches.of(PLACE).is_none(), cache.count()), (0, true, 0));
    assert!(object.upgrade().is_none(), "whoever holds the cache holds no object");
    // The changes of a place that is no more are nobody's.
    let later = write(&*fed.store, "b", self::object("b")).await;
    fed.reach(later).await;
    assert_eq!(cache.count(), 0);
    fed.caches.add(PLACE, Vec::new()).await.expect("is added again");
    assert_eq!(fed.shown(), [("a".to_owned(), revision), ("b".to_owned(), later)]);
}

#[tokio::test]
async fn watches_end_without_a_place_going() {
    let fed = Fed::start(1).await;
    fed.caches.add(PLACE, Vec::new()).await.expect("is added");
    let cache = fed.caches.of(PLACE).expect("there");
    let mut old = cache.end();
    fed.caches.end_watches(PLACE);
    let mut new = cache.end();
    assert_eq!((old.ready().map(drop), new.ready().map(drop)), (Err(Fallen::Ended), Ok(())));
}

/// Two writers, and a place that comes and goes: what it shows, and then tells, is what the store did, change for change.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_place_that_comes_among_writes_misses_none_and_tells_none_twice() {
    const ROUNDS: usize = 60;
    let fed = Fed::start(usize::MAX >> 4).await;
    let log: Arc<Mutex<BTreeMap<Revision, (String, bool)>>> = Arc::default();
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (store, log) = (fed.store.clone(), log.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let mut there = [false; 4];
                loop {
                    let at = rand::rng().random_range(0..there.len());
                    there[at] = !there[at] || rand::rng().random_bool(0.5);
                    let name = format!("{writer}-{at}");
                    // Deletions only of what is there: nothing else changes the store.
                    let was = log.lock().values().rev().find(|(known, _)| *known == name).is_some_and(|(_, put)| *put);
                    there[at] |= !was;
                    let revision = write(&*store, &name, there[at].then(|| object(&name)).flatten()).await;
                    log.lock().insert(revision, (name, there[at]));
                }
            }))
        })
        .collect();
    for round in 0..ROUNDS {
        fed.caches.add(PLACE, Vec::new()).await.expect("is added");
        let cache = fed.caches.of(PLACE).expect("there");
        let snapshot = cache.snapshot("");
        let mut cursor = snapshot.cursor;
        let begin = snapshot.revision;
        let mut told: Vec<(Revision, String, bool)> = Vec::new();
        while told.len() < 8 {
            let changes = cursor.ready().expect("not cut");
            told.extend(changes.iter().map(|change| (change.revision, change.object.tail.to_string(), change.kind == ChangeKind::Put)));
            if changes.is_empty() {
                cursor.wait().await;
            }
        }
        let end = told.last().expect("some").0;
        // A writer notes its write a moment after the feed has seen it.
        // Every revision is a write, from the second on.
        let noted = |log: &BTreeMap<Revision, (String, bool)>| log.range(..=end).count() as u64 == end - 1;
        tokio::time::timeout(WAIT, async {
            while !noted(&log.lock()) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("round {round}: told {told:?} after {begin}, written {:?}", log.lock().range(begin..=end)));
        let log = log.lock();
        let written: Vec<_> = log.range(begin + 1..=end).map(|(revision, (name, put))| (*revision, name.clone(), *put)).collect();
        assert_eq!(told, written, "round {round}");
        let mut state: BTreeMap<String, Revision> = BTreeMap::new();
        for (revision, (name, put)) in log.range(..=begin) {
            if *put {
                state.insert(name.clone(), *revision)
            } else {
                state.remove(name)
            };
        }
        let found: BTreeMap<String, Revision> = snapshot.objects.iter().map(|object| shown(object)).collect();
        assert_eq!(found, state, "round {round}");
        drop(log);
        fed.caches.remove(PLACE);
    }
    drop(writers);
    assert_eq!(fed.caches.count(), 0);
}
