//! Keys with a time to live.

use crate::backend::Fixture;
use crate::{events, everything, get, put, write};
use orknet_store::{EventKind, Op};
use std::time::{Duration, Instant};

fn mortal(key: &'static str, ttl: Duration) -> Op {
    Op::Put { key: key.into(), value: "v".into(), ttl: Some(ttl) }
}

pub async fn a_key_with_a_ttl_is_deleted_by_an_ordinary_event(fixture: Fixture) {
    let store = &*fixture.store;
    let started = Instant::now();
    let ttl = Duration::from_secs(1);
    let written = write(store, vec![mortal("a", ttl), put("b", "stays")]).await;
    assert!(get(store, "a").await.is_some());
    let mut watch = store.watch(everything(), written).await.unwrap();
    let event = events(&mut watch).await.remove(0);
    assert!(started.elapsed() >= ttl, "it was deleted after {:?}", started.elapsed());
    assert_eq!((event.key, event.kind), ("a".into(), EventKind::Delete));
    assert!(event.revision > written);
    assert_eq!(event.previous.unwrap().mod_revision, written);
    assert_eq!(get(store, "a").await, None);
    assert!(get(store, "b").await.is_some());
}

pub async fn a_key_written_again_lives_on(fixture: Fixture) {
    let store = &*fixture.store;
    write(store, vec![mortal("a", Duration::from_secs(1)), mortal("z", Duration::from_secs(1))]).await;
    let written = write(store, vec![put("a", "for good")]).await;
    let mut watch = store.watch(everything(), written).await.unwrap();
    // Both were to expire at the same time.
    assert_eq!(events(&mut watch).await[0].key, "z");
    assert_eq!(get(store, "a").await.unwrap().value, "for good");
}

pub async fn a_ttl_outlives_a_restart(fixture: Fixture) {
    let written = write(&*fixture.store, vec![mortal("a", Duration::from_secs(1))]).await;
    let fixture = fixture.reopen().await;
    let mut watch = fixture.store.watch(everything(), written).await.unwrap();
    let event = events(&mut watch).await.remove(0);
    assert_eq!((event.key, event.kind), ("a".into(), EventKind::Delete));
    assert_eq!(get(&*fixture.store, "a").await, None);
}
