//! Conversion of custom resources between the versions of their kind: by a webhook, where the definition names one, else by the kinds themselves. Whatever
//! is read from the store or the cache passes here before it is shown, and whatever is written before it is stored. What the webhook is told and may answer
//! is in [`review`].

mod forms;
mod kept;
mod review;

pub use forms::{Forms, ROUNDS};
pub use kept::Kept;

use crate::admission::webhooks::destination::Destination;
use crate::cache::{CachedObject, Change};
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::object;
use crate::server::Server;
use orknet_resources::WebhookConversion;
use review::Review;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a webhook has for one call, as with kube-apiserver.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most objects of one call, and about how many bytes they have.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 << 20;
/// Most bytes of an answer: objects may be several times as large in another version.
const MOST_BYTES: usize = 32 << 20;

/// A stored object in the form of a kind.
pub async fn read(server: &Server, kind: &Kind, stored: Value) -> Result<Value, ApiError> {
    let stored = match kind.conversion() {
        Some(conversion) => one(server, conversion, stored, &kind.descriptor().api_version()).await?,
        None => stored,
    };
    Ok(kind.from_stored(stored))
}

/// An object of a kind as it is stored.
pub async fn written(server: &Server, kind: &Kind, object: Value) -> Result<Value, ApiError> {
    let object = match (kind.conversion(), kind.stored_version()) {
        (Some(conversion), Some(version)) => one(server, conversion, object, version).await?,
        _ => object,
    };
    Ok(kind.to_stored(object))
}

/// An object of one kind in the form of another one in which it is served too.
pub async fn in_form_of(server: &Server, own: &Kind, other: &Kind, object: Value) -> Result<Value, ApiError> {
    if own.is(other) {
        return Ok(object);
    }
    match other.conversion() {
        Some(conversion) => Ok(other.from_stored(one(server, conversion, object, &other.descriptor().api_version()).await?)),
        None => Ok(other.from_stored(own.to_stored(object))),
    }
}

/// Whether an object is stored in another version than objects are written in now: then it is written anew when somebody writes what is there already.
pub fn is_stale(kind: &Kind, stored: &Value) -> bool {
    kind.stored_version().is_some_and(|version| object::text(stored, "/apiVersion") != version)
}

/// Objects of the cache, or made like them, that a kind can show: those that only a webhook can convert are converted. `keeps`: whether they are worth
/// keeping, as those of the cache are.
pub async fn objects(
    server: &Server,
    kind: &Kind,
    mut objects: Vec<Arc<CachedObject>>,
    keeps: bool,
) -> Result<Vec<Arc<CachedObject>>, ApiError> {
    let Some(conversion) = kind.conversion().filter(|_| !kind.has_own_form()) else { return Ok(objects) };
    let desired = kind.descriptor().api_version();
    let kept = kind.converted();
    // Place among the objects, and the object.
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut batches = Vec::new();
    for (index, object) in objects.iter_mut().enumerate() {
        if version_of(object) == desired {
            continue;
        }
        if let Some(converted) = kept.and_then(|kept| kept.get(object)) {
            *object = converted;
            continue;
        }
        if batch.len() >= BATCH || bytes + object.json.len() > BATCH_BYTES && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += object.json.len();
        batch.push((index, object.clone()));
    }
    batches.push(batch);
    for batch in batches {
        let values = batch.iter().map(|(_, object)| object.value()).collect();
        for ((index, source), value) in batch.iter().zip(all(server, conversion, values, &desired).await?) {
            // What this server made has a version that is a number.
            let revision = object::resource_version(&value).parse().unwrap_or_default();
            let converted = Arc::new(CachedObject::new(std::slice::from_ref(kind), value, revision));
            if let Some(kept) = kept.filter(|_| keeps) {
                kept.keep(source, &converted);
            }
            objects[*index] = converted;
        }
    }
    Ok(objects)
}

/// The same of changes.
pub async fn changes(server: &Server, kind: &Kind, mut changes: Vec<Change>) -> Result<Vec<Change>, ApiError> {
    if kind.conversion().is_none() || kind.has_own_form() || changes.is_empty() {
        return Ok(changes);
    }
    let all = changes.iter().flat_map(|change| [Some(&change.object), change.previous.as_ref()]).flatten().cloned().collect();
    let mut all = objects(server, kind, all, true).await?.into_iter();
    for change in &mut changes {
        for object in [Some(&mut change.object), change.previous.as_mut()].into_iter().flatten() {
            if let Some(converted) = all.next() {
                *object = converted;
            }
        }
    }
    Ok(changes)
}

/// The `apiVersion` that an object is in.
fn version_of(object: &CachedObject) -> String {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Head {
        api_version: String,
    }
    serde_json::from_slice::<Head>(&object.json).unwrap_or_default().api_version
}

async fn one(server: &Server, conversion: &WebhookConversion, object: Value, desired: &str) -> Result<Value, ApiError> {
    if object::text(&object, "/apiVersion") == desired {
        return Ok(object);
    }
    Ok(all(server, conversion, vec![object], desired).await?.pop().unwrap_or_default())
}

/// Asks the webhook for all of them at once; as many come back, in their order.
async fn all(server: &Server, conversion: &WebhookConversion, originals: Vec<Value>, desired: &str) -> Result<Vec<Value>, ApiError> {
    let Some(first) = originals.first() else { return Ok(originals) };
    let shown = review::shown(first);
    let fail = |why: String| ApiError::unexplained(format!("conversion webhook for {shown} {why}"));
    let failed = |why: String| fail(format!("failed: {why}"));
    let review = Review::of(&conversion.reviews).map_err(ApiError::unexplained)?;
    let to = Destination::from_client_config(&conversion.client_config).map_err(failed)?;
    let uid = uuid::Uuid::new_v4().to_string();
    // A value made of JSON always serialises.
    let body = serde_json::to_vec(&review.request(&uid, &originals.iter().collect::<Vec<_>>(), desired)).unwrap_or_default();
    let posted = server.webhooks.client.post(&to, body.into(), MOST_BYTES, PATIENCE).await;
    let body = posted.map_err(failed)?.map_err(|error| failed(error.to_string()))?;
    let converted = review.answer(&uid, &body).map_err(failed)?;
    if converted.len() != originals.len() {
        return Err(fail(format!("returned {} objects, expected {}", converted.len(), originals.len())));
    }
    let checked = originals.iter().zip(converted).map(|(original, converted)| review::checked(original, converted, desired));
    checked.collect::<Result<_, _>>().map_err(|why| fail(format!("returned {why}")))
}
