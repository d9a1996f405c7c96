//! The devices that lead to the network: exactly those that are wanted have the programs for it.

use crate::{
    Dataplane, DeviceAttach, Error, Hook, Trouble, attach,
    trouble::{not_before_stack, not_left, not_served},
    wires::Wires,
};
use nix::net::if_::if_nameindex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::PoisonError,
};

impl Dataplane {
    /// Sees to it that the programs for the network are on these devices and on no others, by index in the caller's network namespace.
    /// Calling it again is harmless. A device that is gone has lost its programs with itself; what is left of them goes now.
    ///
    /// Answers what is wrong, by device, the worst where there is more: the rest is done all the same.
    pub fn keep_network_devices(&self, wanted: &BTreeSet<u32>) -> BTreeMap<u32, Trouble> {
        let mut troubles = BTreeMap::new();
        let mut wires = Wires::default();
        for &ifindex in wanted {
            let attached = attach::attach_device(&self.programs, &self.pins, ifindex, &Hook::NETWORK, self.device_attach);
            if let Err(error) = attached {
                // Answers that nobody translates are worse than no translation.
                let _ = self.detach_network_device(ifindex);
                troubles.insert(ifindex, not_served(ifindex, &error));
            } else if let Some(trouble) =
                self.keep_wire(ifindex, &mut wires).unwrap_or_else(|error| Some(not_before_stack(ifindex, &error)))
            {
                troubles.insert(ifindex, trouble);
            }
        }
        for (ifindex, trouble) in self.open_wires(&wires) {
            troubles.entry(ifindex).or_insert(trouble);
        }
        match self.other_devices(wanted) {
            Ok(others) => {
                for ifindex in others {
                    if let Err(error) = self.detach_network_device(ifindex) {
                        troubles.insert(ifindex, not_left(ifindex, &error));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "can't tell which devices have programs for the network"),
        }
        let before = self.known_network_devices.lock().unwrap_or_else(PoisonError::into_inner).replace(wanted.clone());
        if before.as_ref() != Some(wanted) {
            self.forget_ways();
        }
        troubles
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
