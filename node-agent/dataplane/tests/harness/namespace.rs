//! Network namespaces with a name, so that a person can enter them.

use super::command;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};
use std::{
    fs::{self, File},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

/// Where `ip netns` looks.
const FOLDER: &str = "/run/netns";

/// A network namespace that lives as long as this value.
pub struct Namespace {
    pub name: String,
    path: PathBuf,
}

impl Namespace {
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("orktest-{}-{}-{name}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(FOLDER).join(&name);
        fs::create_dir_all(FOLDER).unwrap();
        File::create(&path).unwrap();
        let made = path.clone();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            mount(Some("/proc/thread-self/ns/net"), &made, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        })
        .join()
        .unwrap();
        Self { name, path }
    }

    /// Moves the calling thread into the namespace.
    pub fn enter(&self) {
        setns(File::open(&self.path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
    }

    /// Runs in a thread inside the namespace, and waits for it.
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

    /// Runs a command inside the namespace; it must succeed.
    pub fn command(&self, program: &str, arguments: &[&str]) -> String {
        self.run(|| command(program, arguments))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            if std::env::var_os("ORKNET_KEEP").is_some() {
                eprintln!("kept: ip netns exec {} sh; remove it with: ip netns del {}", self.name, self.name);
                return;
            }
            eprintln!("run again with ORKNET_KEEP=1 to keep the namespace {} and enter it", self.name);
        }
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}
