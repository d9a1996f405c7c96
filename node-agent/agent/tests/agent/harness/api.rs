//! An API server of plain objects behind kube's client: list, watch, replay from a version, streaming lists if wanted; conditions of
//! nodes and events can be written.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

pub const SERVICES: &str = "/api/v1/services";
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
pub const NODES: &str = "/api/v1/nodes";
pub const PODS: &str = "/api/v1/pods";
pub const NAMESPACES: &str = "/api/v1/namespaces";
pub const POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies";
pub const CLUSTER_POLICIES: &str = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
/// Where nodes report; the kind's collection.
const REPORTS: &str = "/apis/networking.orknet.io/v1alpha1/nodeprogrammings/";
const COLLECTIONS: [&str; 7] = [SERVICES, SLICES, NODES, PODS, NAMESPACES, POLICIES, CLUSTER_POLICIES];

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone, Default)]
pub struct FakeApi(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    streams_lists: bool,
    is_down: bool,
    /// It knows ClusterNetworkPolicies.
    has_cluster_policies: bool,
    /// Nobody gets a list of these.
    withheld: Option<&'static str>,
    /// Collections that somebody wanted in vain.
    refused: BTreeSet<&'static str>,
    /// How often each collection was listed by a stream.
    streamed: BTreeMap<&'static str, usize>,
    version: u64,
    /// By path of the collection and name.
    objects: BTreeMap<(&'static str, String), Value>,
    log: Vec<(u64, &'static str, Bytes)>,
    watches: Vec<(&'static str, UnboundedSender<Bytes>)>,
    events: Vec<Value>,
    /// What nodes have reported, with the moment.
    reports: Vec<(Instant, Value)>,
}

impl FakeApi {
    pub fn new() -> Self {
        Self::default()
    }

    /// One that knows `sendInitialEvents`.
    pub fn with_streaming_lists() -> Self {
        let api = Self::default();
        api.0.lock().unwrap().streams_lists = true;
        api
    }

    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let answer = if request.method() == Method::GET { api.answer(&request) } else { api.write(request).await };
                Ok::<_, Infallible>(answer)
            }
        });
        Client::new(service, "default")
    }

    /// Creates or replaces.
    pub fn put(&self, object: Value) {
        let mut inner = self.0.lock().unwrap();
        let key = key_of(&object);
        let kind = if inner.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        let object = inner.publish(key.0, kind, object);
        inner.objects.insert(key, object);
    }

    pub fn delete(&self, object: &Value) {
        let mut inner = self.0.lock().unwrap();
        let key = key_of(object);
        let object = inner.objects.remove(&key).unwrap();
        inner.publish(key.0, "DELETED", object);
    }

    /// Removes without telling anybody, ends every watch and forgets the history: what a client sees after a long absence.
    pub fn delete_unseen(&self, object: &Value) {
        let mut inner = self.0.lock().unwrap();
        inner.objects.remove(&key_of(object)).unwrap();
        inner.version += 1;
        inner.log.clear();
        let expired = json!({ "type": "ERROR", "object": status(410, "Expired") });
        for (_, watch) in inner.watches.drain(..) {
            let _ = watch.send(line(&expired));
        }
    }

    /// The store is set back: there are the same objects, at a version of long ago, and nobody's watch goes on.
    pub fn set_back(&self, version: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.version = version;
        inner.log.clear();
        let expired = json!({ "type": "ERROR", "object": status(410, "Expired") });
        for (_, watch) in inner.watches.drain(..) {
            let _ = watch.send(line(&expired));
        }
        for object in inner.objects.values_mut() {
            object["metadata"]["resourceVersion"] = version.to_string().into();
        }
    }

    /// Answers 503 and ends all watches, or serves again.
    pub fn set_down(&self, is_down: bool) {
        let mut inner = self.0.lock().unwrap();
        inner.is_down = is_down;
        if is_down {
            inner.watches.clear();
        }
    }

    /// From now on it knows no ClusterNetworkPolicies, as while their definition is replaced.
    pub fn forget_cluster_policies(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.has_cluster_policies = false;
        inner.watches.retain(|(of, _)| *of != CLUSTER_POLICIES);
    }

    /// From now on it knows ClusterNetworkPolicies.
    pub fn serve_cluster_policies(&self) {
        self.0.lock().unwrap().has_cluster_policies = true;
    }

    /// Ends the watches of a collection, and answers 503 to who wants it: what happens there is not seen.
    pub fn hide(&self, path: &'static str) {
        let mut inner = self.0.lock().unwrap();
        inner.watches.retain(|(of, _)| *of != path);
        inner.withheld = Some(path);
    }

    /// Answers 503 to who wants this collection, or serves all.
    pub fn withhold(&self, path: Option<&'static str>) {
        self.0.lock().unwrap().withheld = path;
    }

    /// Whether somebody has wanted this collection in vain since the last question.
    pub fn refused(&self, path: &'static str) -> bool {
        self.0.lock().unwrap().refused.remove(path)
    }

    /// How often a collection has been listed by a stream.
    pub fn streamed(&self, path: &str) -> usize {
        self.0.lock().unwrap().streamed.get(path).copied().unwrap_or(0)
    }

    /// What nodes have reported.
    pub fn reports(&self) -> Vec<(Instant, Value)> {
        self.0.lock().unwrap().reports.clone()
    }

    /// The version of an object. (The highest one may be of a node's condition, which an agent has written meanwhile.)
    pub fn version_of(&self, object: &Value) -> u64 {
        let inner = self.0.lock().unwrap();
        inner.objects[&key_of(object)]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }

    /// The highest version that there is.
    pub fn version(&self) -> u64 {
        self.0.lock().unwrap().version
    }

    /// The events that were created.
    pub fn events(&self) -> Vec<Value> {
        self.0.lock().unwrap().events.clone()
    }

    /// A condition of a node.
    pub fn condition(&self, node: &str, kind: &str) -> Option<Value> {
        let inner = self.0.lock().unwrap();
        let node = inner.node(node)?;
        node["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind).cloned()
    }

    /// One condition of a node's status, or an event.
    async fn write(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let object: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        let mut inner = self.0.lock().unwrap();
        if inner.is_down {
            return full(503, status(503, "ServiceUnavailable"));
        }
        let path: Vec<_> = parts.uri.path().split('/').skip(1).collect();
        match (parts.method.as_str(), path.as_slice()) {
            ("POST", ["api", "v1", "namespaces", _, "events"]) => {
                inner.events.push(object.clone());
                full(201, object)
            }
            ("PATCH", ["api", "v1", "nodes", name, "status"]) => {
                let mut node = inner.node(name).unwrap().clone();
                let condition = object["status"]["conditions"][0].clone();
                let mut conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
                conditions.retain(|known| known["type"] != condition["type"]);
                conditions.push(condition);
                node["status"]["conditions"] = conditions.into();
                let node = inner.publish(NODES, "MODIFIED", node);
                inner.objects.insert(key_of(&node), node.clone());
                full(200, node)
            }
            ("PATCH", ["apis", "networking.orknet.io", ..]) => {
                assert_eq!(parts.uri.path().strip_prefix(REPORTS), object["metadata"]["name"].as_str());
                assert!(parts.uri.query().unwrap().contains("fieldManager=orknet-agent"), "{}", parts.uri);
                inner.reports.push((Instant::now(), object.clone()));
                full(200, object)
            }
            other => panic!("the fake API serves no {other:?}"),
        }
    }

    fn answer(&self, request: &Request<Body>) -> Answer {
        let mut inner = self.0.lock().unwrap();
        if let Some(name) = request.uri().path().strip_prefix(NODES).and_then(|rest| rest.strip_prefix('/'))
            && !inner.is_down
        {
            return inner.node(name).map_or_else(|| full(404, status(404, "NotFound")), |node| full(200, node.clone()));
        }
        let path = COLLECTIONS.into_iter().find(|path| *path == request.uri().path());
        if path == Some(CLUSTER_POLICIES) && !inner.has_cluster_policies {
            inner.refused.insert(CLUSTER_POLICIES);
            return full(404, status(404, "NotFound"));
        }
        let Some(path) = path else { return full(404, status(404, "NotFound")) };
        if inner.is_down || inner.withheld == Some(path) {
            inner.refused.insert(path);
            return full(503, status(503, "ServiceUnavailable"));
        }
        let query = request.uri().query().unwrap_or_default();
        let parameter = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, v)| v);
        if parameter("watch") != Some("true") {
            return full(200, inner.list(path));
        }
        let is_streaming = parameter("sendInitialEvents") == Some("true");
        if is_streaming && !inner.streams_lists {
            return full(400, status(400, "BadRequest"));
        }
        let (sender, receiver) = unbounded_channel();
        if is_streaming {
            *inner.streamed.entry(path).or_default() += 1;
            inner.send_initial(path, &sender);
        } else {
            let since = parameter("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
            for (_, _, event) in inner.log.iter().filter(|(version, of, _)| *of == path && *version > since) {
                let _ = sender.send(event.clone());
            }
        }
        inner.watches.push((path, sender));
        let frames = UnboundedReceiverStream::new(receiver).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

impl Inner {
    fn publish(&mut self, path: &'static str, kind: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let event = line(&json!({ "type": kind, "object": object }));
        self.log.push((self.version, path, event.clone()));
        self.watches.retain(|(of, watch)| *of != path || watch.send(event.clone()).is_ok());
        object
    }

    fn of(&self, path: &'static str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |((of, _), _)| *of == path).map(|(_, object)| object)
    }

    fn node(&self, name: &str) -> Option<&Value> {
        self.of(NODES).find(|node| node["metadata"]["name"] == name)
    }

    fn list(&self, path: &'static str) -> Value {
        let items: Vec<_> = self.of(path).cloned().collect();
        json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": self.version.to_string() }, "items": items })
    }

    fn send_initial(&self, path: &'static str, sender: &UnboundedSender<Bytes>) {
        for object in self.of(path) {
            let _ = sender.send(line(&json!({ "type": "ADDED", "object": object })));
        }
        let (api_version, kind) = match path {
            SERVICES => ("v1", "Service"),
            NODES => ("v1", "Node"),
            PODS => ("v1", "Pod"),
            NAMESPACES => ("v1", "Namespace"),
            POLICIES => ("networking.k8s.io/v1", "NetworkPolicy"),
            CLUSTER_POLICIES => ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
            _ => ("discovery.k8s.io/v1", "EndpointSlice"),
        };
        let metadata = json!({ "resourceVersion": self.version.to_string(), "annotations": { "k8s.io/initial-events-end": "true" } });
        let bookmark = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
        let _ = sender.send(line(&json!({ "type": "BOOKMARK", "object": bookmark })));
    }
}

fn key_of(object: &Value) -> (&'static str, String) {
    let path = match object["kind"].as_str().unwrap() {
        "Service" => SERVICES,
        "EndpointSlice" => SLICES,
        "Node" => NODES,
        "Pod" => PODS,
        "Namespace" => NAMESPACES,
        "NetworkPolicy" => POLICIES,
        "ClusterNetworkPolicy" => CLUSTER_POLICIES,
        other => panic!("the fake API has no {other}"),
    };
    (path, format!("{}/{}", object["metadata"]["namespace"], object["metadata"]["name"]))
}

fn status(code: u16, reason: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason })
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

fn full(code: u16, body: Value) -> Answer {
    let mut answer = Response::new(Full::from(body.to_string()).boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).unwrap();
    answer
}
