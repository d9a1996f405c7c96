//! Frames before the stack sees them: on which devices that lead to the network they are served, and which of these take frames from the
//! others. What a driver can do may change with what its other end, or a person, does; so it is looked at again and again.

use crate::{
    Dataplane, Error, Trouble, TroubleKind, Xdp,
    attach::{
        self,
        device::{self, Features, Form},
        wire::{self, Before, ONE_PIECE, Outcome, Refusal},
    },
};
use orknet_abi::{Device, device_takes};
use std::{
    collections::BTreeMap,
    io,
    sync::{MutexGuard, PoisonError},
};

/// Devices with a program for frames from the wire.
#[derive(Debug, Default)]
pub(crate) struct Wires(BTreeMap<u32, Wire>);

/// One of them, as it is with its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wire {
    mac: [u8; 6],
    device: device::Device,
    /// `None` if the kernel does not say.
    features: Option<Features>,
}

impl Dataplane {
    /// Sees to it that the program for frames from the wire is on the device, or is not; what is wrong with it there. No frame is served yet
    /// that was not before. A device without a MAC address has no wire; a tunnel has none that a driver would know.
    pub(crate) fn keep_wire(&self, ifindex: u32, wires: &mut Wires) -> Result<Option<Trouble>, Error> {
        if self.xdp == Xdp::Off {
            return self.detach_wire(ifindex).map(|()| None);
        }
        let look = || device::look(ifindex).map_err(|source| unseen(ifindex, source));
        let (mac, device) = (mac_address(ifindex), look()?);
        let Some(mac) = mac.filter(|_| !(self.xdp == Xdp::Native && device.is_tunnel)) else {
            return self.detach_wire(ifindex).map(|()| None);
        };
        let devices = &self.reader().tables().devices;
        if devices.get_single(&ifindex)?.is_none() {
            devices.put_one(&ifindex, Device::default())?;
        }
        // Once in the life of a process: its own setting stays.
        let is_first = self.known_network_devices.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let refusal = self.refusals().get(&ifindex).cloned();
        let before = Before { device, features: device::features(ifindex), refusal: refusal.as_ref(), is_first };
        let outcome = wire::attach(&self.programs, &self.pins, ifindex, self.xdp, &before)?;
        self.refusals().remove(&ifindex);
        let trouble = |kind, refusal: &Refusal| Trouble::new(ifindex, kind, &refusal.why, &refusal.remedy);
        let trouble = match outcome {
            Outcome::Attached => None,
            Outcome::Generic(refusal) => {
                let trouble = trouble(TroubleKind::Generic, &refusal);
                self.refusals().insert(ifindex, refusal);
                Some(trouble)
            }
            Outcome::Refused(refusal) => {
                // Frames from others find no driver that would take them.
                devices.delete(&[ifindex], |_, _| {});
                return Ok(Some(trouble(TroubleKind::NotBeforeStack, &refusal)));
            }
        };
        wires.0.insert(ifindex, Wire { mac, device: look()?, features: None });
        Ok(trouble)
    }

    /// Says to the programs what these devices take, all of them being there; what is wrong with that.
    pub(crate) fn open_wires(&self, wires: &Wires) -> BTreeMap<u32, Trouble> {
        let wires: BTreeMap<u32, Wire> =
            wires.0.iter().map(|(ifindex, wire)| (*ifindex, Wire { features: device::features(*ifindex), ..*wire })).collect();
        let devices = &self.reader().tables().devices;
        let mut troubles = BTreeMap::new();
        for (&ifindex, wire) in &wires {
            let has_driving_others = wires.iter().any(|(other, wire)| *other != ifindex && wire.device.form == Some(Form::Driver));
            let (entry, lack) = judge(wire, has_driving_others);
            let written = match devices.get_single(&ifindex) {
                Ok(Some(known)) if known == entry => Ok(()),
                Ok(_) => devices.put_one(&ifindex, entry),
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                troubles.insert(ifindex, crate::trouble::not_before_stack(ifindex, &error));
            } else if let Some((kind, why, remedy)) = lack {
                troubles.insert(ifindex, Trouble::new(ifindex, kind, why, remedy));
            }
        }
        troubles
    }

    /// Takes the program for frames from a device; one without is fine.
    pub(crate) fn detach_wire(&self, ifindex: u32) -> Result<(), Error> {
        self.refusals().remove(&ifindex);
        wire::detach(&self.pins, ifindex)?;
        let devices = &self.reader().tables().devices;
        let mut failed = None;
        devices.delete(&[ifindex], |_, error| failed = Some(error));
        failed.map_or(Ok(()), |error| Err(Error::map("remove from", devices.name())(error)))
    }

