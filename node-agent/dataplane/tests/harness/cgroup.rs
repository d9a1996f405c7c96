//! Cgroups that single threads can be in: the test process moves below one group of its own, and each node is a threaded
//! group in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

/// A group for the threads of one node.
pub struct Cgroup {
    path: PathBuf,
}

/// The group of the test process, and where the process was before.
struct Home {
    before: PathBuf,
    path: PathBuf,
    users: usize,
}

static HOME: Mutex<Option<Home>> = Mutex::new(None);

impl Cgroup {
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut home = HOME.lock().unwrap_or_else(|error| error.into_inner());
        let home = home.get_or_insert_with(Home::enter);
        home.users += 1;
        let path = home.path.join(format!("{}-{name}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("cgroup.type"), "threaded").unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the calling thread into the group.
    pub fn enter(&self) {
        fs::write(self.path.join("cgroup.threads"), "0").unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        remove(&self.path);
        let mut home = HOME.lock().unwrap_or_else(|error| error.into_inner());
        if let Some(inner) = home.as_mut() {
            inner.users -= 1;
            if inner.users == 0 {
                inner.leave();
                *home = None;
            }
        }
    }
}

impl Home {
    fn enter() -> Self {
        let mount = cgroup2_mount();
        let before = fs::read_to_string("/proc/self/cgroup").unwrap();
        let before = before.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
        let path = mount.join(format!("orktest-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        move_in(&path);
        Self { before: mount.join(before), path, users: 0 }
    }

    fn leave(&self) {
        move_in(&self.before);
        remove(&self.path);
    }
}

/// Moves the process. A thread that is just ending may still hold it back: asked again for a moment.
fn move_in(group: &Path) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while let Err(error) = fs::write(group.join("cgroup.procs"), "0") {
        assert!(std::time::Instant::now() < end, "moving into {}: {error}", group.display());
        std::thread::yield_now();
    }
}

/// Removes a group. A thread that is just ending may hold that back, too.
fn remove(group: &Path) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while let Err(error) = fs::remove_dir(group) {
        if std::time::Instant::now() > end {
            return eprintln!("removing {}: {error}", group.display());
        }
        std::thread::yield_now();
    }
}

/// Where cgroup v2 is mounted: alone, or beside version 1.
fn cgroup2_mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let place = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup2 ").then(|| place.split(' ').nth(4)).flatten()
    });
    PathBuf::from(place.expect("cgroup2 is mounted"))
}
