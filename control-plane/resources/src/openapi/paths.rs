//! The paths of a kind: one operation for each verb, and those of its subresources.

use super::definitions::{EVICTION, META, SCALE, TOKEN_REQUEST, is_listed, list_name};
use super::dialect::Dialect;
use super::parameters;
use crate::contract::{Descriptor, Scope};
use serde_json::{Map, Value, json};

const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH_TYPES: &[&str] = &["application/json-patch+json", "application/merge-patch+json", STRATEGIC, "application/apply-patch+yaml"];
const STREAMED: &[&str] = &["application/json", "application/json;stream=watch", "application/yaml"];
const PLAIN: &[&str] = &["application/json", "application/yaml"];

/// One kind whose paths are written.
#[derive(Clone, Copy)]
pub(super) struct Kind<'a> {
    pub descriptor: &'a Descriptor,
    /// The name of its definition.
    pub definition: &'a str,
    pub dialect: Dialect,
    /// Whether it has strategic merges: by this kubectl chooses how it patches.
    pub strategic: bool,
}

/// What one operation is about.
struct Operation<'a> {
    /// HTTP method, in small letters.
    method: &'static str,
    /// `list`, `get`, `post`, `put`, `patch`, `delete`, `deletecollection`, `connect`.
    action: &'static str,
    subresource: Option<&'a str>,
    body: Option<&'a str>,
    answer: &'a str,
    all_namespaces: bool,
    /// Group, version and kind that the operation is about; a subresource may have those of its body.
    kind: (&'a str, &'a str, &'a str),
}

/// `/api/v1`, or `/apis/GROUP/VERSION`.
pub(super) fn root(descriptor: &Descriptor) -> String {
    let prefix = if descriptor.group.is_empty() { "/api" } else { "/apis" };
    format!("{prefix}/{}", descriptor.api_version())
}

impl<'a> Kind<'a> {
    /// Adds the kind's paths to a document.
    pub fn add_to(&self, paths: &mut Map<String, Value>) {
        let descriptor = self.descriptor;
        let namespaced = descriptor.scope == Scope::Namespaced;
        let root = root(descriptor);
        let all = format!("{root}/{}", descriptor.plural);
        let collection = if namespaced { format!("{root}/namespaces/{{namespace}}/{}", descriptor.plural) } else { all.clone() };
        let list = list_name(self.definition);
        let status = format!("{META}Status");
        let options = format!("{META}DeleteOptions");
        let patch = format!("{META}Patch");
        let own = Some(self.definition);
        let mut on_collection = Vec::new();
        let mut on_object = Vec::new();
        for verb in descriptor.verbs {
            match *verb {
                "list" => on_collection.push(self.operation("get", "list", None, None, &list)),
                "create" => on_collection.push(self.operation("post", "post", None, own, self.definition)),
                "deletecollection" => on_collection.push(self.operation("delete", "deletecollection", None, Some(&options), &status)),
                "get" => on_object.push(self.operation("get", "get", None, None, self.definition)),
                "update" => on_object.push(self.operation("put", "put", None, own, self.definition)),
                "patch" => on_object.push(self.operation("patch", "patch", None, Some(&patch), self.definition)),
                "delete" => on_object.push(self.operation("delete", "delete", None, Some(&options), &status)),
                _ => {}
            }
        }
        let scoped: &[&str] = if namespaced { &["namespace"] } else { &[] };
        let named: &[&str] = if namespaced { &["name", "namespace"] } else { &["name"] };
        self.item(paths, collection.clone(), scoped, on_collection);
        self.item(paths, format!("{collection}/{{name}}"), named, on_object);
        if namespaced && is_listed(descriptor) {
            let everywhere = Operation { all_namespaces: true, ..self.operation("get", "list", None, None, &list) };
            self.item(paths, all, &[], vec![everywhere]);
        }
        for subresource in descriptor.subresources {
            self.item(paths, format!("{collection}/{{name}}/{subresource}"), named, self.on_subresource(subresource, &patch));
        }
    }

