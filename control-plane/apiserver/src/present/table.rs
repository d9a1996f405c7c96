//! `metav1.Table`: what `kubectl get` prints. The cells come from the kind.

use super::partial_metadata;
use crate::call::Call;
use crate::kinds::Kind;
use crate::object;
use serde_json::{Value, json};

/// What a row carries beside its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    Metadata,
    Object,
}

impl IncludeObject {
    /// By the `includeObject` option; metadata unless said otherwise.
    pub fn of(call: &Call) -> Self {
        match call.options.include_object.as_deref() {
            Some("None") => Self::None,
            Some("Object") => Self::Object,
            _ => Self::Metadata,
        }
    }
}

/// A table of objects. `headers`: whether the columns are described (they are not in later events of a watch).
pub fn table(version: &str, kind: &Kind, objects: &[Value], meta: Value, include: IncludeObject, headers: bool) -> Value {
    let now = object::now_seconds();
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": meta,
        "columnDefinitions": if headers { column_definitions(kind) } else { Value::Null },
        "rows": objects.iter().map(|object| row(version, kind, object, now, include)).collect::<Vec<_>>(),
    })
}

/// `Table.columnDefinitions`.
pub fn column_definitions(kind: &Kind) -> Value {
    let columns = kind.columns().iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    columns.collect()
}

/// `Table.rows[]`, of a table of this version.
pub fn row(version: &str, kind: &Kind, object: &Value, now_seconds: i64, include: IncludeObject) -> Value {
    let mut row = json!({ "cells": kind.cells(object, now_seconds) });
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => row["object"] = partial_metadata(version, object),
        IncludeObject::Object => row["object"] = object.clone(),
    }
    row
}
