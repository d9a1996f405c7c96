//! Kinds that come and go while the server runs: served whole from the moment they are there, in every place where kinds show, and gone without a trace.

use crate::client::Client;
use crate::harness::{CONFIG_MAPS, TestServer, config_map, version};
use http::Request;
use http_body_util::{BodyExt, Full};
use orknet_apiserver::{ChangeError, KindPath};
use orknet_resources::{Cause, Column, DecodeError, Decoded, Descriptor, FieldError, Resource, Scope, Subresource, intern};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tower::ServiceExt;

const GROUP: &str = "example.org";
const WIDGETS: &str = "/apis/example.org/v1/namespaces/default/widgets";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A kind of this test's own: it has a size, which `v2` calls its extent, and parts that are told apart by their names. Stored as `v1`.
struct Widget {
    names: Descriptor,
    columns: Vec<Column>,
    selectable: bool,
    several_versions: bool,
}

impl Widget {
    fn new(version: &str) -> Self {
        let column = |name: &str, kind: &str| Column {
            name: name.to_owned().into(),
            kind: kind.to_owned().into(),
            format: "".into(),
            description: format!("The {name}.").into(),
            priority: 0,
        };
        let names = Descriptor {
            group: intern::name(GROUP),
            version: intern::name(version),
            kind: intern::name("Widget"),
            plural: intern::name("widgets"),
            singular: intern::name("widget"),
            short_names: intern::names(&["wd"]),
            categories: &[],
            scope: Scope::Namespaced,
            verbs: intern::names(&["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]),
            subresources: &[],
            has_generation: true,
            stored_as: (intern::name(GROUP), intern::name("widgets")),
            companion_of: None,
            read_newest: false,
            deprecated: None,
        };
        Self { names, columns: vec![column("Name", "string"), column("Size", "integer")], selectable: false, several_versions: false }
    }

    /// What the size is called.
    fn size(&self) -> &'static str {
        if self.names.version == "v1" { "size" } else { "extent" }
    }
}

impl Resource for Widget {
    fn descriptor(&self) -> &Descriptor {
        &self.names
    }

    fn decode(&self, mut body: Value) -> Result<Decoded, DecodeError> {
        if !body["spec"].is_object() {
            return Err(DecodeError("spec: expected an object".into()));
        }
        body["apiVersion"] = self.names.api_version().into();
        body["kind"] = self.names.kind.into();
        let known = [self.size(), "parts"];
        let unknown =
            body["spec"].as_object().into_iter().flatten().map(|(field, _)| field.clone()).filter(|field| !known.contains(&&field[..]));
        let unknown = unknown.map(|field| format!("spec.{field}")).collect();
        Ok(Decoded { object: body, unknown })
    }

    fn prepare_create(&self, _: &mut Value) {}

    fn prepare_update(&self, _: &mut Value, _: &Value, _: Subresource<'_>) {}

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let size = &object["spec"][self.size()];
        let refused = FieldError {
            cause: Cause::Invalid,
            field: format!("spec.{}", self.size()),
            value: Some(size.clone()),
            detail: "must be a number".into(),
        };
        if size.is_i64() { Vec::new() } else { vec![refused] }
    }

    fn validate_update(&self, new: &Value, _: &Value, _: Subresource<'_>) -> Vec<FieldError> {
        self.validate_create(new)
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn cells(&self, object: &Value, _: i64) -> Vec<Value> {
        vec![object["metadata"]["name"].clone(), object["spec"][self.size()].clone()]
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let field = (intern::name(&format!("spec.{}", self.size())), object["spec"][self.size()].to_string());
        if self.selectable { vec![field] } else { Vec::new() }
    }

    fn deprecation(&self) -> Option<&str> {
        (self.names.version != "v1").then_some("example.org/v2 is not there yet")
    }

    fn has_own_form(&self) -> bool {
        !self.several_versions
    }

    fn to_stored(&self, mut object: Value) -> Value {
        object["spec"]["size"] = object["spec"][self.size()].take();
        if self.names.version != "v1" {
            object["spec"].as_object_mut().expect("decoded").remove("extent");
        }
        object["apiVersion"] = "example.org/v1".into();
        object
    }

    fn from_stored(&self, mut stored: Value) -> Value {
        if self.names.version != "v1" {
            stored["spec"]["extent"] = stored["spec"]["size"].take();
            stored["spec"].as_object_mut().expect("decoded").remove("size");
        }
        stored["apiVersion"] = self.names.api_version().into();
        stored
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let metadata = generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>();
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "apiVersion": { "type": "string" },
                "kind": { "type": "string" },
                "metadata": metadata,
                "spec": { "type": "object", "properties": {
                    self.size(): { "type": "integer", "description": "How large it is." },
                    "parts": { "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {
                        "type": "object", "required": ["name"],
                        "properties": { "name": { "type": "string" }, "count": { "type": "integer" } } } },
                } },
            },
        })
    }
}

