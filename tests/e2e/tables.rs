//! Has every kind the columns that its users know, and a description without gaps?

use anyhow::{Context, Result, ensure};
use orknet_tests::columns::{Columns, is_age};
use orknet_tests::{Cluster, Kubectl, eventually, pods, tests};

tests![
    e2e_pods_and_workloads_have_their_columns,
    e2e_services_and_endpoints_have_their_columns,
    e2e_configuration_kinds_have_their_columns,
    e2e_cluster_kinds_have_their_columns,
    e2e_pods_tell_their_state_in_one_word,
    e2e_every_kind_can_be_described,
];

const IMAGE: &str = pods::BUSYBOX;

fn table(kubectl: &Kubectl, arguments: &[&str]) -> Result<Columns> {
    Columns::parse(&kubectl.run(&[&["get"], arguments].concat())?).with_context(|| format!("get {arguments:?}"))
}

/// The columns of a kind, and its row.
fn has(kubectl: &Kubectl, arguments: &[&str], header: &str, row: &[&str]) -> Result<()> {
    table(kubectl, arguments)?.has(header, row).with_context(|| format!("get {arguments:?}"))
}

fn e2e_pods_and_workloads_have_their_columns(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "web", &format!("--image={IMAGE}"), "--replicas=2", "--", "sleep", "3600"])?;
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=180s"])?;
    has(kubectl, &["deployments"], "NAME|READY|UP-TO-DATE|AVAILABLE|AGE", &["web", "2/2", "2", "2", "AGE"])?;
    has(
        kubectl,
        &["deployments", "-o", "wide"],
        "NAME|READY|UP-TO-DATE|AVAILABLE|AGE|CONTAINERS|IMAGES|SELECTOR",
        &["web", "2/2", "2", "2", "AGE", "busybox", IMAGE, "app=web"],
    )?;
    let set = kubectl.run(&["get", "replicasets", "-o", "jsonpath={.items[0].metadata.name}"])?;
    let hash = set.strip_prefix("web-").context("no ReplicaSet of the Deployment")?;
    has(kubectl, &["replicasets"], "NAME|DESIRED|CURRENT|READY|AGE", &[&set, "2", "2", "2", "AGE"])?;
    has(
        kubectl,
        &["replicasets", "-o", "wide"],
        "NAME|DESIRED|CURRENT|READY|AGE|CONTAINERS|IMAGES|SELECTOR",
        &[&set, "2", "2", "2", "AGE", "busybox", IMAGE, &format!("app=web,pod-template-hash={hash}")],
    )?;
    let pod = kubectl.run(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"])?;
    has(kubectl, &["pods"], "NAME|READY|STATUS|RESTARTS|AGE", &[&pod, "1/1", "Running", "0", "AGE"])?;
    let (address, node) = (
        kubectl.run(&["get", "pod", &pod, "-o", "jsonpath={.status.podIP}"])?,
        kubectl.run(&["get", "pod", &pod, "-o", "jsonpath={.spec.nodeName}"])?,
    );
    has(
        kubectl,
        &["pods", "-o", "wide"],
        "NAME|READY|STATUS|RESTARTS|AGE|IP|NODE|NOMINATED NODE|READINESS GATES",
        &[&pod, "1/1", "Running", "0", "AGE", &address, &node, "<none>", "<none>"],
    )?;
    kubectl.apply(&format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec: {{replicas: 0, serviceName: db, selector: {{matchLabels: {{app: db}}}}, template: {{metadata: {{labels: {{app: db}}}}, spec: {{containers: [{{name: c, image: "{IMAGE}"}}]}}}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: log}}
spec: {{selector: {{matchLabels: {{app: log}}}}, template: {{metadata: {{labels: {{app: log}}}}, spec: {{nodeSelector: {{none: here}}, containers: [{{name: c, image: "{IMAGE}"}}]}}}}}}
---
apiVersion: batch/v1
kind: Job
metadata: {{name: once}}
spec: {{suspend: true, completions: 3, template: {{spec: {{restartPolicy: Never, containers: [{{name: c, image: "{IMAGE}"}}]}}}}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: often}}
spec: {{suspend: true, schedule: "*/5 * * * *", jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: c, image: "{IMAGE}"}}]}}}}}}}}}}
"#
    ))?;
    has(kubectl, &["statefulsets"], "NAME|READY|AGE", &["db", "0/0", "AGE"])?;
    has(kubectl, &["statefulsets", "-o", "wide"], "NAME|READY|AGE|CONTAINERS|IMAGES", &["db", "0/0", "AGE", "c", IMAGE])?;
    has(
        kubectl,
        &["daemonsets"],
        "NAME|DESIRED|CURRENT|READY|UP-TO-DATE|AVAILABLE|NODE SELECTOR|AGE",
        &["log", "0", "0", "0", "0", "0", "none=here", "AGE"],
    )?;
    eventually("the job to be seen suspended", || {
        has(kubectl, &["jobs"], "NAME|STATUS|COMPLETIONS|DURATION|AGE", &["once", "Suspended", "0/3", "", "AGE"])
    })?;
    has(
        kubectl,
        &["cronjobs"],
        "NAME|SCHEDULE|TIMEZONE|SUSPEND|ACTIVE|LAST SCHEDULE|AGE",
        &["often", "*/5 * * * *", "<none>", "True", "0", "<none>", "AGE"],
    )
}

