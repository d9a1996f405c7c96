//! Programs at their places: links on cgroups and devices, their pins, and filters where tcx is missing.

mod clsact;
pub(crate) mod device;
mod netlink;
pub(crate) mod wire;

use crate::{
    DeviceAttach, Error, Hook,
    bpffs::{self, Pins},
    kernel::{Link, LinkTarget, Passing},
    programs::Programs,
};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::Path,
    sync::Once,
};

/// How the programs got onto a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A pinned tcx link.
    Tcx,
    /// Filters on the clsact queueing discipline.
    Clsact,
}

/// Puts the programs into every link that is pinned. A link whose cgroup or device is gone loses its pin.
pub(crate) fn renew_links(programs: &Programs, pins: &Pins) -> Result<(), Error> {
    for path in bpffs::entries(&pins.links())? {
        let Some(hook) = hook_of(&path) else { continue };
        let link = Link::open(&path).map_err(Error::file("open the pinned link", &path))?;
        if matches!(link.target(), Ok(LinkTarget::Cgroup(0) | LinkTarget::Device(0))) {
            unpin(&path)?;
            continue;
        }
        link.replace(programs.get(hook)?).map_err(|source| Error::Attach { hook, target: path.display().to_string(), source })?;
    }
    Ok(())
}

/// The hook that a link's pin is named after.
pub(crate) fn hook_of(pin: &Path) -> Option<Hook> {
    let name = pin.file_name()?.to_str()?;
    let name = name.split_once('-').map_or(name, |(hook, _)| hook);
    Hook::named(name)
}

/// The device that a link's pin is named after.
fn device_of(pin: &Path) -> Option<u32> {
    pin.file_name()?.to_str()?.split_once('-')?.1.parse().ok()
}

pub(crate) fn attach_cgroup(programs: &Programs, pins: &Pins, cgroup: &Path) -> Result<(), Error> {
    let file = fs::File::open(cgroup).map_err(Error::file("open the cgroup", cgroup))?;
    let kind = statfs(cgroup).map_err(|error| Error::file("inspect the file system of", cgroup)(error.into()))?.filesystem_type();
    if kind != CGROUP2_SUPER_MAGIC {
        return Err(Error::NotACgroup { path: cgroup.to_owned() });
    }
    let wanted = LinkTarget::Cgroup(file.metadata().map_err(Error::file("inspect the cgroup", cgroup))?.ino());
    for hook in Hook::SOCKETS {
        let program = programs.get(hook)?;
        settle(&pins.link(hook.name()), wanted, || Link::to_cgroup(program, file.as_fd(), hook.attach_type()))
            .map_err(|source| Error::Attach { hook, target: cgroup.display().to_string(), source })?;
    }
    Ok(())
}

/// Attaches the programs of some hooks to a device.
pub(crate) fn attach_device(
    programs: &Programs,
    pins: &Pins,
    ifindex: u32,
    hooks: &[Hook],
    how: DeviceAttach,
) -> Result<Attachment, Error> {
    if how == DeviceAttach::Clsact {
        clsact::attach(programs, ifindex, hooks)?;
        // Of an earlier process with another setting.
        hooks.iter().try_for_each(|hook| remove_link(&pins.link(&device_pin(*hook, ifindex))))?;
        return Ok(Attachment::Clsact);
    }
    for &hook in hooks {
        let program = programs.get(hook)?;
        let pin = pins.link(&device_pin(hook, ifindex));
        match settle(&pin, LinkTarget::Device(ifindex), || Link::to_device(program, ifindex, hook.attach_type())) {
            Ok(()) => {}
            // A kernel that does not know the attach type says so with EINVAL.
            Err(error) if how == DeviceAttach::Auto && error.raw_os_error() == Some(libc::EINVAL) => {
                static TOLD: Once = Once::new();
                TOLD.call_once(|| tracing::warn!(%error, "no tcx, which Linux has since 6.6; using clsact"));
                return clsact::attach(programs, ifindex, hooks).map(|()| Attachment::Clsact);
            }
            Err(source) => return Err(Error::Attach { hook, target: format!("device {ifindex}"), source }),
        }
    }
    // Of an earlier process with another setting.
    clsact::detach(ifindex, hooks)?;
    Ok(Attachment::Tcx)
}

