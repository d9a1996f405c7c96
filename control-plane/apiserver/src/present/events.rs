//! Events of a watch, in the view and encoding that the client asked for.

use super::encode::{Encoder, Item, encoder};
use super::{IncludeObject, partial_metadata, table};
use crate::cache::CachedObject;
use crate::call::Call;
use crate::error::ApiError;
use crate::http::accept::View;
use crate::kinds::Kind;
use crate::object;
use bytes::Bytes;
use serde_json::{Value, json};

/// Writes events.
pub struct Events {
    kind: Kind,
    view: View,
    include: IncludeObject,
    encoder: &'static dyn Encoder,
    /// Whether each event is a message by itself: then nothing has to tell where it ends.
    messages: bool,
    /// Whether the next table describes its columns: only the first does.
    headers: bool,
}

/// Events that are sent at once.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<usize>,
}

impl Events {
    /// As a call wants them.
    pub fn of(call: &Call) -> Self {
        Self {
            kind: call.kind.clone(),
            view: call.accept.view,
            include: IncludeObject::of(call),
            encoder: encoder(call.accept.encoding),
            messages: call.accept.messages,
            headers: true,
        }
    }

    /// The type of the stream.
    pub fn media_type(&self) -> &'static str {
        self.encoder.stream_media_type()
    }

    /// A change of an object.
    pub fn write(&mut self, out: &mut Batch, event: &str, object: &CachedObject) {
        let item = match self.view {
            View::Whole => {
                let kind = self.kind.clone();
                return self.push(out, event, &Item::Cached(object, &kind));
            }
            View::Metadata(version) => partial_metadata(version, &object.value()),
            View::Table(version) => {
                let value = object.value_as(&self.kind);
                let meta = json!({ "resourceVersion": object::resource_version(&value) });
                table(version, &self.kind, &[value], meta, self.include, std::mem::take(&mut self.headers))
            }
        };
        self.push(out, event, &Item::Made(item));
    }

    /// That everything up to a revision has been told.
    pub fn write_bookmark(&mut self, out: &mut Batch, revision: u64, annotations: Option<Value>) {
        let names = self.kind.descriptor();
        let mut meta = json!({ "resourceVersion": revision.to_string(), "creationTimestamp": null });
        if let Some(annotations) = annotations {
            meta["annotations"] = annotations;
        }
        let partial = |version: &str| partial_metadata(version, &json!({ "metadata": meta }));
        let object = match self.view {
            View::Whole => json!({ "kind": names.kind, "apiVersion": names.api_version(), "metadata": meta }),
            View::Metadata(version) => partial(version),
            View::Table(version) => {
                // A table of one empty row, whose object carries the annotations.
                let mut table = table(version, &self.kind, &[], json!({ "resourceVersion": revision.to_string() }), self.include, false);
                table["rows"] = json!([{ "cells": vec![""; self.kind.columns().len()], "object": partial(version) }]);
                table
            }
        };
        self.push(out, "BOOKMARK", &Item::Made(object));
    }

    /// Why the stream ends.
    pub fn write_error(&self, out: &mut Batch, error: &ApiError) {
        self.push(out, "ERROR", &Item::Made(error.to_status()));
    }

    fn push(&self, out: &mut Batch, event: &str, item: &Item<'_>) {
        let at = out.bytes.len();
        let has_length = self.encoder.is_binary() && !self.messages;
        if has_length {
            out.bytes.extend_from_slice(&[0; LENGTH]);
        }
        self.encoder.event(event, item, &mut out.bytes);
        if has_length {
            let begin = at + LENGTH;
            // No object is as large as four bytes can count.
            let length = u32::try_from(out.bytes.len() - begin).unwrap_or(u32::MAX);
            out.bytes[at..begin].copy_from_slice(&length.to_be_bytes());
        }
        out.ends.push(out.bytes.len());
    }
}

/// Bytes of an event's length.
const LENGTH: usize = 4;

impl Batch {
    /// Bytes of all events.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What is sent: everything at once, or each event by itself.
    pub fn into_chunks(self, events: &Events) -> Vec<Bytes> {
        let mut all = Bytes::from(self.bytes);
        if !events.messages {
            return vec![all];
        }
        let mut begin = 0;
        let each = self.ends.into_iter().map(|end| {
            let event = all.split_to(end - begin);
            begin = end;
            event
        });
        each.collect()
    }
}
