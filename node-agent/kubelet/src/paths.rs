//! Where the kubelet keeps things on disk: one home for every path under the root directory. Does no I/O.

use std::path::{Path, PathBuf};

use crate::pods::PodKey;

/// The directory layout under `Config::root_dir`.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// A layout under `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Parent of every pod's directory; its entries are named by uid.
    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// Directory of one pod.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(uid)
    }

    /// Directory of one volume of a pod.
    pub fn volume(&self, uid: &str, kind: &str, name: &str) -> PathBuf {
        self.pod(uid).join("volumes").join(format!("orknet~{kind}")).join(name)
    }

    /// The file that becomes `/etc/hosts` in a pod's containers.
    pub fn etc_hosts(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }

    /// The file into which one run of a container writes its termination message.
    pub fn termination_message(&self, uid: &str, container: &str, attempt: u32) -> PathBuf {
        self.pod(uid).join("containers").join(container).join(attempt.to_string())
    }

    /// Parent of the places to which sub-paths of a pod's volumes are bound: `<volume>/<container>/<attempt>/<index>` below.
    pub fn sub_paths(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("volume-subpaths")
    }

    /// Parent of the files that name the images which this kubelet pulled.
    pub fn pulled_images(&self) -> PathBuf {
        self.root.join("pulled-images")
    }

    /// Parent of every pod's log directory.
    pub fn logs(&self) -> PathBuf {
        self.root.join("pods-logs")
    }

    /// Log directory of one pod, in the form `namespace_name_uid` that log collectors expect.
    pub fn pod_logs(&self, pod: &PodKey) -> PathBuf {
        self.logs().join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }

    /// Path of one container run's log, relative to the pod's log directory.
    pub fn log_path(container: &str, attempt: u32) -> String {
        format!("{container}/{attempt}.log")
    }
}

/// The uid in the name of a pod's log directory, or none when the name has another form.
pub fn uid_of_log_directory(name: &str) -> Option<&str> {
    let mut parts = name.splitn(3, '_');
    let (_namespace, _name) = (parts.next()?, parts.next()?);
    parts.next().filter(|uid| !uid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uid_is_found_in_a_log_directory_name() {
        let key = PodKey { namespace: "a".into(), name: "b".into(), uid: "c-d".into() };
        let directory = Paths::new(Path::new("/r")).pod_logs(&key);
        assert_eq!(uid_of_log_directory(directory.file_name().unwrap().to_str().unwrap()), Some("c-d"));
        assert_eq!(uid_of_log_directory("nothing"), None);
        assert_eq!(uid_of_log_directory("a_b_"), None);
    }
}
