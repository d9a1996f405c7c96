//! The devices that lead to the network: exactly those that are wanted have the programs for it.

use crate::{Dataplane, DeviceAttach, Error, Hook, attach};
use nix::net::if_::if_nameindex;
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
            let attached = attach::attach_device(&self.programs, &self.pins, ifindex, Hook::NETWORK, self.device_attach);
            if let Err(error) = attached {
                // Answers that nobody translates are worse than no translation.
                let _ = attach::detach_device(&self.pins, ifindex, Hook::NETWORK);
                failures.insert(ifindex, error);
            }
        }
        match self.other_devices(wanted) {
            Ok(others) => {
                for ifindex in others {
                    if let Err(error) = attach::detach_device(&self.pins, ifindex, Hook::NETWORK) {
                        failures.insert(ifindex, error);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "can't tell which devices have programs for the network"),
        }
        self.known_network_devices.lock().unwrap_or_else(PoisonError::into_inner).replace(wanted.clone());
        failures
    }

    /// The devices with programs for the network, as far as pins tell: filters on clsact have none.
    pub fn network_devices(&self) -> Result<BTreeSet<u32>, Error> {
        attach::linked_devices(&self.pins, Hook::NETWORK)
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