#[tokio::test]
async fn component_statuses_are_read_and_warn_of_their_age() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let path = "/api/v1/componentstatuses";
    let answer = admin.get(path).await;
    assert_eq!(answer.warnings(), ["299 - \"v1 ComponentStatus is deprecated in v1.19+\""]);
    let list = answer.expect(200);
    let told: Vec<_> =
        list["items"].as_array().expect("a list").iter().map(|item| (&item["metadata"]["name"], &item["conditions"][0])).collect();
    let nobody = json!({ "type": "Healthy", "status": "False", "error": "nobody holds its Lease" });
    let well = json!({ "type": "Healthy", "status": "True", "message": "ok" });
    // This process has neither controllers nor a scheduler.
    assert_eq!(told, [(&json!("controller-manager"), &nobody), (&json!("scheduler"), &nobody), (&json!("etcd-0"), &well)]);
    let one = admin.get(&format!("{path}/etcd-0")).await.expect(200);
    assert_eq!((&one["metadata"], &one["conditions"]), (&json!({ "name": "etcd-0" }), &json!([well])));
    admin.get(&format!("{path}/nobody")).await.refused(404, "NotFound");
    admin.post(path, json!({ "metadata": { "name": "a" } })).await.refused(405, "MethodNotAllowed");
    let table = admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").get(path).await.expect(200);
    assert_eq!(table["rows"][2]["cells"], json!(["etcd-0", "Healthy", "ok", ""]));
}

const V1: KindPath = (GROUP, "v1", "widgets");
const V2: KindPath = (GROUP, "v2", "widgets");

async fn add(server: &TestServer, kinds: Vec<Widget>) {
    let kinds = kinds.into_iter().map(|kind| Arc::new(kind) as Arc<dyn Resource>).collect();
    server.handle.change_kinds(kinds, Vec::new()).await.expect("is added");
}

async fn remove(server: &TestServer, paths: &[KindPath]) {
    server.handle.change_kinds(Vec::new(), paths.to_vec()).await.expect("is removed");
}

