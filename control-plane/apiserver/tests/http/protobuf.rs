//! Answers in Kubernetes' protobuf form, read with the structures of `k8s-pb`, which know nothing of this server.

use crate::client::{Answer, Client};
use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, PODS, TestServer, config_map, deployment, pod};
use k8s_pb::api::apps::v1::{Deployment, DeploymentList};
use k8s_pb::api::autoscaling::v1::Scale;
use k8s_pb::api::core::v1::{ConfigMap, ConfigMapList, Namespace, Node, Pod, PodList, Service};
use k8s_pb::apimachinery::pkg::apis::meta::v1::{PartialObjectMetadata, PartialObjectMetadataList, Status, WatchEvent};
use k8s_pb::apimachinery::pkg::apis::meta::v1beta1;
use k8s_pb::apimachinery::pkg::runtime::{TypeMeta, Unknown};
use prost::Message;
use serde_json::json;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A message out of its envelope, with what it says it is.
fn open<T: Message + Default>(bytes: &[u8]) -> ((String, String), T) {
    let unknown = Unknown::decode(bytes.strip_prefix(b"k8s\0").expect("the magic bytes")).expect("an envelope");
    let type_meta = unknown.type_meta.clone().expect("a type");
    ((type_meta.api_version().to_owned(), type_meta.kind().to_owned()), T::decode(unknown.raw()).expect("a message"))
}

fn expect<T: Message + Default>(answer: &Answer, code: u16, kind: (&str, &str)) -> T {
    assert_eq!((answer.status.as_u16(), &answer.headers["content-type"]), (code, &PROTOBUF.parse().expect("a header")), "{}", answer.text);
    let (told, message) = open(&answer.bytes);
    assert_eq!((&told.0[..], &told.1[..]), kind);
    message
}

/// A message in an envelope.
fn sealed(api_version: &str, kind: &str, message: &impl Message) -> Vec<u8> {
    let type_meta = TypeMeta { api_version: Some(api_version.into()), kind: Some(kind.into()) };
    let unknown = Unknown { type_meta: Some(type_meta), raw: Some(message.encode_to_vec()), ..Unknown::default() };
    [b"k8s\0", &unknown.encode_to_vec()[..]].concat()
}

fn asking(server: &TestServer) -> Client {
    server.admin.with_header("accept", "application/vnd.kubernetes.protobuf,application/json")
}

