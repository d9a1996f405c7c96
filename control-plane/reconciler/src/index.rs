//! Objects of a shared store by something that they say: which slices are a Service's, without a look at those of all others.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::{Cached, Informer, ObjectKey};

/// The objects of one kind by a key that some of them name. As new as the store, our own writes included.
pub struct Index<T, K> {
    objects: Arc<Informer<K>>,
    keys: Arc<RwLock<HashMap<T, BTreeSet<ObjectKey>>>>,
}

impl<T: Clone + Eq + Hash + Send + Sync + 'static, K: Cached> Index<T, K> {
    /// Follows `objects` from now on. `key` must be a function of the object alone; it runs on the watch's task (see [`Informer::on_change`]).
    pub fn new(objects: &Arc<Informer<K>>, key: impl Fn(&K) -> Option<T> + Send + Sync + 'static) -> Self {
        let keys = Arc::new(RwLock::new(HashMap::<T, BTreeSet<ObjectKey>>::new()));
        let filled = keys.clone();
        objects.on_change(move |change| {
            let (old, new) = (change.old.as_deref(), change.new.as_deref());
            let (before, now) = (old.and_then(&key), new.and_then(&key));
            if before == now {
                return;
            }
            let mut keys = filled.write();
            if let (Some(old), Some(before)) = (old, before)
                && let Some(own) = keys.get_mut(&before)
            {
                own.remove(&ObjectKey::of(old.meta()));
                if own.is_empty() {
                    keys.remove(&before);
                }
            }
            if let (Some(new), Some(now)) = (new, now) {
                keys.entry(now).or_default().insert(ObjectKey::of(new.meta()));
            }
        });
        Self { objects: objects.clone(), keys }
    }

    /// The objects that name `key`, in order of their names. Takes time by their number alone.
    pub fn of(&self, key: &T) -> Vec<Arc<K>> {
        let named: Vec<ObjectKey> = self.keys.read().get(key).into_iter().flatten().cloned().collect();
        named.iter().filter_map(|object| self.objects.get(object)).collect()
    }

    /// The store that it is an index of.
    pub fn objects(&self) -> &Informer<K> {
        &self.objects
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Namespace;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::ResourceExt;

    use super::*;

    fn labelled(name: &str, team: Option<&str>, version: u64) -> Namespace {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            uid: Some(name.into()),
            resource_version: Some(version.to_string()),
            labels: team.map(|team| [("team".to_owned(), team.to_owned())].into()),
            ..ObjectMeta::default()
        };
        Namespace { metadata, ..Namespace::default() }
    }

    fn names(index: &Index<String, Namespace>, team: &str) -> Vec<String> {
        index.of(&team.to_owned()).iter().map(|namespace| namespace.name_any()).collect()
    }

    #[test]
    fn an_object_is_where_its_newest_state_says() {
        let informer = Arc::new(Informer::new());
        informer.replace([(ObjectKey::new("", "a"), labelled("a", Some("red"), 1))].into(), 1);
        let index = Index::new(&informer, |namespace: &Namespace| namespace.labels().get("team").cloned());
        informer.record(labelled("b", Some("red"), 2));
        assert_eq!(names(&index, "red"), ["a", "b"]);
        informer.apply(labelled("a", Some("blue"), 3));
        assert_eq!((names(&index, "red"), names(&index, "blue")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        informer.apply(labelled("a", None, 4));
        informer.delete(&labelled("b", Some("red"), 5));
        assert_eq!((names(&index, "red"), names(&index, "blue")), (Vec::new(), Vec::new()));
        assert!(index.keys.read().is_empty(), "nothing is kept of keys that nobody names");
        informer.apply(labelled("a", Some("red"), 6));
        informer.replace(BTreeMap::new(), 7);
        assert!(names(&index, "red").is_empty() && index.keys.read().is_empty());
    }
}
