//! emptyDir volumes: a directory, or a tmpfs for the medium Memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::ownership;
use crate::cgroups::values::pod_limit;
use crate::error::Error;
use crate::quantity;

/// Makes the directory, once. Files that containers wrote there stay.
pub fn setup(path: &Path, source: &EmptyDirVolumeSource, pod: &Pod) -> Result<(), Error> {
    let fresh = !path.is_dir();
    fs::create_dir_all(path).map_err(Error::file("create", path))?;
    let memory = source.medium.as_deref() == Some("Memory");
    let mounted = statfs(path).is_ok_and(|s| s.filesystem_type() == TMPFS_MAGIC) && is_mount_point(path);
    if memory && !mounted {
        let limit =
            [source.size_limit.as_ref().and_then(quantity::value), pod_limit(pod, "memory")].into_iter().flatten().filter(|b| *b > 0).min();
        let options = limit.map(|bytes| format!("size={bytes}"));
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref())
            .map_err(|errno| Error::file("mount a tmpfs on", path)(errno.into()))?;
    }
    if fresh || (memory && !mounted) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(Error::file("change the mode of", path))?;
        ownership::writable(path, pod)?;
    }
    Ok(())
}

/// A mount point is on another device than its parent.
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |p: &Path| fs::metadata(p).map(|m| m.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}