fn e2e_services_and_endpoints_have_their_columns(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    pods::start(kubectl, "web", serde_json::json!({"containers": [pods::shell("c", "sleep 3600")]}))?;
    kubectl.run(&["expose", "pod", "web", "--port=80", "--target-port=8080"])?;
    kubectl.run(&["create", "service", "nodeport", "np", "--tcp=80:8080", "--node-port=0"])?;
    kubectl.run(&["create", "service", "clusterip", "none", "--clusterip=None", "--tcp=80"])?;
    kubectl.run(&["create", "service", "externalname", "far", "--external-name=a.b"])?;
    kubectl.run(&["create", "service", "loadbalancer", "lb", "--tcp=80"])?;
    let field = |what: &str, path: &str| kubectl.run(&["get", what, "-o", &format!("jsonpath={{{path}}}")]);
    let (address, node_port) = (field("service/web", ".spec.clusterIP")?, field("service/np", ".spec.ports[0].nodePort")?);
    let header = "NAME|TYPE|CLUSTER-IP|EXTERNAL-IP|PORT(S)|AGE";
    has(kubectl, &["services"], header, &["web", "ClusterIP", &address, "<none>", "80/TCP", "AGE"])?;
    has(kubectl, &["services"], header, &["np", "NodePort", "*", "<none>", &format!("80:{node_port}/TCP"), "AGE"])?;
    has(kubectl, &["services"], header, &["none", "ClusterIP", "None", "<none>", "80/TCP", "AGE"])?;
    has(kubectl, &["services"], header, &["far", "ExternalName", "<none>", "a.b", "<none>", "AGE"])?;
    has(kubectl, &["services"], header, &["lb", "LoadBalancer", "*", "<pending>", "*", "AGE"])?;
    let selector = ["web", "ClusterIP", &address, "<none>", "80/TCP", "AGE", "app=web"];
    has(kubectl, &["services", "-o", "wide"], &format!("{header}|SELECTOR"), &selector)?;
    let pod = field("pod/web", ".status.podIP")?;
    eventually("the endpoints", || has(kubectl, &["endpoints"], "NAME|ENDPOINTS|AGE", &["web", &format!("{pod}:8080"), "AGE"]))?;
    has(kubectl, &["endpoints"], "NAME|ENDPOINTS|AGE", &["np", "<none>", "AGE"])?;
    let slice =
        kubectl.run(&["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "jsonpath={.items[0].metadata.name}"])?;
    has(kubectl, &["endpointslices"], "NAME|ADDRESSTYPE|PORTS|ENDPOINTS|AGE", &[&slice, "IPv4", "8080", &pod, "AGE"])?;
    kubectl.run(&["create", "ingress", "in", "--class=c", "--rule=a.b/x*=web:80,tls=cert", "--rule=c.d/=web:80"])?;
    has(kubectl, &["ingresses"], "NAME|CLASS|HOSTS|ADDRESS|PORTS|AGE", &["in", "c", "a.b,c.d", "", "80, 443", "AGE"])?;
    kubectl.apply(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: np}, spec: {podSelector: {matchLabels: {a: b}}}}",
    )?;
    has(kubectl, &["networkpolicies"], "NAME|POD-SELECTOR|AGE", &["np", "a=b", "AGE"])
}