/// Attaches a program that does nothing to a device, as real ones would be; `pin` is where one may be pinned meanwhile. It is the caller's
/// device: what is left there goes with it.
///
/// # Errors
/// A kernel that takes none in this way.
pub(crate) fn try_device(ifindex: u32, how: DeviceAttach, pin: &Path) -> Result<(), Error> {
    let hook = Hook::FromPod;
    let failed = |source| Error::Attach { hook, target: format!("device {ifindex}"), source };
    let program = Passing::load().map_err(failed)?;
    program.pin(pin).map_err(Error::file("pin a program at", pin))?;
    if how != DeviceAttach::Clsact {
        match Link::to_device(program.as_fd(), ifindex, hook.attach_type()) {
            Err(error) if how == DeviceAttach::Auto && error.raw_os_error() == Some(libc::EINVAL) => {}
            attached => return attached.map(drop).map_err(failed),
        }
    }
    clsact::try_device(ifindex, pin)
}

/// Takes the programs of some hooks from a device, however they got there.
pub(crate) fn detach_device(pins: &Pins, ifindex: u32, hooks: &[Hook]) -> Result<(), Error> {
    for &hook in hooks {
        remove_link(&pins.link(&device_pin(hook, ifindex)))?;
    }
    clsact::detach(ifindex, hooks)
}

/// Whether the program of a hook is on a device of the caller's network namespace, put there by whoever has this pin directory, or as a
/// filter by anybody who has one. Needs no agent.
///
/// # Errors
/// When the pins can't be read or the kernel can't be asked.
pub fn is_attached(pin_dir: &Path, hook: Hook, ifindex: u32) -> Result<bool, Error> {
    let pin = Pins::new(pin_dir).link(&device_pin(hook, ifindex));
    match Link::open(&pin) {
        // That of a device that is gone stays for a while.
        Ok(link) if matches!(link.target(), Ok(LinkTarget::Device(device)) if device == ifindex) => Ok(true),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("open the pinned link", &pin)(error)),
        _ => clsact::has(ifindex, hook),
    }
}

/// The devices, there still or gone, for which a link of one of these hooks is pinned.
pub(crate) fn linked_devices(pins: &Pins, hooks: &[Hook]) -> Result<BTreeSet<u32>, Error> {
    let links = bpffs::entries(&pins.links())?;
    Ok(links.iter().filter(|pin| hook_of(pin).is_some_and(|hook| hooks.contains(&hook))).filter_map(|pin| device_of(pin)).collect())
}

/// Removes filters from a device; there is no pin that would.
pub(crate) fn detach_filters(ifindex: u32) -> Result<(), Error> {
    clsact::detach(ifindex, &Hook::DEVICES)?;
    clsact::detach(ifindex, &Hook::NETWORK)?;
    clsact::detach(ifindex, &Hook::NODE)
}

/// Detaches and unpins a link; none is fine.
pub(crate) fn remove_link(pin: &Path) -> Result<(), Error> {
    match Link::open(pin) {
        // Detaching what the kernel detached already, because the device went, is an error of no consequence.
        Ok(link) => drop(link.detach()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => tracing::warn!(path = %pin.display(), %error, "can't open a pinned link; unpinning it"),
    }
    unpin(pin)
}

/// Sees to it that a link is pinned and sits where it should: keeps one that does, else attaches anew.
fn settle(pin: &Path, wanted: LinkTarget, attach: impl FnOnce() -> io::Result<Link>) -> io::Result<()> {
    let old = match Link::open(pin) {
        Ok(link) if link.target()? == wanted => return Ok(()),
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return attach()?.pin(pin),
        Err(error) => return Err(error),
    };
    // First the new place, then the end of the old one: now, not when the kernel has time for it. It may have ended with its device.
    let link = attach()?;
    fs::remove_file(pin)?;
    link.pin(pin)?;
    let _ = old.detach();
    Ok(())
}

/// The name of a device in the caller's network namespace.
pub(crate) fn device_name(ifindex: u32) -> io::Result<String> {
    let name = nix::net::if_::if_indextoname(ifindex)?.into_string().map_err(io::Error::other)?;
    // The binding takes the null pointer that stands for an error for a result, and answers no name.
    if name.is_empty() { Err(io::Error::from_raw_os_error(libc::ENODEV)) } else { Ok(name) }
}

fn device_pin(hook: Hook, ifindex: u32) -> String {
    format!("{hook}-{ifindex}")
}

fn unpin(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("unpin", path)(error)),
        _ => Ok(()),
    }
}
