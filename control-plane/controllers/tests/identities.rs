//! Controllers and scheduler are themselves, none of them a master: whatever they ask for, they may.

mod cluster;

use std::fmt::Debug;
use std::time::Duration;

use cluster::Cluster;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use orknet_auth::Identity;
use orknet_resources::kinds::programming::NetworkPolicyStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

async fn create<K: Clone + Debug + DeserializeOwned + Serialize>(api: &Api<K>, object: Value) -> K {
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

async fn until<K: Clone + Debug + DeserializeOwned>(api: &Api<K>, name: &str, is_so: impl Fn(Option<&K>) -> bool) {
    let reached = async {
        while !is_so(api.get_opt(name).await.unwrap().as_ref()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, reached).await.is_ok(), "{:?}", api.get_opt(name).await);
}

async fn until_listed<K: Clone + Debug + DeserializeOwned>(api: &Api<K>, labels: &str, is_so: impl Fn(&[K]) -> bool) {
    let list = async || api.list(&ListParams::default().labels(labels)).await.unwrap().items;
    let reached = async {
        while !is_so(&list().await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, reached).await.is_ok(), "{:?}", list().await);
}

fn template(app: &str) -> Value {
    json!({ "metadata": { "labels": { "app": app } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } })
}

fn workload(name: &str, more: Value) -> Value {
    let mut spec = json!({ "selector": { "matchLabels": { "app": name } }, "template": template(name) });
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    json!({ "metadata": { "name": name }, "spec": spec })
}

/// A node whose kubelet is there as far as the scheduler is concerned.
async fn join(client: &Client, name: &str) {
    let nodes = Api::<Node>::all(client.clone());
    create(&nodes, json!({ "metadata": { "name": name } })).await;
    let ready = json!({ "type": "Ready", "status": "True", "lastHeartbeatTime": k8s_openapi::jiff::Timestamp::now().to_string() });
    let status = json!({ "status": { "conditions": [ready], "allocatable": { "cpu": "8", "memory": "8Gi", "pods": "110" } } });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    // The taint of a node that was never ready goes, and it has a range.
    until(&nodes, name, |node| {
        let spec = node.and_then(|node| node.spec.clone()).unwrap_or_default();
        spec.taints.unwrap_or_default().is_empty() && spec.pod_cidr.is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_controller_asks_for_what_it_may_not_have() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), |config| {
        config.root_ca_pem = "pem".into();
        config.api_server = "https://10.0.0.1:6443".into();
        config.terminated_pod_limit = 1;
    })
    .await;
    let scheduling = orknet_scheduler::run(
        orknet_scheduler::Config::default(),
        cluster.client_of(Identity::authenticated("system:kube-scheduler", [])),
        cluster.shutdown(),
    );
    let scheduling = tokio::spawn(scheduling);
    let client = cluster.client.clone();
    until(&Api::<ConfigMap>::namespaced(client.clone(), "kube-public"), "cluster-info", |map| map.is_some()).await;
    until(&Api::<ServiceAccount>::default_namespaced(client.clone()), "default", |account| account.is_some()).await;
    join(&client, "one").await;

    // Workloads, with pods that the scheduler binds.
    let deployments = Api::<Deployment>::default_namespaced(client.clone());
    create(&deployments, workload("web", json!({ "replicas": 2 }))).await;
    until(&deployments, "web", |web| web.and_then(|web| web.status.as_ref()?.replicas) == Some(2)).await;
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let bound = |pods: &[Pod]| pods.len() == 2 && pods.iter().all(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()));
    until_listed(&pods, "app=web", bound).await;
    create(&Api::<StatefulSet>::default_namespaced(client.clone()), workload("db", json!({ "serviceName": "db", "replicas": 1 }))).await;
    until_listed(&pods, "app=db", |pods| pods.len() == 1).await;
    create(&Api::<DaemonSet>::default_namespaced(client.clone()), workload("agent", json!({}))).await;
    until_listed(&pods, "app=agent", |pods| pods.len() == 1).await;
    let controllers = Api::<ReplicationController>::default_namespaced(client.clone());
    let old =
        json!({ "metadata": { "name": "old" }, "spec": { "replicas": 1, "selector": { "app": "old" }, "template": template("old") } });
    create(&controllers, old).await;
    until_listed(&pods, "app=old", |pods| pods.len() == 1).await;
    // A Job that fails at once is deleted when its time is over, which is at once.
    let jobs = Api::<Job>::default_namespaced(client.clone());
    let mut once = template("once");
    once["spec"]["restartPolicy"] = json!("Never");
    // On no node: there is no kubelet that would let its pod end.
    once["spec"]["nodeSelector"] = json!({ "no": "where" });
    let spec = json!({ "activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0, "template": once });
    create(&jobs, json!({ "metadata": { "name": "once" }, "spec": spec })).await;
    until_listed(&pods, "app=once", |pods| !pods.is_empty()).await;
    create(
        &Api::<CronJob>::default_namespaced(client.clone()),
        json!({ "metadata": { "name": "cron" }, "spec": {
        "schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": { "spec": { "template": once } } } }),
    )
    .await;
    let budgets = Api::<PodDisruptionBudget>::default_namespaced(client.clone());
    create(
        &budgets,
        json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "web" } } } }),
    )
    .await;
    until(&budgets, "b", |budget| budget.and_then(|budget| budget.status.as_ref()?.observed_generation).is_some()).await;
    let autoscalers = Api::<HorizontalPodAutoscaler>::default_namespaced(client.clone());
    create(
        &autoscalers,
        json!({ "metadata": { "name": "h" }, "spec": { "maxReplicas": 3,
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } }),
    )
    .await;
    until(&autoscalers, "h", |h| h.and_then(|h| h.status.as_ref()?.conditions.clone()).is_some_and(|all| !all.is_empty())).await;

    // Services, their endpoints by selector and by hand, policies.
    let services = Api::<Service>::default_namespaced(client.clone());
    create(&services, json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } })).await;
    create(&services, json!({ "metadata": { "name": "hand" }, "spec": { "ports": [{ "port": 80 }] } })).await;
    let endpoints = Api::<Endpoints>::default_namespaced(client.clone());
    let subsets = json!([{ "addresses": [{ "ip": "192.0.2.1" }], "ports": [{ "port": 80 }] }]);
    create(&endpoints, json!({ "metadata": { "name": "hand" }, "subsets": subsets })).await;
    until(&endpoints, "web", |found| found.is_some()).await;
    let slices = Api::<EndpointSlice>::default_namespaced(client.clone());
    for service in ["web", "hand"] {
        until_listed(&slices, &format!("kubernetes.io/service-name={service}"), |slices| !slices.is_empty()).await;
    }
    create(
        &Api::<NetworkPolicy>::default_namespaced(client.clone()),
        json!({ "metadata": { "name": "n" }, "spec": { "podSelector": {} } }),
    )
    .await;
    until(&Api::<NetworkPolicyStatus>::default_namespaced(client.clone()), "n", |found| {
        found.and_then(|found| found.status.as_ref()?.conditions.clone()).is_some_and(|all| !all.is_empty())
    })
    .await;

    // What is counted, summed up and protected.
    let quotas = Api::<ResourceQuota>::default_namespaced(client.clone());
    create(&quotas, json!({ "metadata": { "name": "q" }, "spec": { "hard": { "count/configmaps": "50" } } })).await;
    until(&quotas, "q", |quota| quota.and_then(|quota| quota.status.as_ref()?.used.clone()).is_some()).await;
    let roles = Api::<ClusterRole>::all(client.clone());
    until(&roles, "view", |role| role.and_then(|role| role.rules.clone()).is_some_and(|rules| !rules.is_empty())).await;
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(client.clone());
    create(&claims, json!({ "metadata": { "name": "c" }, "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }))
        .await;
    claims.delete("c", &DeleteParams::default()).await.unwrap();
    until(&claims, "c", |claim| claim.is_none()).await;
    let volumes = Api::<PersistentVolume>::all(client.clone());
    create(
        &volumes,
        json!({ "metadata": { "name": "v" }, "spec": { "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "1Gi" },
        "hostPath": { "path": "/v" } } }),
    )
    .await;
    volumes.delete("v", &DeleteParams::default()).await.unwrap();
    until(&volumes, "v", |volume| volume.is_none()).await;

    // What ends: a Job, a Deployment with its sets and pods, a namespace with what is in it, the older of two pods that have ended.
    until(&jobs, "once", |job| job.is_none()).await;
    deployments.delete("web", &DeleteParams::background()).await.unwrap();
    let namespaces = Api::<Namespace>::all(client.clone());
    create(&namespaces, json!({ "metadata": { "name": "short" } })).await;
    create(&Api::<ConfigMap>::namespaced(client.clone(), "short"), json!({ "metadata": { "name": "m" } })).await;
    namespaces.delete("short", &DeleteParams::default()).await.unwrap();
    until(&namespaces, "short", |namespace| namespace.is_none()).await;
    for name in ["first", "second"] {
        let mut ended = template("ended");
        ended["metadata"]["name"] = json!(name);
        ended["spec"]["nodeSelector"] = json!({ "no": "where" });
        create(&pods, ended).await;
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": { "phase": "Succeeded" } }))).await.unwrap();
    }
    until_listed(&pods, "app=ended", |pods| pods.len() == 1).await;
    // No one holds it when it ends.
    drop((
        client,
        deployments,
        pods,
        controllers,
        jobs,
        budgets,
        autoscalers,
        services,
        endpoints,
        slices,
        quotas,
        roles,
        claims,
        volumes,
        namespaces,
    ));
    let asked = cluster.stop().await;
    scheduling.await.unwrap().unwrap();

    let did = |user: &str, what: &str| asked.iter().any(|(who, asked)| who == user && asked == what);
    for (account, what) in [
        ("deployment-controller", "create replicasets"),
        ("deployment-controller", "patch deployments/status"),
        ("replicaset-controller", "create pods"),
        ("replication-controller", "create pods"),
        ("statefulset-controller", "create controllerrevisions"),
        ("daemon-set-controller", "create pods"),
        ("job-controller", "patch jobs/status"),
        ("ttl-after-finished-controller", "delete jobs"),
        ("disruption-controller", "patch poddisruptionbudgets/status"),
        ("horizontal-pod-autoscaler", "get deployments/scale"),
        ("endpoint-controller", "create endpoints"),
        ("endpointslice-controller", "create endpointslices"),
        ("endpointslicemirroring-controller", "create endpointslices"),
        ("service-account-controller", "create serviceaccounts"),
        ("root-ca-cert-publisher", "create configmaps"),
        ("bootstrap-signer", "create configmaps"),
        ("clusterrole-aggregation-controller", "patch clusterroles"),
        ("node-controller", "patch nodes"),
        ("pod-garbage-collector", "delete pods"),
        ("pvc-protection-controller", "patch persistentvolumeclaims"),
        ("pv-protection-controller", "patch persistentvolumes"),
        ("generic-garbage-collector", "delete replicasets"),
        ("namespace-controller", "delete configmaps"),
        ("namespace-controller", "update namespaces/finalize"),
        ("resourcequota-controller", "patch resourcequotas/status"),
    ] {
        assert!(did(&format!("system:serviceaccount:kube-system:{account}"), what), "{account}: {what}");
    }
    // The API server makes them with their objects; whichever is seen first is made or changed.
    let programming = "system:serviceaccount:kube-system:orknet-programming-controller";
    assert!(did(programming, "patch networkpolicystatuses") || did(programming, "create networkpolicystatuses"));
    assert!(did("system:kube-scheduler", "create pods/binding"));
    assert!(did("system:kube-controller-manager", "watch pods"));
    // Together they only read.
    let writes = |(who, asked): &&(String, String)| {
        who == "system:kube-controller-manager" && !["get ", "list ", "watch "].iter().any(|verb| asked.starts_with(verb))
    };
    assert_eq!(asked.iter().filter(writes).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
}