    fn on_subresource(&self, name: &'a str, patch: &'a str) -> Vec<Operation<'a>> {
        let name = name.split('/').next().unwrap_or(name);
        let sub = Some(name);
        let with = |kind: (&'a str, &'a str, &'a str), operation: Operation<'a>| Operation { kind, ..operation };
        match name {
            "log" => vec![self.operation("get", "get", sub, None, "")],
            "exec" | "attach" | "portforward" | "proxy" => {
                vec![self.operation("get", "connect", sub, None, ""), self.operation("post", "connect", sub, None, "")]
            }
            "binding" => vec![self.with_body(sub, "io.k8s.api.core.v1.Binding", ("", "v1", "Binding"))],
            "eviction" => vec![self.with_body(sub, EVICTION, ("policy", "v1", "Eviction"))],
            "token" => vec![self.with_body(sub, TOKEN_REQUEST, ("authentication.k8s.io", "v1", "TokenRequest"))],
            "finalize" => vec![self.operation("put", "put", sub, Some(self.definition), self.definition)],
            "scale" => {
                let kind = ("autoscaling", "v1", "Scale");
                vec![
                    with(kind, self.operation("get", "get", sub, None, SCALE)),
                    with(kind, self.operation("put", "put", sub, Some(SCALE), SCALE)),
                    with(kind, self.operation("patch", "patch", sub, Some(patch), SCALE)),
                ]
            }
            _ => vec![
                self.operation("get", "get", sub, None, self.definition),
                self.operation("put", "put", sub, Some(self.definition), self.definition),
                self.operation("patch", "patch", sub, Some(patch), self.definition),
            ],
        }
    }

    fn with_body(&self, subresource: Option<&'a str>, body: &'a str, kind: (&'a str, &'a str, &'a str)) -> Operation<'a> {
        Operation { kind, ..self.operation("post", "post", subresource, Some(body), body) }
    }

    fn operation<'o>(
        &self,
        method: &'static str,
        action: &'static str,
        subresource: Option<&'o str>,
        body: Option<&'o str>,
        answer: &'o str,
    ) -> Operation<'o>
    where
        'a: 'o,
    {
        let Descriptor { group, version, kind, .. } = self.descriptor;
        Operation { method, action, subresource, body, answer, all_namespaces: false, kind: (group, version, kind) }
    }

    fn item(&self, paths: &mut Map<String, Value>, path: String, parameters: &[&str], operations: Vec<Operation<'_>>) {
        if operations.is_empty() {
            return;
        }
        let mut item: Map<String, Value> =
            operations.iter().map(|operation| (operation.method.to_owned(), self.write(operation))).collect();
        if !parameters.is_empty() {
            let parameters = parameters.iter().map(|name| parameters::path(name, self.dialect)).collect();
            item.insert("parameters".to_owned(), Value::Array(parameters));
        }
        paths.insert(path, Value::Object(item));
    }

    fn write(&self, operation: &Operation<'_>) -> Value {
        let (group, version, kind) = operation.kind;
        let tag = tag(self.descriptor);
        let mut written = json!({
            "description": description(operation, self.descriptor),
            "operationId": operation_id(operation, self.descriptor, &tag),
            "parameters": parameters::query(operation.action, operation.subresource, self.dialect),
            "tags": [tag],
            "x-kubernetes-action": operation.action,
            "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": version},
        });
        self.write_body(&mut written, operation);
        self.write_answers(&mut written, operation);
        written
    }

    fn write_body(&self, written: &mut Value, operation: &Operation<'_>) {
        let Some(body) = operation.body else { return };
        let types = if operation.action == "patch" { PATCH_TYPES } else { PLAIN };
        let types: Vec<&str> = types.iter().copied().filter(|media| self.strategic || *media != STRATEGIC).collect();
        let required = !operation.action.starts_with("delete");
        match self.dialect {
            Dialect::V2 => {
                written["consumes"] = json!(types);
                let body = json!({"name": "body", "in": "body", "required": required, "schema": self.dialect.reference(body)});
                if let Some(parameters) = written["parameters"].as_array_mut() {
                    parameters.push(body);
                }
            }
            Dialect::V3 => written["requestBody"] = json!({"required": required, "content": self.content(&types, body)}),
        }
    }

