//! A node for tests: a network namespace, a cgroup, a pin directory, all removed when dropped.
//!
//! Threads enter the namespace and the cgroup; the test's own thread stays where it is.
#![allow(dead_code, unused_imports, reason = "each test file uses another part")]

mod cgroup;
mod namespace;
mod plan;
mod veth;

use cgroup::Cgroup;
pub use namespace::Namespace;
use orknet_dataplane::{Config, Dataplane, cleanup};
pub use plan::{ServiceSpec, pod, put_pods, put_range, put_service};
use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};
pub use veth::{TestPod, sysctl};

/// A node with its own namespace, cgroup and pins.
pub struct Node {
    pub namespace: Namespace,
    pub config: Config,
    cgroup: Cgroup,
    folder: tempfile::TempDir,
}

impl Node {
    /// A node whose names contain `name`; its loopback device is up.
    pub fn new(name: &str) -> Self {
        let namespace = Namespace::new(name);
        namespace.command("ip", &["link", "set", "lo", "up"]);
        let folder = tempfile::tempdir().unwrap();
        let config = Config { pin_dir: folder.path().join("bpf"), ..Config::default() };
        Self { namespace, config, cgroup: Cgroup::new(name), folder }
    }

    /// Loads the data plane and attaches the socket hooks to the node's cgroup.
    pub fn dataplane(&self) -> Dataplane {
        let dataplane = Dataplane::open(&self.config).unwrap();
        dataplane.attach_cgroup(self.cgroup()).unwrap();
        dataplane
    }

    pub fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    pub fn pin_dir(&self) -> PathBuf {
        self.config.pin_dir.clone()
    }

    /// Runs in a thread of the node, inside its namespace and cgroup, and waits for it.
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter();
                    act()
                })
                .join()
        })
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Moves the calling thread into the node.
    pub fn enter(&self) {
        self.namespace.enter();
        self.cgroup.enter();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let cleaned = self.namespace.run(|| cleanup(&self.config.pin_dir));
        if let Err(error) = cleaned {
            eprintln!("cleaning up {}: {error}", self.folder.path().display());
        }
    }
}

/// Asks until the answer is there; for things that the kernel does in its own time.
pub fn eventually<T: Debug>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error) if Instant::now() > deadline => panic!("{what}: {error}"),
            Err(_) => thread::yield_now(),
        }
    }
}

/// Runs a command to its end; it must succeed.
pub fn command(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
