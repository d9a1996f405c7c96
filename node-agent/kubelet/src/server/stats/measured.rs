//! One reading of everything: containerd says which containers run, their cgroups what they use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cgroups::Usage;
use crate::cri::labels;
use crate::cri::proto::{Container, ContainerState};
use crate::error::Error;
use crate::node::machine::{self, Disk};
use crate::pods::{Context, PodKey};

/// The node at one time.
pub struct Measured {
    pub node_name: String,
    pub node: Option<Reading>,
    /// When the machine was started, nanoseconds since 1970.
    pub started: u64,
    pub disk: Option<Disk>,
    /// Pods with at least one container that runs.
    pub pods: Vec<PodReading>,
}

/// What one cgroup used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Nanoseconds since 1970.
    pub at: u64,
    pub usage: Usage,
    /// Billionths of a CPU since the reading before.
    pub nano_cores: Option<u64>,
}

pub struct PodReading {
    pub key: PodKey,
    pub reading: Option<Reading>,
    pub containers: Vec<ContainerReading>,
}

pub struct ContainerReading {
    pub name: String,
    /// Nanoseconds since 1970.
    pub started: u64,
    pub reading: Option<Reading>,
}

/// Reads. Cancel-safe.
///
/// # Errors
/// The runtime does not say what runs.
pub async fn measure(context: &Arc<Context>) -> Result<Measured, Error> {
    let containers = context.cri.list_containers(Default::default()).await?;
    let context = context.clone();
    let read = tokio::task::spawn_blocking(move || read(&context, &containers));
    read.await.map_err(|error| Error::Server(format!("reading cgroups: {error}")))
}

fn read(context: &Context, containers: &[Container]) -> Measured {
    let (cgroups, rates) = (&context.cgroups, &context.rates);
    let reading = |id: &str, usage: Option<Usage>| {
        let (at, usage) = (now(), usage?);
        Some(Reading { at, usage, nano_cores: rates.rate(id, at, usage.cpu_nanoseconds) })
    };
    let mut pods: BTreeMap<PodKey, Vec<ContainerReading>> = BTreeMap::new();
    for container in containers.iter().filter(|container| container.state == ContainerState::ContainerRunning as i32) {
        let (Some(pod), Some(name)) = (labels::pod_of(&container.labels), container.labels.get(labels::CONTAINER_NAME)) else { continue };
        let usage = cgroups.container_usage(&pod.uid, &container.id);
        let reading = reading(&container.id, usage);
        // A container is started as soon as it is made.
        let started = u64::try_from(container.created_at).unwrap_or_default();
        pods.entry(pod).or_default().push(ContainerReading { name: name.clone(), started, reading });
    }
    let pods = pods.into_iter().map(|(key, containers)| {
        let reading = reading(&key.uid, cgroups.pod_usage(&key.uid));
        PodReading { key, reading, containers }
    });
    let measured = Measured {
        node_name: context.config.node_name.clone(),
        pods: pods.collect(),
        node: reading("/", cgroups.machine_usage()),
        started: machine::boot_time().map_or(0, |seconds| seconds.saturating_mul(1_000_000_000)),
        disk: machine::disk(&context.config.root_dir),
    };
    rates.forget_before(now());
    measured
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
