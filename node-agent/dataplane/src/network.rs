//! The devices that lead to the network: exactly those that are wanted have the programs for it.

use crate::{Dataplane, DeviceAttach, Error, Hook, Xdp, attach};
use nix::net::if_::if_nameindex;
use orknet_abi::Device;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

impl Dataplane {
    /// Sees to it that the programs for the network are on these devices and on no others, by index in the caller's network namespace.
    /// Calling it again is harmless. A device that is gone has lost its programs with itself; what is left of them goes now.
    ///
    /// Answers what could not be done, by device: the rest is done all the same.
    pub fn keep_network_devices(&self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Error> {
        let mut failures = BTreeMap::new();
        for &ifindex in wanted {
            let attached = attach::attach_device(&self.programs, &self.pins, ifindex, &Hook::NETWORK, self.device_attach);
            if let Err(error) = attached {
                // Answers that nobody translates are worse than no translation.
                let _ = self.detach_network_device(ifindex);
                failures.insert(ifindex, error);
            } else if let Err(error) = self.keep_wire(ifindex) {
                failures.insert(ifindex, error);
            }
        }
        match self.other_devices(wanted) {
            Ok(others) => {
                for ifindex in others {
                    if let Err(error) = self.detach_network_device(ifindex) {
                        failures.insert(ifindex, error);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "can't tell which devices have programs for the network"),
        }
        let before = self.known_network_devices.lock().unwrap_or_else(PoisonError::into_inner).replace(wanted.clone());
        if before.as_ref() != Some(wanted) {
            self.forget_ways();
        }
        failures
    }

    /// The devices with programs for the network, as far as pins tell: filters on clsact have none.
    pub fn network_devices(&self) -> Result<BTreeSet<u32>, Error> {
        attach::linked_devices(&self.pins, &[Hook::FromNetwork, Hook::ToNetwork, Hook::FromWire])
    }

    /// Sees to it that the program for what the node itself sends to Services is on this device, by index in the caller's network namespace,
    /// and on no other; on none without one. Calling it again is harmless.
    pub fn keep_node_device(&self, wanted: Option<u32>) -> Result<(), Error> {
        for other in attach::linked_devices(&self.pins, &Hook::NODE)?.into_iter().filter(|other| Some(*other) != wanted) {
            attach::detach_device(&self.pins, other, &Hook::NODE)?;
        }
        let Some(ifindex) = wanted else { return Ok(()) };
        attach::attach_device(&self.programs, &self.pins, ifindex, &Hook::NODE, self.device_attach).map(drop)
    }

    /// Sees to it that frames of the device are served before the stack sees them, or are not. Frames to another MAC address than the
    /// device's are not for this node; a device without one (a tunnel) has no wire.
    fn keep_wire(&self, ifindex: u32) -> Result<(), Error> {
        let mac = if self.xdp == Xdp::Off { None } else { mac_address(ifindex) };
        let Some(mac) = mac else { return self.detach_wire(ifindex) };
        self.reader().tables().devices.put_one(&ifindex, Device { mac, reserved: [0; 2] })?;
        // Once in the life of a process: its own setting stays.
        let is_first = self.known_network_devices.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        attach::attach_wire(&self.programs, &self.pins, ifindex, self.xdp, is_first)
    }

    fn detach_wire(&self, ifindex: u32) -> Result<(), Error> {
        attach::detach_wire(&self.pins, ifindex)?;
        let devices = &self.reader().tables().devices;
        let mut failed = None;
        devices.delete(&[ifindex], |_, error| failed = Some(error));
        failed.map_or(Ok(()), |error| Err(Error::map("remove from", devices.name())(error)))
    }

    fn detach_network_device(&self, ifindex: u32) -> Result<(), Error> {
        self.detach_wire(ifindex)?;
        attach::detach_device(&self.pins, ifindex, &Hook::NETWORK)
    }

    /// Devices that have programs, or may have them, and should not. Filters of an earlier process can be on any device.
    fn other_devices(&self, wanted: &BTreeSet<u32>) -> Result<BTreeSet<u32>, Error> {
        let mut others = self.network_devices()?;
        if self.device_attach != DeviceAttach::Tcx {
            match &*self.known_network_devices.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(known) => others.extend(known),
                None => others.extend(filtered_devices()),
            }
        }
        Ok(others.difference(wanted).copied().collect())
    }
}

/// The MAC address of a device in the caller's network namespace; none if it has no such thing.
fn mac_address(ifindex: u32) -> Option<[u8; 6]> {
    let name = attach::device_name(ifindex).ok()?;
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let mut links = addresses.filter(|entry| entry.interface_name == name);
    links.find_map(|entry| entry.address?.as_link_addr()?.addr()).filter(|mac| *mac != [0; 6])
}

/// Every device that could have filters of an earlier process.
fn filtered_devices() -> Vec<u32> {
    match if_nameindex() {
        Ok(devices) => devices.iter().map(|device| device.index()).collect(),
        Err(error) => {
            tracing::warn!(%error, "can't list the devices; filters on clsact, if any, stay");
            Vec::new()
        }
    }
}
