//! Removal of everything that a data plane left in the kernel.

use crate::{
    Error, Hook, attach,
    bpffs::{self, entries},
};
use nix::{
    mount::{MntFlags, umount2},
    net::if_::if_nameindex,
};
use std::{fs, io, path::Path};

/// Detaches every program and removes every pin below a pin directory, of all versions, and the directory. A BPF file system
/// that is mounted on the directory itself is unmounted. What is not there is fine; a cleanup that was interrupted can be
/// repeated. Must be called in the node's network namespace for clsact filters to be found.
pub fn cleanup(pin_dir: &Path) -> Result<(), Error> {
    if !pin_dir.exists() {
        return Ok(());
    }
    if bpffs::is_bpffs(pin_dir)? {
        detach_filters();
        for version in bpffs::versions(pin_dir)? {
            remove_version(&version)?;
        }
        // Nothing is left in it, so whoever looks into it at this moment need not hold it. A directory inside of a mount can't
        // be unmounted, and need not be.
        match umount2(pin_dir, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
            Err(error) => return Err(Error::file("unmount", pin_dir)(error.into())),
        }
    }
    match fs::remove_dir(pin_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", pin_dir)(error)),
        _ => Ok(()),
    }
}

/// Removes the pins of one version. The hooks go first: they are what sends traffic by the maps.
pub(crate) fn remove_version(version: &Path) -> Result<(), Error> {
    remove_links(version)?;
    remove_maps(version)
}

/// Ends those hooks of one version that write into maps. What the others only look up can be carried over before they end, too.
///
/// Those at pods' devices end first. Ours know what the other version's open meanwhile at the devices to the network, and answer it; those
/// would not know what ours open.
pub(crate) fn remove_writing_links(version: &Path) -> Result<(), Error> {
    const READING: [Hook; 4] = [Hook::Recvmsg4, Hook::Recvmsg6, Hook::Getpeername4, Hook::Getpeername6];
    let mut links = entries(&version.join("links"))?;
    links.retain(|link| attach::hook_of(link).is_none_or(|hook| !READING.contains(&hook)));
    links.sort_by_key(|link| attach::hook_of(link).is_none_or(|hook| !Hook::DEVICES.contains(&hook)));
    links.iter().try_for_each(|link| attach::remove_link(link))
}

/// Ends the hooks of one version.
pub(crate) fn remove_links(version: &Path) -> Result<(), Error> {
    entries(&version.join("links"))?.iter().try_for_each(|link| attach::remove_link(link))
}

/// Removes what is left of one version when its hooks are gone.
pub(crate) fn remove_maps(version: &Path) -> Result<(), Error> {
    for map in entries(&version.join("maps"))? {
        fs::remove_file(&map).map_err(Error::file("unpin", &map))?;
    }
    for folder in [version.join("links"), version.join("maps"), version.to_owned()] {
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", &folder)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Filters on clsact have no pins, and the maps that know their devices may be of another version: every device is asked. Ours are
/// at a priority and handle of their own.
fn detach_filters() {
    let devices = match if_nameindex() {
        Ok(devices) => devices,
        Err(error) => {
            tracing::warn!(%error, "can't list the devices; filters on clsact, if any, stay");
            return;
        }
    };
    for ifindex in devices.iter().map(|device| device.index()) {
        if let Err(error) = attach::detach_filters(ifindex) {
            tracing::warn!(ifindex, %error, "can't detach the filters");
        }
    }
}
