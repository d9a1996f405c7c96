//! An `up` that is killed with SIGKILL at a certain moment.

use anyhow::{Result, bail};
use orknet_tests::{Cluster, traces};
use std::time::{Duration, Instant};

/// Between two looks: stages last longer, and an `up` has to share the processors with them.
const PAUSE: Duration = Duration::from_millis(2);

/// Moments of an `up`, each known by what it has just made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What was asked for is written down; namespaces are being made.
    Record,
    /// The server has become the server.
    Server,
    /// The node's containerd has become containerd.
    Containerd,
    /// An image is being imported.
    Import,
    Kubelet,
    /// The example's first sandbox is being made.
    FirstPod,
}

/// What such an `up` left.
pub struct KilledUp {
    pub cluster: Cluster,
}

impl KilledUp {
    /// Starts an `up` with one node and kills it at that moment.
    pub fn at(tag: &str, stage: Stage) -> Result<Self> {
        let cluster = Cluster::named(tag);
        let mut up = cluster.start_up(&["--nodes", "1"])?;
        let end = Instant::now() + Duration::from_secs(60);
        while !has_come(&cluster, stage) {
            if let Some(status) = up.try_wait()? {
                bail!("`up` ended ({status}) before {stage:?} was seen\n{}", cluster.logs());
            }
            if Instant::now() > end {
                up.kill()?;
                bail!("{stage:?} did not come\n{}", cluster.logs());
            }
            std::thread::sleep(PAUSE);
        }
        up.kill()?;
        up.wait()?;
        Ok(Self { cluster })
    }
}

fn has_come(cluster: &Cluster, stage: Stage) -> bool {
    let identity = |place: &str, daemon: &str| cluster.run_dir().join(place).join(daemon).with_extension("pid").exists();
    match stage {
        Stage::Record => cluster.state_dir().join("cluster.json").exists(),
        Stage::Server => identity("server", "server"),
        Stage::Containerd => identity("node1", "containerd"),
        Stage::Import => traces::process_with(&["images", "import", cluster.name()]),
        Stage::Kubelet => identity("node1", "kubelet"),
        Stage::FirstPod => traces::process_with(&["containerd-shim", cluster.name()]),
    }
}