fn e2e_configuration_kinds_have_their_columns(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "configmap", "a", "--from-literal=x=1", "--from-literal=y=2"])?;
    kubectl.run(&["create", "secret", "generic", "a", "--from-literal=x=1"])?;
    kubectl.run(&["create", "serviceaccount", "a"])?;
    kubectl.run(&["create", "role", "a", "--verb=get", "--resource=pods"])?;
    kubectl.run(&["create", "rolebinding", "a", "--role=a", "--user=u", "--group=g", "--serviceaccount=x:y"])?;
    kubectl.run(&["create", "quota", "a", "--hard=pods=5"])?;
    kubectl.run(&["create", "poddisruptionbudget", "a", "--selector=x=y", "--max-unavailable=1"])?;
    kubectl.apply("{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: a}, spec: {holderIdentity: me}}")?;
    has(kubectl, &["configmaps"], "NAME|DATA|AGE", &["a", "2", "AGE"])?;
    has(kubectl, &["secrets"], "NAME|TYPE|DATA|AGE", &["a", "Opaque", "1", "AGE"])?;
    has(kubectl, &["serviceaccounts"], "NAME|SECRETS|AGE", &["a", "0", "AGE"])?;
    has(kubectl, &["roles"], "NAME|CREATED AT", &["a", "*"])?;
    has(kubectl, &["rolebindings"], "NAME|ROLE|AGE", &["a", "Role/a", "AGE"])?;
    has(kubectl, &["rolebindings", "-o", "wide"], "NAME|ROLE|AGE|USERS|GROUPS|SERVICEACCOUNTS", &["a", "Role/a", "AGE", "u", "g", "x/y"])?;
    let quota = table(kubectl, &["resourcequotas"])?;
    ensure!(quota.header == ["NAME", "REQUEST", "LIMIT", "AGE"], "{quota:?}");
    has(kubectl, &["poddisruptionbudgets"], "NAME|MIN AVAILABLE|MAX UNAVAILABLE|ALLOWED DISRUPTIONS|AGE", &["a", "N/A", "1", "0", "AGE"])?;
    has(kubectl, &["leases"], "NAME|HOLDER|AGE", &["a", "me", "AGE"])
}

fn e2e_cluster_kinds_have_their_columns(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let nodes = table(kubectl, &["nodes", "node1", "node2"])?;
    let version = kubectl.run(&["get", "node", "node1", "-o", "jsonpath={.status.nodeInfo.kubeletVersion}"])?;
    nodes.has("NAME|STATUS|ROLES|AGE|VERSION", &["node1", "Ready", "<none>", "AGE", &version])?;
    let address = kubectl.run(&["get", "node", "node1", "-o", "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}"])?;
    let first = address.split(' ').next().unwrap_or_default();
    has(
        kubectl,
        &["nodes", "-o", "wide"],
        "NAME|STATUS|ROLES|AGE|VERSION|INTERNAL-IP|EXTERNAL-IP|OS-IMAGE|KERNEL-VERSION|CONTAINER-RUNTIME",
        &["node1", "Ready", "<none>", "AGE", &version, first, "<none>", "*", "*", "*"],
    )?;
    has(kubectl, &["namespaces"], "NAME|STATUS|AGE", &[kubectl.namespace(), "Active", "AGE"])?;
    let name = format!("{}-x", kubectl.namespace());
    kubectl.apply(&format!(
        "{{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {{name: {name}}}, spec: {{controller: a.b/c}}}}"
    ))?;
    has(kubectl, &["ingressclasses"], "NAME|CONTROLLER|PARAMETERS|AGE", &[&name, "a.b/c", "<none>", "AGE"])?;
    kubectl.run(&["delete", "ingressclass", &name])?;
    kubectl.run(&["create", "priorityclass", &name, "--value=7"])?;
    has(
        kubectl,
        &["priorityclasses"],
        "NAME|VALUE|GLOBAL-DEFAULT|AGE|PREEMPTIONPOLICY",
        &[&name, "7", "false", "AGE", "PreemptLowerPriority"],
    )?;
    kubectl.run(&["delete", "priorityclass", &name])?;
    has(kubectl, &["clusterroles"], "NAME|CREATED AT", &["cluster-admin", "*"])?;
    has(kubectl, &["clusterrolebindings"], "NAME|ROLE|AGE", &["cluster-admin", "ClusterRole/cluster-admin", "AGE"])?;
    let leases = kubectl.in_namespace("kube-node-lease");
    has(&leases, &["leases"], "NAME|HOLDER|AGE", &["node1", "node1", "AGE"])
}

