//! Quotas over a real server and its store: admission charges, the controller counts, and no quota is ever exceeded.

mod cluster;

use std::time::Duration;

use cluster::Cluster;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

/// The default namespace of a cluster.
struct Namespace(Client);

impl Namespace {
    fn quotas(&self) -> Api<ResourceQuota> {
        Api::default_namespaced(self.0.clone())
    }

    fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.0.clone())
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::default_namespaced(self.0.clone())
    }

    async fn set_quota(&self, name: &str, hard: Value) {
        let quota = json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": name }, "spec": { "hard": hard } });
        self.quotas().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(quota)).await.unwrap();
    }

    async fn used(&self, quota: &str, name: &str) -> Option<String> {
        let status = self.quotas().get(quota).await.unwrap().status.unwrap_or_default();
        status.used.unwrap_or_default().get(name).map(|Quantity(amount)| amount.clone())
    }

    async fn until_used(&self, quota: &str, name: &str, amount: &str) {
        let counted = async {
            while self.used(quota, name).await.as_deref() != Some(amount) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let found = tokio::time::timeout(LONG, counted).await;
        assert!(found.is_ok(), "{name} of {quota}: {:?} instead of {amount}", self.used(quota, name).await);
    }
}

fn pod(name: &str) -> Pod {
    let spec = json!({ "containers": [{ "name": "c", "image": "i" }] });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

fn message(error: &kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_never_exceed_a_quota_while_others_delete_and_a_restart_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let namespace = Namespace(cluster.client.clone());
    namespace.set_quota("q", json!({ "count/pods": "20", "pods": "20" })).await;
    namespace.until_used("q", "pods", "0").await;
    let params = PostParams::default();
    // 64 clients, each with three pods of its own; every fifth pod goes again at once.
    let clients = (0..64).map(|client| {
        let (pods, params) = (namespace.pods(), params.clone());
        async move {
            let mut made = 0;
            for index in 0..3 {
                let name = format!("p-{client}-{index}");
                match pods.create(&params, &pod(&name)).await {
                    Ok(_) if (client + index) % 5 == 0 => drop(pods.delete(&name, &DeleteParams::default()).await.unwrap()),
                    Ok(_) => made += 1,
                    Err(error) => {
                        let (code, message) = message(&error);
                        assert_eq!(code, 403, "{message}");
                        assert!(message.contains("exceeded quota: q, requested: count/pods=1,pods=1, used: "), "{message}");
                    }
                }
                let there = pods.list(&ListParams::default()).await.unwrap().items.len();
                assert!(there <= 20, "{there} pods");
            }
            made
        }
    });
    let made: usize = join_all(clients).await.into_iter().sum();
    let there = namespace.pods().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(there.len(), made);
    namespace.until_used("q", "pods", &made.to_string()).await;
    // What went is free again, to the last of it.
    for index in made..20 {
        namespace.pods().create(&params, &pod(&format!("more-{index}"))).await.unwrap();
    }
    assert_eq!(namespace.used("q", "pods").await.as_deref(), Some("20"));
    let refused = message(&namespace.pods().create(&params, &pod("one-more")).await.unwrap_err());
    assert_eq!(refused, (403, "pods \"one-more\" is forbidden: exceeded quota: q, requested: count/pods=1,pods=1, used: count/pods=20,pods=20, limited: count/pods=20,pods=20".into()));
    drop(namespace);
    cluster.stop().await;
    // A server that begins anew knows what was charged.
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let namespace = Namespace(cluster.client.clone());
    let refused = message(&namespace.pods().create(&params, &pod("one-more")).await.unwrap_err());
    assert_eq!(refused.0, 403, "{}", refused.1);
    let victim = there[0].metadata.name.clone().unwrap();
    namespace.pods().delete(&victim, &DeleteParams::default()).await.unwrap();
    namespace.until_used("q", "pods", "19").await;
    namespace.pods().create(&params, &pod("one-more")).await.unwrap();
    drop(namespace);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_have_ended_count_as_objects_alone() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let namespace = Namespace(cluster.client.clone());
    namespace.set_quota("q", json!({ "count/pods": "2", "pods": "1" })).await;
    namespace.until_used("q", "pods", "0").await;
    let params = PostParams::default();
    namespace.pods().create(&params, &pod("a")).await.unwrap();
    assert_eq!(message(&namespace.pods().create(&params, &pod("b")).await.unwrap_err()).0, 403);
    let ended = json!({ "status": { "phase": "Succeeded" } });
    namespace.pods().patch_status("a", &PatchParams::default(), &Patch::Merge(ended)).await.unwrap();
    namespace.until_used("q", "pods", "0").await;
    assert_eq!(namespace.used("q", "count/pods").await.as_deref(), Some("1"));
    namespace.pods().create(&params, &pod("b")).await.unwrap();
    drop(namespace);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bounded_later_is_counted_from_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let namespace = Namespace(cluster.client.clone());
    let params = PostParams::default();
    let present = namespace.config_maps().list(&ListParams::default()).await.unwrap().items.len();
    for index in 0..3 {
        namespace.config_maps().create(&params, &config_map(&format!("c{index}"))).await.unwrap();
    }
    namespace.set_quota("q", json!({ "count/configmaps": "9", "count/widgets.example.com": "1" })).await;
    // The root certificate's may come at any time.
    let counted = async {
        loop {
            let there = namespace.config_maps().list(&ListParams::default()).await.unwrap().items.len();
            if namespace.used("q", "count/configmaps").await == Some(there.to_string()) && there > present {
                return there;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let there = tokio::time::timeout(LONG, counted).await.unwrap();
    assert!(there >= 3);
    // No kind has this name.
    assert_eq!(namespace.used("q", "count/widgets.example.com").await, None);
    // Less than there is: nothing goes, and nothing comes.
    namespace.set_quota("q", json!({ "count/configmaps": "1" })).await;
    let bounded = async {
        while namespace.quotas().get("q").await.unwrap().status.unwrap_or_default().hard.unwrap_or_default().len() != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, bounded).await.unwrap();
    let (code, message) = message(&namespace.config_maps().create(&params, &config_map("d")).await.unwrap_err());
    assert!(code == 403 && message.contains("exceeded quota: q, requested: count/configmaps=1, used: count/configmaps="), "{message}");
    namespace.config_maps().delete("c0", &DeleteParams::default()).await.unwrap();
    drop(namespace);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_come_are_counted_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |_| {}).await;
    let namespace = Namespace(cluster.client.clone());
    let name = "count/gadgets.example.com";
    namespace.set_quota("q", json!({ name: "1", "configmaps": "9" })).await;
    let definition = json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "gadgets.example.com" },
        "spec": { "group": "example.com", "scope": "Namespaced", "names": { "plural": "gadgets", "singular": "gadget", "kind": "Gadget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }] } });
    let definitions = Api::<DynamicObject>::all_with(
        cluster.client.clone(),
        &resource("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
    );
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    // Nobody had counted what nobody knew.
    namespace.until_used("q", name, "0").await;
    let gadgets = Api::<DynamicObject>::default_namespaced_with(cluster.client.clone(), &resource("example.com", "Gadget", "gadgets"));
    let gadget = |name: &str| -> DynamicObject {
        serde_json::from_value(json!({ "apiVersion": "example.com/v1", "kind": "Gadget", "metadata": { "name": name } })).unwrap()
    };
    let params = PostParams::default();
    gadgets.create(&params, &gadget("a")).await.unwrap();
    let refused = message(&gadgets.create(&params, &gadget("b")).await.unwrap_err());
    let expected =
        format!("gadgets.example.com \"b\" is forbidden: exceeded quota: q, requested: {name}=1, used: {name}=1, limited: {name}=1");
    assert_eq!(refused, (403, expected));
    gadgets.delete("a", &DeleteParams::default()).await.unwrap();
    namespace.until_used("q", name, "0").await;
    gadgets.create(&params, &gadget("b")).await.unwrap();
    drop((namespace, definitions, gadgets));
    cluster.stop().await;
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}
