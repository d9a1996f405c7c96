//! The parts of the Node object. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use super::machine::{Machine, architecture};
use crate::config::Config;
use crate::cri::proto::{Image, RuntimeCondition};

/// How many images a Node lists.
const IMAGES_MAX: usize = 50;

/// What was observed of the node just now.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The runtime's name and version, as in `containerd://1.6.20`; none while it does not answer.
    pub runtime: Option<String>,
    /// Why it does not answer.
    pub runtime_error: Option<String>,
    /// The runtime's conditions.
    pub runtime_conditions: Vec<RuntimeCondition>,
    /// Images on the node.
    pub images: Vec<Image>,
    /// Less memory is left than pods need to breathe.
    pub memory_pressure: bool,
    /// Less disk is left than pods need to breathe.
    pub disk_pressure: bool,
    /// Process ids are nearly used up.
    pub pid_pressure: bool,
}

/// The Node as it is registered.
pub fn node(config: &Config) -> Node {
    let mut labels = config.labels.clone();
    for (key, value) in fixed_labels(config) {
        labels.insert(key, value);
    }
    Node {
        metadata: ObjectMeta { name: Some(config.node_name.clone()), labels: Some(labels), ..ObjectMeta::default() },
        spec: Some(NodeSpec { taints: Some(config.taints.clone()).filter(|t| !t.is_empty()), ..NodeSpec::default() }),
        status: None,
    }
}

/// Labels that every kubelet sets on its node.
pub fn fixed_labels(config: &Config) -> BTreeMap<String, String> {
    let pairs = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ];
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The status, on top of what others have written into the old one.
pub fn status(config: &Config, machine: &Machine, observed: &Observed, before: &NodeStatus, now: Timestamp) -> NodeStatus {
    // Resources that others advertise on the node (extended resources) are kept.
    let mut amounts = before.capacity.clone().unwrap_or_default();
    amounts.extend(capacity(config, machine));
    let mut info = machine.info.clone();
    let old_runtime = before.node_info.as_ref().map(|i| i.container_runtime_version.clone());
    info.container_runtime_version = observed.runtime.clone().or(old_runtime).unwrap_or_default();
    NodeStatus {
        addresses: Some(addresses(config)),
        allocatable: Some(amounts.clone()),
        capacity: Some(amounts),
        conditions: Some(conditions(observed, before.conditions.as_deref().unwrap_or_default(), now)),
        daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.listen.port()) }) }),
        images: Some(images(&observed.images)).filter(|i| !i.is_empty()).or_else(|| before.images.clone()),
        node_info: Some(info),
        ..before.clone()
    }
}

/// True when two statuses say the same, apart from heartbeat times.
pub fn same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        status.conditions.iter_mut().flatten().for_each(|c| c.last_heartbeat_time = None);
        status
    };
    still(a) == still(b)
}

/// What the node itself has: CPU, memory, storage, pods.
pub fn capacity(config: &Config, machine: &Machine) -> BTreeMap<String, Quantity> {
    let cpu = if machine.cpu_milli % 1000 == 0 { (machine.cpu_milli / 1000).to_string() } else { format!("{}m", machine.cpu_milli) };
    BTreeMap::from([
        ("cpu".to_owned(), Quantity(cpu)),
        ("memory".to_owned(), Quantity(format!("{}Ki", machine.memory_bytes / 1024))),
        ("ephemeral-storage".to_owned(), Quantity(format!("{}Ki", machine.storage_bytes / 1024))),
        ("pods".to_owned(), Quantity(config.max_pods.to_string())),
    ])
}

fn addresses(config: &Config) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    let ips = config.addresses.iter().map(|ip| address("InternalIP", ip.to_string()));
    ips.chain([address("Hostname", config.node_name.clone())]).collect()
}

fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let listed = sorted.into_iter().take(IMAGES_MAX).map(|image| {
        let names: Vec<String> = image.repo_digests.iter().chain(&image.repo_tags).take(5).cloned().collect();
        ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size).ok() }
    });
    listed.filter(|i| i.names.as_ref().is_some_and(|n| !n.is_empty())).collect()
}

