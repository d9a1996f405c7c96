//! GET of a collection: from the cache where it is new enough, from the store for versions of the past and for further pages.

use crate::cache::CachedObject;
use crate::call::Call;
use crate::continue_token::ContinueToken;
use crate::custom::convert;
use crate::error::ApiError;
use crate::http::options::VersionMatch;
use crate::present::{self, ListMeta};
use crate::storage::{keys, parse};
use crate::turns::Turns;
use axum::body::Body;
use http::Response;
use std::sync::Arc;

/// Fewest keys that are read from the store at a time when a selector thins them out.
const PAGE: usize = 500;

/// The answer to a list call.
pub async fn run(call: &Call) -> Result<Response<Body>, ApiError> {
    let (objects, meta) = collect(call).await?;
    Ok(present::list(call, &objects, &meta).await)
}

/// The objects that a list call selects.
pub async fn collect(call: &Call) -> Result<(Vec<Arc<CachedObject>>, ListMeta), ApiError> {
    let options = &call.options;
    options.check_list()?;
    check_fields(call)?;
    if !options.continue_token.is_empty() {
        let token = ContinueToken::decode(&options.continue_token)
            .ok_or_else(|| ApiError::bad_request("invalid continue token: continue key is not valid: it is not one of this server's"))?;
        let revision = match token.revision() {
            Some(revision) => revision,
            None => {
                call.server.storage.catch_up().await?;
                call.server.storage.caches.progress().revision
            }
        };
        let page = past(call, revision, Some(&token.after)).await;
        return page.map_err(|error| if error.code() == 410 { page_expired(token) } else { error });
    }
    match (call.resource_version(), options.version_match) {
        (None, _) => {
            call.server.storage.catch_up().await?;
            present_time(call, options.limit).await
        }
        // "Any" version: what is in memory, whole; the newest is preferred.
        (Some(0), _) => {
            call.server.storage.catch_up_if_told().await;
            present_time(call, 0).await
        }
        (Some(revision), Some(VersionMatch::Exact)) => past(call, revision, None).await.map_err(list_expired),
        // With a limit and no match given, Kubernetes means the exact version.
        (Some(revision), None) if options.limit > 0 => past(call, revision, None).await.map_err(list_expired),
        (Some(revision), _) => {
            call.server.storage.reach(revision).await?;
            present_time(call, options.limit).await
        }
    }
}

/// Whether the call's selectors select the object.
pub fn selects(call: &Call, object: &CachedObject) -> bool {
    let options = &call.options;
    options.label_selector.matches(|key| object.label(key)) && options.field_selector.matches(|field| object.field(field))
}

/// 400 for a field selector with a field that the kind does not have.
pub fn check_fields(call: &Call) -> Result<(), ApiError> {
    let known = call.kind.selectable_fields(&serde_json::json!({}));
    let is_known = |field: &str| {
        field == "metadata.name"
            || (field == "metadata.namespace" && crate::kinds::is_namespaced(call.names()))
            || known.iter().any(|(name, _)| *name == field)
    };
    match call.options.field_selector.unknown_field(is_known) {
        Some(field) => Err(ApiError::bad_request(format!("field label not supported: {field}"))),
        None => Ok(()),
    }
}

/// From the cache as it is. 404 when the kind has ceased to be served since the call came.
async fn present_time(call: &Call, limit: usize) -> Result<(Vec<Arc<CachedObject>>, ListMeta), ApiError> {
    let caches = &call.server.storage.caches;
    // Read before the snapshot: the snapshot has at least everything up to here.
    let progress = caches.progress().revision;
    let Some(cache) = caches.of(call.names().stored_as) else { return Err(ApiError::no_such_resource()) };
    let snapshot = cache.snapshot(call.namespace());
    let meta = ListMeta { revision: progress.max(snapshot.revision), ..ListMeta::default() };
    // What selectors ask for may be different in the form that is shown; without them no more is converted than is shown.
    if is_unselected(call) {
        let (objects, meta) = page(call, snapshot.objects, limit, meta);
        return Ok((convert::objects(&call.server, &call.kind, objects, true).await?, meta));
    }
    let objects = convert::objects(&call.server, &call.kind, snapshot.objects, true).await?;
    Ok(page(call, objects, limit, meta))
}