#[tokio::test]
async fn objects_and_lists_are_what_other_structures_read() {
    let server = TestServer::start().await;
    let client = asking(&server);
    let made = client.post(PODS, pod("a")).await;
    let made: Pod = expect(&made, 201, ("v1", "Pod"));
    let (meta, spec) = (made.metadata.expect("metadata"), made.spec.expect("a spec"));
    assert_eq!((meta.name(), meta.namespace(), meta.uid().len()), ("a", "default", 36));
    assert_eq!((spec.containers[0].image(), spec.restart_policy(), spec.termination_grace_period_seconds()), ("i", "Always", 30));
    assert_eq!(made.status.expect("a status").phase(), "Pending");
    server.admin.post(PODS, pod("b")).await.expect(201);
    let page: PodList = expect(&client.get(&format!("{PODS}?limit=1")).await, 200, ("v1", "PodList"));
    let meta = page.metadata.expect("metadata");
    assert_eq!((page.items.len(), meta.remaining_item_count()), (1, 1));
    let rest: PodList = expect(&client.get(&format!("{PODS}?limit=1&continue={}", meta.r#continue())).await, 200, ("v1", "PodList"));
    assert_eq!(
        (rest.items[0].metadata.as_ref().expect("metadata").name(), rest.metadata.expect("metadata").remaining_item_count),
        ("b", None)
    );

    let ports =
        json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80, "targetPort": "http" }], "selector": { "app": "a" } } });
    let made = client.post("/api/v1/namespaces/default/services", ports).await;
    let service: Service = expect(&made, 201, ("v1", "Service"));
    let port = &service.spec.expect("a spec").ports[0];
    let target = port.target_port.as_ref().expect("a target");
    assert_eq!((port.port(), target.r#type(), target.str_val()), (80, 1, "http"));

    let node = json!({ "metadata": { "name": "n" }, "status": { "capacity": { "cpu": "4", "memory": "8Gi" }, "nodeInfo": { "kernelVersion": "6" } } });
    let made: Node = expect(&client.post("/api/v1/nodes", node).await, 201, ("v1", "Node"));
    assert_eq!(made.status.expect("a status").capacity["memory"].string(), "8Gi");

    server.admin.post(DEPLOYMENTS, deployment("d")).await.expect(201);
    let list: DeploymentList = expect(&client.get("/apis/apps/v1/deployments").await, 200, ("apps/v1", "DeploymentList"));
    assert_eq!(list.items[0].spec.as_ref().expect("a spec").replicas(), 2);
    let scale: Scale = expect(&client.get(&format!("{DEPLOYMENTS}/d/scale")).await, 200, ("autoscaling/v1", "Scale"));
    assert_eq!(scale.spec.expect("a spec").replicas(), 2);
}

#[tokio::test]
async fn what_others_write_is_kept_as_they_meant_it() {
    let server = TestServer::start().await;
    let client = asking(&server);
    let mut map = ConfigMap::default();
    map.metadata.get_or_insert_default().name = Some("m".into());
    map.data.insert("k".into(), "v".into());
    map.binary_data.insert("b".into(), vec![0, 255]);
    let made = client.send("POST", CONFIG_MAPS, PROTOBUF, sealed("v1", "ConfigMap", &map)).await;
    let mut made: ConfigMap = expect(&made, 201, ("v1", "ConfigMap"));
    assert_eq!(server.admin.get(&format!("{CONFIG_MAPS}/m")).await.expect(200)["binaryData"], json!({ "b": "AP8=" }));
    made.data.insert("k".into(), "w".into());
    made.immutable = Some(false);
    let path = format!("{CONFIG_MAPS}/m");
    let put = client.send("PUT", &path, PROTOBUF, sealed("v1", "ConfigMap", &made)).await;
    let kept: ConfigMap = expect(&put, 200, ("v1", "ConfigMap"));
    assert_eq!((&kept.data["k"][..], kept.immutable, &kept.binary_data["b"][..]), ("w", Some(false), &[0, 255][..]));
    let patched = client.patch(&path, "application/merge-patch+json", json!({ "data": { "k": null } })).await;
    assert!(expect::<ConfigMap>(&patched, 200, ("v1", "ConfigMap")).data.is_empty());

    // Volumes whose names are not written as a rule would have it, and commands that stand in their message directly.
    let mut deployment = Deployment::default();
    deployment.metadata.get_or_insert_default().name = Some("d".into());
    let spec = deployment.spec.get_or_insert_default();
    spec.selector.get_or_insert_default().match_labels.insert("app".into(), "d".into());
    let template = spec.template.get_or_insert_default();
    template.metadata.get_or_insert_default().labels.insert("app".into(), "d".into());
    let pod = template.spec.get_or_insert_default();
    pod.containers.push(k8s_pb::api::core::v1::Container { name: Some("c".into()), image: Some("i".into()), ..Default::default() });
    let mut volume = k8s_pb::api::core::v1::Volume { name: Some("v".into()), ..Default::default() };
    volume.volume_source.get_or_insert_default().downward_api = Some(Default::default());
    pod.volumes.push(volume);
    let made = client.send("POST", DEPLOYMENTS, PROTOBUF, sealed("apps/v1", "Deployment", &deployment)).await;
    let made: Deployment = expect(&made, 201, ("apps/v1", "Deployment"));
    let volumes = made.spec.and_then(|spec| spec.template).and_then(|template| template.spec).expect("a pod").volumes;
    assert!(volumes[0].volume_source.as_ref().expect("a source").downward_api.is_some());
}

#[tokio::test]
async fn failures_and_deletions_are_statuses() {
    let server = TestServer::start().await;
    let client = server.admin.with_header("accept", PROTOBUF);
    let status: Status = expect(&client.get(&format!("{PODS}/none")).await, 404, ("v1", "Status"));
    assert_eq!((status.status(), status.reason(), status.code()), ("Failure", "NotFound", 404));
    assert_eq!(status.details.expect("details").name(), "none");
    let invalid: Status = expect(&client.post(PODS, json!({ "metadata": { "name": "A" } })).await, 422, ("v1", "Status"));
    assert!(invalid.details.expect("details").causes.iter().any(|cause| cause.field() == "metadata.name"));
    server.admin.post(CONFIG_MAPS, config_map("m")).await.expect(201);
    let gone: Status = expect(&client.delete(&format!("{CONFIG_MAPS}/m")).await, 200, ("v1", "Status"));
    assert_eq!((gone.status(), gone.details.as_ref().expect("details").kind()), ("Success", "configmaps"));
    // Before a kind is known as well.
    let stranger = server.stranger().with_header("accept", PROTOBUF).get("/api/v1/nodes").await;
    let refused: Status = expect(&stranger, stranger.status.as_u16(), ("v1", "Status"));
    assert_eq!(refused.code(), i32::from(stranger.status.as_u16()));
}

#[tokio::test]
async fn watches_are_frames_with_their_length() {
    let server = TestServer::start().await;
    let client = server.admin.with_header("accept", "application/vnd.kubernetes.protobuf;stream=watch");
    server.admin.post(CONFIG_MAPS, config_map("a")).await.expect(201);
    let mut watch = client
        .watch(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"))
        .await;
    let mut next = async || {
        let event = WatchEvent::decode(&watch.next_frame().await.expect("a frame")[..]).expect("an event");
        let (kind, map) = open::<ConfigMap>(event.object.as_ref().expect("an object").raw());
        assert_eq!((&kind.0[..], &kind.1[..]), ("v1", "ConfigMap"));
        (event.r#type().to_owned(), map.metadata.expect("metadata"))
    };
    let (event, meta) = next().await;
    assert_eq!((&event[..], meta.name()), ("ADDED", "a"));
    let (event, meta) = next().await;
    assert_eq!((&event[..], &meta.annotations["k8s.io/initial-events-end"][..]), ("BOOKMARK", "true"));
    server.admin.post(CONFIG_MAPS, config_map("b")).await.expect(201);
    server.admin.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!((next().await.1.name(), &next().await.0[..]), ("b", "DELETED"));
    // What ends the stream is an event too: a new process knows nothing of what came before it.
    let directory = server.stop().await;
    let store = crate::harness::open(directory.path()).await;
    let server = TestServer::start_on(directory, store, |_| {}).await;
    let client = server.admin.with_header("accept", PROTOBUF);
    let mut old = client.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion=1")).await;
    let event = WatchEvent::decode(&old.next_frame().await.expect("a frame")[..]).expect("an event");
    let (kind, status) = open::<Status>(event.object.as_ref().expect("an object").raw());
    assert_eq!((event.r#type(), &kind.1[..], status.code()), ("ERROR", "Status", 410));
    assert_eq!(old.next_frame().await, None);
}

#[tokio::test]
async fn metadata_alone_has_the_form_whatever_the_kind() {
    let server = TestServer::start().await;
    server.admin.post(CONFIG_MAPS, config_map("m")).await.expect(201);
    let asking = |what: &str, version: &str| server.admin.with_header("accept", &format!("{PROTOBUF};as={what};g=meta.k8s.io;v={version}"));
    let one = asking("PartialObjectMetadata", "v1").get(&format!("{CONFIG_MAPS}/m")).await;
    let one: PartialObjectMetadata = expect(&one, 200, ("meta.k8s.io/v1", "PartialObjectMetadata"));
    assert_eq!(one.metadata.expect("metadata").labels["app"], "m");
    let list = asking("PartialObjectMetadataList", "v1").get(CONFIG_MAPS).await;
    let list: PartialObjectMetadataList = expect(&list, 200, ("meta.k8s.io/v1", "PartialObjectMetadataList"));
    assert!(list.items.iter().any(|item| item.metadata.as_ref().expect("metadata").name() == "m"));
    // In the older version the fields have each other's numbers.
    let list = asking("PartialObjectMetadataList", "v1beta1").get(CONFIG_MAPS).await;
    let list: v1beta1::PartialObjectMetadataList = expect(&list, 200, ("meta.k8s.io/v1beta1", "PartialObjectMetadataList"));
    assert!(!list.items.is_empty() && !list.metadata.expect("metadata").resource_version().is_empty());
    let json = server.admin.with_header("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1beta1");
    assert_eq!(json.get(&format!("{CONFIG_MAPS}/m")).await.expect(200)["apiVersion"], "meta.k8s.io/v1beta1");
}

#[tokio::test]
async fn what_has_no_such_form_is_json_or_refused() {
    let server = TestServer::start().await;
    let policies = "/apis/policy.networking.k8s.io/v1alpha1/clusternetworkpolicies";
    let path = ["v1alpha1", "v1alpha2"].map(|version| policies.replace("v1alpha1", version));
    let mut found = None;
    for path in path {
        if server.admin.get(&path).await.status == 200 {
            found = Some(path);
        }
    }
    let path = found.expect("the kind is served");
    let answer = asking(&server).get(&path).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    let refused = server.admin.with_header("accept", PROTOBUF).get(&path).await;
    let status: Status = expect(&refused, 406, ("v1", "Status"));
    assert_eq!(status.message(), "only the following media types are accepted: application/json, application/yaml");
    let policy = json!({ "metadata": { "name": "p" } }).to_string();
    assert_eq!(server.admin.send("POST", &path, PROTOBUF, policy).await.refused(415, "UnsupportedMediaType").matches("yaml").count(), 1);
    let tables = server.admin.with_header("accept", &format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1"));
    assert_eq!(tables.get(PODS).await.status.as_u16(), 406);
    let namespace: Namespace = expect(&asking(&server).get("/api/v1/namespaces/default").await, 200, ("v1", "Namespace"));
    assert_eq!(namespace.status.expect("a status").phase(), "Active");
    let list: ConfigMapList = expect(&asking(&server).get("/api/v1/namespaces/none/configmaps").await, 200, ("v1", "ConfigMapList"));
    assert!(list.items.is_empty());
}
