//! Takes a pod's directory away: first every mount inside of it, then the files. Nothing is deleted through a mount.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use super::mount_table;
use crate::error::Error;

/// Removes `directory` with all that is mounted below it. A missing directory is fine.
///
/// # Errors
/// Something below is still mounted, or a file cannot be removed; call again later.
pub fn remove(directory: &Path) -> Result<(), Error> {
    if !directory.exists() {
        return Ok(());
    }
    // Twice: an unmount can uncover another mount at the same place.
    for _ in 0..2 {
        for point in below(directory)?.iter().rev() {
            if let Err(errno) = umount2(point, MntFlags::empty()).or_else(|_| umount2(point, MntFlags::MNT_DETACH)) {
                tracing::debug!(%errno, path = %point.display(), "mount not removed");
            }
        }
    }
    if let Some(point) = below(directory)?.first() {
        return Err(Error::Invalid(format!("{} is still mounted", point.display())));
    }
    fs::remove_dir_all(directory).map_err(Error::file("remove", directory))
}

fn below(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    mount_table::mounts_below(directory).map_err(Error::file("read", Path::new(mount_table::TABLE)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::mount::{MsFlags, mount};

    #[test]
    fn root_nothing_is_deleted_through_a_mount() {
        let root = tempfile::tempdir().unwrap();
        let (kept, pod) = (root.path().join("kept"), root.path().join("pod"));
        fs::create_dir_all(&kept).unwrap();
        fs::write(kept.join("f"), "x").unwrap();
        fs::create_dir_all(pod.join("m")).unwrap();
        mount(Some(&kept), &pod.join("m"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        remove(&pod).unwrap();
        assert!(!pod.exists());
        assert_eq!(fs::read_to_string(kept.join("f")).unwrap(), "x");
        remove(&pod).unwrap();
    }
}