fn widget(name: &str, size: i64) -> Value {
    json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": name }, "spec": { "size": size } })
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list");
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

/// The resources of a group in the aggregated discovery; empty when the group is not there.
async fn discovered(client: &Client) -> BTreeSet<String> {
    let document = client.with_header("accept", AGGREGATED).get("/apis").await.expect(200);
    let group =
        document["items"].as_array().expect("groups").iter().find(|group| group["metadata"]["name"] == GROUP).cloned().unwrap_or_default();
    let versions = group["versions"].as_array().cloned().unwrap_or_default();
    let resources = versions.iter().flat_map(|version| {
        let named =
            |resource: &Value| format!("{}/{}", version["version"].as_str().expect("text"), resource["resource"].as_str().expect("text"));
        version["resources"].as_array().expect("resources").iter().map(named).collect::<Vec<_>>()
    });
    resources.collect()
}

async fn openapi_index(client: &Client) -> Value {
    client.get("/openapi/v3").await.expect(200)["paths"].take()
}

#[tokio::test]
async fn a_kind_that_comes_is_served_whole() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    admin.get(WIDGETS).await.refused(404, "NotFound");
    let index = openapi_index(admin).await;
    add(&server, vec![Widget { selectable: true, ..Widget::new("v1") }]).await;
    // Writes and reads.
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1")).await;
    let created = admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    assert!(
        admin
            .post(WIDGETS, json!({ "metadata": { "name": "x" }, "spec": { "size": "big" } }))
            .await
            .refused(422, "Invalid")
            .contains("spec.size")
    );
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let odd = json!({ "metadata": { "name": "x" }, "spec": { "size": 1, "colour": "red" } });
    assert!(admin.post(&strict, odd).await.refused(400, "BadRequest").contains("spec.colour"));
    admin.post(WIDGETS, widget("b", 2)).await.expect(201);
    assert_eq!(admin.get(&format!("{WIDGETS}/a")).await.expect(200), created);
    let list = admin.get("/apis/example.org/v1/widgets").await.expect(200);
    assert_eq!((&list["kind"], names(&list)), (&json!("WidgetList"), vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(names(&admin.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D2")).await.expect(200)), ["b"]);
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]), (&json!("ADDED"), &created));
    let table = admin.with_header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io").get(WIDGETS).await.expect(200);
    assert_eq!((&table["columnDefinitions"][1]["name"], &table["rows"][1]["cells"]), (&json!("Size"), &json!(["b", 2])));
    // Discovery.
    assert_eq!(discovered(admin).await, ["v1/widgets".to_owned()].into());
    let group = admin.get("/apis/example.org").await.expect(200);
    assert_eq!(group["preferredVersion"]["groupVersion"], "example.org/v1");
    let resources = admin.get("/apis/example.org/v1").await.expect(200);
    assert_eq!((&resources["resources"][0]["name"], &resources["resources"][0]["shortNames"]), (&json!("widgets"), &json!(["wd"])));
    assert!(admin.get("/").await.expect(200)["paths"].as_array().expect("paths").contains(&json!("/apis/example.org/v1")));
    // OpenAPI: one more document, and the others are what they were.
    let mut now = openapi_index(admin).await;
    let entry = now.as_object_mut().expect("paths").remove("apis/example.org/v1").expect("there");
    assert_eq!(now, index);
    let answer = admin.get(entry["serverRelativeURL"].as_str().expect("a path")).await;
    assert!(answer.headers["cache-control"].to_str().expect("text").contains("immutable"), "the index has its hash");
    let document = answer.expect(200);
    let schema = &document["components"]["schemas"]["org.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["size"]["description"], "How large it is.");
    assert_eq!(schema["x-kubernetes-group-version-kind"], json!([{ "group": GROUP, "kind": "Widget", "version": "v1" }]));
    assert!(document["paths"]["/apis/example.org/v1/namespaces/{namespace}/widgets/{name}"]["get"].is_object());
    assert!(admin.get("/openapi/v2").await.expect(200)["definitions"]["org.example.v1.Widget"].is_object());
}

#[tokio::test]
async fn a_kind_that_comes_is_applied_by_its_own_schema() {
    let server = TestServer::start().await;
    add(&server, vec![Widget::new("v1")]).await;
    let apply = async |manager: &str, part: &str, count: i64| {
        let config = json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "a" },
            "spec": { "size": 1, "parts": [{ "name": part, "count": count }] } });
        server.admin.patch(&format!("{WIDGETS}/a?fieldManager={manager}"), "application/apply-patch+yaml", config).await
    };
    apply("one", "wheel", 4).await.expect(201);
    let both = apply("two", "door", 2).await.expect(200);
    assert_eq!(both["spec"]["parts"], json!([{ "name": "wheel", "count": 4 }, { "name": "door", "count": 2 }]), "a list of parts by name");
    let owned = &both["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:parts"];
    assert!(owned.as_object().expect("owned").keys().all(|key| key.starts_with("k:")), "{owned}");
    assert!(apply("two", "wheel", 3).await.refused(409, "Conflict").contains(".spec.parts[name=\"wheel\"].count"));
}

