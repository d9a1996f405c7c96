//! The program for frames from the wire on a device, in the form that is wanted or can be had. Decides nothing about which devices.

use super::{
    device::{Device, Features, Form},
    device_pin, remove_link, settle,
};
use crate::{
    Error, Hook, Xdp,
    bpffs::Pins,
    kernel::{Link, LinkTarget},
    programs::Programs,
};
use std::io;

/// From this MTU on frames may come in several pieces: what is left of a page of 4096 bytes behind the room that drivers keep.
pub(crate) const ONE_PIECE: u32 = 3_400;
/// `ENOTSUPP`, the kernel's inner word for "not supported", which some drivers let out (linux/errno.h).
const NOT_SUPPORTED: i32 = 524;

/// Why a driver, or the kernel, took no program, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) why: String,
    pub(crate) remedy: String,
    /// The device's MTU then: with another one the driver may think otherwise.
    pub(crate) mtu: u32,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The program is there as the setting wants it.
    Attached,
    /// It takes the kernel's generic way, because the driver refused it.
    Generic(Refusal),
    /// It is not there.
    Refused(Refusal),
}

/// What is known of a device before the program comes.
pub(crate) struct Before<'a> {
    pub(crate) device: Device,
    pub(crate) features: Option<Features>,
    /// What the driver said when it was asked last; the kernel's generic way has been taken since.
    pub(crate) refusal: Option<&'a Refusal>,
    /// The program may have got there by other settings.
    pub(crate) is_first: bool,
}

/// Attaches the program for frames from the wire to a device. If it is there in another form than can be had now, it is attached anew;
/// meanwhile the stack serves the frames, since the kernel takes no second form beside the first.
///
/// # Errors
/// A program that can't be loaded, a pin that can't be removed.
pub(crate) fn attach(programs: &Programs, pins: &Pins, ifindex: u32, how: Xdp, before: &Before<'_>) -> Result<Outcome, Error> {
    // `XDP_FLAGS_SKB_MODE` and `XDP_FLAGS_DRV_MODE` in linux/if_link.h.
    const GENERIC: u32 = 1 << 1;
    const NATIVE: u32 = 1 << 2;
    let hook = Hook::FromWire;
    let program = programs.get(hook)?;
    let attach = |flags| Link::to_wire(program, ifindex, hook.attach_type(), flags);
    let pin = pins.link(&device_pin(hook, ifindex));
    let device = &before.device;
    let may_differ = before.is_first || before.refusal.is_some_and(|refusal| refusal.mtu != device.mtu);
    if may_differ && pin.exists() && device.form.is_some_and(|form| !fits(form, how, device)) {
        remove_link(&pin)?;
    }
    let mut refusal = before.refusal.cloned();
    let settled = settle(&pin, LinkTarget::Device(ifindex), || match how {
        Xdp::Native => attach(NATIVE),
        Xdp::Generic => attach(GENERIC),
        Xdp::Auto | Xdp::Off if is_generic_by_nature(device) => attach(GENERIC),
        Xdp::Auto | Xdp::Off => {
            refusal = None;
            attach(NATIVE).or_else(|error| {
                refusal = Some(explain(&error, device, before.features));
                attach(GENERIC)
            })
        }
    });
    Ok(match settled {
        Ok(()) => refusal.map_or(Outcome::Attached, Outcome::Generic),
        Err(error) => Outcome::Refused(explain(&error, device, before.features)),
    })
}

/// Takes it away; a device without is fine.
pub(crate) fn detach(pins: &Pins, ifindex: u32) -> Result<(), Error> {
    remove_link(&pins.link(&device_pin(Hook::FromWire, ifindex)))
}

/// Whether the form is the one that is wanted. A driver that refused a program may take it now.
fn fits(form: Form, how: Xdp, device: &Device) -> bool {
    match how {
        Xdp::Native => form == Form::Driver,
        Xdp::Generic => form == Form::Generic,
        Xdp::Auto | Xdp::Off => (form == Form::Generic) == is_generic_by_nature(device),
    }
}

/// What a program sends back out of a veth device is lost unless the other end is made ready for it; tunnels have no driver for it.
fn is_generic_by_nature(device: &Device) -> bool {
    device.is_veth || device.is_tunnel
}

fn explain(error: &io::Error, device: &Device, features: Option<Features>) -> Refusal {
    let mtu = device.mtu;
    let is_large = mtu > ONE_PIECE && features.is_none_or(|features| !features.receives_pieces());
    let (why, remedy) = match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => (
            "another XDP program is there".to_owned(),
            "take it away (`ip link set dev NAME xdp off`, or end who put it there), or set dataplane.xdp: off",
        ),
        _ if is_large => (
            format!("its driver takes no frames of several pieces, as its MTU of {mtu} would need ({error})"),
            "lower the MTU, use a driver with multi-buffer XDP, or set dataplane.xdp: generic",
        ),
        Some(libc::EOPNOTSUPP | NOT_SUPPORTED) => {
            ("its driver runs no XDP programs, or not with the device's settings".to_owned(), "set dataplane.xdp: generic, or off")
        }
        _ => (error.to_string(), "see the kernel's log (`dmesg`), or set dataplane.xdp: generic, or off"),
    };
    Refusal { why, remedy: remedy.to_owned(), mtu }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let said = |number, mtu, features| {
            let device = Device { mtu, ..Device::default() };
            let Refusal { why, remedy, .. } = explain(&io::Error::from_raw_os_error(number), &device, features);
            format!("{why}; {remedy}")
        };
        assert!(said(libc::EBUSY, 9_000, None).starts_with("another XDP program is there; take it away"));
        assert!(said(libc::EOPNOTSUPP, 1_500, None).contains("runs no XDP programs"));
        assert!(said(libc::EINVAL, 9_000, Some(Features(1))).contains("MTU of 9000 would need (Invalid argument"));
        assert!(said(libc::EINVAL, 9_000, Some(Features(1))).contains("; lower the MTU"));
        let pieces = Features(1 << 5);
        assert!(said(libc::ENOSPC, 9_000, Some(pieces)).starts_with("No space left"), "pieces are not the matter");
    }

    #[test]
    fn the_form_is_the_drivers_unless_a_device_has_none_that_would_do() {
        let (veth, card) = (Device { is_veth: true, ..Device::default() }, Device::default());
        let which = |how, device: &Device| [Form::Driver, Form::Generic].map(|form| fits(form, how, device));
        assert_eq!((which(Xdp::Auto, &card), which(Xdp::Auto, &veth)), ([true, false], [false, true]));
        assert_eq!((which(Xdp::Native, &veth), which(Xdp::Generic, &card)), ([true, false], [false, true]));
    }
}
