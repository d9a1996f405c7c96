//! ConfigMaps and Secrets as pods use them: read when needed, remembered for a short time so that many pods with the same volume ask once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::error::Error;

/// How old an answer may be. Short enough that a changed object reaches volumes soon, long enough to serve a wave of new pods.
const FRESH: Duration = Duration::from_secs(3);

/// Remembers objects of one kind by namespace and name.
pub(super) struct Remembered<K> {
    client: Client,
    entries: Mutex<HashMap<(String, String), Entry<K>>>,
    /// Since when answers about a namespace count; older ones are read again.
    renewed: Mutex<HashMap<String, Instant>>,
}

struct Entry<K> {
    object: Option<Arc<K>>,
    /// When it was asked for: what the answer holds may have changed ever since.
    asked: Instant,
}

impl<K> Remembered<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    pub(super) fn new(client: Client) -> Self {
        Self { client, entries: Mutex::default(), renewed: Mutex::default() }
    }

    /// The object; none when it does not exist. Fails only when the server cannot be asked.
    pub(super) async fn get(&self, namespace: &str, name: &str) -> Result<Option<Arc<K>>, Error> {
        let key = (namespace.to_owned(), name.to_owned());
        let since = self.renewed.lock().get(namespace).copied();
        let serves =
            |entry: &&Entry<K>| entry.object.is_some() && entry.asked.elapsed() < FRESH && since.is_none_or(|since| entry.asked >= since);
        if let Some(entry) = self.entries.lock().get(&key).filter(serves) {
            return Ok(entry.object.clone());
        }
        let asked = Instant::now();
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get_opt(name).await.map_err(Error::api(format!("get {} {namespace}/{name}", K::kind(&()))))?.map(Arc::new);
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| entry.asked.elapsed() < FRESH);
        entries.insert(key, Entry { object: object.clone(), asked });
        Ok(object)
    }

    /// Answers about this namespace count from now on only.
    pub(super) fn renew(&self, namespace: &str) {
        let mut renewed = self.renewed.lock();
        renewed.retain(|_, at| at.elapsed() < FRESH);
        renewed.insert(namespace.to_owned(), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn an_answer_serves_for_a_while_but_not_beyond_a_renewal_of_its_namespace() {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = asked.clone();
        let server = tower::service_fn(move |_: http::Request<Body>| {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            let body = format!(r#"{{"metadata": {{"name": "c"}}, "data": {{"number": "{number}"}}}}"#);
            async move { Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(body.into_bytes()))) }
        });
        let remembered = Remembered::<ConfigMap>::new(Client::new(server, "default"));
        let number = async || remembered.get("a", "c").await.unwrap().unwrap().data.clone().unwrap()["number"].clone();
        assert_eq!((number().await, number().await), ("0".to_owned(), "0".to_owned()));
        remembered.renew("b");
        assert_eq!(number().await, "0", "another namespace");
        remembered.renew("a");
        assert_eq!((number().await, number().await), ("1".to_owned(), "1".to_owned()));
    }
}
