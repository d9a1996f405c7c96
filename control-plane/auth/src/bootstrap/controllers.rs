//! Roles of single controllers, each bound to the service account of the controller's name in `kube-system`: those of Kubernetes 1.33 with its default
//! features (`bootstrappolicy/controller_policy.go`), also of controllers that run elsewhere, and what Orknet's controllers do beyond them. Facts, no I/O.

use super::{READ, binding_to, rule};
use serde_json::{Value, json};

const APPS: &[&str] = &["extensions", "apps"];
const SEE: &[&str] = &["list", "watch"];
const UPDATE: &[&str] = &["update"];
const PATCH: &[&str] = &["patch"];
const CHANGE: &[&str] = &["patch", "update"];
const STORAGE: &[&str] = &["storage.k8s.io"];
const CERTIFICATES: &[&str] = &["certificates.k8s.io"];
const CORE: &[&str] = &[""];
const BATCH: &[&str] = &["batch"];

/// Name and rules of the ClusterRoles.
pub fn roles() -> Vec<(String, Vec<Value>)> {
    let upstream = workloads().into_iter().chain(network()).chain(nodes()).chain(storage()).chain(cluster());
    upstream.chain(own()).map(|(account, rules)| (format!("system:controller:{account}"), rules)).collect()
}

/// The ClusterRoleBindings of these roles.
pub fn bindings() -> Vec<Value> {
    let account = |name: &str| json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"});
    let bound = |(name, _): (String, Vec<Value>)| {
        let suffix = name.strip_prefix("system:controller:").unwrap_or(&name);
        // What Kubernetes' account may beyond Kubernetes' role; the account of an own controller has the role's whole name.
        let of = suffix.strip_prefix("orknet-").filter(|of| !OWN.contains(of)).unwrap_or(suffix);
        binding_to(&name, &name, vec![account(of)])
    };
    roles().into_iter().map(bound).collect()
}

