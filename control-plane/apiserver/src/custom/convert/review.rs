//! ConversionReview, both ways: what a webhook is told, what is made of its answer, and what it may change of an object. Pure.
//! Source: `apiextensions.k8s.io/v1` and `v1beta1`; the texts are kube-apiserver's (`conversion/webhook_converter.go` of 1.33).

use crate::object;
use orknet_resources::FieldError;
use orknet_resources::field::{Errors, Path};
use orknet_resources::meta;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A form of the review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    V1,
    V1Beta1,
}

impl Review {
    /// The first of those that a definition names which is known.
    pub fn of(versions: &[String]) -> Result<Self, String> {
        let known = versions.iter().find_map(|version| match &version[..] {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        });
        known.ok_or_else(|| "no supported conversion review versions".to_owned())
    }

    fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "apiextensions.k8s.io/v1",
            Self::V1Beta1 => "apiextensions.k8s.io/v1beta1",
        }
    }

    /// The review to send: `objects` are wanted in `desired`, an `apiVersion`.
    pub fn request(self, uid: &str, objects: &[&Value], desired: &str) -> Value {
        let request = json!({ "uid": uid, "desiredAPIVersion": desired, "objects": objects });
        json!({ "kind": "ConversionReview", "apiVersion": self.api_version(), "request": request })
    }

    /// The converted objects of an answer. The error says why it is none.
    pub fn answer(self, uid: &str, body: &[u8]) -> Result<Vec<Value>, String> {
        let mut review: Value =
            serde_json::from_slice(body).map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
        let (api_version, kind) = (object::text(&review, "/apiVersion").to_owned(), object::text(&review, "/kind").to_owned());
        if kind.is_empty() {
            let shown = String::from_utf8_lossy(&body[..body.len().min(256)]);
            return Err(format!("Object 'Kind' is missing in '{shown}'"));
        }
        // The older form was never looked at so closely, and webhooks rely on it.
        let expected = self.api_version();
        if self == Self::V1 && (&api_version[..], &kind[..]) != (expected, "ConversionReview") {
            return Err(format!("expected webhook response of {expected}, Kind=ConversionReview, got {api_version}, Kind={kind}"));
        }
        let Some(response) = review.get_mut("response").filter(|response| response.is_object()) else {
            return Err("no response provided".to_owned());
        };
        let given = object::text(response, "/uid");
        if self == Self::V1 && given != uid {
            return Err(format!("expected response.uid={uid:?}, got {given:?}"));
        }
        match (object::text(response, "/result/status"), object::text(response, "/result/message")) {
            ("Success", _) => {}
            (status, "") => return Err(format!("response.result.status was '{status}', not 'Success'")),
            (_, message) => return Err(message.to_owned()),
        }
        match response.get_mut("convertedObjects").map(Value::take) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(objects)) => Ok(objects),
            Some(_) => Err("response.convertedObjects is not a list".to_owned()),
        }
    }
}

/// Group, version and kind as messages say them.
pub fn shown(object: &Value) -> String {
    format!("{}, Kind={}", object::text(object, "/apiVersion"), object::text(object, "/kind"))
}

/// What a webhook made of an object: of its metadata nothing but labels and annotations may be different; all else is as it was. The error says what is
/// wrong, after `conversion webhook for … returned `.
pub fn checked(original: &Value, mut converted: Value, desired: &str) -> Result<Value, String> {
    let text = |object: &Value, at: &str| object::text(object, at).to_owned();
    let found = text(&converted, "/apiVersion");
    if found != desired {
        return Err(format!("invalid object at index 0: invalid groupVersion (expected {desired}, received {found})"));
    }
    let (kind, found) = (text(original, "/kind"), text(&converted, "/kind"));
    if found != kind {
        return Err(format!("invalid object at index 0: invalid kind (expected {kind}, received {found})"));
    }
    for (what, at) in [("name", "/metadata/name"), ("namespace", "/metadata/namespace"), ("UID", "/metadata/uid")] {
        let (was, is) = (text(original, at), text(&converted, at));
        if was != is {
            return Err(format!("invalid object: must have the same {what}: {was} != {is}"));
        }
    }
    restore(original, &mut converted).map_err(|why| format!("invalid metadata: {why}"))?;
    Ok(converted)
}

/// Gives an object its metadata back but for labels and annotations.
fn restore(original: &Value, converted: &mut Value) -> Result<(), String> {
    let given = match converted.get_mut("metadata").map(Value::take) {
        None => return Err("missing metadata in converted object".to_owned()),
        Some(Value::Object(given)) => given,
        Some(other) => return Err(format!("invalid metadata of type {} in converted object", go_type(&other))),
    };
    let mut metadata = original.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field) {
            None | Some(Value::Null) => drop(metadata.remove(field)),
            Some(Value::Object(map)) => {
                if metadata.get(field).and_then(Value::as_object) != Some(map) {
                    pairs(field, map)?;
                }
                metadata.insert(field.to_owned(), Value::Object(map.clone()));
            }
            Some(other) => return Err(format!("invalid metadata.{field} of type {} in converted object", go_type(other))),
        }
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(())
}

