//! Makes, sizes and removes pods' directories in every cgroup hierarchy. Blocking file operations, each short.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::values::PodCgroup;
use crate::error::Error;

/// Controllers that pods need on pure v2.
const V2_CONTROLLERS: [&str; 4] = ["cpu", "memory", "pids", "cpuset"];

/// The hierarchies of the host, and where pods go in them.
#[derive(Clone, Debug)]
pub struct Cgroups {
    root: PathBuf,
    parent: String,
    unified: bool,
}

impl Cgroups {
    /// Looks at what is mounted at `root`. `parent` is a path inside of every hierarchy.
    pub fn detect(root: &Path, parent: &str) -> Self {
        let unified = statfs(root).is_ok_and(|s| s.filesystem_type() == CGROUP2_SUPER_MAGIC);
        Self { root: root.to_owned(), parent: parent.trim_matches('/').to_owned(), unified }
    }

    /// True where all controllers are in the one v2 tree.
    pub fn is_unified(&self) -> bool {
        self.unified
    }

    /// The path that CRI takes as a pod's `cgroup_parent`.
    pub fn path(&self, uid: &str) -> String {
        format!("/{}", self.relative(uid).display())
    }

    /// Makes a pod's cgroups and writes their settings; existing ones get the new settings.
    ///
    /// # Errors
    /// A directory cannot be made or a setting is refused.
    pub fn ensure(&self, uid: &str, values: &PodCgroup) -> Result<(), Error> {
        if self.unified { self.ensure_v2(uid, values) } else { self.ensure_v1(uid, values) }
    }

    /// Removes a pod's cgroups in every hierarchy, with whatever is below them. True when nothing is left.
    pub fn remove(&self, uid: &str) -> bool {
        self.hierarchies().iter().all(|hierarchy| remove_tree(&hierarchy.join(self.relative(uid))).is_ok())
    }

    /// Uids of all pods that have a cgroup.
    pub fn pods(&self) -> Vec<String> {
        let mut uids: Vec<String> = self
            .hierarchies()
            .iter()
            .flat_map(|h| std::fs::read_dir(h.join(&self.parent)).into_iter().flatten().flatten())
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("pod").map(str::to_owned))
            .collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn relative(&self, uid: &str) -> PathBuf {
        Path::new(&self.parent).join(format!("pod{uid}"))
    }

    /// Mount points: the one v2 tree, or one per v1 controller with the v2 tree beside them.
    fn hierarchies(&self) -> Vec<PathBuf> {
        if self.unified {
            return vec![self.root.clone()];
        }
        let entries = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        // Names like "cpu,cpuacct" have symlinks for their parts; one visit is enough.
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
    }

    fn ensure_v1(&self, uid: &str, values: &PodCgroup) -> Result<(), Error> {
        // The v2 tree beside the controllers has none; sockets are told apart by it.
        for controller in ["cpu", "memory", "pids", "unified"] {
            let hierarchy = self.root.join(controller);
            if hierarchy.is_dir() {
                let directory = hierarchy.join(self.relative(uid));
                std::fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
            }
        }
        for (controller, file, text) in values.files_v1() {
            let directory = self.root.join(controller).join(self.relative(uid));
            if directory.is_dir() {
                write(&directory.join(file), &text)?;
            }
        }
        Ok(())
    }

    fn ensure_v2(&self, uid: &str, values: &PodCgroup) -> Result<(), Error> {
        let relative = self.relative(uid);
        let mut directory = self.root.clone();
        for part in relative.components() {
            // A parent hands controllers down before the child can use them.
            for controller in V2_CONTROLLERS {
                let control = directory.join("cgroup.subtree_control");
                if let Err(error) = std::fs::write(&control, format!("+{controller}")) {
                    tracing::debug!(%error, controller, path = %control.display(), "controller not available to pods");
                }
            }
            directory.push(part);
            if !directory.is_dir() {
                std::fs::create_dir(&directory).map_err(Error::file("create", &directory))?;
            }
        }
        for (file, text) in values.files_v2() {
            let path = directory.join(file);
            if path.exists() {
                write(&path, &text)?;
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(Error::file("write", path))
}

/// Removes a cgroup from its leaves up: as much as can be removed. Missing ones count as removed.
///
/// # Errors
/// Something is left, because it has processes: the first error.
pub fn remove_tree(directory: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut removed = Ok(());
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        removed = removed.and(remove_tree(&entry.path()));
    }
    match std::fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => removed.and(Err(error)),
        _ => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_does_not_keep_the_rest_of_a_tree() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        for name in ["a/deep", "b", "c"] {
            std::fs::create_dir_all(tree.join(name)).unwrap();
        }
        std::fs::write(tree.join("b/busy"), "").unwrap();
        assert!(remove_tree(&tree).is_err());
        let left: Vec<_> = std::fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["b"]);
        std::fs::remove_file(tree.join("b/busy")).unwrap();
        remove_tree(&tree).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn root_a_pods_cgroups_are_made_sized_and_removed() {
        let parent = format!("/orknet-test-{}", std::process::id());
        let cgroups = Cgroups::detect(Path::new("/sys/fs/cgroup"), &parent);
        let values = PodCgroup { cpu_shares: 512, cpu_quota: Some(50_000), memory_limit: Some(64 << 20), pids_limit: Some(100) };
        cgroups.ensure("u1", &values).unwrap();
        cgroups.ensure("u1", &values).unwrap();
        assert_eq!(cgroups.pods(), ["u1"]);
        let (file, want) = if cgroups.unified { ("memory.max", "67108864") } else { ("memory/memory.limit_in_bytes", "67108864") };
        let path = if cgroups.unified {
            cgroups.root.join(cgroups.relative("u1")).join(file)
        } else {
            cgroups.root.join("memory").join(cgroups.relative("u1")).join("memory.limit_in_bytes")
        };
        assert_eq!(std::fs::read_to_string(path).unwrap().trim(), want);
        assert!(cgroups.remove("u1"));
        assert!(cgroups.remove("u1"), "removing twice is fine");
        assert!(cgroups.pods().is_empty());
        for hierarchy in cgroups.hierarchies() {
            remove_tree(&hierarchy.join(&cgroups.parent)).unwrap();
        }
    }
}