fn conditions(observed: &Observed, before: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let pressure = |kind: &'static str, on: bool, bad: &'static str, good: &'static str, text: (&str, &str)| {
        let (reason, message) = if on { (bad, text.0) } else { (good, text.1) };
        (kind, on, reason, message.to_owned())
    };
    let ready = match not_ready(observed) {
        None => ("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(message) => ("Ready", false, "KubeletNotReady", message),
    };
    let memory = ("kubelet has insufficient memory available", "kubelet has sufficient memory available");
    let disk = ("kubelet has disk pressure", "kubelet has no disk pressure");
    let pids = ("kubelet has insufficient PID available", "kubelet has sufficient PID available");
    let said = [
        pressure("MemoryPressure", observed.memory_pressure, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory", memory),
        pressure("DiskPressure", observed.disk_pressure, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure", disk),
        pressure("PIDPressure", observed.pid_pressure, "KubeletHasInsufficientPID", "KubeletHasSufficientPID", pids),
        ready,
    ];
    let now = Timestamp::from_second(now.as_second()).ok().map(Time);
    let mut made: Vec<NodeCondition> = said
        .into_iter()
        .map(|(kind, on, reason, message)| {
            let status = if on { "True" } else { "False" };
            let since = before.iter().find(|b| b.type_ == kind && b.status == status).and_then(|b| b.last_transition_time.clone());
            NodeCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_heartbeat_time: now.clone(),
                last_transition_time: since.or_else(|| now.clone()),
            }
        })
        .collect();
    let others: Vec<NodeCondition> = before.iter().filter(|b| made.iter().all(|m| m.type_ != b.type_)).cloned().collect();
    made.splice(0..0, others);
    made
}

/// Why the node cannot run pods, if it cannot.
fn not_ready(observed: &Observed) -> Option<String> {
    if let Some(error) = &observed.runtime_error {
        return Some(format!("container runtime is down: {error}"));
    }
    let failed = |kind: &str| observed.runtime_conditions.iter().find(|c| c.r#type == kind && !c.status);
    if let Some(condition) = failed("RuntimeReady") {
        return Some(format!("container runtime not ready: RuntimeReady=false reason:{} message:{}", condition.reason, condition.message));
    }
    let condition = failed("NetworkReady")?;
    Some(format!("container runtime network not ready: NetworkReady=false reason:{} message:{}", condition.reason, condition.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(observed: &Observed, before: &NodeStatus, at: i64) -> NodeStatus {
        let config = Config { addresses: vec!["192.0.2.1".parse().unwrap(), "fd00::1".parse().unwrap()], ..Config::default() };
        let machine = Machine { cpu_milli: 2000, memory_bytes: 1 << 30, storage_bytes: 1 << 40, info: Default::default() };
        status(&config, &machine, observed, before, Timestamp::from_second(at).unwrap())
    }

    fn ready(status: &NodeStatus) -> (String, String, i64) {
        let condition = status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == "Ready").unwrap();
        let since = condition.last_transition_time.as_ref().unwrap().0.as_second();
        (condition.status.clone(), condition.message.clone().unwrap(), since)
    }

    #[test]
    fn readiness_follows_the_runtime_and_its_network() {
        let good = Observed { runtime: Some("containerd://1".into()), ..Observed::default() };
        let first = make(&good, &NodeStatus::default(), 10);
        assert_eq!(ready(&first), ("True".into(), "kubelet is posting ready status".into(), 10));
        let again = make(&good, &first, 20);
        assert_eq!(ready(&again).2, 10, "the time of the transition stays");
        assert!(same(&first, &again));
        let down = make(&Observed { runtime_error: Some("gone".into()), ..Observed::default() }, &again, 30);
        assert_eq!(ready(&down), ("False".into(), "container runtime is down: gone".into(), 30));
        assert_eq!(down.node_info.as_ref().unwrap().container_runtime_version, "containerd://1");
        assert!(!same(&again, &down));
        let network = RuntimeCondition { r#type: "NetworkReady".into(), status: false, reason: "R".into(), message: "m".into() };
        let without = make(&Observed { runtime_conditions: vec![network], ..good }, &down, 40);
        assert_eq!(ready(&without).1, "container runtime network not ready: NetworkReady=false reason:R message:m");
    }

    #[test]
    fn addresses_amounts_and_conditions_of_others_are_there() {
        let before: NodeStatus = serde_json::from_str(
            r#"{"conditions": [{"type": "NetworkUnavailable", "status": "False"}], "phase": "x", "capacity": {"cpu": "9", "a.b/c": "4"}}"#,
        )
        .unwrap();
        let made = make(&Observed::default(), &before, 1);
        let addresses: Vec<_> = made.addresses.unwrap().into_iter().map(|a| (a.type_, a.address)).collect();
        let want = [("InternalIP", "192.0.2.1"), ("InternalIP", "fd00::1"), ("Hostname", "node")];
        assert_eq!(addresses, want.map(|(t, a)| (t.to_owned(), a.to_owned())));
        assert_eq!(made.capacity.as_ref().unwrap()["cpu"].0, "2");
        assert_eq!(made.capacity.as_ref().unwrap()["memory"].0, "1048576Ki");
        assert_eq!(made.allocatable.as_ref().unwrap()["a.b/c"].0, "4");
        assert_eq!(made.conditions.unwrap().len(), 5);
        assert_eq!(made.phase.as_deref(), Some("x"));
    }
}