/// The rules for labels or annotations that a webhook changed.
fn pairs(field: &str, map: &Map<String, Value>) -> Result<(), String> {
    let mut texts = BTreeMap::new();
    for (key, value) in map {
        let Some(text) = value.as_str() else {
            return Err(format!("metadata.{field}[{key}] must be a string, but is {} in converted object", go_type(value)));
        };
        texts.insert(key.clone(), text.to_owned());
    }
    let (mut errors, at) = (Errors::default(), Path::Root.field("metadata"));
    match field {
        "labels" => meta::labels(&texts, &at.field("labels"), &mut errors),
        _ => meta::annotations(&texts, &at.field("annotation"), &mut errors),
    }
    let errors: Vec<String> = errors.into_list().iter().map(FieldError::to_string).collect();
    match &errors[..] {
        [] => Ok(()),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_to_the_question_and_a_success() {
        let read = |review: Review, api: &str, response: Value| {
            review.answer("u", json!({ "kind": "ConversionReview", "apiVersion": api, "response": response }).to_string().as_bytes())
        };
        let v1 = |response: Value| read(Review::V1, "apiextensions.k8s.io/v1", response);
        let success = json!({ "status": "Success" });
        assert_eq!(v1(json!({ "uid": "u", "result": success, "convertedObjects": [1] })), Ok(vec![json!(1)]));
        for (response, why) in [
            (json!(null), "no response provided"),
            (json!({ "uid": "v", "result": success }), "expected response.uid=\"u\", got \"v\""),
            (json!({ "uid": "u" }), "response.result.status was '', not 'Success'"),
            (json!({ "uid": "u", "result": { "status": "Failure" } }), "response.result.status was 'Failure', not 'Success'"),
            (json!({ "uid": "u", "result": { "status": "Failure", "message": "no such field" } }), "no such field"),
            (json!({ "uid": "u", "result": success, "convertedObjects": {} }), "response.convertedObjects is not a list"),
        ] {
            assert_eq!(v1(response), Err(why.to_owned()));
        }
        let other = read(Review::V1, "apiextensions.k8s.io/v1beta1", json!({ "uid": "u", "result": success }));
        let why = "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=ConversionReview";
        assert_eq!(other, Err(why.to_owned()));
        // Older webhooks need to say less.
        assert_eq!(read(Review::V1Beta1, "whatever/v1", json!({ "result": success, "convertedObjects": [] })), Ok(vec![]));
        assert_eq!(Review::V1.answer("u", b"{}"), Err("Object 'Kind' is missing in '{}'".to_owned()));
        assert!(Review::V1.answer("u", b"<html>").is_err());
    }

    #[test]
    fn the_first_known_form_is_spoken() {
        let of = |versions: &[&str]| Review::of(&versions.iter().map(|version| (*version).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["v2", "v1beta1", "v1"]), Ok(Review::V1Beta1));
        assert_eq!(of(&["v2"]), Err("no supported conversion review versions".to_owned()));
    }

    fn object(version: &str) -> Value {
        json!({ "apiVersion": format!("g/{version}"), "kind": "K", "metadata": {
            "name": "n", "namespace": "ns", "uid": "1", "labels": { "a": "b" }, "finalizers": ["f/f"], "generation": 3,
            "managedFields": [{ "manager": "m" }] }, "spec": {} })
    }

    #[test]
    fn nothing_but_labels_and_annotations_changes_in_metadata() {
        let mut given = object("v2");
        given["metadata"] =
            json!({ "name": "n", "namespace": "ns", "uid": "1", "labels": { "a": "c" }, "annotations": { "x": "y" }, "finalizers": [] });
        let converted = checked(&object("v1"), given, "g/v2").expect("converted");
        let mut expected = object("v2");
        expected["metadata"]["labels"] = json!({ "a": "c" });
        expected["metadata"]["annotations"] = json!({ "x": "y" });
        assert_eq!(converted, expected);
        let mut given = object("v2");
        given["metadata"]["labels"] = Value::Null;
        assert_eq!(checked(&object("v1"), given, "g/v2").expect("converted")["metadata"].get("labels"), None);
    }

    #[test]
    fn what_may_not_change_is_named() {
        for (at, value, why) in [
            ("/apiVersion", json!("g/v3"), "invalid object at index 0: invalid groupVersion (expected g/v2, received g/v3)"),
            ("/kind", json!("L"), "invalid object at index 0: invalid kind (expected K, received L)"),
            ("/metadata/name", json!("m"), "invalid object: must have the same name: n != m"),
            ("/metadata/namespace", json!("mm"), "invalid object: must have the same namespace: ns != mm"),
            ("/metadata/uid", json!("2"), "invalid object: must have the same UID: 1 != 2"),
            ("/metadata/labels", json!([]), "invalid metadata: invalid metadata.labels of type []interface {} in converted object"),
            ("/metadata/labels/a", json!(1), "invalid metadata: metadata.labels[a] must be a string, but is int64 in converted object"),
        ] {
            let mut given = object("v2");
            *given.pointer_mut(at).expect("there") = value;
            assert_eq!(checked(&object("v1"), given, "g/v2"), Err(why.to_owned()), "{at}");
        }
        let mut given = object("v2");
        given["metadata"]["labels"]["a"] = json!("not a label");
        let why = checked(&object("v1"), given, "g/v2").expect_err("refused");
        assert!(why.starts_with("invalid metadata: metadata.labels: Invalid value: \"not a label\": "), "{why}");
        let mut given = object("v2");
        given.as_object_mut().expect("an object").remove("metadata");
        assert!(checked(&object("v1"), given, "g/v2").is_err());
    }
}