#[tokio::test]
async fn a_kind_that_goes_leaves_no_trace_but_what_is_stored() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    add(&server, vec![Widget::new("v1")]).await;
    let created = admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    assert!(admin.get("/metrics").await.text.contains(r#"apiserver_storage_objects{resource="widgets.example.org"} 1"#));
    let mut watches = [
        admin.watch(&format!("{WIDGETS}?watch=1&resourceVersion={}", version(&created))).await,
        admin.watch(&format!("{WIDGETS}?watch=1&labelSelector=none")).await,
    ];
    let mut other = admin.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    remove(&server, &[V1]).await;
    for watch in &mut watches {
        assert_eq!(watch.next().await, None, "the watch ends");
    }
    for path in [
        WIDGETS.to_owned(),
        format!("{WIDGETS}/a"),
        format!("{WIDGETS}?watch=1"),
        "/apis/example.org".into(),
        "/apis/example.org/v1".into(),
    ] {
        admin.get(&path).await.refused(404, "NotFound");
    }
    admin.post(WIDGETS, widget("b", 1)).await.refused(404, "NotFound");
    assert!(discovered(admin).await.is_empty());
    assert!(!openapi_index(admin).await.to_string().contains(GROUP));
    admin.get("/openapi/v3/apis/example.org/v1").await.refused(404, "NotFound");
    assert!(!admin.get("/metrics").await.text.contains(r#"objects{resource="widgets.example.org"}"#));
    // Others go on.
    admin.post(CONFIG_MAPS, config_map("c")).await.expect(201);
    let expected = ("ADDED".to_owned(), "c".to_owned());
    while other.next_named().await != expected {}
    // What was stored appears again, as it was, and can be watched from where it was.
    add(&server, vec![Widget::new("v1")]).await;
    assert_eq!(admin.get(&format!("{WIDGETS}?resourceVersion=0")).await.expect(200)["items"], json!([created]));
    let list = admin.get(WIDGETS).await.expect(200);
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1&resourceVersion={}", version(&list))).await;
    admin.delete(&format!("{WIDGETS}/a")).await.expect(200);
    assert_eq!(watch.next_named().await, ("DELETED".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn a_kind_that_is_replaced_ends_the_watches_of_the_old() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    add(&server, vec![Widget::new("v1")]).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    admin.post(WIDGETS, widget("b", 2)).await.expect(201);
    let by_size = format!("{WIDGETS}?fieldSelector=spec.size%3D2");
    admin.get(&by_size).await.refused(400, "BadRequest");
    let index = openapi_index(admin).await;
    let mut watch = admin.watch(&format!("{WIDGETS}?watch=1")).await;
    watch.next().await.expect("a");
    add(&server, vec![Widget { selectable: true, ..Widget::new("v1") }]).await;
    while let Some(event) = watch.next().await {
        assert_eq!(event["type"], "ADDED", "what was there, then the end");
    }
    // Objects that were in memory before are selected as those that come.
    assert_eq!(names(&admin.get(&by_size).await.expect(200)), ["b"]);
    let mut watch = admin.watch(&format!("{by_size}&watch=1")).await;
    assert_eq!(watch.next_named().await, ("ADDED".to_owned(), "b".to_owned()));
    admin.post(WIDGETS, widget("c", 2)).await.expect(201);
    assert_eq!(watch.next_named().await, ("ADDED".to_owned(), "c".to_owned()));
    assert_eq!(openapi_index(admin).await, index, "the same schema has the same hash");
}

#[tokio::test]
async fn one_place_is_served_in_two_versions() {
    let server = TestServer::start().await;
    let admin = &server.admin;
    let versions = || ["v1", "v2"].map(|version| Widget { several_versions: true, selectable: true, ..Widget::new(version) });
    const NEW: &str = "/apis/example.org/v2/namespaces/default/widgets";
    add(&server, versions().into()).await;
    let group = admin.get("/apis/example.org").await.expect(200);
    assert_eq!((&group["preferredVersion"]["version"], group["versions"].as_array().map(Vec::len)), (&json!("v2"), Some(2)));
    let mut watch = admin.watch(&format!("{NEW}?watch=1")).await;
    admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    let answer = admin.get(&format!("{NEW}/a")).await;
    assert_eq!(answer.headers["warning"], "299 - \"example.org/v2 is not there yet\"");
    let new = answer.expect(200);
    assert_eq!((&new["apiVersion"], &new["spec"]), (&json!("example.org/v2"), &json!({ "extent": 1 })));
    assert_eq!(watch.next().await.expect("an event")["object"], new);
    let made = admin.post(NEW, json!({ "metadata": { "name": "b" }, "spec": { "extent": 2 } })).await.expect(201);
    assert_eq!(made["spec"], json!({ "extent": 2 }));
    let list = admin.get(&format!("{WIDGETS}?fieldSelector=spec.size%3D2")).await.expect(200);
    assert_eq!((&list["items"][0]["apiVersion"], &list["items"][0]["spec"]), (&json!("example.org/v1"), &json!({ "size": 2 })));
    assert_eq!(names(&admin.get(&format!("{NEW}?fieldSelector=spec.extent%3D1")).await.expect(200)), ["a"]);
    // The place stays as long as one of its versions does.
    remove(&server, &[V2]).await;
    while watch.next().await.is_some() {}
    admin.get(NEW).await.refused(404, "NotFound");
    assert_eq!(names(&admin.get(WIDGETS).await.expect(200)), ["a", "b"]);
    assert_eq!(admin.get("/apis/example.org").await.expect(200)["preferredVersion"]["version"], "v1");
}

#[tokio::test]
async fn the_servers_own_kinds_stay() {
    let server = TestServer::start().await;
    let pods = ("", "v1", "pods");
    let removed = server.handle.change_kinds(Vec::new(), vec![pods]).await;
    assert!(matches!(removed, Err(ChangeError::BuiltIn { plural: "pods", .. })), "{removed:?}");
    let mut own = Widget::new("v1");
    (own.names.group, own.names.plural, own.names.stored_as) = ("", "pods", ("", "pods"));
    let replaced = server.handle.change_kinds(vec![Arc::new(own)], Vec::new()).await;
    assert!(matches!(replaced, Err(ChangeError::BuiltIn { .. })), "{replaced:?}");
    let twice = server.handle.change_kinds(vec![Arc::new(Widget::new("v1")), Arc::new(Widget::new("v1"))], Vec::new()).await;
    assert!(matches!(twice, Err(ChangeError::Twice { .. })), "{twice:?}");
    server.handle.change_kinds(Vec::new(), vec![V1]).await.expect("what is not there is passed over");
    server.admin.get("/api/v1/pods").await.expect(200);
    server.admin.get("/apis/example.org").await.refused(404, "NotFound");
}

#[tokio::test]
async fn kinds_that_come_and_go_do_not_pile_up() {
    let server = TestServer::start().await;
    let objects =
        async || server.admin.get("/metrics").await.text.lines().filter(|line| line.starts_with("apiserver_storage_objects{")).count();
    let (before, index) = (objects().await, openapi_index(&server.admin).await);
    add(&server, vec![Widget::new("v1")]).await;
    server.admin.post(WIDGETS, widget("a", 1)).await.expect(201);
    remove(&server, &[V1]).await;
    let mut came: Vec<Weak<dyn Resource>> = Vec::new();
    for _ in 0..500 {
        let kind: Arc<dyn Resource> = Arc::new(Widget::new("v1"));
        came.push(Arc::downgrade(&kind));
        server.handle.change_kinds(vec![kind], Vec::new()).await.expect("is added");
        remove(&server, &[V1]).await;
    }
    assert_eq!(came.iter().filter(|kind| kind.strong_count() > 0).count(), 0, "nobody holds a kind that went");
    assert_eq!((objects().await, openapi_index(&server.admin).await), (before, index));
}

/// Watches that begin while the kind goes or is replaced: whether they come before or after, they end.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_watch_outlives_its_kind() {
    let server = TestServer::start().await;
    for round in 0..10 {
        add(&server, vec![Widget::new("v1")]).await;
        let watching: Vec<_> = (0..6)
            .map(|_| {
                let admin = server.admin.clone();
                // Ends only if the watch does, or the kind is not there.
                tokio::spawn(async move { admin.get(&format!("{WIDGETS}?watch=1&resourceVersion=0")).await.status.as_u16() })
            })
            .collect();
        tokio::task::yield_now().await;
        if round % 2 == 0 {
            add(&server, vec![Widget::new("v1")]).await;
        }
        remove(&server, &[V1]).await;
        for watch in watching {
            let status = watch.await.expect("ends");
            assert!(matches!(status, 200 | 404), "{status}");
        }
    }
}

/// It has passed every look at which kinds there are, and has no place in the changes yet.
#[tokio::test]
async fn a_watch_that_is_about_to_begin_when_its_kind_goes_or_is_replaced_ends() {
    let server = TestServer::start().await;
    for replaced in [true, false] {
        add(&server, vec![Widget::new("v1")]).await;
        // The last write that the change of kinds leads to.
        let registered = async {
            while server.admin.get(&format!("/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}")).await.status != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), registered).await.expect("an APIService");
        let next = version(&server.admin.get(WIDGETS).await.expect(200)) + 1;
        let from = format!("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion={next}");
        let request = Request::get(format!("{WIDGETS}?watch=1&allowWatchBookmarks=true&{from}")).body(Full::<bytes::Bytes>::default());
        let part = server.handle.local_client(orknet_auth::Identity::authenticated("part", ["system:masters".to_owned()]));
        let mut beginning = pin!(part.oneshot(request.expect("a request")));
        assert!(futures::poll!(&mut beginning).is_pending(), "it waits for a version that is not there yet");
        if replaced {
            add(&server, vec![Widget::new("v1")]).await;
        } else {
            remove(&server, &[V1]).await;
        }
        server.admin.post(CONFIG_MAPS, config_map(&format!("replaced-{replaced}"))).await.expect(201);
        let answer = beginning.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let told =
            tokio::time::timeout(Duration::from_secs(10), answer.into_body().collect()).await.expect("ends").expect("whole").to_bytes();
        assert!(told.is_empty(), "{told:?}");
    }
}
