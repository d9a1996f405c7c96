//! Services where no socket hook sees who asks, as with sandboxes that have a network of their own: all is found out from packets.

mod changes;
mod expected;
mod matrix;
mod scene;

use anyhow::{Context, Result};
use scene::Scene;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A cgroup in which nothing runs; it goes with this value.
struct Empty(PathBuf);

impl Empty {
    fn make() -> Result<Self> {
        let hybrid = Path::new("/sys/fs/cgroup/unified");
        let unified = if hybrid.exists() { hybrid } else { Path::new("/sys/fs/cgroup") };
        let path = unified.join(format!("orknet-unseen-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn main() -> ExitCode {
    let empty = match Empty::make() {
        Ok(empty) => empty,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
    };
    // The scene is that of the whole program.
    let agent = format!("cgroup: {}\n", empty.0.display()).leak();
    scene::play(&Scene { tag: "u", agent, sees_sockets: false, ..Scene::PLAIN }, &[matrix::TESTS, changes::TESTS])
}
