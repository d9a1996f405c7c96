//! Values that were written before the configuration became what it is are written again, so that old keys can be taken away.

use super::config::place;
use super::{SealedStore, Sealing, open, seal};
use crate::storage::keys;
use bytes::Bytes;
use orknet_store::{Commit, Compare, Entry, KeyRange, Op, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Entries read at a time.
const PAGE: usize = 200;
/// Pause before a store that failed is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// And the longest before objects are tried again that could not be written.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Writes again what is not sealed as it would be today, once, and returns; or at `shutdown`. Each is an update with no other change, under a new
/// `resourceVersion`; what somebody else changes meanwhile is sealed by that. What expires (Events) is kept for `event_ttl` from then on.
pub async fn renew(store: Arc<SealedStore>, event_ttl: Duration, shutdown: CancellationToken) {
    let mut pause = PAUSE;
    let work = async {
        loop {
            match pass(&store, event_ttl).await {
                Ok(Pass { written: 0, failed: 0 }) => return tracing::info!("all that is to be sealed is sealed with the newest key"),
                Ok(Pass { written, failed: 0 }) => tracing::info!(count = written, "objects were sealed anew"),
                Ok(Pass { written, failed }) => {
                    tracing::warn!(written, failed, "some objects cannot be sealed anew");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => {
                    tracing::warn!(%error, "objects cannot be sealed anew yet");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

/// What became of what was to be written: done, or changed by others meanwhile; and failed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pass {
    written: usize,
    failed: usize,
}

/// Goes through all once. An object that cannot be written keeps none from it that comes after.
async fn pass(store: &SealedStore, event_ttl: Duration) -> Result<Pass, StoreError> {
    let mut pass = Pass::default();
    for prefix in store.sealing.prefixes() {
        let mut range = KeyRange::prefix(prefix);
        loop {
            let page = store.inner.range(range.clone(), None, PAGE).await?;
            let last = page.entries.last().map(|entry| entry.key.clone());
            for entry in page.entries.into_iter().filter(|entry| is_stale(&store.sealing, &entry.key, &entry.value)) {
                let key = entry.key.clone();
                match again(store, entry, event_ttl).await {
                    Ok(_) => pass.written += 1,
                    Err(error @ StoreError::Unavailable(_)) => return Err(error),
                    Err(error) => {
                        tracing::warn!(key = %super::text(&key), %error, "an object cannot be sealed anew");
                        pass.failed += 1;
                    }
                }
            }
            match last {
                Some(last) if page.more => range.start = [&last[..], &[0]].concat().into(),
                _ => break,
            }
        }
    }
    Ok(pass)
}

async fn again(store: &SealedStore, Entry { key, value, mod_revision, .. }: Entry, event_ttl: Duration) -> Result<Commit, StoreError> {
    let ttl = place(&key).is_some_and(keys::expires).then_some(event_ttl);
    let value = seal(&store.sealing, &key, open(&store.sealing, &key, value)?)?;
    store.inner.commit(vec![Compare::ModRevision(key.clone(), mod_revision)], vec![Op::Put { key, value, ttl }]).await
}

/// Whether a value would be written otherwise today. Pure.
fn is_stale(sealing: &Sealing, key: &Bytes, value: &Bytes) -> bool {
    let Some(rules) = sealing.of(key) else { return false };
    match rules.writes_with() {
        Some(with) => !with.sealed(value),
        None => value.starts_with(super::SEALED),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::{FIRST, SECOND, sealing};
    use super::super::text;
    use super::*;
    use orknet_store::embedded::EmbeddedConfig;
    use orknet_store::{Store, StoreConfig};

    fn configuration(providers: &str) -> Arc<Sealing> {
        Arc::new(sealing(&format!("{{resources: [secrets, events], providers: [{providers}]}}")).expect("valid"))
    }

    #[tokio::test]
    async fn one_that_cannot_be_sealed_anew_keeps_no_other_from_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.path().join("store")))).await.expect("opens");
        let key = |name: &str| Bytes::from(format!("/registry/core/secrets/n/{name}"));
        for (name, value) in [("a", "k8s:enc:aesgcm:v1:b:damaged"), ("b", "plain")] {
            inner.commit(vec![], vec![Op::Put { key: key(name), value: value.into(), ttl: None }]).await.expect("commits");
        }
        let providers = format!("{{aesgcm: {{keys: [{{name: a, secret: {FIRST}}}, {{name: b, secret: {SECOND}}}]}}}}, {{identity: {{}}}}");
        let store = SealedStore { inner: inner.clone(), sealing: configuration(&providers) };
        assert_eq!(pass(&store, Duration::from_secs(1)).await.expect("goes through"), Pass { written: 1, failed: 1 });
        let written = inner.range(KeyRange::single(key("b")), None, 1).await.expect("reads").entries.remove(0).value;
        assert!(written.starts_with(b"k8s:enc:aesgcm:v1:a:"), "{}", text(&written));
    }

    #[tokio::test]
    async fn keys_are_changed_while_the_store_is_used_and_back_to_plain_text() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = orknet_store::open(StoreConfig::Embedded(EmbeddedConfig::new(directory.path().join("store")))).await.expect("opens");
        let key = |name: &str, secret: &str| format!("{{aesgcm: {{keys: [{{name: {name}, secret: {secret}}}]}}}}");
        let (first, second, plain) = (key("a", FIRST), key("b", SECOND), "{identity: {}}".to_owned());
        let secrets: Vec<Bytes> = (0..450).map(|index| Bytes::from(format!("/registry/core/secrets/n/{index:03}"))).collect();
        let secrets = [secrets, vec![Bytes::from("/registry/core/events/n/e")]].concat();
        let other = Bytes::from("/registry/core/pods/n/p");
        for key in secrets.iter().chain([&other]) {
            let put = Op::Put { key: key.clone(), value: format!("value of {}", text(key)).into(), ttl: None };
            inner.commit(vec![], vec![put]).await.expect("commits");
        }
        // (providers in their order, how what is written begins)
        for (providers, head) in [
            ([&plain, &first].map(|text| &text[..]).join(", "), "value of "),
            ([&first, &plain].map(|text| &text[..]).join(", "), "k8s:enc:aesgcm:v1:a:"),
            ([&second, &first].map(|text| &text[..]).join(", "), "k8s:enc:aesgcm:v1:b:"),
            (second.clone(), "k8s:enc:aesgcm:v1:b:"),
            ([&plain, &second].map(|text| &text[..]).join(", "), "value of "),
        ] {
            let store = Arc::new(SealedStore { inner: inner.clone(), sealing: configuration(&providers) });
            renew(store.clone(), Duration::from_secs(3600), CancellationToken::new()).await;
            for key in &secrets {
                let written = inner.range(KeyRange::single(key.clone()), None, 1).await.expect("reads").entries.remove(0).value;
                assert!(written.starts_with(head.as_bytes()), "{providers}: {}", text(&written));
                let read = store.range(KeyRange::single(key.clone()), None, 1).await.expect("reads").entries.remove(0).value;
                assert_eq!(text(&read), format!("value of {}", text(key)));
            }
            let written = inner.range(KeyRange::single(other.clone()), None, 1).await.expect("reads").entries.remove(0).value;
            assert_eq!(text(&written), format!("value of {}", text(&other)), "not to be sealed");
        }
        let foreign = SealedStore { inner, sealing: configuration(&first) };
        let error = foreign.range(KeyRange::prefix(keys::ROOT), None, 0).await.expect_err("plain text, and no identity provider");
        assert!(format!("{error}").contains("identity"), "{error}");
    }
}