fn e2e_pods_tell_their_state_in_one_word(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let (never, always) = ("Never", "Always");
    let spec = |policy: &str, containers: serde_json::Value| serde_json::json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": containers});
    pods::create(kubectl, "done", spec(never, serde_json::json!([pods::shell("c", "true")])))?;
    pods::create(kubectl, "failed", spec(never, serde_json::json!([pods::shell("c", "exit 3")])))?;
    pods::create(kubectl, "looping", spec(always, serde_json::json!([pods::shell("c", "exit 1")])))?;
    pods::create(
        kubectl,
        "half",
        spec(always, serde_json::json!([pods::shell("a", "sleep 3600"), {"name": "b", "image": "registry.orknet.local/none:1"}])),
    )?;
    let mut waits = spec(never, serde_json::json!([pods::shell("c", "true")]));
    waits["initContainers"] = serde_json::json!([pods::shell("i", "sleep 3600")]);
    pods::create(kubectl, "init", waits)?;
    let mut nowhere = spec(never, serde_json::json!([pods::shell("c", "true")]));
    nowhere["nodeSelector"] = serde_json::json!({"no": "where"});
    pods::create(kubectl, "nowhere", nowhere)?;
    let expected: [(&str, &str, &[&str]); 6] = [
        ("done", "0/1", &["Completed"]),
        ("failed", "0/1", &["Error"]),
        ("looping", "0/1", &["CrashLoopBackOff"]),
        ("half", "1/2", &["ImagePullBackOff", "ErrImagePull"]),
        ("init", "0/1", &["Init:0/1"]),
        ("nowhere", "0/1", &["Pending"]),
    ];
    eventually("every pod's state", || {
        let table = table(kubectl, &["pods"])?;
        for (name, ready, states) in expected {
            let (found, state) = (table.cell(name, "READY")?, table.cell(name, "STATUS")?);
            ensure!(found == ready && states.contains(&state), "{name}: {found} {state}");
        }
        let restarts = table.cell("looping", "RESTARTS")?;
        let (count, ago) = restarts.split_once(" (").context("no time of the last restart")?;
        ensure!(count.parse::<u32>().is_ok_and(|count| count > 0) && ago.strip_suffix(" ago)").is_some_and(is_age), "{restarts}");
        Ok(())
    })
}

fn e2e_every_kind_can_be_described(_: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["create", "deployment", "web", &format!("--image={IMAGE}"), "--", "sleep", "3600"])?;
    kubectl.run(&["expose", "deployment", "web", "--port=80"])?;
    kubectl.run(&["create", "ingress", "web", "--rule=a.b/*=web:80"])?;
    kubectl.run(&["create", "secret", "generic", "s", "--from-literal=k=v"])?;
    kubectl.run(&["create", "role", "r", "--verb=get", "--resource=pods"])?;
    kubectl.run(&["create", "rolebinding", "r", "--role=r", "--user=u"])?;
    kubectl.run(&["create", "job", "j", &format!("--image={IMAGE}"), "--", "true"])?;
    kubectl.run(&["create", "cronjob", "c", &format!("--image={IMAGE}"), "--schedule=0 0 1 1 *", "--", "true"])?;
    kubectl.apply(
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, spec: {maxReplicas: 2, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}",
    )?;
    kubectl.run(&["create", "quota", "q", "--hard=pods=5"])?;
    kubectl.run(&["create", "poddisruptionbudget", "b", "--selector=x=y", "--min-available=1"])?;
    kubectl.apply(
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: policy}, spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}}",
    )?;
    kubectl.run(&["rollout", "status", "deployment/web", "--timeout=180s"])?;
    let kinds = "pods,deployments,replicasets,services,endpoints,endpointslices,ingresses,secrets,configmaps,serviceaccounts,roles,rolebindings,jobs,cronjobs,\
         hpa,resourcequotas,poddisruptionbudgets,networkpolicies,events";
    let names = kubectl.run(&["get", kinds, "-o", "name"])?;
    ensure!(names.lines().count() >= 19, "{names}");
    let wide = ["node/node1", "clusterrole/cluster-admin", "clusterrolebinding/cluster-admin", "priorityclass/system-node-critical"];
    let namespace = format!("namespace/{}", kubectl.namespace());
    for name in names.lines().chain(wide).chain([&namespace[..]]) {
        let output = kubectl.output(&["describe", name], None)?;
        let title = output.stdout.lines().next().unwrap_or_default();
        let own = name.split_once('/').map(|(_, own)| own).unwrap_or_default();
        // Of a deprecated kind kubectl tells what the server warns of.
        let told = if name.starts_with("endpoints/") {
            "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n"
        } else {
            ""
        };
        ensure!(output.code == 0 && output.stderr == told, "{name}: {output:?}");
        ensure!(title.starts_with("Name:") && title.ends_with(own), "{name}: {title}");
        // A metric that nobody measures is unknown in truth.
        let gaps = output.stdout.lines().filter(|line| line.contains("<unknown>") && !name.starts_with("horizontalpodautoscaler"));
        ensure!(gaps.count() == 0 && !output.stdout.contains("<invalid>") && !output.stdout.contains("%!"), "{name}: {}", output.stdout);
    }
    let pod = kubectl.run(&["describe", "pods", "-l", "app=web"])?;
    for part in [
        "Status:           Running\n",
        "IP:               10.",
        "Controlled By:  ReplicaSet/web-",
        "State:          Running\n",
        "Ready:          True\n",
        "QoS Class:                   BestEffort\n",
        "Events:\n",
        "Successfully assigned ",
    ] {
        ensure!(pod.contains(part), "no {part:?} in {pod}");
    }
    let service = kubectl.run(&["describe", "service", "web"])?;
    ensure!(service.contains("Endpoints:                10."), "{service}");
    Ok(())
}