/// Whether everything is selected.
fn is_unselected(call: &Call) -> bool {
    call.options.label_selector.is_empty() && call.options.field_selector.is_empty()
}

/// Cuts a list of everything to what is selected, at most `limit`.
fn page(call: &Call, all: Vec<Arc<CachedObject>>, limit: usize, mut meta: ListMeta) -> (Vec<Arc<CachedObject>>, ListMeta) {
    let unselected = is_unselected(call);
    let total = all.len();
    let mut selected: Vec<_> = all.into_iter().filter(|object| unselected || selects(call, object)).collect();
    if limit > 0 && selected.len() > limit {
        selected.truncate(limit);
        if let Some(last) = selected.last() {
            meta.continue_token = ContinueToken::new(meta.revision, &*last.tail).encode();
        }
        meta.remaining = unselected.then_some((total - limit) as u64);
    }
    (selected, meta)
}

/// Reads the store at a revision, after a key.
async fn past(call: &Call, revision: u64, after: Option<&str>) -> Result<(Vec<Arc<CachedObject>>, ListMeta), ApiError> {
    let stored_as = call.names().stored_as;
    let folder = keys::folder(stored_as);
    let mut range = keys::objects(stored_as, call.namespace());
    if let Some(after) = after {
        let start = format!("{folder}{after}\0");
        if !range.contains(start.as_bytes()) {
            return Err(ApiError::bad_request("invalid continue token: continue key is not valid: it is of another list"));
        }
        range.start = start.into();
    }
    let limit = call.options.limit;
    let unselected = is_unselected(call);
    let mut meta = ListMeta { revision, ..ListMeta::default() };
    let (mut selected, mut turns) = (Vec::new(), Turns::default());
    loop {
        let want = to_read(limit, selected.len(), unselected);
        let found = call.server.storage.range(range.clone(), Some(revision), want).await?;
        let count = found.count;
        let read = found.entries.len();
        let mut objects = Vec::with_capacity(read);
        for entry in &found.entries {
            turns.take().await;
            let value = parse(&entry.value, entry.mod_revision)?.object;
            objects.push(Arc::new(CachedObject::new(std::slice::from_ref(&call.kind), value, entry.mod_revision)));
        }
        let objects = convert::objects(&call.server, &call.kind, objects, false).await?;
        for (index, (entry, object)) in found.entries.into_iter().zip(objects).enumerate() {
            if selects(call, &object) {
                selected.push(object);
            }
            range.start = [&entry.key[..], &[0]].concat().into();
            let more = found.more || index + 1 < read;
            if limit > 0 && selected.len() == limit && more {
                let last = std::str::from_utf8(&entry.key).unwrap_or_default();
                meta.continue_token = ContinueToken::new(revision, last.strip_prefix(&folder).unwrap_or_default()).encode();
                meta.remaining = count.filter(|_| unselected).map(|count| count.saturating_sub(index as u64 + 1));
                return Ok((selected, meta));
            }
        }
        if !found.more {
            return Ok((selected, meta));
        }
    }
}

/// How many entries to read next for a page of `limit` objects (0: all), `found` of which are there. A selector may leave few of those read.
fn to_read(limit: usize, found: usize, unselected: bool) -> usize {
    match limit.saturating_sub(found) {
        0 => 0,
        missing if unselected => missing,
        missing => missing.max(PAGE),
    }
}

fn list_expired(error: ApiError) -> ApiError {
    if error.code() == 410 { ApiError::expired("The resourceVersion for the provided list is too old.") } else { error }
}

/// 410 with a token that goes on nevertheless.
fn page_expired(token: ContinueToken) -> ApiError {
    ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, \
         or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an \
         inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in \
         the list.",
    )
    .with_continue(ContinueToken::inconsistent(token.after).encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_in_few_steps_whatever_selects() {
        assert_eq!((to_read(0, 7, false), to_read(0, 0, true)), (0, 0));
        assert_eq!((to_read(10, 0, true), to_read(10, 4, true)), (10, 6));
        assert_eq!((to_read(1, 0, false), to_read(10, 9, false), to_read(800, 0, false)), (PAGE, PAGE, 800));
    }
}
