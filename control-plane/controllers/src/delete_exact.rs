//! Deletes an object and nothing else: not a successor of the same name.

use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use orknet_reconciler::{Cached, Error, is_not_found};

/// What a deletion came to.
pub(crate) enum Deletion<K> {
    /// The server took it; the object as it is now, where it stays for a while (finalizers, grace).
    Taken(Option<K>),
    /// Somebody else was first.
    Gone,
}

/// Deletes `object`, told by its uid. One that is gone already is no error.
pub(crate) async fn delete_exact<K: Cached>(api: &Api<K>, object: &K, params: DeleteParams) -> Result<Deletion<K>, Error> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    let same = Preconditions { uid: object.meta().uid.clone(), resource_version: None };
    match api.delete(name, &params.preconditions(same)).await {
        Ok(answer) => Ok(Deletion::Taken(answer.left().filter(|left| left.meta().deletion_timestamp.is_some()))),
        Err(error) if is_not_found(&error) => Ok(Deletion::Gone),
        Err(error) => Err(Error::api(format!("deleting {} {name}", K::kind(&())))(error)),
    }
}
