//! emptyDir volumes: a directory, or a tmpfs for the medium Memory; the tmpfs of volumes whose content must not reach a disk.

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
    let limit =
        || [source.size_limit.as_ref().and_then(quantity::value), pod_limit(pod, "memory")].into_iter().flatten().filter(|b| *b > 0).min();
    let mounted = memory && in_memory(path, limit())?;
    if fresh || mounted {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(Error::file("change the mode of", path))?;
        ownership::writable(path, pod)?;
    }
    Ok(())
}

/// Makes the directory a tmpfs, of at most `limit` bytes; true when it was none before.
pub fn in_memory(path: &Path, limit: Option<i64>) -> Result<bool, Error> {
    fs::create_dir_all(path).map_err(Error::file("create", path))?;
    if statfs(path).is_ok_and(|s| s.filesystem_type() == TMPFS_MAGIC) && is_mount_point(path) {
        return Ok(false);
    }
    let options = limit.map(|bytes| format!("size={bytes}"));
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options.as_deref())
        .map_err(|errno| Error::file("mount a tmpfs on", path)(errno.into()))?;
    Ok(true)
}

/// A mount point is on another device than its parent.
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |p: &Path| fs::metadata(p).map(|m| m.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}
