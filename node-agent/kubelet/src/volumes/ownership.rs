//! `fsGroup`: gives a volume's files to the pod's group.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use crate::error::Error;

/// Group bits of files in volumes that nobody writes to.
const READ: u32 = 0o440;
/// Group bits of files in writable volumes.
const WRITE: u32 = 0o660;
/// Directories can be entered and hand their group down.
const ENTER: u32 = 0o2110;

/// The pod's group, if it has one.
pub fn group(pod: &Pod) -> Option<u32> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// Gives all files below `root` to the pod's group, readable.
pub fn read_only(root: &Path, pod: &Pod) -> Result<(), Error> {
    group(pod).map_or(Ok(()), |group| walk(root, group, READ))
}

/// Gives all files below `root` to the pod's group, writable.
pub fn writable(root: &Path, pod: &Pod) -> Result<(), Error> {
    group(pod).map_or(Ok(()), |group| walk(root, group, WRITE))
}

fn walk(path: &Path, group: u32, bits: u32) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(path).map_err(Error::file("look at", path))?;
    lchown(path, None, Some(group)).map_err(Error::file("change the group of", path))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let extra = if metadata.is_dir() { bits | ENTER } else { bits };
    let mode = metadata.permissions().mode() & 0o7777 | extra;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::file("change the mode of", path))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(Error::file("read", path))?.flatten() {
            walk(&entry.path(), group, bits)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn root_files_belong_to_the_pods_group() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let pod = serde_json::from_str(r#"{"spec": {"securityContext": {"fsGroup": 4321}, "containers": []}}"#).unwrap();
        read_only(directory.path(), &pod).unwrap();
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!((metadata.gid(), metadata.mode() & 0o7777), (4321, 0o640));
        assert_eq!(fs::metadata(directory.path()).unwrap().mode() & 0o2000, 0o2000);
    }
}