    fn write_answers(&self, written: &mut Value, operation: &Operation<'_>) {
        let types = if operation.action == "list" { STREAMED } else { PLAIN };
        let answer = |description: &str| match (self.dialect, operation.answer) {
            (Dialect::V2, "") => json!({"description": description, "schema": {"type": "string"}}),
            (Dialect::V3, "") => json!({"description": description, "content": {"*/*": {"schema": {"type": "string"}}}}),
            (Dialect::V2, answer) => json!({"description": description, "schema": self.dialect.reference(answer)}),
            (Dialect::V3, answer) => json!({"description": description, "content": self.content(types, answer)}),
        };
        let codes: &[(&str, &str)] = match operation.action {
            "post" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            "put" | "patch" => &[("200", "OK"), ("201", "Created")],
            "delete" => &[("200", "OK"), ("202", "Accepted")],
            _ => &[("200", "OK")],
        };
        let mut answers: Map<String, Value> = codes.iter().map(|(code, text)| ((*code).to_owned(), answer(text))).collect();
        answers.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
        written["responses"] = Value::Object(answers);
        if self.dialect == Dialect::V2 {
            written["produces"] = if operation.answer.is_empty() { json!(["*/*"]) } else { json!(types) };
            written["schemes"] = json!(["https"]);
        }
    }

    fn content(&self, types: &[&str], definition: &str) -> Value {
        let media = json!({ "schema": self.dialect.reference(definition) });
        Value::Object(types.iter().map(|media_type| ((*media_type).to_owned(), media.clone())).collect())
    }
}

/// `core_v1`, `apps_v1`, `rbacAuthorization_v1`.
fn tag(descriptor: &Descriptor) -> String {
    let group = descriptor.group.trim_end_matches(".k8s.io");
    let mut words = group.split('.').filter(|word| !word.is_empty());
    let mut tag = words.next().unwrap_or("core").to_owned();
    words.for_each(|word| tag.push_str(&capital(word)));
    format!("{tag}_{}", descriptor.version)
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn operation_id(operation: &Operation<'_>, descriptor: &Descriptor, tag: &str) -> String {
    let verb = match (operation.action, operation.method) {
        ("get", _) => "read",
        ("post", _) => "create",
        ("put", _) => "replace",
        ("deletecollection", _) => "deleteCollection",
        ("connect", "get") => "connectGet",
        ("connect", _) => "connectPost",
        (other, _) => other,
    };
    let mut parts = tag.split('_').map(capital);
    let (group, version) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let namespaced = if descriptor.scope == Scope::Namespaced && !operation.all_namespaces { "Namespaced" } else { "" };
    let subresource = operation.subresource.map(capital).unwrap_or_default();
    let everywhere = if operation.all_namespaces { "ForAllNamespaces" } else { "" };
    format!("{verb}{group}{version}{namespaced}{}{subresource}{everywhere}", descriptor.kind)
}

fn description(operation: &Operation<'_>, descriptor: &Descriptor) -> String {
    let kind = descriptor.kind;
    if let Some(subresource) = operation.subresource {
        let verb = match operation.action {
            "get" => "read",
            "put" => "replace",
            "patch" => "partially update",
            "connect" => return format!("connect {} requests to {subresource} of {kind}", operation.method.to_uppercase()),
            _ => "create",
        };
        return format!("{verb} {subresource} of the specified {kind}");
    }
    match operation.action {
        "list" => format!("list or watch objects of kind {kind}"),
        "get" => format!("read the specified {kind}"),
        "post" => format!("create a {kind}"),
        "put" => format!("replace the specified {kind}"),
        "patch" => format!("partially update the specified {kind}"),
        "deletecollection" => format!("delete a collection of {kind}"),
        _ => format!("delete a {kind}"),
    }
}
