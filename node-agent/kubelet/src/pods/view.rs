//! What containerd runs for one pod, as plain values. Filled in by `observe`; pure here.

use std::cmp::Reverse;
use std::net::IpAddr;

/// A pod's sandboxes and containers, each newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodView {
    /// All sandboxes that exist, newest first.
    pub sandboxes: Vec<SandboxView>,
    /// All containers that exist, newest first.
    pub containers: Vec<ContainerView>,
}

/// One sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SandboxView {
    /// containerd's id.
    pub id: String,
    /// How many sandboxes the pod had before.
    pub attempt: u32,
    /// True while it runs.
    pub ready: bool,
    /// Addresses from the CNI plugin, the primary one first; empty with the host's network.
    pub ips: Vec<IpAddr>,
}

/// State of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    #[default]
    Created,
    /// Runs.
    Running,
    /// Ended.
    Exited,
    /// containerd cannot tell.
    Unknown,
}

/// One run of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerView {
    /// containerd's id.
    pub id: String,
    /// The sandbox it is in.
    pub sandbox_id: String,
    /// The declared container's name.
    pub name: String,
    /// How often the declared container was started before: its restart count.
    pub attempt: u32,
    /// State now.
    pub state: ContainerState,
    /// Seconds for which a restart waits after its end, when back-off was in force at its start.
    pub restart_delay: Option<u64>,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// Nanoseconds since the epoch; 0 when it never started.
    pub started_at: i64,
    /// Nanoseconds since the epoch; 0 while it runs.
    pub finished_at: i64,
    /// Valid when exited.
    pub exit_code: i32,
    /// containerd's reason for the end, as in `OOMKilled`.
    pub reason: String,
    /// The termination message, or containerd's message.
    pub message: String,
    /// The image as the user named it.
    pub image: String,
    /// The image's digest reference.
    pub image_id: String,
    /// Digest of the specification it was made from.
    pub hash: String,
    /// The log file's absolute path on the node.
    pub log_path: String,
    /// The end of the log stands in for a missing termination message.
    pub log_fallback: bool,
}

impl PodView {
    /// The newest run of the declared container `name`.
    pub fn latest(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The newest run of `name` in one sandbox.
    pub fn latest_in(&self, name: &str, sandbox: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name && c.sandbox_id == sandbox)
    }

    /// The run before the newest one.
    pub fn previous(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().filter(|c| c.name == name).nth(1)
    }

    /// The newest sandbox, if it runs.
    pub fn ready_sandbox(&self) -> Option<&SandboxView> {
        self.sandboxes.first().filter(|s| s.ready)
    }

    /// Containers that run now.
    pub fn running(&self) -> impl Iterator<Item = &ContainerView> {
        self.containers.iter().filter(|c| c.state == ContainerState::Running)
    }

    /// Puts the newest first; ties are broken by attempt.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by_key(|s| Reverse(s.attempt));
        self.containers.sort_by_key(|c| Reverse((c.created_at, c.attempt)));
    }
}
