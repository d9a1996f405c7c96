//! The columns that `kubectl get` shows: the name, and what the definition adds.

use crate::complaint::float;
use crate::crd::{PrinterColumn, Version};
use crate::jsonpath::JsonPath;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::serde::Deserialize;
use orknet_resources::{Column, table};
use serde_json::Value;

/// Columns after the name, each with the way to its value.
pub struct Columns {
    heads: Vec<Column>,
    paths: Vec<JsonPath>,
}

impl Columns {
    /// Those of the version; where one of them has a path that cannot be read, those of a version that adds none, as with Kubernetes: the kind is
    /// served all the same.
    pub fn new(version: &Version) -> Self {
        if !version.columns.is_empty()
            && let Ok(columns) = Self::of(&version.columns)
        {
            return columns;
        }
        let age = [PrinterColumn {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            description: "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in \
                          happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in \
                          UTC."
                .to_owned(),
            json_path: ".metadata.creationTimestamp".to_owned(),
            ..PrinterColumn::default()
        }];
        // Its path is one.
        Self::of(&age).unwrap_or(Self { heads: vec![table::NAME], paths: Vec::new() })
    }

    fn of(added: &[PrinterColumn]) -> Result<Self, String> {
        let mut heads = vec![table::NAME];
        let mut paths = Vec::new();
        for column in added {
            let path = &column.json_path;
            paths.push(JsonPath::parse(path)?);
            let description = match &column.description[..] {
                "" => format!("Custom resource definition column (in JSONPath format): {path}"),
                own => own.to_owned(),
            };
            heads.push(Column {
                name: column.name.clone().into(),
                kind: column.kind.clone().into(),
                format: column.format.clone().into(),
                description: description.into(),
                priority: column.priority,
            });
        }
        Ok(Self { heads, paths })
    }

    pub fn heads(&self) -> &[Column] {
        &self.heads
    }

    pub fn cells(&self, object: &Value, now_seconds: i64) -> Vec<Value> {
        let name = object.pointer("/metadata/name").cloned().unwrap_or_else(|| "".into());
        let cell =
            |(head, path): (&Column, &JsonPath)| path.first(object).map(|value| cell(&head.kind, value, now_seconds)).unwrap_or_default();
        [name].into_iter().chain(self.heads[1..].iter().zip(&self.paths).map(cell)).collect()
    }
}

/// A value as a column of its type shows it; `null` where it is of another.
fn cell(kind: &str, value: &Value, now_seconds: i64) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => value.clone(),
        ("string", Value::Number(number)) if number.as_i64().is_none() => float(number.as_f64().unwrap_or_default()).into(),
        // Lists and maps are shown as their JSON.
        ("string", value) => value.to_string().into(),
        ("integer", Value::Number(number)) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)).into(),
        ("date", Value::String(text)) if matches!(&text[..], "" | "null") => table::since(None, now_seconds).into(),
        ("date", Value::String(_)) => match Time::deserialize(value) {
            Ok(time) => table::since(Some(&time), now_seconds).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
