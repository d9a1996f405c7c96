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
}

struct Entry<K> {
    object: Option<Arc<K>>,
    read: Instant,
}

impl<K> Remembered<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    pub(super) fn new(client: Client) -> Self {
        Self { client, entries: Mutex::default() }
    }

    /// The object; none when it does not exist. Fails only when the server cannot be asked.
    pub(super) async fn get(&self, namespace: &str, name: &str) -> Result<Option<Arc<K>>, Error> {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(entry) = self.entries.lock().get(&key).filter(|e| e.object.is_some() && e.read.elapsed() < FRESH) {
            return Ok(entry.object.clone());
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let object = api.get_opt(name).await.map_err(Error::api(format!("get {} {namespace}/{name}", K::kind(&()))))?.map(Arc::new);
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| entry.read.elapsed() < FRESH);
        entries.insert(key, Entry { object: object.clone(), read: Instant::now() });
        Ok(object)
    }
}