type Roles = Vec<(&'static str, Vec<Value>)>;

fn events() -> Value {
    rule(&["", "events.k8s.io"], &["events"], &["create", "patch", "update"])
}

fn workloads() -> Roles {
    let pods = || rule(CORE, &["pods"], &["create", "delete", "list", "patch", "watch"]);
    let revisions = || rule(&["apps"], &["controllerrevisions"], &["create", "delete", "get", "list", "patch", "update", "watch"]);
    let scales = |verbs: &[&str]| rule(&["*"], &["*/scale"], verbs);
    vec![
        (
            "cronjob-controller",
            vec![
                rule(BATCH, &["cronjobs"], &["get", "list", "update", "watch"]),
                rule(BATCH, &["jobs"], &["create", "delete", "get", "list", "patch", "update", "watch"]),
                rule(BATCH, &["cronjobs/status"], UPDATE),
                rule(BATCH, &["cronjobs/finalizers"], UPDATE),
                rule(CORE, &["pods"], &["delete", "list", "watch"]),
                events(),
            ],
        ),
        (
            "daemon-set-controller",
            vec![
                rule(APPS, &["daemonsets"], READ),
                rule(APPS, &["daemonsets/status"], UPDATE),
                rule(APPS, &["daemonsets/finalizers"], UPDATE),
                rule(CORE, &["nodes"], SEE),
                pods(),
                rule(CORE, &["pods/binding"], &["create"]),
                revisions(),
                events(),
            ],
        ),
        (
            "deployment-controller",
            vec![
                rule(APPS, &["deployments"], &["get", "list", "update", "watch"]),
                rule(APPS, &["deployments/status"], UPDATE),
                rule(APPS, &["deployments/finalizers"], UPDATE),
                rule(APPS, &["replicasets"], &["create", "delete", "get", "list", "patch", "update", "watch"]),
                rule(CORE, &["pods"], &["get", "list", "update", "watch"]),
                events(),
            ],
        ),
        (
            "disruption-controller",
            vec![
                rule(APPS, &["deployments"], READ),
                rule(APPS, &["replicasets"], READ),
                rule(CORE, &["replicationcontrollers"], READ),
                rule(&["policy"], &["poddisruptionbudgets"], READ),
                rule(&["apps"], &["statefulsets"], READ),
                rule(&["policy"], &["poddisruptionbudgets/status"], UPDATE),
                rule(CORE, &["pods/status"], CHANGE),
                scales(&["get"]),
                events(),
            ],
        ),
        (
            "horizontal-pod-autoscaler",
            vec![
                rule(&["autoscaling"], &["horizontalpodautoscalers"], READ),
                rule(&["autoscaling"], &["horizontalpodautoscalers/status"], UPDATE),
                scales(&["get", "update"]),
                rule(CORE, &["pods"], SEE),
                rule(&["metrics.k8s.io"], &["pods"], SEE),
                rule(&["custom.metrics.k8s.io"], &["*"], READ),
                rule(&["external.metrics.k8s.io"], &["*"], READ),
                events(),
            ],
        ),
        (
            "job-controller",
            vec![
                rule(BATCH, &["jobs"], &["get", "list", "patch", "update", "watch"]),
                rule(BATCH, &["jobs/status"], UPDATE),
                rule(BATCH, &["jobs/finalizers"], UPDATE),
                pods(),
                events(),
            ],
        ),
        (
            "replicaset-controller",
            vec![
                rule(APPS, &["replicasets"], &["get", "list", "update", "watch"]),
                rule(APPS, &["replicasets/status"], UPDATE),
                rule(APPS, &["replicasets/finalizers"], UPDATE),
                pods(),
                events(),
            ],
        ),
        (
            "replication-controller",
            vec![
                rule(CORE, &["replicationcontrollers"], &["get", "list", "update", "watch"]),
                rule(CORE, &["replicationcontrollers/status"], UPDATE),
                rule(CORE, &["replicationcontrollers/finalizers"], UPDATE),
                pods(),
                events(),
            ],
        ),
        (
            "statefulset-controller",
            vec![
                rule(CORE, &["pods"], SEE),
                rule(&["apps"], &["statefulsets"], READ),
                rule(&["apps"], &["statefulsets/status"], UPDATE),
                rule(&["apps"], &["statefulsets/finalizers"], UPDATE),
                rule(CORE, &["pods"], &["create", "delete", "get", "patch", "update"]),
                revisions(),
                rule(CORE, &["persistentvolumeclaims"], &["create", "get", "list", "watch"]),
                rule(CORE, &["persistentvolumeclaims"], &["delete", "update"]),
                events(),
            ],
        ),
        ("ttl-after-finished-controller", vec![rule(BATCH, &["jobs"], &["delete", "get", "list", "watch"]), events()]),
    ]
}

fn network() -> Roles {
    let slices = || rule(&["discovery.k8s.io"], &["endpointslices"], &["create", "delete", "get", "list", "update", "watch"]);
    vec![
        (
            "endpoint-controller",
            vec![
                rule(CORE, &["pods", "services"], READ),
                rule(CORE, &["endpoints"], &["create", "delete", "get", "list", "update", "watch"]),
                rule(CORE, &["endpoints/restricted"], &["create"]),
                events(),
            ],
        ),
        (
            "endpointslice-controller",
            vec![rule(CORE, &["nodes", "pods", "services"], READ), rule(CORE, &["services/finalizers"], UPDATE), slices(), events()],
        ),
        (
            "endpointslicemirroring-controller",
            vec![
                rule(CORE, &["endpoints", "services"], READ),
                rule(CORE, &["services/finalizers"], UPDATE),
                rule(CORE, &["endpoints/finalizers"], UPDATE),
                slices(),
                events(),
            ],
        ),
        ("route-controller", vec![rule(CORE, &["nodes"], SEE), rule(CORE, &["nodes/status"], PATCH), events()]),
        (
            "service-cidrs-controller",
            vec![
                rule(&["networking.k8s.io"], &["servicecidrs"], &["get", "list", "patch", "update", "watch"]),
                rule(&["networking.k8s.io"], &["servicecidrs/finalizers"], CHANGE),
                rule(&["networking.k8s.io"], &["servicecidrs/status"], CHANGE),
                rule(&["networking.k8s.io"], &["ipaddresses"], READ),
                events(),
            ],
        ),
        (
            "service-controller",
            vec![rule(CORE, &["services"], READ), rule(CORE, &["services/status"], CHANGE), rule(CORE, &["nodes"], SEE), events()],
        ),
    ]
}

fn nodes() -> Roles {
    vec![
        (
            "node-controller",
            vec![
                rule(CORE, &["nodes"], &["delete", "get", "list", "patch", "update", "watch"]),
                rule(CORE, &["nodes/status"], CHANGE),
                rule(CORE, &["pods/status"], CHANGE),
                rule(CORE, &["pods"], &["delete", "get", "list", "watch"]),
                events(),
            ],
        ),
        (
            "pod-garbage-collector",
            vec![rule(CORE, &["pods"], &["delete", "list", "watch"]), rule(CORE, &["nodes"], READ), rule(CORE, &["pods/status"], PATCH)],
        ),
        ("ttl-controller", vec![rule(CORE, &["nodes"], &["list", "patch", "update", "watch"]), events()]),
    ]
}

fn storage() -> Roles {
    vec![
        (
            "attachdetach-controller",
            vec![
                rule(CORE, &["persistentvolumeclaims", "persistentvolumes"], SEE),
                rule(CORE, &["nodes"], READ),
                rule(CORE, &["nodes/status"], CHANGE),
                rule(CORE, &["pods"], SEE),
                events(),
                rule(STORAGE, &["volumeattachments"], &["create", "delete", "get", "list", "watch"]),
                rule(STORAGE, &["csidrivers"], READ),
                rule(STORAGE, &["csinodes"], READ),
            ],
        ),
        (
            "ephemeral-volume-controller",
            vec![
                rule(CORE, &["pods"], READ),
                rule(CORE, &["pods/finalizers"], UPDATE),
                rule(CORE, &["persistentvolumeclaims"], &["create", "get", "list", "watch"]),
                events(),
            ],
        ),
        (
            "expand-controller",
            vec![
                rule(CORE, &["persistentvolumes"], &["get", "list", "patch", "update", "watch"]),
                rule(CORE, &["persistentvolumeclaims/status"], CHANGE),
                rule(CORE, &["persistentvolumeclaims"], READ),
                events(),
                rule(CORE, &["services"], &["get"]),
            ],
        ),
        (
            "persistent-volume-binder",
            vec![
                rule(CORE, &["persistentvolumes"], &["create", "delete", "get", "list", "update", "watch"]),
                rule(CORE, &["persistentvolumes/status"], UPDATE),
                rule(CORE, &["persistentvolumeclaims"], &["get", "list", "update", "watch"]),
                rule(CORE, &["persistentvolumeclaims/status"], UPDATE),
                rule(CORE, &["pods"], &["create", "delete", "get", "list", "watch"]),
                rule(STORAGE, &["storageclasses"], READ),
                rule(CORE, &["nodes"], SEE),
                events(),
                rule(CORE, &["events"], &["watch"]),
                rule(CORE, &["services"], &["get"]),
            ],
        ),
        ("pv-protection-controller", vec![rule(CORE, &["persistentvolumes"], &["get", "list", "update", "watch"]), events()]),
        (
            "pvc-protection-controller",
            vec![rule(CORE, &["persistentvolumeclaims"], &["get", "list", "update", "watch"]), rule(CORE, &["pods"], READ), events()],
        ),
        (
            "selinux-warning-controller",
            vec![
                events(),
                rule(CORE, &["persistentvolumes"], READ),
                rule(CORE, &["persistentvolumeclaims"], READ),
                rule(CORE, &["pods"], READ),
                rule(STORAGE, &["csidrivers"], READ),
            ],
        ),
    ]
}

fn cluster() -> Roles {
    let named = |groups: &[&str], resource: &str, names: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": [resource], "resourceNames": names, "verbs": verbs});
    let signers = [
        "kubernetes.io/legacy-unknown",
        "kubernetes.io/kube-apiserver-client",
        "kubernetes.io/kube-apiserver-client-kubelet",
        "kubernetes.io/kubelet-serving",
    ];
    vec![
        (
            "certificate-controller",
            vec![
                rule(CERTIFICATES, &["certificatesigningrequests"], &["delete", "get", "list", "watch"]),
                rule(CERTIFICATES, &["certificatesigningrequests/approval", "certificatesigningrequests/status"], UPDATE),
                named(CERTIFICATES, "signers", &["kubernetes.io/kube-apiserver-client-kubelet"], &["approve"]),
                named(CERTIFICATES, "signers", &signers, &["sign"]),
                rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
                events(),
            ],
        ),
        (
            "clusterrole-aggregation-controller",
            vec![rule(&["rbac.authorization.k8s.io"], &["clusterroles"], &["escalate", "get", "list", "patch", "update", "watch"])],
        ),
        ("generic-garbage-collector", vec![rule(&["*"], &["*"], &["delete", "get", "list", "patch", "update", "watch"]), events()]),
        (
            "legacy-service-account-token-cleaner",
            vec![
                named(CORE, "configmaps", &["kube-apiserver-legacy-service-account-token-tracking"], &["get"]),
                rule(CORE, &["secrets"], &["delete", "patch"]),
            ],
        ),
        (
            "namespace-controller",
            vec![
                rule(CORE, &["namespaces"], &["delete", "get", "list", "watch"]),
                rule(CORE, &["namespaces/finalize", "namespaces/status"], UPDATE),
                rule(&["*"], &["*"], &["delete", "deletecollection", "get", "list", "watch"]),
            ],
        ),
        ("resourcequota-controller", vec![rule(&["*"], &["*"], SEE), rule(CORE, &["resourcequotas/status"], UPDATE), events()]),
        ("root-ca-cert-publisher", vec![rule(CORE, &["configmaps"], &["create", "update"]), events()]),
        ("service-account-controller", vec![rule(CORE, &["serviceaccounts"], &["create"]), events()]),
        (
            "validatingadmissionpolicy-status-controller",
            vec![
                rule(&["admissionregistration.k8s.io"], &["validatingadmissionpolicies"], READ),
                rule(&["admissionregistration.k8s.io"], &["validatingadmissionpolicies/status"], &["get", "patch", "update"]),
                events(),
            ],
        ),
    ]
}

/// Controllers that Kubernetes has not: what keeps Services and their IPAddresses together (its API server does), and what tells how far nodes are
/// with what was asked of them.
const OWN: &[&str] = &["address-repair-controller", "programming-controller"];

/// What is patched where Kubernetes' controllers write whole objects, and what Kubernetes has no controller for. Each is added to the account whose name
/// follows `orknet-`.
fn own() -> Roles {
    let status = |groups: &[&str], plural: &str| rule(groups, &[&format!("{plural}/status")[..]], PATCH);
    vec![
        (
            "orknet-address-repair-controller",
            vec![
                rule(CORE, &["services"], READ),
                rule(&["networking.k8s.io"], &["ipaddresses"], &["create", "delete", "get", "list", "watch"]),
                rule(&["networking.k8s.io"], &["servicecidrs"], READ),
                events(),
            ],
        ),
        (
            "orknet-certificate-controller",
            vec![
                rule(CERTIFICATES, &["certificatesigningrequests/approval", "certificatesigningrequests/status"], PATCH),
                json!({"apiGroups": CERTIFICATES, "resources": ["signers"], "resourceNames": ["kubernetes.io/kubelet-serving"], "verbs": ["approve"]}),
                // With what it compares what a kubelet asks a serving certificate for.
                rule(CORE, &["nodes", "services"], &["list"]),
                rule(CORE, &["endpoints"], &["get"]),
                rule(&["networking.k8s.io"], &["servicecidrs"], &["list"]),
            ],
        ),
        ("orknet-cronjob-controller", vec![status(BATCH, "cronjobs")]),
        ("orknet-daemon-set-controller", vec![status(&["apps"], "daemonsets")]),
        ("orknet-deployment-controller", vec![rule(&["apps"], &["deployments"], PATCH), status(&["apps"], "deployments")]),
        ("orknet-disruption-controller", vec![status(&["policy"], "poddisruptionbudgets")]),
        ("orknet-horizontal-pod-autoscaler", vec![status(&["autoscaling"], "horizontalpodautoscalers")]),
        ("orknet-job-controller", vec![status(BATCH, "jobs")]),
        ("orknet-namespace-controller", vec![status(CORE, "namespaces")]),
        (
            "orknet-programming-controller",
            vec![
                rule(&["networking.orknet.io"], &["networkpolicystatuses", "servicestatuses"], &["create", "patch"]),
                status(&["policy.networking.k8s.io"], "clusternetworkpolicies"),
            ],
        ),
        ("orknet-pv-protection-controller", vec![rule(CORE, &["persistentvolumes"], PATCH)]),
        ("orknet-pvc-protection-controller", vec![rule(CORE, &["persistentvolumeclaims"], PATCH)]),
        ("orknet-replicaset-controller", vec![status(&["apps"], "replicasets")]),
        ("orknet-replication-controller", vec![status(CORE, "replicationcontrollers")]),
        ("orknet-resourcequota-controller", vec![rule(CORE, &["resourcequotas"], &["get"]), status(CORE, "resourcequotas")]),
        ("orknet-root-ca-cert-publisher", vec![rule(CORE, &["configmaps"], PATCH)]),
        ("orknet-statefulset-controller", vec![status(&["apps"], "statefulsets")]),
    ]
}
