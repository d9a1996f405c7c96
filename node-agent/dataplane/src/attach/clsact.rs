//! Devices without tcx (Linux before 6.6): filters on the clsact queueing discipline, at a fixed place, so that a restart
//! replaces them.

use super::{device_name, netlink};
use crate::{Error, Hook, programs::Programs};
use aya::programs::{
    Link as _, ProgramError, SchedClassifier, TcAttachType,
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use nix::sys::socket::SockProtocol;
use std::{error::Error as StdError, io, path::Path};

/// Priorities and handle of our filters; others may have theirs beside them. A priority of its own for each kind of device: filters
/// for the network can be removed from any device without harm to a pod's.
const POD_PRIORITY: u16 = 20_250;
const NETWORK_PRIORITY: u16 = 20_251;
const NODE_PRIORITY: u16 = 20_252;
const MINOR: u16 = 0x0b1;
const HANDLE: TcHandle = TcHandle::new(0, MINOR);

/// `RTM_GETTFILTER` (linux/rtnetlink.h); the parents of clsact's filters, `TC_H_CLSACT` with `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS`
/// (linux/pkt_sched.h); `ETH_P_ALL` (linux/if_ether.h), the protocol of ours.
const GET_FILTER: u16 = 46;
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;
const ALL_PROTOCOLS: u16 = 3;

/// Attaches programs to a device, or replaces those of an earlier process.
pub(super) fn attach(programs: &Programs, ifindex: u32, hooks: &[Hook]) -> Result<(), Error> {
    for &hook in hooks {
        let wrap = |source: Box<dyn StdError + Send + Sync>| Error::Clsact { hook, target: format!("device {ifindex}"), source };
        let name = device_name(ifindex).map_err(|error| wrap(error.into()))?;
        match tc::qdisc_add_clsact(&name) {
            Err(error) if os_error(&error) != Some(libc::EEXIST) => return Err(wrap(error.into())),
            _ => {}
        }
        programs.with_classifier(hook, |program| attach_filter(program, &name, hook).map_err(|error| wrap(error.into())))?;
    }
    Ok(())
}

/// Attaches a pinned program for pods to a device.
pub(super) fn try_device(ifindex: u32, pin: &Path) -> Result<(), Error> {
    let hook = Hook::FromPod;
    let wrap = |source: Box<dyn StdError + Send + Sync>| Error::Clsact { hook, target: format!("device {ifindex}"), source };
    let name = device_name(ifindex).map_err(|error| wrap(error.into()))?;
    tc::qdisc_add_clsact(&name).map_err(|error| wrap(error.into()))?;
    let attached = SchedClassifier::from_pin(pin).and_then(|mut program| attach_filter(&mut program, &name, hook));
    attached.map_err(|error| wrap(error.into()))
}

/// Removes our filters from a device; none, or no device, is fine.
pub(super) fn detach(ifindex: u32, hooks: &[Hook]) -> Result<(), Error> {
    let Ok(name) = device_name(ifindex) else { return Ok(()) };
    for &hook in hooks {
        let removed = existing(&name, hook).map_err(ProgramError::IOError).and_then(|link| link.detach());
        match removed {
            // No discipline, no filter, no device any more.
            Err(error) if !matches!(os_error(&error), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) => {
                return Err(Error::Clsact { hook, target: name, source: error.into() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether our filter of a hook is on a device; none is there without the discipline, or without the device.
pub(super) fn has(ifindex: u32, hook: Hook) -> Result<bool, Error> {
    let parent = if matches!(direction(hook), TcAttachType::Egress) { EGRESS } else { INGRESS };
    let information = u32::from(priority(hook)) << 16 | u32::from(ALL_PROTOCOLS.to_be());
    // `struct tcmsg`: family and padding, then these.
    let message = [0, ifindex, u32::from(MINOR), parent, information].map(u32::to_ne_bytes).concat();
    match netlink::ask(SockProtocol::NetlinkRoute, GET_FILTER, &message) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) => Ok(false),
        Err(error) => Err(Error::Clsact { hook, target: format!("device {ifindex}"), source: error.into() }),
    }
}

fn attach_filter(program: &mut SchedClassifier, device: &str, hook: Hook) -> Result<(), ProgramError> {
    let options = TcAttachOptions::Netlink(NlOptions { priority: priority(hook), handle: HANDLE, classid: None });
    let attached = match program.attach_with_options(device, direction(hook), options) {
        Err(error) if os_error(&error) == Some(libc::EEXIST) => {
            program.attach_to_link(existing(device, hook).map_err(ProgramError::IOError)?)
        }
        other => other,
    };
    // The filter must outlive the process: the handle that would remove it when dropped is given up.
    std::mem::forget(program.take_link(attached?)?);
    Ok(())
}

/// Our filter on the device, whether it is there or not.
fn existing(device: &str, hook: Hook) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(device, direction(hook), priority(hook), HANDLE, None)
}

fn direction(hook: Hook) -> TcAttachType {
    if matches!(hook, Hook::ToPod | Hook::ToNetwork) { TcAttachType::Egress } else { TcAttachType::Ingress }
}

fn priority(hook: Hook) -> u16 {
    match hook {
        Hook::FromNetwork | Hook::ToNetwork => NETWORK_PRIORITY,
        Hook::FromNode => NODE_PRIORITY,
        _ => POD_PRIORITY,
    }
}

/// The kernel's error number, wherever in the chain it stands.
fn os_error(error: &(dyn StdError + 'static)) -> Option<i32> {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(number);
        }
        if let Some(number) = error.downcast_ref::<aya::sys::NetlinkError>().and_then(aya::sys::NetlinkError::raw_os_error) {
            return Some(number);
        }
        if let Some(TcError::NetlinkError(inner)) = error.downcast_ref::<TcError>() {
            return inner.raw_os_error();
        }
        source = error.source();
    }
    None
}