    fn refusals(&self) -> MutexGuard<'_, BTreeMap<u32, Refusal>> {
        self.refused_wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What programs are told of a device, and what it lacks. Frames that come in by a driver go out by a driver; those that come in by the
/// kernel's generic way are packets already, which any device takes.
fn judge(wire: &Wire, has_driving_others: bool) -> (Device, Option<(TroubleKind, String, &'static str)>) {
    // A kernel that does not say what its drivers can do is believed to have good ones.
    let can = |what: fn(Features) -> bool| wire.features.is_none_or(what);
    let (takes_frames, takes_pieces) = (can(Features::takes_frames), can(Features::takes_pieces));
    let is_heard = !(wire.device.is_veth && wire.device.form == Some(Form::Driver)) || takes_frames;
    let takes = if !has_driving_others || takes_pieces && takes_frames {
        device_takes::FRAMES | device_takes::PIECES
    } else if takes_frames {
        device_takes::FRAMES
    } else {
        0
    };
    let entry = Device { mac: if is_heard { wire.mac } else { [0; 6] }, takes, reserved: 0 };
    let lack = if !is_heard {
        let why = "the other end of this veth device takes no frames, so whatever XDP sent back would be lost".to_owned();
        Some((
            TroubleKind::NotBeforeStack,
            why,
            "at the other end `ethtool -K NAME gro on`, or any XDP program; or set dataplane.xdp: generic",
        ))
    } else if takes & device_takes::FRAMES == 0 {
        let why = "its driver takes none (no ndo_xdp_xmit)".to_owned();
        Some((TroubleKind::TakesNoFrames, why, "use a driver that XDP can redirect to, or set dataplane.xdp: generic"))
    } else if takes & device_takes::PIECES == 0 && wire.device.mtu > ONE_PIECE {
        let why = format!("its driver takes no frames of several pieces, as its MTU of {} allows", wire.device.mtu);
        Some((TroubleKind::TakesNoPieces, why, "lower the MTU, or use a driver with multi-buffer XDP"))
    } else {
        None
    };
    (entry, lack)
}

fn unseen(ifindex: u32, source: io::Error) -> Error {
    Error::Attach { hook: crate::Hook::FromWire, target: format!("device {ifindex}"), source }
}

/// The MAC address of a device in the caller's network namespace; none if it has no such thing.
fn mac_address(ifindex: u32) -> Option<[u8; 6]> {
    let name = attach::device_name(ifindex).ok()?;
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let mut links = addresses.filter(|entry| entry.interface_name == name);
    links.find_map(|entry| entry.address?.as_link_addr()?.addr()).filter(|mac| *mac != [0; 6])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: u64 = 1 << 2;
    const PIECES: u64 = 1 << 6;

    fn wire(is_veth: bool, form: Form, mtu: u32, features: u64) -> Wire {
        let device = device::Device { is_veth, mtu, form: Some(form), ..device::Device::default() };
        Wire { mac: [2; 6], device, features: Some(Features(features)) }
    }

    fn judged(wire: &Wire, has_driving_others: bool) -> (bool, u8, Option<TroubleKind>) {
        let (entry, lack) = judge(wire, has_driving_others);
        (entry.mac != [0; 6], entry.takes, lack.map(|(kind, ..)| kind))
    }

    #[test]
    fn a_device_takes_from_other_drivers_what_its_own_can_send() {
        let card = |mtu, features| judged(&wire(false, Form::Driver, mtu, features), true);
        assert_eq!(card(9_000, FRAMES | PIECES), (true, 3, None));
        assert_eq!(card(1_500, FRAMES), (true, 1, None));
        assert_eq!(card(9_000, FRAMES), (true, 1, Some(TroubleKind::TakesNoPieces)));
        assert_eq!(card(1_500, 0), (true, 0, Some(TroubleKind::TakesNoFrames)));
        assert_eq!(card(1_500, PIECES), (true, 0, Some(TroubleKind::TakesNoFrames)), "pieces alone are nothing");
        let silent = Wire { features: None, ..wire(false, Form::Driver, 9_000, 0) };
        assert_eq!(judged(&silent, true), (true, 3, None), "a kernel before 6.3");
        assert_eq!(judged(&wire(false, Form::Generic, 9_000, 0), false), (true, 3, None), "nobody's driver has frames for it");
        assert_eq!(judged(&wire(false, Form::Generic, 9_000, 0), true), (true, 0, Some(TroubleKind::TakesNoFrames)));
    }

    #[test]
    fn a_veth_device_whose_other_end_hears_nothing_has_its_frames_served_by_the_stack() {
        let deaf = wire(true, Form::Driver, 1_500, 0);
        assert_eq!(judged(&deaf, false), (false, 3, Some(TroubleKind::NotBeforeStack)));
        assert_eq!(judged(&wire(true, Form::Driver, 1_500, FRAMES), false), (true, 3, None));
        assert_eq!(judged(&wire(true, Form::Generic, 1_500, 0), false), (true, 3, None));
    }
}
