//! The end of a definition: its objects are deleted, and when the last has gone, the finalizer that held it. One task a definition; several servers may
//! do it at once. Objects cannot be made meanwhile ([`super::must_be_open`]).

use super::outline::Outline;
use super::serve::stored_kind;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::life::{DeleteOptions, Propagation};
use crate::object;
use crate::ownership::server_identity;
use crate::server::Server;
use crate::storage::{keys, parse};
use crate::verbs::write::{Update, update};
use crate::verbs::{DeleteRequest, delete_object};
use futures::{StreamExt, stream};
use orknet_custom::definition::conditions::{self, Condition};
use orknet_custom::definition::{CLEANUP, STORED_AS};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Deletions at a time.
const TOGETHER: usize = 16;
/// Objects read at a time.
const PAGE: usize = 500;
/// First and longest pause before objects that are held by their own finalizers are looked at again.
const LOOK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// The same where the kind's cache tells of every change.
const UNSEEN: Duration = Duration::from_secs(30);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// The tasks, by the definitions' uids. They end with it.
#[derive(Default)]
pub struct Cleanups {
    running: HashSet<String>,
    tasks: JoinSet<String>,
}

impl Cleanups {
    /// Begins one unless it runs.
    pub fn begin(&mut self, server: &Arc<Server>, definition: &Arc<Outline>) {
        let uid = definition.head.uid.clone();
        if self.running.insert(uid.clone()) {
            let (server, definition) = (server.clone(), definition.clone());
            self.tasks.spawn(async move {
                while let Err(error) = clear(&server, &definition).await {
                    tracing::warn!(definition = definition.head.name, %error, "the objects of a definition could not be removed");
                    tokio::time::sleep(RETRY).await;
                }
                uid
            });
        }
    }

    /// Completes when one has ended; never while there are none. Cancel-safe.
    pub async fn ended(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(uid)) => drop(self.running.remove(&uid)),
            // Whose it was is not told: all may be begun anew.
            Some(Err(_)) => self.running.clear(),
            None => std::future::pending().await,
        }
    }
}

async fn clear(server: &Server, definition: &Outline) -> Result<(), ApiError> {
    let terminating = |holds, reason, message: &str| Condition::new("Terminating", holds, reason, message);
    if !tell(server, definition, &terminating(true, "InstanceDeletionInProgress", "CustomResource deletion is in progress")).await? {
        return Ok(());
    }
    // What has names may have been served, and objects made, before anybody said so.
    let kinds = if definition.accepted.plural.is_empty() { None } else { Some(Kinds::of(definition)) };
    let kinds = match kinds {
        Some(Ok(kinds)) => kinds,
        None | Some(Err(_)) if !definition.is_established => {
            tell(server, definition, &terminating(false, "NeverEstablished", "resource was never established")).await?;
            return release(server, definition).await;
        }
        None => return release(server, definition).await,
        Some(Err(why)) => {
            let message = format!("could not list instances: {why}");
            tell(server, definition, &terminating(true, "InstanceDeletionFailed", &message)).await?;
            return Err(ApiError::internal(message));
        }
    };
    let mut pause = LOOK.0;
    loop {
        // From before the look, so that nothing is missed.
        let changes = server.storage.caches.of(kinds.plain.descriptor().stored_as).map(|cache| cache.end());
        if delete_all(server, &kinds).await? {
            break;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
        if let Some(mut changes) = changes {
            // Held by finalizers: there is nothing to be seen until one of the objects changes.
            let _ = tokio::time::timeout(UNSEEN, changes.wait()).await;
        }
    }
    tell(server, definition, &terminating(false, "InstanceDeletionCompleted", "removed all instances")).await?;
    release(server, definition).await
}

/// The kind that is cleared away.
struct Kinds {
    /// As it is.
    converting: Kind,
    /// The same without the webhook that converts its objects, which may be gone: for those that nothing holds, whose form does not matter.
    plain: Kind,
}

impl Kinds {
    fn of(definition: &Outline) -> Result<Self, String> {
        let kind = |converts| stored_kind(definition, converts).and_then(|kind| Kind::added(kind).map_err(|error| error.to_string()));
        Ok(Self { converting: kind(true)?, plain: kind(false)? })
    }

    fn for_object(&self, object: &Value) -> &Kind {
        if object::finalizers(object).is_empty() { &self.plain } else { &self.converting }
    }
}

/// Deletes all objects of the kind. Answers whether there were none left to delete or to wait for.
async fn delete_all(server: &Server, kinds: &Kinds) -> Result<bool, ApiError> {
    let mut range = keys::objects(kinds.plain.descriptor().stored_as, "");
    let mut none = true;
    loop {
        let page = server.storage.range(range.clone(), None, PAGE).await?;
        none &= page.entries.is_empty();
        let Some(last) = page.entries.last().map(|entry| entry.key.clone()) else { return Ok(none) };
        let objects = page.entries.iter().filter_map(|entry| Some(parse(&entry.value, entry.mod_revision).ok()?.object));
        let deletions: Vec<_> =
            objects.filter(|object| !object::is_deleting(object)).map(|object| delete(server, kinds.for_object(&object), object)).collect();
        let mut deletions = stream::iter(deletions).buffer_unordered(TOGETHER);
        while let Some(deleted) = deletions.next().await {
            deleted?;
        }
        range.start = [&last[..], &[0]].concat().into();
    }
}

async fn delete(server: &Server, kind: &Kind, object: Value) -> Result<(), ApiError> {
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    // Nobody is asked, as with Kubernetes: the definition's own deletion was allowed, and who would refuse may be gone by now.
    let request =
        DeleteRequest { kind, namespace: object::namespace(&object), name: object::name(&object), options: &options, admitted: true };
    match delete_object(server, &server_identity(), &request, &mut Vec::new()).await {
        Err(error) if error.code() != 404 => Err(error),
        _ => Ok(()),
    }
}

/// Writes the condition. `false`: the definition is gone, or another of its name is there.
async fn tell(server: &Server, definition: &Outline, condition: &Condition) -> Result<bool, ApiError> {
    let now = object::timestamp(0);
    change(server, definition, Some("status"), |new| conditions::set(new, condition, &now)).await
}

/// Lets the definition go.
async fn release(server: &Server, definition: &Outline) -> Result<(), ApiError> {
    let without = |new: &mut Value| {
        let left: Vec<String> = object::finalizers(new).into_iter().filter(|name| *name != CLEANUP).map(str::to_owned).collect();
        object::set_finalizers(new, &left);
    };
    change(server, definition, None, without).await.map(drop)
}

async fn change(server: &Server, definition: &Outline, subresource: Option<&str>, edit: impl Fn(&mut Value)) -> Result<bool, ApiError> {
    let Some(kind) = server.kinds().find_any_version(STORED_AS.0, STORED_AS.1) else { return Ok(false) };
    let name = &definition.head.name;
    let what = Update { subresource, ..Update::own(&kind, "", name) };
    let edited = |old: &Value, _: u64| {
        if object::uid(old) != definition.head.uid {
            return Err(ApiError::not_found(kind.descriptor(), name));
        }
        let mut new = old.clone();
        edit(&mut new);
        Ok(new)
    };
    match update(server, &server_identity(), &what, edited).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
