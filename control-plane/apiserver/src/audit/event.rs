//! An event as it is written (`audit.k8s.io/v1 Event`), and what of requests and answers goes into it. Pure.

use crate::codec::{self, BodyFormat};
use crate::http::request_info::RequestInfo;
use orknet_auth::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Longest part of a `User-Agent` that is told, in bytes, as with Kubernetes.
const USER_AGENT: usize = 1024;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub enum Level {
    None,
    /// Who, what, when, with which end.
    Metadata,
    /// And the body of the request.
    Request,
    /// And that of the answer.
    RequestResponse,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Stage {
    /// Its sender is known.
    RequestReceived,
    /// The head of an answer goes out whose body may take long; or the sender is not known.
    ResponseStarted,
    /// Nobody works on it any more.
    ResponseComplete,
    /// It met a fault of the server.
    Panic,
}

/// See the module.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    pub level: Level,
    #[serde(rename = "auditID")]
    pub id: String,
    pub stage: Stage,
    #[serde(rename = "requestURI")]
    pub uri: String,
    pub verb: &'static str,
    pub user: Identity,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<Identity>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Value>,
    /// RFC 3339, microseconds.
    pub request_received_timestamp: String,
    pub stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The object that the request is about (`audit.k8s.io/v1 ObjectReference`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

impl ObjectRef {
    /// What the request says; `None` where it is about no resource.
    pub fn of(info: &RequestInfo) -> Option<Self> {
        let path = info.resource.as_ref()?;
        Some(Self {
            resource: path.plural.clone(),
            namespace: path.namespace.clone(),
            name: info.name().to_owned(),
            api_group: path.group.clone(),
            api_version: path.version.clone(),
            subresource: path.subresource.clone(),
            ..Self::default()
        })
    }

    /// Fills in from the object sent what the path does not say.
    fn complete(&mut self, object: &Value) {
        let text = |field: &str| object.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default().to_owned();
        for (own, field) in [
            (&mut self.name, "name"),
            (&mut self.namespace, "namespace"),
            (&mut self.uid, "uid"),
            (&mut self.resource_version, "resourceVersion"),
        ] {
            if own.is_empty() {
                *own = text(field);
            }
        }
    }
}

impl Event {
    /// Of a request that has just come, at `now`.
    pub fn new(level: Level, id: String, verb: &'static str, uri: String, user: Identity, now: String) -> Self {
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            id,
            stage: Stage::RequestReceived,
            uri,
            verb,
            user,
            impersonated_user: None,
            sources: Vec::new(),
            user_agent: String::new(),
            object_ref: None,
            response_status: None,
            request_object: None,
            response_object: None,
            stage_timestamp: now.clone(),
            request_received_timestamp: now,
            annotations: BTreeMap::new(),
        }
    }

    /// The program that asks.
    pub fn set_user_agent(&mut self, text: &str) {
        self.user_agent = match text.char_indices().map(|(at, sign)| at + sign.len_utf8()).take_while(|end| *end <= USER_AGENT).last() {
            Some(end) if end < text.len() => format!("{}...TRUNCATED", &text[..end]),
            _ => text.to_owned(),
        };
    }

    /// Takes in the body of the request as far as the level goes.
    pub fn set_request(&mut self, body: &[u8], content_type: Option<&str>, omit_managed_fields: bool) {
        let Some(mut object) = read(body, content_type) else { return };
        // A patch is no object: it says what changes.
        if self.verb != "patch"
            && let Some(reference) = &mut self.object_ref
        {
            reference.complete(&object);
        }
        if self.level >= Level::Request {
            if omit_managed_fields {
                omit(&mut object);
            }
            self.request_object = Some(object);
        }
    }

    /// Takes in the answer's code and, as far as the level goes, its body; `None` for a body that is not looked into.
    pub fn set_response(&mut self, code: u16, body: Option<&[u8]>, content_type: Option<&str>, omit_managed_fields: bool) {
        let object = body.and_then(|body| read(body, content_type));
        let mut status = Map::new();
        if let Some(object) = object.as_ref().filter(|object| object["kind"] == "Status" && object["apiVersion"] == "v1") {
            for field in ["status", "message", "reason", "details"] {
                if let Some(value) = object.get(field) {
                    status.insert(field.into(), value.clone());
                }
            }
        }
        status.insert("metadata".into(), json!({}));
        status.insert("code".into(), code.into());
        self.response_status = Some(status.into());
        if self.level >= Level::RequestResponse
            && let Some(mut object) = object
        {
            if omit_managed_fields {
                omit(&mut object);
            }
            self.response_object = Some(object);
        }
    }
}

/// The status of a request whose sender went away before it was answered, as Kubernetes tells it.
pub fn closed_early() -> Value {
    json!({ "metadata": {}, "status": "Success", "message": "Connection closed early", "code": 200 })
}

/// A body of any of the types that objects and patches have; `None` for what cannot be read, which its sender is told.
fn read(body: &[u8], content_type: Option<&str>) -> Option<Value> {
    if body.is_empty() {
        return None;
    }
    let essence = codec::essence(content_type.unwrap_or_default());
    let format = match &essence[..] {
        "application/apply-patch+yaml" => BodyFormat::Yaml,
        _ if essence.ends_with("+json") => BodyFormat::Json,
        _ => BodyFormat::of(content_type).ok()?,
    };
    if format == BodyFormat::Protobuf {
        return codec::protobuf::answer_from_protobuf(body).ok();
    }
    codec::parse(format, body).ok().map(|document| document.value)
}

/// Takes `managedFields` out of an object, of those in a list, and of those in the rows of a table.
fn omit(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        omit(item);
    }
    for row in object.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(object) = row.get_mut("object") {
            omit(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(level: Level, verb: &'static str) -> Event {
        let who = Identity::authenticated("ann", []);
        let mut event = Event::new(level, "1".into(), verb, "/x".into(), who, "2026-01-02T03:04:05.000006Z".into());
        event.object_ref = Some(ObjectRef { resource: "pods".into(), namespace: "a".into(), ..ObjectRef::default() });
        event
    }

    const POD: &[u8] = br#"{"kind":"Pod","metadata":{"name":"x","namespace":"b","uid":"u","resourceVersion":"7","managedFields":[{}]}}"#;

    #[test]
    fn what_the_path_does_not_say_is_read_from_the_object() {
        let mut event = event(Level::Metadata, "create");
        event.set_request(POD, Some("application/json"), false);
        let reference = json!({ "resource": "pods", "namespace": "a", "name": "x", "uid": "u", "resourceVersion": "7" });
        assert_eq!(serde_json::to_value(&event.object_ref).expect("JSON"), reference);
        assert_eq!(event.request_object, None, "of the metadata level");
    }

    #[test]
    fn a_patch_names_no_object() {
        let mut event = event(Level::Request, "patch");
        event.set_request(br#"{"metadata":{"uid":"u"}}"#, Some("application/merge-patch+json"), false);
        assert_eq!(event.object_ref.as_ref().map(|reference| &reference.uid[..]), Some(""));
        assert_eq!(event.request_object, Some(json!({ "metadata": { "uid": "u" } })));
        event.set_request(b"{}", Some("Application/Merge-Patch+JSON; charset=utf-8"), false);
        assert_eq!(event.request_object, Some(json!({})), "in whatever case");
        event.set_request(b"- {op: test}", Some("application/apply-patch+yaml"), false);
        assert_eq!(event.request_object, Some(json!([{ "op": "test" }])));
    }

    #[test]
    fn bodies_are_told_by_level_and_without_managed_fields_if_wished() {
        let table =
            br#"{"kind":"Table","items":[{"metadata":{"managedFields":[]}}],"rows":[{"object":{"metadata":{"managedFields":[]}}}]}"#;
        for (level, has_request, has_response) in
            [(Level::Metadata, false, false), (Level::Request, true, false), (Level::RequestResponse, true, true)]
        {
            let mut event = event(level, "update");
            event.set_request(POD, None, true);
            event.set_response(200, Some(table), Some("application/json"), true);
            assert_eq!((event.request_object.is_some(), event.response_object.is_some()), (has_request, has_response), "{level:?}");
            let text = serde_json::to_string(&event).expect("JSON");
            assert!(!text.contains("managedFields"), "{text}");
        }
    }

    #[test]
    fn a_status_is_told_at_every_level_but_in_whole() {
        let mut event = event(Level::Metadata, "get");
        let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {"continue": "c"}, "status": "Failure", "reason": "NotFound", "message": "m", "details": {"name": "x"}, "code": 404 });
        event.set_response(404, Some(status.to_string().as_bytes()), Some("application/json"), false);
        let told =
            json!({ "metadata": {}, "status": "Failure", "reason": "NotFound", "message": "m", "details": {"name": "x"}, "code": 404 });
        assert_eq!((event.response_status, event.response_object), (Some(told), None));
    }

    #[test]
    fn a_list_in_protobuf_is_told() {
        use crate::codec::protobuf::List;
        let mut list = List::begin("v1", "Secret", &json!({ "resourceVersion": "7" })).expect("known");
        list.push(&json!({ "metadata": { "name": "a" }, "data": { "k": "dg==" } }));
        let bytes = list.end("v1", "SecretList");
        let mut event = event(Level::RequestResponse, "list");
        event.set_response(200, Some(&bytes), Some("application/vnd.kubernetes.protobuf"), false);
        let told = event.response_object.expect("told");
        assert_eq!((&told["kind"], &told["metadata"]["resourceVersion"]), (&json!("SecretList"), &json!("7")));
        assert_eq!((&told["items"][0]["metadata"]["name"], &told["items"][0]["data"]["k"]), (&json!("a"), &json!("dg==")));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let mut event = event(Level::RequestResponse, "create");
        event.set_request(b"{", Some("application/json"), false);
        event.set_request(b"<a/>", Some("text/xml"), false);
        event.set_response(200, Some(b"plain"), Some("text/plain"), false);
        assert_eq!((event.request_object, event.response_object), (None, None));
        assert_eq!(event.response_status, Some(json!({ "metadata": {}, "code": 200 })));
    }

    #[test]
    fn long_names_of_programs_are_cut_at_a_sign() {
        let mut event = event(Level::Metadata, "get");
        event.set_user_agent(&"é".repeat(600));
        assert_eq!(event.user_agent, format!("{}...TRUNCATED", "é".repeat(512)));
        event.set_user_agent("kubectl");
        assert_eq!(event.user_agent, "kubectl");
    }
}
